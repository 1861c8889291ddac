"""The CuPy backend: the CUDA kernels on the arrays of one NVIDIA GPU.

Everything is put on the current stream. Data go up once a call; the host waits for the device only to read losses, and
to know that data and parameters are finite.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinynet.backends.base import Array, Backend, Derivatives, FloatArray, Granularity, Plan, State, fresh_state
from tinynet.backends.cupy import environment
from tinynet.backends.cupy.memory import in_units, storable, storable_dtype
from tinynet.backends.cupy.slices import SlicedPlan, bytes_of_state, hosted
from tinynet.backends.derivatives import derivatives_of
from tinynet.backends.mapped import MappedPlan
from tinynet.backends.members import MembersPlan
from tinynet.backends.numpy import decay_reason, frozen_reason, slopes_reason, slow_reason
from tinynet.backends.second_order import takes_all_samples, whole_plan
from tinynet.backends.standardising import StandardisedPlan, begins_standardising
from tinynet.base.arrays import dlpack_device, is_cupy, on_disk, refuse_gradients, resolved
from tinynet.base.checks import whole
from tinynet.base.errors import DeviceMemoryError
from tinynet.program import Precision, Program, Shape

DATA_SHARE = 0.5
"""Share of the free memory that the data of one call may take: the rest is for activations and predictions."""

STATE_SHARE = 0.5
"""Share of the free memory that the state of an ensemble may take, optimizer and all. A larger one stays outside."""

TENSOR_CORES = 80
"""Compute capability, times ten, of the first GPUs that multiply in TF32 and bfloat16."""

UPLOAD_ROWS = 1 << 16
"""Rows of a file that go up at a time."""

CUDA_MEMORY = (2, 13)
"""DLPack's numbers for memory that a GPU reads: its own, and managed."""


