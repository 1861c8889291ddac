"""Safetensors: the weights as Hugging Face's tools read them, and the network in the metadata.

The format has no checksums of its own. The metadata hold the header of the model files, as JSON under ``tinynet``, with
a SHA-256 of each tensor; and the SHA-256 of that JSON under ``sha256``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError, requires
from tinynet.exchange.archive import FORMAT, read_header, write_header
from tinynet.exchange.atomic import Path_, atomic_open

DTYPES = {"F32": np.dtype(np.float32).str, "F64": np.dtype(np.float64).str}
"""What a tensor may be, by the format's names."""


def write_safetensors(path: Path_, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a header and named arrays to ``path``, atomically.

    Raises
    ------
    DependencyError
        If safetensors is not installed.
    OSError
        If the file cannot be written: what was at ``path`` stays.
    """
    check_installed()
    from safetensors.numpy import save

    # The package writes the memory of an array as it lies, whatever its strides (safetensors issue 825).
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    digests = {name: _sha256(array.data) for name, array in contiguous.items()}
    text = write_header({**header, "sha256": digests}, contiguous)
    data = save(contiguous, {FORMAT: text, "sha256": _sha256(text.encode())})
    with atomic_open(path) as file:
        file.write(data)


def read_safetensors(
    path: Path_, check: Callable[[dict[str, Any]], None] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what ``write_safetensors`` wrote; ``check`` sees the header before any array is made.

    Raises
    ------
    DependencyError
        If safetensors is not installed.
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is truncated, corrupt, not tinynet's, or of a newer version.
    """
    check_installed()
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    with open(name, "rb"):
        pass  # Whatever keeps the file from being read is told by Python's own errors.
    try:
        with safe_open(name, framework="numpy") as file:
            header = _checked_header(file, name)
            if check is not None:
                check(header)
            arrays = {key: np.array(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{name!r} is not a readable safetensors file: {error}. It is truncated or corrupt; use another copy."
        ) from error
    for key, array in arrays.items():
        if _sha256(array.data) != header["sha256"][key]:
            raise ModelFileError(f"{name!r}: the checksum of {key} is wrong. The file is corrupt; use another copy.")
    return header, arrays


def _checked_header(file: Any, name: str) -> dict[str, Any]:
    """Return the header, once the tensors of the file are known to be those that it lists."""
    metadata = file.metadata() or {}
    text = metadata.get(FORMAT)
    if text is None:
        raise ModelFileError(
            f"{name!r} has no description of a tinynet network in its metadata; save networks with net.save(path). "
            "To take over weights alone, build the network and call "
            "net.set_weights([...]) with the arrays of safetensors.numpy.load_file(path)."
        )
    if _sha256(text.encode()) != metadata.get("sha256"):
        raise ModelFileError(f"{name!r}: the checksum of its description is wrong. The file is corrupt.")
    header = read_header(text, name)
    found = {}
    for key in file.keys():  # noqa: SIM118
        tensor = file.get_slice(key)
        found[key] = {"shape": list(tensor.get_shape()), "dtype": DTYPES.get(tensor.get_dtype())}
    if header.get("arrays") != found:
        raise ModelFileError(f"{name!r}: the tensors are not those that its header lists. The file is corrupt.")
    if not isinstance(header.get("sha256"), dict) or set(header["sha256"]) != set(found):
        raise ModelFileError(f"{name!r} lacks the checksums of its tensors. Save networks with net.save(path).")
    return header


def _sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def check_installed() -> None:
    """Raise DependencyError if the package safetensors is not installed."""
    try:
        import safetensors.numpy  # noqa: F401
    except ImportError as error:
        raise requires("safetensors", "A .safetensors file", "pip install safetensors") from error
