"""Metrics of how sure a network is: they see probabilities, or scores that rise with them.

The formulas are those of scikit-learn.

Weights are (n_samples,) arrays or None.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.training.metrics.numbers import Float64, Weight


def area_under_roc(score: NDArray[Any], positive: NDArray[np.bool_], weight: Weight = None) -> float:
    """Probability that a positive sample scores higher than a negative one; a tie counts half (Hanley & McNeil 1982).

    Parameters
    ----------
    score : (n_samples,) array
    positive : (n_samples,) bool array
        There are some, and others.
    weight : (n_samples,) array, optional

    Examples
    --------
    >>> area_under_roc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    share = np.ones(len(score)) if weight is None else weight
    distinct, place = np.unique(score, return_inverse=True)
    above = np.bincount(place, share * positive, len(distinct))
    others = np.bincount(place, share * ~positive, len(distinct))
    below = np.cumsum(others) - others
    return float((above * (below + 0.5 * others)).sum() / (above.sum() * others.sum()))


def auc_of_labels(score: NDArray[Any], labels: NDArray[np.bool_], weight: Weight = None) -> float:
    """Mean over labels of the area under the ROC curve; both are (n_samples, n_labels)."""
    return float(np.mean([area_under_roc(s, t, weight) for s, t in zip(score.T, labels.T, strict=True)]))


def auc_one_vs_rest(
    probability: Float64, classes: NDArray[np.int64], weight: Weight = None, *, by_weight: bool = False
) -> float:
    """Mean over classes of the area under the ROC curve of each against all others (Fawcett 2006, sect. 9.2).

    Parameters
    ----------
    probability : (n_samples, n_classes) array
    classes : (n_samples,) int array
    weight : (n_samples,) array, optional
    by_weight : bool
        Weigh each class by its samples.
    """
    truth = classes[:, np.newaxis] == np.arange(probability.shape[1])
    areas = [area_under_roc(p, t, weight) for p, t in zip(probability.T, truth.T, strict=True)]
    share = 1.0 if weight is None else weight[:, np.newaxis]
    return float(np.average(areas, weights=(share * truth).sum(axis=0) if by_weight else None))


def auc_one_vs_one(probability: Float64, classes: NDArray[np.int64], weight: Weight = None) -> float:
    """Mean over pairs of classes of the area under the ROC curve (Hand & Till 2001, eq. 7)."""
    areas = []
    for a, b in combinations(range(probability.shape[1]), 2):
        rows = (classes == a) | (classes == b)
        share = None if weight is None else weight[rows]
        is_a = classes[rows] == a
        areas += [area_under_roc(probability[rows, a], is_a, share), area_under_roc(probability[rows, b], ~is_a, share)]
    return float(np.mean(areas))


def log_loss(outputs: NDArray[Any], target: Float64, weight: Weight = None, *, logits: bool = False) -> float:
    """Mean over samples of ``-sum(t log p)``, the cross-entropy of probabilities of classes.

    Parameters
    ----------
    outputs : (n_samples, n_classes) array
        Logits, or probabilities; these are held ``eps`` of their dtype away from 0 and 1, as scikit-learn's.
    target : (n_samples, n_classes) array
    weight : (n_samples,) array, optional
    logits : bool
    """
    if logits:
        log_p: Float64 = outputs - outputs.max(axis=1, keepdims=True).astype(np.float64)
        log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    else:
        log_p = _log(outputs)
    return float(np.average(-(target * log_p).sum(axis=1), weights=weight))


def log_loss_of_labels(outputs: NDArray[Any], target: Float64, weight: Weight = None, *, logits: bool = False) -> float:
    """Mean over samples and labels of ``-(t log p + (1 - t) log(1 - p))``; all as for ``log_loss``."""
    if logits:
        z = outputs.astype(np.float64)
        log_p, log_q = -np.logaddexp(0.0, -z), -np.logaddexp(0.0, z)
    else:
        log_p, log_q = _log(outputs), _log(1 - outputs)
    return float(np.average(-(target * log_p + (1.0 - target) * log_q), axis=0, weights=weight).mean())


def _log(probability: NDArray[Any]) -> Float64:
    eps = np.finfo(probability.dtype).eps
    logarithm: Float64 = np.log(np.clip(probability, eps, 1 - eps).astype(np.float64))
    return logarithm


def top_k(probability: Float64, classes: NDArray[np.int64], k: int, weight: Weight = None) -> float:
    """Share of samples whose class is among the ``k`` likeliest; of ties the higher class number counts first.

    Examples
    --------
    >>> top_k(np.array([[0.5, 0.2, 0.3], [0.3, 0.4, 0.3]]), np.array([2, 0]), 2)
    0.5
    """
    likeliest = np.argsort(probability, axis=1, kind="stable")[:, ::-1][:, :k]
    return float(np.average((likeliest == classes[:, np.newaxis]).any(axis=1), weights=weight))
