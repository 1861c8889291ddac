"""Real data: tinynet reaches what scikit-learn's MLP reaches, and 88 % on Fashion-MNIST."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tinynet.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
FASHION_MNIST = Path(os.environ.get("TINYNET_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
NAMES = ("digits", "wine", "breast_cancer", "diabetes")

MARGIN = 0.02
"""What the draw of the initial weights makes of a mean of three scores, on tests of 45 to 450 rows."""


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """``examples/real_data.py`` as a module."""
    pytest.importorskip("sklearn", reason="the data sets come with scikit-learn")
    spec = importlib.util.spec_from_file_location("real_data", ROOT / "examples" / "real_data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_data"] = module  # Dataclasses look up the module that they are defined in.
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sklearn_scores(example: ModuleType) -> dict[str, list[float]]:
    """Scores of scikit-learn's MLP on each split of each problem."""
    return {
        problem.name: [example.score_sklearn(problem, seed)[0] for seed in example.SEEDS]
        for problem in example.PROBLEMS
    }


def problem_named(example: ModuleType, name: str) -> Any:
    return next(problem for problem in example.PROBLEMS if problem.name == name)


@pytest.mark.peers
@pytest.mark.parametrize("name", NAMES)
def test_the_same_network_scores_as_scikit_learns(
    example: ModuleType, sklearn_scores: dict[str, list[float]], name: str, backend: str
) -> None:
    problem = problem_named(example, name)
    scores = [example.score_tinynet(problem, seed, backend)[0] for seed in example.SEEDS]
    assert np.mean(scores) >= np.mean(sklearn_scores[name]) - MARGIN


def write_csv(path: Path, x: np.ndarray, y: np.ndarray, *, as_labels: bool) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"column {i}" for i in range(x.shape[1])), "target"])
        targets = [f"class {value}" for value in y] if as_labels else y.tolist()
        writer.writerows([*row, target] for row, target in zip(x.tolist(), targets, strict=True))


@pytest.mark.peers
@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_with_its_defaults_scores_as_scikit_learn(
    example: ModuleType,
    sklearn_scores: dict[str, list[float]],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    problem, scores = problem_named(example, name), []
    for seed in example.SEEDS:
        x, y, x_test, y_test = example.split(problem, seed)
        write_csv(tmp_path / "train.csv", x, y, as_labels=not problem.is_regression)
        write_csv(tmp_path / "test.csv", x_test, y_test, as_labels=not problem.is_regression)
        assert main(["train", "train.csv", "--quiet", "--plot", "none"]) == 0
        assert main(["evaluate", "tinynet-model.npz", "test.csv"]) == 0
        lines = capsys.readouterr().out.split("\n\n")[0].splitlines()
        figures = dict(line.split() for line in lines)
        scores.append(float(figures["r2" if problem.is_regression else "accuracy"]))
    assert np.mean(scores) >= np.mean(sklearn_scores[name]) - MARGIN


def test_every_problem_of_the_example_is_tested(example: ModuleType) -> None:
    assert [problem.name for problem in example.PROBLEMS] == list(NAMES)


@pytest.mark.peers
def test_the_example_prints_its_table(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(example, "PROBLEMS", [problem_named(example, "wine")])
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    example.main()
    name, *figures = capsys.readouterr().out.splitlines()[-1].split()
    assert name == "wine"
    assert len(figures) == 4
    assert all(0.9 < float(score) <= 1 for score in figures[:2])


@pytest.mark.slow
@pytest.mark.skipif(
    not FASHION_MNIST.is_dir(),
    reason=f"needs Fashion-MNIST in {FASHION_MNIST} (Debian's dataset-fashion-mnist), or in $TINYNET_FASHION_MNIST",
)
def test_fashion_mnist_reaches_88_percent(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(FASHION_MNIST), "--layers", "256", "--epochs", "10", "--backend", backend]) == 0
    result = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("result"))
    assert result.endswith("on 10,000 test rows")
    assert float(result.split("accuracy ")[1].split()[0]) >= 0.88
