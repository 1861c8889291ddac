"""Mutated files of every format: refused with the error that is promised, in bounded memory, with nothing executed."""

from __future__ import annotations

import io
import json
import pickle
import sys
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loader_targets import TARGETS, Target, member, saved, with_member

import tinynet as tn

EXAMPLES = 40
EXECUTIONS = ("exec", "os.exec", "os.fork", "os.posix_spawn", "os.system", "pickle.find_class", "subprocess.Popen")
MEMORY = 2**24
"""Bytes that a loader may take besides a small multiple of the file: modules of Python's that are imported on first use
take up to 2 MB once; forged sizes ask for thousands of times more."""

_watching = False
_executed: list[str] = []


def _audit(event: str, args: Any) -> None:
    # A module of Python's own that is imported on first use (a codec) is executed too, from its file.
    if _watching and event in EXECUTIONS and not (event == "exec" and args[0].co_filename.endswith(".py")):
        _executed.append(event)


@contextmanager
def watched(n_bytes: int) -> Iterator[None]:
    """Fail if what runs inside executes code, or takes much more memory than a file of ``n_bytes`` is worth."""
    global _watching
    _executed.clear()
    tracemalloc.start()
    _watching = True
    try:
        yield
    finally:
        _watching = False
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert not _executed
    assert peak < MEMORY + 50 * n_bytes


@pytest.fixture(scope="module", autouse=True)
def _loaders_are_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load valid and invalid files once, so that what is imported on first use does not count as executed."""
    sys.addaudithook(_audit)
    folder = tmp_path_factory.mktemp("warm")
    for target in TARGETS.values():
        target.run(target.seed(), folder)
        for data in (b"", b"{}", target.seed()[:-9]):
            target.run(data, folder)


@pytest.mark.parametrize("name", TARGETS)
def test_files_that_are_not_mutated_are_loaded(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    with watched(len(target.seed())):
        assert target.run(target.seed(), tmp_path) is not None


TOKENS = st.sampled_from(
    [
        b"\0",
        b"\xff" * 8,
        b"\x80\x04",
        b"-1",
        b"1e999",
        b"99999999999999999999",
        b"NaN",
        b"[[[[",
        b'"',
        b"{}",
        b"\n",
        b",",
    ]
)
# What is done to the bytes, at a place that is a share of their length: a bit flipped, some left out, doubled, put in.
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "drop", "double", "insert", "swap"]), st.floats(0, 1), st.integers(1, 64), TOKENS
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, share, count, token in edits:
        place = min(int(share * len(data)), max(len(data) - 1, 0))
        head, piece, tail = data[:place], data[place : place + count], data[place + count :]
        if kind == "flip" and piece:
            data = head + bytes([piece[0] ^ (1 << count % 8)]) + piece[1:] + tail
        elif kind == "drop":
            data = head + tail
        elif kind == "double":
            data = head + piece + piece + tail
        elif kind == "insert":
            data = head + token + piece + tail
        elif kind == "swap":
            data = head + tail[:count] + piece + tail[count:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_bytes_are_refused_or_loaded(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    target, folder = TARGETS[name], tmp_path_factory.mktemp("files")

    @settings(max_examples=EXAMPLES)
    @given(edits=EDITS)
    def check(edits: list[tuple[str, float, int, bytes]]) -> None:
        data = edited(target.seed(), edits)
        with watched(len(target.file(data))):
            target.run(data, folder)

    check()


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10),
    st.sampled_from([2**31, 2**63, 10**18, 10**400, -(2**63), 0.5, -0.0, 1e308, float("nan"), float("inf")]),
    st.sampled_from(["", "layer0.weight", "<f8", "|O", "Linear", "Softmax", "__import__", "os.system", "\x00"]),
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a JSON value."""
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield from places(entry, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any, delete: bool) -> Any:
    """Return a JSON value with the entry at a path replaced or deleted."""
    if not path:
        return new
    copy = value.copy()
    if len(path) == 1 and delete:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new, delete)
    return copy


