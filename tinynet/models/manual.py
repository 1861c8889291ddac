"""ManualLoop: weights, and passes forward and backward, for those who write their own loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynet.backends.base import Array, on_backend, views
from tinynet.backends.byhand import ByHand
from tinynet.backends.loop import LoopPlan
from tinynet.base.arrays import as_real_array_anywhere
from tinynet.models.network import Network

if TYPE_CHECKING:
    from tinynet.optimizers import Optimizer


class ManualLoop(Network):
    """One model whose gradients and weights are there for the taking."""

    _by_hand: ByHand

    @on_backend
    def forward(self, x: Any, training: bool = True) -> Array:
        """Return the output for ``x`` and remember what ``backward`` needs; with ``training``, dropout is on."""
        samples = self._samples(x)
        inputs, program = self.backend.asarray(samples, self.program.reads), self.trained_program
        if not training:
            return self.at_one_moment(lambda state: self._by_hand.forward(program, state, inputs, False, samples))
        with self._in_a_loop("forward"):
            result = self._by_hand.forward(program, self.state, inputs, True, samples)
            self.state.draws += 1  # The next pass draws other masks, whether or not an optimizer steps between.
        return result

    @on_backend
    def backward(self, grad: Any) -> Array:
        """Add to the gradients of the parameters; return the gradient with respect to the input of ``forward``.

        Gradients add up until ``zero_grad``, as in PyTorch.

        Parameters
        ----------
        grad : (n_samples, n_out) array-like
            Gradient of the loss with respect to the output of ``forward``.

        Raises
        ------
        RuntimeError
            If ``forward`` has not run.
        """
        with self._in_a_loop("backward"):
            shape = self._by_hand.shape
            if shape is None:
                raise RuntimeError("backward expects forward(x) to have run before, in this thread; it has not.")
            dy = as_real_array_anywhere(self.backend.admit(grad, "grad"), "grad")
            if dy.shape != shape:
                raise ValueError(
                    f"backward expects a gradient of shape {shape}, as the output of forward; got {dy.shape}."
                )
            before = self.state.gradients.copy()
            dx = self._by_hand.backward(self.state, self.backend.asarray(dy, self.dtype), dy)
            self.state.gradients += before
            return dx

    @on_backend
    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        with self._in_a_loop("zero_grad"):
            self.state.gradients[...] = 0

    @on_backend
    def _apply(self, optimizer: Optimizer) -> None:
        """Make one update; see ``Optimizer.step``."""
        with self._in_a_loop("Optimizer.step"):
            self.prepare_optimizer(optimizer)
            update = optimizer.lower(self.parameter_names)
            plan = self._plan(replace(self.trained_program, optimizer=update), "step")
            assert isinstance(plan, LoopPlan)
            with self.changing():
                plan.update(self.state, float(optimizer.learning_rate))  # type: ignore[arg-type]

    @contextmanager
    def _in_a_loop(self, call: str) -> Iterator[None]:
        """Return a context for a step of a user's own loop; it waits for what another thread does to the model."""
        self.guard.check(call, f"{call} is for a loop of your own, without fit.")
        with self.guard.turn:
            yield

    # -- weights -----------------------------------------------------------------------------------------------------

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the arrays that training changes, ``[weight, bias, weight, bias, ...]``, in host memory.

        Those of a batch norm are ``weight, bias, running_mean, running_var``.
        """
        flat = self.flat_parameters()
        return [array.copy() for layout in self.program.parameter_layout for array in views(flat, layout)]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set the trained arrays; the order is that of ``get_weights``.

        Raises
        ------
        ValueError
            If their number or a shape is wrong, or a value is not finite; no weight is changed then.
        ModelInTrainingError
            If a callback of a training of this model calls it; ``on_train_end`` may. Another thread waits.
        """
        self.guard.check("set_weights", "Change the arrays in place, layer.weight[...] = values, or in on_train_end.")
        shapes = [shape for op in self.program.ops for shape in op.shapes]
        admit, to_numpy = self.backend.admit, self.backend.to_numpy
        arrays = [to_numpy(as_real_array_anywhere(admit(weight, "weights"), "weights")) for weight in weights]
        got = [array.shape for array in arrays]
        if got != shapes:
            raise ValueError(f"set_weights expects arrays of shapes {shapes}; got {got}. Compare with get_weights().")
        flat = np.concatenate([array.ravel() for array in arrays]).astype(self.dtype) if arrays else np.empty(0)
        if not np.isfinite(flat).all():
            raise ValueError(f"set_weights expects finite numbers that fit into {self.dtype}; got others.")
        self.set_flat_parameters(flat)

    def flat_parameters(self) -> NDArray[Any]:
        """Return a copy of all trained parameters, (n_parameters,), in host memory."""
        return self.at_one_moment(lambda state: np.array(self.backend.to_numpy(state.parameters)))

    @on_backend
    def set_flat_parameters(self, values: Array) -> None:
        """Set all trained parameters from (n_parameters,) values, in host memory or of the backend.

        Raises
        ------
        TypeError, ValueError
            If they are no real numbers, or another number of them.
        """
        array = as_real_array_anywhere(self.backend.admit(values, "values"), "values")
        if array.shape != self.state.parameters.shape:
            raise ValueError(
                f"set_flat_parameters expects values of shape {self.state.parameters.shape}; got {array.shape}."
            )
        with self.changing():
            self.state.parameters[...] = self.backend.asarray(array, self.dtype)
