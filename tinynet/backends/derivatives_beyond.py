"""How values, jets and gradients go through what standardises samples or batches, or embeds; see ``derivatives``.

In predictions a batch norm is a map of each column by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tinynet_kernels.reference.embedding import levels_of

from tinynet.program import BatchNormOp, EmbeddingOp, LayerNormOp

Array = NDArray[Any]
Arrays = tuple[Array, ...]


class Jet(NamedTuple):
    """Values with their derivatives along some directions.

    Attributes
    ----------
    value : (n_samples, n) array
    first : (n_samples, n_directions, n) array
    second : (n_samples, n_directions, n_directions, n) array or None
    """

    value: Array
    first: Array
    second: Array | None


# -- batch norm ------------------------------------------------------------------------------------------------------


def _columns(op: BatchNormOp, arrays: Arrays) -> tuple[Array, Array, Array, Array]:
    """Return the factor of each column, what is added, the running mean, and 1 by the root of the variance."""
    mean, variance = arrays[-2:]
    inverse = 1.0 / np.sqrt(variance + op.eps)
    weight, bias = arrays[:2] if op.affine else (np.ones_like(mean), np.zeros_like(mean))
    return weight * inverse, bias, mean, inverse


def batch_norm(op: BatchNormOp, arrays: Arrays, x: Array) -> Array:
    """Return the output, by the running statistics."""
    factor, bias, mean, _ = _columns(op, arrays)
    y: Array = (x - mean) * factor + bias
    return y


def batch_norm_jet(op: BatchNormOp, arrays: Arrays, jet: Jet) -> Jet:
    """Return the output with its derivatives."""
    factor = _columns(op, arrays)[0]
    second = None if jet.second is None else jet.second * factor
    return Jet(batch_norm(op, arrays, jet.value), jet.first * factor, second)


def batch_norm_back(op: BatchNormOp, arrays: Arrays, x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    """Return the gradient by ``x``; write those by what the layer has, its running statistics too, to ``own``."""
    factor, _, mean, inverse = _columns(op, arrays)
    if own is not None:
        away = x - mean
        learned = [dy * away * inverse, dy] if op.affine else []
        own[...] = np.hstack([*learned, -dy * factor, -0.5 * dy * away * factor * inverse**2])
    return dy * factor


# -- layer norm ------------------------------------------------------------------------------------------------------


def _standardised(op: LayerNormOp, x: Array) -> tuple[Array, Array]:
    """Return what is standardised, and the roots of the variances, (n_samples, 1)."""
    away = x - x.mean(axis=-1, keepdims=True)
    root = np.sqrt((away * away).mean(axis=-1, keepdims=True) + op.eps)
    return away / root, root


def layer_norm(op: LayerNormOp, arrays: Arrays, x: Array) -> Array:
    """Return the output."""
    xhat = _standardised(op, x)[0]
    return xhat * arrays[0] + arrays[1] if op.affine else xhat


def layer_norm_jet(op: LayerNormOp, arrays: Arrays, jet: Jet) -> Jet:
    """Return the output with its derivatives.

    With ``u`` the distance from the mean, ``s`` the root and ``h = u / s``, ``h_i = (u_i - h s_i) / s`` and ``s_i =
    <h, u_i> / n``; their derivatives once more are ``h_ij = (u_ij - h_i s_j - h_j s_i - h s_ij) / s`` and ``s_ij =
    (<h_j, u_i> + <h, u_ij>) / n``.
    """
    h, s = _standardised(op, jet.value)
    h_, s_ = h[:, np.newaxis], s[:, np.newaxis]
    u1 = jet.first - jet.first.mean(axis=-1, keepdims=True)
    s1 = (h_ * u1).mean(axis=-1, keepdims=True)
    h1 = (u1 - h_ * s1) / s_
    second = None
    if jet.second is not None:
        h_, s_ = h_[:, np.newaxis], s_[:, np.newaxis]
        u2 = jet.second - jet.second.mean(axis=-1, keepdims=True)
        s2 = (h1[:, np.newaxis] * u1[:, :, np.newaxis]).mean(axis=-1, keepdims=True)
        s2 = s2 + (h_ * u2).mean(axis=-1, keepdims=True)
        crossed = h1[:, :, np.newaxis] * s1[:, np.newaxis]
        second = (u2 - crossed - crossed.swapaxes(1, 2) - h_ * s2) / s_
    if not op.affine:
        return Jet(h, h1, second)
    weight, bias = arrays
    return Jet(h * weight + bias, h1 * weight, None if second is None else second * weight)


def layer_norm_back(op: LayerNormOp, arrays: Arrays, x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    """Return the gradient by ``x``; write those by weight and bias to ``own``."""
    xhat, root = _standardised(op, x)
    if own is not None and op.affine:
        own[...] = np.hstack([dy * xhat, dy])
    g = dy * arrays[0] if op.affine else dy
    along = (g * xhat).mean(axis=-1, keepdims=True)
    dx: Array = (g - g.mean(axis=-1, keepdims=True) - xhat * along) / root
    return dx


# -- embedding -------------------------------------------------------------------------------------------------------


def embedding(op: EmbeddingOp, arrays: Arrays, x: Array) -> Array:
    """Return the output."""
    y = np.empty((len(x), op.n_out), x.dtype)
    for source, place, table in op.pieces:
        rows = x[:, source] if table < 0 else arrays[table][levels_of(x[:, source.start], op.levels[table])]
        y[:, place] = rows
    return y


def embedding_jet(op: EmbeddingOp, arrays: Arrays, jet: Jet) -> Jet:
    """Return the output with its derivatives: a level has no neighbour, so those of vectors are 0."""
    made = [None if a is None else np.zeros((*a.shape[:-1], op.n_out), a.dtype) for a in (jet.first, jet.second)]
    for source, place, table in op.pieces:
        if table < 0:
            for new, old in zip(made, (jet.first, jet.second), strict=True):
                if new is not None and old is not None:
                    new[..., place] = old[..., source]
    first, second = made
    assert first is not None
    return Jet(embedding(op, arrays, jet.value), first, second)


def embedding_back(op: EmbeddingOp, arrays: Arrays, x: Array, y: Array, dy: Array, own: Array | None) -> Array:
    """Return the gradient by ``x``; write those by the tables to ``own``."""
    dx, starts = np.zeros_like(x), np.cumsum([0, *(table.size for table in arrays)])
    if own is not None:
        own[...] = 0
    for source, place, table in op.pieces:
        if table < 0:
            dx[:, source] = dy[:, place]
        elif own is not None:
            of_table = own[:, starts[table] : starts[table + 1]]
            first = levels_of(x[:, source.start], op.levels[table]) * op.sizes[table]
            for i, at in enumerate(first):
                of_table[i, at : at + op.sizes[table]] = dy[i, place]
    return dx
