"""LanesPlan: the models of an ensemble side by side, one in each lane of the SIMD registers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.many import programs, small
from tinynet_kernels.cpu.generated.many.builder import Sharing, block_rows
from tinynet_kernels.cpu.generated.table import Sources
from tinynet_kernels.cpu.generated.task import Data, Task, reads
from tinynet_kernels.helpers import Helpers
from tinynet_kernels.network import Layer

from tinynet.backends.base import Array, Backend, FloatArray, Members, State, own_weight
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.backends.members import KEPT_PLANS, MembersPlan
from tinynet.backends.numba.calls import addresses_of, check_sizes, vectors_of
from tinynet.base import config
from tinynet.base.kept import Kept
from tinynet.program import LossSpec, Program

GROUP_BYTES = 1 << 19
"""Most bytes of the parameters of a group, a common second-level cache. From about here on products for one model at a
time are quicker, with and without moments (measured with batches of 32)."""

KEPT_TASKS = 64
"""Tables that a plan keeps, with memory to run them: one for each kind of data and batch size."""

CHECK_ROWS = 1 << 12
"""Rows that are looked at together: they may lie on disk."""

WIDEST = 64
"""Bytes of the widest registers."""

THREAD_WORK = 1 << 20
"""Multiplications of a call that repay another thread, which is started for it."""


def fits(program: Program) -> bool:
    """Whether models are small enough to be quicker side by side."""
    return 0 < program.n_parameters * host().vector_bytes <= GROUP_BYTES


class _Many:
    """What trains, evaluates or predicts, with the settings of the models.

    Attributes
    ----------
    task : Task
    lanes : int
        Models side by side.
    trains : bool
    """

    def __init__(self, made: programs.Made, *, trains: bool) -> None:
        self.task, self.lanes, self.trains = Task(made.table), made.lanes, trains
        self._settings = made.settings
        self._last: tuple[bytes, Members, NDArray[np.float64]] = (b"", np.empty(0, np.int64), np.empty(0))

    def whole_groups(self, n: int) -> NDArray[np.int64]:
        """Return the places of ``n`` models, with the last one again until groups are full."""
        return np.minimum(np.arange(-(-n // self.lanes) * self.lanes), n - 1)

    def groups_of(self, chosen: Members) -> tuple[Members, NDArray[np.float64]]:
        """Return some models in whole groups, and their settings, (n_settings, n_members); most often the last ones."""
        key, last = chosen.tobytes(), self._last
        if last[0] != key:
            members = chosen[self.whole_groups(len(chosen))]
            table = np.zeros((len(self._settings), len(members)))
            for row, value in zip(table, self._settings, strict=True):
                row[:] = np.array(value)[members] if isinstance(value, tuple) else value
            self._last = last = key, members, table
        return last[1:]


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
        self._tasks: Kept[_Many] = Kept(KEPT_TASKS)

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
        if not reads(x, y, sample_weight):
            return super().run(state, x, y, order, learning_rates, sample_weight, members)
        chosen = state.chosen(members)
        data, n_epochs = self._data(x, y, sample_weight), len(learning_rates)
        n_visits = len(x) if order is None else order.shape[-1]
        batch = min(self.program.batch_size or n_visits, n_visits)
        sharing = Sharing(order is None or order.ndim == 2, sample_weight is None or sample_weight.ndim == 1)
        made = self._training(_sources(data), sharing, batch)
        own_rates = learning_rates.ndim == 3
        if own_rates:
            rates = np.ascontiguousarray(learning_rates[..., made.whole_groups(len(chosen))], np.float64)
        else:  # Behind shared rates there is memory for all lanes to read.
            rates = np.zeros(learning_rates.size + made.lanes)
            rates[: learning_rates.size] = learning_rates.ravel()
        losses = np.empty((n_epochs, len(chosen)))
        words = {
            # A kernel for small networks counts the epochs itself.
            "n_epochs": 0 if made.task.counts else n_epochs,
            "laps": n_epochs,
            "rates": address(rates),
            "n_rates": learning_rates.shape[1],
            "rates_step": rates.shape[-1] if own_rates else 1,
        }
        divisor = float(n_visits) if self._loss_spec.reduction == "mean" else 1.0
        self._pass(made, state, chosen, data, order, n_visits, batch, words, losses, divisor)
        n_updates = n_epochs * -(-n_visits // batch)
        state.step[chosen] += n_updates
        state.draws[chosen] += n_updates
        return losses

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output of each model and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not reads(x):
            return super().predict(state, x, out, members)
        dtype = self.program.dtype
        chosen, data = state.chosen(members), {"x": Data.of(x)}
        ready = out if out.flags.c_contiguous and out.dtype == dtype else np.empty(out.shape, dtype)
        words = {"out": address(ready), "out_model": ready[:1].nbytes}
        self._pass(self._prediction(_sources(data)), state, chosen, data, None, len(x), max(1, len(x)), words)
        if ready is not out:
            out[...] = ready
        return all(bool(np.isfinite(x[i : i + CHECK_ROWS]).all()) for i in range(0, len(x), CHECK_ROWS))

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> NDArray[np.float64]:
        """Return the loss of each model over ``x``; see ``Plan.evaluate``."""
        if not reads(x, y, sample_weight):
            return super().evaluate(state, x, y, sample_weight, members)
        chosen, data = state.chosen(members), self._data(x, y, sample_weight)
        made = self._evaluation(_sources(data), Sharing(True, sample_weight is None or sample_weight.ndim == 1))
        losses = np.zeros((1, len(chosen)))
        self._pass(made, state, chosen, data, None, len(x), max(1, len(x)), {}, losses)
        found: NDArray[np.float64] = losses[0] / self._wholes(len(x), sample_weight, chosen)
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

    def _data(self, x: Array, y: Array, weight: Array | None) -> dict[str, Data]:
        """Return what rows are gathered from, by name."""
        found = {"x": Data.of(x), "y": Data.of(y)}
        if weight is not None:
            found["weight"] = Data.of(weight)
        return found

    def _pass(
        self,
        made: _Many,
        state: State,
        chosen: Members,
        data: dict[str, Data],
        order: Array | None,
        n_visits: int,
        batch: int,
        words: dict[str, int],
        losses: NDArray[np.float64] | None = None,
        divisor: float = 1.0,
    ) -> None:
        """Run a task over the data, the groups of models shared among threads, of which this one is the first."""
        n, own_order = len(chosen), order is not None and order.ndim == 3
        if not n:
            return
        places = np.arange(n_visits) if order is None else np.ascontiguousarray(order, np.int64)
        members, numbers = made.groups_of(chosen)
        counters = np.empty((4, len(members)), np.int64)
        counters[0] = members
        for row, values in zip(counters[1:], (state.step, state.draws, state.dropout_seed), strict=True):
            np.take(values, members, out=row)
        # What layers between others store, in the dtype in which the lanes hold it.
        stored = np.ascontiguousarray(state.buffers[:, self.program.own_buffers], self.program.dtype)
        vectors = {**vectors_of(state), "buffers": stored}
        check_sizes(vectors, self.program, trains=made.trains)
        context = addresses_of(vectors)
        place, row = address(counters), counters.strides[0]
        context |= {name: place + i * row for i, name in enumerate(("members", "counts", "drawn", "seeds"))}
        context |= {"numbers": address(numbers), "order": address(places)}
        if losses is not None:
            context["model_losses"] = address(losses)
        context |= {"n_visits": n_visits, "batch": batch, "n_rates": 1, "n_epochs": 1, "laps": 1, "rates_step": 1}
        context["order_step"] = 0 if order is None else places[:1].nbytes
        context |= {"order_model": 8 * n_visits if own_order else 0, "moments_row": state.moments[:1].nbytes}
        for name, source in data.items():
            context |= source.words(name)
        if "weight" in data and data["weight"].array.ndim == 2:
            context |= {"weight_model": data["weight"].array.strides[0], "weight_row": data["weight"].array.strides[1]}
        context |= {"n_members": n, "n_padded": len(members), "drive": made.task.driver} | words
        n_epochs = context["laps"]

        def run(shares: Iterable[tuple[int, int]]) -> None:
            # The driver writes a sum of its own for each epoch.
            sums = np.empty(n_epochs)
            for first, last in shares:
                part = {"losses": address(sums), "first_model": first, "last_model": last}
                made.task(context | part, divisor)

        lanes, n_groups = made.lanes, -(-n // made.lanes)
        n_threads = self._threads(n_groups, n * n_epochs * n_visits)
        if n_threads <= 1:
            run([(0, n)])
            return
        # All threads take from one iterator; to advance one of a list is atomic.
        shares = iter([(low * lanes, min(n, high * lanes)) for low, high in shares_of(n_groups, n_threads)])
        with Helpers() as helpers:
            while n_threads > 1 and helpers.start(run, shares):
                n_threads -= 1
            run(shares)

    def _threads(self, n_groups: int, rows: int) -> int:
        """Return how many threads a call over so many rows, of all models together, repays; its result is the same."""
        repaid = n_groups
        if config.chosen_threads() is None:
            repaid = min(n_groups, max(1, rows * self.program.n_parameters // THREAD_WORK))
        return 1 if repaid <= 1 else min(config.threads(), repaid)

    def _training(self, sources: Sources, sharing: Sharing, batch: int) -> _Many:
        def make() -> programs.Made:
            network = lower(self.program, weighted=bool(sources.weight), ordered=True)
            if self.program.specialize == "sizes" and small.fits(network, batch):
                # Single samples wait for one another; wider registers have enough to do meanwhile.
                wide = batch == 1 and self._target.vector_bytes < WIDEST and (self.program.n_models or 1) > self._lanes
                return programs.training_unrolled(network, sources, sharing, self._target, batch, wide=wide)
            block = block_rows(network.layers, network.dtype, self._target, batch)
            return programs.training(network, sources, sharing, self._target, batch, block)

        return self._made("train", (sources, sharing, batch), make)

    def _prediction(self, sources: Sources) -> _Many:
        def make() -> programs.Made:
            layers, dtype = _without_dropout(layers_of(self.program.ops[self.program.first :])), self.program.dtype
            return programs.prediction(layers, dtype, sources, self._target, block_rows(layers, dtype, self._target))

        return self._made("predict", sources, make)

    def _evaluation(self, sources: Sources, sharing: Sharing) -> _Many:
        def make() -> programs.Made:
            program, spec = self.program, self._loss_spec
            ops = program.ops[:-1] if spec.on_logits else program.ops
            layers = _without_dropout(layers_of(ops[program.first :]))
            block, loss = block_rows(layers, program.dtype, self._target), loss_of(spec, program.n_out)
            return programs.evaluation(layers, loss, program.dtype, sources, sharing, self._target, block)

        return self._made("evaluate", (sources, sharing), make)

    def _made(self, kind: str, key: Hashable, make: Callable[[], programs.Made]) -> _Many:
        return self._tasks.made((kind, key), lambda: _Many(make(), trains=kind == "train"))


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


def _without_dropout(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    return tuple(layer for layer in layers if layer.kind != "dropout")


def _sources(data: dict[str, Data]) -> Sources:
    return Sources(**{name: source.code for name, source in data.items()})
