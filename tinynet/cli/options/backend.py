"""The option of the backend, which most commands have."""

from __future__ import annotations

from typing import Any

from tinynet.backends import NAMES
from tinynet.cli.values import backend_name


def add_backend(add: Any) -> None:
    """Add the option to a group of arguments."""
    add(
        "--backend",
        type=backend_name,
        metavar="NAME",
        help=f"what computes: auto, {', '.join(NAMES)}, or gpu:1 for the second GPU (TINYNET_BACKEND, else auto)",
    )
