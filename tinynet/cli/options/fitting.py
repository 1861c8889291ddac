"""Options that train and sweep share: the data, the loss, and settings of optimizers."""

from __future__ import annotations

import argparse
from typing import Any

from tinynet.cli.reading import add_columns, add_gaps, add_options, names
from tinynet.cli.values import choices_of, number_of, quantiles_of, share_of
from tinynet.datasets.targets import TASKS
from tinynet.losses import LOSSES

OPTIMIZER_OPTIONS: dict[str, tuple[dict[str, float], str]] = {
    "--learning-rate": ({"above": 0.0}, "of the optimizer (its default)"),
    "--weight-decay": ({"at_least": 0.0}, "of the optimizer (its default)"),
    "--momentum": ({"at_least": 0.0, "below": 1.0}, "of sgd and rmsprop (0)"),
    "--clip-norm": ({"above": 0.0}, "largest norm of a gradient; it is scaled down to that (none)"),
}
"""Settings of optimizers: their bounds, and what help says of them."""

EPOCHS_HELP = "passes over the data (100, more for few rows; 500 steps of lm, br and lbfgs)"
DROPOUT_HELP = "share of the outputs of each hidden layer that is dropped while training (none)"


def add_data(parser: argparse.ArgumentParser, validation: str) -> None:
    """Add the options of the data; ``validation`` says what is held out."""
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


def add_loss(fit: Any) -> None:
    """Add the options of the loss."""
    fit("--loss", choices=["auto", *LOSSES], default="auto", metavar="NAME", help=choices_of(LOSSES, "auto"))
    fit("--quantiles", type=quantiles_of, metavar="Q,Q", help="of --loss quantile: one, or several (0.5)")
    fit(
        "--label-smoothing",
        type=number_of("--label-smoothing", at_least=0.0, below=1.0),
        metavar="SHARE",
        help="of the targets of a cross-entropy that goes to all classes",
    )
