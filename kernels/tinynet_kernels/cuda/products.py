"""Products of matrices by cuBLAS, each in a precision of its own.

``cupy.matmul`` takes its precision from a setting of the whole process, which ``CUPY_TF32=1`` changes too, and which
has no bfloat16 for float32 arrays: in CuPy 14.2, ``COMPUTE_TYPE_BF16`` leaves its products as they are. ``gemmEx``
takes the precision with each call. So no setting is touched, no thread disturbs another, and there is nothing to
restore.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy.cuda import cublas, device, runtime

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.models import step

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

COMPUTE_TYPES: dict[tuple[str, np.dtype[Any]], int] = {
    ("float32", _FLOAT32): cublas.CUBLAS_COMPUTE_32F,
    ("float32", _FLOAT64): cublas.CUBLAS_COMPUTE_64F,
    ("tf32", _FLOAT32): cublas.CUBLAS_COMPUTE_32F_FAST_TF32,
    ("bf16", _FLOAT32): cublas.CUBLAS_COMPUTE_32F_FAST_16BF,
}
"""What cuBLAS computes in, by precision and dtype. Whatever factors are rounded to, sums and results are float32.

cuBLAS may do better than it is allowed to: where it has no kernel for tensor cores, products are those of float32.
NVIDIA, cuBLAS documentation, ``cublasGemmEx`` and ``cublasComputeType_t``.
"""

_TYPES: dict[np.dtype[Any], int] = {_FLOAT32: runtime.CUDA_R_32F, _FLOAT64: runtime.CUDA_R_64F}


class _Factors:
    """Two numbers in host memory, from where cuBLAS reads them while it is called."""

    def __init__(self, alpha: float, beta: float, dtype: np.dtype[Any]) -> None:
        self._numbers = np.array([alpha, beta], dtype)
        self.alpha: int = self._numbers.ctypes.data
        self.beta: int = self.alpha + dtype.itemsize


_PLAIN = {dtype: _Factors(1.0, 0.0, dtype) for dtype in _TYPES}


def product(
    a: DeviceArray,
    b: DeviceArray,
    out: DeviceArray,
    precision: str = "float32",
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """Compute ``out = alpha * a @ b + beta * out``.

    Parameters
    ----------
    a : ([n_models,] n, k) array
        C-contiguous, or the transpose of what is; of many models, this holds for each. What has no axis of models is a
        factor for all of them.
    b : ([n_models,] k, m) array
        Likewise.
    out : ([n_models,] n, m) array
        C-contiguous, and apart from ``a`` and ``b``; it is not read where ``beta`` is 0.
    precision : {"float32", "tf32", "bf16"}
        What the numbers of ``a`` and ``b`` may be rounded to; "float32" is the precision of the arrays.
    alpha, beta : float
    """
    dtype, (rows, inner), columns = out.dtype, a.shape[-2:], b.shape[-1]
    if not inner:
        # Whether cuBLAS writes anything for an empty sum, its documentation does not say.
        if beta:
            out *= beta
        else:
            out.fill(0)
        return
    factors = _PLAIN[dtype] if alpha == 1.0 and beta == 0.0 else _Factors(alpha, beta, dtype)
    # cuBLAS counts down the columns first, so that to it a C-contiguous array is its transpose: out.T = b.T @ a.T.
    (transpose_b, leading_b), (transpose_a, leading_a), kind = _operand(b), _operand(a), _TYPES[dtype]
    if out.ndim > 2:
        if _operand(out)[0] == cublas.CUBLAS_OP_T:
            raise ValueError(f"a product of many models is written to C-contiguous arrays; got strides {out.strides}.")
        cublas.gemmStridedBatchedEx(
            *(device.get_cublas_handle(), transpose_b, transpose_a, columns, rows, inner),
            *(factors.alpha, b.data.ptr, kind, leading_b, step(b, 2), a.data.ptr, kind, leading_a, step(a, 2)),
            *(factors.beta, out.data.ptr, kind, columns, step(out, 2), len(out)),
            *(COMPUTE_TYPES[precision, dtype], cublas.CUBLAS_GEMM_DEFAULT),
        )
        return
    cublas.gemmEx(
        *(device.get_cublas_handle(), transpose_b, transpose_a, columns, rows, inner),
        *(factors.alpha, b.data.ptr, kind, leading_b, a.data.ptr, kind, leading_a),
        *(factors.beta, out.data.ptr, kind, columns, COMPUTE_TYPES[precision, dtype], cublas.CUBLAS_GEMM_DEFAULT),
    )


def _operand(x: DeviceArray) -> tuple[int, int]:
    """Return how cuBLAS gets at the transpose of an array, and the length of what lies together in memory."""
    rows, columns = x.shape[-2:]
    down, along = (stride // x.itemsize for stride in x.strides[-2:])
    # Where there is only one, the step to the next says nothing; where there is none, no step does.
    if not x.size or ((columns == 1 or along == 1) and (rows == 1 or down == columns)):
        return cublas.CUBLAS_OP_N, columns
    if (rows == 1 or down == 1) and (columns == 1 or along == rows):
        return cublas.CUBLAS_OP_T, rows
    raise ValueError(
        f"a product expects arrays that are contiguous, or whose transpose is; got shape {x.shape} with strides "
        f"{x.strides}. Copy it first."
    )
