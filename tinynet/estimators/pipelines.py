"""ONNX of pipelines and searches that end in one of tinynet's estimators.

skl2onnx writes the other steps: it knows scikit-learn's transformers, and gets a converter for the estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from tinynet.base.errors import requires
from tinynet.estimators.classifier import MLPClassifier
from tinynet.estimators.onnx import add_estimator, element_type, outputs_of
from tinynet.estimators.onnx_inputs import computed_in, declared, inputs_of, is_joined, join_exactly, take_as_given
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
    X : (n_samples, n_features) array, or DataFrame of pandas or polars
        A sample, of which the types count: the graph takes what it is made of, and computes, as scikit-learn does, in
        float32 if all numbers are float32, else in float64.
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
    TypeError
        If X holds neither numbers nor strings.
    ValueError
        If X has other columns than ``fit`` was given.
    RuntimeError
        skl2onnx's, which names the step that it cannot convert.

    Examples
    --------
    >>> import numpy as np
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

    check_is_fitted(model)
    classifies, ends = is_classifier(model), _ends(model)
    outputs = ("label", "probabilities") if classifies else ("output",)
    inputs = inputs_of(model, X, outputs)
    dtype, joined = computed_in(inputs), is_joined(model, inputs)
    # Probabilities as one array, not as a dictionary for each sample.
    options: dict[int, dict[str, Any]] = {id(end): {"zipmap": False} if classifies else {} for end in ends}
    if isinstance(ends[-1], MLPClassifier | MLPRegressor):
        options[id(ends[-1])]["dtype"] = dtype
    proto = skl2onnx.to_onnx(
        model,
        name="tinynet",
        initial_types=declared(inputs, dtype, joined),
        final_types=[(name, None) for name in outputs],
        options={key: settings for key, settings in options.items() if settings},
        target_opset=OPSET,
    )
    join_exactly(proto.graph)
    take_as_given(proto.graph, inputs, dtype, joined)
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

    Converted classifiers have skl2onnx's options ``zipmap`` and ``output_class_labels``, and all an option ``dtype``,
    what they compute in (by default float64 where their input is float64). Calling it again does nothing more.

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
    number: dict[str, list[Any]] = {"dtype": ["float32", "float64"]}
    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False], **number}
    for kind, settings in ((MLPClassifier, options), (MLPRegressor, number)):
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
    """Return the dtype of an operator's graph: what is asked for, else that of its input, as of skl2onnx's own."""
    from skl2onnx.common.data_types import DoubleTensorType

    asked = operator.scope_inst.get_options(operator.raw_operator, {"dtype": None}, fail=False) or {}
    if asked.get("dtype"):
        return str(asked["dtype"])
    return "float64" if any(isinstance(value.type, DoubleTensorType) for value in operator.inputs) else "float32"


def _convert(scope: Any, operator: Any, container: Any) -> None:
    """Put the nodes and the constants of an estimator into skl2onnx's container, under names that are its own."""
    from onnx import helper

    graph = Graph(_dtype(operator))
    graph.at("input")
    given = [value.full_name for value in operator.inputs]  # One, or the columns of a frame.
    parts = [graph.add("Cast", name, to=element_type(graph.dtype)) for name in given]
    x = graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    values = add_estimator(graph, operator.raw_operator, x)
    names = {name: name for name in given} | {
        value: variable.full_name for value, variable in zip(values, operator.outputs, strict=True)
    }
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
