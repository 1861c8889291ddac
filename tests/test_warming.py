"""TINYNET_COMPILE=background: training starts at once, and the compiled plan takes over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tinynet as tn
from tinynet.base import config

CODE = """
import numpy as np
import tinynet as tn
from tinynet.backends.numba.warming import WarmingPlan

x = np.random.default_rng(0).normal(size=(50, 1024))
net = tn.Sequential(tn.Linear(1024, 512), tn.Tanh(), tn.Linear(512, 1), dtype="float64", seed=0, backend="numba")
loss, optimizer = tn.MeanSquaredError(), tn.SGD(0.001)

def fit():
    net.fit(x, x[:, :1], loss=loss, optimizer=optimizer, epochs=3, batch_size=8, validation_split=0.2)
    net.predict(x[::-1])

def warming():
    return {method for plan in net._plans.values() for method, left in plan._rehearsals.items() if left is not None}

fit()
first = warming()
for plan in net._plans.values():
    assert isinstance(plan, WarmingPlan)
    plan.wait()
fit()
print(sorted(first), sorted(warming()), net.history.plan)
np.save("parameters.npy", net.flat_parameters())
"""


def run(folder: Path, cache: Path, code: str = CODE) -> str:
    environment = {**os.environ, "TINYNET_COMPILE": "background", "TINYNET_CACHE_DIR": str(cache)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_training_starts_at_once_and_the_compiled_plan_takes_over(tmp_path: Path) -> None:
    first = run(tmp_path, tmp_path / "cache")
    assert first.startswith("['evaluate', 'predict', 'run'] [] fused: ")
    assert "until that is compiled in the background" in first
    parameters = np.load(tmp_path / "parameters.npy")

    x = np.random.default_rng(0).normal(size=(50, 1024))
    net = tn.Sequential(tn.Linear(1024, 512), tn.Tanh(), tn.Linear(512, 1), dtype="float64", seed=0, backend="numpy")
    optimizer = tn.SGD(0.001)
    for _ in range(2):
        net.fit(x, x[:, :1], optimizer=optimizer, epochs=3, batch_size=8, validation_split=0.2)
    np.testing.assert_allclose(parameters, net.flat_parameters(), rtol=1e-9, atol=1e-12)

    assert run(tmp_path, tmp_path / "cache").startswith("[] [] fused: "), "what is on disk is used from the start"


class Scripted:
    """A rehearsal that is over when it was asked some times."""

    started: ClassVar[list[Scripted]] = []

    def __init__(self, program: Any, method: str, arguments: tuple[Any, ...]) -> None:
        self.left, self.method = 3, method
        self.started.append(self)

    def over(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[Scripted]:
    from tinynet.backends.numba import warming

    monkeypatch.setenv("TINYNET_COMPILE", "background")
    monkeypatch.setattr(warming, "on_disk", lambda _: False)
    monkeypatch.setattr(warming, "_STARTED", {})
    monkeypatch.setattr(warming, "Rehearsal", Scripted)
    monkeypatch.setattr(Scripted, "started", [])
    return Scripted.started


def test_one_process_compiles_for_all_models_and_threads(scripted: list[Scripted]) -> None:
    """Models that are too large for lanes have a plan each, where their settings differ, and in each thread."""
    layers = [tn.Linear(2, 1024), tn.Tanh(), tn.Linear(1024, 512), tn.Linear(512, 1)]
    models = tn.Ensemble(tn.Sequential(*layers, seed=0, backend="numba"), 4)
    x = np.random.default_rng(0).normal(size=(12, 2))
    optimizer = tn.SGD(0.01, momentum=[0.1, 0.2, 0.3, 0.4])
    history = models.fit(x, x[:, :1], optimizer=optimizer, epochs=2, validation_split=0.2, threads=2)
    assert history.plan.startswith("model by model: fused")
    assert sorted(rehearsal.method for rehearsal in scripted) == ["evaluate", "run"]
    same = tn.Ensemble(tn.Sequential(*(layer.fresh_copy() for layer in layers), seed=0, backend="numpy"), 4)
    expected = same.fit(x, x[:, :1], optimizer=optimizer, epochs=2, validation_split=0.2)
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-4)


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a program that fails")
def test_a_failure_in_the_background_is_a_warning_and_this_process_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backends.numba import warming

    monkeypatch.setenv("TINYNET_COMPILE", "background")
    monkeypatch.setattr(warming.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(warming, "on_disk", lambda _: False)
    monkeypatch.setattr(warming, "_STARTED", {})
    net = tn.Sequential(tn.Linear(1024, 512), seed=0, backend="numba")
    x = np.zeros((4, 1024))

    def predict_twice() -> None:
        """The process may have ended by the first call or by the second."""
        for _ in range(2):
            net.predict(x[::-1])
            for plan in net._plans.values():
                plan.wait()

    with pytest.warns(UserWarning, match="Compiling in the background failed .exit status 1"):
        predict_twice()
    assert net.predict(x).shape == (4, 512)


def test_an_unknown_way_to_compile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_COMPILE", "later")
    with pytest.raises(ValueError, match="TINYNET_COMPILE must be one of 'background', 'wait'; got 'later'"):
        config.compiles_in_background()
