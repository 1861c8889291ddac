"""``tinynet sweep``: train networks for many settings and seeds on data; keep the runs, the best model, and plots."""

from __future__ import annotations

import argparse
import csv
import io
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend, use_backend
from tinynet.base.errors import DependencyError
from tinynet.base.frozen import dataclass
from tinynet.base.text import text_of
from tinynet.cli.config import quoted
from tinynet.cli.defaults import defaults_for, fill_in, lengths
from tinynet.cli.judging import shown
from tinynet.cli.networks import Head, build, first_layers, head_for
from tinynet.cli.optimizing import OPTIMIZER_SETTINGS, check_settings, optimizer_of, suitable
from tinynet.cli.places import SWEEP
from tinynet.cli.problem import Problem, Say, read_problem
from tinynet.cli.train import say_line, say_nothing
from tinynet.exchange.atomic import atomic_open
from tinynet.layers import Embedding, Layer, Normalize
from tinynet.models.sequential import Sequential
from tinynet.optimizers import OPTIMIZERS
from tinynet.sweeps.head import HEAD
from tinynet.sweeps.result import SweepResult, Table
from tinynet.sweeps.sweep import sweep
from tinynet.training.arguments import USUAL_BATCH
from tinynet.training.monitors import EarlyStopping

MODEL, RUNS, SETTINGS, PLOTS = "best.npz", "runs.csv", "settings.csv", ("parallel.png", "losses.png")

SHOWN = 10
"""Settings that are printed."""

SEARCHED = ("layers", "activation", "dropout", "optimizer", *OPTIMIZER_SETTINGS, "batch_size")
"""Options that may be given several values."""


