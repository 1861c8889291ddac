"""Archives: models and checkpoints as ``.npz``, written atomically, read without trust.

A file is a ZIP archive of ``.npy`` arrays, which ``numpy.load`` opens, and ``header.json``: what the arrays are and how
the network is built. Nothing is unpickled and no class is imported by a name from a file.
"""

from __future__ import annotations

import ast
import io
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.errors import ModelFileError
from tinynet.exchange.atomic import Path_, atomic_open
from tinynet.exchange.plain import as_json
from tinynet.exchange.remote import place_of

FORMAT = "tinynet"
VERSION = 1
HEADER = "header.json"

ZIP = b"PK\x03\x04"
"""How an archive begins that has a member."""

NPY = b"\x93NUMPY\x01\x00"
"""How a ``.npy`` of version 1.0 begins."""

MAX_ARRAY_HEADER = 10_000
"""Bytes; NumPy's own limit for what it parses."""

DTYPES = {
    dtype.str: dtype for code in "?bBhHiIlLqQefdg" for dtype in (np.dtype(code), np.dtype(code).newbyteorder("S"))
}
"""What arrays may be made of. NumPy's own reading of a dtype evaluates parts of its text."""


def listing(arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the shapes and dtypes of arrays as a header lists them.

    Examples
    --------
    >>> listing({"x": np.zeros((2, 3), ">f4")})
    {'x': {'shape': [2, 3], 'dtype': '>f4'}}
    """
    return {name: {"shape": list(array.shape), "dtype": array.dtype.str} for name, array in arrays.items()}


def write_header(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> str:
    """Return the JSON text of a header, with the shape and the dtype of each array.

    Raises
    ------
    TypeError
        If it has something that JSON cannot hold, as a user's metadata may; the message tells where.
    """
    try:
        kept = {name: as_json(value, name) for name, value in header.items()}
    except RecursionError:
        raise TypeError("metadata must not hold themselves; got some that do, or nest without an end.") from None
    return json.dumps({"format": FORMAT, "version": VERSION, **kept, "arrays": listing(arrays)}, allow_nan=True)


def write_archive(path: Path_, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a header and named arrays to ``path``.

    Raises
    ------
    OSError
        If the disk is full, the folder is missing or not writable: what was at ``path`` stays.
    """
    text = write_header(header, arrays).encode()
    with atomic_open(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        archive.writestr(HEADER, text)
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())


def read_archive(
    path: Path_, check: Callable[[dict[str, Any]], None] | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read what ``write_archive`` wrote.

    ``check`` sees the header before any array is made; every array is held against the header.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is truncated, corrupt, not tinynet's, or of a newer version.
    """
    name = os.fspath(path)
    entries = _read_entries(place_of(path).read_bytes(), name)
    header = read_header(entries.pop(HEADER, None), name)
    if check is not None:
        check(header)
    return header, _read_arrays(entries, header, name)


def _read_entries(data: bytes, name: str) -> dict[str, bytes]:
    """Return the members of an archive; they cannot be larger than the file, as tinynet never compresses."""
    if data and not data.startswith(ZIP):
        raise ModelFileError(
            f"{name!r} is not a model file: it begins with {data[:12]!r}, which no .npz does. Pass what net.save wrote."
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ModelFileError(f"{name!r} has compressed members, which tinynet never writes.")
            if sum(member.file_size for member in members) > len(data):
                raise ModelFileError(f"{name!r} claims more than it holds.")
            if len({member.filename for member in members}) < len(members):
                raise ModelFileError(f"{name!r} has two members of one name, which tinynet never writes.")
            return {member.filename: archive.read(member) for member in members}
    except ModelFileError:
        raise
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OSError,
        struct.error,
    ) as error:
        raise ModelFileError(
            f"{name!r} is not a readable model file: {error}. It is truncated or corrupt; use another copy."
        ) from error


def read_header(text: bytes | str | None, name: str) -> dict[str, Any]:
    """Return the header of a file from its JSON text, or None where the file has none.

    Raises
    ------
    ModelFileError
        If it is missing, not JSON, not tinynet's, or of a newer version.
    """
    foreign = f"{name!r} is not a tinynet model file: expected a header of format {FORMAT!r}"
    if text is None:
        raise ModelFileError(f"{foreign}; got a file without a header. Save models with net.save(path).")
    try:
        header = json.loads(text, object_pairs_hook=without_doubles)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{foreign}; got one that is not JSON ({error}).") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(f"{foreign}; got another.")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION or version < 1:
        raise ModelFileError(
            f"{name!r} has format version {version!r}; this tinynet reads versions up to {VERSION}. Upgrade tinynet."
        )
    return header


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table of JSON, in which no name may stand twice.

    Raises
    ------
    ValueError
        If one does.
    """
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError(f"the names {[name for name, _ in pairs]} are not all different")
    return table


def check_finite_arrays(arrays: dict[str, NDArray[Any]], name: str) -> None:
    """Raise ModelFileError if weights in a file are not finite, as ``set_weights`` does of those it is given."""
    for key, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            place = tuple(int(axis[0]) for axis in np.nonzero(bad))
            raise ModelFileError(
                f"{name!r}: weights must be finite; {key} has {array[place]} at {place}. "
                "The file is damaged, or not tinynet's work; use another copy."
            )


def _read_arrays(entries: dict[str, bytes], header: dict[str, Any], name: str) -> dict[str, NDArray[Any]]:
    listed = header.get("arrays")
    if not isinstance(listed, dict) or set(entries) != {f"{key}.npy" for key in listed}:
        raise ModelFileError(f"{name!r}: the arrays are not those that its header lists. The file is corrupt.")
    arrays = {}
    for key, entry in listed.items():
        try:
            arrays[key] = _read_array(entries[f"{key}.npy"], entry)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"{name!r}: array {key!r} is damaged: {error}.") from error
    return arrays


def _read_array(data: bytes, entry: dict[str, Any]) -> NDArray[Any]:
    """Parse one ``.npy``; its bytes are in memory, so a forged shape cannot ask for more than the file has."""
    shape, dtype = tuple(entry["shape"]), DTYPES[entry["dtype"]]
    if any(not isinstance(n, int) or n < 0 for n in shape):
        raise ValueError(f"expected lengths of axes; got shape {shape}")
    found, start = _read_array_header(data)
    wanted = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    if found != wanted:
        raise ValueError(f"expected {wanted}; got {found}")
    body, n_bytes = data[start:], math.prod(shape) * dtype.itemsize
    if len(body) != n_bytes:
        raise ValueError(f"expected {n_bytes} bytes; got {len(body)}")
    return np.frombuffer(body, dtype).reshape(shape).copy()


def _read_array_header(data: bytes) -> tuple[Any, int]:
    """Return the header of a ``.npy``, a literal of Python, and where its numbers begin.

    NumPy's own reader warns of what it can mend, and lets errors of Python's parser through.
    """
    start = 10 + int.from_bytes(data[8:10], "little")
    if data[:8] != NPY or not 10 < start <= min(len(data), MAX_ARRAY_HEADER):
        raise ValueError("expected .npy version 1.0")
    try:
        return ast.literal_eval(data[10:start].decode("latin1")), start
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected the header of an array; got none: {error}") from error
