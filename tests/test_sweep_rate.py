"""The rate of sweeps over workers, each held to a part of a core."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import quota, sweep_rate

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "25000", "cpu.shares": "262144"}),
        (2, {"cpu.max": "25000 100000", "cpu.weight": "10000"}),
    ],
)
def test_a_process_has_a_group_of_its_own(tmp_path: Path, version: int, expected: dict[str, str]) -> None:
    quota.Quota(0.25, 0, version, str(tmp_path), "ours").hold()
    (group,) = tmp_path.iterdir()
    assert group.name == f"ours-{os.getpid()}"
    assert {file.name: file.read_text() for file in group.iterdir()} == expected | {"cgroup.procs": str(os.getpid())}


def test_processes_are_let_go_and_groups_are_removed_whatever_ends_the_first_of_them() -> None:
    code = """
import os, signal, subprocess, sys
from pathlib import Path
from benchmarks.quota import NoQuota, quota
try:
    with quota(0.9) as held:
        assert f"{held.name}-{os.getpid()}" in Path("/proc/self/cgroup").read_text()
        child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=held)
        assert os.sched_getaffinity(child.pid) == {held.core}
        assert f"{held.name}-{child.pid}" in Path("/proc", str(child.pid), "cgroup").read_text()
        print(held.folder, held.name, child.pid, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
except NoQuota as error:
    sys.exit(str(error))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    if "A part of a core" in done.stderr or "has no control groups" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    folder, name, child = done.stdout.split()
    try:
        assert list(Path(folder).glob(f"{name}-*")) == []
        assert name not in Path("/proc", child, "cgroup").read_text()
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_machine_without_control_groups_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(quota.NoQuota, match="has no control groups"):
        quota.place_of("proc /proc proc rw 0 0", "")
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(quota, "place_of", lambda mounts, groups: (1, missing, missing))
    with pytest.raises(SystemExit, match="2"):
        sweep_rate.main(["--quota", "0.4"])
    assert "needs Linux, its control groups, and root; got" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        sweep_rate.main(["--quota", "0.5", "--workers", "2"])
    assert "expects 0.01 to 0.47 for so many workers; got 0.5" in capsys.readouterr().err


def test_one_worker_and_several_are_measured_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("joblib", reason="processes need joblib: pip install joblib")
    out = tmp_path / "rates.json"
    sizes = ["--nets", "4", "--workers", "2", "--group-size", "1", "--epochs", "1", "--rounds", "1"]
    assert sweep_rate.main([*sizes, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["nets_per_second"]
    assert {name: len(rates) for name, rates in found.items()} == {"one": 1, "processes": 1}
    assert min(found["one"] + found["processes"]) > 0
    assert "% of 2 times one worker's rate" in capsys.readouterr().out
