"""The options of ``tinynet evaluate``."""

from __future__ import annotations

import argparse

from tinynet.cli.options.predict import add_model_and_data
from tinynet.cli.reading import add_gaps, names
from tinynet.cli.values import whole_number


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tinynet evaluate``."""
    add_model_and_data(parser)
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
