"""A checkpoint is taken by the training that wrote it, and by no other; one that is refused changes nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.training import digests
from tinynet.training.digests import digest

RNG = np.random.default_rng(7)
X = RNG.normal(size=(24, 3))
Y = X[:, :1] * X[:, 1:2]
KINDS = ("Sequential", "Ensemble")


def network(rate: float = 0.1, seed: int | None = 0, columns: Any = X, activation: str = "tanh") -> tn.Sequential:
    layers = [tn.Normalize(3).adapt(columns), tn.Linear(3, 4), tn.Tanh() if activation == "tanh" else tn.ReLU()]
    return tn.Sequential(*layers, tn.Dropout(rate), tn.Linear(4, 1), dtype="float64", seed=seed, backend="numpy")


def made(kind: str, **settings: Any) -> Any:
    return network(**settings) if kind == "Sequential" else tn.Ensemble(network(**settings), 2)


def fit(model: Any, path: Path, epochs: int = 6, x: Any = X, y: Any = Y, **options: Any) -> Any:
    chosen: dict[str, Any] = {
        "optimizer": tn.Adam(0.01),
        "batch_size": 5,
        "callbacks": [tn.EarlyStopping("loss", patience=50), tn.Checkpoint(path, every=2)],
    }
    return model.fit(x, y, epochs=epochs, **chosen | options)


def held(model: Any) -> list[Any]:
    """All that a refused resume must leave as it was."""
    state = model.state
    arrays = [np.asarray(value).tobytes() for value in (state.parameters, state.moments, state.buffers, state.step)]
    generators = model.generators if isinstance(model, tn.Ensemble) else [model.rng]
    random = [str(rng.bit_generator.state) for rng in generators]
    return [arrays, np.asarray(state.draws).tobytes(), random, repr(model.loss), id(model.history), model._optimizer]


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


# -- data ------------------------------------------------------------------------------------------------------------


def on_disk(path: Path, array: np.ndarray, dtype: str = "f8") -> np.ndarray:
    np.save(path, array.astype(dtype))
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_data_on_disk_are_those_in_memory(kind: str, dtype: str, tmp_path: Path) -> None:
    fit(made(kind), tmp_path / "c", 4, x=on_disk(tmp_path / "x.npy", X, dtype))
    assert len(fit(made(kind), tmp_path / "c", x=X, resume_from=tmp_path / "c")) == 6
    changed = X.copy()
    changed[5, 2] = np.nextafter(changed[5, 2], 9.0)
    with pytest.raises(ValueError, match="its x has other values"):
        fit(made(kind), tmp_path / "c", x=on_disk(tmp_path / "y.npy", changed, dtype), resume_from=tmp_path / "c")


def test_large_data_on_disk_are_sampled_and_compared_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces of two rows, of which four are looked at: rows 0, 1, 8, 9, 14, 15, 22 and 23.
    monkeypatch.setattr(digests, "PIECE", 2 * 3 * 8)
    monkeypatch.setattr(digests, "SAMPLED", 4)
    fit(network(), tmp_path / "c", 4, x=on_disk(tmp_path / "x.npy", X))
    assert len(fit(network(), tmp_path / "d", x=X, resume_from=tmp_path / "c")) == 6
    for row, noticed in ((0, True), (1, True), (2, False), (9, True), (23, True)):
        changed = X.copy()
        changed[row] += 1
        found = [digest(array, "<f8", np.asarray, True) for array in (X, changed)]
        assert (found[0] != found[1]) == noticed
    with pytest.raises(ValueError, match="its x has other values"):
        fit(network(), tmp_path / "d", x=np.roll(X, 1, axis=0), resume_from=tmp_path / "c")
    # A checkpoint that has seen all rows is compared by all rows, also with a file.
    fit(network(), tmp_path / "whole", 4)
    changed = X.copy()
    changed[2] += 1
    with pytest.raises(ValueError, match="its x has other values"):
        fit(network(), tmp_path / "d", x=on_disk(tmp_path / "z.npy", changed), resume_from=tmp_path / "whole")


def test_every_byte_in_memory_counts() -> None:
    array = np.zeros((700, 1000))  # Several pieces.
    before = digest(array, "<f8", np.asarray)
    for place in ((0, 0), (350, 999), (699, 999)):
        array[place] = -0.0
        assert digest(array, "<f8", np.asarray) != before
        array[place] = 0.0
    assert digest(array, "<f8", np.asarray) == before
    assert digest(array.reshape(1000, 700), "<f8", np.asarray) != before


def test_data_that_a_callback_changes_are_those_of_the_start(tmp_path: Path) -> None:
    x = X.copy()

    def jitter(epoch: int, logs: Any) -> None:
        x[...] = X + 1e-3 * epoch

    callbacks = [tn.LambdaCallback(on_epoch_end=jitter), tn.Checkpoint(tmp_path / "c")]
    fit(network(), tmp_path / "c", 4, x=x, callbacks=callbacks)
    x[...] = X
    assert len(fit(network(), tmp_path / "c", x=x, callbacks=callbacks, resume_from=tmp_path / "c")) == 6


# -- nothing acts too early ------------------------------------------------------------------------------------------


class Witness(tn.Callback):
    """Tells what it was called for, and has a state that it may refuse."""

    def __init__(self, refuses: bool = False) -> None:
        self.calls: list[str] = []
        self.refuses = refuses
        self.kept = 0

    def on_train_begin(self, logs: Any) -> None:
        self.calls.append(f"begin at {self.trainer.epoch}")
        self.kept = 0

    def on_train_end(self, logs: Any) -> None:
        self.calls.append("end")

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.kept += 1

    def state(self) -> dict[str, Any]:
        return {"kept": self.kept}

    def load_state(self, state: dict[str, Any]) -> None:
        if self.refuses:
            raise ValueError("not mine")
        self.kept = state["kept"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_callback_is_called_before_a_checkpoint_is_accepted(kind: str, tmp_path: Path) -> None:
    def callbacks(witness: Witness) -> list[tn.Callback]:
        return [witness, tn.Checkpoint(tmp_path / "c")]

    fit(made(kind), tmp_path / "c", 4, callbacks=callbacks(Witness()))
    model, witness = made(kind), Witness()
    with pytest.raises(ValueError, match="batch size"):
        fit(model, tmp_path / "c", callbacks=callbacks(witness), resume_from=tmp_path / "c", batch_size=7)
    assert witness.calls == []
    refusing, before = Witness(refuses=True), held(model)
    with pytest.raises(tn.ModelFileError, match="not mine"):
        fit(model, tmp_path / "c", callbacks=callbacks(refusing), resume_from=tmp_path / "c")
    assert (refusing.calls, held(model)) == ([], before)
    fit(model, tmp_path / "c", callbacks=callbacks(witness), resume_from=tmp_path / "c")
    assert witness.calls == ["begin at 4", "end"]
    assert witness.kept == 6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resumed", [False, True])
def test_a_callback_that_cannot_begin_leaves_the_model_as_it_was(kind: str, resumed: bool, tmp_path: Path) -> None:
    def fail(logs: Any) -> None:
        raise RuntimeError("no room for me")

    fit(made(kind), tmp_path / "c", 4, callbacks=[Witness(), tn.Checkpoint(tmp_path / "c")])
    model, witness = made(kind), Witness()
    fit(model, tmp_path / "other", 1, loss="huber")
    before = held(model)
    callbacks = [witness, tn.LambdaCallback(on_train_begin=fail), tn.Checkpoint(tmp_path / "d")]
    with pytest.raises(RuntimeError, match="no room"):
        fit(model, tmp_path / "c", callbacks=callbacks, resume_from=tmp_path / "c" if resumed else None)
    assert held(model) == before
    assert witness.calls[1:] == ["end"]  # What has begun is ended: a display, a file.


def test_what_a_hook_does_to_the_model_at_the_start_does_not_undo_a_resume(tmp_path: Path) -> None:
    def start(net: tn.Sequential) -> list[tn.Callback]:
        weights = [np.full_like(array, 0.1) for array in net.get_weights()]
        begin = tn.LambdaCallback(on_train_begin=lambda logs: net.set_weights(weights))
        return [begin, tn.Checkpoint(tmp_path / "c", every=4)]

    whole, part, resumed = network(), network(), network()
    fit(whole, tmp_path / "c", 6, callbacks=start(whole))
    fit(part, tmp_path / "c", 4, callbacks=start(part))
    fit(resumed, tmp_path / "c", 6, callbacks=start(resumed), resume_from=tmp_path / "c")
    assert resumed.flat_parameters().tobytes() == whole.flat_parameters().tobytes()


def test_progress_begins_where_the_training_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(network(), tmp_path / "c", 4)
    fit(network(), tmp_path / "c", 6, resume_from=tmp_path / "c", verbose=2)
    lines = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["5/6", "6/6"]


@pytest.mark.parametrize("value", [-1.0, 1.5, 1e308, math.nan, math.inf])
def test_a_rate_that_no_plateau_leaves_is_damage(value: float, tmp_path: Path) -> None:
    from tinynet.exchange.archive import read_archive, write_archive

    fit(network(), tmp_path / "c", 4)
    header, arrays = read_archive(tmp_path / "c")
    header["training"]["rate_factor"] = value
    write_archive(tmp_path / "c", header, arrays)
    model = network()
    before = held(model)
    with pytest.raises(tn.ModelFileError, match="impossible numbers"):
        fit(model, tmp_path / "c", resume_from=tmp_path / "c")
    assert held(model) == before
