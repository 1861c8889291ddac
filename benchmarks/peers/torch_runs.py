"""PyTorch: the usual loop, eager and with ``torch.compile``; batches are rows gathered from tensors, no DataLoader.

On a GPU all tensors lie in its memory, and the order of the samples goes up once an epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.problem import Problem, split
from benchmarks.workloads import Workload

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
LOSSES = {
    "sum_squares": lambda: nn.MSELoss(reduction="sum"),
    "mean_squares": nn.MSELoss,
    "cross_entropy": nn.CrossEntropyLoss,
}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
DEVICES = {"cpu": "cpu", "gpu": "cuda"}
MATMUL_PRECISIONS = {"float32": "highest", "tf32": "high", "bf16": "highest"}
"""What ``torch.set_float32_matmul_precision`` is given; bfloat16 comes by autocast, as PyTorch advises."""


def network(workload: Workload) -> nn.Sequential:
    """Return the network of a workload."""
    layers: list[nn.Module] = []
    last = len(workload.sizes) - 2
    for place in range(last + 1):
        layers.append(nn.Linear(workload.sizes[place], workload.sizes[place + 1]))
        kind = workload.output if place == last else workload.hidden
        if kind != "identity":
            layers.append(ACTIVATIONS[kind]())
    return nn.Sequential(*layers).to(getattr(torch, workload.dtype))


def take(net: nn.Sequential, problem: Problem) -> None:
    """Give the network the initial weights; PyTorch keeps them transposed."""
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for linear, (w, b) in zip(linears, split(problem.parameters, problem.workload.sizes), strict=True):
            linear.weight.copy_(torch.from_numpy(w.T.copy()))
            linear.bias.copy_(torch.from_numpy(b))


class _Runs:
    """What all have in common: the samples where they are needed, and the settings of the process."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        if device == "cpu":
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(MATMUL_PRECISIONS[problem.workload.precision])
        self.problem, self.device = problem, torch.device(DEVICES[device])
        self.x = torch.from_numpy(problem.x).to(self.device)
        self.y = torch.from_numpy(problem.y).to(self.device)

    def finish(self) -> None:
        """Wait for what a GPU still has to do."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def about(self) -> str:
        """Tell the version, and where it computes."""
        if self.device.type == "cuda":
            return f"torch {torch.__version__}, {torch.cuda.get_device_name()}"
        return f"torch {torch.__version__}, {torch.get_num_threads()} threads"


class Eager(_Runs):
    """``zero_grad``, forward, ``backward``, ``step``, with the optimizer's fused kernel."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        super().__init__(problem, threads, device)
        workload = problem.workload
        self.net = network(workload).to(self.device)
        criterion = LOSSES[workload.loss]()
        rounded = torch.autocast(self.device.type, torch.bfloat16, enabled=workload.precision == "bf16")

        def loss(x: torch.Tensor, y: torch.Tensor) -> Any:
            with rounded:
                prediction = self.net(x)
            return criterion(prediction.to(x.dtype), y)

        self.loss = self.wrapped(loss)

    def wrapped(self, function: Any) -> Any:
        """Return the function from a batch to its loss as it is used."""
        return function

    def reset(self) -> None:
        """Take the initial weights and a fresh optimizer."""
        take(self.net, self.problem)
        workload = self.problem.workload
        make = OPTIMIZERS[workload.optimizer]
        self.optimizer = make(self.net.parameters(), lr=workload.learning_rate, fused=True)

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload = self.problem.workload
        orders = self.problem.orders(n)
        for _ in range(n):
            total = torch.zeros((), device=self.device)
            order = torch.from_numpy(next(orders)).to(self.device) if workload.shuffle else None
            for start in range(0, workload.n_visits, workload.rows):
                rows = slice(start, start + workload.rows)
                chosen = rows if order is None else order[rows]
                self.optimizer.zero_grad()
                loss = self.loss(self.x[chosen], self.y[chosen])
                loss.backward()
                self.optimizer.step()
                total += loss.detach()
            self.epoch_loss = total.item()
        self.finish()

    def result(self) -> NDArray[Any]:
        """Return the trained parameters."""
        parameters = [value.detach().cpu().numpy().T.ravel() for value in self.net.parameters()]
        return np.concatenate(parameters)


class Compiled(Eager):
    """The same loop; forward, loss and backward are compiled, and on a GPU launched as CUDA graphs."""

    def wrapped(self, function: Any) -> Any:
        """Compile for the one shape that occurs."""
        return torch.compile(function, dynamic=False, mode="reduce-overhead" if self.device.type == "cuda" else None)


class Many(_Runs):
    """``torch.func``: the gradient of one model, mapped over all by ``vmap``, and an update of the stacked weights."""

    def __init__(self, problem: Problem, threads: int, device: str = "cpu") -> None:
        super().__init__(problem, threads, device)
        self.rates = torch.from_numpy(problem.rates).to(self.device)
        net = network(problem.workload).to(self.device)
        criterion = LOSSES[problem.workload.loss]()

        def loss(parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = criterion(torch.func.functional_call(net, parameters, (x,)), y)
            return value

        self.names = [name for name, _ in net.named_parameters()]
        self.gradients = torch.func.vmap(torch.func.grad(loss), in_dims=(0, None, None))

    def reset(self) -> None:
        """Take the initial weights of all models; PyTorch keeps them transposed."""
        layers = split(self.problem.parameters, self.problem.workload.sizes)
        parts = [part for w, b in layers for part in (np.ascontiguousarray(w.swapaxes(1, 2)), b.copy())]
        placed = [torch.from_numpy(part).to(self.device) for part in parts]
        self.parameters = dict(zip(self.names, placed, strict=True))

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload = self.problem.workload
        with torch.no_grad():
            for _ in range(n):
                for start in range(0, workload.n_visits, workload.rows):
                    rows = slice(start, start + workload.rows)
                    gradients = self.gradients(self.parameters, self.x[rows], self.y[rows])
                    for name, value in self.parameters.items():
                        value -= self.rates.reshape(-1, *[1] * (value.ndim - 1)) * gradients[name]
        self.finish()

    def result(self) -> NDArray[Any]:
        """Return the trained parameters, (n_models, n_parameters)."""
        parts = [value.swapaxes(1, 2) if value.ndim == 3 else value for value in self.parameters.values()]
        return np.concatenate([part.reshape(len(part), -1).cpu().numpy() for part in parts], axis=1)


class Predict(_Runs):
    """One sample at a time, from NumPy to NumPy as with the others."""

    def __init__(self, problem: Problem, threads: int) -> None:
        super().__init__(problem, threads)
        self.sample = problem.x[:1]
        self.net = network(problem.workload).eval()
        take(self.net, problem)

    def reset(self) -> None:
        """There is nothing to undo."""

    def run(self, n: int) -> None:
        """Predict ``n`` times."""
        net, x, from_numpy = self.net, self.sample, torch.from_numpy
        with torch.inference_mode():
            for _ in range(n):
                self.out = net(from_numpy(x)).numpy()

    def result(self) -> NDArray[Any]:
        """Return the last prediction."""
        return self.out