@pytest.mark.parametrize("name", [name for name, target in TARGETS.items() if target.is_json])
def test_headers_of_other_values_are_refused_or_loaded(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    target, folder = TARGETS[name], tmp_path_factory.mktemp("files")
    header = json.loads(target.seed())
    paths = list(places(header))

    @settings(max_examples=3 * EXAMPLES)
    @given(edits=st.lists(st.tuples(st.sampled_from(paths), VALUES, st.booleans()), min_size=1, max_size=2))
    def check(edits: list[tuple[tuple[Any, ...], Any, bool]]) -> None:
        changed = header
        for path, new, delete in edits:
            if path in set(places(changed)):
                changed = replaced(changed, path, new, delete)
        data = json.dumps(changed).encode()
        with watched(len(target.file(data))):
            target.run(data, folder)

    check()


def npy(shape: str) -> bytes:
    """An .npy file whose header has a text in the place of the shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(144)


def test_the_array_headers_below_differ_from_a_good_one_in_the_shape_alone(tmp_path: Path) -> None:
    data, _ = TARGETS["npy"].run(npy("(6, 3)"), tmp_path)
    assert data.x.shape == (6, 2)


@pytest.mark.parametrize("name", ["npy", "npz-array"])
@pytest.mark.parametrize("shape", ["(6, [[[[3)", "(2, 399999999999999999999)", "(6, 3", "(6, -3)", "(6, 30000000000)"])
def test_array_headers_that_fuzzing_found_are_refused(shape: str, name: str, tmp_path: Path) -> None:
    assert TARGETS[name].run(npy(shape), tmp_path) is None


@pytest.mark.parametrize(
    "dtype", ["0<,f8", "f8,f8", "(2,)f8", "|O", "|V8", "<U8", "<c16", "<M8[s]", "float64 ", 8, None, []]
)
def test_arrays_of_anything_but_real_numbers_are_refused(dtype: Any, tmp_path: Path) -> None:
    target = TARGETS["checkpoint-header"]
    header = json.loads(target.seed())
    header["arrays"]["training.moments"]["dtype"] = dtype
    assert target.run(json.dumps(header).encode(), tmp_path) is None


CHECKPOINTS: dict[str, dict[str, Any]] = {
    "a callback without a state": {"callbacks": []},
    "callbacks' states of no kind": {"callbacks": [{"values": {"best": "x"}, "arrays": []}] * 2},
    "a negative epoch": {"epoch": -1},
    "a place in an epoch without its order": {"visit": 2},
    "a place beyond the data": {"visit": 10**6},
    "a seed beyond 64 bits": {"dropout_seed": 2**64},
    "a step that is no number": {"step": None},
    "no random state": {"rng": {}},
    "another generator": {"rng": {"bit_generator": "os.system"}},
    "a history of no kind": {"history": {"history": {"loss": ["x"]}, "epoch": []}},
    "no reason": {"stop_reason": 3},
    "a fingerprint of no kind": {"fingerprint": [1]},
}


@pytest.mark.parametrize("change", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_checkpoints_that_fuzzing_found_are_refused_and_change_nothing(change: dict[str, Any], tmp_path: Path) -> None:
    target = TARGETS["checkpoint-header"]
    header = json.loads(target.seed())
    header["training"] |= change
    path = tmp_path / "changed.ckpt"
    path.write_bytes(target.file(json.dumps(header).encode()))
    message = "states of 0 callbacks; expected 3" if change == {"callbacks": []} else None
    with pytest.raises(tn.ModelFileError, match=message):
        target.load(path)  # It checks that the network is as it was.


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("import tinynet; tinynet.exploded = True",)


def pickled_array() -> bytes:
    """An .npy file of one pickled object that runs code."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return out.getvalue() + pickle.dumps(Bomb())


PICKLES = {
    "the array of a model": (TARGETS["npz-array"], pickled_array()),
    "a whole model": (TARGETS["npz"], pickle.dumps(Bomb())),
    "a whole safetensors file": (TARGETS["safetensors"], pickle.dumps(Bomb())),
    "a whole checkpoint": (TARGETS["checkpoint"], pickle.dumps(Bomb())),
    "a table": (TARGETS["npy"], pickled_array()),
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_are_never_executed(name: str, tmp_path: Path) -> None:
    target, data = PICKLES[name]
    with watched(len(data)):
        assert target.run(data, tmp_path) is None
    assert not hasattr(tn, "exploded")


def test_a_pickle_that_its_header_admits_is_not_executed(tmp_path: Path) -> None:
    header = json.loads(member(".npz", "header.json"))
    header["arrays"]["layer1.weight"] = {"shape": [1], "dtype": "|O"}
    path = tmp_path / "net.npz"
    path.write_bytes(with_member(".npz", "layer1.weight.npy")(pickled_array()))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("header.json", json.dumps(header))
    with watched(10_000), pytest.raises(tn.ModelFileError):
        tn.load(path, backend="numpy")
    assert not hasattr(tn, "exploded")


def compressed(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("bomb.npy", bytes(50_000_000))
    return out.getvalue()


@pytest.mark.parametrize(("name", "suffix"), [("npz", ".npz"), ("checkpoint", ".ckpt")])
def test_an_archive_that_unpacks_to_more_than_it_is_is_not_unpacked(name: str, suffix: str, tmp_path: Path) -> None:
    data = compressed(saved(suffix))
    target: Target = TARGETS[name]
    with watched(len(data)):
        assert target.run(data, tmp_path) is None
