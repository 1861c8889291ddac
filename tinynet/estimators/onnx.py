"""ONNX: a fitted estimator, alone or at the end of a pipeline, as a graph with its labels and probabilities.

An estimator alone is written by tinynet. The steps of a pipeline are written by skl2onnx, which knows scikit-learn's
transformers; it gets a converter for the estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from tinynet.base.errors import requires
from tinynet.exchange.archive import Path_
from tinynet.exchange.onnx import OPSET, Graph, Output, add_network, finished, new_graph

if TYPE_CHECKING:
    from onnx import ModelProto

    from tinynet.estimators.base import BaseMultilayerPerceptron


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
    from tinynet.estimators.classifier import MLPClassifier
    from tinynet.estimators.regressor import MLPRegressor

    # skl2onnx asks every classifier for "nocl": numbers in the place of labels, which nobody needs who has the labels.
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False]}
    for kind, settings in ((MLPClassifier, options), (MLPRegressor, None)):
        skl2onnx.update_registered_converter(kind, f"Tinynet{kind.__name__}", _declare, _convert, options=settings)


# -- an estimator ----------------------------------------------------------------------------------------------------


def export_estimator(estimator: BaseMultilayerPerceptron, path: Path_ | None) -> ModelProto:
    """Return a fitted estimator as an ONNX model; see its ``to_onnx``."""
    check_is_fitted(estimator)
    graph = new_graph(estimator.network_)
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
    y = add_network(graph, estimator.network_, x)
    if not hasattr(estimator, "classes_"):
        return (y,)
    graph.at("classes")
    if _is_multilabel(estimator):
        return graph.add("Cast", graph.add("Greater", y, 0.5), to=_element_type("int64")), y
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


def _element_type(dtype: str) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


# -- what skl2onnx asks for ------------------------------------------------------------------------------------------


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
    values = add_estimator(graph, operator.raw_operator, graph.add("Cast", x, to=_element_type(graph.dtype)))
    names = {x: x} | {value: variable.full_name for value, variable in zip(values, operator.outputs, strict=True)}
    for value in (*graph.constants, *(name for node in graph.nodes for name in node.output)):
        if value not in names:
            names[value] = scope.get_unique_variable_name(value)
    for name, array in graph.constants.items():
        content = [text.encode() for text in array] if array.dtype == object else array.ravel()
        container.add_initializer(names[name], _element_type(str(array.dtype)), array.shape, content)
    for node in graph.nodes:
        container.add_node(
            node.op_type,
            [names[name] for name in node.input],
            [names[name] for name in node.output],
            name=scope.get_unique_operator_name(node.name),
            **{attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute},
        )
