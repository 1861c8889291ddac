"""Checkpoints: a training in the middle, as a file, so that a resumed run ends as one that was never stopped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.base.frozen import dataclass
from tinynet.exchange.archive import read_archive, write_archive
from tinynet.exchange.atomic import Path_
from tinynet.exchange.modelfile import describe, stored_values, trained_values
from tinynet.training.callbacks import Callback
from tinynet.training.data import standardise, standardise_targets
from tinynet.training.history import History
from tinynet.training.remembered import checked_columns, checked_identity, kept_states, tried_states

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer

Arrays = dict[str, NDArray[Any]]

COUNTERS = ("epoch", "visit", "updates")
COUNTS = ("step", "draws", "dropout_seed")
"""What the trainer counts, and what the model's state does."""

DAMAGE = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading a damaged checkpoint may end in."""


def save_checkpoint(trainer: Trainer, path: Path_) -> None:
    """Write the model, the optimizer's memory, the random state, the position and the callbacks' states."""
    model, state = trainer.model, trainer.model.state
    to_numpy = model.backend.to_numpy
    header, arrays = describe(model.parts(), portable=False)
    arrays["training.moments"] = to_numpy(state.moments)
    arrays["training.best_parameters"] = to_numpy(trainer.best_parameters)
    if trainer.start_parameters is not None:
        arrays["training.start_parameters"] = to_numpy(trainer.start_parameters)
    if trainer.order is not None:
        arrays["training.order"] = trainer.order
    callbacks, remembered = kept_states(trainer.remembering)
    arrays |= remembered
    header["kind"] = "checkpoint"
    header["training"] = {
        "fingerprint": trainer.identity,
        **{name: getattr(state, name) for name in COUNTS},
        **{name: getattr(trainer, name) for name in COUNTERS},
        "rng": _plain(model.rng.bit_generator.state),
        "partial_loss": trainer.partial_loss,
        "rate_factor": trainer.rate_factor,
        "best_loss": trainer.best_loss,
        "stopped": model.stop_training and not trainer.paused,
        "stop_reason": None if trainer.paused else trainer.history.stop_reason,
        "history": trainer.history.state(),
        "callbacks": callbacks,
    }
    write_archive(path, header, arrays)


@dataclass(frozen=True)
class Resumption:
    """Where a checkpoint left a training. All of it has been checked, and nothing is changed by it yet."""

    counters: dict[str, int]
    counts: dict[str, int]
    floats: dict[str, float]
    history: History
    parameters: NDArray[Any]
    buffers: NDArray[Any]
    moments: NDArray[Any]
    best_parameters: NDArray[Any]
    start_parameters: NDArray[Any] | None
    order: NDArray[np.int64] | None
    rng: np.random.Generator
    stopped: bool
    states: list[tuple[Callback, dict[str, Any]]]

    def place(self, trainer: Trainer) -> None:
        """Put a trainer where the checkpoint left it; its model stays as it is."""
        for name, value in (self.counters | self.floats).items():
            setattr(trainer, name, value)
        trainer.history.take(self.history)
        trainer.order = self.order
        asarray = trainer.model.backend.asarray
        trainer.best_parameters[...] = asarray(self.best_parameters)
        start = self.start_parameters
        trainer.start_parameters = None if start is None else asarray(np.array(start))

    def restore(self, trainer: Trainer) -> None:
        """Put the model of a trainer, and what its callbacks remember, where the checkpoint left them."""
        model, state, asarray = trainer.model, trainer.model.state, trainer.model.backend.asarray
        model.prepare_optimizer(trainer.optimizer, trainer.plan.program.frozen)
        with model.guard.changing():
            model.set_flat_parameters(self.parameters)
            state.buffers[...] = asarray(self.buffers)
            state.moments[...] = asarray(self.moments)
            for name, value in self.counts.items():
                setattr(state, name, value)
        model.rng, model.stop_training = self.rng, model.stop_training or self.stopped
        # By the columns of the checkpoint, which may differ from those here by rounding.
        sets = [trainer.data, trainer.validation]
        standardise_targets(sets, model.program, state)
        if trainer.data.standardised:
            standardise(sets, model.program, state)
        for callback, kept in self.states:
            callback.load_state(kept)


def read_checkpoint(trainer: Trainer, path: Path_, changes: Iterable[str]) -> Resumption:
    """Return where a checkpoint left a training, if it is that of a trainer; nothing is changed.

    Raises
    ------
    ModelFileError
        If the file is not a checkpoint, or damaged.
    ResumeError
        If it was written by another training: of other data, settings or figures. The message names what differs.
    """
    changed: set[str] = set()

    def check(header: dict[str, Any]) -> None:
        training = header.get("training")
        if header.get("kind") != "checkpoint" or not isinstance(training, dict):
            raise ModelFileError(
                f"{str(path)!r} is a {header.get('kind')!r} file; resume_from expects a checkpoint. "
                "Write one with callbacks=[tn.Checkpoint(path)], or use tinynet.load for a model."
            )
        changed.update(checked_identity(training, trainer, changes, path))

    header, arrays = read_archive(path, check)
    try:
        found = _checked(trainer, header["training"], arrays, changed)
    except ModelFileError:
        raise
    except DAMAGE as error:
        raise ModelFileError(f"{str(path)!r} is not a whole checkpoint: {error!r} is missing or damaged.") from error
    checked_columns(trainer.model, found.buffers, path)
    return found


def _checked(trainer: Trainer, training: dict[str, Any], arrays: Arrays, changed: set[str]) -> Resumption:
    """Return what a checkpoint holds if it is sound and fits the trainer and its model."""
    model = trainer.model
    parameters, buffers = trained_values(model.layers, arrays), stored_values(model.layers, arrays)
    best, moments = arrays["training.best_parameters"], arrays["training.moments"]
    start = arrays.get("training.start_parameters")
    n, n_moments = model.program.n_parameters, trainer.optimizer.n_moments
    for name, array, shape in (
        ("parameters", parameters, (n,)),
        ("buffers", buffers, (model.program.n_buffers,)),
        ("best_parameters", best, (n,)),
        ("start_parameters", best if start is None else start, (n,)),
        ("moments", moments, (n_moments, trainer.plan.program.n_trained)),
    ):
        # Buffers are float64; older checkpoints have them in the model's dtype, as all else.
        dtypes = (model.dtype, "float64") if name == "buffers" else (model.dtype,)
        if array.shape != shape or (array.size and array.dtype not in dtypes):
            raise ModelFileError(f"checkpoint array {name} has shape {array.shape}, {array.dtype}; expected {shape}.")
        if name != "moments" and not np.isfinite(array).all():  # A second moment may overflow; its step is then 0.
            raise ModelFileError(f"checkpoint array {name} has numbers that are not finite.")
    counters = {name: _counter(training, name) for name in COUNTERS}
    stop_reason = training["stop_reason"]
    if not isinstance(stop_reason, str | None):
        raise TypeError(f"stop_reason {stop_reason!r}")
    rng = np.random.default_rng()
    rng.bit_generator.state = training["rng"]
    return Resumption(
        counters=counters,
        counts={name: _counter(training, name) for name in COUNTS},
        floats=_floats(training, changed),
        history=_history(trainer, training["history"], counters["epoch"], stop_reason),
        parameters=parameters,
        buffers=buffers,
        moments=moments,
        best_parameters=best,
        start_parameters=start,
        order=_checked_order(trainer, arrays.get("training.order"), counters["visit"]),
        rng=rng,
        stopped=bool(training["stopped"]),
        states=tried_states(training["callbacks"], arrays, trainer.remembering, model, trainer),
    )


def _counter(training: dict[str, Any], name: str) -> int:
    value = training[name]
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ModelFileError(f"the checkpoint's {name} must be a whole number from 0 to 2**63 - 1; got {value!r}.")
    return value


def _floats(training: dict[str, Any], changed: set[str]) -> dict[str, float]:
    """Return the numbers of a trainer; a learning rate that is a new one is taken as it is given."""
    floats = {name: float(training[name]) for name in ("partial_loss", "rate_factor", "best_loss")}
    if not (math.isfinite(floats["partial_loss"]) and 0.0 <= floats["rate_factor"] <= 1.0):
        raise ModelFileError(f"the checkpoint has impossible numbers: {floats}.")
    if math.isnan(floats["best_loss"]):
        raise ModelFileError("the checkpoint's best loss is not a number.")
    return floats | ({"rate_factor": 1.0} if "learning_rate" in changed else {})


def _history(trainer: Trainer, kept: dict[str, Any], epoch: int, stop_reason: str | None) -> History:
    history = History()
    history.load_state(kept)
    history.stop_reason = stop_reason
    if history.epoch != list(range(epoch)) or any(len(values) != epoch for values in history.history.values()):
        raise ModelFileError(f"the checkpoint has not recorded each figure of the epochs 0 to {epoch - 1}.")
    if epoch and set(history) != set(trainer.figures):
        raise ModelFileError(f"the checkpoint has recorded {list(history)}; this training records {trainer.figures}.")
    return history


def _checked_order(trainer: Trainer, order: NDArray[Any] | None, visit: int) -> NDArray[Any] | None:
    """Return the order of the samples in an epoch that was interrupted, if it fits the data and the place in it."""
    fits = visit < trainer.n_visits and (order is not None) == (visit > 0 and trainer.shuffle is not False)
    if order is not None and fits:
        fits = order.shape == (trainer.n_visits,) and order.dtype == np.int64
        fits = fits and bool(order.min() >= 0 and order.max() < len(trainer.data))
    if not fits:
        raise ModelFileError("the sample order in the checkpoint does not fit the data.")
    return order


def _plain(value: Any) -> Any:
    """Turn NumPy scalars in a nested dict into Python's, for JSON."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value.item() if isinstance(value, np.generic) else value
