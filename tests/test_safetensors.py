"""Safetensors: whole round trips, files that the package itself reads, and nothing but ModelFileError from others."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from exchange_networks import NAMES, X, network
from safetensors import safe_open

import tinynet as tn
from tinynet.exchange.safetensors import write_safetensors


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a file as the format defines it, and the bytes of its tensors."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def rebuild(path: Path, header: dict[str, Any], body: bytes) -> Path:
    text = json.dumps(header).encode()
    out = path.with_name("changed.safetensors")
    out.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return out


def described(header: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(header["__metadata__"]["tinynet"]))


def redescribe(header: dict[str, Any], description: dict[str, Any]) -> None:
    """Put a description into a header, with its checksum."""
    text = json.dumps(description)
    header["__metadata__"] = {"tinynet": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_every_network_comes_back_bit_identical(name: str, dtype: str, tmp_path: Path) -> None:
    net = network(name, dtype)
    net.metadata = {"classes": ["a", "\u03b1"], "nothing": None, "large": 1e300}
    net.loss = tn.Huber(0.5)
    net.save(tmp_path / "net.safetensors")
    back = tn.load(tmp_path / "net.safetensors", backend="numpy")
    assert back.program == net.program
    assert back.predict(X).tobytes() == net.predict(X).tobytes()
    assert back.metadata == net.metadata
    assert repr(back.loss) == repr(net.loss)


def test_the_package_reads_the_weights(tmp_path: Path) -> None:
    net = network("Normalize")
    net.save(tmp_path / "net.safetensors")
    arrays = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    for position, layer in enumerate(net.layers):
        for name in layer.parameter_names:
            np.testing.assert_array_equal(arrays.pop(f"layer{position}.{name}"), getattr(layer, name))
    assert not arrays


def test_each_tensor_has_its_checksum(tmp_path: Path) -> None:
    net = network("ReLU")
    net.save(tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", framework="numpy") as file:
        description = json.loads(file.metadata()["tinynet"])
    weight = np.ascontiguousarray(net.layers[0].weight)
    assert description["sha256"]["layer0.weight"] == hashlib.sha256(weight.tobytes()).hexdigest()
    assert set(description["sha256"]) == {"layer0.weight", "layer0.bias", "layer2.weight"}


@pytest.mark.parametrize("order", ["transposed", "strided", "reversed"])
def test_arrays_of_any_strides_are_written_rightly(order: str, tmp_path: Path) -> None:
    base = np.arange(48.0).reshape(6, 8)
    array = {"transposed": base.T, "strided": base[::2, 1::3], "reversed": base[::-1, ::-1]}[order]
    write_safetensors(tmp_path / "a.safetensors", {}, {"a": array})
    np.testing.assert_array_equal(safetensors.numpy.load_file(tmp_path / "a.safetensors")["a"], array)


def test_a_checkpoint_callback_can_keep_its_best_as_safetensors(tmp_path: Path) -> None:
    net = network("Tanh")
    best = tmp_path / "best.safetensors"
    keep = tn.Checkpoint(tmp_path / "last.npz", best_path=best, monitor="loss")
    net.fit(X, np.tile(X[:, :1], 5), optimizer=tn.SGD(1e-4), epochs=3, callbacks=[keep])
    assert tn.load(best, backend="numpy").flat_parameters().tobytes() == net.flat_parameters().tobytes()


def test_saving_replaces_the_file_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "net.SafeTensors"
    path.write_text("old")
    path.chmod(0o640)
    network("Tanh").save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert tn.load(path, backend="numpy").program == network("Tanh").program
    assert os.listdir(tmp_path) == ["net.SafeTensors"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        network("Tanh").save(tmp_path / "missing" / "net.safetensors")


def test_a_file_that_cannot_be_read_says_so_in_pythons_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tn.load(tmp_path / "nothing.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(IsADirectoryError):
        tn.load(tmp_path / "folder.safetensors")


def test_checkpoints_are_no_safetensors(tmp_path: Path) -> None:
    net = network("Tanh")
    for keep, message in (
        (tn.Checkpoint(tmp_path / "a.safetensors"), r"Checkpoint writes \.npz"),
        (tn.Checkpoint(tmp_path / "a.npz", best_path=tmp_path / "b.onnx"), "to_onnx"),
    ):
        with pytest.raises(ValueError, match=message):
            net.fit(X, X[:, :1].repeat(5, axis=1), callbacks=[keep])
    assert not list(tmp_path.iterdir())


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    net = network("Tanh")
    net.save(tmp_path / "net.safetensors")
    for name in ("safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(tn.DependencyError, match="pip install safetensors"):
        net.save(tmp_path / "other.safetensors")
    with pytest.raises(tn.DependencyError, match="pip install safetensors"):
        tn.load(tmp_path / "net.safetensors")
    keep = tn.Checkpoint(tmp_path / "a.npz", best_path=tmp_path / "b.safetensors")
    with pytest.raises(tn.DependencyError, match="pip install safetensors"):
        net.fit(X, X[:, :1].repeat(5, axis=1), callbacks=[keep])


@pytest.mark.parametrize("suffix", [".onnx", ".h", ".keras", ".pt", ".MAT"])
def test_endings_of_exports_are_not_taken_for_model_files(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Use .*net\.(to|get)_"):
        network("Tanh").save(tmp_path / f"net{suffix}")
    assert not list(tmp_path.iterdir())


def test_weights_of_others_are_refused_with_the_way_to_take_them(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"weight": np.zeros((2, 2))}, path)
    with pytest.raises(tn.ModelFileError, match="set_weights"):
        tn.load(path)


CHANGES: dict[str, dict[str, Any]] = {
    "newer version": {"version": 99},
    "foreign format": {"format": "other"},
    "unknown layer": {"layers": [{"kind": "os.system", "config": {"command": "true"}}]},
    "forged sizes": {"layers": [{"kind": "Linear", "config": {"n_in": 10**9, "n_out": 10**9, "bias": True}}]},
    "no layers": {"layers": []},
    "odd dtype": {"dtype": "float16"},
    "unknown loss": {"loss": {"kind": "Evil", "config": {}}},
    "a number beyond all numbers": {"loss": {"kind": "Huber", "config": {"delta": 10**400}}},
    "arrays of no kind": {"arrays": 3},
    "other arrays": {"arrays": {}},
    "no checksums": {"sha256": None},
    "other checksums": {"sha256": {}},
    "no metadata": {"metadata": 1},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_description_that_does_not_hold_together_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    network("Tanh").save(tmp_path / "net.safetensors")
    header, body = parts(tmp_path / "net.safetensors")
    redescribe(header, {**described(header), **change})
    with pytest.raises(tn.ModelFileError):
        tn.load(rebuild(tmp_path / "net.safetensors", header, body))


def test_a_description_without_its_checksum_is_refused(tmp_path: Path) -> None:
    network("LeakyReLU").save(tmp_path / "net.safetensors")
    header, body = parts(tmp_path / "net.safetensors")
    header["__metadata__"]["tinynet"] = header["__metadata__"]["tinynet"].replace("0.3", "0.4")
    with pytest.raises(tn.ModelFileError, match="checksum of its description"):
        tn.load(rebuild(tmp_path / "net.safetensors", header, body))


def test_a_changed_weight_is_named(tmp_path: Path) -> None:
    network("Tanh").save(tmp_path / "net.safetensors")
    header, body = parts(tmp_path / "net.safetensors")
    start, _ = header["layer2.weight"]["data_offsets"]
    changed = body[:start] + bytes([body[start] ^ 1]) + body[start + 1 :]
    with pytest.raises(tn.ModelFileError, match=r"checksum of layer2\.weight"):
        tn.load(rebuild(tmp_path / "net.safetensors", header, changed))


def test_tensors_of_a_forged_size_are_refused(tmp_path: Path) -> None:
    network("Tanh").save(tmp_path / "net.safetensors")
    header, body = parts(tmp_path / "net.safetensors")
    header["layer0.weight"]["shape"] = [10**9, 10**9]
    with pytest.raises(tn.ModelFileError):
        tn.load(rebuild(tmp_path / "net.safetensors", header, body))
