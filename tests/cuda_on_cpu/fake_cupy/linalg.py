"""Products of matrices, with the conditions on which CuPy hands them to cuBLAS as they are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .array import apply, check_operands, ndarray, new, submit
from .cublas import refuse_capture, rounded
from .machine import current

COMPUTE_TYPE_TBD, COMPUTE_TYPE_DEFAULT, COMPUTE_TYPE_PEDANTIC = 0, 1, 2
COMPUTE_TYPE_BF16, COMPUTE_TYPE_TF32 = 6, 7


def get_compute_type(dtype: DTypeLike) -> int:
    """Return what ``matmul`` computes products of a dtype in: ``cupy._core.get_compute_type``.

    The setting is the process's, and ``CUPY_TF32`` is what it starts from for float32.
    """
    found, name = current().compute_types, np.dtype(dtype).name
    if found.get(name, COMPUTE_TYPE_TBD) == COMPUTE_TYPE_TBD:
        tf32 = name == "float32" and int(os.getenv("CUPY_TF32", "0")) > 0
        set_compute_type(dtype, COMPUTE_TYPE_TF32 if tf32 else COMPUTE_TYPE_DEFAULT)
    return found[name]


def set_compute_type(dtype: DTypeLike, compute_type: int) -> None:
    """Choose what ``matmul`` computes products of a dtype in: ``cupy._core.set_compute_type``."""
    if compute_type not in range(8):
        raise ValueError(f"Unknown compute type: {compute_type}")
    if compute_type in (COMPUTE_TYPE_BF16, COMPUTE_TYPE_TF32) and int(current().compute_capability) < 80:
        warnings.warn(
            "COMPUTE_TYPE_BF16 and COMPUTE_TYPE_TF32 are only available on GPUs with compute capability 8.0 or "
            "higher. COMPUTE_TYPE_DEFAULT will be used instead.",
            stacklevel=2,
        )
        compute_type = COMPUTE_TYPE_DEFAULT
    current().compute_types[np.dtype(dtype).name] = compute_type


def _matmul(a: NDArray[Any], b: NDArray[Any], bits: int | None) -> NDArray[Any]:
    result: NDArray[Any] = np.matmul(a, b) if bits is None else np.matmul(rounded(a, bits), rounded(b, bits))
    return result


def _bits(dtype: np.dtype[Any]) -> int | None:
    """Return to how many bits ``matmul`` rounds factors: for float32 CuPy 14.2 knows TF32, but not BF16."""
    return 10 if dtype == np.float32 and get_compute_type(dtype) == COMPUTE_TYPE_TF32 else None


def _count_copies(*operands: ndarray) -> None:
    """Note the operands that CuPy copies first, because cuBLAS cannot read them where they lie."""
    for operand in operands:
        if operand.ndim == 2 and operand.size and not operand.flags.forc:
            current().statistics["copies of operands"] += 1


def _overlap(a: ndarray, b: ndarray) -> bool:
    return bool(np.may_share_memory(a._host, b._host))


def matmul(a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
    """Return ``a @ b``.

    ``out`` goes to cuBLAS itself if it is C-contiguous, of the promoted dtype and apart from the operands; otherwise
    CuPy computes elsewhere and copies, which ``machine.statistics["copies of results"]`` counts.
    """
    check_operands([a, b])
    if not (isinstance(a, ndarray) and isinstance(b, ndarray)) or a.ndim == 0 or b.ndim == 0:
        raise ValueError("matmul: Input operand does not have enough dimensions")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
    pattern = np.matmul(*(np.broadcast_to(np.zeros((), x.dtype), x.shape) for x in (a, b)))
    dtype, shape = pattern.dtype, pattern.shape
    dot_product = max(a.ndim, b.ndim) <= 2 and pattern.size == 1
    if dtype.kind == "f" and pattern.size and a.shape[-1] and not dot_product:
        refuse_capture()
        _count_copies(a, b)
    bits = _bits(dtype)
    if out is None:
        return apply(lambda x, y: _matmul(x, y, bits), a, b)
    if not isinstance(out, ndarray):
        raise TypeError(f"return arrays must be of ndarray type; got {type(out)}")
    if out.shape != shape:
        raise ValueError(f"Output array has an invalid size: expected {shape}; got {out.shape}")
    if not (out.flags.c_contiguous and out.dtype == dtype) or _overlap(out, a) or _overlap(out, b):
        current().statistics["copies of results"] += 1
        if not np.can_cast(dtype, out.dtype, "same_kind"):
            raise TypeError(f"cannot cast the product of dtype {dtype} to {out.dtype}")
        out[...] = apply(lambda x, y: _matmul(x, y, bits), a, b)
        return out
    submit(lambda target, left, right: np.copyto(target, _matmul(left, right, bits)), out, a, b)
    return out


def cholesky(a: ndarray) -> ndarray:
    """Return the lower factors of symmetric matrices.

    Where there is none, what cuSOLVER leaves behind is invalid, and nobody is told: here it is ones.
    """
    check_operands([a])
    refuse_capture()
    return apply(lambda matrices: _each(np.linalg.cholesky, matrices, np.tril(np.ones_like(matrices))), a)


def inv(a: ndarray) -> ndarray:
    """Return the inverses of matrices; where there is none, nobody is told either."""
    check_operands([a])
    refuse_capture()
    return apply(lambda matrices: _each(np.linalg.inv, matrices, np.ones_like(matrices)), a)


def _each(
    function: Callable[[NDArray[Any]], NDArray[Any]], matrices: NDArray[Any], found: NDArray[Any]
) -> NDArray[Any]:
    for place in np.ndindex(matrices.shape[:-2]):
        with suppress(np.linalg.LinAlgError):
            found[place] = function(matrices[place])
    return found


def dot(a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
    """Return the product of two arrays of at most two dimensions; ``out`` must be C-contiguous and of its dtype."""
    check_operands([a, b])
    if out is not None and not out.flags.c_contiguous:
        raise ValueError("Output array must be C-contiguous")
    if out is not None and out.dtype != np.promote_types(a.dtype, b.dtype):
        raise AssertionError("out must be of the product's dtype")
    if a.ndim == 0 or b.ndim == 0:
        return apply(np.multiply, a, b, out=out)
    return matmul(a, b, out)


def outer(a: ndarray, b: ndarray, out: ndarray | None = None) -> ndarray:
    """Return the outer product of two vectors."""
    return matmul(a.reshape(-1, 1), b.reshape(1, -1), out)


def tensordot(a: ndarray, b: ndarray, axes: Any = 2) -> ndarray:
    """Return the product over some axes."""
    refuse_capture()
    return apply(lambda x, y: np.tensordot(x, y, axes), a, b)


def gemm(
    transa: str, transb: str, a: ndarray, b: ndarray, out: ndarray | None = None, alpha: float = 1.0, beta: float = 0.0
) -> ndarray:
    """Return ``alpha * op(a) @ op(b) + beta * out``: ``cupy.cublas.gemm``."""
    assert a.ndim == b.ndim == 2
    assert a.dtype == b.dtype
    if a.dtype.kind not in "fc" or a.dtype == np.float16:
        raise TypeError("invalid dtype")
    refuse_capture()
    left, right = (x if flag == "N" else x.T for flag, x in ((transa, a), (transb, b)))
    shape = left.shape[0], right.shape[1]
    assert left.shape[1] == right.shape[0]
    if out is None:
        out, beta = new(shape, a.dtype, order="F"), 0.0
    assert out.shape == shape
    assert out.dtype == a.dtype
    _count_copies(a, b)
    if not out.flags.forc:
        current().statistics["copies of results"] += 1
    scale, keep = a.dtype.type(alpha), a.dtype.type(beta)

    def run(target: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> None:
        product = scale * np.matmul(x, y)
        target[...] = product if keep == 0 else product + keep * target  # cuBLAS does not read out if beta is 0.

    submit(run, out, left, right)
    return out
