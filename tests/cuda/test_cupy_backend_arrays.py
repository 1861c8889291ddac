"""Arrays in and out of the GPU backend: where they lie, what is copied, and how often the device is waited for."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn

RNG = np.random.default_rng(21)
X = RNG.standard_normal((37, 4)).astype("float32")
Y = RNG.standard_normal((37, 3)).astype("float32")
LABELS = RNG.integers(0, 3, 37)
WEIGHTS = RNG.uniform(0.5, 2.0, 37).astype("float32")


def network(backend: str = "gpu", dtype: str = "float32") -> tn.Sequential:
    return tn.Sequential(tn.Linear(4, 6), tn.Tanh(), tn.Linear(6, 3), dtype=dtype, seed=3, backend=backend)


class Producer:
    """An array of another library, which offers one protocol of exchange."""

    def __init__(self, array: Any, protocol: str, requires_grad: bool = False) -> None:
        self._array, self.requires_grad = array, requires_grad
        if protocol == "dlpack":
            self.__class__ = type("Tensor", (Producer,), {"__dlpack__": _dlpack, "__dlpack_device__": _dlpack_device})
        else:
            self.__cuda_array_interface__ = array.__cuda_array_interface__


def _dlpack(self: Any, **keywords: Any) -> Any:
    return self._array.__dlpack__(**keywords)


def _dlpack_device(self: Any) -> Any:
    return self._array.__dlpack_device__()


# -- where results live ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool", "float16"])
def test_predictions_for_device_arrays_stay_on_the_device(gpu: str, cp: ModuleType, dtype: str) -> None:
    x = np.abs(X * 3).astype(dtype)
    net = network()
    expected = network("numpy").predict(x)
    there = net.predict(cp.asarray(x))
    assert isinstance(there, cp.ndarray)
    assert there.dtype == np.float32
    here = net.predict(x)
    assert isinstance(here, np.ndarray)
    for result in (there.get(), here, net(cp.asarray(x)).get(), net.predict(cp.asarray(np.asfortranarray(x))).get()):
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_prediction_is_an_array_of_its_own(gpu: str, cp: ModuleType) -> None:
    net, x = network(), cp.asarray(X)
    first = net.predict(x)
    kept = first.get()
    net.predict(x * 2)
    np.testing.assert_array_equal(first.get(), kept)


def test_forward_and_backward_answer_where_they_were_asked(gpu: str, cp: ModuleType) -> None:
    net = network()
    for array, kind in ((X, np.ndarray), (cp.asarray(X), cp.ndarray)):
        y = net.forward(array)
        dx = net.backward(y)
        layer = tn.Tanh().build(backend="gpu")
        results = y, dx, layer.forward(array), layer.backward(array), tn.MeanSquaredError().backward(y, y * 0)
        assert all(type(result) is kind for result in results)


@pytest.mark.parametrize("protocol", ["dlpack", "interface"])
def test_arrays_of_other_cuda_libraries_are_taken_as_they_are(gpu: str, cp: ModuleType, protocol: str) -> None:
    x = cp.asarray(X)
    foreign = Producer(x, protocol)
    net = network()
    result = net.predict(foreign)
    assert isinstance(result, cp.ndarray)
    np.testing.assert_array_equal(result.get(), net.predict(x).get())
    assert net._data(tn.MeanSquaredError(), foreign, Y).x.data.ptr == x.data.ptr


def test_a_tensor_that_requires_gradients_is_refused(gpu: str, cp: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"must not require gradients.*x\.detach"):
        network().predict(Producer(cp.asarray(X), "dlpack", requires_grad=True))


def test_the_sign_that_a_tensor_keeps_beside_its_memory_is_read(gpu: str, cp: ModuleType) -> None:
    lazy = Producer(cp.asarray(X), "dlpack")
    type(lazy).resolve_neg = lambda self: Producer(-self._array, "dlpack")
    net = network()
    np.testing.assert_array_equal(net.predict(lazy).get(), net.predict(cp.asarray(-X)).get())


# -- what fits, what is converted, what is refused ---------------------------------------------------------------------


def test_data_on_the_device_that_fit_are_not_copied(gpu: str, cp: ModuleType) -> None:
    x, y, weights = cp.asarray(X), cp.asarray(Y), cp.asarray(WEIGHTS)
    data = network()._data(tn.MeanSquaredError(), x, y, weights)
    assert [data.x.data.ptr, data.y.data.ptr, data.weight.data.ptr] == [x.data.ptr, y.data.ptr, weights.data.ptr]
    converted = network(dtype="float64")._data(tn.MeanSquaredError(), x, y)
    assert converted.x.dtype == converted.y.dtype == np.float64


@pytest.mark.parametrize(
    "places", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1)], ids=lambda p: "".join("hd"[i] for i in p)
)
@pytest.mark.parametrize("target", ["values", "labels", "rows"])
def test_data_may_lie_on_the_device_or_the_host_in_any_mixture(
    gpu: str, cp: ModuleType, places: tuple[int, ...], target: str
) -> None:
    y = {"values": Y, "labels": LABELS, "rows": np.eye(3)[LABELS]}[target]
    loss = "mse" if target == "values" else "cross_entropy"
    arguments: dict[str, Any] = (
        {"loss": loss, "epochs": 2, "metrics": "mae"}
        if target != "labels"
        else {"loss": loss, "epochs": 2, "metrics": "accuracy", "class_weight": "balanced"}
    )
    put = [cp.asarray if place else np.asarray for place in places]
    expected = network("numpy")
    expected.fit(X, y, sample_weight=WEIGHTS, **arguments)
    net = network()
    net.fit(put[0](X), put[1](y), sample_weight=put[2](WEIGHTS), **arguments)
    np.testing.assert_allclose(net.flat_parameters(), expected.flat_parameters(), rtol=0, atol=1e-5)
    ours = net.evaluate(put[0](X), put[1](y), sample_weight=put[2](WEIGHTS))
    assert ours == pytest.approx(expected.evaluate(X, y, sample_weight=WEIGHTS), rel=1e-5)


REFUSED = {
    "NaN": (lambda a: a.__setitem__((3, 1), np.nan), ValueError, r"x must be finite; got nan in row 3, column 1"),
    "infinity": (lambda a: a.__setitem__((36, 0), -np.inf), ValueError, r"got -inf in row 36, column 0"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_what_is_not_finite_on_the_device_is_found(gpu: str, cp: ModuleType, case: str, dtype: str) -> None:
    spoil, error, message = REFUSED[case]
    x = X.astype(dtype)
    spoil(x)
    net = network()
    before = net.flat_parameters()
    for call in (lambda a: net.predict(a), lambda a: net.fit(a, Y), lambda a: net.forward(a)):
        with pytest.raises(error, match=message):
            call(cp.asarray(x))
    np.testing.assert_array_equal(net.flat_parameters(), before)


def test_large_numbers_on_the_device_are_finite_and_those_that_do_not_fit_are_refused(gpu: str, cp: ModuleType) -> None:
    huge = np.full((5, 4), 3e38, "float32")
    network().forward(cp.asarray(huge))
    network(dtype="float64").forward(cp.asarray(np.full((5, 4), 1.7e308)))
    with pytest.raises(ValueError, match=r"x must fit into float32; its largest magnitude is 1e\+300"):
        network().predict(cp.asarray(np.full((5, 4), 1e300)))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((5, 3)), ValueError, r"expects x of shape \(batch, 4\); got \(5, 3\)"),
        (np.zeros(4), ValueError, r"got the 1-D shape \(4,\)"),
        (np.zeros((0, 4)), ValueError, "at least one sample"),
        (np.zeros((5, 4), complex), TypeError, "complex numbers"),
    ],
)
def test_device_arrays_of_a_wrong_kind_are_refused(
    gpu: str, cp: ModuleType, x: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        network().predict(cp.asarray(x))


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("bce", np.full((37, 3), 1.5), r"targets in \[0, 1\]; got values from 1.5 to 1.5"),
        ("cross_entropy", np.full(37, 3), r"must lie in 0..2.*got 3"),
        ("cross_entropy", np.full(37, -1), r"got -1"),
        ("cross_entropy", np.full(37, 0.5), r"whole numbers; got 0.5"),
        ("cross_entropy", np.full((37, 3), 0.5), "rows of y that are probabilities"),
    ],
)
def test_targets_are_checked_on_the_device(gpu: str, cp: ModuleType, loss: str, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network().fit(cp.asarray(X), cp.asarray(y), loss=loss)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_cpu_backends_refuse_device_arrays_and_name_the_remedy(cp: ModuleType, backend: str) -> None:
    net, x = network(backend), cp.asarray(X)
    for call in (net.predict, net.forward, lambda a: net.fit(X, a), lambda a: net.set_weights([a] * 4)):
        with pytest.raises(TypeError, match=r"must be in host memory.*\.get\(\), or use backend='gpu'"):
            call(x)


# -- how often the device is asked -------------------------------------------------------------------------------------


class Traffic:
    """Counts what crosses the bus: copies up, and copies down, for each of which the device is waited for."""

    def __init__(self, cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: list[tuple[int, ...]] = []
        self.down: list[tuple[int, ...]] = []
        up, down = cupy.ndarray.set, cupy.ndarray.get

        def set(array: Any, *args: Any, **keywords: Any) -> Any:
            self.up.append(array.shape)
            return up(array, *args, **keywords)

        def get(array: Any, *args: Any, **keywords: Any) -> Any:
            self.down.append(array.shape)
            return down(array, *args, **keywords)

        monkeypatch.setattr(cupy.ndarray, "set", set)
        monkeypatch.setattr(cupy.ndarray, "get", get)


@pytest.fixture
def traffic(gpu: str, cp: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    return Traffic(cp, monkeypatch)


def test_data_go_up_once_a_fit_and_losses_come_down_once_an_epoch(traffic: Traffic) -> None:
    net = network()
    net.fit(X, Y, epochs=1)
    traffic.up.clear()
    traffic.down.clear()
    net.fit(X, Y, sample_weight=WEIGHTS, epochs=8, batch_size=8, optimizer=tn.SGD(0.01))
    data, rest = [(37, 4), (37, 3), (37,)], traffic.up.copy()
    for shape in data:
        rest.remove(shape)
    orders = [shape for shape in rest if shape[-1] == 37]
    assert sum(n_epochs for n_epochs, _ in orders) == 8
    assert [shape for shape in rest if shape not in orders] == [(0, net.n_parameters)]
    losses = [shape for shape in traffic.down if shape == (5,)]
    assert len(losses) == 8
    # Beside the losses, one look at the parameters for each call.
    assert len(traffic.down) == 8 + len(orders)


def test_data_on_the_device_do_not_travel(traffic: Traffic, cp: ModuleType) -> None:
    x, labels, weights = cp.asarray(X), cp.asarray(LABELS), cp.asarray(WEIGHTS)
    traffic.up.clear()
    network().fit(x, labels, sample_weight=weights, loss="cross_entropy", optimizer=tn.SGD(0.01), shuffle=False)
    assert not [shape for shape in traffic.up + traffic.down if 37 in shape]


def test_a_check_waits_for_the_device_once(traffic: Traffic, cp: ModuleType) -> None:
    from tinynet.base.arrays import as_samples
    from tinynet.losses import CrossEntropy, as_weights

    x, labels, weights, double = map(cp.asarray, (X, LABELS, WEIGHTS, X.astype("float64")))
    for check in (
        lambda: as_samples(x, "x", 4, "float32"),
        lambda: as_samples(double, "x", 4, "float32"),
        lambda: CrossEntropy().check_target(labels, 3, "float32"),
        lambda: as_weights(weights, 37, "float32"),
    ):
        traffic.down.clear()
        check()
        assert len(traffic.down) == 1


def test_a_prediction_on_the_device_waits_once(traffic: Traffic, cp: ModuleType) -> None:
    net, x = network(), cp.asarray(X)
    net.predict(x)
    traffic.down.clear()
    net.predict(x)
    assert len(traffic.down) == 1
