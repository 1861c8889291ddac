"""The benchmark suite on a GPU: the same work on all sides there, too."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from small_workloads import CLASSES, MANY, SIGMOID

from benchmarks import __main__ as suite
from benchmarks import records, report
from benchmarks.growth import SWEEPS, contenders, measure_growth
from benchmarks.measure import Effort, measure
from benchmarks.peers import PEERS
from benchmarks.problem import Problem, difference, loss_of, problem_of
from benchmarks.records import Results
from benchmarks.workloads import WORKLOADS, Workload

BRIEF = Effort(pairs=2, seconds=0.001)
TINY = {"sigmoid": SIGMOID, "classes": CLASSES, "many": MANY}
ON_A_GPU = [name for name, peer in PEERS.items() if peer.takes_part("gpu") and name not in ("tinynet", "floor")]


def trained(name: str, workload: Workload, device: str, **options: Any) -> tuple[Problem, np.ndarray]:
    problem = problem_of(workload)
    runner = PEERS[name].load(workload, device)(problem, 1, **options)
    for _ in range(2):  # The second run starts again from the initial weights.
        runner.reset()
        runner.run(workload.epochs)
    return problem, runner.result()


@pytest.mark.parametrize("name", TINY)
def test_runs_on_the_gpu_end_where_runs_on_numpy_end(cp: ModuleType, name: str) -> None:
    problem, ours = trained("tinynet", TINY[name], "gpu", backend="gpu")
    _, plain = trained("tinynet", TINY[name], "cpu", backend="numpy")
    assert loss_of(problem, ours) < loss_of(problem, problem.parameters)
    assert difference(problem, ours, plain) <= TINY[name].tolerance


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_the_floor_is_the_products_of_a_step(cp: ModuleType, precision: str) -> None:
    problem = problem_of(replace(CLASSES, precision=precision))
    floor = importlib.import_module("benchmarks.peers.gpu_floor").Products(problem, 1)
    forward = 2 * 32 * (784 * 6 + 6 * 10)
    # Two products of each layer, and a third, with respect to the input, of all layers but the first.
    assert floor.about().startswith(f"{3 * forward - 2 * 32 * 784 * 6} ")
    floor.run(1)
    for a, b, out in floor.products:
        np.testing.assert_allclose(out.get(), a.get() @ b.get(), rtol=0.05, atol=0.5)


def test_bandwidth_counts_what_is_read_and_what_is_written(cp: ModuleType) -> None:
    rates = importlib.import_module("benchmarks.peers.gpu_floor").copy_bandwidth(1 << 20, repeats=2)
    assert len(rates) == 2
    assert min(rates) > 0


@pytest.mark.gpu
@pytest.mark.parametrize("peer", ON_A_GPU)
@pytest.mark.parametrize("name", TINY)
def test_peers_on_the_gpu_end_where_tinynet_ends(name: str, peer: str) -> None:
    (comparison,) = measure(TINY[name], [peer], 1, BRIEF, "gpu", lambda _: None, "gpu").comparisons
    if comparison.status in ("missing", "unable"):
        pytest.skip(comparison.note)
    assert comparison.same, comparison.note


@pytest.mark.gpu
def test_tiers_take_part_in_growth_where_they_fit() -> None:
    curves = measure_growth("batch", contenders("gpu"), BRIEF, 1, lambda _: None, most=4, device="gpu")
    assert {curve.contender for curve in curves} >= {"cupy", "cupy, persistent", "cupy, loop"}
    assert all(set(curve.sizes) <= set(SWEEPS["batch"].sizes) for curve in curves)


def test_each_device_has_its_workloads_and_its_peers() -> None:
    assert WORKLOADS["wide"].runs_on("cpu")
    assert WORKLOADS["wide"].runs_on("gpu")
    assert not WORKLOADS["wide-tf32"].runs_on("cpu")
    assert not WORKLOADS["predict-1"].runs_on("gpu")
    assert PEERS["torch-graphs"].unable(SIGMOID, "cpu")
    assert PEERS["c"].unable(SIGMOID, "gpu") == "hand-written C does not train on a GPU"
    assert "calls of BLAS" in (PEERS["floor"].unable(WORKLOADS["fashion"], "gpu") or "")
    assert PEERS["floor"].unable(WORKLOADS["wide"], "gpu") is None


def test_a_run_without_the_gpu_that_it_asks_for_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str | None) -> None:
        raise suite.BackendUnavailableError("no device")

    monkeypatch.setattr(suite, "get_backend", absent)
    with pytest.raises(SystemExit) as stop:
        suite.main(["--backend", "gpu"])
    assert stop.value.code == 2
    assert "--backend: no device" in capsys.readouterr().err


def test_results_name_the_gpu(cp: ModuleType) -> None:
    from tinynet.backends import get_backend

    machine = records.machine(get_backend("gpu"))
    assert "compute capability" in machine["gpu"]["GPU 0"]
    assert f"GPU 0: {machine['gpu']['GPU 0']}; driver: " in report.markdown(Results(machine, {}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "wide-tf32"], "--only: wide-tf32 cannot be run on the cpu."),
        (["--backend", "nonsense"], "--backend: "),
    ],
)
def test_what_cannot_be_run_is_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        suite.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
