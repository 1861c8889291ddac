"""Averages of weights, the clock, and the range of learning rates."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(3)
X = RNG.normal(size=(24, 2))
Y = X[:, :1] * X[:, 1:]
EPOCHS = 8


def network(seed: int = 0) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", seed=seed, backend="numpy")


def fit(net: Any, *callbacks: tn.Callback, epochs: int = EPOCHS, **options: Any) -> Any:
    return net.fit(X, Y, optimizer=tn.SGD(0.1), epochs=epochs, batch_size=8, callbacks=list(callbacks), **options)


def path_of_weights(unit: str = "epoch") -> list[np.ndarray]:
    """The weights after each epoch, or update, of a training without an average."""
    net, seen = network(), []
    hook = {"epoch": "on_epoch_end", "update": "on_train_batch_end"}[unit]
    fit(net, tn.LambdaCallback(**{hook: lambda _, __: seen.append(net.flat_parameters())}))
    return seen


AVERAGES: dict[str, tuple[Callable[[], tn.Callback], Callable[[list[np.ndarray]], list[float]]]] = {
    "EMA": (lambda: tn.EMA(0.7), lambda seen: [0.7 ** (len(seen) - i) for i in range(1, len(seen) + 1)]),
    "EMA of every other epoch": (
        lambda: tn.EMA(0.5, every=2),
        lambda seen: [i % 2 * 0.5 ** (-i / 2) for i in range(8)],
    ),
    "SWA": (lambda: tn.SWA(), lambda seen: [0.0] * 6 + [1.0] * 2),
    "SWA from an epoch on": (lambda: tn.SWA(start=3, every=2), lambda seen: [0, 0, 0, 1, 0, 1, 0, 1]),
}


@pytest.mark.parametrize(("make", "weights"), AVERAGES.values(), ids=AVERAGES.keys())
def test_the_model_holds_the_average_after_training(make: Any, weights: Any) -> None:
    net, seen = network(), path_of_weights()
    fit(net, make())
    np.testing.assert_allclose(net.flat_parameters(), np.average(seen, axis=0, weights=weights(seen)), rtol=1e-12)


def test_an_average_of_updates_sees_each_of_them() -> None:
    net, seen = network(), path_of_weights("update")
    fit(net, tn.EMA(0.9, unit="update"))
    assert len(seen) == 3 * EPOCHS
    expected = np.average(seen, axis=0, weights=0.9 ** np.arange(len(seen))[::-1])
    np.testing.assert_allclose(net.flat_parameters(), expected, rtol=1e-12)


@pytest.mark.parametrize("make", [make for make, _ in AVERAGES.values()], ids=AVERAGES.keys())
@pytest.mark.parametrize("kind", ["one", "many"])
def test_a_training_that_is_resumed_ends_with_the_same_average(make: Any, kind: str, tmp_path: Path) -> None:
    def model() -> Any:
        return network() if kind == "one" else tn.Ensemble(network(), 2, seeds=[0, 1])

    def killed(epoch: int, logs: Any) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    whole, path = model(), tmp_path / "run.ckpt"
    fit(whole, make())
    with pytest.raises(KeyboardInterrupt):
        fit(model(), make(), tn.Checkpoint(path), tn.LambdaCallback(on_epoch_end=killed))
    resumed = model()
    fit(resumed, make(), tn.Checkpoint(path), resume_from=path)
    assert whole.state.parameters.tobytes() == resumed.state.parameters.tobytes()
    with pytest.raises(tn.ResumeError, match=r"every=|decay="):
        fit(model(), tn.EMA(0.123, every=3), tn.Checkpoint(path), resume_from=path)


@pytest.mark.parametrize("make", [make for make, _ in AVERAGES.values()], ids=AVERAGES.keys())
def test_models_of_an_ensemble_average_as_each_would_alone(make: Any) -> None:
    models = tn.Ensemble(network(), 2, seeds=[0, 1])
    fit(models, make())
    for seed, model in enumerate(models):
        alone = network(seed)
        fit(alone, make())
        np.testing.assert_allclose(model.flat_parameters(), alone.flat_parameters(), rtol=1e-12)
    assert all(np.isnan(scores).all() for scores in models.scores.values())  # Of weights that nobody has measured.


def test_nobody_else_sets_the_weights() -> None:
    for others in ([tn.EarlyStopping("loss")], [tn.SWA()]):
        for model in (network(), tn.Ensemble(network(), 2)):
            with pytest.raises(ValueError, match="EMA expects to be the only one"):
                fit(model, tn.EMA(), *others)
    fit(network(), tn.EMA(), tn.EarlyStopping("loss", restore_best=False))


def test_a_training_that_is_too_short_has_no_average() -> None:
    for model in (network(), tn.Ensemble(network(), 2)):
        with pytest.warns(UserWarning, match="SWA has seen no weights that belong to its average"):
            fit(model, tn.SWA(start=100))


def test_a_training_that_diverges_keeps_its_best_weights() -> None:
    net = network()
    with pytest.raises(tn.DivergenceError) as caught:
        net.fit(X, Y, optimizer=tn.SGD(1e3), epochs=50, callbacks=tn.EMA())
    for mine, best in zip(net.get_weights(), caught.value.best_weights, strict=True):
        assert mine.tobytes() == best.tobytes()


# -- the clock -------------------------------------------------------------------------------------------------------


def test_a_training_ends_when_time_is_over_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**6))
    whole, net, path = network(), network(), tmp_path / "run.ckpt"
    fit(whole)
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: float(next(clock)))  # A second passes with each look.
        history = fit(net, tn.StopAfter(seconds=3), tn.Checkpoint(path))
    assert len(history) == 3
    assert history.stop_reason == "3 s are over"
    resumed = network()
    history = fit(resumed, tn.StopAfter(seconds=1000), tn.Checkpoint(path), resume_from=path)
    assert (len(history), history.stop_reason) == (EPOCHS, None)
    assert resumed.flat_parameters().tobytes() == whole.flat_parameters().tobytes()


def test_who_stops_for_good_comes_before_the_clock(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    early = tn.EarlyStopping("loss", patience=0, min_delta=1e9)  # Nothing is good enough for it.
    history = fit(network(), tn.StopAfter(1e-9), tn.Checkpoint(path), early, epochs=1)
    assert history.stop_reason == "1e-09 s are over"
    history = fit(network(), tn.StopAfter(1000), tn.Checkpoint(path), early)
    assert history.stop_reason.startswith("loss has not improved")
    assert fit(network(), tn.StopAfter(1000), tn.Checkpoint(path), early, resume_from=path).epoch == history.epoch


# -- the range of learning rates -------------------------------------------------------------------------------------


def test_the_range_of_rates_is_that_of_the_updates_of_a_training(tmp_path: Path) -> None:
    net = network()
    before = net.flat_parameters().tobytes()
    found = tn.learning_rate_range(
        net, X, Y, optimizer=tn.SGD(momentum=0.5), low=1e-4, high=1e-2, n_updates=7, batch_size=8
    )
    assert net.flat_parameters().tobytes() == before
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1e-2, 7))
    same, losses = network(), []
    same.fit(
        X,
        Y,
        optimizer=tn.SGD(tn.ExponentialDecay(1e-4, 10.0), momentum=0.5),  # Three updates in an epoch, six steps in all.
        epochs=3,
        batch_size=8,
        callbacks=tn.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"])),
    )
    smooth = [np.average(losses[:n], weights=0.9 ** np.arange(n)[::-1]) for n in range(1, 8)]
    np.testing.assert_allclose(found.losses, smooth, rtol=1e-12)
    assert found.highest == found.rates[found.losses.argmin()]
    axes = found.plot(tmp_path / "rates.png").axes[0]
    assert axes.get_xscale() == "log"
    assert (tmp_path / "rates.png").stat().st_size > 1000


WITHOUT_NUMBA = """
import sys
import numpy as np
import tinynet as tn
x = np.random.default_rng(0).normal(size=(24, 2))
numba, numpy = (
    tn.learning_rate_range(
        tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", seed=0, backend=backend),
        x, x[:, :1] * x[:, 1:], low=1e-4, high=1e-1, n_updates=13, batch_size=10,
    )
    for backend in ("numba", "numpy")
)
np.testing.assert_allclose(numba.losses, numpy.losses, rtol=1e-9)
net = tn.Sequential(tn.Linear(2, 4), tn.Tanh(), tn.Linear(4, 1), backend="numba")
history = net.fit(x, x[:, :1], epochs=2, batch_size=10, callbacks=tn.EMA(0.9, unit="update"))
assert history.plan.startswith("fused"), history.plan
assert "numba" not in sys.modules
"""


def test_who_looks_at_updates_but_at_no_gradients_waits_for_no_kernels() -> None:
    pytest.importorskip("numba")
    subprocess.run([sys.executable, "-c", WITHOUT_NUMBA], check=True)


def test_the_range_ends_where_training_does() -> None:
    found = tn.learning_rate_range(network(), X, Y, optimizer="sgd", low=1e-3, high=1e6, batch_size=8)
    assert len(found.rates) < 200
    assert np.isfinite(found.losses).all()
    assert 1e-3 <= found.steepest <= found.highest < found.rates[-1]
    with pytest.raises(ValueError, match="low must be below high"):
        tn.learning_rate_range(network(), X, Y, low=1.0, high=0.1)
    with pytest.raises(ValueError, match="expects an optimizer with a learning rate"):
        tn.learning_rate_range(network(), X, Y, optimizer="lbfgs")
