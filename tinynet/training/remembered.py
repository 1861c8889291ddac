"""What checkpoints of one model and of many have in common: whose they are, and what callbacks remember."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import views
from tinynet.base.errors import ModelFileError, ResumeError
from tinynet.exchange.atomic import Path_
from tinynet.program import DenormalizeOp, NormalizeOp
from tinynet.training.callbacks import Callback
from tinynet.training.identity import Identified, check_identity
from tinynet.training.older import is_older, translated

COLUMNS_AGREE = 1e-5
"""How far, in standard deviations, columns of ``Normalize`` may be from those in a checkpoint: the sums that they come
from round otherwise on another machine."""


def checked_identity(training: dict[str, Any], trainer: Identified, changes: Iterable[str], path: Path_) -> set[str]:
    """Return what has changed, of what may, since a checkpoint was written; see ``check_identity``.

    Raises
    ------
    ModelFileError
        If it does not tell of which training it is.
    ResumeError
        If it is of another.
    """
    found, done = training.get("fingerprint"), training.get("epoch")
    try:
        if not isinstance(found, dict) or not isinstance(done, int):
            raise TypeError(f"got {found!r} and the epoch {done!r}")
        older = is_older(found)
        if older:
            found = translated(found, trainer)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(
            f"{str(path)!r} is not a whole checkpoint: it does not tell of which training: {error!r}."
        ) from error
    return check_identity(found, trainer, changes, done, str(path), partial=older)


def checked_columns(model: Any, kept: NDArray[Any], path: Path_) -> None:
    """Raise ResumeError if the scaling layers of a model have other columns than those in a checkpoint."""
    here = model.backend.to_numpy(model.state.buffers)
    for position, (op, layout) in enumerate(zip(model.program.ops, model.program.buffer_layout, strict=True)):
        if not isinstance(op, NormalizeOp):
            continue
        (mean, scale), (own_mean, own_scale) = views(kept, layout), views(here, layout)
        if isinstance(op, DenormalizeOp):
            mean, scale, own_mean, own_scale = -mean / scale, 1 / scale, -own_mean / own_scale, 1 / own_scale
        far = np.abs(mean - own_mean) > COLUMNS_AGREE * np.abs(own_scale)
        if (far | (np.abs(scale - own_scale) > COLUMNS_AGREE * np.abs(own_scale))).any():
            other = f"layer {position}, {model.layers[position]!r}, has other columns in {str(path)!r} than here"
            raise ResumeError(
                f"resume_from expects a checkpoint of the same training; {other}. Adapt it to the same data.",
                {f"layer {position}": other},
            )


def with_state(callbacks: Iterable[Callback]) -> list[Callback]:
    """Return the callbacks that remember something; a progress bar may come and go."""
    return [callback for callback in callbacks if type(callback).state is not Callback.state]


def kept_states(callbacks: Sequence[Callback]) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Return what callbacks remember, as what a header holds, and as arrays."""
    entries: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for position, callback in enumerate(callbacks):
        state = callback.state()
        held = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
        values = {name: value for name, value in state.items() if name not in held}
        entries.append({"class": type(callback).__name__, "values": values, "arrays": sorted(held)})
        arrays |= {f"callback{position}.{name}": array for name, array in held.items()}
    return entries, arrays


def tried_states(
    entries: list[dict[str, Any]],
    arrays: dict[str, NDArray[Any]],
    callbacks: Sequence[Callback],
    model: Any,
    trainer: Any,
) -> list[tuple[Callback, dict[str, Any]]]:
    """Return each callback with what ``kept_states`` found of it, if a copy of it takes that."""
    names = [type(callback).__name__ for callback in callbacks]
    if len(entries) != len(callbacks):
        raise ModelFileError(f"the checkpoint holds the states of {len(entries)} callbacks; expected {len(callbacks)}.")
    if [entry["class"] for entry in entries] != names:
        raise ModelFileError(f"the checkpoint holds the states of other callbacks than {', '.join(names)}.")
    found = []
    for position, (callback, entry) in enumerate(zip(callbacks, entries, strict=True)):
        state = {**entry["values"], **{name: arrays[f"callback{position}.{name}"] for name in entry["arrays"]}}
        probe = copy.copy(callback)
        probe.model, probe.trainer = model, trainer
        probe.load_state(state)
        found.append((callback, state))
    return found
