"""Programs for AArch64 without a linker or a system: object files, memory and a few instructions in one ELF file.

``qemu-aarch64`` runs it on any machine. What it writes to its output are the pieces of memory that were asked for.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
BASE, PAGE = 0x400000, 0x1000
HEADERS = 64 + 56
"""Bytes of the two headers that an ELF file needs to be run."""

ALLOCATED, BITS, SYMBOLS, RELOCATIONS = 2, 1, 2, 4
"""A flag and types of sections."""

LOADS = {278: 0, 284: 1, 285: 2, 286: 3, 299: 4}
"""Relocations of the low 12 bits of an address in loads and stores, and the power of two that they are counted in."""


class Section:
    """A section of an object file."""

    def __init__(self, content: bytes, place: int) -> None:
        fields = struct.unpack_from("<IIQQQQIIQQ", content, place)
        _, self.kind, self.flags, _, start, size, self.link, self.info, self.align, _ = fields
        self.content = content[start : start + size]
        self.address = 0


class Image:
    """The memory of a program, from ``BASE`` on."""

    def __init__(self) -> None:
        self.memory = bytearray(HEADERS)
        self.symbols: dict[str, int] = {}

    def put(self, content: bytes, align: int = 64) -> int:
        """Append something; return its address."""
        self.memory += bytes(-len(self.memory) % align)
        place = BASE + len(self.memory)
        self.memory += content
        return place

    def put_array(self, array: NDArray[Any]) -> int:
        """Append the numbers of an array."""
        return self.put(np.ascontiguousarray(array).tobytes())

    def link(self, content: bytes) -> None:
        """Append what an object file has, and note where its functions are."""
        (table,), (size, count) = struct.unpack_from("<Q", content, 0x28), struct.unpack_from("<HH", content, 0x3A)
        sections = [Section(content, table + i * size) for i in range(count)]
        for section in sections:
            if section.kind == BITS and section.flags & ALLOCATED:
                section.address = self.put(section.content, max(1, section.align))
        symbols: list[int] = []
        for listing in (section for section in sections if section.kind == SYMBOLS):
            names = sections[listing.link].content
            for name, _, _, place, value, _ in struct.iter_unpack("<IBBHQQ", listing.content):
                inside = 0 < place < len(sections)
                symbols.append(sections[place].address + value if inside else 0)
                if inside and name:
                    self.symbols[names[name : names.index(b"\0", name)].decode()] = symbols[-1]
        for relocations in (section for section in sections if section.kind == RELOCATIONS):
            start = sections[relocations.info].address
            for offset, info, addend in struct.iter_unpack("<QQq", relocations.content) if start else ():
                assert symbols[info >> 32], "a symbol that is not in the file"
                self._relocate(start + offset, info & 0xFFFFFFFF, symbols[info >> 32] + addend)

    def _relocate(self, place: int, kind: int, target: int) -> None:
        at = place - BASE
        (word,) = struct.unpack_from("<I", self.memory, at)
        if kind == 275:  # ADR_PREL_PG_HI21
            pages = (target // PAGE - place // PAGE) & 0x1FFFFF
            word |= (pages & 3) << 29 | pages >> 2 << 5
        elif kind == 277:  # ADD_ABS_LO12_NC
            word |= target % PAGE << 10
        elif kind in LOADS:
            word |= target % PAGE >> LOADS[kind] << 10
        elif kind in (282, 283):  # JUMP26, CALL26
            word |= (target - place) // 4 & 0x3FFFFFF
        elif kind == 261:  # PREL32
            word = (target - place) & 0xFFFFFFFF
        else:
            raise NotImplementedError(f"relocation {kind}")
        struct.pack_into("<I", self.memory, at, word)

    def run(self, folder: Path, function: int, arguments: tuple[int, int], results: list[tuple[int, int]]) -> bytes:
        """Call a function and return pieces of memory: where they begin, and how many bytes they are."""
        code = [*_set(0, arguments[0]), *_set(1, arguments[1]), *_set(16, function), 0xD63F0000 | 16 << 5]  # blr x16
        for place, size in results:
            code += _call(64, 1, place, size)  # write
        code += _call(93, 0, 0, 0)  # exit
        entry = self.put(struct.pack(f"<{len(code)}I", *code))
        size = len(self.memory)
        head = b"\x7fELF\x02\x01\x01" + bytes(9)
        self.memory[:64] = head + struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        self.memory[64:HEADERS] = struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size, PAGE)
        path = folder / "program"
        path.write_bytes(self.memory)
        path.chmod(0o755)
        assert EMULATOR is not None
        return subprocess.run([EMULATOR, path], capture_output=True, check=True).stdout


def _set(register: int, value: int) -> list[int]:
    """Return the instructions that put a number into a register, 16 bits at a time."""
    parts = [value >> 16 * k & 0xFFFF for k in range(4)]
    return [(0xF2800000 if k else 0xD2800000) | k << 21 | part << 5 | register for k, part in enumerate(parts)]


def _call(number: int, *arguments: int) -> list[int]:
    """Return the instructions of a call of the kernel."""
    words = [word for register, value in enumerate(arguments) for word in _set(register, value)]
    return [*words, *_set(8, number), 0xD4000001]  # svc #0
