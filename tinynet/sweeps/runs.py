"""Runs of a sweep: what each setting makes, and which runs can be trained together as one ensemble."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tinynet.backends import use_backend
from tinynet.base.checks import member, whole
from tinynet.base.frozen import dataclass
from tinynet.layers.columns import Columns
from tinynet.losses import Loss, get_loss
from tinynet.models.sequential import Sequential
from tinynet.optimizers import OPTIMIZERS, Optimizer
from tinynet.program import CustomOp, DropoutOp, Program, all_ops
from tinynet.schedules import Schedule, is_own
from tinynet.sweeps.space import Settings
from tinynet.training.arguments import USUAL_BATCH, checked_shuffle

FIT = ("loss", "optimizer", "epochs", "batch_size", "shuffle", "drop_last")
"""Names of a space that go to ``fit``; see ``Recipe``."""


@dataclass(frozen=True)
class Case:
    """What one setting makes: a network, its loss, its optimizer, and what else ``fit`` is given."""

    net: Sequential
    loss: Loss
    optimizer: Optimizer
    fit: dict[str, Any]

    @cached_property
    def key(self) -> Hashable:
        """What is equal for cases that can be trained together: all but the numbers that each model may have own."""
        ops = tuple(replace(op, rate=0.0) if isinstance(op, DropoutOp) else op for op in self.net.program.ops)
        fit = tuple(sorted(self.fit.items()))
        place = self.net.dtype, self.net.precision, self.net.backend.name
        return ops, *place, _form(self.loss), _form(self.optimizer), fit

    @property
    def description(self) -> str:
        """All that makes the run, as text; equal cases have equal ones in every process."""
        initial = [layer.initial_values(np.random.default_rng(0)) for layer in self.net.layers]
        held = [*initial, self.net.backend.to_numpy(self.net.state.buffers)]
        digest = hashlib.sha256(b"".join(np.ascontiguousarray(values).tobytes() for values in held)).hexdigest()[:16]
        layers = ", ".join(map(repr, self.net.program.ops))
        precision = "" if self.net.precision == "float32" else f" in {self.net.precision}"
        return (
            f"{layers}; {self.net.dtype}{precision}; {self.loss!r}; {self.optimizer!r}; {self.fit!r}; values {digest}"
        )


@dataclass(frozen=True)
class Recipe:
    """How a setting becomes a case.

    Each name of a setting goes where it is known, in this order: to ``build``, if it has a parameter of that name; to
    the call of ``fit`` (``FIT``); to the optimizer; to ``build``, if it takes any name (``**settings``).

    Attributes
    ----------
    build : callable
        ``build(**settings) -> Sequential``.
    defaults : dict
        A value for each name in ``FIT``.
    """

    build: Callable[..., Sequential]
    defaults: dict[str, Any]

    def case(self, settings: Settings, backend: str | None = None) -> Case:
        """Return the case of a setting; networks without a backend of their own get ``backend``.

        Raises
        ------
        TypeError, ValueError
            If a name is known nowhere, or what is made cannot be trained in an ensemble.
        """
        taken, takes_any = _parameters(self.build)
        fit = self.defaults | {name: settings[name] for name in FIT if name in settings and name not in taken}
        make, known = _maker(fit.pop("optimizer"))
        for_build, for_optimizer = {}, {}
        for name, value in settings.items():
            if name in taken:
                for_build[name] = value
            elif name in FIT:
                continue
            elif name in known:
                for_optimizer[name] = value
            elif takes_any:
                for_build[name] = value
            else:
                raise ValueError(
                    f"space expects names that build, fit or the optimizer takes; got {name!r}. "
                    f"build takes {_listed(taken)}; fit: {_listed(FIT)}; the optimizer: {_listed(known)}."
                )
        if backend is None:
            net = _called("build", self.build, for_build, Sequential)
        else:
            with use_backend(backend):
                net = _called("build", self.build, for_build, Sequential)
        optimizer = _called("optimizer", make, for_optimizer, Optimizer)
        if optimizer.takes_all_samples and fit["batch_size"] is not None:
            raise ValueError(
                f"{type(optimizer).__name__} takes all samples in each step, so it expects no batch_size; got "
                f"{fit['batch_size']}. Leave it out."
            )
        if fit["batch_size"] is None and not optimizer.takes_all_samples:
            fit["batch_size"] = USUAL_BATCH
        case = Case(net, loss_of_values(fit.pop("loss")), optimizer, fit)
        _check(case)
        return case


def loss_of_values(loss: str | Loss) -> Loss:
    """Return the loss that is meant, or say that its targets are more than a sweep reads."""
    found = get_loss(loss)
    if found.takes_slopes:
        raise ValueError(
            f"sweep expects a loss of values, whose y is one array; got {found!r}. Train on slopes by net.fit, or many "
            "networks at once by tn.Ensemble."
        )
    return found


def _parameters(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names that a function takes, and whether it takes any other."""
    if not callable(function):
        raise TypeError(f"sweep expects a function build(**settings) that returns a Sequential; got {function!r}.")
    found = inspect.signature(function).parameters.values()
    named = [p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return named, any(p.kind is p.VAR_KEYWORD for p in found)


def _maker(spec: Any) -> tuple[Callable[..., Optimizer], list[str]]:
    """Return what makes the optimizer of a name, an optimizer or a function, and the settings that it takes."""
    if isinstance(spec, Optimizer):
        return lambda **changes: _changed(spec, changes), list(spec.arguments())
    make = spec if callable(spec) else OPTIMIZERS[member("optimizer", spec, OPTIMIZERS)]
    return make, _parameters(make)[0]


def _changed(optimizer: Optimizer, changes: dict[str, Any]) -> Optimizer:
    if "learning_rate" in changes and isinstance(optimizer.learning_rate, Schedule):
        raise ValueError(
            f"space has a learning_rate, which would replace the schedule of the optimizer, {optimizer.learning_rate}. "
            "Give a function: optimizer=lambda learning_rate: tn.SGD(tn.CosineDecay(learning_rate, epochs=100))."
        )
    return type(optimizer)(**optimizer.arguments() | changes)


def _called(what: str, function: Callable[..., Any], settings: Settings, kind: type) -> Any:
    """Call a function of the user's with the settings that are meant for it."""
    try:
        inspect.signature(function).bind(**settings)
    except TypeError as error:
        raise TypeError(f"{what} cannot be called with {_listed(settings)}, what space has for it: {error}.") from None
    made = function(**settings)
    if not isinstance(made, kind):
        raise TypeError(f"{what} must return {kind.__name__}; got {made!r} for {settings!r}.")
    return made


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _check(case: Case) -> None:
    """Refuse what an ensemble cannot train, before anything is."""
    for op in all_ops(case.net.program.ops):
        if isinstance(op, CustomOp):
            raise TypeError(
                f"sweep expects built-in layers; got {type(op.layer).__name__}, which cannot be trained many at once. "
                "Train such networks one by one."
            )
    for layer in case.net.layers:
        if isinstance(layer, Columns) and not layer.adapted:
            raise ValueError(f"{layer!r} has seen no data yet. Call its adapt in build.")
    ops = case.net.program.learned.ops
    program = Program(ops, case.loss.lower(ops), case.optimizer.lower(case.net.parameter_names))
    whole("epochs", case.fit["epochs"])
    if case.fit["batch_size"] is not None:
        whole("batch_size", case.fit["batch_size"])
    checked_shuffle(case.fit["shuffle"])
    own = [*program.own_settings, *["learning_rate"] * is_own(case.optimizer.learning_rate)]
    if own:
        raise ValueError(f"sweep expects one number for the {own[0]}; got one for each model. List them in space.")


# -- many as one -----------------------------------------------------------------------------------------------------


def _form(value: Any) -> Hashable:
    """Return what must be equal for values to be joined: classes and flags, not numbers."""
    if isinstance(value, Optimizer):
        return type(value), tuple((name, _form(entry)) for name, entry in value.arguments().items())
    if isinstance(value, Loss):
        config = {} if value.is_custom else value.config()
        forms = {name: _form(entry) if name in value.own_numbers else repr(entry) for name, entry in config.items()}
        return type(value), tuple(forms.items()), value.is_custom and id(value)
    if isinstance(value, Schedule):
        # A schedule of the user's that is no dataclass cannot be taken apart.
        return type(value), tuple(map(_form, _fields(value).values())) if is_dataclass(value) else id(value)
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else value


def _fields(schedule: Any) -> dict[str, Any]:
    return {field.name: getattr(schedule, field.name) for field in fields(schedule)}


def joined(values: Sequence[Any]) -> Any:
    """Return optimizers, losses, schedules or numbers of one form as one, with a number for each where they differ.

    Examples
    --------
    >>> from tinynet.optimizers import SGD
    >>> joined([SGD(0.1, momentum=0.9), SGD(0.2, momentum=0.9)])
    SGD(learning_rate=(0.1, 0.2), momentum=0.9, nesterov=False, weight_decay=0.0)
    """
    first = values[0]
    if isinstance(first, Optimizer):
        return type(first)(**_joined_each([value.arguments() for value in values]))
    if isinstance(first, Loss) and not first.is_custom:
        return type(first)(**_joined_each([value.config() for value in values]))
    if isinstance(first, Schedule) and is_dataclass(first):
        return type(first)(**_joined_each([_fields(value) for value in values]))
    return first if all(value == first for value in values) else tuple(values)


def _joined_each(configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: joined([config[name] for config in configs]) for name in configs[0]}


def grouped(keys: Sequence[Hashable], n_seeds: int, group_size: int) -> list[list[int]]:
    """Return the runs that are trained together, at most ``group_size`` at a time.

    Run ``setting * n_seeds + i`` is that of a setting with the seed number ``i``.

    Examples
    --------
    >>> grouped(["a", "b", "a"], 2, 3)
    [[0, 1, 4], [5], [2, 3]]
    """
    alike: dict[Hashable, list[int]] = {}
    for setting, key in enumerate(keys):
        alike.setdefault(key, []).extend(range(setting * n_seeds, (setting + 1) * n_seeds))
    return [runs[i : i + group_size] for runs in alike.values() for i in range(0, len(runs), group_size)]
