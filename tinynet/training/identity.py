"""The identity of a training: what must be equal for one that is resumed to be the one that was interrupted.

It covers the data, every setting of the network, the loss, the optimizer and the order of the samples, the callbacks
that act on the training, and the figures that are recorded. A checkpoint keeps it, of one model as of many.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from tinynet.base.checks import member
from tinynet.base.errors import ResumeError
from tinynet.layers import Layer
from tinynet.losses import Loss
from tinynet.optimizers import Optimizer
from tinynet.program import CustomOp, LossSpec
from tinynet.schedules import Schedule, rates
from tinynet.training.callbacks import Callback
from tinynet.training.data import Data
from tinynet.training.digests import Digest, digest

if TYPE_CHECKING:
    from tinynet.backends.base import Plan

Identity = dict[str, Any]

CHANGEABLE = ("learning_rate", "epochs", "callbacks")
"""What ``resume_changes`` may name: the rest of the training goes on with another learning rate, to another number of
epochs, or with other settings of the callbacks."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_LONGEST = 200


class Identified(Protocol):
    """A training as those see it who ask which it is: the trainer of one model, or of many."""

    plan: Plan
    data: Data
    validation: Data | None
    optimizer: Optimizer
    epochs: int
    batch_size: int
    shuffle: bool | str
    drop_last: bool

    @property
    def figures(self) -> list[str]:
        """Names of the figures of an epoch."""

    @property
    def remembering(self) -> Sequence[Callback]:
        """The callbacks whose states a checkpoint keeps."""

    @property
    def own_identity(self) -> Identity:
        """What only this kind of training has."""

    @property
    def drawn(self) -> set[str]:
        """What of its identity nobody has said: it was drawn at random, and that of a checkpoint will do."""

    @property
    def identity(self) -> Identity:
        """What makes this training; see ``identity_of``."""


def settings_of(training: Identified) -> Identity:
    """Return what makes a training but its data, by names that a message can show, as JSON holds it."""
    program, optimizer = training.plan.program, training.optimizer
    assert program.loss is not None
    assert program.optimizer is not None
    settings = program.optimizer
    found = {
        **{f"layer {i}": op_text(op) + ", frozen" * (i in program.frozen) for i, op in enumerate(program.ops)},
        "dtype": program.dtype,
        "precision": program.precision,
        "loss": loss_text(program.loss),
        "optimizer": settings.kind,
        "learning_rate": _rate(optimizer.learning_rate),
        **dict(settings.settings),
        **({"weight_decay": settings.decays} if settings.decays else {}),
        "clip_norm": settings.clip_norm,
        "clip_value": settings.clip_value,
        "batch size": training.batch_size,
        "shuffle": training.shuffle,
        "drop_last": training.drop_last,
        "figures": training.figures,
        "callbacks": [callback_text(callback) for callback in training.remembering],
        **training.own_identity,
    }
    plain: Identity = json.loads(json.dumps(found))
    return plain


def identity_of(training: Identified) -> Identity:
    """Return what makes a training: its settings and its data."""
    counted = {"number of samples": len(training.data)}
    return settings_of(training) | counted | digests_of(training.plan, _sets(training))


def check_identity(
    found: Identity, training: Identified, changes: Iterable[str], done: int, path: str, *, partial: bool = False
) -> set[str]:
    """Return which of the changes that are allowed were made since a checkpoint was written.

    Parameters
    ----------
    found : dict
        The identity in the checkpoint.
    training : Identified
        The one that is to go on from it.
    changes : iterable of str
        What may differ; see ``CHANGEABLE``.
    done : int
        Epochs that the checkpoint has behind it. More of them than before is no change: the training that is asked for
        is the one that was interrupted, only longer.
    path : str
        For messages.
    partial : bool
        Whether the checkpoint is of an older version, which kept less: only what it kept is compared.

    Raises
    ------
    ResumeError
        If anything else differs; the message names it all.
    """
    expected = training.identity
    differences: dict[str, str] = {}
    for name in found if partial else dict.fromkeys([*expected, *found]):
        was, now = found.get(name), expected.get(name)
        if (
            was == now
            or name in training.drawn
            or (is_digest(was) and is_digest(now) and _alike(was, now, training, name))
        ):
            continue
        differences[name] = _difference(name, was, now)
    if done > training.epochs:
        differences["epochs"] = f"it has {done} epochs behind it, this fit has epochs={training.epochs}"
    unwanted = [text for name, text in differences.items() if name not in changes]
    if not unwanted:
        return set(differences)
    if "optimizer" in differences:  # Then what only one of them has is no news.
        unwanted = [t for n, t in differences.items() if n not in changes and n in found and n in expected]
    allowed = tuple(name for name in differences if name in CHANGEABLE)
    remedy = "Call fit with the arguments of the interrupted run"
    if set(differences) <= set(CHANGEABLE):
        remedy += f", or go on with the new ones: resume_changes={allowed[0] if len(allowed) == 1 else allowed!r}"
    raise ResumeError(
        f"resume_from expects a checkpoint of the same training; that in {path!r} is of another: "
        f"{'; '.join(unwanted)}. {remedy}.",
        differences,
    )


