"""Bad input: a clear error, and the model as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn

X = np.random.default_rng(0).normal(size=(10, 4))
Y = np.random.default_rng(1).normal(size=(10, 3))
LABELS = np.arange(10) % 3


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed[3, 1] = value
    return changed


FIT: dict[str, tuple[Any, Any, dict[str, Any], type[Exception], str]] = {
    "columns": (X[:, :3], Y, {}, ValueError, r"Linear\(4, 5\) expects x of shape \(batch, 4\); got \(10, 3\)\. Check"),
    "1-D x": (X[:, 0], Y, {}, ValueError, r"1-D shape \(10,\)\. Use x.reshape\(-1, 1\)"),
    "3-D x": (X[None], Y, {}, ValueError, r"got \(1, 10, 4\)"),
    "empty": (X[:0], Y[:0], {}, ValueError, "at least one sample"),
    "lengths": (X, Y[:9], {}, ValueError, "as many samples as each other; got 10 and 9"),
    "NaN in x": (with_value(X, np.nan), Y, {}, ValueError, "x must be finite; got nan in row 3, column 1"),
    "inf in x": (with_value(X, np.inf), Y, {}, ValueError, "x must be finite; got inf in row 3, column 1"),
    "NaN in y": (X, with_value(Y, np.nan), {}, ValueError, "y must be finite; got nan in row 3, column 1"),
    "inf in y": (X, with_value(Y, -np.inf), {}, ValueError, "y must be finite; got -inf"),
    "objects": (np.full((10, 4), object()), Y, {}, TypeError, "x must hold real numbers; got Python objects"),
    "complex": (X + 1j, Y, {}, TypeError, "got complex numbers.*two columns"),
    "strings": (np.full((10, 4), "a"), Y, {}, TypeError, "got strings"),
    "dates": (np.full((10, 4), np.datetime64("2020-01-01")), Y, {}, TypeError, "got dates.*seconds"),
    "complex y": (X, Y * 1j, {}, TypeError, "y must hold real numbers"),
    "string y": (
        X,
        np.full((10, 3), "a"),
        {},
        TypeError,
        r"y must hold real numbers; got strings .*np\.unique\(labels",
    ),
    "images": (np.zeros((10, 2, 2)), Y, {}, ValueError, r"reshape\(len\(x\), -1\) for a row of each sample"),
    "ragged": ([[1, 2, 3, 4], [1, 2]], Y[:2], {}, ValueError, "rows of different lengths"),
    "masked x": (np.ma.masked_array(X, X > 1), Y, {}, TypeError, "masked array"),
    "masked y": (X, np.ma.masked_array(Y, Y > 1), {}, TypeError, "masked array"),
    "None in x": ([[None, 1, 2, 3]], Y[:1], {}, ValueError, "missing values"),
    "too large": (X * 1e300, Y, {}, ValueError, "must fit into float32.*float64"),
    "y columns": (X, Y[:, :2], {}, ValueError, r"expects y of shape \(batch, 3\); got \(10, 2\)"),
    "label too large": (X, LABELS + 1, {"loss": "cross_entropy"}, ValueError, r"0\.\.2.*got 3"),
    "label negative": (X, LABELS - 1, {"loss": "cross_entropy"}, ValueError, r"0\.\.2.*got -1"),
    "label not whole": (X, LABELS + 0.5, {"loss": "cross_entropy"}, ValueError, "whole numbers; got 0.5"),
    "not one-hot": (X, Y, {"loss": "cross_entropy"}, ValueError, "rows of y that are probabilities"),
    "not in [0, 1]": (X, Y, {"loss": tn.BinaryCrossEntropy(from_logits=True)}, ValueError, r"targets in \[0, 1\]"),
    "batch_size 0": (X, Y, {"batch_size": 0}, ValueError, "batch_size must be a whole number >= 1; got 0"),
    "batch_size 2.5": (X, Y, {"batch_size": 2.5}, TypeError, "batch_size must be a whole number; got 2.5"),
    "epochs 0": (X, Y, {"epochs": 0}, ValueError, "epochs must be a whole number >= 1; got 0"),
    "epochs -1": (X, Y, {"epochs": -1}, ValueError, "epochs must be a whole number >= 1; got -1"),
    "shuffle": (X, Y, {"shuffle": "often"}, ValueError, "shuffle must be True, False or 'replacement'"),
    "verbose": (X, Y, {"verbose": 7}, ValueError, "verbose must be 0, 1 or 2"),
    "loss": (X, Y, {"loss": "msee"}, ValueError, "loss must be one of.*'mse'.*got 'msee'"),
    "optimizer": (X, Y, {"optimizer": "sdg"}, ValueError, "optimizer must be one of.*'sgd'.*got 'sdg'"),
    "metric": (X, Y, {"metrics": ["acc"]}, ValueError, "metric must be one of 'accuracy'.*got 'acc'"),
    "callback": (X, Y, {"callbacks": [print]}, TypeError, "callbacks must be Callback objects"),
    "weights shape": (X, Y, {"sample_weight": np.ones(9)}, ValueError, r"shape \(10,\).*got \(9,\)"),
    "weights negative": (X, Y, {"sample_weight": -np.ones(10)}, ValueError, "not be negative"),
    "weights NaN": (X, Y, {"sample_weight": np.full(10, np.nan)}, ValueError, "sample_weight must be finite"),
    "class_weight": (X, LABELS, {"loss": "cross_entropy", "class_weight": {7: 1.0}}, ValueError, "class 7; y has"),
    "validation": (X, Y, {"validation_data": X}, ValueError, r"validation_data must be \(x, y\)"),
    "validation columns": (X, Y, {"validation_data": (X[:, :2], Y)}, ValueError, r"got \(10, 2\)"),
    "both validations": (X, Y, {"validation_data": (X, Y), "validation_split": 0.1}, ValueError, "not both"),
    "split of 1": (X, Y, {"validation_split": 1.0}, ValueError, "validation_split must be"),
    "monitor": (X, Y, {"callbacks": [tn.EarlyStopping("val_loss")]}, ValueError, "monitors 'val_loss'"),
    "monitor of the second": (
        X,
        Y,
        {"callbacks": [tn.EMA(), tn.ReduceLROnPlateau("val_mae"), tn.LambdaCallback(on_epoch_end=print)]},
        ValueError,
        "ReduceLROnPlateau monitors 'val_mae'; this training reports loss, learning_rate",
    ),
    "monitor of lm": (X, Y, {"optimizer": "lm", "callbacks": [tn.EarlyStopping("r2")]}, ValueError, "reports loss"),
}


@pytest.mark.parametrize(("x", "y", "options", "error", "message"), FIT.values(), ids=FIT.keys())
def test_fit_refuses_and_leaves_the_model_as_it_was(
    x: Any, y: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    net = tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 3), seed=0, backend="numpy")
    before = net.flat_parameters().tobytes(), str(net.rng.bit_generator.state), net.loss
    with pytest.raises(error, match=message):
        net.fit(x, y, **options)
    assert (net.flat_parameters().tobytes(), str(net.rng.bit_generator.state), net.loss) == before
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("x", [X[:, :3], X[0], X[:0], with_value(X, np.nan), np.full((2, 4), "a")])
@pytest.mark.parametrize("method", ["predict", "forward", "__call__"])
def test_predict_refuses_what_fit_refuses(method: str, x: Any) -> None:
    net = tn.Sequential(tn.Linear(4, 5), backend="numpy")
    with pytest.raises((ValueError, TypeError)):
        getattr(net, method)(x)


CONSTRUCTIONS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "rate 0": (lambda: tn.SGD(0.0), ValueError, "learning_rate must be a finite number > 0; got 0.0"),
    "rate negative": (lambda: tn.Adam(-1.0), ValueError, "learning_rate must be a finite number > 0; got -1.0"),
    "rate NaN": (lambda: tn.RMSprop(float("nan")), ValueError, "learning_rate must be a finite number > 0; got nan"),
    "rate of no kind": (lambda: tn.AdamW("fast"), TypeError, "learning_rate must be a number; got 'fast'"),
    "momentum": (lambda: tn.SGD(0.1, momentum=1.0), ValueError, "momentum must be a finite number >= 0 and < 1"),
    "nesterov": (lambda: tn.SGD(0.1, nesterov=True), ValueError, "expects momentum > 0"),
    "beta1": (lambda: tn.Adam(beta1=1.0), ValueError, "beta1 must be"),
    "clip_norm": (lambda: tn.SGD(0.1, clip_norm=0.0), ValueError, "clip_norm must be a finite number > 0"),
    "dropout": (lambda: tn.Dropout(1.0), ValueError, "rate must be a finite number >= 0 and < 1; got 1.0"),
    "slope": (lambda: tn.LeakyReLU(-0.1), ValueError, "negative_slope must be a finite number >= 0; got -0.1"),
    "alpha": (lambda: tn.ELU(-1.0), ValueError, "alpha must be a finite number >= 0; got -1.0"),
    "width 0": (lambda: tn.Linear(0, 3), ValueError, "n_in must be a whole number >= 1; got 0"),
    "width 2.5": (lambda: tn.Linear(2.5, 3), TypeError, "n_in must be a whole number; got 2.5"),
    "init": (lambda: tn.Linear(2, 3, weight_init="xavier"), ValueError, "initializer must be one of.*'glorot'"),
    "reduction": (lambda: tn.MeanSquaredError("none"), ValueError, "reduction must be one of 'mean', 'sum'"),
    "delta": (lambda: tn.Huber(0.0), ValueError, "delta must be a finite number > 0"),
    "schedule": (lambda: tn.StepDecay(0.1, every=0), ValueError, "every must be a finite number > 0"),
    "mode": (lambda: tn.EarlyStopping(mode="up"), ValueError, "mode must be one of 'auto', 'max', 'min'"),
    "unit": (lambda: tn.Checkpoint("x", unit="hour"), ValueError, "unit must be one of 'epoch', 'update'"),
    "hook": (lambda: tn.LambdaCallback(on_epoch=print), ValueError, "hook must be one of.*'on_epoch_end'"),
    "no layers": (lambda: tn.Sequential(), ValueError, "at least one layer"),
    "no width": (lambda: tn.Sequential(tn.Sigmoid()), ValueError, "a layer with a width"),
    "neighbours": (
        lambda: tn.Sequential(tn.Linear(4, 5), tn.Tanh(), tn.Linear(6, 3)),
        ValueError,
        r"layer 2, Linear\(6, 3\), expects inputs of width 6; the layers before it give 5\. Make",
    ),
    "no layer": (lambda: tn.Sequential(tn.Linear(4, 5), "relu"), TypeError, "expects layers; got 'relu'"),
    "class": (lambda: tn.Sequential(tn.Linear(4, 5), tn.ReLU), TypeError, "Did you mean an instance"),
    "dtype": (lambda: tn.Sequential(tn.Linear(4, 5), dtype="int32"), ValueError, "dtype must be 'float32' or"),
    "float16": (lambda: tn.Sequential(tn.Linear(4, 5), dtype="float16"), ValueError, "dtype must be 'float32' or"),
    "backend": (
        lambda: tn.Sequential(tn.Linear(4, 5), backend="torch"),
        ValueError,
        "backend must be one of 'auto', 'cpu', 'cupy', 'gpu', 'numba', 'numpy'; got 'torch'",
    ),
}


@pytest.mark.parametrize(("make", "error", "message"), CONSTRUCTIONS.values(), ids=CONSTRUCTIONS.keys())
def test_settings_are_checked_when_they_are_given(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


def test_a_layer_cannot_be_in_two_models() -> None:
    layer = tn.Linear(4, 4)
    with pytest.raises(ValueError, match="in use already"):
        tn.Sequential(layer, layer)
    tn.Sequential(layer)
    with pytest.raises(ValueError, match="in use already"):
        tn.Sequential(layer)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([np.zeros((4, 5))], r"expects arrays of shapes \[\(4, 5\), \(5,\)\]; got \[\(4, 5\)\]"),
        ([np.zeros((5, 4)), np.zeros(5)], r"got \[\(5, 4\), \(5,\)\]"),
        ([np.full((4, 5), np.nan), np.zeros(5)], "finite"),
    ],
)
def test_set_weights_refuses_all_or_takes_all(weights: Any, message: str) -> None:
    net = tn.Sequential(tn.Linear(4, 5), backend="numpy")
    before = net.flat_parameters().tobytes()
    with pytest.raises(ValueError, match=message):
        net.set_weights(weights)
    assert net.flat_parameters().tobytes() == before


def test_an_attribute_of_the_wrong_shape_is_refused() -> None:
    net = tn.Sequential(tn.Linear(4, 5), backend="numpy")
    with pytest.raises(ValueError, match=r"Linear.weight expects shape \(4, 5\); got \(5, 4\)"):
        net.layers[0].weight = np.zeros((5, 4))


def test_predict_before_any_data_was_seen() -> None:
    net = tn.Sequential(tn.Normalize(4), tn.Linear(4, 3), backend="numpy")
    for call in (lambda: net.predict(X), lambda: net.fit(X, Y), lambda: net.forward(X)):
        with pytest.raises(ValueError, match=r"Normalize\(4\) has seen no data yet\. Call its adapt\(x\)"):
            call()


def test_evaluate_without_a_loss() -> None:
    with pytest.raises(ValueError, match="never trained"):
        tn.Sequential(tn.Linear(4, 3), backend="numpy").evaluate(X, Y)


def test_backward_before_forward() -> None:
    for target in (tn.Sequential(tn.Linear(4, 3), backend="numpy"), tn.Linear(4, 3)):
        with pytest.raises(RuntimeError, match="forward"):
            target.backward(Y)


def test_softmax_before_a_loss_that_applies_it() -> None:
    net = tn.Sequential(tn.Linear(4, 3), tn.Softmax(), backend="numpy")
    with pytest.raises(ValueError, match="Remove the Softmax layer"):
        net.fit(X, LABELS, loss="cross_entropy")


def test_cross_entropy_on_one_output() -> None:
    with pytest.raises(ValueError, match="Use BinaryCrossEntropy"):
        tn.Sequential(tn.Linear(4, 1), backend="numpy").fit(X, LABELS, loss="cross_entropy")


def test_a_checkpoint_into_a_missing_folder_fails_before_training(tmp_path: Any) -> None:
    net = tn.Sequential(tn.Linear(4, 3), backend="numpy")
    before = net.flat_parameters().tobytes()
    with pytest.raises(FileNotFoundError, match="Create it"):
        net.fit(X, Y, callbacks=[tn.Checkpoint(tmp_path / "missing" / "run.ckpt")])
    assert net.flat_parameters().tobytes() == before


class Counted(tn.MeanSquaredError):
    """A loss of the user's that takes no weights."""

    def forward(self, prediction: Any, target: Any, sample_weight: Any = None) -> float:
        return 0.0


def test_sample_weights_with_a_loss_that_takes_none() -> None:
    with pytest.raises(ValueError, match="takes_sample_weight"):
        tn.Sequential(tn.Linear(4, 3), backend="numpy").fit(X, Y, loss=Counted(), sample_weight=np.ones(10))
