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


def text_of(value: Any) -> str:
    """Return a value of a setting as a table shows it.

    Examples
    --------
    >>> text_of(0.00012345678), text_of((32, 16)), text_of(None)
    ('0.00012346', '32,16', '-')
    """
    value = plain(value)
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list):
        return ",".join(map(text_of, value)) or "none"
    return "-" if value is None else str(value)
