"""Checkpoints: a training in the middle, as a file, so that a resumed run ends as one that was never stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.exchange.archive import read_archive, write_archive
from tinynet.exchange.atomic import Path_
from tinynet.exchange.modelfile import describe, trained_values
from tinynet.training.callbacks import Callback

if TYPE_CHECKING:
    from tinynet.training.trainer import Trainer


def save_checkpoint(trainer: Trainer, path: Path_) -> None:
    """Write the model, the optimizer's memory, the random state, the position and the callbacks' states."""
    model, state = trainer.model, trainer.model.state
    to_numpy = model.backend.to_numpy
    header, arrays = describe(model.parts(), portable=False)
    arrays["training.moments"] = to_numpy(state.moments)
    arrays["training.best_parameters"] = to_numpy(trainer.best_parameters)
    if trainer.order is not None:
        arrays["training.order"] = trainer.order
    callbacks, remembered = kept_states(trainer.callbacks)
    arrays |= remembered
    header["kind"] = "checkpoint"
    header["training"] = {
        "fingerprint": _fingerprint(trainer),
        "step": state.step,
        "draws": state.draws,
        "dropout_seed": state.dropout_seed,
        "rng": _plain(model.rng.bit_generator.state),
        "epoch": trainer.epoch,
        "visit": trainer.visit,
        "updates": trainer.updates,
        "partial_loss": trainer.partial_loss,
        "rate_factor": trainer.rate_factor,
        "best_loss": trainer.best_loss,
        "stopped": model.stop_training,
        "stop_reason": trainer.history.stop_reason,
        "history": trainer.history.state(),
        "callbacks": callbacks,
    }
    write_archive(path, header, arrays)


def load_checkpoint(trainer: Trainer, path: Path_) -> None:
    """Put a trainer and its model where a checkpoint left them.

    Raises
    ------
    ModelFileError
        If the file is not a checkpoint, or damaged.
    ValueError
        If it was written by another training: another network, loss, optimizer, batch size, number of samples or set of
        callbacks. The model is untouched then.
    """
    expected = _fingerprint(trainer)

    def check(header: dict[str, Any]) -> None:
        training = header.get("training")
        if header.get("kind") != "checkpoint" or not isinstance(training, dict):
            raise ModelFileError(
                f"{str(path)!r} is a {header.get('kind')!r} file; resume_from expects a checkpoint. "
                "Write one with callbacks=[tn.Checkpoint(path)], or use tinynet.load for a model."
            )
        check_fingerprint(training, expected, path)

    header, arrays = read_archive(path, check)
    try:
        _restore(trainer, header["training"], arrays)
    except ModelFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise ModelFileError(f"{str(path)!r} is not a whole checkpoint: {error!r} is missing or damaged.") from error


def _restore(trainer: Trainer, training: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Check everything first, then change the trainer and its callbacks, and last the model."""
    model, state = trainer.model, trainer.model.state
    parameters = trained_values(model.layers, arrays)
    best, moments = arrays["training.best_parameters"], arrays["training.moments"]
    n, n_moments = model.program.n_parameters, trainer.optimizer.n_moments
    for name, array, shape in (
        ("parameters", parameters, (n,)),
        ("best_parameters", best, (n,)),
        ("moments", moments, (n_moments, n)),
    ):
        if array.shape != shape or array.dtype != model.dtype:
            raise ModelFileError(f"checkpoint array {name} has shape {array.shape}, {array.dtype}; expected {shape}.")
    counters = {name: _counter(training, name) for name in ("epoch", "visit", "updates")}
    floats = {name: float(training[name]) for name in ("partial_loss", "rate_factor", "best_loss")}
    counts = {name: _counter(training, name) for name in ("step", "draws", "dropout_seed")}
    order = _checked_order(trainer, arrays.get("training.order"), counters["visit"])
    rng = np.random.default_rng()
    rng.bit_generator.state = training["rng"]
    stop_reason = training["stop_reason"]
    if not isinstance(stop_reason, str | None):
        raise TypeError(f"stop_reason {stop_reason!r}")
    states = states_from(training["callbacks"], arrays, trainer.callbacks)

    trainer.history.load_state(training["history"])
    for callback, kept in states:
        callback.load_state(kept)
    model.prepare_optimizer(trainer.optimizer)
    model.set_flat_parameters(parameters)
    state.moments[...] = model.backend.asarray(moments)
    model.rng = rng
    for target, values in ((state, counts), (trainer, counters), (trainer, floats)):
        for name, value in values.items():
            setattr(target, name, value)
    trainer.order = order
    trainer.best_parameters[...] = model.backend.asarray(best)
    trainer.history.stop_reason = stop_reason
    model.stop_training = bool(training["stopped"])


