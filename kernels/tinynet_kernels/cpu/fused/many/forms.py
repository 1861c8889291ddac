"""What the two forms share in which the source of a block of models is written.

Both write the same algorithm. ``Unrolled`` has a variable for every number of a model, with all sizes in the source, so
that LLVM sees straight lines of code and keeps in registers what it can: for the smallest networks. ``Looped`` keeps
the numbers in scratch and loops over sizes that are arguments: one function for all networks of a kind.

A "number" here is a row of lanes, one for each model of the block.
"""

import math
from abc import abstractmethod
from collections.abc import Callable

from tinynet_kernels.cpu.fused.writer import Writer
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.network import Layer, Setting

Index = int | str
"""A position: known when the source is written, or an expression."""


class Form(Writer):
    """Writes what is done to the numbers of a block.

    Parameters
    ----------
    layers : tuple of Layer
    n_lanes : int
    rows : int
        Samples that are taken through the network at the same time: a tile.
    """

    variables = False
    """Whether parameters and gradients are variables, and not in scratch."""

    def __init__(self, layers: tuple[Layer, ...], n_lanes: int, rows: int = 1) -> None:
        super().__init__()
        self.layers, self.lanes, self.rows = layers, n_lanes, rows
        self._loops = 0
        self.settings: list[Setting] = []
        self.exacts: set[str] = set()
        self.weights, self.biases, self.n_parameters = _offsets(layers)

    # -- numbers -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def get(self, name: str, index: Index) -> str:
        """Return the expression for a number."""

    @abstractmethod
    def put(self, name: str, index: Index, value: str) -> None:
        """Set a number."""

    def each(self, size: Index, body: Callable[[Index], None]) -> None:
        """Write a loop of ``body``."""
        self._loops += 1
        index = f"i{self._loops}"
        self(f"for {index} in range({size}):")
        self.depth += 1
        body(index)
        self.depth -= 1

    @abstractmethod
    def width(self, i: int) -> Index:
        """Return the width of the output of layer ``i``."""

    @abstractmethod
    def at(self, i: int, k: Index, r: int) -> Index:
        """Return the index of element ``k`` of row ``r`` of the tile among the outputs of layer ``i``."""

    @abstractmethod
    def source(self, i: int, k: Index, r: int) -> str:
        """Return the expression for element ``k`` of the input of layer ``i``."""

    # -- layers ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def take_input(self, r: int, own: bool) -> None:
        """Write how the sample of row ``r`` is read; ``own`` tells whether each model has another one."""

    @abstractmethod
    def product(self, i: int) -> None:
        """Write ``z = x @ w + b`` of layer ``i``."""

    @abstractmethod
    def product_transposed(self, i: int) -> None:
        """Write ``dx = dz @ w.T`` of layer ``i``."""

    @abstractmethod
    def activate(self, i: int) -> None:
        """Write ``y = f(z)`` of layer ``i``, elementwise."""

    @abstractmethod
    def activate_backward(self, i: int) -> None:
        """Write ``dz = dy * f'(z)`` of layer ``i``."""

    @abstractmethod
    def gradient(self, i: int, mode: str) -> None:
        """Write the gradient of layer ``i``'s parameters.

        ``mode`` says what becomes of it: it is what is in "grads" ("set"), is added to it ("add"), or its factor holds
        the learning rate and it is taken off the parameters at once ("descend").
        """

    # -- settings and memory -----------------------------------------------------------------------------------------

    def setting(self, value: Setting) -> str:
        """Return the name of a setting of each model, as lanes of the network's dtype."""
        self.settings.append(value)
        return f"c{len(self.settings) - 1}"

    def exact(self, name: str) -> str:
        """Return the name of a setting as lanes of float64."""
        self.exacts.add(name)
        return f"e{name[1:]}"

    def log(self, name: str) -> str:
        """Return the name of the logarithm of a setting as lanes of float64."""
        value = self.settings[int(name[1:])]
        numbers = value if isinstance(value, tuple) else (value,)
        logarithms = tuple(math.log(number) if number else -math.inf for number in numbers)
        return self.exact(self.setting(logarithms if isinstance(value, tuple) else logarithms[0]))

    def load(self, name: str, index: Index) -> str:
        """Return the expression for a number in scratch."""
        return f"lanes.load(like, {name}, ({index}) * {self.lanes}, 1, {self.lanes}, {self.lanes})"

    def store(self, name: str, index: Index, value: str) -> None:
        """Write a number to scratch."""
        self(f"lanes.store({value}, {name}, ({index}) * {self.lanes}, 1, {self.lanes})")

    def zeros(self, like: str = "like") -> str:
        """Return the expression for a number that is 0 in every model."""
        return f"lanes.zeros({like}, {self.lanes})"


def _offsets(layers: tuple[Layer, ...]) -> tuple[list[int], list[int], int]:
    """Return where the weight and the bias of each layer lie in the flat vector, and its length; -1: no bias."""
    weights, biases, offset = [], [], 0
    for layer in layers:
        weights.append(offset)
        offset += layer.n_in * layer.n_out if layer.kind == "linear" else 0
        biases.append(offset if layer.bias else -1)
        offset += layer.n_out if layer.bias else 0
    return weights, biases, offset


def keeps_z(layer: Layer) -> bool:
    """Whether the backward pass of a layer's activation reads the pre-activation."""
    return ACTIVATIONS[layer.activation].reads_z
