"""Model files: what ``net.save`` writes and ``tinynet.load`` reads."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.exchange.archive import check_finite_arrays, read_archive, write_archive
from tinynet.exchange.atomic import Path_
from tinynet.exchange.parts import Parts, flat_values, refuse_infinite
from tinynet.layers import LAYERS, Layer, Residual
from tinynet.losses import LOSS_CLASSES, Loss


def describe(parts: Parts, *, portable: bool = True) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return a network as a header and arrays.

    ``portable=False`` describes custom layers by name only: enough for a checkpoint, which is loaded into a model.
    """
    layers = []
    for layer in parts.layers:
        builtin = LAYERS.get(type(layer).__name__) is type(layer)
        layers.append(layer_entry(layer, layer.config() if portable or builtin else {}))
    arrays = parts.named()
    loss = parts.loss
    known = loss is not None and not loss.is_custom
    header = {
        "kind": "model",
        "dtype": parts.dtype,
        "layers": layers,
        "loss": {"kind": type(loss).__name__, "config": loss.config()} if loss is not None and known else None,
        "metadata": parts.metadata,
    }
    return header, arrays


OTHER_FORMATS = {
    ".onnx": "net.to_onnx(path)",
    ".h": "net.to_c(path)",
    ".c": "net.to_c(path)",
    ".h5": "net.to_keras().save(path)",
    ".keras": "net.to_keras().save(path)",
    ".pt": "torch.save(net.to_torch(), path)",
    ".pth": "torch.save(net.to_torch(), path)",
    ".pkl": "pickle.dump(net, file)",
    ".pickle": "pickle.dump(net, file)",
    ".joblib": "joblib.dump(net, path)",
    ".mat": "scipy.io.savemat for the arrays of net.get_weights()",
}
"""What to call for endings that say that somebody expects something else than a model file."""


def write_model(parts: Parts, path: Path_) -> None:
    """Write a network to a file, atomically; see ``Sequential.save``."""
    check_name(path)
    header, arrays = describe(parts)
    refuse_infinite(arrays, "save")
    if is_safetensors(path):
        from tinynet.exchange.safetensors import write_safetensors

        write_safetensors(path, header, arrays)
    else:
        write_archive(path, header, arrays)


def check_name(path: Path_) -> None:
    """Raise now what ``write_model`` would raise after a long training because of the ending of ``path``.

    Raises
    ------
    ValueError
        If it is that of an export.
    DependencyError
        If it is ``.safetensors``, and safetensors is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix in OTHER_FORMATS:
        raise ValueError(
            f"save writes files that tinynet.load reads, .npz or .safetensors; got {os.fspath(path)!r}. "
            f"Use {OTHER_FORMATS[suffix]}."
        )
    if is_safetensors(path):
        from tinynet.exchange.safetensors import check_installed

        check_installed()


def is_safetensors(path: Path_) -> bool:
    """Tell whether the ending of a path asks for safetensors."""
    return Path(path).suffix.lower() == ".safetensors"


def _reader(path: Path_) -> Callable[..., tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Return what reads files with the ending of ``path``."""
    if is_safetensors(path):
        from tinynet.exchange.safetensors import read_safetensors

        return read_safetensors
    return read_archive


def _fit(listed: dict[str, Any], layers: Sequence[Layer], dtype: str) -> bool:
    """Tell whether the arrays of a file are those of layers: in the model's dtype, and what is not trained in float64.

    Older files have all in the model's dtype.
    """
    wanted = [
        (f"layer{position}.{name}", list(layer.parameter_shape(name)), {dtype, "<f8"} if held else {dtype})
        for position, layer in enumerate(layers)
        for name in layer.parameter_names
        for held in [name in layer.buffer_names]
    ]
    return len(listed) == len(wanted) and all(
        listed.get(name) in [{"shape": shape, "dtype": one} for one in dtypes] for name, shape, dtypes in wanted
    )


