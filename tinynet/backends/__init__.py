"""Choosing a backend: by argument, by ``use_backend``, by ``TINYNET_BACKEND``, or automatically.

A backend is a module of this package with a function ``create()``; it is imported when it is first used.
"""

from __future__ import annotations

import importlib
import os
from types import TracebackType

from tinynet.backends.base import Backend
from tinynet.checks import member
from tinynet.errors import BackendUnavailableError

NAMES = {"numpy": "numpy", "numba": "numba", "cpu": "numba", "cupy": "cupy", "gpu": "cupy"}
"""What a user may write, and the module that it stands for. ``auto`` is resolved below."""

_created: dict[str, Backend] = {}
_chosen: str | None = None


def get_backend(name: str | Backend | None = None) -> Backend:
    """Return the backend that a name stands for, or the one that is in force.

    Parameters
    ----------
    name : {"auto", "numpy", "numba", "cpu", "cupy", "gpu"}, optional
        None: what ``use_backend`` set, else ``TINYNET_BACKEND``, else ``"auto"``: Numba, or NumPy where Numba does not
        import. ``auto`` never takes the GPU.

    Raises
    ------
    ValueError
        If there is no backend of this name.
    BackendUnavailableError
        If it cannot run here. Nothing falls back in silence.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    """
    if isinstance(name, Backend):
        return name
    source = "backend"
    if name is None:
        name, source = _chosen, "use_backend"
    if name is None:
        name, source = os.environ.get("TINYNET_BACKEND") or "auto", "TINYNET_BACKEND"
    key = name.strip().lower() if isinstance(name, str) else name
    return _create(NAMES[member(source, key, ["auto", *NAMES])]) if key != "auto" else _automatic()


def _automatic() -> Backend:
    try:
        return _create("numba")
    except BackendUnavailableError:
        return _create("numpy")


def _create(module: str) -> Backend:
    if module not in _created:
        backend: Backend = importlib.import_module(f"tinynet.backends.{module}").create()
        _created[module] = backend
    return _created[module]


def available() -> dict[str, str | None]:
    """Tell which backends run on this machine: None for each that does, else what is missing and how to get it.

    Examples
    --------
    >>> available()["numpy"] is None
    True
    """
    found: dict[str, str | None] = {}
    for module in sorted(set(NAMES.values()), key=list(NAMES.values()).index):
        try:
            _create(module)
            found[module] = None
        except BackendUnavailableError as error:
            found[module] = str(error)
    return found


class use_backend:
    """Make a backend the default, for good or for a ``with`` block.

    Parameters
    ----------
    name : str
        As for ``get_backend``.

    Examples
    --------
    >>> with use_backend("numpy") as backend:
    ...     backend.name
    'numpy'
    """

    def __init__(self, name: str) -> None:
        global _chosen
        self._previous = _chosen
        self.backend = get_backend(name)
        _chosen = name

    def __enter__(self) -> Backend:
        return self.backend

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _chosen
        _chosen = self._previous
