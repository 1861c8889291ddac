"""Values of a setting, as JSON holds them and as a table shows them."""

from __future__ import annotations

from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Return a value of a setting as JSON holds it: functions and classes by name, other objects by their repr.

    Examples
    --------
    >>> plain((8, 8)), plain(np.float64(0.5)), plain(np.tanh)
    ([8, 8], 0.5, 'tanh')
    """
    if isinstance(value, np.generic):  # First: float64 is a float, too.
        return value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, dict):
        return {str(name): plain(entry) for name, entry in value.items()}
    return getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or repr(value)


def figure(value: float, digits: int = 6) -> str:
    """Return a number for people: so many digits, but what is not 1 is never shown as 1, and no integer digit is lost.

    R2 or an accuracy of 1 means that all is right, which 0.9999996 is not. From a thousand millions on, numbers have an
    exponent.

    Examples
    --------
    >>> figure(0.99996, 4), figure(1.0, 4), figure(1.00001, 4), figure(0.98765, 4)
    ('0.99996', '1', '1.00001', '0.9877')
    >>> figure(63190.4, 4), figure(-1364321.6), figure(1.142e10, 4), figure(2.024e-5, 4)
    ('63190', '-1364322', '1.142e+10', '2.024e-05')
    """
    if 10**digits <= abs(value) < 1e9:
        return f"{value:.0f}"
    shown = f"{value:.{digits}g}"
    while shown == "1" and value != 1:
        digits += 1
        shown = f"{value:.{digits}g}"
    return shown


def text_of(value: Any) -> str:
    """Return a value of a setting as a table shows it.

    Examples
    --------
    >>> text_of(0.00012345678), text_of((32, 16)), text_of(None)
    ('0.00012346', '32,16', '-')
    """
    value = plain(value)
    if isinstance(value, float):
        return figure(value, 5)
    if isinstance(value, list):
        return ",".join(map(text_of, value)) or "none"
    return "-" if value is None else str(value)
