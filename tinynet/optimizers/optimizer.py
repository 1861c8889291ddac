"""Optimizer: what all optimizers share. The arithmetic is the backends'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import number, setting
from tinynet.base.hints import Hinting
from tinynet.program import OptimizerSpec, Setting
from tinynet.schedules import Schedule

Numbers = float | Sequence[float] | NDArray[np.floating[Any]]
"""A setting as users write it: a number, or one for each model of an ensemble."""

Decay = Callable[[str], float]
"""Weight decay by parameter: a function of its name, as "0.weight" or "2.bias"."""


def decay_setting(value: Numbers | Decay) -> Setting | Decay:
    """Return a weight decay as it was given, if it is a number, one for each model, or a function of a name."""
    return value if callable(value) else setting("weight_decay", value, at_least=0.0)


class Steppable(Protocol):
    """What ``Optimizer.step`` asks of a model."""

    def _apply(self, optimizer: Optimizer) -> None:
        """Make one update from the gradients that the model holds."""


class Optimizer(Hinting):
    """What all optimizers share. Every number may be a sequence, with one for each model of an ``Ensemble``.

    Parameters
    ----------
    learning_rate : float or Schedule
    clip_norm : float, optional
        Scale the gradient so that its 2-norm over all parameters is at most this (Pascanu et al. 2013).
    clip_value : float, optional
        Clip every element of the gradient to ``[-clip_value, clip_value]``, before ``clip_norm``.

    An optimizer remembers which model it trains: ``fit`` with the same object goes on with its moments, a new object
    starts afresh.
    """

    kind: str
    takes_all_samples = False
    """Whether each step takes all samples, and an epoch is one step."""

    def __init__(
        self,
        learning_rate: Numbers | Schedule,
        *,
        clip_norm: Numbers | None = None,
        clip_value: Numbers | None = None,
    ) -> None:
        if callable(learning_rate) and not isinstance(learning_rate, Schedule):
            raise TypeError(
                f"learning_rate must be a number or a Schedule; got {learning_rate!r}. Take one of tinynet's, such as "
                "tn.CosineDecay(0.01, epochs=100), or write yours as a subclass of tn.Schedule."
            )
        if not isinstance(learning_rate, Schedule):
            learning_rate = setting("learning_rate", learning_rate, above=0.0)
        self.learning_rate = learning_rate
        self.clip_norm = None if clip_norm is None else setting("clip_norm", clip_norm, above=0.0)
        self.clip_value = None if clip_value is None else setting("clip_value", clip_value, above=0.0)

    def settings(self) -> dict[str, Any]:
        """Return the settings in the order of the kernel's arguments: numbers, but for a weight decay by parameter."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that make an optimizer like this one."""
        clips = {"clip_norm": self.clip_norm, "clip_value": self.clip_value}
        return {"learning_rate": self.learning_rate, **self.settings(), **clips}

    @property
    def n_moments(self) -> int:
        """Number of vectors that the optimizer remembers."""
        raise NotImplementedError

    def lower(self, names: Sequence[str] = ()) -> OptimizerSpec:
        """Return the optimizer as plain data, for a network whose parameters have these names.

        Raises
        ------
        TypeError, ValueError
            If a weight decay by parameter gives something else than a number that is not negative.
        """
        settings = self.settings()
        decays: tuple[float, ...] = ()
        decay = settings.get("weight_decay")
        if callable(decay):
            decays = tuple(number(f"weight_decay({name!r})", decay(name), at_least=0.0) for name in names)
            settings["weight_decay"] = 0.0
            if len(set(decays)) == 1:
                settings["weight_decay"], decays = decays[0], ()
        return OptimizerSpec(
            kind=self.kind,
            settings=tuple(settings.items()),
            n_moments=self.n_moments,
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            decays=decays,
        )

    def step(self, model: Steppable) -> None:
        """Make one update of ``model`` from its gradients, for those who write their own loop.

        A schedule needs to know how long an epoch is, so it works in ``fit`` only.

        Raises
        ------
        TypeError
            If the learning rate is a schedule.
        """
        if not isinstance(self.learning_rate, float):
            raise TypeError(
                "Optimizer.step expects a constant learning rate; got a schedule or one per model, which need fit. "
                "Set optimizer.learning_rate to a number before each step."
            )
        model._apply(self)

    def __repr__(self) -> str:
        settings = {"learning_rate": self.learning_rate, **self.settings()}
        settings |= {
            name: getattr(self, name) for name in ("clip_norm", "clip_value") if getattr(self, name) is not None
        }
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in settings.items())})"
