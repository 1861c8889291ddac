"""Checkpoints of ensembles: the training of many models in the middle, as a file, to be resumed as if never stopped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import whole
from tinynet.base.errors import ModelFileError
from tinynet.base.frozen import dataclass
from tinynet.ensembles.files import buffers_dtype, check_arrays, describe_ensemble, unpacked
from tinynet.ensembles.watch import Averaging
from tinynet.exchange.archive import read_archive, write_archive
from tinynet.exchange.atomic import Path_
from tinynet.training.callbacks import Callback
from tinynet.training.checkpoints import DAMAGE
from tinynet.training.data import standardise, standardise_targets
from tinynet.training.remembered import checked_columns, checked_identity, kept_states, tried_states, with_state

if TYPE_CHECKING:
    from tinynet.ensembles.trainer import EnsembleTrainer

Arrays = dict[str, NDArray[Any]]

START = "training.start_parameters"
"""An array that checkpoints of older versions lack."""


def save_checkpoint(trainer: EnsembleTrainer, path: Path_) -> None:
    """Write the models, the optimizer's memory, the random state, the position and what the watches know."""
    header, arrays = describe_ensemble(trainer.model)
    history = trainer.history
    callbacks, remembered = kept_states(with_state(trainer.callbacks))
    header["kind"] = "ensemble checkpoint"
    header["training"] = {
        "fingerprint": trainer.identity,
        "epoch": trainer.epoch,
        "epochs": history.epoch,
        "diverged": history.diverged,
        "watches": [sorted(watch.state()) for watch in trainer.watches],
        "callbacks": callbacks,
    }
    arrays |= remembered | {
        "training.moments": trainer.model.backend.to_numpy(trainer.model.state.moments),
        "training.step": trainer.model.state.step,
        "training.live": trainer.live,
        "training.rate_factor": trainer.rate_factor,
        "training.best_loss": trainer.best_loss,
        "training.best_epoch": trainer.best_epoch,
        "training.best_parameters": trainer.model.backend.to_numpy(trainer.best_parameters),
        "training.stopped": history.stopped,
    }
    if trainer.start_parameters is not None:
        arrays[START] = trainer.model.backend.to_numpy(trainer.start_parameters)
    arrays |= {f"history.{name}": values for name, values in history.history.items()}
    for i, watch in enumerate(trainer.watches):
        arrays |= {f"watch{i}.{name}": values for name, values in watch.state().items()}
    write_archive(path, header, arrays)


@dataclass(frozen=True)
class Resumption:
    """Where a checkpoint left the training of many models; all of it has been checked, and changes nothing yet."""

    training: dict[str, Any]
    arrays: Arrays
    seeds: list[int]
    generators: list[np.random.Generator]
    states: list[tuple[Callback, dict[str, Any]]]

    def place(self, trainer: EnsembleTrainer) -> None:
        """Put a trainer where the checkpoint left it; its models stay as they are."""
        training, arrays = self.training, self.arrays
        trainer.epoch, trainer.live = training["epoch"], arrays["training.live"]
        trainer.rate_factor, trainer.best_loss = arrays["training.rate_factor"], arrays["training.best_loss"]
        trainer.best_epoch = arrays["training.best_epoch"]
        trainer.best_parameters[...] = trainer.model.backend.asarray(arrays["training.best_parameters"])
        start = arrays.get(START)
        trainer.start_parameters = None if start is None else trainer.model.backend.asarray(start)
        histories = {name[8:]: values for name, values in arrays.items() if name.startswith("history.")}
        trainer.history.load(training["epochs"], histories)
        trainer.history.stopped, trainer.history.diverged = arrays["training.stopped"], list(training["diverged"])
        for i, watch in enumerate(trainer.watches):
            watch.load({name: arrays[f"watch{i}.{name}"] for name in training["watches"][i]})

    def restore(self, trainer: EnsembleTrainer) -> None:
        """Put the models of a trainer, and what its callbacks remember, where the checkpoint left them."""
        models, arrays, asarray = trainer.model, self.arrays, trainer.model.backend.asarray
        models.prepare_optimizer(trainer.optimizer, trainer.plan.program.frozen)
        state = models.state
        with models.guard.changing():
            state.parameters[...] = asarray(arrays["parameters"])
            state.buffers[...] = asarray(arrays["buffers"])
            state.moments[...] = asarray(arrays["training.moments"])
            state.step[...], state.draws[...] = arrays["training.step"], arrays["draws"]
            state.dropout_seed[...] = arrays["dropout_seed"]
        models.generators, models.seeds = self.generators, self.seeds
        # By the columns of the checkpoint, which may differ from those here by rounding.
        sets = [trainer.data, trainer.validation]
        standardise_targets(sets, models.program, state)
        if trainer.data.standardised:
            standardise(sets, models.program, state)
        for callback, kept in self.states:
            callback.load_state(kept)


