"""Every loader of the library as a function of bytes, for those who feed it mutated ones.

A target's bytes are a whole file, or a part of one (a header, an array) that is sealed into a file whose checksums are
right, so that mutations reach what lies behind the checksums.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn
from tinynet import datasets

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=(6, 2))


@dataclass(frozen=True)
class Target:
    """A loader.

    Attributes
    ----------
    seed : function
        Returns the bytes that are valid.
    file : function
        Makes the content of a file of bytes like the seed.
    suffix : str
        Ending of the file's name.
    load : function
        The loader, of the file's path.
    errors : tuple of exceptions
        What the loader may raise.
    is_json : bool
        Whether the bytes are a JSON text.
    """

    seed: Callable[[], bytes]
    file: Callable[[bytes], bytes]
    suffix: str
    load: Callable[[Path], Any]
    errors: tuple[type[Exception], ...] = (tn.ModelFileError,)
    is_json: bool = False

    def run(self, data: bytes, folder: Path) -> Any:
        """Load bytes; return what was loaded, or None where the loader refused them as it may."""
        path = folder / f"file{self.suffix}"
        path.write_bytes(self.file(data))
        try:
            return self.load(path)
        except self.errors:
            return None


def network(rate: float = 0.1) -> tn.Sequential:
    layers = [tn.Normalize(3).adapt(X), tn.Linear(3, 4), tn.ELU(0.7), tn.Dropout(rate), tn.Linear(4, 2, bias=False)]
    return tn.Sequential(layers, dtype="float64", seed=0, backend="numpy")


def fit(net: tn.Sequential, path: Path, epochs: int, **options: Any) -> None:
    stop = tn.EarlyStopping("loss", patience=100)
    callbacks = [stop, tn.ReduceLROnPlateau("loss"), tn.Checkpoint(path, every=1000)]
    net.fit(X, Y, epochs=epochs, batch_size=2, optimizer=tn.Adam(), callbacks=callbacks, **options)


def ensemble() -> tn.Ensemble:
    """Two models with their own rates of dropout, and with the columns of Normalize."""
    return tn.Ensemble.concatenate([tn.Ensemble(network(rate), 1, [seed]) for seed, rate in enumerate((0.1, 0.2))])


def fit_ensemble(models: tn.Ensemble, path: Path, epochs: int, **options: Any) -> None:
    watches = [tn.EarlyStopping("loss", patience=0), tn.ReduceLROnPlateau("loss"), tn.Checkpoint(path, every=1)]
    models.fit(X, Y, epochs=epochs, batch_size=2, optimizer=tn.Adam([0.01, 10.0]), callbacks=watches, **options)


@cache
def saved(suffix: str) -> bytes:
    """The bytes of a valid file: a model, an ensemble, or a checkpoint of one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file{suffix}")
        if suffix.startswith(".ensemble"):
            models = ensemble()
            models.metadata = {"classes": ["a", "b"]}
            fit_ensemble(models, path, 3)
            if suffix == ".ensemble.npz":
                models.loss = tn.Huber([0.5, 1.0])
                models.save(path)
            return path.read_bytes()
        net = network()
        net.metadata = {"classes": ["a", "b"]}
        net.loss = tn.Huber(0.5)
        if suffix == ".ckpt":
            fit(net, path, 2)
        else:
            net.save(path)
        return path.read_bytes()


def resume(path: Path) -> tn.Sequential:
    """Resume a training at its end; a checkpoint that is refused leaves the network as it is."""
    net = network()
    before = net.flat_parameters()
    try:
        fit(net, path.with_name("other.ckpt"), 2, resume_from=path)
    except (tn.ModelFileError, ValueError):
        assert np.array_equal(net.flat_parameters(), before)
        raise
    return net


def held(models: tn.Ensemble) -> tuple[Any, ...]:
    """What a checkpoint that is refused must not change."""
    state = models.state
    arrays = (state.parameters, state.buffers, state.draws, state.dropout_seed)
    return *(array.tobytes() for array in arrays), [str(rng.bit_generator.state) for rng in models.generators]


