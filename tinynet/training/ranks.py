"""What a training over the ranks of MPI does besides: begin and end alike, and measure over the samples of all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.backends.ranks.team import Team, team_of
from tinynet.losses import Loss
from tinynet.program import Program
from tinynet.training.data import Data
from tinynet.training.identity import Identified, Identity, identity_of, is_digest, op_text, settings_of
from tinynet.training.metrics import Measure, Meter

if TYPE_CHECKING:
    from tinynet.training.trainable import Trainable


def together(
    comm: Any, deterministic: bool, model: Trainable, given: Mapping[str, Any]
) -> AbstractContextManager[Alone]:
    """Return a context for a training, of one process or of the ranks of a communicator, with who takes part in it.

    All ranks begin with the model of the first one, and the generator that it draws orders from, and end with its
    model.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm or None
    deterministic : bool
    model : Trainable
    given : mapping
        What ``fit`` was given, by the names of its arguments.

    Raises
    ------
    ValueError
        If ranks are given other arguments, or one that is about the samples of one rank.
    """
    return nullcontext(ALONE) if comm is None else _together(team_of(comm, deterministic), model, given)


@contextmanager
def _together(team: Team, model: Trainable, given: Mapping[str, Any]) -> Iterator[Team]:
    with team.session():
        if given["validation_split"]:
            raise ValueError(
                "fit(comm=...) expects validation_data; validation_split would hold out the end of each rank's "
                "samples, not of all. Pass what each rank shall hold out."
            )
        layers = {f"layer {i}": op_text(op) for i, op in enumerate(model.program.ops)}
        team.check_same({"dtype": model.dtype, **layers, **_plain(given)})
        _begin_alike(team, model)
        yield team
        team.agree()
        _share(team, model, "parameters")


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as texts: of data, whether there are any."""
    data = ("validation_data", "sample_weight")
    return {name: value is not None if name in data else repr(value) for name, value in given.items()}


def _begin_alike(team: Team, model: Trainable) -> None:
    state = model.state
    model.rng.bit_generator.state, state.dropout_seed, state.draws = team.shared(
        (model.rng.bit_generator.state, state.dropout_seed, state.draws)
    )
    _share(team, model, "parameters", "buffers")


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
        model.state.step = team.shared(model.state.step)
        _share(team, model, "moments")


# -- whose training it is --------------------------------------------------------------------------------------------


def check_alike(team: Alone, training: Identified, **more: Any) -> None:
    """Raise ValueError on all ranks if they are about to train in different ways."""
    if isinstance(team, Team):
        team.check_same(settings_of(training) | more)


def identity_among(team: Alone, training: Identified) -> Identity:
    """Return what makes a training: of several ranks with the data of all of them, and how they are divided."""
    own = identity_of(training)
    if not isinstance(team, Team):
        return own
    team.agree()
    every = team.comm.allgather(own)
    for name, value in own.items():
        if is_digest(value):
            own[name] = _of_all([one[name] for one in every])
    counts = [one["number of samples"] for one in every]
    return own | {"number of samples": sum(counts), "samples of ranks": counts}


def _of_all(digests: list[dict[str, Any]]) -> dict[str, Any]:
    first = digests[0]
    rows = sum(one["shape"][0] for one in digests)
    sums = hashlib.sha256("".join(one["sha256"] for one in digests).encode()).hexdigest()
    return {**first, "shape": [rows, *first["shape"][1:]], "sha256": sums}


# -- metrics ---------------------------------------------------------------------------------------------------------


class RanksMeter(Meter):
    """Measures what a network says of the samples of all ranks, on the first of them."""

    def __init__(self, team: Team, measures: dict[str, Measure], data: Data, loss: Loss, program: Program) -> None:
        self.measures, self.data, self._team = dict(measures), data, team
        self._meter: Meter | None = None
        if not self.measures:
            return
        targets, weights = team.gathered(data.y_host), data.sample_weight_host
        all_weights = None if weights is None else team.gathered(weights)
        team.on_first(lambda: self._begin(replace(data, _y_host=targets, sample_weight=all_weights), loss, program))

    def _begin(self, data: Data, loss: Loss, program: Program) -> None:
        self._meter = Meter(self.measures, data, loss, program)

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
    if isinstance(team, Team):
        return RanksMeter(team, measures, data, loss, program)
    return Meter(measures, data, loss, program)
