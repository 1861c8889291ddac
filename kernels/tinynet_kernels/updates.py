"""Updates: the step of every optimizer, for one number, as formulas; their derivatives are nobody's business.

Flags say what a step does beyond the least, such as ``momentum``: a step without it has no trace of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tinynet_kernels.expressions import Expression, Term, function, select, symbol
from tinynet_kernels.network import Setting

E = Expression

SETTINGS: dict[str, tuple[str, ...]] = {
    "sgd": ("momentum", "nesterov", "decay"),
    "adam": ("beta1", "beta2", "epsilon", "decay", "hat"),
    "adamw": ("beta1", "beta2", "epsilon", "decay"),
    "rmsprop": ("alpha", "epsilon", "decay", "momentum", "centered"),
}
"""Names of the settings of each optimizer, in their order."""

NUMBERS: dict[str, tuple[str, ...]] = {
    "sgd": ("rate", "momentum", "decay"),
    "adam": ("rate", "root", "new1", "beta2", "new2", "epsilon", "decay", "keep"),
    "adamw": ("rate", "root", "new1", "beta2", "new2", "epsilon", "decay", "keep"),
    "rmsprop": ("rate", "alpha", "fresh", "epsilon", "decay", "momentum"),
}
"""What the formula of each optimizer reads, beside the parameter, its gradient and the moments."""


def flags(kind: str, settings: tuple[Setting, ...]) -> tuple[str, ...]:
    """Return which of the settings change the code of a step: those that are not 0 and could be.

    Examples
    --------
    >>> flags("sgd", (0.9, 0.0, 0.0))
    ('momentum',)
    """
    changing = {"decay", "momentum", "nesterov", "centered", "hat"}
    return tuple(name for name, value in zip(SETTINGS[kind], settings, strict=True) if name in changing and value != 0)


def n_moments(kind: str, on: tuple[str, ...]) -> int:
    """Return how many numbers an optimizer remembers for each parameter."""
    if kind == "sgd":
        return int("momentum" in on)
    return 2 if kind in ("adam", "adamw") else 1 + ("momentum" in on) + ("centered" in on)


class Update(NamedTuple):
    """A parameter after a step, and what the optimizer remembers of it, in the order of the rows of ``moments``."""

    parameter: E
    moments: tuple[E, ...] = ()


def sgd(p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, momentum: bool, nesterov: bool, decay: bool) -> Update:
    """Gradient descent; with momentum as PyTorch has it, and Nesterov's of Sutskever et al. (2013) in that form."""
    if decay:
        g = g + s["decay"] * p
    if not momentum:
        return Update(p - s["rate"] * g)
    velocity = s["momentum"] * moments[0] + g
    return Update(p - s["rate"] * (g + s["momentum"] * velocity if nesterov else velocity), (velocity,))


def adam(p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, decay: bool, decoupled: bool) -> Update:
    """Adam (Kingma and Ba, 2015, algorithm 1); with ``decoupled`` decay AdamW (Loshchilov and Hutter, 2019).

    ``rate`` is that of the step over ``1 - beta1**t``, ``root`` is ``1 / sqrt(1 - beta2**t)``, ``new1`` and ``new2``
    are 1 less the betas, and ``keep`` is 1 less rate times decay.
    """
    if decay:
        g = g + s["decay"] * p
    if decoupled:
        p = p * s["keep"]
    first = moments[0] + s["new1"] * (g - moments[0])
    second = s["beta2"] * moments[1] + s["new2"] * g * g
    return Update(p - s["rate"] * (first / (function("sqrt", second) * s["root"] + s["epsilon"])), (first, second))


def rmsprop(
    p: E, g: E, moments: tuple[E, ...], s: dict[str, E], *, decay: bool, momentum: bool, centered: bool
) -> Update:
    """RMSprop (Tieleman and Hinton, 2012, lecture 6.5); centered as in Graves (2013), equations 38-45.

    The centered variance is kept from falling below 0 by rounding, where PyTorch's square root gives NaN.
    """
    if decay:
        g = g + s["decay"] * p
    square = s["alpha"] * moments[0] + s["fresh"] * g * g
    kept, variance = [square], square
    average = None
    if centered:
        average = moments[-1] + s["fresh"] * (g - moments[-1])
        difference = square - average * average
        variance = select(difference < 0, 0, difference)
    direction = g / (function("sqrt", variance) + s["epsilon"])
    if momentum:
        direction = s["momentum"] * moments[1] + direction
        kept.append(direction)
    if average is not None:
        kept.append(average)
    return Update(p - s["rate"] * direction, tuple(kept))


def formula_of(kind: str, on: Sequence[str]) -> Callable[..., Update]:
    """Return the formula of an optimizer with these flags: ``f(p, g, moments, numbers)``, see ``sgd``."""
    has = {name: name in on for name in ("decay", "momentum", "nesterov", "centered")}

    def chosen(p: E, g: E, m: tuple[E, ...], s: dict[str, E]) -> Update:
        if kind == "sgd":
            return sgd(p, g, m, s, momentum=has["momentum"], nesterov=has["nesterov"], decay=has["decay"])
        if kind == "rmsprop":
            return rmsprop(p, g, m, s, decay=has["decay"], momentum=has["momentum"], centered=has["centered"])
        return adam(p, g, m, s, decay=has["decay"] and kind == "adam", decoupled=kind == "adamw" or "decoupled" in on)

    return chosen


def terms_of(kind: str, on: Sequence[str]) -> list[Term]:
    """Return the parameter and the moments after a step, of the symbols ``p``, ``g``, ``m0``, ... and ``NUMBERS``.

    Examples
    --------
    >>> terms_of("sgd", ["momentum"])
    [(p - (rate * ((momentum * m0) + g))), ((momentum * m0) + g)]
    """
    moments = tuple(symbol(f"m{i}") for i in range(n_moments(kind, tuple(on))))
    numbers = {name: symbol(name) for name in NUMBERS[kind]}
    new = formula_of(kind, on)(symbol("p"), symbol("g"), moments, numbers)
    return [new.parameter, *new.moments]
