"""A Gaussian around the weights of a network, and what it says of predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import whole
from tinynet.base.hints import Hinting, HintingAttributes
from tinynet.losses import Meaning
from tinynet.models.sequential import Sequential

Float64 = NDArray[np.float64]

BLOCK_BYTES = 1 << 26
"""Of the rows of a Jacobian that are held at a time."""

NODES = 32
"""Of a Gauss-Hermite quadrature over a logit."""

DRAWS = 1000
"""Of the logits of several classes, for the spread of their probabilities."""


class Laplace(Hinting, HintingAttributes):
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
        found = np.diagonal(self._covariances(np.asarray(x)), axis1=1, axis2=2)
        result: Float64 = np.sqrt(found + noise * self.noise**2)
        return result

    def draws(self, x: Any, n: int, *, seed: int | None = None) -> Float64:
        """Return what ``n`` networks predict whose weights are drawn, (n, n_samples, n_out).

        What is predicted is linear in the weights around the trained ones, so that these are functions of ``x``, each
        as likely as the data make it: their quantiles, maxima and differences mean something.
        """
        rows, rng = np.asarray(x), np.random.default_rng(seed)
        moves = self._factors @ rng.standard_normal((len(self._factors), whole("n", n)))
        found = np.empty((moves.shape[1], len(rows), self.net.program.n_out))
        for part, jacobian in blocks(self.net, self._trained, rows):
            found[:, part] = np.moveaxis(jacobian @ moves, 2, 0)
        return found + np.asarray(self.net.predict(rows), np.float64)

    def _covariances(self, rows: NDArray[Any]) -> Float64:
        """Return the covariances of the outputs of the network, (n_samples, n_out, n_out)."""
        n_out = self.net.program.n_out
        found = np.empty((len(rows), n_out, n_out))
        for part, jacobian in blocks(self.net, self._trained, rows):
            spread = jacobian @ self._factors
            found[part] = spread @ spread.transpose(0, 2, 1)
        return found

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._shown}, prior_precision={self.prior_precision:.4g}, "
            f"effective_parameters={self.effective_parameters:.4g} of {len(self._factors)})"
        )

    @property
    def _shown(self) -> str:
        return f"noise={self.noise:.4g}"


class ClassLaplace(Laplace):
    """The same of a network of classes or labels: probabilities, with what is not known of the weights in them.

    Attributes
    ----------
    net : Sequential
        Gives logits, whether or not the network that was given ends in probabilities.
    prior_precision, effective_parameters : float
        As for ``Laplace``.
    """

    def __init__(self, meaning: Meaning, *parts: Any) -> None:
        super().__init__(*parts)
        self._meaning = meaning

    def mean(self, x: Any) -> Float64:
        """Return the probabilities, (n_samples, n_out), of a new target.

        A logit ``z`` of variance ``v`` counts as ``z / sqrt(1 + pi v / 8)``: the probit approximation (MacKay 1992).
        Of several classes each difference of two logits counts so (Lu, Ie and Sha 2020, "mf2"), and the sum is made 1.
        ``draws(x, 1000).mean(axis=0)`` is the mean that it approximates.
        """
        rows = np.asarray(x)
        logits, covariances = super().mean(rows), self._covariances(rows)
        variance = np.diagonal(covariances, axis1=1, axis2=2)
        if self._meaning.target == "labels":
            return self._meaning.expected(_moderated(logits, variance))
        of_differences = variance[:, :, np.newaxis] + variance[:, np.newaxis] - 2.0 * covariances
        away = _moderated(logits[:, np.newaxis] - logits[:, :, np.newaxis], of_differences)
        # 1 / sum_l exp(z_l - z_k) of class k, in logarithms.
        return self._meaning.expected(-np.logaddexp.reduce(away, axis=2))

    def std(self, x: Any, *, noise: bool = False) -> Float64:
        """Return the standard deviations of the probabilities, (n_samples, n_out).

        Of labels by a quadrature, of classes from 1,000 draws that are always the same.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        noise : bool
            Whether those of new targets, which are 0 or 1: ``sqrt(p (1 - p))`` with the mean probability ``p``.
        """
        rows = np.asarray(x)
        if noise:
            p = self.mean(rows)
            return np.sqrt(p * (1.0 - p))
        logits, covariances = super().mean(rows), self._covariances(rows)
        if self._meaning.target == "labels":
            nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
            deviation = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
            found = [self._meaning.expected(logits + node * deviation) for node in nodes]
            return _deviation(np.stack(found), weights / weights.sum())
        values, vectors = np.linalg.eigh(covariances)
        roots = vectors * np.sqrt(np.maximum(values, 0.0))[:, np.newaxis]
        steps = np.random.default_rng(0).standard_normal((DRAWS, logits.shape[1]))
        result = np.empty_like(logits)
        for i, (own, root) in enumerate(zip(logits, roots, strict=True)):
            result[i] = _deviation(self._meaning.expected(own + steps @ root.T), np.full(DRAWS, 1.0 / DRAWS))
        return result

    def draws(self, x: Any, n: int, *, seed: int | None = None) -> Float64:
        """Return the probabilities of ``n`` networks whose weights are drawn, (n, n_samples, n_out)."""
        logits = super().draws(x, n, seed=seed)
        return self._meaning.expected(logits.reshape(-1, logits.shape[2])).reshape(logits.shape)

    @property
    def _shown(self) -> str:
        return self._meaning.target


def _moderated(z: Float64, variance: Float64) -> Float64:
    """Return what a logit counts as that is known up to a variance."""
    result: Float64 = z / np.sqrt(1.0 + np.pi / 8.0 * variance)
    return result


def _deviation(values: Float64, weights: Float64) -> Float64:
    """Return the standard deviations along the first axis of weighted values."""
    mean = np.tensordot(weights, values, axes=1)
    result: Float64 = np.sqrt(np.tensordot(weights, np.square(values - mean), axes=1))
    return result


def trained_of(trained: tuple[slice, ...], flat: Any) -> Float64:
    """Return what is trained of the last axis of something that has all parameters there."""
    parts = [np.asarray(flat[..., part], np.float64) for part in trained]
    return np.concatenate(parts, axis=-1)


def blocks(net: Sequential, trained: tuple[slice, ...], x: Any) -> Iterator[tuple[slice, Float64]]:
    """Return parts of the samples, each with its rows of the Jacobian, (n_samples, n_out, n_trained)."""
    size = max(1, BLOCK_BYTES // (8 * net.program.n_out * net.program.n_parameters))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield part, trained_of(trained, net.parameter_jacobian(x[part]))
