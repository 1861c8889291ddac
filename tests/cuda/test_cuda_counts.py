"""What an epoch of training with validation asks of the device: a count of launches, graphs, copies and waits."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn

RNG = np.random.default_rng(12)
X, Y = RNG.standard_normal((40, 3)), RNG.standard_normal((40, 2))
SETTINGS: dict[str, Any] = {"loss": "mse", "epochs": 3, "batch_size": 5, "validation_data": (X[:7], Y[:7])}


def network(width: int = 5) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 2), seed=0, backend="gpu")


class Counts(tn.Callback):
    """The counts of each epoch."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.epochs: list[dict[str, int]] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append({name: n for name, n in self.machine.counts.items() if n})
        self.machine.counts.clear()


# The host waits for the losses, to know whether parameters are finite, and for the validation. Five launches are the
# training's own loop: what it would go back to, and the look for what is not finite; two are the validation.
EPOCH = {"uploads": 1, "waits": 3}
LAUNCHES = {"registers": 8, "persistent": 8, "spread": 7, "graph": 7, "loop": 80, "large": 80}
MANY = {"warp": (8, 2), "registers": (8, 2), "persistent": (8, 2), "batched": (80, 5)}
"""Launches and uploads of many models."""


@pytest.mark.parametrize("tier", LAUNCHES)
def test_an_epoch_of_one_model(machine: Machine, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    counts = Counts(machine)
    network().fit(X, Y, optimizer=tn.Adam(0.01), callbacks=[counts], **SETTINGS)
    first, *later = counts.epochs
    graphs = {"graphs": 1} if tier in ("spread", "graph") else {}
    assert first.get("captures", 0) == len(graphs)
    assert later == [EPOCH | graphs | {"launches": LAUNCHES[tier]}] * 2


@pytest.mark.parametrize("tier", ["spread", "graph"])
def test_an_epoch_of_a_model_that_stores_columns(machine: Machine, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    counts = Counts(machine)
    layers = (tn.Linear(3, 5), tn.Normalize(5).adapt(RNG.standard_normal((9, 5)) + 2), tn.Tanh(), tn.Linear(5, 2))
    net = tn.Sequential(*layers, seed=0, backend="gpu")
    here = net.clone().to("numpy")
    net.fit(X, Y, optimizer=tn.Adam(0.01), callbacks=[counts], **SETTINGS)
    here.fit(X, Y, optimizer=tn.Adam(0.01), **SETTINGS)
    np.testing.assert_allclose(net.flat_parameters(), here.flat_parameters(), rtol=1e-4, atol=1e-5)
    # They are float64, and converted for the training and for the validation.
    later = EPOCH | {"graphs": 1, "launches": LAUNCHES[tier] + 2}
    assert counts.epochs[0]["captures"] == 1
    assert counts.epochs[1:] == [later] * 2


@pytest.mark.parametrize("tier", MANY)
def test_an_epoch_of_many_models(machine: Machine, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    counts = Counts(machine)
    tn.Ensemble(network(), 3).fit(X, Y, optimizer=tn.Adam(0.01), callbacks=[counts], **SETTINGS)
    launches, uploads = MANY[tier]
    assert counts.epochs[1:] == [EPOCH | {"launches": launches, "uploads": uploads}] * 2


@pytest.mark.parametrize("tier", ["spread", "graph"])
def test_a_graph_is_for_the_memory_that_it_was_made_for(
    machine: Machine, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    net, here, settings = network(), network().to("numpy"), {"loss": "mse", "epochs": 2, "batch_size": 5}
    optimizers = tn.Adam(0.01), tn.Adam(0.01)
    # The same data lie elsewhere in each fit; others have another number of updates, the last ones of a graph in vain.
    for x, y, captures in ((X, Y, 1), (X[:33], Y[:33], 1), (X[:3], Y[:3], 0), (X, Y, 1)):
        machine.counts.clear()
        for model, optimizer in zip((net, here), optimizers, strict=True):
            model.fit(x, y, optimizer=optimizer, callbacks=[tn.Callback()], **settings)
        np.testing.assert_allclose(net.flat_parameters(), here.flat_parameters(), rtol=1e-4, atol=1e-5)
        assert machine.counts["captures"] == captures


@pytest.mark.parametrize("counts", [[40, 40, 3, 33, 70, 500], [1, 2, 3], [5, 64, 64], [32, 31, 1, 30]])
def test_repetitions_are_all_done_and_few_are_in_vain(
    cp: ModuleType, counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinynet_kernels.cuda.fused import graphs

    done: list[int] = []
    monkeypatch.setattr(graphs, "captured", lambda work: SimpleNamespace(launch=graph_of(work)))

    def graph_of(work: Callable[[], None]) -> Callable[[], None]:
        work()
        size = done.pop()
        return lambda: done.append(size)

    repeated = graphs.Repeated()
    for count in counts:
        done.clear()
        repeated(done.append, "here", count)
        assert count <= sum(done) <= count + 3 * graphs.MOST // 4
        assert len(done) <= 2 + count // 16  # Launches, of graphs and of updates left over.


def test_calls_that_are_alike_are_launches_of_one_graph(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet_kernels.cuda.fused import graphs

    done: list[str] = []
    monkeypatch.setattr(graphs, "captured", lambda work: SimpleNamespace(launch=lambda: done.append("graph")))
    repeated = graphs.Repeated()
    for _ in range(3):
        repeated(lambda count: done.append("direct"), "here", 20)
    assert done == ["direct", "graph", "graph", "graph"]


@pytest.mark.parametrize("tier", ["registers", "warp", "persistent", "spread", "graph"])
def test_batch_sizes_share_machine_code(machine: Machine, tier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    for batch_size in (9, 10, 12):  # As many threads share their tiles.
        net, here = network(), network().to("numpy")
        for model in (net, here):
            model.fit(X, Y, loss="mse", optimizer=tn.Adam(0.01), epochs=2, batch_size=batch_size)
        np.testing.assert_allclose(net.flat_parameters(), here.flat_parameters(), rtol=1e-4, atol=1e-5)
    assert len(machine.sources) == 2  # The training, and the look for what is not finite.


@pytest.mark.parametrize("widths", [((3, 5, 2), (64, 33, 1), (2, 1, 40)), ((65, 70, 66), (150, 129, 80))])
def test_widths_share_machine_code_where_each_product_is_a_kernel(
    machine: Machine, widths: tuple[tuple[int, int, int], ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_GPU_TIER", "graph")
    for n_in, wide, n_out in widths:  # No more terms than a slab has, or more: there are kernels for each.
        x, y = RNG.standard_normal((9, n_in)), RNG.standard_normal((9, n_out))
        middle = tn.Normalize(wide).adapt(RNG.standard_normal((9, wide)) + 2)
        layers = tn.Linear(n_in, wide), tn.GELU(), middle, tn.Dropout(0.2), tn.Linear(wide, n_out), tn.Tanh()
        net = tn.Sequential(*layers, seed=0, dtype="float64", backend="gpu")
        here = net.clone().to("numpy")
        for model in (net, here):
            model.fit(x, y, loss="mse", optimizer=tn.Adam(0.01), epochs=2, batch_size=7)
        np.testing.assert_allclose(net.flat_parameters(), here.flat_parameters(), rtol=1e-9, atol=1e-9)
    assert len([names for _, names, _ in machine.sources if any("graph_" in name for name in names or ())]) == 1


def test_uploads_of_any_sizes_keep_apart(cp: ModuleType) -> None:
    from tinynet_kernels.cuda.fused.uploads import LEAST_BYTES, Uploads

    uploads = Uploads()
    for n in (3, 0, LEAST_BYTES, 5):  # Grows once, and is then larger than it need be.
        arrays = [np.arange(n), np.full((2, n), 0.5, np.float32), np.zeros(1, np.uint8), np.arange(4.0).reshape(2, 2)]
        for got, sent in zip(uploads(arrays), arrays, strict=True):
            assert got.data.ptr % 256 == 0 or not n
            np.testing.assert_array_equal(got.get(), sent)
