"""Frames as the inputs of ONNX: a column each, by name and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install scikit-learn")

from onnx_estimators import DTYPES, NAMES, TOLERANCE, X, Y, classifier, regressor, run, skl2onnx
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)

from tinynet.estimators import to_onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

FRAMES = ("pandas", "polars")
COLUMNS: dict[str, Any] = {
    "time": 1.7e9 + np.arange(150.0),  # Unix times: float32 has steps of two minutes there.
    "count": np.arange(150) % 7,
    "length": X[:, 0],
    "width": X[:, 1].astype("float32"),
    "wild": np.arange(150) % 2 == 0,
    "a name, with 1.5 m\u00b2": X[:, 2],
    "1": X[:, 3],
}


def frame_of(library: str, columns: dict[str, Any]) -> Any:
    return pytest.importorskip(library, reason=f"{library} is not installed: pip install {library}").DataFrame(columns)


def run_on_frame(proto: onnx.ModelProto, frame: Any) -> dict[str, Any]:
    """Feed each column as it is to the input of its name."""
    arrays = {name: np.asarray(frame[name].to_numpy()).reshape(-1, 1) for name in frame.columns}
    return run(
        proto, **{name: array.astype(object) if array.dtype.kind in "UO" else array for name, array in arrays.items()}
    )


FRAME_STEPS: dict[str, list[Any]] = {
    "scaler": [StandardScaler()],
    "two": [MinMaxScaler(), RobustScaler()],
    "PCA": [StandardScaler(), PCA(2)],
    "a pipeline within": [make_pipeline(make_pipeline(StandardScaler()))],
    "FeatureUnion": [make_union(StandardScaler(), MinMaxScaler())],
    "columns": [
        make_column_transformer((StandardScaler(), ["count", "time", "width"]), (MinMaxScaler(), ["1", "wild"]))
    ],
    "columns by position": [make_column_transformer((StandardScaler(), [4, 0, 5]), (MinMaxScaler(), slice(1, 3)))],
    "columns left over": [make_column_transformer((StandardScaler(), ["wild", "time"]), remainder=MinMaxScaler())],
    "a union of columns": [
        make_union(make_column_transformer((StandardScaler(), ["time", "length"])), StandardScaler())
    ],
}


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("steps", FRAME_STEPS.values(), ids=FRAME_STEPS.keys())
def test_a_frame_is_computed_in_float64_unless_all_of_it_is_float32(steps: list[Any], library: str) -> None:
    skl2onnx()
    frame = frame_of(library, COLUMNS)
    reg = make_pipeline(*steps, regressor()).fit(frame, COLUMNS["time"] % 50)
    proto = to_onnx(reg, frame)
    types = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    assert types["wild"] == onnx.TensorProto.BOOL
    assert types["count"] == onnx.TensorProto.INT64
    assert types["width"] == onnx.TensorProto.FLOAT
    outputs = run_on_frame(proto, frame)
    assert outputs["output"].dtype == "float64"
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(frame), rtol=0, atol=1e-6)


@pytest.mark.parametrize("library", FRAMES)
@pytest.mark.parametrize("make", [classifier, regressor])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_estimator_alone_takes_a_frame(dtype: str, make: Any, library: str) -> None:
    skl2onnx()
    frame = frame_of(library, {"p": X[:, 0].astype(dtype), "q": X[:, 1].astype(dtype)})
    model = make().fit(frame, Y)
    outputs = run_on_frame(to_onnx(model, frame), frame)
    expected = model.predict_proba(frame) if make is classifier else model.predict(frame).reshape(-1, 1)
    got = outputs["probabilities" if make is classifier else "output"]
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("library", FRAMES)
def test_strings_and_numbers_of_a_frame(library: str) -> None:
    skl2onnx()
    frame = frame_of(library, {"kind": NAMES[Y], "count": COLUMNS["count"], "time": COLUMNS["time"]})
    columns = make_column_transformer((OneHotEncoder(), ["kind", "count"]), (StandardScaler(), ["time"]))
    reg = make_pipeline(columns, regressor()).fit(frame, X[:, 3])
    outputs = run_on_frame(to_onnx(reg, frame), frame)
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(frame), rtol=0, atol=1e-12)
    alone = make_pipeline(OneHotEncoder(sparse_output=False), regressor()).fit(frame[["kind"]], X[:, 3])
    outputs = run_on_frame(to_onnx(alone, frame[["kind"]]), frame[["kind"]])
    np.testing.assert_allclose(outputs["output"][:, 0], alone.predict(frame[["kind"]]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["variable", "joined", "columns", "input", "time.float64", "count.float64", "x1.cast"])
def test_names_of_columns_do_not_meet_those_within_the_graph(name: str) -> None:
    skl2onnx()
    frame = frame_of("pandas", {name: COLUMNS["count"], "time": COLUMNS["time"], "count": COLUMNS["count"][::-1]})
    for steps in ([StandardScaler()], [make_column_transformer((StandardScaler(), [name, "time", "count"]))]):
        reg = make_pipeline(*steps, regressor()).fit(frame, X[:, 3])
        outputs = run_on_frame(to_onnx(reg, frame), frame)
        np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(frame), rtol=0, atol=1e-6)


def test_columns_are_joined_in_the_order_of_fit() -> None:
    skl2onnx()
    frame = frame_of("pandas", {"a": X[:, 0], "b": X[:, 1]})
    reg = make_pipeline(StandardScaler(), regressor()).fit(frame, X[:, 3])
    proto = to_onnx(reg, frame[["b", "a"]])
    assert [value.name for value in proto.graph.input] == ["a", "b"]
    np.testing.assert_allclose(run_on_frame(proto, frame)["output"][:, 0], reg.predict(frame), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "bool", ">f8"])
def test_whole_numbers_and_foreign_byte_orders_are_computed_in_float64(dtype: str) -> None:
    skl2onnx()
    x = (X * 10).astype(dtype)
    reg = make_pipeline(StandardScaler(), regressor()).fit(x, Y)
    outputs = run(to_onnx(reg, x), input=x.astype(np.dtype(dtype).newbyteorder("=")))
    assert outputs["output"].dtype == "float64"
    np.testing.assert_allclose(outputs["output"][:, 0], reg.predict(x), rtol=0, atol=1e-13)


BAD_FRAMES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "dates": (
        {"a": X[:, 0], "b": np.arange(150).astype("M8[s]")},
        TypeError,
        "X, column 'b', must hold real numbers; got",
    ),
    "complex": ({"a": X[:, 0], "b": X[:, 1] + 1j}, TypeError, "X, column 'b', must hold real numbers; got complex"),
    "other columns": ({"a": X[:, 0], "c": X[:, 1]}, ValueError, r"fit was given, \['a', 'b'\]; got \['a', 'c'\]"),
    "fewer": ({"a": X[:, 0]}, ValueError, r"fit was given, \['a', 'b'\]; got \['a'\]"),
    "the name of an output": (
        {"a": X[:, 0], "output": X[:, 1]},
        ValueError,
        "called as an output, output; got.*Rename",
    ),
    "no name": ({"a": X[:, 0], "": X[:, 1]}, ValueError, "none empty.*Rename"),
}


@pytest.mark.parametrize(("columns", "error", "message"), BAD_FRAMES.values(), ids=BAD_FRAMES.keys())
def test_frames_that_cannot_be_inputs_are_refused(columns: Any, error: type[Exception], message: str) -> None:
    skl2onnx()
    frame = frame_of("pandas", {"a": X[:, 0], "b": X[:, 1]})
    reg = make_pipeline(StandardScaler(), regressor()).fit(frame, Y)
    with pytest.raises(error, match=message):
        to_onnx(reg, frame_of("pandas", columns))
