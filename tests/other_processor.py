"""The same trainings on two kinds of processors: ``write FOLDER`` on one, ``compare FOLDER`` on the other.

What is compared is what one seed gives on both, to rounding, and what each reads of the other's files, to the last bit.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tinynet as tn

ROUNDING = {"float64": 1e-10, "float32": 2e-4}
"""How far weights may be from those of the other processor after some updates, as a share."""

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
Y = np.tanh(X[:, :3]) + 0.1 * RNG.normal(size=(60, 3))

CASES: dict[str, dict[str, Any]] = {
    "numpy": {"backend": "numpy"},
    "generated": {"backend": "numba"},
    "threads": {"backend": "numba", "threads": 2, "batch_size": 60},
    "adam": {"backend": "numba", "optimizer": "adam", "dtype": "float32"},
    "lm": {"backend": "numba", "optimizer": "lm", "batch_size": None, "epochs": 5},
    "lbfgs": {"backend": "numba", "optimizer": "lbfgs", "batch_size": None, "epochs": 5},
}


def trained(backend: str, dtype: str = "float64", **settings: Any) -> tn.Sequential:
    layers = tn.Normalize(4).adapt(X), tn.Linear(4, 8), tn.Tanh(), tn.Dropout(0.1), tn.Linear(8, 3)
    if settings.get("optimizer") in ("lm", "lbfgs"):
        layers = tuple(layer for layer in layers if not isinstance(layer, tn.Dropout))
    net = tn.Sequential(*layers, dtype=dtype, seed=0, backend=backend)
    net.fit(X, Y, **{"epochs": 20, "batch_size": 10, "optimizer": "sgd", **settings})
    return net


def main(what: str, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name, settings in CASES.items():
        net, place = trained(**settings), folder / f"{name}.npz"
        if what == "write":
            net.save(place)
            np.save(folder / f"{name}.npy", net.predict(X))
            print(f"{platform.machine()}: {name}, {net.history.plan}" if net.history else name)
            continue
        other = tn.load(place, backend=settings["backend"])
        assert other.get_weights()[0].dtype == net.dtype
        ours, theirs = net.flat_parameters(), other.flat_parameters()
        furthest = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
        predicted = float(np.abs(other.predict(X) - np.load(folder / f"{name}.npy")).max())
        print(
            f"{platform.machine()}: {name}, weights differ by {furthest:.0e}, predictions of theirs by {predicted:.0e}"
        )
        allowed = ROUNDING[net.dtype]
        assert furthest < allowed, f"{name}: {furthest} is more than rounding"
        assert predicted < allowed, f"{name}: {predicted} is more than rounding"


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
