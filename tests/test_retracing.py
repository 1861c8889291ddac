"""What a training gives back does not depend on how its epochs were grouped into calls, which follows the clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.backends.loop import LoopPlan
from tinynet.ensembles.trainer import EnsembleTrainer
from tinynet.training.trainer import Trainer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(21, 2))
Y = X[:, :1] * X[:, 1:]
GROUPS = [1, 3, 7, 1000]


class Grow(tn.schedules.Schedule):
    """Trains for some epochs, and then blows up."""

    def __init__(self, first: float = 0.02, factor: float = 1.3) -> None:
        self.first, self.factor = first, factor

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        return self.first * self.factor**epochs

    def __repr__(self) -> str:
        return "Grow()"


class Leap(tn.schedules.Schedule):
    """Makes weights infinite in one update, of which a saturated network shows nothing."""

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        return np.where(epochs == 5, 1e40, 0.1)


def network(backend: str, seed: int = 0) -> tn.Sequential:
    return tn.Sequential(tn.Linear(2, 4), tn.ReLU(), tn.Linear(4, 1), seed=seed, backend=backend)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Group epochs by number, whatever the clock."""

    def choose(size: int) -> None:
        for kind in (Trainer, EnsembleTrainer):
            monkeypatch.setattr(kind, "_chunk_epochs", lambda trainer: min(size, trainer.epochs - trainer.epoch))

    return choose


def everything(net: tn.Sequential, history: Any) -> tuple[Any, ...]:
    """All that a training leaves, to be compared to the last bit."""
    return (
        net.flat_parameters().tobytes(),
        {name: np.array(values).tobytes() for name, values in history.history.items()},
        history.epoch,
        history.stop_reason,
        net.rng.bit_generator.state,
    )


def diverged(net: tn.Sequential, **settings: Any) -> tuple[Any, ...]:
    with pytest.raises(tn.DivergenceError) as caught:
        net.fit(X, Y, epochs=200, batch_size=8, **settings)
    assert caught.value.history is net.history
    return (*everything(net, net.history), caught.value.epoch, str(caught.value))


def test_a_diverged_model_holds_the_weights_of_its_best_epoch(backend: str, group: Callable[[int], None]) -> None:
    found = []
    for size in GROUPS:
        group(size)
        found.append(diverged(network(backend), optimizer=tn.SGD(Grow(), momentum=0.5)))
    assert all(other == found[0] for other in found)
    net = network(backend)
    seen: list[tuple[float, bytes]] = []
    look = tn.LambdaCallback(on_epoch_end=lambda _, logs: seen.append((logs["loss"], net.flat_parameters().tobytes())))
    diverged(net, optimizer=tn.SGD(Grow(), momentum=0.5), callbacks=look)
    assert found[0][0] == min(seen)[1]
    assert 3 < seen.index(min(seen)) < len(seen) - 3


def test_weights_that_become_infinite_are_found_in_the_epoch_in_which_they_do(group: Callable[[int], None]) -> None:
    found = []
    for size in GROUPS:
        group(size)
        net = tn.Sequential(tn.Linear(2, 1, bias=False), tn.Sigmoid(), seed=0, backend="numpy")
        with pytest.raises(tn.DivergenceError, match="epoch 6: the parameters became infinite"):
            net.fit(np.abs(X), np.zeros_like(Y), optimizer=tn.SGD(Leap()), batch_size=21, epochs=30)
        found.append(everything(net, net.history))
    assert all(other == found[0] for other in found)
    assert len(net.history) == 5


def test_each_epoch_has_the_figures_of_its_own_weights(backend: str, group: Callable[[int], None]) -> None:
    measured: dict[str, Any] = {"validation_data": (X[:5], Y[:5]), "metrics": "mae"}
    found, broken = [], []
    for size in GROUPS:
        group(size)
        net = network(backend)
        found.append(everything(net, net.fit(X, Y, epochs=12, batch_size=8, **measured)))
        broken.append(diverged(network(backend), optimizer=tn.SGD(Grow(), momentum=0.5), **measured))
    assert all(other == found[0] for other in found)
    assert all(other == broken[0] for other in broken)
    shorter = network(backend)
    shorter.fit(X, Y, epochs=5, batch_size=8)
    figures = shorter.evaluate(X[:5], Y[:5], metrics="mae")
    assert net.history is not None
    assert [net.history[f"val_{name}"][4] for name in ("loss", "mae")] == list(figures.values())


