"""Label smoothing: losses are of smoothed targets, metrics and class weights of those that are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(0)
X, CLASSES = RNG.normal(size=(30, 3)), RNG.integers(0, 4, 30)
BITS = RNG.integers(0, 2, (30, 4)).astype(float)


def network(backend: str, *ending: tn.Layer, dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 4), *ending, seed=1, dtype=dtype, backend=backend)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [False, True], ids=["numbers", "rows"])
def test_cross_entropy_is_pytorchs(rows: bool, reduction: Any, backend: str) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    z, t = RNG.normal(size=(30, 4)), RNG.dirichlet(np.ones(4), 30) if rows else CLASSES
    given = torch.tensor(z, requires_grad=True)
    options: Any = {"label_smoothing": 0.2, "reduction": reduction}
    expected = torch.nn.functional.cross_entropy(given, torch.tensor(t), **options)
    expected.backward()
    loss = tn.CrossEntropy(**options)
    with tn.use_backend(backend):
        assert loss(z, t) == pytest.approx(expected.item(), rel=1e-13)
        np.testing.assert_allclose(loss.backward(z, t), given.grad.numpy(), rtol=1e-10, atol=1e-14)


def test_binary_cross_entropy_is_that_of_labels_drawn_to_the_middle(backend: str) -> None:
    z = RNG.normal(size=(30, 4))
    smooth = tn.BinaryCrossEntropy(from_logits=True, label_smoothing=0.3)
    with tn.use_backend(backend):
        assert smooth(z, BITS) == pytest.approx(tn.BinaryCrossEntropy(from_logits=True)(z, 0.7 * BITS + 0.15))


@pytest.mark.parametrize(
    ("y", "loss", "ending"),
    [
        (CLASSES, tn.CrossEntropy(label_smoothing=0.1), []),
        (CLASSES, tn.CrossEntropy(from_logits=False, label_smoothing=0.1), [tn.Softmax]),
        (BITS, tn.BinaryCrossEntropy(label_smoothing=0.1), [tn.Sigmoid]),
    ],
    ids=["logits", "softmax", "sigmoid"],
)
def test_training_is_on_smoothed_targets_and_metrics_see_those_that_are_given(
    y: Any, loss: tn.Loss, ending: list[type[tn.Layer]], backend: str, tmp_path: Path
) -> None:
    weights = []
    rows = np.eye(4)[y] if y.ndim == 1 else y
    for target, chosen in (
        (y, loss),
        (rows * 0.9 + 0.1 / (4 if y.ndim == 1 else 2), type(loss)(from_logits=loss.from_logits)),
    ):
        net = network(backend, *(layer() for layer in ending))
        history = net.fit(X, target, loss=chosen, epochs=3, batch_size=7, metrics=["accuracy", "log_loss"])
        weights.append(net.flat_parameters())
        if target is y:
            plain = net.evaluate(X, y, loss=type(loss)(from_logits=loss.from_logits), metrics=["accuracy", "log_loss"])
            assert history["accuracy"][-1] == plain["accuracy"]
            assert history["log_loss"][-1] == pytest.approx(plain["log_loss"])
            assert net.evaluate(X, y)["loss"] != plain["loss"]
            net.save(tmp_path / "net.npz")
            assert repr(tn.load(tmp_path / "net.npz").loss) == repr(loss)
    np.testing.assert_allclose(*weights, rtol=1e-9)


def test_class_weights_count_the_classes_that_are_given_and_validation_is_smoothed_too(backend: str) -> None:
    models, loss = tn.Ensemble(network(backend), 2), tn.CrossEntropy(label_smoothing=0.1)
    options: Any = {"epochs": 2, "batch_size": 8, "validation_split": 0.2}
    history = models.fit(X, CLASSES, loss=loss, class_weight="balanced", metrics="accuracy", **options)
    found = models.evaluate(X[24:], CLASSES[24:], metrics="accuracy")
    np.testing.assert_allclose(history["val_loss"][-1], found["loss"])
    np.testing.assert_array_equal(history["val_accuracy"][-1], found["accuracy"])
    weights, counts = dict.fromkeys(range(4), 0.0), np.bincount(CLASSES[:24], minlength=4)
    weights |= {c: 24 / (np.count_nonzero(counts) * n) for c, n in enumerate(counts) if n}
    again = tn.Ensemble(network(backend), 2).fit(X, CLASSES, loss=loss, class_weight=weights, **options)
    np.testing.assert_allclose(again["loss"], history["loss"])


def test_gradients_are_those_of_central_differences() -> None:
    loss = tn.CrossEntropy(label_smoothing=0.2)
    assert tn.gradient_check(network("numpy"), X[:5], CLASSES[:5], loss=loss).passed


@pytest.mark.parametrize("value", [-0.1, 1.0, "much"])
def test_other_shares_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="label_smoothing"):
        tn.CrossEntropy(label_smoothing=value)


def test_poisson_differs_from_pytorchs_by_what_the_targets_alone_make() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    z, t = RNG.normal(size=(9, 2)), RNG.gamma(2.0, size=(9, 2))
    t[0] = 0
    given = torch.tensor(z, requires_grad=True)
    expected = torch.nn.functional.poisson_nll_loss(given, torch.tensor(t))
    expected.backward()
    own = t * np.log(np.where(t > 0, t, 1)) - t
    assert tn.PoissonLoss()(z, t) == pytest.approx(expected.item() + own.mean(), rel=1e-13)
    np.testing.assert_allclose(tn.PoissonLoss().backward(z, t), given.grad.numpy(), rtol=1e-11)
