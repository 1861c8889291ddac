"""Network: what one model and many have in common: layers, a state, plans, and the optimizer's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Array, Backend, Granularity, Plan, State, views
from tinynet.backends.standardising import target_columns
from tinynet.base.arrays import as_samples
from tinynet.base.guard import Guard
from tinynet.base.hints import Hinting, HintingAttributes
from tinynet.base.kept import Kept
from tinynet.base.turns import Turns
from tinynet.layers import Denormalize, Normalize
from tinynet.layers.columns import Columns
from tinynet.layers.layer import Layer
from tinynet.losses import Loss, get_loss
from tinynet.models.assembly import check_levels, levels_read, refuse_scaling_within
from tinynet.models.copies import put_together, taken_apart
from tinynet.program import LossSpec, Program

if TYPE_CHECKING:
    from tinynet.optimizers import Optimizer

Result = TypeVar("Result")

Arguments = ParamSpec("Arguments")
Owner = TypeVar("Owner", bound="Network")

KEPT_PLANS = 8
"""Plans a model keeps; each holds scratch for one batch size."""


def alone_in_training(
    method: Callable[Concatenate[Owner, Arguments], Result],
) -> Callable[Concatenate[Owner, Arguments], Result]:
    """Let a method run while nobody trains the model: a callback's call is an error, another thread waits."""

    @wraps(method)
    def alone(self: Owner, /, *args: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        with self.guard.alone(method.__name__):
            return method(self, *args, **keywords)

    return alone


class Network(Hinting, HintingAttributes):
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
        self._left_out: tuple[int, ...] = ()
        self._begin_sharing()

    def _begin_sharing(self) -> None:
        """Be ready for threads that use the network at once."""
        self.guard = Guard(self._now, self._copied)
        self._users = Turns(self.program.user_code)
        self._forget_plans()

    def _settle(self, state: State) -> None:
        """Make ``state`` the network's."""
        self.state = state
        self._forget_plans()

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy carry of the network, at one moment of it; see ``copies``."""
        if self._users:
            with self._users:
                return taken_apart(self, self.state)
        return self.guard.between(lambda: taken_apart(self, self.state))

    def __setstate__(self, parts: dict[str, Any]) -> None:
        state = put_together(self, parts)
        self._begin_sharing()
        self._settle(state)
        with self.backend.active():  # Layers have begun afresh what they store untrained.
            state.buffers[...] = self.backend.asarray(parts["vectors"]["buffers"])

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer of the last ``fit`` or step; given to the next one, it goes on with what it remembers."""
        return self._optimizer

    @property
    def n_parameters(self) -> int:
        """Number of parameters of a model, frozen ones and running statistics among them."""
        return self.program.n_parameters

    @property
    def parameter_names(self) -> list[str]:
        """Names of the trained arrays, in the order of ``get_weights``: "0.weight", as in PyTorch's ``state_dict``."""
        return [f"{i}.{name}" for i, layer in enumerate(self.layers) for name in layer.trainable_names]

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
        return loss.lower(self.program.learned.ops, index_target=y.ndim == 1)

    def _loss_for(self, loss: str | Loss | None) -> Loss:
        """Return the loss to evaluate: one that is given, or that of the last ``fit``."""
        chosen = self.loss if loss is None else loss
        if chosen is None:
            raise ValueError(
                f"evaluate expects a loss: this {type(self).__name__} was never trained. Pass loss='mse', for instance."
            )
        return get_loss(chosen)

    # -- one who changes, any number who read ------------------------------------------------------------------------

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Return a context for a change of the state, without a plan: see ``Guard.changing``."""
        with self.guard.changing(), self._users:
            yield

    def at_one_moment(self, use: Callable[[State], Result]) -> Result:
        """Return ``use(state)`` for a state that nobody changes meanwhile; ``use`` may be called twice."""
        with self.backend.active():
            # A user's layer computes with the arrays that it has, not with those of a copy: updates wait.
            if self._users:
                with self._users:
                    return use(self.state)

            def settled(state: State) -> Result:
                result = use(state)
                self.backend.synchronize()
                return result

            return self.guard.read(settled)

    def _host_copies(self, state: State) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return copies of the parameters and of what is stored untrained, in host memory."""
        to_numpy = self.backend.to_numpy
        return np.array(to_numpy(state.parameters)), np.array(to_numpy(state.buffers))

    def _now(self) -> State:
        return self.state

    def _copied(self) -> State:
        """Return a copy of what predictions are made of."""
        state = self.state
        with self.backend.active():
            parameters, buffers = state.parameters.copy(), state.buffers.copy()
            self.backend.synchronize()
        return replace(state, parameters=parameters, buffers=buffers, draws=copy(state.draws))

    # -- the optimizer's memory --------------------------------------------------------------------------------------

    @property
    def frozen(self) -> tuple[int, ...]:
        """Numbers of the layers that have parameters and are not trained; see ``Layer.trainable``."""
        pairs = enumerate(zip(self.layers, self.program.ops, strict=True))
        return tuple(i for i, (layer, op) in pairs if op.shapes and not layer.trainable)

    @property
    def trained_program(self) -> Program:
        """The program with the layers that are frozen now, which ``program`` knows nothing of: predictions need not."""
        frozen = self.frozen
        return replace(self.program, frozen=frozen) if frozen else self.program

    @property
    def trainable(self) -> bool:
        """Whether any layer is trained; setting it freezes all layers, or lets all be trained."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    def prepare_optimizer(self, optimizer: Optimizer, frozen: tuple[int, ...] | None = None) -> None:
        """Make room for what the optimizer remembers; keep it if it is the optimizer of before, of the same layers.

        Parameters
        ----------
        optimizer : Optimizer
        frozen : tuple of int, optional
            Layers that it does not train; by default those that are frozen now.

        Raises
        ------
        ModelInTrainingError
            If it is another than that which a training of this thread's is under way with.
        """
        with self.guard.turn:
            state, frozen = self.state, self.frozen if frozen is None else frozen
            same = optimizer is self._optimizer and frozen == self._left_out
            if same and len(state.moments) == optimizer.n_moments:
                return
            self.guard.check("prepare_optimizer")
            n_trained = replace(self.program, frozen=frozen).n_trained
            state.moments = self.backend.new_moments(state, optimizer.n_moments, n_trained)
            state.step *= 0  # One number, or one for each model.
            self._optimizer, self._left_out = optimizer, frozen

    def forget_optimizer(self) -> None:
        """Let the next optimizer start afresh, also the one of before."""
        self._optimizer = None

    # -- samples -----------------------------------------------------------------------------------------------------

    def _samples(self, x: Any) -> Array:
        """Return checked samples where the caller has them, if the network can compute on them."""
        admitted = self.backend.admit(x, "x")
        reads, expects = self.program.reads, repr(self.layers[0])
        # Rows that go through double on their way are converted as they are gathered.
        samples = as_samples(admitted, "x", self.program.n_in, reads, expects=expects, kept=reads != self.dtype)
        self._require_adapted()
        reader = levels_read(self.layers)
        if reader is not None:
            with self.backend.active():
                check_levels(reader, samples, self._first_columns(samples))
        return samples

    def _first_columns(self, samples: Array) -> tuple[Array, Array] | None:
        """Return the means and scales of a first ``Normalize``, where some samples live; None if there is none."""
        if not isinstance(self.layers[0], Normalize):
            return None
        mean, scale = views(self.state.buffers.reshape(-1, self.program.n_buffers)[0], self.program.buffer_layout[0])
        return self.backend.beside(mean, samples), self.backend.beside(scale, samples)

    def _columns(self, loss: Loss) -> tuple[Array, Array] | None:
        """Return the means and scales by which the targets of a loss are standardised; None if they are not."""
        refuse_scaling_within(self.layers)
        last = self.layers[-1]
        if isinstance(last, Denormalize) and last.powers != loss.powers:
            raise ValueError(
                f"{loss!r} expects targets scaled by Denormalize(n, powers={loss.powers!r}), of n targets; got "
                f"{last!r}. Give it these powers."
            )
        return target_columns(self.program, self.backend, self.state, slopes=loss.takes_slopes)

    def _require_adapted(self) -> None:
        for layer in self.layers:
            if isinstance(layer, Columns) and not layer.adapted:
                data = "adapt(y)" if isinstance(layer, Denormalize) else "adapt(x)"
                raise ValueError(
                    f"{layer!r} has seen no data yet. Call its {data} with the training data first, and before an "
                    "Ensemble is made of its network."
                )
