"""The folder of a sweep: what it tries, and one file for each group of runs that is finished.

``sweep.json`` tells which sweep it is. ``group-0000.npz`` and so on are ensembles, which ``Ensemble.load`` reads, with
the figures and losses of their runs beside them. Every file is written atomically, so an interruption loses only the
groups that were being trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.exchange.archive import read_archive, write_archive
from tinynet.exchange.atomic import Path_, atomic_open, is_temporary
from tinynet.sweeps.space import Settings

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble

FORMAT, VERSION, HEAD = "tinynet sweep", 1, "sweep.json"

Contents = tuple[dict[str, Any], dict[str, NDArray[Any]]]


@dataclass(frozen=True)
class Group:
    """Runs that were trained together.

    Attributes
    ----------
    runs : (n,) int array
        Their numbers in the sweep.
    figures : dict of str to (n,) array
        Of the weights that the models hold.
    losses : dict of str to (n_epochs, n) array
    n_epochs : (n,) int array
        How long each was trained.
    diverged : (n,) bool array
    plan : str
    ensemble : callable
        Returns the trained models.
    """

    runs: NDArray[np.int64]
    figures: dict[str, NDArray[np.float64]]
    losses: dict[str, NDArray[np.float64]]
    n_epochs: NDArray[np.int64]
    diverged: NDArray[np.bool_]
    plan: str
    ensemble: Callable[[], Ensemble] = field(repr=False)

    @classmethod
    def of(cls, contents: Contents, path: Path_ | None = None, backend: str | None = None) -> Group:
        """Return a group from what a file holds; with ``path``, models are read from there when they are needed.

        They are put on ``backend``, by default that which is in force then.

        Raises
        ------
        ModelFileError
            If it does not hold the runs of a sweep.
        """
        header, arrays = contents
        try:
            runs = arrays["sweep.runs"]
            found = cls(
                runs,
                {name[7:]: values for name, values in arrays.items() if name.startswith("figure.")},
                {name[8:]: values for name, values in arrays.items() if name.startswith("history.")},
                arrays["sweep.n_epochs"],
                arrays["sweep.diverged"],
                str(header["plan"]),
                _models(contents, path, backend),
            )
        except KeyError as error:
            raise ModelFileError(f"{path or 'the group'!s} holds no runs of a sweep: it has no {error}.") from error
        lengths = [found.n_epochs, found.diverged, *found.figures.values(), *(v.T for v in found.losses.values())]
        if runs.ndim != 1 or any(len(values) != len(runs) for values in lengths):
            raise ModelFileError(f"{path or 'the group'!s} is damaged: its arrays are not for {len(runs)} runs.")
        return found


def _models(contents: Contents, path: Path_ | None, backend: str | None) -> Callable[[], Ensemble]:
    from tinynet.ensembles.ensemble import Ensemble, built
    from tinynet.ensembles.files import stored_from

    if path is not None:
        return lambda: Ensemble.load(path, backend=backend)
    return lambda: built(stored_from(*contents, name="the group", backend=backend))


class SweepFolder:
    """The folder of a sweep.

    Parameters
    ----------
    path : path
    identity : dict
        What makes the sweep, as JSON can hold it, with its "settings" and "seeds".

    Raises
    ------
    ValueError
        If the folder is that of another sweep, or holds something else.
    """

    def __init__(self, path: Path_, identity: dict[str, Any]) -> None:
        self.path = Path(path)
        expected = json.loads(json.dumps(identity))
        if (self.path / HEAD).exists():
            _compare(_read_head(self.path)["identity"], expected, self.path)
            return
        # What a process leaves that is killed while it writes the head is nobody's.
        if self.path.is_dir() and not all(map(is_temporary, self.path.iterdir())):
            raise ValueError(
                f"folder expects a new or empty folder, or that of an earlier sweep; {os.fspath(path)!r} has "
                f"other files and no {HEAD}. Give another name."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_open(self.path / HEAD) as file:
            file.write(json.dumps({"format": FORMAT, "version": VERSION, "identity": expected}, indent=1).encode())

    def finished(self, number: int, runs: list[int], backend: str) -> Group | None:
        """Return a group that was trained before, or None."""
        path = _group_path(self.path, number)
        if not path.exists():
            return None
        group = Group.of(read_archive(path), path, backend)
        if group.runs.tolist() != runs:
            raise ModelFileError(f"{str(path)!r} holds other runs than it should. Delete it, and sweep again.")
        return group

    def write(self, number: int, contents: Contents, backend: str) -> Group:
        """Write a group that is trained."""
        path = _group_path(self.path, number)
        write_archive(path, *contents)
        return Group.of(contents, path, backend)


def read_folder(path: Path_) -> tuple[list[Settings], list[int], list[Group]]:
    """Return the settings, the seeds and the finished groups of a sweep."""
    folder = Path(path)
    identity = _read_head(folder)["identity"]
    try:
        settings = [{name: _tuples(value) for name, value in one.items()} for one in identity["settings"]]
        seeds, n_groups = [int(seed) for seed in identity["seeds"]], len(identity["groups"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelFileError(f"{str(folder / HEAD)!r} is damaged: {error!r}.") from error
    paths = [_group_path(folder, number) for number in range(n_groups)]
    return settings, seeds, [Group.of(read_archive(path), path) for path in paths if path.exists()]


def _group_path(folder: Path, number: int) -> Path:
    return folder / f"group-{number:04d}.npz"


def _read_head(folder: Path) -> dict[str, Any]:
    name = str(folder / HEAD)
    try:
        head = json.loads((folder / HEAD).read_bytes())
        if head["format"] != FORMAT or not isinstance(head["identity"], dict):
            raise ValueError("it is another file")
        if head["version"] != VERSION:
            raise ValueError(f"it has version {head['version']!r}, and this tinynet reads {VERSION}; upgrade tinynet")
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{name!r} does not describe a sweep: {error}.") from error
    return dict(head)


def _compare(found: dict[str, Any], expected: dict[str, Any], path: Path) -> None:
    """Refuse the folder of a sweep that differs in anything."""
    for name, value in expected.items():
        other = found.get(name)
        if other == value:
            continue
        if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
            place = next(i for i, (a, b) in enumerate(zip(other, value, strict=True)) if a != b)
            name, other, value = f"{name}[{place}]", other[place], value[place]
        raise ValueError(
            f"folder expects the folder of this very sweep; {str(path)!r} holds another: its {name} is "
            f"{_short(other)}, here it is {_short(value)}. "
            "Give another folder, or the arguments of the interrupted call."
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}... ({len(text)} characters)"


def _tuples(value: Any) -> Any:
    """Return lists of JSON as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
