"""``python -m benchmarks.descent``: measure all, write JSON and the plots.

Every point is a run of its own from the start, of more and more steps, two to each doubling: nobody looks on while it
runs. Time is that of the processor, on one thread; what is compiled is compiled before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.descent.plot import plot
from benchmarks.descent.problems import PROBLEMS, problem
from benchmarks.descent.runners import RUNNERS
from benchmarks.descent.steps import steps_measured
from benchmarks.descent.summary import summary
from tinynet.cli.info import installed
from tinynet.exchange.atomic import atomic_open

PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "jax", "optimistix", "pyrenn", "torch-levenberg-marquardt")
COMPILED = ("optimistix LM",)
"""Who compiles for each number of steps; they, and those with several ways, are asked for doublings only."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "TINYNET_NUM_THREADS")


PATIENCE = {"optimistix LM": 300.0, "torch-levenberg-marquardt": 300.0}
"""Seconds that a runner gets for a problem, imports and compiling included; the others two minutes."""


def descend(name: str, runner: str, seconds: float) -> None:
    """Print a line for each run: steps, seconds and the loss; until a run takes longer than ``seconds``."""
    case = problem(name)
    made = RUNNERS[runner](case)
    runs = made if isinstance(made, list) else [made]
    for run in runs:
        run(1), run(2)
    steps, times = 1, {0: 0.0}
    while True:
        times[steps] = 0.0
        for run in runs:
            if runner in COMPILED:  # For each number of steps, and settles in the run after that.
                run(steps), run(steps)
            before = time.process_time()
            parameters = run(steps)
            took = time.process_time() - before
            times[steps] = max(times[steps], took)
            print(json.dumps([steps, took, case.loss(parameters)]), flush=True)
        # Where four times as many steps take no longer it ends by itself.
        quarter = max(known for known in times if known <= steps // 4)
        if times[steps] >= seconds or (steps > 4096 and times[steps] < 1.5 * times[quarter]):
            return
        steps = 2 * steps if runner in COMPILED or len(runs) > 1 else following(steps)


def following(steps: int) -> int:
    """Return the next number of steps: two to each doubling.

    Examples
    --------
    >>> following(1), following(2), following(3), following(4), following(6)
    (2, 3, 4, 6, 8)
    """
    power = steps & (steps - 1) == 0
    return steps + (steps // 2 if power else steps // 3) if steps > 1 else 2


def measured(*arguments: str, patience: float) -> tuple[list[Any], str]:
    """Return what a process of its own has printed in lists, on one thread, and the last line of its errors."""
    environment = os.environ | dict.fromkeys(THREADS, "1")
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    command = [sys.executable, "-m", "benchmarks.descent", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        # Some never end once no step helps any more: what they have reached by then counts.
        timer = threading.Timer(patience, process.kill)
        timer.start()
        out, error = process.communicate()
        timer.cancel()
    # The last line may be half a line.
    lines = [line for line in out.splitlines() if line.startswith("[") and line.endswith("]")]
    return [json.loads(line) for line in lines], (error.strip().splitlines() or ["it did not end in time"])[-1]


def curve_of(name: str, runner: str, seconds: float) -> dict[str, Any]:
    """Return the points of a runner at a problem."""
    arguments = "--worker", name, runner, "--seconds", str(seconds)
    points, why = measured(*arguments, patience=PATIENCE.get(runner, 120.0))
    return {"points": points} if points else {"points": [], "why": why}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.descent", description=__doc__)
    parser.add_argument("--out", default="descent.json", help="the results; the plots go beside them (descent.json)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the longest run of each (2)")
    parser.add_argument("--only", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS), help="problems (all)")
    parser.add_argument("--runners", nargs="+", choices=list(RUNNERS), default=list(RUNNERS), help="who (all)")
    parser.add_argument("--plot", action="store_true", help="draw what is in --out, and measure nothing")
    parser.add_argument("--no-steps", action="store_true", help="leave out restarts, and the rate of a large step")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker == ["steps"]:
        print(json.dumps([steps_measured()]))
        return 0
    if options.worker:
        descend(*options.worker, options.seconds)
        return 0
    path = Path(options.out)
    if not options.plot:
        # Only here: it asks for the kernels, which a worker of another library needs not.
        from benchmarks.records import machine

        found: dict[str, Any] = {"machine": machine(), "versions": {n: installed(n) for n in PACKAGES}, "problems": {}}
        for name in options.only:
            case, curves = problem(name), {}
            for runner in options.runners:
                curves[runner] = curve_of(name, runner, options.seconds)
                last = curves[runner]["points"][-1:] or curves[runner].get("why")
                print(f"{name}: {runner}: {last}", flush=True)
            n_in, hidden = case.sizes
            found["problems"][name] = {"network": f"{n_in}-{hidden}-1", "samples": len(case.x), "curves": curves}
            _write(path, found)  # What is there stays, whatever happens later.
        if not options.no_steps:
            lines, why = measured("--worker", "steps", patience=120.0)
            found["steps"] = lines[0][0] if lines else {"why": why}
            _write(path, found)
    found = json.loads(path.read_text())
    for line in summary(found):
        print(line)
    for drawn in plot(found, path.with_suffix("")):
        print(f"wrote {drawn}")
    return 0


def _write(path: Path, found: dict[str, Any]) -> None:
    with atomic_open(path) as file:
        file.write(json.dumps(found, indent=1).encode())


if __name__ == "__main__":
    sys.exit(main())
