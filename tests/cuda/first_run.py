"""The day there is a GPU: ``python -m tests.cuda.first_run --out first_run.json``, 15 minutes at most on one card.

In this order: what the machine is; whether CuPy does what its stand-in claims; whether each tier computes what NumPy
does; compute-sanitizer on a case of each source; the benchmark's rows of each tier. The file is written after each
step, so that what was reached is kept where the time ends, and a step that ends badly stops no other.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
SECONDS = 15 * 60.0
"""Of everything together."""

CLAIMS = ("cupy", "cupy_work", "functions")
"""The files ``test_harness_*.py`` that ask the same of the stand-in and of CuPy."""

TIERS = ("registers", "warp", "persistent", "spread", "graph")
"""Tiers with kernels of their own; "batched", "large" and "loop" have tests in files of their own."""

OTHER_PARITY = {"batched": "test_cuda_batched.py", "large and loop": "test_cupy_backend_parity.py"}

ROWS = {
    "registers": ("sweep-10-10000",),
    "warp": ("sweep-regress",),
    "persistent": ("deep32", "chains"),
    "graph": ("fashion-small", "fashion"),
    "batched": ("sweep-regress",),
    "large": ("wide", "wide-tf32"),
}
"""Workloads of the benchmark that a tier is for."""

TOOLS = ("memcheck", "racecheck")
LAST_WORDS = 2000
"""Characters of a step's output that are kept."""


@dataclass(frozen=True)
class Step:
    """A command, and how long it may take."""

    name: str
    command: tuple[str, ...]
    seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    result: str = ""
    """The kind of file that it writes at {result}: "junit" or "json"; else there is none."""
    needs: str = ""
    """A program that it needs."""


def steps(stand_in: bool = False) -> list[Step]:
    """Return the steps; with the stand-in, those that it can take."""
    from tests.cuda.device_cases import cases

    chosen = ("-m", "not gpu", "-k", "fake") if stand_in else ("-m", "gpu")
    found = [Step("machine", (sys.executable, "-m", "tinynet", "info"), 60)]
    found += [_tests(f"fidelity: {name}", f"test_harness_{name}.py", chosen, 60) for name in CLAIMS]
    for tier in TIERS:
        words = f"({chosen[3]}) and {tier}" if stand_in else tier
        found.append(_tests(f"parity: {tier}", "test_cuda_fused.py", (*chosen[:2], "-k", words), 60))
    found += [_tests(f"parity: {name}", file, chosen, 60) for name, file in OTHER_PARITY.items()]
    if stand_in:
        return found
    of_sources = {case.source.name: case.name for case in reversed(cases.selected())}
    for tool in TOOLS:
        sanitizer = ("compute-sanitizer", "--tool", tool, "--error-exitcode", "9")
        program = (sys.executable, "tests/cuda/device_cases.py")
        found += [
            Step(f"{tool}: {source}", (*sanitizer, *program, name), 20, needs=sanitizer[0])
            for source, name in of_sources.items()
        ]
    return [*found, *_benchmarks()]


def _tests(name: str, file: str, chosen: tuple[str, ...], seconds: float) -> Step:
    command = (sys.executable, "-m", "pytest", "-q", "-n", "0", *chosen, "--junitxml={result}", f"tests/cuda/{file}")
    return Step(name, command, seconds, result="junit")


def _benchmarks() -> list[Step]:
    program = (sys.executable, "-m", "benchmarks", "--backend", "gpu", "--quick", "--out", "{result}")
    return [
        Step(
            f"benchmark: {workload}, {tier}",
            (*program, "--only", workload),
            120,
            {"TINYNET_GPU_TIER": tier},
            "json",
        )
        for tier, workloads in ROWS.items()
        for workload in workloads
    ]


def taken(step: Step, seconds: float) -> dict[str, Any]:
    """Take a step; return what became of it: passed, failed, nothing ran, stopped, or missing what it needs."""
    if step.needs and shutil.which(step.needs) is None:
        return {"status": "missing", "needs": step.needs}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        command = [part.replace("{result}", str(result)) for part in step.command]
        paths = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | step.environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        begun = time.monotonic()
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
            )
            status, words = "passed" if done.returncode == 0 else "failed", done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            status = "stopped"
            words = (error.stdout or b"").decode(errors="replace") + (error.stderr or b"").decode(errors="replace")
        seconds, found = round(time.monotonic() - begun, 2), _read(step.result, result)
        if status == "passed" and step.result == "junit" and set((found or {}).values()) <= {"skipped"}:
            status = "nothing ran"  # Where there is no GPU, its tests are skipped, and pytest is content.
        return {"status": status, "seconds": seconds, "output": words[-LAST_WORDS:], "found": found}


def _read(kind: str, file: Path) -> Any:
    """Return what a step has written; None if it came to nothing."""
    if not kind or not file.exists():
        return None
    if kind == "json":
        return json.loads(file.read_text())
    outcomes = {}
    for test in ElementTree.parse(file).iter("testcase"):
        bad = [child.tag for child in test if child.tag in ("failure", "error", "skipped")]
        outcomes[test.get("name", "")] = bad[0] if bad else "passed"
    return outcomes


def write(file: Path, found: dict[str, Any]) -> None:
    """Write what was found so far, as a whole or not at all."""
    beside = file.with_name(file.name + ".part")
    with beside.open("w") as stream:
        json.dump(found, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, file)


def take_all(chosen: Sequence[Step], file: Path, seconds: float) -> dict[str, Any]:
    """Take steps in turn until the time is over, writing after each; what was not reached says so."""
    end = time.monotonic() + seconds
    found: dict[str, Any] = {step.name: {"status": "not reached"} for step in chosen}
    write(file, found)
    for step in chosen:
        left = min(step.seconds, end - time.monotonic())
        if left <= 0:
            break
        found[step.name] = taken(step, left)
        write(file, found)
        print(f"{step.name}: {found[step.name]['status']}", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuda.first_run", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("first_run.json"), help="the file that is written")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of everything together")
    parser.add_argument("--only", default="", help="steps whose names begin so")
    parser.add_argument("--stand-in", action="store_true", help="the same on the stand-in for CuPy, without a GPU")
    options = parser.parse_args(arguments)
    chosen = [step for step in steps(options.stand_in) if step.name.startswith(options.only)]
    if not chosen:
        parser.error(f"--only: there is no step whose name begins with {options.only!r}.")
    found = take_all(chosen, options.out, options.seconds)
    return int(any(step["status"] in ("failed", "nothing ran") for step in found.values()))


if __name__ == "__main__":
    sys.exit(main())
