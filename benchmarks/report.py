"""``python -m benchmarks.report RESULTS.json``: a table in Markdown, and plots as SVG and PNG next to the file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import records
from benchmarks.growth import advice
from benchmarks.peak import BLAS, MULTIPLY_ADDS, operations
from benchmarks.peers import PEERS
from benchmarks.records import Record, Results, Spread
from tinynet.base.errors import DependencyError

MANY = 3_000
"""Parameters from which on an update is mostly matrix products."""

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def time(seconds: float) -> str:
    """Write a time with three digits.

    Examples
    --------
    >>> time(0.0000123), time(2.5)
    ('12.3 us', '2.5 s')
    """
    factor, unit = next((row for row in UNITS if seconds >= row[0]), UNITS[-1])
    return f"{seconds / factor:.3g} {unit}"


def times(spread: Spread) -> str:
    """Write how many times faster, with the least and the most of the pairs.

    Examples
    --------
    >>> times(Spread(2.0, 1.5, 250.0))
    '2.0 (1.5 to 250)'
    """
    figures = [f"{value:.0f}" if value >= 99.5 else f"{value:.2g}" if value < 1 else f"{value:#.2g}" for value in (
        spread.median, spread.least, spread.most)]  # fmt: skip
    return "{} ({} to {})".format(*(figure.removesuffix(".") for figure in figures))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first of them the head, as a Markdown table.

    Examples
    --------
    >>> print(table([("a", "b"), ("1", "2")]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * len(rows[0])}", *lines[1:]])


def markdown(found: Results) -> str:
    """Return the whole report."""
    return "\n\n".join(section for section in (
        _machine(found), _speed(found), _peak(found), _problems(found), _cost(found), _start(found), _growth(found)
    ) if section) + "\n"  # fmt: skip


def _machine(found: Results) -> str:
    machine = found.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    bandwidth = ""
    if found.copy_bytes_per_second:
        bandwidth = f" Memory copies at {Spread.of(found.copy_bytes_per_second).median / 1e9:.1f} GB/s."
    sources = {record.source for record in found.records if record.workload.data == "fashion"}
    images = f" Images: {' and '.join(sorted(sources))}." if sources else ""
    quick = " A quick run with short samples: rough." if found.settings.get("quick") else ""
    gpu = "".join(f"{name}: {text}; " for name, text in (machine.get("gpu") or {}).items())
    return (
        f"{gpu}{machine['processor']}, {machine['cores']} cores, {machine['date'][:10]}; Python {machine['python']}, "
        f"{packages}.{bandwidth}{images}{quick}"
    )


def _speed(found: Results) -> str:
    """Return the table of how many times faster tinynet is."""
    measured = [
        name
        for name in PEERS
        if name != "floor" and any(record.comparison(name) is not None for record in found.records)
    ]
    rows = [["workload", "threads", "tinynet", "share of the limit", *(f"vs {PEERS[name].title}" for name in measured)]]
    for record in found.records:
        cells = [
            record.workload.title,
            str(record.threads),
            f"{time(record.per_update.median)} / {record.workload.unit}",
        ]
        floor = record.comparison("floor")
        cells.append("" if floor is None else f"{floor.ratio.median:.0%}")
        for name in measured:
            comparison = record.comparison(name)
            cells.append("" if comparison is None else times(comparison.ratio) + ("" if comparison.same else " (!)"))
        rows.append(cells)
    if len(rows) == 1:
        return ""
    return (
        "How many times faster than others tinynet is: the median of pairs of runs in turn, with the least and the "
        "most. Both sides start from the same weights, see the same samples in the same order and end at the same "
        "loss; (!) marks where they do not. The limit: the matrix products alone, at the rate of the BLAS here; "
        "for single predictions one empty call of a compiled function.\n\n" + table(rows)
    )


def _peak(found: Results) -> str:
    """Return the table of how much of what a core can do goes into the products of networks."""
    rows = [["workload", "matrix products of the update at", f"share of {MULTIPLY_ADDS}", f"share of {BLAS}"]]
    for record in found.records:
        workload, rates = record.workload, found.rates.get(record.workload.dtype)
        if rates is None or workload.task != "train" or record.threads > 1 or workload.n_parameters < MANY:
            continue
        rate = operations(workload) / record.per_update.median
        shares = (rate / Spread.of(rates[name]).median for name in (MULTIPLY_ADDS, BLAS))
        rows.append([workload.title, f"{rate / 1e9:.1f} GFLOP/s", *(f"{share:.0%}" for share in shares)])
    if len(rows) == 1:
        return ""
    limits = "; ".join(
        f"{dtype} {' and '.join(f'{Spread.of(rates).median / 1e9:.1f} ({name})' for name, rates in kinds.items())}"
        for dtype, kinds in found.rates.items()
    )
    return (
        "What a core can do at most, by a loop of multiply-adds and by the BLAS that NumPy has (512 by 512), in "
        f"GFLOP/s: {limits}. Whole updates of networks, counted by their matrix products alone:\n\n" + table(rows)
    )


def _problems(found: Results) -> str:
    """Return what was not measured, and why, and where results differ."""
    lines = dict.fromkeys(_complaints(found))
    return "\n".join(f"- {line}" for line in lines)


def _complaints(found: Results) -> Iterator[str]:
    for record in found.records:
        for comparison in record.comparisons:
            if comparison.status == "missing":
                yield f"{comparison.title}: {comparison.note}"
            elif comparison.status == "failed":
                yield f"{comparison.title}, {record.workload.id}: failed: {comparison.note.strip().splitlines()[-1]}"
            elif comparison.same is False:
                yield f"{comparison.title}, {record.workload.id}: the results differ by {comparison.difference:.1e}."


def _cost(found: Results) -> str:
    """Return the cost per sample and parameter, the first epoch and the memory."""
    rows = [["workload", "threads", "per sample and parameter", "first epoch", "peak memory", "ran as"]]
    unit = "ns" if found.machine.get("gpu") else "core-ns"
    for record in found.records:
        rows.append([
            record.workload.title, str(record.threads), f"{per_parameter(record) * 1e9:.3g} {unit}",
            time(record.prepare_seconds + record.first_seconds),
            "" if record.peak_bytes is None else f"{record.peak_bytes / 2**20:.0f} MiB", record.about,
        ])  # fmt: skip
    if len(rows) == 1:
        return ""
    return "What tinynet takes besides; the first epoch compiles what the cache does not hold yet.\n\n" + table(rows)


def per_parameter(record: Record) -> float:
    """Return the seconds of all cores for one sample and one parameter."""
    workload = record.workload
    return record.per_update.median * record.threads / (workload.rows * workload.n_parameters)


def _start(found: Results) -> str:
    """Return the table of what a fresh process takes."""
    rows = [["library", "import", "first epoch, empty caches", "first epoch, warm caches"]]
    for start in found.starts:
        samples = (start.import_seconds, start.cold_seconds, start.warm_seconds)
        rows.append([start.title, *(time(Spread.of(values).median) for values in samples)])
    return "A fresh process: 4-5-3, batch 1, one epoch.\n\n" + table(rows) if len(rows) > 1 else ""


def _growth(found: Results) -> str:
    lines = advice(found.curves)
    return "Which backend from where on:\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; write ``NAME-speed`` and ``NAME-growth`` as SVG and PNG."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("results", type=Path, metavar="RESULTS.json")
    parser.add_argument("--folder", type=Path, help="where the plots go; by default where the results are")
    options = parser.parse_args(arguments)
    try:
        found = records.read(options.results)
    except (OSError, ValueError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(markdown(found), end="")
    from benchmarks import plots

    try:
        written = plots.write(found, (options.folder or options.results.parent) / options.results.stem)
    except DependencyError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    for path in written:
        print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
