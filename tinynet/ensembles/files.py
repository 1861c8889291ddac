"""Ensembles as files: the archive of ``files``, with the models as the first axis of arrays."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Backend, State
from tinynet.base.checks import whole
from tinynet.base.errors import ModelFileError
from tinynet.base.frozen import dataclass
from tinynet.exchange.archive import check_finite_arrays, listing, read_archive, write_archive
from tinynet.exchange.atomic import Path_
from tinynet.exchange.modelfile import layer_entry, layer_of
from tinynet.exchange.parts import refuse_infinite
from tinynet.layers import LAYERS
from tinynet.layers.layer import Layer
from tinynet.layers.row import checked_layers, widths
from tinynet.losses import LOSS_CLASSES, Loss
from tinynet.program import Program

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble
_WORD = 2**64

_BESIDE = ("sweep.", "figure.", "history.")
"""How the names of arrays begin that sweeps keep in the files of their ensembles."""


def describe_ensemble(models: Ensemble) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return an ensemble as a header and arrays."""
    loss = models.loss
    known = loss is not None and not loss.is_custom
    header = {
        "kind": "ensemble",
        "dtype": models.dtype,
        "layers": [layer_entry(layer, layer.config()) for layer in models.layers],
        "loss": {"kind": type(loss).__name__, "config": loss.config()} if loss is not None and known else None,
        "metadata": models.metadata,
        "n_models": len(models),
        "seeds": models.seeds,
    }
    arrays = models.vectors() | {"generators": packed(models.generators)}
    return header, arrays | {f"score.{name}": values for name, values in models.scores.items()}


def save_ensemble(models: Ensemble, path: Path_) -> None:
    """Write an ensemble to a file, atomically; see ``Ensemble.save``."""
    header, arrays = describe_ensemble(models)
    refuse_infinite({name: arrays[name] for name in ("parameters", "buffers")}, "save")
    write_archive(path, header, arrays)


@dataclass(frozen=True)
class Description:
    """What the header of a file tells of an ensemble; nothing is allocated for it."""

    layers: list[Layer]
    program: Program
    loss: Loss | None
    seeds: list[int]
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Stored:
    """An ensemble as a file held it, with its state on a backend; ``ensemble.built`` makes the object of it."""

    layers: list[Layer]
    program: Program
    state: State
    backend: Backend
    seeds: list[int]
    generators: list[np.random.Generator]
    scores: dict[str, NDArray[Any]]
    loss: Loss | None
    metadata: dict[str, Any]


def read_ensemble(path: Path_, *, backend: str | None = None) -> Stored:
    """Read what ``save_ensemble`` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not the file of an ensemble, or damaged.
    """
    name, found = os.fspath(path), []

    def check(header: dict[str, Any]) -> None:
        found.append(_described(header, header.get("arrays"), name))

    _, arrays = read_archive(path, check)
    return _made(found[0], arrays, name, backend)


def stored_from(
    header: dict[str, Any], arrays: dict[str, NDArray[Any]], *, name: str, backend: str | None = None
) -> Stored:
    """Return what ``describe_ensemble`` described; ``name`` is the file's, for errors."""
    return _made(_described(header, listing(arrays), name), arrays, name, backend)


def _described(header: dict[str, Any], listed: Any, name: str) -> Description:
    """Check a header, and the shapes and dtypes of the arrays beside it, before anything is made of them."""
    if header.get("kind") != "ensemble":
        raise ModelFileError(
            f"{name!r} is a {header.get('kind')!r} file; Ensemble.load expects an ensemble. tinynet.load reads models."
        )
    try:
        layers = checked_layers(tuple(layer_of(entry, LAYERS) for entry in header["layers"]))
        dtype, n_models = header["dtype"], whole("n_models", header["n_models"])
        if dtype not in ("float32", "float64"):
            raise ValueError(f"it has the dtype {dtype!r}")
        entry, metadata = header["loss"], header["metadata"]
        loss = None if entry is None else LOSS_CLASSES[entry["kind"]](**entry["config"])
        spec = None if loss is None else loss.lower()
        ops = tuple(layer.lower(n, i) for i, (layer, n) in enumerate(zip(layers, widths(layers), strict=True)))
        program = Program(ops, spec, dtype=dtype, n_models=n_models)
        for what, values in program.own_settings.items():
            if len(values) != n_models:
                raise ValueError(f"it has {len(values)} numbers for the {what}, and {n_models} models")
        seeds = [whole("seeds", seed, at_least=0) for seed in header["seeds"]]
        if len(seeds) != n_models:
            raise ValueError(f"it has {len(seeds)} seeds for {n_models} models")
        if not isinstance(metadata, dict):
            raise TypeError("its metadata are no table")
        _check_listed(program, listed)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{name!r} does not describe an ensemble: {error}.") from error
    return Description(list(layers), replace(program, loss=None), loss, seeds, metadata)


