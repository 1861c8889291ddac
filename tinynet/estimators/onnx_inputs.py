"""What the graph of a pipeline takes: an array, or the columns of a frame by their names, each in its own type.

skl2onnx computes in the type of the first column that it meets, so that whole numbers there cut the fractions off all
others, and it joins columns by ``FeatureVectorizer``, which rounds all numbers to float32. So numbers are cast first to
the type that scikit-learn would compute in, and columns are joined by ``Concat``: before the first step where that
takes numbers, and else where ``FeatureVectorizer`` would be.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinynet.base.arrays import has_text, resolved, wrong_kind
from tinynet.base.frozen import dataclass
from tinynet.estimators.onnx import element_type

TEXT = "object"
"""Stands for strings, in the place of a dtype."""


@dataclass(frozen=True)
class Input:
    """An input of a graph: its name, the dtype that it takes ("object" for strings), and how many columns it has."""

    name: str
    dtype: str
    width: int


def inputs_of(model: Any, X: Any, outputs: tuple[str, ...]) -> tuple[Input, ...]:
    """Return the inputs of a graph for what is like ``X``: one for an array, one for each column of a frame.

    Columns come in the order of ``fit``, in which a graph joins them. ``outputs`` are the names of the graph's outputs.

    Raises
    ------
    TypeError
        For what is neither numbers nor strings; the column is named.
    ValueError
        For an array that is not two-dimensional, other columns than ``fit`` was given, and names that an input cannot
        have.

    Examples
    --------
    >>> inputs_of(None, np.zeros((5, 2), "float32"), ("output",))
    (Input(name='input', dtype='float32', width=2),)
    """
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        inputs = _by_name(model, X, outputs)
    else:
        array = np.asarray(resolved(X))
        if array.ndim != 2:
            raise ValueError(f"to_onnx expects X of shape (n_samples, n_features), as fit does; got {array.shape}.")
        inputs = (Input("input", _dtype_of(array, "X"), array.shape[1]),)
    n_fitted, n_given = getattr(model, "n_features_in_", None), sum(entry.width for entry in inputs)
    if n_fitted not in (None, n_given):
        raise ValueError(f"to_onnx expects X with {n_fitted} features, as fit was given; got {n_given}.")
    return inputs


def computed_in(inputs: Iterable[Input]) -> str:
    """Return the dtype that scikit-learn computes in: float32 where all numbers are float32, else float64.

    Examples
    --------
    >>> computed_in([Input("a", "float32", 1), Input("b", "int64", 1)])
    'float64'
    """
    return "float32" if {entry.dtype for entry in inputs} - {TEXT} == {"float32"} else "float64"


def is_joined(model: Any, inputs: tuple[Input, ...]) -> bool:
    """Tell whether a model may be given all inputs as one array: they are numbers, and no step picks them by name."""
    return len(inputs) > 1 and not _picks(model) and all(entry.dtype != TEXT for entry in inputs)


def declared(inputs: tuple[Input, ...], dtype: str, joined: bool) -> list[tuple[str, Any]]:
    """Return the inputs as skl2onnx is told of them: strings, and numbers of one dtype."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    number = DoubleTensorType if dtype == "float64" else FloatTensorType
    if joined:
        return [("joined", number([None, sum(entry.width for entry in inputs)]))]
    return [
        (entry.name, (StringTensorType if entry.dtype == TEXT else number)([None, entry.width])) for entry in inputs
    ]


def join_exactly(graph: Any) -> None:
    """Put ``Concat`` in the place of ``FeatureVectorizer``."""
    from onnx import helper

    for node in graph.node:
        if node.op_type == "FeatureVectorizer":
            node.op_type, node.domain = "Concat", ""
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))


def take_as_given(graph: Any, inputs: tuple[Input, ...], dtype: str, joined: bool) -> None:
    """Let a graph of ``declared`` inputs take each of ``inputs`` by its own name and in its own type."""
    from onnx import helper

    old = [value.name for value in graph.input]
    used = {name for node in graph.node for name in (*node.input, *node.output)}
    used |= {value.name for value in (*graph.initializer, *graph.input)} | {entry.name for entry in inputs}

    def unused(name: str) -> str:
        while name in used:
            name += "_"
        used.add(name)
        return name

    # What skl2onnx called as a column is called gets another name.
    names = {entry.name: unused(entry.name) for entry in inputs if entry.name not in old}
    nodes, parts = [], []
    for entry in inputs:
        part = entry.name
        if entry.dtype not in (TEXT, dtype):
            part = unused(f"{entry.name}.{dtype}")
            nodes.append(helper.make_node("Cast", [entry.name], [part], name=part, to=element_type(dtype)))
        parts.append(part)
    if joined:
        whole = unused("columns")
        nodes.append(helper.make_node("Concat", parts, [whole], name=whole, axis=1))
        parts = [whole]
    nodes += _renamed(graph.node, names | dict(zip(old, parts, strict=True)))
    for array in graph.initializer:
        array.name = names.get(array.name, array.name)
    values = [helper.make_tensor_value_info(v.name, element_type(v.dtype), ["batch", v.width]) for v in inputs]
    for field, content in ((graph.input, values), (graph.node, nodes)):
        del field[:]
        field.extend(content)


def _renamed(nodes: Any, names: dict[str, str]) -> list[Any]:
    """Return copies of nodes with other names of values."""
    copies = []
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = [names.get(name, name) for name in node.input]
        copy.output[:] = [names.get(name, name) for name in node.output]
        copies.append(copy)
    return copies


def _picks(model: Any) -> bool:
    """Tell whether a step that is given the columns picks some of them: ``ColumnTransformer``."""
    if hasattr(model, "best_estimator_"):
        return _picks(model.best_estimator_)
    if hasattr(model, "steps"):
        return _picks(model.steps[0][1])
    if hasattr(model, "transformer_list"):
        return any(_picks(part) for _, part in model.transformer_list)
    return hasattr(model, "transformers_")


def _by_name(model: Any, frame: Any, outputs: tuple[str, ...]) -> tuple[Input, ...]:
    """Return the columns of a frame as inputs."""
    names = [str(label) for label in frame.columns]
    if len(set(names)) < len(names) or not {"", *outputs}.isdisjoint(names):
        raise ValueError(
            f"to_onnx expects columns of different names, none empty or called as an output, {' or '.join(outputs)}; "
            f"got {names}. Rename columns before fit."
        )
    dtypes = [_dtype_of(frame[label], f"X, column {label!r},") for label in frame.columns]
    inputs = {name: Input(name, dtype, 1) for name, dtype in zip(names, dtypes, strict=True)}
    fitted = getattr(model, "feature_names_in_", names)
    if set(fitted) != set(names):
        raise ValueError(f"to_onnx expects X with the columns that fit was given, {list(fitted)}; got {names}.")
    return tuple(inputs[name] for name in fitted)


def _dtype_of(values: Any, name: str) -> str:
    """Return the dtype of an array or a column, or ``TEXT``."""
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return array.dtype.newbyteorder("=").name
    if array.dtype.kind in "UT" or has_text(array):
        return TEXT
    if array.dtype.kind not in "Of":
        raise wrong_kind(array, name)
    try:
        array.astype(np.float64)  # Numbers as Python objects: scikit-learn takes them as float64.
    except (TypeError, ValueError):
        raise wrong_kind(array, name) from None
    return "float64"
