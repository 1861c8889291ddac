"""The solver "lbfgs": SciPy's L-BFGS-B on the gradients of a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from tinynet.estimators.objective import Objective
from tinynet.models.sequential import Sequential
from tinynet.optimizers import SGD
from tinynet.training.data import Data


def minimise(
    network: Sequential,
    data: Data,
    objective: Objective,
    *,
    max_iter: int,
    max_fun: int,
    tol: float,
    observer: Callable[[int, float], bool] | None,
) -> Any:
    """Minimise the objective over all of the data (Byrd, Lu, Nocedal and Zhu 1995); the network gets the minimum.

    Parameters
    ----------
    network : Sequential
        In float64: a line search needs the digits.
    data : Data
    objective : Objective
    max_iter, max_fun : int
        Most iterations, and most evaluations of the objective.
    tol : float
        Largest element of the projected gradient at which to stop.
    observer : callable or None
        ``observer(iteration, loss) -> stop``, with the network at the iteration's parameters.

    Returns
    -------
    scipy.optimize.OptimizeResult
    """
    plan = network.plan(objective, SGD(1.0), data.y, len(data), "epoch")

    def value_and_gradient(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        network.set_flat_parameters(parameters)
        value = plan.gradient(network.state, data.x, data.y, data.weight)
        return value, np.array(network.backend.to_numpy(network.state.gradients))

    n_iterations = 0

    def look(intermediate_result: Any) -> None:
        nonlocal n_iterations
        n_iterations += 1
        network.set_flat_parameters(intermediate_result.x)
        if observer is not None and observer(n_iterations, float(intermediate_result.fun)):
            raise StopIteration

    result = minimize(
        value_and_gradient,
        network.flat_parameters(),
        method="L-BFGS-B",
        jac=True,
        callback=None if observer is None else look,
        options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
    )
    network.set_flat_parameters(result.x)
    return result
