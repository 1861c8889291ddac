"""How the kernels of this package are compiled: one place for the options, and why each is set."""

import hashlib
import itertools
import os
import secrets
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler_lock import global_compiler_lock

import tinynet_kernels.cpu.generated.compiler  # noqa: F401 - its lock is registered before Numba's, see below
from tinynet_kernels.waiting import compiling

Kernel = Callable[..., Any]

INLINE: Any = {"forceinline": True}
"""Left to itself, LLVM finds an exponential and a logarithm too large to inline, and the loop stays scalar."""


def inlined(function: Kernel) -> Kernel:
    """Make a plain function callable from compiled code, and have LLVM inline it there.

    It stays a plain function because a loop's closure over it is part of the loop's key in the cache on disk, and
    compiled functions have a new identity in every process.
    """
    plain: Kernel = numba.extending.register_jitable(**INLINE)(function)
    return plain


def instruction(generator: Kernel) -> Kernel:
    """Make a function that generates LLVM code callable from compiled code; literal arguments keep their value."""
    made: Kernel = numba.extending.intrinsic(prefer_literal=True)(generator)
    return made


def _number_functions_anew() -> None:
    """Give the functions that this process compiles numbers of their own.

    Numba tells functions of one name apart by a number in their symbols: those that close over different values, such
    as the updates with momentum and without. It counts from 1 in every process, and the symbols go to the disk with the
    machine code. Code of two processes, loaded by a third, would have different functions under one symbol, of which
    the linker takes the first for both (seen: trainings that were silently wrong).
    """
    FunctionIdentity._unique_ids = itertools.count(secrets.randbits(60))


_number_functions_anew()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_number_functions_anew)
    # A child has only the thread that forked. From another one that is compiling it would have Numba's lock, held for
    # ever, so a fork waits for that. It takes this lock before that of the generated code, as who compiles does: what
    # is registered last comes first, so that code is imported above.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class _Told(event.Listener):
    """Tells of what Numba compiles: it sends this event when neither the process nor the disk has the code."""

    def __init__(self) -> None:
        self._own = threading.local()

    def on_start(self, event: Any) -> None:
        """Tell before; what a function calls is compiled within."""
        within = self._own.__dict__.setdefault("within", [])
        function = getattr(event.data["dispatcher"], "py_func", None)  # A loop lifted out of a function has none.
        ours = getattr(function, "__module__", "").startswith("tinynet")
        within.append(compiling(long=True, ours=ours))
        within[-1].__enter__()

    def on_end(self, event: Any) -> None:
        """Stop counting the seconds."""
        self._own.within.pop().__exit__(None, None, None)


event.register("numba:compile", _Told())

_TOKEN = uuid.uuid4().hex[:12]
"""Tells processes apart that have the same number, at different times or on different machines."""

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",  # x / 0 is inf or NaN, not an exception; also what lets loops with a division vectorise
    # NaN and inf must survive: a diverging loss shows itself by them. And reassociation would fold away the rounding
    # trick of `elementary.exp`. Contraction to fused multiply-add changes nothing but the last bit.
    "fastmath": {"contract", "nsz"},
}


def compiled(function: Kernel) -> Kernel:
    """Compile a loop when it is first called, and keep the machine code on disk where that is possible."""
    return _compiled(function, _OPTIONS)


def compiled_sum(function: Kernel) -> Kernel:
    """Compile a loop that only adds up: it may do so in any order, without which it would not vectorise."""
    return _compiled(function, {**_OPTIONS, "fastmath": {"contract", "nsz", "reassoc"}})


def _compiled(function: Kernel, options: dict[str, Any]) -> Kernel:
    try:
        kernel = numba.njit(function, cache=True, **options)
    except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
        return _plainly(function, options)
    # Numba forgets machine code when the file of its function changes. Ours is made of other files, too.
    file = kernel._cache._cache_file
    file._source_stamp = (file._source_stamp, fingerprint())
    # Numba numbers the files of one function's variants (a loss for each kind, say) from 1 in every process. Two that
    # compile at once would write different code to one file, and a third would take the one for the other.
    file._data_name = partial(_data_name, file._index_name)
    cache = kernel._cache
    cache.load_overload = partial(_loaded, cache, cache.load_overload)
    cache.save_overload = partial(_saved, cache.save_overload)
    compiled_kernel: Kernel = kernel
    return compiled_kernel


def _loaded(cache: Any, load: Callable[..., Any], *given: Any) -> Any:
    """Return machine code from the disk, or None: a file that is damaged costs a compilation and no result."""
    try:
        return load(*given)
    except Exception:  # pickle, which reads it, raises whatever the damage leads to.
        with suppress(OSError):
            cache.flush()
        return None


def _saved(save: Callable[..., None], *given: Any) -> None:
    """Keep machine code, where there is room and leave to write: without that the next process compiles again."""
    with suppress(OSError):
        save(*given)


def _plainly(function: Kernel, options: dict[str, Any]) -> Kernel:
    kernel: Kernel = numba.njit(function, **options)
    return kernel


def _data_name(index_name: str, number: int) -> str:
    """Return a name for machine code that no other process gives."""
    return f"{index_name.removesuffix('.nbi')}.{os.getpid():x}-{_TOKEN}.{number}.nbc"


@cache
def fingerprint() -> str:
    """Return a digest of the sources of this package, and of the formulas."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for path in [*sorted(package.rglob("*.py")), *sorted(package.parent.glob("*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
