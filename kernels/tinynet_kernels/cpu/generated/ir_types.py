"""The types of LLVM's values, by the names that it has for them: ``float``, ``i64``, ``ptr``, ``<8 x float>``."""

from __future__ import annotations

import struct

I64, DOUBLE, POINTER, BYTE = "i64", "double", "ptr", "i8"

BYTES = {"float": 4, "double": 8, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "ptr": 8}
"""Of one number."""


def vector(element: str, lanes: int) -> str:
    """Return the type of so many numbers in a register.

    Examples
    --------
    >>> vector("float", 8), vector("double", 1)
    ('<8 x float>', 'double')
    """
    return element if lanes == 1 else f"<{lanes} x {element}>"


def lanes_of(kind: str) -> int:
    """Return how many numbers a type holds.

    Examples
    --------
    >>> lanes_of("<8 x float>"), lanes_of("i64")
    (8, 1)
    """
    return int(kind[1:].split(" ", 1)[0]) if kind[0] == "<" else 1


def element_of(kind: str) -> str:
    """Return the type of the numbers that a type holds.

    Examples
    --------
    >>> element_of("<8 x float>"), element_of("i64")
    ('float', 'i64')
    """
    return kind.rsplit(" ", 1)[1][:-1] if kind[0] == "<" else kind


def with_element(kind: str, element: str) -> str:
    """Return the type of as many numbers of another element."""
    return vector(element, lanes_of(kind))


def bits_of(kind: str) -> str:
    """Return the type of whole numbers of the same size.

    Examples
    --------
    >>> bits_of("<4 x double>")
    '<4 x i64>'
    """
    return with_element(kind, f"i{8 * BYTES[element_of(kind)]}")


def literal(kind: str, number: float) -> str:
    """Return a constant as LLVM reads it, floating-point numbers by their bits; in a vector all lanes are the same."""
    element = element_of(kind)
    if element in ("float", "double"):
        value = struct.unpack("f", struct.pack("f", number))[0] if element == "float" else float(number)
        text = f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
    else:
        text = str(int(number))
    return text if kind == element else f"<{', '.join([f'{element} {text}'] * lanes_of(kind))}>"
