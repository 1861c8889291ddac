"""Formulas: elementwise activations and losses as expressions, for the rooms above that write or read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinynet_kernels import formulas, functions
from tinynet_kernels.c_like import Language, statements
from tinynet_kernels.calls import MEASURED
from tinynet_kernels.cpu.generated.elementary import ERFC_CENTRE, FORMATS
from tinynet_kernels.expressions import Expression, Term, symbol
from tinynet_kernels.formulas import Activation
from tinynet_kernels.kinds import ACTIVATIONS
from tinynet_kernels.steps import follow, is_text, term_of, text_of

__all__ = [
    "ERFC_CENTRE",
    "FORMATS",
    "Activation",
    "Expression",
    "Language",
    "Term",
    "activation",
    "follow",
    "functions",
    "is_elementwise",
    "is_text",
    "measured",
    "shown",
    "statements",
    "text_of_activation",
    "text_of_loss",
    "uses_alpha",
]

SHOWN = 60
"""Characters of a formula that are shown."""


def activation(kind: str) -> Activation:
    """Return the formula of an elementwise activation."""
    return formulas.ACTIVATIONS[kind]


def is_elementwise(kind: str) -> bool:
    """Whether an activation is a function of one number."""
    return ACTIVATIONS[kind].elementwise


def uses_alpha(kind: str) -> bool:
    """Whether an activation has a parameter."""
    return ACTIVATIONS[kind].uses_alpha


def text_of_activation(given: Callable[[Any], Any] | str) -> str:
    """Return an activation as text: what a function makes of a symbol, or a text that is checked.

    Raises
    ------
    TypeError, ValueError
        If it is no formula.
    """
    return _text("Activation", given, formulas.ACTIVATION_SYMBOLS)


def text_of_loss(given: Callable[[Any, Any], Any] | str) -> str:
    """Return an elementwise loss as text; see ``text_of_activation``."""
    return _text("ElementwiseLoss", given, formulas.LOSS_SYMBOLS)


def measured(kind: str) -> str:
    """Return the kind of a loss that is 0 where the target is NaN.

    Examples
    --------
    >>> measured("mse")
    'measured_mse'
    """
    return MEASURED + kind


def shown(text: str, *names: str) -> str:
    """Return a formula of these symbols as one reads it, cut where it is long.

    Examples
    --------
    >>> shown("formula__exp_z", "z")
    'exp(z)'
    """
    found = repr(term_of(text, names))
    return found if len(found) <= SHOWN else found[: SHOWN - 3] + "..."


def _text(name: str, given: Any, symbols: tuple[str, ...]) -> str:
    if isinstance(given, str):
        term_of(given, symbols)
        return given
    if not callable(given):
        raise TypeError(f"{name} expects a function of {' and '.join(symbols)} that returns a formula; got {given!r}.")
    return text_of(given(*map(symbol, symbols)), symbols)
