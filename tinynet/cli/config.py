"""``--config``: options of ``tinynet train`` from a TOML file."""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

from tinynet.base.hints import did_you_mean


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
    tokens = []
    for key, value in table.items():
        name = _option(key, known, args.config)
        before = getattr(args, name.replace("-", "_"))
        if not (isinstance(before, list) and before):  # Options that add up would add to those of the command line.
            tokens += _tokens(name, value, isinstance(before, bool), args.config)
    result = parser.parse_args([*given[:command], *tokens, *given[command:]])
    if result.data is None and data is not None:
        result.data = str(data)
    return result


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path!r} is not TOML: {error}.") from error


def _option(key: str, known: set[str], path: str) -> str:
    """Return the name of the option that a key stands for."""
    name = key.replace("_", "-")
    if name not in known:
        hint = did_you_mean(name, known) or f" The keys are {', '.join(sorted(known))} and data."
        raise ValueError(f"{path!r}: {key!r} is no option of tinynet train.{hint}")
    return name


def _tokens(name: str, value: Any, is_flag: bool, path: str) -> list[str]:
    """Return an option and its value as they would stand on the command line."""
    if isinstance(value, bool):
        value = "yes" if value else "no"
        if is_flag:
            return [f"--{name}"] if value == "yes" else []
    if isinstance(value, list):
        value = ",".join(quoted(str(entry)) for entry in value)
    if not isinstance(value, str | int | float):
        key = name.replace("-", "_")
        raise ValueError(f"{path!r}: {key!r} must be a text, a number, true or false, or a list; got {value!r}.")
    return [f"--{name}={value}"]


def quoted(text: str) -> str:
    """Quote a name that has a comma, as in CSV."""
    return f'"{text}"' if "," in text else text
