"""The options of ``tinynet sweep``."""

from __future__ import annotations

import argparse
from typing import Any

from tinynet.base.checks import number
from tinynet.cli.options.backend import add_backend
from tinynet.cli.options.fitting import DROPOUT_HELP, EPOCHS_HELP, OPTIMIZER_OPTIONS, add_data, add_loss
from tinynet.cli.places import SWEEP
from tinynet.cli.ranges import values
from tinynet.cli.values import (
    as_number,
    checked,
    choices_of,
    jobs_of,
    layers_of,
    members_of,
    sizes_of,
    whole_number,
)
from tinynet.layers import ACTIVATIONS
from tinynet.optimizers import OPTIMIZERS


def searched(option: str, **bounds: float) -> dict[str, Any]:
    """Return what argparse is told of an option that takes numbers, ranges and distributions."""
    check = checked(lambda text: values(option, text, lambda part: number(option, as_number(part, float), **bounds)))
    return {"type": check, "action": "append", "metavar": "VALUES"}


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tinynet sweep``."""
    add_data(parser, "held out, to tell what is best (0.2)")
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
    add_loss(fit)
    fit("--by", metavar="FIGURE", help="what tells which is best: val_loss, val_accuracy, val_r2 (val_loss)")
    fit("--dtype", choices=("float32", "float64"), help="what is computed in (float32)")
    fit("--schedule", choices=("cosine", "constant"), help="how the learning rate falls (cosine)")
    fit("--epochs", type=whole_number("--epochs"), metavar="N", help=EPOCHS_HELP)
    fit(
        "--early-stopping",
        type=whole_number("--early-stopping", 0),
        metavar="N",
        help="epochs without progress (20, more for few rows); 0: never",
    )
    fit(
        "--seed",
        type=whole_number("--seed", 0),
        default=0,
        metavar="N",
        help="of the rows held out, and of --samples (0)",
    )
    add_backend(fit)
    fit("--jobs", type=jobs_of, default=1, metavar="N", help="processes, -1: one for each core; needs joblib (1)")
    fit("--threads", type=whole_number("--threads"), metavar="N", help="of each process")
    parser.add_argument("--out", metavar="DIR", help=f"where all goes; a sweep that was interrupted goes on ({SWEEP})")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="draw no plots")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
