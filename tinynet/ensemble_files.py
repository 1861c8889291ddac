"""Ensembles and their checkpoints as files: the archive of ``files``, with the models as the first axis of arrays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.checkpoints import kept_states, states_from, with_state
from tinynet.errors import ModelFileError
from tinynet.files import Path_, read_archive, write_archive
from tinynet.layers import LAYERS
from tinynet.losses import LOSSES

if TYPE_CHECKING:
    from tinynet.ensemble import Ensemble
    from tinynet.ensemble_trainer import EnsembleTrainer

_LOSS_CLASSES = {cls.__name__: cls for cls in LOSSES.values()}
_WORD = 2**64


def describe_ensemble(models: Ensemble) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return an ensemble as a header and arrays."""
    loss, to_numpy = models.loss, models.backend.to_numpy
    known = loss is not None and not loss.is_custom
    header = {
        "kind": "ensemble",
        "dtype": models.dtype,
        "layers": [{"kind": type(layer).__name__, "config": layer.config()} for layer in models.layers],
        "loss": {"kind": type(loss).__name__, "config": loss.config()} if loss is not None and known else None,
        "metadata": models.metadata,
        "n_models": len(models),
        "seeds": models.seeds,
    }
    arrays = {
        "parameters": to_numpy(models.state.parameters),
        "buffers": to_numpy(models.state.buffers),
        "draws": models.state.draws,
        "dropout_seed": models.state.dropout_seed,
        "generators": _packed(models.generators),
    }
    return header, arrays | {f"score.{name}": values for name, values in models.scores.items()}


def save_ensemble(models: Ensemble, path: Path_) -> None:
    """Write an ensemble to a file, atomically; see ``Ensemble.save``."""
    write_archive(path, *describe_ensemble(models))


def load_ensemble(path: Path_, *, backend: str | None = None) -> Ensemble:
    """Read an ensemble that ``save_ensemble`` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not the file of an ensemble, or damaged.
    """
    return ensemble_from(*read_archive(path), name=os.fspath(path), backend=backend)


