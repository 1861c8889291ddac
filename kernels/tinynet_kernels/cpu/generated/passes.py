"""Passes: the steps that lead samples through a network and back, side by side, in the order of their kernels."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels.cpu.generated import library
from tinynet_kernels.cpu.generated.frame import CONTEXT, PLACES, ROW
from tinynet_kernels.cpu.generated.layout import LINE
from tinynet_kernels.cpu.generated.small import float_of
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.network import Layer

Array = NDArray[Any]
Call = tuple[str, str, tuple[int | float, ...]]
"""A step: its unit, its kernel, its arguments."""

PAGE = 4096


class Memory(NamedTuple):
    """Of one thread: a context, and an arena, which begins with zeros."""

    words: memoryview
    arrays: tuple[Array, Array]
    address: int

    @classmethod
    def of(cls, size: int) -> Memory:
        """Return memory with an arena of so many bytes."""
        arena, context = np.zeros(size + PAGE, np.uint8), np.zeros(len(CONTEXT), np.int64)
        place = address(arena)
        context[PLACES["arena"]] = place + -place % PAGE
        return cls(memoryview(context.data), (context, arena), address(context))


class Steps:
    """The steps of one table, and where in an arena their arrays are.

    Parameters
    ----------
    block : int
        Most samples that go through at a time.
    """

    def __init__(self, block: int) -> None:
        # Not a power of two: else all columns would fall into the same few sets of a cache.
        self.stride = block * 8 + LINE
        self.size = 0
        self.calls: list[Call] = []

    def take(self, columns: int) -> int:
        """Return the place of so many columns."""
        place, self.size = self.size, self.size + columns * self.stride
        return place

    def add(self, unit: str, kernel: str, *arguments: int | float) -> None:
        """Append a step."""
        self.calls.append((unit, kernel, (*arguments, self.stride)))

    def words(self, header: Sequence[int]) -> Array:
        """Return the table as ``drive_items`` reads it: the number of steps and the header, then the steps."""
        addresses = library.addresses("float64", {unit for unit, *_ in self.calls} | {"abreast"})
        table = np.zeros((1 + len(self.calls), ROW), np.int64)
        table[0, : 1 + len(header)] = [len(self.calls), *header]
        for line, (unit, kernel, arguments) in zip(table[1:], self.calls, strict=True):
            line[0] = addresses[unit, kernel]
            line[1 : 1 + len(arguments)] = [_word(one) for one in arguments]
        return table


class Passes:
    """The way of a block of samples through a network, and back from its output.

    Parameters
    ----------
    layers : tuple of Layer
        Without dropout.
    steps : Steps
    slopes : bool
        Whether there will be a way back.
    curves : bool
        Whether second derivatives will be asked for.

    Attributes
    ----------
    output : int
        Where the output is.
    outputs, slopes, curves : list of int
        Where those of each layer are; of an activation that is not elementwise, and where they are not wanted, the last
        two are where its output is.
    offsets : list of int
        Of the parameters of each layer in the flat vector, and of its end.
    """

    def __init__(self, layers: tuple[Layer, ...], steps: Steps, *, slopes: bool, curves: bool = False) -> None:
        self.layers, self.steps = layers, steps
        self.offsets = starts([n_parameters(layer) for layer in layers])
        self._held = starts([2 * layer.n_in * (layer.kind == "normalize") for layer in layers])
        self._inputs: list[int] = []
        self.outputs: list[int] = []
        self.slopes: list[int] = []
        self.curves: list[int] = []
        x = steps.take(layers[0].n_in)
        steps.add("abreast", "take", x, layers[0].n_in, 0)
        for i, layer in enumerate(layers):
            self._inputs.append(x)
            x, slope, curve = self._forward(i, layer, x, slopes, curves)
            self.outputs.append(x)
            self.slopes.append(slope)
            self.curves.append(curve)
        self.output = x
        self._below = [steps.take(layer.n_in) for layer in layers] if slopes else []

    def _forward(self, i: int, layer: Layer, x: int, slopes: bool, curves: bool) -> tuple[int, int, int]:
        """Write a layer; return where its output is, and where the slopes and curvatures of its activation are."""
        y, start = self.steps.take(layer.n_out), self.offsets[i] * 8
        if layer.kind == "linear":
            bias = (start + layer.n_in * layer.n_out * 8, 8 * layer.bias)
            self.steps.add("abreast", "affine", x, y, layer.n_in, layer.n_out, start, 8 * layer.n_out, 8, *bias)
        elif layer.kind == "normalize":
            mean = self._held[i] * 8
            self.steps.add("abreast", "normalize", x, y, layer.n_in, mean, mean + layer.n_in * 8, 1)
        else:
            self.steps.add("abreast", "copy", x, y, layer.n_out)
        if layer.activation == "identity":
            return y, y, y
        if not ACTIVATIONS[layer.activation].elementwise:
            self.steps.add("abreast", "softmax", y, layer.n_out)
            return y, y, y
        kind, settings = layer.activation, (layer.n_out, float_of(layer.alpha))
        slope = self.steps.take(layer.n_out) if slopes else y
        if not curves:
            self.steps.add(f"abreast:{kind}", f"{kind}_abreast", y, slope, *settings)
            return y, slope, y
        curve = self.steps.take(layer.n_out)
        self.steps.add(f"tangents:{kind}", f"{kind}_curved", y, slope, curve, *settings)
        return y, slope, curve

    def along(self, i: int, t: int) -> tuple[int, int]:
        """Write the way of a direction through layer ``i``; return where it is before its activation, and behind it.

        Of an activation that is not elementwise, both are behind it.
        """
        steps, layer = self.steps, self.layers[i]
        z = steps.take(layer.n_out)
        if layer.kind == "linear":
            sizes = (layer.n_in, layer.n_out, self.offsets[i] * 8, 8 * layer.n_out, 8, 0, 0)
            steps.add("abreast", "affine", t, z, *sizes)
        elif layer.kind == "normalize":
            self._scale(i, t, z)
        else:
            steps.add("abreast", "copy", t, z, layer.n_out)
        if layer.activation == "identity":
            return z, z
        if layer.activation == "softmax":
            steps.add("abreast", "softmax_back", self.outputs[i], z, layer.n_out)
            return z, z
        y = steps.take(layer.n_out)
        steps.add("abreast", "multiply", z, self.slopes[i], y, layer.n_out)
        return z, y

    def through(self, i: int, d: int) -> int:
        """Write the way of a gradient back to the input of layer ``i`` from before its activation; it is not kept."""
        layer = self.layers[i]
        if layer.kind == "normalize":
            self._scale(i, d, d)
        if layer.kind != "linear":
            return d
        sizes = (layer.n_out, layer.n_in, self.offsets[i] * 8, 8, 8 * layer.n_out, 0, 0)
        self.steps.add("abreast", "affine", d, self._below[i], *sizes)
        return self._below[i]

    def _scale(self, i: int, x: int, y: int) -> None:
        """Write the division by the scales of layer ``i``, without its means."""
        n, mean = self.layers[i].n_in, self._held[i] * 8
        self.steps.add("abreast", "normalize", x, y, n, mean, mean + n * 8, 0)

    def back(self, d: int, rows: dict[int, int], *, last: int = 0, summed: bool = False) -> int:
        """Write the way back of a gradient to the input of layer ``last``; return where it then is.

        Parameters
        ----------
        d : int
            Where the gradient is, which is not kept.
        rows : dict of int to int
            Where the derivatives by the parameters of a layer go, by its number; those of others go nowhere.
        last : int
        summed : bool
            Whether only their sums over the samples are wanted, which are added to what is there.
        """
        steps = self.steps
        for i in range(len(self.layers) - 1, last - 1, -1):
            layer = self.layers[i]
            if layer.activation == "softmax":
                steps.add("abreast", "softmax_back", self.outputs[i], d, layer.n_out)
            elif layer.activation != "identity":
                steps.add("abreast", "multiply", d, self.slopes[i], d, layer.n_out)
            if i in rows and summed:
                steps.add("descent", "fold", self._inputs[i], d, rows[i], layer.n_in, layer.n_out, int(layer.bias))
            elif i in rows:
                steps.add("abreast", "outer", self._inputs[i], d, rows[i], layer.n_in, layer.n_out)
                if layer.bias:
                    bias = rows[i] + layer.n_in * layer.n_out * steps.stride
                    steps.add("abreast", "copy", d, bias, layer.n_out)
            if i > last or not rows or layer.kind != "linear":
                d = self.through(i, d)
        return d


def n_parameters(layer: Layer) -> int:
    """Return the number of parameters of a layer."""
    return (layer.n_in + layer.bias) * layer.n_out * (layer.kind == "linear")


def starts(sizes: Sequence[int]) -> list[int]:
    """Return where each of several things begins that follow one another, and where the last one ends.

    Examples
    --------
    >>> starts([3, 4])
    [0, 3, 7]
    """
    found = [0]
    for size in sizes:
        found.append(found[-1] + size)
    return found


def address(array: Array) -> int:
    """Return where an array lies; quicker than ``array.ctypes.data``."""
    place: int = array.__array_interface__["data"][0]
    return place


def _word(argument: int | float) -> int:
    if isinstance(argument, float):
        return int(struct.unpack("<q", struct.pack("<d", argument))[0])
    return int(argument)
