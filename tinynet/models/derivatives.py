"""Derivatives of a model's predictions, for optimisers, controllers and sensitivities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynet.backends.base import Array, State
from tinynet.base.arrays import as_samples
from tinynet.models.network import Network


class Differentiable(Network):
    """One model whose predictions have derivatives; dropout is off, as in predictions.

    Every method computes on the weights that the model has when it is called, in host memory and in the model's dtype;
    any number of threads may call them. Results lie where ``x`` lies.
    """

    _quick_derivatives: dict[str, Callable[..., Array | None]]

    def jacobian(self, x: Any) -> Array:
        """Return the derivatives of the outputs by the inputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like

        Returns
        -------
        jacobian : (n_samples, n_out, n_in) array
            ``jacobian[i, k, j]`` is the derivative of output ``k`` of sample ``i`` by its input ``j``.

        Raises
        ------
        NotImplementedError
            If a layer is written in Python.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(2, 1, weight_init=3.0), dtype="float64")
        >>> net.jacobian([[1.0, 2.0]])
        array([[[3., 3.]]])
        """
        return self._derivative("jacobian", x)

    def hessian(self, x: Any) -> Array:
        """Return the second derivatives of the outputs by the inputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like

        Returns
        -------
        hessian : (n_samples, n_out, n_in, n_in) array
            At the kink of a ReLU, where there is none, it is 0.

        Raises
        ------
        NotImplementedError
            If a layer is written in Python.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(1, 1, weight_init=1.0), tn.Exp(), dtype="float64")
        >>> net.hessian([[0.0]])
        array([[[[1.]]]])
        """
        return self._derivative("hessian", x)

    def jvp(self, x: Any, v: Any) -> Array:
        """Return the derivatives of the outputs along a direction of the inputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        v : (n_samples, n_in) array-like
            A direction for each sample.

        Returns
        -------
        product : (n_samples, n_out) array
            ``jacobian @ v`` of each sample.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(2, 1, weight_init=3.0), dtype="float64")
        >>> net.jvp([[1.0, 2.0]], [[1.0, -0.5]])
        array([[1.5]])
        """
        return self._derivative("jvp", x, (v, self.program.n_in))

    def vjp(self, x: Any, v: Any) -> Array:
        """Return the derivatives of ``sum(v * outputs)`` by the inputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        v : (n_samples, n_out) array-like

        Returns
        -------
        product : (n_samples, n_in) array
            ``v @ jacobian`` of each sample.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(2, 1, weight_init=3.0), dtype="float64")
        >>> net.vjp([[1.0, 2.0]], [[2.0]])
        array([[6., 6.]])
        """
        return self._derivative("vjp", x, (v, self.program.n_out))

    def parameter_jacobian(self, x: Any) -> Array:
        """Return the derivatives of the outputs by the trained parameters.

        Parameters
        ----------
        x : (n_samples, n_in) array-like

        Returns
        -------
        jacobian : (n_samples, n_out, n_parameters) array
            Parameters in the order of ``get_weights``, each array flattened by rows.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(2, 1), dtype="float64")
        >>> net.parameter_jacobian([[5.0, 7.0]])
        array([[[5., 7., 1.]]])
        """
        return self._derivative("parameter_jacobian", x)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _derivative(self, name: str, x: Any, *vectors: tuple[Any, int]) -> Array:
        """Return a derivative by the name of its method, of samples and of vectors, each with its width."""
        # As for predictions: see ``Inference.predict``.
        guard = self.guard
        version = guard.version
        if version % 2 == 0:
            quick = self._quick_derivatives.get(name) or self._make_quick_derivative(name)
            found = quick(x, *[v for v, _ in vectors])
            if found is not None and guard.version == version:
                return found
        samples = self._samples(x)
        given = [self._vectors(v, samples, width) for v, width in vectors]
        rows = self._on_host(samples, self.program.reads)

        def derived(state: State) -> Any:
            return getattr(self.backend.derivatives(self.program, state), name)(rows, *given)

        return self.backend.beside(self.backend.asarray(self.at_one_moment(derived)), samples)

    def _make_quick_derivative(self, name: str) -> Callable[..., Array | None]:
        self._require_adapted()
        made = self._quick_derivatives[name] = self.backend.derivative_of_few(name, self.program, self.state)
        return made

    def _vectors(self, v: Any, samples: Array, width: int) -> Any:
        vectors = as_samples(self.backend.admit(v, "v"), "v", width, self.dtype, expects="the derivative")
        if len(vectors) != len(samples):
            raise ValueError(f"v expects a row for each of {len(samples)} samples; got {len(vectors)}.")
        return self._on_host(vectors, self.dtype)

    def _on_host(self, array: Array, dtype: str) -> Any:
        return np.asarray(self.backend.to_numpy(array), dtype)
