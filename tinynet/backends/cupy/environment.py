"""Whether CuPy can compute here: what is installed, what the driver can do, and the command that mends what is missing.

Nothing here imports CuPy before ``usable_cupy`` is called.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
from importlib import metadata
from types import ModuleType

from tinynet.base.errors import BackendUnavailableError

INSTALL = 'pip install "cupy-cuda13x[ctk]" (or "cupy-cuda12x[ctk]" for a driver of CUDA 12)'


DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
NO_DRIVER = f". It computes on an NVIDIA GPU only, of which this machine has no driver ({DRIVER}): without, use 'cpu'."


def has_driver() -> bool:
    """Tell whether there is a driver for NVIDIA GPUs here."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def cupy_distributions() -> list[str]:
    """Return the installed distributions that hold the module ``cupy``; more than one overwrite each other."""
    names = {(entry.name or "").lower() for entry in metadata.distributions()}
    return sorted(name for name in names if name == "cupy" or name.startswith(("cupy-cuda", "cupy-rocm")))


def conflict(found: list[str]) -> str | None:
    """Tell that several distributions hold the module ``cupy``, and what to do; None if it is one at most."""
    if len(found) < 2:
        return None
    return (
        f"{' and '.join(found)} overwrite each other's files. Remove them all and install one again: "
        f"pip uninstall {' '.join(found)}"
    )


def usable_cupy(device: int) -> ModuleType:
    """Return CuPy, or tell why it cannot compute on this device.

    Raises
    ------
    BackendUnavailableError
        If CuPy is not installed or installed twice, the driver or the device is missing, or the driver is too old.
    """
    clash = conflict(cupy_distributions())
    if clash is not None:
        raise BackendUnavailableError(f"The backend 'cupy' needs one CuPy; {clash}")
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise BackendUnavailableError(
            f"The backend 'cupy' needs CuPy, which does not import: {_one_line(error)}. Get it by: {INSTALL}"
            f"{'' if has_driver() else NO_DRIVER}"
        ) from error
    try:
        n_devices = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise BackendUnavailableError(f"{_driver_problem(cupy, error.status)} CUDA says: {error}.") from error
    except (RuntimeError, ImportError, OSError) as error:
        raise BackendUnavailableError(_libraries_problem(error)) from error
    if n_devices == 0:
        raise BackendUnavailableError(_no_device())
    if device >= n_devices:
        raise BackendUnavailableError(
            f"The backend 'cupy' was asked for GPU {device}; CUDA sees {n_devices}, counted from 0. Name another, as "
            "in backend='gpu:0', or check CUDA_VISIBLE_DEVICES."
        )
    return cupy


def check_libraries(cupy: ModuleType, device: int) -> None:
    """Compile and run a kernel and a product, so that a missing library is noticed before any training.

    Raises
    ------
    BackendUnavailableError
        If the compiler (NVRTC), its headers or cuBLAS are missing, or no code can be made for this device.
    """
    failures = (RuntimeError, ImportError, OSError, cupy.cuda.compiler.CompileException)
    with cupy.cuda.Device(device):
        try:
            kernels = importlib.import_module("tinynet_kernels.cuda")
            a = cupy.asarray([[3.0]], dtype="float32")
            squared, product = cupy.empty_like(a), cupy.empty_like(a)
            kernels.multiply(a, a, squared)
            kernels.linear_forward(a, a, None, product)
            results = cupy.concatenate([squared, product]).get().tolist()
        except failures as error:
            raise BackendUnavailableError(_libraries_problem(error)) from error
    if results != [[9.0], [9.0]]:
        raise BackendUnavailableError(
            f"The backend 'cupy' expects 3 * 3 to be 9 on GPU {device}; got {results}. The device or its driver is "
            "broken: check `nvidia-smi`."
        )


INSUFFICIENT_DRIVER = 35
"""What CUDA calls a driver that is too old, and one that is not there at all: ``cudaErrorInsufficientDriver``."""


def _driver_problem(cupy: ModuleType, error: int) -> str:
    """Tell what is wrong where CUDA does not even count devices; ``error`` is the number of its error."""
    driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    if error != INSUFFICIENT_DRIVER or not driver:
        return _no_device()
    # A driver serves all runtimes of its major version, so that a smaller minor one says nothing.
    ours, theirs = runtime // 1000, driver // 1000
    suits = f', or install a CuPy that suits it: pip install "cupy-cuda{theirs}x[ctk]"' if theirs < ours else ""
    return (
        f"The backend 'cupy' needs a driver for CUDA {ours}; the one here is for {version(driver)}. "
        f"Update the NVIDIA driver{suits}."
    )


def _libraries_problem(error: Exception) -> str:
    return (
        "The backend 'cupy' needs the CUDA libraries of CuPy's version: the runtime, NVRTC with the CUDA headers, and "
        f"cuBLAS. What fails: {_one_line(error)}. Get them by: {INSTALL}"
    )


def _no_device() -> str:
    return (
        "The backend 'cupy' needs an NVIDIA GPU and its driver. Check that `nvidia-smi` lists a device and that "
        "CUDA_VISIBLE_DEVICES does not hide it, or use TINYNET_BACKEND=cpu."
    )


def version(number: int) -> str:
    """Write a version of CUDA as people do.

    Examples
    --------
    >>> version(12080)
    '12.8'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def _one_line(error: Exception) -> str:
    """Return the words of an error, without CuPy's frame of equals signs."""
    return " ".join(word for word in str(error).split() if word.strip("="))
