"""Files for the tests of data sets."""

from __future__ import annotations

from pathlib import Path


def write(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
