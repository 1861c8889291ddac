"""Training over the ranks of MPI: any number of them gives what one process gives on all samples, and none waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import toolchain
from cuda_on_cpu.installing import real_cupy

import tinynet as tn

ROOT = Path(__file__).resolve().parent.parent
LONGEST = 300
"""Seconds after which ranks must be waiting for each other: all cases together take some."""

OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""Without these Open MPI (4; 5) starts nothing in a container's root, nor more ranks than there are cores."""


def run(n_ranks: int, *cases: str) -> list[str]:
    """Run cases of ``ranks.py``; return those that passed, or fail with what was printed."""
    pytest.importorskip("mpi4py", reason="ranks need MPI: pip install mpi4py mpich")
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("ranks need mpiexec: pip install mpich")
    script = [sys.executable, "-m", "mpi4py", str(ROOT / "tests" / "ranks.py"), *cases]
    process = subprocess.run(
        [mpiexec, "-n", str(n_ranks), *script],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=LONGEST,
        env={**os.environ, **OPEN_MPI, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return [line.removeprefix("passed ") for line in process.stdout.splitlines() if line.startswith("passed ")]


def test_two_ranks_give_what_one_process_gives_and_fail_together() -> None:
    cases = ["first_order", "generated", "whole", "deterministic", "split", "columns"]
    cases += ["failures", "within", "resumed", "swept", "many"]
    assert run(2, *cases) == cases


def test_four_ranks_give_what_one_process_gives() -> None:
    cases = ["first_order", "whole", "deterministic", "split", "columns", "failures"]
    assert run(4, *cases) == cases


@pytest.mark.slow
def test_gradients_of_gpus_are_summed_there_by_nccl_or_in_host_memory() -> None:
    if toolchain.missing():
        pytest.skip(toolchain.missing())
    assert run(2, "on_gpu") == ["on_gpu"]


@pytest.mark.gpu
def test_each_rank_has_a_gpu_of_its_own() -> None:
    cupy = real_cupy()
    if not cupy.cuda.nccl.available:
        pytest.skip("CuPy finds no NCCL")
    assert run(cupy.cuda.runtime.getDeviceCount(), "on_real_gpus") == ["on_real_gpus"]


def test_a_process_alone_adds_parts_in_their_order() -> None:
    """By hand: the gradient of a batch is the sum of those of its samples in each part, one part after the other."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 1))

    def net() -> tn.Sequential:
        return tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", backend="numpy", seed=0)

    model, by_hand = net(), net()
    settings: dict[str, Any] = {"optimizer": tn.SGD(0.1), "epochs": 2, "batch_size": 8, "shuffle": False}
    history = model.fit(x, y, deterministic=3, **settings)
    cuts = [0, 6, 13, 20]
    for start in [0, 8, 16] * 2:
        stop, gradient = min(start + 8, 20), np.zeros(by_hand.n_parameters)
        for low, high in pairwise(np.clip(cuts, start, stop)):
            if low < high:
                by_hand.zero_grad()
                part = by_hand.forward(x[low:high], training=True) - y[low:high]
                by_hand.backward(2.0 / (high - low) * part)
                gradients = [
                    g for layer in by_hand.layers if layer.n_parameters for g in (layer.weight_grad, layer.bias_grad)
                ]
                gradient += np.concatenate([g.ravel() for g in gradients]) * ((high - low) / (stop - start))
        by_hand.set_flat_parameters(by_hand.flat_parameters() - 0.1 * gradient)
    np.testing.assert_array_equal(model.flat_parameters(), by_hand.flat_parameters())
    assert history.plan.startswith("1 process, sums over 3 parts in their order: ")
    plain = net()
    plain.fit(x, y, **settings)
    np.testing.assert_allclose(plain.flat_parameters(), model.flat_parameters(), rtol=1e-12)
    with pytest.raises(ValueError, match="deterministic must be a whole number >= 1; got 0"):
        model.fit(x, y, deterministic=0)


def test_without_mpi4py_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    net, x = tn.Sequential(tn.Linear(1, 1), backend="numpy"), np.zeros((2, 1))
    with pytest.raises(tn.DependencyError, match=r"fit\(comm=...\) needs the package mpi4py.*pip install mpi4py"):
        net.fit(x, x, comm="world")


def test_what_is_no_communicator_is_refused() -> None:
    code = (
        "import numpy as np, tinynet as tn\n"
        "net, x = tn.Sequential(tn.Linear(1, 1), backend='numpy'), np.zeros((2, 1))\n"
        "try:\n    net.fit(x, x, comm='world')\nexcept TypeError as error:\n    print(error)\n"
    )
    pytest.importorskip("mpi4py", reason="ranks need MPI: pip install mpi4py mpich")
    env: dict[str, Any] = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env)
    assert "comm must be a communicator of mpi4py's, such as MPI.COMM_WORLD; got 'world'" in process.stdout
