"""A trainer from the textbook, in float64 and plain NumPy: what every backend must agree with.

It shares nothing with the library: no stable form, no kernel, no plan. Where it must know a convention (which random
numbers decide the order of the samples, how dropout counts), the convention stands here again, in its own words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import erf, expit, log_softmax, softmax, xlogy

Array = Any

IN_NUMBERS = np.errstate(over="raise", invalid="raise")
"""Where float64 ends, there is nothing to compare with: a FloatingPointError, which nothing of the library's raises."""


def activation(kind: str, alpha: float, z: Array) -> tuple[Array, Array]:
    """Return an elementwise activation and its derivative."""
    cdf, density = (1 + erf(z / np.sqrt(2))) / 2, np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    s, below = expit(z), np.exp(np.minimum(z, 0))
    return {
        "Identity": lambda: (z, np.ones_like(z)),
        "Sigmoid": lambda: (s, s * expit(-z)),
        "Tanh": lambda: (np.tanh(z), 1 / np.cosh(np.clip(z, -300, 300)) ** 2),
        "ReLU": lambda: (np.where(z > 0, z, 0), (z > 0) * 1.0),
        "LeakyReLU": lambda: (np.where(z > 0, z, alpha * z), np.where(z > 0, 1.0, alpha)),
        "ELU": lambda: (np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0))), np.where(z > 0, 1.0, alpha * below)),
        "GELU": lambda: (z * cdf, cdf + z * density),
        "SiLU": lambda: (z * s, s + z * s * expit(-z)),
        "Softplus": lambda: (np.logaddexp(0, z), s),
        "Exp": lambda: (np.exp(z), np.exp(z)),
    }[kind]()


