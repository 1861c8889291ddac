"""Files that earlier versions wrote are read: models, ensembles, checkpoints, folders of sweeps."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

OLDER = Path(__file__).parent / "older_files"
KNOWN: dict[str, Any] = json.loads((OLDER / "known.json").read_text())


def _made_by() -> Any:
    """What wrote the files: the same data, networks and arguments."""
    spec = importlib.util.spec_from_file_location("older_files_make", OLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


made = _made_by()


@pytest.fixture(autouse=True)
def _numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")


@pytest.mark.parametrize("name", ["net.npz", "net.safetensors"])
def test_older_models_predict_what_they_did(name: str) -> None:
    net = tn.load(OLDER / name)
    np.testing.assert_allclose(net.predict(made.X), KNOWN["net"], rtol=1e-9)
    assert net.metadata == {"classes": ["a", "b"]}


def test_an_older_checkpoint_is_a_model_too() -> None:
    np.testing.assert_allclose(tn.load(OLDER / "run.ckpt").predict(made.X), KNOWN["net"], rtol=1e-9)


def test_older_ensembles_predict_what_they_did() -> None:
    models = tn.Ensemble.load(OLDER / "models.npz")
    np.testing.assert_allclose(models.predict(made.X), KNOWN["models"], rtol=1e-9)
    assert set(models.scores) == {"loss", "mae", "val_loss", "val_mae"}


def trainings() -> dict[str, tuple[Any, str]]:
    return {"net": (made.network(), "run.ckpt"), "models": (tn.Ensemble(made.network(), 2), "models.ckpt")}


@pytest.mark.parametrize("kind", ["net", "models"])
def test_older_checkpoints_are_resumed_as_if_nothing_had_happened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, name = trainings()[kind]
    history = made.fit(model, str(tmp_path / "new.ckpt"), 6, resume_from=OLDER / name)
    for figure, values in KNOWN[f"{kind}, 6 epochs"].items():
        np.testing.assert_allclose(history[figure], values, rtol=1e-9)
    # What is written from here on is of this version, and knows more.
    again = trainings()[kind][0]
    monkeypatch.setattr(made, "X", made.X + np.eye(12, 3))
    with pytest.raises(ValueError, match="x has other values"):
        made.fit(again, str(tmp_path / "newer.ckpt"), 8, resume_from=tmp_path / "new.ckpt")


def other_network(**changes: Any) -> tn.Sequential:
    settings = {"width": 4, "rate": 0.1, "activation": tn.ELU(0.7)} | changes
    width, rate, activation = settings.values()
    layers = [tn.Normalize(3).adapt(made.X), tn.Linear(3, width), activation, tn.Dropout(rate), tn.Linear(width, 2)]
    return tn.Sequential(*layers, dtype="float64", seed=0)


OTHERS: dict[str, tuple[tn.Sequential, dict[str, Any], str]] = {
    "batch size": (other_network(), {"batch_size": 6}, "batch size is 5, this fit has 6"),
    "optimizer": (other_network(), {"optimizer": tn.SGD(0.01)}, "optimizer is 'adam', this fit has 'sgd'"),
    "weight decay": (other_network(), {"optimizer": tn.Adam(0.01, weight_decay=1)}, "weight_decay is 0.0"),
    "loss": (other_network(), {"loss": "mae"}, "loss is 'mse', this fit has 'mae'"),
    "metrics": (other_network(), {"metrics": "r2"}, r"recorded|figures is"),
    "number of samples": (other_network(), {"validation_split": 0.5}, "number of samples is 9, this fit has 6"),
    "width": (other_network(width=5), {}, r"layer 1 is 'Linear\(n_in=3, n_out=4\)', this fit has 'Linear"),
    "dropout": (other_network(rate=0.3), {}, r"layer 3 is 'Dropout\(n=4, rate=0.1"),
    "activation": (other_network(activation=tn.ELU(0.8)), {}, "layer 2 is"),
}


@pytest.mark.parametrize("kind", ["net", "models"])
@pytest.mark.parametrize("case", OTHERS)
def test_what_older_checkpoints_tell_is_compared(kind: str, case: str, tmp_path: Path) -> None:
    net, changes, message = OTHERS[case]
    model = net.clone() if kind == "net" else tn.Ensemble(net, 2)
    callbacks = [tn.EarlyStopping("loss", patience=50), tn.ReduceLROnPlateau("val_loss")]
    if kind == "net":
        callbacks.append(tn.Checkpoint(tmp_path / "new"))
    chosen = {"batch_size": 5, "optimizer": tn.Adam(0.01), "validation_split": 0.25, "metrics": "mae"} | changes
    with pytest.raises(ValueError, match=message):
        model.fit(made.X, made.Y, epochs=6, callbacks=callbacks, resume_from=OLDER / trainings()[kind][1], **chosen)


def test_an_older_sweep_is_loaded_and_goes_on(tmp_path: Path) -> None:
    result = tn.SweepResult.load(OLDER / "sweep")
    for name, column in result.table.items():
        if column.dtype.kind == "f":
            np.testing.assert_allclose(column, KNOWN["sweep"][name], rtol=1e-9)
        else:
            assert column.tolist() == KNOWN["sweep"][name]
    best = KNOWN["best of the sweep"]
    assert result.best_settings == best["settings"]
    np.testing.assert_allclose(result.best_model.predict(made.X), best["predictions"], rtol=1e-9)
    shutil.copytree(OLDER / "sweep", tmp_path / "sweep")
    (tmp_path / "sweep" / "group-0001.npz").unlink()
    resumed = made.sweep(str(tmp_path / "sweep"))
    np.testing.assert_allclose(resumed.table["val_loss"], KNOWN["sweep"]["val_loss"], rtol=1e-9)
