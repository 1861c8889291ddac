"""``tinynet predict`` and ``tinynet evaluate``: use a model on data."""

from __future__ import annotations

import argparse
import csv
import io
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.cli.notes import Notes, notes_of
from tinynet.cli.places import require_different
from tinynet.cli.reading import RowsRead, how
from tinynet.datasets import Dataset, read_known
from tinynet.datasets.files import suffix_of
from tinynet.datasets.targets import encode
from tinynet.exchange.atomic import atomic_open, require_place
from tinynet.losses.meaning import PROBABILITIES, Kind, Meaning, last_activation
from tinynet.models.loading import load
from tinynet.models.sequential import Sequential
from tinynet.plotting.figures import check_plot

FEW = 1 << 22
"""Multiplications that NumPy has done before another backend is imported."""


def predict(args: argparse.Namespace) -> int:
    """Run ``tinynet predict``: write a CSV file, a row for each row of the data; return the exit code."""
    require_different({"--out": args.out}, {"MODEL": args.model, "DATA": args.data})
    if args.out is not None:
        require_place("--out", args.out)
    net, notes, data = _model_and_data(args, with_targets=False)
    table = _table(net, data.x, notes, args.probabilities)
    if args.out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
        return 0
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    content = text.getvalue().encode()
    with atomic_open(args.out) as file:
        file.write(_packed(content) if args.out.lower().endswith(".gz") else content)
    print(f"wrote {args.out}: {len(data):,} rows")
    return 0


def _packed(content: bytes) -> bytes:
    """Return a text gzipped: the same predictions are the same bytes, without the time of packing."""
    import gzip

    return gzip.compress(content, mtime=0)


def evaluate(args: argparse.Namespace) -> int:
    """Run ``tinynet evaluate``: print the loss and how good the predictions are; return the exit code."""
    require_different({"--plot": args.plot}, {"MODEL": args.model, "DATA": args.data})
    if args.plot is not None:
        check_plot(args.plot)
        require_place("--plot", args.plot)
    net, notes, data = _model_and_data(args, with_targets=True)
    report = net.report(
        data.x,
        encode(data, notes.classes),
        task="regression" if notes.classes is None else "classification",
        names=[str(name) for name in (notes.targets if notes.classes is None else notes.classes)],
        missing_targets=args.missing_targets,
        worst=args.worst,
        row_names=None if data.lines is None else data.lines.tolist(),
    )
    print(report)
    if args.plot is not None:
        report.plot(args.plot)
        print(f"wrote {args.plot}", file=sys.stderr)
    return 0


def _model_and_data(args: argparse.Namespace, with_targets: bool) -> tuple[Sequential, Notes, Dataset]:
    # Where nobody says on which, few rows are computed by NumPy before a quicker backend is even imported.
    said = args.backend or os.environ.get("TINYNET_BACKEND")
    backend = args.backend if said else "numpy"
    try:
        net = load(args.model, backend=backend)
    except ModelFileError as error:
        if suffix_of(args.model) not in (".npz", ".safetensors"):
            raise ModelFileError(f"{error} The model comes first: tinynet {args.command} MODEL DATA.") from error
        raise
    notes = notes_of(net, args.model)
    options = {"target": args.target if with_targets else (), "named": notes.named, **how(args, notes)}
    options |= {"with_targets": with_targets, "table": notes.table, "progress": RowsRead(str(args.data))}
    data = read_known(args.data, notes.features, notes.targets, **options)
    for text in () if notes.table is None else (notes.table.gaps(data), notes.table.unknown(data)):
        if text:
            print(f"tinynet: note: {data.source}: {text}", file=sys.stderr)
    if not said and len(data) * net.n_parameters > FEW:
        net.to("auto")
    return net, notes, data


def _table(net: Sequential, x: NDArray[Any], notes: Notes, probabilities: bool) -> list[list[Any]]:
    """Return the rows of the CSV file, with the names first."""
    outputs, meaning = net.predict(x), _meaning(net, notes)
    # The digits of the model's dtype are written; nothing is computed where outputs are as they are wanted.
    expected = outputs if meaning.scale in ("values", "probabilities") else meaning.expected(outputs).astype(net.dtype)
    if notes.classes is None:
        if probabilities:
            raise ValueError("--probabilities expects a model of classes; this one predicts numbers.")
        return [_columns(net, notes), *_written(expected)]
    if probabilities and meaning.scale not in ("probabilities", "logits"):
        raise ValueError(
            "--probabilities expects a model that gives probabilities, or logits of a cross-entropy; this one gives "
            "other numbers. Leave the option out: the classes are told all the same."
        )
    chosen = meaning.decided(outputs).reshape(len(outputs)).astype(int)
    labels = [notes.classes[place] for place in chosen]
    if not probabilities:
        return [[notes.targets[0]], *([label] for label in labels)]
    if expected.shape[1] == 1:
        expected = np.hstack([1 - expected, expected])
    head = [notes.targets[0], *(f"p({name})" for name in notes.classes)]
    return [head, *([label, *row] for label, row in zip(labels, _written(expected), strict=True))]


def _columns(net: Sequential, notes: Notes) -> list[str]:
    """Return what the columns of predictions are called: by their targets, and by what they say of these."""
    names = () if net.loss is None else net.loss.output_names
    return [f"{target} {name}" for name in names for target in notes.targets] if names else list(notes.targets)


def _written(numbers: NDArray[Any]) -> list[list[str]]:
    """Return all digits of numbers, without an exponent where people write none.

    Examples
    --------
    >>> _written(np.array([[1501453.8, 2e6, 0.25, 1e-30]], "f4"))
    [['1501453.8', '2000000.0', '0.25', '1e-30']]
    """
    texts = numbers.astype(str).astype(object)
    large = (np.abs(numbers) >= 1e4) & (np.abs(numbers) < 1e16)
    texts[large] = [np.format_float_positional(number, trim="0") for number in numbers[large]]
    rows: list[list[str]] = texts.tolist()
    return rows


def _meaning(net: Sequential, notes: Notes) -> Meaning:
    """Return what the outputs of a model mean, by the loss that it was trained on and by what it ends in.

    Raises
    ------
    ValueError
        If a model of classes does not tell.
    """
    loss, ops, n_out = net.loss, net.program.ops, net.program.n_out
    if notes.classes is None:
        return Meaning("numbers", "values" if loss is None else loss.meaning(np.empty((1, n_out)), ops).scale)
    kind: Kind = "labels" if n_out == 1 else "classes"
    if loss is not None and loss.targets == "labels" and n_out > 1:
        raise ValueError(
            f"predict expects a model of one class for each row; this one has {n_out} labels, of which a row may have "
            "any. Use net.predict in Python."
        )
    if loss is not None and loss.targets == kind:
        return Meaning(kind, "logits" if loss.from_logits else "probabilities")
    if last_activation(ops) in PROBABILITIES[kind]:
        return Meaning(kind, "probabilities")
    if loss is None and kind == "labels":
        raise ValueError(
            "predict expects a model of two classes to end in Sigmoid, or its file to name the loss; this one does "
            "neither, and its output may be a probability or a logit. Save it after fit, or set net.loss first."
        )
    return Meaning(kind, "values")
