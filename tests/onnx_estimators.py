"""Estimators for the tests of ONNX, and onnxruntime to run them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from sklearn.datasets import load_iris

from tinynet.estimators import MLPClassifier, MLPRegressor

DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 1e-6, "float64": 1e-14}
X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "ünïcode"])


def run(proto: onnx.ModelProto, **inputs: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier((6,), random_state=0, max_iter=20, backend="numpy", **settings)


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(hidden_layer_sizes=(6,), random_state=0, max_iter=20, backend="numpy", **settings)


def skl2onnx() -> Any:
    return pytest.importorskip("skl2onnx", reason="skl2onnx is not installed: pip install skl2onnx")
