"""Networks that scikit-learn has fitted."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynet.layers import Exp, Identity, Linear, ReLU, Sigmoid, Softmax, Tanh
from tinynet.layers.layer import Layer
from tinynet.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError, PoissonLoss
from tinynet.models.sequential import Sequential

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


def from_sklearn(estimator: Any, *, backend: str | None = None) -> Sequential:
    """Return a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn as a network.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Fitted. The network has its dtype.
    backend : str, optional
        As for ``Sequential``.

    Returns
    -------
    net : Sequential
        ``net.predict`` returns, as columns, what a regressor's ``predict`` and a classifier's ``predict_proba`` return;
        for two classes it is one column, the probability of the second one. ``net.metadata["classes"]`` names the
        classes, and ``net.loss`` is what ``evaluate`` uses.

    Raises
    ------
    TypeError
        If it is another kind of estimator.
    ValueError
        If it is not fitted, or ends in an activation that tinynet does not have (that of Poisson regression).

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> model = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    >>> from_sklearn(model.fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]), backend="numpy")
    Sequential(Linear(1, 3), ReLU(), Linear(3, 1), dtype='float64', backend='numpy')
    """
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
    values = [array.ravel() for pair in zip(estimator.coefs_, estimator.intercepts_, strict=True) for array in pair]
    dtype = estimator.coefs_[0].dtype
    net = Sequential(layers, dtype=dtype, backend=backend, initial_values=np.concatenate(values))
    net.loss = LOSSES[last]
    # Of a multilabel classifier, classes_ holds the numbers of its outputs: each of them is a question of its own.
    if hasattr(estimator, "classes_") and (last == "softmax" or net.program.n_out == 1):
        net.metadata["classes"] = [_label(value) for value in np.asarray(estimator.classes_).tolist()]
    return net


def _label(value: Any) -> str | int:
    """Return a class as a model file keeps it: a whole number, or its name."""
    if isinstance(value, str | int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else str(value)
