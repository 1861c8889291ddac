"""The Numba backend: kernels compiled for this processor, matrix products through BLAS."""

from __future__ import annotations

from tinynet.backends.base import Backend, Granularity, Plan
from tinynet.backends.loop import LoopPlan
from tinynet.backends.numpy import HostBackend, slow_reason
from tinynet.errors import BackendUnavailableError
from tinynet.program import Program


class NumbaBackend(HostBackend):
    """Compiled kernels on NumPy arrays."""

    name = "numba"

    def plan(self, program: Program, *, granularity: Granularity = "epoch") -> Plan:
        """Return a fused plan where the program trains and needs no Python inside."""
        from tinynet.backends.fused import FusedPlan

        reason = slow_reason(program, granularity)
        if reason is None and (program.loss is None or program.optimizer is None):
            reason = "nothing to train"
        return FusedPlan(program, self) if reason is None else LoopPlan(program, self, reason)


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
