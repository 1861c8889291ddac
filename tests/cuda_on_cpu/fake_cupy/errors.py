"""CUDA's errors, with CuPy's names and words; and the stand-in's own."""

from __future__ import annotations

_RUNTIME = {
    1: ("cudaErrorInvalidValue", "invalid argument"),
    2: ("cudaErrorMemoryAllocation", "out of memory"),
    3: ("cudaErrorInitializationError", "initialization error"),
    35: ("cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"),
    46: ("cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"),
    100: ("cudaErrorNoDevice", "no CUDA-capable device is detected"),
    101: ("cudaErrorInvalidDevice", "invalid device ordinal"),
    400: ("cudaErrorInvalidResourceHandle", "invalid resource handle"),
    600: ("cudaErrorNotReady", "device not ready"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    719: ("cudaErrorLaunchFailure", "unspecified launch failure"),
    900: ("cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"),
    901: ("cudaErrorStreamCaptureInvalidated", "operation failed due to a previous error during capture"),
    905: ("cudaErrorStreamCaptureIsolation", "dependency created on uncaptured work in another stream"),
    906: (
        "cudaErrorStreamCaptureImplicit",
        "operation would make the legacy stream depend on a capturing blocking stream",
    ),
    907: ("cudaErrorCapturedEvent", "operation not permitted on an event last recorded in a capturing stream"),
}
_DRIVER = {
    1: ("CUDA_ERROR_INVALID_VALUE", "invalid argument"),
    100: ("CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"),
    209: ("CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"),
    500: ("CUDA_ERROR_NOT_FOUND", "named symbol not found"),
    700: ("CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"),
    701: ("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"),
    900: ("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"),
}


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime, by its number."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__("{}: {}".format(*_RUNTIME[status]))


class CUDADriverError(RuntimeError):
    """An error of the CUDA driver, by its number; ``detail`` is the stand-in's, for the reader of a failed test."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        super().__init__("{}: {}".format(*_DRIVER[status]) + (f" [{detail}]" if detail else ""))


_CUBLAS = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
}


class CUBLASError(RuntimeError):
    """An error of cuBLAS, by its number; ``detail`` is the stand-in's."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        super().__init__(_CUBLAS[status] + (f" [{detail}]" if detail else ""))


_NCCL = {
    4: "NCCL_ERROR_INVALID_ARGUMENT: invalid argument",
    5: "NCCL_ERROR_INVALID_USAGE: invalid usage",
}


class NcclError(RuntimeError):
    """An error of NCCL, by its number; ``detail`` is the stand-in's."""

    def __init__(self, status: int, detail: str = "") -> None:
        self.status = status
        super().__init__(_NCCL[status] + (f" [{detail}]" if detail else ""))


class OutOfMemoryError(MemoryError):
    """No room on the device."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(text + (f", limit set to: {limit:,} bytes)." if limit else ")."))


class CompileException(Exception):
    """The compiler's words about a source."""


class OutOfBoundsError(RuntimeError):
    """Something wrote before or behind an array: the stand-in sees what a GPU would let pass."""


class PendingCopyError(RuntimeError):
    """Pinned memory was written to while a copy from it had yet to be done."""


class FreedMemoryError(RuntimeError):
    """A graph replays work on an array that has been freed since its capture."""
