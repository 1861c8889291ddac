"""GeneratedPlan: one model in machine code that tinynet writes itself, which a table of its layers drives."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated import programs, registers, samples, sobolev
from tinynet_kernels.cpu.generated.address import address
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.few import most_rows
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import LARGE_LAYER, WHOLE_BATCH, block_rows, is_large, ranges_of, suited
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.task import Data, Task, dtype_code, reads
from tinynet_kernels.network import NORMS, Layer

from tinynet.backends.base import Array, Backend, FloatArray, Members, State
from tinynet.backends.chain import zero_frozen
from tinynet.backends.loop import LoopPlan, required
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.backends.numba.calls import Call, Calls, addresses_of, check_sizes, vectors_of
from tinynet.base import config
from tinynet.base.kept import Kept
from tinynet.program import BatchNormOp, LossSpec, Op, Program, ResidualOp, all_ops

KEPT_TASKS = 8
"""Tables of a plan that are kept, with memory to run them: for kinds of data, and numbers of rows."""
FEW_ROWS = 64
"""Predictions of up to so many rows are made from copies in a place whose address is known."""
SHORT_WAY = 1 << 12
"""Most rows that are predicted the shortest way, if they do not repay a second thread."""
REGISTERS = "one sample after the other, weights in registers"
SAMPLES = "samples side by side in SIMD lanes"
TILES = "products from tiles of registers"
BLOCKS = f"{TILES}, in blocks that threads share"

THREAD_WORK = 1 << 24
"""Multiplications of a call that repay another thread, which is started for it."""
MEETING_WORK = 1 << 19
"""Multiplications of a batch that repay another thread, for which all wait at its end."""
THREAD_COLUMNS = 64
"""What the functions of a layer cost beside its product, in numbers of it."""


def learns_slopes(program: Program) -> bool:
    """Whether generated code goes through the layers of a program with derivatives by the inputs."""
    return sobolev.fits(layers_of(program.ops[program.first :]), standardised=program.standardised)


def lacking_reason(program: Program) -> str | None:
    """Tell which layers, among those that there is code for, are of a kind or a size that it is not for."""
    for i, op in enumerate(program.ops):
        for part in all_ops((op,)):
            if isinstance(part, ResidualOp) and part.projects and part.n_in * part.n_out >= LARGE_LAYER:
                return f"a projection of {part.n_in * part.n_out:,} weights"
            if not isinstance(part, BatchNormOp) or program.optimizer is None:
                continue
            if i in program.frozen:
                return "a frozen BatchNorm"
            if program.batch_size is None or program.batch_size > WHOLE_BATCH:
                return f"BatchNorm over batches of more than {WHOLE_BATCH} rows"
    return None


class GeneratedPlan(LoopPlan):
    """Trains, predicts and evaluates in generated code; what is done by hand goes kernel by kernel, as ever.

    So do long doubles that stay on disk, whose format is another on each kind of processor.
    """

    gradient_is_fused = True

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "")
        layers = layers_of(self._ops)
        self._target = suited(layers, program.dtype, host())
        self._large = any(map(is_large, layers))
        # All but linear layers read their parameters in panels.
        panels = any(layer.kind in (*NORMS, "join") for layer in layers)
        self._few = 0 if panels else most_rows(self._target)
        self.description = f"fused: whole epochs in generated code, {self._way(program.batch_size or 1 << 30)}"
        self._tasks: Kept[Task] = Kept(most=KEPT_TASKS)
        self._calls: Calls[Call] = Calls(most=KEPT_TASKS)
        self._ways: dict[int, str] = {}

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
        required(self.program)
        rates = np.ascontiguousarray(learning_rates, np.float64)
        n_epochs, n_visits = len(rates), len(x) if order is None else order.shape[1]
        batch = min(self.program.batch_size or n_visits, n_visits)
        if batch == 1 or n_visits % batch == 1:
            self._require_more_than_one_sample()
        key, call = self._take("run", state, x, y, sample_weight, n_visits, batch, n_epochs)
        if call is None:
            return super().run(state, x, y, order, learning_rates, sample_weight)
        losses = np.zeros((n_epochs, 1))
        call.run_epochs(state, order, rates, losses)
        self._calls.give_back(key, call)
        n_updates = n_epochs * -(-n_visits // batch)
        state.step += n_updates
        state.draws += n_updates
        return losses

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        # All rows are one batch then, which goes through in blocks.
        whole = any(isinstance(op, BatchNormOp) for op in all_ops(self._ops))
        total = None if whole else self._total("gradient", state, x, y, sample_weight)
        if total is None:
            return super().gradient(state, x, y, sample_weight)
        zero_frozen(self.program, state.gradients)
        return total

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        loss, whole = self._loss_spec, float(len(x))
        if sample_weight is not None and loss.by_weight:
            whole = float(sample_weight.sum(dtype="float64"))
        total = self._total("evaluate", state, x, y, sample_weight)
        if total is None:
            return super().evaluate(state, x, y, sample_weight)
        return total / ((whole or math.inf) if loss.reduction == "mean" else 1.0)

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not reads(x):
            return super().predict(state, x, out)
        n, dtype = len(x), self.program.dtype
        ready = out if out.flags.c_contiguous and out.dtype == dtype else np.empty(out.shape, dtype)
        n_threads = self._threads(n, n)
        key = "predict", n, n_threads
        call = self._calls.take(key, state, (x,))
        if call is None:
            source, vectors = Data.of(x), vectors_of(state)
            task = self._prediction_task(source.code, few=n <= self._few)
            words = {**self._places(vectors), "batch": max(1, n), "ranges": self._ranges(n)}
            call = Call(task, {"x": source}, vectors, n, words, 1.0, n_threads)
        finite = call.run_into(ready, state)
        self._calls.give_back(key, call)
        if ready is not out:
            out[...] = ready
        return finite

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict. For few rows it is a matter of a microsecond: no step is in it twice.

        Of more rows than repay a second thread it leaves the work to ``predict``, whose results have the same bits.
        """
        program, dtype = self.program, np.dtype(self.program.dtype)
        n_in, n_out, ndarray, empty = program.n_in, program.n_out, np.ndarray, np.empty
        vectors, most_few = vectors_of(state), self._few
        # Threads share the steps of large layers, unless there are few rows.
        least = most_few if self._large else WHOLE_BATCH
        most = min(SHORT_WAY, max(least, (2 * THREAD_WORK - 1) // self._work))
        places, order = self._places(vectors), _in_order(most)
        at_x, at_out, at_visits = PLACES["x"], PLACES["out"], PLACES["n_visits"]
        # Of many rows, and of few.
        free: tuple[list[Any], list[Any]] = ([], [])

        def own(*, few: bool) -> tuple[Any, ...]:
            task = self._prediction_task(dtype_code(dtype), few=few)
            # To copy a few numbers to where they are expected takes less time than to find out where they are.
            x, out = np.zeros((FEW_ROWS, n_in), dtype), np.zeros((FEW_ROWS, n_out), dtype)
            words = {"order": address(order), "out": address(out), "batch": WHOLE_BATCH, "ranges": 1}
            space = task.ready({**Data.of(x).words("x"), **places, **words})
            cuts = [(x[:n], out[:n]) for n in range(FEW_ROWS + 1)]
            return task.runner(space), space.words, cuts, address(x), address(out)

        # `held` keeps the arrays whose addresses are in the context.
        def predict(x: Any, held: Any = (order, vectors)) -> Array | None:
            if type(x) is not ndarray or x.dtype is not dtype or x.ndim != 2:
                return None
            rows, columns = x.shape
            if columns != n_in or rows == 0:
                return None
            if rows > most or (rows > FEW_ROWS and not x.flags.c_contiguous):
                out = empty((rows, n_out), dtype)
                return out if self.predict(state, x, out) else None
            few = rows <= most_few
            try:
                place = free[few].pop()
            except IndexError:
                place = own(few=few)
            run, words, cuts, own_x, own_out = place
            words[at_visits] = rows
            if rows <= FEW_ROWS:
                x_in_place, out = cuts[rows]
                x_in_place[...] = x
                finite = run()
                out = out.copy()
            else:
                out = empty((rows, n_out), dtype)
                words[at_x], words[at_out] = address(x), address(out)
                finite = run()
                words[at_x], words[at_out] = own_x, own_out
            free[few].append(place)
            return out if finite else None

        return predict

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def _ops(self) -> tuple[Op, ...]:
        """The ops that are left to compute."""
        return self.program.ops[self.program.first :]

    @property
    def _work(self) -> int:
        """What a row costs, in multiplications."""
        return self._blocks * (self.program.n_parameters + THREAD_COLUMNS * len(self.program.ops))

    @property
    def _loss_spec(self) -> LossSpec:
        return required(self.program, optimizer=False)[0]

    def _total(self, kind: str, state: State, x: Array, y: Array, sample_weight: Array | None) -> float | None:
        """Return what a call of a kind finds for the loss of all rows at once; None if no code reads them."""
        n = len(x)
        key, call = self._take(kind, state, x, y, sample_weight, n, max(1, n))
        if call is None:
            return None
        call.run(state, None)
        loss = float(call.losses[0])
        self._calls.give_back(key, call)
        return loss

    def _take(
        self,
        kind: str,
        state: State,
        x: Array,
        y: Array,
        weight: Array | None,
        n_visits: int,
        batch: int,
        n_epochs: int = 1,
    ) -> tuple[Hashable, Call | None]:
        """Return what a call is kept by, and one that is ready for a state and data; None if no code reads them."""
        arrays = (x, y) if weight is None else (x, y, weight)
        n_threads = self._threads(n_visits * n_epochs, batch) if self._large or self._ranges(batch) > 1 else 1
        key = kind, n_visits, n_threads
        call = self._calls.take(key, state, arrays)
        if call is None and reads(*arrays):
            call = self._prepared(kind, state, arrays, n_visits, batch, n_threads)
        return key, call

    def _prepared(
        self, kind: str, state: State, arrays: tuple[Array, ...], n_visits: int, batch: int, n_threads: int
    ) -> Call:
        """Return a new call; by default a mean is divided by the number of rows."""
        spec = self._loss_spec
        data = {name: Data.of(array) for name, array in zip(("x", "y", "weight"), arrays, strict=False)}
        sources = Sources(**{name: source.code for name, source in data.items()})
        if kind == "run":
            task = self._training_task(sources, batch, dense=all(source.dense for source in data.values()))
        elif kind == "gradient":
            task = self._gradient_task(sources, batch)
        else:
            task = self._evaluation_task(sources, few=n_visits <= self._few and self._blocks == 1)
        vectors = vectors_of(state)
        check_sizes(vectors, self.program, trains=kind == "run")
        words = {**self._places(vectors), "batch": batch, "ranges": min(self._ranges(batch), task.ranges)}
        divisor = float(n_visits) if spec.reduction == "mean" and kind != "evaluate" else 1.0
        return Call(task, data, vectors, n_visits, words, divisor, n_threads)

    def _ranges(self, batch: int) -> int:
        """Return how many ranges a batch is cut into, or all rows that are read."""
        return 1 if self._large else ranges_of(batch)

    def _threads(self, rows: int, batch: int) -> int:
        """Return how many threads a call over so many rows, in such batches, repays; its result is the same.

        Training takes as many as it was told to.
        """
        if rows > batch and config.chosen_threads() is not None:
            return config.threads()
        repaid = min(rows * self._work // THREAD_WORK, batch * self._work // MEETING_WORK)
        return min(config.threads(), max(1, repaid))

    def _way(self, batch: int) -> str:
        """Return which kind of code trains, of three; it depends on nothing but the program and the batch.

        Code for one architecture takes a tenth of a second to compile, which few updates do not repay.
        """
        program = self.program
        if self._large:
            return BLOCKS
        if program.loss is None or program.optimizer is None or program.specialize != "sizes":
            return TILES
        network = lower(self.program, weighted=True, ordered=True)
        if registers.fits(network, batch):
            return REGISTERS
        return SAMPLES if samples.fits(network, batch) else TILES

    def _places(self, vectors: dict[str, Array]) -> dict[str, int]:
        """Return where the vectors of a state are, of what layers store only that of those that are left."""
        stored = address(vectors["buffers"]) + vectors["buffers"].itemsize * self.program.first_buffer
        return {**addresses_of(vectors), "buffers": stored}

    def _training_task(self, sources: Sources, batch: int, *, dense: bool) -> Task:
        """Return what trains; ``dense`` says that the columns of the data lie side by side."""
        if batch not in self._ways:
            self._ways[batch] = self._way(batch)
        way = self._ways[batch] if dense else TILES

        def make() -> Table:
            network = lower(self.program, weighted=bool(sources.weight), ordered=True)
            if way == REGISTERS:
                return programs.training_registers(network, sources, host())
            if way == SAMPLES:
                return programs.training_samples(network, sources, host(), batch)
            block = block_rows(network.layers * self._blocks, network.dtype, self._target, batch)
            return programs.training(network, sources, self._target, batch, block)

        return self._task(("train", way, sources, batch), make)

    def _gradient_task(self, sources: Sources, batch: int) -> Task:
        def make() -> Table:
            program = self.program
            layers = layers_of(self._ops_before_loss(), program.frozen_left)
            loss = loss_of(self._loss_spec, program.n_out, program.n_in)
            block = block_rows(layers * self._blocks, program.dtype, self._target, batch)
            return programs.gradient(layers, loss, program.dtype, sources, self._target, batch, block)

        return self._task(("gradient", sources, batch), make)

    def _evaluation_task(self, sources: Sources, *, few: bool) -> Task:
        def make() -> Table:
            program, layers = self.program, _without_dropout(self._ops_before_loss())
            loss = loss_of(self._loss_spec, program.n_out, program.n_in)
            block = self._block(layers * self._blocks, few=few)
            return programs.evaluation(layers, loss, program.dtype, sources, self._target, block, few=few)

        return self._task(("evaluate", sources, few), make)

    def _prediction_task(self, code: str, *, few: bool) -> Task:
        def make() -> Table:
            layers, dtype = _without_dropout(self._ops), self.program.dtype
            block = self._block(layers, few=few)
            return programs.prediction(layers, dtype, Sources(code), self._target, block, few=few)

        return self._task(("predict", code, few), make)

    def _block(self, layers: tuple[Layer, ...], *, few: bool) -> int:
        """Return how many rows go through the network at a time."""
        return self._few if few else block_rows(layers, self.program.dtype, self._target)

    def _task(self, key: Hashable, make: Callable[[], Table]) -> Task:
        return self._tasks.made(key, lambda: Task(make()))

    def _ops_before_loss(self) -> tuple[Op, ...]:
        """Return the ops that lead to what the loss reads."""
        ops = self.program.ops[:-1] if self._loss_spec.on_logits else self.program.ops
        return ops[self.program.first :]


@cache
def _in_order(n: int) -> NDArray[np.int64]:
    """Return the order of rows as they lie, which all models read."""
    return np.arange(n)


def _without_dropout(ops: tuple[Op, ...]) -> tuple[Layer, ...]:
    return tuple(layer for layer in layers_of(ops) if layer.kind != "dropout")
