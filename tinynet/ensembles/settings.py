"""What each model of an ensemble has of its own: its seed, and its numbers in layers and losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.base.checks import whole
from tinynet.layers import Dropout
from tinynet.layers.layer import Layer
from tinynet.losses import Loss
from tinynet.program import CustomOp, Program, all_ops

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble
    from tinynet.models.sequential import Sequential

_BOOTSTRAP = 0xB0075
"""Makes the generator that draws a bootstrap sample another one than that which draws the order of samples."""


def generators_of(
    n_models: int, seeds: Sequence[int] | None, first: int | None
) -> tuple[list[np.random.Generator], list[int]]:
    """Return the generator of each model and its seed."""
    if seeds is None:
        drawn = np.random.SeedSequence().generate_state(n_models).tolist()
        seeds = drawn if first is None else range(first, first + n_models)
    chosen = [whole("seeds", seed, at_least=0) for seed in seeds]
    if len(chosen) != n_models:
        raise ValueError(f"seeds expects one for each model, {n_models}; got {len(chosen)}.")
    return [np.random.default_rng(seed) for seed in chosen], chosen


def with_frozen(values: NDArray[Any], net: Sequential) -> NDArray[Any]:
    """Return the drawn parameters of models, but in frozen layers those of the network."""
    flat = net.flat_parameters()
    for i in net.frozen:
        layout = net.program.parameter_layout[i]
        start, stop = layout[0][0], layout[-1][0] + int(np.prod(layout[-1][1]))
        values[:, start:stop] = flat[start:stop]
    return values


def check_program(program: Program) -> None:
    """Refuse what cannot be trained many at once, and settings for another number of models."""
    for op in all_ops(program.ops):
        if isinstance(op, CustomOp):
            raise TypeError(
                f"an Ensemble expects built-in layers; got {type(op.layer).__name__}, which holds arrays of one model. "
                "Train a list of Sequential models instead."
            )
    for name, values in program.own_settings.items():
        if len(values) != program.n_models:
            raise ValueError(f"{name} expects one number for each of {program.n_models} models; got {len(values)}.")


def layers_of(layers: Sequence[Layer], members: int | NDArray[np.int64]) -> list[Layer]:
    """Return new layers with the numbers of some models, or of one."""
    own = [layer.fresh_copy() for layer in layers]
    for layer in own:
        if isinstance(layer, Dropout) and isinstance(layer.rate, tuple):
            rates = layer.rate
            layer.rate = rates[members] if isinstance(members, int) else tuple(rates[i] for i in members)
    return own


def joined_layers(ensembles: Sequence[Ensemble]) -> list[Layer]:
    """Return new layers with the numbers of all models of some ensembles."""
    layers = [layer.fresh_copy() for layer in ensembles[0].layers]
    rates = [_joined(values) for values in zip(*(_rates(ensemble) for ensemble in ensembles), strict=True)]
    for layer, rate in zip([layer for layer in layers if isinstance(layer, Dropout)], rates, strict=True):
        layer.rate = rate
    return layers


def _rates(ensemble: Ensemble) -> list[tuple[float, ...]]:
    """Return the rates of each dropout layer, one for each model."""
    rates = [layer.rate for layer in ensemble.layers if isinstance(layer, Dropout)]
    return [rate if isinstance(rate, tuple) else (rate,) * len(ensemble) for rate in rates]


def _joined(values: tuple[tuple[float, ...], ...]) -> float | tuple[float, ...]:
    rates = tuple(rate for own in values for rate in own)
    return rates[0] if len(set(rates)) == 1 else rates


def joined_loss(ensembles: Sequence[Ensemble]) -> Loss | None:
    """Return the loss that all models were trained on, each with its numbers; None if there is no such."""
    first = ensembles[0].loss
    if first is None or all(ensemble.loss is first for ensemble in ensembles):
        return first
    if first.is_custom or any(type(ensemble.loss) is not type(first) for ensemble in ensembles):
        return None
    each = [e.loss.select(i).config() for e in ensembles if e.loss is not None for i in range(len(e))]
    config: dict[str, Any] = {}
    for name, value in each[0].items():
        values = [own[name] for own in each]
        alike = all(other == value for other in values)
        if not (alike or name in first.own_numbers):
            return None
        config[name] = value if alike else values
    return type(first)(**config)


def plain(ensemble: Ensemble) -> tuple[Any, ...]:
    """Return what must be equal for ensembles to be joined: everything but the rates of dropout."""
    ops = [
        (type(op), op.n_in, op.n_out, getattr(op, "kind", ""), getattr(op, "alpha", 0), getattr(op, "bias", 0))
        for op in ensemble.program.ops
    ]
    return (*ops, ensemble.dtype, ensemble.program.precision, ensemble.frozen)


def bootstrap_weights(seeds: Sequence[int], n_samples: int) -> NDArray[np.int64]:
    """Return how often each sample is in the bootstrap sample of each seed, (n_seeds, n_samples)."""
    counts = np.empty((len(seeds), n_samples), np.int64)
    for row, seed in zip(counts, seeds, strict=True):
        drawn = np.random.default_rng([seed, _BOOTSTRAP]).integers(0, n_samples, n_samples)
        row[:] = np.bincount(drawn, minlength=n_samples)
    return counts
