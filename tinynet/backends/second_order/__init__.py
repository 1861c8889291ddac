"""Plans of optimizers that see all samples and the curvature: Levenberg-Marquardt, L-BFGS.

They may use the loop plan, the reference kernels and SciPy. What an optimizer decides it decides in host memory, in
float64; what costs time is asked of equations, of which every backend has its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tinynet.backends.base import Backend, Granularity, Plan
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet.backends.second_order.equations import Equations

KINDS = ("levenberg_marquardt", "bayesian_regularization", "lbfgs")
"""The optimizers whose every step takes all samples."""


def takes_all_samples(program: Program) -> bool:
    """Whether the optimizer of a program is one of these."""
    return program.optimizer is not None and program.optimizer.kind in KINDS


def whole_plan(
    program: Program,
    backend: Backend,
    granularity: Granularity,
    equations: Callable[[Program], Equations | None] = lambda program: None,
) -> Plan:
    """Return the plan of models whose optimizers take all samples in each step.

    Parameters
    ----------
    program : Program
    backend : Backend
    granularity : {"epoch", "step"}
    equations : callable
        Makes what sums the normal equations of a program; without it, or where it makes none, NumPy does.
    """
    assert program.optimizer is not None
    if program.n_models is not None and (program.optimizer.kind == "lbfgs" or not _alike(program)):
        from tinynet.backends.members import MembersPlan

        return MembersPlan(program, backend, granularity)
    if program.optimizer.kind == "lbfgs":
        from tinynet.backends.second_order.lbfgs import LBFGSPlan

        return LBFGSPlan(program, backend)
    from tinynet.backends.second_order.levenberg import LevenbergMarquardtPlan

    return LevenbergMarquardtPlan(program, backend, equations(program))


def _alike(program: Program) -> bool:
    """Whether the models of an ensemble differ in nothing but numbers of the optimizer."""
    return replace(program.member(0), optimizer=None) == replace(program, n_models=None, optimizer=None)
