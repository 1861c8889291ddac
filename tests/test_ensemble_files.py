"""Files of ensembles are checked whole before anything is made or changed: names, shapes, dtypes, closed tables."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loader_targets import TARGETS, Target, ensemble, held, saved

import tinynet as tn

Arrays = dict[str, np.ndarray]
Edit = Callable[[dict[str, Any], Arrays], None]


def changed(suffix: str, edit: Edit) -> bytes:
    """A file whose header and arrays were edited, and which tells of its arrays what they are."""
    with zipfile.ZipFile(io.BytesIO(saved(suffix))) as old:
        header = json.loads(old.read("header.json"))
        arrays = {name: np.load(io.BytesIO(old.read(f"{name}.npy"))) for name in header["arrays"]}
    edit(header, arrays)
    header["arrays"] = {name: {"shape": list(a.shape), "dtype": a.dtype.str} for name, a in arrays.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        new.writestr("header.json", json.dumps(header))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            new.writestr(f"{name}.npy", buffer.getvalue())
    return out.getvalue()


def header(**changes: Any) -> Edit:
    return lambda head, arrays: head.update(changes)


def layer(position: int, **changes: Any) -> Edit:
    return lambda head, arrays: head["layers"][position].update(changes)


def training(**changes: Any) -> Edit:
    return lambda head, arrays: head["training"].update(changes)


def array(name: str, change: Callable[[np.ndarray], Any]) -> Edit:
    return lambda head, arrays: arrays.update({name: change(arrays[name])})


def without(name: str) -> Edit:
    def edit(head: dict[str, Any], arrays: Arrays) -> None:
        del arrays[name]

    return edit


def entry(name: str, place: tuple[int, ...], value: Any) -> Edit:
    def edit(head: dict[str, Any], arrays: Arrays) -> None:
        arrays[name][place] = value

    return edit


HUGE = {"n_in": 4, "n_out": 2**62, "bias": True}
ENSEMBLES: dict[str, tuple[Edit, str]] = {
    "a model": (header(kind="model"), "is a 'model' file; Ensemble.load expects an ensemble"),
    "a checkpoint": (header(kind="ensemble checkpoint"), "is a 'ensemble checkpoint' file"),
    "no models": (header(n_models=0), "n_models"),
    "models that are no number": (header(n_models="2"), "n_models"),
    "more models": (header(n_models=3), "2 numbers for the dropout rate of layer 3, and 3 models"),
    "models beyond memory": (header(n_models=10**18, loss=None), "10{18} models"),
    "another dtype": (header(dtype="float32"), "array 'parameters'"),
    "an unknown dtype": (header(dtype="object"), "dtype 'object'"),
    "no layers": (header(layers=[]), "at least one layer"),
    "a layer from elsewhere": (layer(2, kind="os.system"), "a layer 'os.system', which this version does not know"),
    "a layer that is no name": (layer(2, kind=["ELU"]), "which this version does not know"),
    "an argument too many": (layer(2, config={"alpha": 1.0, "beta": 2.0}), "beta"),
    "layers that do not fit": (layer(1, config={"n_in": 4, "n_out": 4}), "width"),
    "weights beyond memory": (layer(4, config=HUGE), "array 'parameters' is .*; expected"),
    "weights that overflow": (layer(4, config={**HUGE, "n_in": 4, "n_out": 2**64}), "array 'parameters'"),
    "a rate for another number of models": (layer(3, config={"rate": [0.1, 0.2, 0.3]}), "3 numbers for the dropout"),
    "an unknown loss": (header(loss={"kind": "Exploit", "config": {}}), "Exploit"),
    "a loss for another number of models": (
        header(loss={"kind": "Huber", "config": {"delta": [1.0, 2.0, 3.0]}}),
        "3 numbers for the parameter of the loss",
    ),
    "a seed too few": (header(seeds=[0]), "1 seeds for 2 models"),
    "a seed below zero": (header(seeds=[0, -1]), "seeds"),
    "a seed that is no number": (header(seeds=[0, "1"]), "seeds"),
    "metadata that are no table": (header(metadata=[1]), "metadata"),
    "no weights": (without("parameters"), "array 'parameters' is None"),
    "weights of one model": (array("parameters", lambda a: a[:1]), "array 'parameters'"),
    "weights in half a dtype": (array("parameters", lambda a: a.astype("f4")), "array 'parameters'"),
    "columns of another width": (array("buffers", lambda a: a[:, :4]), "array 'buffers'"),
    "counters as floats": (array("draws", lambda a: a.astype("f8")), "array 'draws'"),
    "counters below zero": (entry("draws", (0,), -1), "draws has numbers below 0"),
    "a key below zero": (entry("dropout_seed", (1,), -1), "dropout_seed has numbers below 0"),
    "a generator too few": (array("generators", lambda a: a[:1]), "array 'generators'"),
    "an increment that is even": (entry("generators", (1, 3), 2), "generator of model 1 has an impossible state"),
    "more than half a word": (entry("generators", (1, 5), 2**32), "generator of model 1"),
    "two halves of a word": (entry("generators", (0, 4), 2), "generator of model 0"),
    "a score for one model": (array("score.loss", lambda a: a[:1]), "array 'score.loss'"),
    "weights that are not finite": (entry("parameters", (1, 3), np.nan), r"parameters has nan at \(1, 3\)"),
    "columns that are not finite": (entry("buffers", (0, 4), np.inf), r"buffers has inf at \(0, 4\)"),
    "an array of nobody's": (
        lambda head, arrays: arrays.update({"weights": np.zeros(2)}),
        "an array 'weights', which no ensemble has",
    ),
}


def refused(target: Target, path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(tn.ModelFileError, match=message):
            target.load(path)  # It checks that a refused checkpoint has changed nothing.
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ENSEMBLES)
def test_ensembles_that_are_none_are_refused(name: str, tmp_path: Path) -> None:
    edit, message = ENSEMBLES[name]
    refused(TARGETS["ensemble"], tmp_path / "models.npz", changed(".ensemble.npz", edit), message)


CHECKPOINTS: dict[str, tuple[Edit, str]] = {
    "a model": (header(kind="checkpoint"), "expects a checkpoint of an ensemble"),
    "no training": (header(training=[]), "expects a checkpoint of an ensemble"),
    "a fingerprint of no kind": (training(fingerprint=[1]), "does not tell of which training"),
    "a negative epoch": (training(epoch=-1), "epoch"),
    "an epoch beyond memory": (training(epoch=10**18), "has not recorded the epochs"),
    "epochs that were not recorded": (training(epochs=[0, 2, 1]), "has not recorded the epochs"),
    "epochs of no kind": (training(epochs=3), "has no len"),
    "models that are none have diverged": (training(diverged=[2]), "have diverged"),
    "a model diverged twice": (training(diverged=[1, 1]), "have diverged"),
    "nobody watches": (training(watches=[]), "what 0 callbacks know; expected 2"),
    "a watch without a state": (training(watches=[[], ["best", "best_epoch", "wait"]]), "of EarlyStopping"),
    "an attribute of a watch": (training(watches=[["callback"], ["best"]]), "of EarlyStopping"),
    "no weights": (without("parameters"), "array 'parameters' is None"),
    "weights of one model": (array("parameters", lambda a: a[:1]), "array 'parameters'"),
    "best weights in half a dtype": (array("training.best_parameters", lambda a: a.astype("f4")), "best_parameters"),
    "a moment too few": (array("training.moments", lambda a: a[:1]), "training.moments"),
    "a step below zero": (entry("training.step", (0,), -1), "training.step"),
    "a step as a float": (array("training.step", lambda a: a.astype("f8")), "training.step"),
    "a factor of no kind": (entry("training.rate_factor", (0,), np.nan), "training.rate_factor"),
    "an epoch that never was": (entry("training.best_epoch", (0,), 3), "training.best_epoch"),
    "stopped in the future": (entry("training.stopped", (0,), 7), "training.stopped"),
    "live though stopped": (array("training.live", lambda a: np.arange(2)), "models that go on"),
    "live beyond the models": (array("training.live", lambda a: a + 5), "models that go on"),
    "live as floats": (array("training.live", lambda a: a.astype("f8")), "models that go on"),
    "a history too short": (array("history.loss", lambda a: a[:2]), "history.loss"),
    "a history of something else": (
        lambda head, arrays: arrays.update({"history.accuracy": arrays["history.loss"]}),
        "this training records",
    ),
    "no history": (without("history.loss"), "this training records"),
    "an impossible generator": (entry("generators", (0, 3), 2), "impossible state"),
    "weights that are not finite": (entry("parameters", (0, 3), np.nan), "parameters.*not finite"),
    "columns that are not finite": (entry("buffers", (0, 4), np.inf), "buffers.*not finite"),
    "best weights that are not finite": (entry("training.best_parameters", (1, 0), np.nan), "best_parameters"),
    "seeds of fewer models": (header(seeds=[0]), "seeds"),
    "a watch for one model": (array("watch0.best", lambda a: a[:1]), "watch0.best"),
    "best weights of a watch": (array("watch0.best_parameters", lambda a: a[:, 1:]), "watch0.best_parameters"),
    "a watch that waits for less than nothing": (entry("watch1.wait", (0,), -1), "watch1.wait"),
    "a watch of the future": (entry("watch1.best_epoch", (0,), 9), "watch1.best_epoch"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_of_ensembles_that_are_none_change_nothing(name: str, tmp_path: Path) -> None:
    edit, message = CHECKPOINTS[name]
    target = TARGETS["ensemble-checkpoint-header"]
    refused(target, tmp_path / "models.ckpt", changed(".ensemble.ckpt", edit), message)


def test_files_that_are_not_edited_are_loaded(tmp_path: Path) -> None:
    for name, suffix in (("ensemble", ".ensemble.npz"), ("ensemble-checkpoint-header", ".ensemble.ckpt")):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(changed(suffix, lambda head, arrays: None))
        assert len(TARGETS[name].load(path)) == 2


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_is_loaded_is_what_was_saved(backend: str, tmp_path: Path) -> None:
    models = ensemble()
    models.fit([[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]], [[0.0, 1.0], [1.0, 2.0]], epochs=2, loss=tn.Huber([0.5, 2.0]))
    models.metadata = {"units": ["m", "s"]}
    models.save(tmp_path / "models.npz")
    loaded = tn.Ensemble.load(tmp_path / "models.npz", backend=backend)
    assert held(loaded) == held(models)
    assert (loaded.seeds, loaded.metadata, loaded.dtype) == (models.seeds, models.metadata, models.dtype)
    assert loaded.program == models.program
    assert loaded.loss.config() == models.loss.config()  # type: ignore[union-attr]
    np.testing.assert_array_equal(loaded.scores["loss"], models.scores["loss"])
    np.testing.assert_array_equal(loaded.layers[0].mean, models.layers[0].mean)
    x = [[0.5, 1.5, -1.0]]
    np.testing.assert_allclose(loaded.predict(x), models.predict(x), rtol=1e-12)
    np.testing.assert_allclose(loaded[1].predict(x), models[1].predict(x), rtol=1e-12)


def test_loading_draws_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble().save(tmp_path / "models.npz")
    monkeypatch.setattr(tn.Linear, "initial_values", lambda *args: pytest.fail("weights were drawn to be overwritten"))
    assert len(tn.Ensemble.load(tmp_path / "models.npz", backend="numpy")) == 2


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    models = ensemble()
    models.save(tmp_path / "models.npz")
    before = (tmp_path / "models.npz").read_bytes()
    models.state.parameters[1, 2] = np.nan
    with pytest.raises(ValueError, match="save expects finite weights; those of parameters are not"):
        models.save(tmp_path / "models.npz")
    assert (tmp_path / "models.npz").read_bytes() == before


def test_a_checkpoint_may_hold_a_model_that_has_diverged(tmp_path: Path) -> None:
    def fit(models: tn.Ensemble, epochs: int, **options: Any) -> tn.EnsembleHistory:
        x, y = np.arange(6.0).reshape(3, 2), np.arange(3.0)
        checkpoint = tn.Checkpoint(tmp_path / "c")
        return models.fit(x, y, optimizer=tn.SGD([1e-3, 1e200]), epochs=epochs, callbacks=checkpoint, **options)

    def made() -> tn.Ensemble:
        return tn.Ensemble(tn.Sequential(tn.Linear(2, 1), dtype="float64", seed=0, backend="numpy"), 2)

    whole, resumed = made(), made()
    assert fit(whole, 6).diverged == [1]
    assert fit(made(), 3).diverged == [1]
    assert fit(resumed, 6, resume_from=tmp_path / "c").diverged == [1]
    assert resumed.get_weights()[0].tobytes() == whole.get_weights()[0].tobytes()
