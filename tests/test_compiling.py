"""No silence: who waits for the compiler is told before it begins, and afterwards how long it took."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinynet_kernels import waiting
from tinynet_kernels.cpu.generated import compiler, library

import tinynet as tn
from tinynet.backends.loop import LoopPlan
from tinynet.cli.main import main
from tinynet.estimators import MLPRegressor

SAID = "compiling for this processor ...\n"
X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def forgetful(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has no code yet, and a cache that has what the tests before have left."""
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(folder))
    monkeypatch.setattr(library, "_addresses", {})


def trained(verbose: int, callbacks: Any = ()) -> Any:
    net = tn.Sequential(tn.Linear(3, 40), tn.Tanh(), tn.Linear(40, 1), seed=0, backend="numba")
    return net.fit(X, X[:, :1], epochs=2, verbose=verbose, callbacks=callbacks)


class Seen(Exception):
    """Ends a training as soon as it has compiled."""


class Events(tn.Callback):
    def __init__(self, events: list[str]) -> None:
        self.events = events

    def on_compile(self, what: str) -> None:
        self.events.append("told")

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.events.append("epoch")


@pytest.mark.usefixtures("forgetful")
def test_it_is_told_before_the_compiler_begins_and_only_where_the_cache_has_no_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[str] = []
    compile_ = compiler.to_object
    monkeypatch.setattr(compiler, "to_object", lambda *given: events.append("compiled") or compile_(*given))
    history = trained(1, [Events(events)])
    assert events[:2] == ["told", "compiled"]
    assert events.count("told") == 1
    assert history.compile_seconds > 0
    first = capsys.readouterr()
    assert first.err == SAID
    assert "compiling" not in first.out

    monkeypatch.setattr(library, "_addresses", {})
    del events[:]
    assert trained(1, [Events(events)]).compile_seconds == 0
    assert events == ["epoch", "epoch"]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("forgetful")
def test_nothing_is_said_where_nothing_is_to_be_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYNET_CACHE_DIR", str(tmp_path))
    assert trained(0).compile_seconds > 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("forgetful")
def test_the_command_line_tells_and_counts_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--epochs", "2", "--backend", "numba", "--plot", "none", "--out", str(tmp_path / "net.npz")]
    assert main(command) == 0
    first = capsys.readouterr()
    assert SAID in first.err
    assert "after compiling for" in first.out
    library._addresses.clear()
    assert main(command) == 0
    again = capsys.readouterr()
    assert SAID not in again.err
    assert "compiling" not in again.out


@pytest.mark.usefixtures("forgetful")
def test_an_ensemble_and_an_estimator_and_a_sweep_tell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiles(*given: Any, **named: Any) -> Any:
        with waiting.compiling(long=True):
            raise Seen

    net = tn.Sequential(tn.Linear(3, 2), backend="numpy")
    monkeypatch.setattr("tinynet.backends.loop.LoopPlan.run", compiles)
    monkeypatch.setattr("tinynet.backends.members.MembersPlan.run", compiles)
    for work in (
        lambda: tn.Ensemble(net, 2).fit(X, X[:, :2], verbose=1),
        lambda: MLPRegressor(verbose=True, backend="numpy").fit(X, X[:, 0]),
        lambda: tn.sweep(lambda width: net.clone(), {"width": [2]}, X, X[:, :2], epochs=1, verbose=1),
    ):
        with pytest.raises(Seen):
            work()
        assert capsys.readouterr().err == SAID


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class NotebookCell(io.StringIO):
    __module__ = "ipykernel.iostream"


def seen_by_people(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, *works: Callable[[], Any]) -> str:
    """What stands in a stream after some calls in a process that has said nothing yet."""
    monkeypatch.setattr(waiting._UNASKED, "told", set())
    monkeypatch.setattr("sys.stderr", stream)
    for work in works:
        work()
    return stream.getvalue()


def compiles(**about: Any) -> None:
    with waiting.compiling(long=True, **about):
        pass


@pytest.mark.parametrize(("stream", "expected"), [(Terminal, SAID), (NotebookCell, SAID), (io.StringIO, "")])
def test_where_nobody_asks_people_are_told_once(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], expected: str
) -> None:
    assert seen_by_people(monkeypatch, stream(), compiles, compiles) == expected


def test_what_another_compiler_makes_is_news_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said = seen_by_people(monkeypatch, Terminal(), compiles, lambda: compiles(what=waiting.LOADING), compiles, compiles)
    assert said.splitlines() == [waiting.COMPILING, waiting.LOADING, waiting.COMPILING]


def test_people_are_not_told_of_what_others_compile_nor_where_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def watched() -> None:
        with waiting.watched(lambda what: None):
            compiles()

    assert seen_by_people(monkeypatch, Terminal(), watched, lambda: compiles(ours=False)) == ""
    numba = pytest.importorskip("numba")
    import tinynet_kernels.cpu.compiling  # noqa: F401

    theirs = numba.njit(lambda x: x + 1)
    ours = numba.njit(eval("lambda x: x + 1", {"__name__": "tinynet_kernels.cpu.linear"}))
    assert seen_by_people(monkeypatch, Terminal(), lambda: theirs(1)) == ""
    assert seen_by_people(monkeypatch, Terminal(), lambda: ours(1)) == SAID


@pytest.mark.usefixtures("forgetful")
def test_the_range_of_rates_tells_people_though_its_training_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    net = tn.Sequential(tn.Linear(3, 2), backend="numpy")
    run = LoopPlan.run

    def runs(*given: Any) -> Any:
        compiles()
        return run(*given)

    monkeypatch.setattr(LoopPlan, "run", runs)
    assert seen_by_people(monkeypatch, Terminal(), lambda: net.clone().fit(X, X[:, :2], epochs=1)) == ""
    tries = [lambda: tn.learning_rate_range(net, X, X[:, :2], n_updates=3), compiles]
    assert seen_by_people(monkeypatch, Terminal(), *tries) == SAID


@pytest.mark.parametrize(("options", "expected"), [([], SAID), (["--quiet"], "")])
def test_a_quiet_command_tells_nobody(monkeypatch: pytest.MonkeyPatch, options: list[str], expected: str) -> None:
    def reads(*given: Any) -> Any:
        compiles()
        raise Seen

    def command() -> None:
        with pytest.raises(Seen):
            main(["train", "--backend", "numpy", *options])

    monkeypatch.setattr("tinynet.cli.train.read_problem", reads)
    assert seen_by_people(monkeypatch, Terminal(), command) == expected


def test_what_numba_compiles_is_told() -> None:
    numba = pytest.importorskip("numba")
    import tinynet_kernels.cpu.compiling  # noqa: F401

    told: list[str] = []
    outer = numba.njit(lambda x: x + 1)
    with waiting.watched(told.append) as watch:
        outer(1)
        assert told == [waiting.COMPILING]
        seconds = watch.seconds
        assert seconds > 0
        outer(2)
        assert watch.seconds == seconds


CUSTOM = """
import numpy as np
import tinynet as tn
class Twice(tn.Layer):
    def forward(self, x): return 2 * x
    def backward(self, g): return 2 * g
x = np.zeros((8, 3), "f4")
tn.Sequential(tn.Linear(3, 2), Twice(), backend="numba").fit(x, x[:, :2], epochs=1, verbose=1)
"""


def test_loading_numba_is_told_before_it_begins() -> None:
    pytest.importorskip("numba")
    result = subprocess.run([sys.executable, "-c", CUSTOM], capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[0] == waiting.LOADING
