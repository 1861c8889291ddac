"""Training on values and slopes: against differences, PyTorch and formulas; with all that fit can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.layers import ACTIVATIONS

RNG = np.random.default_rng(4)
X = RNG.normal(1.0, 2.0, (30, 3))
Y = np.stack([np.sin(X[:, 0]) * X[:, 1] + X[:, 2], 5 * X[:, 0] * X[:, 2]], axis=1)
DY = np.stack(
    [
        np.stack([np.cos(X[:, 0]) * X[:, 1], np.sin(X[:, 0]), np.ones(30)], axis=1),
        np.stack([5 * X[:, 2], np.zeros(30), 5 * X[:, 0]], axis=1),
    ],
    axis=1,
)
WEIGHT = RNG.uniform(0.5, 2.0, 30)
LOSS = tn.Sobolev(weight=0.3)


def net_of(kind: str = "tanh", backend: str = "numpy", dtype: str = "float64", *, scaled: bool = True) -> tn.Sequential:
    make = ACTIVATIONS[kind]
    inner = [tn.Linear(3, 6), make(), tn.Dropout(0.2), tn.Linear(6, 4, bias=False), make(), tn.Linear(4, 2)]
    outer = [[tn.Normalize(3).adapt(X)], [tn.Denormalize(2).adapt(Y)]] if scaled else [[], []]
    return tn.Sequential(*outer[0], *inner, *outer[1], dtype=dtype, seed=2, backend=backend)


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_the_gradient_is_what_differences_show(kind: str) -> None:
    loss = tn.Sobolev("mse", tn.Huber(0.7), weight=0.3)
    report = tn.gradient_check(net_of(kind), X[:9], (Y[:9], DY[:9]), loss=loss, sample_weight=WEIGHT[:9])
    assert report.passed, str(report)


@pytest.mark.parametrize("kind", sorted(ACTIVATIONS))
def test_compiled_code_trains_as_numpy_does(kind: str) -> None:
    """In whole epochs, but for softmax, which goes through the compiled kernels one by one."""
    pytest.importorskip("numba")
    options: dict[str, Any] = {"loss": LOSS, "epochs": 3, "batch_size": 7, "sample_weight": WEIGHT}
    nets = [net_of(kind, backend) for backend in ("numpy", "numba")]
    histories = [net.fit(X, (Y, DY), validation_split=0.2, **options) for net in nets]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(histories[1][name], histories[0][name], rtol=1e-10)
    np.testing.assert_allclose(nets[1].flat_parameters(), nets[0].flat_parameters(), rtol=1e-9, atol=1e-12)
    assert histories[1].plan.startswith("loop: a loss of slopes" if kind == "softmax" else "fused: whole epochs")


@pytest.mark.parametrize(
    ("optimizer", "batch", "frozen", "threads"),
    [
        (tn.SGD(0.01), 1, (), 1),  # The step is folded into the gradient.
        (tn.SGD(0.01, momentum=0.9, clip_norm=1.0), 30, (1,), 1),
        (tn.AdamW(0.01), 30, (4, 6), 1),
        (tn.Adam(0.01), 600, (), 2),  # In ranges, on threads.
    ],
)
def test_every_table_trains_as_the_loop(
    optimizer: tn.Optimizer, batch: int, frozen: tuple[int, ...], threads: int
) -> None:
    pytest.importorskip("numba")
    x, y, dy = (np.concatenate([a] * 21) for a in (X, Y, DY)) if batch > 30 else (X, Y, DY)
    loss = tn.Sobolev(tn.MeanSquaredError("sum"), tn.MeanAbsoluteError("sum"), weight=0.1)
    found = []
    for backend in ("numpy", "numba"):
        net = net_of("silu", backend)
        for i in frozen:
            net.layers[i].trainable = False
        history = net.fit(x, (y, dy), loss=loss, optimizer=optimizer, epochs=3, batch_size=batch, threads=threads)
        found.append([*history["loss"], *net.flat_parameters()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-10)


def test_slopes_are_by_what_the_first_normalize_makes_and_no_other() -> None:
    """The samples have gone through the first when training begins: the second is a layer that slopes go through."""
    layers = [tn.Normalize(3).adapt(X), tn.Normalize(3).adapt(X**2), tn.Linear(3, 2)]
    net = tn.Sequential(*layers, dtype="float64", seed=0)
    first, second = (np.asarray(layer.scale) for layer in layers[:2])
    slopes = (layers[2].weight / second[:, np.newaxis]).T
    values = (net.predict(X) - Y) ** 2
    expected = np.mean(values) + 0.3 * np.mean((slopes - DY * first) ** 2)
    history = net.fit(X, (Y, DY), loss=LOSS, optimizer=tn.SGD(1e-12), batch_size=len(X))
    assert history["loss"][0] == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(X, (Y, DY))["loss"] == pytest.approx(expected, rel=1e-8)


def test_wide_layers_in_float32_train_as_in_numpy() -> None:
    """Wider than a panel of registers, all three."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    x, y, dy = (rng.normal(size=size).astype("f") for size in ((70, 20), (70, 35), (70, 35, 20)))
    nets = [
        tn.Sequential(tn.Linear(20, 70), tn.GELU(), tn.Linear(70, 35), seed=0, backend=backend)
        for backend in ("numpy", "numba")
    ]
    histories = [net.fit(x, (y, dy), loss=LOSS, epochs=2, batch_size=32) for net in nets]
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-5)
    np.testing.assert_allclose(nets[1].predict(x), nets[0].predict(x), rtol=1e-3, atol=1e-4)


