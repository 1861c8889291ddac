"""Files of data as streams: unpacked where they are gzipped, as text where they are text."""

from __future__ import annotations

import codecs
import io
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO, cast

GZIP = b"\x1f\x8b"

ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encodings of texts that start with a byte order mark; all others are UTF-8."""

NO_TEXT = {
    b"PK\x03\x04": "a ZIP archive or a workbook. Unpack it, or save the sheet as CSV",
    b"PAR1": "a Parquet file. Give it a name that ends in .parquet",
    b"BZh": "compressed by bzip2. Unpack it, or compress it by gzip",
    b"\xfd7zXZ": "compressed by xz. Unpack it, or compress it by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd. Unpack it, or compress it by gzip",
    b"\x89HDF": "an HDF5 file. Convert it to NPZ with numpy.savez",
    b"\x93NUMPY": "a NumPy array. Give it a name that ends in .npy",
    b"\0\0\x08": "an IDX file. Give the folder that it is in",
}
"""What a file is that starts so, and what to do."""


def suffix_of(path: str | os.PathLike[str]) -> str:
    """Return the ending of a file's name, in lower case, without that of gzip.

    Examples
    --------
    >>> suffix_of("a.csv.gz"), suffix_of("B.NPZ")
    ('.csv', '.npz')
    """
    name = Path(path).name.lower()
    return Path(name.removesuffix(".gz")).suffix


STDIN = "-"
"""The path that stands for standard input."""


def source_of(path: str | os.PathLike[str]) -> str:
    """Return what a file is called in messages."""
    return "standard input" if path == STDIN else repr(os.fspath(path))


def _stream(path: str | os.PathLike[str]) -> AbstractContextManager[io.BufferedReader]:
    if path == STDIN:
        return nullcontext(cast(io.BufferedReader, sys.stdin.buffer))
    return open(path, "rb")


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading, or standard input; what is gzipped, whatever its name, is unpacked.

    Raises
    ------
    ValueError
        While it is read, if it is gzipped and truncated or corrupt.
    """
    with _stream(path) as file:
        if not file.peek(2).startswith(GZIP):
            yield file
            return
        import gzip

        with gzip.open(file) as unpacked:
            try:
                yield unpacked
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{source_of(path)} is truncated or corrupt: {error}. Get another copy.") from error


@contextmanager
def opened_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open a text for reading, with its line ends as they are.

    Raises
    ------
    ValueError
        If it is known not to be text, or, while it is read, not UTF-8.
    """
    source = source_of(path)
    with opened(path) as file:
        start = file.peek(8)[:8]  # type: ignore[attr-defined]
        for magic, kind in NO_TEXT.items():
            if start.startswith(magic):
                raise ValueError(f"{source} must be CSV text in UTF-8; it is {kind}.")
        encoding = next((name for mark, name in ENCODINGS.items() if start.startswith(mark)), "utf-8")
        try:
            yield io.TextIOWrapper(file, encoding=encoding, newline="")  # type: ignore[type-var]
        except UnicodeDecodeError as error:
            raise ValueError(f"{source} must be CSV text in UTF-8; it is not ({error.reason}). Convert it.") from error
