"""Scalars: functions of numbers that users wrote in Python, compiled by Numba and called from the generated code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from tinynet_kernels.calls import called
from tinynet_kernels.waiting import LOADING, compiling

from tinynet.program import ActivationOp, CustomOp, Op, Program, ScalarFunctions

_compiled: list[Any] = []
"""What Numba has compiled: there are addresses of it in machine code that stays as long as the process."""


def with_calls(program: Program) -> tuple[Program, str | None]:
    """Return a program in which functions of numbers are called by address, and why that cannot be, if it cannot."""
    reasons: list[str] = []

    def kind_of(owner: Any) -> str | None:
        functions: ScalarFunctions | None = getattr(owner, "scalar_functions", None)
        if functions is None:
            return None
        found = [_address(function, functions.n_arguments) for function in (functions.value, functions.slope)]
        wrong = [f"Numba cannot compile {type(owner).__name__}.{reason}" for reason in found if isinstance(reason, str)]
        reasons.extend(wrong)
        return None if wrong else called(*(address for address in found if isinstance(address, int)))

    def changed(op: Op) -> Op:
        kind = kind_of(op.layer) if isinstance(op, CustomOp) else None
        return op if kind is None else ActivationOp(op.n_in, kind)

    loss = program.loss
    ops = tuple(map(changed, program.ops))
    if loss is not None and loss.custom is not None and (kind := kind_of(loss.custom)) is not None:
        loss = replace(loss, kind=kind, custom=None, per_sample=False)
    return replace(program, ops=ops, loss=loss), reasons[0] if reasons else None


@cache
def _address(function: Callable[..., float], n_arguments: int) -> int | str:
    """Return where the compiled function is, or why it cannot be compiled, after its name."""
    with compiling(long="numba" not in sys.modules, what=LOADING):
        import numba

    signature = numba.float64(*[numba.float64] * n_arguments)
    try:
        with compiling(long=True):
            made = numba.cfunc(signature, error_model="numpy")(function)
    except numba.core.errors.NumbaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{function.__name__}: {next((line for line in lines if not line.startswith('Failed in')), lines[0])}"
    _compiled.append(made)
    address = made.address
    assert address is not None
    return address