def test_samples_on_disk_are_standardised_on_their_way(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    on_disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    nets = [net_of(backend="numba") for _ in range(2)]
    for net, x in zip(nets, (X, on_disk), strict=True):
        net.fit(x, (Y, DY), loss=LOSS, epochs=2, batch_size=7)
    np.testing.assert_allclose(nets[1].flat_parameters(), nets[0].flat_parameters(), rtol=1e-10)


@pytest.mark.peers
@pytest.mark.parametrize("scaled", [False, True], ids=["", "scaled"])
def test_training_is_that_of_pytorch_with_double_backward(scaled: bool) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch (the extra `peers`)")
    (mean, spread), (zero, unit) = ((a.mean(0), a.std(0)) if scaled else (0.0, 1.0) for a in (X, Y))
    net = tn.Sequential(
        *([tn.Normalize(3).adapt(X)] if scaled else []),
        *(tn.Linear(3, 5), tn.Tanh(), tn.Linear(5, 2)),
        *([tn.Denormalize(2).adapt(Y)] if scaled else []),
        dtype="float64",
        seed=1,
    )
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2)).double()
    w1, b1, w2, b2 = net.get_weights()
    with torch.no_grad():
        for parameter, value in zip(theirs.parameters(), (w1.T, b1, w2.T, b2), strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01)
    x, y = (torch.from_numpy(a) for a in ((X - mean) / spread, (Y - zero) / unit))
    dy = torch.from_numpy(DY * spread / np.reshape(unit, (-1, 1)))
    found = []
    for _ in range(4):
        total = 0.0
        for start in range(0, 30, 8):
            rows = x[start : start + 8].clone().requires_grad_()
            out = theirs(rows)
            parts = [torch.autograd.grad(out[:, k].sum(), rows, create_graph=True)[0] for k in range(2)]
            slopes = torch.stack(parts, dim=1)
            loss = ((out - y[start : start + 8]) ** 2).mean() + 0.3 * ((slopes - dy[start : start + 8]) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(rows)
        found.append(total / 30)
    history = net.fit(X, (Y, DY), loss=LOSS, optimizer=tn.Adam(0.01), epochs=4, batch_size=8, shuffle=False)
    np.testing.assert_allclose(history["loss"], found, rtol=1e-10)
    np.testing.assert_allclose(net.get_weights()[0], theirs[0].weight.detach().numpy().T, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_reported_is_the_formula(reduction: Any) -> None:
    """Of standardised values and slopes; whether all rows go through at once or a few at a time."""
    net = net_of()
    loss = tn.Sobolev(tn.MeanSquaredError(reduction), tn.MeanAbsoluteError(reduction), weight=2.0)
    spread, unit = X.std(0), Y.std(0)
    values = WEIGHT[:, None] * ((net.predict(X) - Y) / unit) ** 2
    slopes = WEIGHT[:, None, None] * np.abs(net.jacobian(X) - DY) * spread / unit[:, None]
    want = getattr(values, reduction)() + 2.0 * getattr(slopes, reduction)()
    found = net.evaluate(X, (Y, DY), loss=loss, sample_weight=WEIGHT, metrics="mae")
    np.testing.assert_allclose(found["loss"], want, rtol=1e-12)
    many = [np.tile(a, (100, *(1,) * (a.ndim - 1))) for a in (X, Y, DY)]
    whole = net.evaluate(many[0], (many[1], many[2]), loss=loss, sample_weight=np.tile(WEIGHT, 100))["loss"]
    np.testing.assert_allclose(whole, want * (100 if reduction == "sum" else 1), rtol=1e-12)
    np.testing.assert_allclose(found["mae"], np.average(np.abs(net.predict(X) - Y).mean(1), weights=WEIGHT))


def test_slopes_help_where_values_are_few() -> None:
    """What the paper is about: the same samples, and a better function between them."""
    few = slice(0, 12)
    nets = [
        tn.Sequential(
            tn.Normalize(3).adapt(X), tn.Linear(3, 12), tn.Tanh(), tn.Linear(12, 2), tn.Denormalize(2).adapt(Y), seed=0
        )
        for _ in range(2)
    ]
    nets[0].fit(X[few], Y[few], optimizer=tn.Adam(0.02), epochs=800)
    nets[1].fit(X[few], (Y[few], DY[few]), loss=tn.Sobolev(), optimizer=tn.Adam(0.02), epochs=800)
    by_values, by_both = (net.evaluate(X[12:], Y[12:], loss="mse")["loss"] for net in nets)
    assert by_both < 0.5 * by_values


def test_training_is_resumed_bit_for_bit_and_stops_early(tmp_path: Path) -> None:
    path, options = tmp_path / "run.ckpt", {"loss": LOSS, "batch_size": 8, "metrics": "r2"}
    data = {"validation_split": 0.2, "sample_weight": WEIGHT}
    whole, part, rest = net_of(), net_of(), net_of()
    history = whole.fit(X, (Y, DY), epochs=6, **options, **data)
    keeping = {"callbacks": [tn.Checkpoint(path, every=3)]}
    part.fit(X, (Y, DY), epochs=3, **keeping, **options, **data)
    again = rest.fit(X, (Y, DY), epochs=6, resume_from=path, **keeping, **options, **data)
    np.testing.assert_array_equal(rest.flat_parameters(), whole.flat_parameters())
    assert again.history == history.history
    with pytest.raises(tn.ResumeError, match="its y has other values"):
        rest.fit(X, (Y, 2 * DY), epochs=9, resume_from=path, **keeping, **options, **data)
    stop = tn.EarlyStopping(patience=2, min_delta=1e9)
    stopped = net_of().fit(X, (Y, DY), loss=LOSS, epochs=9, validation_data=(X, (Y, DY)), callbacks=[stop])
    assert len(stopped["val_loss"]) < 9


def test_slopes_that_are_not_known_are_left_out(backend: str) -> None:
    """None of one input, and some of the values; a network of which none are known learns the values alone."""
    known = np.where(np.arange(3) == 1, np.nan, DY)
    y = np.where(Y > 8, np.nan, Y)
    net = net_of(backend=backend)
    found = net.evaluate(X, (y, known), loss=LOSS, missing_targets="ignore")["loss"]
    values, slopes = (net.predict(X) - y) / Y.std(0), (net.jacobian(X) - known) * X.std(0) / Y.std(0)[:, None]
    # Rows weigh more where values are missing, so that the mean is over those that are there; slopes count as 0.
    share = np.isfinite(y).mean()
    want = (np.nansum(values**2) / values.size + 0.3 * np.nansum(slopes**2) / slopes.size) / share
    np.testing.assert_allclose(found, want, rtol=1e-10)
    options: dict[str, Any] = {"epochs": 2, "batch_size": 8, "missing_targets": "ignore"}
    net.fit(X, (Y, np.where(np.arange(30)[:, None, None], np.nan, DY)), loss=tn.Sobolev(weight=0.0), **options)
    alone = net_of(backend=backend)
    alone.fit(X, Y, loss="mse", **options)
    np.testing.assert_allclose(net.flat_parameters(), alone.flat_parameters(), rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="dy must be finite"):
        net.fit(X, (Y, known), loss=LOSS)


@pytest.mark.parametrize("optimizer", [tn.SGD(0.05, momentum=0.9), tn.AdamW(0.01), tn.RMSprop(0.01), tn.LBFGS()])
def test_every_optimizer_without_a_matrix_learns_slopes(optimizer: tn.Optimizer) -> None:
    net = tn.Sequential(tn.Linear(3, 6), tn.Tanh(), tn.Linear(6, 2), seed=0, dtype="float64", backend="numpy")
    history = net.fit(X / 3, (Y / 9, DY / 3), loss=LOSS, optimizer=optimizer, epochs=60, batch_size=None)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


def test_models_of_an_ensemble_learn_as_alone(backend: str) -> None:
    """Each with its own parameter of the loss of slopes."""
    inner = [tn.Linear(3, 4), tn.Tanh(), tn.Linear(4, 2)]
    net = tn.Sequential(tn.Normalize(3).adapt(X), *inner, dtype="float64", seed=2, backend=backend)
    models = tn.Ensemble(net, 2)
    alone = list(models)
    options: dict[str, Any] = {"epochs": 3, "shuffle": False, "batch_size": 8}
    history = models.fit(X, (Y, DY), loss=tn.Sobolev(slope=tn.Huber([0.5, 2.0])), **options)
    for i, (one, delta) in enumerate(zip(alone, (0.5, 2.0), strict=True)):
        one.fit(X, (Y, DY), loss=tn.Sobolev(slope=tn.Huber(delta)), **options)
        np.testing.assert_array_equal(models[i].flat_parameters(), one.flat_parameters())
    assert history.plan.startswith("model by model: ")


def test_a_loss_of_slopes_is_saved_with_its_network(tmp_path: Path) -> None:
    net = net_of()
    net.fit(X, (Y, DY), loss=tn.Sobolev(tn.Quantile(0.3), tn.Huber(2.0), weight=0.5), epochs=1)
    net.save(tmp_path / "net.npz")
    loaded = tn.load(tmp_path / "net.npz")
    assert repr(loaded.loss) == repr(net.loss)
    assert loaded.evaluate(X, (Y, DY)) == net.evaluate(X, (Y, DY))


class Twice(tn.Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, grad: Any) -> Any:
        return 2 * grad


class Own(tn.Loss):
    def forward(self, prediction: Any, target: Any) -> float:
        return float(((prediction - target) ** 2).sum())


def test_what_does_not_fit_is_named_before_anything_happens() -> None:
    net = net_of(scaled=False)
    before = net.flat_parameters()
    for y, message in [
        (Y, r"Sobolev expects y as \(y, dy\)"),
        ((Y, DY[:, :1]), r"dy must have shape \(30, 2, n_inputs\).* got \(30, 1, 3\)"),
        ((Y, DY[:, 0]), r"dy must have shape"),
        ((Y, DY[..., :2]), "derivative by each of 3 inputs; got 2"),
        ((Y, np.where(DY > 9, np.nan, DY)), "dy.*finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            net.fit(X, y, loss=LOSS)
    with pytest.raises(ValueError, match=r"LevenbergMarquardt.*slopes.*LBFGS"):
        tn.Sequential(tn.Linear(3, 2), backend="numpy").fit(X, (Y, DY), loss=LOSS, optimizer="lm")
    np.testing.assert_array_equal(net.flat_parameters(), before)
    own = tn.Sequential(tn.Linear(3, 2), Twice(), backend="numpy")
    with pytest.raises(ValueError, match="layer 1 is Twice"):
        own.fit(X, (Y, DY), loss=LOSS)
    for loss in ("cross_entropy", "bce", "poisson", Own(), LOSS):
        with pytest.raises(ValueError, match="Sobolev expects as slope"):
            tn.Sobolev(slope=loss)
    with pytest.raises(ValueError, match="one reduction"):
        tn.Sobolev(slope=tn.MeanSquaredError("sum"))
    for y in (Y, (Y, DY)):
        with pytest.raises(ValueError, match=r"sweep expects a loss of values.*Ensemble"):
            tn.sweep(lambda: net_of(), {}, X, y, loss=LOSS)
    with pytest.raises(NotImplementedError, match=r"net\.evaluate"):
        LOSS.forward(Y, Y)
