"""Data for the tests of the estimators."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_iris, make_regression

X, Y = load_iris(return_X_y=True)
XR, YR = make_regression(n_samples=80, n_features=5, noise=3.0, random_state=0)
YR = YR / np.std(YR)