def checked_changes(changes: str | Iterable[str]) -> tuple[str, ...]:
    """Return the names in ``resume_changes``, or say which there are.

    Examples
    --------
    >>> checked_changes("epochs"), checked_changes(["learning_rate", "epochs"])
    (('epochs',), ('learning_rate', 'epochs'))
    """
    names = (changes,) if isinstance(changes, str) else tuple(changes)
    return tuple(member("resume_changes", name, CHANGEABLE) for name in names)


# -- as text -----------------------------------------------------------------------------------------------------------


def _difference(name: str, was: Any, now: Any) -> str:
    if is_digest(was) and is_digest(now):
        if was["shape"] == now["shape"]:
            return f"its {name} has other values than here"
        return f"its {name} has the shape {was['shape']}, here it has {now['shape']}"
    shown = ["data" if is_digest(value) else _short(value) for value in (was, now)]
    return f"its {name} is {shown[0]}, this fit has {shown[1]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def op_text(op: Any) -> str:
    """Return a layer's op as text; a part that users wrote tells of its settings by its ``config``, if it has one."""
    if isinstance(op, CustomOp):
        return f"{type(op.layer).__name__}({op.n_in}, {op.n_out}{_own_config(op.layer, Layer)})"
    return f"{type(op).__name__.removesuffix('Op')}{_settings(op)}"


def loss_text(spec: LossSpec) -> str:
    """Return a loss as text, as ``op_text`` does."""
    if spec.custom is not None:
        return f"{type(spec.custom).__name__}({spec.reduction}{_own_config(spec.custom, Loss)})"
    return f"{spec.kind}{_settings(spec, 'kind')}".removesuffix("()")


def _own_config(part: Any, base: type) -> str:
    """Return the arguments of a part that users wrote, where they have said which these are."""
    return f", {part.config()!r}" if type(part).config is not base.config else ""  # type: ignore[attr-defined]


def _settings(spec: Any, *left_out: str) -> str:
    """Return the fields of frozen data as text, without what has its default: so a field may be added later."""
    shown = []
    for field in fields(spec):
        entry = getattr(spec, field.name)
        if field.name not in left_out and (field.default is MISSING or entry != field.default):
            shown.append(f"{field.name}={entry!r}")
    return f"({', '.join(shown)})"


def _rate(rate: Any) -> Any:
    """Return a learning rate: a number, one for each model, or a schedule as text.

    A schedule that cannot be told by its ``repr`` is told by its values in the first 1000 epochs.
    """
    if not isinstance(rate, Schedule):
        return rate
    text = repr(rate)
    if not _ADDRESS.search(text):
        return text
    values = rates(rate, np.arange(1000.0)[:, None])
    return f"{type(rate).__qualname__} of values {hashlib.sha256(values.astype('<f8').tobytes()).hexdigest()[:16]}"


def callback_text(callback: Callback) -> str:
    """Return a callback as text: its class and its settings."""
    settings = ", ".join(f"{name}={value!r}" for name, value in callback.settings().items())
    return f"{type(callback).__name__}({settings})"


# -- data --------------------------------------------------------------------------------------------------------------


def _sets(training: Identified) -> dict[str, Data]:
    """Return the sets of data that a training reads, by what the names of their arrays begin with."""
    return {"": training.data} | ({} if training.validation is None else {"validation ": training.validation})


def digests_of(plan: Plan, sets: Mapping[str, Data]) -> dict[str, Digest | None]:
    """Return the digests of the arrays of some sets of data."""
    return {name: _digest(plan, name, *place) for name, place in _arrays(sets).items()}


def _arrays(sets: Mapping[str, Data]) -> dict[str, tuple[Any, Data]]:
    """Return arrays by their names, and whose they are."""
    found: dict[str, tuple[Any, Data]] = {}
    for prefix, data in sets.items():
        x = data.x if data.given is None else data.given
        y = data.y if data.y_given is None else data.y_given
        found |= {f"{prefix}{name}": (a, data) for name, a in (("x", x), ("y", y), ("sample_weight", data.weight))}
    return found


def _digest(plan: Plan, name: str, array: Any, data: Data, was: Digest | None = None) -> Digest | None:
    """Return the digest of an array, found in the way of an older one if that is given."""
    if array is None:
        return None
    program = replace(plan.program, standardised=False)
    reads = program.reads if name.endswith("x") else program.dtype
    if name.endswith("y") and data.y_given is not None:
        reads = "float64"
    dtype = np.dtype(reads).newbyteorder("<").str
    if array.ndim == 1 and array.dtype.kind in "iu":
        dtype = "<i8"
    if was is None:
        return digest(array, dtype, data.backend.to_numpy)
    # Older checkpoints knew samples that are standardised in the model's dtype alone.
    before = str(was.get("dtype"))
    return digest(
        array, before if before in ("<f4", "<f8", "<i8") else dtype, data.backend.to_numpy, bool(was["sampled"])
    )


def is_digest(value: Any) -> TypeGuard[Digest]:
    """Tell whether an entry of an identity is about an array of data."""
    return isinstance(value, Mapping) and {"shape", "sampled", "sha256"} <= set(value)


def _alike(was: Digest, now: Digest, training: Identified, name: str) -> bool:
    """Tell whether data are those of a digest that was found in another way, for instance of a file on disk."""
    ways = [(one["sampled"], one.get("dtype")) for one in (was, now)]
    if ways[0] == ways[1] or was["shape"] != now["shape"]:
        return False
    return _digest(training.plan, name, *_arrays(_sets(training))[name], was) == was
