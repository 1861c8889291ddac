"""Who descends: each runs so many steps from the start of a problem, and tells where that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.descent.problems import Array, Problem

Run = Callable[[int], list[Array]]
"""Makes so many steps from the beginning, and returns the parameters that they end with."""

Runner = Callable[[Problem], Run | list[Run]]
"""Makes what runs a problem; several ways to, where the best of them counts."""


def _tinynet(problem: Problem, optimizer: Callable[[int], Any], **fit: Any) -> Run:
    import tinynet as tn

    n_in, hidden = problem.sizes

    def run(steps: int) -> list[Array]:
        net = tn.Sequential(tn.Linear(n_in, hidden), tn.Tanh(), tn.Linear(hidden, 1), dtype="float64", seed=0)
        net.set_weights(problem.parameters)
        net.fit(problem.x, problem.y, optimizer=optimizer(steps), epochs=steps, threads=1, **fit)
        return net.get_weights()

    return run


def tinynet_lm(problem: Problem) -> Run:
    """tinynet, Levenberg-Marquardt with MATLAB's factors of the damping, 10 and 0.1."""
    import tinynet as tn

    return _tinynet(problem, lambda steps: tn.LevenbergMarquardt(min_gradient=0.0))


def tinynet_gentle_lm(problem: Problem) -> Run:
    """tinynet, Levenberg-Marquardt with factors of 2 and 1/3."""
    import tinynet as tn

    return _tinynet(problem, lambda steps: tn.LevenbergMarquardt(increase=2.0, decrease=1 / 3, min_gradient=0.0))


def tinynet_accelerated_lm(problem: Problem) -> Run:
    """tinynet, Levenberg-Marquardt with MATLAB's factors and geodesic acceleration."""
    import tinynet as tn

    return _tinynet(problem, lambda steps: tn.LevenbergMarquardt(acceleration=True, min_gradient=0.0))


def tinynet_lbfgs(problem: Problem) -> Run:
    """tinynet, L-BFGS."""
    import tinynet as tn

    return _tinynet(problem, lambda steps: tn.LBFGS(min_gradient=0.0))


