"""What JSON holds, of what users keep beside a model: NumPy's numbers and arrays become Python's numbers and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_PLAIN = (float, int, str, bool, type(None))
_HELD = "biufU"
"""Kinds of dtypes whose elements are numbers and texts of Python, too."""


def as_json(value: Any, name: str) -> Any:
    """Return a value as JSON holds it; tuples and arrays as lists.

    Parameters
    ----------
    value : object
    name : str
        What to call it in messages.

    Raises
    ------
    TypeError
        If it is, or holds, something that would not come back; the message tells where.

    Examples
    --------
    >>> as_json({"mean": np.array([1.5, 2.0]), "n": np.int64(3)}, "metadata")
    {'mean': [1.5, 2.0], 'n': 3}
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{name} must have texts as keys, or JSON would make texts of them; got {key!r}.")
        return {str(key): as_json(entry, f"{name}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        # Names are made only where they may be needed: a history is long.
        return [e if type(e) in _PLAIN else as_json(e, f"{name}[{i}]") for i, e in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray):
        if value.dtype.kind in _HELD and value.dtype.char != "g":  # Python has no long double.
            return value.tolist()
        if value.dtype.kind == "O":
            return as_json(value.tolist(), name)
    if isinstance(value, _PLAIN):  # Subclasses, as enumerations are.
        return value
    kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(
        f"{name} must be something that JSON holds: numbers, texts, lists and dicts of them, or None; got {kind}. "
        "Convert it first, for instance with float(), str() or .tolist()."
    )
