"""Plans of optimizers that see all samples and the curvature: Levenberg-Marquardt, L-BFGS.

They may use the loop plan, the reference kernels and SciPy, and compute in host memory.
"""

from __future__ import annotations

from tinynet.backends.base import Backend, Plan
from tinynet.program import Program

KINDS = ("levenberg_marquardt", "bayesian_regularization", "lbfgs")
"""The optimizers whose every step takes all samples."""


def takes_all_samples(program: Program) -> bool:
    """Whether the optimizer of a program is one of these."""
    return program.optimizer is not None and program.optimizer.kind in KINDS


def whole_plan(program: Program, backend: Backend) -> Plan:
    """Return the plan of one model whose optimizer takes all samples in each step."""
    assert program.optimizer is not None
    if program.optimizer.kind == "lbfgs":
        from tinynet.backends.second_order.lbfgs import LBFGSPlan

        return LBFGSPlan(program, backend)
    from tinynet.backends.second_order.levenberg import LevenbergMarquardtPlan

    return LevenbergMarquardtPlan(program, backend)
