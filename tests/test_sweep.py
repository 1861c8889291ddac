"""sweep: each run is that of the network trained alone, and the figures of the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sweep_runs import HELD, TRAIN, X, Y, build, quick

import tinynet as tn
from tinynet.base.errors import DependencyError
from tinynet.sweeps import training as sweep_training
from tinynet.sweeps.runs import grouped, joined

# -- each run is that of the network trained alone -------------------------------------------------------------------


def alone(seed: int, *, net: dict[str, Any], **fit: Any) -> tuple[tn.Sequential, tn.History]:
    made = build(**net, seed=seed)
    chosen: dict[str, Any] = {"epochs": 3, "batch_size": 8, "validation_data": HELD}
    return made, made.fit(*TRAIN, **chosen | fit)


ALONE: dict[str, tuple[dict[str, list[Any]], dict[str, Any], Callable[..., dict[str, Any]]]] = {
    "build and optimizer": (
        {"width": [4, 6], "dropout": [0.0, 0.3], "learning_rate": [0.1, 0.01]},
        {"optimizer": tn.SGD(momentum=0.5)},
        lambda width, dropout, learning_rate: {
            "net": {"width": width, "dropout": dropout},
            "optimizer": tn.SGD(learning_rate, momentum=0.5),
        },
    ),
    "fit": (
        {"batch_size": [4, 30], "epochs": [2, 4], "shuffle": [True, False]},
        {"optimizer": "adam"},
        lambda **fit: {"net": {}, "optimizer": "adam", **fit},
    ),
    "momentum or none": (
        {"momentum": [0.0, 0.9], "weight_decay": [0.0, 0.1]},
        {"optimizer": "sgd"},
        lambda **settings: {"net": {}, "optimizer": tn.SGD(**settings)},
    ),
    "optimizers": (
        {"optimizer": ["adam", tn.RMSprop(0.02), tn.Adam(0.1)]},
        {},
        lambda optimizer: {"net": {}, "optimizer": optimizer},
    ),
    "losses": (
        {"loss": [tn.Huber(0.1), tn.Huber(1.0), "mae"]},
        {"optimizer": "adam"},
        lambda loss: {"net": {}, "optimizer": "adam", "loss": loss},
    ),
    "schedules": (
        {"learning_rate": [0.1, 0.02], "n": [2.0, 5.0]},
        {"optimizer": lambda learning_rate, n: tn.SGD(tn.Warmup(tn.CosineDecay(learning_rate, n), 1.0))},
        lambda learning_rate, n: {
            "net": {},
            "optimizer": tn.SGD(tn.Warmup(tn.CosineDecay(learning_rate, n), 1.0)),
        },
    ),
}


@pytest.mark.parametrize("case", ALONE)
def test_every_run_equals_the_network_trained_alone(case: str) -> None:
    space, options, expected = ALONE[case]
    result = quick(space, seeds=[3, 8], **options)
    assert len(result) == 2 * np.prod([len(values) for values in space.values()])
    table, curves = result.table, result.losses("val_loss")
    for row in range(len(result)):
        setting = result.settings[table["setting"][row]]
        net, history = alone(int(table["seed"][row]), **expected(**setting))
        np.testing.assert_allclose(table["loss"][row], history["loss"][-1], rtol=1e-12)
        np.testing.assert_allclose(curves[: len(history), row], history["val_loss"], rtol=1e-12)
        assert np.isnan(curves[len(history) :, row]).all()
        assert table["n_epochs"][row] == len(history)
        model = result.model(int(table["run"][row]))
        np.testing.assert_allclose(model.predict(X), net.predict(X), rtol=1e-10, atol=1e-13)
        assert model.backend.name == "numpy"
        assert model.evaluate(*HELD)["loss"] == pytest.approx(table["val_loss"][row], rel=1e-12)


def test_runs_that_differ_in_numbers_only_are_trained_together(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    class Counted(tn.Ensemble):
        def fit(self, *args: Any, **kwargs: Any) -> Any:
            sizes.append(len(self))
            return super().fit(*args, **kwargs)

    monkeypatch.setattr(sweep_training, "Ensemble", Counted)
    quick({"width": [4, 6], "dropout": [0.1, 0.2], "learning_rate": [0.1, 0.01, 0.001]}, seeds=2)
    assert sizes == [12, 12]


def test_the_result_does_not_depend_on_how_runs_are_grouped() -> None:
    space = {"width": [4, 6], "learning_rate": [0.1, 0.01, 0.001]}
    whole, pieces = (quick(space, seeds=3, group_size=size) for size in (256, 4))
    assert_same(whole, pieces)


def assert_same(a: tn.SweepResult, b: tn.SweepResult) -> None:
    assert list(a.table) == list(b.table)
    for name, column in a.table.items():
        np.testing.assert_array_equal(column, b.table[name], err_msg=name)
    np.testing.assert_array_equal(a.losses("loss"), b.losses("loss"))
    np.testing.assert_array_equal(a.best_model.flat_parameters(), b.best_model.flat_parameters())


@pytest.mark.parametrize(("n_settings", "n_seeds", "size"), [(1, 1, 1), (5, 3, 4), (4, 7, 100)])
def test_groups_hold_every_run_once_and_no_unlike_ones(n_settings: int, n_seeds: int, size: int) -> None:
    keys = [setting % 2 for setting in range(n_settings)]
    groups = grouped(keys, n_seeds, size)
    assert sorted(run for runs in groups for run in runs) == list(range(n_settings * n_seeds))
    assert all(1 <= len(runs) <= size for runs in groups)
    assert all(len({keys[run // n_seeds] for run in runs}) == 1 for runs in groups)


def test_joined_optimizers_have_one_number_for_each_where_they_differ() -> None:
    one = joined([tn.Adam(tn.StepDecay(0.1, 5)), tn.Adam(tn.StepDecay(0.2, 5))])
    assert one.learning_rate == tn.StepDecay((0.1, 0.2), 5)
    assert one.beta1 == 0.9


# -- the result ------------------------------------------------------------------------------------------------------


def test_the_summary_is_the_mean_and_spread_over_the_seeds() -> None:
    result = quick({"learning_rate": [0.1, 0.001, 0.02]}, seeds=4)
    table, summary = result.table, result.summary()
    assert summary["setting"].tolist() == sorted(
        range(3), key=lambda i: table["val_loss"][table["setting"] == i].mean()
    )
    for row, setting in enumerate(summary["setting"]):
        values = table["val_loss"][table["setting"] == setting]
        assert summary["n_runs"][row] == 4
        assert summary["learning_rate"][row] == [0.1, 0.001, 0.02][setting]
        expected = (values.mean(), values.std(ddof=1), values.min(), values.max())
        found = tuple(summary[f"val_loss_{name}"][row] for name in ("mean", "std", "min", "max"))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_best_model_is_the_best_run_of_the_best_setting() -> None:
    result = quick({"learning_rate": [0.001, 0.1]}, seeds=3)
    assert result.best_settings == {"learning_rate": 0.1}
    runs = np.flatnonzero(result.table["learning_rate"] == 0.1)
    best = runs[result.table["val_loss"][runs].argmin()]
    model = result.best_model
    assert model.metadata["settings"] == {"learning_rate": 0.1}
    assert model.metadata["seed"] == result.table["seed"][best]
    assert model.evaluate(*HELD)["loss"] == pytest.approx(result.table["val_loss"][best], rel=1e-12)


def test_metrics_that_should_be_high_are_ranked_so() -> None:
    result = quick({"learning_rate": [0.001, 0.1]}, seeds=2, metrics=["r2", "mae"], by="val_r2")
    assert result.figures == ("loss", "val_loss", "val_r2", "val_mae")
    assert result.best_settings == {"learning_rate": 0.1}
    measured = result.best_model.evaluate(*HELD, metrics="r2")["r2"]
    assert measured == pytest.approx(result.table["val_r2"][2:].max(), rel=1e-12)


def test_the_ensemble_of_a_setting_has_its_runs_in_the_order_of_the_seeds() -> None:
    result = quick({"learning_rate": [0.1, 0.05]}, seeds=[5, 2, 9], group_size=2)
    models = result.ensemble(1)
    assert models.seeds == [5, 2, 9]
    expected = [result.model(run).predict(X) for run in (3, 4, 5)]
    np.testing.assert_allclose(models.predict(X), expected, rtol=1e-12)


def test_without_validation_data_the_training_loss_tells() -> None:
    result = quick({"learning_rate": [0.001, 0.1]}, validation_data=None, metrics="r2")
    assert result.by == "loss"
    assert result.figures == ("loss", "r2")


def test_a_share_is_held_out_from_the_end() -> None:
    held = quick({}, validation_data=None, validation_split=0.2)
    expected = tn.sweep(
        build, {}, X[:24], Y[:24], validation_data=(X[24:30], Y[24:30]), optimizer=tn.SGD(0.05), epochs=3, batch_size=8
    )
    assert_same(held, expected)


@pytest.mark.filterwarnings("error")
def test_runs_that_diverge_are_reported_and_the_others_go_on() -> None:
    result = quick({"learning_rate": [1e200, 0.05, 1e-6]}, seeds=2, metrics="r2")
    table, summary = result.table, result.summary()
    assert table["diverged"].tolist() == [True, True, False, False, False, False]
    assert np.isnan(table["val_loss"][:2]).all()
    assert np.isfinite(table["val_loss"][2:]).all()
    assert summary["setting"].tolist() == [1, 2, 0]
    assert summary["n_diverged"].tolist() == [0, 0, 2]
    assert result.best_settings == {"learning_rate": 0.05}
    assert "2 diverged" in repr(result)


def test_a_sweep_of_which_all_diverged_has_no_best() -> None:
    result = quick({"learning_rate": [1e200]}, seeds=2)
    with pytest.raises(ValueError, match="all of them diverged; try lower learning rates"):
        _ = result.best_model
    assert "2 diverged" in repr(result)


def test_early_stopping_of_a_metric_acts_on_each_run() -> None:
    callbacks = [tn.EarlyStopping("val_r2", patience=1)]
    options: dict[str, Any] = {"epochs": 30, "callbacks": callbacks, "metrics": ["r2", "mae"]}
    result = quick({"learning_rate": [0.5, 1e-7]}, seeds=2, **options)
    assert result.figures == ("loss", "val_loss", "val_r2", "val_mae")
    for row, (rate, seed) in enumerate(zip(result.table["learning_rate"], result.table["seed"], strict=True)):
        _, history = alone(int(seed), net={}, optimizer=tn.SGD(rate), **options)
        assert result.table["n_epochs"][row] == len(history)
        curve = result.losses("val_r2")[:, row]
        np.testing.assert_allclose(curve[: len(history)], history["val_r2"], rtol=1e-10)
        assert np.isnan(curve[len(history) :]).all()
        assert result.table["val_r2"][row] == pytest.approx(max(history["val_r2"]), rel=1e-10)
    with pytest.raises(ValueError, match="losses expects one of 'loss', 'r2', 'val_loss', 'val_r2'; got 'val_mae'"):
        result.losses("val_mae")


@pytest.mark.parametrize("monitor", ["val_r2", "accuracy"])
def test_a_figure_that_no_run_has_is_told_before_training(monitor: str) -> None:
    with pytest.raises(ValueError, match=f"EarlyStopping monitors '{monitor}'; this sweep has 'loss', 'r2'"):
        quick({}, validation_data=None, metrics="r2", callbacks=[tn.EarlyStopping(monitor)])


def test_early_stopping_acts_on_each_run() -> None:
    callback = tn.EarlyStopping("val_loss", patience=1)
    result = quick({"learning_rate": [0.5, 1e-7]}, epochs=30, seeds=2, callbacks=[callback])
    for row, (rate, seed) in enumerate(zip(result.table["learning_rate"], result.table["seed"], strict=True)):
        net, history = alone(
            int(seed), net={}, optimizer=tn.SGD(rate), epochs=30, callbacks=[tn.EarlyStopping("val_loss", patience=1)]
        )
        assert result.table["n_epochs"][row] == len(history)
        np.testing.assert_allclose(result.table["val_loss"][row], min(history["val_loss"]), rtol=1e-12)
        np.testing.assert_allclose(result.model(row).predict(X), net.predict(X), rtol=1e-10)


def test_settings_that_only_some_runs_have_are_none_in_the_table() -> None:
    result = quick([{"optimizer": ["sgd"], "momentum": [0.5]}, {"optimizer": ["adam"]}])
    assert result.table["momentum"].tolist() == [0.5, None]


def test_a_setting_that_is_called_as_a_figure_has_another_name_in_the_table() -> None:
    result = quick({"loss": ["mse", "mae"]})
    assert result.table["loss_setting"].tolist() == ["mse", "mae"]
    assert result.table["loss"].dtype == float


def test_tables_become_data_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="data frames need pandas: pip install pandas")
    result = quick({"width": [4, 6], "activation": ["tanh"]}, seeds=2)
    frame = result.to_pandas()
    assert frame.shape == (4, len(result.table))
    assert frame.groupby("width").val_loss.mean().to_dict() == pytest.approx(
        dict(zip(result.summary()["width"].tolist(), result.summary()["val_loss_mean"].tolist(), strict=True))
    )
    assert len(result.to_pandas(summary=True)) == 2
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(DependencyError, match="pip install pandas"):
        result.to_pandas()
    assert pandas is not None


def test_the_same_call_gives_the_same_result() -> None:
    space = {"learning_rate": tn.LogUniform(1e-3, 1e-1), "width": [4, 6]}
    assert_same(*(quick(space, n_samples=4, seed=7, seeds=2, bootstrap=True) for _ in range(2)))


def test_sample_weights_and_bootstrap_reach_the_runs() -> None:
    weight = np.r_[np.ones(10), np.zeros(20)]
    weighted = quick({}, sample_weight=weight, epochs=2, seeds=2)
    few = tn.Ensemble(build(), 2, [0, 1])
    few.fit(*TRAIN, optimizer=tn.SGD(0.05), epochs=2, batch_size=8, validation_data=HELD, sample_weight=weight)
    np.testing.assert_allclose(weighted.table["val_loss"], few.scores["val_loss"], rtol=1e-12)
    bagged = tn.Ensemble(build(), 2, [0, 1])
    bagged.fit(*TRAIN, optimizer=tn.SGD(0.05), epochs=2, batch_size=8, validation_data=HELD, bootstrap=True)
    found = quick({}, bootstrap=True, epochs=2, seeds=2).table["val_loss"]
    np.testing.assert_allclose(found, bagged.scores["val_loss"], rtol=1e-12)


def test_optimizers_that_take_all_samples_have_settings_to_sweep() -> None:
    """Trained together, each with a damping of its own, models end where they end alone."""
    space = {"optimizer": [tn.LevenbergMarquardt(scaling="marquardt")], "damping": [1e-3, 10.0]}

    def build(seed: int | None = None) -> tn.Sequential:
        return tn.Sequential(tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 1), dtype="float64", backend="numpy", seed=seed)

    found = quick(space, build=build, seeds=2, batch_size=None)
    for run, (damping, seed) in enumerate([(d, s) for d in (1e-3, 10.0) for s in range(2)]):
        alone = build(seed=seed)
        alone.fit(*TRAIN, optimizer=tn.LevenbergMarquardt(damping, scaling="marquardt"), epochs=3)
        np.testing.assert_array_equal(found.model(run).flat_parameters(), alone.flat_parameters())
    found = quick({"optimizer": [tn.LBFGS()], "memory": [1, 5]}, build=build, seeds=1, batch_size=None, epochs=6)
    assert found.table["loss"][0] != found.table["loss"][1]
    with pytest.raises(ValueError, match="LevenbergMarquardt takes all samples"):
        quick({"optimizer": ["adam", "lm"]}, batch_size=8)
