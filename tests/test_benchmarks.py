"""The benchmark suite: that it compares what is comparable, and says so where it is not."""

from __future__ import annotations

import doctest
import importlib
import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_workloads import CLASSES, MANY, SIGMOID

from benchmarks import __main__ as suite
from benchmarks import records, report
from benchmarks.growth import SWEEPS, advice, crossovers, measure_growth
from benchmarks.measure import Effort, measure, sentence
from benchmarks.peak import operations
from benchmarks.peers import PEERS, Peer
from benchmarks.problem import DATA, difference, loss_of, problem_of
from benchmarks.records import Comparison, Curve, Record, Results, Start
from benchmarks.start import measure_start
from benchmarks.worker import PeerFailed, Worker
from benchmarks.workloads import WORKLOADS, Workload

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
MODULES = [
    "growth",
    "measure",
    "peak",
    "problem",
    "quota",
    "records",
    "report",
    "sweep_rate",
    "worker",
    "workloads",
    "ranks.model",
    "__main__",
]
BRIEF = Effort(pairs=2, seconds=0.001)

TINY = {
    "sigmoid": SIGMOID,
    "one layer": replace(SIGMOID, sizes=(4, 3), batch_size=1),
    "classes": CLASSES,
    "full batch": replace(WORKLOADS["chains"], n_samples=50, epochs=5),
    "predict": replace(WORKLOADS["predict-1-wide"], sizes=(5, 4, 3), n_samples=4, epochs=3),
    "many": MANY,
    "many regressions": replace(WORKLOADS["sweep-regress"], n_samples=20, n_models=2, epochs=3),
}
OPPONENTS = {
    "sigmoid": ("c", "notebook", "torch", "jax-scan"),
    "one layer": ("c", "notebook"),
    "classes": ("scikit-learn", "torch", "jax", "jax-scan"),
    "full batch": ("scikit-learn",),
    "predict": ("scikit-learn", "onnxruntime", "torch", "jax"),
    "many": ("c", "torch", "jax-scan"),
    "many regressions": ("scikit-learn", "torch", "jax-scan"),
}


def record(workload: Workload = SIGMOID, seconds: float = 1.0, **comparison: object) -> Record:
    made = Record(workload, 1, "made up", "numba", 3, [seconds] * 3, 0.1, 0.2, 0.3, 1 << 20)
    if comparison:
        made.comparisons.append(Comparison("torch", "PyTorch", **comparison))  # type: ignore[arg-type]
    return made


def found(*records: Record) -> Results:
    machine = {"processor": "a processor", "cores": 2, "date": "2026-01-01", "python": "3.11", "packages": {}}
    return Results(machine, {"quick": True}, [1e10], list(records))


def test_the_report_tells_what_share_of_the_processor_is_used() -> None:
    workload = WORKLOADS["deep32"]
    results = found(record(workload), record(SIGMOID))
    results.rates = {"float32": {"multiply-adds": [4e9, 2e9, 1e9], "BLAS": [1e9]}}
    results.records[0].seconds = [3 * workload.n_updates * operations(workload) / 1e9] * 3
    told = report.markdown(results)
    assert f"| {workload.title} | 1.0 GFLOP/s | 50% | 100% |" in told
    assert f"| {SIGMOID.title} | 1.0" not in told


# -- the table of workloads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_names_data_and_peers_that_exist(name: str) -> None:
    workload = WORKLOADS[name]
    assert workload.data in DATA
    assert set(workload.peers) <= set(PEERS)
    assert workload.n_visits <= workload.n_samples


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_docstrings_hold(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"benchmarks.{name}")).failed == 0


def test_a_worker_starts_without_numpy_so_that_imports_can_be_timed() -> None:
    code = "import sys, benchmarks.worker; print(sorted({'numpy', 'tinynet'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    assert done.stdout.strip() == "[]"


# -- the problems --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workload", TINY.values(), ids=TINY)
def test_a_problem_is_the_same_each_time(workload: Workload) -> None:
    first, second = problem_of(workload), problem_of(workload)
    for one, other in zip((first.x, first.y, first.parameters), (second.x, second.y, second.parameters), strict=True):
        np.testing.assert_array_equal(one, other)
    assert first.parameters.size == workload.n_parameters * workload.n_models
    assert first.rates.max() == pytest.approx(workload.learning_rate)
    assert first.x.dtype == workload.dtype


