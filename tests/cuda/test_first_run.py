"""The script for the first GPU, as far as a machine without one can tell: order, limits, and what is kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cuda_on_cpu import cases
from cuda_on_cpu.fake_cupy import Machine

from benchmarks.workloads import WORKLOADS
from tests.cuda import device_cases, first_run
from tests.cuda.first_run import Step


def python(name: str, code: str, **settings: Any) -> Step:
    return Step(name, (sys.executable, "-c", code), settings.pop("seconds", 60.0), **settings)


def test_what_was_reached_is_kept_and_a_bad_step_stops_no_other(tmp_path: Path) -> None:
    write = "import sys; open(sys.argv[1], 'w').write('{\"x\": 1}')"
    chosen = [
        python("good", "print('words')"),
        python("bad", "raise SystemExit('no')"),
        python("long", "import time; print('begun', flush=True); time.sleep(600)", seconds=1.5),
        Step("writes", (sys.executable, "-c", write, "{result}"), 60.0, result="json"),
        python("lacks", "", needs="no-such-program"),
    ]
    found = first_run.take_all(chosen, tmp_path / "found.json", 300)
    assert [step["status"] for step in found.values()] == ["passed", "failed", "stopped", "passed", "missing"]
    assert (found["good"]["output"], found["bad"]["output"]) == ("words\n", "no\n")
    assert found["writes"]["found"] == {"x": 1}
    assert json.loads((tmp_path / "found.json").read_text()) == found


@pytest.mark.parametrize(
    ("second", "status"), [("", "passed"), ("<skipped/>", "nothing ran")], ids=["some passed", "all skipped"]
)
def test_tests_that_were_all_skipped_have_not_passed(tmp_path: Path, second: str, status: str) -> None:
    report = f"<a><testcase name='one'><skipped/></testcase><testcase name='two'>{second}</testcase></a>"
    write = f"import sys; open(sys.argv[1], 'w').write({report!r})"
    step = Step("tests", (sys.executable, "-c", write, "{result}"), 60.0, result="junit")
    found = first_run.taken(step, 60.0)
    assert found["status"] == status
    assert found["found"] == {"one": "skipped", "two": "skipped" if second else "passed"}


def test_the_time_of_everything_is_limited(tmp_path: Path) -> None:
    chosen = [python("first", "import time; time.sleep(600)"), python("second", "")]
    found = first_run.take_all(chosen, tmp_path / "found.json", 1.0)
    assert [step["status"] for step in found.values()] == ["stopped", "not reached"]
    assert json.loads((tmp_path / "found.json").read_text()) == found


def test_steps_come_in_the_order_of_what_must_be_known_first(cp: ModuleType, machine: Machine) -> None:
    names = [step.name.split(":")[0] for step in first_run.steps()]
    assert list(dict.fromkeys(names)) == ["machine", "fidelity", "parity", "memcheck", "racecheck", "benchmark"]
    sources = {case.source.name for case in cases.selected()}
    assert {f"memcheck: {name}" for name in sources} <= {step.name for step in first_run.steps()}
    for step in first_run.steps():
        assert all((first_run.ROOT / part).is_file() for part in step.command if part.startswith("tests/"))
    assert {step.environment.get("TINYNET_GPU_TIER") for step in first_run.steps()} == {*first_run.ROWS, None}
    rows = {workload for workloads in first_run.ROWS.values() for workload in workloads}
    assert {name for name, workload in WORKLOADS.items() if workload.runs_on("gpu")} >= rows


def test_claims_of_the_stand_in_are_asked_and_told_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    assert first_run.main(["--stand-in", "--only", "fidelity: cupy_work", "--out", str(file)]) == 0
    (step,) = json.loads(file.read_text()).values()
    assert step["found"]["test_streams_become_current_in_two_ways[fake]"] == "passed"


@pytest.mark.parametrize("name", ["demo.sums", "demo.differences", "demo.reversed_warp"])
def test_cases_on_a_device_are_those_on_the_cpu(cp: ModuleType, name: str) -> None:
    assert device_cases.run(cp, name) <= device_cases.TOLERANCE
