"""GeneratedPlan: one model in machine code that tinynet writes itself, which a table of its layers drives."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cpu.generated import programs, registers, samples
from tinynet_kernels.cpu.generated.compiler import host
from tinynet_kernels.cpu.generated.frame import PLACES
from tinynet_kernels.cpu.generated.layout import block_rows, ranges_of
from tinynet_kernels.cpu.generated.table import Sources, Table
from tinynet_kernels.cpu.generated.task import Data, Space, Task, dtype_code, reads
from tinynet_kernels.network import Layer

from tinynet.backends.base import Array, Backend, FloatArray, Members, State
from tinynet.backends.loop import LoopPlan, required
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.base import config
from tinynet.base.kept import Kept
from tinynet.program import LossSpec, Op, Program

KEPT_TASKS = 8
"""Tables of a plan that are kept, with memory to run them: for kinds of data, and numbers of rows."""
FEW_ROWS = 64
"""Predictions of up to so many rows are made from copies in a place whose address is known."""
LARGE_LAYER = 1 << 19
"""From so many weights in one layer on the products of BLAS are as quick, and have threads (measured)."""

REGISTERS = "one sample after the other, weights in registers"
SAMPLES = "samples side by side in SIMD lanes"
TILES = "products from tiles of registers"

THREAD_WORK = 1 << 24
"""Multiplications of a call that repay another thread, which is started for it."""
MEETING_WORK = 1 << 19
"""Multiplications of a batch that repay another thread, for which all wait at its end."""
THREAD_COLUMNS = 64
"""What the functions of a layer cost beside its product, in numbers of it."""


def fits(program: Program) -> bool:
    """Whether generated code is the quickest way for a program of built-in parts."""
    layers = layers_of(program.ops)
    return sys.maxsize > 1 << 32 and all(
        layer.kind != "linear" or layer.n_in * layer.n_out < LARGE_LAYER for layer in layers
    )


class GeneratedPlan(LoopPlan):
    """Trains, predicts and evaluates in generated code; what is done by hand goes kernel by kernel, as ever.

    So do long doubles that stay on disk, whose format is another on each kind of processor.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        super().__init__(program, backend, "")
        self.description = f"fused: whole epochs in generated code, {self._way(program.batch_size or 1 << 30)}"
        self._target = host()
        self._tasks: Kept[Task] = Kept(most=KEPT_TASKS)
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
        if not reads(x, y, sample_weight):
            return super().run(state, x, y, order, learning_rates, sample_weight)
        data, rates = self._data(x, y, sample_weight), np.ascontiguousarray(learning_rates, np.float64)
        n_epochs, n_visits = len(rates), len(x) if order is None else order.shape[1]
        batch = min(self.program.batch_size or n_visits, n_visits)
        task = self._training_task(_sources(data), batch, dense=all(source.dense for source in data.values()))
        losses = np.zeros((n_epochs, 1))
        words = {
            "rates": rates.ctypes.data,
            "n_rates": rates.shape[1],
            "losses": losses.ctypes.data,
            # A kernel for tiny networks counts the epochs itself.
            "n_epochs": 0 if task.counts else n_epochs,
            "laps": n_epochs,
            "step": state.step,
        }
        self._pass(task, state, data, order, n_visits, batch, words, trains=True)
        n_updates = n_epochs * -(-n_visits // batch)
        state.step += n_updates
        state.draws += n_updates
        return losses

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        if not reads(x, y, sample_weight):
            return super().gradient(state, x, y, sample_weight)
        data, losses, n = self._data(x, y, sample_weight), np.zeros(1), len(x)
        task = self._gradient_task(_sources(data), n)
        self._pass(task, state, data, None, n, n, {"losses": losses.ctypes.data})
        return float(losses[0])

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> float:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        if not reads(x, y, sample_weight):
            return super().evaluate(state, x, y, sample_weight)
        loss, data, losses = self._loss_spec, self._data(x, y, sample_weight), np.zeros(1)
        task = self._evaluation_task(_sources(data))
        self._pass(task, state, data, None, len(x), max(1, len(x)), {"losses": losses.ctypes.data}, divisor=1.0)
        whole = float(len(x))
        if sample_weight is not None and loss.by_weight:
            whole = float(sample_weight.sum(dtype="float64"))
        return float(losses[0]) / ((whole or math.inf) if loss.reduction == "mean" else 1.0)

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        if not reads(x):
            return super().predict(state, x, out)
        dtype = self.program.dtype
        source, order = Data.of(x), np.arange(len(x))
        ready = out if out.flags.c_contiguous and out.dtype == dtype else np.empty(out.shape, dtype)
        task = self._prediction_task(self.program.ops, source.code)
        n = max(1, len(x))
        words = {"order": order.ctypes.data, "out": ready.ctypes.data, "n_visits": len(x), "batch": n}
        words["ranges"] = ranges_of(n)
        vectors = _vectors(state)
        finite = task({**source.words("x"), **_addresses(vectors), **words}, n_threads=self._threads(n, n))
        if ready is not out:
            out[...] = ready
        return finite

    def _predict_with(self, state: State) -> Callable[[Array, Array], bool]:
        """Return ``predict`` for one state. For few rows it is a matter of a microsecond, so no step is in it twice."""
        program, dtype = self.program, np.dtype(self.program.dtype)
        task = self._prediction_task(program.ops, dtype_code(dtype))
        order, vectors = np.arange(FEW_ROWS), _vectors(state)
        addresses = _addresses(vectors)
        parameters, buffers = addresses["parameters"], addresses["buffers"]
        at_parameters, at_buffers, at_visits = (PLACES[name] for name in ("parameters", "buffers", "n_visits"))
        take, give_back, run = task.take, task.give_back, task.run

        def prepare(space: Space) -> tuple[list[Array], list[Array], Array]:
            x, out = np.zeros((FEW_ROWS, program.n_in), dtype), np.zeros((FEW_ROWS, program.n_out), dtype)
            space.put(Data.of(x).words("x"))
            space.put({"order": order.ctypes.data, "out": out.ctypes.data, "batch": task.block})
            counts = range(FEW_ROWS + 1)
            return [x[:n] for n in counts], [out[:n] for n in counts], order

        # `held` keeps the arrays whose addresses are passed on.
        def predict(x: Array, out: Array, held: dict[str, Array] = vectors) -> bool:
            n = len(x)
            if n > FEW_ROWS:
                return self.predict(state, x, out)
            space = take()
            if space.kept is None:
                space.kept = prepare(space)
            words, (own_x, own_out, _) = space.words, space.kept
            words[at_parameters], words[at_buffers], words[at_visits] = parameters, buffers, n
            own_x[n][...] = x
            finite = run(space)
            out[...] = own_out[n]
            give_back(space)
            return finite

        return predict

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def _loss_spec(self) -> LossSpec:
        return required(self.program, optimizer=False)[0]

    def _data(self, x: Array, y: Array, weight: Array | None) -> dict[str, Data]:
        """Return what rows are gathered from, by name."""
        found = {"x": Data.of(x), "y": Data.of(y)}
        if weight is not None:
            found["weight"] = Data.of(weight)
        return found

    def _pass(
        self,
        task: Task,
        state: State,
        data: dict[str, Data],
        order: Array | None,
        n_visits: int,
        batch: int,
        words: dict[str, int],
        divisor: float | None = None,
        *,
        trains: bool = False,
    ) -> None:
        """Run a task over the data; by default a mean is divided by the number of rows."""
        step = 0 if order is None else 8 * n_visits
        order = np.arange(n_visits) if order is None else np.ascontiguousarray(order, np.int64)
        if divisor is None:
            divisor = float(n_visits) if self._loss_spec.reduction == "mean" else 1.0
        seed = int(state.dropout_seed)
        context = {"n_rates": 1, "n_epochs": 1, "n_visits": n_visits, "batch": batch, "draws": int(state.draws)}
        context |= {"order": order.ctypes.data, "order_step": step, "seed": seed - (seed >> 63 << 64)}
        for name, source in data.items():
            context |= source.words(name)
        context["ranges"] = min(ranges_of(batch), task.ranges)
        n_threads = self._threads(n_visits * words.get("laps", 1), batch) if context["ranges"] > 1 else 1
        vectors = _vectors(state)
        self._check(vectors, trains)
        task({**context, **_addresses(vectors), **words}, divisor, n_threads)

    def _threads(self, rows: int, batch: int) -> int:
        """Return how many threads a call over so many rows, in such batches, repays; its result is the same.

        Training takes as many as it was told to.
        """
        if rows > batch and config.chosen_threads() is not None:
            return config.threads()
        each = self.program.n_parameters + THREAD_COLUMNS * len(self.program.ops)
        repaid = min(rows * each // THREAD_WORK, batch * each // MEETING_WORK)
        return min(config.threads(), max(1, repaid))

    def _way(self, batch: int) -> str:
        """Return which kind of code trains, of three; it depends on nothing but the program and the batch.

        Code for one architecture takes a tenth of a second to compile, which few updates do not repay.
        """
        program = self.program
        if program.loss is None or program.optimizer is None or program.specialize != "sizes":
            return TILES
        network = lower(self.program, weighted=True, ordered=True)
        if registers.fits(network, batch):
            return REGISTERS
        return SAMPLES if samples.fits(network, batch) else TILES

    def _check(self, vectors: dict[str, Array], trains: bool) -> None:
        """Refuse to compute on what has not the sizes of the program: compiled code would read and write beyond it."""
        optimizer, n = self.program.optimizer, self.program.n_parameters
        n_moments = optimizer.n_moments if optimizer is not None and trains else 0
        if vectors["parameters"].shape != (n,) or len(vectors["moments"]) < n_moments:
            raise RuntimeError(
                f"this plan trains {n} parameters with {n_moments} numbers each that the optimizer remembers; got "
                f"{vectors['parameters'].size} parameters and {len(vectors['moments'])} numbers. Another training of "
                "the same model has begun meanwhile: train a model in one place at a time."
            )

    def _training_task(self, sources: Sources, batch: int, *, dense: bool) -> Task:
        """Return what trains; ``dense`` says that the columns of the data lie side by side."""
        if batch not in self._ways:
            self._ways[batch] = self._way(batch)
        way = self._ways[batch] if dense else TILES

        def make() -> Table:
            network = lower(self.program, weighted=bool(sources.weight), ordered=True)
            if way == REGISTERS:
                return programs.training_registers(network, sources, self._target)
            if way == SAMPLES:
                return programs.training_samples(network, sources, self._target, batch)
            block = block_rows(network.layers, network.dtype, self._target, batch)
            return programs.training(network, sources, self._target, batch, block)

        return self._task(("train", way, sources, batch), make)

    def _gradient_task(self, sources: Sources, batch: int) -> Task:
        def make() -> Table:
            program = self.program
            layers, loss = layers_of(self._ops_before_loss()), loss_of(self._loss_spec, program.n_out)
            block = block_rows(layers, program.dtype, self._target, batch)
            return programs.gradient(layers, loss, program.dtype, sources, self._target, batch, block)

        return self._task(("gradient", sources, batch), make)

    def _evaluation_task(self, sources: Sources) -> Task:
        def make() -> Table:
            program, layers = self.program, _without_dropout(self._ops_before_loss())
            block = block_rows(layers, program.dtype, self._target)
            loss = loss_of(self._loss_spec, program.n_out)
            return programs.evaluation(layers, loss, program.dtype, sources, self._target, block)

        return self._task(("evaluate", sources), make)

    def _prediction_task(self, ops: tuple[Op, ...], code: str) -> Task:
        def make() -> Table:
            layers, dtype = _without_dropout(ops), self.program.dtype
            block = block_rows(layers, dtype, self._target)
            return programs.prediction(layers, dtype, Sources(code), self._target, block)

        return self._task(("predict", ops, code), make)

    def _task(self, key: Hashable, make: Callable[[], Table]) -> Task:
        return self._tasks.made(key, lambda: Task(make()))

    def _ops_before_loss(self) -> tuple[Op, ...]:
        """Return the ops whose output the loss reads."""
        return self.program.ops[:-1] if self._loss_spec.on_logits else self.program.ops


def _without_dropout(ops: tuple[Op, ...]) -> tuple[Layer, ...]:
    return tuple(layer for layer in layers_of(ops) if layer.kind != "dropout")


def _sources(data: dict[str, Data]) -> Sources:
    return Sources(**{name: source.code for name, source in data.items()})


def _vectors(state: State) -> dict[str, Array]:
    """Return what a state holds now. Who passes addresses on must keep the arrays: another thread may replace them."""
    return {name: getattr(state, name) for name in ("parameters", "gradients", "moments", "buffers")}


def _addresses(vectors: dict[str, Array]) -> dict[str, int]:
    return {name: vector.ctypes.data for name, vector in vectors.items()}
