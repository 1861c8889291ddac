"""``tinynet predict`` and ``tinynet evaluate``: use a model on data."""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.cli.notes import Notes, notes_of
from tinynet.cli.reading import how
from tinynet.datasets import Dataset, read_known
from tinynet.datasets.targets import encode
from tinynet.exchange.atomic import atomic_open, require_place
from tinynet.models.loading import load
from tinynet.models.sequential import Sequential


def predict(args: argparse.Namespace) -> int:
    """Run ``tinynet predict``: write a CSV file, a row for each row of the data; return the exit code."""
    if args.out is not None:
        require_place("--out", args.out)
    net, notes, data = _model_and_data(args, with_targets=False)
    table = _table(net.predict(data.x), notes, args.probabilities)
    if args.out is None:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
        return 0
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(table)
    content = text.getvalue().encode()
    with atomic_open(args.out) as file:
        # The same predictions are the same bytes: without the time of packing.
        file.write(gzip.compress(content, mtime=0) if args.out.lower().endswith(".gz") else content)
    print(f"wrote {args.out}: {len(data):,} rows")
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Run ``tinynet evaluate``: print the loss and how good the predictions are; return the exit code."""
    net, notes, data = _model_and_data(args, with_targets=True)
    figures = net.evaluate(data.x, encode(data, notes.classes), metrics=notes.metrics)
    print(f"{'rows':<10}{len(data)}")
    for name, value in figures.items():
        print(f"{name:<10}{value:.6g}")
    return 0


def _model_and_data(args: argparse.Namespace, with_targets: bool) -> tuple[Sequential, Notes, Dataset]:
    net = load(args.model, backend=args.backend)
    notes = notes_of(net, args.model)
    options = {"target": args.target if with_targets else (), "named": notes.named, **how(args, notes)}
    return net, notes, read_known(args.data, notes.features, notes.targets, with_targets=with_targets, **options)


def _table(outputs: NDArray[Any], notes: Notes, probabilities: bool) -> list[list[Any]]:
    """Return the rows of the CSV file, with the names first."""
    if notes.classes is None:
        if probabilities:
            raise ValueError("--probabilities expects a model of classes; this one predicts numbers.")
        return [list(notes.targets), *outputs.astype(str).tolist()]
    if outputs.shape[1] == 1:
        # The second class comes first among equals, as for the metric "accuracy".
        chosen, outputs = (outputs[:, 0] >= 0.5).astype(int), np.hstack([1 - outputs, outputs])
    else:
        chosen = outputs.argmax(axis=1)
    labels = [notes.classes[place] for place in chosen]
    if not probabilities:
        return [[notes.targets[0]], *([label] for label in labels)]
    head = [notes.targets[0], *(f"p({name})" for name in notes.classes)]
    return [head, *([label, *row] for label, row in zip(labels, outputs.astype(str).tolist(), strict=True))]
