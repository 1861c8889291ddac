"""The uncertainty of one network by Laplace's approximation: a Gaussian around its weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import number
from tinynet.losses import BinaryCrossEntropy, CrossEntropy, Loss, Meaning, get_loss
from tinynet.models.posterior import ClassLaplace, Float64, Laplace, blocks, trained_of
from tinynet.models.sequential import Sequential
from tinynet.program import ActivationOp

MOST_PARAMETERS = 5000
"""The matrix of so many takes 200 MB."""
STEPS, CHANGE = 200, 1e-8
"""Most steps of the evidence, and the relative change that ends them."""
LINKS = {"labels": "sigmoid", "classes": "softmax"}
"""What makes probabilities of logits."""


def laplace(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    noise: float | None = None,
    prior_precision: float | None = None,
    loss: str | Loss | None = None,
) -> Laplace:
    """Return the uncertainty of predictions: a Gaussian around the weights of a network that has been trained.

    Its precision is the generalised Gauss-Newton matrix of the loss, plus a prior on the weights; what the network
    gives (of classes and labels: the logits) is linear in the weights around the trained ones (MacKay 1992; Daxberger
    et al. 2021, section 2; Immer, Korzepa and Bauer 2021). What is not given of noise and prior is what makes the data
    most probable. That suits a network in the minimum of its loss, such as ``LevenbergMarquardt`` and, best,
    ``BayesianRegularization`` find, and with classes one whose ``weight_decay`` keeps the weights finite. For up to
    5,000 trained parameters; layers that are not trainable are certain.

    Parameters
    ----------
    net : Sequential
    x : (n_samples, n_in) array-like
    y : (n_samples, n_out) array-like, or (n_samples,)
        What it was trained on. All outputs have the same noise.
    noise : float, optional
        Standard deviation of the targets; of numbers only.
    prior_precision : float, optional
        One over the variance of each weight before the data were seen.
    loss : str or Loss, optional
        By default that of the last ``fit``. A cross-entropy says that targets are classes or labels; with all others
        they are numbers, with errors as of "mse".

    Returns
    -------
    Laplace
        With the weights that the network has now. Of classes and labels a ``ClassLaplace``, whose ``mean`` and ``std``
        are of probabilities.

    Raises
    ------
    NotImplementedError
        If a layer is written in Python.
    ValueError
        If ``y`` does not fit, there are too many parameters, or a network of classes gives no logits.

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
    program = net.trained_program
    if program.maps:
        layer = net.layers[-1 - program.scales_targets]
        raise ValueError(
            f"laplace expects one output for each target; got {layer!r}. An ensemble of such networks tells what they "
            "do not know."
        )
    if program.n_trained > MOST_PARAMETERS:
        raise ValueError(
            f"laplace expects at most {MOST_PARAMETERS:,} trained parameters; this network has {program.n_trained:,}. "
            "Train an Ensemble, whose models differ where the data do not tell."
        )
    given = {"prior_precision": prior_precision, "noise": noise}
    fixed = [None if value is None else number(name, value, above=0.0) for name, value in given.items()]
    chosen, rows = get_loss(loss or net.loss or "mse"), np.asarray(x)
    weights = float(np.square(trained_of(program.trained, net.flat_parameters())).sum())
    if chosen.targets not in LINKS:
        squares, n_values = _squares(net, rows, y)
        information, directions = _information(net, program.trained, rows, None)
        found = _evidence(information, weights, squares, n_values, fixed)
        return Laplace(net.clone(), program.trained, directions, information, found)
    if noise is not None:
        raise ValueError(f"laplace expects no noise with {type(chosen).__name__}: classes have none. Leave it out.")
    if not isinstance(chosen, BinaryCrossEntropy | CrossEntropy):
        raise ValueError(
            f"laplace expects a cross-entropy of classes and labels, which says how probable they are; got {chosen!r}. "
            "Pass loss=tn.BinaryCrossEntropy(from_logits=True), for instance, if the outputs are logits."
        )
    targets = np.asarray(chosen.check_target(y, program.n_out, "float64"))
    if len(targets) != len(rows):
        raise ValueError(f"laplace expects as many targets as samples; got {len(targets)} and {len(rows)}.")
    logits = _giving_logits(net, chosen)
    meaning = Meaning(chosen.meaning(targets, program.ops).target, "logits")
    information, directions = _information(logits, program.trained, rows, meaning)
    found = _evidence(information, weights, 0.0, targets.size, [fixed[0], 1.0])
    return ClassLaplace(meaning, logits, program.trained, directions, information, found)


def _squares(net: Sequential, rows: NDArray[Any], y: Any) -> tuple[float, int]:
    """Return the sum of the squared errors, and their number."""
    targets, predictions = np.asarray(y, np.float64), np.asarray(net.predict(rows), np.float64)
    if targets.size != predictions.size or len(targets) != len(predictions):
        raise ValueError(f"laplace expects targets of shape {predictions.shape}; got {targets.shape}.")
    return float(np.square(targets.reshape(predictions.shape) - predictions).sum()), targets.size


def _giving_logits(net: Sequential, loss: Loss) -> Sequential:
    """Return a copy of a network without the activation at its end, if it has the one that makes probabilities."""
    link, last = LINKS[str(loss.targets)], net.program.ops[-1]
    copy = net.clone()
    if loss.from_logits:
        return copy
    if not isinstance(last, ActivationOp) or last.kind != link or len(net.layers) < 2:
        raise ValueError(
            f"laplace expects logits of {loss.targets}: a network that ends in {link.capitalize()}, or a loss "
            f"with from_logits=True; got one that ends in {net.layers[-1]!r}."
        )
    layers = [layer.fresh_copy() for layer in net.layers[:-1]]
    logits = Sequential(*layers, dtype=net.dtype, backend=net.backend, initial_values=copy.flat_parameters())
    with net.backend.active():
        logits.state.buffers[...] = copy.state.buffers
    return logits


def _information(
    net: Sequential, trained: tuple[slice, ...], rows: NDArray[Any], meaning: Meaning | None
) -> tuple[Float64, Float64]:
    """Return the eigenvalues and eigenvectors of the Gauss-Newton matrix ``sum J' L J``.

    ``L`` is 1 for numbers, ``p (1 - p)`` for labels, ``diag(p) - p p'`` for classes; ``J`` is multiplied by its root.
    """
    n = sum(part.stop - part.start for part in trained)
    matrix = np.zeros((n, n))
    for part, jacobian in blocks(net, trained, rows):
        if meaning is not None:
            p = meaning.expected(np.asarray(net.predict(rows[part])))
            if meaning.target == "labels":
                jacobian = np.sqrt(p * (1.0 - p))[:, :, np.newaxis] * jacobian
            else:
                mean = (p[:, :, np.newaxis] * jacobian).sum(axis=1, keepdims=True)
                jacobian = np.sqrt(p)[:, :, np.newaxis] * (jacobian - mean)
        flat = jacobian.reshape(-1, n)
        matrix += flat.T @ flat
    information, directions = np.linalg.eigh(matrix)
    return np.maximum(information, 0.0), directions


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
