"""Who takes part: a table. A library is imported only in the process that runs it."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.workloads import Workload

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Runner(Protocol):
    """One library at one workload.

    It is made from ``(problem, threads)``; tinynet's takes a backend too; all others take
    ``device="gpu"`` on a GPU.
    """

    def reset(self) -> None:
        """Take the initial weights; not timed."""

    def run(self, n: int) -> None:
        """Train for ``n`` epochs, or predict ``n`` times; timed."""

    def result(self) -> NDArray[Any]:
        """Return the parameters that training led to, or the last prediction."""


@dataclass(frozen=True)
class Peer:
    """A library, or a program, that takes part.

    Attributes
    ----------
    title : str
        For the report.
    train, predict, many, fit, grid : str or None
        ``module:class`` of the runner for each task, below this package; None where it has none. ``many`` trains many
        networks at once; ``fit`` and ``grid`` are whole fits and searches of an estimator.
    packages : tuple of str
        What is imported; their versions are recorded.
    command : str
        What installs it.
    program : str or None
        A program that must be on the path.
    limit : callable
        Tells why the peer cannot run a workload, or None.
    many : str or None
        ``module:class`` of the runner that trains many networks at once.
    gpu, gpu_many : str or None
        Likewise, of the runners that train one network and many on a GPU.
    gpu_packages : tuple of str
        What is imported on a GPU, where that is something else.
    """

    name: str
    title: str
    train: str | None
    predict: str | None
    packages: tuple[str, ...] = ()
    command: str = ""
    program: str | None = None
    limit: Callable[[Workload, str], str | None] = lambda workload, device: None
    many: str | None = None
    fit: str | None = None
    grid: str | None = None
    gpu: str | None = None
    gpu_many: str | None = None
    gpu_packages: tuple[str, ...] = ()

    def takes_part(self, device: str) -> bool:
        """Tell whether the peer runs anything there: on a GPU only some do."""
        here = (self.train, self.predict, self.many, self.fit, self.grid)
        return any((self.gpu, self.gpu_many) if device == "gpu" else here)

    def needs(self, device: str = "cpu") -> tuple[str, ...]:
        """Return the packages that are imported before the clock starts."""
        return (device == "gpu" and self.gpu_packages) or self.packages

    def missing(self, device: str = "cpu") -> str | None:
        """Tell what is not installed and the command that gets it, or None."""
        absent = [name for name in self.needs(device) if importlib.util.find_spec(name) is None]
        if self.program is not None and shutil.which(self.program) is None:
            absent.append(self.program)
        return f"{' and '.join(absent)} not installed. Get it by: {self.command}" if absent else None

    def unable(self, workload: Workload, device: str = "cpu") -> str | None:
        """Tell why this peer does not run a workload, or None."""
        if self.runner(workload, device) is None:
            many, gpu = " many networks at once" * (workload.n_models > 1), " on a GPU" * (device == "gpu")
            return f"{self.title} does not {workload.task}{many}{gpu}"
        return self.limit(workload, device)

    def runner(self, workload: Workload, device: str = "cpu") -> str | None:
        """Return where the runner for a workload is."""
        if workload.task != "train":
            place: str | None = getattr(self, workload.task) if device == "cpu" else None
            return place
        one, many = (self.gpu, self.gpu_many) if device == "gpu" else (self.train, self.many)
        return one if workload.n_models == 1 else many

    def load(self, workload: Workload, device: str = "cpu") -> Callable[..., Runner]:
        """Import the runner for a workload, and the library with it."""
        place = self.runner(workload, device)
        assert place is not None, f"ask {self.name}.unable(workload, device) first"
        module, _, name = place.partition(":")
        loaded: Callable[..., Runner] = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)
        return loaded


def _sigmoid_only(workload: Workload, device: str) -> str | None:
    fits = len(workload.sizes) <= 3 and {workload.hidden, workload.output} == {"sigmoid"}
    fits = fits and (workload.loss, workload.optimizer, workload.shuffle) == ("sum_squares", "sgd", False)
    return None if fits else "it is written for the notebook's nets: one or two sigmoid layers, squared error, SGD"


SMALLEST_PRODUCTS = {"cpu": 1_000_000, "gpu": 5_000_000_000}
"""Below so many operations in an update, the time goes into the calls of BLAS, and its products are no floor."""


def _floor_limit(workload: Workload, device: str) -> str | None:
    operations = sum(6 * workload.rows * n_in * n_out for n_in, n_out in pairwise(workload.sizes))
    if workload.task == "train" and operations < SMALLEST_PRODUCTS[device]:
        return "the products are so small that the time goes into the calls of BLAS"
    return None


def _sklearn_limit(workload: Workload, device: str) -> str | None:
    if workload.output != "identity":
        return "scikit-learn's networks cannot end in a sigmoid with squared error"
    if len(workload.sizes) < 3:
        return "scikit-learn's networks have at least one hidden layer"
    return None


_TABLE = (
    Peer("tinynet", "tinynet", "tinynet_runs:Train", "tinynet_runs:Predict", ("tinynet",), "see README.md",
         many="tinynet_runs:TrainMany", fit="estimator_runs:OurFit", grid="estimator_runs:OurGrid",
         gpu="tinynet_runs:Train", gpu_many="tinynet_runs:TrainMany"),
    Peer("floor", "the floor", "floor:Products", "floor:BareCall", ("numba",), "pip install numba",
         limit=_floor_limit, gpu="gpu_floor:Products", gpu_packages=("cupy",)),
    Peer("c", "hand-written C", "c_runs:Train", None, program="cc", command="install a C compiler (gcc or clang)",
         limit=_sigmoid_only, many="c_runs:TrainMany"),
    Peer("notebook", "the notebook's NumPy code", "notebook:Train", None, limit=_sigmoid_only),
    Peer("scikit-learn", "scikit-learn", "sklearn_runs:Train", "sklearn_runs:Predict", ("sklearn",),
         "pip install scikit-learn", limit=_sklearn_limit, many="sklearn_runs:TrainMany",
         fit="estimator_runs:TheirFit", grid="estimator_runs:TheirGrid"),
    Peer("torch", "PyTorch", "torch_runs:Eager", "torch_runs:Predict", ("torch",), "pip install torch",
         many="torch_runs:Many", gpu="torch_runs:Eager", gpu_many="torch_runs:Many"),
    Peer("torch-compile", "torch.compile", "torch_runs:Compiled", None, ("torch",), "pip install torch",
         gpu="torch_runs:Compiled"),
    Peer("torch-graphs", "torch.compile in CUDA graphs", None, None, ("torch",), "pip install torch",
         gpu="torch_graphs:Graphs"),
    Peer("jax", "JAX jit", "jax_runs:Jit", "jax_runs:Predict", ("jax",), "pip install jax", gpu="jax_runs:Jit"),
    Peer("jax-scan", "JAX scan", "jax_runs:Scan", None, ("jax",), "pip install jax", many="jax_runs:Many",
         gpu="jax_runs:Scan", gpu_many="jax_runs:Many"),
    Peer("onnxruntime", "onnxruntime", None, "onnx_runs:Predict", ("onnxruntime", "onnx"),
         "pip install onnx onnxruntime"),
)  # fmt: skip

PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in _TABLE})
"""All who take part, by name; tinynet first."""
