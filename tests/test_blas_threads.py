"""The number of threads of the matrix products."""

import threading

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
    assert in_force() == before


def test_overlapping_limits_of_two_python_threads_leave_nothing_behind() -> None:
    before = in_force()
    entered, may_leave = threading.Event(), threading.Event()

    def other() -> None:
        with blas_threads.at_most(2):
            entered.set()
            may_leave.wait()

    thread = threading.Thread(target=other)
    with blas_threads.at_most(3):
        thread.start()
        entered.wait()
    may_leave.set()
    thread.join()
    assert in_force() == before


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
