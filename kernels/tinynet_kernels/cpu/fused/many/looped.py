"""Looped: the form of source that keeps the numbers of a model in scratch."""

from tinynet_kernels.cpu.fused.many.forms import Form, Index, keeps_z


class Looped(Form):
    """Numbers in scratch, and calls of functions that loop over them; see ``Form`` for what the methods write."""

    def get(self, name: str, index: Index) -> str:
        """Return what loads the number."""
        return self.load(name, index)

    def put(self, name: str, index: Index, value: str) -> None:
        """Store the number."""
        self.store(name, index, value)

    def width(self, i: int) -> str:
        """Return the name of the width."""
        return f"n{i + 1}"

    def at(self, i: int, k: Index, r: int) -> Index:
        """Return an expression: the rows of a tile lie one after the other."""
        return f"{r} * n{i + 1} + {k}" if r else k

    def source(self, i: int, k: Index, r: int) -> str:
        """Return what loads an element of the layer before."""
        return self.load(f"y{i - 1}" if i else "inputs", f"{r} * n{i} + {k}" if r else k)

    def take_input(self, r: int, own: bool) -> None:
        """Write a call that brings the sample into scratch, spread over the lanes."""
        kernel = self.write_kernel("gather" if own else "spread")
        self(f"{kernel}(x, row{r}, {r} * n0, n0, inputs)")

    def product(self, i: int) -> None:
        """Write a call."""
        before = f"y{i - 1}" if i else "inputs"
        self(f"{self.write_kernel('product')}({before}, p, w{i}, b{i}, n{i}, n{i + 1}, z{i})")

    def product_transposed(self, i: int) -> None:
        """Write a call."""
        self(f"{self.write_kernel('product_transposed')}(d{i}, p, w{i}, n{i}, n{i + 1}, d{i - 1})")

    def activate(self, i: int) -> None:
        """Write a call of the kernel for one model: to an elementwise function all numbers are alike."""
        layer, z, y = self.layers[i], self._grid("z", i), self._grid("y", i)
        if keeps_z(layer):
            kernel = self.kernel(f"forward_{layer.activation}", f'activations._forward("{layer.activation}")')
            self(f"{kernel}({z}, None, {y}, {self._alpha(i)})")
        else:
            kernel = self.kernel(f"in_place_{layer.activation}", f'activations._in_place("{layer.activation}")')
            self(f"{kernel}({y}, None, {self._alpha(i)})")

    def activate_backward(self, i: int) -> None:
        """Write a call of the kernel for one model."""
        kind = self.layers[i].activation
        kernel = self.kernel(f"backward_{kind}", f'activations._backward_in_place("{kind}")')
        z = self._grid("z" if keeps_z(self.layers[i]) else "y", i)
        self(f"{kernel}({z}, {self._grid('y', i)}, {self._grid('d', i)}, {self._alpha(i)})")

    def gradient(self, i: int, mode: str) -> None:
        """Write a call; the first tile of a batch sets the gradients, the others add to them."""
        before = f"y{i - 1}" if i else "inputs"
        target, sign, fresh = ("p", "-one", "False") if mode == "descend" else ("grads", "one", "s == start")
        sizes = f"w{i}, b{i}, n{i}, n{i + 1}"
        self(f"{self.write_kernel('outer')}({before}, d{i}, {sizes}, {sign}, {fresh}, {target})")

    def write_kernel(self, name: str) -> str:
        """Return the name of a function of ``products``, for this many lanes and rows."""
        return self.kernel(name, f"products.of({self.lanes}, {self.rows}).{name}")

    def _grid(self, letter: str, i: int) -> str:
        return f"{letter}{i}.reshape((-1, {self.lanes}))"

    def _alpha(self, i: int) -> str:
        return f"numbers[{self.setting(self.layers[i].alpha)[1:]}, 0]"
