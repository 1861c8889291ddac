"""A checkpoint is taken by the training that wrote it, and by no other; one that is refused changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resumed_runs import KINDS, X, Y, fit, held, made, network

import tinynet as tn

# -- what differs is refused, by name --------------------------------------------------------------------------------

WEIGHTS = np.linspace(1, 2, len(X))
OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "another learning rate": ({"optimizer": tn.Adam(0.5)}, "learning_rate is 0.01, this fit has 0.5"),
    "a schedule": ({"optimizer": tn.Adam(tn.StepDecay(0.01, 1))}, "learning_rate is 0.01, this fit has 'StepDecay"),
    "clipping by norm": ({"optimizer": tn.Adam(0.01, clip_norm=0.1)}, "clip_norm is None, this fit has 0.1"),
    "clipping by value": ({"optimizer": tn.Adam(0.01, clip_value=0.1)}, "clip_value is None, this fit has 0.1"),
    "weight decay": ({"optimizer": tn.Adam(0.01, weight_decay=1)}, "weight_decay is 0.0, this fit has 1.0"),
    "another optimizer": ({"optimizer": tn.SGD(0.01)}, "optimizer is 'adam', this fit has 'sgd'"),
    "another loss": ({"loss": "mae"}, "loss is 'mse', this fit has 'mae'"),
    "another reduction": ({"loss": tn.MeanSquaredError("sum")}, "reduction='sum'"),
    "other samples": ({"x": X + 1e-13}, "x has other values"),
    "samples in another order": ({"x": X[::-1]}, "x has other values"),
    "negated samples": ({"x": -X}, "x has other values"),
    "another target": ({"y": Y + np.eye(len(Y), 1)}, "its y has other values"),
    "fewer samples": ({"x": X[:-1], "y": Y[:-1]}, "number of samples is 24, this fit has 23"),
    "weights": ({"sample_weight": WEIGHTS}, "sample_weight is None, this fit has data"),
    "a metric": ({"metrics": "r2"}, r"figures is \['loss', 'learning_rate'\], this fit has \['loss', 'r2'"),
    "validation data": ({"validation_data": (X, Y)}, "validation x is None, this fit has data"),
    "a share held out": ({"validation_split": 0.25}, "number of samples is 24, this fit has 18"),
    "another batch size": ({"batch_size": 6}, "batch size is 5, this fit has 6"),
    "no shuffling": ({"shuffle": False}, "shuffle is True, this fit has False"),
    "another patience": (
        {"callbacks": [tn.EarlyStopping("loss", patience=3), tn.Checkpoint("a")]},
        "callbacks is .*patience=50.*, this fit has .*patience=3",
    ),
    "no early stopping": ({"callbacks": [tn.Checkpoint("a")]}, "callbacks is"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", OTHERS)
def test_another_training_is_refused_and_changes_nothing(kind: str, case: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    fit(made(kind), path, 4)
    model = made(kind)
    fit(model, tmp_path / "before.ckpt", 1, loss="huber")
    before, files = held(model), {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    changes, message = OTHERS[case]
    with pytest.raises(ValueError, match=message):
        fit(model, tmp_path / "new.ckpt", resume_from=path, **changes)
    assert held(model) == before
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": 0.2}, r"layer 3 is 'Dropout\(n=4, rate=0.1, index=3\)', this fit has 'Dropout\(n=4, rate=0.2"),
        ({"activation": "relu"}, 'layer 2 is "Activation'),
        ({"columns": X * 2}, r"layer 0, Normalize\(3\), has other columns"),
    ],
)
def test_another_network_is_refused(kind: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    fit(made(kind), path, 4)
    model = made(kind, **changes)
    before = held(model)
    with pytest.raises(ValueError, match=message):
        fit(model, path, resume_from=path)
    assert held(model) == before


def test_everything_that_differs_is_named_at_once(tmp_path: Path) -> None:
    fit(network(), tmp_path / "c", 4)
    with pytest.raises(ValueError, match="batch size") as caught:
        fit(network(), tmp_path / "c", resume_from=tmp_path / "c", batch_size=7, drop_last=True, x=X + 1)
    for name in ("batch size is 5, this fit has 7", "drop_last is False, this fit has True", "x has other values"):
        assert name in str(caught.value)
    assert "resume_changes" not in str(caught.value)
    assert isinstance(caught.value, tn.ResumeError)
    assert set(caught.value.differences) == {"batch size", "drop_last", "x"}


def test_validation_data_and_their_weights_are_compared(tmp_path: Path) -> None:
    given = (X, Y, WEIGHTS)
    fit(network(), tmp_path / "c", 4, validation_data=given)
    for place, name in enumerate(("validation x", "validation y", "validation sample_weight")):
        other = tuple(array * (1 + (i == place)) for i, array in enumerate(given))
        with pytest.raises(ValueError, match=f"its {name} has other values"):
            fit(network(), tmp_path / "c", resume_from=tmp_path / "c", validation_data=other)


def test_class_weights_are_compared(tmp_path: Path) -> None:
    options: dict[str, Any] = {"y": (Y > 0).astype(int), "loss": tn.BinaryCrossEntropy(from_logits=True)}
    fit(network(), tmp_path / "c", 4, class_weight={0: 1.0, 1: 2.0}, **options)
    with pytest.raises(ValueError, match="sample_weight has other values"):
        fit(network(), tmp_path / "c", resume_from=tmp_path / "c", class_weight={0: 1.0, 1: 3.0}, **options)


class Quantile(tn.Loss):
    """A loss of one's own that tells its settings."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, prediction: Any, target: Any) -> float:
        d = target - prediction
        return float(np.maximum(self.level * d, (self.level - 1) * d).mean())

    def backward(self, prediction: Any, target: Any) -> Any:
        return np.where(target > prediction, -self.level, 1 - self.level) / prediction.size

    def config(self) -> dict[str, Any]:
        return {"level": self.level}


