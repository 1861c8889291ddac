"""Models from files."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tinynet.backends.base import Backend
from tinynet.base.errors import ModelFileError
from tinynet.base.hints import hints_arguments
from tinynet.exchange.atomic import Path_
from tinynet.exchange.modelfile import read_model
from tinynet.exchange.parts import Parts
from tinynet.layers.layer import Layer
from tinynet.models.sequential import Sequential


def built(parts: Parts, backend: str | Backend | None = None) -> Sequential:
    """Return a model of these parts, which nobody else holds.

    Raises
    ------
    ValueError
        If the layers do not fit together.
    """
    model = Sequential(*parts.layers, dtype=parts.dtype, backend=backend, initial_values=parts.trained())
    for layer, arrays in zip(model.layers, parts.arrays, strict=True):
        layer.load_buffers({name: arrays[name] for name in layer.buffer_names})
    model.loss, model.metadata = parts.loss, parts.metadata
    return model


@hints_arguments
def load(path: Path_, *, backend: str | None = None, custom: Mapping[str, type[Layer]] | None = None) -> Sequential:
    """Read a model that ``net.save`` or a ``Checkpoint`` wrote.

    Parameters
    ----------
    path : path
        One that ends in ``.safetensors`` is read as such (needs the package safetensors), any other as ``.npz``.
    backend : str, optional
        As for ``get_backend``; a model saved on one backend loads on any.
    custom : dict of str to Layer class, optional
        The classes of your own layers by name. No class is ever imported by a name from a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If it is not a model file, damaged, of a newer version, or has a layer that is not known or weights that are
        not finite.
    DependencyError
        If it is a ``.safetensors`` file and safetensors is not installed.

    Examples
    --------
    >>> import tempfile, tinynet as tn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tn.Sequential(tn.Linear(2, 1)).save(f"{folder}/net.npz")
    ...     tn.load(f"{folder}/net.npz")
    Sequential(Linear(2, 1), dtype='float32', backend='numba')
    """
    parts = read_model(path, custom)
    try:
        return built(parts, backend)
    except ValueError as error:
        raise ModelFileError(f"{os.fspath(path)!r} does not describe a network: {error}") from error