def test_loss_is_the_textbook_value_where_all_weights_are_zero() -> None:
    sigmoid, classes = problem_of(TINY["sigmoid"]), problem_of(TINY["classes"])
    halves = ((0.5 - sigmoid.y) ** 2).sum() / len(sigmoid.y)
    assert loss_of(sigmoid, 0 * sigmoid.parameters) == pytest.approx(halves)
    assert loss_of(classes, 0 * classes.parameters) == pytest.approx(np.log(10))


def test_matrix_exponentials_are_sums_of_powers() -> None:
    problem = problem_of(replace(TINY["full batch"], dtype="float64"))
    matrix = problem.x[0].reshape(2, 2)
    term, total = np.eye(2), np.eye(2)
    for n in range(1, 40):
        term = term @ matrix / n
        total = total + term
    np.testing.assert_allclose(problem.y[0].reshape(2, 2), total, rtol=1e-5)


# -- the peers -----------------------------------------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("name", OPPONENTS)
def test_peers_end_where_tinynet_ends(name: str) -> None:
    comparisons = measure(TINY[name], OPPONENTS[name], 1, BRIEF, "numpy", lambda _: None).comparisons
    here = [comparison for comparison in comparisons if comparison.status != "missing"]
    if not here:
        pytest.skip("; ".join(comparison.note for comparison in comparisons))
    assert {comparison.title: comparison.note for comparison in here if not comparison.same} == {}
    for comparison in here:
        assert comparison.difference is not None
        assert comparison.difference <= TINY[name].tolerance
        assert len(comparison.tinynet_seconds) == len(comparison.peer_seconds) == BRIEF.pairs


def test_runs_start_again_from_the_initial_weights_and_lower_the_loss() -> None:
    problem = problem_of(SIGMOID)
    with Worker("notebook", SIGMOID) as worker:
        worker.run(3)
        once = worker.result()
        worker.run(3)
        np.testing.assert_array_equal(worker.result(), once)
    assert loss_of(problem, once) < 0.99 * loss_of(problem, problem.parameters)


def test_the_floor_has_the_products_of_a_step() -> None:
    workload = replace(TINY["classes"], sizes=(784, 64, 10), batch_size=32, n_samples=64)
    products = [2 * 32 * n_in * n_out for n_in, n_out in pairwise(workload.sizes)]
    # Two products of each layer, and a third, with respect to the input, of all layers but the first.
    with Worker("floor", workload) as worker:
        assert worker.about().startswith(f"{3 * sum(products) - products[0]} ")


def test_results_that_differ_are_told_apart() -> None:
    problem = problem_of(SIGMOID)
    assert difference(problem, problem.parameters, problem.parameters) == 0.0
    assert difference(problem, problem.parameters, problem.parameters + 0.1) > SIGMOID.tolerance
    comparison = {"tinynet_seconds": [1.0], "peer_seconds": [2.0], "difference": 0.5, "same": False}
    wrong = record(status="measured", **comparison)
    assert "DIFFERENT RESULT, by 5.0e-01" in sentence(wrong, wrong.comparisons[0])
    assert "(!)" in report.markdown(found(wrong))
    assert "PyTorch, seed2-10: the results differ by 5.0e-01." in report.markdown(found(wrong))


def test_a_missing_peer_is_named_with_the_command_that_gets_it() -> None:
    peer = Peer("x", "X", "x:Train", None, ("no_such_package",), "pip install no-such-package")
    assert peer.missing() == "no_such_package not installed. Get it by: pip install no-such-package"
    note = {"status": "missing", "note": peer.missing()}
    assert "PyTorch: no_such_package not installed" in report.markdown(found(record(**note)))


def test_a_peer_that_cannot_run_a_workload_says_why() -> None:
    (comparison,) = measure(SIGMOID, ["scikit-learn"], 1, BRIEF, "numpy", lambda _: None).comparisons
    assert comparison.status in ("unable", "missing")
    assert "sigmoid" in (PEERS["scikit-learn"].unable(SIGMOID) or "")


def test_an_error_in_a_worker_comes_with_its_traceback() -> None:
    deep = replace(SIGMOID, sizes=(4, 5, 5, 3))
    with Worker("notebook", deep) as worker, pytest.raises(PeerFailed, match=r"notebook\.py(.|\n)*ValueError"):
        worker.run(1)


