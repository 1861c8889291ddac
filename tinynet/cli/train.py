"""``tinynet train``: read data, build a network, train it, and write the model and a plot of its losses."""

from __future__ import annotations

import argparse
import os
import shlex
import time

import numpy as np

from tinynet.backends import get_backend
from tinynet.backends.compiling import watched
from tinynet.base.errors import DependencyError, DivergenceError
from tinynet.cli.defaults import defaults_for, fill_in, lengths
from tinynet.cli.judging import meaning, shown
from tinynet.cli.networks import build, first_layers, head_for
from tinynet.cli.notes import Notes
from tinynet.cli.optimizing import OPTIMIZER_SETTINGS, check_settings, optimizer_of, suitable
from tinynet.cli.places import LOSSES, MODEL, beside, require_different
from tinynet.cli.problem import Problem, Say, read_problem
from tinynet.exchange.atomic import require_place
from tinynet.exchange.modelfile import check_name
from tinynet.layers import Normalize
from tinynet.losses import Loss
from tinynet.models.sequential import Sequential
from tinynet.optimizers import OPTIMIZERS, get_optimizer
from tinynet.plotting.figures import check_plot
from tinynet.plotting.history import plot_history
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs, as_text
from tinynet.training.monitors import EarlyStopping
from tinynet.training.progress import CompilerNotice
from tinynet.training.saving import Checkpoint

UNFINISHED: dict[type[BaseException], str] = {
    KeyboardInterrupt: "interrupted",
    DivergenceError: "diverged",
    MemoryError: "unfinished",
    OSError: "unfinished",
}
"""What cuts a training off, and the word in the names of its files. OSErrors are a full disk, and that nobody reads the
lines any more."""

LARGE_OFFSET = 1e4
"""A column whose mean is this many times its deviation loses about 4 of the 7 digits of float32."""


