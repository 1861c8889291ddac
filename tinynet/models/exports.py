"""Exports: a model as a file of tinynet's, as ONNX, as C, and as a function of CasADi."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from tinynet.backends.base import views
from tinynet.exchange.parts import Parts
from tinynet.models.assembly import checked_dtype
from tinynet.models.network import Network

if TYPE_CHECKING:
    from casadi import Function
    from onnx import ModelProto


class Exports(Network):
    """A ``Sequential`` that can be written to files."""

    def parts(self) -> Parts:
        """Return the model taken apart, as files and formats know it: layers, and copies of their arrays."""
        parameters, buffers = self.at_one_moment(self._host_copies)
        arrays = []
        for i, layer in enumerate(self.layers):
            trained = zip(layer.trainable_names, views(parameters, self.program.parameter_layout[i]), strict=True)
            stored = zip(layer.buffer_names, views(buffers, self.program.buffer_layout[i]), strict=True)
            held = {**dict(trained), **dict(stored)}
            arrays.append({name: held[name].copy() for name in layer.parameter_names})
        return Parts(self.layers, self.dtype, tuple(arrays), self.loss, self.metadata)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file that ``tinynet.load`` reads; a file that is there is replaced atomically.

        Parameters
        ----------
        path : path
            One that ends in ``.safetensors`` is written as such (needs the package safetensors): weights that other
            programs read, the network in the metadata. Any other is written as ``.npz``, which NumPy opens.

        Raises
        ------
        OSError
            If the file cannot be written; what was there stays.
        NotImplementedError
            If a custom layer has no ``config()``.
        DependencyError
            If safetensors is not installed.
        ValueError
            If the path ends in ``.onnx`` or ``.h``: ``to_onnx`` and ``to_c`` write those; or if weights are not finite,
            which ``tinynet.load`` would not take.
        """
        from tinynet.exchange.modelfile import write_model  # Neither training nor predicting needs archives.

        write_model(self.parts(), path)

    def to_onnx(self, path: str | os.PathLike[str] | None = None, *, jacobian: bool = False) -> ModelProto:
        """Return the model as ONNX, for onnxruntime and others that run it; write it to ``path`` if one is given.

        Its one input is ``"input"``, (batch, n_in), its one output ``"output"``, (batch, n_out), in the model's dtype
        and for any number of rows. Dropout is off. Opset 17, and in float64 only what onnxruntime has in float64: some
        activations are several nodes there. Needs the package onnx.

        Parameters
        ----------
        path : path, optional
            A file that is there is replaced atomically.
        jacobian : bool
            Add a second output, ``"jacobian"``, (batch, n_out, n_in): the derivatives by the inputs.

        Returns
        -------
        onnx.ModelProto

        Raises
        ------
        DependencyError
            If onnx is not installed.
        NotImplementedError
            If a layer is written in Python.
        ValueError
            If a weight is not finite, or there are more than 2 GiB of them.

        Examples
        --------
        >>> import tinynet as tn
        >>> proto = tn.Sequential(tn.Linear(2, 3), tn.Tanh()).to_onnx()
        >>> [node.op_type for node in proto.graph.node]
        ['Gemm', 'Tanh']
        """
        from tinynet.exchange.onnx import export_onnx
        from tinynet.exchange.onnx_jacobian import export_with_jacobian

        self._require_adapted()
        return (export_with_jacobian if jacobian else export_onnx)(self.program, self.parts(), path)

    def to_c(
        self,
        path: str | os.PathLike[str] | None = None,
        name: str = "net",
        dtype: DTypeLike | None = None,
        *,
        jacobian: bool = False,
    ) -> str:
        """Return the model as C source, one header without dependencies; write it to ``path`` if one is given.

        It defines ``static inline void net_predict(const float x[n_in], float y[n_out])``, which computes one sample,
        and the constants ``NET_N_IN`` and ``NET_N_OUT``. C99 or C++, with ``<math.h>`` (link with ``-lm``); no memory
        is allocated, the weights are ``static const``. The head of the file tells how much stack it takes.

        Parameters
        ----------
        path : path, optional
            A file that is there is replaced atomically.
        name : str
            What all names in the header start with, so that one program can hold several networks.
        dtype : {"float32", "float64"}, optional
            ``float`` or ``double``; by default the model's.
        jacobian : bool
            Define ``net_jacobian(x, y, j)``, too, which computes the outputs and their derivatives: ``j[k * NET_N_IN +
            i]`` is that of output ``k`` by input ``i``.

        Returns
        -------
        source : str

        Raises
        ------
        NotImplementedError
            If a layer is written in Python.
        ValueError
            If ``name`` can be no part of a C identifier, or a weight is not finite in ``dtype``.

        Examples
        --------
        >>> import tinynet as tn
        >>> source = tn.Sequential(tn.Linear(2, 1, weight_init="ones")).to_c(name="sum")
        >>> [line for line in source.splitlines() if "sum_predict(const" in line]
        ['static inline void sum_predict(const float x[2], float y[1])']
        """
        from tinynet.exchange.c import export_c

        self._require_adapted()
        chosen = checked_dtype(self.dtype if dtype is None else dtype)
        return export_c(self.program, self.parts(), path, name, chosen, jacobian=jacobian)

    def to_casadi(self, name: str = "net") -> Function:
        """Return the model as a function of CasADi, made of CasADi's own operators.

        CasADi differentiates it, compiles it and optimises over it like any other expression. It takes one sample, a
        column of n_in numbers, and gives a column of n_out, in float64. Dropout is off. Needs the package casadi.

        Parameters
        ----------
        name : str
            Of the function.

        Returns
        -------
        casadi.Function

        Raises
        ------
        DependencyError
            If casadi is not installed.
        NotImplementedError
            If a layer is written in Python.
        ValueError
            If a weight is not finite.
        """
        from tinynet.exchange.casadi import export_casadi

        self._require_adapted()
        return export_casadi(self.program, self.parts(), name)

    def to_torch(self) -> Any:
        """Return the model as a ``torch.nn.Sequential`` with copies of its weights, in evaluation mode.

        Its modules are PyTorch's own, but for ``Normalize`` and ``Denormalize``: small modules with columns as buffers.

        Returns
        -------
        torch.nn.Sequential
            On the CPU, in the model's dtype.

        Raises
        ------
        DependencyError
            If PyTorch is not installed.
        NotImplementedError
            If PyTorch has no module for a layer: a formula of your own, a layer written in Python.

        Examples
        --------
        >>> import tinynet as tn
        >>> tn.Sequential(tn.Linear(2, 3), tn.Tanh()).to_torch()[1]  # doctest: +SKIP
        Tanh()
        """
        from tinynet.exchange.to_torch import as_torch

        self._require_adapted()
        return as_torch(self.parts())

    def to_keras(self) -> Any:
        """Return the model as a ``keras.Sequential`` with copies of its weights.

        Keras normalises in the dtype of the model, not in float64: with columns far from 0 it is as exact as that.

        Returns
        -------
        keras.Sequential
            Built, and not compiled.

        Raises
        ------
        DependencyError
            If Keras is not installed.
        NotImplementedError
            If Keras has no layer for one of the model's.

        Examples
        --------
        >>> import tinynet as tn
        >>> tn.Sequential(tn.Linear(2, 3), tn.Tanh()).to_keras().count_params()  # doctest: +SKIP
        9
        """
        from tinynet.exchange.to_keras import as_keras

        self._require_adapted()
        return as_keras(self.parts(), self.program.n_in)
