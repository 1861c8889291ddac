"""Which plan the ranks of a team train a program with."""

from __future__ import annotations

from tinynet.backends.base import Backend, Plan
from tinynet.backends.ranks.plan import RanksPlan
from tinynet.backends.ranks.team import Team
from tinynet.backends.ranks.whole import WholeRanksPlan
from tinynet.backends.second_order import takes_all_samples
from tinynet.program import BatchNormOp, Program, all_ops


def ranks_plan(program: Program, backend: Backend, team: Team) -> Plan:
    """Return the plan of a model that the ranks of a team train together.

    Raises
    ------
    ValueError
        If the loss is code of the user's, which need not be a sum over samples, or a layer mixes those of a batch.
    """
    custom = None if program.loss is None else program.loss.custom
    if custom is not None and not hasattr(custom, "scalar_functions"):
        raise ValueError(
            "fit(comm=...) adds up what ranks find for their samples, so it expects a loss that is a sum over samples; "
            f"{type(custom).__name__} need not be one. Write it as tn.ElementwiseLoss or tn.ScalarLoss."
        )
    if any(isinstance(op, BatchNormOp) for op in all_ops(program.ops)):
        raise ValueError(
            "fit(comm=...) expects layers that take each sample by itself; BatchNorm takes the mean of a batch, of "
            "which a rank has a part. Use tn.LayerNorm."
        )
    return (WholeRanksPlan if takes_all_samples(program) else RanksPlan)(program, backend, team)
