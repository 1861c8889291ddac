"""Where a result that is one number goes."""

from tinynet_kernels._typing import ValueArray


def given(result: float, place: ValueArray | None) -> float | None:
    """Return a result, or write it to the place that the caller has given for it."""
    if place is None:
        return result
    place[0] = result
    return None
