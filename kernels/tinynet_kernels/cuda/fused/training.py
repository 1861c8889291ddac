"""Trainings of whole epochs in as few launches as there can be."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cupy
import numpy as np
from numpy.typing import NDArray

from tinynet_kernels._typing import DeviceArray
from tinynet_kernels.cuda.fused.build import kernel
from tinynet_kernels.cuda.fused.graphs import Repeated, places_of
from tinynet_kernels.cuda.fused.prelude import Shape, numbers_of, prelude
from tinynet_kernels.cuda.fused.shapes import Limits, persistent_shape, registers_shape, spread_shape, warp_shape
from tinynet_kernels.cuda.fused.uploads import Uploads
from tinynet_kernels.network import Loss, Network

MAX_UPDATES, MAX_VISITS = 1 << 17, 1 << 20
"""Most updates, and samples, of one launch: about a second. A GPU that drives a display stops what takes longer."""


@dataclass(frozen=True)
class Vectors:
    """The state of one model or of many, as the kernels change it.

    Attributes
    ----------
    parameters : ([n_models,] n_parameters) array
    moments : (n_moments, [n_models,] n_parameters) array
    held : ([n_models,] n_held) array
        In any real dtype; kernels get it in that of the network.
    counters : (n_models, 3) uint64 array in host memory
        Of each model the updates so far, the draws so far, and the seed of its dropout masks.
    models : (n_models,) int64 array in host memory, or None
        The numbers that the models have among those of the training, where these are some of them; None: all.
    """

    parameters: DeviceArray
    moments: DeviceArray
    held: DeviceArray
    counters: NDArray[np.uint64]
    models: NDArray[np.int64] | None = None

    @property
    def n_models(self) -> int:
        """Number of models that are here."""
        return len(self.counters)


@dataclass(frozen=True)
class Epochs:
    """What to train on.

    Attributes
    ----------
    x : (n_samples, n_in) array
    t : (n_samples, n_out) array, or (n_samples,) int64 array of class numbers
    weight : (n_samples,) or (n_models, n_samples) array or None
    order : (n_epochs, n_visits) or (n_epochs, n_members, n_visits) int64 array or None
        On the device, or in host memory.
    rates : (n_epochs, n_rates) or (n_epochs, n_rates, n_members) float64 array in host memory
    members : (n_members,) int64 array in host memory
        Which of the models that the vectors hold are trained.
    """

    x: DeviceArray
    t: DeviceArray
    weight: DeviceArray | None
    order: DeviceArray | NDArray[np.int64] | None
    rates: NDArray[np.float64]
    members: NDArray[np.int64]

    @property
    def n_visits(self) -> int:
        """Samples of an epoch."""
        return len(self.x) if self.order is None else int(self.order.shape[-1])


@dataclass(frozen=True)
class Call:
    """What the kernels of one call have in common, on the device.

    Attributes
    ----------
    arrays : tuple of array
        Parameters, moments, buffers, samples, targets, weights, order, rates, settings, counters, losses.
    sizes : tuple of NumPy scalar
        Samples that there are, samples of an epoch and of an update, rates of an epoch; whether weights, order and
        rates are those of each model, -1 for an order that there is not.
    members, progress : array
        Which models are trained; (2,) int64, the update that comes next and the last one.
    """

    arrays: tuple[DeviceArray, ...]
    sizes: tuple[Any, ...]
    members: DeviceArray
    progress: DeviceArray


class Training:
    """Whole epochs of one model, or of many, in one launch.

    What a call needs beside the data goes up in one copy, and the losses come down in one: the host waits once.

    Parameters
    ----------
    network : Network
    n_models, batch : int
    limits : Limits
        Of the device.
    """

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        self.network, self.n_models, self.batch, self.limits = network, n_models, batch, limits
        self._numbers = np.array(numbers_of(network, n_models))
        self._numbers_there = cupy.asarray(self._numbers)
        self._no_order = cupy.zeros(1, np.int64)
        self._held = cupy.empty(0, network.dtype)
        self._uploads = Uploads()
        self._turn = threading.Lock()

    def run(self, vectors: Vectors, epochs: Epochs) -> NDArray[np.float64]:
        """Train, and return the loss of each epoch and model; waits for the device.

        Returns
        -------
        losses : (n_epochs, n_members) array
        """
        with self._turn:  # What is kept from call to call is for one of them at a time.
            call = self._call(vectors, epochs)
            self._launch(vectors, call, len(epochs.rates) * -(-epochs.n_visits // self.batch))
            losses = call.arrays[-1].get()
        return total_to_value(losses, self.network.loss, epochs.n_visits)

    def _launch(self, vectors: Vectors, call: Call, n_updates: int) -> None:
        """Put all updates on the current stream."""
        launch, step = self._launcher(vectors, call), max(1, min(MAX_UPDATES, MAX_VISITS // self.batch))
        for first in range(0, n_updates, step):
            launch(np.int64(first), np.int64(min(first + step, n_updates)))

    def _launcher(self, vectors: Vectors, call: Call) -> Callable[[Any, Any], None]:
        """Return a function that trains from one update to another."""
        raise NotImplementedError

    def _rates(self, vectors: Vectors, epochs: Epochs) -> NDArray[Any]:
        """Return the learning rates as the kernels take them."""
        return epochs.rates

    def _call(self, vectors: Vectors, epochs: Epochs) -> Call:
        """Bring up what is new in a call."""
        (n_epochs, n_rates), n_visits, order = epochs.rates.shape[:2], epochs.n_visits, epochs.order
        host = [
            np.zeros((n_epochs, len(epochs.members))),
            self._rates(vectors, epochs),
            vectors.counters,
            epochs.members,
            np.array([0, n_epochs * -(-n_visits // self.batch)]),
        ]
        host += [] if vectors.models is None else [self._numbers[vectors.models]]
        host += [order] if isinstance(order, np.ndarray) else []
        losses, rates, counters, members, progress, *more = self._uploads(host)
        numbers = self._numbers_there if vectors.models is None else more[0]
        # What there is not is stood in for by what there is, and not read: a pointer that is null hides mistakes.
        weight = epochs.x if epochs.weight is None else epochs.weight
        placed = self._no_order if order is None else more[-1] if isinstance(order, np.ndarray) else order
        own = (
            np.int32(epochs.weight is not None and epochs.weight.ndim == 2),
            np.int32(-1 if order is None else order.ndim == 3),
            np.int32(epochs.rates.ndim == 3),
        )
        return Call(
            arrays=(
                *(vectors.parameters, vectors.moments, self._as_held(vectors.held), epochs.x, epochs.t, weight, placed),
                *(rates, numbers, counters, losses),
            ),
            sizes=(np.int64(len(epochs.x)), np.int64(n_visits), np.int64(self.batch), np.int64(n_rates), *own),
            members=members,
            progress=progress,
        )

    def _as_held(self, held: DeviceArray) -> DeviceArray:
        """Return buffers in the network's dtype: converted, they lie in the same place in each call, as graphs need."""
        if held.dtype == self.network.dtype and held.flags.c_contiguous:
            return held
        if self._held.shape != held.shape:
            self._held = cupy.empty(held.shape, self.network.dtype)
        if held.size:
            self._held[...] = held
        return self._held


