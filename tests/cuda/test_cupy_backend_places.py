"""Several GPUs and several threads: everything of a model is on its device, and on the stream of whoever calls."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.estimators import MLPRegressor

RNG = np.random.default_rng(24)
X = RNG.standard_normal((40, 4)).astype("float32")
Y = RNG.standard_normal((40, 3)).astype("float32")


def network(backend: str) -> tn.Sequential:
    layers = tn.Normalize(4).adapt(X), tn.Linear(4, 6), tn.Tanh(), tn.Dropout(0.2), tn.Linear(6, 3)
    return tn.Sequential(*layers, seed=6, backend=backend)


class Interface:
    """An array of another library: nothing but its ``__cuda_array_interface__``, or DLPack."""

    def __init__(self, array: Any, name: str) -> None:
        if name == "__cuda_array_interface__":
            self.__cuda_array_interface__ = array.__cuda_array_interface__
        else:
            self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


@pytest.mark.parametrize("name", ["__cuda_array_interface__", "__dlpack__"])
def test_other_libraries_arrays_are_not_copied_between_devices(two: str, name: str) -> None:
    cupy = sys.modules["cupy"]
    net, here = network("gpu:1"), cupy.asarray(X)
    with cupy.cuda.Device(1):
        there = cupy.asarray(X)
        expected = net.predict(there).get()
    np.testing.assert_array_equal(net.predict(Interface(there, name)).get(), expected)
    with pytest.raises(ValueError, match=r"must lie on GPU 1.*got an array on GPU 0"):
        net.predict(Interface(here, name))


def test_ensembles_live_on_the_device_of_their_network(two: str, tmp_path: Any) -> None:
    net, cpu = network("gpu:1"), network("numpy")
    models, here = (tn.Ensemble(each, n_models=3, seeds=[1, 2, 3]) for each in (net, cpu))
    for each in (models, here):
        each.fit(X, Y, epochs=2, batch_size=8, optimizer=tn.Adam([0.1, 0.01, 0.001]))
    expected = here.predict(X)
    models.save(tmp_path / "models.npz")
    loaded = tn.Ensemble.load(tmp_path / "models.npz", backend="gpu:1")
    for again in (models, loaded, tn.Ensemble.concatenate([models[:1], models[1:]]), models[[0, 1, 2]]):
        assert again.state.parameters.device.id == again.state.buffers.device.id == 1
        np.testing.assert_allclose(again.predict(X), expected, rtol=1e-4, atol=1e-5)
    for i, model in enumerate(models):
        np.testing.assert_allclose(model.predict(X), expected[i], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(models.to("gpu:0").to("gpu:1").predict(X), expected, rtol=1e-4, atol=1e-5)


def test_estimators_train_on_the_second_device(two: str) -> None:
    chosen: dict[str, Any] = {"hidden_layer_sizes": (5,), "random_state": 0, "solver": "sgd"}
    scores = []
    for backend in ("gpu:1", "numpy"):
        model = MLPRegressor(backend=backend, **chosen)
        for _ in range(2):
            model.partial_fit(X, Y)
        scores.append(model.predict(X))
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-3, atol=1e-4)


def test_worker_threads_work_on_the_device_and_the_stream_of_their_caller(two: str) -> None:
    cupy, place = sys.modules["cupy"], tn.get_backend("gpu:1")

    def where() -> tuple[int, Any]:
        return cupy.cuda.Device().id, cupy.cuda.get_current_stream()

    with cupy.cuda.Device(1):
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            following = place.following()

    def follow() -> list[Any]:
        before = where()
        with following():
            within = where()
        return [before, within, where()]

    with ThreadPoolExecutor(1) as pool:
        before, within, after = pool.submit(follow).result()
    assert before == after == (0, cupy.cuda.Stream.null)
    assert within == (1, stream)


def test_models_trained_by_threads_stay_on_the_users_stream(two: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = sys.modules["cupy"]
    from tinynet.backends.members import MembersPlan

    monkeypatch.setattr(MembersPlan, "_threaded", True)

    def trained(backend: str) -> Any:
        models = tn.Ensemble(network(backend), n_models=4, seeds=range(4))
        models.fit(X, Y, epochs=1, batch_size=8, threads=2)
        return models.predict(X)

    with cupy.cuda.Device(1):
        # Everything is on the user's stream: what is not ordered with it would be read before it is there.
        stream = cupy.cuda.Stream(non_blocking=True).use()
        try:
            got = trained("gpu:1")
            assert cupy.cuda.get_current_stream() == stream
        finally:
            cupy.cuda.Stream.null.use()
    np.testing.assert_allclose(got, trained("numpy"), rtol=1e-4, atol=1e-5)
