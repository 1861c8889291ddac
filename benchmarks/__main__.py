"""``python -m benchmarks``: measure, print as it goes, and write a JSON file."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peak, records
from benchmarks.growth import SWEEPS, advice, contenders, measure_growth
from benchmarks.measure import Effort, Progress, copy_bandwidth, measure, own_sentence, sentence
from benchmarks.peers import PEERS
from benchmarks.records import Results
from benchmarks.start import STARTERS, measure_start
from benchmarks.worker import PeerFailed
from benchmarks.workloads import WORKLOADS, Workload
from tinynet.backends import get_backend
from tinynet.backends.base import Backend
from tinynet.base.checks import number, whole
from tinynet.base.errors import BackendUnavailableError

FULL, QUICK = Effort(pairs=5, seconds=1.0), Effort(pairs=5, seconds=0.05)
GROWTH = Effort(pairs=5, seconds=0.1)
QUICK_WITHOUT = {"wide", "torch-compile"}
"""What takes long by itself: a quick run leaves it out unless it is asked for by name."""

QUICK_UPDATES, QUICK_SAMPLES = 16, 1000
EXTRAS = ("start", "growth")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return 1 if ``--compare`` finds that something became slower."""
    parser = _parser()
    options = parser.parse_args(arguments)
    backend = _gpu(parser, options)
    options.device = "cpu" if backend is None else "gpu"
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    found = Results(records.machine(backend), settings)
    options.out = options.out or Path(records.file_name(found.machine))
    try:
        old = records.read(options.compare) if options.compare else None
    except (OSError, ValueError) as error:
        parser.error(f"--compare: {error}")
    fitting = [name for name, workload in WORKLOADS.items() if workload.runs_on(options.device)]
    ids = options.only or [*fitting, "start", *["growth"] * options.growth]
    if foreign := [name for name in ids if name in WORKLOADS and name not in fitting]:
        parser.error(f"--only: {' and '.join(foreign)} cannot be run on the {options.device}.")
    if options.growth and "growth" not in ids:
        ids = [*ids, "growth"]
    peers = [name for name in PEERS if name in (options.peers or PEERS) and name != "tinynet"]
    peers = [name for name in peers if options.peers or not (options.quick and name in QUICK_WITHOUT)]
    if options.peers is None:
        peers = [name for name in peers if PEERS[name].takes_part(options.device)]
    for name in peers:
        if (missing := PEERS[name].missing(options.device)) is not None:
            print(f"{PEERS[name].title} takes no part: {missing}")
    found.copy_bytes_per_second = copy_bandwidth(options.device)
    if backend is None:
        found.rates = peak.rates(peak.SECONDS / 10 if options.quick else peak.SECONDS)
    try:
        _run(found, ids, peers, options)
    except PeerFailed as error:
        parser.exit(1, f"tinynet failed; what was measured before is in {options.out}.\n{error}")
    found.write(options.out)
    print(f"Results are in {options.out}; a table and plots of them: python -m benchmarks.report {options.out}")
    if old is None:
        return 0
    table, slower = records.compare(old, found)
    print(table)
    return int(slower)


