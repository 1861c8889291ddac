"""Networks with large layers: products in blocks, which threads share, agree with the loop and with one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fused_programs import OPTIMIZERS
from tinynet_kernels.cpu.generated.layout import LARGE_BLOCK, LARGE_LAYER
from tinynet_kernels.cpu.generated.table import Table

import tinynet as tn
from tinynet.backends.numba import generated
from tinynet.base import config

A, B = 719, 733
"""Odd widths, whose product is just large."""

assert LARGE_LAYER <= A * B < 1.1 * LARGE_LAYER

CASES: dict[str, tuple[Callable[[], list[tn.Layer]], str, str, int, str]] = {
    "descent": (lambda: [tn.Linear(A, B), tn.ReLU(), tn.Linear(B, 2)], "sgd", "mse", 32, "float32"),
    "everything": (
        lambda: [
            tn.Normalize(A).adapt(np.arange(3.0 * A).reshape(3, A) % 5),
            *(tn.Linear(A, B), tn.GELU(), tn.Dropout(0.2), tn.Linear(B, A, bias=False), tn.ELU(0.5), tn.Linear(A, 2)),
        ],
        "adam, decay",
        "mse",
        37,
        "float64",
    ),
    "without epsilon": (
        lambda: [tn.Linear(A, 9), tn.Tanh(), tn.Linear(9, 9), tn.Linear(9, A), tn.Linear(A, B), tn.Linear(B, 2)],
        "adam, no epsilon",
        "mse",
        33,
        "float64",
    ),
    "a large output": (lambda: [tn.Linear(A, B), tn.Softmax()], "nesterov", "mae-wide", 33, "float64"),
    "parts of a batch": (
        lambda: [tn.Linear(A, B), tn.Tanh(), tn.Linear(B, 2)],
        "clip norm",
        "mse",
        LARGE_BLOCK + 9,
        "float64",
    ),
}


@pytest.fixture(autouse=True)
def _threads_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even small works be shared."""
    monkeypatch.setattr(generated, "THREAD_WORK", 1)
    monkeypatch.setattr(generated, "MEETING_WORK", 1)


def results(name: str, backend: str, threads: int) -> list[Any]:
    """Return the losses of two epochs, the parameters, a gradient, predictions and an evaluation."""
    layers, optimizer, loss_name, batch, dtype = CASES[name]
    rng, n = np.random.default_rng(0), batch + 13
    net = tn.Sequential(*layers(), dtype=dtype, seed=0, backend=backend)
    x, y = rng.normal(size=(n, A)).astype(dtype), rng.normal(size=(n, net.program.n_out)).astype(dtype)
    loss, chosen = (
        {"mse": tn.MeanSquaredError(), "mae-wide": tn.MeanAbsoluteError()}[loss_name],
        OPTIMIZERS[optimizer](),
    )
    net.prepare_optimizer(chosen)
    plan = net.plan(loss, chosen, y, batch, "epoch")
    order = np.stack([rng.permutation(n) for _ in range(2)])
    with config.use_threads(threads):
        losses = plan.run(net.state, x, y, order, np.full((2, 1), 0.003))
        value = plan.gradient(net.state, x, y)
        predicted = [np.empty((rows, net.program.n_out), dtype) for rows in (40, n)]
        finite = [plan.predict(net.state, x[: len(out)], out) for out in predicted]
        found = [value, plan.evaluate(net.state, x, y), plan.evaluate(net.state, x[:40], y[:40])]
    assert all(finite)
    return [losses, net.flat_parameters(), net.state.gradients.copy(), *predicted, np.array(found)]


@pytest.mark.parametrize("name", CASES)
def test_large_layers_agree_with_the_loop_and_do_not_depend_on_threads(name: str) -> None:
    loop, alone = results(name, "numpy", 1), results(name, "numba", 1)
    tolerance = {"float32": 2e-4, "float64": 1e-9}[CASES[name][-1]]
    for found, expected in zip(alone, loop, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    for threads in (2, 3):
        together = results(name, "numba", threads)
        assert [array.tobytes() for array in together] == [array.tobytes() for array in alone]


def test_every_thread_has_its_share_of_the_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = [0, 0, 0]
    words = Table.words

    def counted(table: Table, addresses: Any, thread: int = 0, *, sharing: int = 1) -> Any:
        made = words(table, addresses, thread, sharing=sharing)
        if sharing > 1:
            products = {addresses["products", name] for name in ("product_rows", "gradient")}
            shares[thread] += sum(int(row[0]) in products for row in made)
        return made

    monkeypatch.setattr(Table, "words", counted)
    results("everything", "numba", 3)
    assert 0 < max(shares) <= 1.25 * min(shares)


def test_the_plan_says_that_products_are_in_blocks() -> None:
    x = np.zeros((2, A), "float32")
    net = tn.Sequential(tn.Linear(A, B), seed=0, backend="numba")
    assert "in blocks that threads share" in net.fit(x, np.zeros((2, B)), epochs=1).plan
