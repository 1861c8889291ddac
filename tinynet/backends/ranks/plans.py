"""Which plan the ranks of a team train a program with."""

from __future__ import annotations

from tinynet.backends.base import Backend, Plan
from tinynet.backends.ranks.divided import Divided
from tinynet.backends.ranks.plan import RanksPlan
from tinynet.backends.ranks.whole import WholeRanksPlan
from tinynet.backends.second_order import takes_all_samples
from tinynet.program import BatchNormOp, Program, all_ops


def ranks_plan(program: Program, backend: Backend, team: Divided) -> Plan:
    """Return the plan of a model that the ranks of a team train together.

    Raises
    ------
    ValueError
        If the loss is code of the user's, which need not be a sum over samples, or a layer mixes those of a batch.
    """
    custom = None if program.loss is None else program.loss.custom
    if custom is not None and not hasattr(custom, "scalar_functions"):
        raise ValueError(
            "fit(comm=..., deterministic=...) adds up what it finds for parts of the samples, so it expects a loss "
            f"that is a sum over samples; {type(custom).__name__} need not be one. Write it as tn.ElementwiseLoss or "
            "tn.ScalarLoss."
        )
    if any(isinstance(op, BatchNormOp) for op in all_ops(program.ops)):
        raise ValueError(
            "fit(comm=..., deterministic=...) adds up what it finds for parts of a batch, so it expects layers that "
            "take each sample by itself; BatchNorm takes the mean of the batch. Use tn.LayerNorm."
        )
    return (WholeRanksPlan if takes_all_samples(program) else RanksPlan)(program, backend, team)
