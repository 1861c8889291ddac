"""The options of ``tinynet predict``."""

from __future__ import annotations

import argparse

from tinynet.cli.options.backend import add_backend
from tinynet.cli.reading import add_options


def add_model_and_data(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that uses a model."""
    parser.add_argument("model", metavar="MODEL", help="a file that `tinynet train` or net.save wrote")
    parser.add_argument(
        "data", metavar="DATA", help="CSV, Parquet, NPY or NPZ file, - for standard input, IDX file or folder of such"
    )
    add_options(parser.add_argument, "as in training")
    add_backend(parser.add_argument)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tinynet predict``."""
    add_model_and_data(parser)
    parser.add_argument("--out", metavar="FILE", help="CSV file to write (standard output)")
    parser.add_argument("--probabilities", action="store_true", help="add a column for each class")
