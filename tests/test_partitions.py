"""Data in partitions of Dask: the numbers of the whole, computed when somebody asks, with the weights of before."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import tinynet as tn

da = pytest.importorskip("dask.array", reason="partitions need Dask: pip install 'dask[array]'")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = X[:, :1] - X[:, 1:2]
WEIGHT = RNG.uniform(0.5, 2.0, 50)


@pytest.fixture
def net() -> tn.Sequential:
    layers = tn.Normalize(3).adapt(X), tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1)
    return tn.Sequential(*layers, seed=0, dtype="float64", backend="numpy")


@pytest.mark.parametrize("chunks", [(20, 3), ((1, 0, 49), 3), (17, 2)])
def test_predictions_are_a_dask_array_with_the_blocks_of_the_samples(net: tn.Sequential, chunks: Any) -> None:
    x = da.from_array(X, chunks=chunks)
    found = net.predict(x)
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype, found.chunks[0]) == ((50, 1), np.dtype("float64"), x.chunks[0])
    expected = net.predict(X)
    net.set_flat_parameters(np.zeros(net.n_parameters))
    np.testing.assert_allclose(found.compute(scheduler="synchronous"), expected, rtol=1e-12)


def test_nothing_is_computed_before_somebody_asks(net: tn.Sequential) -> None:
    def loaded(block: Any) -> Any:
        raise AssertionError("a block was read")

    lazy = net.predict(da.from_array(X, chunks=(10, 3)).map_blocks(loaded, dtype=X.dtype, meta=np.empty((0, 0))))
    with pytest.raises(AssertionError, match="a block was read"):
        lazy.compute(scheduler="synchronous")


def test_the_loss_and_metrics_of_partitions_are_those_of_the_whole(net: tn.Sequential) -> None:
    x, y = da.from_array(X, chunks=(20, 3)), da.from_array(Y, chunks=(30, 1))
    for loss in ("mse", tn.MeanAbsoluteError("sum")):
        call: dict[str, Any] = {"loss": loss, "metrics": ["r2", "mae"]}
        for weight in (None, WEIGHT):
            expected = net.evaluate(X, Y, sample_weight=weight, **call)
            for target in (y, Y):
                parts = None if weight is None else da.from_array(weight, chunks=50)
                found = net.evaluate(x, target, sample_weight=parts, **call)
                assert found == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(x, y, loss="mse").keys() == {"loss"}


def test_data_frames_are_predicted_and_evaluated(net: tn.Sequential) -> None:
    dd = pytest.importorskip("dask.dataframe", reason="frames need Dask: pip install 'dask[dataframe]'")
    pd = pytest.importorskip("pandas", reason="frames need pandas: pip install pandas")
    frame = dd.from_pandas(pd.DataFrame(np.hstack([X, Y]), columns=["a", "b", "c", "y"]), npartitions=3)
    x, y = frame[["a", "b", "c"]], frame["y"]
    np.testing.assert_allclose(net.predict(x).compute(), net.predict(X), rtol=1e-12)
    assert net.evaluate(x, y, loss="mse")["loss"] == pytest.approx(net.evaluate(X, Y, loss="mse")["loss"], rel=1e-12)
    some = frame[frame["a"] > 0.5]
    kept = X[:, 0] > 0.5
    np.testing.assert_allclose(net.predict(some[["a", "b", "c"]]).compute(), net.predict(X[kept]), rtol=1e-12)
    with pytest.raises(ValueError, match="x does not tell how long its partitions are"):
        net.evaluate(x, Y, loss="mse")


def test_what_does_not_fit_is_refused(net: tn.Sequential) -> None:
    x = da.from_array(X, chunks=(20, 3))
    with pytest.raises(ValueError, match=r"expects x of shape \(batch, 3\); got \(50, 2\)"):
        net.predict(x[:, :2])
    with pytest.raises(ValueError, match="as many samples as each other; got 50 and 49"):
        net.evaluate(x, Y[1:], loss="mse")
    with pytest.raises(ValueError, match="same partitions; got 3 and 1"):
        net.evaluate(x, da.from_array(Y[1:], chunks=(49, 1)), loss="mse")

    class Own(tn.Loss):
        def forward(self, prediction: Any, target: Any) -> float:
            return 0.0

        def backward(self, prediction: Any, target: Any) -> Any:
            return prediction

    with pytest.raises(ValueError, match="adds up the losses of partitions"):
        net.evaluate(x, Y, loss=Own())


def test_dask_is_not_imported_for_others() -> None:
    code = (
        "import sys, tinynet as tn, numpy as np; tn.Sequential(tn.Linear(1, 1), backend='numpy').predict([[1.0]]); "
        "print('dask' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