class Halving(tn.Schedule):
    """A schedule whose ``repr`` is an address."""

    def __init__(self, initial: float) -> None:
        self.initial = initial

    def __call__(self, epochs: Any) -> Any:
        return self.initial / 2**epochs


def test_parts_that_users_wrote_are_told_apart_as_well_as_they_tell(tmp_path: Path) -> None:
    options: dict[str, Any] = {"loss": Quantile(0.9), "optimizer": tn.Adam(Halving(0.1))}
    fit(network(), tmp_path / "c", 4, **options)
    with pytest.raises(ValueError, match="'level': 0\\.9"):
        fit(network(), tmp_path / "c", resume_from=tmp_path / "c", **options | {"loss": Quantile(0.5)})
    with pytest.raises(ValueError, match="learning_rate is 'Halving of values"):
        fit(network(), tmp_path / "c", resume_from=tmp_path / "c", **options | {"optimizer": tn.Adam(Halving(0.2))})
    assert len(fit(network(), tmp_path / "c", resume_from=tmp_path / "c", **options)) == 6


# -- what may differ -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_more_epochs_are_the_same_training(kind: str, tmp_path: Path) -> None:
    whole, part = made(kind), made(kind)
    expected = fit(whole, tmp_path / "whole", 6)
    fit(made(kind), tmp_path / "c", 4)
    history = fit(part, tmp_path / "c", 6, resume_from=tmp_path / "c")
    assert part.get_weights()[0].tobytes() == whole.get_weights()[0].tobytes()
    np.testing.assert_array_equal(history["loss"], expected["loss"])


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_epochs_than_are_done_must_be_allowed(kind: str, tmp_path: Path) -> None:
    trained = made(kind)
    fit(trained, tmp_path / "c", 4)
    with pytest.raises(ValueError, match=r"4 epochs behind it, this fit has epochs=3.*resume_changes='epochs'"):
        fit(made(kind), tmp_path / "c", 3, resume_from=tmp_path / "c")
    model = made(kind)
    assert len(fit(model, tmp_path / "c", 3, resume_from=tmp_path / "c", resume_changes="epochs")) == 4
    assert model.get_weights()[0].tobytes() == trained.get_weights()[0].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_that_may_change_is_in_force_from_there_on(kind: str, tmp_path: Path) -> None:
    fit(made(kind), tmp_path / "c", 4)
    options: dict[str, Any] = {"optimizer": tn.Adam(tn.ExponentialDecay(0.5)), "resume_from": tmp_path / "c"}
    with pytest.raises(ValueError, match="resume_changes='learning_rate'"):
        fit(made(kind), tmp_path / "c", **options)
    history = fit(made(kind), tmp_path / "new", resume_changes=["learning_rate"], **options)
    rates = np.asarray(history["learning_rate"]).reshape(6, -1)
    assert (rates[:4] == 0.01).all()
    assert ((rates[4:] > 0.3) & (rates[4:] < 0.5)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_learning_rate_is_not_reduced_by_what_a_plateau_made_of_the_old_one(kind: str, tmp_path: Path) -> None:
    def callbacks() -> list[tn.Callback]:
        # Nothing improves by 100: the rate falls to a half after each of the first epochs.
        reduce = tn.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=100.0)
        return [reduce, tn.Checkpoint(tmp_path / "c")]

    first = fit(made(kind), tmp_path / "c", 3, callbacks=callbacks())
    assert np.ravel(first["learning_rate"][-1])[0] < 0.01
    options: dict[str, Any] = {"callbacks": callbacks(), "resume_from": tmp_path / "c"}
    same = fit(made(kind), tmp_path / "c", 4, **options)
    assert np.ravel(same["learning_rate"][3])[0] < 0.005
    fit(made(kind), tmp_path / "c", 3, callbacks=callbacks())
    new = fit(made(kind), tmp_path / "c", 4, optimizer=tn.Adam(0.2), resume_changes="learning_rate", **options)
    assert np.ravel(new["learning_rate"][3])[0] == 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_callbacks_may_change(kind: str, tmp_path: Path) -> None:
    fit(made(kind), tmp_path / "c", 4)
    changed = [tn.EarlyStopping("loss", patience=7), tn.Checkpoint(tmp_path / "c")]
    options: dict[str, Any] = {"callbacks": changed, "resume_from": tmp_path / "c"}
    with pytest.raises(ValueError, match="resume_changes='callbacks'"):
        fit(made(kind), tmp_path / "c", **options)
    assert len(fit(made(kind), tmp_path / "c", resume_changes="callbacks", **options)) == 6


