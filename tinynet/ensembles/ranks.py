"""An ensemble over the ranks of MPI: each trains some of the models, on all samples, and all end with all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import Alone
from tinynet.backends.ranks.team import session_of
from tinynet.base.frozen import dataclass
from tinynet.losses import get_loss
from tinynet.optimizers import Optimizer, get_optimizer
from tinynet.schedules import Schedule
from tinynet.training.arguments import checked_callbacks
from tinynet.training.averaging import WeightAverage
from tinynet.training.history import EnsembleHistory
from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble

Arguments = ParamSpec("Arguments")
Fit = Callable[Concatenate["Ensemble", Arguments], EnsembleHistory]

OWN = (EarlyStopping, ReduceLROnPlateau, WeightAverage)
"""Callbacks that act on each model by itself: it does not matter with which others it is trained."""

REFUSED = ("shared_order", "resume_from")
"""Arguments of ``fit`` that are about all models at once."""


@dataclass(frozen=True)
class Part:
    """What a rank has trained: data, which can be sent."""

    members: NDArray[np.int64]
    vectors: dict[str, NDArray[Any]]
    generators: list[dict[str, Any]]
    scores: dict[str, NDArray[np.float64]]
    history: EnsembleHistory


def over_ranks(fit: Fit[Arguments]) -> Fit[Arguments]:
    """Let ``Ensemble.fit`` divide its models among the ranks of a communicator, if it is given one as ``comm``."""

    @wraps(fit)
    def divided(self: Ensemble, /, *args: Arguments.args, **given: Arguments.kwargs) -> EnsembleHistory:
        comm = given.pop("comm", None)
        if comm is None:
            return fit(self, *args, **given)
        with session_of(comm) as team:
            return _trained_by_all(self, team, args, given)

    return divided


def _trained_by_all(models: Ensemble, team: Alone, data: tuple[Any, ...], given: dict[str, Any]) -> EnsembleHistory:
    for name in REFUSED:
        if given.get(name):
            raise ValueError(
                f"fit(comm=...) of an ensemble expects no {name}, which is about all models. Leave it out."
            )
    for callback in checked_callbacks(given.get("callbacks", ())):
        if not isinstance(callback, OWN):
            raise TypeError(
                "fit(comm=...) of an ensemble expects callbacks that act on each model by itself (EarlyStopping, "
                f"ReduceLROnPlateau, EMA, SWA); got {type(callback).__name__}. Leave it out."
            )
    team.check_same({"seeds": models.seeds, "arguments": sorted(given), "epochs": given.get("epochs", 1)})
    members = np.array_split(np.arange(len(models)), team.size)[team.rank]
    found: dict[int, Part] = {}
    if len(members):
        with team.local():
            found[team.rank] = _trained(models[members], members, data, given | {"verbose": _verbose(team, given)})
    parts = list(team.collected(found).values())
    return _taken(models, parts, given, team.size)


def _verbose(team: Alone, given: dict[str, Any]) -> int:
    return int(given.get("verbose", 0)) if team.rank == 0 else 0


def _trained(part: Ensemble, members: NDArray[np.int64], data: tuple[Any, ...], given: dict[str, Any]) -> Part:
    """Train the models of a rank, with the numbers that are theirs."""
    loss, optimizer = get_loss(given.get("loss", "mse")), get_optimizer(given.get("optimizer", "adam"))
    own: dict[str, Any] = {"loss": loss.select(members.tolist()), "optimizer": _of_members(optimizer, members)}
    weight: Any = given.get("sample_weight")
    if np.ndim(weight) == 2:
        own["sample_weight"] = np.asarray(weight)[members]
    history = part.fit(*data, **{**given, **own})
    generators = [dict(rng.bit_generator.state) for rng in part.generators]
    return Part(members, part.vectors(), generators, part.scores, history)


def _of_members(optimizer: Optimizer, members: NDArray[np.int64]) -> Optimizer:
    """Return the optimizer of some models: one like it, with their numbers."""
    return type(optimizer)(**{name: _chosen(value, members) for name, value in optimizer.arguments().items()})


def _chosen(value: Any, members: NDArray[np.int64]) -> Any:
    """Return what some models have of a setting; a schedule may have numbers for each of them, too."""
    if isinstance(value, tuple):
        return tuple(value[i] for i in members)
    if isinstance(value, Schedule) and is_dataclass(value):
        return replace(value, **{name: _chosen(entry, members) for name, entry in vars(value).items()})
    return value


def _taken(models: Ensemble, parts: list[Part], given: dict[str, Any], n_ranks: int) -> EnsembleHistory:
    """Let the models be those that all ranks have trained; return the record of all."""
    asarray, state = models.backend.asarray, models.state
    with models.guard.changing():
        for part in parts:
            for name in ("parameters", "buffers"):
                getattr(state, name)[part.members] = asarray(part.vectors[name])
            for name in ("draws", "dropout_seed"):
                getattr(state, name)[part.members] = part.vectors[name]
            for i, held in zip(part.members, part.generators, strict=True):
                models.generators[i].bit_generator.state = held
    models.forget_optimizer()
    models.scores = {name: np.concatenate([part.scores[name] for part in parts]) for name in parts[0].scores}
    models.loss = get_loss(given.get("loss", "mse"))
    models.history = _joined([part.history for part in parts], n_ranks)
    return models.history


def _joined(histories: list[EnsembleHistory], n_ranks: int) -> EnsembleHistory:
    """Return the record of all models: as long as the longest, NaN where others had ended."""
    longest = max(histories, key=len)
    joined = EnsembleHistory(sum(history.n_models for history in histories))
    rows: dict[str, NDArray[np.float64]] = {}
    for name in longest:
        rows[name] = np.full((len(longest), joined.n_models), np.nan)
    first = 0
    for history in histories:
        own = slice(first, first + history.n_models)
        for name in longest:
            rows[name][: len(history), own] = history[name]
        ended = len(history) - 1 if len(history) < len(longest) else -1
        joined.stopped[own] = np.where(history.stopped >= 0, history.stopped, ended)
        joined.diverged += [first + i for i in history.diverged]
        first = own.stop
    joined.load(longest.epoch, rows)
    joined.stop_reason = longest.stop_reason
    joined.plan = f"models divided among {n_ranks} ranks: {longest.plan}"
    joined.compile_seconds = max(history.compile_seconds for history in histories)
    return joined
