"""Trainable: what the fit loop, its callbacks and ``gradient_check`` ask of a model. ``Sequential`` is one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.backends.base import Array, Backend, Granularity, Plan, State
from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.base.guard import Guard
from tinynet.exchange.parts import Parts
from tinynet.layers import Layer
from tinynet.losses import Loss
from tinynet.optimizers import Optimizer
from tinynet.program import LossSpec, Program, Specialize
from tinynet.training.data import Data
from tinynet.training.history import History


class Trainable(Protocol):
    """A model as those see it who train it: a state, plans for it, and its weights.

    Attributes
    ----------
    stop_training : bool
        A callback sets it to end training.
    """

    layers: tuple[Layer, ...]
    dtype: str
    backend: Backend
    program: Program
    state: State
    guard: Guard
    rng: np.random.Generator
    loss: Loss | None
    history: History | None
    metadata: dict[str, Any]
    stop_training: bool

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters."""

    def plan(
        self,
        loss: Loss,
        optimizer: Optimizer,
        y: Array,
        batch_size: int,
        granularity: Granularity,
        streamed: bool = False,
        specialize: Specialize = "sizes",
        standardised: bool = False,
        team: Alone = ALONE,
    ) -> Plan:
        """Return the plan that trains the model, alone or in a team, on targets like ``y``."""

    def prepare_optimizer(self, optimizer: Optimizer, frozen: tuple[int, ...] | None = None) -> None:
        """Make room for what the optimizer remembers; keep it if it is the optimizer of before."""

    def forget_optimizer(self) -> None:
        """Let the next optimizer start afresh."""

    def predict_on_host(self, x: Array, *, standardised: bool = False) -> NDArray[Any]:
        """Return the output, in host memory, for checked samples."""

    def predict(self, x: Any) -> Array:
        """Return the output for ``x``."""

    def evaluate(self, x: Any, y: Any) -> dict[str, float]:
        """Return the loss over data, by name."""

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the trained arrays, in host memory."""

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set the trained arrays."""

    def flat_parameters(self) -> NDArray[Any]:
        """Return a copy of all trained parameters, in host memory."""

    def set_flat_parameters(self, values: Array) -> None:
        """Set all trained parameters from a flat vector."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file."""

    def parts(self) -> Parts:
        """Return the model taken apart, as files know it."""

    def clone(self, dtype: Any = None, precision: str | None = None) -> Trainable:
        """Return a model of its own with the same layers and weights."""

    def _data(self, loss: Loss, x: Any, y: Any, sample_weight: Any = None) -> Data:
        """Return checked data where the backend reads them."""

    def _loss_spec(self, loss: Loss, y: Array) -> LossSpec:
        """Return the loss as plain data, for targets like ``y``."""
