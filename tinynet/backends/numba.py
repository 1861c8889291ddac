"""The Numba backend: kernels compiled for this processor, matrix products through BLAS."""

from __future__ import annotations

from tinynet.backends.base import Backend
from tinynet.backends.numpy import HostBackend
from tinynet.errors import BackendUnavailableError


class NumbaBackend(HostBackend):
    """Compiled kernels on NumPy arrays."""

    name = "numba"
    reason = "compiled kernels, one call each"


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
