"""Results: what was measured, every sample of it, as dataclasses and as a JSON file."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

from tinynet_kernels.cpu.generated.compiler import host

from benchmarks import peak
from benchmarks.workloads import Workload
from tinynet.backends.base import Backend
from tinynet.base.config import usable_cores
from tinynet.cli.info import installed, processor
from tinynet.exchange.atomic import atomic_open

FORMAT = 1
PACKAGES = ("numpy", "scipy", "numba", "scikit-learn", "torch", "jax", "onnxruntime", "cupy-cuda12x", "cupy-cuda13x")


@dataclass(frozen=True)
class Spread:
    """The median of some samples, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Summarise samples.

        Examples
        --------
        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, least=1.0, most=3.0)
        """
        return cls(median(samples), min(samples), max(samples))

    def scaled(self, factor: float) -> Spread:
        """Return the same in another unit."""
        return Spread(self.median * factor, self.least * factor, self.most * factor)


@dataclass
class Comparison:
    """A peer at a workload, run in turn with tinynet.

    Attributes
    ----------
    status : {"measured", "missing", "unable", "failed"}
    note : str
        Why it was not measured; else the version and settings of the peer.
    epochs : int
        Of each run, on both sides.
    tinynet_seconds, peer_seconds : list of float
        One for each pair of runs.
    difference : float or None
        Of the losses at the end as a share; None for a floor, which trains nothing.
    first_seconds : float or None
        The first epoch of the process, with whatever was compiled for it.
    """

    peer: str
    title: str
    status: str
    note: str = ""
    epochs: int = 0
    tinynet_seconds: list[float] = field(default_factory=list)
    peer_seconds: list[float] = field(default_factory=list)
    difference: float | None = None
    same: bool | None = None
    import_seconds: float | None = None
    prepare_seconds: float | None = None
    first_seconds: float | None = None
    peak_bytes: int | None = None

    @property
    def ratio(self) -> Spread:
        """How many times faster tinynet is: over the pairs, the peer's time by tinynet's."""
        return Spread.of([b / a for a, b in zip(self.tinynet_seconds, self.peer_seconds, strict=True)])


@dataclass
class Record:
    """tinynet at a workload, and its peers.

    Attributes
    ----------
    source : str
        Where the data come from.
    about : str
        Backend and plan.
    epochs : int
        Of each run.
    seconds : list of float
        One for each run.
    """

    workload: Workload
    threads: int
    source: str
    about: str
    epochs: int
    seconds: list[float]
    import_seconds: float
    prepare_seconds: float
    first_seconds: float
    peak_bytes: int | None
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def per_update(self) -> Spread:
        """Seconds of one update, or of one prediction."""
        return Spread.of(self.seconds).scaled(1 / (self.epochs * self.workload.n_units))

    def comparison(self, peer: str) -> Comparison | None:
        """Return the comparison with a peer if it was measured."""
        return next((c for c in self.comparisons if c.peer == peer and c.status == "measured"), None)


@dataclass
class Start:
    """What a fresh process takes to be ready and to run one epoch, with empty and with warm caches, in seconds."""

    peer: str
    title: str
    import_seconds: list[float] = field(default_factory=list)
    cold_seconds: list[float] = field(default_factory=list)
    warm_seconds: list[float] = field(default_factory=list)


@dataclass
class Curve:
    """How the cost of one contender grows along a sweep."""

    sweep: str
    contender: str
    sizes: list[int] = field(default_factory=list)
    seconds: list[list[float]] = field(default_factory=list)


@dataclass
class Results:
    """All that one run of the suite measured.

    Attributes
    ----------
    rates : dict of str to dict of str to list of float
        Operations in a second of one core at most, by dtype and by what does them; see ``peak``.
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    copy_bytes_per_second: list[float] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    rates: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a JSON file; one that is there is replaced atomically."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        with atomic_open(path) as file:
            file.write(text.encode())

    def find(self, workload: str, threads: int) -> Record | None:
        """Return the record of a workload, if it was measured."""
        return next((r for r in self.records if (r.workload.id, r.threads) == (workload, threads)), None)


def read(path: str | os.PathLike[str]) -> Results:
    """Read what ``Results.write`` wrote.

    Raises
    ------
    ValueError
        If the file is something else.
    """
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    if not isinstance(given, dict) or given.pop("format", None) != FORMAT:
        raise ValueError(f"{os.fspath(path)!r} must hold benchmark results of format {FORMAT}; it does not.")
    records = [
        Record(
            **{
                **record,
                "workload": Workload(**{key: _frozen(value) for key, value in record["workload"].items()}),
                "comparisons": [Comparison(**comparison) for comparison in record["comparisons"]],
            }
        )
        for record in given.pop("records")
    ]
    starts = [Start(**start) for start in given.pop("starts")]
    curves = [Curve(**curve) for curve in given.pop("curves")]
    return Results(**given, records=records, starts=starts, curves=curves)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def machine(backend: Backend | None = None) -> dict[str, Any]:
    """Describe this machine: what the figures depend on.

    Parameters
    ----------
    backend : Backend, optional
        One that computes on a GPU: its rows about the GPU, the driver and the libraries are part of the result.
    """
    import tinynet

    return {
        "gpu": None if backend is None else backend.describe(),
        "processor": processor(),
        "vectors": peak.instructions(host()),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "tinynet": tinynet.__version__,
        "packages": {name: version for name in PACKAGES if (version := installed(name)) is not None},
        "load_at_start": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def file_name(machine: Mapping[str, Any]) -> str:
    """Return what results are called: after the processor, its cores, and the widest registers that it has.

    Examples
    --------
    >>> file_name({"processor": "AMD EPYC 9R14 96-Core", "cores": 2, "vectors": "avx512"})
    'amd-epyc-9r14-96-core-2-cores-avx512.json'
    """
    words = f"{machine['processor']} {machine['cores']} cores {machine['vectors']}"
    return "-".join(re.findall(r"[a-z0-9.]+", words.lower())) + ".json"


SLOWER = 1.1
"""A median that grew by more than this factor, with ranges that do not touch, counts as slower."""


def compare(old: Results, new: Results) -> tuple[str, bool]:
    """Return a table of tinynet's times then and now, and whether anything became slower."""
    lines, any_slower = ["workload          threads          then           now  now/then"], False
    for record in new.records:
        before = old.find(record.workload.id, record.threads)
        if before is None:
            continue
        if replace(before.workload, peers=()) != replace(record.workload, peers=()):
            lines.append(f"{record.workload.id:<18}{record.threads:>7}  not comparable: the workload has changed")
            continue
        a, b = before.per_update, record.per_update
        slower = b.median > SLOWER * a.median and b.least > a.most
        any_slower = any_slower or slower
        lines.append(
            f"{record.workload.id:<18}{record.threads:>7}{a.median * 1e6:>11.4g} us{b.median * 1e6:>11.4g} us"
            f"{b.median / a.median:>10.2f}{'  slower' * slower}"
        )
    then, now = (" ".join(str(found.machine.get(key, "")) for key in ("processor", "vectors")) for found in (old, new))
    if then != now:
        lines.append(f"The machines differ: {then} then, {now} now.")
    return "\n".join(lines), any_slower
