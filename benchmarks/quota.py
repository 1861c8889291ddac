"""Quotas: processes get a part of one core each, so that many of them run as each would alone."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PERIOD = 100_000
"""Microseconds, in each of which a process gets its part."""

FILES = {
    1: {"cpu.cfs_period_us": "{period}", "cpu.cfs_quota_us": "{quota}", "cpu.shares": "262144"},
    2: {"cpu.max": "{quota} {period}", "cpu.weight": "10000"},
}
"""What a group of processes is told, by the version of Linux's control groups. The last is the greatest weight that
there is: whatever else the machine does takes nothing of the part."""


class NoQuota(Exception):
    """A machine that cannot hold a process to a part of a core."""


@dataclass(frozen=True)
class Quota:
    """What holds a process to a part of a core; workers that it is sent to can call it, too.

    Attributes
    ----------
    part : float
        Of a core, for each process.
    core : int
        On which workers run: one after the other, so that none is slowed by what another does beside it.
    version : {1, 2}
        Of control groups.
    folder : str
        Where groups are made.
    name : str
        How the names of these groups begin; there is one for each process.
    """

    part: float
    core: int
    version: int
    folder: str
    name: str

    def __call__(self) -> None:
        """Hold this process, a worker, to a part of the core, with all of its threads."""
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {self.core})
        self.hold()

    def hold(self) -> None:
        """Hold this process to a part of any core."""
        group = Path(self.folder, f"{self.name}-{os.getpid()}")
        group.mkdir(exist_ok=True)
        for file, text in FILES[self.version].items():
            (group / file).write_text(text.format(period=PERIOD, quota=round(self.part * PERIOD)))
        (group / "cgroup.procs").write_text(str(os.getpid()))

    def end(self, before: str) -> None:
        """Put all processes back into the group of before, and remove those that were made for them."""
        for group in Path(self.folder).glob(f"{self.name}-*"):
            for process in (group / "cgroup.procs").read_text().split():
                with suppress(ProcessLookupError):  # It has just ended.
                    Path(before, "cgroup.procs").write_text(process)
            group.rmdir()


def place_of(mounts: str, groups: str) -> tuple[int, str, str]:
    r"""Return the version of control groups that divides cores, the folder of all, and that of a process.

    Parameters
    ----------
    mounts, groups : str
        What ``/proc/mounts`` and ``/proc/self/cgroup`` say.

    Examples
    --------
    >>> place_of("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0", "2:cpuset:/\n1:cpu,cpuacct:/a\n0::/")
    (1, '/sys/fs/cgroup/cpu', '/sys/fs/cgroup/cpu/a')
    >>> place_of("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0", "0::/user.slice")
    (2, '/sys/fs/cgroup', '/sys/fs/cgroup/user.slice')
    """
    lines = [line.split(":", 2) for line in groups.splitlines()]
    own = {name: path for _, names, path in lines for name in names.split(",")}
    found = {}
    for _, folder, kind, options, *_ in map(str.split, mounts.splitlines()):
        if kind == "cgroup" and "cpu" in options.split(","):
            found[1] = folder, own["cpu"]
        elif kind == "cgroup2":
            found[2] = folder, own[""]
    if not found:
        raise NoQuota("This system has no control groups for its cores.")
    version = min(found)  # What the first one controls, the second does not.
    folder, path = found[version]
    return version, folder, folder + path.rstrip("/")


@contextmanager
def quota(part: float) -> Iterator[Quota]:
    """Return a context with a quota, which holds this process, too, and ends with it, whoever has it then.

    Raises
    ------
    NoQuota
        Elsewhere than on Linux, or without the right to make control groups.
    """
    try:
        version, folder, before = place_of(Path("/proc/mounts").read_text(), Path("/proc/self/cgroup").read_text())
        if version == 2:
            Path(folder, "cgroup.subtree_control").write_text("+cpu")
    except OSError as error:
        raise _refused(error) from error
    held = Quota(part, max(os.sched_getaffinity(0)), version, folder, f"tinynet-{os.getpid()}")
    terminated = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # By way of what is in ``finally``.
    try:
        try:
            held.hold()
        except OSError as error:
            raise _refused(error) from error
        yield held
    finally:
        held.end(before)
        signal.signal(signal.SIGTERM, terminated)


def _refused(error: OSError) -> NoQuota:
    return NoQuota(f"A part of a core for a process needs Linux, its control groups, and root; got {error}.")
