"""TINYNET_COMPILE=background: training starts at once, and the compiled plan takes over."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from tinynet import config

CODE = """
import numpy as np
import tinynet as tn
from tinynet.backends.warming import WarmingPlan

x = np.random.default_rng(0).normal(size=(50, 3))
net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", seed=0, backend="numba")
loss, optimizer = tn.MeanSquaredError(), tn.SGD(0.1)

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


def run(folder: Path, cache: Path) -> str:
    environment = {**os.environ, "TINYNET_COMPILE": "background", "TINYNET_CACHE_DIR": str(cache)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-W", "error", "-c", CODE]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_training_starts_at_once_and_the_compiled_plan_takes_over(tmp_path: Path) -> None:
    first = run(tmp_path, tmp_path / "cache")
    assert first.startswith("['evaluate', 'predict', 'run'] [] fused: ")
    assert "until that is compiled in the background" in first
    parameters = np.load(tmp_path / "parameters.npy")

    x = np.random.default_rng(0).normal(size=(50, 3))
    net = tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", seed=0, backend="numpy")
    optimizer = tn.SGD(0.1)
    for _ in range(2):
        net.fit(x, x[:, :1], optimizer=optimizer, epochs=3, batch_size=8, validation_split=0.2)
    np.testing.assert_allclose(parameters, net.flat_parameters(), rtol=1e-11)

    assert run(tmp_path, tmp_path / "cache").startswith("[] [] fused: "), "what is on disk is used from the start"


@pytest.mark.skipif(shutil.which("false") is None, reason="needs a program that fails")
def test_a_failure_in_the_background_is_a_warning_and_this_process_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backends import warming

    monkeypatch.setenv("TINYNET_COMPILE", "background")
    monkeypatch.setattr(warming.sys, "executable", shutil.which("false"))
    monkeypatch.setattr(warming.FusedForward, "on_disk", lambda *_: False)
    net = tn.Sequential(tn.Linear(3, 2), seed=0, backend="numba")
    x = np.zeros((4, 3))

    def predict_twice() -> None:
        """The process may have ended by the first call or by the second."""
        for _ in range(2):
            net.predict(x[::-1])
            for plan in net._plans.values():
                plan.wait()

    with pytest.warns(UserWarning, match="Compiling in the background failed .exit status 1"):
        predict_twice()
    assert net.predict(x).shape == (4, 2)


def test_an_unknown_way_to_compile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_COMPILE", "later")
    with pytest.raises(ValueError, match="TINYNET_COMPILE must be one of 'background', 'wait'; got 'later'"):
        config.compiles_in_background()
