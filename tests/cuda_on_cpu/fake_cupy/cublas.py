"""``cupy.cuda.cublas``: the products of cuBLAS that tinynet calls by itself, on addresses, as cuBLAS has them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import CUBLASError, CUDADriverError
from .machine import Allocation, current
from .runtime import CUDA_R_32F, CUDA_R_64F
from .streams import get_current_stream

CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
CUBLAS_GEMM_DEFAULT = -1
CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_64F = 68, 70
CUBLAS_COMPUTE_32F_FAST_16BF, CUBLAS_COMPUTE_32F_FAST_TF32 = 75, 77

PUBLIC = (
    *("CUBLAS_OP_N", "CUBLAS_OP_T", "CUBLAS_GEMM_DEFAULT", "CUBLAS_COMPUTE_32F", "CUBLAS_COMPUTE_64F"),
    *("CUBLAS_COMPUTE_32F_FAST_16BF", "CUBLAS_COMPUTE_32F_FAST_TF32", "CUBLASError"),
    *("gemmEx", "gemmStridedBatchedEx", "getVersion"),
)
"""What ``cupy.cuda.cublas`` has here."""

_COMPUTED: dict[int, tuple[int, int | None]] = {
    CUBLAS_COMPUTE_32F: (CUDA_R_32F, None),
    CUBLAS_COMPUTE_64F: (CUDA_R_64F, None),
    CUBLAS_COMPUTE_32F_FAST_TF32: (CUDA_R_32F, 10),
    CUBLAS_COMPUTE_32F_FAST_16BF: (CUDA_R_32F, 7),
}
"""The type of arrays that each type of computation is for, and the bits of mantissa that are left of factors."""

_DTYPES = {CUDA_R_32F: np.dtype(np.float32), CUDA_R_64F: np.dtype(np.float64)}
_FIRST_HANDLE = 0xB1A5


def get_cublas_handle() -> int:
    """Return the handle of the current device."""
    current().check_driver()
    return _FIRST_HANDLE + current().device_id


def getVersion(handle: int) -> int:
    return 130100


def refuse_capture() -> None:
    """Raise CuPy's error where the current stream is capturing."""
    if get_current_stream().is_capturing():
        raise NotImplementedError(
            "calling cuBLAS API during stream capture is currently unsupported. See https://github.com/cupy/cupy/issues/6290"
        )


