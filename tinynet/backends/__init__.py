"""What computes: backends, the plans that they make for programs, and the choice of one.

It alone uses ``tinynet_kernels``, Numba and CuPy; of tinynet, ``program`` and ``base``. A backend is chosen by an
argument, by ``use_backend``, by ``TINYNET_BACKEND``, or automatically. It is a module of this package with a function
``create()``, or ``create(device)`` where there can be several devices, and is imported when it is first used.
"""

from __future__ import annotations

import importlib
import os
from types import TracebackType

from tinynet.backends.base import Array, Backend
from tinynet.base.arrays import is_cupy
from tinynet.base.checks import member, whole
from tinynet.base.errors import BackendUnavailableError
from tinynet.base.hints import hints_names

NAMES = {"numpy": "numpy", "numba": "numba", "cpu": "numba", "cupy": "cupy", "gpu": "cupy"}
"""What a user may write, and the module that it stands for. ``auto`` is resolved below."""

WITH_DEVICES = frozenset({"cupy"})
"""Modules whose devices are numbered: ``gpu:1`` is the second GPU, ``gpu`` the first."""

_created: dict[str, dict[int, Backend]] = {}
"""By module, and by the number of the device: 0 where there are none."""

_chosen: str | None = None


def get_backend(name: str | Backend | None = None, device: int | None = None) -> Backend:
    """Return the backend that a name stands for, or the one that is in force.

    Parameters
    ----------
    name : {"auto", "numpy", "numba", "cpu", "cupy", "gpu", "gpu:1", ...}, optional
        None: what ``use_backend`` set, else ``TINYNET_BACKEND``, else ``"auto"``: Numba, or NumPy where Numba does not
        import. ``auto`` never takes the GPU.
    device : int, optional
        The number of the GPU, from 0: ``get_backend("gpu", device=1)`` is ``get_backend("gpu:1")``. Each device has a
        backend of its own.

    Raises
    ------
    ValueError
        If there is no backend of this name, or it has no devices to choose from.
    BackendUnavailableError
        If it cannot run here. Nothing falls back in silence.

    Examples
    --------
    >>> get_backend("numpy").name
    'numpy'
    """
    if isinstance(name, Backend):
        if device is not None:
            raise ValueError(f"device goes with the name of a backend; got the backend {name.name!r} itself. Drop it.")
        return name
    source = "backend"
    if name is None:
        name, source = _chosen, "use_backend"
    if name is None:
        name, source = os.environ.get("TINYNET_BACKEND") or "auto", "TINYNET_BACKEND"
    module, number = parsed(name, source)
    if device is None:
        device = number
    elif number is not None:
        raise ValueError(f"device is part of the name {name!r} already; got device={device!r} as well. Drop one.")
    elif module not in WITH_DEVICES:
        raise ValueError(f"device chooses a GPU, for backend='gpu'; got device={device!r} with the backend {name!r}.")
    return _automatic() if module == "auto" else _create(module, whole("device", device or 0, at_least=0))


def parsed(name: object, source: str = "backend") -> tuple[str, int | None]:
    """Return the module, or "auto", that a name stands for, and the number of a device if it has one.

    Examples
    --------
    >>> parsed("gpu:1"), parsed("CPU")
    (('cupy', 1), ('numba', None))
    """
    kind, colon, number = name.strip().lower().partition(":") if isinstance(name, str) else (name, "", "")
    kind = member(source, kind, ["auto", *NAMES])
    module = NAMES.get(kind, kind)
    if not colon:
        return module, None
    if module not in WITH_DEVICES or not number.isdecimal():
        raise ValueError(f"{source} may have a device as in 'gpu:1', the second GPU; got {name!r}.")
    return module, int(number)


def home_of(array: Array) -> Backend:
    """Return the backend in whose memory an array lies: NumPy's, or that of its GPU."""
    return get_backend("gpu", device=array.device.id) if is_cupy(array) else get_backend("numpy")


def _automatic() -> Backend:
    try:
        return _create("numba")
    except BackendUnavailableError:
        return _create("numpy")


def _create(module: str, device: int = 0) -> Backend:
    made = _created.setdefault(module, {})
    if device not in made:
        create = importlib.import_module(f"tinynet.backends.{module}").create
        # Of two threads that make it at once, the first one's stays: `setdefault` is atomic.
        made.setdefault(device, create(device) if module in WITH_DEVICES else create())
    return made[device]


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


@hints_names
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
