"""The maths of layers, losses, optimizers, schedules, initializers and uncertainty: one table, ``docs/formulas.toml``.

``formulas`` makes pages of it; ``tests/test_docs.py`` computes the NumPy form of every entry beside the library.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tinynet import layers, losses, optimizers, schedules
from tinynet.layers import initializers
from tinynet.models import posterior

TABLE = Path(__file__).resolve().parent.parent / "formulas.toml"

Entry = Mapping[str, Any]


def table() -> dict[str, dict[str, Entry]]:
    """Return the entries by the name of their class, by the name of their page."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def classes() -> dict[str, set[str]]:
    """Return what the library has: the names of its classes for each page."""
    return {
        "layers": set(layers.LAYERS),
        "losses": _public(losses, losses.Loss),
        "optimizers": _public(optimizers, optimizers.Optimizer),
        "schedules": _public(schedules, schedules.Schedule),
        "initializers": _public(initializers, initializers.Initializer),
        "uncertainty": {posterior.Laplace.__name__, *_public(posterior, posterior.Laplace)},
    }


def differences() -> list[str]:
    """Tell what the table lacks, and what it has too much of."""
    found, wanted = table(), classes()
    words = []
    for page in sorted(found.keys() | wanted.keys()):
        described, existing = set(found.get(page, ())), wanted.get(page, set())
        words += [f"{TABLE.name} has no entry for {page}.{name}" for name in sorted(existing - described)]
        words += [f"{TABLE.name} describes {page}.{name}: no such class" for name in sorted(described - existing)]
    return words


def _public(module: ModuleType, base: type) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and not name.startswith("_")
    }
