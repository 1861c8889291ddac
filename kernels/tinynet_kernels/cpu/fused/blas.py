"""Matrix products from inside compiled code, on the BLAS that SciPy brings."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import linalg

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import inlined
from tinynet_kernels.cpu.generic import instruction

_KINDS = {types.float32: "s", types.float64: "d"}


@instruction
def _xxgemm(
    typing_context: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, b: Any, beta: Any, c: Any
) -> Any:
    """Call Numba's own entry to BLAS: unlike a pointer made by ctypes, it leaves the function cacheable on disk."""
    linalg.ensure_blas()
    integer = types.intp
    signature = types.none(types.boolean, types.boolean, integer, integer, integer, c.dtype, a, b, c.dtype, c)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        transpose_a, transpose_b, rows, columns, inner, factor, left, right, keep, out = arguments
        char, word, pointer = ir.IntType(8), ir.IntType(cgutils.intp_t.width), cgutils.voidptr_t
        function_type = ir.FunctionType(
            ir.IntType(32),
            [char, char, char, word, word, word, pointer, pointer, word, pointer, word, pointer, pointer, word],
        )
        function = cgutils.get_or_insert_function(builder.module, function_type, "numba_xxgemm")

        def data(kind: Any, value: Any) -> Any:
            return builder.bitcast(context.make_array(kind)(context, builder, value).data, pointer)

        def flag(transposed: Any) -> Any:
            return builder.select(transposed, char(ord("t")), char(ord("n")))

        def slot(value: Any) -> Any:
            return builder.bitcast(cgutils.alloca_once_value(builder, value), pointer)

        # BLAS counts columns first: the row-major product C = A B is the column-major product C' = B' A'.
        stride_a = builder.select(transpose_a, rows, inner)
        stride_b = builder.select(transpose_b, inner, columns)
        builder.call(
            function,
            [
                char(ord(_KINDS[c.dtype])),
                flag(transpose_b),
                flag(transpose_a),
                columns,
                rows,
                inner,
                slot(factor),
                data(b, right),
                stride_b,
                data(a, left),
                stride_a,
                slot(keep),
                data(c, out),
                columns,
            ],
        )
        return context.get_dummy_value()

    return signature, generate


@inlined
def product(a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    """``c = a @ b``."""
    zero = c.dtype.type(0)
    _xxgemm(False, False, c.shape[0], c.shape[1], a.shape[1], c.dtype.type(1), a, b, zero, c)


@inlined
def product_transposed_right(a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    """``c = a @ b.T``."""
    zero = c.dtype.type(0)
    _xxgemm(False, True, c.shape[0], c.shape[1], a.shape[1], c.dtype.type(1), a, b, zero, c)


@inlined
def add_product_transposed_left(factor: float, a: FloatArray, b: FloatArray, keep: float, c: FloatArray) -> None:
    """``c = factor * a.T @ b + keep * c``: a gradient, or an update without one."""
    real = c.dtype.type
    _xxgemm(True, False, c.shape[0], c.shape[1], a.shape[0], real(factor), a, b, real(keep), c)
