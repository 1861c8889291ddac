"""Plans of optimizers that see all samples and the curvature: Levenberg-Marquardt, L-BFGS.

They may use the loop plan, the reference kernels and SciPy, and compute in host memory.
"""

from __future__ import annotations

from dataclasses import replace

from tinynet.backends.base import Backend, Granularity, Plan
from tinynet.backends.members import MembersPlan
from tinynet.program import Program

KINDS = ("levenberg_marquardt", "bayesian_regularization", "lbfgs")
"""The optimizers whose every step takes all samples."""


def takes_all_samples(program: Program) -> bool:
    """Whether the optimizer of a program is one of these."""
    return program.optimizer is not None and program.optimizer.kind in KINDS


def whole_plan(program: Program, backend: Backend, granularity: Granularity, *, generated: bool = False) -> Plan:
    """Return the plan of models whose optimizers take all samples in each step.

    ``generated`` says that the backend may use generated code.
    """
    assert program.optimizer is not None
    if program.n_models is not None and (program.optimizer.kind == "lbfgs" or not _alike(program)):
        return MembersPlan(program, backend, granularity)
    if program.optimizer.kind == "lbfgs":
        from tinynet.backends.second_order.lbfgs import LBFGSPlan

        return LBFGSPlan(program, backend)
    from tinynet.backends.second_order.levenberg import LevenbergMarquardtPlan

    if generated:
        from tinynet.backends.second_order.generated import GeneratedEquations, fits

        if fits(program):
            return LevenbergMarquardtPlan(program, backend, GeneratedEquations(program))
    return LevenbergMarquardtPlan(program, backend)


def _alike(program: Program) -> bool:
    """Whether the models of an ensemble differ in nothing but numbers of the optimizer."""
    return replace(program.member(0), optimizer=None) == replace(program, n_models=None, optimizer=None)
