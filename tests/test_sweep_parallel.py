"""Sweeps in several processes, and on a cluster: the same results, wherever runs are trained."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.base import config
from tinynet.base.errors import DependencyError
from tinynet.sweeps import training as sweep_training

ROOT = Path(__file__).resolve().parent.parent
X = np.random.default_rng(0).normal(size=(30, 2))
Y = X[:, :1] * X[:, 1:]


def run(**options: Any) -> tn.SweepResult:
    def build(width: int) -> tn.Sequential:
        return tn.Sequential(tn.Linear(2, width), tn.Tanh(), tn.Linear(width, 1), dtype="float64")

    space = {"width": [3, 4], "learning_rate": [0.1, 0.01]}
    with tn.use_backend("numpy"):
        return tn.sweep(build, space, X, Y, seeds=2, epochs=2, validation_split=0.2, group_size=2, **options)


def assert_same(a: tn.SweepResult, b: tn.SweepResult) -> None:
    for name, column in a.table.items():
        np.testing.assert_array_equal(column, b.table[name], err_msg=name)
    np.testing.assert_array_equal(a.best_model.flat_parameters(), b.best_model.flat_parameters())


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="processes need joblib: pip install joblib")
    expected = run()
    assert_same(run(n_jobs=2, folder=tmp_path), expected)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert_same(run(), expected)  # None is what the context says.


def test_workers_take_the_backend_that_is_in_force_here() -> None:
    pytest.importorskip("joblib", reason="processes need joblib: pip install joblib")
    assert {group.plan.split(":")[0] for group in run(n_jobs=2)._groups} == {run()._groups[0].plan.split(":")[0]}


def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib", reason="processes need joblib: pip install joblib")
    seen = []
    train = sweep_training.train

    def watched(task: Any, recipe: Any, data: Any, options: Any, backend: Any = None) -> Any:
        seen.append(options.threads)
        return train(task, recipe, data, options, backend)

    monkeypatch.setattr(sweep_training, "train", watched)
    monkeypatch.setattr(sweep_training, "usable_cores", lambda: 8)
    with joblib.parallel_config(backend="threading"):
        run(n_jobs=2)
        run(n_jobs=2, threads=1)
    assert seen == [4] * 4 + [1] * 4
    assert config.chosen_threads() is None


def test_without_joblib_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(DependencyError, match=r"sweep\(n_jobs=2\) needs the package joblib.*pip install joblib"):
        run(n_jobs=2)


def test_a_sweep_here_does_not_import_joblib() -> None:
    code = (
        "import sys, tinynet as tn\n"
        "build = lambda: tn.Sequential(tn.Linear(1, 1), backend='numpy')\n"
        "tn.sweep(build, {}, [[0.0], [1.0]], [0.0, 1.0])\n"
        "print(sorted({'joblib', 'dask', 'pandas', 'matplotlib', 'rich'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_the_example_on_a_dask_cluster_gives_what_one_process_gives(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the cluster needs Dask: pip install 'dask[distributed]'")
    pytest.importorskip("joblib", reason="the cluster needs joblib: pip install joblib")
    script = ROOT / "examples" / "sweep_on_a_cluster.py"
    arguments = ["--workers", "2", "--seeds", "2", "--epochs", "2", "--folder", str(tmp_path / "sweep")]
    process = subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TINYNET_BACKEND": "numpy", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 0, process.stderr
    assert "workers: 2" in process.stdout
    assert "30 settings x 2 seeds, 60 runs" in process.stdout
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(script.read_text(), str(script), "exec"), names)
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 2))
    y = np.sin(x[:, 0]) * np.cos(2 * x[:, 1]) + rng.normal(0, 0.05, 400)
    with tn.use_backend("numpy"):
        expected = tn.sweep(names["build"], names["SPACE"], x, y, validation_split=0.25, seeds=2, epochs=2)
    assert_same(tn.SweepResult.load(tmp_path / "sweep"), expected)


def test_large_data_go_to_the_workers_of_a_cluster_once_and_not_with_every_group() -> None:
    distributed = pytest.importorskip("distributed", reason="the cluster needs Dask: pip install 'dask[distributed]'")
    joblib = pytest.importorskip("joblib", reason="the cluster needs joblib: pip install joblib")
    import dask

    build = lambda: tn.Sequential(tn.Linear(2, 1), backend="numpy")  # noqa: E731
    x = np.random.default_rng(0).normal(size=(30_000, 2))
    data = {"x": x, "y": x[:, :1], "validation_data": (x, x[:, :1]), "sample_weight": np.ones(len(x))}
    settings = {"distributed.admin.large-graph-warning-threshold": "400kB"}
    cluster = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    counts = []
    with dask.config.set(settings), distributed.LocalCluster(**cluster) as local, distributed.Client(local):
        for work in (
            lambda: joblib.Parallel()([joblib.delayed(len)([x])]),
            lambda: tn.sweep(build, {}, **data, seeds=4, group_size=1, batch_size=1000),
        ):
            # Dask warns of what goes along with a task. In its threads no warning may become an error: it would hang.
            with warnings.catch_warnings(record=True) as caught, joblib.parallel_config(backend="dask"):
                warnings.simplefilter("always")
                found = work()
            counts.append(sum("Sending large graph" in str(warning.message) for warning in caught))
    assert counts == [1, 0]
    assert_same(found, tn.sweep(build, {}, **data, seeds=4, batch_size=1000))


def test_workers_keep_compiled_code_where_it_is_kept_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="processes need joblib: pip install joblib")
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path))
    seen = []
    train = sweep_training.train

    def elsewhere(task: Any, recipe: Any, data: Any, options: Any, backend: Any = None) -> Any:
        monkeypatch.delenv("TINYNET_CACHE_DIR", raising=False)
        result = train(task, recipe, data, options, backend)
        seen.append(os.environ["TINYNET_CACHE_DIR"])
        return result

    monkeypatch.setattr(sweep_training, "train", elsewhere)
    with joblib.parallel_config(backend="threading"):
        run(n_jobs=2)
    assert seen == [str(tmp_path)] * 4


def test_a_worker_that_dies_is_survived(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="the cluster needs Dask: pip install 'dask[distributed]'")
    pytest.importorskip("joblib", reason="the cluster needs joblib: pip install joblib")
    del distributed
    code = f"""
import os, signal, sys
from pathlib import Path
import joblib, numpy as np, tinynet as tn
from distributed import Client, LocalCluster

def build(width):
    died = Path({str(tmp_path / "died")!r})
    if os.getpid() != caller and not died.exists():
        died.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return tn.Sequential(tn.Linear(2, width), tn.Tanh(), tn.Linear(width, 1), backend="numpy", dtype="float64")

if __name__ == "__main__":
    caller = os.getpid()
    x = np.random.default_rng(0).normal(size=(30, 2))
    call = dict(seeds=2, epochs=2, group_size=1)
    expected = tn.sweep(build, {{"width": [3, 4]}}, x, x[:, :1], **call)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config(backend="dask"):
            found = tn.sweep(build, {{"width": [3, 4]}}, x, x[:, :1], **call)
    assert (found.table["loss"] == expected.table["loss"]).all()
    print("survived", Path({str(tmp_path / "died")!r}).exists())
"""
    script = tmp_path / "sweep.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=ROOT, env=env)
    assert "survived True" in process.stdout, process.stderr
