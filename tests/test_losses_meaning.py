"""What losses know of targets, and what they refuse because of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.losses import Meaning

X = np.random.default_rng(0).normal(size=(12, 3))
LABELS = np.arange(12) % 3
BITS = LABELS % 2


def network(*ends: tn.Layer, n_out: int = 1) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, n_out), *ends, seed=0, backend="numpy")


class Focal(tn.Loss):
    """A loss of the user's, on whatever the network ends in."""

    def forward(self, prediction: Any, target: Any) -> float:
        return float(np.mean((prediction - target) ** 4))

    def backward(self, prediction: Any, target: Any) -> Any:
        return 4 * (prediction - target) ** 3 / prediction.size


class FocalOnLogits(Focal):
    """The same, which tells what it takes."""

    targets = "labels"
    from_logits = True


ONE_HOT, SEVERAL, REAL = np.eye(3), np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([[0.5, 1.0]])
COLUMN = np.array([[0.0], [1.0], [1.0]])
MEANINGS: dict[str, tuple[tn.Loss, np.ndarray, tuple[tn.Layer, ...], Meaning]] = {
    "class numbers": (tn.CrossEntropy(), LABELS, (), Meaning("classes", "logits")),
    "class numbers, softmax": (tn.CrossEntropy(False), LABELS, (tn.Softmax(),), Meaning("classes", "probabilities")),
    "rows": (tn.CrossEntropy(), ONE_HOT, (), Meaning("classes", "logits")),
    "one label": (tn.BinaryCrossEntropy(), COLUMN, (tn.Sigmoid(),), Meaning("labels", "probabilities")),
    "logits of one label": (tn.BinaryCrossEntropy(True), COLUMN, (), Meaning("labels", "logits")),
    "several labels": (tn.BinaryCrossEntropy(True), SEVERAL, (), Meaning("labels", "logits")),
    "one-hot rows are labels to it": (tn.BinaryCrossEntropy(True), ONE_HOT, (), Meaning("labels", "logits")),
    "numbers": (tn.MeanSquaredError(), REAL, (), Meaning("numbers", "values")),
    "rows of 0 and 1 that are not one-hot": (tn.Huber(), SEVERAL, (), Meaning("numbers", "values")),
    "one-hot rows": (tn.MeanAbsoluteError(), ONE_HOT, (), Meaning("classes", "values")),
    "one-hot rows, softmax": (tn.MeanSquaredError(), ONE_HOT, (tn.Softmax(),), Meaning("classes", "probabilities")),
    "one-hot rows, sigmoid": (tn.MeanSquaredError(), ONE_HOT, (tn.Sigmoid(),), Meaning("classes", "values")),
    "0 and 1": (tn.MeanSquaredError(), COLUMN, (), Meaning("labels", "values")),
    "0 and 1, sigmoid": (tn.MeanSquaredError(), COLUMN, (tn.Sigmoid(),), Meaning("labels", "probabilities")),
    "-1 and 1": (tn.MeanSquaredError(), 2 * COLUMN - 1, (), Meaning("numbers", "values")),
    "counts": (tn.PoissonLoss(), COLUMN, (), Meaning("numbers", "logarithms")),
    "counts, exp": (tn.PoissonLoss(), COLUMN, (tn.Exp(),), Meaning("numbers", "values")),
    "a loss in Python": (Focal(), COLUMN, (), Meaning("labels", "unknown")),
    "a loss in Python, sigmoid": (Focal(), COLUMN, (tn.Sigmoid(),), Meaning("labels", "probabilities")),
    "a loss in Python that tells": (FocalOnLogits(), COLUMN, (), Meaning("labels", "logits")),
}


