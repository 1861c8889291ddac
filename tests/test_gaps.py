"""Targets that were not measured: they are left out of losses, gradients, metrics and the scales of targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_fused import TIERS, assert_agrees

import tinynet as tn

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), np.abs(RNG.normal(size=(40, 2)) * 3 + 5)
GAPS = Y.copy()
GAPS[RNG.random(Y.shape) < 0.4] = np.nan
KNOWN = ~np.isnan(GAPS)
LOSSES: dict[str, Any] = {
    "mse": tn.MeanSquaredError(),
    "huber": tn.Huber(0.7),
    "sum": tn.MeanAbsoluteError("sum"),
    "log_cosh": tn.LogCosh(),
    "bits": tn.BinaryCrossEntropy(from_logits=True),
    "poisson": tn.PoissonLoss(),
    "quantiles": tn.Quantile([0.1, 0.9]),
    "gaussian": tn.GaussianNLL(),
}
ENDS = {"quantiles": lambda: tn.Increasing(2, 2), "gaussian": lambda: tn.MeanVariance(2)}


def targets(name: str) -> np.ndarray:
    return np.where(KNOWN, (Y > 5).astype(float), np.nan) if name == "bits" else GAPS


def layers(name: str, width: int = 4) -> list[tn.Layer]:
    ending = [ENDS[name]()] if name in ENDS else []
    return [tn.Linear(3, width), tn.Tanh(), tn.Linear(width, ending[0].n_in if ending else 2), *ending]  # type: ignore[list-item]


def network(name: str, backend: str, width: int = 4) -> tn.Sequential:
    return tn.Sequential(*layers(name, width), seed=1, dtype="float64", backend=backend)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_and_its_gradient_are_those_of_what_was_measured(name: str, backend: str) -> None:
    loss, y = LOSSES[name], targets(name)
    ignoring, one = loss.with_missing("ignore"), type(loss)(**loss.config() | {"reduction": "sum"})
    p = RNG.uniform(0.1, 1, (40, 4 if name in ENDS else 2))
    expected, slopes = 0.0, np.zeros_like(p)
    for i, j in np.argwhere(KNOWN):
        columns = [j, j + 2] if name in ENDS else [j]
        row, target = p[i : i + 1, columns], y[i : i + 1, j : j + 1]
        expected += one(row, target)
        slopes[i, columns] = one.backward(row, target)
    with tn.use_backend(backend):
        divisor = 1 if loss.reduction == "sum" else Y.size * (2 if name == "quantiles" else 1)
        assert ignoring(p, y) == pytest.approx(expected / divisor)
        np.testing.assert_allclose(ignoring.backward(p, y), slopes / divisor, rtol=1e-12, atol=1e-15)
    net = network(name, backend)
    value = net.evaluate(X, y, loss=loss, missing_targets="ignore")["loss"]
    sums = sum(one(net.predict(X)[i : i + 1, c], y[i : i + 1, j : j + 1]) for i, j, c in cells(name))
    count = KNOWN.sum() * (2 if name == "quantiles" else 1)
    assert value == pytest.approx(sums if loss.reduction == "sum" else sums / count)


def cells(name: str) -> list[tuple[int, int, list[int]]]:
    return [(i, j, [j, j + 2] if name in ENDS else [j]) for i, j in np.argwhere(KNOWN)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("name", ["mse", "huber", "gaussian"])
def test_every_tier_trains_to_what_the_loop_reaches(name: str, tier: str) -> None:
    width, batch_size = TIERS[tier]
    loss = LOSSES[name].with_missing("ignore")
    assert_agrees(
        lambda: layers(name, width),
        loss,
        GAPS[:23],
        lambda: tn.SGD(0.01),
        batch_size=batch_size,
        weighted=True,
        tier=tier,
    )


@pytest.mark.parametrize("width", [4, 20], ids=["unrolled", "tiles"])
def test_ensembles_train_to_what_each_model_does(width: int) -> None:
    results = []
    for backend in ("numba", "numpy"):
        models = tn.Ensemble(network("mse", backend, width), 3)
        history = models.fit(X, GAPS, loss=tn.Huber([0.5, 1.0, 2.0]), epochs=2, batch_size=7, missing_targets="ignore")
        assert history.plan.startswith("fused") == (backend == "numba")
        figures = models.evaluate(X, GAPS, metrics="mae", missing_targets="ignore")
        results.append(np.hstack([models.predict(X).ravel(), history["loss"].ravel(), figures["loss"], figures["mae"]]))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_complete_targets_give_the_numbers_of_before(backend: str) -> None:
    losses = [
        network("mse", backend).fit(X, Y / 5, epochs=3, missing_targets=missing)["loss"]
        for missing in ("error", "ignore")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-12)


def test_figures_are_means_over_what_was_measured(backend: str) -> None:
    net, r2 = network("mse", backend), []
    figures = net.evaluate(X, GAPS, loss="mse", metrics=["mae", "mse", "r2"], missing_targets="ignore")
    errors = net.predict(X) - GAPS
    for j in (0, 1):
        own = KNOWN[:, j]
        r2.append(1 - np.square(errors[own, j]).sum() / np.square(GAPS[own, j] - GAPS[own, j].mean()).sum())
    assert figures["loss"] == pytest.approx(np.nanmean(np.square(errors)))
    assert figures["mae"] == pytest.approx(np.nanmean(np.abs(errors), axis=0).mean())
    assert figures["r2"] == pytest.approx(np.mean(r2))


def test_a_row_without_targets_counts_for_nothing_in_whatever_batch() -> None:
    """Each measured target has one weight in all batches: a batch of gaps makes no step."""
    whole, y = network("mse", "numba"), Y / 5
    whole.fit(X[:20], y[:20], optimizer=tn.SGD(0.1), epochs=2, batch_size=10, shuffle=False)
    gaps = network("mse", "numba")
    y[20:] = np.nan
    history = gaps.fit(
        X, y, optimizer=tn.SGD(0.05), epochs=2, batch_size=10, shuffle=False, missing_targets="ignore"
    )  # Half of the targets are missing, so each one that is there has twice the weight.
    np.testing.assert_allclose(gaps.flat_parameters(), whole.flat_parameters(), rtol=1e-12)
    np.testing.assert_allclose(history["loss"], whole.history["loss"], rtol=1e-12)


def test_full_batches_descend_the_loss_that_is_shown() -> None:
    net = network("mse", "numba")
    before, value = net.flat_parameters(), net.evaluate(X, GAPS, loss="mse", missing_targets="ignore")["loss"]
    history = net.fit(X, GAPS, optimizer=tn.SGD(1.0), epochs=1, batch_size=40, missing_targets="ignore")
    assert history["loss"][0] == pytest.approx(value)
    step, h = before - net.flat_parameters(), 1e-6
    for place in (0, 7, -1):
        values = []
        for sign in (1, -1):
            moved = before.copy()
            moved[place] += sign * h
            net.set_flat_parameters(moved)
            values.append(net.evaluate(X, GAPS, loss="mse", missing_targets="ignore")["loss"])
        assert step[place] == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-5)


def test_scales_of_targets_and_validation_are_of_what_was_measured(backend: str) -> None:
    scaled = tn.Denormalize(2).adapt(GAPS, missing_targets="ignore")
    np.testing.assert_allclose(scaled.mean, np.nanmean(GAPS, axis=0))
    np.testing.assert_allclose(scaled.scale, np.nanstd(GAPS, axis=0))
    net = tn.Sequential(*layers("mse"), scaled, seed=1, dtype="float64", backend=backend)
    history = net.fit(
        X, GAPS, epochs=2, validation_split=0.3, metrics="mae", missing_targets="ignore", sample_weight=np.full(40, 2.0)
    )
    errors = (net.predict(X) - GAPS)[28:]
    assert history["val_mae"][-1] == pytest.approx(np.nanmean(np.abs(errors), axis=0).mean())
    assert history["val_loss"][-1] == pytest.approx(2 * np.nanmean(np.square(errors / scaled.scale)))
    assert "rmse" in str(net.report(X, GAPS, missing_targets="ignore"))


def test_gaps_are_refused_unless_they_are_asked_for() -> None:
    net = network("mse", "numpy")
    with pytest.raises(ValueError, match="y must be finite; got nan"):
        net.fit(X, GAPS, epochs=1)
    net.fit(X, GAPS / 5, epochs=1, missing_targets="ignore")
    with pytest.raises(ValueError, match="y must be finite; got nan"):
        net.evaluate(X, GAPS)
    with pytest.raises(ValueError, match="y must be finite; got inf"):
        net.fit(X, np.where(KNOWN, GAPS, np.inf), epochs=1, missing_targets="ignore")
    with pytest.raises(ValueError, match="got NaN for all of them"):
        net.fit(X, np.full((40, 2), np.nan), epochs=1, missing_targets="ignore")
    with pytest.raises(ValueError, match="missing_targets"):
        net.fit(X, GAPS, epochs=1, missing_targets="drop")
    with pytest.raises(ValueError, match="column 1 of y has no target"):
        tn.Denormalize(2).adapt(np.where([True, False], Y, np.nan), missing_targets="ignore")


def test_what_takes_whole_rows_says_so() -> None:
    net, labels = network("mse", "numpy"), np.where(KNOWN, 1.0, np.nan)
    with pytest.raises(ValueError, match="CrossEntropy takes rows as a whole"):
        net.fit(X, labels, loss="cross_entropy", missing_targets="ignore")
    with pytest.raises(ValueError, match=r"expects every target to be there.*tn\.LBFGS"):
        net.fit(X, GAPS / 5, optimizer="lm", epochs=1, missing_targets="ignore")
    net.fit(X, GAPS / 5, optimizer="lbfgs", epochs=2, missing_targets="ignore")
    bits = network("bits", "numpy")
    with pytest.raises(ValueError, match="accuracy expects the class of each sample"):
        bits.fit(X, targets("bits"), loss=LOSSES["bits"], metrics="accuracy", epochs=1, missing_targets="ignore")
    with pytest.raises(ValueError, match=r"expects targets in \[0, 1\]; got values from -?\d"):
        bits.fit(X, GAPS, loss=LOSSES["bits"], epochs=1, missing_targets="ignore")


def test_a_sweep_trains_on_what_was_measured() -> None:
    def build() -> tn.Sequential:
        return tn.Sequential(tn.Linear(3, 2), dtype="float64", backend="numba")

    options: Any = {"metrics": "mae", "missing_targets": "ignore", "epochs": 3, "batch_size": 7}
    result = tn.sweep(build, {"learning_rate": [0.1, 0.01]}, X, GAPS / 5, validation_data=(X, GAPS / 5), **options)
    run = result.best_run()
    figures = result.model(run).evaluate(X, GAPS / 5, metrics="mae", missing_targets="ignore")
    assert [result.table[name][run] for name in ("val_loss", "val_mae")] == pytest.approx(list(figures.values()))


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_regressor_fits_what_was_measured() -> None:
    pytest.importorskip("sklearn")
    from sklearn.metrics import r2_score

    from tinynet.estimators import MLPRegressor

    def made(**options: Any) -> MLPRegressor:
        return MLPRegressor(hidden_layer_sizes=(4,), random_state=0, max_iter=20, tol=0.0, **options)

    y = GAPS[:, 0]
    known = ~np.isnan(y)
    ignoring = made(alpha=0.0, batch_size=40, missing_targets="ignore").fit(X, y)
    assert ignoring.score(X, y) == pytest.approx(r2_score(y[known], ignoring.predict(X)[known]))
    # Of one target, rows with a gap count for nothing, as rows of weight 0 do; Adam does not see the factor of all.
    weighted = made(alpha=0.0, batch_size=40).fit(X, np.nan_to_num(y), known.astype(float))
    np.testing.assert_allclose(ignoring.predict(X), weighted.predict(X), rtol=1e-5)
    stopping = made(missing_targets="ignore", early_stopping=True, validation_fraction=0.3).fit(X, GAPS)
    assert np.isfinite([*stopping.validation_scores_, stopping.score(X, GAPS, np.ones(40))]).all()
    with pytest.raises(ValueError, match="contains NaN"):
        made().fit(X, y)
    with pytest.raises(ValueError, match="expects every target to be there"):
        made(solver="lm", missing_targets="ignore").fit(X, y)
    with pytest.raises(ValueError, match="one output for each target; got GaussianNLL"):
        made(loss=tn.GaussianNLL()).fit(X, Y)
