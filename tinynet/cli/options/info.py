"""The options of ``tinynet info``."""

from __future__ import annotations

import argparse


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``tinynet info``."""
    parser.add_argument("--clear-cache", action="store_true", help="delete the compiled code that is kept on disk")
