"""Where the system has no more threads to give, the same is computed by those that there are."""

from __future__ import annotations

import os
import signal
from _thread import start_new_thread
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from tinynet_kernels import helpers
from tinynet_kernels.cpu.generated import equations

import tinynet as tn
from tinynet.backends.numba import generated
from tinynet.base import config

X, Y = np.random.default_rng(0).normal(size=(2, 1000, 3))


class Scarce:
    """Threads of which there are only so many."""

    left = 0

    @staticmethod
    def start(work: Callable[[], None], arguments: tuple[()]) -> None:
        if Scarce.left == 0:
            raise RuntimeError("can't start new thread")
        Scarce.left -= 1
        start_new_thread(work, arguments)


def network(width: int = 8) -> tn.Sequential:
    return tn.Sequential(tn.Linear(3, width), tn.Tanh(), tn.Linear(width, 3), seed=0, backend="numba")


def frozen() -> tn.Sequential:
    net = network()
    net.layers[0].trainable = False
    return net


def trained(model: Any, **options: Any) -> bytes:
    model.fit(X, Y, epochs=2, shuffle=False, **{"batch_size": 500, "threads": 4, **options})
    return bytes(model.state.parameters.tobytes())


WORK: dict[str, Callable[[], bytes]] = {
    "predict": lambda: network().predict(X).tobytes(),
    "fit": lambda: trained(network()),
    "models in lanes": lambda: trained(tn.Ensemble(network(), 70)),
    "models one by one": lambda: trained(tn.Ensemble(frozen(), 3)),
    "many equations": lambda: trained(tn.Ensemble(network(3), 3), optimizer="lm", batch_size=None),
}


@pytest.mark.parametrize("what", WORK)
def test_fewer_threads_than_asked_for_give_the_same_bits(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (generated, equations):
        monkeypatch.setattr(module, "THREAD_WORK", 1)
    monkeypatch.setattr(generated, "MEETING_WORK", 1)
    monkeypatch.setattr(helpers, "start_new_thread", Scarce.start)
    found = set()
    for left in (0, 1, 100):
        monkeypatch.setattr(Scarce, "left", left)
        with config.use_threads(4):
            found.add(WORK[what]())
        # It has asked for them, or this tells nothing.
        assert left == 0 or Scarce.left < left
    assert len(found) == 1


def test_an_error_of_a_helper_is_raised_at_the_end() -> None:
    done = []

    def work(i: int) -> None:
        if i == 1:
            raise MemoryError
        done.append(i)

    def share() -> None:
        with helpers.Helpers() as several:
            for i in range(3):
                several.start(work, i)

    with pytest.raises(MemoryError):
        share()
    assert sorted(done) == [0, 2]


@pytest.mark.parametrize("there", [True, False])
def test_a_block_that_ctrl_c_ends_leaves_no_thread_at_work(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(work: Callable[[], None], arguments: tuple[()]) -> None:
        if there:
            start_new_thread(work, arguments)
        raise KeyboardInterrupt  # Before anybody knows whether the thread is there.

    monkeypatch.setattr(helpers, "start_new_thread", interrupted)
    steps: list[str] = []

    def work() -> None:
        steps.append("begun")
        Event().wait(0.05)
        steps.append("done")

    with pytest.raises(KeyboardInterrupt), helpers.Helpers() as some:
        some.start(work)
    steps.append("over")
    Event().wait(0.1)
    # It had ended before the block did, or it never began.
    assert steps in (["begun", "done", "over"], ["over"]) if there else steps == ["over"]


def test_a_second_ctrl_c_does_not_leave_threads_at_work_either() -> None:
    steps: list[str] = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        Event().wait(0.05)
        steps.append("done")

    with pytest.raises(KeyboardInterrupt), helpers.Helpers() as some:
        assert some.start(work)
    assert steps == ["done"]


def test_a_training_that_ctrl_c_ends_anywhere_gives_the_model_back() -> None:
    guard, found = network().guard, []

    def interrupted() -> None:
        with guard.alone("fit"):
            # Where an inner change has begun, and its turn was taken, and nothing of it was given back.
            guard.version += 1
            guard.turn.__enter__()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    def others() -> None:
        with guard.alone("fit"), guard.changing():
            found.append(guard.version % 2)

    thread = Thread(target=others)
    thread.start()
    thread.join()
    assert found == [1]
    assert guard.version % 2 == 0
    assert not guard.turn.taken