def test_an_optimizer_that_made_a_model_diverge_can_train_it_again(backend: str) -> None:
    net, optimizer = network(backend), tn.SGD(Grow(), momentum=0.5)
    diverged(net, optimizer=optimizer)
    before = net.evaluate(X, Y, loss="mse")["loss"]
    assert net.fit(X, Y, optimizer=optimizer, epochs=3)["loss"][-1] < 2 * before


@pytest.mark.parametrize("size", GROUPS)
def test_a_callback_that_reads_logs_stops_the_training_in_its_epoch(
    backend: str, group: Callable[[int], None], size: int
) -> None:
    class Stop(tn.Callback):
        looks_every = None

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.model.stop_training = epoch == 10

    group(size)
    net, plain = network(backend), network(backend)
    history = net.fit(X, Y, epochs=40, batch_size=8, callbacks=Stop())
    assert everything(net, history) == everything(plain, plain.fit(X, Y, epochs=11, batch_size=8))


@pytest.mark.parametrize("measured", [{}, {"validation_data": (X[:5], Y[:5] / 2)}], ids=["loss", "val_loss"])
def test_early_stopping_leaves_the_weights_of_the_best_epoch(
    backend: str, group: Callable[[int], None], measured: dict[str, Any]
) -> None:
    found, optimizer = [], {"optimizer": tn.SGD(Grow(0.05, 1.05), momentum=0.5)}
    for size in GROUPS:
        group(size)
        net = network(backend)
        stopping = tn.EarlyStopping("val_loss" if measured else "loss", patience=2)
        history = net.fit(X, Y, epochs=60, batch_size=8, callbacks=stopping, **measured, **optimizer)
        found.append((everything(net, history), stopping.best, stopping.best_epoch))
    assert all(other == found[0] for other in found)
    assert 0 < stopping.best_epoch < len(history) - 1 < 59
    shorter = network(backend)
    shorter.fit(X, Y, epochs=stopping.best_epoch + 1, batch_size=8, **optimizer)
    assert shorter.flat_parameters().tobytes() == net.flat_parameters().tobytes()


class Raise(tn.Callback):
    """Fails after an epoch, and looks at nothing but logs."""

    looks_every = None

    def __init__(self, epoch: int, error: type[BaseException]) -> None:
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch == self.epoch:
            raise self.error


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, type[BaseException]], None]:
    """Raise an error within an update of the NumPy backend, with the weights changed and the counters not."""
    update = LoopPlan._update

    def after(n_updates: int, error: type[BaseException]) -> None:
        left = [n_updates]

        def raising(plan: LoopPlan, work: Any, state: Any, *arguments: Any) -> None:
            left[0] -= 1
            if left[0] == 0:
                state.parameters += 1.0
                raise error
            update(plan, work, state, *arguments)

        monkeypatch.setattr(LoopPlan, "_update", raising)

    return after


REASONS = {KeyboardInterrupt: "interrupted", MemoryError: "out of memory", RuntimeError: None}


@pytest.mark.parametrize("error", REASONS)
@pytest.mark.parametrize("size", GROUPS)
def test_a_training_that_is_broken_off_stands_at_the_end_of_an_epoch_and_can_go_on(
    group: Callable[[int], None], interrupt: Any, size: int, error: type[BaseException]
) -> None:
    group(size)
    whole = network("numpy")
    want = everything(whole, whole.fit(X, Y, optimizer=tn.Adam(0.01), epochs=20, batch_size=8))
    for callbacks in ([], [Raise(10, error)]):
        net, optimizer = network("numpy"), tn.Adam(0.01)
        if not callbacks:
            interrupt(11 * 3 + 2, error)
        with pytest.raises(error):
            net.fit(X, Y, optimizer=optimizer, epochs=20, batch_size=8, callbacks=callbacks)
        assert net.history is not None
        assert net.history.stop_reason == REASONS[error]
        done = len(net.history)
        assert done == 11 if callbacks else done == 11 - 11 % size
        same = network("numpy")
        if done:
            same.fit(X, Y, optimizer=tn.Adam(0.01), epochs=done, batch_size=8)
        assert net.flat_parameters().tobytes() == same.flat_parameters().tobytes()
        net.fit(X, Y, optimizer=optimizer, epochs=20 - done, batch_size=8)
        assert net.flat_parameters().tobytes() == want[0]