def ensemble_from(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], *, name: str, backend: str | None = None
) -> Ensemble:
    """Return the ensemble that ``describe_ensemble`` described; ``name`` is the file's, for errors."""
    from tinynet.ensemble import Ensemble
    from tinynet.model import Sequential

    if header.get("kind") != "ensemble":
        raise ModelFileError(
            f"{name!r} is a {header.get('kind')!r} file; Ensemble.load expects an ensemble. tinynet.load reads models."
        )
    try:
        layers = [LAYERS[entry["kind"]](**entry["config"]) for entry in header["layers"]]
        n_models, entry = int(header["n_models"]), header["loss"]
        net = Sequential(*layers, dtype=header["dtype"], backend=backend)
        for layer in net.layers:
            layer.load_buffers({n: net.backend.to_numpy(getattr(layer, n)) for n in layer.buffer_names})
        models = Ensemble(net, n_models, header["seeds"])
        state = models.state
        for key in ("parameters", "buffers", "draws", "dropout_seed"):
            value, target = arrays[key], getattr(state, key)
            if value.shape != target.shape or value.dtype != target.dtype:
                raise ValueError(f"{key} has shape {value.shape}, {value.dtype}; expected {target.shape}")
            target[...] = value if isinstance(target, np.ndarray) else models.backend.asarray(value)
        _unpack(arrays["generators"], models.generators)
        models.scores = {key[6:]: value for key, value in arrays.items() if key.startswith("score.")}
        models.metadata = dict(header["metadata"])
        models.loss = None if entry is None else _LOSS_CLASSES[entry["kind"]](**entry["config"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{name!r} does not describe an ensemble: {error}.") from error
    return models


def _packed(generators: list[np.random.Generator]) -> NDArray[np.uint64]:
    """Return the states of generators as numbers, a row each."""
    rows = []
    for rng in generators:
        kept: Any = rng.bit_generator.state
        state, inc = kept["state"]["state"], kept["state"]["inc"]
        rows.append((state // _WORD, state % _WORD, inc // _WORD, inc % _WORD, kept["has_uint32"], kept["uinteger"]))
    return np.array(rows, np.uint64)


def _unpack(rows: NDArray[np.uint64], generators: list[np.random.Generator]) -> None:
    """Put generators where ``_packed`` found them."""
    if rows.shape != (len(generators), 6):
        raise ValueError(f"generators have shape {rows.shape}; expected {(len(generators), 6)}")
    for row, rng in zip(rows, generators, strict=True):
        a, b, c, d, has, value = (int(word) for word in row)
        state = {"state": a * _WORD + b, "inc": c * _WORD + d}
        rng.bit_generator.state = {"bit_generator": "PCG64", "state": state, "has_uint32": has, "uinteger": value}


# -- checkpoints -----------------------------------------------------------------------------------------------------


def save_checkpoint(trainer: EnsembleTrainer, path: Path_) -> None:
    """Write the models, the optimizer's memory, the random state, the position and what the watches know."""
    header, arrays = describe_ensemble(trainer.model)
    history = trainer.history
    callbacks, remembered = kept_states(trainer.callbacks)
    header["kind"] = "ensemble checkpoint"
    header["training"] = {
        "fingerprint": _fingerprint(trainer),
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
    arrays |= {f"history.{name}": values for name, values in history.history.items()}
    for i, watch in enumerate(trainer.watches):
        arrays |= {f"watch{i}.{name}": values for name, values in watch.state().items()}
    write_archive(path, header, arrays)


def load_checkpoint(trainer: EnsembleTrainer, path: Path_) -> None:
    """Put a trainer and its models where a checkpoint left them.

    Raises
    ------
    ModelFileError
        If the file is not a checkpoint of an ensemble, or damaged.
    ValueError
        If it was written by another training. The models are untouched then.
    """
    expected = _fingerprint(trainer)

    def check(header: dict[str, Any]) -> None:
        training = header.get("training")
        if header.get("kind") != "ensemble checkpoint" or not isinstance(training, dict):
            raise ModelFileError(
                f"{str(path)!r} is a {header.get('kind')!r} file; resume_from expects a checkpoint of an ensemble."
            )
        found = training.get("fingerprint", {})
        for name, value in expected.items():
            if found.get(name) != value:
                raise ValueError(
                    f"resume_from expects a checkpoint of the same training; its {name} is {found.get(name)!r}, "
                    f"this fit has {value!r}. Call fit with the arguments of the interrupted run."
                )

    header, arrays = read_archive(path, check)
    try:
        _restore(trainer, header["training"], arrays)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelFileError(f"{str(path)!r} is not a whole checkpoint: {error!r} is missing or damaged.") from error


def _restore(trainer: EnsembleTrainer, training: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Check everything first, then change the models and the trainer."""
    models, asarray = trainer.model, trainer.model.backend.asarray
    shape = models.state.parameters.shape
    wanted = {
        "parameters": shape,
        "training.best_parameters": shape,
        "training.moments": (trainer.optimizer.n_moments, *shape),
        "generators": (len(models), 6),
        **dict.fromkeys(
            ("training.step", "training.rate_factor", "training.best_loss", "training.best_epoch", "draws"), shape[:1]
        ),
    }
    for name, size in wanted.items():
        if arrays[name].shape != size:
            raise ModelFileError(f"checkpoint array {name} has shape {arrays[name].shape}; expected {size}.")
    histories = {name[8:]: values for name, values in arrays.items() if name.startswith("history.")}
    kept = [{name: arrays[f"watch{i}.{name}"] for name in names} for i, names in enumerate(training["watches"])]
    states = states_from(training["callbacks"], arrays, trainer.callbacks)
    epoch, epochs, diverged = int(training["epoch"]), list(training["epochs"]), list(training["diverged"])

    models.prepare_optimizer(trainer.optimizer)
    state = models.state
    state.parameters[...] = asarray(arrays["parameters"])
    state.moments[...] = asarray(arrays["training.moments"])
    state.step[...], state.draws[...] = arrays["training.step"], arrays["draws"]
    state.dropout_seed[...] = arrays["dropout_seed"]
    _unpack(arrays["generators"], models.generators)
    trainer.epoch, trainer.live = epoch, arrays["training.live"]
    trainer.rate_factor, trainer.best_loss = arrays["training.rate_factor"], arrays["training.best_loss"]
    trainer.best_epoch = arrays["training.best_epoch"]
    trainer.best_parameters[...] = asarray(arrays["training.best_parameters"])
    trainer.history.load(epochs, histories)
    trainer.history.stopped, trainer.history.diverged = arrays["training.stopped"], diverged
    for watch, values in zip(trainer.watches, kept, strict=True):
        watch.load(values)
    for callback, remembered in states:
        callback.load_state(remembered)


def _fingerprint(trainer: EnsembleTrainer) -> dict[str, Any]:
    """Return what must be equal for a resumed run to be the same run, as JSON keeps it."""
    program = trainer.plan.program
    return {
        "network": [repr(op) for op in program.ops],
        "loss": repr(program.loss),
        "optimizer": repr(program.optimizer),
        "dtype": program.dtype,
        "seeds": trainer.model.seeds,
        "batch size": trainer.batch_size,
        "shuffle": trainer.shuffle,
        "shared_order": trainer.shared_order,
        "drop_last": trainer.drop_last,
        "number of samples": len(trainer.data),
        "figures": trainer.figures,
        "watches": [type(watch.callback).__name__ for watch in trainer.watches],
        "callbacks": [type(callback).__name__ for callback in with_state(trainer.callbacks)],
    }
