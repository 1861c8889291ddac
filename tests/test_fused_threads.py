"""Large batches in blocks, on any number of threads, and models on threads of the caller's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fused_programs import LOSSES, OPTIMIZERS

import tinynet as tn
from tinynet.base import config


def strips(n_in: int, *widths: int) -> list[tn.Layer]:
    found: list[tn.Layer] = [tn.Normalize(n_in).adapt(np.arange(3.0 * n_in).reshape(3, n_in) ** 2)]
    for n_out in widths:
        found += [tn.Linear(n_in, n_out), tn.ELU(0.7)]
        n_in = n_out
    return [*found, tn.Identity(), tn.Linear(n_in, 3)]


BLOCKED: dict[str, tuple[Callable[[], list[tn.Layer]], str, str]] = {
    "plain": (lambda: [tn.Linear(3, 24), tn.Tanh(), tn.Linear(24, 24), tn.GELU(), tn.Linear(24, 3)], "sgd", "mse"),
    "small": (lambda: [tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 3)], "momentum", "mse"),
    "adam": (
        lambda: [tn.Linear(3, 40), tn.ReLU(), tn.Linear(40, 40, bias=False), tn.Linear(40, 3)],
        "adam, decay",
        "huber",
    ),
    "odd widths": (lambda: strips(3, 41, 7), "momentum", "bce-logits"),
    "labels": (lambda: strips(3, 33), "rmsprop", "cross-entropy"),
    "rows": (lambda: [tn.Tanh(), *strips(3, 50)], "clip norm", "cross-entropy-rows"),
    "wide": (lambda: [tn.Linear(3, 160), tn.Tanh(), tn.Linear(160, 3)], "clip value", "mse-sum"),
    "softmax": (lambda: [tn.Linear(3, 40), tn.Softmax(), tn.Linear(40, 3)], "adamw", "mae"),
}
BATCH_OF_BLOCKS = 2600


@pytest.mark.parametrize(
    ("name", "form"),
    [*((name, "plain") for name in BLOCKED), ("labels", "weighted"), ("small", "weighted"), ("adam", "in place")],
)
def test_large_batches_agree_with_the_loop_and_do_not_depend_on_threads(name: str, form: str) -> None:
    layers, optimizer, loss = BLOCKED[name]
    rng = np.random.default_rng(3)
    n = 5003
    targets = {
        "values": rng.normal(size=(n, 3)),
        "bits": rng.integers(0, 2, size=(n, 3)).astype(float),
        "labels": rng.integers(0, 3, size=n),
        "rows": rng.dirichlet(np.ones(3), size=n),
    }
    x, y = rng.normal(size=(n, 3)), targets[LOSSES[loss][1]]
    options: dict[str, Any] = {"loss": LOSSES[loss][0], "epochs": 3, "batch_size": BATCH_OF_BLOCKS}
    options |= {
        "shuffle": form != "in place",
        "sample_weight": rng.uniform(0.5, 2.0, n) if form == "weighted" else None,
    }
    outcomes = []
    for backend, threads in (("numpy", 1), ("numba", 1), ("numba", 2), ("numba", 3), ("numba", 20)):
        net = tn.Sequential(*layers(), dtype="float64", seed=0, backend=backend)
        history = net.fit(x, y, optimizer=OPTIMIZERS[optimizer](), threads=threads, **options)
        outcomes.append((np.array(history["loss"]), net.flat_parameters()))
    np.testing.assert_allclose(outcomes[1][0], outcomes[0][0], rtol=1e-11)
    np.testing.assert_allclose(outcomes[1][1], outcomes[0][1], rtol=1e-8, atol=1e-10)
    for losses, parameters in outcomes[2:]:
        assert losses.tobytes() == outcomes[1][0].tobytes()
        assert parameters.tobytes() == outcomes[1][1].tobytes()


@pytest.mark.parametrize("widths", [(1,), (5, 3), (64, 64), (128,)])
def test_strips_of_any_width_agree_with_the_loop(widths: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(4100, 2)), rng.normal(size=(4100, 3))
    ends = []
    for backend in ("numpy", "numba"):
        net = tn.Sequential(*strips(2, *widths), dtype="float32", seed=0, backend=backend)
        net.fit(x, y, optimizer=tn.SGD(0.01), epochs=2, batch_size=2050)
        ends.append(net.flat_parameters())
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-4, atol=1e-5)


def test_models_train_side_by_side_in_python_threads() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(4001, 3)), rng.normal(size=(4001, 3))

    def train(seed: int) -> bytes:
        net = tn.Sequential(*BLOCKED["plain"][0](), seed=seed, backend="numba")
        net.fit(x, y, epochs=4, batch_size=4001, threads=2)
        return net.flat_parameters().tobytes() + net.predict(x).tobytes()

    alone = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(train, range(4))) == alone


def test_one_model_predicts_in_several_threads_at_once() -> None:
    net = tn.Sequential(*BLOCKED["plain"][0](), seed=0, backend="numba")
    x = [np.random.default_rng(i).normal(size=(500, 3)).astype("float32") for i in range(16)]
    alone = [net.predict(part) for part in x]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(net.predict, x))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def train_in_a_child(seed: int) -> bytes:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(4001, 3)), rng.normal(size=(4001, 3))
    net = tn.Sequential(*BLOCKED["plain"][0](), seed=seed, backend="numba")
    net.fit(x, y, epochs=2, batch_size=4001, threads=2)
    return net.flat_parameters().tobytes()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
def test_training_goes_on_after_a_fork() -> None:
    expected = train_in_a_child(1)
    # As joblib and multiprocessing do: fork a process that has trained on threads before.
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(train_in_a_child, [1, 1]) == [expected, expected]


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("1", 1)])
def test_the_environment_sets_the_threads(text: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_THREADS", text)
    assert config.threads() == threads


@pytest.mark.parametrize("text", ["0", "many", "-2"])
def test_a_senseless_number_of_threads_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_THREADS", text)
    with pytest.raises((ValueError, TypeError), match="TINYNET_THREADS must be a whole number"):
        config.threads()
