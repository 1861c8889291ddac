"""Fit: what a model is trained on, and the training of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinynet.base.config import chosen_threads, use_threads
from tinynet.losses import Loss, get_loss
from tinynet.optimizers import Optimizer, get_optimizer
from tinynet.training.callbacks import Callback
from tinynet.training.class_weights import ClassWeight, with_class_weights
from tinynet.training.data import standardise, with_validation
from tinynet.training.gaps import weighed_by_measured
from tinynet.training.history import History
from tinynet.training.identity import checked_changes
from tinynet.training.metrics import Metric, get_metrics
from tinynet.training.ranks import dealt, split_among, together
from tinynet.training.scales import warn_of_scales
from tinynet.training.trainer import Trainer
from tinynet.training.whole import WholeTrainer

if TYPE_CHECKING:
    from tinynet.models.sequential import Sequential


def fitted(
    net: Sequential,
    x: Any,
    y: Any,
    *,
    loss: str | Loss,
    optimizer: str | Optimizer,
    epochs: int,
    batch_size: int | None,
    shuffle: bool | str,
    drop_last: bool,
    validation_data: tuple[Any, ...] | None,
    validation_split: float,
    sample_weight: Any,
    class_weight: ClassWeight,
    missing_targets: str,
    metrics: str | Metric | Iterable[str | Metric],
    callbacks: Callback | Sequence[Callback],
    verbose: int,
    resume_from: str | os.PathLike[str] | None,
    resume_changes: str | Iterable[str],
    threads: int | None,
    comm: Any,
    deterministic: bool | int,
) -> History:
    """Train a model, as ``Sequential.fit`` says; return its history."""
    chosen, updater = get_loss(loss).with_missing(missing_targets), get_optimizer(optimizer)
    measures, changes = get_metrics(metrics), checked_changes(resume_changes)
    given: dict[str, Any] = {
        "metrics": list(measures),
        "validation_data": validation_data,
        "validation_split": validation_split,
    }
    given |= {"sample_weight": sample_weight, "class_weight": class_weight, "missing_targets": missing_targets}
    with together(comm, deterministic, net, given) as team:
        data = net._data(chosen, x, y, sample_weight)
        data, validation = with_validation(
            data, partial(net._data, chosen), validation_data, validation_split, partial(split_among, team)
        )
        measured = weighed_by_measured(data, chosen, team)
        data = with_class_weights(measured, class_weight, chosen, net.program, team)
        validation = None if validation is None else weighed_by_measured(validation, chosen, team)
        warn_of_scales(data, chosen, net.program)
        data, validation = dealt(team, data), None if validation is None else dealt(team, validation)
        standardise([data, validation], net.program, net.state)
        trainer = (WholeTrainer if updater.takes_all_samples else Trainer)(
            net,
            data,
            validation,
            loss=chosen,
            optimizer=updater,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            metrics=measures,
            callbacks=callbacks,
            verbose=verbose,
            team=team,
        )
        with use_threads(threads), net.backend.using_threads(chosen_threads()):
            return trainer.run(resume_from, changes)
