"""Made the files beside it, with tinynet as of commit 0f24ad4; every later version reads them.

git worktree add /tmp/older 0f24ad4 && cp tests/older_files/make.py /tmp/older && cd /tmp/older
PYTHONPATH=.:kernels TINYNET_BACKEND=numpy python make.py
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import numpy as np

import tinynet as tn

X = np.arange(36.0).reshape(12, 3) % 7.0 - 3.0
Y = np.column_stack([X.sum(axis=1), X[:, 0] * X[:, 1]]) / 5.0


def network() -> tn.Sequential:
    layers = [tn.Normalize(3).adapt(X), tn.Linear(3, 4), tn.ELU(0.7), tn.Dropout(0.1), tn.Linear(4, 2)]
    return tn.Sequential(*layers, dtype="float64", seed=0)


def fit(net: Any, path: str, epochs: int, **options: Any) -> Any:
    callbacks = [tn.EarlyStopping("loss", patience=50), tn.ReduceLROnPlateau("val_loss"), tn.Checkpoint(path, every=2)]
    settings: dict[str, Any] = {"batch_size": 5, "optimizer": tn.Adam(0.01), "validation_split": 0.25, "metrics": "mae"}
    return net.fit(X, Y, epochs=epochs, callbacks=callbacks, **settings, **options)


def build(width: int) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 2), dtype="float64", backend="numpy")


def sweep(folder: str) -> tn.SweepResult:
    space = {"width": [2, 3], "learning_rate": [0.1, 0.01]}
    return tn.sweep(build, space, X, Y, seeds=2, epochs=3, folder=folder, validation_split=0.25)


if __name__ == "__main__":
    known: dict[str, Any] = {}
    net = network()
    fit(net, "run.ckpt", 4)
    net.metadata = {"classes": ["a", "b"]}
    net.save("net.npz")
    net.save("net.safetensors")
    known["net"] = net.predict(X).tolist()
    whole = network()
    known["net, 6 epochs"] = fit(whole, "other.ckpt", 6).history
    models = tn.Ensemble(network(), 2)
    fit(models, "models.ckpt", 4)
    models.save("models.npz")
    known["models"] = models.predict(X).tolist()
    whole_models = tn.Ensemble(network(), 2)
    history = fit(whole_models, "other.ckpt", 6)
    known["models, 6 epochs"] = {name: history[name].tolist() for name in history}
    shutil.rmtree("sweep", ignore_errors=True)
    result = sweep("sweep")
    known["sweep"] = {name: column.tolist() for name, column in result.table.items()}
    known["best of the sweep"] = {
        "settings": result.best_settings,
        "predictions": result.best_model.predict(X).tolist(),
    }
    with open("known.json", "w") as file:
        json.dump(known, file)