class Lines(CompilerNotice):
    """Print the figures of each tenth of the training, and of others if those take long; in a log as on a terminal."""

    seconds = 2.0

    def on_train_begin(self, logs: Logs) -> None:
        """Start counting."""
        self._last = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the figures of the epoch if it is time."""
        n_epochs, now = self.trainer.epochs, time.monotonic()
        is_tenth = epoch % max(1, n_epochs // 10) == 0
        if is_tenth or epoch + 1 == n_epochs or now - self._last >= self.seconds:
            self._last = now
            print(f"epoch {epoch + 1:{len(str(n_epochs))}d}/{n_epochs}  {as_text(logs)}", flush=True)


def run(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    defaults = defaults_for(args)
    fill_in(args, {"optimizer": defaults["optimizer"]})
    given = (*OPTIMIZER_SETTINGS, "schedule", "batch_size")
    check_settings([name for name in given if getattr(args, name) is not None], [args.optimizer])
    fill_in(args, suitable(defaults, [args.optimizer]))
    say = say_nothing if args.quiet else say_line
    _check_places(args)
    with watched((lambda what: None) if args.quiet else CompilerNotice().on_compile):
        get_backend(args.backend)  # One that cannot run is told before anything is read.
    problem = read_problem(args, say)
    fill_in(args, lengths(args.batch_size, problem))
    net, loss = _network(args, problem)
    if not args.quiet:
        net.summary(lambda text: print(f"\n{text}\n"))
    _note_offsets(net, problem.notes, say)
    out, plot = args.out or MODEL, None if args.plot == "none" else args.plot or LOSSES
    try:
        _fit(args, net, loss, problem, say)
    except tuple(UNFINISHED) as error:
        word = next(word for kind, word in UNFINISHED.items() if isinstance(error, kind))
        _keep(net, problem, word, out, plot, say)
        raise
    _write(net, problem, out, plot, say)
    for name, (x, y) in problem.held.items():
        figures = net.evaluate(x, y, metrics=problem.notes.metrics(len(x)), missing_targets=args.missing_targets)
        say("result", f"{shown(figures)} on {len(x):,} {name} rows")
        say("meaning", meaning(figures, y))
    say("next", _next(args))
    return 0


def say_line(name: str, text: str) -> None:
    """Print what a line is about, and its text."""
    print(f"{name:<10}{text}", flush=True)


def say_nothing(name: str, text: str) -> None:
    """Stand in for ``say_line`` where nothing is to be said."""


def _check_places(args: argparse.Namespace) -> None:
    """Raise now what would be raised after training."""
    if args.resume and args.checkpoint is None:
        raise ValueError("--resume expects --checkpoint FILE, the file to go on from; got none.")
    if args.plot not in (None, "none"):
        check_plot(args.plot)
    out, plot = args.out or MODEL, None if args.plot == "none" else args.plot or LOSSES
    check_name(out)
    held = args.validation if isinstance(args.validation, str) else None
    read = {"DATA": args.data, "--validation": held, "--config": args.config}
    written = {"--checkpoint": args.checkpoint, "--out": out, "--plot": plot}
    require_different(written, read)
    for name, path in written.items():
        if path is not None:
            require_place(name, path)
    if args.checkpoint is not None and not args.resume and os.path.lexists(args.checkpoint):
        raise ValueError(
            f"--checkpoint expects a new file, or --resume to go on from it; {args.checkpoint!r} is there. "
            "Add --resume, or give another name."
        )


def _network(args: argparse.Namespace, problem: Problem) -> tuple[Sequential, Loss]:
    x, y = problem.train
    n_targets = 1 if y.ndim == 1 else y.shape[1]
    head = head_for(args.loss, problem.notes.classes, n_targets, args.quantiles, args.label_smoothing)
    options = {"dtype": args.dtype, "seed": args.seed, "backend": args.backend}
    if args.notebook:
        # The notebook's inputs are not scaled, and its last layer has an activation as the others.
        first, head = [], head.with_activation(args.activation)
    else:
        first = first_layers(x, problem.notes.table)
    last = head.scaling(y, args.missing_targets)
    net = build(first, x.shape[1], args.layers, args.activation, head, args.dropout, last, **options)
    net.metadata = problem.notes.metadata()
    return net, head.loss


def _note_offsets(net: Sequential, notes: Notes, say: Say) -> None:
    first = net.layers[0]
    if not isinstance(first, Normalize) or net.dtype != "float32" or notes.columns is None:
        return
    mean, scale = (np.abs(net.backend.to_numpy(array)) for array in (first.mean, first.scale))
    names = [name for name, large in zip(notes.columns, mean > LARGE_OFFSET * scale, strict=True) if large]
    if names:
        say("note", f"{', '.join(names)}: small changes of large numbers; --dtype float64 keeps their digits")


def _fit(args: argparse.Namespace, net: Sequential, loss: Loss, problem: Problem, say: Say) -> None:
    """Train, on multiples of the mean where the targets are counts."""
    scale = (lambda y: y) if problem.scaling is None else problem.scaling.standard
    watched = next(((x, scale(y)) for x, y in problem.held.values()), None)
    callbacks: list[Callback] = [] if args.quiet else [Lines()]
    if args.early_stopping:
        callbacks.append(EarlyStopping("val_loss" if watched else "loss", patience=args.early_stopping))
    if args.checkpoint is not None:
        callbacks.append(Checkpoint(args.checkpoint, every=args.checkpoint_every))
    started = time.perf_counter()
    given = {name: getattr(args, name) for name in OPTIMIZER_SETTINGS if getattr(args, name) is not None}
    try:
        history = net.fit(
            problem.train[0],
            scale(problem.train[1]),
            loss=loss,
            optimizer=optimizer_of(args.optimizer, args)(**given),
            epochs=args.epochs,
            batch_size=args.batch_size,
            validation_data=watched,
            missing_targets=args.missing_targets,
            metrics=problem.notes.metrics(min(len(watched[0]), len(problem.train[0]))) if watched else [],
            callbacks=callbacks,
            resume_from=args.checkpoint if args.resume else None,
            resume_changes=args.resume_changes,
        )
    except DivergenceError as error:
        raise DivergenceError(
            f"{error.reason} {_advice(args)}", error.epoch, error.history, error.best_weights
        ) from error
    compiled = history.compile_seconds
    seconds, before = time.perf_counter() - started - compiled, f" after compiling for {compiled:.2f} s"
    took = f"{seconds:.2f} s{before if compiled else ''}"
    say("trained", f"{len(history)} epochs in {took} on {net.backend.name} ({history.plan})")
    if history.stop_reason:
        say("stopped", f"{history.stop_reason}; the model is that of the best epoch")


def _advice(args: argparse.Namespace) -> str:
    """Tell what helps a training that diverged, by options of the command."""
    if OPTIMIZERS[args.optimizer].takes_all_samples:
        return "Look for extreme values in the data, or try --optimizer adam."
    rate = get_optimizer(args.optimizer).learning_rate if args.learning_rate is None else args.learning_rate
    clip = "clip gradients (--clip-norm 1)" if args.clip_norm is None else "lower --clip-norm"
    return f"Lower --learning-rate (it is {rate:g}), or {clip}."


# -- results ---------------------------------------------------------------------------------------------------------


def _write(net: Sequential, problem: Problem, out: str, plot: str | None, say: Say) -> None:
    """Write the model, and the plot if it can be drawn."""
    if problem.scaling is not None:
        problem.scaling.into(net)
    net.save(out)
    say("wrote", f"{out} (the model)")
    if plot is None or not net.history:
        return
    try:
        plot_history(net.history, plot)
    except DependencyError as error:
        say("no plot", str(error))
        return
    say("wrote", f"{plot} (the losses)")


def _keep(net: Sequential, problem: Problem, word: str, out: str, plot: str | None, say: Say) -> None:
    """Keep what a training has learned that did not end, and replace nothing by it: hours of it may be the user's."""
    n_epochs = len(net.history or ())
    if not n_epochs:
        say("stopped", "before the end of an epoch; nothing is written")
        return
    # Silently first: who waits for lines may be gone, which is one of the ways to end.
    place, drawn = beside(out, word), None if plot is None else beside(plot, word)
    _write(net, problem, place, drawn, say_nothing)
    stays = "" if place == out else f"; {out} stays"
    say("stopped", f"after {n_epochs} epochs; the model is kept as it is, in {place}{stays}")


def _next(args: argparse.Namespace) -> str:
    if args.data is None:
        return "tinynet train YOUR.csv --target COLUMN"
    return f"tinynet predict {shlex.quote(str(args.out or MODEL))} NEW.csv"
