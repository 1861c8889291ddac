"""A training that is killed and resumed ends as one that was never killed, to the last bit."""

from __future__ import annotations

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
from tinynet.exchange.archive import read_archive

RUN = """
import os, sys
import numpy as np
import tinynet as tn

checkpoint, result, unit, every = sys.argv[1:]
rng = np.random.default_rng(1)
x = rng.normal(size=(103, 3))
y = np.sin(x.sum(axis=1, keepdims=True))
layers = [tn.Linear(3, 8), tn.Tanh(), tn.Dropout(0.2), tn.Linear(8, 1)]
net = tn.Sequential(*layers, seed=5, dtype="float64", backend="numpy")
early = tn.EarlyStopping("val_loss", patience=1000)
history = net.fit(
    x, y, optimizer=tn.Adam(tn.CosineDecay(0.01, 120)), epochs=120, batch_size=8, validation_split=0.2,
    callbacks=[early, tn.ReduceLROnPlateau("loss", patience=5), tn.Checkpoint(checkpoint, int(every), unit)],
    resume_from=checkpoint if os.path.exists(checkpoint) else None,
)
net.metadata["history"] = history.history
net.metadata["rng"] = str(net.rng.bit_generator.state)
net.metadata["best"] = [early.best, early.best_epoch]
net.metadata["moments"] = net.state.moments.tobytes().hex()
net.save(result)
"""


def command(folder: Path, name: str, unit: str, every: int) -> list[str]:
    files = [str(folder / f"{name}.ckpt"), str(folder / f"{name}.npz")]
    return [sys.executable, "-c", RUN, *files, unit, str(every)]


def outcome(path: Path) -> tuple[Any, dict[str, bytes]]:
    header, arrays = read_archive(path)
    return header["metadata"], {name: array.tobytes() for name, array in arrays.items()}


def wait_for_checkpoints(process: subprocess.Popen[bytes], path: Path, count: int) -> None:
    """Return when a file was replaced ``count`` times, or when the process has ended."""
    last, seen = (path.stat().st_ino if path.exists() else 0), 0
    while seen < count and process.poll() is None:
        time.sleep(0.0005)
        now = path.stat().st_ino if path.exists() else 0
        seen, last = seen + (now != last), now


@pytest.mark.parametrize(("unit", "every"), [("epoch", 1), ("update", 7)])
def test_a_run_killed_at_random_moments_ends_bit_identical(tmp_path: Path, unit: str, every: int) -> None:
    subprocess.run(command(tmp_path, "whole", unit, every), check=True)
    rng = random.Random(7)
    killed = 0
    while True:
        process = subprocess.Popen(command(tmp_path, "killed", unit, every))
        if killed < 10:
            wait_for_checkpoints(process, tmp_path / "killed.ckpt", rng.randrange(8))
            time.sleep(rng.uniform(0.0, 0.01))
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL
        killed += 1
    assert killed == 10
    assert outcome(tmp_path / "killed.npz") == outcome(tmp_path / "whole.npz")


def network(backend: str) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Sigmoid(), tn.Linear(4, 1), seed=0, backend=backend)


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(20, 2))
    return x, x[:, :1] * x[:, 1:]


class Crash(tn.Callback):
    """Raise after some epochs."""

    def __init__(self, epoch: int | None) -> None:
        self.crash_epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == self.crash_epoch:
            raise RuntimeError("crash")


def train(path: Path, backend: str, crash: int | None = None, resume: bool = False, **changes: Any) -> tn.Sequential:
    net = network(backend)
    x, y = data()
    settings: dict[str, Any] = {"optimizer": "adam", "epochs": 9, "batch_size": 6, **changes}
    callbacks = [Crash(crash), tn.EarlyStopping("loss", patience=3), tn.Checkpoint(path, every=2)]
    net.fit(x, y, callbacks=callbacks, resume_from=path if resume else None, **settings)
    return net


def test_a_checkpoint_of_one_backend_resumes_on_another(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    with pytest.raises(RuntimeError, match="crash"):
        train(path, "numpy", crash=6)
    resumed, whole = train(path, "numba", resume=True), train(tmp_path / "other.ckpt", "numpy")
    np.testing.assert_allclose(resumed.flat_parameters(), whole.flat_parameters(), rtol=1e-5)
    assert resumed.history is not None
    assert resumed.history.epoch == list(range(9))


def test_a_finished_run_resumes_to_more_epochs(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    train(path, backend, epochs=4)
    longer, whole = train(path, backend, epochs=9, resume=True), train(tmp_path / "whole.ckpt", backend)
    assert longer.flat_parameters().tobytes() == whole.flat_parameters().tobytes()
    assert longer.history is not None
    assert whole.history is not None
    assert longer.history.history == whole.history.history


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 5}, "batch size is 6, this fit has 5"),
        ({"optimizer": "sgd"}, "optimizer is"),
        ({"loss": "mae"}, "loss is"),
        ({"shuffle": False}, "shuffle is True"),
        ({"drop_last": True}, "drop_last is False"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "run.ckpt"
    train(path, "numpy")
    with pytest.raises(ValueError, match=message):
        train(path, "numpy", resume=True, **changes)


def test_a_model_file_is_no_checkpoint(tmp_path: Path) -> None:
    net = network("numpy")
    net.save(tmp_path / "net.npz")
    before = net.flat_parameters().tobytes()
    with pytest.raises(tn.ModelFileError, match="resume_from expects a checkpoint"):
        net.fit(*data(), resume_from=tmp_path / "net.npz")
    assert net.flat_parameters().tobytes() == before


def test_a_checkpoint_loads_as_a_model(tmp_path: Path) -> None:
    net = train(tmp_path / "run.ckpt", "numpy", epochs=4)
    loaded = tn.load(tmp_path / "run.ckpt", backend="numpy")
    assert loaded.flat_parameters().tobytes() == net.flat_parameters().tobytes()


def test_progress_may_be_shown_in_one_part_and_not_in_the_other(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    train(path, "numpy", epochs=4, verbose=2)
    resumed, whole = train(path, "numpy", epochs=9, resume=True), train(tmp_path / "whole.ckpt", "numpy")
    assert resumed.flat_parameters().tobytes() == whole.flat_parameters().tobytes()


def test_a_missing_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        network("numpy").fit(*data(), resume_from=tmp_path / "nothing.ckpt")


def test_the_best_model_is_kept_beside_the_checkpoint(tmp_path: Path) -> None:
    net, best = network("numpy"), tmp_path / "best.npz"
    checkpoint = tn.Checkpoint(tmp_path / "run.ckpt", best_path=best, monitor="loss")
    history = net.fit(*data(), optimizer=tn.SGD(0.5), epochs=20, callbacks=[checkpoint])
    assert min(history["loss"]) == history["loss"][checkpoint.state()["best_epoch"]]
    assert tn.load(best).program.ops == net.program.ops
