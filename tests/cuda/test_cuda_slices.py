"""Ensembles larger than the memory of the device: their state stays in host memory, and results are the same bits."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu.fake_cupy import Machine

import tinynet as tn

E, N = 7, 30
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 2))
VALIDATION = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 2))
FUSED = ("registers", "warp", "persistent")


@pytest.fixture
def tier(request: pytest.FixtureRequest, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    return use(request.param, cp, monkeypatch)


@pytest.fixture
def batched(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    use("batched", cp, monkeypatch)


def use(tier: str, cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ask for a tier; the kernels of those that have no kernels of their own are compiled in one go."""
    monkeypatch.setenv("TINYNET_GPU_TIER", tier)
    if tier in ("batched", "loop") and not hasattr(cp, "__file__"):
        from tinynet_kernels import cuda
        from tinynet_kernels.cuda.loading import compile_together

        compile_together(cuda.instances())
    return tier


def slices() -> Any:
    """The module, imported anew for each CuPy."""
    return importlib.import_module("tinynet.backends.cupy.slices")


def on_host(models: tn.Ensemble) -> bool:
    state, kind = models.state, slices().HostArray
    where = [isinstance(array, kind) for array in (state.parameters, state.gradients, state.moments, state.buffers)]
    assert len(set(where)) == 1
    return where[0]


def in_slices_of(monkeypatch: pytest.MonkeyPatch, models: int) -> None:
    """Leave states in host memory, and plan slices of so many models."""
    monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", "0")
    kind = slices().SlicedPlan
    parts = kind._parts

    def planned(plan: Any, *given: Any) -> Any:
        plan._most = plan._most or models
        return parts(plan, *given)

    monkeypatch.setattr(kind, "_parts", planned)


def ensemble(n_models: int = E) -> tn.Ensemble:
    layers = tn.Normalize(4).adapt(X), tn.Linear(4, 2), tn.Tanh(), tn.Dropout(0.3), tn.Linear(2, 2)
    return tn.Ensemble(tn.Sequential(*layers, dtype="float64", seed=5, backend="gpu"), n_models)


def own(low: float, high: float) -> Any:
    return np.linspace(low, high, E)


FITS: dict[str, dict[str, Any]] = {
    "own settings": {
        "optimizer": lambda: tn.SGD(own(0.01, 0.05), momentum=own(0, 0.9), clip_norm=own(0.1, 1)),
        "loss": lambda: tn.Huber(own(0.3, 1)),
    },
    # Models without momentum come first: in a slice of such alone, averages must stay where they are.
    "averages": {
        "optimizer": lambda: tn.RMSprop(0.01, momentum=np.repeat([0, 0.5], [3, 4]), centered=True),
        "callbacks": lambda: [tn.EarlyStopping(monitor="loss", patience=1, min_delta=0.02)],
    },
    "plain": {},
    "bagged": {"bootstrap": True, "shared_order": True},
    "validation": {
        "validation_data": VALIDATION,
        "callbacks": lambda: [tn.EarlyStopping(patience=1), tn.ReduceLROnPlateau(patience=1, monitor="loss")],
        "optimizer": lambda: tn.Adam(own(0.001, 0.2)),
    },
    "diverging": {"optimizer": lambda: tn.SGD([0.01, 1e200, 0.01, 0.02, 0.01, 1e200, 0.03]), "shuffle": False},
}


def fitted(case: str, **settings: Any) -> tuple[tn.Ensemble, tn.history.EnsembleHistory]:
    models, given = ensemble(), {"epochs": 5, "batch_size": 8, "optimizer": tn.Adam(0.01), **FITS[case], **settings}
    made = {name: value() if callable(value) else value for name, value in given.items()}
    return models, models.fit(X, Y, **made)


