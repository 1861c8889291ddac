"""The course of a fit: by a stochastic solver, by L-BFGS or by Levenberg-Marquardt."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.optimize import _check_optimize_result

from tinynet.backends.base import Plan
from tinynet.estimators import lbfgs
from tinynet.estimators.fit_callbacks import FitTask
from tinynet.estimators.samples import as_data, split
from tinynet.estimators.solver import SolverState, StochasticTrainer
from tinynet.models.sequential import Sequential
from tinynet.optimizers import LevenbergMarquardt
from tinynet.training.data import Data

if TYPE_CHECKING:
    from tinynet.estimators.base import BaseMultilayerPerceptron

DENSE_BYTES = 1 << 28
"""Largest sparse matrix, in bytes of its dense form, that is made dense as a whole."""


def fit_stochastic(
    estimator: BaseMultilayerPerceptron,
    X: Any,
    y: NDArray[Any],
    weight: Any,
    held_out: Data | None,
    incremental: bool,
    given: tuple[Any, ...],
) -> None:
    """Train by "sgd" or "adam": to the end, or for the one epoch of ``partial_fit``."""
    if not incremental or not hasattr(estimator, "_optimizer"):
        estimator._optimizer = SolverState(estimator)
    if estimator.early_stopping and held_out is None:
        X, y, weight, held_out = split(estimator, X, y, weight)
    weight = estimator._weigh(y, weight, X.dtype, incremental)
    if held_out is not None:
        estimator.validation_loss_curve_ = estimator.validation_loss_curve_ or []
        estimator.validation_scores_ = estimator.validation_scores_ or []
    n_samples = X.shape[0]
    if estimator.batch_size != "auto" and estimator.batch_size > n_samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=4
        )
    network, warm = estimator.network_, estimator.t_ > 0
    with network.guard.alone("fit"):
        estimator._show()
        task = None if incremental else FitTask(estimator, given, lambda: _copies(network))
        estimator.n_iter_ = 0
        trainer = StochasticTrainer(
            estimator,
            network,
            as_data(estimator, X, y, weight, network, dense=X.shape[0] * X.shape[1] * X.dtype.itemsize <= DENSE_BYTES),
            held_out,
            objective=estimator._objective(),
            batch_size=estimator._batch_rows(n_samples),
            epochs=1 if incremental else int(estimator.max_iter),
            task=task if task is not None and task.active else None,
        )
        try:
            trainer.run()
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        else:
            if not incremental and not network.stop_training:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the optimization "
                    "hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        finally:
            _release(estimator.callbacks)
            # What scikit-learn's later fits go on from are their best weights themselves, not copies: where no score is
            # better than those of the fits before, the last weights stay.
            if estimator.early_stopping and (trainer.has_improved or not warm):
                network.set_flat_parameters(trainer.best_parameters)
            estimator._show()
    if task is not None:
        task.end()


def fit_lbfgs(
    estimator: BaseMultilayerPerceptron,
    X: Any,
    y: NDArray[Any],
    weight: Any,
    held_out: Data | None,
    given: tuple[Any, ...],
) -> None:
    """Train by "lbfgs"."""
    # A line search in float32 ends in its noise; the parameters are rounded when all is done.
    network = estimator._build("float64")
    weight = estimator._weigh(y, weight, X.dtype, incremental=False)
    data, objective = as_data(estimator, X, y, weight, network), estimator._objective()
    task = FitTask(estimator, given, lambda: _copies(network, X.dtype))
    plan = network.plan(objective, SolverState(estimator).optimizer, data.y, len(data), "epoch")
    look = _looking(estimator, network, plan, held_out, task)
    watched = estimator.verbose or task.active or held_out is not None
    result = lbfgs.minimise(
        network,
        data,
        objective,
        max_iter=estimator.max_iter,
        max_fun=estimator.max_fun,
        tol=estimator.tol,
        observer=look if watched else None,
    )
    estimator.n_iter_ = _check_optimize_result("lbfgs", result, estimator.max_iter)
    estimator.loss_ = float(result.fun)
    _finish(estimator, network, X.dtype, task)


def fit_lm(
    estimator: BaseMultilayerPerceptron,
    X: Any,
    y: NDArray[Any],
    weight: Any,
    held_out: Data | None,
    given: tuple[Any, ...],
) -> None:
    """Train by "lm", step by step, until no element of the gradient is larger than ``tol``."""
    network = estimator._build("float64")
    weight = estimator._weigh(y, weight, X.dtype, incremental=False)
    data, optimizer = as_data(estimator, X, y, weight, network), LevenbergMarquardt(min_gradient=estimator.tol)
    task = FitTask(estimator, given, lambda: _copies(network, X.dtype))
    plan = network.plan(estimator._objective(), optimizer, data.y, len(data), "epoch")
    network.prepare_optimizer(optimizer)
    look = _looking(estimator, network, plan, held_out, task)
    estimator.n_iter_, estimator.loss_curve_ = 0, []
    # Where there is no step to be made at all.
    estimator.loss_ = float(plan.evaluate(network.state, data.x, data.y, data.weight))
    ended = False
    while estimator.n_iter_ < estimator.max_iter and not ended:
        losses = plan.run(network.state, data.x, data.y, None, np.ones((1, 1)), data.weight)
        if not len(losses):
            ended = True
            break
        estimator.record_step(float(losses[0, 0]))
        ended = look(estimator.n_iter_, estimator.loss_) or not np.isfinite(estimator.loss_)
    if not ended and not plan.stop_reason(network.state):
        warnings.warn(
            f"Levenberg-Marquardt: maximum iterations ({estimator.max_iter}) reached, and the gradient is still larger "
            f"than tol={estimator.tol:g}.",
            ConvergenceWarning,
            stacklevel=4,
        )
    _finish(estimator, network, X.dtype, task)


def _looking(
    estimator: BaseMultilayerPerceptron, network: Sequential, plan: Plan, held_out: Data | None, task: FitTask
) -> Callable[[int, float], bool]:
    """Return what looks at each iteration of a solver that takes all samples, and tells whether it is the last."""
    if held_out is not None:
        estimator.validation_loss_curve_ = []

    def look(iteration: int, loss: float) -> bool:
        if estimator.verbose:
            print(f"Iteration {iteration}, loss = {loss:.8f}")
        if held_out is not None:
            assert estimator.validation_loss_curve_ is not None
            value = plan.evaluate(network.state, held_out.x, held_out.y, held_out.weight)
            estimator.validation_loss_curve_.append(value)
        if not task.active:
            return False
        task.begin_iteration(iteration - 1)
        return task.end_iteration()

    return look


def _finish(estimator: BaseMultilayerPerceptron, network: Sequential, dtype: Any, task: FitTask) -> None:
    """Give the estimator what a network in float64 has learned, in its own dtype."""
    estimator.coefs_, estimator.intercepts_ = _copies(network, dtype).values()
    estimator._network = estimator._build(dtype)
    estimator._show()
    task.end()


def _copies(network: Sequential, dtype: Any = None) -> dict[str, list[NDArray[Any]]]:
    """Return copies of a network's parameters by the names of the fitted attributes."""
    weights = [np.array(array, dtype=dtype) for array in network.get_weights()]
    return {"coefs_": weights[::2], "intercepts_": weights[1::2]}


def _release(callbacks: Any) -> None:
    """Let callbacks forget the training: an estimator must remain easy to copy and to pickle."""
    for callback in callbacks or ():
        callback.__dict__.pop("model", None)
        callback.__dict__.pop("trainer", None)
