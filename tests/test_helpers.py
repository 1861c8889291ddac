"""Where the system has no more threads to give, the same is computed by those that there are."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tinynet_kernels import helpers
from tinynet_kernels.cpu.generated import equations

import tinynet as tn
from tinynet.backends.numba import generated
from tinynet.base import config

X, Y = np.random.default_rng(0).normal(size=(2, 1000, 3))


class Scarce(Thread):
    """Threads of which there are only so many."""

    left = 0

    def start(self) -> None:
        if Scarce.left == 0:
            raise RuntimeError("can't start new thread")
        Scarce.left -= 1
        super().start()


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
    monkeypatch.setattr(helpers, "Thread", Scarce)
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
