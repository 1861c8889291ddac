"""The folder of a sweep: what it tries, and one file for each group of runs that is finished.

``sweep.json`` tells which sweep it is. ``group-0000.npz`` and so on are ensembles, which ``Ensemble.load`` reads, with
the figures and losses of their runs beside them. Every file is written atomically, so an interruption loses only the
groups that were being trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.base.frozen import dataclass
from tinynet.ensembles.files import check_arrays
from tinynet.exchange.archive import listing, read_archive, write_archive
from tinynet.exchange.atomic import Path_, is_temporary
from tinynet.exchange.remote import RemotePath, place_of
from tinynet.sweeps.head import HEAD, read_head, write_head
from tinynet.sweeps.space import Settings

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble

Place = Path | RemotePath
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
        name = repr(os.fspath(path)) if path is not None else "the group"
        try:
            _check_arrays(arrays, header["n_models"])
            return cls(
                arrays["sweep.runs"],
                {key[7:]: values for key, values in arrays.items() if key.startswith("figure.")},
                {key[8:]: values for key, values in arrays.items() if key.startswith("history.")},
                arrays["sweep.n_epochs"],
                arrays["sweep.diverged"],
                str(header["plan"]),
                _models(contents, path, backend),
            )
        except KeyError as error:
            raise ModelFileError(f"{name} holds no runs of a sweep: it has no {error}.") from error
        except (ValueError, TypeError) as error:
            raise ModelFileError(f"{name} is damaged: {error}.") from error


def _check_arrays(arrays: dict[str, NDArray[Any]], n_models: Any) -> None:
    """Raise KeyError or ValueError if arrays are not those of a group of runs."""
    losses = [name for name in arrays if name.startswith("history.")]
    n_epochs = len(arrays[losses[0]]) if losses and arrays[losses[0]].ndim else 0
    wanted: dict[str, tuple[list[Any], str]] = {
        "sweep.runs": ([n_models], "int64"),
        "sweep.n_epochs": ([n_models], "int64"),
        "sweep.diverged": ([n_models], "bool"),
        **{name: ([n_models], "float64") for name in arrays if name.startswith("figure.")},
        **{name: ([n_epochs, n_models], "float64") for name in losses},
    }
    if "sweep.runs" not in arrays:
        raise KeyError("sweep.runs")
    check_arrays(listing(arrays), wanted)
    trained = arrays["sweep.n_epochs"]
    if (trained < 0).any() or (trained > n_epochs).any():
        raise ValueError(f"its runs have not been trained for 0 to {n_epochs} epochs")


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
        self.path = place_of(path)
        expected = json.loads(json.dumps(identity))
        self._seeds: list[int] = expected["seeds"]
        if (self.path / HEAD).exists():
            _compare(read_head(self.path), expected, self.path)
            return
        # What a process leaves that is killed while it writes the head is nobody's.
        if self.path.is_dir() and not all(map(is_temporary, self.path.iterdir())):
            raise ValueError(
                f"folder expects a new or empty folder, or that of an earlier sweep; {os.fspath(path)!r} has "
                f"other files and no {HEAD}. Give another name."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_head(self.path, expected)

    def finished(self, number: int, runs: list[int], backend: str) -> Group | None:
        """Return a group that was trained before, or None."""
        return _read_group(self.path, number, runs, self._seeds, backend)

    def write(self, number: int, contents: Contents, backend: str) -> Group:
        """Write a group that is trained."""
        path = _group_path(self.path, number)
        write_archive(path, *contents)
        return Group.of(contents, path, backend)


def read_folder(path: Path_) -> tuple[list[Settings], list[int], list[Group]]:
    """Return the settings, the seeds and the finished groups of a sweep.

    Raises
    ------
    FileNotFoundError
        If the folder is that of no sweep.
    ModelFileError
        If one of its files is damaged; the message names it.
    """
    folder = place_of(path)
    identity = read_head(folder)
    settings = [{name: _tuples(value) for name, value in one.items()} for one in identity["settings"]]
    seeds, groups = identity["seeds"], identity["groups"]
    read = [_read_group(folder, number, runs, seeds) for number, runs in enumerate(groups)]
    names = next((set(group.figures) for group in read if group is not None), set())
    for number, group in enumerate(read):
        if group is not None and set(group.figures) != names:
            name = str(_group_path(folder, number))
            raise ModelFileError(f"{name!r} is damaged: it has other figures than the groups before it.")
    return settings, seeds, [group for group in read if group is not None]


def _read_group(
    folder: Place, number: int, runs: list[int], seeds: list[int], backend: str | None = None
) -> Group | None:
    """Return a group of a folder if it is there, and is what the head says of it."""
    path = _group_path(folder, number)
    if not path.exists():
        return None
    contents = read_archive(path)
    group = Group.of(contents, path, backend)
    if group.runs.tolist() != runs or contents[0].get("seeds") != [seeds[run % len(seeds)] for run in runs]:
        raise ModelFileError(f"{str(path)!r} holds other runs than it should. Delete it, and sweep again.")
    return group


def _group_path(folder: Place, number: int) -> Place:
    return folder / f"group-{number:04d}.npz"


def _compare(found: dict[str, Any], expected: dict[str, Any], path: Place) -> None:
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
