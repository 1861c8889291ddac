"""The library on a GPU: the tests that take a backend, once more, and what is particular to a second kind of memory."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import test_arrays
import test_callbacks
import test_custom
import test_files
import test_fit
import test_gradients
import test_notebook_exercises
import test_resume
import test_settings
from test_gradients import LOSSES, N_OUT, TARGETS, network
from test_gradients import X as SAMPLES

import tinynet as tn
from tinynet import notebook

RNG = np.random.default_rng(22)
X = RNG.standard_normal((30, 4))
Y = RNG.standard_normal((30, 3))

ELSEWHERE = {
    "test_the_gradient_check_passes": "here, for a sample of the cases",
    "test_float32_gradients_are_the_float64_ones_rounded": "hands NumPy arrays to a plan",
    "test_accepted_as_if_it_were_numpy": "about NumPy's side only",
    "test_a_custom_parameter_is_trained_and_is_a_view": "looks at views as NumPy's",
    "test_gradients_add_up_until_they_are_set_to_zero": "looks at views as NumPy's",
    "test_weights_can_be_changed_in_place": "looks at views as NumPy's",
    "test_a_layer_by_itself_computes_what_the_model_computes": "looks at views as NumPy's",
    "test_a_native_fit_makes_the_same_steps": "long, and nothing but fit",
}
MODULES = (
    *(test_arrays, test_callbacks, test_custom, test_files, test_fit, test_gradients, test_notebook_exercises),
    *(test_resume, test_settings),
)
for module in MODULES:
    for name, test in vars(module).items():
        takes_backend = inspect.isfunction(test) and "backend" in inspect.signature(test).parameters
        if name.startswith("test_") and takes_backend and name not in ELSEWHERE:
            globals()[name.replace("test_", f"{module.__name__}_", 1)] = test


@pytest.fixture
def backend(gpu: str) -> str:
    """The backend of the tests that come from elsewhere."""
    return gpu


def trained(backend: str, **settings: Any) -> tn.Sequential:
    layers = tn.Normalize(4).adapt(X), tn.Linear(4, 6), tn.Tanh(), tn.Dropout(0.2), tn.Linear(6, 3)
    net = tn.Sequential(*layers, dtype="float64", seed=4, backend=backend)
    net.fit(X, Y, epochs=2, batch_size=8, **settings)
    return net


@pytest.mark.parametrize(
    ("kind", "loss"), [("gelu", "mse"), ("softmax", "huber"), ("elu", "cross-entropy-labels"), ("silu", "bce-logits")]
)
def test_gradients_are_those_of_central_differences(gpu: str, kind: str, loss: str) -> None:
    chosen, target = LOSSES[loss]
    report = tn.gradient_check(network(kind, gpu), SAMPLES[:3], TARGETS[target][:3], loss=chosen)
    assert report.max_relative_error < 1e-7, str(report)
    assert np.shape(network(kind, gpu).predict(SAMPLES))[1] == N_OUT


def test_parameters_are_writable_views_on_the_device(gpu: str, cp: ModuleType) -> None:
    net = tn.Sequential(tn.Linear(2, 1, weight_init="zeros"), dtype="float64", backend=gpu)
    layer = net.layers[0]
    assert isinstance(layer.weight, cp.ndarray)
    layer.weight[...] = 2.0
    layer.bias = np.array([1.0])
    np.testing.assert_array_equal(net.predict([[1.0, 3.0]]), [[9.0]])
    layer.weight = cp.asarray([[1.0], [0.0]])
    np.testing.assert_array_equal(net.predict([[1.0, 3.0]]), [[2.0]])
    assert [type(weight) for weight in net.get_weights()] == [np.ndarray, np.ndarray]


def test_weights_are_set_from_arrays_of_either_memory(gpu: str, cp: ModuleType) -> None:
    net = tn.Sequential(tn.Linear(4, 3), backend=gpu)
    w, b = RNG.standard_normal((4, 3)).astype("float32"), np.ones(3, "float32")
    for put in (np.asarray, cp.asarray):
        net.set_weights([put(w), b * 2])
        net.set_weights([put(w), put(b)])
        np.testing.assert_array_equal(net.get_weights()[0], w)
        np.testing.assert_array_equal(net.get_weights()[1], b)


def test_models_move_between_backends_with_all_that_they_hold(gpu: str) -> None:
    net = trained("numpy")
    expected = net.predict(X)
    next_pass = net.clone().forward(X)
    moved = net.clone().to(gpu)
    assert moved.backend.name == "cupy"
    np.testing.assert_allclose(moved.predict(X), expected, rtol=1e-12)
    np.testing.assert_allclose(moved.clone().forward(X), next_pass, rtol=1e-12)
    np.testing.assert_array_equal(moved.to("numpy").flat_parameters(), net.flat_parameters())
    np.testing.assert_allclose(moved.predict(X), expected, rtol=1e-12)


@pytest.mark.parametrize(("written", "read"), [("numpy", "gpu"), ("gpu", "numpy"), ("gpu", "gpu")])
def test_files_of_one_backend_are_read_by_the_other(gpu: str, written: str, read: str, tmp_path: Path) -> None:
    net = trained(written)
    net.save(tmp_path / "net.npz")
    again = tn.load(tmp_path / "net.npz", backend=read)
    np.testing.assert_array_equal(again.flat_parameters(), net.flat_parameters())
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-12)


class Stop(Exception):
    pass


@pytest.mark.parametrize(("first", "second"), [("numpy", "gpu"), ("gpu", "numpy"), ("gpu", "gpu")])
@pytest.mark.parametrize("unit", ["epoch", "update"])
def test_a_checkpoint_of_one_backend_resumes_on_the_other(
    gpu: str, first: str, second: str, unit: str, tmp_path: Path
) -> None:
    def model(backend: str) -> tn.Sequential:
        return tn.Sequential(
            tn.Linear(4, 6), tn.Tanh(), tn.Dropout(0.2), tn.Linear(6, 3), dtype="float64", seed=4, backend=backend
        )

    def fit(net: tn.Sequential, stop_after: int | None = None, **more: Any) -> tn.History:
        def stop(epoch: int, logs: Any) -> None:
            if epoch == stop_after:
                raise Stop

        callbacks = [tn.EarlyStopping("loss", patience=9), tn.LambdaCallback(on_epoch_end=stop)]
        callbacks.append(tn.Checkpoint(tmp_path / "half.npz", every=1 if unit == "epoch" else 3, unit=unit))
        return net.fit(X, Y, epochs=4, batch_size=8, optimizer=tn.Adam(0.01), callbacks=callbacks, **more)

    whole = model("numpy")
    expected = fit(whole)
    with pytest.raises(Stop):
        fit(model(first), stop_after=2)
    resumed = model(second)
    history = fit(resumed, resume_from=tmp_path / "half.npz")
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-10)
    np.testing.assert_allclose(resumed.flat_parameters(), whole.flat_parameters(), rtol=0, atol=1e-10)


def test_an_own_loop_makes_the_steps_of_fit(gpu: str, cp: ModuleType) -> None:
    fitted, own = (tn.Sequential(tn.Linear(4, 3), dtype="float64", seed=1, backend=gpu) for _ in range(2))
    fitted.fit(X, Y, epochs=3, batch_size=30, shuffle=False, optimizer=tn.Adam(0.01, clip_norm=0.5))
    loss, optimizer, x, y = tn.MeanSquaredError(), tn.Adam(0.01, clip_norm=0.5), cp.asarray(X), cp.asarray(Y)
    for _ in range(3):
        own.zero_grad()
        prediction = own.forward(x)
        own.backward(loss.backward(prediction, y))
        optimizer.step(own)
    np.testing.assert_allclose(own.flat_parameters(), fitted.flat_parameters(), rtol=0, atol=1e-14)


def test_losses_by_themselves_take_device_arrays(gpu: str, cp: ModuleType) -> None:
    weights = np.linspace(0.5, 1.5, 30)
    for loss in (tn.MeanSquaredError(), tn.Huber(0.5)):
        value = loss(cp.asarray(X[:, :3]), Y, cp.asarray(weights))
        gradient = loss.backward(cp.asarray(X[:, :3]), cp.asarray(Y), weights)
        assert value == pytest.approx(loss(X[:, :3], Y, weights), rel=1e-12)
        np.testing.assert_allclose(gradient.get(), loss.backward(X[:, :3], Y, weights), rtol=1e-12)


def test_normalize_adapts_to_device_arrays(gpu: str, cp: ModuleType) -> None:
    x = np.column_stack([X, np.full(30, 0.1)])
    there = tn.Normalize(5).build("float64", backend=gpu).adapt(cp.asarray(x))
    here = tn.Normalize(5).build("float64", backend="numpy").adapt(x)
    np.testing.assert_allclose(there.forward(x), here.forward(x), rtol=1e-12, atol=1e-12)
    assert there.scale.get()[4] == 1.0


@pytest.mark.parametrize("where", ["device", "host", "streamed"])
def test_denormalize_scales_targets_that_lie_anywhere(
    gpu: str, cp: ModuleType, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "streamed":
        monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "1000")
    y, nets = 1000 * Y + 5e5, []
    for backend in ("numpy", gpu):
        data = (cp.asarray(X), cp.asarray(y)) if where == "device" and backend == gpu else (X, y)
        layers = tn.Linear(4, 5), tn.Tanh(), tn.Linear(5, 3), tn.Denormalize(3).adapt(y)
        net = tn.Sequential(*layers, dtype="float64", seed=1, backend=backend)
        history = net.fit(*data, epochs=2, batch_size=8, validation_split=0.2, metrics="mae")
        nets.append((net.evaluate(*data, metrics="mae"), net.predict(X), history["val_mae"], history["val_loss"]))
    for there, here in zip(*nets, strict=True):
        there, here = (list(a.values()) if isinstance(a, dict) else a for a in (there, here))
        np.testing.assert_allclose(there, here, rtol=1e-9)


class Scale(tn.Layer):
    """A layer as a user writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.add_parameter("factor", (1,), init="ones")

    def forward(self, x: Any) -> Any:
        self.x = x
        return tn.numpy_namespace(x).tanh(x) * self.factor

    def backward(self, grad: Any) -> Any:
        t = tn.numpy_namespace(grad).tanh(self.x)
        self.factor_grad[...] = (grad * t).sum()
        return grad * self.factor * (1 - t * t)


