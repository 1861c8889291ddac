"""From LLVM text to machine code, by llvmlite alone.

No optimising pass runs: they would double the time, and the code that they make of these loops was slower. llvmlite is
imported with the first function; nothing else here imports more than Python's own library.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

from tinynet_kernels.cpu.generated.target import Target

LEVEL = 1
"""Of the code generator's own effort: 2 and 3 take longer for the same speed, with 0 it is 2 to 4 times slower."""

_engines: list[Any] = []  # They own the machine code, to which there are pointers as long as the process lives.


class _Lock:
    """One thread at a time in LLVM, also over a fork.

    A child of ``fork`` has only the thread that forked. Had another one been compiling at that moment, the child would
    have its locks, held for ever, so a fork waits until LLVM is done.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self._take, after_in_parent=self._give, after_in_child=self._renew)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            yield

    def _take(self) -> None:
        self._lock.acquire()

    def _give(self) -> None:
        self._lock.release()

    def _renew(self) -> None:
        self._lock = threading.RLock()


in_llvm = _Lock()


@cache
def _llvm() -> ModuleType:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    found: ModuleType = llvm
    return found


def host() -> Target:
    """Return the processor that this process runs on."""
    with in_llvm():
        return _host()


@cache
def _host() -> Target:
    llvm = _llvm()
    return Target.of(llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())


def version() -> str:
    """Return what compiled code depends on beside its text and the processor."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}"


def machine(target: Target) -> Any:
    """Return a code generator for a processor. An engine takes its own, which it then owns."""
    made = _llvm().Target.from_triple(target.triple)
    return made.create_target_machine(
        cpu=target.cpu, features=target.features, opt=LEVEL, reloc="pic", codemodel="small", jit=True
    )


def to_object(text: str, target: Target) -> bytes:
    """Return the object file of a module.

    Raises
    ------
    RuntimeError
        If LLVM does not accept the text: an error in the generator.
    """
    with in_llvm():
        module = _llvm().parse_assembly(text)
        module.triple = target.triple
        module.verify()
        made: bytes = machine(target).emit_object(module)
        return made


def load(objects: list[bytes], names: list[str]) -> list[int]:
    """Return the addresses of functions in object files, which stay as long as the process.

    Raises
    ------
    RuntimeError
        If LLVM cannot read them, or a function is not in them.
    """
    llvm = _llvm()
    with in_llvm():
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(_host()))
        for content in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(content))
        engine.finalize_object()
        _engines.append(engine)
        found = {name: engine.get_function_address(name) for name in names}
        if not all(found.values()):
            raise RuntimeError(f"compiled code should have {[name for name in names if not found[name]]}; it has not.")
        return list(found.values())