@pytest.mark.parametrize(("loss", "target", "ends", "meaning"), MEANINGS.values(), ids=MEANINGS.keys())
def test_a_loss_tells_what_targets_and_outputs_mean(
    loss: tn.Loss, target: np.ndarray, ends: tuple[tn.Layer, ...], meaning: Meaning
) -> None:
    n_out = 3 if target.ndim == 1 else target.shape[1]
    ops = network(*[end.fresh_copy() for end in ends], tn.Identity(), n_out=n_out).program.ops
    assert loss.meaning(target, ops) == meaning


Z = np.array([[-2.0, 0.5], [1000.0, -1000.0]])
EXPECTED: dict[str, tuple[Meaning, np.ndarray]] = {
    "values": (Meaning("numbers", "values"), Z),
    "logarithms": (Meaning("numbers", "logarithms"), np.exp(Z / 100)),
    "labels": (Meaning("labels", "logits"), np.array([[1 / (1 + np.exp(2)), 1 / (1 + np.exp(-0.5))], [1.0, 0.0]])),
    "classes": (Meaning("classes", "logits"), np.array([[1 / (1 + np.exp(2.5)), 1 / (1 + np.exp(-2.5))], [1.0, 0.0]])),
}


@pytest.mark.parametrize(("meaning", "expected"), EXPECTED.values(), ids=EXPECTED.keys())
def test_outputs_become_what_is_expected(meaning: Meaning, expected: np.ndarray) -> None:
    z = Z / 100 if meaning.scale == "logarithms" else Z
    np.testing.assert_allclose(meaning.expected(z.astype(np.float32)), expected, rtol=1e-6, atol=1e-300)


def test_likelier_classes_and_labels() -> None:
    z = np.array([[-0.1, 0.4], [0.6, 0.5]])
    assert Meaning("classes", "logits").decided(z).tolist() == [1, 0]
    assert Meaning("labels", "logits").decided(z).tolist() == [[False, True], [True, True]]
    assert Meaning("labels", "probabilities").decided(z).tolist() == [[False, False], [True, True]]
    with pytest.raises(ValueError, match="does not say which of them"):
        Meaning("labels", "unknown").decided(z)


BCE, CE = tn.BinaryCrossEntropy, tn.CrossEntropy
REFUSED: dict[str, tuple[Any, Callable[[], tn.Sequential], Any, str]] = {
    "bce after Linear": (
        "bce",
        network,
        BITS,
        r"ends in Linear, .*Add tn.Sigmoid\(\).*Entropy\(from_logits=True",
    ),
    "bce after Tanh": ("bce", lambda: network(tn.Tanh()), BITS, "ends in tanh"),
    "bce after ReLU": ("bce", lambda: network(tn.ReLU(), tn.Identity()), BITS, "ends in relu"),
    "bce after Dropout": ("bce", lambda: network(tn.Sigmoid(), tn.Dropout(0.5)), BITS, "ends in Dropout"),
    "cross-entropy after Linear": (CE(False), lambda: network(n_out=3), LABELS, r"ends in Linear.*Add tn.Softmax\(\)"),
    "cross-entropy after Sigmoid": (CE(False), lambda: network(tn.Sigmoid(), n_out=3), LABELS, "ends in sigmoid"),
    "logits after Sigmoid": (BCE(True), lambda: network(tn.Sigmoid()), BITS, "Remove the Sigmoid layer"),
    "logits after Softmax": (CE(), lambda: network(tn.Softmax(), n_out=3), LABELS, "Remove the Softmax layer"),
    "class numbers, mse": (
        "mse",
        lambda: network(n_out=3),
        LABELS,
        r"MeanSquaredError expects y of shape \(batch, 3\), a number for each.*got \(12,\).*cross_entropy.*eye\(3\)",
    ),
    "a column for three outputs": ("mae", lambda: network(n_out=3), LABELS[:, None], r"got \(12, 1\)\. If y has class"),
    "class numbers, several labels": (BCE(True), lambda: network(n_out=3), LABELS, r"BinaryCrossEntropy expects y of"),
    "huge class numbers": (CE(), lambda: network(n_out=3), LABELS * 1e30, r"must lie in 0\.\.2.*got 2e\+30"),
    "class numbers beyond int64": (
        CE(),
        lambda: network(n_out=3),
        np.full(12, 2**64 - 1, np.uint64),
        "1.8446744073709552e",
    ),
}


