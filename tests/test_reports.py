"""Reports: scikit-learn's figures, the matrix of confusion, the worst rows; as text, HTML and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

import tinynet as tn
from tinynet.plotting.quality import claims, reliability
from tinynet.training.report import Report

RNG = np.random.default_rng(5)
N = 60


def passing(n: int, *ends: tn.Layer) -> tn.Sequential:
    """A network that gives what it is given."""
    net = tn.Sequential(tn.Linear(n, n), *ends, dtype="float64", backend="numpy")
    net.set_weights([np.eye(n), np.zeros(n)])
    return net


def column(report: Report, name: str) -> list[Any]:
    assert report.each is not None
    place = report.each.head.index(name)
    return [row[place] for row in report.each.rows]


CASES: dict[str, tuple[int, tn.Loss, Any]] = {
    "three classes": (3, tn.CrossEntropy(), RNG.integers(0, 3, N)),
    "two classes by one output": (1, tn.BinaryCrossEntropy(from_logits=True), RNG.integers(0, 2, (N, 1))),
}


@pytest.mark.parametrize(("n", "loss", "y"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("weighted", [False, True])
def test_a_report_of_classes_has_the_figures_of_scikit_learn(n: int, loss: tn.Loss, y: Any, weighted: bool) -> None:
    x = RNG.normal(size=(N, n))
    weight = RNG.uniform(0.5, 2, N) if weighted else None
    report = passing(n).report(x, y, loss=loss, sample_weight=weight)
    truth, chosen = y.ravel(), x.argmax(axis=1) if n > 1 else (x[:, 0] >= 0).astype(int)
    expected = sk.precision_recall_fscore_support(truth, chosen, sample_weight=weight)
    for name, figures in zip(("precision", "recall", "f1", "samples"), expected, strict=True):
        np.testing.assert_allclose(column(report, name), figures, rtol=1e-12)
    assert report.confusion is not None
    np.testing.assert_allclose(report.confusion, sk.confusion_matrix(truth, chosen, sample_weight=weight), rtol=1e-12)
    assert report.figures == pytest.approx(
        {
            "loss": report.figures["loss"],
            "accuracy": sk.accuracy_score(truth, chosen, sample_weight=weight),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, chosen, sample_weight=weight),
        }
    )


def test_a_report_of_numbers_has_each_target_and_the_worst_rows() -> None:
    x = RNG.normal(size=(N, 2))
    y = x + RNG.normal(size=(N, 2)) * [0.1, 10.0]
    x[7, 0] += 40
    net = passing(2)
    net.metadata["targets"] = ["height", "width"]
    report = net.report(x, y, loss="mse", worst=2)
    assert report.figures["rmse"] == pytest.approx(
        np.mean([sk.root_mean_squared_error(y[:, i], x[:, i]) for i in (0, 1)])
    )
    assert report.figures["r2"] == pytest.approx(sk.r2_score(y, x))
    assert column(report, "target") == ["height", "width"]
    np.testing.assert_allclose(column(report, "mae"), np.abs(x - y).mean(axis=0))
    assert report.worst is not None
    assert len(report.worst.rows) == 2
    assert report.worst.rows[0] == (7, "height", y[7, 0], x[7, 0], pytest.approx(x[7, 0] - y[7, 0]))


def test_several_labels_have_figures_each_and_no_matrix() -> None:
    x, y = RNG.normal(size=(N, 3)), RNG.integers(0, 2, (N, 3))
    report = passing(3).report(x, y, loss=tn.BinaryCrossEntropy(from_logits=True))
    assert report.confusion is None
    np.testing.assert_allclose(column(report, "recall"), sk.recall_score(y, x >= 0, average=None))
    assert len(report.plot().axes) == 1


def test_the_task_can_be_said() -> None:
    x, y = RNG.normal(size=(N, 1)), RNG.integers(0, 2, (N, 1))
    net = passing(1)
    assert "accuracy" in net.report(x, y, loss="mse").figures  # 0 and 1 throughout.
    assert "r2" in net.report(x, y, loss="mse", task="regression").figures
    with pytest.raises(ValueError, match="is for classes"):
        net.report(x, x, loss="mse", task="classification")
    with pytest.raises(ValueError, match="names must have one for each of 2 classes"):
        net.report(x, y, loss="mse", names=["a"])


def test_reliability_is_the_calibration_curve_of_scikit_learn() -> None:
    probable = RNG.random((N, 1))
    came = RNG.random(N) < probable[:, 0]
    said, true = claims(probable, came.astype(int))
    means, shares = reliability(said, true)
    expected_shares, expected_means = calibration_curve(came, probable[:, 0], n_bins=10)
    np.testing.assert_allclose(means, expected_means)
    np.testing.assert_allclose(shares, expected_shares)
    three = RNG.dirichlet(np.ones(3), N)
    said, true = claims(three, np.zeros(N, int))
    assert said.tolist() == three.max(axis=1).tolist()
    assert true.tolist() == (three.argmax(axis=1) == 0).tolist()


def test_reports_are_text_html_and_plots(tmp_path: Path) -> None:
    net = passing(2, tn.Softmax())
    net.metadata["classes"] = ["<oak>", "elm"]
    report = net.report(RNG.normal(size=(N, 2)), RNG.integers(0, 2, N), loss=tn.CrossEntropy(from_logits=False))
    text, page = str(report), report._repr_html_()
    assert text.startswith(f"rows              {N}\nloss ")
    assert "confusion (rows are true, columns predicted):\n       <oak>  elm\n" in text
    assert "&lt;oak&gt;" in page
    assert "<oak>" not in page
    matrix, curve = report.plot(tmp_path / "c.svg").axes
    assert [label.get_text() for label in matrix.get_xticklabels()] == ["<oak>", "elm"]
    assert len(curve.lines) == 2
    numbers = passing(2).report(RNG.normal(size=(N, 2)), RNG.normal(size=(N, 2)), loss="mse")
    assert len(numbers.plot(tmp_path / "n.png").axes) == 4
    assert all(path.stat().st_size > 1000 for path in tmp_path.iterdir())


def test_a_report_of_an_ensemble_is_of_the_mean_of_its_models() -> None:
    rng = np.random.default_rng(0)
    x, y, classes = rng.normal(size=(30, 2)), rng.normal(size=(30, 1)), rng.integers(0, 3, 30)
    numbers = tn.Ensemble(tn.Sequential(tn.Linear(2, 1), backend="numpy"), 4)
    numbers.fit(x, y, epochs=1)
    report = numbers.report(x, y)
    assert report.figures["mae"] == pytest.approx(np.abs(numbers.mean(x) - y).mean(), rel=1e-5)
    assert report.figures["loss"] == pytest.approx(numbers.evaluate(x, y)["loss"].mean())
    kinds = tn.Ensemble(tn.Sequential(tn.Linear(2, 3), backend="numpy"), 4)
    kinds.fit(x, classes, loss="cross_entropy", epochs=1)
    z = kinds.predict(x).astype(float)
    p = (np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)).mean(axis=0)
    assert kinds.report(x, classes).figures["accuracy"] == pytest.approx((p.argmax(axis=1) == classes).mean())
