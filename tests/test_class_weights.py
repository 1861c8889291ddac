"""Class weights act on training only, sample weights on both; what they mean, the loss tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_sample_weight

import tinynet as tn

RNG = np.random.default_rng(3)
N = 60
X = RNG.normal(size=(N, 3))
CLASSES = np.concatenate([[0, 1, 2], RNG.integers(0, 3, N - 3)])
BITS = (CLASSES > 0).astype(int)
WEIGHT = RNG.uniform(0.1, 2.0, N)
BCE = tn.BinaryCrossEntropy(from_logits=True)


def network(n_out: int = 1, *, backend: str = "numpy", dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, n_out), seed=0, backend=backend, dtype=dtype)


def trained(n_out: int, y: Any, **options: Any) -> tuple[tn.Sequential, tn.History]:
    net = network(n_out)
    return net, net.fit(X, y, epochs=3, batch_size=16, optimizer="sgd", **options)


# Outputs, targets, loss, and the class of each sample.
TARGETS: dict[str, tuple[int, Any, Any, np.ndarray]] = {
    "class numbers": (3, CLASSES, "cross_entropy", CLASSES),
    "one-hot rows": (3, np.eye(3)[CLASSES], "cross_entropy", CLASSES),
    "one-hot rows, mse": (3, np.eye(3)[CLASSES], "mse", CLASSES),
    "0 and 1": (1, BITS, BCE, BITS),
    "0 and 1, mse": (1, BITS, "mse", BITS),
    "-1 and 1": (1, 2 * BITS - 1, "mse", 2 * BITS - 1),
    "whole numbers": (1, 10 * CLASSES, "huber", 10 * CLASSES),
}


@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("kind", ["balanced", "some"])
@pytest.mark.parametrize(("n_out", "y", "loss", "classes"), TARGETS.values(), ids=TARGETS.keys())
def test_class_weights_are_factors_of_the_samples(
    n_out: int, y: Any, loss: Any, classes: np.ndarray, kind: str, sample_weight: Any
) -> None:
    weight: Any = "balanced" if kind == "balanced" else {int(classes.max()): 3.0, np.int64(classes.min()): 0.5}
    every = "balanced" if kind == "balanced" else {int(c): weight.get(int(c), 1.0) for c in np.unique(classes)}
    factors = compute_sample_weight(every, classes) * (1.0 if sample_weight is None else sample_weight)
    net, history = trained(n_out, y, loss=loss, class_weight=weight, sample_weight=sample_weight)
    other, expected = trained(n_out, y, loss=loss, sample_weight=factors)
    np.testing.assert_array_equal(net.flat_parameters(), other.flat_parameters())
    assert history["loss"] == expected["loss"]


@pytest.mark.parametrize("weight", ["balanced", {0: 1.0, 1: 5.0}], ids=["balanced", "dict"])
def test_held_out_rows_count_the_same_however_they_are_handed_over(weight: Any) -> None:
    a, b = slice(0, 45), slice(45, N)
    options: dict[str, Any] = {"loss": BCE, "epochs": 3, "class_weight": weight, "metrics": ["accuracy", "log_loss"]}
    one, two, ensemble = network(), network(), tn.Ensemble(network(), 2)
    history = one.fit(X, BITS, validation_split=0.25, sample_weight=WEIGHT, **options)
    held = (X[b], BITS[b], WEIGHT[b])
    other = two.fit(X[a], BITS[a], validation_data=held, sample_weight=WEIGHT[a], **options)
    assert history.history == other.history
    np.testing.assert_array_equal(one.flat_parameters(), two.flat_parameters())
    many = ensemble.fit(X, BITS, validation_split=0.25, sample_weight=WEIGHT, **options)
    for name, values in history.history.items():
        np.testing.assert_allclose(many[name][:, 0], values, rtol=1e-12)
    last = one.evaluate(*held[:2], sample_weight=WEIGHT[b], metrics=["accuracy", "log_loss"])
    assert history["val_loss"][-1] == pytest.approx(last["loss"], rel=1e-12)
    z = one.predict(X[b])[:, 0]
    by_hand = np.mean(WEIGHT[b] * (np.logaddexp(0, z) - BITS[b] * z))
    assert history["val_loss"][-1] == pytest.approx(by_hand, rel=1e-12)
    assert history["val_accuracy"][-1] == last["accuracy"]


def test_metrics_see_sample_weights_and_no_class_weights() -> None:
    net = network()
    history = net.fit(X, BITS, loss=BCE, class_weight={1: 7.0}, sample_weight=WEIGHT, metrics="accuracy", epochs=2)
    right = (net.predict(X)[:, 0] >= 0) == BITS
    assert history["accuracy"][-1] == pytest.approx(np.average(right, weights=WEIGHT), rel=1e-12)


def test_metrics_of_an_ensemble_see_the_weights_of_each_model() -> None:
    models = tn.Ensemble(network(), 2)
    weights = np.stack([WEIGHT, RNG.uniform(0.1, 2.0, N)])
    history = models.fit(X, BITS, loss=BCE, sample_weight=weights, bootstrap=True, metrics="accuracy", epochs=2)
    measured = models.evaluate(X, BITS, metrics="accuracy", sample_weight=weights)["accuracy"]
    for i, model in enumerate(models):
        right = (model.predict(X)[:, 0] >= 0) == BITS
        assert measured[i] == pytest.approx(np.average(right, weights=weights[i]), rel=1e-12)
    np.testing.assert_array_equal(history["accuracy"][-1], measured)


def test_a_sweep_takes_class_weights_and_weighs_its_metrics() -> None:
    options: dict[str, Any] = {"loss": BCE, "class_weight": {1: 3.0}, "epochs": 3, "metrics": "accuracy"}
    held = (X[40:], BITS[40:], WEIGHT[40:])
    result = tn.sweep(network, {"learning_rate": [0.1]}, X[:40], BITS[:40], validation_data=held, **options)
    net = network()
    history = net.fit(X[:40], BITS[:40], optimizer=tn.Adam(0.1), validation_data=held, **options)
    assert result.table["val_loss"][0] == pytest.approx(history["val_loss"][-1], rel=1e-12)
    assert result.table["val_accuracy"][0] == history["val_accuracy"][-1]
    assert result.losses()[:, 0] == pytest.approx(history["loss"], rel=1e-12)


def test_a_sweeps_folder_is_of_its_class_weights(tmp_path: Any) -> None:
    options: dict[str, Any] = {"loss": BCE, "folder": tmp_path / "s"}
    tn.sweep(network, {"learning_rate": [0.1]}, X, BITS, class_weight="balanced", **options)
    with pytest.raises(ValueError, match=r"its class_weight is 'balanced', here it is {'1': 2.0}"):
        tn.sweep(network, {"learning_rate": [0.1]}, X, BITS, class_weight={1: 2.0}, **options)


SEVERAL = np.eye(3)[CLASSES] + np.eye(3)[RNG.integers(0, 3, N)] > 0
SOFT = RNG.dirichlet(np.ones(3), N)
REFUSED: dict[str, tuple[int, Any, dict[str, Any], type[Exception], str]] = {
    "several labels": (
        3,
        SEVERAL,
        {"loss": BCE, "class_weight": "balanced"},
        ValueError,
        "got several labels, as Binary",
    ),
    "several numbers": (3, X, {"class_weight": {0: 1.0}}, ValueError, "got several numbers of y. Weigh the samples"),
    "a number that is not whole": (1, X[:, :1], {"class_weight": {0: 1.0}}, ValueError, "is not whole"),
    "probabilities": (
        3,
        SOFT,
        {"loss": "cross_entropy", "class_weight": {0: 2.0}},
        ValueError,
        "rows of probabilities",
    ),
    "half a label": (1, BITS / 2, {"loss": BCE, "class_weight": {0: 2.0}}, ValueError, "expects classes 0 and 1"),
    "beyond float32": (
        1,
        BITS,
        {"loss": BCE, "class_weight": {1: 1e39}},
        ValueError,
        r"class_weight\[1\] must fit into f",
    ),
    "beyond float32 together": (
        1,
        BITS,
        {"loss": BCE, "class_weight": {1: 1e30}, "sample_weight": np.full(N, 1e30)},
        ValueError,
        "class_weight times sample_weight must fit into float32",
    ),
    "huge class numbers": (1, BITS * 10**10, {"class_weight": "balanced"}, ValueError, "up to 16777216.*got 1e\\+10"),
    "a list": (
        3,
        CLASSES,
        {"loss": "cross_entropy", "class_weight": [1, 2, 3]},
        TypeError,
        r"dict\(enumerate\(weights\)",
    ),
    "a word": (1, BITS, {"loss": BCE, "class_weight": "fair"}, ValueError, "must be a dict or 'balanced'; got 'fair'"),
    "a class that there is not": (
        1,
        BITS,
        {"loss": BCE, "class_weight": {2: 1.0}},
        ValueError,
        "class 2; y has the classes",
    ),
    "negative": (1, BITS, {"loss": BCE, "class_weight": {1: -1.0}}, ValueError, r"class_weight\[1\] must be .* >= 0"),
    "NaN": (
        1,
        BITS,
        {"loss": BCE, "class_weight": {1: np.nan}},
        ValueError,
        r"class_weight\[1\] must be a finite number",
    ),
    "no number": (1, BITS, {"loss": BCE, "class_weight": {1: "a"}}, TypeError, r"class_weight\[1\] must be a number"),
    "all zero": (1, BITS, {"loss": BCE, "class_weight": {0: 0, 1: 0}}, ValueError, "class_weight must not be all zero"),
    "below float32": (1, BITS, {"loss": BCE, "class_weight": {0: 1e-60, 1: 0}}, ValueError, "must not be all zero"),
    "all zero together": (
        1,
        BITS,
        {"loss": BCE, "class_weight": {0: 0}, "sample_weight": 1.0 - BITS},
        ValueError,
        "class_weight times sample_weight must not be all zero",
    ),
    "nothing to train on": (
        1,
        BITS,
        {"loss": BCE, "sample_weight": np.arange(N) // 45, "validation_split": 0.25},
        ValueError,
        "sample_weight of what validation_split trains on must not be all zero",
    ),
    "nothing to validate on": (
        1,
        BITS,
        {"loss": BCE, "sample_weight": 1 - np.arange(N) // 45, "validation_split": 0.25},
        ValueError,
        "sample_weight of what validation_split holds out must not be all zero",
    ),
}


@pytest.mark.parametrize(("n_out", "y", "options", "error", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("many", [False, True], ids=["model", "ensemble"])
def test_weights_that_mean_nothing_are_refused(
    n_out: int, y: Any, options: dict[str, Any], error: type[Exception], message: str, many: bool
) -> None:
    net: Any = network(n_out, dtype="float32")
    net = tn.Ensemble(net, 2) if many else net
    before = [weight.tobytes() for weight in net.get_weights()]
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    assert [weight.tobytes() for weight in net.get_weights()] == before


@pytest.mark.parametrize("name", ["several labels", "a list", "all zero", "nothing to train on"])
def test_a_sweep_refuses_them_before_it_trains(name: str, tmp_path: Any) -> None:
    n_out, y, options, error, _ = REFUSED[name]
    with pytest.raises(error, match=r"class_weight|sample_weight"):
        tn.sweep(lambda: network(n_out), {"learning_rate": [0.1]}, X, y, folder=tmp_path / "s", **options)
    assert not (tmp_path / "s").exists()


def test_a_bootstrap_sample_without_weight_is_refused() -> None:
    models, weight = tn.Ensemble(network(), 3), np.zeros(N)
    out = models.bootstrap_weights(N) == 0
    weight[np.flatnonzero(out[1])[0]] = 1.0
    with pytest.raises(ValueError, match=r"bootstrap draws must not be all zero; got 0 .* for model \d"):
        models.fit(X, BITS, loss=BCE, sample_weight=weight, bootstrap=True)


def test_a_class_may_be_named_that_only_other_data_have() -> None:
    some = CLASSES < 2
    net = network(3)
    net.fit(X[some], CLASSES[some], loss="cross_entropy", class_weight={0: 1.0, 1: 2.0, 2: 5.0})


@pytest.mark.filterwarnings("ignore::tinynet.ScaleWarning")
def test_classes_that_float64_tells_apart() -> None:
    y = np.where(BITS, 2.0**30 + 1, 2.0**30)
    network(1, dtype="float64").fit(X, y, loss="mae", class_weight={2**30: 2.0})
    with pytest.raises(ValueError, match="up to 16777216"):
        network(1, dtype="float32").fit(X, y, loss="mae", class_weight={2**30: 2.0})


class Plain(tn.Loss):
    """A loss of the user's that takes no weights."""

    targets = "labels"
    from_logits = True

    def forward(self, prediction: Any, target: Any) -> float:
        return float(np.mean((prediction - target) ** 2))

    def backward(self, prediction: Any, target: Any) -> Any:
        return 2 * (prediction - target) / prediction.size