def test_a_training_that_is_broken_off_within_an_epoch_goes_back_to_its_start() -> None:
    def fail(batch: int, logs: Any) -> None:
        if net.history is not None and len(net.history) == 4 and batch == 1:
            raise KeyboardInterrupt

    net, same, optimizer = network("numpy"), network("numpy"), tn.Adam(0.01)
    hook = tn.LambdaCallback(on_train_batch_end=fail)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, optimizer=optimizer, epochs=9, batch_size=8, callbacks=hook)
    same.fit(X, Y, optimizer=tn.Adam(0.01), epochs=9, batch_size=8)
    net.fit(X, Y, optimizer=optimizer, epochs=5, batch_size=8)
    assert net.flat_parameters().tobytes() == same.flat_parameters().tobytes()


def test_the_best_weights_of_a_checkpoint_are_those_of_an_epoch(group: Callable[[int], None], tmp_path: Path) -> None:
    found = []
    for size in (1, 2, 7, 14):
        group(size)
        net, path = network("numpy"), tmp_path / f"{size}.npz"
        settings: dict[str, Any] = {"optimizer": tn.SGD(Grow(), momentum=0.5), "epochs": 200, "batch_size": 8}
        with pytest.raises(tn.DivergenceError):
            net.fit(X, Y, callbacks=[tn.Checkpoint(path, every=1000), Save(path, 14)], **settings)
        again = network("numpy")
        settings["optimizer"] = tn.SGD(Grow(), momentum=0.5)
        with pytest.raises(tn.DivergenceError):
            again.fit(X, Y, callbacks=[tn.Checkpoint(path, every=1000), Save(path, 14)], resume_from=path, **settings)
        found += [everything(net, net.history), everything(again, again.history)]
    assert all(other == found[0] for other in found)


class Save(tn.Callback):
    """Write a checkpoint after an epoch, at which all groups of epochs end."""

    looks_every = None

    def __init__(self, path: Path, epoch: int) -> None:
        self.path, self.epoch = path, epoch

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch + 1 == self.epoch and self.trainer.epoch == self.epoch:
            self.trainer.save_checkpoint(self.path)


def test_a_rate_that_is_none_is_reported_when_its_epoch_comes(group: Callable[[int], None]) -> None:
    class Fails(tn.schedules.Schedule):
        def __call__(self, epochs: np.ndarray) -> np.ndarray:
            return 0.1 - 0.01 * np.floor(epochs)

    for size in GROUPS:
        group(size)
        for model in (network("numpy"), tn.Ensemble(network("numpy"), 2)):
            with pytest.raises(ValueError, match="finite and not negative"):
                model.fit(X, Y, optimizer=tn.SGD(Fails()), epochs=40)
            assert model.history is not None
            assert len(model.history) == 11


# -- ensembles -------------------------------------------------------------------------------------------------------

RATES = (Grow(), Grow(0.01, 1.0), Grow(0.02, 1.4), Grow(1e6, 1.0))


class Each(tn.schedules.Schedule):
    """Of four models two blow up after some epochs, one at once, and one never."""

    def __call__(self, epochs: np.ndarray) -> np.ndarray:
        return np.concatenate([np.broadcast_to(rate(epochs), epochs.shape) for rate in RATES], axis=-1)


def all_of(models: tn.Ensemble, history: Any) -> tuple[Any, ...]:
    return (
        [weight.tobytes() for weight in models.get_weights()],
        models.state.moments.tobytes(),
        models.state.step.tolist(),
        {name: history[name].tobytes() for name in history},
        {name: values.tobytes() for name, values in models.scores.items()},
        (history.epoch, history.stopped.tolist(), sorted(history.diverged), history.stop_reason),
        [rng.bit_generator.state for rng in models.generators],
    )


