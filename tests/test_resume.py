"""A training that is killed and resumed ends as one that was never killed, to the last bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.files import read_archive

RUN = """
import json, sys
import numpy as np
import tinynet as tn

checkpoint, result, unit, every, backend = sys.argv[1:]
rng = np.random.default_rng(1)
x = rng.normal(size=(103, 3))
y = np.sin(x.sum(axis=1, keepdims=True))
net = tn.Sequential(tn.Linear(3, 8), tn.Tanh(), tn.Dropout(0.2), tn.Linear(8, 1), seed=5, dtype="float64", backend=backend)
early = tn.EarlyStopping("val_loss", patience=1000)
history = net.fit(
    x, y, optimizer=tn.Adam(tn.CosineDecay(0.01, 60)), epochs=60, batch_size=8, validation_split=0.2,
    callbacks=[early, tn.ReduceLROnPlateau("loss", patience=5), tn.Checkpoint(checkpoint, int(every), unit)],
    resume_from=checkpoint if __import__("os").path.exists(checkpoint) else None,
)
net.metadata["history"] = history.history
net.metadata["rng"] = str(net.rng.bit_generator.state)
net.metadata["best"] = [early.best, early.best_epoch]
net.metadata["moments"] = net.state.moments.tobytes().hex()
net.save(result)
"""


def command(folder: Path, name: str, unit: str, every: int, backend: str) -> list[str]:
    files = [str(folder / f"{name}.ckpt"), str(folder / f"{name}.npz")]
    return [sys.executable, "-c", RUN, *files, unit, str(every), backend]


def outcome(path: Path) -> tuple[Any, dict[str, bytes]]:
    header, arrays = read_archive(path)
    return header["metadata"], {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.slow
@pytest.mark.parametrize(("unit", "every"), [("epoch", 1), ("update", 7)])
def test_a_run_killed_at_random_moments_ends_bit_identical(tmp_path: Path, unit: str, every: int) -> None:
    started = time.monotonic()
    subprocess.run(command(tmp_path, "whole", unit, every, "numpy"), check=True)
    whole_run = time.monotonic() - started
    rng = random.Random(7)
    kills = 0
    for _ in range(200):
        process = subprocess.Popen(command(tmp_path, "killed", unit, every, "numpy"))
        # Killed anywhere between its start and a little after the first updates, until ten kills have hit it.
        try:
            process.wait(timeout=rng.uniform(0.3, 1.0) * whole_run if kills < 10 else None)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        assert process.returncode == 0
        break
    assert kills >= 1
    assert outcome(tmp_path / "killed.npz") == outcome(tmp_path / "whole.npz")
    assert not list(tmp_path.glob("*.json"))


def network(seed: int = 0) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Sigmoid(), tn.Linear(4, 1), seed=seed, backend="numpy")


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 2))
    return x, x[:, :1] * x[:, 1:]


class StopAfter(tn.Callback):
    """Raise in the middle of training, as a crash would, after a number of updates."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("crash")
