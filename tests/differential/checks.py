"""One case on one backend: the library's training beside the oracle's, and how far they may lie apart."""

from __future__ import annotations

import contextlib
import copy
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn

from . import oracle
from .cases import Case, data_of, formed
from .comparing import Mismatch, compare, net_of, otherwise_rounded
from .uses import check_forms, check_uses
from .whole import check_steps

LOSSES: dict[str, Callable[..., tn.Loss]] = {
    "mse": lambda p, reduction: tn.MeanSquaredError(reduction),
    "mae": lambda p, reduction: tn.MeanAbsoluteError(reduction),
    "huber": lambda p, reduction: tn.Huber(p, reduction),
    "bce": lambda p, reduction: tn.BinaryCrossEntropy(False, reduction),
    "bce_logits": lambda p, reduction: tn.BinaryCrossEntropy(True, reduction),
    "cross_entropy": lambda p, reduction: tn.CrossEntropy(True, reduction),
    "cross_entropy_probabilities": lambda p, reduction: tn.CrossEntropy(False, reduction),
    "poisson": lambda p, reduction: tn.PoissonLoss(reduction),
}


@dataclass
class Trained:
    """A model after the oracle's training, and the loss of each epoch."""

    net: oracle.Net
    losses: list[float]


def check(case: Case, backend: str) -> str:
    """Train a case both ways; return the name of the plan that ran.

    Raises
    ------
    Mismatch
        With what differs, and by how much.
    """
    data = data_of(case)
    if case.way in ("ensemble", "slices"):
        return _check_ensemble(case, backend, data)
    if case.way == "whole":
        return _check_whole(case, backend, data)
    net = build(case, backend, data[0])
    expected = _expected(case, net_of(case, net), net.rng, data)
    optimizer, losses = optimizer_of(case), []
    for _ in range(2 if case.way == "twice" else 1):
        losses += fit(case, net, optimizer, data)["loss"]
    compare(case, "loss", losses, [one.losses for one in expected])
    compare(case, "weights", net.get_weights(), [one.net.weights for one in expected])
    _check_figures(case, net, expected, data)
    check_forms(case, net, data)
    check_uses(case, net, data)
    if case.way == "resume" and case.epochs > 1:
        _check_resume(case, backend, data, net)
    if case.way == "once":
        _check_grouping(case, backend, data, net)
    assert net.history is not None
    return net.history.plan


def build(case: Case, backend: str, x: Any) -> tn.Sequential:
    """Return the network of a case, with the weights of its seed."""
    made = [getattr(tn, kind)(*settings) for kind, *settings in case.layers]
    if case.normalize:
        made[0].adapt(x)
    for i in case.frozen:
        made[i].trainable = False
    return tn.Sequential(*made, dtype=case.dtype, seed=case.seed, backend=backend)


def optimizer_of(case: Case, learning_rate: Any = None) -> tn.Optimizer:
    """Return the optimizer of a case, new."""
    kind, settings = case.optimizer
    own = dict(settings)
    if case.schedule is not None:
        own["learning_rate"] = getattr(tn, case.schedule[0])(**case.schedule[1])
    if learning_rate is not None:
        own["learning_rate"] = learning_rate
    made: tn.Optimizer = getattr(tn, kind)(**own)
    return made


def fit(case: Case, net: Any, optimizer: tn.Optimizer, data: tuple[Any, ...], **more: Any) -> Any:
    """Train a network, or an ensemble, as a case says."""
    kind, parameter, reduction = case.loss
    settings = {"epochs": case.epochs, "threads": case.threads, "batch_size": case.batch_size, **more}
    if case.class_weight is not None:
        settings["class_weight"] = dict(enumerate(case.class_weight))
    return net.fit(
        formed(case, data[0]),
        data[1],
        loss=LOSSES[kind](parameter, reduction),
        optimizer=optimizer,
        shuffle=case.shuffle,
        drop_last=case.drop_last,
        sample_weight=data[2],
        **settings,
    )


def _expected(
    case: Case, net: oracle.Net, generator: np.random.Generator, data: tuple[Any, ...], faster: float = 1.0
) -> list[Trained]:
    """Train a model as it is, and three more whose first weights are rounded otherwise: how far those get tells how far
    roundings on the way may lead. ``faster`` multiplies the learning rate.
    """
    wide = _trained_on(case, data)
    size = min(case.batch_size, case.n_samples)
    visits = case.n_samples - case.n_samples % size * case.drop_last
    order_rng = copy.deepcopy(generator)
    order = [
        list(oracle.orders(order_rng, case.n_samples, visits, case.shuffle, case.epochs))
        for _ in range(2 if case.way == "twice" else 1)
    ]
    settings = dict(case.optimizer[1])
    rate = settings.pop("learning_rate") * faster
    found, most = [], math.sqrt(float(np.finfo(case.dtype).max)) / 1e4
    for own in otherwise_rounded(case, net):
        optimizer, losses = oracle.Optimizer(case.optimizer[0], settings), []
        for epochs in order:
            losses += oracle.train(own, optimizer, case.loss, wide, epochs, size, _rates(case, rate), most)
        found.append(Trained(own, losses))
    return found


