"""ONNX of pipelines and searches that end in one of tinynet's estimators.

skl2onnx writes the other steps: it knows scikit-learn's transformers, and gets a converter for the estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from tinynet.base.errors import requires
from tinynet.estimators.classifier import MLPClassifier
from tinynet.estimators.onnx import add_estimator, element_type, outputs_of
from tinynet.estimators.regressor import MLPRegressor
from tinynet.exchange.atomic import Path_
from tinynet.exchange.onnx import OPSET, Graph, finished

if TYPE_CHECKING:
    from onnx import ModelProto


def to_onnx(model: Any, X: Any, path: Path_ | None = None) -> ModelProto:
    """Return a fitted pipeline, search or estimator as ONNX; write it to ``path`` if one is given.

    The steps before tinynet's estimators are converted by skl2onnx, which must be installed. In float32 it has all
    common ones: scalers, ``SimpleImputer``, ``OneHotEncoder``, ``ColumnTransformer``, ``PCA``, ``FeatureUnion``, ... In
    float64, onnxruntime runs no ``SimpleImputer``, and of skl2onnx's converters some have float32 only.

    Parameters
    ----------
    model : estimator of scikit-learn
        Fitted: a ``Pipeline``, a search, or one of tinynet's estimators.
    X : (n_samples, n_features) array or DataFrame
        A sample, of which the types count: the graph takes what it is made of, and computes in float64 if that is
        float64, else in float32.
    path : path, optional
        A file that is there is replaced atomically.

    Returns
    -------
    onnx.ModelProto
        The input of an array is called ``"input"``; of a DataFrame, each column is an input, (batch, 1). Outputs are
        those of ``MLPClassifier.to_onnx`` and ``MLPRegressor.to_onnx``.

    Raises
    ------
    DependencyError
        If skl2onnx is not installed.
    RuntimeError
        skl2onnx's, which names the step that it cannot convert.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from tinynet.estimators import MLPRegressor
    >>> X = np.linspace(0, 1, 20, dtype="float32").reshape(-1, 1)
    >>> model = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", random_state=0))
    >>> proto = to_onnx(model.fit(X, X.ravel() ** 2), X)
    >>> [value.name for value in proto.graph.output]
    ['output']
    """
    register_onnx_converters()
    import skl2onnx
    from skl2onnx.algebra.type_helper import guess_initial_types

    check_is_fitted(model)
    is_frame = hasattr(X, "columns")
    samples = X[:1] if is_frame else np.asarray(X)[:1]
    if samples.ndim != 2:
        raise ValueError(f"to_onnx expects X of shape (n_samples, n_features), as fit does; got {np.shape(X)}.")
    inputs = guess_initial_types(samples)
    classifies = is_classifier(model)
    proto = skl2onnx.to_onnx(
        model,
        name="tinynet",
        initial_types=inputs if is_frame else [("input", inputs[0][1])],
        final_types=[(name, None) for name in (("label", "probabilities") if classifies else ("output",))],
        # Probabilities as one array, not as a dictionary for each sample.
        options={id(end): {"zipmap": False} for end in _ends(model)} if classifies else None,
        target_opset=OPSET,
    )
    return finished(proto, path)


def _ends(model: Any) -> list[Any]:
    """Return the estimator that a pipeline or a search ends in, after the searches that it is the best of.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> _ends(make_pipeline(StandardScaler(), StandardScaler(with_mean=False)))
    [StandardScaler(with_mean=False)]
    """
    if hasattr(model, "best_estimator_"):
        return [model, *_ends(model.best_estimator_)]
    return _ends(model.steps[-1][1]) if hasattr(model, "steps") else [model]


def register_onnx_converters() -> None:
    """Let skl2onnx convert tinynet's estimators, for those who call it themselves.

    Converted classifiers have skl2onnx's options ``zipmap`` and ``output_class_labels``. Calling it again does nothing
    more.

    Raises
    ------
    DependencyError
        If skl2onnx is not installed.

    Examples
    --------
    >>> register_onnx_converters()
    """
    try:
        import skl2onnx
    except ImportError as error:
        raise requires("skl2onnx", "converting pipelines to ONNX", "pip install skl2onnx") from error
    # skl2onnx asks every classifier for "nocl": numbers in the place of labels, which nobody needs who has the labels.
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False]}
    for kind, settings in ((MLPClassifier, options), (MLPRegressor, None)):
        skl2onnx.update_registered_converter(kind, f"Tinynet{kind.__name__}", _declare, _convert, options=settings)


def _declare(operator: Any) -> None:
    """Tell skl2onnx the types and shapes of the outputs."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    number = DoubleTensorType if _dtype(operator) == "float64" else FloatTensorType
    types = {None: number, "int64": Int64TensorType, "object": StringTensorType}
    rows = operator.inputs[0].get_first_dimension()
    for variable, output in zip(operator.outputs, outputs_of(operator.raw_operator), strict=True):
        variable.set_type(types[output.dtype]([rows] if output.width is None else [rows, output.width]))


def _dtype(operator: Any) -> str:
    """Return the dtype of an operator's graph: float64 where its input is, as of skl2onnx's own converters."""
    from skl2onnx.common.data_types import DoubleTensorType

    return "float64" if isinstance(operator.inputs[0].type, DoubleTensorType) else "float32"


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the nodes and the constants of an estimator into skl2onnx's container, under names that are its own."""
    from onnx import helper

    graph = Graph(_dtype(operator))
    graph.at("input")
    x = operator.inputs[0].full_name
    values = add_estimator(graph, operator.raw_operator, graph.add("Cast", x, to=element_type(graph.dtype)))
    names = {x: x} | {value: variable.full_name for value, variable in zip(values, operator.outputs, strict=True)}
    for value in (*graph.constants, *(name for node in graph.nodes for name in node.output)):
        if value not in names:
            names[value] = scope.get_unique_variable_name(value)
    for name, array in graph.constants.items():
        content = [text.encode() for text in array] if array.dtype == object else array.ravel()
        container.add_initializer(names[name], element_type(str(array.dtype)), array.shape, content)
    for node in graph.nodes:
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            name=scope.get_unique_operator_name(node.name),
            **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
        )
