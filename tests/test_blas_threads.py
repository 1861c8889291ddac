"""The number of threads of the matrix products."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tinynet_kernels import blas_threads

import tinynet as tn


def in_force() -> list[int]:
    return [int(library.get()) for library in blas_threads._libraries()]


@pytest.fixture(autouse=True)
def _needs_openblas() -> None:
    if not in_force():
        pytest.skip("neither NumPy nor SciPy uses OpenBLAS here")


def test_a_limit_holds_within_its_block_and_not_after() -> None:
    before = in_force()
    with blas_threads.at_most(2):
        assert set(in_force()) == {2}
        with blas_threads.at_most(1):
            assert set(in_force()) == {1}
        assert set(in_force()) == {2}
    assert in_force() == before


def test_overlapping_limits_of_two_python_threads_leave_nothing_behind() -> None:
    before = in_force()
    entered, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with blas_threads.at_most(2):
            entered.set()
            may_leave.wait()

    thread = threading.Thread(target=other, daemon=True)
    with blas_threads.at_most(3):
        thread.start()
        entered.wait()
    assert set(in_force()) == {2}
    may_leave.set()
    thread.join()
    assert in_force() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_limits_of_threads_that_a_forked_child_has_not_end_in_it() -> None:
    entered, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with blas_threads.at_most(2):
            entered.set()
            may_leave.wait()

    thread = threading.Thread(target=other, daemon=True)
    with blas_threads.at_most(3):
        thread.start()
        entered.wait()
        child = os.fork()
        if child == 0:
            os._exit(0 if set(in_force()) == {3} else 1)
        assert os.waitpid(child, 0)[1] == 0
        may_leave.set()
        thread.join()


class Watched:
    """A kernel that notes how many threads it may use."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.seen = kernel, set[int]()

    def __call__(self, *arguments: Any) -> None:
        self.seen |= set(in_force())
        self.kernel(*arguments)


@pytest.mark.parametrize(("width", "threads"), [(64, {1}), (300, {2})])
def test_small_products_take_one_thread_and_large_ones_what_there_are(
    width: int, threads: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = tn.Sequential(tn.Linear(6, width), tn.Linear(width, width), tn.Linear(width, 2), seed=0, backend="numpy")
    models = tn.Ensemble(net, 2)
    watched = Watched(net.backend.kernels.linear_forward)
    monkeypatch.setattr(net.backend.kernels, "linear_forward", watched)
    x, y = np.ones((500, 6)), np.ones((500, 2))
    with blas_threads.at_most(2):
        for model in (net, models):
            for use in (
                lambda model=model: model.predict(x),
                lambda model=model: model.evaluate(x, y, loss="mse"),
                lambda model=model: model.fit(x, y, epochs=1, batch_size=500),
            ):
                watched.seen.clear()
                use()
                assert watched.seen == threads


def test_small_products_have_the_same_bits_for_any_number_of_threads() -> None:
    """OpenBLAS shares products of this size out, and adds up in another order then."""
    x, y = np.random.default_rng(0).normal(size=(2, 23, 300))

    def found(threads: int) -> bytes:
        net = tn.Sequential(tn.Linear(300, 300), tn.Tanh(), tn.Linear(300, 300), dtype="float64", seed=0)
        net.to("numpy")
        with blas_threads.at_most(threads):
            net.fit(x, y, epochs=2, batch_size=23)
            return net.flat_parameters().tobytes() + net.predict(x).tobytes()

    assert found(1) == found(2) == found(3)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_uses_the_threads_it_is_given(backend: str, threads: int) -> None:
    seen = []
    watch = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.extend(in_force()))
    net = tn.Sequential(tn.Linear(3, 2), seed=0, backend=backend)
    net.fit(np.eye(3), np.ones((3, 2)), epochs=1, callbacks=watch, threads=threads)
    assert set(seen) == {threads}


def test_the_environment_gives_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_THREADS", "2")
    seen = []
    watch = tn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.extend(in_force()))
    tn.Sequential(tn.Linear(3, 2), seed=0).fit(np.eye(3), np.ones((3, 2)), epochs=1, callbacks=watch)
    assert set(seen) == {2}


def test_on_windows_the_library_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, libraries = tmp_path / "numpy", tmp_path / "numpy.libs"
    for folder in (package, libraries):
        folder.mkdir()
    for file in ("libscipy_openblas64_-0123.dll", "msvcp140-4567.dll"):
        (libraries / file).touch()
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(blas_threads, "find_spec", lambda name: spec)
    found = blas_threads._file("numpy", "linalg/_umath_linalg", "nt")
    assert found == str(libraries / "libscipy_openblas64_-0123.dll")
    assert blas_threads._file("numpy", "linalg/_umath_linalg", "posix") is None
