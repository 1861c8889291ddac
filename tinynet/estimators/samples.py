"""Samples as the trainer takes them, and those that are held out to validate by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight, validate_data

from tinynet.estimators.inputs import admitted, on_host
from tinynet.estimators.record import WHOLE_SOLVERS
from tinynet.estimators.solver import SparseData
from tinynet.models.sequential import Sequential
from tinynet.training.data import Data, check_some_weight

if TYPE_CHECKING:
    from tinynet.estimators.base import BaseMultilayerPerceptron


def as_data(
    estimator: BaseMultilayerPerceptron, X: Any, y: NDArray[Any], weight: Any, network: Sequential, dense: bool = True
) -> Data:
    """Return samples, targets and weights on the backend; a sparse matrix as it is, unless it may become dense."""
    place, dtype = network.backend, network.dtype
    targets = estimator._encode(y, dtype)
    held = None if weight is None else place.asarray(weight, dtype)
    if hasattr(X, "tocsr") and not dense:
        return SparseData(place, X.tocsr(), place.asarray(targets), held, targets)
    x = np.ascontiguousarray(X.toarray() if hasattr(X, "tocsr") else X)
    return Data(place, place.asarray(x, dtype), place.asarray(targets), held, targets)


def given_set(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any] | None:
    """Return the validation set that a user gave, if any."""
    if X is None and y is None and weight is None:
        return None
    if X is None or y is None:
        raise ValueError("fit expects both X_val and y_val, or neither; got one of them.")
    return X, y, weight


def validated_set(estimator: BaseMultilayerPerceptron, validation: tuple[Any, Any, Any], dtype: Any) -> Data:
    """Return the user's validation set."""
    x, y, weight = (
        admitted(validation[0]),
        on_host(validation[1], "y_val"),
        on_host(validation[2], "sample_weight_val"),
    )
    x = validate_data(estimator, x, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=False)
    encoded = estimator._validate_targets(y)
    if len(encoded) != x.shape[0]:
        raise ValueError(f"X_val and y_val must have as many rows as each other; got {x.shape[0]}, {len(encoded)}.")
    if weight is not None:
        weight = _check_sample_weight(weight, x, dtype=dtype)
    place = estimator._place()
    kind = "float64" if estimator.solver in WHOLE_SOLVERS else dtype
    targets = estimator._encode(encoded, kind)
    rows = np.ascontiguousarray(x.toarray() if hasattr(x, "tocsr") else x, dtype=kind)
    held = None if weight is None else place.asarray(weight, kind)
    return Data(place, place.asarray(rows), place.asarray(targets), held, targets)


def split(
    estimator: BaseMultilayerPerceptron, X: Any, y: NDArray[Any], weight: Any
) -> tuple[Any, NDArray[Any], Any, Data]:
    """Hold out the validation set, by the same draw as scikit-learn's."""
    train, held = train_test_split(
        np.arange(len(y)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=estimator._stratify(y),
    )
    if len(held) < 2:
        raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
    weights: tuple[Any, Any] = None, None
    if weight is not None:
        weights = weight[train], weight[held]
        for own, does in zip(weights, ("trains on", "holds out"), strict=True):
            check_some_weight(own, f"sample_weight of what early_stopping {does}")
    held_out = as_data(estimator, X[held], y[held], weights[1], estimator.network_)
    return X[train], y[train], weights[0], held_out
