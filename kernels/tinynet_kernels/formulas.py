"""Formulas: every elementwise activation and loss, once, with its derivative beside it.

They compute without branches, and NaN in gives NaN out. All code is made from here: LLVM's, CUDA's, C's, ONNX's nodes.
``tinynet_kernels.reference`` has most of them a second time, written by hand in NumPy: it is what everything that is
generated is held against. What is not here by name may be the text of a formula (``steps.text_of``), whose derivative
is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from tinynet_kernels.blocks import is_blocks
from tinynet_kernels.calls import MEASURED, is_called, terms_of
from tinynet_kernels.expressions import Expression, Term, function, select, symbol
from tinynet_kernels.functions import exp, log, sigmoid, softplus
from tinynet_kernels.slopes import slope_of
from tinynet_kernels.steps import is_text, term_of

E = Expression
Formula = TypeVar("Formula")


def is_measured(kind: object) -> bool:
    """Whether a kind is that of a loss which leaves out targets that are NaN."""
    return isinstance(kind, str) and kind.startswith(MEASURED)


Nodes = str | float | tuple[Any, ...]


class Activation(NamedTuple):
    """``y = f(z)``: ``value(z, alpha)``, ``derivative(z, y, alpha)`` and ``second(z, y, alpha)``.

    Where the derivative does without ``z``, nobody keeps it for the way back. ``onnx`` says how it is made of few
    operators of ONNX, if it is: one by its name, or ``(operator, *operands)``, of numbers and ``z``. ``onnx64`` is
    whether onnxruntime has them for float64 with all digits. Without ``second``, the second derivative is derived from
    the first; where it is written down, that would lose digits, or give it a value at a kink, where it is 0.
    """

    value: Callable[[E, E], Term]
    derivative: Callable[[E, E, E], Term]
    onnx: Nodes = ""
    onnx64: bool = True
    second: Callable[[E, E, E], Term] | None = None

    @property
    def terms(self) -> tuple[Term, Term]:
        """Value and derivative, of the symbols ``z``, ``y`` and ``alpha``."""
        z, y, alpha = (symbol(name) for name in ("z", "y", "alpha"))
        return self.value(z, alpha), self.derivative(z, y, alpha)

    @property
    def curvature(self) -> Term:
        """The second derivative, of the same symbols; it reads ``z`` only where the first does."""
        z, y, alpha = (symbol(name) for name in ("z", "y", "alpha"))
        if self.second is not None:
            return self.second(z, y, alpha)
        slope = self.derivative(z, y, alpha)
        return slope_of(slope, "z") + slope_of(slope, "y") * slope


class Loss(NamedTuple):
    """The loss of a prediction: ``value(p, t, parameter)``, and ``derivative(p, t, parameter)`` by the prediction."""

    value: Callable[[E, E, E], Term]
    derivative: Callable[[E, E, E], Term]

    @property
    def terms(self) -> tuple[Term, Term]:
        """Value and derivative, of the symbols ``p``, ``t`` and ``parameter``."""
        symbols = [symbol(name) for name in ("p", "t", "parameter")]
        return self.value(*symbols), self.derivative(*symbols)


class Table(dict[str, Formula]):
    """What kinds there are by name; a kind that is the text of a formula is one, too, and is not listed.

    Nor are those that ``also`` tells of.
    """

    def __init__(
        self,
        named: dict[str, Formula],
        of_text: Callable[[str], Formula],
        also: Callable[[object], bool] = lambda kind: False,
    ) -> None:
        super().__init__(named)
        self._of_text, self._also = lru_cache(maxsize=256)(of_text), also

    def __contains__(self, kind: object) -> bool:
        return super().__contains__(kind) or is_text(kind) or is_called(kind) or self._also(kind)

    def __missing__(self, kind: str) -> Formula:
        if kind not in self:
            raise KeyError(kind)
        return self._of_text(kind)


def _terms(kind: str, symbols: tuple[str, ...]) -> tuple[Term, Term]:
    """Return what the text of a formula names, and its derivative by the first symbol; or calls of what is compiled."""
    if is_called(kind):
        return terms_of(kind, *map(symbol, symbols))
    value = term_of(kind, symbols)
    return value, slope_of(value, symbols[0])


# -- activations ------------------------------------------------------------------------------------------------------


def _slope_above_zero(y: E, below: Term) -> E:
    """Return 1 above 0, ``below`` up to 0, and NaN for NaN."""
    return select(y <= 0, below, select(y > 0, 1, y))


def _normal_cdf(z: E) -> E:
    """By ``erfc``: ``1 + erf`` has no digits in the left tail."""
    return 0.5 * function("erfc", -0.7071067811865476 * z)


def _gelu(z: E, alpha: E) -> E:
    """``z Phi(z)`` (Hendrycks and Gimpel, 2016). Below -40 the tail is 0; -inf must not become -inf * 0."""
    z = select(z < -40, -40, z)
    return z * _normal_cdf(z)


def _gelu_derivative(z: E, y: E, alpha: E) -> E:
    """``Phi(z) + z phi(z)``."""
    z = select(z < -40, -40, z)
    z = select(z > 40, 40, z)
    return _normal_cdf(z) + z * (0.3989422804014327 * exp(-0.5 * z * z))


def _gelu_second(z: E, y: E, alpha: E) -> E:
    """``phi(z) (2 - z^2)``."""
    z = select(z < -40, -40, z)
    z = select(z > 40, 40, z)
    return 0.3989422804014327 * exp(-0.5 * z * z) * (2 - z * z)


def _silu(z: E, alpha: E) -> E:
    """``z sigmoid(z)`` (Hendrycks and Gimpel, 2016; also called swish). ``exp(-800)`` is 0 in both dtypes."""
    z = select(z < -800, -800, z)
    return z * sigmoid(z)


def _silu_derivative(z: E, y: E, alpha: E) -> E:
    """``s (1 + z (1 - s))`` with ``s = sigmoid(z)``; ``1 - s = sigmoid(-z)`` keeps its digits."""
    z = select(z < -800, -800, z)
    z = select(z > 800, 800, z)
    e = exp(-abs(z))
    large = 1 / (1 + e)
    small = e * large
    return select(z < 0, small, large) * (1 + z * select(z < 0, large, small))


def _silu_second(z: E, y: E, alpha: E) -> E:
    """``s (1 - s) (2 + z (1 - 2 s))``: ``s (1 - s)`` is even, and ``1 - 2 s = -tanh(z / 2)``."""
    z = select(z < -80, -80, z)
    z = select(z > 80, 80, z)
    e = exp(-abs(z))
    return e / ((1 + e) * (1 + e)) * (2 - z * function("tanh", 0.5 * z))


def _elu(z: E, alpha: E) -> E:
    """Clevert, Unterthiner and Hochreiter (2016), equation 15."""
    return select(z <= 0, alpha * function("expm1_nonpositive", select(z <= 0, z, 0)), z)


def _activation_of_text(text: str) -> Activation:
    value, slope = _terms(text, ACTIVATION_SYMBOLS)
    return Activation(lambda z, alpha: value, lambda z, y, alpha: slope)


ACTIVATION_SYMBOLS = ("z",)
"""What the text of an activation is written with."""

ACTIVATIONS = Table(
    {
        "identity": Activation(lambda z, alpha: z, lambda z, y, alpha: 1.0, "Identity"),
        "sigmoid": Activation(lambda z, alpha: sigmoid(z), lambda z, y, alpha: y * (1 - y), "Sigmoid"),
        # Factored: near y = 1 the square would lose half the digits.
        "tanh": Activation(
            lambda z, alpha: function("tanh", z),
            lambda z, y, alpha: (1 - y) * (1 + y),
            "Tanh",
            second=lambda z, y, alpha: -2 * y * ((1 - y) * (1 + y)),
        ),
        "relu": Activation(lambda z, alpha: select(z <= 0, 0, z), lambda z, y, alpha: _slope_above_zero(y, 0), "Relu"),
        "leaky_relu": Activation(
            lambda z, alpha: select(z <= 0, alpha * z, z),
            lambda z, y, alpha: _slope_above_zero(y, alpha),
            "LeakyRelu",
            onnx64=False,  # An attribute would round the slope to float32.
        ),
        "elu": Activation(
            _elu,
            lambda z, y, alpha: _slope_above_zero(y, y + alpha),
            "Elu",
            onnx64=False,
            second=lambda z, y, alpha: select(-y <= 0, 0, y + alpha),
        ),
        "gelu": Activation(
            _gelu,
            _gelu_derivative,
            ("Mul", ("Mul", "z", 0.5), ("Add", ("Erf", ("Mul", "z", 0.7071067811865476)), 1.0)),
            onnx64=False,
            second=_gelu_second,
        ),
        # onnxruntime before 1.21 fuses these two into a node that has no float64.
        "silu": Activation(_silu, _silu_derivative, ("Mul", "z", ("Sigmoid", "z")), onnx64=False, second=_silu_second),
        # sigmoid(z) = 1 - exp(-y)
        "softplus": Activation(
            lambda z, alpha: softplus(z),
            lambda z, y, alpha: -function("expm1_nonpositive", -y),
            "Softplus",
            onnx64=False,
        ),
        "exponential": Activation(lambda z, alpha: exp(z), lambda z, y, alpha: y, "Exp"),
    },
    _activation_of_text,
)
"""Every elementwise activation, by kind."""


# -- losses -----------------------------------------------------------------------------------------------------------


def _huber(p: E, t: E, delta: E) -> E:
    """Huber (1964), in PyTorch's scaling."""
    size = abs(p - t)
    return select(size <= delta, 0.5 * size * size, delta * (size - 0.5 * delta))


