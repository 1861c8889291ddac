"""What lets one formula serve a single number and several in the lanes of a SIMD register.

A formula in these terms, ``select(z <= 0, number(z, 0), z)``, compiles for ``float32``, ``float64`` and ``Lanes``
alike.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

from tinynet_kernels.cpu.compiling import Kernel

Real = Any
"""A float32, a float64, or lanes of them."""

FLAGS = ("contract", "nsz")
"""The liberties of ``compiling``, for instructions that are written here."""

_LLVM = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
FLOATS = frozenset(_LLVM)
"""The types of number that lanes can hold."""
_NUMPY = {types.float32: np.float32, types.float64: np.float64}


def instruction(generator: Kernel) -> Kernel:
    """Make a function that generates LLVM code callable from compiled code; literal arguments keep their value."""
    made: Kernel = intrinsic(prefer_literal=True)(generator)
    return made


class Lanes(types.Type):
    """``count`` numbers of one floating type, which LLVM keeps in SIMD registers."""

    def __init__(self, dtype: Any, count: int) -> None:
        self.dtype, self.count = dtype, count
        super().__init__(f"Lanes({dtype}, {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, ir.VectorType(_LLVM[kind.dtype], kind.count))


class Mask(types.Type):
    """``count`` truth values, the outcome of comparing lanes."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"Mask({count})")


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, ir.VectorType(ir.IntType(1), kind.count))


def element(kind: Any) -> Any:
    """Return the floating type of a number or of lanes; None for anything else."""
    dtype = kind.dtype if isinstance(kind, Lanes) else kind
    return dtype if dtype in _LLVM else None


def constant(kind: Any, value: float) -> Any:
    """Return an LLVM constant of a scalar or vector type."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [value] * kind.count)
    return ir.Constant(kind, value)


def integers_like(kind: Any) -> Any:
    """Return the LLVM type of integers as wide as a scalar or vector type of floats."""
    scalar = kind.element if isinstance(kind, ir.VectorType) else kind
    integer = ir.IntType(32 if isinstance(scalar, ir.FloatType) else 64)
    return ir.VectorType(integer, kind.count) if isinstance(kind, ir.VectorType) else integer


def broadcast(builder: Any, value: Any, kind: Any) -> Any:
    """Return a value of the vector type ``kind``: as it is, or a number in all lanes."""
    if isinstance(value.type, ir.VectorType):
        return value
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), None))


def _together(context: Any, builder: Any, lanes: Lanes, kinds: Any, values: Any) -> list[Any]:
    """Return operands as vectors of one type; numbers are converted and put into all lanes."""
    vector = ir.VectorType(_LLVM[lanes.dtype], lanes.count)
    return [
        broadcast(
            builder, value if isinstance(kind, Lanes) else context.cast(builder, value, kind, lanes.dtype), vector
        )
        for kind, value in zip(kinds, values, strict=True)
    ]


def _binary(opcode: str) -> Kernel:
    @instruction
    def operation(typing_context: Any, a: Any, b: Any) -> Any:
        lanes = a if isinstance(a, Lanes) else b

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right = _together(context, builder, lanes, signature.args, arguments)
            return getattr(builder, opcode)(left, right, flags=FLAGS)

        return lanes(a, b), generate

    return operation


def _comparison(symbol: str) -> Kernel:
    @instruction
    def operation(typing_context: Any, a: Any, b: Any) -> Any:
        lanes = a if isinstance(a, Lanes) else b

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right = _together(context, builder, lanes, signature.args, arguments)
            return builder.fcmp_ordered(symbol, left, right)

        return Mask(lanes.count)(a, b), generate

    return operation


def _register(function: Any, operation: Kernel) -> None:
    @overload(function, strict=False)
    def overloaded(a: Any, b: Any) -> Kernel | None:
        if isinstance(a, Lanes) or isinstance(b, Lanes):
            return lambda a, b: operation(a, b)
        return None


def _register_all() -> None:
    for name, opcode in (("add", "fadd"), ("sub", "fsub"), ("mul", "fmul"), ("truediv", "fdiv")):
        _register(getattr(operator, name), _binary(opcode))
    for name, symbol in (("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="), ("eq", "==")):
        _register(getattr(operator, name), _comparison(symbol))

    @overload(operator.neg, strict=False)
    def negative(x: Any) -> Kernel | None:
        if not isinstance(x, Lanes):
            return None
        zero = _NUMPY[x.dtype](-0.0)
        return lambda x: zero - x

    @overload(abs, strict=False)
    def absolute(x: Any) -> Kernel | None:
        return (lambda x: _llvm_abs(x)) if isinstance(x, Lanes) else None


def unary(name: str) -> Kernel:
    """Make an LLVM intrinsic of one argument callable on numbers and lanes."""

    @instruction
    def operation(typing_context: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (value,) = arguments
            count = f"v{x.count}" if isinstance(x, Lanes) else ""
            full_name = f"llvm.{name}.{count}f{element(x).bitwidth}"
            kind = ir.FunctionType(value.type, [value.type])
            return builder.call(cgutils.get_or_insert_function(builder.module, kind, full_name), [value])

        return x(x), generate

    return operation


_llvm_abs = unary("fabs")
sqrt = unary("sqrt")
"""Square root of a number or of lanes."""


@instruction
def number(typing_context: Any, like: Any, value: Any) -> Any:
    """Return a number in the floating type of ``like``, which may be lanes: ``number(z, 1)``."""
    dtype = element(like)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.cast(builder, arguments[1], signature.args[1], dtype)

    return dtype(like, value), generate


@instruction
def _select_number(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    kind = a if element(a) is not None else b

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        chosen = [context.cast(builder, v, k, kind) for v, k in zip(arguments[1:], signature.args[1:], strict=True)]
        return builder.select(arguments[0], *chosen)

    return kind(condition, a, b), generate


@instruction
def _select_lanes(typing_context: Any, condition: Any, a: Any, b: Any) -> Any:
    lanes = a if isinstance(a, Lanes) else b
    if not isinstance(lanes, Lanes):
        lanes = Lanes(element(a), condition.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = _together(context, builder, lanes, signature.args[1:], arguments[1:])
        return builder.select(arguments[0], left, right)

    return lanes(condition, a, b), generate


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return ``a`` where the condition holds, else ``b``, without a branch."""
    raise NotImplementedError("only in compiled code")


@overload(select, strict=False)
def _select(condition: Any, a: Any, b: Any) -> Kernel | None:
    if isinstance(condition, Mask):
        return lambda condition, a, b: _select_lanes(condition, a, b)
    if isinstance(condition, types.Boolean):
        return lambda condition, a, b: _select_number(condition, a, b)
    return None


_register_all()
