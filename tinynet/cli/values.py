"""Values of options: texts of the command line as numbers, names and lists, or the message of a check."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tinynet.backends import parsed
from tinynet.base.checks import member, number, whole


def checked(check: Callable[[str], Any]) -> Callable[[str], Any]:
    """Let argparse show the message of a check."""

    def convert(text: str) -> Any:
        try:
            return check(text)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None

    return convert


def as_number(text: str, kind: Callable[[str], Any]) -> Any:
    """Return a text as a number, or as it is for a check to complain of."""
    try:
        return kind(text)
    except ValueError:
        return text


def whole_number(name: str, at_least: int = 1) -> Callable[[str], int]:
    """Return what reads a whole number."""
    return checked(lambda text: whole(name, as_number(text, int), at_least=at_least))


def number_of(name: str, **bounds: float) -> Callable[[str], float]:
    """Return what reads a number within bounds."""
    return checked(lambda text: number(name, as_number(text, float), **bounds))


@checked
def backend_name(text: str) -> str:
    """Return the name of a backend, with the number of a device or without."""
    parsed(text, "the backend")
    return text


def _parsed_widths(text: str) -> tuple[int, ...]:
    if text.strip() == "none":
        return ()
    return tuple(whole("a width in --layers", as_number(width, int)) for width in text.split(","))


widths_of = checked(_parsed_widths)


@checked
def layers_of(text: str) -> list[tuple[int, ...]]:
    """Return a list of one architecture: widths have commas already, so that others are given by the option again."""
    return [_parsed_widths(text)]


def members_of(option: str, table: Any) -> Callable[[str], list[str]]:
    """Return what reads names of a table."""
    return checked(lambda text: [member(f"--{option}", name.strip(), table) for name in text.split(",")])


@checked
def sizes_of(text: str) -> list[int]:
    """Return a list of whole numbers."""
    return [whole("--batch-size", as_number(part, int)) for part in text.split(",")]


@checked
def jobs_of(text: str) -> int:
    """Return a number of processes, or -1."""
    value = whole("--jobs", as_number(text, int), at_least=-1)
    return value or whole("--jobs", value)


@checked
def share_of(text: str) -> float | str:
    """Return a share in [0, 1), or the name of a file."""
    value = as_number(text, float)
    return value if isinstance(value, str) else number("--validation", value, at_least=0.0, below=1.0)


@checked
def quantiles_of(text: str) -> tuple[float, ...]:
    """Return quantiles, which increase."""
    found = tuple(number("--quantiles", as_number(part, float), above=0.0, below=1.0) for part in text.split(","))
    if any(b <= a for a, b in pairwise(found)):
        raise ValueError(f"--quantiles expects numbers that increase; got {text!r}. Sort them, each once.")
    return found


def choices_of(table: Any, default: str) -> str:
    """Return the names in a table, and which is the default, for help."""
    return f"{', '.join(sorted(table))} ({default})"