def run(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    say = say_nothing if args.quiet else say_line
    out = Path(args.out or SWEEP)
    defaults = defaults_for(args)
    space = _space(args, defaults)
    # What is best is chosen on rows of its own, also where the data have a test set.
    fill_in(args, {"validation": 0.2, **{name: defaults.get(name) for name in ("dtype", "epochs", "early_stopping")}})
    problem = read_problem(args, say)
    fill_in(args, lengths(_largest_batch(space), problem))
    with use_backend(args.backend or get_backend().name):
        result = _sweep(args, space, problem, out, say)
        say("result", result.report(SHOWN).removeprefix("SweepResult: "))
        _write(args, result, problem, out, say)
    return 0


def _space(args: argparse.Namespace, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the values of each option that may have several; those with none, and no default, are left out."""
    space: dict[str, Any] = {}
    optimizers = [name for names in args.optimizer or [[defaults["optimizer"]]] for name in names]
    check_settings([name for name in ("schedule", "batch_size") if getattr(args, name) is not None], optimizers)
    defaults = suitable(defaults, optimizers)
    for name in SEARCHED:
        given = getattr(args, name) or ([[defaults[name]]] if name in defaults else [])
        drawn = [values for values in given if not isinstance(values, list)]
        option = f"--{name.replace('_', '-')}"
        if drawn and args.samples is None:
            raise ValueError(
                f"{option} expects a number of steps at the end of a range, as in 1e-4:1e-1:log:20, or --samples N "
                f"for a random search; got {drawn[0]} and no --samples."
            )
        if drawn and len(given) > 1:
            raise ValueError(f"{option} expects one range to draw from, or values; got both, or several ranges.")
        if given:
            space[name] = drawn[0] if drawn else [value for values in given for value in values]
    check_settings([name for name in OPTIMIZER_SETTINGS if name in space], space["optimizer"])
    space["optimizer"] = [optimizer_of(name, args) for name in space["optimizer"]]
    return space


def _largest_batch(space: dict[str, Any]) -> int | None:
    """Return the rows of the largest batch; None where every optimizer takes all rows."""
    if "batch_size" in space:
        return int(max(space["batch_size"]))
    every = all(OPTIMIZERS[make.__name__].takes_all_samples for make in space["optimizer"])
    return None if every else USUAL_BATCH


def _sweep(args: argparse.Namespace, space: dict[str, Any], problem: Problem, out: Path, say: Say) -> SweepResult:
    scale = (lambda y: y) if problem.scaling is None else problem.scaling.standard
    watched = problem.held.get("validation")
    network = Network.of(args, problem)
    say("folder", f"{out}{' (goes on with what is there)' if (out / HEAD).exists() else ''}")
    started = time.perf_counter()
    stopping = EarlyStopping("val_loss" if watched else "loss", patience=max(0, args.early_stopping))
    try:
        result = sweep(
            network,
            space,
            problem.train[0],
            scale(problem.train[1]),
            validation_data=None if watched is None else (watched[0], scale(watched[1])),
            seeds=args.seeds,
            n_samples=args.samples,
            seed=args.seed,
            by=args.by,
            loss=network.head.loss,
            missing_targets=args.missing_targets,
            epochs=args.epochs,
            metrics=problem.notes.metrics(len((watched or problem.train)[0]))[
                -1
            ],  # r2 or accuracy: neither depends on the units of the targets.
            callbacks=[stopping] if args.early_stopping else [],
            folder=out,
            n_jobs=args.jobs,
            threads=args.threads,
            verbose=0 if args.quiet else 1,
        )
    except KeyboardInterrupt:
        say("stopped", f"what is finished is in {out}; the same command goes on from there")
        raise
    say("trained", f"{len(result):,} runs in {time.perf_counter() - started:.2f} s")
    return result


@dataclass(frozen=True)
class Network:
    """Builds the networks of a sweep: an object that other processes can be sent.

    Attributes
    ----------
    columns : dict of str to array, or None
        The mean and the scale of the features, measured once.
    embedding : dict or None
        The arguments of the layer that reads levels, if some features are such.
    last : Layer or None
        What scales the targets.
    """

    n_in: int
    head: Head
    dtype: str
    columns: dict[str, NDArray[Any]] | None
    embedding: dict[str, Any] | None = None
    last: Layer | None = None

    @classmethod
    def of(cls, args: argparse.Namespace, problem: Problem) -> Network:
        """Return what builds networks for the data."""
        x, y = problem.train
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        head = head_for(args.loss, problem.notes.classes, n_targets, args.quantiles, args.label_smoothing)
        if args.notebook:
            return cls(x.shape[1], head, args.dtype, None)
        table = problem.notes.table
        layer = first_layers(x, table)[0]
        columns = {name: np.array(getattr(layer, name)) for name in layer.buffer_names}
        embedding = None if table is None else table.embedding
        return cls(x.shape[1], head, args.dtype, columns, embedding, head.scaling(y, args.missing_targets))

    def __call__(self, layers: tuple[int, ...], activation: str, dropout: float | None = None) -> Sequential:
        """Return a network of such hidden layers."""
        head, first = self.head, list[Layer]()
        if self.columns is None:
            # The notebook's inputs are not scaled, and its last layer has an activation as the others.
            head = head.with_activation(activation)
        else:
            first.append(Normalize(self.n_in))
            first[0].load_buffers(self.columns)
            first += [] if self.embedding is None else [Embedding(**self.embedding)]
            head = replace(head, activation=None if head.activation is None else head.activation.fresh_copy())
        last = None if self.last is None else self.last.fresh_copy()
        return build(first, self.n_in, layers, activation, head, dropout, last, dtype=self.dtype)


# -- results ---------------------------------------------------------------------------------------------------------


def _write(args: argparse.Namespace, result: SweepResult, problem: Problem, out: Path, say: Say) -> None:
    """Write the tables, the best model, and the plots if they can be drawn."""
    _write_table(result.table, out / RUNS)
    _write_table(result.summary(), out / SETTINGS)
    say("wrote", f"{out / RUNS}, {out / SETTINGS} (each run; each setting, the best first)")
    net = result.best_model
    net.metadata |= problem.notes.metadata()
    if problem.scaling is not None:
        problem.scaling.into(net)
    net.save(out / MODEL)
    say("wrote", f"{out / MODEL} (the best run of the best setting)")
    if args.plot:
        try:
            result.plot_parallel(out / PLOTS[0])
            result.plot_losses(out / PLOTS[1])
            say("wrote", f"{out / PLOTS[0]}, {out / PLOTS[1]} (the settings; their losses)")
        except DependencyError as error:
            say("no plot", str(error))
    for name, (x, y) in problem.held.items():
        figures = net.evaluate(x, y, metrics=problem.notes.metrics(len(x)), missing_targets=args.missing_targets)
        say("best", f"{shown(figures)} on {len(x):,} {name} rows{', by which it was chosen' * (name == 'validation')}")
    say("train", f"{train_command(args, result.best_settings)} (the best setting alone)")
    if args.data is not None:
        say("next", f"tinynet predict {shlex.quote(str(out / MODEL))} NEW.csv")


SAME = (
    *(
        "notebook",
        "target",
        "ignore",
        "decimal",
        "header",
        "missing_words",
        "categorical",
        "embedding",
        "missing",
        "missing_targets",
        "task",
    ),
    *("validation", "loss", "quantiles", "label_smoothing"),
    *("dtype", "schedule", "epochs", "early_stopping", "seed", "backend"),
)
"""Options of a sweep that ``train`` has, too."""


def train_command(args: argparse.Namespace, settings: dict[str, Any]) -> str:
    """Return the command that trains a setting alone, on the same rows.

    Examples
    --------
    >>> args = argparse.Namespace(data="a b.csv", notebook=False, target=["x,y"], early_stopping=0, epochs=7)
    >>> print(train_command(args, {"layers": (8, 4), "learning_rate": 0.01}))
    tinynet train 'a b.csv' --target '"x,y"' --epochs 7 --early-stopping 0 --layers 8,4 --learning-rate 0.01
    """
    usual = {"header": "auto", "task": "auto", "loss": "auto", "schedule": "cosine", "seed": 0, "dtype": "float32"}
    usual["missing_targets"] = "error"
    said = {name: getattr(args, name, None) for name in SAME}
    tokens = [] if args.data is None else [args.data]
    for name, value in (said | settings).items():
        if value is None or value is False or value == [] or (name in usual and value == usual[name]):
            continue
        tokens += [f"--{name.replace('_', '-')}", *([] if value is True else [_as_option(value)])]
    return f"tinynet train {shlex.join(tokens)}"


def _as_option(value: Any) -> str:
    """Return the value of a setting as it is written on the command line."""
    if isinstance(value, list | tuple):
        return ",".join(quoted(str(entry)) for entry in value) or "none"
    return str(getattr(value, "__name__", value))


def _write_table(table: Table, path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*(column.tolist() for column in table.values()), strict=True):
        writer.writerow([value if isinstance(value, int | float) else text_of(value) for value in row])
    with atomic_open(path) as file:
        file.write(text.getvalue().encode())
