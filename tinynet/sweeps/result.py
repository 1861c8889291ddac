"""SweepResult: what a sweep found, run by run and setting by setting."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import whole
from tinynet.base.errors import requires
from tinynet.base.hints import HintingAttributes
from tinynet.base.text import figure, plain, text_of
from tinynet.ensembles.ensemble import Ensemble
from tinynet.exchange.atomic import Path_
from tinynet.models.sequential import Sequential
from tinynet.sweeps.files import Group, read_folder
from tinynet.sweeps.space import Settings
from tinynet.training.metrics import direction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Table = dict[str, NDArray[Any]]


class SweepResult(HintingAttributes):
    """What a sweep found. A run is one setting with one seed.

    Attributes
    ----------
    settings : list of dict
    seeds : list of int
        Each setting was trained with each seed.
    by : str
        The figure that tells which is best.
    mode : {"min", "max"}
        Whether the lowest or the highest is.

    Examples
    --------
    >>> import tinynet as tn
    >>> build = lambda width: tn.Sequential(tn.Linear(1, width), tn.Tanh(), tn.Linear(width, 1))
    >>> space = {"width": [2, 4], "learning_rate": [0.1, 0.01]}
    >>> result = tn.sweep(build, space, [[0.0], [1.0]], [0.0, 2.0], epochs=5, seeds=3)
    >>> len(result), sorted(result.best_settings)
    (12, ['learning_rate', 'width'])
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        seeds: Sequence[int],
        groups: Sequence[Group],
        by: str | None = None,
        mode: str = "auto",
    ) -> None:
        self.settings, self.seeds, self._groups = list(settings), list(seeds), list(groups)
        self._runs = np.concatenate([group.runs for group in groups] or [np.empty(0, np.int64)])
        self._order = np.argsort(self._runs, kind="stable")
        self._runs = self._runs[self._order]
        names = dict.fromkeys(name for group in groups for name in group.figures)
        default = "val_loss" if "val_loss" in names or not names else "loss"
        self._figures = {name: self._gathered([group.figures[name] for group in groups]) for name in names}
        self._diverged = self._gathered([group.diverged for group in groups]).astype(bool)
        for values in self._figures.values():
            values[self._diverged] = np.nan
        self.by = self._known(by or default) if names else default
        self.mode = direction(self.by, mode)

    @classmethod
    def load(cls, folder: Path_, by: str | None = None, mode: str = "auto") -> SweepResult:
        """Return what is finished of the sweep in a folder.

        Values of settings that JSON cannot hold are their names. ``by`` and ``mode`` are as for ``sweep``.
        """
        return cls(*read_folder(folder), by=by, mode=mode)

    def _gathered(self, parts: list[NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate(parts)[self._order] if parts else np.empty(0)

    def __len__(self) -> int:
        """Return how many runs are finished."""
        return len(self._runs)

    # -- tables ------------------------------------------------------------------------------------------------------

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of the figures: "loss", "val_loss", and metrics."""
        return tuple(self._figures)

    @property
    def columns(self) -> dict[str, str]:
        """Under which name each setting stands in the tables; one that is called as a figure gets "_setting" added."""
        names = dict.fromkeys(name for one in self.settings for name in one)
        taken = {"run", "setting", "seed", "n_epochs", "diverged", "n_runs", "n_diverged", *self._figures}
        return {name: f"{name}_setting" if name in taken else name for name in names}

    @property
    def table(self) -> Table:
        """One row for each run: its setting, its seed, the figures of its weights, and how it went.

        Figures of runs that diverged are NaN. Settings that a run does not have are None.
        """
        which = self._runs // max(1, len(self.seeds))
        parts = [group.n_epochs for group in self._groups]
        return {
            "run": self._runs.copy(),
            "setting": which,
            **self._setting_columns(which),
            "seed": np.array(self.seeds)[self._runs % len(self.seeds)] if len(self) else np.empty(0, np.int64),
            **{name: values.copy() for name, values in self._figures.items()},
            "n_epochs": self._gathered(parts).astype(np.int64),
            "diverged": self._diverged.copy(),
        }

    def summary(self, by: str | None = None, mode: str = "auto") -> Table:
        """One row for each setting, the best first: mean, spread and extremes of its figures over the seeds.

        Settings of which runs diverged come after all others; their figures are those of the other runs.

        Parameters
        ----------
        by : str, optional
            Another figure than ``self.by``.
        mode : {"auto", "min", "max"}
            As for ``sweep``.
        """
        by, sign = self._ranking(by, mode)
        which = self._runs // len(self.seeds)
        tried = np.unique(which)
        rows: dict[str, list[Any]] = {}
        for setting in tried:
            mine = which == setting
            row: dict[str, Any] = {"n_runs": mine.sum(), "n_diverged": self._diverged[mine].sum()}
            for name, values in self._figures.items():
                row |= _statistics(name, values[mine & ~self._diverged])
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        found = {name: np.array(values) for name, values in rows.items()}
        if not len(tried):
            return {"setting": tried}
        order = np.lexsort((sign * found[f"{by}_mean"], found["n_diverged"] > 0))
        full = {"setting": tried, **self._setting_columns(tried), **found}
        return {name: values[order] for name, values in full.items()}

    def _setting_columns(self, which: NDArray[np.int64]) -> Table:
        return {
            column: _column([self.settings[i].get(name) for i in which.tolist()])
            for name, column in self.columns.items()
        }

    def to_pandas(self, summary: bool = False) -> Any:
        """Return the table, or the summary, as a pandas DataFrame.

        Raises
        ------
        DependencyError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise requires("pandas", "SweepResult.to_pandas", "pip install pandas") from error
        return pandas.DataFrame(self.summary() if summary else self.table)

    def losses(self, name: str = "loss") -> NDArray[np.float64]:
        """Return a figure of each epoch, (n_epochs, n_runs), the runs as in ``table``; NaN where a run had ended.

        Parameters
        ----------
        name : str
            "loss", "val_loss", or a metric that a callback monitors.
        """
        parts = [group.losses[name] for group in self._groups if name in group.losses]
        if len(parts) < len(self._groups) or not parts:
            known = sorted({name for group in self._groups for name in group.losses})
            raise ValueError(f"losses expects one of {', '.join(map(repr, known)) or 'none'}; got {name!r}.")
        full = np.full((max(map(len, parts)), len(self)), np.nan)
        for part, columns in zip(parts, np.split(np.argsort(self._order), np.cumsum(self._sizes())[:-1]), strict=True):
            full[: len(part), columns] = part
        return full

    def _sizes(self) -> list[int]:
        return [len(group.runs) for group in self._groups]

    # -- models ------------------------------------------------------------------------------------------------------

    @property
    def best_settings(self) -> Settings:
        """The setting with the best mean over its seeds."""
        return dict(self.settings[self._best_setting()])

    @property
    def best_model(self) -> Sequential:
        """The best run of the best setting; its ``metadata`` has "settings" and "seed"."""
        return self.model(self.best_run())

    def best_run(self, by: str | None = None, mode: str = "auto") -> int:
        """Return the number of the best run of the best setting; ``by`` and ``mode`` are as for ``summary``."""
        mine = np.flatnonzero(self._runs // len(self.seeds) == self._best_setting(by, mode))
        by, sign = self._ranking(by, mode)
        return int(self._runs[mine[np.nanargmin(sign * self._figures[by][mine])]])

    def _best_setting(self, by: str | None = None, mode: str = "auto") -> int:
        table = self.summary(by, mode)
        by, _ = self._ranking(by, mode)
        usable = np.flatnonzero(np.isfinite(table.get(f"{by}_mean", np.empty(0))))
        if not len(usable):
            why = "all of them diverged; try lower learning rates" if len(self) else "none is finished"
            raise ValueError(f"a sweep expects at least one run with a finite {by!r} to name a best one; {why}.")
        return int(table["setting"][usable[0]])

    def model(self, run: int) -> Sequential:
        """Return the model of a run, by its number in ``table["run"]``."""
        for group in self._groups:
            place = np.flatnonzero(group.runs == run)
            if len(place):
                net = group.ensemble()[int(place[0])]
                setting, seed = self.settings[run // len(self.seeds)], self.seeds[run % len(self.seeds)]
                net.metadata |= {"settings": plain(setting), "seed": seed}
                return net
        raise ValueError(f"model expects the number of a finished run, as in table['run']; got {run!r}.")

    def ensemble(self, setting: int | None = None) -> Ensemble:
        """Return the models of a setting, one for each seed, by its number in ``table["setting"]``; default: the best.

        Models that diverged are left out.
        """
        setting = self._best_setting() if setting is None else whole("setting", setting, at_least=0)
        parts = []
        for group in self._groups:
            mine = np.flatnonzero((group.runs // len(self.seeds) == setting) & ~group.diverged)
            if len(mine):
                parts.append((group.runs[mine[0]], group.ensemble()[mine]))
        if not parts:
            raise ValueError(f"ensemble expects the number of a setting with finished runs; got {setting}.")
        models = [part for _, part in sorted(parts, key=lambda pair: int(pair[0]))]
        return models[0] if len(models) == 1 else Ensemble.concatenate(models)

    # -- to look at --------------------------------------------------------------------------------------------------

    def plot_parallel(self, path: Path_ | None = None, by: str | None = None, mode: str = "auto") -> Figure:
        """Draw each setting as a line through its values to its mean figure (parallel coordinates; needs matplotlib).

        Parameters
        ----------
        path : path, optional
            Where to write it, as .png, .svg or .pdf.
        by, mode
            As for ``summary``.

        Returns
        -------
        Figure
        """
        from tinynet.plotting.sweeps import plot_parallel

        return plot_parallel(self, path, self._ranking(by, mode)[0], mode)

    def plot_losses(self, path: Path_ | None = None, name: str | None = None, n_settings: int = 8) -> Figure:
        """Draw the loss of each epoch, the median over the seeds, and a band from the lowest to the highest.

        Parameters
        ----------
        path : path, optional
        name : {"loss", "val_loss"}, optional
            By default the validation loss, if there is one.
        n_settings : int
            So many of the best settings have colours and bands; the others are grey.
        """
        from tinynet.plotting.sweeps import plot_losses

        default = "val_loss" if "val_loss" in self._figures else "loss"
        return plot_losses(self, path, name or default, whole("n_settings", n_settings))

    def report(self, n: int = 5) -> str:
        """Return the best settings as a table of text."""
        if not len(self):
            return f"SweepResult(no run of {len(self.settings)} settings is finished)"
        table = self.summary()
        n_total, n_bad = len(self.settings) * len(self.seeds), int(self._diverged.sum())
        finished = f"{len(self)} of {n_total} runs" if len(self) < n_total else f"{n_total} runs"
        bad = f", {n_bad} diverged" if n_bad else ""
        head = f"SweepResult: {len(self.settings)} settings x {len(self.seeds)} seeds, {finished}{bad}"
        names = self.varied(table)
        n_shown = min(n, len(table["setting"]))
        spread = " (mean, standard deviation)" if len(self.seeds) > 1 else ""
        rows = [[*names, f"{self.by}{spread}"]]
        for i in range(n_shown):
            shown = figure(table[f"{self.by}_mean"][i], 5)
            shown += f"  {table[f'{self.by}_std'][i]:.2g}" if len(self.seeds) > 1 else ""
            lost = int(table["n_diverged"][i])
            rows.append([*(text_of(table[name][i]) for name in names), shown + (f"  {lost} diverged" if lost else "")])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        rest = len(table["setting"]) - n_shown
        return "\n".join([head, *(f"  {line}" for line in lines), *([f"  and {rest} more settings"] if rest else [])])

    __repr__ = report

    def varied(self, table: Table) -> list[str]:
        """Return the columns of the settings that are not the same in all rows of a table."""
        return [name for name in self.columns.values() if len(set(map(text_of, table[name]))) > 1]

    def _ranking(self, by: str | None, mode: str) -> tuple[str, int]:
        """Return the figure to rank by, and the sign with which it should be low."""
        name = self.by if by is None else self._known(by)
        chosen = self.mode if mode == "auto" and name == self.by else direction(name, mode)
        return name, -1 if chosen == "max" else 1

    def _known(self, by: str) -> str:
        if by not in self._figures:
            known = ", ".join(map(repr, self._figures)) or "none"
            raise ValueError(f"by expects the name of a figure of this sweep, {known}; got {by!r}.")
        return by


def _column(values: list[Any]) -> NDArray[Any]:
    """Return values as an array: of numbers or texts where they are all alike, else of objects."""
    for kinds in (bool, int, float, str):
        if values and all(type(value) is kinds for value in values):
            return np.array(values)
    if values and all(type(value) in (int, float) for value in values):
        with suppress(OverflowError):  # Whole numbers beyond all floats stay what they are.
            return np.array(values, np.float64)
    column = np.empty(len(values), object)
    for i, value in enumerate(values):  # At once, NumPy would make an axis of what tuples hold.
        column[i] = value
    return column


def _statistics(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Return what a summary tells of a figure; NaN where there are too few values."""
    n, nan = len(values), float("nan")
    with np.errstate(over="ignore", invalid="ignore"):  # A run on its way to infinity has a spread that is there.
        return {
            f"{name}_mean": float(values.mean()) if n else nan,
            f"{name}_std": float(values.std(ddof=1)) if n > 1 else nan,
            f"{name}_min": float(values.min()) if n else nan,
            f"{name}_max": float(values.max()) if n else nan,
        }