class PersistentTraining(Training):
    """A block for each model."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        shape = self._cut()
        if shape is None:
            raise ValueError(
                f"a network must fit into {limits.shared_bytes} bytes of shared memory; this one does not."
            )
        self.shape, self.prelude = shape, prelude(network, shape)

    def _cut(self) -> Shape | None:
        return persistent_shape(self.network, self.n_models, self.batch, self.limits)

    def _launcher(self, vectors: Vectors, call: Call) -> Callable[[Any, Any], None]:
        function = kernel("persistent.cu", "persistent", self.prelude, dynamic=True)
        n_members, n_together = len(call.members), self.shape.models
        grid, block = (-(-n_members // n_together),), (n_together * self.shape.threads,)
        arguments = (*call.arrays, call.members, np.int64(vectors.n_models), np.int64(n_members), *call.sizes)

        def launch(first: Any, last: Any) -> None:
            function(grid, block, (*arguments, first, last), shared_mem=self.prelude.shared_bytes)

        return launch


class WarpTraining(PersistentTraining):
    """A warp for each model, several in a block."""

    def _cut(self) -> Shape | None:
        return warp_shape(self.network, self.n_models, self.batch, self.limits)


class RegistersTraining(Training):
    """A thread for each model."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        shape = registers_shape(network, n_models, batch, limits)
        if shape is None:
            raise ValueError("a network must fit into the registers of a thread; this one does not.")
        self.shape, self.prelude = shape, prelude(network, shape)

    def _launcher(self, vectors: Vectors, call: Call) -> Callable[[Any, Any], None]:
        *_, own_weight, own_order, _ = call.sizes
        own_rows = bool(own_weight or own_order > 0)
        function = kernel("registers.cu", f"registers<{str(own_rows).lower()}>", self.prelude)
        n_members = len(call.members)
        grid, block = (-(-n_members // self.shape.threads),), (self.shape.threads,)
        arguments = (*call.arrays, call.members, np.int64(vectors.n_models), np.int64(n_members), *call.sizes)

        def launch(first: Any, last: Any) -> None:
            function(grid, block, (*arguments, first, last))

        return launch


class RepeatedTraining(Training):
    """Some launches for each update of one model, many updates in a CUDA graph that is kept from call to call."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        if n_models != 1:
            raise ValueError(f"graphs of launches train one model; got n_models={n_models}.")
        self._repeated = Repeated()

    def _rates(self, vectors: Vectors, epochs: Epochs) -> NDArray[Any]:
        return rates_of(self.network, epochs, self.batch, int(vectors.counters[0, 0]))


class SpreadTraining(RepeatedTraining):
    """The rows of each batch shared by many blocks; two launches an update."""

    def __init__(self, network: Network, n_models: int, batch: int, limits: Limits) -> None:
        super().__init__(network, n_models, batch, limits)
        shape = spread_shape(network, batch, limits)
        if shape is None:
            raise ValueError(
                f"a network must fit into {limits.shared_bytes} bytes of shared memory; this one does not."
            )
        self.shape, self.prelude = shape, prelude(network, shape)
        n_blocks = min(-(-batch // shape.rows), BLOCKS_OF_A_MULTIPROCESSOR * limits.multiprocessors)
        dtype, n_parameters = network.dtype, self.prelude.n_parameters
        self._parts = cupy.empty((n_blocks, n_parameters), dtype)
        self._part_losses = cupy.empty(n_blocks, np.float64)
        self._gradients = cupy.empty(n_parameters, dtype)

    def _launch(self, vectors: Vectors, call: Call, n_updates: int) -> None:
        parameters, moments, held, x, t, weight, order, rates, numbers, counters, losses = call.arrays
        _, n_visits, batch, _, _, own_order, _ = call.sizes
        base, parts, part_losses, gradients = call.progress, self._parts, self._part_losses, self._gradients
        n_blocks, n_parameters, ordered = len(parts), self.prelude.n_parameters, np.int32(own_order >= 0)
        names = ("spread_gradients", "spread_change", "spread_change_by_norm", "spread_advance")
        find, change, change_by_norm, advance = (
            kernel("spread.cu", name, self.prelude, names, dynamic=name == "spread_gradients") for name in names
        )

        def update(offset: int) -> None:
            place = (base, np.int64(offset))
            find(
                (n_blocks,),
                (self.shape.threads,),
                (
                    *(parameters, held, x, t, weight, order, ordered, numbers, counters, parts, part_losses),
                    *(*place, n_visits, batch),
                ),
                shared_mem=self.prelude.shared_bytes,
            )
            change(
                (-(-n_parameters // 32),),
                (256,),
                (
                    *(parameters, moments, parts, part_losses, np.int32(n_blocks), rates, numbers, gradients, losses),
                    *(*place, n_visits, batch),
                ),
            )
            if self.network.optimizer.clip_norm is not None:
                change_by_norm((1,), (512,), (parameters, moments, rates, numbers, gradients, *place))

        def updates(count: int) -> None:
            for offset in range(count):
                update(offset)
            advance((1,), (1,), (base, np.int64(count)))

        self._repeated(updates, places_of((*call.arrays, base, n_visits, batch, ordered)), n_updates)


BLOCKS_OF_A_MULTIPROCESSOR = 2
"""Blocks that share a batch: more would only add parts to be summed."""


def rates_of(network: Network, epochs: Epochs, batch: int, step: int) -> NDArray[Any]:
    """Return (n_updates, 3): rate, root and what is kept of a parameter, for all updates from ``step`` on."""
    n_updates = -(-epochs.n_visits // batch)
    rates = np.broadcast_to(epochs.rates, (len(epochs.rates), max(n_updates, epochs.rates.shape[1])))[:, :n_updates]
    rate = rates.reshape(-1)
    table = np.ones((len(rate), 3))
    table[:, 0] = rate
    kind, settings = network.optimizer.kind, [float(value) for value in numbers_of(network, 1)[0]]
    if kind in ("adam", "adamw"):
        steps = step + 1.0 + np.arange(len(rate))
        table[:, 0] = rate / (1.0 - settings[0] ** steps)
        table[:, 1] = 1.0 / np.sqrt(1.0 - settings[1] ** steps)
        if kind == "adamw":
            table[:, 2] = 1.0 - rate * settings[3]
    return table.astype(network.dtype)


def total_to_value(totals: NDArray[np.float64], loss: Loss, n_samples: int) -> NDArray[np.float64]:
    """Return losses from the sums over elements and samples."""
    values: NDArray[np.float64] = totals * loss.scale / (n_samples if loss.mean else 1)
    return values