@pytest.mark.parametrize("shared", [False, True], ids=["own orders", "shared order"])
def test_diverged_models_of_an_ensemble_hold_the_weights_of_their_best_epochs(
    backend: str, group: Callable[[int], None], shared: bool
) -> None:
    found = []
    settings: dict[str, Any] = {"epochs": 60, "batch_size": 8}
    for size in GROUPS:
        group(size)
        models = tn.Ensemble(network(backend), 4)
        optimizer = tn.SGD(Each(), momentum=0.5)
        history = models.fit(X, Y, optimizer=optimizer, shared_order=shared, **settings)
        found.append(all_of(models, history))
    for other in found:
        for got, want in zip(other, found[0], strict=True):
            assert got == want
    assert sorted(history.diverged) == [0, 2, 3]
    if shared:
        return
    for i, rate in enumerate(RATES):
        alone = network(backend, seed=i)
        with contextlib.suppress(tn.DivergenceError):
            alone.fit(X, Y, optimizer=tn.SGD(rate, momentum=0.5), **settings)
        assert alone.history is not None
        assert len(alone.history) == (history.stopped[i] if i in history.diverged else 60)
        np.testing.assert_allclose(models[i].flat_parameters(), alone.flat_parameters(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", GROUPS)
def test_an_ensemble_that_is_stopped_or_broken_off_stands_at_the_end_of_an_epoch(
    group: Callable[[int], None], interrupt: Any, size: int
) -> None:
    group(size)

    def trained(epochs: int, **settings: Any) -> tuple[tn.Ensemble, Any]:
        models = tn.Ensemble(network("numpy"), 4)
        optimizer = tn.SGD(Each(), momentum=0.5)
        try:
            models.fit(X, Y, optimizer=optimizer, epochs=epochs, batch_size=8, **settings)
        except KeyboardInterrupt:
            assert models.history is not None
            assert models.history.stop_reason == "interrupted"
            models.history.stop_reason = None
        return models, models.history

    want = all_of(*trained(11))
    assert all_of(*trained(40, callbacks=Raise(10, KeyboardInterrupt))) == want

    class Stop(tn.Callback):
        looks_every = None

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.model.stop_training = epoch == 10

    assert all_of(*trained(40, callbacks=Stop())) == want
    interrupt(100, KeyboardInterrupt)
    models, history = trained(40)
    interrupt(10**9, KeyboardInterrupt)
    assert all_of(models, history)[:-1] == all_of(*trained(len(history)))[:-1] if len(history) else True


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_who_diverges_after_a_ruinous_epoch_has_the_weights_that_it_began_with(backend: str) -> None:
    x = np.linspace(-1.0, 1.0, 40)[:, np.newaxis]
    net = tn.Sequential(tn.Linear(1, 1), seed=0, dtype="float64", backend=backend)
    together, before = tn.Ensemble(net, 2, seeds=[1, 2]), net.flat_parameters()
    start = [model.flat_parameters() for model in together]
    settings: dict[str, Any] = {"epochs": 100, "batch_size": 4}
    with np.errstate(all="ignore"), pytest.raises(tn.DivergenceError) as caught:
        net.fit(x, 3.0 * x, optimizer=tn.SGD(10.0), **settings)
    assert len(caught.value.history["loss"]) > 1
    np.testing.assert_array_equal(net.flat_parameters(), before)
    history = together.fit(x, 3.0 * x, optimizer=tn.SGD((0.1, 10.0)), **settings)
    assert history.diverged == [1]
    np.testing.assert_allclose(together[0].flat_parameters(), [3.0, 0.0], atol=1e-3)
    np.testing.assert_array_equal(together[1].flat_parameters(), start[1])
    assert np.isnan(together.scores["loss"]).tolist() == [False, True]


def test_what_training_began_with_is_kept_by_checkpoints(tmp_path: Path) -> None:
    x = np.linspace(-1.0, 1.0, 40)[:, np.newaxis]

    def fit(model: Any, epochs: int, rate: Any, resume_from: Path | None = None) -> None:
        checkpoint = tn.Checkpoint(tmp_path / f"{type(model).__name__}.npz")
        call: dict[str, Any] = {"epochs": epochs, "batch_size": 4, "callbacks": checkpoint, "resume_from": resume_from}
        model.fit(x, 3.0 * x, optimizer=tn.SGD(rate), **call)

    net = tn.Sequential(tn.Linear(1, 1), seed=0, dtype="float64", backend="numpy")
    together, before = tn.Ensemble(net, 2, seeds=[1, 2]), net.flat_parameters()
    other, start = tn.Ensemble(net, 2, seeds=[1, 2]), together[1].flat_parameters()
    fit(net, 2, 10.0)
    with np.errstate(all="ignore"), pytest.raises(tn.DivergenceError):
        fit(net, 100, 10.0, tmp_path / "Sequential.npz")
    np.testing.assert_array_equal(net.flat_parameters(), before)
    fit(together, 2, (0.1, 10.0))
    fit(other, 100, (0.1, 10.0), tmp_path / "Ensemble.npz")
    np.testing.assert_array_equal(other[1].flat_parameters(), start)