# -- the figures ---------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_median_over_pairs() -> None:
    ratio = Comparison("c", "C", "measured", tinynet_seconds=[1, 2, 4], peer_seconds=[2, 2, 40]).ratio
    assert (ratio.median, ratio.least, ratio.most) == (2, 1, 10)


def test_results_survive_a_file(tmp_path: Path) -> None:
    before = found(record(status="failed", note="an error"))
    before.starts.append(Start("torch", "PyTorch", [1.0], [3.0], [2.0]))
    before.curves.append(Curve("width", "numpy", [2, 4], [[1.0, 1.1], [2.0, 2.1]]))
    before.write(tmp_path / "results.json")
    assert records.read(tmp_path / "results.json") == before


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="must hold benchmark results"):
        records.read(tmp_path / "other.json")


@pytest.mark.parametrize(("now", "slower"), [(1.0, False), (1.05, False), (2.0, True), (0.5, False)])
def test_what_became_slower_is_found(now: float, slower: bool) -> None:
    table, any_slower = records.compare(found(record(seconds=1.0)), found(record(seconds=now)))
    assert any_slower is slower
    assert ("slower" in table) is slower
    assert f"{now:.2f}" in table


def test_another_workload_of_the_same_name_is_not_compared() -> None:
    table, slower = records.compare(found(record()), found(record(replace(SIGMOID, n_samples=99), seconds=9.0)))
    assert "not comparable" in table
    assert not slower


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 1.0, 1.0], [2.0, 2.0, 2.0], []),
        ([1.0, 10.0, 100.0], [10.0, 10.0, 10.0], []),
        ([1.0, 100.0, 1.0], [10.0, 10.0, 10.0], [pytest.approx(10**0.5), pytest.approx(10**1.5)]),
    ],
)
def test_crossovers_are_interpolated_on_logarithmic_axes(a: list[float], b: list[float], expected: list[float]) -> None:
    assert crossovers([1, 10, 100], a, b) == expected


def test_advice_says_which_backend_from_where_on() -> None:
    flat = Curve("width", "numpy", [2, 8, 32], [[4.0], [4.0], [4.0]])
    steep = Curve("width", "numba", [2, 8, 32], [[1.0], [4.01], [16.0]])
    low = Curve("width", "numba", [2, 8, 32], [[1.0], [2.0], [1.0]])
    assert "below 8 use numba, above it numpy." in advice([flat, steep])[0]
    assert "numba beats numpy from 2 to 32, 2.0 to 4.0 times." in advice([flat, low])[0]


# -- the commands --------------------------------------------------------------------------------------------------


