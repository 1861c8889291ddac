"""Picking models of an ensemble, and joining ensembles; what comes out shares nothing with what went in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinynet.backends.base import State
from tinynet.ensembles.settings import joined_layers, joined_loss, layers_of, plain
from tinynet.models.sequential import Sequential

if TYPE_CHECKING:
    from tinynet.ensembles.ensemble import Ensemble


def model_of(models: Ensemble, state: State, i: int) -> Sequential:
    """Return one model, in a state of them all."""
    backend = models.backend
    values = backend.to_numpy(state.parameters[i])
    settings: dict[str, Any] = {"dtype": models.dtype, "backend": backend, "precision": models.program.precision}
    net = Sequential(*layers_of(models.layers, i), seed=models.seeds[i], initial_values=values, **settings)
    with backend.active():
        net.state.buffers[...] = backend.asarray(state.buffers[i])
    net.state.dropout_seed, net.state.draws = int(state.dropout_seed[i]), int(state.draws[i])
    net.rng = _copied(models.generators[i])
    net.loss, net.metadata = models.loss and models.loss.select(i), dict(models.metadata)
    return net


def selected(models: Ensemble, now: State, members: NDArray[np.int64]) -> Ensemble:
    """Return some models, in a state of them all."""
    program = models.program.select(members.tolist())
    values, buffers = (models.backend.to_numpy(array)[members] for array in (now.parameters, now.buffers))
    state = models.backend.new_state(program, values, now.dropout_seed[members], buffers)
    state.draws[...] = now.draws[members]
    generators = [_copied(models.generators[i]) for i in members]
    own_seeds = [models.seeds[i] for i in members]
    made = models._of(layers_of(models.layers, members), program, state, models.backend, own_seeds, generators)
    made.loss, made.metadata = models.loss and models.loss.select(members.tolist()), dict(models.metadata)
    made.scores = {name: values[members] for name, values in models.scores.items()}
    return made


def joined(ensembles: Sequence[Ensemble]) -> Ensemble:
    """Return the models of several ensembles of one network.

    Raises
    ------
    ValueError
        If they are not of one network.
    """
    first = ensembles[0]
    for other in ensembles:
        if plain(other) != plain(first) or other.backend is not first.backend:
            raise ValueError(
                "concatenate expects ensembles of the same layers, frozen or not, dtype, precision and backend; got "
                "others. "
                "Build them from one network."
            )
    layers = joined_layers(ensembles)
    widths = [op.n_in for op in first.program.ops]
    ops = tuple(layer.lower(n, i) for i, (layer, n) in enumerate(zip(layers, widths, strict=True)))
    program = replace(first.program, ops=ops, n_models=sum(map(len, ensembles)))
    each = [ensemble.vectors() for ensemble in ensembles]
    values = {name: np.concatenate([vectors[name] for vectors in each]) for name in each[0]}
    state = first.backend.new_state(program, values["parameters"], values["dropout_seed"], values["buffers"])
    state.draws[...] = values["draws"]
    seeds = [seed for ensemble in ensembles for seed in ensemble.seeds]
    generators = [_copied(rng) for ensemble in ensembles for rng in ensemble.generators]
    made = first._of(layers, program, state, first.backend, seeds, generators)
    made.loss, made.metadata = joined_loss(ensembles), dict(first.metadata)
    shared = set.intersection(*(set(ensemble.scores) for ensemble in ensembles))
    made.scores = {name: np.concatenate([e.scores[name] for e in ensembles]) for name in first.scores if name in shared}
    return made


def _copied(rng: np.random.Generator) -> np.random.Generator:
    other = np.random.default_rng(0)
    other.bit_generator.state = rng.bit_generator.state
    return other