def test_other_callbacks_cannot_be_allowed(tmp_path: Path) -> None:
    fit(network(), tmp_path / "c", 4)
    callbacks = [tn.ReduceLROnPlateau("loss"), tn.Checkpoint(tmp_path / "c")]
    with pytest.raises(tn.ModelFileError, match="other callbacks than ReduceLROnPlateau, Checkpoint"):
        fit(network(), tmp_path / "c", callbacks=callbacks, resume_from=tmp_path / "c", resume_changes="callbacks")


def test_only_what_may_differ_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="resume_changes must be one of 'callbacks', 'epochs', 'learning_rate'"):
        fit(network(), tmp_path / "c", resume_changes="batch_size")
    # A script that can be started at any time has nothing to resume the first time.
    assert len(fit(network(), tmp_path / "c", 2, resume_from=None, resume_changes="learning_rate")) == 2


@pytest.mark.parametrize("given", [True, False])
def test_seeds_of_an_ensemble_that_nobody_gave_are_those_of_the_checkpoint(given: bool, tmp_path: Path) -> None:
    first = tn.Ensemble(network(seed=None), 2)
    fit(first, tmp_path / "c", 4)
    again = tn.Ensemble(network(seed=3 if given else None), 2)
    if given:
        with pytest.raises(ValueError, match=r"seeds is .*, this fit has \[3, 4\]"):
            fit(again, tmp_path / "c", resume_from=tmp_path / "c")
        return
    fit(again, tmp_path / "c", resume_from=tmp_path / "c")
    fit(first, tmp_path / "c", 6, resume_from=tmp_path / "c")
    assert again.seeds == first.seeds
    assert again.get_weights()[0].tobytes() == first.get_weights()[0].tobytes()


def test_where_and_how_often_checkpoints_are_written_is_no_part_of_a_training(tmp_path: Path) -> None:
    fit(network(), tmp_path / "c", 4, callbacks=tn.Checkpoint(tmp_path / "c", every=2))
    other = tn.Checkpoint(tmp_path / "elsewhere", every=3)
    assert len(fit(network(), tmp_path / "c", callbacks=other, resume_from=tmp_path / "c")) == 6


def test_what_makes_an_epoch_the_best_is_part_of_it(tmp_path: Path) -> None:
    def keep(monitor: str, **settings: Any) -> tn.Checkpoint:
        return tn.Checkpoint(tmp_path / "c", best_path=tmp_path / "best.npz", monitor=monitor, **settings)

    options: dict[str, Any] = {"metrics": "r2", "resume_from": tmp_path / "c"}
    fit(network(), tmp_path / "c", 4, callbacks=keep("loss"), metrics="r2")
    with pytest.raises(ValueError, match=r"callbacks is .*monitor='loss'.*, this fit has .*monitor='r2'"):
        fit(network(), tmp_path / "c", callbacks=keep("r2"), **options)
    assert len(fit(network(), tmp_path / "c", callbacks=keep("loss"), **options)) == 6
