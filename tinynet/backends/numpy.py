"""The NumPy backend: the reference kernels, nothing to install, nothing to compile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends import hostproducts
from tinynet.backends.base import Array, Backend, Derivatives, Granularity, Plan, State
from tinynet.backends.fusable import can_lower
from tinynet.backends.loop import LoopPlan
from tinynet.backends.second_order import takes_all_samples, whole_plan
from tinynet.base.arrays import refuse_cupy
from tinynet.program import BlocksOp, CustomOp, Program, Shape, all_ops


class HostBackend(Backend):
    """What the backends that compute in host memory share."""

    namespace = np
    reason: str
    """Why a program without user code runs kernel by kernel."""

    def __init__(self, kernels: ModuleType) -> None:
        self.kernels = kernels

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> NDArray[Any]:
        """Return a C-contiguous array; a copy only where one is needed."""
        return np.asarray(array, dtype=dtype, order="C")

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Return the array itself."""
        return np.asarray(array)

    def hold(self, **arrays: Array | None) -> tuple[Array | None, ...]:
        """Return the data as they are: plans read what lies on disk where it lies."""
        return tuple(arrays.values())

    def empty(self, shape: Shape, dtype: DTypeLike) -> NDArray[Any]:
        """Return an array with arbitrary contents."""
        return np.empty(shape, dtype)

    def synchronize(self) -> None:
        """Do nothing: the work is done when the call returns."""

    def admit(self, data: Any, name: str) -> Any:
        """Return the data; refuse CuPy's, which would have to be copied."""
        refuse_cupy(data, name)
        return data

    def using_threads(self, n: int | None) -> AbstractContextManager[None]:
        """Return a context in which matrix products use ``n`` threads; None leaves what is in force."""
        return hostproducts.at_most(n)

    def for_products(self, size: int) -> AbstractContextManager[None]:
        """Return a context for products of up to ``size`` multiplications; see ``Backend.for_products``."""
        return hostproducts.for_products(size)

    def derivatives(self, program: Program, state: State) -> Derivatives:
        """Return what derives the predictions; see ``Backend.derivatives``."""
        from tinynet.backends.derivatives import derivatives_of  # Few who predict want them.

        return derivatives_of(program, self, state)

    def mapped_plan(self, program: Program, rest: Plan) -> Plan:
        """Return the plan of a program that ends in maps, of which ``rest`` computes what these read."""
        from tinynet.backends.mapped import MappedPlan

        return MappedPlan(program, self, rest)

    def members_plan(self, program: Program, granularity: Granularity) -> Plan:
        """Return the plan that takes many models one by one."""
        from tinynet.backends.members import MembersPlan

        return MembersPlan(program, self, granularity)

    def plan(self, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return a plan for the program."""
        self.check_precision(program.precision)
        if program.predicts_by_maps:
            return self.mapped_plan(program, self.plan(program.before_maps, granularity=granularity, streamed=streamed))
        if takes_all_samples(program):
            return whole_plan(program, self, granularity)
        if program.n_models is not None:
            return self.members_plan(program, granularity)
        return LoopPlan(program, self, slow_reason(program, granularity) or frozen_reason(program) or self.reason)


def slow_reason(program: Program, granularity: Granularity, written: Callable[..., bool] = can_lower) -> str | None:
    """Tell why a program can only run kernel by kernel, if it is so; ``written`` tells what fused code is there for."""
    for op in all_ops(program.ops):
        if isinstance(op, CustomOp):
            return f"custom layer {type(op.layer).__name__}"
        if isinstance(op, BlocksOp):
            return f"several outputs for each target ({op.kind}), under another loss than theirs or within the network"
    for op in program.ops:
        if not written(op):
            return f"{type(op).__name__.removesuffix('Op')} goes kernel by kernel"
    if program.loss is not None and program.loss.custom is not None:
        return f"custom loss {type(program.loss.custom).__name__}"
    if granularity == "step":
        return "one update at a time was asked for"
    return None


def frozen_reason(program: Program) -> str | None:
    """Tell which layers are frozen, where a plan trains all or none."""
    if not program.frozen:
        return None
    return f"frozen layer{'s' * (len(program.frozen) > 1)} {', '.join(map(str, program.frozen))}"


def decay_reason(program: Program) -> str | None:
    """Tell that parameters have weight decays of their own, where a plan has one for all."""
    return "weight decay by parameter" if program.decays else None


def slopes_reason(program: Program) -> str | None:
    """Tell of a loss of slopes, where a plan knows none."""
    return "a loss of slopes" if program.reads_slopes else None


class NumPyBackend(HostBackend):
    """Reference kernels on NumPy arrays."""

    name = "numpy"
    reason = "the NumPy backend"


def create() -> Backend:
    """Return the backend."""
    import tinynet_kernels.reference

    return NumPyBackend(tinynet_kernels.reference)
