"""What a training over the ranks of MPI does besides: begin and end alike, and measure over the samples of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.backends.ranks.divided import Divided
from tinynet.backends.ranks.parts import checked_parts
from tinynet.backends.ranks.team import Team, team_of
from tinynet.losses import Loss
from tinynet.program import Program
from tinynet.training.data import SPLIT, Data, check_some_weight, n_left, split_data
from tinynet.training.identity import Identified, Identity, digests_of, identity_of, op_text, settings_of
from tinynet.training.metrics import Measure, Meter

if TYPE_CHECKING:
    from tinynet.training.trainable import Trainable


def together(
    comm: Any, deterministic: bool | int, model: Trainable, given: Mapping[str, Any]
) -> AbstractContextManager[Alone]:
    """Return a context for a training, of one process or of the ranks of a communicator, with who takes part in it.

    All ranks begin with the model of the first one, and the generator that it draws orders from, and end with its
    model.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
    deterministic : bool or int
    model : Trainable
    given : mapping
        What ``fit`` was given, by the names of its arguments.

    Raises
    ------
    ValueError
        If ranks are given other arguments, or one that is about the samples of one rank.
    """
    n_parts = checked_parts(deterministic)
    if comm is not None:
        return _together(team_of(comm, n_parts), model, {**given, "deterministic": n_parts})
    return nullcontext(Divided(n_parts) if n_parts else ALONE)


@contextmanager
def _together(team: Team, model: Trainable, given: Mapping[str, Any]) -> Iterator[Team]:
    with team.session():
        layers = {f"layer {i}": op_text(op) for i, op in enumerate(model.program.ops)}
        team.check_same({"dtype": model.dtype, **layers, **_plain(given)})
        with _refused_before_it_began(team, model):
            _begin_alike(team, model)
            yield team
        team.agree()
        _share(team, model, "parameters")


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as texts: of data, whether there are any."""
    data = ("validation_data", "sample_weight")
    return {name: value is not None if name in data else repr(value) for name, value in given.items()}


def _begin_alike(team: Team, model: Trainable) -> None:
    _put_random(model, team.shared(_random(model)))
    _share(team, model, "parameters", "buffers")


@contextmanager
def _refused_before_it_began(team: Team, model: Trainable) -> Iterator[None]:
    """Let the model be as it was, not as that of the first rank is, if training ends before it begins."""
    state, host = model.state, model.backend.to_numpy
    random, vectors = _random(model), [np.array(host(array)) for array in (state.parameters, state.buffers)]
    try:
        yield
    except BaseException:
        if not team.begun:
            _put_random(model, random)
            with model.guard.changing():
                for array, before in zip((state.parameters, state.buffers), vectors, strict=True):
                    array[...] = model.backend.asarray(before)
        raise


def _random(model: Trainable) -> tuple[Any, ...]:
    """Return what random numbers of a model come from."""
    return model.rng.bit_generator.state, model.state.dropout_seed, model.state.draws


def _put_random(model: Trainable, random: tuple[Any, ...]) -> None:
    model.rng.bit_generator.state, model.state.dropout_seed, model.state.draws = random


def _share(team: Team, model: Trainable, *names: str) -> None:
    """Let some arrays of the state be those of the first rank."""
    with model.guard.changing():
        for name in names:
            array = getattr(model.state, name)
            host = np.array(model.backend.to_numpy(array))
            team.share([host])
            array[...] = model.backend.asarray(host)


def share_optimizer(team: Alone, model: Trainable) -> None:
    """Let what the optimizer remembers be what it does on the first rank."""
    if isinstance(team, Team):
        team.agree()
        team.begun = True
        model.state.step = team.shared(model.state.step)
        _share(team, model, "moments")


# -- whose training it is --------------------------------------------------------------------------------------------


def check_alike(team: Alone, training: Identified, **more: Any) -> None:
    """Raise ValueError on all ranks if they are about to train in different ways."""
    if isinstance(team, Team):
        team.check_same(settings_of(training) | more)


