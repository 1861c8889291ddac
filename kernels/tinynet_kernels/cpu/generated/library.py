"""The library: the addresses of kernels, compiled when they are first asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator

from tinynet_kernels.calls import is_called
from tinynet_kernels.cpu.generated import cache, compiler
from tinynet_kernels.cpu.generated.names import symbol
from tinynet_kernels.cpu.generated.target import Target
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
    objects = _objects(units, dtype, target)
    names = [(unit, kernel) for unit, (kernels, _) in objects.items() for kernel in kernels]
    codes = [code for _, code in objects.values()]
    found = compiler.load(codes, [symbol(unit, kernel, dtype) for unit, kernel in names])
    for unit in units:
        places = {name: place for name, place in zip(names, found, strict=True) if name[0] == unit}
        _addresses[target, dtype, unit] = places


def _file_of(unit: str, dtype: str, target: Target) -> str:
    return cache.name_of(unit, dtype, *map(str, target), compiler.version())


Object = tuple[list[str], bytes]
"""The names of the kernels of a unit, and their code."""


def _objects(units: list[str], dtype: str, target: Target) -> dict[str, Object]:
    """Return the object files of some units: kept ones, and new ones that are kept from now on."""
    names = {unit: _file_of(unit, dtype, target) for unit in units}
    # What has addresses in it is of this process.
    kept = {unit: None if is_called(unit) else cache.read(name) for unit, name in names.items()}
    found = {unit: _unpacked(content) for unit, content in kept.items() if content is not None}
    lacking = [unit for unit in units if unit not in found]
    if lacking:
        for unit, made in _made(lacking, dtype, target):
            found[unit] = made
            if not is_called(unit):
                cache.write(names[unit], _packed(*made))
    return found


def _made(units: list[str], dtype: str, target: Target) -> Iterator[tuple[str, Object]]:
    """Write and compile some units."""
    from tinynet_kernels.cpu.generated import units as written  # All that writes code: most processes need none.

    texts = {unit: written.text_of(unit, dtype, target) for unit in units}
    with compiling(long=sum(map(len, texts.values())) >= LONG):
        for unit, text in texts.items():
            yield unit, ([kernel.name for kernel in written.kernels_of(unit)], compiler.to_object(text, target))


def _packed(kernels: list[str], code: bytes) -> bytes:
    return "\n".join(kernels).encode() + b"\0" + code


def _unpacked(content: bytes) -> Object:
    kernels, _, code = content.partition(b"\0")
    return kernels.decode().split("\n"), code