def test_a_run_writes_results_a_table_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    arguments = ["--quick", "--only", "seed2-10", "--peers", "notebook", "--backend", "numpy", "--out", str(path)]
    assert suite.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "the notebook's NumPy code" in printed
    assert "same result" in printed
    assert json.loads(path.read_text())["records"][0]["comparisons"][0]["peer"] == "notebook"

    assert report.main([str(path)]) == 0
    assert "vs the notebook's NumPy code" in capsys.readouterr().out
    assert (tmp_path / "run-speed.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "run-speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing"], "invalid choice: 'nothing'"),
        (["--peers", "nobody"], "invalid choice: 'nobody'"),
        (["--compare", "no-such-file.json"], "No such file or directory: 'no-such-file.json'"),
        (["--threads", "0"], "--threads must be a whole number >= 1; got 0."),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        suite.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_report_on_a_missing_file_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        report.main([str(tmp_path / "missing.json")])
    assert stop.value.code == 1
    assert "missing.json" in capsys.readouterr().err


def test_growth_is_measured_and_plotted(tmp_path: Path) -> None:
    curves = measure_growth("width", ["numpy"], BRIEF, 1, lambda _: None, most=4)
    assert curves[0].sizes == [size for size in SWEEPS["width"].sizes if size <= 4]
    assert all(value > 0 for samples in curves[0].seconds for value in samples)
    from benchmarks import plots

    grown = replace(found(), curves=curves)
    written = plots.write(grown, tmp_path / "grown")
    assert [path.name for path in written] == ["grown-growth.svg", "grown-growth.png"]


@pytest.mark.slow
def test_a_cold_start_finds_no_code_and_a_warm_one_finds_what_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []

    def watched(name: str, workload: Workload, threads: int, environment: dict[str, str], device: str) -> Worker:
        folder = Path(environment["TINYNET_CACHE_DIR"])
        found.append(any(path.is_file() for path in folder.rglob("*")))
        return Worker(name, workload, threads, environment, device, backend=None)

    monkeypatch.setattr("benchmarks.start.Worker", lambda *given, backend: watched(*given))
    start = measure_start("tinynet", 1)
    assert found == [False, True]
    assert len(start.import_seconds) == 2
    assert len(start.cold_seconds) == len(start.warm_seconds) == 1
    assert min(start.import_seconds + start.cold_seconds + start.warm_seconds) > 0


def test_ranks_pay_the_sooner_the_less_a_message_takes(tmp_path: Path) -> None:
    from benchmarks.ranks.model import ETHERNET, INFINIBAND, Line, gain, pays_from
    from benchmarks.ranks.plot import plot, sentences

    alone, beside = Line(0.0, 1e-6), Line(1e-4, 1e-6)
    messages = [wires.allreduce(1e6, 100) for wires in (INFINIBAND, ETHERNET)]
    batches = [pays_from(alone, beside, 100, message, 0.5) for message in messages]
    assert batches[0] < batches[1]
    for batch, message in zip(batches, messages, strict=True):
        assert gain(alone, beside, batch, 100, message) == pytest.approx(50)
    results = json.loads((FOLDER / "results" / "amd-epyc-2-cores-ranks.json").read_text())
    assert len(sentences(results)) == 8
    assert [path.suffix for path in plot(results, tmp_path / "ranks")] == [".svg", ".png"]


def test_everybody_descends_from_the_same_place() -> None:
    """One step of tinynet's and SciPy's changes little; many get far below it, and points are the best so far."""
    from benchmarks.descent.plot import envelope, seconds_to
    from benchmarks.descent.problems import PROBLEMS, problem
    from benchmarks.descent.runners import RUNNERS

    for name, (make, hidden) in PROBLEMS.items():
        case = problem(name)
        assert case.sizes == (make()[0].shape[1], hidden)
        assert 0.3 < case.loss(case.parameters) < 3
    case = problem("otl")
    for runner in ("tinynet LM", "tinynet LBFGS", "scikit-learn lbfgs", "SciPy MINPACK"):
        run = RUNNERS[runner](case)
        assert case.loss(run(30)) < 0.1 * case.loss(run(1))
        assert case.loss(run(1)) < 1.2 * case.loss(case.parameters)
    points = [(1, 0.1, 1.0), (2, 0.2, 0.5), (4, 0.4, 0.7)]
    assert envelope(points) == [(0.1, 1.0), (0.2, 0.5)]
    assert seconds_to(points, 0.6) == 0.2
    assert seconds_to(points, 0.1) is None


def test_a_descent_is_summed_up_in_words() -> None:
    from benchmarks.descent.summary import summary

    curves = {
        "tinynet LM": [(1, 0.1, 1.0), (10, 0.2, 0.01)],
        "tinynet Adam": [(8, 1.0, 0.5), (8, 2.0, 0.02), (16, 4.0, 0.03)],
        "pyrenn": [(2, 0.4, 0.9)],
    }
    case = {"network": "2-12-1", "samples": 400, "curves": {name: {"points": p} for name, p in curves.items()}}
    case["curves"]["PyTorch LBFGS"] = {"points": [], "why": "it did not end in time"}
    steps = {
        "restarts": {"one": 1.0, "many": 50.0, "models": 100, "steps": 100},
        "large step": {"step": 2.0, "rank-k update": 1.0},
    }
    lines = list(summary({"problems": {"surface": case}, "steps": steps}))
    assert "  pyrenn: 200,000 us a step, 10.0 times tinynet LM's" in lines
    assert "  Adam's best loss, 0.02, takes it 2.00 s" in lines
    assert "    tinynet LM: 0.200 s, 10.0 times quicker" in lines
    assert lines[-2].startswith("100 restarts of 2-12-1 take 50 times the time of one: 5,000 us a step of each")
    assert lines[-1].endswith("50% of the rate of the rank-k update alone")
    assert list(summary({"problems": {}, "steps": {"why": "killed"}})) == ["steps: killed"]
