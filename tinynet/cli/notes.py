"""Notes: what a model file keeps of the data, so that predictions need no more than the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinynet.base.errors import ModelFileError
from tinynet.datasets.cells import DECIMALS
from tinynet.datasets.tables import are_positions
from tinynet.datasets.targets import Label
from tinynet.models.sequential import Sequential


@dataclass(frozen=True)
class Notes:
    """Names of the columns that a model was trained on, its classes, and how the file was read.

    Attributes
    ----------
    features : tuple of str or None
        None: the columns had no names.
    targets : tuple of str
    classes : tuple of str or int, or None
        None: the targets are numbers.
    named : bool
        Whether the file had names; else those are the positions of the columns.
    decimal : {".", ","}
    missing : tuple of str
    """

    features: tuple[str, ...] | None
    targets: tuple[str, ...]
    classes: tuple[Label, ...] | None
    named: bool = True
    decimal: str = "."
    missing: tuple[str, ...] = ()

    def metadata(self) -> dict[str, Any]:
        """Return the notes as a model's ``metadata`` keeps them: what goes without saying is left out."""
        kept = {"features": self.features, "targets": self.targets, "classes": self.classes}
        notes: dict[str, Any] = {name: list(values) for name, values in kept.items() if values is not None}
        if self.features is not None and are_positions(self.features):
            notes["header"] = self.named
        if self.decimal != ".":
            notes["decimal"] = self.decimal
        if self.missing:
            notes["missing"] = list(self.missing)
        return notes

    def metrics(self, n_rows: int) -> list[str]:
        """Return the figures that tell how good the model is on so many rows; the last one depends on no units."""
        if self.classes is not None:
            return ["accuracy"]
        return ["mae", "r2"] if n_rows > 1 else ["mae"]  # One row has no spread, which r2 compares with.


def notes_of(net: Sequential, source: str) -> Notes:
    """Read the notes of a model; one that was trained in Python may have none.

    Raises
    ------
    ModelFileError
        If they do not fit the network.
    """
    n_in, n_out = net.program.n_in, net.program.n_out
    features = _names(net, "features", n_in, str, source)
    classes = _names(net, "classes", max(n_out, 2), (str, int), source)
    targets = _names(net, "targets", n_out if classes is None else 1, str, source)
    if targets is None:
        targets = ("class",) if classes is not None else tuple(f"y{i}" for i in range(n_out))
    named = net.metadata.get("header", features is None or not are_positions(features))
    decimal, missing = net.metadata.get("decimal", "."), net.metadata.get("missing", [])
    for key, value, fits, expected in (
        ("header", named, isinstance(named, bool), "true or false"),
        ("decimal", decimal, decimal in DECIMALS, '"." or ","'),
        ("missing", missing, isinstance(missing, list | tuple) and all(isinstance(w, str) for w in missing), "words"),
    ):
        if not fits:
            raise ModelFileError(f"{source!r}: its metadata {key!r} must be {expected}; got {value!r}.")
    return Notes(features, targets, classes, named, decimal, tuple(missing))


def _names(net: Sequential, key: str, count: int, kinds: Any, source: str) -> tuple[Any, ...] | None:
    values = net.metadata.get(key)
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != count or not all(isinstance(v, kinds) for v in values):
        raise ModelFileError(f"{source!r}: its metadata {key!r} must name {count}, one for each; got {values!r}.")
    return tuple(values)
