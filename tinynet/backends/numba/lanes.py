"""LanesPlan: the models of an ensemble side by side, one in each lane of the SIMD registers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.compiling import Kernel
from tinynet_kernels.cpu.fused import many

from tinynet.backends.base import Array, Backend, FloatArray, Members, State
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.backends.members import KEPT_PLANS, MembersPlan
from tinynet.base import config
from tinynet.base.arrays import is_plain
from tinynet.base.kept import Kept
from tinynet.program import Program

BLOCK_BYTES = 1 << 20
"""Most bytes of the parameters of a block, a common second-level cache. From about here on products by BLAS for one
model at a time are quicker, with and without moments (measured with batches of 32)."""

KEPT_FUNCTIONS = 64
"""Functions that a plan keeps: one for each kind of data and batch size."""


def fits(program: Program) -> bool:
    """Whether models are small enough to be quicker side by side, and their loss has no more than these can do."""
    loss = program.loss
    if loss is not None and (loss.l2 or loss.by_weight or loss.report != 1.0):
        return False
    return 0 < program.n_parameters * many.REGISTER_BYTES <= BLOCK_BYTES


class LanesPlan(MembersPlan):
    """Train, evaluate and predict with blocks of models, on several threads.

    Data that do not lie as Numba reads them, which are on disk, go through model by model.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        self.program, self.backend, self.granularity = program, backend, "epoch"
        self._plans = Kept(KEPT_PLANS)
        lanes = many.n_lanes(program.dtype)
        self.description = f"fused: whole epochs of {lanes} models at a time, one in each lane of the registers"
        self._functions: Kept[many.Many] = Kept(KEPT_FUNCTIONS)

    def run(
        self,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        learning_rates: FloatArray,
        sample_weight: Array | None = None,
        members: Members | None = None,
    ) -> NDArray[np.float64]:
        """Train; see ``Plan.run``."""
        if not _plain(x, y, sample_weight):
            return super().run(state, x, y, order, learning_rates, sample_weight, members)
        n_epochs, n_visits = len(learning_rates), len(x) if order is None else order.shape[-1]
        batch_size = self.program.batch_size or n_visits
        made = self._training(order, learning_rates, sample_weight, batch_size)
        chosen = state.chosen(members)
        losses = np.empty((n_epochs, len(chosen)))
        rates = made.padded(learning_rates) if learning_rates.ndim == 3 else learning_rates
        counters = [made.padded(values[chosen]) for values in (state.draws, state.dropout_seed)]
        counts = made.padded(state.step[chosen].astype(np.float64))
        vectors = (state.parameters, state.moments, state.buffers)
        self._on_threads(made, chosen, (*vectors, x, y, sample_weight, order, rates, losses), (counts, *counters))
        n_updates = n_epochs * -(-n_visits // batch_size)
        state.step[chosen] += n_updates
        state.draws[chosen] += n_updates
        return losses

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not _plain(x):
            return super().predict(state, x, out, members)
        made = self._prediction()
        self._on_threads(made, state.chosen(members), (state.parameters, state.buffers, x, out), ())
        return bool(np.isfinite(x).all())

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        if not _plain(x, y, sample_weight):
            return super().evaluate(state, x, y, sample_weight, members)
        made = self._evaluation(sample_weight)
        chosen = state.chosen(members)
        losses = np.empty(len(chosen))
        self._on_threads(made, chosen, (state.parameters, state.buffers, x, y, sample_weight, losses[None]), ())
        return losses

    def function_for(self, method: str, arguments: tuple[Any, ...]) -> Kernel:
        """Return the compiled function behind a call; ``arguments`` are those that it takes after the state."""
        if method == "predict":
            return self._prediction().run
        if method == "evaluate":
            return self._evaluation(arguments[2]).run
        x, _, order, learning_rates, weight, _ = arguments
        n_visits = len(x) if order is None else order.shape[-1]
        return self._training(order, learning_rates, weight, self.program.batch_size or n_visits).run

    # -- parts -------------------------------------------------------------------------------------------------------

    def _training(
        self, order: Array | None, learning_rates: FloatArray, weight: Array | None, batch_size: int
    ) -> many.Many:
        data = many.Data(
            order="none" if order is None else ("shared", "own")[order.ndim - 2],
            weight=_sharing(weight),
            own_rates=learning_rates.ndim == 3,
        )
        network = lower(self.program, weighted=weight is not None, ordered=order is not None)
        return self._functions.made(("train", data, batch_size), lambda: many.training(network, data, batch_size))

    def _prediction(self) -> many.Many:
        layers = tuple(layer for layer in layers_of(self.program.ops) if layer.kind != "dropout")
        return self._functions.made("predict", lambda: many.prediction(layers, self.program.dtype))

    def _evaluation(self, weight: Array | None) -> many.Many:
        program, loss, sharing = self.program, self.program.loss, _sharing(weight)
        assert loss is not None
        ops = program.ops[:-1] if loss.on_logits else program.ops
        layers = tuple(layer for layer in layers_of(ops) if layer.kind != "dropout")
        return self._functions.made(
            ("evaluate", sharing),
            lambda: many.evaluation(layers, loss_of(loss, program.n_out), sharing, program.dtype),
        )

    def _on_threads(self, made: many.Many, members: Members, data: tuple[Any, ...], rest: tuple[Any, ...]) -> None:
        """Share the blocks of models among threads, of which this one is the first."""
        n, lanes, numbers = len(members), made.lanes, made.numbers(members)

        def run(shares: Iterable[tuple[int, int]]) -> None:
            scratch = made.work()
            for low, high in shares:
                made.run(*data, *scratch, made.places, numbers, *rest, members, low, high)

        n_blocks = -(-n // lanes)
        n_threads = min(config.threads(), n_blocks)
        if n_threads <= 1:
            run([(0, n)])
            return
        run([(0, 0)])  # Compiles, if need be: once, and not in several threads that wait for one another.
        # All threads take from one iterator; to advance one of a list is atomic.
        shares = iter([(low * lanes, min(n, high * lanes)) for low, high in shares_of(n_blocks, n_threads)])
        with ThreadPoolExecutor(n_threads - 1) as pool:
            others = [pool.submit(run, shares) for _ in range(n_threads - 1)]
            run(shares)
            for other in others:
                other.result()


def shares_of(n_blocks: int, n_threads: int) -> Iterator[tuple[int, int]]:
    """Cut blocks of models into shares that get smaller towards the end, (first, last) of each.

    A thread takes the next share when it is done with one (guided self-scheduling, Polychronopoulos and Kuck 1987, with
    shares of half the size): the few large ones cost next to nothing to hand out, and the last are single blocks, so
    that no thread waits longer than for one block, however unevenly the cores run.

    Examples
    --------
    >>> list(shares_of(10, 2))
    [(0, 2), (2, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 10)]
    """
    first = 0
    while first < n_blocks:
        last = first + max(1, (n_blocks - first) // (2 * n_threads))
        yield first, last
        first = last


def _plain(*data: Array | None) -> bool:
    """Whether data lie as the compiled functions read them."""
    return all(array is None or is_plain(array) for array in data)


def _sharing(array: Any) -> str:
    return "none" if array is None else ("shared", "own")[array.ndim - 1]
