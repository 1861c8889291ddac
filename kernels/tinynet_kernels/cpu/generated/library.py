"""The library: the addresses of kernels, compiled when they are first asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from tinynet_kernels.calls import is_called
from tinynet_kernels.cpu.generated import cache, compiler
from tinynet_kernels.cpu.generated.target import Target
from tinynet_kernels.cpu.generated.units import kernels_of, symbol, text_of
from tinynet_kernels.waiting import compiling

LONG = 100_000
"""Characters of code that take a tenth of a second to compile, and a third of one on a slow core."""

_addresses: dict[tuple[Target, str, str], dict[tuple[str, str], int]] = {}
"""By target, dtype and unit, those of its kernels: by unit and name."""

Run = Callable[[int, int], None]
"""The driver: takes the addresses of the context and of the table, and lets other threads run meanwhile."""

_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


def addresses(dtype: str, units: Iterable[str], target: Target | None = None) -> dict[tuple[str, str], int]:
    """Return the addresses of all kernels of some units, by unit and name.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    units : iterable of str
    target : Target, optional
        This processor, by default with its widest registers.
    """
    target = target or compiler.host()
    keys = {unit: (target, dtype, unit) for unit in sorted(set(units))}
    if any(key not in _addresses for key in keys.values()):
        with compiler.in_llvm():
            # Another thread may have loaded them meanwhile.
            lacking = [unit for unit, key in keys.items() if key not in _addresses]
            if lacking:
                _load(dtype, lacking, target)
    return {name: address for key in keys.values() for name, address in _addresses[key].items()}


def runner(address: int) -> Run:
    """Return what runs a table: a kernel that is called with one."""
    return _SIGNATURE(address)


def _load(dtype: str, units: list[str], target: Target) -> None:
    names = [(unit, kernel.name) for unit in units for kernel in kernels_of(unit)]
    objects = _objects(units, dtype, target)
    found = compiler.load(objects, [symbol(unit, kernel, dtype) for unit, kernel in names])
    for unit in units:
        places = {name: place for name, place in zip(names, found, strict=True) if name[0] == unit}
        _addresses[target, dtype, unit] = places


def _file_of(unit: str, dtype: str, target: Target) -> str:
    return cache.name_of(unit, dtype, *map(str, target), compiler.version())


def _objects(units: list[str], dtype: str, target: Target) -> list[bytes]:
    """Return the object files of some units: kept ones, and new ones that are kept from now on."""
    names = {unit: _file_of(unit, dtype, target) for unit in units}
    # What has addresses in it is of this process.
    found = {unit: None if is_called(unit) else cache.read(name) for unit, name in names.items()}
    texts = {unit: text_of(unit, dtype, target) for unit in units if found[unit] is None}
    with compiling(long=sum(map(len, texts.values())) >= LONG) if texts else nullcontext():
        for unit, text in texts.items():
            made = found[unit] = compiler.to_object(text, target)
            if not is_called(unit):
                cache.write(names[unit], made)
    return [content for content in found.values() if content is not None]
