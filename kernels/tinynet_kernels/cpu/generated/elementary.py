"""Elementary functions of the numbers in a register, as instructions: no call leaves the generated code.

They are branch-free polynomials; Numba's kernels have them linked in (``cpu/linked.py``). NaN stays NaN in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinynet_kernels.cpu.generated.ir import Value
from tinynet_kernels.cpu.generated.ir_types import bits_of, element_of


class Format(NamedTuple):
    """What the functions need to know of a floating-point format; polynomials have the lowest power first."""

    mantissa: int
    """Bits behind the point."""
    bias: int
    """Of the exponent."""
    log2: tuple[float, float]
    """log(2) in two parts; products of the first with exponents are exact."""
    range: tuple[float, float]
    """The exponential of anything below rounds to 0, of anything above to inf."""
    exp: tuple[float, ...]
    """``(exp(r) - 1 - r) / r**2`` on ``|r| <= log(2) / 2``."""
    atanh: int
    """Terms of ``(atanh(s) / s - 1) / s**2`` in ``s**2`` on ``0 <= s <= 1/3``; half of them do on ``s <= 0.172``."""
    root_half: int
    """The bits of ``sqrt(1/2)``, but for those that are always 0 here."""
    erfc_end: float
    """From here on the complementary error function rounds to 0."""
    erfc: tuple[float, ...]
    """``(1 + 2x) exp(x**2) erfc(x)`` on ``[0, erfc_end]``, see ``erfc``."""

    @property
    def erfc_unit(self) -> tuple[float, float]:
        """Factor and shift that bring ``(x - ERFC_CENTRE) / (x + ERFC_CENTRE)`` of ``[0, erfc_end]`` to ``[-1, 1]``."""
        end = (self.erfc_end - ERFC_CENTRE) / (self.erfc_end + ERFC_CENTRE)
        return 2 / (end + 1), (1 - end) / (end + 1)

    @property
    def magic(self) -> float:
        """Adding it rounds to a whole number, which is then in the lowest bits."""
        return 1.5 * 2.0**self.mantissa


FORMATS = {
    # The constants of exp are those of Cephes (Moshier, 1992), expf.c.
    "float": Format(
        23,
        127,
        (0.693359375, -2.12194440e-4),
        (-104.0, 89.0),
        (
            5.0000001201e-1,
            1.6666665459e-1,
            4.1665795894e-2,
            8.3334519073e-3,
            1.3981999507e-3,
            1.9875691500e-4,
        ),
        8,
        0x3F3504F3,
        10.5,
        (
            1.27250641,
            -0.0842740025,
            -0.0697514622,
            0.115065207,
            -0.0922183225,
            0.0514887101,
            -0.0211362579,
            0.0061680964,
            -0.00104136547,
            -3.7106946e-5,
            5.18962176e-5,
        ),
    ),
    # log(2) is split as in FreeBSD's e_exp.c; the polynomial is Taylor's, cut where the next term is below 2**-55.
    "double": Format(
        52,
        1023,
        (6.93147180369123816490e-01, 1.90821492927058770002e-10),
        (-746.0, 710.0),
        tuple(1 / math.factorial(k) for k in range(2, 14)),
        16,
        0x3FE6A09E667F3BCD,
        27.5,
        (
            1.2542259141889287,
            -0.12028685240891937,
            -0.028829445334529341,
            0.10224992624602496,
            -0.10718139633574716,
            0.076060466727717485,
            -0.04025738479473936,
            0.015753406782235665,
            -0.0040872877798120018,
            0.00036635520751652492,
            0.00019842668441483626,
            -8.1526835493661374e-5,
            6.8012066058824831e-7,
            7.3009347469373696e-6,
            -1.1294109219212126e-6,
            -5.9885267875156081e-7,
            1.6757754395062325e-7,
            5.3804622283894097e-8,
            -2.0090192887610488e-8,
            -5.2118305430085356e-9,
            2.0862806940507748e-9,
            3.7527281029149092e-10,
            -1.4267175256628379e-10,
        ),
    ),
}

ERFC_CENTRE = 3.75
"""What the argument of the polynomial of ``erfc`` is centred at."""

# The odd rational approximation of Eigen (MathFunctionsImpl.h, generic_fast_tanh_float), lowest power first.
_TANH_ODD = (
    4.89352455891786e-03,
    6.37261928875436e-04,
    1.48572235717979e-05,
    5.12229709037114e-08,
    -8.60467152213735e-11,
    2.00018790482477e-13,
    -2.76076847742355e-16,
)
_TANH_EVEN = (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
_TANH_ONE = 8.06271266937255859
"""Here the approximation is 1, whether products and sums are rounded once or twice, and nowhere below is it more."""
_TANH_TINY = 4e-4
"""Up to here the hyperbolic tangent rounds to its argument."""


def _format(x: Value) -> Format:
    return FORMATS[element_of(x.kind)]


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Return a polynomial, lowest power first, by Estrin's scheme (1960): its chain of steps is the shortest."""
    code = x.code
    terms = [code.constant(x.kind, coefficient) for coefficient in coefficients]
    while len(terms) > 1:
        pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
        terms = [code.fma(pair[1], x, pair[0]) if len(pair) == 2 else pair[0] for pair in pairs]
        x = x * x if len(terms) > 1 else x
    return terms[0]


