"""Whole trainings on the GPU backend against the same on NumPy: data, masks and order are the same numbers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.layers import ACTIVATIONS

RNG = np.random.default_rng(20)
X = RNG.standard_normal((37, 4))
Y = RNG.standard_normal((37, 3))
LABELS = RNG.integers(0, 3, 37)
ONE_HOT = np.eye(3)[LABELS]
WEIGHTS = RNG.uniform(0.5, 2.0, 37)

LOSSES: list[tuple[tn.Loss, Any]] = [
    (tn.MeanSquaredError(), Y),
    (tn.MeanAbsoluteError(reduction="sum"), Y),
    (tn.Huber(0.7), Y),
    (tn.BinaryCrossEntropy(from_logits=True), ONE_HOT),
    (tn.CrossEntropy(), LABELS),
    (tn.CrossEntropy(reduction="sum"), ONE_HOT),
]
OPTIMIZERS = [
    lambda: tn.SGD(0.01, weight_decay=0.01),
    lambda: tn.SGD(0.01, momentum=0.9, nesterov=True, clip_norm=1.0),
    lambda: tn.Adam(0.01, clip_value=0.1),
    lambda: tn.AdamW(tn.CosineDecay(0.01, 3)),
    lambda: tn.RMSprop(0.005, momentum=0.5, centered=True),
]
# Every activation, every loss and every optimizer, each with partners that change.
CASES = [(kind, i % len(LOSSES), i % len(OPTIMIZERS)) for i, kind in enumerate(sorted(ACTIVATIONS))]
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}


def network(backend: str, *layers: tn.Layer, dtype: str = "float64") -> tn.Sequential:
    return tn.Sequential(*layers, dtype=dtype, seed=3, backend=backend)


def assert_equal_trainings(nets: list[tn.Sequential], tolerance: float) -> None:
    """Hold losses and weights of two trained networks against each other, relative to the largest of each array."""
    ours, theirs = nets
    assert ours.history is not None
    assert theirs.history is not None
    assert ours.history.history.keys() == theirs.history.history.keys()
    for name, values in theirs.history.history.items():
        np.testing.assert_allclose(ours.history.history[name], values, rtol=tolerance, atol=tolerance, err_msg=name)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("kind", "loss", "optimizer"), CASES)
def test_a_training_is_numpys(gpu: str, kind: str, loss: int, optimizer: int, dtype: str) -> None:
    nets = []
    for backend in (gpu, "numpy"):
        net = network(backend, tn.Linear(4, 6), ACTIVATIONS[kind](), tn.Linear(6, 3), dtype=dtype)
        chosen, y = LOSSES[loss]
        net.fit(X, y, loss=chosen, optimizer=OPTIMIZERS[optimizer](), epochs=3, batch_size=16)
        nets.append(net)
    assert_equal_trainings(nets, TOLERANCES[dtype])
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=0, atol=10 * TOLERANCES[dtype])


def test_a_training_on_slopes_is_numpys(gpu: str, cp: ModuleType) -> None:
    """Of data in host memory, and of data on the device."""
    slopes, nets = RNG.standard_normal((37, 3, 4)), []
    for backend, place in ((gpu, np.asarray), (gpu, cp.asarray), ("numpy", np.asarray)):
        layers = [tn.Normalize(4).adapt(X), tn.Linear(4, 6), tn.SiLU(), tn.Dropout(0.3), tn.Linear(6, 3), tn.Softmax()]
        net = network(backend, *layers, tn.Denormalize(3).adapt(Y))
        data = place(X), (place(Y), place(slopes))
        loss = tn.Sobolev(tn.Huber(0.7), weight=0.5)
        net.fit(*data, loss=loss, epochs=3, batch_size=16, sample_weight=place(WEIGHTS), metrics="mae")
        nets.append(net)
    assert_equal_trainings([nets[0], nets[2]], 1e-10)
    assert_equal_trainings([nets[1], nets[2]], 1e-10)


def fit_with(**arguments: Any) -> dict[str, Any]:
    return {"epochs": 3, "batch_size": 16, "optimizer": "adam", **arguments}


VARIANTS = {
    "in the order of the data": fit_with(shuffle=False),
    "with replacement": fit_with(shuffle="replacement"),
    "without the last batch": fit_with(drop_last=True),
    "sample weights": fit_with(sample_weight=WEIGHTS),
    "validation and metrics": fit_with(validation_split=0.3, metrics=["mae", "r2"]),
    "one batch": fit_with(batch_size=64),
    "more epochs than one call": fit_with(epochs=7, callbacks=[tn.ReduceLROnPlateau("loss", patience=1, min_delta=9)]),
    "batch by batch": fit_with(callbacks=[tn.LambdaCallback(on_train_batch_end=lambda batch, logs: None)]),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_way_to_train_is_numpys(gpu: str, variant: str) -> None:
    nets = []
    for backend in (gpu, "numpy"):
        net = network(backend, tn.Normalize(4).adapt(X), tn.Linear(4, 5), tn.Tanh(), tn.Dropout(0.3), tn.Linear(5, 3))
        net.fit(X, Y, **VARIANTS[variant])
        nets.append(net)
    assert_equal_trainings(nets, 1e-10)


def test_class_weights_and_a_last_softmax_are_numpys(gpu: str) -> None:
    nets = []
    for backend in (gpu, "numpy"):
        net = network(backend, tn.Linear(4, 3, bias=False), tn.Softmax())
        loss = tn.CrossEntropy(from_logits=False)
        net.fit(X, LABELS, loss=loss, epochs=3, class_weight="balanced", sample_weight=WEIGHTS, metrics="accuracy")
        nets.append(net)
    assert_equal_trainings(nets, 1e-10)
    evaluated = [net.evaluate(X, LABELS, metrics="accuracy", sample_weight=WEIGHTS) for net in nets]
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-10)


def test_dropout_masks_are_numpys_bit_for_bit(gpu: str) -> None:
    outputs = []
    for backend in (gpu, "numpy"):
        net = network(backend, tn.Linear(4, 4, weight_init="ones"), tn.Dropout(0.4), dtype="float32")
        net.set_weights([np.eye(4), np.ones(4)])
        outputs.append(np.stack([net.forward(np.zeros((9, 4))) for _ in range(3)]))
    assert set(np.unique(outputs[0])) == {np.float32(0), np.float32(1 / 0.6)}
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("dtype", ["uint8", ">f4", "float16", "int64", "longdouble"])
@pytest.mark.filterwarnings("ignore::tinynet.ScaleWarning")
def test_a_mapped_file_goes_up_in_its_own_dtype_and_is_converted_there(gpu: str, dtype: str, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (40, 4))
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=dtype, shape=values.shape)
    mapped[:] = values
    nets = []
    for backend, x in ((gpu, mapped), ("numpy", values)):
        net = network(backend, tn.Linear(4, 3, weight_init=tn.Normal(0.01)))
        net.fit(x, Y[:1].repeat(40, axis=0), epochs=2, batch_size=16, optimizer=tn.SGD(1e-6), shuffle=False)
        nets.append(net)
    assert_equal_trainings(nets, 1e-10)
    np.testing.assert_allclose(nets[0].predict(mapped), nets[1].predict(values), rtol=1e-10)


def test_the_same_seed_gives_the_same_bits(gpu: str) -> None:
    nets = [network(gpu, tn.Linear(4, 6), tn.ReLU(), tn.Dropout(0.2), tn.Linear(6, 3), dtype="float32") for _ in "ab"]
    for net in nets:
        net.fit(X, Y, epochs=3, batch_size=8, optimizer=tn.Adam(clip_norm=1.0))
    np.testing.assert_array_equal(nets[0].flat_parameters(), nets[1].flat_parameters())


def test_the_plan_says_that_it_goes_kernel_by_kernel_and_why(gpu: str, cp: ModuleType) -> None:
    class Doubled(tn.Layer):
        def forward(self, x: Any) -> Any:
            return 2 * x

        def backward(self, grad: Any) -> Any:
            return 2 * grad

    net = network(gpu, tn.Linear(4, 3), Doubled())
    assert net.fit(X, Y).plan == "loop: custom layer Doubled"
