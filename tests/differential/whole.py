"""Optimizers that take all samples in each step: what they promise of every step, by the oracle's own derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinynet as tn

from . import oracle
from .cases import Case
from .comparing import Mismatch, as_they_are, compare, net_of


def check_steps(case: Case, nets: list[tn.Sequential], history: tn.History, data: tuple[Any, ...]) -> None:
    """Hold the losses of a training against those of its weights, ``nets`` being the model before it and after."""
    before, after = (as_they_are(case, net) for net in nets)
    x, y, weight = (a if a is None or a.dtype.kind == "i" else np.asarray(a, np.float64) for a in data)

    def values(found: list[oracle.Net]) -> list[float]:
        return [oracle.loss_and_gradient(case.loss, net, x, y, weight)[0] for net in found]

    losses = history.history.get("loss", [])  # There is none where no step was to be made.
    first, epsilon = values(before)[0], float(np.finfo(case.dtype).eps)
    if losses and case.optimizer[0] != "BayesianRegularization":
        compare(case, "the last loss", losses[-1], values(after))
        allowed = 1e3 * epsilon * max(1.0, abs(first))
        rising = np.diff([first, *losses])
        if rising.max() > allowed:
            raise Mismatch(f"the loss grows by {rising.max():.3g} in a step; rounding explains {allowed:.3g}")
    if case.optimizer[0] == "LevenbergMarquardt" and len(losses) == 1 and case.loss[0] == "mse":
        _check_step(case, net_of(case, nets[0]), net_of(case, nets[1]), (x, y, weight))


def _check_step(case: Case, before: oracle.Net, after: oracle.Net, data: tuple[Any, ...]) -> None:
    """A step of squared errors solves ``(H + damping) step = gradient`` for one of the dampings that are tried."""
    if case.dtype != "float64":
        return
    x, y, weight = data
    trained = [i for i in range(len(before.weights)) if i not in before.frozen]
    _, gradients = oracle.loss_and_gradient(case.loss, before, x, y, weight)
    gradient = np.concatenate([gradients[i].ravel() for i in trained])
    scale = 2.0 / (1.0 if case.loss[2] == "sum" else y.size)
    matrix = np.zeros((len(gradient), len(gradient)))
    for row, w in zip(x, np.ones(len(x)) if weight is None else weight, strict=True):
        out, kept = before.forward(row[None])
        for unit in np.eye(out.shape[1]):
            found = before.backward(kept, unit[None])
            j = np.concatenate([found[i].ravel() for i in trained])
            matrix += scale * w * np.outer(j, j)
    step = np.concatenate([(before.weights[i] - after.weights[i]).ravel() for i in trained])
    # The factor of the damping is the optimizer's own affair: any that gives this step will do.
    length = float(np.linalg.norm(step))
    residual = gradient - matrix @ step
    damping = float(residual @ step) / length**2 if length else 0.0
    off = float(np.linalg.norm(residual - damping * step))
    allowed = 1e-6 * float(np.linalg.norm(gradient)) + 1e-12
    if off > allowed or damping < -1e-9:
        raise Mismatch(f"no damping gives the step: {damping:.3g} leaves {off:.3g}; rounding explains {allowed:.3g}")
