"""The fit loop: what it does to data, weights and history."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(53, 3))
Y = np.stack([np.sin(X.sum(axis=1)), X[:, 0] * X[:, 1]], axis=1)


def network(backend: str = "numpy", dtype: str = "float64", seed: int = 1) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, 6), tn.Tanh(), tn.Linear(6, 2), dtype=dtype, seed=seed, backend=backend)


def test_training_lowers_the_loss(backend: str) -> None:
    history = network(backend).fit(X, Y, optimizer=tn.Adam(0.01), epochs=50, batch_size=8)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_run_to_the_last_bit(backend: str, dtype: str) -> None:
    runs = []
    for _ in range(2):
        net = network(backend, dtype)
        history = net.fit(X, Y, optimizer="adam", epochs=5, batch_size=8)
        runs.append((history["loss"], net.flat_parameters().tobytes()))
    assert runs[0] == runs[1]


def test_backends_agree_to_rounding() -> None:
    nets = [network(backend) for backend in ("numpy", "numba")]
    losses = [net.fit(X, Y, optimizer=tn.SGD(0.05, momentum=0.9), epochs=20, batch_size=8)["loss"] for net in nets]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-12)
    np.testing.assert_allclose(nets[0].flat_parameters(), nets[1].flat_parameters(), rtol=1e-9, atol=1e-12)


def test_epochs_in_one_fit_equal_epochs_in_several() -> None:
    together, apart = network(), network()
    optimizer = tn.Adam(0.01)
    whole = together.fit(X, Y, optimizer=tn.Adam(0.01), epochs=6, batch_size=8)["loss"]
    parts = [apart.fit(X, Y, optimizer=optimizer, epochs=2, batch_size=8)["loss"] for _ in range(3)]
    assert whole == [loss for part in parts for loss in part]
    assert together.flat_parameters().tobytes() == apart.flat_parameters().tobytes()


def test_a_new_optimizer_starts_afresh() -> None:
    net = network()
    net.fit(X, Y, optimizer=tn.Adam(0.01), epochs=2)
    net.fit(X, Y, optimizer=tn.Adam(0.01), epochs=1)
    assert net.state.step == math.ceil(len(X) / 32)


def by_hand(net: tn.Sequential, batches: list[np.ndarray], rate: float) -> list[float]:
    """Plain NumPy gradient descent on the mean squared error, from the same weights."""
    w1, b1, w2, b2 = net.get_weights()
    losses = []
    for rows in batches:
        x, t = X[rows], Y[rows]
        h = np.tanh(x @ w1 + b1)
        p = h @ w2 + b2
        losses.append(float(np.mean((p - t) ** 2)))
        dp = 2.0 * (p - t) / p.size
        dh = dp @ w2.T * (1.0 - h**2)
        w2, b2 = w2 - rate * h.T @ dp, b2 - rate * dp.sum(axis=0)
        w1, b1 = w1 - rate * x.T @ dh, b1 - rate * dh.sum(axis=0)
    losses.append(float(w1.sum() + w2.sum() + b1.sum() + b2.sum()))
    return losses


def test_an_epoch_equals_the_formulas_with_a_ragged_last_batch(backend: str) -> None:
    net = network(backend)
    batches = [np.arange(start, min(start + 10, 53)) for start in range(0, 53, 10)]
    expected = by_hand(net, batches, 0.1)
    loss = net.fit(X, Y, optimizer=tn.SGD(0.1), batch_size=10, shuffle=False)["loss"][0]
    weighted = sum(value * len(rows) for value, rows in zip(expected, batches, strict=False)) / 53
    assert loss == pytest.approx(weighted, rel=1e-12)
    assert net.flat_parameters().sum() == pytest.approx(expected[-1], rel=1e-12)


def test_shuffle_visits_every_sample_once_in_the_generators_order(backend: str) -> None:
    net = network(backend)
    order = np.random.default_rng()
    order.bit_generator.state = net.rng.bit_generator.state
    permutation = order.permutation(53)
    expected = by_hand(net, [permutation[i : i + 10] for i in range(0, 53, 10)], 0.1)
    net.fit(X, Y, optimizer=tn.SGD(0.1), batch_size=10, shuffle=True)
    assert net.flat_parameters().sum() == pytest.approx(expected[-1], rel=1e-12)


def test_replacement_draws_every_sample_from_all(backend: str) -> None:
    net = network(backend)
    order = np.random.default_rng()
    order.bit_generator.state = net.rng.bit_generator.state
    drawn = order.integers(0, 53, 53)
    expected = by_hand(net, [drawn[i : i + 10] for i in range(0, 53, 10)], 0.1)
    net.fit(X, Y, optimizer=tn.SGD(0.1), batch_size=10, shuffle="replacement")
    assert net.flat_parameters().sum() == pytest.approx(expected[-1], rel=1e-12)


def test_drop_last_leaves_the_small_batch_out(backend: str) -> None:
    net = network(backend)
    expected = by_hand(net, [np.arange(start, start + 10) for start in range(0, 50, 10)], 0.1)
    net.fit(X, Y, optimizer=tn.SGD(0.1), batch_size=10, shuffle=False, drop_last=True)
    assert net.flat_parameters().sum() == pytest.approx(expected[-1], rel=1e-12)


def test_reduction_sum_reports_the_epochs_total() -> None:
    net, same = network(), network()
    mean = net.fit(X, Y, optimizer=tn.SGD(1e-9), shuffle=False)["loss"][0]
    total = same.fit(X, Y, loss=tn.MeanSquaredError(reduction="sum"), optimizer=tn.SGD(1e-9), shuffle=False)["loss"][0]
    assert total == pytest.approx(mean * X.shape[0] * 2, rel=1e-5)


def test_sample_weights_of_whole_numbers_equal_repeated_samples(backend: str) -> None:
    weights = np.arange(53) % 3
    repeated = np.repeat(np.arange(53), weights)
    a, b = network(backend), network(backend)
    total = tn.MeanSquaredError(reduction="sum")
    a.fit(X, Y, loss=total, optimizer=tn.SGD(0.001), batch_size=53, shuffle=False, sample_weight=weights)
    b.fit(X[repeated], Y[repeated], loss=total, optimizer=tn.SGD(0.001), batch_size=99, shuffle=False)
    np.testing.assert_allclose(a.flat_parameters(), b.flat_parameters(), rtol=1e-12)


def test_class_weight_equals_sample_weights(backend: str) -> None:
    labels = (X[:, 0] > 0).astype(int)
    a, b = network(backend), network(backend)
    a.fit(X, labels, loss="cross_entropy", class_weight={0: 2.0, 1: 0.5}, shuffle=False)
    b.fit(X, labels, loss="cross_entropy", sample_weight=np.where(labels == 0, 2.0, 0.5), shuffle=False)
    assert a.flat_parameters().tobytes() == b.flat_parameters().tobytes()


def test_balanced_class_weight_is_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    labels = (X[:, 0] > 0.7).astype(int)
    a, b = network(), network()
    a.fit(X, labels, loss="cross_entropy", class_weight="balanced", shuffle=False)
    b.fit(X, labels, loss="cross_entropy", sample_weight=compute_sample_weight("balanced", labels), shuffle=False)
    np.testing.assert_allclose(a.flat_parameters(), b.flat_parameters(), rtol=1e-12)


def test_validation_is_measured_after_each_epoch(backend: str) -> None:
    net = network(backend)
    history = net.fit(X, Y, epochs=3, validation_data=(X[:10], Y[:10]), metrics=["mae", "r2"])
    last = net.evaluate(X[:10], Y[:10], metrics=["mae", "r2"])
    assert set(history.history) == {"loss", "mae", "r2", "val_loss", "val_mae", "val_r2", "learning_rate"}
    assert {name: history["val_" + name][-1] for name in last} == last


def test_validation_split_holds_out_the_end() -> None:
    net, same = network(), network()
    a = net.fit(X, Y, epochs=2, validation_split=0.25)
    b = same.fit(X[:40], Y[:40], epochs=2, validation_data=(X[40:], Y[40:]))
    assert a.history == b.history


def test_a_metric_may_be_any_callable() -> None:
    def worst(prediction: np.ndarray, target: np.ndarray) -> float:
        return float(np.abs(prediction - target).max())

    net = network()
    history = net.fit(X, Y, epochs=2, metrics=[worst])
    assert history["worst"][-1] == np.abs(net.predict(X) - Y).max()


def test_evaluate_leaves_the_model_alone_and_dropout_off(backend: str) -> None:
    net = tn.Sequential(tn.Linear(3, 8), tn.Dropout(0.5), tn.Linear(8, 2), seed=0, backend=backend)
    before = net.flat_parameters().tobytes(), net.state.draws
    figures = {net.evaluate(X, Y, loss="mse")["loss"] for _ in range(3)}
    assert len(figures) == 1
    assert (net.flat_parameters().tobytes(), net.state.draws) == before


def test_a_diverging_training_stops_and_gives_the_best_weights_back(backend: str) -> None:
    net = network(backend)
    with np.errstate(all="ignore"), pytest.raises(tn.DivergenceError, match=r"epoch \d+.*learning rate") as caught:
        net.fit(X, Y, optimizer=tn.SGD(1e6), epochs=200, batch_size=8)
    assert np.isfinite(net.flat_parameters()).all()
    assert all(np.array_equal(a, b) for a, b in zip(net.get_weights(), caught.value.best_weights, strict=True))
    assert caught.value.history is net.history
    assert caught.value.epoch == len(net.history)
    assert np.isfinite(net.predict(X)).all()


class Interrupt(tn.Callback):
    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 3:
            raise KeyboardInterrupt


def test_an_interrupt_leaves_a_usable_model_with_its_history() -> None:
    net = network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=100, callbacks=[Interrupt()])
    assert net.history is not None
    assert len(net.history) == 4
    assert np.isfinite(net.predict(X)).all()
    assert len(net.fit(X, Y, epochs=2)) == 2


def test_data_on_disk_trains_as_data_in_memory(backend: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xy"]
    on_disk, in_memory = network(backend, "float32"), network(backend, "float32")
    on_disk.fit(*mapped, epochs=3, batch_size=8)
    in_memory.fit(X, Y, epochs=3, batch_size=8)
    assert on_disk.flat_parameters().tobytes() == in_memory.flat_parameters().tobytes()
    assert on_disk.predict(mapped[0]).tobytes() == in_memory.predict(X).tobytes()


def test_a_batch_larger_than_the_data_is_the_data(backend: str) -> None:
    a, b = network(backend), network(backend)
    assert a.fit(X, Y, batch_size=1000, shuffle=False).history == b.fit(X, Y, batch_size=53, shuffle=False).history


def test_the_plan_is_told() -> None:
    net = network("numpy")
    net.fit(X, Y)
    assert net.history is not None
    assert net.history.plan.startswith("loop: ")


class Count(tn.Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.calls.append(("epoch", epoch))

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        assert np.isfinite(logs["loss"])
        self.calls.append(("batch", batch))


def test_hooks_on_batches_see_every_update_and_change_nothing(backend: str) -> None:
    watched, alone, count = network(backend), network(backend), Count()
    a = watched.fit(X, Y, epochs=2, batch_size=30, callbacks=[count])
    b = alone.fit(X, Y, epochs=2, batch_size=30)
    assert count.calls == [("epoch", 0), ("batch", 0), ("batch", 1), ("epoch", 1), ("batch", 0), ("batch", 1)]
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-14)
    np.testing.assert_allclose(watched.flat_parameters(), alone.flat_parameters(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_prints_progress(capsys: pytest.CaptureFixture[str], verbose: int) -> None:
    network().fit(X, Y, epochs=3, verbose=verbose)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("epoch 3/3  loss ")
    assert verbose == 1 or len(lines) == 3


def test_progress_ends_with_the_last_epoch_where_training_stops_early(capsys: pytest.CaptureFixture[str]) -> None:
    history = network().fit(X, Y, epochs=50, callbacks=tn.EarlyStopping("loss", patience=1, min_delta=1e9), verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  loss")[0] for line in lines] == ["epoch  1/50", "epoch  3/50"]
    assert repr(history).startswith("History(3 epochs; last: loss ")
    assert repr(history).endswith("; stopped: loss has not improved since epoch 1)")


def test_holding_out_the_end_of_what_is_sorted_by_class_is_told(backend: str) -> None:
    x, numbers = np.linspace(-1, 1, 30)[:, np.newaxis], np.arange(30) // 10
    net = tn.Sequential(tn.Linear(1, 3), seed=0, backend=backend)
    with pytest.warns(UserWarning, match="y is sorted by class: they are of 1 of 3 classes. Shuffle") as told:
        net.fit(x, numbers, loss="cross_entropy", validation_split=0.2)
    assert [warning.filename for warning in told] == [__file__]
    binary = tn.Sequential(tn.Linear(1, 1), tn.Sigmoid(), seed=0, backend=backend)
    with pytest.warns(UserWarning, match="of 1 of 2 classes"):
        tn.Ensemble(binary, 2).fit(x, numbers > 0, loss="bce", validation_split=0.2)
    # Not where the classes are mixed, nor of numbers, which may well rise with time.
    net.fit(x, np.arange(30) % 3, loss="cross_entropy", validation_split=0.2)
    tn.Sequential(tn.Linear(1, 1), seed=0, backend=backend).fit(x, x, validation_split=0.2)


def test_nothing_is_printed_when_nobody_asks(capsys: pytest.CaptureFixture[str]) -> None:
    network().fit(X, Y, epochs=3)
    assert capsys.readouterr() == ("", "")
