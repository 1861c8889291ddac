"""ONNX: a fitted estimator as a graph with its labels and probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from tinynet.exchange.atomic import Path_
from tinynet.exchange.onnx import Graph, Output, add_network, finished, new_graph

if TYPE_CHECKING:
    from onnx import ModelProto

    from tinynet.estimators.base import BaseMultilayerPerceptron


def export_estimator(estimator: BaseMultilayerPerceptron, path: Path_ | None) -> ModelProto:
    """Return a fitted estimator as an ONNX model; see its ``to_onnx``."""
    check_is_fitted(estimator)
    graph = new_graph(estimator.network_.program)
    values = add_estimator(graph, estimator, "input")
    outputs = dict(zip(values, outputs_of(estimator), strict=True))
    return finished(graph.model({"input": estimator.n_features_in_}, outputs), path)


def outputs_of(estimator: BaseMultilayerPerceptron) -> tuple[Output, ...]:
    """Return the outputs of an estimator's graph: a regressor's one, or a classifier's label and probabilities."""
    if not hasattr(estimator, "classes_"):
        return (Output("output", estimator.n_outputs_),)
    if _is_multilabel(estimator):
        return Output("label", estimator.n_outputs_, "int64"), Output("probabilities", estimator.n_outputs_)
    dtype = str(class_table(estimator.classes_).dtype)
    return Output("label", None, dtype), Output("probabilities", max(2, estimator.n_outputs_))


def add_estimator(graph: Graph, estimator: BaseMultilayerPerceptron, x: str) -> tuple[str, ...]:
    """Add an estimator, which reads the value named ``x``; return the names of the values of ``outputs_of``."""
    y = add_network(graph, estimator.network_.program, estimator.network_.parts(), x)
    if not hasattr(estimator, "classes_"):
        return (y,)
    graph.at("classes")
    if _is_multilabel(estimator):
        return graph.add("Cast", graph.add("Greater", y, 0.5), to=element_type("int64")), y
    if estimator.n_outputs_ == 1:
        y = graph.add("Concat", graph.add("Sub", 1.0, y), y, axis=1)
    table = class_table(estimator.classes_)
    if len(table) == 1:  # As of two classes, both the same: the network has one output then, too.
        table = table.repeat(2)
    place = graph.add("ArgMax", y, axis=1, keepdims=0)
    return graph.add("Gather", graph.constant("table", table, str(table.dtype)), place), y


def _is_multilabel(estimator: BaseMultilayerPerceptron) -> bool:
    return str(estimator._label_binarizer.y_type_).startswith("multilabel")


def class_table(classes: NDArray[Any]) -> NDArray[Any]:
    """Return classes as ONNX holds them: whole numbers as int64, strings as objects.

    Examples
    --------
    >>> class_table(np.array([0.0, 1.0])), class_table(np.array(["a", "b"]))
    (array([0, 1]), array(['a', 'b'], dtype=object))
    """
    if classes.dtype.kind in "biuf":
        whole = classes.astype(np.int64)
        if np.array_equal(whole, classes):
            return whole
    elif all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    raise ValueError(
        f"to_onnx expects classes that are strings, or whole numbers within 64 bits; got {classes[:3].tolist()}. "
        "Fit with labels of these kinds: sklearn.preprocessing.LabelEncoder numbers any."
    )


def element_type(dtype: str) -> int:
    """Return ONNX's number of a dtype."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
