"""Checkpoints written before they kept an identity: what they tell of a training, in the words of ``identity``."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tinynet.program import ActivationOp, DropoutOp, LinearOp, LossSpec, NormalizeOp, OptimizerSpec
from tinynet.training.callbacks import Callback
from tinynet.training.identity import Identified, Identity, callback_text, loss_text, op_text

_CLASSES = {cls.__name__: cls for cls in (LinearOp, ActivationOp, DropoutOp, NormalizeOp, LossSpec, OptimizerSpec)}

_SAME = ("dtype", "seeds", "batch size", "shuffle", "shared_order", "drop_last", "number of samples", "figures")
"""What had the same name and the same form."""


def is_older(fingerprint: dict[str, Any]) -> bool:
    """Tell whether a checkpoint has the fingerprint of an older version."""
    return "network" in fingerprint


def translated(fingerprint: dict[str, Any], training: Identified) -> Identity:
    """Return what an older fingerprint tells of a training; what it does not tell, or not well enough, is left out.

    It held no data, no learning rates, and of one model no clipping, no metrics and no validation data.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError
        If it is damaged.
    """
    found = {name: fingerprint[name] for name in _SAME if name in fingerprint}
    network = fingerprint["network"]
    found |= {f"layer {i}": op_text(op) for i, op in enumerate(map(_read, network)) if op is not None}
    found |= {f"layer {i}": None for i in range(len(network), len(training.plan.program.ops))}
    found |= _loss(fingerprint["loss"], training) | _optimizer(fingerprint["optimizer"])
    names = [*fingerprint.get("watches", ()), *fingerprint["callbacks"]]
    told: Identity = json.loads(json.dumps(found | {"callbacks": _named(names, training.remembering)}))
    return told


def _loss(kept: Any, training: Identified) -> Identity:
    spec = training.plan.program.loss
    if isinstance(kept, str):  # Of an ensemble, the repr of it all.
        spec = _read(kept)
    elif spec is not None:
        kind, parameter, reduction = kept
        spec = replace(spec, kind=kind, parameter=parameter, reduction=reduction)
    return {} if spec is None or spec.custom is not None else {"loss": loss_text(spec)}


def _optimizer(kept: Any) -> Identity:
    if not isinstance(kept, str):
        kind, settings = kept
        return {"optimizer": kind, **dict(settings)}
    spec = _read(kept)
    if spec is None:
        return {}
    return {"optimizer": spec.kind, **dict(spec.settings), "clip_norm": spec.clip_norm, "clip_value": spec.clip_value}


def _named(names: Sequence[str], callbacks: Sequence[Callback]) -> list[str]:
    """Return callbacks that were kept by name, with the settings of those that are here now."""
    here = {type(callback).__name__: callback_text(callback) for callback in callbacks}
    return [here.get(name, f"{name}()") for name in names]


def _read(text: str) -> Any:
    """Return the frozen data that a ``repr`` describes; None where it holds what only Python objects tell."""
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"it holds a damaged description: {error}") from error
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id not in _CLASSES:
        return None
    try:
        values = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError:
        return None
    return _CLASSES[call.func.id](**values)
