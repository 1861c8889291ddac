"""LanesPlan: the models of an ensemble side by side, one in each lane of the SIMD registers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.many import programs, small
from tinynet_kernels.cpu.generated.many.builder import Sharing, block_rows
from tinynet_kernels.cpu.generated.table import Sources
from tinynet_kernels.cpu.generated.task import Data, reads
from tinynet_kernels.network import Layer

from tinynet.backends.base import Array, Backend, FloatArray, Members, State, own_weight
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.backends.members import KEPT_PLANS, MembersPlan
from tinynet.backends.numba.calls import Calls
from tinynet.backends.numba.lanes_calls import LanesCall, Many
from tinynet.base import config
from tinynet.base.kept import Kept
from tinynet.program import LossSpec, Program

GROUP_BYTES = 1 << 19
"""Most bytes of the parameters of a group, a common second-level cache. From about here on products for one model at a
time are quicker, with and without moments (measured with batches of 32)."""

KEPT_TASKS = 64
"""Tables that a plan keeps, with memory to run them: one for each kind of data and batch size."""

KEPT_CALLS = 8
"""Calls that a plan keeps ready: of some models, and some numbers of rows."""

CHECK_ROWS = 1 << 12
"""Rows that are looked at together: they may lie on disk."""

WIDEST = 64
"""Bytes of the widest registers."""

THREAD_WORK = 1 << 20
"""Multiplications of a call that repay another thread, which is started for it."""


def fits(program: Program) -> bool:
    """Whether models are small enough to be quicker side by side."""
    return 0 < program.n_parameters * host().vector_bytes <= GROUP_BYTES


class LanesPlan(MembersPlan):
    """Train, evaluate and predict with groups of models, on several threads.

    Data in long double, which no generated code reads, go through model by model.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        self.program, self.backend, self.granularity = program, backend, "epoch"
        self._plans = Kept(KEPT_PLANS)
        size = np.dtype(program.dtype).itemsize
        self._target = host().holding(program.n_models or 1, size)
        self._lanes = lanes = self._target.vector_bytes // size
        self.description = (
            f"fused: whole epochs in generated code, {lanes} models at a time, one in each lane of the registers"
        )
        self._tasks: Kept[Many] = Kept(KEPT_TASKS)
        self._calls: Calls[LanesCall] = Calls(most=KEPT_CALLS)

    # -- the contract ------------------------------------------------------------------------------------------------

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
        arrays = (x, y) if sample_weight is None else (x, y, sample_weight)
        if not reads(*arrays):
            return super().run(state, x, y, order, learning_rates, sample_weight, members)
        chosen, n_epochs = state.chosen(members), len(learning_rates)
        n_visits = len(x) if order is None else order.shape[-1]
        batch = min(self.program.batch_size or n_visits, n_visits)
        losses = np.empty((n_epochs, len(chosen)))
        if not len(chosen):
            return losses
        sharing = Sharing(order is None or order.ndim == 2, sample_weight is None or sample_weight.ndim == 1)
        divisor = float(n_visits) if self._loss_spec.reduction == "mean" else 1.0
        train = partial(self._training, sharing=sharing, batch=batch)
        key, call = self._take(("run", sharing), train, state, arrays, chosen, n_visits, batch, divisor)
        made, own_rates = call.made, learning_rates.ndim == 3
        if own_rates:
            rates = np.ascontiguousarray(learning_rates[..., made.whole_groups(len(chosen))], np.float64)
        else:  # Behind shared rates there is memory for all lanes to read.
            rates = np.zeros(learning_rates.size + made.lanes)
            rates[: learning_rates.size] = learning_rates.ravel()
        words = {
            # A kernel for small networks counts the epochs itself.
            "n_epochs": 0 if made.task.counts else n_epochs,
            "laps": n_epochs,
            "rates": address(rates),
            "n_rates": learning_rates.shape[1],
            "rates_step": rates.shape[-1] if own_rates else 1,
            "model_losses": address(losses),
        }
        call.run_models(state, arrays, order, words, self._threads(made, len(chosen), n_epochs * n_visits))
        self._calls.give_back(key, call)
        n_updates = n_epochs * -(-n_visits // batch)
        state.step[chosen] += n_updates
        state.draws[chosen] += n_updates
        return losses

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not reads(x):
            return super().predict(state, x, out, members)
        dtype = self.program.dtype
        chosen = state.chosen(members)
        ready = out if out.flags.c_contiguous and out.dtype == dtype else np.empty(out.shape, dtype)
        if len(chosen) and len(x):
            words = {"out": address(ready), "out_model": ready[:1].nbytes}
            self._read("predict", self._prediction, state, (x,), chosen, words)
        if ready is not out:
            out[...] = ready
        return all(bool(np.isfinite(x[i : i + CHECK_ROWS]).all()) for i in range(0, len(x), CHECK_ROWS))

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        arrays = (x, y) if sample_weight is None else (x, y, sample_weight)
        if not reads(*arrays):
            return super().evaluate(state, x, y, sample_weight, members)
        chosen = state.chosen(members)
        losses = np.zeros(len(chosen))
        if len(chosen) and len(x):
            evaluate = partial(self._evaluation, own_weight=len(arrays) == 3 and arrays[2].ndim == 2)
            self._read("evaluate", evaluate, state, arrays, chosen, {"model_losses": address(losses)})
        found: NDArray[np.float64] = losses / self._wholes(len(x), sample_weight, chosen)
        return found

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def _loss_spec(self) -> LossSpec:
        assert self.program.loss is not None
        return self.program.loss

    def _wholes(self, n: int, weight: Array | None, chosen: Members) -> NDArray[np.float64]:
        """Return what the loss of each model over ``n`` rows is divided by; infinity where nothing counts."""
        if self._loss_spec.reduction == "sum":
            return np.ones(len(chosen))
        if weight is None or not self._loss_spec.by_weight:
            return np.full(len(chosen), n or np.inf)
        masses = np.asarray(own_weight(weight, chosen), np.float64).sum(axis=-1)
        return np.where(masses == 0, np.inf, masses)

    def _read(
        self,
        kind: str,
        make: Callable[[Sources], Many],
        state: State,
        arrays: tuple[Array, ...],
        chosen: Members,
        words: dict[str, int],
    ) -> None:
        """Go through all rows once, as they lie, and train nothing."""
        n = len(arrays[0])
        key, call = self._take((kind,), make, state, arrays, chosen, n, n)
        call.run_models(state, arrays, None, words, self._threads(call.made, len(chosen), n))
        self._calls.give_back(key, call)

    def _take(
        self,
        kind: tuple[Hashable, ...],
        make: Callable[[Sources], Many],
        state: State,
        arrays: tuple[Array, ...],
        chosen: Members,
        n_visits: int,
        batch: int,
        divisor: float = 1.0,
    ) -> tuple[Hashable, LanesCall]:
        """Return what a call is kept by, and one that is ready for a state, data and models."""
        key = *kind, n_visits, batch, chosen.tobytes()
        call = self._calls.take(key, state, arrays)
        if call is None:
            data = {name: Data.of(array) for name, array in zip(("x", "y", "weight"), arrays, strict=False)}
            made = make(Sources(**{name: source.code for name, source in data.items()}))
            call = LanesCall(made, self.program, state, data, chosen, n_visits, batch, divisor)
        return key, call

    def _threads(self, made: Many, n: int, rows: int) -> int:
        """Return how many threads a call for ``n`` models over so many rows repays; its result is the same."""
        repaid = n_groups = -(-n // made.lanes)
        if config.chosen_threads() is None:
            repaid = min(n_groups, max(1, n * rows * self.program.n_parameters // THREAD_WORK))
        return 1 if repaid <= 1 else min(config.threads(), repaid)

    def _training(self, sources: Sources, *, sharing: Sharing, batch: int) -> Many:
        def make() -> programs.Made:
            network = lower(self.program, weighted=bool(sources.weight), ordered=True)
            if self.program.specialize == "sizes" and small.fits(network, batch):
                # Single samples wait for one another; wider registers have enough to do meanwhile.
                wide = batch == 1 and self._target.vector_bytes < WIDEST and (self.program.n_models or 1) > self._lanes
                return programs.training_unrolled(network, sources, sharing, self._target, batch, wide=wide)
            block = block_rows(network.layers, network.dtype, self._target, batch)
            return programs.training(network, sources, sharing, self._target, batch, block)

        return self._made("train", (sources, sharing, batch), make)

    def _prediction(self, sources: Sources) -> Many:
        def make() -> programs.Made:
            layers, dtype = _without_dropout(layers_of(self.program.ops[self.program.first :])), self.program.dtype
            return programs.prediction(layers, dtype, sources, self._target, block_rows(layers, dtype, self._target))

        return self._made("predict", sources, make)

    def _evaluation(self, sources: Sources, *, own_weight: bool) -> Many:
        sharing = Sharing(True, not own_weight)

        def make() -> programs.Made:
            program, spec = self.program, self._loss_spec
            ops = program.ops[:-1] if spec.on_logits else program.ops
            layers = _without_dropout(layers_of(ops[program.first :]))
            block, loss = block_rows(layers, program.dtype, self._target), loss_of(spec, program.n_out)
            return programs.evaluation(layers, loss, program.dtype, sources, sharing, self._target, block)

        return self._made("evaluate", (sources, sharing), make)

    def _made(self, kind: str, key: Hashable, make: Callable[[], programs.Made]) -> Many:
        return self._tasks.made((kind, key), lambda: Many(make(), trains=kind == "train"))


def _without_dropout(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    return tuple(layer for layer in layers if layer.kind != "dropout")
