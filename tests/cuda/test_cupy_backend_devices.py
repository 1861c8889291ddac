"""Which GPU computes, what is said where none can, and what happens where its memory ends."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib import metadata
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import fake_cupy
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn
from tinynet.cli import info
from tinynet.cli import main as cli

RNG = np.random.default_rng(24)
X = RNG.standard_normal((40, 4)).astype("float32")
Y = RNG.standard_normal((40, 3)).astype("float32")


def network(backend: Any = "gpu", **settings: Any) -> tn.Sequential:
    layers = tn.Normalize(4).adapt(X), tn.Linear(4, 6), tn.Tanh(), tn.Dropout(0.2), tn.Linear(6, 3)
    return tn.Sequential(*layers, seed=6, backend=backend, **settings)


# -- devices -----------------------------------------------------------------------------------------------------------


def test_each_device_has_a_backend_of_its_own(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tn.get_backend("gpu"), tn.get_backend("gpu:1")
    assert (first.name, second.name) == ("cupy", "cupy:1")
    assert tn.get_backend("cupy:0") is tn.get_backend("gpu", device=0) is first
    assert tn.get_backend("GPU", device=1) is tn.get_backend("cupy:1") is second
    monkeypatch.setenv("TINYNET_BACKEND", "gpu:1")
    assert tn.get_backend() is second
    with tn.use_backend("gpu:0"):
        assert tn.get_backend() is first
    monkeypatch.setenv("TINYNET_BACKEND", "gpu")
    assert tn.get_backend(device=1) is second


def test_a_model_lives_and_trains_on_the_device_it_was_given(two: str) -> None:
    cupy = sys.modules["cupy"]
    models = [network("gpu", device=1), network("gpu:0"), network("numpy")]
    for net in models:
        net.fit(X, Y, epochs=2, batch_size=8, validation_split=0.2, metrics="mae")
        net.forward(X)
        net.backward(Y)
        tn.SGD(0.1).step(net)
        net.zero_grad()
    assert [net.state.parameters.device.id for net in models[:2]] == [1, 0]
    assert cupy.cuda.Device().id == 0
    for net in models[:2]:
        np.testing.assert_allclose(net.flat_parameters(), models[2].flat_parameters(), atol=1e-5)
        np.testing.assert_allclose(net.clone().predict(X), models[2].predict(X), atol=1e-5)
    assert "backend='cupy:1'" in repr(models[0])


def test_everything_that_belongs_to_the_second_device_works_while_the_first_is_current(two: str) -> None:
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(1):
        there = cupy.asarray(X)
    net = network("gpu:1")
    assert net.predict(there).device.id == 1
    assert tn.MeanSquaredError().backward(there, X * 0).device.id == 1
    net.layers[1].weight = np.ones((4, 6), "float32")
    net.set_weights(net.get_weights())
    assert tn.gradient_check(net, X[:2], Y[:2]).passed
    layer = tn.Linear(4, 2).build(backend="gpu:1")
    assert layer.forward(there).device.id == 1
    assert tn.Normalize(4).build(backend="gpu:1").adapt(there).forward(there).device.id == 1
    with tn.use_backend("gpu:1"):
        from tinynet import notebook

        assert notebook.TanH().backward is not None
        assert notebook.Linear(4, 2).forward(X).shape == (40, 2)


def test_training_streams_to_the_second_device(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resident = network("gpu:1")
    resident.fit(X, Y, batch_size=8)
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    monkeypatch.setattr(importlib.import_module("tinynet.backends.cupy.streaming"), "CHUNK_BYTES", 300)
    streamed = network("gpu:1")
    assert "chunks" in streamed.fit(X, Y, batch_size=8).plan
    np.testing.assert_array_equal(streamed.flat_parameters(), resident.flat_parameters())


def test_models_move_between_devices(two: str) -> None:
    net = network("gpu")
    expected = net.predict(X)
    for place in ("gpu:1", "gpu:0", "numpy"):
        np.testing.assert_allclose(net.to(place).predict(X), expected, rtol=1e-5, atol=1e-6)
    assert net.to("gpu", device=1).backend.name == "cupy:1"


def test_an_array_of_another_device_is_an_error_that_says_where_it_lies(two: str) -> None:
    cupy = sys.modules["cupy"]
    net, here = network("gpu:1"), cupy.asarray(X)
    before = net.flat_parameters()
    for call in (net.predict, net.forward, lambda x: net.fit(x, Y), lambda x: net.fit(X, x[:, :3])):
        with pytest.raises(ValueError, match=r"must lie on GPU 1.*got an array on GPU 0.*net.to\('gpu:0'\)"):
            call(here)
    np.testing.assert_array_equal(net.flat_parameters(), before)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("gpu:7",), tn.BackendUnavailableError, r"was asked for GPU 7; CUDA sees 1, counted from 0"),
        (("gpu:x",), ValueError, r"as in 'gpu:1', the second GPU; got 'gpu:x'"),
        (("numpy:1",), ValueError, r"as in 'gpu:1', the second GPU; got 'numpy:1'"),
        (("abacus:1",), ValueError, r"backend must be one of 'auto', 'cpu'.*got 'abacus'"),
        (("gpu:1", 1), ValueError, r"device is part of the name 'gpu:1' already; got device=1 as well"),
        (("numpy", 0), ValueError, r"device chooses a GPU, for backend='gpu'; got device=0 with the backend 'numpy'"),
        (("gpu", -1), ValueError, r"device must be a whole number >= 0; got -1"),
        (("gpu", 0.5), TypeError, r"device must be a whole number; got 0.5"),
    ],
)
def test_a_device_that_is_not_there_is_an_error(
    gpu: str, machine: Machine, arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tn.get_backend(*arguments)


def test_a_backend_itself_takes_no_device(gpu: str) -> None:
    with pytest.raises(ValueError, match="device goes with the name of a backend; got the backend 'cupy' itself"):
        tn.Sequential(tn.Linear(1, 1), backend=tn.get_backend(gpu), device=0)


# -- what is missing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(gpu: str, machine: Machine) -> Iterator[Machine]:
    """The simulated machine, whose driver is whole again when the test ends."""
    yield machine
    machine.driver_error = None
    machine.set_devices(1)


def unavailable(match: str) -> str:
    """Hold the error of asking for a GPU against what it should say; return what ``available`` says."""
    with pytest.raises(tn.BackendUnavailableError, match=match):
        tn.get_backend("gpu")
    told = tn.available()["cupy"]
    assert told is not None
    assert "pip install tinynet" not in told
    assert "\n" not in told
    return told


def test_without_a_driver_the_error_names_nvidia_smi(broken: Machine) -> None:
    broken.driver_error = 35
    told = unavailable(r"needs an NVIDIA GPU and its driver. Check that `nvidia-smi` lists a device")
    assert "cudaErrorInsufficientDriver" in told


def test_a_driver_too_old_for_the_cuda_runtime_is_told_apart(
    broken: Machine, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.driver_error = 35
    monkeypatch.setattr(cp.cuda.runtime, "driverGetVersion", lambda: 12040)
    told = unavailable(r"needs a driver for CUDA 13; the one here is for 12.4. Update the NVIDIA driver")
    assert 'pip install "cupy-cuda12x[ctk]"' in told


@pytest.mark.parametrize("error", [100, None])
def test_without_a_device_the_error_says_so(broken: Machine, error: int | None) -> None:
    broken.driver_error = error
    broken.set_devices(0)
    broken.driver_version, broken.runtime_version = 13000, 13020  # Of one major version: they get on with each other.
    told = unavailable(r"needs an NVIDIA GPU and its driver.*CUDA_VISIBLE_DEVICES")
    assert "13.2" not in told


@pytest.mark.parametrize("what", ["nvrtc", "headers", "cublas", "runtime"])
def test_missing_libraries_are_an_error_with_the_extra_that_brings_them(
    gpu: str, machine: Machine, cp: ModuleType, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"cannot load lib{what}.so.13:\ncannot open shared object file"

    def fail(*args: Any, **keywords: Any) -> Any:
        raise cp.cuda.compiler.CompileException(words) if what == "headers" else RuntimeError(words)

    if what == "runtime":
        monkeypatch.setattr(cp.cuda.runtime, "getDeviceCount", fail)
    elif what == "cublas":
        monkeypatch.setattr(cp.cuda.cublas, "gemmEx", fail)
    else:
        from tinynet_kernels.cuda import loading

        loading._KERNELS.clear()
        monkeypatch.setattr(cp, "RawModule", fail)
    told = unavailable(rf"needs the CUDA libraries.*lib{what}.so.13: cannot open shared object file")
    assert 'pip install "cupy-cuda13x[ctk]"' in told


def test_a_device_that_computes_nonsense_is_not_used(
    gpu: str, machine: Machine, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cp.cuda.cublas, "gemmEx", lambda *arguments: None)
    unavailable(r"expects 3 \* 3 to be 9 on GPU 0; got \[\[9.0\], \[nan\]\]")


def test_two_cupys_are_an_error_that_names_both(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def __init__(self, name: str) -> None:
            self.name = name

    installed = [Distribution(name) for name in ("numpy", "cupy-cuda13x", "cupy-cuda12x")]
    monkeypatch.setattr(metadata, "distributions", lambda: installed)
    unavailable(r"cupy-cuda12x and cupy-cuda13x overwrite each other.*pip uninstall cupy-cuda12x cupy-cuda13x")


def test_info_tells_the_device_and_the_libraries(two: str) -> None:
    told = info.report()
    rows = {line[:14].strip(): line[14:] for line in told.splitlines()}
    assert rows["cupy"] == "works"
    for number in (0, 1):
        assert rows[f"GPU {number}"].startswith("Simulated H100, compute capability 9.0, ")
        assert rows[f"GPU {number}"].endswith(" of 85.9 GB free")
    assert rows["driver"] == "for CUDA 13.0"
    assert rows["CUDA"] == "13.0"
    assert rows["NVRTC"] == "13.0"
    assert rows["cuBLAS"] == "130100"


def test_info_tells_of_a_device_that_cannot_be_used(two: str, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = cp.cuda.runtime.getDeviceProperties

    def busy(number: int) -> Any:
        if number == 1:
            raise cp.cuda.runtime.CUDARuntimeError(46)
        return properties(number)

    monkeypatch.setattr(cp.cuda.runtime, "getDeviceProperties", busy)
    told = info.report()
    assert "GPU 0         Simulated H100" in told
    assert "GPU 1         not usable: cudaErrorDevicesUnavailable" in told


def test_the_command_takes_a_device(two: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data.csv"
    np.savetxt(data, np.column_stack([X, Y[:, 0]]), delimiter=",", header="a,b,c,d,y", comments="")
    options = ["--backend", "gpu:1", "--epochs", "1", "--layers", "4", "--plot", "none"]
    assert cli.main(["train", str(data), *options, "--out", str(tmp_path / "net.npz")]) == 0
    assert cli.main(["predict", str(tmp_path / "net.npz"), str(data), "--backend", "gpu:1"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["train", str(data), "--backend", "gpu:one"])
    assert "as in 'gpu:1', the second GPU; got 'gpu:one'" in capsys.readouterr().err


# -- where memory ends -------------------------------------------------------------------------------------------------


def leave(n_bytes: int) -> None:
    """Let the first device have this much memory left."""
    pool = fake_cupy.current().pools[0]
    pool.cached = 0
    pool.total = pool.used + n_bytes


def assert_explains(error: pytest.ExceptionInfo[tn.DeviceMemoryError], *words: str) -> None:
    text = str(error.value)
    for word in (*words, "are free", "smaller batch_size", "float32", "TINYNET_GPU_DATA_BYTES=0"):
        assert word in text
    assert isinstance(error.value, MemoryError)


def test_data_that_find_no_room_are_named_with_their_size(
    gpu: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    before = net.flat_parameters()
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", str(1 << 40))
    leave(5_000)
    with pytest.raises(tn.DeviceMemoryError) as error:
        net.fit(np.tile(X, (10, 1)), np.tile(Y, (10, 1)))
    assert_explains(error, "x of shape (400, 4), float32: 6.4 kB", "5 kB of ")
    machine.pools[0].total = 80 << 30
    np.testing.assert_array_equal(net.flat_parameters(), before)
    net.fit(X, Y)


def test_a_batch_that_finds_no_room_leaves_the_model_as_it_was(gpu: str, machine: Machine) -> None:
    net = tn.Sequential(tn.Linear(4, 3), tn.Tanh(), tn.Linear(3, 3), backend=gpu, seed=0)
    before = net.flat_parameters()
    x, y = np.ones((4_000, 4), "float32"), np.ones((4_000, 3), "float32")
    leave(300_000)
    with pytest.raises(tn.DeviceMemoryError) as error:
        net.fit(x, y, batch_size=4_000, optimizer="adam")
    assert_explains(error)
    np.testing.assert_array_equal(net.flat_parameters(), before)
    net.fit(x, y, batch_size=100, optimizer="adam")


class Hungry(tn.Layer):
    """Asks for more than there is, from some call on."""

    calls, last = 0, 0

    def forward(self, x: Any) -> Any:
        self.calls += self.training
        if self.training and self.calls > self.last:
            tn.numpy_namespace(x).empty(1 << 40, "float32")
        return x * 1

    def backward(self, grad: Any) -> Any:
        return grad


@pytest.mark.parametrize("by_batch", [False, True])
def test_memory_that_ends_within_an_epoch_gives_the_weights_of_the_last_complete_one(
    gpu: str, machine: Machine, by_batch: bool
) -> None:
    kept: list[Any] = []
    layer = Hungry()
    net = tn.Sequential(tn.Linear(4, 3), layer, backend=gpu, seed=0)
    layer.last = 12  # Two epochs of five batches, and two batches.
    callbacks: list[tn.Callback] = [tn.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(net.get_weights()))]
    if by_batch:
        callbacks.append(tn.LambdaCallback(on_train_batch_end=lambda batch, logs: None))
    optimizer = tn.Adam(0.1)
    with pytest.raises(tn.DeviceMemoryError) as error:
        net.fit(X, Y, epochs=4, batch_size=8, optimizer=optimizer, callbacks=callbacks)
    assert_explains(error, "a temporary array")
    assert net.history is not None
    assert net.history.stop_reason == "out of memory"
    assert len(kept) == 2
    for weight, expected in zip(net.get_weights(), kept[-1], strict=True):
        np.testing.assert_array_equal(weight, expected)
    layer.last = 1 << 30
    assert np.isfinite(net.fit(X, Y, epochs=1, optimizer=optimizer)["loss"][0])


def test_predictions_that_find_no_room_say_so(gpu: str, machine: Machine, cp: ModuleType) -> None:
    net, x = network(), cp.asarray(np.tile(X, (100, 1)))
    leave(10_000)
    with pytest.raises(tn.DeviceMemoryError) as error:
        net.predict(x)
    assert_explains(error)