def identity_among(team: Alone, training: Identified) -> Identity:
    """Return what makes a training: in parts, or of several ranks, with the data of all and how they are divided."""
    if not isinstance(team, Divided):
        return identity_of(training)
    found = settings_of(training) | {"number of samples": team.total}
    found |= {"parts": team.n_parts} if team.n_parts else {"samples of ranks": team.of_all([len(training.data)])}
    for prefix, data in (("", training.data), ("validation ", training.validation)):
        if data is None:
            continue
        parts = [data.part(*ends) for ends in pairwise(team.cuts_of(len(data)))]
        digests = team.of_all([digests_of(training.plan, {prefix: part}) for part in parts])
        for name, first in digests[0].items():
            found[name] = None if first is None else _of_all([one[name] for one in digests])
    return found


def _of_all(digests: list[dict[str, Any]]) -> dict[str, Any]:
    first = digests[0]
    rows = sum(one["shape"][0] for one in digests)
    sums = hashlib.sha256("".join(one["sha256"] for one in digests).encode()).hexdigest()
    return {**first, "shape": [rows, *first["shape"][1:]], "sha256": sums}


# -- metrics ---------------------------------------------------------------------------------------------------------


class RanksMeter(Meter):
    """Measures, on the first rank, what a network says of the samples of all ranks, of one part after the other."""

    def __init__(self, team: Divided, measures: dict[str, Measure], data: Data, loss: Loss, program: Program) -> None:
        self.measures, self.data, self._team = dict(measures), data, team
        self._meter: Meter | None = None
        if not self.measures:
            return
        self._cuts = team.cuts_of(len(data))
        targets, weights = team.gathered(data.y_host), data.sample_weight_host
        all_weights = None if weights is None else team.gathered(weights)
        team.on_first(lambda: self._begin(replace(data, _y_host=targets, sample_weight=all_weights), loss, program))

    def _begin(self, data: Data, loss: Loss, program: Program) -> None:
        self._meter = Meter(self.measures, data, loss, program)

    def predicted(self, model: Trainable) -> NDArray[Any]:
        """Return the outputs of a model for the samples of this rank, in host memory."""
        found = [np.empty((0, model.program.n_out), model.dtype)]
        for start, stop in pairwise(self._cuts):
            part = self.data.x[start:stop]
            found.append(model.predict_on_host(part, standardised=self.data.standardised))
        return np.concatenate(found)

    def __call__(self, outputs: NDArray[Any], model: int = 0) -> dict[str, float]:
        """Return the figures of the outputs for the samples of all ranks, by name."""
        whole = self._team.gathered(outputs)
        return self._team.on_first(lambda: self._measured(whole))

    def _measured(self, outputs: NDArray[Any] | None) -> dict[str, float]:
        assert self._meter is not None
        assert outputs is not None
        return self._meter(outputs)


def meter_of(team: Alone, measures: dict[str, Measure], data: Data, loss: Loss, program: Program) -> Meter:
    """Return what measures the samples of all who take part in a training."""
    if isinstance(team, Divided):
        return RanksMeter(team, measures, data, loss, program)
    return Meter(measures, data, loss, program)


# -- samples ---------------------------------------------------------------------------------------------------------

ARRAYS = ("x", "y", "weight", "sample_weight", "y_given")
"""What of data travels, before any of it is standardised."""


def dealt(team: Alone, data: Data) -> Data:
    """Return the samples of the parts of this rank, where sums are over parts: ranks may have others to begin with."""
    return _dealt(team, data) if isinstance(team, Team) and team.n_parts else data


def _dealt(team: Team, data: Data) -> Data:
    arrays = {name: getattr(data, name) for name in ARRAYS}
    team.check_same({name: array is not None for name, array in arrays.items()})
    moved: dict[str, Any] = {"_y_host": None}
    moved |= {name: None if array is None else team.dealt(array, team.cut) for name, array in arrays.items()}
    return replace(data, **moved)


def split_among(team: Alone, data: Data, share: float) -> tuple[Data, Data]:
    """Hold out a share of the samples of all ranks, from the end; each rank then has as many as any other of both."""
    if not isinstance(team, Team):
        return split_data(data, share)
    first, total = team.place(len(data))
    border = min(max(n_left(total, share) - first, 0), len(data))
    parts = data.part(0, border), data.part(border, len(data))
    for part, does in zip(parts, SPLIT, strict=True):
        weight = part.weight
        if weight is not None and not team.any(bool((weight != 0).any())):
            check_some_weight(np.zeros(total), f"sample_weight of what validation_split {does}")
    trained, held = (_dealt(team, part) for part in parts)
    return trained, held
