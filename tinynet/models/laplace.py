"""The uncertainty of one network: a Gaussian around its weights, by Laplace's approximation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import number
from tinynet.base.hints import Hinting
from tinynet.models.sequential import Sequential

Float64 = NDArray[np.float64]

MOST_PARAMETERS = 5000
"""The matrix of so many takes 200 MB."""
BLOCK_BYTES = 1 << 26
"""Of the rows of a Jacobian that are held at a time."""
STEPS, CHANGE = 200, 1e-8
"""Most steps of the evidence, and the relative change that ends them."""


class Laplace(Hinting):
    """What a network that has learned predicts, with standard deviations; see ``laplace``.

    Attributes
    ----------
    noise : float
        Standard deviation of the targets about what can be known of them.
    prior_precision : float
        Of each weight: one over the variance that the data suggest.
    effective_parameters : float
        How many of them the data determine (MacKay 1992, equation 4.6).
    """

    def __init__(
        self,
        net: Sequential,
        trained: tuple[slice, ...],
        directions: Float64,
        information: Float64,
        found: tuple[float, float],
    ) -> None:
        self.net, self._trained = net, trained
        self.prior_precision, self.noise = found[0], float(np.sqrt(found[1]))
        precisions = information / found[1] + found[0]
        self.effective_parameters = float((information / found[1] / precisions).sum())
        self._factors: Float64 = directions / np.sqrt(precisions)

    def mean(self, x: Any) -> Float64:
        """Return the predictions, (n_samples, n_out)."""
        return np.asarray(self.net.predict(x), np.float64)

    def std(self, x: Any, *, noise: bool = False) -> Float64:
        """Return the standard deviations of the predictions, (n_samples, n_out).

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        noise : bool
            Whether those of new targets, not of what is predicted.
        """
        rows = np.asarray(x)
        found = np.empty((len(rows), self.net.program.n_out))
        for part, jacobian in _blocks(self.net, self._trained, rows):
            found[part] = np.square(jacobian @ self._factors).sum(axis=2)
        result: Float64 = np.sqrt(found + noise * self.noise**2)
        return result

    def __repr__(self) -> str:
        return (
            f"Laplace(noise={self.noise:.4g}, prior_precision={self.prior_precision:.4g}, "
            f"effective_parameters={self.effective_parameters:.4g} of {len(self._factors)})"
        )


def laplace(
    net: Sequential, x: Any, y: Any, *, noise: float | None = None, prior_precision: float | None = None
) -> Laplace:
    """Return the uncertainty of a regression: a Gaussian around the weights of a network that has been trained.

    Its precision is the Gauss-Newton matrix of the squared errors over the noise, plus a prior on the weights; what is
    predicted is linear in the weights around the trained ones (MacKay 1992; Daxberger et al. 2021, section 2; Immer,
    Korzepa and Bauer 2021). What is not given of noise and prior is what makes the data most probable. That suits a
    network in the minimum of its loss, such as ``LevenbergMarquardt`` and, best, ``BayesianRegularization`` find. For
    up to 5,000 trained parameters; layers that are not trainable are certain.

    Parameters
    ----------
    net : Sequential
    x : (n_samples, n_in) array-like
    y : (n_samples, n_out) array-like, or (n_samples,) for one output
        What it was trained on. All outputs have the same noise.
    noise : float, optional
        Standard deviation of the targets.
    prior_precision : float, optional
        One over the variance of each weight before the data were seen.

    Returns
    -------
    Laplace
        With the weights that the network has now.

    Raises
    ------
    NotImplementedError
        If a layer is written in Python.
    ValueError
        If ``y`` does not fit, or there are too many parameters.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 1), dtype="float64", seed=0)
    >>> x, y = [[-1.0], [0.0], [1.0]], [-2.1, 0.2, 1.9]
    >>> history = net.fit(x, y, optimizer=tn.LevenbergMarquardt(), epochs=20)
    >>> known = tn.laplace(net, x, y)
    >>> bool(known.std([[9.0]]) > 3 * known.std([[0.0]]))
    True
    """
    program = replace(net.program, frozen=net.frozen)
    if program.n_trained > MOST_PARAMETERS:
        raise ValueError(
            f"laplace expects at most {MOST_PARAMETERS:,} trained parameters; this network has {program.n_trained:,}. "
            "Train an Ensemble, whose models differ where the data do not tell."
        )
    given = {"prior_precision": prior_precision, "noise": noise}
    fixed = [None if value is None else number(name, value, above=0.0) for name, value in given.items()]
    rows, targets = np.asarray(x), np.asarray(y, np.float64)
    predictions = np.asarray(net.predict(rows), np.float64)
    if targets.size != predictions.size or len(targets) != len(predictions):
        raise ValueError(f"laplace expects targets of shape {predictions.shape}; got {targets.shape}.")
    squares = float(np.square(targets.reshape(predictions.shape) - predictions).sum())
    matrix = np.zeros((program.n_trained, program.n_trained))
    for _, jacobian in _blocks(net, program.trained, rows):
        flat = jacobian.reshape(-1, program.n_trained)
        matrix += flat.T @ flat
    information, directions = np.linalg.eigh(matrix)
    information = np.maximum(information, 0.0)
    weights = _trained(program.trained, net.flat_parameters())
    found = _evidence(information, float(np.square(weights).sum()), squares, targets.size, fixed)
    return Laplace(net.clone(), program.trained, directions, information, found)


def _evidence(
    information: Float64, weights: float, squares: float, n_values: int, fixed: list[float | None]
) -> tuple[float, float]:
    """Return the precision of the prior and the variance of the noise that make the data most probable.

    The fixed point of ``alpha = gamma / w'w`` and ``noise**2 = squares / (n - gamma)``, ``gamma`` the number of
    parameters that the data determine (MacKay 1992, equations 4.6 to 4.9).
    """
    alpha, deviation = fixed
    precision, variance = alpha or 1.0, deviation**2 if deviation else max(squares / n_values, 1e-300)
    for _ in range(STEPS):
        before = precision, variance
        gamma = float((information / (information + precision * variance)).sum())
        gamma = min(gamma, 0.999 * n_values)
        precision = alpha or gamma / max(weights, 1e-300)
        variance = deviation**2 if deviation else max(squares / (n_values - gamma), 1e-300)
        if np.allclose(before, (precision, variance), rtol=CHANGE, atol=0.0):
            break
    return precision, variance


def _trained(trained: tuple[slice, ...], flat: Any) -> Float64:
    """Return what is trained of the last axis of something that has all parameters there."""
    parts = [np.asarray(flat[..., part], np.float64) for part in trained]
    return np.concatenate(parts, axis=-1)


def _blocks(net: Sequential, trained: tuple[slice, ...], x: Any) -> Any:
    """Return parts of the samples, each with its rows of the Jacobian, (n_samples, n_out, n_trained)."""
    size = max(1, BLOCK_BYTES // (8 * net.program.n_out * net.program.n_parameters))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield part, _trained(trained, net.parameter_jacobian(x[part]))
