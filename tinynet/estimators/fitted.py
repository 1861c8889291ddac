"""The network of an estimator, whose arrays are the estimator's ``coefs_`` and ``intercepts_``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from tinynet.backends import get_backend
from tinynet.backends.base import Backend, State
from tinynet.base.config import chosen_threads, use_threads
from tinynet.base.turns import Turn, turn_of
from tinynet.estimators import networks
from tinynet.estimators.inputs import admitted
from tinynet.estimators.threads import modest_threads
from tinynet.models.sequential import Sequential

PREDICT_BYTES = 1 << 26
"""Largest part of a sparse matrix, in bytes of its dense form, that is made dense at a time to predict."""

SHOWING = Turn()
"""To make the network of an estimator, and to replace the arrays of ``coefs_`` and ``intercepts_``: all or none."""


class FittedNetwork:
    """An estimator's network: made from ``coefs_`` and ``intercepts_``, which are its arrays from then on."""

    activation: Any
    dropout: Any
    backend: str | Backend | None
    coefs_: networks.Arrays
    intercepts_: networks.Arrays
    n_layers_: int
    out_activation_: str
    _network: Sequential | None
    _masks: int

    @property
    def network_(self) -> Sequential:
        """The fitted network: a ``tinynet.Sequential`` with the parameters of ``coefs_`` and ``intercepts_``."""
        if not hasattr(self, "coefs_"):
            raise AttributeError(f"This {type(self).__name__} instance is not fitted yet: it has no network_.")
        turn = turn_of(self)
        with SHOWING:
            network: Sequential | None = self.__dict__.get("_network")
            if network is None or network.backend is not self._place() or not self._fits(network):
                self._network = self._build(self.coefs_[0].dtype)
                self._show()
                return self._network
            # Within a fit, the network is ahead of copies of its arrays.
            ahead = network.guard.mine or (turn.taken and not turn.mine)
            given = None if ahead or self._shown(network) else networks.flat(self.coefs_, self.intercepts_)
        if given is not None and not np.array_equal(given, network.flat_parameters()):
            network.set_flat_parameters(given)
        return network

    def _build(self, dtype: Any) -> Sequential:
        sizes = [self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_)]
        dropout = networks.checked_rates(networks.one_for_each("dropout", self.dropout, len(sizes) - 2))
        return networks.build(
            sizes,
            self._activations(),
            dropout,
            dtype=dtype,
            backend=self._place(),
            values=networks.flat(self.coefs_, self.intercepts_),
            seed=self.__dict__.get("_dropout_seed", 0),
            draws=self.__dict__.get("_masks", 0),
        )

    def _activations(self) -> list[str]:
        """Return the activation of every layer but the first."""
        hidden = networks.one_for_each("activation", self.activation, self.n_layers_ - 2)
        return [*networks.checked_activations(hidden), self.out_activation_]

    def _place(self) -> Backend:
        return get_backend(self.backend)

    @contextmanager
    def _using_threads(self, rows: int) -> Iterator[None]:
        """Use as many threads as so many rows at a time are worth."""
        threads = modest_threads(rows * sum(coef.size for coef in self.coefs_))
        with use_threads(threads), self._place().using_threads(chosen_threads()):
            yield

    def _fits(self, network: Sequential) -> bool:
        """Whether a network has the shapes of ``coefs_``."""
        layers = networks.linear_layers(network)
        shapes = [(layer.n_in, layer.n_out) for layer in layers]
        return shapes == [coef.shape for coef in self.coefs_] and network.dtype == self.coefs_[0].dtype

    def _shown(self, network: Sequential) -> bool:
        """Whether ``coefs_`` and ``intercepts_`` are the network's own arrays: then nobody has replaced them."""
        layers = networks.linear_layers(network)
        return all(
            coef is layer.weight and intercept is layer.bias
            for coef, intercept, layer in zip(self.coefs_, self.intercepts_, layers, strict=True)
        )

    def _show(self) -> None:
        """Let ``coefs_`` and ``intercepts_`` be the network's arrays, or copies where those are on a device."""
        network = self._network
        assert network is not None
        to_numpy, layers = network.backend.to_numpy, networks.linear_layers(network)
        with SHOWING:
            self.coefs_ = [to_numpy(layer.weight) for layer in layers]
            self.intercepts_ = [to_numpy(layer.bias) for layer in layers]

    def _output(self, X: Any) -> NDArray[Any]:
        """Return the output of the network for samples of the user's, in host memory."""
        check_is_fitted(self)
        X = validate_data(self, admitted(X), accept_sparse=["csr", "csc"], reset=False)
        network = self.network_
        asarray = network.backend.asarray
        with self._using_threads(X.shape[0]):
            if not hasattr(X, "tocsr"):
                return network.predict_on_host(asarray(np.ascontiguousarray(X), network.dtype))
            rows = max(1, PREDICT_BYTES // (X.shape[1] * np.dtype(network.dtype).itemsize))
            matrix = X.tocsr()

            def output(state: State) -> NDArray[Any]:
                parts = (matrix[start : start + rows].toarray() for start in range(0, matrix.shape[0], rows))
                return np.concatenate([network.predict_on_host(asarray(part, network.dtype), state) for part in parts])

            return network.at_one_moment(output)
