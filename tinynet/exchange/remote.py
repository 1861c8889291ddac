"""Files beyond the machine's own: on any filesystem that fsspec knows, by a URL such as ``s3://bucket/sweep``."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tinynet.base.errors import requires


class RemotePath:
    """A file or a folder, with those of ``pathlib``'s methods that are needed of it.

    Parameters
    ----------
    url : str
        With a protocol that fsspec knows.

    Examples
    --------
    >>> place = RemotePath("memory://sweep") / "sweep.json"
    >>> str(place), place.exists()
    ('memory://sweep/sweep.json', False)
    """

    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise requires("fsspec", f"{url!r}", "pip install fsspec") from error
        self._url = url.rstrip("/")
        self._files, self._path = fsspec.core.url_to_fs(self._url)

    def __fspath__(self) -> str:
        return self._url

    def __str__(self) -> str:
        return self._url

    def __reduce__(self) -> Any:
        return RemotePath, (self._url,)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self._url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self._path).name

    def exists(self) -> bool:
        """Tell whether it is there now, and not whether it was there when somebody looked last."""
        self._files.invalidate_cache()
        return bool(self._files.exists(self._path))

    def is_dir(self) -> bool:
        """Tell whether it is a folder; some filesystems have none but by the names of files."""
        self._files.invalidate_cache()
        return bool(self._files.isdir(self._path))

    def iterdir(self) -> Iterator[RemotePath]:
        """Yield what the folder holds."""
        for entry in self._files.ls(self._path, detail=False):
            yield self / PurePosixPath(entry).name

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder, with those that it is in."""
        self._files.makedirs(self._path, exist_ok=exist_ok)

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        return bytes(self._files.cat_file(self._path))

    @contextmanager
    def replaced(self, temporary_name: str) -> Iterator[IO[bytes]]:
        """Return a context with a file that takes this one's place once it is written whole.

        It goes up under another name, and is then renamed.
        """
        content = io.BytesIO()
        yield content
        temporary = f"{self._path.rpartition('/')[0]}/{temporary_name}"
        try:
            self._files.pipe_file(temporary, content.getvalue())
            self._files.mv(temporary, self._path)
        except BaseException:
            if self._files.exists(temporary):
                self._files.rm_file(temporary)
            raise


def place_of(path: str | os.PathLike[str]) -> Path | RemotePath:
    """Return the place that a path or a URL names.

    Examples
    --------
    >>> place_of("models/net.npz").name, str(place_of("memory://models/net.npz"))
    ('net.npz', 'memory://models/net.npz')
    """
    if isinstance(path, RemotePath):
        return path
    return RemotePath(path) if isinstance(path, str) and "://" in path else Path(path)
