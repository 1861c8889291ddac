"""Six regressions that people know: inputs and targets standardised, in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A network of one hidden layer of tanh, and where to begin.

    Attributes
    ----------
    x, y : (n_samples, n_in), (n_samples, 1) arrays
    parameters : list of array
        Weights (n_in, n_out) and biases, in the order of the layers.
    """

    x: Array
    y: Array
    parameters: list[Array]

    @property
    def sizes(self) -> tuple[int, int]:
        """Inputs and hidden units."""
        n_in, hidden = self.parameters[0].shape
        return n_in, hidden

    def loss(self, parameters: list[Array]) -> float:
        """Return the mean square of the errors."""
        w0, b0, w1, b1 = parameters
        return float(np.square(np.tanh(self.x @ w0 + b0) @ w1 + b1 - self.y).mean())


def _uniform(*ranges: tuple[float, float], n: int) -> Array:
    low, high = np.array(ranges).T
    return np.random.default_rng(0).uniform(low, high, (n, len(ranges)))


def _surface() -> tuple[Array, Array]:
    x = _uniform((-2, 2), (-2, 2), n=400)
    return x, np.sin(2 * x[:, 0]) * np.cos(x[:, 1])


def _diabetes() -> tuple[Array, Array]:
    """Efron, Hastie, Johnstone and Tibshirani (2004), as scikit-learn bundles it."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    return x, y


def _friedman() -> tuple[Array, Array]:
    """Friedman (1991), equation 61: five of ten inputs count."""
    x = _uniform(*[(0.0, 1.0)] * 10, n=1000)
    y = 10 * np.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * np.square(x[:, 2] - 0.5) + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y


def _borehole() -> tuple[Array, Array]:
    """Water through a borehole: Morris, Mitchell and Ylvisaker (1993)."""
    x = _uniform(
        (0.05, 0.15), (100, 50_000), (63_070, 115_600), (990, 1110), (63.1, 116), (700, 820), (1120, 1680),
        (9855, 12_045), n=2000,
    )  # fmt: skip
    rw, r, tu, hu, tl, hl, length, kw = x.T
    ratio = np.log(r / rw)
    return x, 2 * math.pi * tu * (hu - hl) / (ratio * (1 + 2 * length * tu / (ratio * rw**2 * kw) + tu / tl))


def _piston() -> tuple[Array, Array]:
    """Seconds of a cycle of a piston: Kenett and Zacks (1998)."""
    x = _uniform(
        (30, 60), (0.005, 0.02), (0.002, 0.01), (1000, 5000), (90_000, 110_000), (290, 296), (340, 360), n=1000
    )
    m, s, v0, k, p0, ta, t0 = x.T
    a = p0 * s + 19.62 * m - k * v0 / s
    v = s / (2 * k) * (np.sqrt(a * a + 4 * k * p0 * v0 / t0 * ta) - a)
    return x, 2 * math.pi * np.sqrt(m / (k + s * s * p0 * v0 / t0 * ta / (v * v)))


def _otl() -> tuple[Array, Array]:
    """Voltage of a push-pull circuit without output transformer: Ben-Ari and Steinberg (2007)."""
    x = _uniform((50, 150), (25, 70), (0.5, 3), (1.2, 2.5), (0.25, 1.2), (50, 300), n=1000)
    rb1, rb2, rf, rc1, rc2, beta = x.T
    gain, vb1 = beta * (rc2 + 9), 12 * rb2 / (rb1 + rb2)
    return x, (vb1 + 0.74) * gain / (gain + rf) + 11.35 * rf / (gain + rf) + 0.74 * rf * gain / ((gain + rf) * rc1)


PROBLEMS: dict[str, tuple[Callable[[], tuple[Array, Array]], int]] = {
    "surface": (_surface, 12),
    "diabetes": (_diabetes, 8),
    "friedman": (_friedman, 12),
    "borehole": (_borehole, 16),
    "piston": (_piston, 12),
    "otl": (_otl, 12),
}
"""The data and the hidden units of each."""


def problem(name: str) -> Problem:
    """Return a problem, the same at every call.

    Examples
    --------
    >>> problem("otl").sizes
    (6, 12)
    """
    make, hidden = PROBLEMS[name]
    x, y = make()
    x, y = ((array - array.mean(axis=0)) / array.std(axis=0) for array in (x, y))
    rng, n_in = np.random.default_rng(1), x.shape[1]
    bounds = [np.sqrt(6 / (n_in + hidden)), np.sqrt(6 / (hidden + 1))]
    first, second = (rng.uniform(-b, b, size) for b, size in zip(bounds, ((n_in, hidden), (hidden, 1)), strict=True))
    return Problem(x, y.reshape(-1, 1), [first, np.zeros(hidden), second, np.zeros(1)])
