"""One update of one model, kernel by kernel: clipping, weight decay, and the step of the optimizer."""

from __future__ import annotations

from typing import Any

from tinynet.backends.base import Array, State
from tinynet.backends.work import Work
from tinynet.program import OptimizerSpec, Program


def update(
    program: Program, kernels: Any, work: Work, state: State, optimizer: OptimizerSpec, learning_rate: float
) -> None:
    """Move the parameters that are trained by ``state.gradients``; ``state.step`` counts this update already."""
    parameters = _trained(program, work, "parameters", state.parameters)
    gradients = _trained(program, work, "gradients", state.gradients)
    if optimizer.clip_value is not None:
        kernels.clip_by_value(gradients, optimizer.clip_value)
    if optimizer.clip_norm is not None:
        kernels.clip_by_norm(gradients, optimizer.clip_norm, work.norm)
    if program.decays:
        gradients = _decayed(program, work, parameters, gradients, optimizer, learning_rate)
    step = getattr(kernels, f"{optimizer.kind}_step")
    settings = [value for _, value in optimizer.settings]
    step(parameters, gradients, state.moments, state.step, learning_rate, *settings)
    if len(program.trained) > 1:
        start = 0
        for part in program.trained:
            stop = start + part.stop - part.start
            state.parameters[part] = parameters[start:stop]
            start = stop


def _decayed(
    program: Program, work: Work, parameters: Array, gradients: Array, optimizer: OptimizerSpec, learning_rate: float
) -> Array:
    """Let each parameter decay as its own number says; return the gradients that the step takes."""
    if optimizer.decoupled:
        for part, decay in program.decays:
            parameters[part] *= 1.0 - learning_rate * decay
        return gradients
    # Whoever looks at the gradients of a loop of their own finds those of the loss.
    out = work.scratch("decayed", gradients.shape, program.dtype)
    out[...] = gradients
    for part, decay in program.decays:
        out[part] += decay * parameters[part]
    return out


def _trained(program: Program, work: Work, name: str, vector: Array) -> Array:
    """Return what of a flat vector is trained, as one: a view, but a copy where it does not lie together."""
    parts = program.trained
    if len(parts) == 1:
        return vector if program.n_trained == len(vector) else vector[parts[0]]
    out = work.scratch(name, (program.n_trained,), program.dtype)
    start = 0
    for part in parts:
        stop = start + part.stop - part.start
        out[start:stop] = vector[part]
        start = stop
    return out
