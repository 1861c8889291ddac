"""Choosing a backend, and what happens where one cannot run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import tinynet as tn
from tinynet.backends import NAMES
from tinynet.backends.base import Backend
from tinynet.backends.cupy import environment
from tinynet.program import LinearOp, Program


def name_of_default() -> str:
    return tn.Sequential(tn.Linear(1, 1)).backend.name


AUTOMATIC = "numba" if importlib.util.find_spec("numba") else "numpy"


def test_automatic_is_numba_where_it_is_installed() -> None:
    assert name_of_default() == AUTOMATIC


@pytest.mark.parametrize(
    ("name", "module"), [("numpy", "numpy"), ("numba", "numba"), ("cpu", "numba"), ("CPU", "numba")]
)
def test_the_environment_chooses(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", name)
    assert name_of_default() == module


def test_use_backend_beats_the_environment_and_an_argument_beats_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "numpy")
    with tn.use_backend("numba"):
        assert name_of_default() == "numba"
        assert tn.Sequential(tn.Linear(1, 1), backend="numpy").backend.name == "numpy"
    assert name_of_default() == "numpy"


def test_use_backend_holds_until_the_next_call() -> None:
    before = tn.use_backend("numpy")
    assert name_of_default() == "numpy"
    before.__exit__(None, None, None)
    assert name_of_default() == AUTOMATIC


def test_use_backend_refuses_before_it_changes_anything() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        tn.use_backend("torch")
    assert name_of_default() == AUTOMATIC


def test_an_unknown_name_in_the_environment_lists_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_BACKEND", "cuda")
    with pytest.raises(ValueError, match=r"TINYNET_BACKEND must be one of 'auto', 'cpu'.*; got 'cuda'"):
        tn.get_backend()


@pytest.mark.parametrize("has_driver", [True, False])
def test_who_has_no_gpu_is_not_sent_to_install_for_one(has_driver: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    library = "math.h" if not has_driver else None  # None is the running program, which can always be opened.
    monkeypatch.setattr(environment, "DRIVER", library)
    with pytest.raises(tn.BackendUnavailableError, match="needs CuPy") as caught:
        environment.usable_cupy(0)
    assert ("this machine has no driver" in str(caught.value)) is not has_driver


@pytest.mark.parametrize("name", ["gpu", "cupy"])
def test_a_missing_gpu_is_an_error_that_names_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("TINYNET_BACKEND", name)
    with pytest.raises(tn.BackendUnavailableError, match=r'pip install "cupy-cuda13x\[ctk\]"'):
        tn.Sequential(tn.Linear(1, 1))


def test_without_numba_automatic_is_numpy_and_asking_for_it_is_an_error() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import tinynet as tn\n"
        "print(tn.get_backend().name)\n"
        "try: tn.get_backend('numba')\n"
        "except tn.BackendUnavailableError as error: print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = result.stdout.splitlines()
    assert first == "numpy"
    assert "pip install numba" in second


def test_available_tells_what_runs_and_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    found = tn.available()
    assert set(found) == set(NAMES.values())
    assert found["numpy"] is None
    assert (found["numba"] is None) == (AUTOMATIC == "numba")
    assert found["cupy"] is not None
    assert "pip install" in found["cupy"]


def test_a_backend_is_made_once() -> None:
    assert tn.get_backend("numba") is tn.get_backend("cpu")


def test_a_backend_may_be_passed_itself() -> None:
    backend = tn.get_backend("numpy")
    assert tn.Sequential(tn.Linear(1, 1), backend=backend).backend is backend


def test_a_model_moves_to_another_backend_with_its_weights(backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    net = tn.Sequential(
        tn.Normalize(3).adapt(x), tn.Linear(3, 4), tn.Sigmoid(), tn.Linear(4, 2), seed=0, backend=backend
    )
    before = net.predict(x)
    moved = net.to("numpy" if backend == "numba" else "numba")
    assert moved is net
    np.testing.assert_allclose(moved.predict(x), before, rtol=1e-6)
    assert np.shares_memory(net.layers[1].weight, net.state.parameters)


@pytest.fixture
def place(backend: str) -> Backend:
    return tn.get_backend(backend)


def test_a_plan_allocates_nothing_that_the_caller_sees(place: Backend) -> None:
    program = Program((LinearOp(2, 3),), dtype="float64")
    state = place.new_state(program, np.arange(9.0))
    out = place.empty((4, 3), "float64")
    place.plan(program).predict(state, place.asarray(np.ones((4, 2))), out)
    np.testing.assert_array_equal(out, [[9.0, 12.0, 15.0]] * 4)


def test_a_plan_without_a_loss_cannot_train(place: Backend) -> None:
    program = Program((LinearOp(2, 3),), dtype="float64")
    state = place.new_state(program, np.arange(9.0))
    with pytest.raises(ValueError, match="without a loss or an optimizer"):
        place.plan(program).run(state, np.ones((4, 2)), np.ones((4, 3)), None, np.ones((1, 1)))
