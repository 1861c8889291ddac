"""Notes: what a model file keeps of the data, so that predictions need no more than the file."""

from __future__ import annotations

from typing import Any

from tinynet.base.errors import ModelFileError
from tinynet.base.frozen import dataclass
from tinynet.datasets.cells import DECIMALS
from tinynet.datasets.table import Table
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
    missing_words : tuple of str
    table : Table or None
        How the features become numbers, where they are more than numbers.
    """

    features: tuple[str, ...] | None
    targets: tuple[str, ...]
    classes: tuple[Label, ...] | None
    named: bool = True
    decimal: str = "."
    missing_words: tuple[str, ...] = ()
    table: Table | None = None

    def metadata(self) -> dict[str, Any]:
        """Return the notes as a model's ``metadata`` keeps them: what goes without saying is left out."""
        kept = {"features": self.features, "targets": self.targets, "classes": self.classes}
        notes: dict[str, Any] = {name: list(values) for name, values in kept.items() if values is not None}
        if self.features is not None and are_positions(self.features):
            notes["header"] = self.named
        if self.decimal != ".":
            notes["decimal"] = self.decimal
        if self.missing_words:
            notes["missing_words"] = list(self.missing_words)
        return notes if self.table is None else self.table.metadata() | notes

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of what goes into the network."""
        return self.features if self.table is None else self.table.columns

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
    table = _table(net, source)
    features = _names(net, "features", n_in, str, source) if table is None else table.features
    classes = _names(net, "classes", max(n_out, 2), (str, int), source)
    n_targets = n_out // (1 if net.loss is None else max(1, len(net.loss.output_names)))
    targets = _names(net, "targets", n_targets if classes is None else 1, str, source)
    if targets is None:
        targets = ("class",) if classes is not None else tuple(f"y{i}" for i in range(n_targets))
    named, decimal, words = features is None or not are_positions(features), ".", list[str]()
    if table is not None:
        named, decimal, words = table.named, table.dialect.decimal, list(table.dialect.missing_words)
    named, decimal = net.metadata.get("header", named), net.metadata.get("decimal", decimal)
    words = net.metadata.get("missing_words", words)
    for key, value, fits, expected in (
        ("header", named, isinstance(named, bool), "true or false"),
        ("decimal", decimal, decimal in DECIMALS, '"." or ","'),
        ("missing_words", words, isinstance(words, list | tuple) and all(isinstance(w, str) for w in words), "words"),
    ):
        if not fits:
            raise ModelFileError(f"{source!r}: its metadata {key!r} must be {expected}; got {value!r}.")
    return Notes(features, targets, classes, named, decimal, tuple(words), table)


def _table(net: Sequential, source: str) -> Table | None:
    if "table" not in net.metadata:
        return None
    try:
        table = Table.of(net.metadata)
    except ValueError as error:
        raise ModelFileError(f"{source!r}: {error}") from error
    if len(table.columns) != net.program.n_in:
        raise ModelFileError(
            f"{source!r}: its table must make {net.program.n_in} columns, the inputs of the network; it makes "
            f"{len(table.columns)}."
        )
    return table


def _names(net: Sequential, key: str, count: int, kinds: Any, source: str) -> tuple[Any, ...] | None:
    values = net.metadata.get(key)
    if values is None:
        return None
    if not isinstance(values, list | tuple) or len(values) != count or not all(isinstance(v, kinds) for v in values):
        raise ModelFileError(f"{source!r}: its metadata {key!r} must name {count}, one for each; got {values!r}.")
    return tuple(values)
