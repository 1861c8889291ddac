"""The two forms in which the source of a block of models is written.

Both write the same algorithm. ``Unrolled`` has a variable for every number of a model, with all sizes in the source, so
that LLVM sees straight lines of code and keeps in registers what it can: for the smallest networks. ``Looped`` keeps
the numbers in scratch and loops over sizes that are arguments: one function for all networks of a kind.

A "number" here is a row of lanes, one for each model of the block.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from tinynet_kernels.cpu.fused.network import Layer, Setting
from tinynet_kernels.cpu.fused.writer import Writer
from tinynet_kernels.kinds import ACTIVATIONS

TILE = 4
"""Outputs of a product that are summed at the same time, for each row."""


class Array(NamedTuple):
    """Numbers in scratch: how many, and how to write that down."""

    name: str
    size: int


Index = int | str
"""A position: known when the source is written, or an expression."""


class Form(Writer):
    """What both forms share."""

    rows = 1
    """Samples that are taken through the network at the same time."""

    def __init__(self, layers: tuple[Layer, ...], n_lanes: int) -> None:
        super().__init__()
        self.layers, self.lanes = layers, n_lanes
        self.settings: list[Setting] = []
        self.exacts: set[str] = set()
        self.weights, self.biases, self.n_parameters = _offsets(layers)

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
        logarithms = [math.log(number) if number else -math.inf for number in _numbers(value)]
        return self.exact(self.setting(tuple(logarithms) if isinstance(value, tuple) else logarithms[0]))

    def load(self, name: str, index: Index) -> str:
        """Return the expression for a number in scratch."""
        return f"lanes.load(like, {name}, ({index}) * {self.lanes}, 1, {self.lanes}, {self.lanes})"

    def store(self, name: str, index: Index, value: str) -> None:
        """Write a number to scratch."""
        self(f"lanes.store({value}, {name}, ({index}) * {self.lanes}, 1, {self.lanes})")

    def zeros(self, like: str = "like") -> str:
        """Return the expression for a number that is 0 in every model."""
        return f"lanes.zeros({like}, {self.lanes})"


class Unrolled(Form):
    """A variable for every number."""

    def size(self, i: int) -> int:
        """Return the width of the input of layer ``i``."""
        return (self.layers[i].n_in if i < len(self.layers) else self.layers[-1].n_out)

    def get(self, name: str, index: Index) -> str:
        """Return the expression for a number."""
        return f"{name}_{index}"

    def put(self, name: str, index: Index, value: str) -> None:
        """Set a number."""
        self(f"{name}_{index} = {value}")

    def each(self, size: Index, body: Callable[[Index], None]) -> None:
        """Write ``body`` for each index below ``size``."""
        for index in range(int(size)):
            body(index)

    def product(self, i: int, source: Callable[[Index, int], str]) -> None:
        """Write ``z = x @ w + b`` of layer ``i``."""
        layer = self.layers[i]
        for j in range(layer.n_out):
            terms = [self.get("p", self.biases[i] + j)] if layer.bias else []
            for k in range(layer.n_in):
                terms.append(f"{source(k, 0)} * {self.get('p', self.weights[i] + k * layer.n_out + j)}")
            self.put(f"z{i}", j, " + ".join(terms))

    def product_transposed(self, i: int) -> None:
        """Write ``dx = dz @ w.T`` of layer ``i``."""
        layer = self.layers[i]
        for k in range(layer.n_in):
            at = self.weights[i] + k * layer.n_out
            terms = [f"{self.get(f'd{i}', j)} * {self.get('p', at + j)}" for j in range(layer.n_out)]
            self.put(f"d{i - 1}", k, " + ".join(terms))

    def outer(self, i: int, source: Callable[[Index, int], str], take: Callable[[Index, str], None]) -> None:
        """Hand each element of ``dw`` and ``db`` of layer ``i`` to ``take``."""
        layer = self.layers[i]
        for k in range(layer.n_in):
            for j in range(layer.n_out):
                take(self.weights[i] + k * layer.n_out + j, f"{source(k, 0)} * {self.get(f'd{i}', j)}")
        if layer.bias:
            for j in range(layer.n_out):
                take(self.biases[i] + j, self.get(f"d{i}", j))


class Looped(Form):
    """Numbers in scratch, and loops."""

    def __init__(self, layers: tuple[Layer, ...], n_lanes: int, rows: int) -> None:
        super().__init__(layers, n_lanes)
        self.rows = rows
        self._loops = 0

    def size(self, i: int) -> str:
        """Return the width of the input of layer ``i``."""
        return f"n{i}"

    def get(self, name: str, index: Index) -> str:
        """Return the expression for a number."""
        return self.load(name, index)

    def put(self, name: str, index: Index, value: str) -> None:
        """Set a number."""
        self.store(name, index, value)

    def each(self, size: Index, body: Callable[[Index], None]) -> None:
        """Write a loop of ``body`` over the indices below ``size``."""
        self._loops += 1
        index = f"i{self._loops}"
        self(f"for {index} in range({size}):")
        self.depth += 1
        body(index)
        self.depth -= 1

    def _tiles(self, size: str, index: str, body: Callable[[int], None]) -> None:
        """Write loops over ``index``, some at a time, then the rest one by one."""
        for start, stop, step in (("0", f"{size} - {TILE - 1}", TILE), (f"{size} // {TILE} * {TILE}", size, 1)):
            self(f"for {index} in range({start}, {stop}, {step}):")
            self.depth += 1
            body(step)
            self.depth -= 1

    def product(self, i: int, source: Callable[[Index, int], str]) -> None:
        """Write ``z = x @ w + b`` of layer ``i``."""

        def tile(count: int) -> None:
            for t in range(count):
                bias = self.get("p", f"b{i} + j + {t}") if self.layers[i].bias else self.zeros()
                self(f"s0_{t} = {bias}", *(f"s{r}_{t} = s0_{t}" for r in range(1, self.rows)))
            self(f"for k in range(n{i}):")
            self.depth += 1
            self(*(f"a{r} = {source('k', r)}" for r in range(self.rows)))
            for t in range(count):
                self(f"w = {self.get('p', f'w{i} + k * n{i + 1} + j + {t}')}")
                self(*(f"s{r}_{t} = s{r}_{t} + a{r} * w" for r in range(self.rows)))
            self.depth -= 1
            for r in range(self.rows):
                for t in range(count):
                    self.put(f"z{i}", f"{r} * n{i + 1} + j + {t}", f"s{r}_{t}")

        self._tiles(f"n{i + 1}", "j", tile)

    def product_transposed(self, i: int) -> None:
        """Write ``dx = dz @ w.T`` of layer ``i``."""

        def tile(count: int) -> None:
            for t in range(count):
                self(*(f"s{r}_{t} = {self.zeros()}" for r in range(self.rows)))
            self(f"for j in range(n{i + 1}):")
            self.depth += 1
            self(*(f"a{r} = {self.get(f'd{i}', f'{r} * n{i + 1} + j')}" for r in range(self.rows)))
            for t in range(count):
                self(f"w = {self.get('p', f'w{i} + (k + {t}) * n{i + 1} + j')}")
                self(*(f"s{r}_{t} = s{r}_{t} + a{r} * w" for r in range(self.rows)))
            self.depth -= 1
            for r in range(self.rows):
                for t in range(count):
                    self.put(f"d{i - 1}", f"{r} * n{i} + k + {t}", f"s{r}_{t}")

        self._tiles(f"n{i}", "k", tile)

    def outer(self, i: int, source: Callable[[Index, int], str], take: Callable[[Index, str], None]) -> None:
        """Hand each element of ``dw`` and ``db`` of layer ``i`` to ``take``."""
        deltas = [self.get(f"d{i}", f"{r} * n{i + 1} + j") for r in range(self.rows)]
        self(f"for k in range(n{i}):")
        self.depth += 1
        self(*(f"a{r} = {source('k', r)}" for r in range(self.rows)))
        self(f"for j in range(n{i + 1}):")
        self.depth += 1
        take(f"w{i} + k * n{i + 1} + j", " + ".join(f"a{r} * {delta}" for r, delta in enumerate(deltas)))
        self.depth -= 2
        if self.layers[i].bias:
            self(f"for j in range(n{i + 1}):")
            self.depth += 1
            take(f"b{i} + j", " + ".join(deltas))
            self.depth -= 1


def _numbers(value: Setting) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _offsets(layers: tuple[Layer, ...]) -> tuple[list[int], list[int], int]:
    """Return where the weight and the bias of each layer lie in the flat vector, and its length."""
    weights, biases, offset = [], [], 0
    for layer in layers:
        weights.append(offset)
        offset += layer.n_in * layer.n_out if layer.kind == "linear" else 0
        biases.append(offset)
        offset += layer.n_out if layer.bias else 0
    return weights, biases, offset


def keeps_z(layer: Layer) -> bool:
    """Whether the backward pass of a layer's activation reads the pre-activation."""
    return ACTIVATIONS[layer.activation].reads_z
