"""Networks that scikit-learn has fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.exchange.parts import Parts
from tinynet.layers import Exp, Identity, Linear, ReLU, Sigmoid, Softmax, Tanh
from tinynet.layers.layer import Layer
from tinynet.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError, PoissonLoss

ACTIVATIONS: dict[str, type[Layer]] = {
    "identity": Identity,
    "logistic": Sigmoid,
    "tanh": Tanh,
    "relu": ReLU,
    "softmax": Softmax,
    "exp": Exp,
}
"""Layers by scikit-learn's names of the activations, hidden and last."""

LOSSES: dict[str, Loss] = {
    "identity": MeanSquaredError(),
    "logistic": BinaryCrossEntropy(),
    "softmax": CrossEntropy(from_logits=False),
    "exp": PoissonLoss(),
}
"""The loss that goes with a last activation."""


def taken_apart(estimator: Any) -> Parts:
    """Return the parts of a fitted ``MLPClassifier`` or ``MLPRegressor``; see ``tinynet.from_sklearn``."""
    name = type(estimator).__name__
    if not (hasattr(estimator, "hidden_layer_sizes") and hasattr(estimator, "activation")):
        raise TypeError(
            f"from_sklearn expects an MLPClassifier or MLPRegressor; got {name}. "
            "Of a Pipeline or a search, pass the network itself: pipeline[-1], search.best_estimator_."
        )
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"from_sklearn expects a fitted {name}; this one is not. Call its fit(X, y) first.")
    last = estimator.out_activation_
    for activation in (estimator.activation, last):
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"from_sklearn knows the activations {', '.join(ACTIVATIONS)}; this {name} has {activation!r}."
            )
    layers: list[Layer] = []
    for coefs in estimator.coefs_:
        layers += [Linear(*coefs.shape), ACTIVATIONS[estimator.activation]()]
    layers[-1] = ACTIVATIONS[last]()
    if isinstance(layers[-1], Identity):
        layers.pop()
    arrays: list[dict[str, NDArray[Any]]] = [{} for _ in layers]
    arrays[::2] = [
        {"weight": weight, "bias": bias} for weight, bias in zip(estimator.coefs_, estimator.intercepts_, strict=True)
    ]
    metadata: dict[str, Any] = {}
    # Of a multilabel classifier, classes_ holds the numbers of its outputs: each of them is a question of its own.
    if hasattr(estimator, "classes_") and (last == "softmax" or estimator.n_outputs_ == 1):
        metadata["classes"] = [_label(value) for value in np.asarray(estimator.classes_).tolist()]
    return Parts(tuple(layers), estimator.coefs_[0].dtype.name, tuple(arrays), LOSSES[last], metadata)


def _label(value: Any) -> str | int:
    """Return a class as a model file keeps it: a whole number, or its name."""
    if isinstance(value, str | int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else str(value)
