"""Data are told from others by their digests, in memory and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from resumed_runs import KINDS, X, fit, made, network

import tinynet as tn
from tinynet.training import digests
from tinynet.training.digests import digest


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
