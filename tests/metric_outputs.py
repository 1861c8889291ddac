"""Networks that give any outputs, and random outputs and targets of every kind, for the tests of metrics."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn

RNG = np.random.default_rng(8)


def evaluate(
    metric: Any, outputs: Any, target: Any, loss: Any = "mse", weight: Any = None, dtype: str = "float64"
) -> float:
    """Return a metric of a network that gives these outputs: its loss tells what they mean."""
    outputs = np.asarray(outputs, np.float64).reshape(len(outputs), -1)
    n = outputs.shape[1]
    ends: list[tn.Layer] = []
    if isinstance(loss, tn.BinaryCrossEntropy) and not loss.from_logits:
        ends, outputs = [tn.Sigmoid()], np.log(outputs / (1 - outputs))
    if isinstance(loss, tn.CrossEntropy) and not loss.from_logits:
        ends, outputs = [tn.Softmax()], np.log(outputs)
    net = tn.Sequential(tn.Linear(n, n), *ends, dtype=dtype, backend="numpy")
    net.set_weights([np.eye(n), np.zeros(n)])
    name = metric if isinstance(metric, str) else metric.__name__
    return net.evaluate(outputs, target, loss=loss, metrics=metric, sample_weight=weight)[name]


CE, CE_P = tn.CrossEntropy(), tn.CrossEntropy(from_logits=False)
BCE, BCE_P = tn.BinaryCrossEntropy(from_logits=True), tn.BinaryCrossEntropy()

N, K = 60, 4
WEIGHT = RNG.uniform(0, 3, N) * (RNG.random(N) > 0.1)
CLASSES = np.concatenate([np.arange(K), RNG.integers(0, K, N - K)])
LOGITS = RNG.normal(size=(N, K)).round(1) + 0.05  # Some are equal, and none is 0.
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
TWO_CLASSES, ONE_LOGIT = CLASSES % 2, LOGITS[:, :1]
PAIR = np.hstack([-ONE_LOGIT, ONE_LOGIT]) / 2
SIGMOID = 1 / (1 + np.exp(-LOGITS))
SEVERAL = (RNG.random((N, K)) < 0.3).astype(float)
NUMBERS, GUESSED = RNG.normal(size=(N, 3)), RNG.normal(size=(N, 3))
