"""``--config``: options of ``tinynet train`` from a TOML file."""

from __future__ import annotations

import argparse
import difflib
import tomllib
from pathlib import Path
from typing import Any


def parse(parser: argparse.ArgumentParser, given: list[str], args: argparse.Namespace) -> argparse.Namespace:
    """Parse the arguments again, after those of the file that ``--config`` names, so that the command line wins.

    Parameters
    ----------
    parser : ArgumentParser
        Of the whole command.
    given : list of str
        The arguments.
    args : Namespace
        What they were parsed to.

    Raises
    ------
    ValueError
        If the file is not TOML, or has a key that is no option, or a value that is none.
    SystemExit
        If the parser refuses a value.
    """
    command = given.index(args.command) + 1
    table = _read(args.config)
    data = table.pop("data", None)
    known = {name.replace("_", "-") for name in vars(args)} - {"command", "run", "config", "data"}
    tokens = [token for key, value in table.items() for token in _tokens(key, value, known, args.config)]
    result = parser.parse_args([*given[:command], *tokens, *given[command:]])
    if result.data is None and data is not None:
        result.data = str(data)
    return result


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path!r} is not TOML: {error}.") from error


def _tokens(key: str, value: Any, known: set[str], path: str) -> list[str]:
    """Return a key and its value as they would stand on the command line."""
    name = key.replace("_", "-")
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {close[0]!r}?" if close else f"The keys are {', '.join(sorted(known))} and data."
        raise ValueError(f"{path!r}: {key!r} is no option of tinynet train. {hint}")
    if isinstance(value, bool):
        return [f"--{name}"] if value else []
    if isinstance(value, list):
        value = ",".join(_quoted(str(entry)) for entry in value)
    if not isinstance(value, str | int | float):
        raise ValueError(f"{path!r}: {key!r} must be a text, a number, true or false, or a list; got {value!r}.")
    return [f"--{name}={value}"]


def _quoted(text: str) -> str:
    """Quote a name that has a comma, as in CSV."""
    return f'"{text}"' if "," in text else text
