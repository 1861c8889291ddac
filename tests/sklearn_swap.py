"""A pytest plugin: scikit-learn's own tests then meet tinynet's estimators under the names of its own."""

from __future__ import annotations


def pytest_configure() -> None:
    """Put ours in the place of theirs, before their tests are imported."""
    import sklearn.neural_network

    from tinynet import estimators

    for name in estimators.__all__:
        setattr(sklearn.neural_network, name, getattr(estimators, name))
