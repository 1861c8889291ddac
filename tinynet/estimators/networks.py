"""From the parameters of an estimator to a tinynet network, and between its flat vector and ``coefs_``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import Backend
from tinynet.layers import ACTIVATIONS as LAYERS
from tinynet.layers import Dropout, Linear
from tinynet.layers.layer import Layer
from tinynet.models.sequential import Sequential

Arrays = list[NDArray[Any]]

SPELLING = {"logistic": "sigmoid", "exp": "exponential"}
"""What scikit-learn calls otherwise."""

ACTIVATIONS = sorted((set(LAYERS) - {"softmax"} | set(SPELLING)) - set(SPELLING.values()))
"""What a layer of an estimator may have: scikit-learn's activations, and tinynet's others."""


def build(
    sizes: Sequence[int],
    activations: Sequence[str],
    dropout: Sequence[float],
    *,
    dtype: Any,
    backend: str | Backend | None,
    values: NDArray[Any],
    seed: int,
    draws: int = 0,
) -> Sequential:
    """Return the network of these widths and parameters.

    Parameters
    ----------
    sizes : sequence of int
        From the input to the output.
    activations : sequence of str
        One for each layer but the first, in scikit-learn's words.
    dropout : sequence of float
        One rate for each hidden layer.
    dtype : {"float32", "float64"}
    backend : str, Backend or None
    values : (n_parameters,) array
        The initial parameters, as ``flat`` orders them.
    seed : int
        Of the dropout masks.
    draws : int
        Masks that were drawn already.
    """
    layers: list[Layer] = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers.append(Linear(n_in, n_out))
        if activations[i] != "identity":
            layers.append(LAYERS[SPELLING.get(activations[i], activations[i])]())
        if i < len(dropout) and dropout[i] > 0:
            layers.append(Dropout(dropout[i]))
    network = Sequential(*layers, dtype=dtype, seed=seed, backend=backend, initial_values=values)
    network.state.draws = draws
    return network


def linear_layers(network: Sequential) -> list[Linear]:
    """Return the layers that have parameters."""
    return [layer for layer in network.layers if isinstance(layer, Linear)]


def flat(coefs: Arrays, intercepts: Arrays) -> NDArray[Any]:
    """Return the parameters as one vector: weight, bias, weight, bias, ...

    Examples
    --------
    >>> flat([np.array([[1.0, 2.0]])], [np.array([3.0, 4.0])])
    array([1., 2., 3., 4.])
    """
    pairs = zip(coefs, intercepts, strict=True)
    return np.concatenate([np.ravel(array) for pair in pairs for array in pair])


def draw(
    sizes: Sequence[int], hidden: Sequence[str], random: np.random.RandomState, dtype: Any
) -> tuple[Arrays, Arrays]:
    """Draw initial weights and biases as scikit-learn does: the same numbers from the same state.

    Uniform within ``sqrt(6 / (n_in + n_out))`` (Glorot and Bengio 2010, eq. 16), or ``sqrt(2 / ...)`` for logistic
    layers. The output layer takes the bound of the last hidden one.

    Parameters
    ----------
    sizes : sequence of int
        From the input to the output.
    hidden : sequence of str
        The activation of each hidden layer; without any, what the estimator would give one.
    """
    coefs, intercepts = [], []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        kind = hidden[min(i, len(hidden) - 1)]
        bound = np.sqrt((2.0 if kind == "logistic" else 6.0) / (n_in + n_out))
        coefs.append(random.uniform(-bound, bound, (n_in, n_out)).astype(dtype, copy=False))
        intercepts.append(random.uniform(-bound, bound, n_out).astype(dtype, copy=False))
    return coefs, intercepts


def one_for_each(name: str, value: Any, n: int) -> list[Any]:
    """Return a setting for each of ``n`` hidden layers, from one for all or one for each.

    Examples
    --------
    >>> one_for_each("dropout", 0.5, 2)
    [0.5, 0.5]
    """
    if isinstance(value, str) or np.ndim(value) == 0:
        return [value] * n
    found = list(value)
    if len(found) != n:
        raise ValueError(
            f"{name} must be one value for all hidden layers, or one for each of the {n}; got {len(found)} values. "
            "Compare with hidden_layer_sizes."
        )
    return found


def checked_activations(values: Sequence[Any]) -> list[str]:
    """Return names of activations, or say which are none."""
    for value in values:
        if value not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}; got {value!r}.")
    return [str(value) for value in values]


def checked_rates(values: Sequence[Any]) -> list[float]:
    """Return rates of dropout, or say which are none."""
    for value in values:
        if not 0.0 <= value < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1; got {value!r}.")
    return [float(value) for value in values]
