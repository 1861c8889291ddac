"""The command ``tinynet``: arguments, and errors in one line."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any, NoReturn

from tinynet.backends import NAMES
from tinynet.backends.compiling import watched
from tinynet.base.errors import ResumeError, TinynetError
from tinynet.base.hints import did_you_mean
from tinynet.base.version import __version__
from tinynet.cli.places import LOSSES as LOSSES_PLOT
from tinynet.cli.places import MODEL, SWEEP
from tinynet.cli.reading import add_columns, add_gaps, add_options, names
from tinynet.cli.values import (
    backend_name,
    changes_of,
    choices_of,
    jobs_of,
    layers_of,
    members_of,
    number_of,
    quantiles_of,
    searched,
    share_of,
    sizes_of,
    whole_number,
    widths_of,
)
from tinynet.datasets.targets import TASKS
from tinynet.layers import ACTIVATIONS
from tinynet.losses import LOSSES
from tinynet.optimizers import OPTIMIZERS
from tinynet.training.identity import CHANGEABLE

FAILED, INTERRUPTED, CLOSED = 2, 130, 141
"""Exit codes: an error; Ctrl-C; whoever read our output went away (128 and the number of the signal, as a shell's)."""

BACKEND_HELP = f"what computes: auto, {', '.join(NAMES)}, or gpu:1 for the second GPU (TINYNET_BACKEND, else auto)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Raises
    ------
    SystemExit
        After ``--help`` and ``--version``, and with code 2 for arguments that are wrong.
    """
    with _escaping():
        return _run(list(sys.argv[1:] if argv is None else argv))


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


def _run(given: list[str]) -> int:
    parser = make_parser()
    args = parser.parse_args(given)
    try:
        if getattr(args, "config", None) is not None:
            args = import_module("tinynet.cli.config").parse(parser, given, args)
        with watched(lambda what: None) if getattr(args, "quiet", False) else nullcontext():
            code: int = args.run(args)
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
            traceback.print_exc()
        else:
            print(f"tinynet: error: {_one_line(error)}", file=sys.stderr)
        _drop_output()
        return FAILED


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f": {os.fspath(error.filename)!r}"
        return f"{error.strerror}{place}"
    if isinstance(error, ResumeError):
        return _resume_refused(error.differences)
    return " ".join(str(error).split()) or type(error).__name__


def _resume_refused(differences: dict[str, str]) -> str:
    """Return the message of a refused ``--resume`` in the words of the command line."""
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


def _later(module: str, function: str = "run") -> Callable[[argparse.Namespace], int]:
    """Return what runs a command: each imports much that the others do not need, when it is called."""

    def run(args: argparse.Namespace) -> int:
        code: int = getattr(import_module(f"tinynet.cli.{module}"), function)(args)
        return code

    return run


OPTIMIZER_OPTIONS: dict[str, tuple[dict[str, float], str]] = {
    "--learning-rate": ({"above": 0.0}, "of the optimizer (its default)"),
    "--weight-decay": ({"at_least": 0.0}, "of the optimizer (its default)"),
    "--momentum": ({"at_least": 0.0, "below": 1.0}, "of sgd and rmsprop (0)"),
    "--clip-norm": ({"above": 0.0}, "largest norm of a gradient; it is scaled down to that (none)"),
}
"""Settings of optimizers: their bounds, and what help says of them."""

EPOCHS_HELP = "passes over the data (100, more for few rows; 500 steps of lm, br and lbfgs)"
DROPOUT_HELP = "share of the outputs of each hidden layer that is dropped while training (none)"


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and name the option that was meant."""

    commands: Mapping[str, Parser]

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


def make_parser() -> Parser:
    """Return the parser of all arguments."""
    parser = Parser(prog="tinynet", description="Train small and medium dense networks, quickly.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"tinynet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    parser.commands = commands.choices
    for name, fill, text in COMMANDS:
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.add_argument("--debug", action="store_true", help="show where an error arose")
        fill(command)
    return parser


def _data(parser: argparse.ArgumentParser, validation: str) -> None:
    parser.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="CSV, Parquet, NPY or NPZ file, - for standard input, or folder of IDX files; default: the sine problem",
    )
    data = parser.add_argument_group("data").add_argument
    columns: dict[str, Any] = {"type": names, "action": "extend", "default": [], "metavar": "NAMES"}
    data("--target", **columns, help="target columns, by name or position (last column)")
    data("--ignore", **columns, help="columns to leave out")
    add_options(data, ".")
    add_columns(data)
    add_gaps(data)
    data("--notebook", action="store_true", help="the notebook's own network, without data: sigmoids cannot meet sines")
    data("--task", choices=TASKS, default="auto", help="what the targets are (auto)")
    data("--validation", type=share_of, metavar="SHARE|FILE", help=validation)


def _loss(fit: Any) -> None:
    """Add the options of the loss."""
    fit("--loss", choices=["auto", *LOSSES], default="auto", metavar="NAME", help=choices_of(LOSSES, "auto"))
    fit("--quantiles", type=quantiles_of, metavar="Q,Q", help="of --loss quantile: one, or several (0.5)")
    fit(
        "--label-smoothing",
        type=number_of("--label-smoothing", at_least=0.0, below=1.0),
        metavar="SHARE",
        help="of the targets of a cross-entropy that goes to all classes",
    )


def _train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_later("train"))
    add = parser.add_argument
    _data(parser, "held out for validation (0.2, or the test set)")
    network = parser.add_argument_group("network").add_argument
    network("--layers", type=widths_of, metavar="N,N", help="widths of the hidden layers, or none (64,64)")
    network("--activation", choices=sorted(ACTIVATIONS), metavar="NAME", help=choices_of(ACTIVATIONS, "relu"))
    network("--dropout", type=number_of("--dropout", at_least=0.0, below=1.0), metavar="RATE", help=DROPOUT_HELP)
    network("--dtype", choices=("float32", "float64"), help="what is computed in (float32)")
    fit = parser.add_argument_group("training").add_argument
    _loss(fit)
    fit("--optimizer", choices=sorted(OPTIMIZERS), metavar="NAME", help=choices_of(OPTIMIZERS, "adam"))
    for option, (bounds, text) in OPTIMIZER_OPTIONS.items():
        fit(option, type=number_of(option, **bounds), metavar="NUMBER", help=text)
    fit("--schedule", choices=("cosine", "constant"), help="how the learning rate falls (cosine)")
    fit("--epochs", type=whole_number("--epochs"), metavar="N", help=EPOCHS_HELP)
    fit("--batch-size", type=whole_number("--batch-size"), metavar="N", help="rows in an update (32)")
    fit(
        "--early-stopping",
        type=whole_number("--early-stopping", 0),
        metavar="N",
        help="stop after N epochs without progress",
    )
    fit("--seed", type=whole_number("--seed", 0), default=0, metavar="N", help="of all random numbers (0)")
    fit("--backend", type=backend_name, metavar="NAME", help=BACKEND_HELP)
    files = parser.add_argument_group("files").add_argument
    files("--out", metavar="FILE", help=f"the model ({MODEL})")
    files("--plot", metavar="FILE", help=f"the losses, as .png, .svg or .pdf, or none ({LOSSES_PLOT})")
    files("--checkpoint", metavar="FILE", help="keep there what --resume needs")
    files(
        "--checkpoint-every",
        type=whole_number("--checkpoint-every"),
        default=10,
        metavar="N",
        help="epochs between two checkpoints (10)",
    )
    files("--resume", action="store_true", help="go on from the checkpoint, with the same options")
    files(
        "--resume-changes",
        type=changes_of,
        default=(),
        metavar="NAMES",
        help="what may be new all the same: learning-rate, epochs (fewer), callbacks (--early-stopping)",
    )
    files("--config", metavar="FILE", help="options from a TOML file; those of the command line win")
    add("--quiet", action="store_true", help="print nothing but errors")


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_later("sweep"))
    _data(parser, "held out, to tell what is best (0.2)")
    many = parser.add_argument_group(
        "settings to try",
        "Give an option again for another value. VALUES are a number, numbers with commas, or a range such as "
        "1e-4:1e-1:log:20 or 0:0.5:linear:6; without its last number it is drawn from (--samples).",
    ).add_argument
    many(
        "--layers", type=layers_of, action="append", metavar="N,N", help="widths of the hidden layers, or none (64,64)"
    )
    names: tuple[tuple[str, Any, str], ...] = (("activation", ACTIVATIONS, "relu"), ("optimizer", OPTIMIZERS, "adam"))
    for name, table, default in names:
        many(
            f"--{name}", type=members_of(name, table), action="append", metavar="NAMES", help=choices_of(table, default)
        )
    many("--dropout", **searched("--dropout", at_least=0.0, below=1.0), help=DROPOUT_HELP)
    for option, (bounds, text) in OPTIMIZER_OPTIONS.items():
        many(option, **searched(option, **bounds), help=text)
    many("--batch-size", type=sizes_of, action="append", metavar="N,N", help="rows in an update (32)")
    many("--samples", type=whole_number("--samples"), metavar="N", help="draw so many settings at random (try all)")
    many(
        "--seeds",
        type=whole_number("--seeds"),
        default=3,
        metavar="N",
        help="train each setting with so many seeds (3)",
    )
    fit = parser.add_argument_group("training").add_argument
    _loss(fit)
    fit("--by", metavar="FIGURE", help="what tells which is best: val_loss, val_accuracy, val_r2 (val_loss)")
    fit("--dtype", choices=("float32", "float64"), help="what is computed in (float32)")
    fit("--schedule", choices=("cosine", "constant"), help="how the learning rate falls (cosine)")
    fit("--epochs", type=whole_number("--epochs"), metavar="N", help=EPOCHS_HELP)
    fit(
        "--early-stopping",
        type=whole_number("--early-stopping", 0),
        metavar="N",
        help="epochs without progress; 0: never",
    )
    fit(
        "--seed",
        type=whole_number("--seed", 0),
        default=0,
        metavar="N",
        help="of the rows held out, and of --samples (0)",
    )
    fit("--backend", type=backend_name, metavar="NAME", help=BACKEND_HELP)
    fit("--jobs", type=jobs_of, default=1, metavar="N", help="processes, -1: one for each core; needs joblib (1)")
    fit("--threads", type=whole_number("--threads"), metavar="N", help="of each process")
    parser.add_argument("--out", metavar="DIR", help=f"where all goes; a sweep that was interrupted goes on ({SWEEP})")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="draw no plots")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def _model_and_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a file that `tinynet train` or net.save wrote")
    parser.add_argument(
        "data", metavar="DATA", help="CSV, Parquet, NPY or NPZ file, - for standard input, IDX file or folder of such"
    )
    add_options(parser.add_argument, "as in training")
    parser.add_argument("--backend", type=backend_name, metavar="NAME", help=BACKEND_HELP)


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_later("predict", "predict"))
    _model_and_data(parser)
    parser.add_argument("--out", metavar="FILE", help="CSV file to write (standard output)")
    parser.add_argument("--probabilities", action="store_true", help="add a column for each class")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_later("predict", "evaluate"))
    _model_and_data(parser)
    add_gaps(parser.add_argument)
    parser.add_argument(
        "--target",
        type=names,
        action="extend",
        default=[],
        metavar="NAMES",
        help="where the targets stand, if under other names",
    )
    parser.add_argument(
        "--worst",
        type=whole_number("--worst", 0),
        default=5,
        metavar="N",
        help="how many of the worst rows to list (5)",
    )
    parser.add_argument(
        "--plot", metavar="FILE", help="predicted against true, or confusion and reliability, as .png, .svg or .pdf"
    )


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clear-cache", action="store_true", help="delete the compiled code that is kept on disk")
    parser.set_defaults(run=_later("info"))


COMMANDS: tuple[tuple[str, Callable[[argparse.ArgumentParser], None], str], ...] = (
    ("train", _train, "Train a network on data, and write the model and a plot of its losses."),
    ("sweep", _sweep, "Train many networks, to find out which settings are best on data."),
    ("predict", _predict, "Predict with a model, as CSV."),
    ("evaluate", _evaluate, "Tell how good the predictions of a model are."),
    ("info", _info, "Tell what works on this machine, and how to get what does not."),
)
