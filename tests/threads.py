"""Calls from many threads at once, for the tests."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def hurried() -> Iterator[None]:
    """Let the interpreter change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(*works: Callable[[], Any]) -> None:
    """Run functions in a thread each, and raise what one of them has raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    with hurried():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def assert_same_from_threads(
    call: Callable[[Any], Any], arguments: Sequence[Any], n_threads: int = 6, n_calls: int = 40
) -> None:
    """Hold what a function returns in many threads at once against what it returns in one."""
    expected = [np.array(call(argument)) for argument in arguments]

    def work(seed: int) -> None:
        for i in np.random.default_rng(seed).integers(0, len(arguments), n_calls):
            np.testing.assert_array_equal(call(arguments[i]), expected[i])

    at_once(*(lambda seed=seed: work(seed) for seed in range(n_threads)))  # type: ignore[misc]
