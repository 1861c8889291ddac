"""Elementary functions of a number or of lanes, made so that the loops around them vectorise.

Numba compiles ``math.exp`` to a call of the C library for one number at a time. These are branch-free polynomials
instead, which LLVM turns into SIMD code. NaN stays NaN in all of them. Their errors, in units of the last place, are
stated in ``kernels/README.md`` and tested.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import overload

from tinynet_kernels.cpu.compiling import INLINE, Kernel, inlined
from tinynet_kernels.cpu.generic import (
    FLAGS,
    Real,
    broadcast,
    constant,
    element,
    instruction,
    integers_like,
    lane_by_lane,
    number,
    select,
)


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

MAX_ESTRIN = 12

_NUMPY_TYPES = {types.float32: np.float32, types.float64: np.float64}


def exp(x: Real) -> Real:
    """Exponential; subnormal results included."""
    raise NotImplementedError("only in compiled code")


def expm1_nonpositive(x: Real) -> Real:
    """``exp(x) - 1`` for ``x <= 0``, without cancellation."""
    raise NotImplementedError("only in compiled code")


def log1p_fraction(x: Real) -> Real:
    """``log(1 + x)`` for ``0 <= x <= 1``, without cancellation."""
    raise NotImplementedError("only in compiled code")


@lane_by_lane
def log(x: Real) -> Real:
    """Natural logarithm, by the C library."""
    return math.log(x)


@lane_by_lane
def log1p(x: Real) -> Real:
    """``log(1 + x)``, by the C library."""
    return math.log1p(x)


@lane_by_lane
def erfc(x: Real) -> Real:
    """Complementary error function, by the C library."""
    return math.erfc(x)


@inlined
def sigmoid(x: Real) -> Real:
    """``1 / (1 + exp(-x))``, written so that the exponential cannot overflow and the left tail keeps its digits."""
    one = number(x, 1)
    e = exp(-abs(x))
    return select(x < 0, e, one) / (one + e)


def tanh(x: Real) -> Real:
    """Hyperbolic tangent."""
    raise NotImplementedError("only in compiled code")


@inlined
def softplus_tail(x: Real) -> Real:
    """``log(1 + exp(-|x|))``: how far ``log(1 + exp(x))`` lies above ``max(x, 0)``."""
    return log1p_fraction(exp(-abs(x)))


def _polynomial(coefficients: tuple[float, ...]) -> Kernel:
    """Make a polynomial of these coefficients, highest power first, unrolled so that the loop around it vectorises.

    By Estrin's scheme (1960): neighbours are joined in pairs, then the pairs with the square, and so on. It takes as
    many operations as Horner's, and a third of the time where the next step waits for the result. Beyond ``MAX_ESTRIN``
    terms it keeps so many values at once that LLVM no longer vectorises the loop (seen with 16 terms in float64); the
    highest terms are joined one by one then, by Horner's scheme.
    """

    @instruction
    def polynomial(typing_context: Any, x: types.Type) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            (power,) = arguments
            terms = [constant(power.type, coefficient) for coefficient in reversed(coefficients)]
            while len(terms) > MAX_ESTRIN:
                high = terms.pop()
                terms[-1] = builder.fadd(builder.fmul(high, power, flags=FLAGS), terms[-1], flags=FLAGS)
            while len(terms) > 1:
                joined = [
                    builder.fadd(builder.fmul(high, power, flags=FLAGS), low, flags=FLAGS)
                    for low, high in zip(terms[::2], terms[1::2], strict=False)
                ]
                terms = joined + terms[len(joined) * 2 :]
                power = builder.fmul(power, power, flags=FLAGS)
            return terms[0]

        return x(x), generate

    return polynomial


@instruction
def _scale_by_power(typing_context: Any, p: types.Type, rounded: types.Type) -> Any:
    """Compute ``p * 2**n`` from ``rounded = n + magic``, whose lowest bits hold n.

    In two factors, each a normal number whatever n: so subnormal results are rounded once, and overflow gives inf.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, shifted = arguments
        if isinstance(shifted.type, ir.VectorType):
            value = broadcast(builder, value, shifted.type)
        mantissa, bias = (23, 127) if element(rounded) == types.float32 else (52, 1023)
        integer = integers_like(value.type)
        magic = builder.bitcast(constant(value.type, _FORMATS[element(rounded)].magic), integer)
        n = builder.sub(builder.bitcast(shifted, integer), magic)
        exponents = builder.add(n, constant(integer, 2 * bias))
        half = builder.lshr(exponents, constant(integer, 1))
        for exponent in (half, builder.sub(exponents, half)):
            factor = builder.bitcast(builder.shl(exponent, constant(integer, mantissa)), value.type)
            value = builder.fmul(value, factor)
        return value

    return rounded(p, rounded), generate


