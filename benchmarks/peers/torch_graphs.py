"""PyTorch at its quickest on a GPU: compiled, and many updates at a time captured in a CUDA graph."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.peers.torch_runs import OPTIMIZERS, Eager, take
from benchmarks.problem import Problem

MOST_UPDATES = 64
"""Updates of one graph. More save nothing that can be seen, and capturing them takes long."""

WARM_UP = 3
"""Updates before the capture: PyTorch compiles, picks its kernels and sets up the optimizer in them."""


class Graphs(Eager):
    """Gather, forward, loss, backward and update of some batches as one graph; an epoch replays it.

    The order of the samples and the number of the batch lie on the device, so that a replay needs nothing of the host.
    As PyTorch advises: a warm-up on a side stream, gradients that the capture itself allocates, ``capturable`` Adam.
    """

    def __init__(self, problem: Problem, threads: int, device: str = "gpu") -> None:
        super().__init__(problem, threads, device)
        workload = problem.workload
        counts = range(1, MOST_UPDATES + 1)
        self.updates = max(n for n in counts if workload.n_updates % n == 0)
        self.order = torch.arange(workload.n_visits, device=self.device).reshape(workload.n_updates, workload.rows)
        self.batch = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.total = torch.zeros((), device=self.device)
        capturable = {"capturable": True} if workload.optimizer == "adam" else {}
        make = OPTIMIZERS[workload.optimizer]
        self.optimizer = make(self.net.parameters(), lr=workload.learning_rate, fused=True, **capturable)
        self.graph = self._captured()

    def wrapped(self, function: Any) -> Any:
        """Compile for the one shape that occurs; the graph is ours."""
        return torch.compile(function, dynamic=False)

    def _captured(self) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                self._update()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(self.updates):
                self._update()
        return graph

    def _update(self) -> None:
        workload = self.problem.workload
        x, y = self.x, self.y
        if workload.shuffle or workload.n_updates > 1:
            rows = self.order.index_select(0, self.batch % workload.n_updates).reshape(-1)
            x, y = x.index_select(0, rows), y.index_select(0, rows)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(x, y)
        loss.backward()
        self.optimizer.step()
        self.total += loss.detach()
        self.batch += 1

    def reset(self) -> None:
        """Take the initial weights, and moments of zero, in the arrays that the graph knows."""
        take(self.net, self.problem)
        with torch.no_grad():
            for moments in self.optimizer.state.values():
                for moment in moments.values():
                    if isinstance(moment, torch.Tensor):
                        moment.zero_()
        self.batch.zero_()

    def run(self, n: int) -> None:
        """Train for ``n`` epochs."""
        workload = self.problem.workload
        orders = self.problem.orders(n)
        for _ in range(n):
            if workload.shuffle:
                self.order.copy_(torch.from_numpy(next(orders)).reshape(self.order.shape))
            self.total.zero_()
            for _ in range(workload.n_updates // self.updates):
                self.graph.replay()
            self.epoch_loss = self.total.item()
        self.finish()
