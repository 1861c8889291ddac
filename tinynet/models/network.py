"""Network: what one model and many have in common: layers, a state, plans, and the optimizer's memory."""

from __future__ import annotations

from typing import Any

from tinynet.backends.base import Array, Backend, Granularity, Plan, State
from tinynet.base.arrays import as_samples
from tinynet.base.hints import Hinting
from tinynet.base.kept import Kept
from tinynet.layers import Normalize
from tinynet.layers.layer import Layer
from tinynet.losses import Loss, get_loss
from tinynet.optimizers import Optimizer
from tinynet.program import LossSpec, Program

KEPT_PLANS = 8
"""Plans a model keeps; each holds scratch for one batch size."""


class Network(Hinting):
    """Layers with their program, and the state that is trained; ``Sequential`` has that of one model.

    Attributes
    ----------
    layers : tuple of Layer
    dtype : {"float32", "float64"}
    loss : Loss or None
        Of the last ``fit``.
    metadata : dict
        Notes that are saved with the model: what JSON holds. NumPy's numbers and arrays come back as numbers and lists.
    stop_training : bool
        A callback sets it to end training.
    """

    layers: tuple[Layer, ...]
    dtype: str
    backend: Backend
    program: Program
    state: State

    def _begin(self) -> None:
        """Be as a network that was never trained."""
        self.metadata: dict[str, Any] = {}
        self.loss: Loss | None = None
        self.stop_training = False
        self._optimizer: Optimizer | None = None
        self._forget_plans()

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters of a model."""
        return self.program.n_parameters

    # -- plans -------------------------------------------------------------------------------------------------------

    def _forget_plans(self) -> None:
        self._plans: Kept[Plan] = Kept(KEPT_PLANS)

    def _plan(self, program: Program, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return the backend's plan for a program; those that were used last are kept."""
        return self._plans.made(
            (program, granularity, streamed),
            lambda: self.backend.plan_for(self.state, program, granularity=granularity, streamed=streamed),
        )

    def _loss_spec(self, loss: Loss, y: Array) -> LossSpec:
        return loss.lower(self.program.ops, index_target=y.ndim == 1)

    def _loss_for(self, loss: str | Loss | None) -> Loss:
        """Return the loss to evaluate: one that is given, or that of the last ``fit``."""
        chosen = self.loss if loss is None else loss
        if chosen is None:
            raise ValueError(
                f"evaluate expects a loss: this {type(self).__name__} was never trained. Pass loss='mse', for instance."
            )
        return get_loss(chosen)

    # -- the optimizer's memory --------------------------------------------------------------------------------------

    def prepare_optimizer(self, optimizer: Optimizer) -> None:
        """Make room for what the optimizer remembers; keep it if it is the optimizer of before."""
        state = self.state
        if optimizer is self._optimizer and len(state.moments) == optimizer.n_moments:
            return
        state.moments = self.backend.new_moments(state, optimizer.n_moments)
        state.step *= 0  # One number, or one for each model.
        self._optimizer = optimizer

    def forget_optimizer(self) -> None:
        """Let the next optimizer start afresh, also the one of before."""
        self._optimizer = None

    # -- samples -----------------------------------------------------------------------------------------------------

    def _samples(self, x: Any) -> Array:
        """Return checked samples where the caller has them, if the network can compute on them."""
        admitted = self.backend.admit(x, "x")
        samples = as_samples(admitted, "x", self.program.n_in, self.dtype, expects=repr(self.layers[0]))
        self._require_adapted()
        return samples

    def _require_adapted(self) -> None:
        for layer in self.layers:
            if isinstance(layer, Normalize) and not layer.adapted:
                raise ValueError(
                    f"{layer!r} has seen no data yet. Call its adapt(x) with the training data first, and before an "
                    "Ensemble is made of its network."
                )