def rounded(x: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """Return float32 numbers rounded to the nearest with so many bits of mantissa after the point, ties to even."""
    dropped = 23 - bits
    whole = np.ascontiguousarray(x, np.float32).view(np.uint32)
    half = np.uint32((1 << (dropped - 1)) - 1) + ((whole >> np.uint32(dropped)) & np.uint32(1))
    kept = (whole + half) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return np.where(np.isfinite(x), kept.view(np.float32), x)


def gemmEx(
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    B: int,
    Btype: int,
    ldb: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    computeType: int,
    algo: int,
) -> None:
    """Compute ``C = alpha * op(A) @ op(B) + beta * C`` on the current stream; all matrices count down columns first.

    ``alpha`` and ``beta`` are addresses in host memory, which are read before the call returns.
    """
    operands = (A, Atype, lda, 0), (B, Btype, ldb, 0), (C, Ctype, ldc, 0)
    _multiply(handle, (transa, transb), (m, n, k), (alpha, beta), operands, 1, computeType, algo)


def gemmStridedBatchedEx(
    handle: int,
    transa: int,
    transb: int,
    m: int,
    n: int,
    k: int,
    alpha: int,
    A: int,
    Atype: int,
    lda: int,
    strideA: int,
    B: int,
    Btype: int,
    ldb: int,
    strideB: int,
    beta: int,
    C: int,
    Ctype: int,
    ldc: int,
    strideC: int,
    batchCount: int,
    computeType: int,
    algo: int,
) -> None:
    """Compute as ``gemmEx`` does, ``batchCount`` times; strides are in elements from one matrix to the next.

    A stride of 0 makes one A or B serve all; the matrices C must not overlap.
    """
    operands = (A, Atype, lda, strideA), (B, Btype, ldb, strideB), (C, Ctype, ldc, strideC)
    if batchCount < 0 or min(strideA, strideB) < 0 or (batchCount > 1 and strideC < (n - 1) * ldc + m):
        raise CUBLASError(7, f"{batchCount} products with strides {strideA}, {strideB}, {strideC}")
    _multiply(handle, (transa, transb), (m, n, k), (alpha, beta), operands, batchCount, computeType, algo)


Operand = tuple[int, int, int, int]
"""Address, type, leading dimension and stride."""


def _multiply(
    handle: int,
    transposed: tuple[int, int],
    sizes: tuple[int, int, int],
    factors: tuple[int, int],
    operands: tuple[Operand, Operand, Operand],
    count: int,
    compute_type: int,
    algo: int,
) -> None:
    """Check what cuBLAS checks, and what it does not, and queue the products."""
    refuse_capture()
    device_id = current().device_id
    if handle != _FIRST_HANDLE + device_id:
        raise CUBLASError(1, f"the handle {handle:#x} is not that of device {device_id}")
    types = [kind for _, kind, _, _ in operands]
    if compute_type not in _COMPUTED or set(types) != {_COMPUTED[compute_type][0]}:
        raise CUBLASError(15, f"arrays of types {', '.join(map(str, types))} in compute type {compute_type}")
    kind, bits = _COMPUTED[compute_type]
    if bits is not None and int(current().compute_capability) < 80:
        raise CUBLASError(8, f"compute type {compute_type} on {current().compute_capability}")
    if algo != CUBLAS_GEMM_DEFAULT or set(transposed) - {CUBLAS_OP_N, CUBLAS_OP_T}:
        raise CUBLASError(7)
    (m, n, k), (transpose_a, transpose_b) = sizes, transposed
    shapes = (k, m) if transpose_a else (m, k), (n, k) if transpose_b else (k, n), (m, n)
    for name, (rows, _), (_, _, leading, _) in zip(("lda", "ldb", "ldc"), shapes, operands, strict=True):
        if min(sizes) < 0 or leading < max(1, rows):
            raise CUBLASError(7, f"{name} is {leading} for {rows} rows")
    dtype = _DTYPES[kind]
    scale, keep = (np.frombuffer(ctypes.string_at(address, dtype.itemsize), dtype)[0] for address in factors)
    if not (m and n and count):
        return
    found = [
        _matrices(address, (count, *shape), leading, stride, dtype)
        for shape, (address, _, leading, stride) in zip(shapes, operands, strict=True)
    ]
    (a, _), (b, _), (c, _) = found
    if np.may_share_memory(a, c) or np.may_share_memory(b, c):
        raise CUBLASError(7, "C overlaps A or B")

    def run() -> None:
        left, right = (x.swapaxes(1, 2) if flag else x for x, flag in ((a, transpose_a), (b, transpose_b)))
        if bits is not None:
            left, right = rounded(left, bits), rounded(right, bits)
        for x, y, out in zip(left, right, c, strict=True):  # Each as it would be alone, to the last bit.
            result = scale * np.matmul(x, y)
            out[...] = result if keep == 0 else result + keep * out  # cuBLAS does not read C if beta is 0.

    get_current_stream()._queue.submit(run, [allocation for _, allocation in found])


def _matrices(
    address: int, shape: tuple[int, int, int], leading: int, stride: int, dtype: np.dtype[Any]
) -> tuple[NDArray[Any], Allocation]:
    """Return matrices in the memory of the current device, all of which must be an array's."""
    allocation = current().allocation_at(address)
    if allocation is None:
        raise CUDADriverError(700, f"a product of a matrix at {address:#x}, where no array lies")
    if allocation.device_id != current().device_id:
        raise CUDADriverError(700, f"a product on device {current().device_id} of an array on {allocation.device_id}")
    memory = allocation.block.memory
    offset, (count, rows, columns) = address - memory.ctypes.data, shape
    last = (count - 1) * stride + (columns - 1) * leading + rows
    if offset % dtype.itemsize or offset + last * dtype.itemsize > memory.size:
        raise CUDADriverError(700, f"a product of a matrix {shape[1:]} that ends behind its array")
    strides = tuple(step * dtype.itemsize for step in (stride, 1, leading))
    return np.ndarray(shape, dtype, memory.data, offset, strides), allocation