def read_model(path: Path_, custom: Mapping[str, type[Layer]] | None = None) -> Parts:
    """Read what ``write_model`` or a ``Checkpoint`` wrote; see ``tinynet.load``."""
    layers: list[Layer] = []
    known = {**LAYERS, **(custom or {})}

    def check(header: dict[str, Any]) -> None:
        """Build the layers, which hold no arrays yet, and hold the arrays that are listed against them."""
        if header.get("kind") == "ensemble":
            raise ModelFileError(
                f"{os.fspath(path)!r} is an 'ensemble' file; tinynet.load expects a model. tinynet.Ensemble.load reads "
                "ensembles."
            )
        try:
            layers.extend(layer_of(entry, known) for entry in header["layers"])
            if header["dtype"] not in ("float32", "float64"):
                raise ValueError(f"dtype {header['dtype']!r}")
            listed = {name: entry for name, entry in header["arrays"].items() if name.startswith("layer")}
            if not _fit(listed, layers, np.dtype(header["dtype"]).str):
                raise ValueError("its arrays do not fit its layers")
            if not layers:
                raise ValueError("it has no layers")
            if not isinstance(header.get("metadata"), dict):
                raise ValueError("it has no metadata")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, ModelFileError):
                raise
            raise ModelFileError(f"{os.fspath(path)!r} does not describe a network: {error}.") from error

    header, arrays = _reader(path)(path, check)
    check_finite_arrays({name: array for name, array in arrays.items() if name.startswith("layer")}, os.fspath(path))
    own = tuple(
        {name: arrays[f"layer{position}.{name}"] for name in layer.parameter_names}
        for position, layer in enumerate(layers)
    )
    return Parts(tuple(layers), header["dtype"], own, _loss(header.get("loss"), path), header["metadata"])


def trained_values(layers: Sequence[Layer], arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the trained arrays of a file as one flat vector, in the order of a model's."""
    return flat_values(
        layers, [{n: arrays[f"layer{i}.{n}"] for n in layer.trainable_names} for i, layer in enumerate(layers)]
    )


def stored_values(layers: Sequence[Layer], arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays of a file that are stored and not trained as one flat vector, in the order of a model's."""
    named = [arrays[f"layer{i}.{n}"].ravel() for i, layer in enumerate(layers) for n in layer.buffer_names]
    return np.concatenate(named or [np.empty(0)])


def layer_of(entry: Any, known: Mapping[str, type[Layer]]) -> Layer:
    """Return the layer that a header tells of, with those within it; it holds no arrays.

    Raises
    ------
    ValueError
        If its class is not among those that are known.
    """
    kind, config = entry["kind"], entry["config"]
    if not isinstance(kind, str) or kind not in known:
        raise ValueError(
            f"it has a layer {kind!r}, which this version does not know. For a layer of your own, pass its class: "
            "tinynet.load(path, custom={'" + str(kind) + "': ...})"
        )
    if issubclass(known[kind], Residual):
        return with_trainable(known[kind](*(layer_of(own, known) for own in config["layers"])), entry)
    return with_trainable(known[kind](**config), entry)


def layer_entry(layer: Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Return how a header tells of a layer.

    Examples
    --------
    >>> from tinynet.layers import Tanh
    >>> layer_entry(Tanh(), {})
    {'kind': 'Tanh', 'config': {}}
    """
    frozen = {} if layer.trainable else {"trainable": False}
    return {"kind": type(layer).__name__, "config": config, **frozen}


def with_trainable(layer: Layer, entry: dict[str, Any]) -> Layer:
    """Return a layer that is frozen if its entry in a header says so."""
    layer.trainable = entry.get("trainable", True)
    return layer


def _loss(entry: Any, path: Path_) -> Loss | None:
    if entry is None:
        return None
    try:
        return LOSS_CLASSES[entry["kind"]](**entry["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{os.fspath(path)!r} names a loss that this version does not know: {entry!r}.") from error