def tinynet_adam(problem: Problem) -> list[Run]:
    """tinynet, Adam in batches of 32, by three schedules: constant, in steps, and as a cosine over all epochs."""
    import tinynet as tn

    rates: list[Callable[[int], Any]] = [
        lambda steps: 0.003,
        lambda steps: tn.StepDecay(0.02, max(1, steps // 5), 0.3),
        lambda steps: tn.CosineDecay(0.02, steps),
    ]
    return [_tinynet(problem, lambda steps, rate=rate: tn.Adam(rate(steps)), batch_size=32) for rate in rates]


def sklearn_lbfgs(problem: Problem) -> Run:
    """scikit-learn's MLPRegressor, solver lbfgs."""
    import warnings

    from sklearn.neural_network import MLPRegressor

    w0, b0, w1, b1 = problem.parameters

    class FromStart(MLPRegressor):  # type: ignore[misc]
        def _initialize(self, y: Any, layer_units: Any, dtype: Any) -> None:
            super()._initialize(y, layer_units, dtype)
            self.coefs_, self.intercepts_ = [w0.copy(), w1.copy()], [b0.copy(), b1.copy()]

    settings = {"activation": "tanh", "solver": "lbfgs", "alpha": 0.0, "tol": 0.0, "max_fun": 10**9}

    def run(steps: int) -> list[Array]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = FromStart(hidden_layer_sizes=(len(b0),), max_iter=steps, **settings).fit(problem.x, problem.y[:, 0])
        return [net.coefs_[0], net.intercepts_[0], net.coefs_[1], net.intercepts_[1]]

    return run


def _torch_net(problem: Problem) -> Any:
    import torch

    torch.set_num_threads(1)
    n_in, hidden = problem.sizes
    net = torch.nn.Sequential(torch.nn.Linear(n_in, hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, 1)).double()
    with torch.no_grad():
        for parameter, values in zip(net.parameters(), problem.parameters, strict=True):
            parameter.copy_(torch.from_numpy(values.T.copy()))
    return net


def _torch_parameters(net: Any) -> list[Array]:
    return [parameter.detach().numpy().T.copy() for parameter in net.parameters()]


def torch_lbfgs(problem: Problem) -> Run:
    """PyTorch's LBFGS with a strong Wolfe line search."""
    import torch

    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def run(steps: int) -> list[Array]:
        net = _torch_net(problem)
        optimizer = torch.optim.LBFGS(
            net.parameters(), max_iter=steps, max_eval=10**9, history_size=10, line_search_fn="strong_wolfe",
            tolerance_grad=0.0, tolerance_change=0.0,
        )  # fmt: skip

        def closure() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)
        return _torch_parameters(net)

    return run


def torch_lm(problem: Problem) -> Run:
    """torch-levenberg-marquardt."""
    import torch
    import torch_levenberg_marquardt as tlm

    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def run(steps: int) -> list[Array]:
        net = _torch_net(problem)
        module = tlm.training.LevenbergMarquardtModule(model=net, loss_fn=tlm.loss.MSELoss())
        for _ in range(steps):
            _, _, stop, _ = module.training_step(x, y)
            if stop:
                break
        return _torch_parameters(net)

    return run


def pyrenn_lm(problem: Problem) -> Run:
    """Pyrenn's Levenberg-Marquardt."""
    import contextlib
    import io

    import pyrenn

    n_in, hidden = problem.sizes
    w0, b0, w1, b1 = problem.parameters
    # It divides inputs and targets by their largest: here they come so, and the weights suit them.
    largest, of_target = np.abs(problem.x).max(axis=0), np.abs(problem.y).max()
    x, y = (problem.x / largest).T, problem.y[:, 0] / of_target
    start = np.concatenate([(w0 * largest[:, None]).ravel(), b0, w1.ravel() / of_target, b1 / of_target])

    def run(steps: int) -> list[Array]:
        net = pyrenn.CreateNN([n_in, hidden, 1])
        net["w"] = start.copy()
        with contextlib.redirect_stdout(io.StringIO()):
            net = pyrenn.train_LM(x, y, net, k_max=steps, E_stop=0.0)
        first, bias, second, last = np.split(net["w"], np.cumsum([n_in * hidden, hidden, hidden]))
        return [first.reshape(n_in, hidden) / largest[:, None], bias, second[:, None] * of_target, last * of_target]

    return run


def optimistix_lm(problem: Problem) -> Run:
    """Optimistix's Levenberg-Marquardt on JAX, compiled before."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import optimistix

    x, y = jnp.asarray(problem.x), jnp.asarray(problem.y)
    start = [jnp.asarray(array) for array in problem.parameters]
    solver = optimistix.LevenbergMarquardt(rtol=1e-30, atol=1e-30)

    def residuals(parameters: Any, _: Any) -> Any:
        w0, b0, w1, b1 = parameters
        return jnp.tanh(x @ w0 + b0) @ w1 + b1 - y

    compiled: dict[int, Any] = {}

    def run(steps: int) -> list[Array]:
        def least_squares() -> Any:
            return optimistix.least_squares(residuals, solver, start, max_steps=steps, throw=False).value

        if steps not in compiled:
            compiled[steps] = jax.jit(least_squares)
            compiled[steps]()
        return [np.asarray(array) for array in compiled[steps]()]

    return run


def scipy_lm(problem: Problem) -> Run:
    """SciPy's least_squares, method lm (MINPACK), with the analytic Jacobian."""
    from scipy.optimize import least_squares

    x, y, (n_in, hidden) = problem.x, problem.y[:, 0], problem.sizes
    cuts = np.cumsum([n_in * hidden, hidden, hidden])

    def parts(flat: Array) -> list[Array]:
        first, bias, second, last = np.split(flat, cuts)
        return [first.reshape(n_in, hidden), bias, second[:, None], last]

    def residuals(flat: Array) -> Array:
        w0, b0, w1, b1 = parts(flat)
        errors: Array = (np.tanh(x @ w0 + b0) @ w1)[:, 0] + b1[0] - y
        return errors

    def jacobian(flat: Array) -> Array:
        w0, b0, w1, _ = parts(flat)
        h = np.tanh(x @ w0 + b0)
        d = (1 - h * h) * w1[:, 0]
        return np.hstack([(x[:, :, None] * d[:, None]).reshape(len(x), -1), d, h, np.ones((len(x), 1))])

    start = np.concatenate([array.ravel() for array in problem.parameters])

    def run(steps: int) -> list[Array]:
        found = least_squares(
            residuals, start, jacobian, method="lm", max_nfev=steps, ftol=1e-15, xtol=1e-15, gtol=1e-15
        )
        return parts(found.x)

    return run


RUNNERS: dict[str, Runner] = {
    "tinynet LM": tinynet_lm,
    "tinynet LM, 2 and 1/3": tinynet_gentle_lm,
    "tinynet LM, accelerated": tinynet_accelerated_lm,
    "tinynet LBFGS": tinynet_lbfgs,
    "tinynet Adam": tinynet_adam,
    "scikit-learn lbfgs": sklearn_lbfgs,
    "PyTorch LBFGS": torch_lbfgs,
    "torch-levenberg-marquardt": torch_lm,
    "pyrenn": pyrenn_lm,
    "optimistix LM": optimistix_lm,
    "SciPy MINPACK": scipy_lm,
}
"""Everybody, by the name in plots."""