def resume_ensemble(path: Path) -> tn.Ensemble:
    """Resume a training of an ensemble before its end; a checkpoint that is refused leaves the models as they are."""
    models = ensemble()
    before = held(models)
    try:
        fit_ensemble(models, path.with_name("other.ckpt"), 4, resume_from=path)
    except (tn.ModelFileError, ValueError):
        assert held(models) == before
        raise
    return models


SPACE = {"width": [2, 3], "learning_rate": [0.1, 0.01]}


def build(width: int) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 2), backend="numpy")


@cache
def swept() -> dict[str, bytes]:
    """The files of the folder of a sweep, by their names."""
    with tempfile.TemporaryDirectory() as folder:
        tn.sweep(build, SPACE, X, Y, seeds=2, epochs=2, metrics="mae", folder=folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def load_sweep(name: str) -> Callable[[Path], tn.SweepResult]:
    """Read a sweep of whose files one is another, and look at all of it."""

    def load(path: Path) -> tn.SweepResult:
        folder = path.with_name("sweep")
        folder.mkdir(exist_ok=True)
        for other, data in swept().items():
            (folder / other).write_bytes(path.read_bytes() if other == name else data)
        result = tn.SweepResult.load(folder)
        assert len(result.table["run"]) == 8
        assert result.report()
        assert result.losses().shape[1] == 8
        with tn.use_backend("numpy"):
            for run in (0, 7):
                assert result.model(run).predict(X).shape == (6, 2)
        return result

    return load


def identity() -> bytes:
    return json.dumps(json.loads(swept()["sweep.json"])["identity"]).encode()


def with_identity(data: bytes) -> bytes:
    """Put bytes into the head of a sweep in the place of what makes the sweep, with the checksum of what they tell."""
    head = json.loads(swept()["sweep.json"])
    try:
        told = json.dumps(json.loads(data), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        told = ""
    digest = hashlib.sha256(told.encode()).hexdigest().encode()
    before, _, after = json.dumps(head | {"sha256": "?", "identity": "!"}).encode().partition(b'"!"')
    return before.replace(b'"?"', b'"' + digest + b'"') + data + after


def whole(data: bytes) -> bytes:
    return data


def archive_of(name: str) -> bytes:
    """The bytes of an archive: one that ``saved`` makes, by its suffix, or a group of a sweep by its name."""
    return swept()[name] if name.startswith("group") else saved(name)


def member(suffix: str, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive_of(suffix))) as archive:
        return archive.read(name)


def with_member(suffix: str, name: str) -> Callable[[bytes], bytes]:
    """Put bytes into an archive in the place of one of its members."""

    def file(data: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(archive_of(suffix))) as old, zipfile.ZipFile(out, "w") as new:
            for other in old.namelist():
                new.writestr(other, data if other == name else old.read(other))
        return out.getvalue()

    return file


def safetensors_parts() -> tuple[dict[str, Any], bytes]:
    data = saved(".safetensors")
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def description() -> bytes:
    text: str = safetensors_parts()[0]["__metadata__"]["tinynet"]
    return text.encode()


def with_description(data: bytes) -> bytes:
    """Put bytes into a safetensors file in the place of the description of its network."""
    header, body = safetensors_parts()
    text = data.decode(errors="replace")
    header["__metadata__"] = {"tinynet": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return with_header(json.dumps(header).encode(), body)


def with_header(data: bytes, body: bytes | None = None) -> bytes:
    """Put bytes into a safetensors file in the place of the format's own header."""
    return struct.pack("<Q", len(data)) + data + (safetensors_parts()[1] if body is None else body)


def array_bytes(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    out = io.BytesIO()
    save(out, *args, **kwargs)
    return out.getvalue()


def load_model(path: Path) -> tn.Sequential:
    net = tn.load(path, backend="numpy")
    assert net.predict(np.zeros((2, net.program.n_in))).shape == (2, net.program.n_out)
    return net


def load_ensemble(path: Path) -> tn.Ensemble:
    models = tn.Ensemble.load(path, backend="numpy")
    assert models.predict(np.zeros((2, models.program.n_in))).shape == (len(models), 2, models.program.n_out)
    assert models[0].predict(np.zeros((2, models.program.n_in))).shape == (2, models.program.n_out)
    return models


GROUP = "group-0001.npz"
DATA = (ValueError, TypeError)
RESUME = (tn.ModelFileError, ValueError)
IDX = struct.pack(">HBBII", 0, 8, 2, 2, 3) + bytes(range(6))
CSV = b'length,width,"kind, of it"\n5.1,3.5,setosa\n6.4,3.2,versicolor\n1e3,-2,"a ""b"""\n'

TARGETS: dict[str, Target] = {
    "npz": Target(lambda: saved(".npz"), whole, ".npz", load_model),
    "npz-header": Target(
        lambda: member(".npz", "header.json"), with_member(".npz", "header.json"), ".npz", load_model, is_json=True
    ),
    "npz-array": Target(
        lambda: member(".npz", "layer1.weight.npy"), with_member(".npz", "layer1.weight.npy"), ".npz", load_model
    ),
    "safetensors": Target(lambda: saved(".safetensors"), whole, ".safetensors", load_model),
    "safetensors-header": Target(
        lambda: json.dumps(safetensors_parts()[0]).encode(), with_header, ".safetensors", load_model, is_json=True
    ),
    "safetensors-description": Target(description, with_description, ".safetensors", load_model, is_json=True),
    "checkpoint": Target(lambda: saved(".ckpt"), whole, ".ckpt", resume, RESUME),
    "checkpoint-header": Target(
        lambda: member(".ckpt", "header.json"), with_member(".ckpt", "header.json"), ".ckpt", resume, RESUME, True
    ),
    "ensemble": Target(lambda: saved(".ensemble.npz"), whole, ".npz", load_ensemble),
    "ensemble-header": Target(
        lambda: member(".ensemble.npz", "header.json"),
        with_member(".ensemble.npz", "header.json"),
        ".npz",
        load_ensemble,
        is_json=True,
    ),
    "ensemble-array": Target(
        lambda: member(".ensemble.npz", "generators.npy"),
        with_member(".ensemble.npz", "generators.npy"),
        ".npz",
        load_ensemble,
    ),
    "ensemble-checkpoint-header": Target(
        lambda: member(".ensemble.ckpt", "header.json"),
        with_member(".ensemble.ckpt", "header.json"),
        ".ckpt",
        resume_ensemble,
        RESUME,
        is_json=True,
    ),
    "ensemble-checkpoint-array": Target(
        lambda: member(".ensemble.ckpt", "training.stopped.npy"),
        with_member(".ensemble.ckpt", "training.stopped.npy"),
        ".ckpt",
        resume_ensemble,
        RESUME,
    ),
    "sweep": Target(lambda: swept()["sweep.json"], whole, ".json", load_sweep("sweep.json"), is_json=True),
    "sweep-identity": Target(identity, with_identity, ".json", load_sweep("sweep.json"), is_json=True),
    "sweep-group": Target(lambda: swept()[GROUP], whole, ".npz", load_sweep(GROUP)),
    "sweep-group-header": Target(
        lambda: member(GROUP, "header.json"), with_member(GROUP, "header.json"), ".npz", load_sweep(GROUP), is_json=True
    ),
    "sweep-group-array": Target(
        lambda: member(GROUP, "sweep.runs.npy"), with_member(GROUP, "sweep.runs.npy"), ".npz", load_sweep(GROUP)
    ),
    "csv": Target(lambda: CSV, whole, ".csv", datasets.read, DATA),
    "npy": Target(lambda: array_bytes(np.save, X), whole, ".npy", datasets.read, DATA),
    "npz-data": Target(lambda: array_bytes(np.savez, x=X, y=Y), whole, ".npz", datasets.read, DATA),
    "idx": Target(lambda: IDX, whole, "-images-idx3-ubyte", lambda path: datasets.read_known(path, None), DATA),
}
