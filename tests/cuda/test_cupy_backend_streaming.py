"""Data that stay in host memory and go to the GPU in chunks: the same results, to the last bit."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn

RNG = np.random.default_rng(23)
X = RNG.standard_normal((61, 4)).astype("float32")
Y = RNG.standard_normal((61, 3)).astype("float32")
LABELS = RNG.integers(0, 3, 61)
WEIGHTS = RNG.uniform(0.5, 2.0, 61)
BATCH = 8
CHUNKS = {"of one batch": 1, "of some batches": 3 * BATCH * 4 * 7, "of everything": 1 << 26}


class Quartic(tn.Loss):
    """A loss as a user writes it."""

    def forward(self, prediction: Any, target: Any) -> Any:
        return ((prediction - target) ** 4).mean()

    def backward(self, prediction: Any, target: Any) -> Any:
        return 4 * (prediction - target) ** 3 / prediction.size


def network(**settings: Any) -> tn.Sequential:
    layers = tn.Linear(4, 6), tn.Tanh(), tn.Dropout(0.2), tn.Linear(6, 3)
    return tn.Sequential(*layers, seed=6, **{"backend": "gpu", **settings})


def set_chunk(monkeypatch: pytest.MonkeyPatch, n_bytes: int) -> None:
    streaming = importlib.import_module("tinynet.backends.cupy.streaming")
    monkeypatch.setattr(streaming, "CHUNK_BYTES", n_bytes)


def both_ways(monkeypatch: pytest.MonkeyPatch, run: Any) -> tuple[Any, Any]:
    """Return what ``run`` gives with the data on the device, and with them in host memory."""
    monkeypatch.delenv("TINYNET_GPU_DATA_BYTES", raising=False)
    resident = run()
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    return resident, run()


FITS: dict[str, dict[str, Any]] = {
    "shuffled": {},
    "in order": {"shuffle": False},
    "with replacement": {"shuffle": "replacement", "drop_last": True},
    "weights": {"sample_weight": WEIGHTS},
    "labels": {"y": LABELS, "loss": "cross_entropy", "class_weight": "balanced", "metrics": "accuracy"},
    "validation": {"validation_split": 0.4, "metrics": ["mae"]},
    "batch by batch": {"callbacks": [tn.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]},
    "custom loss": {"loss": Quartic(), "validation_split": 0.4},
}


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("case", FITS)
def test_streamed_training_equals_resident_training_to_the_last_bit(
    gpu: str, case: str, chunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk(monkeypatch, CHUNKS[chunk])
    arguments = {"y": Y, "epochs": 2, "batch_size": BATCH, "optimizer": "adam", **FITS[case]}

    def run() -> tuple[dict[str, list[float]], Any, str]:
        net = network()
        history = net.fit(X, **arguments)
        return history.history, net.flat_parameters(), history.plan

    resident, streamed = both_ways(monkeypatch, run)
    assert streamed[0] == resident[0]
    np.testing.assert_array_equal(streamed[1], resident[1])
    assert "chunks" in streamed[2]
    assert "chunks" not in resident[2]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_evaluations_of_streamed_data_are_those_of_resident_data(
    gpu: str, chunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk(monkeypatch, CHUNKS[chunk])
    plan = importlib.import_module("tinynet.backends.cupy.loop")
    monkeypatch.setattr(plan.CuPyLoopPlan, "predict_rows", 16)
    for loss in ("mse", Quartic()):
        resident, streamed = both_ways(monkeypatch, lambda loss=loss: network().evaluate(X, Y, loss=loss, metrics="r2"))
        assert streamed == resident


@pytest.mark.parametrize("chunk", CHUNKS)
def test_predictions_of_host_arrays_go_in_blocks(
    gpu: str, cp: ModuleType, chunk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = network()
    at_once = net.predict(cp.asarray(X)).get()
    set_chunk(monkeypatch, CHUNKS[chunk])
    plan = importlib.import_module("tinynet.backends.cupy.loop")
    monkeypatch.setattr(plan.CuPyLoopPlan, "predict_rows", 16)
    np.testing.assert_allclose(net.predict(X), at_once, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float64", ">i2"])
@pytest.mark.filterwarnings("ignore::tinynet.ScaleWarning")
def test_a_mapped_file_is_streamed_as_it_lies_on_the_disk(
    gpu: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk(monkeypatch, 3 * BATCH * 12)
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=dtype, shape=X.shape)
    mapped[:] = np.abs(X * 50).astype("uint8")

    def run() -> Any:
        net = network()
        net.fit(mapped, Y, epochs=2, batch_size=BATCH, optimizer=tn.SGD(1e-5))
        return net.flat_parameters()

    np.testing.assert_array_equal(*both_ways(monkeypatch, run))


def test_rows_of_a_chunk_are_aligned_as_in_the_whole_array(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 5 * 12)
    streaming = importlib.import_module("tinynet.backends.cupy.streaming")
    uploader, source = streaming.Uploader(tn.get_backend(gpu)), np.arange(300, dtype="float32").reshape(100, 3)
    cuts = [(start, start + 5) for start in range(0, 100, 5)]
    for chunk, (rows,) in uploader.chunks([source], None, cuts):
        assert chunk[0][0] * 12 % 512 == rows.data.ptr % 512
        np.testing.assert_array_equal(rows.get(), source[chunk[0][0] : chunk[-1][1]])


def test_a_model_streams_data_of_several_shapes_one_after_the_other(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 200)

    def run() -> Any:
        net = network()
        optimizer = tn.Adam(0.01)
        for rows, weight in ((20, None), (61, WEIGHTS), (33, None)):
            given = None if weight is None else weight[:rows]
            net.fit(X[:rows], Y[:rows], sample_weight=given, batch_size=BATCH, optimizer=optimizer)
        return net.flat_parameters()

    np.testing.assert_array_equal(*both_ways(monkeypatch, run))


def test_device_targets_come_down_where_the_samples_are_streamed(
    gpu: str, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(y: Any) -> Any:
        net = network()
        assert "chunks" in net.fit(X, y, batch_size=BATCH).plan
        return net.flat_parameters()

    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    np.testing.assert_array_equal(run(cp.asarray(Y)), run(Y))


def test_samples_on_the_device_are_never_streamed(gpu: str, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    assert "chunks" not in network().fit(cp.asarray(X), Y).plan


def test_gradients_are_checked_on_streamed_data(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    net = tn.Sequential(tn.Linear(4, 3), tn.Tanh(), backend="gpu", seed=0)
    assert tn.gradient_check(net, X[:3], Y[:3]).passed


def test_data_are_streamed_where_they_take_more_than_half_of_what_is_free(gpu: str, machine: Machine) -> None:
    net = tn.Sequential(tn.Linear(4, 1), backend=gpu, seed=0)
    machine.pools[0].total = machine.pools[0].used + machine.pools[0].cached + 400_000
    for rows, streamed in ((5_000, False), (12_000, True), (40_000, True)):
        x = np.ones((rows, 4), "float32")
        history = net.fit(x, x[:, 0], batch_size=500, optimizer=tn.SGD(0.1), shuffle=False)
        assert ("chunks" in history.plan) is streamed


@pytest.mark.parametrize("text", ["-1", "1.5", "much"])
def test_a_setting_that_is_no_number_of_bytes_is_refused(gpu: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", text)
    with pytest.raises(TypeError, match="TINYNET_GPU_DATA_BYTES must be a whole number; got"):
        network().fit(X, Y)


def test_what_fails_while_chunks_are_on_their_way_leaves_nothing_behind(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk(monkeypatch, 1)
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")

    class Fails(Quartic):
        broken = False

        def forward(self, prediction: Any, target: Any) -> Any:
            if self.broken:
                raise ZeroDivisionError
            return super().forward(prediction, target)

    loss, net = Fails(), network()
    loss.broken = True
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y, loss=loss, batch_size=BATCH)
    loss.broken = False
    net.set_weights(network().get_weights())
    net.fit(X, Y, loss=loss, batch_size=BATCH, optimizer="sgd", shuffle=False)
    assert np.isfinite(net.flat_parameters()).all()


@pytest.mark.parametrize("place", ["on the device", "in host memory"])
def test_everything_is_put_on_the_callers_stream(
    gpu: str, cp: ModuleType, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_chunk(monkeypatch, 1)
    expected = network()
    history = expected.fit(X, Y, epochs=2, batch_size=BATCH)
    if place == "in host memory":
        monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    with cp.cuda.Stream(non_blocking=True):
        net = network()
        assert net.fit(X, Y, epochs=2, batch_size=BATCH).history == history.history
        np.testing.assert_array_equal(net.predict(X), expected.predict(X))


def test_pinned_memory_that_the_system_refuses_is_an_error_and_the_model_is_intact(
    gpu: str, machine: Machine, cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(size: int) -> Any:
        raise cp.cuda.runtime.CUDARuntimeError(2)

    set_chunk(monkeypatch, 1)
    monkeypatch.setenv("TINYNET_GPU_DATA_BYTES", "0")
    net = network()
    before = net.flat_parameters()
    with monkeypatch.context() as patch:
        patch.setattr(cp.cuda, "alloc_pinned_memory", refuse)
        with pytest.raises(MemoryError, match="need 128 bytes of it pinned, which the system refuses: cudaErrorMemory"):
            net.fit(X, Y, batch_size=BATCH)
    np.testing.assert_array_equal(net.flat_parameters(), before)
    net.fit(X, Y, batch_size=BATCH)