def assert_same(ours: tn.Ensemble, theirs: tn.Ensemble) -> None:
    np.testing.assert_array_equal(ours.backend.to_numpy(ours.state.parameters), theirs.state.parameters.get())
    np.testing.assert_array_equal(ours.backend.to_numpy(ours.state.moments), theirs.state.moments.get())
    for name in ("step", "draws"):
        np.testing.assert_array_equal(getattr(ours.state, name), getattr(theirs.state, name))
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize(
    ("tier", "case"),
    [
        *((tier, case) for tier in FUSED for case in ("own settings", "averages")),
        *(("batched", case) for case in FITS),
        ("loop", "own settings"),
    ],
    indirect=["tier"],
)
def test_a_training_in_slices_has_the_same_bits(tier: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one_epoch_at_a_time = importlib.import_module("tinynet.ensembles.trainer")
    monkeypatch.setattr(one_epoch_at_a_time.EnsembleTrainer, "_chunk_epochs", lambda trainer: 1)
    settings = {"epochs": 2, "batch_size": 20} if tier == "loop" else {}
    whole, expected = fitted(case, **settings)
    in_slices_of(monkeypatch, 3)
    sliced, history = fitted(case, **settings)
    assert history.plan == f"in slices of models, the others in host memory: {expected.plan}"
    assert on_host(sliced)
    assert not on_host(whole)
    for name in expected:
        np.testing.assert_array_equal(history[name], expected[name])
    np.testing.assert_array_equal(history.stopped, expected.stopped)
    assert history.diverged == expected.diverged
    for name, values in whole.scores.items():
        np.testing.assert_array_equal(sliced.scores[name], values)
    assert_same(sliced, whole)
    if case == "averages":
        assert (history.stopped >= 0).any(), "no model has stopped: slices were always the same"


@pytest.mark.usefixtures("batched")
def test_everything_else_works_on_models_in_host_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole, _ = fitted("plain")
    in_slices_of(monkeypatch, 2)
    sliced, _ = fitted("plain")
    for name in ("mean", "std"):
        np.testing.assert_array_equal(getattr(sliced, name)(X), getattr(whole, name)(X))
    np.testing.assert_array_equal(sliced.quantile(X, [0.1, 0.9]), whole.quantile(X, [0.1, 0.9]))
    got, want = (models.evaluate(X, Y, metrics="mae") for models in (sliced, whole))
    for name in want:
        np.testing.assert_array_equal(got[name], want[name])
    np.testing.assert_array_equal(sliced[4].predict(X), whole[4].predict(X))
    np.testing.assert_array_equal(sliced[[5, 0]].predict(X), whole[[5, 0]].predict(X))
    np.testing.assert_array_equal(sliced.best(2, by="loss").predict(X), whole.best(2, by="loss").predict(X))
    joined = tn.Ensemble.concatenate([sliced[3:], sliced[:3]])
    np.testing.assert_array_equal(joined.predict(X), whole.predict(X)[[3, 4, 5, 6, 0, 1, 2]])
    for ours, theirs in zip(sliced.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    sliced.save(tmp_path / "models.npz")
    again = tn.Ensemble.load(tmp_path / "models.npz", backend="gpu")
    assert on_host(again)
    monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", str(1 << 30))
    resident = tn.Ensemble.load(tmp_path / "models.npz", backend="gpu")
    for models in (again, resident, sliced.to("numpy")):
        np.testing.assert_allclose(models.predict(X), whole.predict(X), rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("batched")
def test_gradients_reach_host_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for _ in range(2):
        models = ensemble()
        plan, place = models.plan(tn.MeanSquaredError(), None, Y, None), models.backend.asarray
        weights = place(np.random.default_rng(0).uniform(size=(E, N)))
        values = plan.gradient(models.state, place(X), place(Y), weights)
        outcomes.append((values, models.backend.to_numpy(models.state.gradients)))
        in_slices_of(monkeypatch, 3)
    for got, want in zip(outcomes[1], outcomes[0], strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.usefixtures("batched")
def test_a_checkpoint_resumes_in_slices_or_out_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"optimizer": tn.Adam(0.01), "batch_size": 8, "epochs": 4}
    place = tmp_path / "models.ckpt"
    whole = ensemble()
    whole.fit(X, Y, **settings)
    in_slices_of(monkeypatch, 3)
    begun = ensemble()
    with pytest.raises(KeyboardInterrupt):
        begun.fit(X, Y, **settings, callbacks=[tn.Checkpoint(place, every=2), Interrupted()])
    for n_bytes in ("0", str(1 << 30)):
        monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", n_bytes)
        resumed = ensemble()
        resumed.fit(X, Y, **settings, resume_from=place, callbacks=[tn.Checkpoint(place, every=4)][:0])
        np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))


class Interrupted(tn.Callback):
    """Stops after three epochs, as somebody would."""

    looks_every = 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


# Memory.


@pytest.mark.usefixtures("batched")
def test_models_that_do_not_fit_stay_outside_by_themselves(machine: Machine) -> None:
    machine.pools[0].total = 60_000
    small, large = ensemble(2), ensemble(60)
    assert [on_host(models) for models in (small, large)] == [False, True]
    large.fit(X, Y, batch_size=20)
    expected = tn.Ensemble(ensemble(1)[0].to("numpy"), 60)
    expected.fit(X, Y, batch_size=20)
    np.testing.assert_allclose(large.predict(X[:3]), expected.predict(X[:3]), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("batched")
def test_a_slice_that_does_not_fit_is_halved(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = fitted("plain")
    in_slices_of(monkeypatch, E)
    kind, sizes = slices().SlicedPlan, []
    brought_up = kind._brought_up

    def crowded(plan: Any, state: Any, numbers: Any) -> Any:
        sizes.append(len(numbers))
        if len(numbers) > 2:
            machine.pools[0].total, machine.pools[0].cached = machine.pools[0].used + 100, 0
        try:
            return brought_up(plan, state, numbers)
        finally:
            machine.pools[0].total = 1 << 30

    monkeypatch.setattr(kind, "_brought_up", crowded)
    sliced, _ = fitted("plain")
    assert sizes[:2] == [7, 2] or sizes[:3] == [7, 3, 1]
    assert_same(sliced, whole)


@pytest.mark.usefixtures("batched")
def test_one_model_that_does_not_fit_is_an_error_and_the_models_are_intact(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", "0")
    wide = tn.Ensemble(tn.Sequential(tn.Linear(4, 3000), tn.Linear(3000, 2), dtype="float64", seed=0, backend="gpu"), 2)
    before = wide.state.parameters.copy()
    machine.pools[0].total = machine.pools[0].used + 100_000
    with pytest.raises(tn.DeviceMemoryError, match="has no room for"):
        wide.fit(X, Y)
    np.testing.assert_array_equal(wide.state.parameters, before)
    machine.pools[0].total = 1 << 30
    wide.fit(X, Y, epochs=1)
    assert not np.array_equal(wide.state.parameters, before)


@pytest.mark.usefixtures("batched")
def test_little_of_the_memory_is_taken_at_a_time(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    most = {}
    for n_models in (20, 200):
        monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", "0")
        models, pool = ensemble(n_models), machine.pools[0]
        peak, take = [0], pool.take

        def watch(size: int, peak: list[int] = peak, pool: Any = pool, take: Any = take) -> None:
            take(size)
            peak[0] = max(peak[0], pool.used)

        with monkeypatch.context() as patch:
            patch.setattr(pool, "take", watch)
            plan = models.plan(tn.MeanSquaredError(), tn.Adam(), Y, 8)
            plan._most = 10  # type: ignore[attr-defined]
            models.prepare_optimizer(tn.Adam())
            place = models.backend.asarray
            plan.run(models.state, place(X), place(Y), None, np.full((1, 1), 0.01))
        most[n_models] = peak[0]
    assert most[200] < 1.2 * most[20]


@pytest.mark.usefixtures("batched")
def test_models_move_once_for_as_many_epochs_as_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", "0")
    calls, run = [], slices().SlicedPlan.run
    monkeypatch.setattr(slices().SlicedPlan, "run", lambda *given: calls.append(len(given[5])) or run(*given))
    monkeypatch.setattr(slices().SlicedPlan, "call_seconds", 1e9)
    models = ensemble()
    models.fit(X, Y, epochs=9, batch_size=N)
    # The first call tells how long an epoch takes.
    assert calls == [1, 8]
    calls.clear()
    models.fit(X, Y, epochs=3, batch_size=N, callbacks=[tn.EarlyStopping(monitor="loss", patience=100)])
    assert calls == [1] * 3


def test_a_setting_that_is_no_number_of_bytes_is_refused(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNET_GPU_STATE_BYTES", "much")
    with pytest.raises(TypeError, match="TINYNET_GPU_STATE_BYTES must be a whole number; got"):
        ensemble()


def test_more_models_than_the_device_has_memory_for_train_as_each_would_alone(machine: Machine) -> None:
    machine.pools[0].total = 1 << 16  # A sixth of what the state of the models takes.
    outcomes = []
    for backend in ("gpu", "numpy"):
        layers = tn.Linear(4, 16), tn.Tanh(), tn.Linear(16, 2)
        models = tn.Ensemble(tn.Sequential(*layers, dtype="float64", seed=0, backend=backend), 100)
        history = models.fit(X, Y, optimizer=tn.Adam(0.01), epochs=2, batch_size=8, validation_data=(X, Y))
        outcomes.append((models[99].get_weights()[0], models.predict(X), history["val_loss"]))
    for got, expected in zip(*outcomes, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("tier", FUSED, indirect=True)
def test_it_does_not_matter_how_many_epochs_a_call_has(tier: str) -> None:
    # Slices get many, what is on the device a tenth of a second's worth. Of five updates each: the powers of Adam's
    # betas are computed anew within a call, and before one.
    models, outcomes = tn.Ensemble(tn.Sequential(tn.Linear(4, 2), dtype="float64", backend="gpu"), 2, [4, 5]), []
    plan = models.plan(tn.MeanSquaredError(), tn.AdamW(0.01), Y, 6)
    x, y = map(models.backend.asarray, (X, Y))
    for calls in ([30], [1, 12, 17]):
        again = models[:]
        again.prepare_optimizer(tn.AdamW(0.01))
        losses = [plan.run(again.state, x, y, None, np.full((epochs, 1), 0.01)) for epochs in calls]
        outcomes.append((np.concatenate(losses), again[1].get_weights()[0]))
    for got, expected in zip(*outcomes, strict=True):
        np.testing.assert_array_equal(got, expected)