def read_checkpoint(trainer: EnsembleTrainer, path: Path_, changes: Iterable[str]) -> Resumption:
    """Return where a checkpoint left the training of many models, if it is that of a trainer; nothing is changed.

    Raises
    ------
    ModelFileError
        If the file is not a checkpoint of an ensemble, or damaged.
    ResumeError
        If it was written by another training: of other data, settings or figures. The message names what differs.
    """
    changed: set[str] = set()

    def check(header: dict[str, Any]) -> None:
        training = header.get("training")
        if header.get("kind") != "ensemble checkpoint" or not isinstance(training, dict):
            raise ModelFileError(
                f"{str(path)!r} is a {header.get('kind')!r} file; resume_from expects a checkpoint of an ensemble."
            )
        try:
            _check_epochs(training)
        except DAMAGE as error:
            raise _damaged(path, error) from error
        changed.update(checked_identity(training, trainer, changes, path))
        try:
            _check_training(trainer, training)
            check_arrays(header["arrays"], _wanted(trainer, training, header["arrays"]))
        except DAMAGE as error:
            raise _damaged(path, error) from error

    header, arrays = read_archive(path, check)
    training = header["training"]
    try:
        generators = unpacked(arrays["generators"])
        seeds = [whole("seeds", seed, at_least=0) for seed in header["seeds"]]
        if len(seeds) != len(generators):
            raise ValueError(f"it has {len(seeds)} seeds for {len(generators)} models")
        _check_values(trainer, training, arrays)
        states = tried_states(training["callbacks"], arrays, with_state(trainer.callbacks), trainer.model, trainer)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    checked_columns(trainer.model, arrays["buffers"], path)
    if "learning_rate" in changed:  # The new one is taken as it is given.
        arrays["training.rate_factor"] = np.ones(len(generators))
    return Resumption(training, arrays, seeds, generators, states)


def _damaged(path: Path_, error: Exception) -> ModelFileError:
    return ModelFileError(f"{str(path)!r} is not a whole checkpoint: {error}.")


# -- what is checked before anything is changed ----------------------------------------------------------------------


def _check_epochs(training: dict[str, Any]) -> None:
    """Check what the header tells of the position."""
    epoch, epochs = whole("epoch", training["epoch"]), training["epochs"]
    if len(epochs) != epoch or epochs != list(range(epoch)):
        raise ValueError(f"it has not recorded the epochs 0 to {epoch - 1}")


def _check_training(trainer: EnsembleTrainer, training: dict[str, Any]) -> None:
    """Check what the header tells of the models and of the callbacks that watch them."""
    diverged = training["diverged"]
    models = [whole("diverged", i, at_least=0) for i in diverged]
    if len(set(models)) != len(models) or any(i >= len(trainer.model) for i in models):
        raise ValueError(f"these of {len(trainer.model)} models have diverged: {diverged}")
    if len(training["watches"]) != len(trainer.watches):
        raise ValueError(f"it has what {len(training['watches'])} callbacks know; expected {len(trainer.watches)}")
    for names, watch in zip(training["watches"], trainer.watches, strict=True):
        if names != sorted(watch.state()):
            raise ValueError(f"it has {names} of {type(watch.callback).__name__}; expected {sorted(watch.state())}")