def _trained_on(case: Case, data: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what the oracle trains on, in float64: weights of classes are factors of those of samples."""
    x, y, weight = (a if a is None or a.dtype.kind == "i" else np.asarray(a, np.float64) for a in data)
    if case.class_weight is not None:
        weight = np.array(case.class_weight)[y] * (1.0 if weight is None else weight)
    return x, y, weight


def _rates(case: Case, rate: float) -> Callable[[float], float]:
    """Return the learning rate as a function of the epochs done."""
    if case.schedule is None:
        return lambda t: rate
    kind, s = case.schedule
    first = s["initial"]
    return {
        "CosineDecay": lambda t: first * (1 + math.cos(math.pi * min(1.0, t / s["epochs"]))) / 2,
        "ExponentialDecay": lambda t: first * s["factor"] ** t,
        "StepDecay": lambda t: first * s["factor"] ** math.floor(t / s["every"]),
    }[kind]


def _check_figures(case: Case, net: tn.Sequential, expected: list[Trained], data: tuple[Any, ...]) -> None:
    """Predictions and the loss over all samples, with the weights that training ended with."""
    x, y, weight = (a if a is None or a.dtype.kind == "i" else np.asarray(a, np.float64) for a in data)
    compare(case, "predictions", net.predict(data[0]), [one.net.forward(x)[0] for one in expected])
    values = [oracle.loss_and_gradient(case.loss, one.net, x, y, weight, masks=False)[0] for one in expected]
    compare(case, "evaluate", net.evaluate(data[0], data[1], sample_weight=data[2])["loss"], values)


def _check_grouping(case: Case, backend: str, data: tuple[Any, ...], straight: tn.Sequential) -> None:
    """A run with validation after each epoch, on another number of threads, ends with the same bits.

    On NumPy the products of large networks are as reproducible as those of the BLAS library.
    """
    net = build(case, backend, data[0])
    threads = case.threads if backend == "numpy" else 1 + (case.threads or 0) % 3
    history = fit(case, net, optimizer_of(case), data, validation_data=data[: 2 + case.weighted], threads=threads)
    _same_bits(straight, net, "a run with validation")
    own = net.evaluate(data[0], data[1], sample_weight=data[2])["loss"]
    # On a GPU another plan evaluates where layers are frozen.
    differs = abs(history["val_loss"][-1] - own) > (1e-6 * abs(own) if backend == "gpu" else 0.0)
    if differs:
        raise Mismatch(f"val_loss is {history['val_loss'][-1]}, and evaluate gives {own}")


def _same_bits(straight: tn.Sequential, other: tn.Sequential, what: str) -> None:
    for a, b in zip(straight.get_weights(), other.get_weights(), strict=True):
        if not np.array_equal(a, b, equal_nan=True):
            raise Mismatch(f"{what} ends with other bits: weights differ by {np.abs(a - b).max():.3g}")


def _check_whole(case: Case, backend: str, data: tuple[Any, ...]) -> str:
    """A training with an optimizer that takes all samples in each step, and one that was cut in two."""
    first, net = build(case, backend, data[0]), build(case, backend, data[0])
    optimizer = optimizer_of(case)
    own = (data[0], data[1], _trained_on(case, data)[2])
    history = fit(case, net, optimizer, data, batch_size=None)
    check_steps(case, [first, net], history, own)
    for place in case.frozen:
        if not np.array_equal(np.asarray(first.layers[place].weight), np.asarray(net.layers[place].weight)):
            raise Mismatch(f"layer {place} is frozen and has changed")
    check_uses(case, net, data)
    if history.epoch:  # Else there was no step to be made, and nothing to resume.
        _check_resume(case, backend, data, net)
    return history.plan


class _Killed(Exception):
    """What ends a training in the middle."""


def _check_resume(case: Case, backend: str, data: tuple[Any, ...], straight: tn.Sequential) -> None:
    """A run that was cut off after an epoch and resumed ends with the same bits as one that was not."""

    def die(epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise _Killed

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.npz"
        with contextlib.suppress(_Killed):
            callbacks = [tn.Checkpoint(path), tn.LambdaCallback(on_epoch_begin=die)]
            fit(case, build(case, backend, data[0]), optimizer_of(case), data, callbacks=callbacks)
        resumed = build(case, backend, data[0])
        fit(case, resumed, optimizer_of(case), data, callbacks=[tn.Checkpoint(path)], resume_from=path)
    _same_bits(straight, resumed, "a resumed run")


def _check_ensemble(case: Case, backend: str, data: tuple[Any, ...]) -> str:
    """Each model of an ensemble, or of a part of one, ends where the oracle gets with it alone."""
    models = tn.Ensemble(build(case, backend, data[0]), case.n_models)
    if case.way == "slices" and case.n_models > 2:
        models = models[1:]
    factors = [1 + i / 8 for i in range(len(models))]
    alone = [models[i] for i in range(len(models))]
    expected = [
        _expected(case, net_of(case, net), net.rng, data, faster) for net, faster in zip(alone, factors, strict=True)
    ]
    rate = case.optimizer[1]["learning_rate"]
    history = fit(case, models, optimizer_of(case, [rate * faster for faster in factors]), data)
    predictions, x = np.asarray(models.predict(data[0])), np.asarray(data[0], np.float64)
    for i, variants in enumerate(expected):
        compare(case, f"losses of model {i}", history["loss"][:, i], [one.losses for one in variants])
        compare(case, f"weights of model {i}", models[i].get_weights(), [one.net.weights for one in variants])
        compare(case, f"predictions of model {i}", predictions[i], [one.net.forward(x)[0] for one in variants])
    return str(history.plan)
