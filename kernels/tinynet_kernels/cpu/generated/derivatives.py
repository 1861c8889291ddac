"""Derivatives of a network's outputs, by its inputs and its parameters, in generated code."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinynet_kernels.cpu.generated import library
from tinynet_kernels.cpu.generated.abreast import UNIT
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.passes import Array, Memory, Passes, Steps, address, n_parameters
from tinynet_kernels.network import Layer

BLOCK = 128
"""Most samples that go through at a time."""

ARENA_BYTES = 1 << 20
"""What the arrays of a block should take: then they stay in the cache."""

MOST_STEPS = 1 << 13
"""Steps of a table; there is none for what takes more of them, which has work enough for NumPy."""

MOST_VALUES = 1 << 16
"""Numbers that each sample may have of a derivative: more of them are not worth making side by side."""

RESULT_VALUES = 1 << 15
"""Numbers of a result that are held side by side, before each sample gets its own: few enough for the cache."""

_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class _Kind(NamedTuple):
    """A derivative: what writes it, and its sizes.

    Attributes
    ----------
    write : callable
        Writes the steps that lead to the results, and put them in their places.
    shape : callable
        Of what a sample has of it.
    vectors : callable
        How many numbers each sample brings beside its inputs.
    steps : callable
        About how many steps it takes.
    curves : bool
        Whether it reads second derivatives.
    """

    write: Callable[[Passes, int, int], None]
    shape: Callable[[tuple[Layer, ...]], tuple[int, ...]]
    vectors: Callable[[tuple[Layer, ...]], int] = lambda layers: 0
    steps: Callable[[tuple[Layer, ...]], int] = lambda layers: 4 * len(layers) * (1 + layers[-1].n_out)
    curves: bool = False


class _Lane(NamedTuple):
    """What one thread works with: its memory, the columns that are read, and those that are written."""

    memory: Memory
    columns: list[Array]
    out: Array


class Derivatives:
    """A derivative of a network for samples side by side, in float64; any number of threads may ask.

    Parameters
    ----------
    layers : tuple of Layer
        Without dropout.
    kind : {"jacobian", "hessian", "jvp", "vjp", "parameter_jacobian"}

    Attributes
    ----------
    widths : tuple of int
        Of what is read: of samples, and for products of the vectors.
    unit : int
        Samples that go through at least.

    Raises
    ------
    ValueError
        If it takes too many steps, or has too many numbers; see ``few``.
    """

    def __init__(self, layers: tuple[Layer, ...], kind: str) -> None:
        made = KINDS[kind]
        if not few(layers, kind):
            raise ValueError(
                f"a table holds {MOST_STEPS} steps to {MOST_VALUES} numbers; the {kind} of this network takes more."
            )
        n_in, n_out = layers[0].n_in, layers[-1].n_out
        self.shape, vectors = made.shape(layers), made.vectors(layers)
        self.widths = (n_in, vectors) if vectors else (n_in,)
        self.n_values = math.prod(self.shape)
        self.unit = UNIT * host().vector_bytes // 8
        trial = Steps(0)
        made.write(Passes(layers, trial, slopes=True, curves=made.curves), n_in, n_out)
        columns = max(1, trial.size // trial.stride)
        block = min(BLOCK, max(1, ARENA_BYTES // (8 * columns * self.unit)) * self.unit)
        steps = Steps(block)
        made.write(Passes(layers, steps, slopes=True, curves=made.curves), n_in, n_out)
        self._table, self._size = steps.words((block, 1 << 40, 1, 0)), steps.size
        self._most = max(1, RESULT_VALUES // (self.n_values * self.unit)) * self.unit
        self._place = address(self._table)
        self._drive = _RUN(library.addresses("float64", ["abreast"])["abreast", "drive_items"])
        self._small: list[_Lane] = []
        self._large: list[_Lane] = []

    def __call__(self, parameters: Array, buffers: Array, *given: Array, dtype: DTypeLike = "float64") -> Array:
        """Return the derivative, (n_samples, *shape).

        Parameters
        ----------
        parameters, buffers : (n,) float64 arrays
        *given : (n_samples, n) arrays
            The samples, and for products the vectors of each.
        dtype
            Of what is returned.
        """
        n, places = len(given[0]), (address(parameters), address(buffers))
        if n <= self.unit:
            return self.of_few(places, given, n, dtype)
        result, lane = np.empty((n, self.n_values), dtype), self._taken(self._large, self._most)
        for start in range(0, n, self._most):
            rows = slice(start, min(start + self._most, n))
            result[rows] = self._run(lane, places, [one[rows] for one in given], rows.stop - start)
        self._large.append(lane)
        return result.reshape(n, *self.shape)

    def of_few(self, places: tuple[int, int], given: Sequence[Array], n: int, dtype: DTypeLike) -> Array:
        """Return the derivative of up to ``unit`` samples; ``places`` are the addresses of parameters and buffers."""
        lane = self._taken(self._small, self.unit)
        found = self._run(lane, places, given, n).astype(dtype, order="C")
        self._small.append(lane)
        return found.reshape(n, *self.shape)

    def _run(self, lane: _Lane, places: tuple[int, int], given: Sequence[Array], n: int) -> Array:
        """Return the results of some samples, (n_samples, n_values): a view."""
        words = lane.memory.words
        words[_PARAMETERS], words[_BUFFERS] = places
        words[_SAMPLES] = -(-n // self.unit) * self.unit
        for columns, one in zip(lane.columns, given, strict=True):
            columns[:, :n] = one.T
        self._drive(lane.memory.address, self._place)
        found: Array = lane.out[:, :n].T
        return found

    def _taken(self, free: list[_Lane], room: int) -> _Lane:
        """Return memory for so many samples that nobody else has."""
        try:
            return free.pop()  # Atomic, as `append` is: no lock is needed.
        except IndexError:
            pass
        memory = Memory.of(self._size)
        samples, out = np.zeros((sum(self.widths), room)), np.empty((self.n_values, room))
        losses = memory.arrays[0]  # The total of no loss goes to a word that nobody reads.
        words = {"x": address(samples), "x_column": room * 8, "out": address(out), "x_row": room * 8}
        words |= {"last_item": 1, "losses": address(losses) + 8 * PLACES["team"]}
        for name, value in words.items():
            memory.words[PLACES[name]] = value
        return _Lane(memory, np.split(samples, np.cumsum(self.widths)[:-1]), out)


def few(layers: tuple[Layer, ...], kind: str) -> bool:
    """Tell whether a derivative takes few enough steps for a table, and has few enough numbers.

    Examples
    --------
    >>> few((Layer("linear", 8, 16, activation="tanh"), Layer("linear", 16, 1)), "hessian")
    True
    """
    return KINDS[kind].steps(layers) <= MOST_STEPS and math.prod(KINDS[kind].shape(layers)) <= MOST_VALUES


# -- what writes them --------------------------------------------------------------------------------------------------


def _jacobian(passes: Passes, n_in: int, n_out: int) -> None:
    steps, seed = passes.steps, passes.steps.take(n_out)
    for k in range(n_out):
        steps.add("abreast", "unit_vector", seed, n_out, k)
        steps.add("abreast", "put", passes.back(seed, {}), n_in, k * n_in)


def _vjp(passes: Passes, n_in: int, n_out: int) -> None:
    steps, v = passes.steps, passes.steps.take(n_out)
    steps.add("abreast", "take", v, n_out, n_in)
    steps.add("abreast", "put", passes.back(v, {}), n_in, 0)


def _jvp(passes: Passes, n_in: int, n_out: int) -> None:
    steps, t = passes.steps, passes.steps.take(n_in)
    steps.add("abreast", "take", t, n_in, n_in)
    for i in range(len(passes.layers)):
        _, t = passes.along(i, t)
    steps.add("abreast", "put", t, n_out, 0)


def _parameter_jacobian(passes: Passes, n_in: int, n_out: int) -> None:
    steps, n = passes.steps, passes.offsets[-1]
    seed, whole = steps.take(n_out), steps.take(n)
    linear = [i for i, layer in enumerate(passes.layers) if layer.kind == "linear"]
    rows = {i: whole + passes.offsets[i] * steps.stride for i in linear}
    for k in range(n_out if linear else 0):
        steps.add("abreast", "unit_vector", seed, n_out, k)
        passes.back(seed, rows, last=linear[0])
        steps.add("abreast", "put", whole, n, k * n)


def _hessian(passes: Passes, n_in: int, n_out: int) -> None:
    """Lead back the gradient of each output, and how it changes along each input (forward over reverse mode)."""
    steps, layers = passes.steps, passes.layers
    bent = [i for i, layer in enumerate(layers) if layer.activation != "identity"]
    moved, unit = [], steps.take(n_in)
    for j in range(n_in):
        steps.add("abreast", "unit_vector", unit, n_in, j)
        before, t = [], unit
        for i in range(len(layers)):
            z, t = passes.along(i, t)
            before.append(z)
        moved.append(before)
    kept = {i: steps.take(layers[i].n_out) for i in bent}
    seed, change = steps.take(n_out), steps.take(max(n_in, *(layer.n_out for layer in layers)))
    for k in range(n_out):
        steps.add("abreast", "unit_vector", seed, n_out, k)
        g = seed
        for i in reversed(range(len(layers))):
            n = layers[i].n_out
            if i in kept:
                steps.add("abreast", "copy", g, kept[i], n)
                if layers[i].activation == "softmax":
                    steps.add("abreast", "softmax_back", passes.outputs[i], g, n)
                else:
                    steps.add("abreast", "multiply", g, passes.slopes[i], g, n)
            g = passes.through(i, g)
        for j in range(n_in):
            # Behind the last activation a gradient does not change.
            last = bent[-1] if bent else -1
            d, n = change, layers[last].n_out if bent else n_in
            steps.add("abreast", "unit_vector", d, n, -1)
            for i in reversed(range(last + 1)):
                n = layers[i].n_out
                if i in kept and layers[i].activation == "softmax":
                    steps.add("tangents", "softmax_bend", d, passes.outputs[i], moved[j][i], kept[i], n)
                elif i in kept:
                    places = (passes.slopes[i], passes.curves[i], moved[j][i], kept[i])
                    steps.add("tangents", "bend", d, *places, n)
                d = passes.through(i, d)
            steps.add("abreast", "put", d, n_in, (k * n_in + j) * n_in)


KINDS: dict[str, _Kind] = {
    "jacobian": _Kind(_jacobian, lambda layers: (layers[-1].n_out, layers[0].n_in)),
    "hessian": _Kind(
        _hessian,
        lambda layers: (layers[-1].n_out, layers[0].n_in, layers[0].n_in),
        steps=lambda layers: 2 * len(layers) * (1 + layers[0].n_in) * (1 + layers[-1].n_out),
        curves=True,
    ),
    "jvp": _Kind(_jvp, lambda layers: (layers[-1].n_out,), lambda layers: layers[0].n_in),
    "vjp": _Kind(_vjp, lambda layers: (layers[0].n_in,), lambda layers: layers[-1].n_out),
    "parameter_jacobian": _Kind(
        _parameter_jacobian, lambda layers: (layers[-1].n_out, sum(n_parameters(layer) for layer in layers))
    ),
}
"""Every derivative, by its name."""

_PARAMETERS, _BUFFERS, _SAMPLES = PLACES["parameters"], PLACES["buffers"], PLACES["n_visits"]
