"""How much static shared memory a kernel takes, from the object file that it was compiled to.

Shared variables are thread-local ones here (qualifiers.hpp). Those that a kernel takes are the ones that it, or
anything that it calls, refers to: relocations say so. Dynamic shared memory is declared elsewhere, and has no size.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

LAUNCHER = "cuda_on_cpu_launch_"

_SECTION = re.compile(r"^\s*\[\s*(\d+)\] (\S+)")
_RELOCATIONS = re.compile(r"^Relocation section '\.rela(\S+)'")
_ENTRY = re.compile(r"^[0-9a-f]+ +([0-9a-f]+) ")


class Symbol(NamedTuple):
    """Something of an object file that has a place."""

    value: int
    size: int
    kind: str
    section: str


def sizes(text: str) -> dict[str, int]:
    """Return the bytes that each launcher reaches, by its name; ``text`` is what ``readelf -WSsr`` tells."""
    symbols, names = _symbols(text)
    places = _Places(symbols)
    references = {section: sorted(found) for section, found in _references(text, places).items()}
    result = {}
    for number, name in names.items():
        if name.startswith(LAUNCHER):
            reached, waiting = set[int](), [number]
            while waiting:
                number = waiting.pop()
                if number not in reached:
                    reached.add(number)
                    waiting += _targets(symbols[number], references)
            result[name] = sum(symbols[n].size for n in reached if symbols[n].kind == "TLS")
    return result


class _Places:
    """Finds what lies at a place of a section, for relocations that name no more than that."""

    def __init__(self, symbols: dict[int, Symbol]) -> None:
        self.symbols = symbols
        self._by_section: dict[str, list[tuple[int, int]]] = {}
        for number, symbol in symbols.items():
            if symbol.kind in ("FUNC", "TLS"):
                self._by_section.setdefault(symbol.section, []).append((symbol.value, number))
        for places in self._by_section.values():
            places.sort()

    def at(self, section: str, place: int) -> int | None:
        places = self._by_section.get(section, [])
        found = bisect_right(places, (place, len(self.symbols))) - 1
        return places[found][1] if found >= 0 else None


def _symbols(text: str) -> tuple[dict[int, Symbol], dict[int, str]]:
    """Return the symbols by number, and their names."""
    sections = {match[1]: match[2] for line in text.splitlines() if (match := _SECTION.match(line))}
    symbols, names = {}, {}
    for line in text.splitlines():
        # Num: Value Size Type Bind Vis Ndx Name
        fields = line.split()
        if len(fields) >= 7 and fields[0].endswith(":") and fields[0][:-1].isdigit():
            number = int(fields[0][:-1])
            symbols[number] = Symbol(int(fields[1], 16), int(fields[2], 0), fields[3], sections.get(fields[6], ""))
            names[number] = fields[7] if len(fields) > 7 else ""
    return symbols, names


def _references(text: str, places: _Places) -> dict[str, list[tuple[int, int]]]:
    """Return, for each section, where in it something is referred to, and what."""
    found: dict[str, list[tuple[int, int]]] = {}
    for section, line in _relocations(text):
        fields = line.split()
        target: int | None = int(fields[1], 16) >> 32
        symbol = places.symbols.get(target or -1)
        if symbol is None:
            continue
        if symbol.kind == "SECTION":
            sign, addend = (1, 0) if len(fields) < 7 else ((-1 if fields[5] == "-" else 1), int(fields[6], 16))
            # In code, a place is counted from the end of its four bytes.
            shift = 4 if fields[2] in ("R_X86_64_PC32", "R_X86_64_PLT32") else 0
            target = places.at(symbol.section, sign * addend + shift)
        if target is not None:
            found.setdefault(section, []).append((int(fields[0], 16), target))
    return found


def _relocations(text: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in text.splitlines():
        if match := _RELOCATIONS.match(line):
            section = match[1]
        elif section and _ENTRY.match(line):
            yield section, line
        elif section and not line.strip():
            section = ""


def _targets(symbol: Symbol, references: dict[str, list[tuple[int, int]]]) -> Iterator[int]:
    """Yield what a function refers to."""
    if symbol.kind != "FUNC":
        return
    found = references.get(symbol.section, [])
    for offset, target in found[bisect_right(found, (symbol.value, -1)) :]:
        if offset >= symbol.value + symbol.size:
            break
        yield target