def _counter(training: dict[str, Any], name: str) -> int:
    value = training[name]
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise ModelFileError(f"the checkpoint's {name} must be a whole number from 0 to 2**63 - 1; got {value!r}.")
    return value


def _checked_order(trainer: Trainer, order: NDArray[Any] | None, visit: int) -> NDArray[Any] | None:
    """Return the order of the samples in an epoch that was interrupted, if it fits the data and the place in it."""
    fits = visit < trainer.n_visits and (order is not None) == (visit > 0 and trainer.shuffle is not False)
    if order is not None and fits:
        fits = order.shape == (trainer.n_visits,) and order.dtype == np.int64
        fits = fits and bool(order.min() >= 0 and order.max() < len(trainer.data))
    if not fits:
        raise ModelFileError("the sample order in the checkpoint does not fit the data.")
    return order


def _fingerprint(trainer: Trainer) -> dict[str, Any]:
    """Return what must be equal for a resumed run to be the same run, as JSON keeps it."""
    program = trainer.plan.program
    return {
        "network": [_describe(op) for op in program.ops],
        "loss": [program.loss.kind, program.loss.parameter, program.loss.reduction] if program.loss else None,
        "optimizer": [trainer.optimizer.kind, [list(pair) for pair in trainer.optimizer.lower().settings]],
        "dtype": program.dtype,
        "batch size": trainer.batch_size,
        "shuffle": trainer.shuffle,
        "drop_last": trainer.drop_last,
        "number of samples": len(trainer.data),
        "callbacks": [type(callback).__name__ for callback in with_state(trainer.callbacks)],
    }


def check_fingerprint(training: dict[str, Any], expected: dict[str, Any], path: Path_) -> None:
    """Raise ValueError if a checkpoint was written by another training, ModelFileError if it does not tell."""
    found = training.get("fingerprint")
    if not isinstance(found, dict):
        raise ModelFileError(f"{str(path)!r} is not a whole checkpoint: it does not tell of which training.")
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"resume_from expects a checkpoint of the same training; its {name} is {found.get(name)!r}, "
                f"this fit has {value!r}. Call fit with the arguments of the interrupted run."
            )


def with_state(callbacks: list[Callback]) -> list[Callback]:
    """Return the callbacks that remember something; a progress bar may come and go."""
    return [callback for callback in callbacks if type(callback).state is not Callback.state]


def kept_states(callbacks: list[Callback]) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Return what callbacks remember, as what a header holds, and as arrays."""
    entries: list[dict[str, Any]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for position, callback in enumerate(with_state(callbacks)):
        values, held = _split(callback.state())
        entries.append({"class": type(callback).__name__, "values": values, "arrays": sorted(held)})
        arrays |= {f"callback{position}.{name}": array for name, array in held.items()}
    return entries, arrays


def states_from(
    entries: list[dict[str, Any]], arrays: dict[str, NDArray[Any]], callbacks: list[Callback]
) -> list[tuple[Callback, dict[str, Any]]]:
    """Return each callback that remembers something, with what ``kept_states`` found of it."""
    owners = with_state(callbacks)
    if len(entries) != len(owners):
        raise ModelFileError(f"the checkpoint holds the states of {len(entries)} callbacks; expected {len(owners)}.")
    found = []
    for position, (callback, entry) in enumerate(zip(owners, entries, strict=True)):
        held = {name: arrays[f"callback{position}.{name}"] for name in entry["arrays"]}
        found.append((callback, {**entry["values"], **held}))
    return found


def _split(state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Split a callback's state into what JSON holds and its arrays."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    return {name: value for name, value in state.items() if name not in arrays}, arrays


def _describe(op: Any) -> str:
    layer = getattr(op, "layer", None)
    return repr(op) if layer is None else f"{type(layer).__name__}({op.n_in}, {op.n_out}, {op.shapes})"


def _plain(value: Any) -> Any:
    """Turn NumPy scalars in a nested dict into Python's, for JSON."""
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return value.item() if isinstance(value, np.generic) else value
