"""Delete each barrier in turn, and tell what notices: whether the checks would see a barrier that is missing.

    python -m tests.cuda_on_cpu.mutate [--no-races] [SOURCE or CASE ...]

A mutant is noticed by its results (they depend on the order of the threads, are not finite, or are not those of the
source as it is), by an error of the launch, or by ThreadSanitizer. One that nothing notices is a barrier that is not
needed, or one that no case passes through with work for several threads. Exit status 1: there are such.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import builder, cases, races, toolchain

# A barrier that is all that a function does is deleted where the function is called.
_BARRIER = re.compile(r"(?<!\{ )\b(?:__sync(?:threads|warp)|Team::sync)\s*\([^();]*\)\s*;")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Mutant:
    """A source less one barrier."""

    place: str
    text: str
    source: cases.Source


@dataclass(frozen=True)
class Verdict:
    """What noticed a mutant: of "order", "not finite", "value", "error", "race"."""

    mutant: Mutant
    noticed: tuple[str, ...]


def mutants(source: cases.Source) -> Iterator[Mutant]:
    """Yield the source without each of its barriers."""
    # Comments are blanked, so that positions stay and barriers in them are passed over.
    bare = _COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), source.code)
    places = source.places
    for match in _BARRIER.finditer(bare):
        start, end = match.span()
        code = source.code[:start] + ";" + " " * (end - start - 1) + source.code[end:]
        yield Mutant(places[bare.count("\n", 0, start)], match[0], replace(source, code=code))


def results(source: cases.Source, chosen: Sequence[cases.Case]) -> list[list[NDArray[Any]]]:
    """Return the results of cases on a source, for each order of the threads."""
    module = builder.build(source.code, source.name_expressions, source.options)
    found = []
    for order, seed in builder.orders():
        with builder.order(order, seed):
            found.append([np.asarray(result) for case in chosen for result in case.run(module)])
    return found


def judge(mutant: Mutant, chosen: Sequence[cases.Case], right: Sequence[NDArray[Any]], *, with_races: bool) -> Verdict:
    """Tell what notices a mutant; ``right`` are the results of the source as it is."""
    noticed = []
    try:
        found = results(mutant.source, chosen)
    except builder.LaunchError:
        noticed.append("error")
    else:
        if any(not _same(found[0], other) for other in found[1:]):
            noticed.append("order")
        if any(_finite(right) and not _finite(one) for one in found):
            noticed.append("not finite")
        if any(not _same(right, one) for one in found):
            noticed.append("value")
    if with_races and races.find(mutant.source, [case.name for case in chosen]):
        noticed.append("race")
    return Verdict(mutant, tuple(noticed))


def survey(source: cases.Source, chosen: Sequence[cases.Case], *, with_races: bool = True) -> Iterator[Verdict]:
    """Judge every mutant of a source.

    Raises
    ------
    ValueError
        If the source as it is has results that depend on the order of its threads.
    """
    first, *others = results(source, chosen)
    if any(not _same(first, other) for other in others):
        raise ValueError(f"the results of {source.name} depend on the order of its blocks and threads as it is.")
    for mutant in mutants(source):
        yield judge(mutant, chosen, first, with_races=with_races)


def _same(a: Sequence[NDArray[Any]], b: Sequence[NDArray[Any]]) -> bool:
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(a, b, strict=True))


def _finite(arrays: Sequence[NDArray[Any]]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-races", action="store_true", help="leave ThreadSanitizer out")
    parser.add_argument("names", nargs="*", help="sources or cases (default: all of the project's kernels)")
    chosen = parser.parse_args(arguments)
    reason = toolchain.missing() if chosen.no_races else races.missing()
    if reason:
        parser.error(reason)
    unnoticed = 0
    selected = cases.selected(chosen.names)
    for source in dict.fromkeys(case.source for case in selected):
        print(source.name)
        mine = [case for case in selected if case.source == source]
        for verdict in survey(source, mine, with_races=not chosen.no_races):
            unnoticed += not verdict.noticed
            words = ", ".join(verdict.noticed) or "NOT NOTICED"
            print(f"  {verdict.mutant.place}, {verdict.mutant.text}: {words}", flush=True)
    print(f"{unnoticed} mutants were not noticed")
    return int(unnoticed > 0)


if __name__ == "__main__":
    sys.exit(main())
