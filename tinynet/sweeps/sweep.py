"""sweep: train a network for many settings and seeds, those that are alike together, and tell which is best."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet.backends.compiling import watched
from tinynet.backends.ranks.team import session_of
from tinynet.base.checks import whole
from tinynet.base.hints import hints_arguments
from tinynet.base.text import figure, plain
from tinynet.exchange.atomic import Path_
from tinynet.losses import Loss
from tinynet.models.sequential import Sequential
from tinynet.optimizers import Optimizer
from tinynet.sweeps.files import Contents, Group, SweepFolder
from tinynet.sweeps.result import SweepResult
from tinynet.sweeps.runs import Recipe, grouped, loss_of_values
from tinynet.sweeps.space import Settings, Space, settings_of
from tinynet.sweeps.training import Data, Options, Task, run_tasks
from tinynet.training.arguments import checked_callbacks
from tinynet.training.callbacks import Callback
from tinynet.training.class_weights import ClassWeight
from tinynet.training.metrics import Metric, direction, get_metrics
from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau
from tinynet.training.progress import rich_bar

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@hints_arguments
def sweep(
    build: Callable[..., Sequential],
    space: Space,
    x: Any,
    y: Any,
    *,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    seeds: int | Iterable[int] = 1,
    n_samples: int | None = None,
    seed: int = 0,
    by: str | None = None,
    mode: str = "auto",
    loss: str | Loss = "mse",
    optimizer: str | Optimizer | Callable[..., Optimizer] = "adam",
    epochs: int = 1,
    batch_size: int | None = None,
    shuffle: bool | str = True,
    drop_last: bool = False,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    missing_targets: str = "error",
    bootstrap: bool = False,
    metrics: str | Metric | Iterable[str | Metric] = (),
    callbacks: Callback | Sequence[Callback] = (),
    folder: Path_ | None = None,
    n_jobs: int | None = None,
    threads: int | None = None,
    group_size: int = 256,
    verbose: int = 0,
    comm: Any = None,
) -> SweepResult:
    """Train a network for each setting of a space and each seed.

    Runs whose networks have the same layers, and which agree in batch size and epochs, are trained together, as an
    ``Ensemble`` with numbers of their own. Each ends as it would if it were trained alone, with the same seed.

    Parameters
    ----------
    build : callable
        ``build(**settings) -> Sequential``, of built-in layers. Its weights and seed are not used.
    space : dict of str to list or distribution, or list of such dicts
        A grid of lists; or a random search, see ``n_samples``. Each name goes where it is known: to ``build``, if that
        has a parameter of the name; else to ``fit`` ("epochs", "batch_size", "loss", "optimizer", "shuffle",
        "drop_last"), or to the optimizer ("learning_rate", "momentum", ...); else to ``build``, if it takes
        ``**settings``. Several dicts are tried one after the other.
    x, y, validation_data, validation_split, loss, epochs, batch_size, shuffle, drop_last
        As for ``Ensemble.fit``; what the space has too is taken from there.
    seeds : int or sequence of int
        A number: 0, 1, ... Each setting is trained with each seed, so that settings are compared from equal starts.
    n_samples : int, optional
        Draw so many settings at random: from lists, and from distributions (``LogUniform``, ``Uniform``,
        ``IntUniform``, ``Choice``, or frozen ones of scipy.stats).
    seed : int
        Of the draw of the settings.
    by : str, optional
        The figure that tells which is best; by default "val_loss", or "loss" without validation data.
    mode : {"auto", "min", "max"}
        Whether the lowest or the highest is best. "auto": the lowest loss, and what is best of a metric of tinynet's.
        For a metric of yours say which.
    sample_weight, class_weight, missing_targets, bootstrap
        As for ``Ensemble.fit``.
    optimizer : str, Optimizer or callable
        A callable is called with the settings that it has parameters for, and returns an optimizer, as in
        ``lambda learning_rate: tn.SGD(tn.CosineDecay(learning_rate, epochs=100))``.
    metrics : str, callable or list of them
        Figures of the trained models, over the validation data if there are any: then "val_accuracy" and so on.
    callbacks : list of EarlyStopping and ReduceLROnPlateau
        They act on each run by itself. What they monitor may be a metric, which is then computed in every epoch.
    folder : path or str, optional
        Keep each group that is finished there. The same call finds them, and goes on where it was interrupted. Also a
        URL of any filesystem that fsspec knows: "s3://bucket/sweep".
    n_jobs : int, optional
        Train groups in so many processes, by joblib; -1: on all cores. Within ``joblib.parallel_config`` its backend is
        used, for instance "dask" for the machines of a cluster, and None stands for all its workers. They keep compiled
        code in ``TINYNET_CACHE_DIR``, where that is set here.
    threads : int, optional
        Of each process. By default as for ``fit``; with several processes they share the cores.
    group_size : int
        Most runs that are trained together. Smaller groups spread over more processes, and less is lost when a sweep is
        interrupted; what runs get does not depend on it.
    verbose : {0, 1, 2}
        Nothing; progress; that of the epochs, too.
    comm : mpi4py.MPI.Intracomm, optional
        Divide the groups among the ranks of a communicator, each of which calls ``sweep`` with the same arguments and
        data, and gets the whole result. A ``folder`` must be one that all share.

    Returns
    -------
    SweepResult
        Runs that diverged are marked in it.

    Raises
    ------
    TypeError, ValueError
        If anything does not fit, before anything is trained.
    DependencyError
        If joblib is needed, and not installed.

    Examples
    --------
    >>> import tinynet as tn
    >>> def build(width):
    ...     return tn.Sequential(tn.Linear(1, width), tn.Tanh(), tn.Linear(width, 1))
    >>> space = {"width": [4], "learning_rate": [1e-9, 0.1]}
    >>> tn.sweep(build, space, [[0.0], [1.0]], [0.0, 2.0], epochs=20, seeds=2).best_settings
    {'width': 4, 'learning_rate': 0.1}
    """
    loss = loss_of_values(loss)
    data = Data.of(x, y, sample_weight, validation_data, validation_split)
    settings, chosen = settings_of(space, n_samples, seed), _seeds(seeds)
    defaults = {"loss": loss, "optimizer": optimizer, "epochs": epochs, "batch_size": batch_size}
    recipe = Recipe(build, defaults | {"shuffle": shuffle, "drop_last": drop_last})
    get_metrics(metrics)  # Whatever is none is told before it is taken apart.
    specs = (metrics,) if isinstance(metrics, str) or callable(metrics) else tuple(metrics)
    threads = None if threads is None else whole("threads", threads)
    about = class_weight, missing_targets
    options = Options(specs, _watches(callbacks), bool(bootstrap), threads, max(0, verbose - 1), *about)
    size = whole("group_size", group_size)
    keys, backends, descriptions = _cases(recipe, settings, data, options, described=folder is not None)
    groups = grouped(keys, len(chosen), size)
    _check_by(by, mode, data, list(get_metrics(specs)))
    _check_monitors(options.callbacks, data, list(get_metrics(specs)))
    progress = _Progress(len(settings) * len(chosen), verbose)
    tasks = [
        Task(position, runs, _members(runs, settings, chosen), backends[runs[0] // len(chosen)])
        for position, runs in enumerate(groups)
    ]
    with session_of(comm) as team:
        identity: dict[str, Any] = {}
        if folder is not None or team.many:
            identity = {"settings": plain(settings), "seeds": chosen, "groups": groups, "data": data.digest}
            identity |= {"cases": _stable(descriptions), **options.identity}
            team.check_same(identity)
        place = None if folder is None else team.on_first(lambda: SweepFolder(folder, identity))
        done = {} if place is None else _finished(place, tasks)
        team.any(False)  # All have looked what is finished before any of them adds to it.
        left = [task for task in tasks if task.position not in done][team.rank :: team.size]
        own: dict[int, Contents | None] = {}
        with progress.started(done.values(), shown=team.rank == 0), team.local():
            for task, contents in run_tasks(left, recipe, data, options, n_jobs):
                if place is None:
                    group = Group.of(contents, backend=task.backend)
                else:
                    group = place.write(task.position, contents, task.backend)
                done[task.position], own[task.position] = group, contents if place is None else None
                progress.finished(group)
        for position, found in team.collected(own).items():
            if position not in done:
                done[position] = _of_another(tasks[position], found, place)
    return SweepResult(settings, chosen, [done[position] for position in sorted(done)], by, mode)


def _of_another(task: Task, contents: Contents | None, place: SweepFolder | None) -> Group:
    """Return a group that another rank has trained: of what it sent, or of what it wrote."""
    if contents is not None:
        return Group.of(contents, backend=task.backend)
    found = None if place is None else place.finished(task.position, task.runs, task.backend)
    if found is None:
        raise FileNotFoundError(
            "sweep(comm=..., folder=...) expects a folder that all ranks share; what another rank has written is not "
            f"in {str(place and place.path)!r} here. Name one on a shared filesystem."
        )
    return found


def _cases(
    recipe: Recipe, settings: list[Settings], data: Data, options: Options, *, described: bool
) -> tuple[list[Hashable], list[str], list[str]]:
    """Return for each setting what its network can be trained together with, its backend, and its description."""
    keys: list[Hashable] = []
    seen: set[Hashable] = set()
    backends, descriptions = [], []
    for one in settings:
        case = recipe.case(one)
        if case.key not in seen:
            data.check(case, options)
            seen.add(case.key)
        keys.append(case.key)
        backends.append(case.net.backend.name)
        descriptions.append(case.description if described else "")
    return keys, backends, descriptions


def _finished(place: SweepFolder, tasks: list[Task]) -> dict[int, Group]:
    """Return the groups that an earlier call finished, by their position."""
    found = {task.position: place.finished(task.position, task.runs, task.backend) for task in tasks}
    return {position: group for position, group in found.items() if group is not None}


def _members(runs: list[int], settings: list[Settings], seeds: list[int]) -> list[tuple[Settings, list[int]]]:
    """Return each setting of some runs, with its seeds among them."""
    members: dict[int, list[int]] = {}
    for run in runs:
        members.setdefault(run // len(seeds), []).append(seeds[run % len(seeds)])
    return [(settings[i], own) for i, own in members.items()]


class _Progress:
    """Progress of a sweep: a bar if ``rich`` is installed and the output is a terminal, else a line for each group."""

    def __init__(self, n_runs: int, verbose: int) -> None:
        if verbose not in (0, 1, 2):
            raise ValueError(f"verbose must be 0, 1 or 2; got {verbose!r}.")
        self.n_runs, self.verbose = n_runs, verbose
        self.n_done, self._best, self._start = 0, np.nan, time.monotonic()
        self._bar: Any = None

    @contextmanager
    def started(self, before: Iterable[Group], shown: bool = True) -> Iterator[None]:
        """Show progress in a ``with`` block, unless others do; some groups were finished before."""
        self.verbose = self.verbose if shown else 0
        for group in before:
            self._count(group)
        if self.verbose == 1 and sys.stdout.isatty():
            self._bar = rich_bar()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("sweep", total=self.n_runs, completed=self.n_done)
        elif self.verbose and self.n_done:
            print(f"runs {self.n_done}/{self.n_runs}  were finished before", flush=True)
        try:
            with watched(self._tell_compiling):
                yield
        finally:
            if self._bar is not None:
                self._bar.stop()

    def _tell_compiling(self, what: str) -> None:
        """Tell what there is to wait for; in other processes nobody hears it."""
        if self._bar is not None:
            self._bar.update(self._task, description=what, refresh=True)
        elif self.verbose:
            print(what, file=sys.stderr, flush=True)

    def _count(self, group: Group) -> str:
        """Count a group; return the name of the figure that is shown."""
        name = "val_loss" if "val_loss" in group.figures else "loss"
        usable = group.figures[name][~group.diverged]
        self._best = float(np.fmin.reduce(usable, initial=self._best))
        self.n_done += len(group.runs)
        return name

    def finished(self, group: Group) -> None:
        """Tell of a group."""
        name = self._count(group)
        lost = f"  {group.diverged.sum()} diverged" if group.diverged.any() else ""
        text = f"best {name} {figure(self._best)}{lost}"
        if self._bar is not None:
            self._bar.update(self._task, completed=self.n_done, description=text)
        elif self.verbose:
            width, seconds = len(str(self.n_runs)), time.monotonic() - self._start
            print(f"runs {self.n_done:{width}d}/{self.n_runs}  {text}  {seconds:.1f} s", flush=True)


# -- checks ----------------------------------------------------------------------------------------------------------


def _seeds(seeds: Any) -> list[int]:
    """Return seeds as a list: 0, 1, ... for a number."""
    if isinstance(seeds, Iterable):
        chosen = [whole("seeds", seed, at_least=0) for seed in seeds]
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"seeds expects at least one, all different; got {chosen}.")
        return chosen
    return list(range(whole("seeds", seeds)))


def _watches(callbacks: Any) -> list[Callback]:
    """Return callbacks that act on each run by itself; what others see would depend on how runs are grouped."""
    checked = checked_callbacks(callbacks)
    for callback in checked:
        if type(callback) not in (EarlyStopping, ReduceLROnPlateau):
            raise TypeError(
                f"sweep expects EarlyStopping and ReduceLROnPlateau as callbacks; got {type(callback).__name__}. "
                "Progress is shown with verbose=1, and folder= keeps what is finished."
            )
    return checked


def _check_by(by: str | None, mode: str, data: Data, metrics: list[str]) -> None:
    prefix = "" if data.validation is None else "val_"
    known = ["loss", *["val_loss"] * (data.validation is not None), *(prefix + name for name in metrics)]
    if by is not None and by not in known:
        raise ValueError(
            f"by expects a figure of this sweep, {', '.join(map(repr, known))}; got {by!r}. "
            "Figures that start with val_ need validation data; others than losses must be in metrics."
        )
    direction(by or "loss", mode)


def _check_monitors(callbacks: list[Callback], data: Data, metrics: list[str]) -> None:
    known = ["loss", *metrics, "learning_rate"]
    if data.validation is not None:
        known += ["val_loss", *(f"val_{name}" for name in metrics)]
    for callback in callbacks:
        name = getattr(callback, "monitor", "loss")
        if name not in known:
            raise ValueError(
                f"{type(callback).__name__} monitors {name!r}; this sweep has {', '.join(map(repr, known))}. "
                "Figures that start with val_ need validation data; others than losses must be in metrics."
            )


def _stable(descriptions: list[str]) -> list[str]:
    """Return descriptions of cases if another process would find the same."""
    for text in descriptions:
        found = _ADDRESS.search(text)
        if found:
            place = max(0, found.start() - 60)
            raise TypeError(
                f"folder expects settings that can be told apart by their repr; got ...{text[place : found.end()]}. "
                "Give that class a __repr__, or make it a dataclass."
            )
    return descriptions
