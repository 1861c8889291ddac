"""Whose a checkpoint is: its data, and that nothing acts before it is accepted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from identity_runs import KINDS, X, fit, held, made, network

import tinynet as tn
from tinynet.training import digests
from tinynet.training.digests import digest

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
