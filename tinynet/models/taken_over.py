"""Models that other libraries have trained."""

from __future__ import annotations

from typing import Any

from tinynet.exchange.parts import refuse_infinite
from tinynet.models.loading import built
from tinynet.models.sequential import Sequential


def from_torch(module: Any, *, backend: str | None = None) -> Sequential:
    """Return an ``nn.Sequential`` of PyTorch as a network with the same weights.

    Parameters
    ----------
    module : torch.nn.Sequential
        Of Linear, LayerNorm, BatchNorm1d, activations, Dropout, Identity, Flatten and other Sequentials. The network
        has its dtype.
    backend : str, optional
        As for ``Sequential``.

    Returns
    -------
    net : Sequential
        Predicts what ``module.eval()`` does. (Where PyTorch's ``Softplus`` takes a shortcut above its threshold of 20,
        they differ by up to 2e-9.)

    Raises
    ------
    DependencyError
        If PyTorch is not installed.
    TypeError
        If it is not an ``nn.Sequential``.
    ValueError
        If it has modules that tinynet does not know, all of which are named, or weights that are neither float32 nor
        float64, or not finite.

    Examples
    --------
    >>> from torch import nn  # doctest: +SKIP
    >>> from_torch(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))  # doctest: +SKIP
    Sequential(Linear(4, 5), Tanh(), Linear(5, 3), dtype='float32', backend='numba')
    """
    from tinynet.exchange.torch import taken_apart

    parts = taken_apart(module)
    refuse_infinite(parts.named(), "from_torch")
    return built(parts, backend)


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
        If it is not fitted, ends in an activation that tinynet does not have (that of Poisson regression), or has
        weights that are not finite.

    Examples
    --------
    >>> from sklearn.neural_network import MLPRegressor
    >>> model = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0)
    >>> from_sklearn(model.fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]), backend="numpy")
    Sequential(Linear(1, 3), ReLU(), Linear(3, 1), dtype='float64', backend='numpy')
    """
    from tinynet.exchange.sklearn import taken_apart

    parts = taken_apart(estimator)
    refuse_infinite(parts.named(), "from_sklearn")
    return built(parts, backend)
