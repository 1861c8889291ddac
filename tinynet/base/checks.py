"""Checks of single settings: a number within bounds, a whole number, a name from a table."""

from __future__ import annotations

import math
import operator
from typing import Any

from tinynet.base.hints import did_you_mean

LONG = 200
"""Characters of a value that a message shows; a longer one is called by its type."""


def number(
    name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf
) -> float:
    """Return ``value`` as a finite float within its bounds.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not finite or breaks a bound; the message tells which.

    Examples
    --------
    >>> number("rate", 0.5, at_least=0.0, below=1.0)
    0.5
    """
    try:
        if isinstance(value, str):
            raise TypeError
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number; got {value!r}.") from None
    except OverflowError:
        result = math.inf  # A whole number beyond all floats.
    if math.isfinite(result) and result > above and result >= at_least and result < below:
        return result
    bounds = [f"> {above:g}"] * (above > -math.inf) + [f">= {at_least:g}"] * (at_least > -math.inf)
    bounds += [f"< {below:g}"] * (below < math.inf)
    wanted = " and ".join(bounds)
    raise ValueError(f"{name} must be a finite number{' ' * bool(bounds)}{wanted}; got {value!r}.")


def setting(
    name: str, value: Any, *, above: float = -math.inf, at_least: float = -math.inf, below: float = math.inf
) -> float | tuple[float, ...]:
    """Return ``value`` as a number within its bounds, or as one for each model of an ensemble.

    Raises
    ------
    TypeError, ValueError
        As for ``number``; the message tells which of several values it is.

    Examples
    --------
    >>> setting("rate", 0.5), setting("rate", [0.1, 0.2])
    (0.5, (0.1, 0.2))
    """
    shape = getattr(value, "shape", None)
    if shape is None and isinstance(value, list | tuple):
        shape = (len(value),)
    if not shape:
        return number(name, value, above=above, at_least=at_least, below=below)
    if len(shape) != 1:
        raise ValueError(f"{name} must be a number, or a sequence with one for each model; got shape {shape}.")
    return tuple(
        number(f"{name}[{i}]", entry, above=above, at_least=at_least, below=below) for i, entry in enumerate(value)
    )


def whole(name: str, value: Any, *, at_least: int = 1) -> int:
    """Return ``value`` as an int not below ``at_least``.

    Raises
    ------
    TypeError
        If it is not a whole number.
    ValueError
        If it is too small.

    Examples
    --------
    >>> whole("epochs", 10)
    10
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number; got {value!r}.") from None
    if result < at_least:
        raise ValueError(f"{name} must be a whole number >= {at_least}; got {result}.")
    return result


def member(what: str, value: object, valid: Any) -> Any:
    """Return ``value`` if it is one of ``valid``, else raise a ValueError that lists them.

    Examples
    --------
    >>> member("reduction", "mean", ("mean", "sum"))
    'mean'
    """
    if isinstance(value, str) and value in valid:
        return value
    names = ", ".join(sorted(repr(name) for name in valid))
    hint = did_you_mean(value, valid) if isinstance(value, str) else ""
    got = repr(value)
    if len(got) > LONG:
        got = f"an object of {type(value).__name__}"
    raise ValueError(f"{what} must be one of {names}; got {got}.{hint}")
