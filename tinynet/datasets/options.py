"""Messages about data name options of the command line: a note tells who calls from Python what these are there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

OPTION = re.compile(r"--([a-z][a-z-]*)")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def with_arguments_named(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let errors of a function have a note that tells which arguments the options in their messages are.

    Examples
    --------
    >>> @with_arguments_named
    ... def read():
    ...     raise ValueError("the value is missing; say --missing-words NA")
    >>> try:
    ...     read()
    ... except ValueError as error:
    ...     print(error.__notes__)
    ['In Python: --missing-words is the argument missing_words.']
    """

    @wraps(function)
    def noting(*args: Arguments.args, **given: Arguments.kwargs) -> Result:
        try:
            return function(*args, **given)
        except ValueError as error:
            options = dict.fromkeys(OPTION.findall(str(error)))
            if options and not hasattr(error, "__notes__"):
                named = [f"--{option} is the argument {option.replace('-', '_')}" for option in options]
                error.add_note(f"In Python: {', '.join(named)}.")
            raise

    return noting