class CuPyBackend(Backend):
    """CUDA kernels on CuPy arrays.

    Parameters
    ----------
    cupy : module
    device : int
        The number of the GPU, from 0.
    """

    def __init__(self, cupy: ModuleType, device: int) -> None:
        self.namespace = cupy
        self.kernels = importlib.import_module("tinynet_kernels.cuda")
        self.device = device
        self.name = f"cupy:{device}" if device else "cupy"

    # -- arrays ------------------------------------------------------------------------------------------------------

    def asarray(self, array: Any, dtype: DTypeLike | None = None) -> Array:
        """Return a C-contiguous array on the device; a copy only where one is needed."""
        return self._on_device(array, dtype, "an array")

    def to_numpy(self, array: Any) -> NDArray[Any]:
        """Return a copy in host memory; what is there already is returned itself."""
        if not is_cupy(array):
            return np.asarray(array)
        with self.active():
            host: NDArray[Any] = array.get()
            return host

    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        """Return an array with arbitrary contents."""
        return self._empty(shape, dtype, "an array")

    def synchronize(self) -> None:
        """Wait until the device has done all work."""
        self.namespace.cuda.Device(self.device).synchronize()

    def active(self) -> AbstractContextManager[None]:
        """Return a context in which this device is the current one, and in which a full device says so."""
        return self._active()

    def following(self) -> Callable[[], AbstractContextManager[None]]:
        """Return what lets another thread work on this device, on the stream that is current here."""
        with self.active():
            stream = self.namespace.cuda.get_current_stream()

        @contextmanager
        def there() -> Iterator[None]:
            # Current devices and streams are those of a thread: a new one begins on device 0, on the null stream.
            with self.active():
                before = self.namespace.cuda.get_current_stream()
                stream.use()
                try:
                    yield
                finally:
                    before.use()

        return there

    @contextmanager
    def _active(self) -> Iterator[None]:
        with self.namespace.cuda.Device(self.device):
            try:
                yield
            except self.namespace.cuda.memory.OutOfMemoryError as error:
                raise self._out_of_memory(f"a temporary array ({error})") from error

    def admit(self, data: Any, name: str) -> Any:
        """Return what lies in the memory of this device as a CuPy array, without a copy; all else as it is."""
        if is_cupy(data):
            array = data
        elif dlpack_device(data) in CUDA_MEMORY:
            refuse_gradients(data, name)
            with self._device_of(data.__dlpack_device__()[1], name):
                array = self.namespace.from_dlpack(resolved(data))
        elif hasattr(data, "__cuda_array_interface__"):
            # CuPy would copy what lies on another device to this one, and say nothing.
            with self._device_of(self._device_holding(data), name):
                array = self.namespace.asarray(data)
        else:
            return data
        with self._device_of(array.device.id, name):
            return array

    def _device_holding(self, data: Any) -> int:
        """Return the number of the device that the memory of an array lies on; this one's if it has none."""
        address, _ = data.__cuda_array_interface__["data"]
        return int(self.namespace.cuda.runtime.pointerGetAttributes(address).device) if address else self.device

    @contextmanager
    def _device_of(self, found: int, name: str) -> Iterator[None]:
        """Check that data lie on this device."""
        if int(found) != self.device:
            raise ValueError(
                f"{name} must lie on GPU {self.device}, where this model computes; got an array on GPU {found}. Move "
                f"the model, net.to('gpu:{found}'), or copy the array: with cupy.cuda.Device({self.device}): "
                f"{name} = cupy.asarray({name})."
            )
        with self.active():
            yield

    def hold(self, **arrays: Array | None) -> tuple[Array | None, ...]:
        """Return data on the device if they fit, else all in host memory, from where they go up in chunks.

        They fit if they take at most ``TINYNET_GPU_DATA_BYTES`` bytes, by default half of what is free. Data whose
        samples (the first array) lie on the device are never streamed.
        """
        given = {name: array for name, array in arrays.items() if array is not None}
        to_move = {name: array for name, array in given.items() if not is_cupy(array)}
        samples = next(iter(given))
        if samples in to_move and sum(array.nbytes for array in to_move.values()) > self.data_bytes():
            return tuple(None if array is None else self.to_numpy(array) for array in arrays.values())
        return tuple(None if array is None else self._on_device(array, None, name) for name, array in arrays.items())

    def data_bytes(self) -> int:
        """Return how many bytes the data of one call may take on the device."""
        asked = _bytes_asked("TINYNET_GPU_DATA_BYTES")
        return int(DATA_SHARE * self.memory()[0]) if asked is None else asked

    def state_bytes(self) -> int:
        """Return how many bytes the state of an ensemble may take on the device."""
        asked = _bytes_asked("TINYNET_GPU_STATE_BYTES")
        return int(STATE_SHARE * self.memory()[0]) if asked is None else asked

    def memory(self) -> tuple[int, int]:
        """Return how many bytes can be allocated, those that CuPy's pool keeps included, and how many there are."""
        with self.namespace.cuda.Device(self.device) as device:
            free, total = device.mem_info
            pool = self.namespace.get_default_memory_pool()
            free += pool.free_bytes()
            if pool.get_limit():
                free = min(free, pool.get_limit() - pool.used_bytes())
            return free, total

    def _on_device(self, array: Any, dtype: DTypeLike | None, name: str) -> Array:
        if is_cupy(array):
            with self._device_of(array.device.id, name):
                return self.namespace.asarray(array, dtype=dtype, order="C")
        source = np.asarray(array)
        if not on_disk(source):
            host = storable(np.asarray(source, dtype=dtype))
            result = self._empty(host.shape, host.dtype, name)
            with self.active():
                result.set(host)
            return result
        # A file may be larger than memory, and have to be converted on the way.
        result = self._empty(source.shape, storable_dtype(source.dtype if dtype is None else np.dtype(dtype)), name)
        with self.active():
            for start in range(0, len(source), UPLOAD_ROWS):
                rows = slice(start, start + UPLOAD_ROWS)
                result[rows].set(storable(np.asarray(source[rows], dtype=dtype)))
        return result

    def _empty(self, shape: Shape, dtype: DTypeLike, name: str) -> Array:
        try:
            with self.namespace.cuda.Device(self.device):
                return self.namespace.empty(shape, dtype)
        except self.namespace.cuda.memory.OutOfMemoryError as error:
            size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
            what = f"{name} of shape {tuple(shape)}, {np.dtype(dtype)}: {in_units(size)}"
            raise self._out_of_memory(what) from error

    def _out_of_memory(self, what: str) -> DeviceMemoryError:
        free, total = self.memory()
        return DeviceMemoryError(
            f"GPU {self.device} has no room for {what}; {in_units(free)} of {in_units(total)} are free. Use a smaller "
            "batch_size or dtype='float32', free what else lies on the device, or let the data stay in host memory "
            "and go up in chunks: TINYNET_GPU_DATA_BYTES=0. The model keeps the weights that it had before the call, "
            "or those of its last complete epoch."
        )

    # -- plans and states --------------------------------------------------------------------------------------------

    def new_state(
        self, program: Program, parameters: FloatArray, dropout_seed: Any = 0, buffers: FloatArray | None = None
    ) -> State:
        """Return a state on the device, or that of an ensemble too large for it in host memory.

        It is too large if it takes more than ``TINYNET_GPU_STATE_BYTES`` bytes, by default half of what is free.
        """
        if program.n_models is None or bytes_of_state(program) <= self.state_bytes():
            return super().new_state(program, parameters, dropout_seed, buffers)
        return fresh_state(program, parameters, dropout_seed, hosted, buffers)

    def new_moments(self, state: State, n_moments: int, n_trained: int) -> Array:
        """Return zeros for what an optimizer remembers, where the parameters lie; see ``Backend.new_moments``."""
        if is_cupy(state.parameters):
            return super().new_moments(state, n_moments, n_trained)
        return hosted(np.zeros((n_moments, *state.parameters.shape[:-1], n_trained), state.parameters.dtype))

    def plan_for(
        self, state: State, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False
    ) -> Plan:
        """Return a plan for a state: in slices, if it is that of an ensemble and lies in host memory."""
        plan = self.plan(program, granularity=granularity, streamed=streamed)
        return plan if is_cupy(state.parameters) else SlicedPlan(plan, self)

    def derivatives(self, program: Program, state: State) -> Derivatives:
        """Return what derives the predictions; see ``Backend.derivatives``."""
        return derivatives_of(program, self, state)

    def plan(self, program: Program, *, granularity: Granularity = "epoch", streamed: bool = False) -> Plan:
        """Return a plan for the program."""
        # These import CuPy, and this module must not: where there is none, it tells so.
        from tinynet.backends.cupy import tiers
        from tinynet.backends.cupy.fused import fused_plan
        from tinynet.backends.cupy.loop import CuPyLoopPlan

        if program.predicts_by_maps:
            return MappedPlan(program, self, self.plan(program.before_maps, granularity=granularity, streamed=streamed))
        if takes_all_samples(program):
            from tinynet.backends.cupy.equations import CuPyEquations

            return whole_plan(program, self, granularity, lambda program: CuPyEquations(program, self))
        self.check_precision(program.precision)
        tiers.check_precision(program.precision)
        reason = slow_reason(program, granularity) or frozen_reason(program) or decay_reason(program)
        reason = reason or slopes_reason(program) or _not_fused(program)
        if reason is None and tiers.wanted() == "loop":
            reason = f"{tiers.ENVIRONMENT}=loop"
        # Streamed data are trained on as resident ones are, so that the results have the same bits.
        folded = reason is None
        if folded and not streamed and begins_standardising(program):
            one = program.n_models is None
            gathering = CuPyLoopPlan(program, self, "") if one else MembersPlan(program, self, granularity)
            rest = self.plan(replace(program, standardised=True), granularity=granularity)
            return StandardisedPlan(program, self, rest, gathering)
        fused = fused_plan(program, self) if folded and not streamed else None
        if fused is not None:
            return fused
        if program.n_models is not None:
            return MembersPlan(program, self, granularity)
        return CuPyLoopPlan(program, self, "data in host memory, which go up in chunks" if streamed else reason, folded)

    def check_precision(self, precision: Precision) -> None:
        """Make sure that this device has tensor cores for a precision; see ``Backend.check_precision``."""
        with self.namespace.cuda.Device(self.device) as device:
            capability = device.compute_capability
        if precision != "float32" and int(capability) < TENSOR_CORES:
            raise ValueError(
                f"precision={precision!r} needs a GPU of compute capability 8.0 or higher; got GPU {self.device}, "
                f"which has {capability[:-1]}.{capability[-1]}. Leave precision out, or use another GPU, as device=1."
            )

    def kernels_for(self, program: Program) -> Any:
        """Return the kernels, with products in the precision of a program, and descent folded into them."""
        functions = {name: getattr(self.kernels, name) for name in self.kernels.__all__}
        return SimpleNamespace(**functions | self.kernels.linear.in_precision(program.precision))

    # -- what `tinynet info` tells -----------------------------------------------------------------------------------

    def describe(self) -> dict[str, str]:
        """Return the GPUs, and the versions of the driver and the libraries."""
        cuda, version = self.namespace.cuda, environment.version
        rows = {f"GPU {number}": self._described(number) for number in range(cuda.runtime.getDeviceCount())}
        rows["driver"] = f"for CUDA {version(cuda.runtime.driverGetVersion())}"
        rows["CUDA"] = version(cuda.runtime.runtimeGetVersion())
        rows["NVRTC"] = ".".join(map(str, cuda.nvrtc.getVersion()))
        with cuda.Device(self.device):
            rows["cuBLAS"] = str(cuda.cublas.getVersion(cuda.device.get_cublas_handle()))
        return rows

    def _described(self, number: int) -> str:
        cuda = self.namespace.cuda
        try:
            with cuda.Device(number) as device:
                name = cuda.runtime.getDeviceProperties(number)["name"].decode()
                free, total = device.mem_info
                capability = f"{device.compute_capability[:-1]}.{device.compute_capability[-1]}"
        except cuda.runtime.CUDARuntimeError as error:  # Of one device, in use by others perhaps; the rest are told.
            return f"not usable: {error}"
        return f"{name}, compute capability {capability}, {in_units(free)} of {in_units(total)} free"


def _bytes_asked(name: str) -> int | None:
    """Return the number of bytes that an environment variable asks for; None if it asks for none."""
    text = os.environ.get(name, "").strip()
    return whole(name, int(text) if text.isdigit() else text, at_least=0) if text else None


def _not_fused(program: Program) -> str | None:
    """Tell what of a program the fused kernels do not compute, if there is such a thing."""
    loss, optimizer = program.loss, program.optimizer
    if loss is not None and (loss.l2 or loss.by_weight or loss.report != 1.0):
        return "an L2 penalty or a mean over weights"
    if optimizer is not None and dict(optimizer.settings).get("epsilon_hat"):
        return "Adam with epsilon before the bias correction"
    return None


def create(device: int = 0) -> Backend:
    """Return the backend for a device, or tell why it cannot compute."""
    cupy = environment.usable_cupy(device)
    environment.check_libraries(cupy, device)
    return CuPyBackend(cupy, device)