class Quartic(tn.Loss):
    """A loss as a user writes it; its value may stay on the device."""

    def forward(self, prediction: Any, target: Any) -> Any:
        return ((prediction - target) ** 4).mean()

    def backward(self, prediction: Any, target: Any) -> Any:
        return 4 * (prediction - target) ** 3 / prediction.size


def test_layers_and_losses_of_the_user_train_as_on_numpy(gpu: str) -> None:
    results = []
    for backend in (gpu, "numpy"):
        net = tn.Sequential(tn.Linear(4, 3), Scale(), dtype="float64", seed=5, backend=backend)
        history = net.fit(X, Y, loss=Quartic(), epochs=3, batch_size=8, validation_data=(X, Y))
        results.append((history["loss"], history["val_loss"], net.flat_parameters()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_a_layer_that_computes_in_numpy_on_the_device_is_told_so(gpu: str) -> None:
    class Host(tn.Layer):
        def forward(self, x: Any) -> Any:
            return np.ones(x.shape)

        def backward(self, grad: Any) -> Any:
            return grad

    net = tn.Sequential(tn.Linear(4, 3), Host(), backend=gpu)
    with pytest.raises(TypeError, match=r"Host.forward must return an array of cupy.*numpy_namespace"):
        net.predict(X)


def test_the_notebook_runs_on_the_device_on_plain_arrays(gpu: str) -> None:
    results = []
    for backend in (gpu, "numpy"):
        with tn.use_backend(backend):
            np.random.seed(0)
            layer, activation, loss = notebook.Linear(4, 3), notebook.Sigmoid(), notebook.MeanSquareError()
            y = activation.forward(layer.forward(X))
            value = loss.forward(y, Y)
            dx = layer.backward(X, activation.backward(loss.backward()))
            results.append([np.array(value), dx, layer.gradWeight, layer.gradBias])
    for ours, theirs in zip(*results, strict=True):
        assert type(ours) is np.ndarray
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