@pytest.mark.parametrize(("loss", "make", "y", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("use", ["fit", "evaluate", "ensemble", "sweep", "gradient_check"])
def test_what_does_not_go_together_is_refused(
    loss: Any, make: Callable[[], tn.Sequential], y: Any, message: str, use: str
) -> None:
    net = make()
    before = net.flat_parameters().tobytes()
    uses: dict[str, Callable[[], Any]] = {
        "fit": lambda: net.fit(X, y, loss=loss),
        "evaluate": lambda: net.evaluate(X, y, loss=loss),
        "ensemble": lambda: tn.Ensemble(net, 2).fit(X, y, loss=loss),
        "sweep": lambda: tn.sweep(make, {"learning_rate": [0.1]}, X, y, loss=loss),
        "gradient_check": lambda: tn.gradient_check(net, X, y, loss=loss),
    }
    with pytest.raises(ValueError, match=message):
        uses[use]()
    assert net.flat_parameters().tobytes() == before


def test_probabilities_of_a_layer_of_the_users_are_taken() -> None:
    class Squash(tn.Layer):
        def forward(self, x: Any) -> Any:
            self.y = 0.5 + x / (2 + 2 * np.abs(x))
            return self.y

        def backward(self, grad: Any) -> Any:
            return grad * 0.5 * (1 - np.abs(2 * self.y - 1)) ** 2

    history = network(Squash()).fit(X, BITS, loss="bce", epochs=2)
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("base", [tn.BinaryCrossEntropy, tn.CrossEntropy, tn.PoissonLoss, tn.MeanSquaredError])
def test_a_subclass_with_a_forward_of_its_own_is_trained_by_it(base: type[tn.Loss]) -> None:
    class Mine(base):  # type: ignore[valid-type, misc]
        def forward(self, prediction: Any, target: Any) -> float:
            return 7.0

        def backward(self, prediction: Any, target: Any) -> Any:
            return np.zeros_like(prediction)

    y = LABELS if base is tn.CrossEntropy else np.eye(3)[LABELS]
    history = network(n_out=3).fit(X, y, loss=Mine(), epochs=2)
    assert history["loss"] == [7.0, 7.0]
    assert history.plan == "loop: custom loss Mine"


def test_weights_that_round_to_nothing_are_refused() -> None:
    net = network()
    with pytest.raises(ValueError, match=r"sample_weight must not be all zero in float32.*got 1e-60 to 1e-60"):
        net.fit(X, X[:, :1], sample_weight=np.full(12, 1e-60))
    tn.Sequential(tn.Linear(3, 1), dtype="float64", backend="numpy").fit(X, X[:, :1], sample_weight=np.full(12, 1e-60))


class Doubled(tn.MeanSquaredError):
    """Twice the loss that it is a subclass of."""

    def forward(self, prediction: Any, target: Any) -> float:
        return 2 * super().forward(prediction, target)


class DoubledWhole(Doubled):
    """The same, with the gradient that belongs to it."""

    def backward(self, prediction: Any, target: Any) -> Any:
        return 2 * super().backward(prediction, target)


def test_a_loss_may_be_written_upon_another() -> None:
    y = X[:, :1]
    assert network().evaluate(X, y, loss=DoubledWhole())["loss"] == pytest.approx(
        2 * network().evaluate(X, y, loss="mse")["loss"]
    )
    assert tn.gradient_check(network(), X, y, loss=DoubledWhole()).passed


def test_a_loss_without_a_gradient_of_its_own_is_refused() -> None:
    with pytest.raises(
        NotImplementedError, match=r"Doubled expects a backward\(prediction, target\) beside its forward"
    ):
        network().fit(X, X[:, :1], loss=Doubled())
