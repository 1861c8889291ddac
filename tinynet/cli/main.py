"""The command ``tinynet``: arguments, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any, NoReturn

from tinynet.base.errors import ResumeError, TinynetError
from tinynet.base.hints import did_you_mean
from tinynet.base.version import __version__

FAILED, INTERRUPTED, CLOSED = 2, 130, 141
"""Exit codes: an error; Ctrl-C; whoever read our output went away (128 and the number of the signal, as a shell's)."""


def main(argv: Sequence[str] | None = None, imported: Callable[[], object] = lambda: None) -> int:
    """Run the command; return its exit code.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.
    imported : callable, optional
        Is called once most of what the command needs has been imported.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with code 2 for arguments that are wrong.
    """
    with _escaping():
        return _run(list(sys.argv[1:] if argv is None else argv), imported)


@contextmanager
def _escaping() -> Iterator[None]:
    """Let what the encoding of the output lacks be written as escapes: columns may have any names."""
    stream: Any = sys.stdout
    if not hasattr(stream, "reconfigure"):
        yield
        return
    kept = stream.errors
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors=kept)


def _run(given: list[str], imported: Callable[[], object]) -> int:
    parser = make_parser(given[0] if given and given[0] in COMMANDS else None)
    args = parser.parse_args(given)
    try:
        if getattr(args, "config", None) is not None:
            args = import_module("tinynet.cli.config").parse(parser, given, args)
        command: Callable[[argparse.Namespace], int] = args.command_of()
        imported()
        with _silent() if getattr(args, "quiet", False) else nullcontext():
            code = command(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("tinynet: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return CLOSED
    except (TinynetError, OSError, ValueError, TypeError, MemoryError) as error:
        if args.debug:
            import traceback

            traceback.print_exc()
        else:
            print(f"tinynet: error: {_one_line(error)}", file=sys.stderr)
        _drop_output()
        return FAILED


def _silent() -> AbstractContextManager[object]:
    """Return a context in which nobody is told of what is compiled."""
    from tinynet.backends.compiling import watched

    return watched(lambda what: None)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {os.fspath(error.filename)!r}"
        return f"{error.strerror}{place}"
    if isinstance(error, ResumeError):
        return _resume_refused(error.differences)
    return " ".join(str(error).split()) or type(error).__name__


def _resume_refused(differences: dict[str, str]) -> str:
    """Return the message of a refused ``--resume`` in the words of the command line."""
    from tinynet.training.identity import CHANGEABLE  # Whoever resumes has imported it.

    remedy = "Give those"
    if set(differences) <= set(CHANGEABLE):
        names = ",".join(differences).replace("_", "-")
        remedy += f", or --resume-changes {names} to go on with the new ones"
    told = "; ".join(differences.values()).replace("this fit has", "now it is")
    return f"--resume expects the options and data of the interrupted training: {told}. {remedy}."


def _drop_output() -> None:
    """Lose what is still unwritten where it cannot be written, or Python complains once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _imports(module: str, function: str) -> Callable[[], Callable[[argparse.Namespace], int]]:
    """Return what imports a command and returns it: each needs much that the others do not."""
    return lambda: getattr(import_module(f"tinynet.cli.{module}"), function)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and name the option that was meant."""

    commands: Mapping[str, Parser]
    options: str | None = None
    """The module that adds the options of a command, until it has."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the values of the arguments and what is none; the first call adds the options of a command."""
        if self.options is not None:
            module, self.options = self.options, None
            import_module(module).add(self)
        return super().parse_known_args(args, namespace)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the values of the arguments; leave if there is one that is none."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = self.commands[found.command]
            options = [text.partition("=")[0] for text in unknown if text.startswith("-")]
            hints = [did_you_mean(option, command._option_string_actions) for option in options]
            hint = next(filter(None, hints), "") if options else " Several values of an option are joined by commas."
            command.error(f"unrecognized arguments: {' '.join(unknown)}.{hint}")
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the choice that was meant."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), known)
        raise argparse.ArgumentError(action, f"expected one of {', '.join(known)}; got {value!r}.{hint}")

    def error(self, message: str) -> NoReturn:
        """Print the error, and leave."""
        text = " ".join(message.split())
        end = "" if text.endswith(("?", ".")) else "."
        self.exit(FAILED, f"{self.prog}: error: {text}{end} See: {self.prog} --help\n")


def make_parser(command: str | None = None) -> Parser:
    """Return the parser of all arguments, or of those of one command."""
    parser = Parser(prog="tinynet", description="Train small and medium dense networks, quickly.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tinynet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parser.commands = commands.choices
    for name in COMMANDS if command is None else [command]:
        module, function, text = COMMANDS[name]
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.options = f"tinynet.cli.options.{name}"
        one.set_defaults(command_of=_imports(module, function))
        one.add_argument("--debug", action="store_true", help="show where an error arose")
    return parser


COMMANDS: dict[str, tuple[str, str, str]] = {
    "train": ("train", "run", "Train a network on data, and write the model and a plot of its losses."),
    "sweep": ("sweep", "run", "Train many networks, to find out which settings are best on data."),
    "predict": ("predict", "predict", "Predict with a model, as CSV."),
    "evaluate": ("predict", "evaluate", "Tell how good the predictions of a model are."),
    "info": ("info", "run", "Tell what works on this machine, and how to get what does not."),
}
"""By the name of a command: the file and the function that run it, and what it says of itself. A file of its name in
``options`` adds its options."""
