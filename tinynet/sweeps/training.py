"""Training of the groups of a sweep: each as an ensemble, here or in other processes."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from dataclasses import field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.base.arrays import as_real_array, as_samples
from tinynet.base.checks import number
from tinynet.base.config import usable_cores
from tinynet.base.errors import requires
from tinynet.base.frozen import dataclass
from tinynet.base.text import plain
from tinynet.ensembles.ensemble import Ensemble
from tinynet.ensembles.files import describe_ensemble
from tinynet.losses import Loss
from tinynet.sweeps.files import Contents
from tinynet.sweeps.runs import Case, Recipe, joined
from tinynet.sweeps.space import Settings
from tinynet.training.callbacks import Callback
from tinynet.training.class_weights import ClassWeight, with_class_weights
from tinynet.training.data import Data as Checked
from tinynet.training.data import checked_data, checked_validation
from tinynet.training.gaps import weighed_by_measured
from tinynet.training.metrics import Meter, Metric, get_metrics

CACHE = "TINYNET_CACHE_DIR"

LARGE = 1 << 20
"""Bytes from which on data do not go along with every group that another process trains."""

Figures = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Data:
    """What runs are trained on, as arrays that can be sent to other processes."""

    x: NDArray[Any]
    y: NDArray[Any]
    weight: NDArray[Any] | None
    validation: tuple[NDArray[Any], ...] | None

    @classmethod
    def of(cls, x: Any, y: Any, weight: Any, validation: Any, share: float) -> Data:
        """Return what a sweep was given, its validation data held out of the rest where it asks for a share."""
        samples, targets = as_real_array(x, "x"), as_real_array(y, "y")
        weights = None if weight is None else as_real_array(weight, "sample_weight")
        if weights is not None and weights.ndim != 1:
            raise ValueError(f"sample_weight expects one for each sample; got shape {weights.shape}.")
        if validation is not None and share:
            raise ValueError("sweep expects validation_data or validation_split, not both. Drop one of them.")
        if validation is not None:
            names = ("x of validation_data", "y of validation_data", "sample_weight of validation_data")
            held = tuple(as_real_array(v, name) for v, name in zip(checked_validation(validation), names, strict=False))
            return cls(samples, targets, weights, held)
        if not share:
            return cls(samples, targets, weights, None)
        n = len(samples) - max(1, round(len(samples) * number("validation_split", share, above=0.0, below=1.0)))
        if n < 1:
            raise ValueError(f"validation_split={share:g} leaves none of {len(samples)} samples to train on. Lower it.")
        parts = [samples, targets] + ([] if weights is None else [weights])
        first, held = [part[:n] for part in parts], tuple(part[n:] for part in parts)
        return cls(first[0], first[1], None if weights is None else first[2], held)

    @property
    def parts(self) -> tuple[NDArray[Any] | None, ...]:
        """The arrays, as ``of_parts`` takes them."""
        return self.x, self.y, self.weight, *(self.validation or ())

    @classmethod
    def of_parts(cls, x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any] | None, *validation: NDArray[Any]) -> Data:
        """Return the data of which these are the ``parts``."""
        return cls(x, y, weight, validation or None)

    def check(self, case: Case, options: Options) -> None:
        """Raise now what ``fit`` would raise of the data, for a network and its loss."""
        program, measured, loss = case.net.program, options.metrics, case.loss.with_missing(options.missing_targets)
        if self.validation is not None:
            self._check_set(case, loss, self.validation, measured)
            measured = tuple(options.watched)
        data = self._check_set(case, loss, (self.x, self.y, self.weight), measured)
        with_class_weights(data, options.class_weight, loss, program)

    def _check_set(self, case: Case, loss: Loss, given: tuple[Any, ...], metrics: tuple[str | Metric, ...]) -> Checked:
        """Check samples, targets, and weights if there are any, with what is to be measured of them."""
        x, y, weight = (*given, None)[:3]
        program, host = case.net.program, get_backend("numpy")  # Nothing needs to go to a device to be checked.
        samples = as_samples(x, "x", program.n_in, program.reads, expects=repr(case.net.layers[0]))
        parts = (samples, y, loss, program.n_out, program.dtype, host, weight)
        data = weighed_by_measured(checked_data(*parts, columns=case.net._columns(loss)), loss)
        Meter(get_metrics(metrics), data, loss, program)
        return data

    @property
    def digest(self) -> str:
        """A text that is the same for the same data only."""
        found = hashlib.sha256()
        for array in self.parts:
            found.update(b"none" if array is None else f"{array.dtype.str}{array.shape}".encode())
            if array is not None:
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


@dataclass(frozen=True)
class Options:
    """What is the same for all runs."""

    metrics: tuple[str | Metric, ...]
    callbacks: list[Callback]
    bootstrap: bool
    threads: int | None
    verbose: int
    class_weight: ClassWeight
    missing_targets: str
    cache: str | None = field(default_factory=lambda: os.environ.get(CACHE))
    """Where compiled code is kept, if that was said here: workers elsewhere were not told."""

    @property
    def watched(self) -> list[str | Metric]:
        """The metrics that callbacks monitor: only these are computed in every epoch."""
        names = {getattr(callback, "monitor", "").removeprefix("val_") for callback in self.callbacks}
        return [metric for metric in self.metrics if names & set(get_metrics(metric))]

    @property
    def identity(self) -> dict[str, Any]:
        """What tells one sweep from another."""
        watches = [{"kind": type(callback).__name__, **callback.settings()} for callback in self.callbacks]
        found = {"metrics": list(get_metrics(self.metrics)), "callbacks": watches, "bootstrap": self.bootstrap}
        ignored = {} if self.missing_targets == "error" else {"missing_targets": self.missing_targets}
        return found | {"class_weight": plain(self.class_weight), **ignored}


@dataclass(frozen=True)
class Task:
    """A group of runs: each setting, with the seeds that are to be trained.

    Attributes
    ----------
    backend : str
        That of its networks. Other processes take it where ``build`` names none.
    """

    position: int
    runs: list[int]
    cases: list[tuple[Settings, list[int]]]
    backend: str


def train(
    task: Task, recipe: Recipe, data: Data, options: Options, backend: str | None = None
) -> tuple[Task, Contents]:
    """Train a group, here or in another process; return it with what its file holds."""
    if options.cache is not None:
        os.environ.setdefault(CACHE, options.cache)
    cases = [recipe.case(settings, backend) for settings, _ in task.cases]
    made = [Ensemble(case.net, len(seeds), seeds) for case, (_, seeds) in zip(cases, task.cases, strict=True)]
    models = made[0] if len(made) == 1 else Ensemble.concatenate(made)
    each = [case for case, (_, seeds) in zip(cases, task.cases, strict=True) for _ in seeds]
    history = models.fit(
        data.x,
        data.y,
        loss=joined([case.loss for case in each]),
        optimizer=joined([case.optimizer for case in each]),
        validation_data=data.validation,
        sample_weight=data.weight,
        class_weight=options.class_weight,
        missing_targets=options.missing_targets,
        bootstrap=options.bootstrap,
        metrics=options.watched,
        callbacks=options.callbacks,
        verbose=options.verbose,
        threads=options.threads,
        **cases[0].fit,
    )
    diverged = np.zeros(len(models), bool)
    diverged[history.diverged] = True
    losses = {name: values for name, values in models.scores.items() if name in ("loss", "val_loss")}
    figures = losses | _measured(models, data, options)
    header, arrays = describe_ensemble(models)
    arrays |= {f"figure.{name}": np.asarray(values, np.float64) for name, values in figures.items()}
    arrays |= {f"history.{name}": history[name] for name in history if name != "learning_rate"}
    arrays |= {
        "sweep.runs": np.array(task.runs, np.int64),
        "sweep.n_epochs": np.isfinite(history["loss"]).sum(axis=0),
        "sweep.diverged": diverged,
    }
    return task, (header | {"plan": history.plan}, arrays)


def _measured(models: Ensemble, data: Data, options: Options) -> Figures:
    """Return the metrics of models over the validation data, or else over what they were trained on."""
    metrics, missing = options.metrics, options.missing_targets
    if not metrics:
        return {}
    measured = (data.x, data.y, data.weight) if data.validation is None else data.validation
    x, y, weight = (*measured, None)[:3]
    with np.errstate(over="ignore", invalid="ignore"):  # Runs on their way to infinity are reported, not warned of.
        found = models.evaluate(x, y, metrics=metrics, sample_weight=weight, missing_targets=missing)
    prefix = "" if data.validation is None else "val_"
    return {prefix + name: found[name] for name in get_metrics(metrics)}


def run_tasks(
    tasks: list[Task], recipe: Recipe, data: Data, options: Options, n_jobs: int | None
) -> Iterator[tuple[Task, Contents]]:
    """Train groups one after the other, or in several processes; give each when it is finished."""
    if n_jobs == 1 or (n_jobs is None and "joblib" not in sys.modules):
        yield from (train(task, recipe, data, options) for task in tasks)
        return
    try:
        import joblib
    except ImportError as error:
        raise requires("joblib", f"sweep(n_jobs={n_jobs})", "pip install joblib") from error
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")
    n_workers = joblib.effective_n_jobs(n_jobs)
    if n_workers == 1:
        yield from (train(task, recipe, data, options) for task in tasks)
        return
    if options.threads is None:
        # As many threads in each process as there are cores would only get in each other's way.
        options = replace(options, threads=max(1, usable_cores() // n_workers))
    if sum(part.nbytes for part in data.parts if part is not None) < LARGE:
        yield from parallel(joblib.delayed(train)(task, recipe, data, options, task.backend) for task in tasks)
    else:
        yield from parallel(joblib.delayed(_train_on)(task, recipe, options, *data.parts) for task in tasks)


def _train_on(task: Task, recipe: Recipe, options: Options, *parts: Any) -> tuple[Task, Contents]:
    """Train a group in another process, on arrays that are arguments: joblib sends each of them to Dask's workers once.

    Groups then begin where the arrays are, and reach other workers when Dask moves them there, within a second or so.
    Small data go along with every group for that reason.
    """
    return train(task, recipe, Data.of_parts(*parts), options, task.backend)
