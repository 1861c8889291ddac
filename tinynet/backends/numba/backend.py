"""The Numba backend: kernels compiled for this processor, matrix products through BLAS."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

from tinynet_kernels.cpu.generated.compiler import host

from tinynet.backends.base import Array, Backend, Derivatives, Granularity, Plan, State
from tinynet.backends.compiling import described_cache
from tinynet.backends.fusable import can_generate, can_lower
from tinynet.backends.loop import LoopPlan
from tinynet.backends.numba.generated import GeneratedPlan, lacking_reason, learns_slopes
from tinynet.backends.numpy import HostBackend, frozen_reason, slopes_reason, slow_reason
from tinynet.backends.second_order import takes_all_samples, whole_plan
from tinynet.backends.standardising import StandardisedPlan, begins_standardising
from tinynet.base.errors import BackendUnavailableError
from tinynet.base.kept import Kept
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet_kernels.cpu.generated.derivatives import Derivatives as GeneratedDerivative

    from tinynet.backends.second_order.equations import Equations

KEPT_DERIVATIVES = 64
"""Tables of derivatives that are kept."""

VECTOR_FEATURES = ("+sse", "+avx", "+fma", "+neon", "+sve")
"""How LLVM's names of what vector registers can do begin."""


class NumbaBackend(HostBackend):
    """Compiled kernels on NumPy arrays."""

    name = "numba"

    def describe(self) -> dict[str, str]:
        """Return what code is made for, and where it is kept."""
        target = host()
        features = [name[1:] for name in target.features.split(",") if name.startswith(VECTOR_FEATURES)]
        registers = f"{target.registers} registers of {target.vector_bytes} bytes"
        return {"code for": f"{target.cpu}, {registers} ({' '.join(features)})", "kept in": described_cache()}

    def __init__(self, kernels: ModuleType) -> None:
        super().__init__(kernels)
        self._generated: Kept[GeneratedDerivative | None] = Kept(most=KEPT_DERIVATIVES)

    def _derivative(self, program: Program, name: str) -> GeneratedDerivative | None:
        """Return a derivative of predictions in generated code, by its name; None where there is none."""
        if sys.maxsize <= 1 << 32:
            return None
        from tinynet.backends.numba.derivatives import generated

        return self._generated.made((name, program.ops), lambda: generated(program, name))

    def derivatives(self, program: Program, state: State) -> Derivatives:
        """Return what derives the predictions; see ``Backend.derivatives``."""
        from tinynet.backends.numba.derivatives import GeneratedDerivatives

        return GeneratedDerivatives(program, self, state, partial(self._derivative, program))

    def derivative_of_few(self, name: str, program: Program, state: State) -> Callable[..., Array | None]:
        """Return the shortest way to a derivative; see ``Backend.derivative_of_few``."""
        derivative = self._derivative(program, name)
        if derivative is None:
            return super().derivative_of_few(name, program, state)
        from tinynet.backends.numba.derivatives import shortest

        return shortest(program, state, derivative)

    @staticmethod
    def _with_calls(program: Program) -> tuple[Program, str | None]:
        """Return a program with what Numba compiles of it in the place of Python, and why that cannot be."""
        if not any(hasattr(part, "scalar_functions") for part in program.user_code):
            return program, None
        from tinynet.backends.numba.scalars import with_calls

        return with_calls(program)

    def plan(self, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return a fused plan where the program needs no Python inside."""
        self.check_precision(program.precision)
        if program.predicts_by_maps:
            return self.mapped_plan(program, self.plan(program.before_maps, granularity=granularity, streamed=streamed))
        program, lacking = self._with_calls(program)
        written = can_generate if program.n_models is None else can_lower
        reason = slow_reason(program, granularity, written)
        if reason is not None and lacking is not None:
            reason = f"{reason}: {lacking}"
        if takes_all_samples(program):
            return whole_plan(program, self, granularity, self._equations)
        if sys.maxsize <= 1 << 32:
            reason = reason or "generated code needs a processor of 64 bits"
        if program.n_models is None:
            reason = reason or lacking_reason(program)
            if reason is None and not learns_slopes(program):
                reason = slopes_reason(program)
            return GeneratedPlan(program, self) if reason is None else LoopPlan(program, self, reason)
        reason = reason or slopes_reason(program) or frozen_reason(program)
        if begins_standardising(program):
            rest = self.plan(replace(program, standardised=True), granularity=granularity)
            return StandardisedPlan(program, self, rest, self.members_plan(program, granularity))
        return self._plan_of_many(program, granularity, reason)

    def _equations(self, program: Program) -> Equations | None:
        """Return normal equations in generated code, where a program has nothing that it lacks."""
        from tinynet.backends.second_order.generated import GeneratedEquations, fits

        return GeneratedEquations(program) if fits(program) else None

    def _plan_of_many(self, program: Program, granularity: Granularity, reason: str | None) -> Plan:
        """Return the quickest plan for many models."""
        from tinynet.backends.numba import lanes  # Much, which one model alone does without.

        if reason is not None or not lanes.fits(program):
            return self.members_plan(program, granularity)
        return lanes.LanesPlan(program, self)


def create() -> Backend:
    """Return the backend, or tell why it does not run here.

    Numba itself takes a second to import, so that comes with the first function that it compiles; here it is only seen
    whether it is installed.
    """
    for name in ("numba", "llvmlite"):
        if not _is_installed(name):
            raise BackendUnavailableError(
                f"The backend 'numba' needs {name}, which is not installed. Get it by: pip install numba"
            )
    import tinynet_kernels.cpu

    return NumbaBackend(tinynet_kernels.cpu)


def _is_installed(name: str) -> bool:
    """Whether a package can be found; one whose place in ``sys.modules`` holds None has been ruled out."""
    return sys.modules.get(name, name) is not None and (name in sys.modules or find_spec(name) is not None)
