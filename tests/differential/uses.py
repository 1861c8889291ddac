"""What a trained model is used for: predictions of any number of rows, copies and files of it, derivatives."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn

from . import oracle
from .cases import Case, formed
from .comparing import Mismatch, as_they_are, compare


def check_uses(case: Case, net: tn.Sequential, data: tuple[Any, ...]) -> None:
    """Hold what a trained model is used for against the oracle with its weights."""
    own = as_they_are(case, net)
    _check_rows(case, net, own, data[0])
    _check_derivatives(case, net, own, data[0])
    with tempfile.TemporaryDirectory() as folder:
        _check_copy(case, net, own, data[0], Path(folder))


def _check_rows(case: Case, net: tn.Sequential, own: list[oracle.Net], x: Any) -> None:
    """One row, some and many, in one call or in the shortest way."""
    for n in (1, 2, 63, 64, 65, 301):
        rows = np.resize(x, (n, case.n_in))
        wide = np.asarray(rows, np.float64)
        compare(case, f"predictions of {n} rows", net.predict(rows), [one.forward(wide)[0] for one in own])
        compare(case, f"output for {n} rows", net(rows), [one.forward(wide)[0] for one in own])


def _check_copy(case: Case, net: tn.Sequential, own: list[oracle.Net], x: Any, folder: Path) -> None:
    """What comes out of a file, or of pickle, predicts with the same bits."""
    path = folder / f"net.{case.copy}"
    if case.copy == "onnx":
        from onnxruntime import InferenceSession

        net.to_onnx(path)
        (found,) = InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"input": x})
        compare(case, "predictions of ONNX", found, [one.forward(np.asarray(x, np.float64))[0] for one in own])
        return
    made: dict[str, Callable[[], Any]] = {
        "pickle": lambda: pickle.loads(pickle.dumps(net)),
        "deepcopy": lambda: copy.deepcopy(net),
    }
    if case.copy in made:
        other = made[case.copy]()
    else:
        net.save(path)
        other = tn.load(path, backend=net.backend.name)
    if other.frozen != net.frozen:
        raise Mismatch(f"{case.copy}: other layers are frozen: {other.frozen}, not {net.frozen}")
    if not np.array_equal(np.asarray(other.predict(x)), np.asarray(net.predict(x))):
        raise Mismatch(f"{case.copy}: predictions have other bits")


def _check_derivatives(case: Case, net: tn.Sequential, own: list[oracle.Net], x: Any) -> None:
    """The derivatives of the first samples, by the inputs and by the parameters."""
    if case.seed % 4 or net.backend.name not in ("numpy", "numba"):
        return
    few = x[:2]
    wide = np.asarray(few, np.float64)
    jacobians = [_jacobians(one, wide) for one in own]
    compare(case, "jacobian", net.jacobian(few), [found[0] for found in jacobians])
    compare(case, "parameter_jacobian", net.parameter_jacobian(few), [found[1] for found in jacobians])
    v = np.random.default_rng(case.seed).normal(size=(len(few), case.n_in)).astype(case.dtype)
    compare(case, "jvp", net.jvp(few, v), [np.einsum("nij,nj->ni", found[0], v) for found in jacobians])
    u = np.random.default_rng(case.seed).normal(size=(len(few), case.n_out)).astype(case.dtype)
    compare(case, "vjp", net.vjp(few, u), [np.einsum("nij,ni->nj", found[0], u) for found in jacobians])


def _jacobians(net: oracle.Net, x: Any) -> tuple[Any, Any]:
    """Return the derivatives of each output of each sample by the inputs, and by the parameters."""
    by_input, by_parameters = [], []
    for row in x:
        out, kept = net.forward(row[None])
        backs = [net.all_back(kept, unit[None]) for unit in np.eye(out.shape[1])]
        by_input.append([dx[0] for _, dx in backs])
        by_parameters.append([np.concatenate([g.ravel() for g in gradients]) for gradients, _ in backs])
    return np.array(by_input), np.array(by_parameters)


def check_forms(case: Case, net: tn.Sequential, data: tuple[Any, ...]) -> None:
    """Samples in another form give the same bits."""
    given = formed(case, data[0])
    if not np.array_equal(np.asarray(net.predict(given)), np.asarray(net.predict(data[0]))):
        raise Mismatch(f"predictions have other bits where samples are given as {case.form}")
