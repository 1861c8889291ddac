"""Elementary functions of one float32 or float64, made so that the loops around them vectorise.

Numba compiles ``math.exp`` to a call of the C library for one number at a time. These are branch-free polynomials
instead, which LLVM turns into SIMD code. NaN stays NaN in all of them. Their errors, in units of the last place, are
stated in ``kernels/README.md`` and tested.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from tinynet_kernels.cpu.compiling import Kernel, inlined


class _Format(NamedTuple):
    """What the exponential needs to know of a floating-point format."""

    magic: float
    """1.5 times the power of two whose unit in the last place is 1: adding it rounds to an integer."""
    log2_high: float
    """log(2), with so many trailing zeros that its products with exponents are exact."""
    log2_low: float
    """The rest of log(2)."""
    lowest: float
    """The exponential of anything below rounds to 0."""
    highest: float
    """The exponential of anything above rounds to inf."""
    polynomial: tuple[float, ...]
    """``(exp(r) - 1 - r) / r**2`` on ``|r| <= log(2) / 2``, highest power first."""
    atanh: tuple[float, ...]
    """``(atanh(s) / s - 1) / s**2`` as a polynomial in ``s**2`` on ``0 <= s <= 1/3``, highest power first."""


_FORMATS = {
    # The constants of exp are those of Cephes (Moshier, 1992), expf.c.
    types.float32: _Format(
        magic=1.5 * 2**23,
        log2_high=0.693359375,
        log2_low=-2.12194440e-4,
        lowest=-104.0,
        highest=89.0,
        polynomial=(
            1.9875691500e-4,
            1.3981999507e-3,
            8.3334519073e-3,
            4.1665795894e-2,
            1.6666665459e-1,
            5.0000001201e-1,
        ),
        atanh=tuple(1 / (2 * k + 3) for k in reversed(range(8))),
    ),
    # log(2) is split as in FreeBSD's e_exp.c; the polynomials are Taylor's, cut where the next term is below 2**-55.
    types.float64: _Format(
        magic=1.5 * 2**52,
        log2_high=6.93147180369123816490e-01,
        log2_low=1.90821492927058770002e-10,
        lowest=-746.0,
        highest=710.0,
        polynomial=tuple(1 / math.factorial(k) for k in reversed(range(2, 14))),
        atanh=tuple(1 / (2 * k + 3) for k in reversed(range(16))),
    ),
}

_NUMPY_TYPES = {types.float32: np.float32, types.float64: np.float64}


def exp(x: float) -> float:
    """Exponential; subnormal results included."""
    raise NotImplementedError("only in compiled code")


def expm1_nonpositive(x: float) -> float:
    """``exp(x) - 1`` for ``x <= 0``, without cancellation."""
    raise NotImplementedError("only in compiled code")


def log1p_fraction(x: float) -> float:
    """``log(1 + x)`` for ``0 <= x <= 1``, without cancellation."""
    raise NotImplementedError("only in compiled code")


@inlined
def sigmoid(x: float) -> float:
    """``1 / (1 + exp(-x))``, written so that the exponential cannot overflow and the left tail keeps its digits."""
    one = type(x)(1)
    e = exp(-abs(x))
    return (e if x < 0 else one) / (one + e)


@inlined
def tanh(x: float) -> float:
    """Hyperbolic tangent: ``-t / (2 + t)`` with ``t = exp(-2 |x|) - 1``, and the sign of ``x``."""
    t = expm1_nonpositive(type(x)(-2) * abs(x))
    size = t / (type(x)(2) + t)
    return size if x < 0 else -size


@inlined
def softplus_tail(x: float) -> float:
    """``log(1 + exp(-|x|))``: how far ``log(1 + exp(x))`` lies above ``max(x, 0)``."""
    return log1p_fraction(exp(-abs(x)))


def _horner(coefficients: tuple[float, ...]) -> Kernel:
    """Make a polynomial of these coefficients, highest power first, unrolled so that the loop around it vectorises."""

    @intrinsic
    def horner(typing_context: Any, x: types.Type) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (value,) = arguments
            result = value.type(coefficients[0])
            for coefficient in coefficients[1:]:
                product = builder.fmul(result, value, flags=("contract",))
                result = builder.fadd(product, value.type(coefficient), flags=("contract",))
            return result

        return x(x), generate

    return horner


@intrinsic
def _scale_by_power(typing_context: Any, p: types.Type, rounded: types.Type) -> Any:
    """Compute ``p * 2**n`` from ``rounded = n + magic``, whose lowest bits hold n.

    In two factors, each a normal number whatever n: so subnormal results are rounded once, and overflow gives inf.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, shifted = arguments
        size, mantissa, bias = (32, 23, 127) if p == types.float32 else (64, 52, 1023)
        integer = ir.IntType(size)
        magic = builder.bitcast(value.type(_FORMATS[p].magic), integer)
        n = builder.sub(builder.bitcast(shifted, integer), magic)
        exponents = builder.add(n, integer(2 * bias))
        half = builder.lshr(exponents, integer(1))
        for exponent in (half, builder.sub(exponents, half)):
            factor = builder.bitcast(builder.shl(exponent, integer(mantissa)), value.type)
            value = builder.fmul(value, factor)
        return value

    return p(p, p), generate


_times_power_of_two: Kernel = _scale_by_power


@overload(exp)
def _exp(x: Any) -> Kernel | None:
    if x not in _FORMATS:
        return None
    form, real = _FORMATS[x], _NUMPY_TYPES[x]
    magic, log2_high, log2_low = real(form.magic), real(form.log2_high), real(form.log2_low)
    lowest, highest, one, inverse_log2 = real(form.lowest), real(form.highest), real(1), real(1 / math.log(2))
    polynomial = _horner(form.polynomial)

    def implementation(x: Any) -> Any:
        x = lowest if x < lowest else x
        x = highest if x > highest else x
        rounded = x * inverse_log2 + magic
        n = rounded - magic
        r = (x - n * log2_high) - n * log2_low
        return _times_power_of_two(one + (r + r * r * polynomial(r)), rounded)

    return implementation


@overload(expm1_nonpositive)
def _expm1_nonpositive(x: Any) -> Kernel | None:
    if x not in _FORMATS:
        return None
    form, real = _FORMATS[x], _NUMPY_TYPES[x]
    magic, log2_high, log2_low = real(form.magic), real(form.log2_high), real(form.log2_low)
    lowest, one, inverse_log2 = real(form.lowest), real(1), real(1 / math.log(2))
    polynomial = _horner(form.polynomial)

    def implementation(x: Any) -> Any:
        x = lowest if x < lowest else x
        rounded = x * inverse_log2 + magic
        n = rounded - magic
        r = (x - n * log2_high) - n * log2_low
        power: Any = _times_power_of_two(one, rounded)
        return power * (r + r * r * polynomial(r)) + (power - one)

    return implementation


@overload(log1p_fraction)
def _log1p_fraction(x: Any) -> Kernel | None:
    if x not in _FORMATS:
        return None
    form, real = _FORMATS[x], _NUMPY_TYPES[x]
    two = real(2)
    polynomial = _horner(form.atanh)

    def implementation(x: Any) -> Any:
        s = x / (two + x)
        square = s * s
        return two * (s + s * square * polynomial(square))

    return implementation
