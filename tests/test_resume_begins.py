"""Nothing acts before a checkpoint is accepted, and nothing changes before every callback has begun."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resumed_runs import KINDS, fit, held, made, network

import tinynet as tn


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