@overload(exp, jit_options=INLINE)
def _exp(x: Any) -> Kernel | None:
    dtype = element(x)
    if dtype is None:
        return None
    form, real = _FORMATS[dtype], _NUMPY_TYPES[dtype]
    magic, log2_high, log2_low = real(form.magic), real(form.log2_high), real(form.log2_low)
    lowest, highest, one, inverse_log2 = real(form.lowest), real(form.highest), real(1), real(1 / math.log(2))
    polynomial = _polynomial(form.polynomial)

    def implementation(x: Any) -> Any:
        x = select(x < lowest, lowest, x)
        x = select(x > highest, highest, x)
        rounded = x * inverse_log2 + magic
        n = rounded - magic
        r = (x - n * log2_high) - n * log2_low
        return _scale_by_power(one + (r + r * r * polynomial(r)), rounded)

    return implementation


@overload(expm1_nonpositive, jit_options=INLINE)
def _expm1_nonpositive(x: Any) -> Kernel | None:
    dtype = element(x)
    if dtype is None:
        return None
    form, real = _FORMATS[dtype], _NUMPY_TYPES[dtype]
    magic, log2_high, log2_low = real(form.magic), real(form.log2_high), real(form.log2_low)
    lowest, one, inverse_log2 = real(form.lowest), real(1), real(1 / math.log(2))
    polynomial = _polynomial(form.polynomial)

    def implementation(x: Any) -> Any:
        x = select(x < lowest, lowest, x)
        rounded = x * inverse_log2 + magic
        n = rounded - magic
        r = (x - n * log2_high) - n * log2_low
        power: Any = _scale_by_power(one, rounded)
        return power * (r + r * r * polynomial(r)) + (power - one)

    return implementation


@overload(log1p_fraction, jit_options=INLINE)
def _log1p_fraction(x: Any) -> Kernel | None:
    dtype = element(x)
    if dtype is None:
        return None
    form, real = _FORMATS[dtype], _NUMPY_TYPES[dtype]
    two = real(2)
    polynomial = _polynomial(form.atanh)

    def implementation(x: Any) -> Any:
        s = x / (two + x)
        square = s * s
        return two * (s + s * square * polynomial(square))

    return implementation


# The odd rational approximation of Eigen (MathFunctionsImpl.h, generic_fast_tanh_float), highest power first.
_TANH_ODD = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_EVEN = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
_TANH_ONE = 7.90531110763549805
"""From here on the approximation rounds to 1."""
_TANH_TINY = 4e-4
"""Up to here the hyperbolic tangent rounds to its argument."""


@overload(tanh, jit_options=INLINE)
def _tanh(x: Any) -> Kernel | None:
    dtype = element(x)
    if dtype is None:
        return None
    if dtype == types.float64:
        return _tanh_by_exponential
    odd, even = _polynomial(_TANH_ODD), _polynomial(_TANH_EVEN)
    bound, tiny, one = np.float32(_TANH_ONE), np.float32(_TANH_TINY), np.float32(1)

    def implementation(x: Any) -> Any:
        bounded = select(x < -bound, -bound, select(x > bound, bound, x))
        square = bounded * bounded
        value = select(abs(x) < tiny, x, bounded * odd(square) / even(square))
        return select(x <= -bound, -one, select(x >= bound, one, value))

    return implementation


def _tanh_by_exponential(x: Any) -> Any:
    """``-t / (2 + t)`` with ``t = exp(-2 |x|) - 1``, and the sign of ``x``."""
    t = expm1_nonpositive(number(x, -2) * abs(x))
    size = t / (number(x, 2) + t)
    return select(x < 0, size, -size)
