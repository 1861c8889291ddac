"""Initializers, schedules and losses against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import tinynet as tn
from tinynet.layers.initializers import INITIALIZERS, get_initializer
from tinynet.losses import LOSSES

RNG = np.random.default_rng(8)

# Name, and the standard deviation of a (200, 300) weight.
SPREADS = {
    "glorot": math.sqrt(2 / 500),
    "glorot_uniform": math.sqrt(2 / 500),
    "glorot_normal": math.sqrt(2 / 500),
    "he": math.sqrt(2 / 200),
    "he_uniform": math.sqrt(2 / 200),
    "he_normal": math.sqrt(2 / 200),
    "lecun": math.sqrt(1 / 200),
    "lecun_uniform": math.sqrt(1 / 200),
    "lecun_normal": math.sqrt(1 / 200),
    "normal": 0.01,
    "uniform": 0.05 / math.sqrt(3),
    "zeros": 0.0,
    "ones": 0.0,
}


def test_every_initializer_has_its_spread_in_this_table() -> None:
    assert set(SPREADS) == set(INITIALIZERS)


@pytest.mark.parametrize(("name", "spread"), SPREADS.items())
def test_initial_values_have_the_formulas_spread(name: str, spread: float) -> None:
    values = get_initializer(name)((200, 300), np.random.default_rng(0))
    assert values.std() == pytest.approx(spread, rel=0.02)
    if spread:
        assert abs(values.mean()) < 4 * spread / math.sqrt(values.size)
        largest = np.abs(values).max() / spread
        assert (largest <= math.sqrt(3)) == ("normal" not in name)


def test_an_initializer_may_be_a_number_or_a_function() -> None:
    def diagonal(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        return np.eye(*shape)

    net = tn.Sequential(tn.Linear(3, 3, weight_init=diagonal, bias_init=2.0), backend="numpy")
    np.testing.assert_array_equal(net.predict([[1.0, 2.0, 3.0]]), [[3.0, 4.0, 5.0]])


def test_an_initializer_of_the_wrong_shape_is_named() -> None:
    layer = tn.Linear(3, 2, weight_init=lambda shape, rng: np.zeros(7))
    with pytest.raises(ValueError, match=r"Linear.weight must return shape \(3, 2\); got \(7,\)"):
        tn.Sequential(layer)


SCHEDULES: dict[str, tuple[tn.Schedule, Callable[[float], float]]] = {
    "step": (tn.StepDecay(0.3, every=5, factor=0.5), lambda t: 0.3 * 0.5 ** (t // 5)),
    "exponential": (tn.ExponentialDecay(0.3, 0.9), lambda t: 0.3 * 0.9**t),
    "cosine": (
        tn.CosineDecay(0.3, 10, final=0.01),
        lambda t: 0.01 + 0.29 * 0.5 * (1 + math.cos(math.pi * min(t / 10, 1))),
    ),
    "warm-up": (tn.Warmup(0.3, 4), lambda t: 0.3 * min(t / 4, 1)),
    "one cycle": (
        tn.OneCycle(0.3, 10, rise=0.5, first=0.1, last=0.01),
        lambda t: (
            0.3 * (1 - 0.45 * (1 + math.cos(math.pi * t / 5)))
            if t < 5
            else 0.3 * (0.01 + 0.495 * (1 + math.cos(math.pi * (min(t, 10) - 5) / 5)))
        ),
    ),
    "warm-up, then cosine": (
        tn.Warmup(tn.CosineDecay(0.3, 10), 4),
        lambda t: 0.3 * t / 4 if t < 4 else 0.15 * (1 + math.cos(math.pi * min((t - 4) / 10, 1))),
    ),
}


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_schedule_is_its_formula(schedule: tn.Schedule, formula: Callable[[float], float]) -> None:
    times = np.linspace(0, 20, 81)
    np.testing.assert_allclose(schedule(times), [formula(t) for t in times], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES.values(), ids=SCHEDULES.keys())
@pytest.mark.filterwarnings("ignore::tinynet.ScaleWarning")
def test_a_schedule_acts_on_every_update(
    schedule: tn.Schedule, formula: Callable[[float], float], backend: str
) -> None:
    # A loss with a constant gradient of 1: the parameter falls by the sum of the rates.
    net = tn.Sequential(tn.Linear(1, 1, bias=False, weight_init="zeros"), dtype="float64", backend=backend)
    x, y = np.ones((6, 1)), np.full((6, 1), -1e9)
    net.fit(x, y, loss="mae", optimizer=tn.SGD(schedule), epochs=7, batch_size=2)
    assert net.get_weights()[0][0, 0] == pytest.approx(-sum(formula(k / 3) for k in range(21)), rel=1e-12)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_by_itself_has_the_gradient_of_its_value(name: str) -> None:
    loss = LOSSES[name]()
    # Losses of a mean and a variance have two outputs for each target.
    prediction = RNG.uniform(0.2, 0.8, size=(5, 3 * getattr(loss, "blocks", 1)))
    target = np.eye(3)[RNG.integers(0, 3, 5)]
    gradient = loss.backward(prediction, target)
    numeric = np.empty_like(prediction)
    for index in np.ndindex(*prediction.shape):
        step = np.zeros_like(prediction)
        step[index] = 1e-6
        numeric[index] = (loss(prediction + step, target) - loss(prediction - step, target)) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.filterwarnings("ignore::tinynet.ScaleWarning")
def test_losses_stay_finite_at_enormous_logits(dtype: str, backend: str) -> None:
    x = np.array([[1e4], [-1e4]], dtype=dtype)
    for loss, y in (("cross_entropy", [0, 1]), ("cross_entropy", [1, 0]), (tn.BinaryCrossEntropy(True), [[1, 0]] * 2)):
        net = tn.Sequential(tn.Linear(1, 2, weight_init="ones"), dtype=dtype, backend=backend)
        net.layers[0].weight[0, 1] = -1.0
        assert np.isfinite(net.evaluate(x, y, loss=loss)["loss"])
        net.fit(x, y, loss=loss, optimizer=tn.SGD(1e-9))


def test_summary_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    net = tn.Sequential(tn.Linear(4, 5), tn.Sigmoid(), tn.Linear(5, 3), backend="numpy")
    net.summary()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["#", "layer", "output", "parameters"]
    assert lines[2].split() == ["0", "Linear(4,", "5)", "(batch,", "5)", "25"]
    assert lines[-1] == "43 parameters, 172 bytes, float32, backend numpy"


def test_jupyter_shows_a_table() -> None:
    html = tn.Sequential(tn.Linear(4, 5), backend="numpy")._repr_html_()
    assert html.startswith("<table>")
    assert "<td>Linear(4, 5)</td>" in html