def _huber_derivative(p: E, t: E, delta: E) -> E:
    d = p - t
    return select(d > delta, delta, select(d < -delta, -delta, d))


def _bounded(log_p: E) -> E:
    """Return the logarithm of a probability, at least -100: PyTorch's bound."""
    return select(log_p <= -100, -100, log_p)


def _log_likelihood(p: E, t: E, parameter: E) -> E:
    return -(t * _bounded(log(p)))


def _log_likelihood_derivative(p: E, t: E, parameter: E) -> E:
    """``-t / p``, and 0 where the logarithm is bounded."""
    return select(log(p) <= -100, 0, -(t / p))


def _bce(p: E, t: E, parameter: E) -> E:
    """``-(t log p + (1 - t) log(1 - p))``."""
    return _log_likelihood(p, t, parameter) - (1 - t) * _bounded(function("log1p", -p))


def _bce_derivative(p: E, t: E, parameter: E) -> E:
    other = select(function("log1p", -p) <= -100, 0, (1 - t) / (1 - p))
    return other + _log_likelihood_derivative(p, t, parameter)


def _bce_logits(z: E, t: E, parameter: E) -> E:
    """``log(1 + exp(z)) - t z``, as a sum of terms of one sign for t = 0 and t = 1: small losses keep their digits."""
    return function("log1p_fraction", exp(-abs(z))) + abs(z) * select(z > 0, 1 - t, t)


