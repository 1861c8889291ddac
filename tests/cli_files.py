"""Files for the tests of the command line, and what it printed."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np


def write_csv(path: str, names: list[str] | None, *columns: Any) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        if names:
            writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))


def write_flowers(path: str, n: int = 120, seed: int = 0) -> None:
    """Three kinds of flowers that can be told apart."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, n)
    size = kind * 4 + rng.normal(size=n)
    write_csv(path, ["size", "noise", "kind"], size, rng.normal(size=n), [("oak", "elm", "fir")[k] for k in kind])


def rows(path: str) -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


def figures(text: str) -> dict[str, float]:
    """What ``tinynet evaluate`` printed above its tables."""
    lines = text.partition("\n\n")[0].splitlines()
    return {name: float(value) for name, value in (line.split() for line in lines)}
