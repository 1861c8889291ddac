"""A pytest plugin: scikit-learn's own tests then meet tinynet's estimators under the names of its own."""

from __future__ import annotations

import sklearn.neural_network

from tinynet import estimators

for _name in estimators.__all__:
    setattr(sklearn.neural_network, _name, getattr(estimators, _name))
