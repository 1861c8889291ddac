"""Layers that standardise, skip and embed: on every backend, in ensembles, files, copies and checkpoints."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

RNG = np.random.default_rng(3)
X = np.hstack([RNG.normal(size=(24, 3)), RNG.integers(0, 4, (24, 1))])
Y = np.sin(X[:, :1]) + X[:, 1:2] * (X[:, 3:] == 2)

NETWORKS: dict[str, Callable[[], list[tn.Layer]]] = {
    "layer norm": lambda: [tn.Linear(4, 5), tn.LayerNorm(5), tn.Tanh(), tn.Linear(5, 1)],
    "layer norm without weights": lambda: [tn.LayerNorm(4, eps=1e-3, affine=False), tn.Linear(4, 1)],
    "batch norm": lambda: [tn.Linear(4, 5, bias=False), tn.BatchNorm(5), tn.Tanh(), tn.Linear(5, 1)],
    "batch norm first": lambda: [tn.BatchNorm(4, momentum=0.3, affine=False), tn.Linear(4, 1)],
    "residual": lambda: [tn.Linear(4, 5), tn.Residual(tn.Linear(5, 6), tn.Tanh(), tn.Linear(6, 5)), tn.Linear(5, 1)],
    "projected": lambda: [
        # A bias before a batch norm has no gradient but rounding, of which Adam makes steps.
        tn.Residual(tn.Linear(4, 6, bias=False), tn.BatchNorm(6), tn.Tanh(), tn.Dropout(0.2)),
        tn.Linear(6, 1),
    ],
    "nested": lambda: [tn.Residual(tn.Linear(4, 4), tn.Residual(tn.LayerNorm(4), tn.Linear(4, 4))), tn.Linear(4, 1)],
    "embedding": lambda: [tn.Embedding(4, 2, columns=[3], n_in=4), tn.Linear(5, 4), tn.Tanh(), tn.Linear(4, 1)],
}


GENERATED = sorted(set(NETWORKS) - {"embedding"})
"""Networks that are trained in generated code on Numba."""


def network(name: str, backend: str = "numpy", **options: Any) -> tn.Sequential:
    return tn.Sequential(NETWORKS[name](), **{"seed": 0, "backend": backend, "dtype": "float64", **options})


def fitted(net: Any, epochs: int = 3, optimizer: tn.Optimizer | None = None, **more: Any) -> Any:
    return net.fit(X, Y, optimizer=optimizer or tn.Adam(0.01), epochs=epochs, batch_size=8, **more)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_central_differences(name: str, backend: str) -> None:
    net = network(name, backend)
    assert tn.gradient_check(net, X[:6], Y[:6]).passed


@pytest.mark.parametrize("name", NETWORKS)
def test_backends_train_alike(name: str) -> None:
    found = []
    for backend in ("numpy", "numba"):
        net = network(name, backend)
        optimizer = tn.AdamW(0.01, weight_decay=lambda name: 0.2 * name.endswith("weight"), clip_norm=0.5)
        history = fitted(net, optimizer=optimizer)
        found.append((net.flat_parameters(), history["loss"], net.predict(X), net.evaluate(X, Y)["loss"]))
    assert history.plan.startswith("fused" if name in GENERATED else "loop: ")
    assert (name in GENERATED) or "goes kernel by kernel" in history.plan
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("frozen", [(), (0,), (1,)], ids=str)
@pytest.mark.parametrize("batch_size", [5, 24, 280])
def test_generated_code_goes_around_layers_and_through_norms_as_the_loop(
    batch_size: int, frozen: tuple[int, ...]
) -> None:
    """Of widths that fill registers in part, in one piece and in ranges, with anything frozen."""
    x = np.tile(X, (13, 1)) + np.linspace(0, 1, 312)[:, None]
    found = []
    for backend in ("numpy", "numba"):
        inner = [tn.LayerNorm(19), tn.Linear(19, 21), tn.SiLU(), tn.Residual(tn.Linear(21, 21)), tn.Linear(21, 19)]
        layers = [tn.Residual(tn.Linear(4, 19)), tn.Residual(*inner, tn.Dropout(0.2)), tn.Residual(tn.Linear(19, 7))]
        layers += [tn.ReLU(), tn.LayerNorm(7, affine=False), tn.Residual(tn.Linear(7, 7), tn.Tanh()), tn.Linear(7, 1)]
        net = tn.Sequential(*layers, seed=0, dtype="float64", backend=backend)
        for i in frozen:
            net.layers[i].trainable = False
        weight = np.linspace(0.5, 2.0, len(x))
        net.fit(x, x[:, :1], optimizer=tn.Adam(0.01), epochs=2, batch_size=batch_size, sample_weight=weight)
        found.append((net.flat_parameters(), net.predict(x), net.predict(x[:1]), net.evaluate(x, x[:, :1])["loss"]))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_float64_to_rounding(name: str, backend: str) -> None:
    found = []
    for dtype in ("float64", "float32"):
        net = network(name, backend, dtype=dtype)
        fitted(net, 1, tn.SGD(0.05))
        found.append(net.predict(X))
    assert found[1].dtype == np.float32
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_and_copies_predict_the_same(name: str, tmp_path: Path) -> None:
    net = network(name, dtype="float32")
    fitted(net, 2)
    net.save(tmp_path / "net.npz")
    others = [
        tn.load(tmp_path / "net.npz", backend="numpy"),
        net.clone(),
        copy.deepcopy(net),
        pickle.loads(pickle.dumps(net)),
    ]
    others.append(tn.Sequential([layer.fresh_copy() for layer in net.layers], backend="numpy"))
    others[-1].set_weights(net.get_weights())
    for other in others:
        assert repr(other.layers) == repr(net.layers)
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        assert other.parameter_names == net.parameter_names


@pytest.mark.parametrize("name", ["batch norm", "projected", "embedding"])
def test_a_training_that_is_resumed_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    whole, half, resumed = (network(name) for _ in range(3))
    kept = [tn.Checkpoint(tmp_path / "kept.npz", unit="update", every=4)]
    fitted(whole, 4, callbacks=[tn.Checkpoint(tmp_path / "other.npz", unit="update", every=4)])
    fitted(half, 2, callbacks=kept)
    fitted(resumed, 4, callbacks=kept, resume_from=tmp_path / "kept.npz")
    assert resumed.flat_parameters().tobytes() == whole.flat_parameters().tobytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_models_of_an_ensemble_train_as_alone(name: str) -> None:
    models = tn.Ensemble(network(name), 2, seeds=[7, 8])
    alone = [models[i] for i in range(2)]
    history = models.fit(X, Y, optimizer=tn.Adam([0.01, 0.02]), epochs=2, batch_size=8)
    assert history.plan.startswith("model by model: loop")
    for i, net in enumerate(alone):
        net.fit(X, Y, optimizer=tn.Adam([0.01, 0.02][i]), epochs=2, batch_size=8)
        np.testing.assert_array_equal(models[i].flat_parameters(), net.flat_parameters())
    assert not np.array_equal(*(models[i].predict(X) for i in range(2)))


def test_an_ensemble_goes_through_a_file(tmp_path: Path) -> None:
    models = tn.Ensemble(network("projected"), 2)
    fitted(models, 1)
    models.save(tmp_path / "models.npz")
    other = tn.Ensemble.load(tmp_path / "models.npz", backend="numpy")
    np.testing.assert_array_equal(other.predict(X), models.predict(X))


# -- batch norm ------------------------------------------------------------------------------------------------------


def test_predictions_take_the_running_statistics(backend: str) -> None:
    net = tn.Sequential(tn.BatchNorm(4), dtype="float64", backend=backend)
    layer = net.layers[0]
    mean, variance = np.zeros(4), np.ones(4)
    for start in (0, 8, 16):
        batch = X[start : start + 8]
        mean, variance = 0.9 * mean + 0.1 * batch.mean(axis=0), 0.9 * variance + 0.1 * batch.var(axis=0, ddof=1)
        net.forward(batch, training=True)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(layer.running_var, variance, rtol=1e-12)
    np.testing.assert_allclose(net.predict(X), (X - mean) / np.sqrt(variance + 1e-5), rtol=1e-12)


def test_no_optimizer_touches_running_statistics() -> None:
    net = network("batch norm")
    layer = net.layers[1]
    net.forward(X, training=True)
    net.backward(np.ones_like(Y))
    before = layer.running_mean.copy(), layer.running_var.copy(), layer.weight.copy()
    tn.SGD(0.1, momentum=0.9, weight_decay=0.5).step(net)
    np.testing.assert_array_equal(layer.running_mean, before[0])
    np.testing.assert_array_equal(layer.running_var, before[1])
    assert not np.array_equal(layer.weight, before[2])
    assert net.state.moments.shape == (1, net.n_parameters - 10)


@pytest.mark.parametrize("name", ["batch norm", "projected"])
def test_a_batch_of_one_sample_is_refused_before_anything_is_changed(name: str, backend: str) -> None:
    net = network(name, backend)
    before = net.flat_parameters()
    with pytest.raises(ValueError, match=r"BatchNorm\([56]\) expects two samples or more"):
        net.fit(X[:17], Y[:17], epochs=1, batch_size=8)
    assert (net.flat_parameters() == before).all()
    net.fit(X[:17], Y[:17], epochs=1, batch_size=8, drop_last=True)
    with pytest.raises(ValueError, match="two samples or more"):
        net.forward(X[:1], training=True)
    assert net.predict(X[:1]).shape == (1, 1)


def test_a_frozen_batch_norm_stays_as_it_is() -> None:
    net = network("batch norm")
    fitted(net, 1)
    net.layers[1].trainable = False
    before = [net.layers[1].running_mean.copy(), net.layers[1].running_var.copy(), net.layers[1].weight.copy()]
    loss = net.evaluate(X, Y)["loss"]
    history = net.fit(X, Y, optimizer=tn.SGD(1e-12), epochs=1, batch_size=len(X), shuffle=False)
    np.testing.assert_allclose(history["loss"][0], loss, rtol=1e-9)
    fitted(net, 2)
    after = [net.layers[1].running_mean, net.layers[1].running_var, net.layers[1].weight]
    assert [(a == b).all() for a, b in zip(before, after, strict=True)] == [True] * 3
    assert tn.gradient_check(net, X[:6], Y[:6]).passed


def test_what_is_restored_or_averaged_has_its_own_statistics() -> None:
    seen: list[Any] = []
    for callback in (tn.EarlyStopping(patience=1, restore_best=True), tn.SWA(start=2)):
        net, held = network("batch norm"), {"validation_data": (X, -Y)}
        look = tn.LambdaCallback(on_epoch_end=lambda epoch, logs, net=net: seen.append(net.flat_parameters()))
        seen.clear()
        net.fit(X, Y, optimizer=tn.SGD(0.01), epochs=6, batch_size=8, callbacks=[look, callback], **held)
        stopping = isinstance(callback, tn.EarlyStopping)
        want = seen[callback.best_epoch] if stopping else np.mean(seen[2:], axis=0)
        np.testing.assert_allclose(net.flat_parameters(), want, rtol=0 if stopping else 1e-12)


def test_the_summary_tells_what_is_trained() -> None:
    lines: list[str] = []
    network("batch norm").summary(lines.append)
    assert "46 parameters (36 of them trained), 368 bytes" in lines[-1]


# -- residual --------------------------------------------------------------------------------------------------------


def test_a_residual_is_the_sum(backend: str) -> None:
    inner = tn.Sequential(tn.Linear(4, 6), tn.Tanh(), seed=1, dtype="float64", backend=backend)
    net = tn.Sequential(tn.Residual(tn.Linear(4, 6), tn.Tanh()), seed=2, dtype="float64", backend=backend)
    assert net.parameter_names == ["0.0.weight", "0.0.bias", "0.projection.weight"]
    w, b, p = net.get_weights()
    inner.set_weights([w, b])
    np.testing.assert_allclose(net.predict(X), X @ p + inner.predict(X), rtol=1e-14)
    layer = net.layers[0]
    assert isinstance(layer, tn.Residual)
    layer.layers[0].bias = 1.0
    np.testing.assert_array_equal(net.get_weights()[1], np.ones(6))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: tn.Residual(), "at least one layer"),
        (lambda: tn.Residual(tn.Tanh()), "a layer with a width"),
        (lambda: tn.Residual(tn.Linear(2, 3), tn.Linear(2, 3)), "expects inputs of width 2"),
        (lambda: tn.Residual(tn.Normalize(2)), "before or behind"),
        (lambda: tn.Residual(tn.Linear(2, 2, trainable=False)), "as a whole"),
        (lambda: tn.Residual(tn.Linear(2, 2), tn.Dropout([0.1, 0.2])), "one rate"),
        (lambda: tn.Embedding([3, 4], [1, 2], columns=[1]), "a number for each of 1"),
        (lambda: tn.Embedding(3, 2, columns=[1]), "Give n_in"),
        (lambda: tn.BatchNorm(2, momentum=1.5), "at most 1"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def test_layers_bring_what_they_were_given_into_a_residual() -> None:
    inner, norm = tn.Linear(2, 3), tn.BatchNorm(3)
    inner.weight, norm.running_mean = [[0.1, 0.2, 0.3], [4.0, 5.0, 6.0]], [7.0, 8.0, 9.0]
    residual = tn.Residual(inner, tn.Residual(norm, tn.Tanh()))
    net = tn.Sequential(residual, seed=0, dtype="float64")
    names = dict(zip(net.parameter_names, net.get_weights(), strict=True))
    np.testing.assert_array_equal(names["0.0.weight"], [[0.1, 0.2, 0.3], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(names["0.1.0.running_mean"], [7.0, 8.0, 9.0])
    alone = tn.Residual(tn.Linear(2, 2)).build(seed=1)
    before = alone.layers[0].weight.copy()  # type: ignore[attr-defined]
    assert not np.array_equal(alone.build(seed=2).layers[0].weight, before)  # type: ignore[attr-defined]


def test_layers_of_a_residual_are_in_use() -> None:
    layer = tn.Linear(2, 2)
    tn.Residual(layer)
    with pytest.raises(ValueError, match="in use already"):
        tn.Sequential(layer)


def test_a_residual_is_frozen_as_a_whole() -> None:
    net = network("residual")
    net.layers[1].trainable = False
    before = net.get_weights()
    fitted(net)
    assert [(a == b).all() for a, b in zip(before, net.get_weights(), strict=True)] == [False] * 2 + [True] * 4 + [
        False
    ] * 2
    net.layers[1].trainable = True
    net.layers[1].layers[0].trainable = False  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="as a whole"):
        fitted(net)


def test_dropout_layers_within_and_without_draw_masks_of_their_own() -> None:
    net = tn.Sequential(tn.Dropout(0.5), tn.Residual(tn.Linear(40, 40), tn.Dropout(0.5), tn.Dropout(0.5)), seed=0)
    ops = [net.program.ops[0], *net.program.ops[1].ops[1:]]  # type: ignore[union-attr]
    assert len({op.index for op in ops}) == 3  # type: ignore[union-attr]


def test_a_custom_layer_within_a_residual_is_trained(backend: str) -> None:
    class Scale(tn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.add_parameter("factor", (1,), init="ones")

        def forward(self, x: Any) -> Any:
            self.x = x
            return x * self.factor

        def backward(self, grad: Any) -> Any:
            self.factor_grad[...] = (grad * self.x).sum()
            return grad * self.factor

    net = tn.Sequential(
        tn.Residual(tn.Linear(4, 4), Scale()), tn.Linear(4, 1), seed=0, dtype="float64", backend=backend
    )
    assert tn.gradient_check(net, X[:5], Y[:5]).passed
    assert fitted(net).plan == "loop: custom layer Scale"
    with pytest.raises(TypeError, match="built-in layers; got Scale"):
        tn.Ensemble(net, 2)


# -- second-order optimizers and derivatives -------------------------------------------------------------------------


def test_lbfgs_trains_what_is_the_same_in_each_step() -> None:
    for name in ("layer norm", "residual", "embedding"):
        net = network(name)
        losses = net.fit(X, Y, optimizer=tn.LBFGS(), epochs=20)["loss"]
        assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ValueError, match="LayerNorm in its place"):
        network("batch norm").fit(X, Y, optimizer=tn.LBFGS())
    with pytest.raises(ValueError, match=r"got LayerNorm\. Use tn\.LBFGS"):
        network("layer norm").fit(X, Y, optimizer=tn.LevenbergMarquardt())


# -- levels in data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [4.0, -1.0, 1.5, 1e30])
@pytest.mark.parametrize("scaled", [False, True])
def test_what_is_no_level_is_refused_by_name_and_row(scaled: bool, value: float, backend: str) -> None:
    first = [tn.Normalize(4, columns=[0, 1, 2]).adapt(X)] if scaled else []
    net = tn.Sequential(*first, tn.Embedding(4, 2, columns=[3], n_in=4), tn.Linear(5, 1), seed=0, backend=backend)
    x = X.astype(np.float32)
    assert net.predict(x).shape == (24, 1)
    x[5, 3] = value
    before = net.flat_parameters()
    for call in (lambda: net.fit(x, Y), lambda: net.predict(x), lambda: net.evaluate(x, Y, loss="mse")):
        with pytest.raises(ValueError, match=r"whole levels from 0 to 3 in column 3; got .* in row 5"):
            call()
    assert (net.flat_parameters() == before).all()


def test_levels_that_are_standardised_are_refused() -> None:
    net = tn.Sequential(tn.Normalize(4).adapt(X), tn.Embedding(4, 2, columns=[3], n_in=4), tn.Linear(5, 1))
    with pytest.raises(ValueError, match="leave such columns out of Normalize"):
        net.predict(X)
    with pytest.raises(ValueError, match="as layer 1"):
        tn.Sequential(tn.Linear(4, 4), tn.Embedding(4, 2, columns=[3], n_in=4))


def test_normalize_leaves_other_columns_alone(tmp_path: Path) -> None:
    net = tn.Sequential(tn.Normalize(4, columns=[1, 2]).adapt(X), tn.Linear(4, 1))
    net.save(tmp_path / "net.npz")
    layer = tn.load(tmp_path / "net.npz").layers[0]
    assert repr(layer) == "Normalize(4, columns=[1, 2])"
    np.testing.assert_allclose(layer.mean, X.mean(axis=0) * [0, 1, 1, 0])
    np.testing.assert_allclose(layer.scale, np.where([0, 1, 1, 0], X.std(axis=0), 1.0))


def test_an_ensemble_refuses_what_is_no_level() -> None:
    models = tn.Ensemble(network("embedding"), 2)
    with pytest.raises(ValueError, match="whole levels"):
        models.fit(X + 0.5, Y)


# -- derivatives of predictions --------------------------------------------------------------------------------------


def differences(function: Callable[[Any], Any], at: Any) -> Any:
    """Return the central differences of a function by the last axis of what it reads."""
    slopes = []
    for i in range(at.shape[-1]):
        step = np.zeros(at.shape[-1])
        step[i] = 1e-5
        slopes.append((function(at + step) - function(at - step)) / 2e-5)
    return np.stack(slopes, axis=-1)


@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_of_predictions_are_differences(name: str, backend: str) -> None:
    net, rng = network(name, backend), np.random.default_rng(1)
    fitted(net, 1)
    x, v, w = X[:5], rng.normal(size=(5, 4)), rng.normal(size=(5, 1))
    if name == "embedding":
        v[:, 3] = 0.0

    def predict(rows: Any) -> Any:
        # Between levels no sample may lie, but close to one the network is the same.
        return net.predict(np.hstack([rows[:, :3], rows[:, 3:].round()]) if name == "embedding" else rows)

    jacobian = net.jacobian(x)
    np.testing.assert_allclose(jacobian, differences(predict, x), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(net.jvp(x, v), np.einsum("nki,ni->nk", jacobian, v), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.vjp(x, w), np.einsum("nki,nk->ni", jacobian, w), rtol=1e-9, atol=1e-12)
    want = differences(lambda rows: net.jacobian(rows if name != "embedding" else np.c_[rows[:, :3], x[:, 3]]), x)
    np.testing.assert_allclose(net.hessian(x), want, rtol=1e-5, atol=1e-7)

    def predicted_with(parameters: Any) -> Any:
        other = net.clone()
        other.set_flat_parameters(parameters)
        return other.predict(x)

    want = differences(predicted_with, net.flat_parameters())
    np.testing.assert_allclose(net.parameter_jacobian(x), want, rtol=1e-5, atol=1e-7)


# -- batch norms in generated code -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_size", [6, 24, 256])
def test_generated_code_standardises_batches_as_the_loop(batch_size: int, dtype: str) -> None:
    x = np.tile(X, (12, 1)) + np.linspace(0, 1, 288)[:, None]
    found = []
    for backend in ("numpy", "numba"):
        inner = [tn.Linear(19, 19, bias=False), tn.BatchNorm(19, affine=False), tn.LayerNorm(19), tn.Dropout(0.2)]
        layers = [tn.Normalize(4).adapt(x), tn.BatchNorm(4), tn.Linear(4, 19, bias=False), tn.BatchNorm(19, 1e-3, 0.3)]
        layers += [tn.ReLU(), tn.Residual(*inner), tn.Linear(19, 1)]
        net = tn.Sequential(*layers, seed=0, dtype=dtype, backend=backend)
        optimizer = tn.SGD(0.01, momentum=0.5, weight_decay=lambda name: 0.1 * name.endswith("weight"))
        history = net.fit(x, x[:, :1], optimizer=optimizer, epochs=2, batch_size=batch_size)
        found.append((net.flat_parameters(), net.state.moments, net.predict(x), net.predict(x[:1]), history["loss"]))
        found[-1] += (net.evaluate(x, x[:, :1])["loss"],)
    assert history.plan.startswith("fused")
    tolerance = {"rtol": 1e-8, "atol": 1e-11} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, **tolerance)


def test_the_plan_says_what_is_not_in_generated_code() -> None:
    x = np.tile(X, (12, 1))
    net = network("batch norm", "numba")
    plan = net.fit(x, x[:, :1], batch_size=257, drop_last=True).plan
    assert plan == "loop: BatchNorm over batches of more than 256 rows"
    net.layers[1].trainable = False
    assert net.fit(x, x[:, :1]).plan == "loop: a frozen BatchNorm"
    large = tn.Sequential(tn.Residual(tn.Linear(800, 700)), backend="numba")
    assert large.backend.plan(large.program).description == "loop: a projection of 560,000 weights"


def test_threads_predict_at_once() -> None:
    net = network("batch norm", "numba")
    fitted(net, 1)
    want = net.predict(X)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: net.predict(X), range(40)):
            np.testing.assert_array_equal(found, want)
