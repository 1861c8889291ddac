"""Cross-entropy of the logits in the lanes of one vector."""

import math
from typing import Any

from tinynet_kernels.cpu.compiling import inlined
from tinynet_kernels.cpu.elementary import exp
from tinynet_kernels.cpu.fused import lanes
from tinynet_kernels.cpu.generic import number, select


@inlined
def cross_entropy_index(z: Any, wanted: Any, used: Any) -> tuple[Any, Any]:
    """``-log softmax(z)_c``, and ``softmax(z) - e_c``; ``wanted`` is the mask of class c."""
    shifted, e, total = _exponentials(z, used)
    value = math.log(total) - lanes.total(select(wanted, shifted, number(z, 0)))
    return value, e / total - select(wanted, number(z, 1), number(z, 0))


@inlined
def cross_entropy(z: Any, t: Any, used: Any) -> tuple[Any, Any]:
    """``-sum_j t_j log softmax(z)_j``, whose gradient is ``softmax(z) * sum(t) - t``."""
    shifted, e, total = _exponentials(z, used)
    t_sum = lanes.total(t)
    value = math.log(total) * t_sum - lanes.total(select(used, t * shifted, number(z, 0)))
    return value, e / total * t_sum - t


@inlined
def _exponentials(z: Any, used: Any) -> tuple[Any, Any, Any]:
    """Return the logits less their largest, the exponentials of that, and their sum."""
    # The lowest lane is always in use, and what the others hold must not be the largest.
    highest = lanes.peak(select(used, z, lanes.lane(z, 0)))
    shifted = z - highest
    e = select(used, exp(shifted), number(z, 0))
    return shifted, e, lanes.total(e)
