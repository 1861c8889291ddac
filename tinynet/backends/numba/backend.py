"""The Numba backend: kernels compiled for this processor, matrix products through BLAS."""

from __future__ import annotations

from tinynet.backends import get_backend
from tinynet.backends.base import Backend, Granularity, Plan
from tinynet.backends.loop import LoopPlan
from tinynet.backends.members import MembersPlan
from tinynet.backends.numpy import HostBackend, slow_reason
from tinynet.backends.second_order import takes_all_samples, whole_plan
from tinynet.base import config
from tinynet.base.errors import BackendUnavailableError
from tinynet.program import Program


class NumbaBackend(HostBackend):
    """Compiled kernels on NumPy arrays."""

    name = "numba"

    def plan(self, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return a fused plan where the program needs no Python inside."""
        from tinynet.backends.numba.fused import FusedForward, FusedPlan
        from tinynet.backends.numba.lanes import LanesPlan, fits

        self.check_precision(program.precision)
        reason = slow_reason(program, granularity)
        trains = program.loss is not None and program.optimizer is not None
        if takes_all_samples(program):
            return whole_plan(program, self) if program.n_models is None else MembersPlan(program, self, granularity)
        if program.n_models is not None:
            if reason is not None or not fits(program):
                return MembersPlan(program, self, granularity)
            lanes = LanesPlan(program, self)
            if config.compiles_in_background():
                from tinynet.backends.numba.warming import WarmingLanes

                return WarmingLanes(lanes, MembersPlan(program, get_backend("numpy"), granularity))
            return lanes
        if reason is None and trains and program.specialize == "nothing":
            reason = "too few updates to compile a function for"
        if reason is not None:
            return LoopPlan(program, self, reason)
        plan = FusedPlan(program, self) if trains else FusedForward(program, self)
        if config.compiles_in_background():
            from tinynet.backends.numba.warming import WarmingPlan

            return WarmingPlan(plan, LoopPlan(program, get_backend("numpy"), "not compiled yet"))
        return plan


def create() -> Backend:
    """Return the backend, or tell why Numba does not run here."""
    try:
        import numba  # noqa: F401 - only whether it imports: an error in our own kernels must not pass for its absence
    except ImportError as error:
        raise BackendUnavailableError(
            f"The backend 'numba' needs Numba, which does not import: {error}. Get it by: pip install numba"
        ) from error
    import tinynet_kernels.cpu

    return NumbaBackend(tinynet_kernels.cpu)