def _bce_logits_derivative(z: E, t: E, parameter: E) -> E:
    """``sigmoid(z) - t``."""
    e = exp(-abs(z))
    tail = e / (1 + e)
    return select(z > 0, (1 - t) - tail, tail - t)


def _poisson_log(z: E, t: E, parameter: E) -> E:
    """Half the Poisson deviance of the rate ``exp(z)`` (McCullagh and Nelder, 1989, section 2.3)."""
    return (exp(z) - t) - t * (z - log(select(t > 0, t, 1)))


def _sign(d: E) -> E:
    """Return -1, 0 or 1, and NaN for NaN."""
    return select(d > 0, 1, select(d < 0, -1, d))


def _measured(whole: Loss) -> Loss:
    """Return a loss that is 0 where its target is NaN, and so are its slopes."""
    return Loss(
        lambda p, t, parameter: select(t == t, whole.value(p, t, parameter), 0),
        lambda p, t, parameter: select(t == t, whole.derivative(p, t, parameter), 0),
    )


def _loss_of_text(text: str) -> Loss:
    if is_measured(text):
        return _measured(LOSSES[text.removeprefix(MEASURED)])
    value, slope = _terms(text, LOSS_SYMBOLS)
    return Loss(lambda p, t, _: value, lambda p, t, _: slope)


LOSS_SYMBOLS = ("p", "t")
"""What the text of a loss is written with: the prediction and its target."""

LOSSES = Table(
    {
        "mse": Loss(lambda p, t, _: (p - t) * (p - t), lambda p, t, _: 2 * (p - t)),
        "mae": Loss(lambda p, t, _: abs(p - t), lambda p, t, _: _sign(p - t)),
        "huber": Loss(_huber, _huber_derivative),
        "bce": Loss(_bce, _bce_derivative),
        "bce_logits": Loss(_bce_logits, _bce_logits_derivative),
        "poisson_log": Loss(_poisson_log, lambda z, t, _: exp(z) - t),
        "cross_entropy_probabilities": Loss(_log_likelihood, _log_likelihood_derivative),
    },
    _loss_of_text,
    lambda kind: is_measured(kind) or is_blocks(kind),
)
"""Every elementwise loss, by kind."""


def _huber_curvature(p: E, t: E, delta: E) -> E:
    """The slope over the distance: the parabola that touches the loss from above (Huber 1981, section 7.8)."""
    size = abs(p - t)
    return delta / select(size > delta, size, delta)


def _bce_logits_curvature(z: E, t: E, parameter: E) -> E:
    """``sigmoid(z) (1 - sigmoid(z))``."""
    e = exp(-abs(z))
    return e / ((1 + e) * (1 + e))


CURVATURES: dict[str, Callable[[E, E, E], Term]] = {
    "mse": lambda p, t, _: 2.0,
    "huber": _huber_curvature,
    "bce_logits": _bce_logits_curvature,
    "poisson_log": lambda z, t, _: exp(z),
}
"""Second derivatives by the prediction of the losses that are convex in each element of it."""


__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_SYMBOLS",
    "CURVATURES",
    "LOSSES",
    "LOSS_SYMBOLS",
    "Activation",
    "E",
    "Loss",
    "Table",
    "symbol",
]