def absolute(x: Value) -> Value:
    """Return ``|x|``."""
    return x.code.call_intrinsic("fabs", x)


def sqrt(x: Value) -> Value:
    """Return the square root."""
    return x.code.call_intrinsic("sqrt", x)


def _reduced(x: Value) -> tuple[Value, Value]:
    """Return r and n + magic, where ``x = n log(2) + r`` and n is whole."""
    code, form = x.code, _format(x)
    shifted = code.fma(1 / math.log(2), x, code.constant(x.kind, form.magic))
    n = shifted - form.magic
    return code.fma(-form.log2[1], n, code.fma(-form.log2[0], n, x)), shifted


_LIFT = 64
"""Powers of two by which the smallest results are lifted while they are computed."""


def _scaled(p: Value, shifted: Value) -> Value:
    """Return ``p * 2**n`` from n + magic: by two powers of two, as one would not reach subnormal numbers and inf."""
    code, form, bits = p.code, _format(p), bits_of(p.kind)
    magic = code.convert("bitcast", code.constant(p.kind, form.magic), bits)
    exponents = code.convert("bitcast", shifted, bits) - magic + 2 * form.bias
    half = code.op(bits, f"lshr {exponents}, {code.constant(bits, 1).name}")
    for exponent in (half, exponents - half):
        power = code.op(bits, f"shl {exponent}, {code.constant(bits, form.mantissa).name}")
        p = p * code.convert("bitcast", power, p.kind)
    return p


def _scaled_down(p: Value, shifted: Value) -> Value:
    """Return ``p * 2**n`` for ``n <= 0``: lifted it is no subnormal number, and it rounds once when it is let down."""
    code, form, bits = p.code, _format(p), bits_of(p.kind)
    magic = code.convert("bitcast", code.constant(p.kind, form.magic), bits)
    exponent = code.convert("bitcast", shifted, bits) - magic + (form.bias + _LIFT)
    power = code.op(bits, f"shl {exponent}, {code.constant(bits, form.mantissa).name}")
    return p * code.convert("bitcast", power, p.kind) * 2.0**-_LIFT


def exp(x: Value) -> Value:
    """Return the exponential, subnormal results included."""
    code, form = x.code, _format(x)
    lowest, highest = form.range
    x = code.select(code.compare("<", x, lowest), lowest, x)
    x = code.select(code.compare(">", x, highest), highest, x)
    r, shifted = _reduced(x)
    return _scaled(code.fma(r * r, polynomial(r, form.exp), r) + 1.0, shifted)


def exp_nonpositive(x: Value) -> Value:
    """Return the exponential of ``x <= 0``: the bits of ``exp``, in fewer steps."""
    code, form = x.code, _format(x)
    lowest = form.range[0]
    x = code.select(code.compare("<", x, lowest), lowest, x)
    r, shifted = _reduced(x)
    return _scaled_down(code.fma(r * r, polynomial(r, form.exp), r) + 1.0, shifted)


def expm1_nonpositive(x: Value) -> Value:
    """Return ``exp(x) - 1`` for ``x <= 0``, without cancellation."""
    code, form = x.code, _format(x)
    lowest = form.range[0]
    x = code.select(code.compare("<", x, lowest), lowest, x)
    r, shifted = _reduced(x)
    power = _scaled_down(code.constant(x.kind, 1.0), shifted)
    return code.fma(power, code.fma(r * r, polynomial(r, form.exp), r), power - 1.0)


