"""A model as a table: in text, and in HTML for Jupyter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinynet.models.sequential import Sequential

HEAD = ("#", "layer", "output", "parameters")


def as_text(model: Sequential) -> str:
    """Return the table as lines of text."""
    rows = [HEAD, *_rows(model)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join([*lines, "", _total(model)])


def as_html(model: Sequential) -> str:
    """Return the table as HTML."""
    import html  # Its table of all characters takes a while, and only notebooks ask for this.

    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in HEAD)
    cells = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in _rows(model))
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    total = html.escape(_total(model))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{total}</p>"


def _rows(model: Sequential) -> list[tuple[str, str, str, str]]:
    pairs = zip(model.layers, model.program.ops, strict=True)
    return [
        (str(position), repr(layer), f"(batch, {op.n_out})", _count(layer.n_parameters, position in model.frozen))
        for position, (layer, op) in enumerate(pairs)
    ]


def _total(model: Sequential) -> str:
    size, trained = model.n_parameters * np.dtype(model.dtype).itemsize, model.trained_program.n_trained
    some = f" ({trained:,} of them trained)" if trained < model.n_parameters else ""
    return f"{model.n_parameters:,} parameters{some}, {size:,} bytes, {model.dtype}, backend {model.backend.name}"


def _count(n_parameters: int, frozen: bool) -> str:
    return f"{n_parameters:,}" + " frozen" * frozen
