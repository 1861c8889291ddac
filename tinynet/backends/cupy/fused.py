"""Fused plans for a GPU: whole epochs, or predictions, of one model or of many in as few launches as there can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.cuda.fused.graph import GraphTraining
from tinynet_kernels.cuda.fused.prediction import Prediction
from tinynet_kernels.cuda.fused.shapes import Limits, predicting_shape
from tinynet_kernels.cuda.fused.training import (
    Epochs,
    PersistentTraining,
    RegistersTraining,
    SpreadTraining,
    Training,
    Vectors,
    WarpTraining,
)
from tinynet_kernels.network import Layer, Loss, Network, Optimizer

from tinynet.backends.base import Array, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.cupy.batched import BatchedPlan
from tinynet.backends.cupy.loop import CuPyLoopPlan
from tinynet.backends.cupy.tiers import BATCHED, LARGE, Case, Tier, choose, wanted
from tinynet.backends.lowering import layers_of, loss_of, lower
from tinynet.backends.members import MembersPlan
from tinynet.base.kept import Kept
from tinynet.program import Op, Program

if TYPE_CHECKING:
    from tinynet.backends.cupy.backend import CuPyBackend

TRAININGS: dict[str, type[Training]] = {
    "registers": RegistersTraining,
    "warp": WarpTraining,
    "persistent": PersistentTraining,
    "spread": SpreadTraining,
    "graph": GraphTraining,
}
"""What trains in each tier of ``tiers.TIERS`` but the last: a ``CuPyLoopPlan`` and a ``BatchedPlan`` do."""

KEPT_FUNCTIONS = 16
"""Trainings, and predictions, that a plan keeps: one for each batch size, with and without weights."""

ORDER_BYTES = 1 << 24
"""Most memory of an order of samples that goes up by way of pinned memory, which a training keeps."""

_NO_LOSS = Loss("mse", 0.0, True, 1.0)
_NO_OPTIMIZER = Optimizer("sgd", (0.0, 0.0, 0.0))


class _Fused(Plan):
    """What fused plans of one model and of many share; the rest is inherited from a plan that runs kernel by kernel."""

    backend: Any
    tier: Tier | None

    def _prepare(self, tier: Tier | None) -> None:
        self.tier = tier
        self._trainings: Kept[Training | None] = Kept(KEPT_FUNCTIONS)
        self._predictions: Kept[Prediction | None] = Kept(KEPT_FUNCTIONS)
        self._limits = limits_of(self.backend)
        what = "predictions in one launch" if tier is None else tier.what
        self.description = f"fused: {what}"

    @on_backend
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
        if self.tier is None or isinstance(x, np.ndarray):
            return super().run(state, x, y, order, learning_rates, sample_weight, members)  # type: ignore[safe-super]
        weight = None if sample_weight is None else self._real(sample_weight)
        order = None if order is None else self._order(order)
        rates, chosen = np.ascontiguousarray(learning_rates, np.float64), self._members(state, members)
        epochs = Epochs(self._real(x), self._targets(y), weight, order, rates, chosen)
        training = self._fused_training(weight is not None, self.program.batch_size or epochs.n_visits)
        if training is None:
            return super().run(state, x, y, order, learning_rates, weight, members)  # type: ignore[safe-super]
        counters = counters_of(state, len(state.parameters) if self.program.n_models is not None else 1)
        stored = state.buffers[..., self.program.first_buffer :]
        vectors = Vectors(state.parameters, state.moments, stored, counters, state.models)
        losses = training.run(vectors, epochs)
        n_updates = len(learning_rates) * -(-epochs.n_visits // training.batch)
        if self.program.n_models is None:
            state.step += n_updates
            state.draws += n_updates
        else:
            state.step[chosen] += n_updates
            state.draws[chosen] += n_updates
        return losses

    @on_backend
    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> Any:
        """Write the output and tell whether ``x`` is finite; see ``Plan.predict``."""
        prediction = None if isinstance(x, np.ndarray) else self._fused_prediction(self.program.ops)
        if prediction is None:
            return super().predict(state, x, out, members)  # type: ignore[safe-super]
        which = slice(None) if members is None else self.backend.asarray(members)
        return prediction.predict(state.parameters[which], self._buffers(state)[which], self._real(x), out) == 0

    @on_backend
    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> Any:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        loss = self.program.loss
        if loss is None:
            raise ValueError("this plan was made without a loss; make one from a program that has one.")
        ops = self.program.ops[:-1] if loss.on_logits else self.program.ops
        prediction = None if isinstance(x, np.ndarray) else self._fused_prediction(ops)
        if prediction is None:
            return super().evaluate(state, x, y, sample_weight, members)  # type: ignore[safe-super]
        weight = None if sample_weight is None else self._real(sample_weight)
        if prediction.network.weighted != (weight is not None):
            prediction = self._fused_prediction(ops, weighted=weight is not None)
            assert prediction is not None
        data = (self._real(x), self._targets(y), weight, self._members(state, members))
        losses = prediction.evaluate(state.parameters, self._buffers(state), *data, state.models)
        return losses if self.program.n_models is not None else float(losses[0])

    # -- parts -------------------------------------------------------------------------------------------------------

    def _members(self, state: State, members: Members | None) -> Members:
        """Return which models of a state are meant."""
        return np.arange(1) if self.program.n_models is None else state.chosen(members)

    def _buffers(self, state: State) -> Array:
        """Return what layers between others store, in the dtype in which the kernels hold it."""
        stored = state.buffers[..., self.program.own_buffers]
        if not stored.size:  # Nothing to convert, which would be a launch in each call.
            return self.backend.empty(stored.shape, self.program.dtype)
        return self.backend.asarray(stored, self.program.dtype)

    def _real(self, array: Array) -> Array:
        return self.backend.asarray(array, self.program.dtype)

    def _order(self, order: Array) -> Array:
        """Return an order on the device, or, if it is small enough to go up with all else, in host memory."""
        if isinstance(order, np.ndarray) and order.nbytes <= ORDER_BYTES:
            return np.ascontiguousarray(order, np.int64)
        return self.backend.asarray(order, np.int64)

    def _targets(self, y: Array) -> Array:
        assert self.program.loss is not None
        return self.backend.asarray(y, np.int64 if self.program.loss.index_target else self.program.dtype)

    def _fused_training(self, weighted: bool, batch: int) -> Training | None:
        """Return the training of batches of this size; None if it is one batch of more samples than the tier takes."""

        def make() -> Training | None:
            assert self.tier is not None
            network = lower(self.program, weighted=weighted, ordered=True)
            case = Case(network, self.program.n_models or 1, batch, self._limits)
            return (
                TRAININGS[self.tier.name](network, case.n_models, batch, self._limits) if self.tier.can(case) else None
            )

        return self._trainings.made((weighted, batch), make)

    def _fused_prediction(self, ops: tuple[Op, ...], weighted: bool = False) -> Prediction | None:
        """Return the predictions of ``ops``; None if a model does not fit into shared memory."""

        def make() -> Prediction | None:
            network = _predicting(self.program, ops, weighted)
            if network is None or predicting_shape(network, self._limits) is None:
                return None
            return Prediction(network, self.program.n_models or 1, self._limits)

        return self._predictions.made((ops, weighted), make)


class CuPyFusedPlan(_Fused, CuPyLoopPlan):
    """One model; gradients, and steps by hand, kernel by kernel."""

    def __init__(self, program: Program, backend: CuPyBackend, tier: Tier | None) -> None:
        CuPyLoopPlan.__init__(self, program, backend, "")
        self._prepare(tier)


class CuPyFusedEnsemblePlan(_Fused, MembersPlan):
    """The models of an ensemble, trained in one launch; gradients model by model."""

    def __init__(self, program: Program, backend: CuPyBackend, tier: Tier | None) -> None:
        MembersPlan.__init__(self, program, backend, "epoch")
        self._prepare(tier)


def fused_plan(program: Program, backend: CuPyBackend) -> Plan | None:
    """Return a fused plan for a program without user code; None if it is better run kernel by kernel."""
    many, limits, name = program.n_models is not None, limits_of(backend), wanted()
    tier = None
    if name in ("loop", LARGE.name) or (name == BATCHED.name and not many):
        return None
    if program.loss is not None and program.optimizer is not None:
        network = lower(program, weighted=True, ordered=True)
        # Without a batch size, all samples are one batch; that they are many is a guess.
        batch = program.batch_size or 1 << 16
        tier = choose(Case(network, program.n_models or 1, batch, limits, program.precision))
        if tier is None or tier is LARGE:
            return None
    elif name == BATCHED.name or program.precision != "float32" or not _predicts_at_once(program, limits):
        tier = BATCHED if many else None
    if tier is BATCHED:
        return BatchedPlan(program, backend)
    if program.precision != "float32":
        return None
    return CuPyFusedEnsemblePlan(program, backend, tier) if many else CuPyFusedPlan(program, backend, tier)


def limits_of(backend: CuPyBackend) -> Limits:
    """Return what the device of a backend offers."""
    attributes = backend.namespace.cuda.Device(backend.device).attributes
    return Limits(int(attributes["MaxSharedMemoryPerBlockOptin"]), int(attributes["MultiProcessorCount"]))


def counters_of(state: State, n_models: int) -> NDArray[np.uint64]:
    """Return each model's updates, draws, and the seed of its dropout masks."""
    counters = np.empty((n_models, 3), np.uint64)
    for column, values in enumerate((state.step, state.draws, state.dropout_seed)):
        counters[:, column] = np.asarray(values).astype(np.uint64) if np.ndim(values) else np.uint64(int(values))
    return counters


def _predicts_at_once(program: Program, limits: Limits) -> bool:
    """Tell whether predictions take one launch."""
    network = _predicting(program, program.ops, weighted=False)
    return network is not None and predicting_shape(network, limits) is not None


def _predicting(program: Program, ops: tuple[Op, ...], weighted: bool) -> Network | None:
    """Return a network that only predicts; None if nothing is left of it."""
    layers: tuple[Layer, ...] = tuple(layer for layer in layers_of(ops[program.first :]) if layer.kind != "dropout")
    if not layers:
        return None
    loss = _NO_LOSS if program.loss is None else loss_of(program.loss, program.n_out)
    return Network(layers, loss, _NO_OPTIMIZER, program.dtype, weighted, ordered=False)
