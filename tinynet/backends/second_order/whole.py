"""WholePlan: what the plans share whose every epoch is one step on all samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.descent import REASONS

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, FloatArray, Members, Plan, State, on_backend
from tinynet.backends.loop import LoopPlan
from tinynet.base.turns import Turns
from tinynet.program import BatchNormOp, DropoutOp, Program, all_ops


class Gradients(Protocol):
    """What a plan asks for gradients of all samples: a plan, or somebody who knows of more samples."""

    description: str

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""


class WholePlan(Plan):
    """Predicts and evaluates as the backend does; each epoch is one step that takes all samples.

    What an optimizer remembers lies in ``state.moments``, so that checkpoints keep it: vectors in rows of their own,
    and single numbers at the start of a row each, the first of which is the place of the reason to stop.
    """

    def __init__(self, program: Program, backend: Backend, what: str) -> None:
        assert program.optimizer is not None
        assert program.loss is not None
        if any(isinstance(op, DropoutOp) for op in all_ops(program.ops)):
            raise ValueError(
                f"{what} compares the loss before and after a step, so it expects a network without Dropout; got one "
                "with it. Leave Dropout out (weight_decay and BayesianRegularization keep weights small), or use Adam."
            )
        if any(isinstance(op, BatchNormOp) for op in all_ops(program.ops)):
            raise ValueError(
                f"{what} compares the loss before and after a step, in which running statistics would move; got a "
                "network with BatchNorm. Take LayerNorm in its place, or use Adam."
            )
        self.program, self.backend, self.optimizer = program, backend, program.optimizer
        if not program.n_trained:
            raise ValueError(
                f"{what} expects parameters that it can train; got none, or all in layers that are not trainable. Set "
                "layer.trainable = True for some."
            )
        # Where the trained parameters stand among all.
        self.trained: Any = slice(None)
        if program.n_trained < program.n_parameters:
            self.trained = np.concatenate([np.arange(part.start, part.stop) for part in program.trained])
        self._inner = backend.plan(replace(program, optimizer=None, batch_size=None, frozen=()))
        self._users = Turns(program.user_code)
        self.gradients: Gradients = self._inner
        if backend.namespace is np and program.n_models is None and not self._inner.gradient_is_fused:
            # NumPy's kernels need no compiling, and a step is long enough for them.
            self.gradients = LoopPlan(replace(program, optimizer=None, batch_size=None), get_backend("numpy"), what)

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
        """Make steps, and return the loss after each: fewer than were asked for where the optimizer has stopped."""
        self._refuse(order)
        losses: list[float] = []
        while len(losses) < len(learning_rates) and not self.stop_reason(state):
            with self._users:
                value = self.step(state, x, y, sample_weight)
            if value is not None:
                losses.append(value)
                state.step += 1
                if value <= self.setting("goal"):
                    self.stop(state, "goal")
        return np.array(losses, np.float64)[:, np.newaxis]

    def _refuse(self, order: Array | None) -> None:
        if order is not None:
            raise ValueError(f"{self.optimizer.kind} takes all samples in each step; got an order of samples.")

    def setting(self, name: str) -> float:
        """Return a setting of the optimizer of one model."""
        value = dict(self.optimizer.settings)[name]
        assert isinstance(value, float), name
        return value

    @abstractmethod
    def step(self, state: State, x: Array, y: Array, weight: Array | None) -> float | None:
        """Make one step and return the loss after it, or None where there is none to be made; say why by ``stop``."""

    def stop_reason(self, state: State) -> str:
        """Return why the optimizer has stopped; empty while it goes on."""
        return REASONS[int(state.moments[0, 0])]

    def resume(self, state: State) -> None:
        """Forget why the last training ended."""
        state.moments[0, 0] = 0

    def stop(self, state: State, reason: str) -> None:
        """Note why no more steps are made."""
        state.moments[0, 0] = REASONS.index(reason)

    # -- the backend's own -------------------------------------------------------------------------------------------

    def predict(self, state: State, x: Array, out: Array, members: Members | None = None) -> bool:
        """Write the network's output; see ``Plan.predict``."""
        return self._inner.predict(state, x, out, members)

    def predictor(self, state: State) -> Callable[[Any], Array | None]:
        """Return the shortest way to predict; see ``Plan.predictor``."""
        return self._inner.predictor(state)

    def gradient(self, state: State, x: Array, y: Array, sample_weight: Array | None = None) -> Any:
        """Return the loss and fill ``state.gradients``; see ``Plan.gradient``."""
        return self.gradients.gradient(state, x, y, sample_weight)

    def evaluate(
        self, state: State, x: Array, y: Array, sample_weight: Array | None = None, members: Members | None = None
    ) -> Any:
        """Return the loss over ``x``; see ``Plan.evaluate``."""
        return self._inner.evaluate(state, x, y, sample_weight, members)
