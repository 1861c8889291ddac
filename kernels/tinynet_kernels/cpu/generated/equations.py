"""Equations: the normal equations of many models of one network, in generated code.

A model goes through its samples in blocks: forward, the loss and its curvature, back once for each output, and the
products of the Jacobian's rows. Models, and parts of the samples of large ones, are items that threads share; which
parts there are does not depend on the number of threads or of models, and they are added up in order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet_kernels.cpu.generated import library
from tinynet_kernels.cpu.generated.abreast import UNIT
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.normal import TILE
from tinynet_kernels.cpu.generated.passes import Memory, Passes, Steps, address, n_parameters, starts
from tinynet_kernels.cpu.generated.small import float_of
from tinynet_kernels.helpers import Helpers
from tinynet_kernels.network import Layer, Loss

Array = NDArray[Any]
Threads = Callable[[], int]

UNITS = ("abreast", "descent")
"""Those with what is called directly."""
BLOCK_BYTES = 1 << 17
"""Of the rows of a Jacobian that are held at a time: they stay in the second-level cache."""
BLOCK_ROWS = (128, 512)
"""Fewest and most samples of a block: every block takes some time to add to the matrix."""
PARTS = 8
"""Parts that the samples of a model are cut into, where each is worth a thread."""
PART_WORK = 1 << 20
"""Multiplications of a part that repay a matrix of its own."""
THREAD_WORK = 1 << 21
"""Multiplications that repay a thread, which is started for them."""
LARGEST_SOLVED = 1000
"""Parameters up to which ``solve`` is quicker than LAPACK (measured: three times), which has threads for more."""

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Samples(NamedTuple):
    """Samples as the kernels read them, side by side, and zeros behind the last.

    Attributes
    ----------
    x : (n_in, padded) float64 array
    y : (n_out, padded) float64 array
        Or (1, padded) with class numbers.
    masses : (n_models or 1, padded) float64 array
        What the loss of each sample counts.
    words : dict of int to int
        What the context says of them.
    """

    x: Array
    y: Array
    masses: Array
    words: dict[int, int]


class Equations:
    """The normal equations of a network; everything is computed in float64.

    Parameters
    ----------
    layers : tuple of Layer
        Up to what the loss reads, without dropout.
    trained : sequence of bool
        Whether the parameters of each layer are.
    loss : Loss
        One that has a curvature: see ``tinynet_kernels.reference.curvature``.
    n_samples : int

    Attributes
    ----------
    n : int
        Trained parameters.
    columns : int
        Of a matrix: ``n`` and one for the gradient, rounded up.
    parts : int
        That the samples are cut into.
    """

    def __init__(self, layers: tuple[Layer, ...], trained: Sequence[bool], loss: Loss, n_samples: int) -> None:
        self.layers, self.loss = layers, loss
        on = [i for i, layer in enumerate(layers) if trained[i] and layer.kind == "linear"]
        rows = starts([n_parameters(layers[i]) for i in on])
        self.n = rows.pop()
        self.rows = dict(zip(on, rows, strict=True))
        """Where the parameters of each layer that is trained begin among all that are."""
        self.n_parameters = sum(map(n_parameters, layers))
        self.columns = -(-(self.n + 1) // TILE) * TILE
        # So much further that a register may be read from any tile of a row.
        self.line = 8 * self.columns + max(0, host().vector_bytes - 8 * TILE)
        unit = UNIT * host().vector_bytes // 8
        self.padded = -(-n_samples // unit) * unit
        least, most = BLOCK_ROWS
        block = min(max(BLOCK_BYTES // (8 * self.columns), least), most) // unit * unit
        self.work = self.padded * (self.columns**2 // 2 * max(1, layers[-1].n_out) + self.n_parameters)
        self.parts = PARTS if self.work >= PARTS * PART_WORK and self.padded >= PARTS * least else 1
        self.part = -(-self.padded // (self.parts * unit)) * unit
        self.parts = -(-self.padded // self.part)
        self.rowwise = loss.kind.startswith("cross_entropy")
        self._block = block = min(block, self.part)
        self._sums, self._values, self._solution = Steps(block), Steps(block), Steps(block)
        self._write(self._sums, slopes=True)
        self._write(self._values, slopes=False)
        size = self.columns * self.line
        self._tables = {
            "sums": self._sums.words((block, self.part, self.parts, size)),
            "values": self._values.words((block, self.padded, 1, 0)),
            "solution": self._write_solution(0),
        }
        self._size = max(self._sums.size, self._values.size, self._solution.size)
        self._kernels = {name: place for (_, name), place in library.addresses("float64", UNITS).items()}
        self._functions: dict[str, Any] = {}
        for name, kernel in (("sums", "drive_items"), ("values", "drive_items"), ("solution", "solve")):
            self._add(name, kernel)
        self._memories: list[Memory] = []

    # -- what is computed --------------------------------------------------------------------------------------------

    def samples(self, x: Array, y: Array, masses: Array) -> Samples:
        """Return samples as the kernels read them.

        Parameters
        ----------
        x : (n_samples, n_in) array
        y : (n_samples, n_out) array, or (n_samples,) with class numbers
        masses : (n_models, n_samples) array, or (1, n_samples) for all models
            Of each sample the factor of its loss.
        """
        rows = [np.zeros((width, self.padded)) for width in (x.shape[1], y.size // max(1, len(y)), len(masses))]
        for row, array in zip(rows, (x.T, y.reshape(len(y), -1).T, masses), strict=True):
            row[:, : array.shape[1]] = array
        own_x, own_y, own_masses = rows
        words = {"x": address(own_x), "y": address(own_y), "n_visits": self.padded}
        words |= {"x_column": own_x.strides[0], "y_column": own_y.strides[0]}
        return Samples(own_x, own_y, own_masses, {PLACES[name]: value for name, value in words.items()})

    def sums(self, parameters: Array, buffers: Array, samples: Samples, threads: Threads) -> Any:
        """Return losses, (n_models,), and matrices, (n_models, columns, at least as many).

        Of a matrix the upper triangle counts: the Gauss-Newton matrix, and the gradient in column ``n``.

        Parameters
        ----------
        parameters : (n_models, n_parameters) float64 array
        buffers : (n_models, n_buffers) float64 array
        samples : Samples
            With masses for all models, or for each of these.
        threads : callable
            Tells how many threads there may be, where the work repays some.
        """
        m = len(parameters)
        matrices, losses = np.empty((m * self.parts, self.columns, self.line // 8)), np.empty(m * self.parts)
        words = self._words(parameters, buffers, samples, matrices, losses)
        self._run("sums", words, m * self.parts, self.work * m, threads)
        if self.parts == 1:
            return losses, matrices
        found = []
        for array in (losses, matrices):
            of_parts = array.reshape(m, self.parts, *array.shape[1:])
            total = of_parts[:, 0].copy()
            for part in range(1, self.parts):
                total += of_parts[:, part]
            found.append(total)
        return tuple(found)

    def values(self, parameters: Array, buffers: Array, samples: Samples, threads: Threads) -> Array:
        """Return losses, (n_models,); see ``sums``."""
        m = len(parameters)
        losses = np.empty(m)
        words = self._words(parameters, buffers, samples, losses, losses)
        self._run("values", words, m, m * self.padded * self.n_parameters, threads)
        return losses

    def solve(self, matrices: Array, diagonals: Array, threads: Threads) -> Array:
        """Return the solutions ``s`` of ``(A + diag) s = g``, (n_models, n), NaN where ``A`` is not positive definite.

        Of up to ``LARGEST_SOLVED`` parameters.

        Parameters
        ----------
        matrices : float64 array
            As ``sums`` returns them.
        diagonals : (n_models, n) float64 array
        threads : callable
        """
        if self.n > LARGEST_SOLVED:
            raise ValueError(f"expected at most {LARGEST_SOLVED} parameters to solve for; got {self.n}.")
        out = np.empty((len(matrices), self.n))
        words = {_MATRICES: address(matrices), _DIAGONALS: address(diagonals), _OUT: address(out)}
        self._run("solution", words, len(matrices), len(matrices) * self.n**3 // 3, threads)
        return out

    # -- running -----------------------------------------------------------------------------------------------------

    def _words(
        self, parameters: Array, buffers: Array, samples: Samples, matrices: Array, losses: Array
    ) -> dict[int, int]:
        words = {_MATRICES: address(matrices), _LOSSES: address(losses)}
        for (place, step), array in zip(_OWN, (parameters, buffers, samples.masses), strict=True):
            words[place] = address(array)
            words[step] = array.strides[0] if len(array) > 1 else 0
        return samples.words | words

    def _add(self, name: str, kernel: str) -> None:
        """Let ``_run`` know a table by its name, and the kernel that is called with it."""
        self._functions[name] = _SIGNATURE(self._kernels[kernel]), address(self._tables[name])

    def _run(self, name: str, words: dict[int, int], items: int, work: int, threads: Threads) -> None:
        function, place = self._functions[name]
        n_threads = min(items, work // THREAD_WORK)
        n_threads = min(n_threads, threads()) if n_threads > 1 else 1
        memories = [self._take() for _ in range(n_threads)]
        for i, memory in enumerate(memories):
            held = memory.words
            for word, value in words.items():
                held[word] = value
            held[_FIRST], held[_LAST] = items * i // n_threads, items * (i + 1) // n_threads
        if n_threads == 1:
            function(memories[0].address, place)
        else:
            with Helpers() as helpers:
                alone = [memory for memory in memories[1:] if not helpers.start(function, memory.address, place)]
                for memory in [memories[0], *alone]:
                    function(memory.address, place)
        self._memories += memories

    def _take(self) -> Memory:
        """Return memory that nobody else uses; the arena begins with zeros, which padding of the matrix stays."""
        try:
            return self._memories.pop()
        except IndexError:
            return Memory.of(self._size)

    # -- the tables --------------------------------------------------------------------------------------------------

    def _write(self, steps: Steps, *, slopes: bool) -> None:
        """Write the way forward and the loss; with ``slopes`` also the ways back and the products."""
        # The Jacobian comes first, where nothing else ever writes to its padding.
        jacobian = steps.take(self.columns if slopes else 0)
        passes = Passes(self.layers, steps, slopes=slopes)
        loss = self._write_loss(steps, passes)
        if slopes:
            self._write_back(steps, jacobian, passes, *loss)

    def _write_loss(self, steps: Steps, passes: Passes) -> tuple[int, int]:
        """Write the loss of what has gone forward; return where heights and ratios are."""
        kind, n_out = self.loss.kind, self.layers[-1].n_out
        heights, ratios = steps.take(n_out), steps.take(n_out)
        parameter = float_of(self.loss.parameter)
        steps.add(f"curvature:{kind}", f"curvature_{kind}", passes.output, heights, ratios, n_out, parameter)
        return heights, ratios

    def _write_back(self, steps: Steps, jacobian: int, passes: Passes, heights: int, ratios: int) -> None:
        """Write the ways back of all outputs, and the products of the Jacobian's rows."""
        n_out, rowwise, passes.steps = self.layers[-1].n_out, int(self.rowwise), steps
        seed, rows = steps.take(n_out), {i: jacobian + row * steps.stride for i, row in self.rows.items()}
        for r in range(n_out):
            steps.add("abreast", "seed", heights, seed, n_out, r, passes.output, rowwise)
            passes.back(seed, rows, last=min(rows))
            steps.add("abreast", "copy", ratios + r * steps.stride, jacobian + self.n * steps.stride, 1)
            steps.add("abreast", "triangle", jacobian, self.columns, self.line)

    def _write_solution(self, place: int) -> Array:
        """Return the table of what solves, whose scratch begins at a place in the arena."""
        factor, vector = self.columns * self.line, self.line + host().vector_bytes
        self._solution.size = place + (factor + 3 * vector if self.n <= LARGEST_SOLVED else 0)
        return np.array([place, *(place + factor + i * vector for i in range(3)), self.n, self.line], np.int64)


_FIRST, _LAST, _MATRICES, _LOSSES, _DIAGONALS, _OUT = (
    PLACES[name] for name in ("first_item", "last_item", "gradients", "losses", "moments", "out")
)
_OWN = [(PLACES[name], PLACES[f"{name}_step"]) for name in ("parameters", "buffers", "weight")]
"""What each model has of its own: where it begins, and the bytes to that of the next model."""
