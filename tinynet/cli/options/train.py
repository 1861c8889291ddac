"""The options of ``tinynet train``."""

from __future__ import annotations

import argparse

from tinynet.cli.options.backend import add_backend
from tinynet.cli.options.fitting import DROPOUT_HELP, EPOCHS_HELP, OPTIMIZER_OPTIONS, add_data, add_loss
from tinynet.cli.places import LOSSES as LOSSES_PLOT
from tinynet.cli.places import MODEL
from tinynet.cli.values import checked, choices_of, number_of, whole_number, widths_of
from tinynet.layers import ACTIVATIONS
from tinynet.optimizers import OPTIMIZERS
from tinynet.training.identity import checked_changes


@checked
def changes_of(text: str) -> tuple[str, ...]:
    """Return what may be new in a training that goes on."""
    return checked_changes([name.strip().replace("-", "_") for name in text.split(",")])


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tinynet train``."""
    add = parser.add_argument
    add_data(parser, "held out for validation (0.2, or the test set)")
    network = parser.add_argument_group("network").add_argument
    network("--layers", type=widths_of, metavar="N,N", help="widths of the hidden layers, or none (64,64)")
    network("--activation", choices=sorted(ACTIVATIONS), metavar="NAME", help=choices_of(ACTIVATIONS, "relu"))
    network("--dropout", type=number_of("--dropout", at_least=0.0, below=1.0), metavar="RATE", help=DROPOUT_HELP)
    network("--dtype", choices=("float32", "float64"), help="what is computed in (float32)")
    fit = parser.add_argument_group("training").add_argument
    add_loss(fit)
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
        help="stop after N epochs without progress (20, more for few rows); 0: never",
    )
    fit("--seed", type=whole_number("--seed", 0), default=0, metavar="N", help="of all random numbers (0)")
    add_backend(fit)
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