@dataclass
class Net:
    """Layers as (kind, setting), with the trained arrays of the linear ones, weight and bias in turn."""

    layers: list[tuple[str, Any]]
    weights: list[Array]
    dropout_seed: int = 0
    draws: int = 0
    frozen: frozenset[int] = frozenset()
    """Places in ``weights`` of what is not trained."""

    @IN_NUMBERS
    def forward(self, x: Array, masks: bool = False, until: int | None = None) -> tuple[Array, list[Any]]:
        """Return the output, and for each layer what its way back needs."""
        kept: list[Any] = []
        weights = iter(self.weights)
        for index, (kind, setting) in enumerate(self.layers[:until]):
            if kind == "Linear":
                w = next(weights)
                kept.append((x, w, setting))
                x = x @ w + (next(weights) if setting else 0)
            elif kind == "Normalize":
                kept.append(setting[1])
                x = (x - setting[0]) / setting[1]
            elif kind == "Dropout":
                mask = self._mask(x.shape, setting, index) if masks else 1.0
                kept.append(mask)
                x = x * mask
            elif kind == "Softmax":
                x = softmax(x, axis=1)
                kept.append(x)
            else:
                x, slope = activation(kind, setting, x)
                kept.append(slope)
        return x, kept

    def backward(self, kept: list[Any], dy: Array) -> list[Array]:
        """Return the gradients of the arrays."""
        return self.all_back(kept, dy)[0]

    def all_back(self, kept: list[Any], dy: Array) -> tuple[list[Array], Array]:
        """Return the gradients of the arrays, and of what went in."""
        found: list[Array] = []
        for (kind, _), held in reversed(list(zip(self.layers, kept, strict=False))):
            if kind == "Linear":
                x, w, bias = held
                found += ([dy.sum(axis=0)] if bias else []) + [x.T @ dy]
                dy = dy @ w.T
            elif kind == "Normalize":
                dy = dy / held
            elif kind == "Softmax":
                dy = held * (dy - (dy * held).sum(axis=1, keepdims=True))
            else:
                dy = dy * held
        return found[::-1], dy

    def _mask(self, shape: tuple[int, ...], rate: float, index: int) -> Array:
        """Philox4x32-10 (Salmon et al. 2011): word i % 4 of block i // 4 decides about element i."""
        n = int(np.prod(shape))
        word, low = np.uint64(32), np.uint64(0xFFFFFFFF)
        blocks = np.arange(-(-n // 4), dtype=np.uint64)
        counter = [blocks, *(np.full_like(blocks, v) for v in (self.draws % 2**32, self.draws >> 32, index))]
        key = [self.dropout_seed % 2**32, self.dropout_seed >> 32]
        for _ in range(10):
            a, b = counter[0] * np.uint64(0xD2511F53), counter[2] * np.uint64(0xCD9E8D57)
            counter = [
                (b >> word) ^ counter[1] ^ np.uint64(key[0]),
                b & low,
                (a >> word) ^ counter[3] ^ np.uint64(key[1]),
                a & low,
            ]
            key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
        drawn = np.stack(counter, axis=1).ravel()[:n].reshape(shape)
        return np.where(drawn >= int(rate * 2**32), 1 / (1 - rate), 0.0)


@IN_NUMBERS
def loss_terms(kind: str, parameter: float, net: Net, x: Array, t: Array, masks: bool) -> tuple[Array, Array, Any]:
    """Return the loss of each element or row, its gradient at the layer that the third result's layers end in."""
    # A logarithm of the last activation is taken on that activation's input: a rounded 0 or 1 tells nothing.
    last = net.layers[-1][0] if net.layers else ""
    logits = {"bce": last == "Sigmoid", "poisson": last == "Exp"}.get(kind, last == "Softmax")
    cut = logits and kind in ("bce", "cross_entropy_probabilities", "poisson")
    z, kept = net.forward(x, masks, until=-1 if cut else None)
    if kind == "bce" and not cut:
        with np.errstate(divide="ignore"):
            logs = np.log(z), np.log1p(-z)
        value = -(t * np.maximum(logs[0], -100) + (1 - t) * np.maximum(logs[1], -100))
        slope = np.where(logs[0] > -100, -t / z, 0) + np.where(logs[1] > -100, (1 - t) / (1 - z), 0)
    elif kind in ("bce", "bce_logits"):
        value, slope = np.logaddexp(0, z) - t * z, expit(z) - t
    elif kind == "poisson":
        value, slope = np.exp(z) - t - t * z + xlogy(t, t), np.exp(z) - t
    elif kind == "mse":
        value, slope = (z - t) ** 2, 2 * (z - t)
    elif kind == "mae":
        value, slope = abs(z - t), np.sign(z - t)
    elif kind == "huber":
        d = z - t
        value = np.where(abs(d) <= parameter, d * d / 2, parameter * (abs(d) - parameter / 2))
        slope = np.clip(d, -parameter, parameter)
    else:
        if t.ndim == 1:
            t = np.eye(z.shape[1])[t]
        if kind == "cross_entropy_probabilities" and not cut:
            value, slope = -(t * np.maximum(np.log(z), -100)), np.where(np.log(z) > -100, -t / z, 0)
        else:
            value, slope = -(t * log_softmax(z, axis=1)), softmax(z, axis=1) * t.sum(axis=1, keepdims=True) - t
    return value, slope, kept


def loss_and_gradient(
    spec: tuple[str, float, str], net: Net, x: Array, t: Array, weight: Array | None, masks: bool = True
) -> tuple[float, list[Array]]:
    """Return the loss of a batch and the gradients of the trained arrays."""
    kind, parameter, reduction = spec
    value, slope, kept = loss_terms(kind, parameter, net, x, t, masks)
    rows = value.sum(axis=1)
    w = np.ones(len(x)) if weight is None else weight
    # The cross-entropy of a row is one number; of the other losses each output has one.
    count = len(x) * (1 if kind.startswith("cross_entropy") else value.shape[1])
    scale = 1.0 if reduction == "sum" else 1.0 / count
    return float(scale * (rows * w).sum()), net.backward(kept, scale * w[:, None] * slope)


@dataclass
class Optimizer:
    """An optimizer of PyTorch's documentation, for a list of arrays."""

    kind: str
    settings: dict[str, Any]
    step: int = 0
    memory: dict[str, list[Array]] = field(default_factory=dict)

    def update(self, net: Net, gradients: list[Array], rate: float) -> None:
        """Make one update."""
        s = self.settings
        trained = [i for i in range(len(gradients)) if i not in net.frozen]
        gradients = [gradients[i] for i in trained]
        if s.get("clip_value") is not None:
            gradients = [np.clip(g, -s["clip_value"], s["clip_value"]) for g in gradients]
        if s.get("clip_norm") is not None:
            norm = np.sqrt(sum((g * g).sum() for g in gradients))
            gradients = [g * min(1.0, s["clip_norm"] / (norm + 1e-6)) for g in gradients]
        self.step += 1
        for place, (i, g) in enumerate(zip(trained, gradients, strict=True)):
            p = net.weights[i]
            net.weights[i] = p - rate * self._direction(place, p, g)

    def _direction(self, i: int, p: Array, g: Array) -> Array:
        s, decay = self.settings, self.settings.get("weight_decay", 0.0)
        if self.kind == "AdamW":
            return self._adam(i, g) + decay * p
        g = g + decay * p
        if self.kind == "Adam":
            return self._adam(i, g)
        if self.kind == "SGD":
            if not s.get("momentum"):
                return g
            v = self._keep("v", i, g, s["momentum"], 1.0)
            return g + s["momentum"] * v if s.get("nesterov") else v
        square = self._keep("square", i, g * g, s["alpha"], 1 - s["alpha"])
        if s.get("centered"):
            square = square - self._keep("mean", i, g, s["alpha"], 1 - s["alpha"]) ** 2
        d = g / (np.sqrt(np.maximum(square, 0)) + s["epsilon"])
        return self._keep("v", i, d, s["momentum"], 1.0) if s.get("momentum") else d

    def _adam(self, i: int, g: Array) -> Array:
        b1, b2, epsilon = (self.settings[name] for name in ("beta1", "beta2", "epsilon"))
        m, v = self._keep("m", i, g, b1, 1 - b1), self._keep("v", i, g * g, b2, 1 - b2)
        c1, c2 = 1 - b1**self.step, 1 - b2**self.step
        if self.settings.get("epsilon_hat"):
            return np.sqrt(c2) / c1 * m / (np.sqrt(v) + epsilon)
        return m / c1 / (np.sqrt(v / c2) + epsilon)

    def _keep(self, name: str, i: int, value: Array, old: float, new: float) -> Array:
        held = self.memory.setdefault(name, [])
        if i == len(held):
            held.append(np.zeros_like(value))
        held[i] = old * held[i] + new * value
        return held[i]


def orders(rng: np.random.Generator, n: int, n_visits: int, shuffle: bool | str, epochs: int) -> Iterator[Array]:
    """Return the samples that each epoch visits: drawn from the model's generator, one epoch after the other."""
    for _ in range(epochs):
        if shuffle is True:
            yield rng.permutation(n)[:n_visits]
        else:
            yield rng.integers(0, n, n_visits) if shuffle else np.arange(n_visits)


def train(
    net: Net,
    optimizer: Optimizer,
    spec: tuple[str, float, str],
    data: tuple[Array, Array, Array | None],
    order: list[Array],
    batch_size: int,
    rates: Any,
    most: float,
) -> list[float]:
    """Train ``net`` in place; return the loss of each epoch.

    ``rates(epoch)`` is the learning rate at a time that is counted in epochs, within them in fractions. Losses and
    gradients beyond ``most``, whose squares the library's dtype may not hold, are a FloatingPointError.
    """
    x, t, weight = data
    losses = []
    for epoch, visits in enumerate(order):
        starts = range(0, len(visits), batch_size)
        total, n_updates = 0.0, len(starts)
        for update, start in enumerate(starts):
            batch = visits[start : start + batch_size]
            own = None if weight is None else weight[batch]
            value, gradients = loss_and_gradient(spec, net, x[batch], t[batch], own)
            total += value * (len(batch) if spec[2] == "mean" else 1)
            if max(abs(value), *(abs(g).max() for g in gradients)) > most:
                raise FloatingPointError(f"a loss of {value}")
            optimizer.update(net, gradients, rates(epoch + update / n_updates))
            net.draws += 1
        losses.append(total / len(visits) if spec[2] == "mean" else total)
    return losses