def _check_listed(program: Program, listed: Any) -> None:
    """Hold the arrays that are listed against those that such models have."""
    n = program.n_models
    wanted = {
        "parameters": ([n, program.n_parameters], program.dtype),
        "buffers": ([n, program.n_buffers], buffers_dtype(listed, "buffers", program.dtype)),
        "draws": ([n], "int64"),
        "dropout_seed": ([n], "int64"),
        "generators": ([n, 6], "uint64"),
    }
    for name in set(listed) - set(wanted):
        if name.startswith("score."):
            wanted[name] = ([n], "float64")
        elif not name.startswith(_BESIDE):
            raise ValueError(f"it has an array {name!r}, which no ensemble has")
    check_arrays(listed, wanted)


def buffers_dtype(listed: Any, name: str, dtype: str) -> str:
    """Return the dtype that what layers store untrained should have: float64, or that of the model in older files."""
    entry = listed.get(name)
    return dtype if isinstance(entry, dict) and entry.get("dtype") == np.dtype(dtype).str else "float64"


def check_arrays(listed: Any, wanted: dict[str, tuple[list[Any], str]]) -> None:
    """Raise ValueError if arrays that are wanted are not listed, or with another shape or dtype."""
    for name, (shape, dtype) in wanted.items():
        expected = {"shape": shape, "dtype": np.dtype(dtype).str}
        if listed.get(name) != expected:
            raise ValueError(f"its array {name!r} is {listed.get(name)}; expected {expected}")


def _made(found: Description, arrays: dict[str, NDArray[Any]], name: str, backend: str | None) -> Stored:
    """Return the ensemble of a description and of arrays that fit it."""
    try:
        generators = unpacked(arrays["generators"])
        for counter in ("draws", "dropout_seed"):
            if (arrays[counter] < 0).any():
                raise ValueError(f"its {counter} has numbers below 0")
    except ValueError as error:
        raise ModelFileError(f"{name!r} does not describe an ensemble: {error}.") from error
    check_finite_arrays({held: arrays[held] for held in ("parameters", "buffers")}, name)
    place, buffers = get_backend(backend), arrays["buffers"]
    state = place.new_state(found.program, arrays["parameters"], arrays["dropout_seed"].copy(), buffers)
    state.draws[...] = arrays["draws"]
    start = 0
    for layer, op in zip(found.layers, found.program.ops, strict=True):
        values = {}
        for held, shape in zip(layer.buffer_names, op.buffer_shapes, strict=True):
            stop = start + math.prod(shape)
            values[held] = buffers[0, start:stop].reshape(shape)
            start = stop
        if values:
            layer.build(found.program.dtype, backend=place)
            layer.load_buffers(values)
    scores = {key[6:]: values for key, values in arrays.items() if key.startswith("score.")}
    return Stored(
        found.layers,
        found.program,
        state,
        place,
        found.seeds,
        generators,
        scores,
        found.loss,
        dict(found.metadata),
    )


def packed(generators: list[np.random.Generator]) -> NDArray[np.uint64]:
    """Return the states of generators as numbers, a row each."""
    rows = []
    for rng in generators:
        kept: Any = rng.bit_generator.state
        state, inc = kept["state"]["state"], kept["state"]["inc"]
        rows.append((state // _WORD, state % _WORD, inc // _WORD, inc % _WORD, kept["has_uint32"], kept["uinteger"]))
    return np.array(rows, np.uint64)


def unpacked(rows: NDArray[np.uint64]) -> list[np.random.Generator]:
    """Return generators in the states that ``packed`` wrote down.

    Raises
    ------
    ValueError
        If a row is no state: an increment is odd, and half a word is kept or none.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bool(unpacked(packed([rng]))[0].integers(100) == rng.integers(100))
    True
    """
    generators = []
    for i, row in enumerate(rows.tolist()):
        a, b, c, d, has, value = row
        if d % 2 == 0 or has > 1 or value >= 2**32:
            raise ValueError(f"the generator of model {i} has an impossible state")
        rng = np.random.Generator(np.random.PCG64(0))
        state = {"state": a * _WORD + b, "inc": c * _WORD + d}
        rng.bit_generator.state = {"bit_generator": "PCG64", "state": state, "has_uint32": has, "uinteger": value}
        generators.append(rng)
    return generators
