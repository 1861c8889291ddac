"""Matrix products from inside compiled code, on the BLAS that SciPy brings."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import linalg

from tinynet_kernels._typing import FloatArray
from tinynet_kernels.cpu.compiling import compiled, instruction

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


@instruction
def _xxgemv(typing_context: Any, rows: Any, columns: Any, a: Any, x: Any, y: Any) -> Any:
    """``y = a.T @ x`` for a row-major ``a`` of (rows, columns)."""
    linalg.ensure_blas()
    signature = types.none(types.intp, types.intp, a, x, y)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n_rows, n_columns, matrix, vector, out = arguments
        char, word, pointer = ir.IntType(8), ir.IntType(cgutils.intp_t.width), cgutils.voidptr_t
        number = context.get_value_type(y.dtype)
        function_type = ir.FunctionType(
            ir.IntType(32), [char, char, word, word, pointer, pointer, word, pointer, pointer, pointer]
        )
        function = cgutils.get_or_insert_function(builder.module, function_type, "numba_xxgemv")

        def data(kind: Any, value: Any) -> Any:
            return builder.bitcast(context.make_array(kind)(context, builder, value).data, pointer)

        def slot(value: float) -> Any:
            return builder.bitcast(cgutils.alloca_once_value(builder, number(value)), pointer)

        # A row-major (rows, columns) matrix is a column-major (columns, rows) one.
        kind, plain = char(ord(_KINDS[y.dtype])), char(ord("n"))
        shape = [n_columns, n_rows]
        rest = [slot(1.0), data(a, matrix), n_columns, data(x, vector), slot(0.0), data(y, out)]
        builder.call(function, [kind, plain, *shape, *rest])
        return context.get_dummy_value()

    return signature, generate


SMALL = 2048
"""Multiplications up to which a plain loop is quicker than the way to BLAS and back (0.2 us; measured on AVX-512)."""


@compiled
def product(a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    """``c = a @ b``."""
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[1]
    if rows * inner * columns <= SMALL:
        for i in range(rows):
            for j in range(columns):
                c[i, j] = 0
            for k in range(inner):
                factor = a[i, k]
                for j in range(columns):
                    c[i, j] += factor * b[k, j]
    elif rows == 1:
        _xxgemv(inner, columns, b, a, c)
    else:
        _xxgemm(False, False, rows, columns, inner, c.dtype.type(1), a, b, c.dtype.type(0), c)


@compiled
def product_transposed_right(a: FloatArray, b: FloatArray, c: FloatArray) -> None:
    """``c = a @ b.T``."""
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[0]
    if rows * inner * columns <= SMALL:
        for i in range(rows):
            for j in range(columns):
                total = c.dtype.type(0)
                for k in range(inner):
                    total += a[i, k] * b[j, k]
                c[i, j] = total
    else:
        _xxgemm(False, True, rows, columns, inner, c.dtype.type(1), a, b, c.dtype.type(0), c)


@compiled
def add_product_transposed_left(factor: float, a: FloatArray, b: FloatArray, keep: float, c: FloatArray) -> None:
    """``c = factor * a.T @ b + keep * c``: a gradient, or an update without one."""
    real = c.dtype.type
    inner, rows, columns = a.shape[0], a.shape[1], b.shape[1]
    if rows * inner * columns <= SMALL:
        for k in range(rows):
            for j in range(columns):
                c[k, j] = real(keep) * c[k, j] if keep != 0 else real(0)
            for i in range(inner):
                scaled = real(factor) * a[i, k]
                for j in range(columns):
                    c[k, j] += scaled * b[i, j]
    else:
        _xxgemm(True, False, rows, columns, inner, real(factor), a, b, real(keep), c)
