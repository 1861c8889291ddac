"""Unrolled: the form of source that has a variable for every number of a sample on its way through a model."""

from collections.abc import Callable

from tinynet_kernels.cpu.fused.many.forms import Form, Index, keeps_z
from tinynet_kernels.network import Layer

MAX_VARIABLES = 50
"""Most parameters that are variables. Beyond it they fill the registers several times over."""

VECTORS = frozenset({"p", "grads", "m0", "m1", "m2"})
"""What there is a number of for each parameter: the parameters, their gradients, and what the optimizer remembers."""


class Unrolled(Form):
    """A variable for every number of a sample; see ``Form`` for what the methods write.

    Parameters
    ----------
    layers : tuple of Layer
    n_lanes : int
    plain : bool
        Whether it is trained by plain gradient descent. That makes parameters and gradients variables, too, if there
        are ``MAX_VARIABLES`` at most: it is quicker (4-5-3, batch 1: 6.5 against 11.6 ns an update of a net), which it
        is for no other optimizer, since each number has to be read and written once an update in any case. Numba's
        time for variables grows with the square of their number.
    """

    def __init__(self, layers: tuple[Layer, ...], n_lanes: int, *, plain: bool = False) -> None:
        super().__init__(layers, n_lanes)
        self.variables = plain and self.n_parameters <= MAX_VARIABLES

    def get(self, name: str, index: Index) -> str:
        """Return the variable, or what loads the number."""
        return self.load(name, index) if self._in_scratch(name) else f"{name}_{index}"

    def put(self, name: str, index: Index, value: str) -> None:
        """Assign the variable, or store the number."""
        if self._in_scratch(name):
            self.store(name, index, value)
        else:
            self(f"{name}_{index} = {value}")

    def _in_scratch(self, name: str) -> bool:
        return name in VECTORS and not self.variables

    def each(self, size: Index, body: Callable[[Index], None]) -> None:
        """Write ``body`` as often as it says; a loop, if that is not a number."""
        if isinstance(size, str):
            super().each(size, body)
            return
        for index in range(size):
            body(index)

    def width(self, i: int) -> int:
        """Return the width of the output of layer ``i``."""
        return self.layers[i].n_out

    def at(self, i: int, k: Index, r: int) -> Index:
        """Return ``k``: there is one row."""
        return k

    def source(self, i: int, k: Index, r: int) -> str:
        """Return a variable of the layer before."""
        return f"y{i - 1}_{k}" if i else f"x_{k}"

    def take_input(self, r: int, own: bool) -> None:
        """Write a variable for each element of the sample: a number for all models, where they share it."""
        for k in range(self.layers[0].n_in):
            gathered = f"lanes.gather(like, x, row{r}, x.shape[1], {k}, {self.lanes})"
            self(f"x_{k} = {gathered}" if own else f"x_{k} = real(x[row{r}, {k}])")

    def product(self, i: int) -> None:
        """Write a sum for each output."""
        layer = self.layers[i]
        for j in range(layer.n_out):
            terms = [self.get("p", self.biases[i] + j)] if layer.bias else []
            for k in range(layer.n_in):
                terms.append(f"{self.source(i, k, 0)} * {self.get('p', self.weights[i] + k * layer.n_out + j)}")
            self.put(f"z{i}", j, " + ".join(terms))

    def product_transposed(self, i: int) -> None:
        """Write a sum for each input."""
        layer = self.layers[i]
        for k in range(layer.n_in):
            at = self.weights[i] + k * layer.n_out
            self.put(f"d{i - 1}", k, " + ".join(f"d{i}_{j} * {self.get('p', at + j)}" for j in range(layer.n_out)))

    def activate(self, i: int) -> None:
        """Write the function of each number."""
        layer = self.layers[i]
        alpha = self.setting(layer.alpha)
        for k in range(layer.n_out):
            self.put(f"y{i}", k, f'activations.activation("{layer.activation}", z{i}_{k}, {alpha})')

    def activate_backward(self, i: int) -> None:
        """Write the derivative at each number."""
        layer, z = self.layers[i], f"z{i}" if keeps_z(self.layers[i]) else f"y{i}"
        alpha = self.setting(layer.alpha)
        for k in range(layer.n_out):
            slope = f'activations.activation_slope("{layer.activation}", {z}_{k}, y{i}_{k}, {alpha})'
            self.put(f"d{i}", k, f"d{i}_{k} * {slope}")

    def gradient(self, i: int, mode: str) -> None:
        """Write each element."""
        layer = self.layers[i]
        found = [
            (self.weights[i] + k * layer.n_out + j, f"{self.source(i, k, 0)} * d{i}_{j}")
            for k in range(layer.n_in)
            for j in range(layer.n_out)
        ]
        if layer.bias:
            found += [(self.biases[i] + j, f"d{i}_{j}") for j in range(layer.n_out)]
        for k, value in found:
            if mode == "set":
                self.put("grads", k, value)
            elif mode == "add":
                self.put("grads", k, f"{self.get('grads', k)} + {value}")
            else:
                self.put("p", k, f"{self.get('p', k)} - {value}")