def _run(found: Results, ids: Sequence[str], peers: Sequence[str], options: argparse.Namespace) -> None:
    """Measure, and write what there is after each step: an interrupted run is not lost."""
    effort = QUICK if options.quick else dataclasses.replace(FULL, seconds=options.seconds)
    jobs = _jobs(ids, options)
    progress = Progress(len(jobs) + sum(name in ids for name in EXTRAS))
    for workload, threads in jobs:
        progress(f"{workload.id}: tinynet")
        chosen = [name for name in peers if name in workload.peers]
        record = measure(workload, chosen, threads, effort, options.backend, progress, options.device)
        found.records.append(record)
        progress.say(own_sentence(record))
        for comparison in record.comparisons:
            progress.say(sentence(record, comparison))
        found.write(options.out)
        progress.done()
    if "start" in ids:
        here = [name for name in STARTERS if name in peers and PEERS[name].missing(options.device) is None]
        for name in ("tinynet", *here):
            progress(f"start: {PEERS[name].title}")
            repeats = 1 if options.quick else 3
            start = measure_start(name, repeats, options.threads[0], options.backend, options.device)
            found.starts.append(start)
            kinds = ((start.import_seconds, "import"), (start.cold_seconds, "cold"), (start.warm_seconds, "warm"))
            figures = ", ".join(f"{kind} {records.Spread.of(samples).median:.2f} s" for samples, kind in kinds)
            progress.say(f"{'start':<28}{start.title:<28}{figures}")
        found.write(options.out)
        progress.done()
    if "growth" in ids:
        for sweep in SWEEPS:
            most = SWEEPS[sweep].sizes[2] if options.quick else None
            names = contenders(options.device)
            found.curves += measure_growth(sweep, names, GROWTH, options.threads[0], progress, most, options.device)
            found.write(options.out)
        for line in advice(found.curves):
            progress.say(line)


def _gpu(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Backend | None:
    """Return the backend if it computes on a GPU; the peers are then on the same one, the first that CUDA counts."""
    try:
        backend = get_backend(options.backend)
    except (BackendUnavailableError, ValueError) as error:
        parser.error(f"--backend: {error}")
    name, _, number = backend.name.partition(":")
    if number:
        parser.error(
            f"--backend {options.backend}: the peers compute on the first GPU. To measure another one, use --backend "
            f"gpu with CUDA_VISIBLE_DEVICES={number} in the environment."
        )
    return backend if name == "cupy" else None


def _jobs(ids: Sequence[str], options: argparse.Namespace) -> list[tuple[Workload, int]]:
    """Return what runs with how many threads: only what is worth it runs with more than the first number."""
    jobs = []
    for name in ids:
        if name in EXTRAS or (options.quick and name in QUICK_WITHOUT and not options.only):
            continue
        workload = shortened(WORKLOADS[name]) if options.quick else WORKLOADS[name]
        jobs += [(workload, n) for n in options.threads if n == options.threads[0] or workload.threaded]
    return jobs


def shortened(workload: Workload) -> Workload:
    """Return a workload with few samples.

    Examples
    --------
    >>> shortened(WORKLOADS["fashion"]).n_samples
    2048
    """
    n_samples = min(workload.n_samples, max(QUICK_SAMPLES, QUICK_UPDATES * workload.rows))
    return dataclasses.replace(workload, n_samples=n_samples)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure tinynet side by side with what one would run instead."
    )
    ids = [*WORKLOADS, *EXTRAS]
    parser.add_argument("--only", nargs="+", choices=ids, metavar="ID", help=f"workloads to run: {', '.join(ids)}")
    names = [name for name in PEERS if name != "tinynet"]
    parser.add_argument("--peers", nargs="+", choices=names, metavar="PEER", help=f"who takes part: {', '.join(names)}")
    parser.add_argument(
        "--threads", nargs="+", type=_threads, default=[1], metavar="N",
        help="threads on both sides; of several numbers, the later ones are for the workloads that are worth it",
    )  # fmt: skip
    parser.add_argument(
        "--backend", help="of tinynet, by default the one that tinynet chooses; with gpu all who can are on the GPU"
    )
    parser.add_argument("--quick", action="store_true", help="few samples and short runs, for a first look")
    parser.add_argument(
        "--seconds", type=_seconds, default=FULL.seconds, metavar="S",
        help=f"about how long one run takes, {FULL.seconds:g} by default; the figures of a pair are of one run each",
    )  # fmt: skip
    parser.add_argument("--growth", action="store_true", help="also sweep over width, depth, batch and samples")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="where results go, by default to a file named after the processor"
    )
    parser.add_argument("--compare", metavar="OLD.json", help="compare with the results of an earlier run")
    return parser


def _threads(text: str) -> int:
    try:
        return whole("--threads", int(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _seconds(text: str) -> float:
    try:
        return number("--seconds", float(text), above=0.0)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