def _log1p_of_ratio(s: Value, terms: int) -> Value:
    """Return ``2 atanh(s)``, which is ``log((1 + s) / (1 - s))``."""
    square = s * s
    return (s + s * square * polynomial(square, [1 / (2 * k + 3) for k in range(terms)])) * 2.0


def log1p_fraction(x: Value) -> Value:
    """Return ``log(1 + x)`` for ``0 <= x <= 1``, without cancellation."""
    return _log1p_of_ratio(x / (x + 2.0), _format(x).atanh)


def log(x: Value) -> Value:
    """Return the natural logarithm: -inf of 0, and NaN of what is negative."""
    code, form, bits = x.code, _format(x), bits_of(x.kind)
    # Subnormal numbers have no exponent of their own.
    tiny = code.compare("<", x, 2.0 ** (1 - form.bias))
    scaled = code.select(tiny, x * 2.0 ** (form.mantissa + 2), x)
    # x = 2**e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)). A bias keeps the shifted number positive.
    whole = code.convert("bitcast", scaled, bits)
    places = code.constant(bits, form.mantissa).name
    lifted = whole + ((form.bias << form.mantissa) - form.root_half)
    exponent = code.op(bits, f"lshr {lifted}, {places}") - form.bias
    f = code.convert("bitcast", whole - code.op(bits, f"shl {exponent}, {places}"), x.kind) - 1.0
    magic = code.convert("bitcast", code.constant(x.kind, form.magic), bits)
    e = code.convert("bitcast", exponent + magic, x.kind) - form.magic
    e = code.select(tiny, e - float(form.mantissa + 2), e)
    result = code.fma(form.log2[0], e, code.fma(form.log2[1], e, _log1p_of_ratio(f / (f + 2.0), form.atanh * 3 // 4)))
    result = code.select(code.compare("<", x, math.inf), result, x)  # inf, and NaN
    result = code.select(code.compare("==", x, 0.0), -math.inf, result)
    return code.select(code.compare("<", x, 0.0), math.nan, result)


def log1p(x: Value) -> Value:
    """Return ``log(1 + x)``: what the sum has rounded away is put back (Hewlett-Packard, 1982)."""
    code, above = x.code, x + 1.0
    lost = ((above - 1.0) - x) / above
    value = log(above)
    return code.select(code.compare(">", above, 0.0), value - lost, value)


def tanh(x: Value) -> Value:
    """Return the hyperbolic tangent."""
    code = x.code
    if element_of(x.kind) == "double":
        t = expm1_nonpositive(absolute(x) * -2.0)
        size = t / (t + 2.0)
        return code.select(code.compare("<", x, 0.0), size, -size)
    bounded = code.select(code.compare(">", x, _TANH_ONE), _TANH_ONE, x)
    bounded = code.select(code.compare("<", bounded, -_TANH_ONE), -_TANH_ONE, bounded)
    square = bounded * bounded
    value = bounded * polynomial(square, _TANH_ODD) / polynomial(square, _TANH_EVEN)
    return code.select(code.compare("<", absolute(x), _TANH_TINY), x, value)


def erfc(x: Value) -> Value:
    """Return the complementary error function.

    ``(1 + 2x) exp(x**2) erfc(x)`` is nearly constant for x >= 0, and smooth in ``(x - 3.75) / (x + 3.75)`` (Shepherd
    and Laframboise, 1981). The polynomials interpolate it at Chebyshev's points, computed with 60 digits; their
    relative errors are 7e-9 and 2e-17.
    """
    code, form = x.code, _format(x)
    size = absolute(x)
    size = code.select(code.compare(">", size, form.erfc_end), form.erfc_end, size)
    factor, shift = form.erfc_unit
    scaled = polynomial((size - ERFC_CENTRE) / (size + ERFC_CENTRE) * factor + shift, form.erfc)
    square = size * size
    rest = code.fma(size, size, -square)  # What the square has rounded away.
    tail = exp(-square) * (1.0 - rest) * scaled / (size * 2.0 + 1.0)
    return code.select(code.compare("<", x, 0.0), 2.0 - tail, tail)


FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    "abs": absolute,
    "sqrt": sqrt,
    "exp": exp,
    "expm1_nonpositive": expm1_nonpositive,
    "log": log,
    "log1p": log1p,
    "log1p_fraction": log1p_fraction,
    "tanh": tanh,
    "erfc": erfc,
}
"""The functions of ``tinynet_kernels.expressions.FUNCTIONS``."""
