"""The CuPy backend. This version tells what is missing; its kernels are not written yet."""

from __future__ import annotations

from tinynet.backends.base import Backend
from tinynet.errors import BackendUnavailableError

_INSTALL = 'pip install "cupy-cuda13x[ctk]" (or "cupy-cuda12x[ctk]" for a driver of CUDA 12)'


def create() -> Backend:
    """Tell why the GPU cannot be used."""
    try:
        import cupy
    except ImportError as error:
        raise BackendUnavailableError(
            f"The backend 'cupy' needs CuPy, which does not import: {error}. Get it by: {_INSTALL}"
        ) from error
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendUnavailableError(
            f"The backend 'cupy' needs an NVIDIA GPU and its driver; CUDA says: {error}. "
            "Check that `nvidia-smi` lists a device, or use TINYNET_BACKEND=cpu."
        ) from error
    raise BackendUnavailableError(
        f"CuPy {cupy.__version__} sees {n_devices} CUDA device(s), but this version of tinynet has no CUDA kernels. "
        "Use TINYNET_BACKEND=cpu."
    )
