"""What each rank does in the tests of ``fit(comm=...)``: run by ``mpiexec -n N python -m mpi4py tests/ranks.py CASES``.

A case trains over the ranks, and on the first of them what one process gets from all samples, and compares.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import tinynet as tn

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()
N = 53
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 3)) * [1.0, 5.0, 0.2] + [0.0, 2.0, 0.0]
Y = np.sin(X[:, :1]) + 0.1 * X[:, 1:2]
LABELS = (X[:, 0] > 0).astype(np.int64)
WEIGHT = RNG.uniform(0.5, 2.0, N)
CUTS = np.linspace(0, N, SIZE + 1).astype(int) + np.array([0, *([3] * (SIZE - 1)), 0])
OWN = slice(CUTS[RANK], CUTS[RANK + 1])
"""The ranks have different numbers of samples."""


def net(*more: tn.Layer, last: int = 1, seed: int = 1, backend: str = "numpy") -> tn.Sequential:
    layers = [tn.Linear(3, 5), tn.Tanh(), *more, tn.Linear(5, last)]
    return tn.Sequential(*layers, dtype="float64", seed=seed, backend=backend)


def trained(model: tn.Sequential, y: Any, held: int = 20, **settings: Any) -> tn.History:
    """Train over the ranks on a part each, with a part each of the validation data."""
    own = slice(*(np.linspace(0, held, SIZE + 1).astype(int)[RANK : RANK + 2]))
    weight = settings.pop("sample_weight", None)
    return model.fit(
        X[OWN],
        y[OWN],
        validation_data=(X[own], y[own]),
        sample_weight=None if weight is None else weight[OWN],
        comm=COMM,
        **settings,
    )


def alone(model: tn.Sequential, y: Any, held: int = 20, **settings: Any) -> tn.History:
    return model.fit(X, y, validation_data=(X[:held], y[:held]), **settings)


def assert_same(make: Any, y: Any, rtol: float = 1e-9, **settings: Any) -> None:
    """Compare a training over the ranks with that of one process on all samples."""
    # A rank begins with another seed: the first one's counts.
    model = make(seed=1 + RANK)
    history = trained(model, y, **settings)
    every = COMM.allgather((model.flat_parameters(), history.history, history.stop_reason))
    for weights, figures, reason in every:
        np.testing.assert_array_equal(weights, every[0][0])
        assert figures == every[0][1]
        assert reason == every[0][2]
    if RANK == 0:
        other = make(seed=1)
        expected = alone(other, y, **settings)
        assert history.history.keys() == expected.history.keys()
        exactly = bool(settings.get("deterministic"))
        rtol, atol = (0.0, 0.0) if exactly else (rtol, 1e-11)
        for name in expected.history:
            np.testing.assert_allclose(history[name], expected[name], rtol=rtol, err_msg=name)
        np.testing.assert_allclose(model.flat_parameters(), other.flat_parameters(), rtol=rtol, atol=atol)
        assert history.stop_reason == expected.stop_reason
        assert history.plan.startswith(f"{SIZE} rank")


def first_order() -> None:
    common: dict[str, Any] = {"epochs": 3, "batch_size": 8}
    assert_same(net, Y, optimizer=tn.Adam(0.01, clip_norm=1.0), metrics=["r2"], sample_weight=WEIGHT, **common)
    assert_same(net, Y, optimizer=tn.SGD(tn.StepDecay(0.01, every=1)), shuffle=False, drop_last=True, **common)
    dropout = lambda seed: net(tn.Dropout(0.3), seed=seed)  # noqa: E731
    assert_same(dropout, Y, optimizer=tn.SGD(0.01), shuffle="replacement", loss=tn.MeanSquaredError("sum"), **common)
    classes = lambda seed: net(last=2, seed=seed)  # noqa: E731
    assert_same(classes, LABELS, loss="cross_entropy", metrics=["accuracy", "auc"], **common)
    assert_same(lambda seed: net(tn.Residual(tn.Dropout(0.3), tn.Linear(5, 5)), seed=seed), Y, **common)
    with pytest.raises(ValueError, match="BatchNorm takes the mean of the batch"):
        trained(net(tn.BatchNorm(5)), Y)
    rare = (X[:, 0] > 1.2).astype(np.float64)[:, np.newaxis]
    assert_same(net, rare, class_weight="balanced", **common)
    assert_same(net, rare, class_weight={0.0: 1.0, 1.0: 3.0}, **common)
    gaps = Y.copy()
    gaps[::5] = np.nan
    assert_same(net, gaps, missing_targets="ignore", metrics="r2", **common)
    # Batches in which a rank has nothing.
    assert_same(net, Y, batch_size=1, optimizer="sgd", epochs=1)


def generated() -> None:
    compiled = lambda seed: net(seed=seed, backend="numba")  # noqa: E731
    assert_same(compiled, Y, epochs=2, batch_size=8)
    assert_same(compiled, Y, epochs=2, batch_size=N, sample_weight=WEIGHT, loss=tn.MeanSquaredError("sum"))


def whole() -> None:
    assert_same(net, Y, rtol=1e-6, optimizer=tn.LevenbergMarquardt(), epochs=4, sample_weight=WEIGHT)
    assert_same(net, Y, rtol=1e-6, optimizer=tn.BayesianRegularization(), epochs=4)
    assert_same(net, Y, rtol=1e-6, optimizer=tn.LBFGS(), epochs=4)
    assert_same(net, Y, rtol=1e-6, optimizer=tn.LevenbergMarquardt(goal=1.0), epochs=50)
    compiled = lambda seed: net(seed=seed, backend="numba")  # noqa: E731
    assert_same(compiled, Y, rtol=1e-6, optimizer=tn.LevenbergMarquardt(), epochs=4)


def deterministic() -> None:
    """Whatever the ranks, and whichever samples they have: the bits are those of one process."""
    common: dict[str, Any] = {"epochs": 3, "batch_size": 24, "deterministic": True}
    for backend in ("numpy", "numba"):
        plain = lambda seed, backend=backend: net(seed=seed, backend=backend)  # noqa: E731
        assert_same(plain, Y, metrics="r2", sample_weight=WEIGHT, **common)
        assert_same(plain, Y, optimizer="lm", **common | {"batch_size": None})
        assert_same(plain, Y, optimizer="lbfgs", **common | {"batch_size": None, "deterministic": 3})
    dropout = lambda seed: net(tn.Dropout(0.3), seed=seed, backend="numba")  # noqa: E731
    stopping = {"callbacks": tn.EarlyStopping("val_mae", patience=0, min_delta=0.1)}
    assert_same(dropout, Y, metrics="mae", optimizer=tn.SGD(0.05, clip_norm=1.0), **common | stopping)
    assert_same(net, LABELS.astype(np.float64)[:, np.newaxis], class_weight="balanced", shuffle=False, **common)
    assert_same(net, np.where(np.arange(N)[:, np.newaxis] % 4, Y, np.nan), missing_targets="ignore", **common)
    single = lambda seed: net(seed=seed, backend="numba").clone(dtype="float32")  # noqa: E731
    assert_same(single, Y, **common | {"deterministic": 2})  # Some of four ranks have no part.
    assert "over 16 parts in their order" in trained(net(), Y, deterministic=True).plan


def split() -> None:
    """Ranks hold out the end of all samples."""
    for more in ({}, {"deterministic": True}):
        for share in (0.1, 0.7):
            call: dict[str, Any] = {"validation_split": share, "epochs": 2, "batch_size": 8, **more}
            model, other = net(), net()
            found = model.fit(X[OWN], Y[OWN], sample_weight=WEIGHT[OWN], comm=COMM, metrics="mae", **call)
            expected = other.fit(X, Y, sample_weight=WEIGHT, metrics="mae", **call)
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], rtol=0.0 if more else 1e-9, err_msg=name)
    with pytest.raises(ValueError, match=f"leaves none of {N} samples"):
        net().fit(X[OWN], Y[OWN], comm=COMM, validation_split=0.999)
    with pytest.raises(ValueError, match="what validation_split holds out must not be all zero"):
        net().fit(X[OWN], Y[OWN], comm=COMM, validation_split=0.1, sample_weight=(np.arange(N) < N - 5.0)[OWN])


def columns() -> None:
    scaled = tn.Normalize(3).adapt(X[OWN], comm=COMM)
    expected = tn.Normalize(3).adapt(X)
    np.testing.assert_array_equal(scaled.mean, expected.mean)
    np.testing.assert_array_equal(scaled.scale, expected.scale)
    assert COMM.allgather(scaled.mean.tolist()) == [scaled.mean.tolist()] * SIZE
    gaps = np.where(np.arange(N)[:, None] % np.array([2, 3, 5]) == 0, np.nan, X)
    known = tn.Denormalize(3).adapt(gaps[OWN], comm=COMM, missing_targets="ignore")
    np.testing.assert_allclose(known.scale, np.nanstd(gaps, axis=0), rtol=1e-12)
    many = np.random.default_rng(0).lognormal(size=(40_000, 2)).T.copy().T  # Some blocks, and the other layout.
    own = many[slice(*np.linspace(0, len(many), SIZE + 1).astype(int)[RANK : RANK + 2])]
    np.testing.assert_array_equal(tn.Normalize(2).adapt(own, comm=COMM).scale, tn.Normalize(2).adapt(many).scale)
    huge = tn.Denormalize(1).adapt(np.full((1, 1), 1e300 * (-1) ** RANK), comm=COMM)
    assert np.isfinite(huge.scale).all()

    def make(seed: int) -> tn.Sequential:
        layers = tn.Normalize(3).adapt(X), tn.Linear(3, 1), tn.Denormalize(1).adapt(Y)
        return tn.Sequential(*layers, seed=seed, backend="numpy", dtype="float64")

    assert_same(make, Y, epochs=2, batch_size=8, metrics="mae")


class Stubborn(tn.Callback):
    """Does something on one rank, at the end of an epoch."""

    def __init__(self, rank: int, do: Any) -> None:
        self.rank, self.do = rank, do

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if self.rank == RANK and epoch == 2:
            self.do(self)


def fails(
    callback: tn.Callback | None, error: type[BaseException], match: str | None, **settings: Any
) -> tn.Sequential:
    """Train over the ranks; every rank must end, by this error."""
    model = net()
    callbacks = [] if callback is None else [callback]
    with pytest.raises(error, match=match):
        trained(model, Y, **{"epochs": 10, "batch_size": 8, "callbacks": callbacks, **settings})
    return model


def failures() -> None:
    last = SIZE - 1

    def broken(callback: Any) -> None:
        raise OSError("disk full")

    def stop(callback: Any) -> None:
        callback.model.stop_training = True
        callback.trainer.history.stop_reason = "enough"

    def interrupt(callback: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    error, text = (OSError, "disk full") if last == RANK else (tn.RankError, f"rank {last} of {SIZE}")
    model = fails(Stubborn(last, broken), error, text)
    assert len(model.history["loss"]) == 3
    assert all((w == model.flat_parameters()).all() for w in COMM.allgather(model.flat_parameters()))
    model = fails(Stubborn(0, interrupt), KeyboardInterrupt, None)
    assert len(model.history["loss"]) == 3
    assert model.history.stop_reason == "interrupted"
    model = net()
    history = trained(model, Y, epochs=10, callbacks=[Stubborn(last, stop)])
    assert (len(history["loss"]), history.stop_reason) == (3, "enough")
    # Whatever is wrong on one rank alone, before training, in an update, in a metric.
    y = Y.copy()
    if last == RANK:
        y[CUTS[last]] = np.nan
    model, twin = net(seed=1 + RANK), net(seed=1 + RANK)
    error = ValueError if last == RANK else tn.RankError
    with pytest.raises(error, match="finite"):
        model.fit(X[OWN], y[OWN], comm=COMM, epochs=2)
    # Nothing of the first rank's is left: each goes on as if it had never been asked.
    for one in (model, twin):
        one.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(model.flat_parameters(), twin.flat_parameters())

    def bad_metric(prediction: Any, target: Any) -> float:
        raise ArithmeticError("no figure")

    error, text = (ArithmeticError, "no figure") if RANK == 0 else (tn.RankError, "rank 0")
    for optimizer in ("sgd", "lm"):
        fails(None, error, text, metrics=[bad_metric], optimizer=optimizer, batch_size=None)
    fails(None, ValueError, "rank 0", epochs=2 + RANK)
    fails(None, tn.DivergenceError, "diverged in epoch", optimizer=tn.SGD(1e200))
    fails(None, TypeError if last == RANK else tn.RankError, "batch_size", batch_size="8" if last == RANK else 8)


class Breaking(tn.Layer):
    """Fails in the middle of an epoch, on one rank."""

    calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        if self.calls == 12 and RANK == SIZE - 1:
            raise MemoryError("no room")
        return x

    def backward(self, dy: Any) -> Any:
        return dy


def within() -> None:
    """A rank fails in an update: the others are told by the sum that they wait for."""
    fails_within(lambda: net(Breaking()), "sgd", "lm", "lbfgs")


def fails_within(made: Any, *optimizers: str) -> None:
    error = MemoryError if RANK == SIZE - 1 else tn.RankError
    for optimizer in optimizers:
        with pytest.raises(error, match="no room"):
            made().fit(X[OWN], Y[OWN], comm=COMM, epochs=60, batch_size=None, optimizer=optimizer, shuffle=False)


def resumed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(COMM.bcast(folder)) / "run.npz"
        whole_run = net()
        trained(whole_run, Y, epochs=6, batch_size=8)
        first = net()
        keeps = [tn.Checkpoint(path), tn.CSVLogger(path.parent / "log.csv")]
        trained(first, Y, epochs=3, batch_size=8, callbacks=keeps)
        assert RANK or (path.exists() and len((path.parent / "log.csv").read_text().splitlines()) == 4)
        second = net(seed=5)
        trained(second, Y, epochs=6, batch_size=8, callbacks=[tn.Checkpoint(path)], resume_from=path)
        np.testing.assert_array_equal(second.flat_parameters(), whole_run.flat_parameters())
        COMM.Barrier()
        in_parts = {"batch_size": 24, "deterministic": 5, "callbacks": [tn.Checkpoint(path)]}
        trained(net(), Y, epochs=3, **in_parts)
        third = net(seed=5)
        trained(third, Y, epochs=6, resume_from=path, **in_parts)
        if RANK == 0:  # What ranks began one process can end.
            alone(net(), Y, epochs=3, **in_parts)
            fourth, whole_run = net(seed=5), net()
            alone(fourth, Y, epochs=6, resume_from=path, **in_parts)
            alone(whole_run, Y, epochs=6, batch_size=24, deterministic=5)
            for model in (third, fourth):
                np.testing.assert_array_equal(model.flat_parameters(), whole_run.flat_parameters())
        COMM.Barrier()
        with pytest.raises(tn.ResumeError, match="samples"):
            net().fit(X[:9], Y[:9], comm=COMM, epochs=6, batch_size=8, resume_from=path)
        COMM.Barrier()


def build(width: int) -> tn.Sequential:
    return net(tn.Linear(5, width), tn.Linear(width, 5))


def swept() -> None:
    """Groups are divided among the ranks; all get the result of one process."""
    call: dict[str, Any] = {"seeds": 3, "epochs": 2, "group_size": 2, "validation_split": 0.2}
    space = {"width": [2, 3], "learning_rate": [0.1, 0.01]}
    expected = tn.sweep(build, space, X, Y, **call)
    with tempfile.TemporaryDirectory() as folder:
        folder = COMM.bcast(folder) + "/sweep"
        for place in (None, folder, folder):
            found = tn.sweep(build, space, X, Y, comm=COMM, folder=place, **call)
            for name, column in expected.table.items():
                np.testing.assert_array_equal(found.table[name], column, err_msg=name)
            best = [result.best_model.flat_parameters() for result in (found, expected)]
            np.testing.assert_array_equal(*best)
        COMM.Barrier()
    with pytest.raises(ValueError, match="same arguments on every rank"):
        tn.sweep(build, space, X + RANK, Y, comm=COMM, **call)


def many() -> None:
    """Models are divided among the ranks; each is what one process makes of it, to the last bit."""
    settings: dict[str, Any] = {
        "validation_data": (X[:20], Y[:20]),
        "metrics": "r2",
        "bootstrap": True,
        "batch_size": 8,
    }
    rates = tuple(10.0**-i for i in range(5))
    call = settings | {"optimizer": tn.SGD(tn.StepDecay(rates, every=2)), "loss": tn.Huber(rates), "epochs": 4}
    stopping = {"callbacks": tn.EarlyStopping("loss", patience=0, min_delta=0.1)}
    for more in ({}, stopping, {"sample_weight": np.random.default_rng(0).uniform(1, 2, (5, N))}):
        divided, together = tn.Ensemble(net(), 5), tn.Ensemble(net(), 5)
        found, expected = divided.fit(X, Y, comm=COMM, **call | more), together.fit(X, Y, **call | more)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        for ours, theirs in zip(divided.get_weights(), together.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(found.stopped, expected.stopped)
        assert divided.scores.keys() == together.scores.keys()
        assert f"among {SIZE} ranks" in found.plan
    few = tn.Ensemble(net(), 1)  # Most ranks have none.
    few.fit(X, Y, comm=COMM)
    with pytest.raises(TypeError, match="act on each model by itself"):
        few.fit(X, Y, comm=COMM, callbacks=tn.Checkpoint("x.npz"))
    before, bad = few.get_weights()[0], Y if RANK else Y * np.nan
    with pytest.raises(tn.RankError if RANK else ValueError, match="finite"):
        few.fit(X, bad, comm=COMM)
    np.testing.assert_array_equal(few.get_weights()[0], before)


def on_gpu() -> None:
    """Gradients of GPUs, here of their stand-ins, are summed where they lie; else they go through host memory."""
    from cuda_on_cpu import fake_cupy
    from cuda_on_cpu.installing import installed

    os.environ["TINYNET_GPU_TIER"] = "loop"
    with installed("fake") as cupy:
        fake_cupy.current().set_devices(SIZE)
        assert "gradients through host memory (ranks share a GPU)" in way("gpu:0")
        assert_same(lambda seed: net(tn.Dropout(0.3), seed=seed, backend="gpu:0"), Y, epochs=2, batch_size=16)
        place = f"gpu:{RANK}"
        assert "in their order, gradients through host memory (deterministic)" in way(place, deterministic=True)
        by_nccl(cupy)
        if RANK == SIZE - 1:
            cupy.cuda.nccl.available = False
        assert f"gradients through host memory (no NCCL on rank {SIZE - 1})" in way(place)


def on_real_gpus() -> None:
    """Each rank has a GPU of this machine."""
    from cuda_on_cpu.installing import installed

    with installed("real") as cupy:
        by_nccl(cupy)


def way(place: str, **settings: Any) -> str:
    """Return which way the gradients of a network go."""
    return trained(net(backend=place), Y, epochs=1, **settings).plan.partition(": ")[0]


def by_nccl(cupy: Any) -> None:
    place = f"gpu:{RANK}"
    plain = lambda seed=1: net(seed=seed, backend=place)  # noqa: E731
    dropout = lambda seed: net(tn.Dropout(0.3), seed=seed, backend=place)  # noqa: E731
    assert way(place).endswith("by MPI, gradients on the GPUs by NCCL")
    assert_same(dropout, Y, epochs=2, batch_size=16, metrics="r2")
    # Batches in which a rank has nothing.
    assert_same(plain, Y, epochs=1, batch_size=1)
    assert_same(plain, Y, rtol=1e-6, epochs=2, optimizer="lbfgs")
    # An update brings no gradient to host memory: one update in an epoch as few arrays of that size as seven.
    counts = [len(downloads(cupy, plain(), batch_size)) for batch_size in (N, 8)]
    assert counts[0] == counts[1] > 0
    fails_within(lambda: net(Breaking(), backend=place), "sgd")


def downloads(cupy: Any, model: tn.Sequential, batch_size: int) -> list[Any]:
    """Train, and return the arrays as large as a gradient that went from the GPU to host memory."""
    found = []
    asnumpy = type(model.backend).to_numpy

    def noted(backend: Any, array: Any) -> Any:
        if isinstance(array, cupy.ndarray) and array.size == model.n_parameters:
            found.append(array)
        return asnumpy(backend, array)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model.backend), "to_numpy", noted)
        model.fit(X[OWN], Y[OWN], comm=COMM, epochs=2, batch_size=batch_size)
    return found


CASES = {
    case.__name__: case
    for case in (
        *(first_order, generated, whole, deterministic, split, columns, failures, within, resumed, swept, many),
        *(on_gpu, on_real_gpus),
    )
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        CASES[name]()
        COMM.Barrier()
        if RANK == 0:
            print("passed", name, flush=True)