class Weighing(Plain):
    """The same, which takes some."""

    takes_sample_weight = True

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        weight = 1.0 if sample_weight is None else sample_weight[:, None]
        return float(np.mean(weight * (prediction - target) ** 2))

    def backward(self, prediction: Any, target: Any, sample_weight: Any = None) -> Any:
        weight = 1.0 if sample_weight is None else sample_weight[:, None]
        return 2 * weight * (prediction - target) / prediction.size


def test_a_loss_of_the_users_tells_what_classes_are() -> None:
    with pytest.raises(ValueError, match="takes no sample weights"):
        network().fit(X, BITS, loss=Plain(), class_weight="balanced")
    net, _ = trained(1, BITS, loss=Weighing(), class_weight={1: 4.0})
    other, _ = trained(1, BITS, loss=Weighing(), sample_weight=1.0 + 3.0 * BITS)
    np.testing.assert_array_equal(net.flat_parameters(), other.flat_parameters())


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_weights_reach_the_backend(backend: str) -> None:
    calls: list[Callable[[tn.Sequential], Any]] = [
        lambda net: net.fit(X, BITS, loss="mse", optimizer="sgd", class_weight={1: 4.0}),
        lambda net: net.fit(X, BITS, loss="mse", optimizer="sgd", sample_weight=1.0 + 3.0 * BITS),
    ]
    nets = [network(backend=backend, dtype="float32") for _ in calls]
    for call, net in zip(calls, nets, strict=True):
        call(net)
    np.testing.assert_array_equal(nets[0].flat_parameters(), nets[1].flat_parameters())