def _wanted(
    trainer: EnsembleTrainer, training: dict[str, Any], listed: dict[str, Any]
) -> dict[str, tuple[list[int], str]]:
    """Return the shapes and dtypes of the arrays that are needed to go on."""
    models, dtype = trainer.model, trainer.model.dtype
    n, n_parameters, epoch = len(models), models.program.n_parameters, training["epoch"]
    each = {
        "int64": ["draws", "dropout_seed", "training.step", "training.best_epoch", "training.stopped"],
        "float64": ["training.rate_factor", "training.best_loss"],
    }
    wanted = {name: ([n], kind) for kind, names in each.items() for name in names}
    wanted |= {
        "parameters": ([n, n_parameters], dtype),
        "buffers": ([n, models.program.n_buffers], buffers_dtype(listed, "buffers", dtype)),
        "training.best_parameters": ([n, n_parameters], dtype),
        "training.moments": ([trainer.optimizer.n_moments, n, trainer.plan.program.n_trained], dtype),
        "generators": ([n, 6], "uint64"),
    }
    if START in listed:
        wanted[START] = wanted["training.best_parameters"]
    recorded = {name[8:] for name in listed if name.startswith("history.")}
    if recorded != set(trainer.figures):
        raise ValueError(f"it has recorded {sorted(recorded)}; this training records {sorted(trainer.figures)}")
    wanted |= {f"history.{name}": ([epoch, n], "float64") for name in recorded}
    for i, watch in enumerate(trainer.watches):
        wanted |= {f"watch{i}.{name}": shape for name, shape in watch.expected(n, n_parameters, dtype).items()}
    return wanted


def _check_values(trainer: EnsembleTrainer, training: dict[str, Any], arrays: Arrays) -> None:
    """Check the numbers that others are found by."""
    held = np.ones(len(trainer.model), bool)
    held[training["diverged"]] = False  # These get their best weights back in the end.
    kept = [name for name in ("buffers", "training.best_parameters", START) if name in arrays]
    for name in ("parameters", *kept):
        if not np.isfinite(arrays[name][held] if name == "parameters" else arrays[name]).all():
            raise ValueError(f"its array {name!r} has numbers that are not finite")
    for name in ("draws", "dropout_seed", "training.step"):
        _check_bounds(arrays, name, 0, 2**63 - 1)
    epochs = [name for name in arrays if name.endswith((".best_epoch", ".stopped"))]
    for name in epochs:
        _check_bounds(arrays, name, -1, training["epoch"] - 1)
    _check_bounds(arrays, "training.rate_factor", 0.0, 1.0)
    for i in range(len(trainer.watches)):
        if isinstance(trainer.watches[i], Averaging):
            _check_bounds(arrays, f"watch{i}.share", 0.0, np.finfo(np.float64).max)
            if not np.isfinite(arrays[f"watch{i}.total"]).all():
                raise ValueError(f"its array 'watch{i}.total' has numbers that are not finite")
            continue
        _check_bounds(arrays, f"watch{i}.wait", 0, 2**62)
        best, seen = arrays.get(f"watch{i}.best_parameters"), arrays[f"watch{i}.best_epoch"] >= 0
        if best is not None and best.size and not np.isfinite(best[seen]).all():
            raise ValueError(f"its array 'watch{i}.best_parameters' has numbers that are not finite")
    live = np.flatnonzero(arrays["training.stopped"] < 0)
    if not np.array_equal(arrays["training.live"], live) or arrays["training.live"].dtype != live.dtype:
        raise ValueError("the models that go on are not those that have not stopped")


def _check_bounds(arrays: Arrays, name: str, low: float, high: float) -> None:
    if not ((arrays[name] >= low) & (arrays[name] <= high)).all():
        raise ValueError(f"its array {name!r} has numbers that are not from {low} to {high}")
