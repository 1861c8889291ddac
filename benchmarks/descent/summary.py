"""What the curves say in words: what a step costs, and how soon the others' losses are reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.descent.plot import envelope, seconds_to

OURS = ("tinynet LM", "tinynet LM, 2 and 1/3", "tinynet LM, accelerated", "tinynet LBFGS")


def step_seconds(points: list[tuple[int, float, float]]) -> float:
    """Return the seconds of a step in the longest run that was as long as it should be: half as many take less time.

    Examples
    --------
    >>> step_seconds([(1, 1.0, 0.5), (4, 2.0, 0.1), (8, 2.1, 0.1)])
    0.5
    """
    runs = sorted(points)
    for steps, seconds, _ in reversed(runs):
        shorter = [other for other in runs if 2 * other[0] <= steps]
        if shorter and seconds > 1.3 * shorter[-1][1]:
            return seconds / steps
    return runs[-1][1] / runs[-1][0]


def summary(found: dict[str, Any]) -> Iterator[str]:
    """Yield lines."""
    for name, case in found["problems"].items():
        curves = {runner: curve["points"] for runner, curve in case["curves"].items() if curve["points"]}
        yield f"{name} ({case['network']}, {case['samples']:,} samples)"
        own = curves.get("tinynet LM")
        for runner, points in curves.items():
            times = "" if own is None else f", {step_seconds(points) / step_seconds(own):.1f} times tinynet LM's"
            yield f"  {runner}: {step_seconds(points) * 1e6:,.0f} us a step{times}"
        yield from _against_adam(curves)
    steps = found.get("steps", {})
    if "why" in steps:
        yield f"steps: {steps['why']}"
    elif steps:
        restarts, large = steps["restarts"], steps["large step"]
        one, each = restarts["one"], restarts["many"] / restarts["models"]
        alone, together = (seconds / restarts["steps"] * 1e6 for seconds in (one, each))
        yield (
            f"{restarts['models']:.0f} restarts of 2-12-1 take {restarts['many'] / one:.0f} times the time of one: "
            f"{together:,.0f} us a step of each, {alone:,.0f} us of one alone"
        )
        share = large["rank-k update"] / large["step"]
        yield f"a step of 8-16-1 on 2,000 samples runs at {share:.0%} of the rate of the rank-k update alone"


def _against_adam(curves: dict[str, list[tuple[int, float, float]]]) -> Iterator[str]:
    best = envelope(curves.get("tinynet Adam", []))[-1:]
    for seconds, loss in best:
        yield f"  Adam's best loss, {loss:.2g}, takes it {seconds:.2f} s"
        for runner in OURS:
            needed = seconds_to(curves.get(runner, []), loss)
            if needed is not None:
                yield f"    {runner}: {needed:.3f} s, {seconds / needed:.1f} times quicker"
