"""Dates as numbers: how far they lie on the calendar, and where in the year, the week and the day."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DAY = 86400e6
"""Microseconds."""

PARTS = ("days", "year_sin", "year_cos", "week_sin", "week_cos", "day_sin", "day_cos")
"""Days since 1970-01-01, which tell of a trend; then points on circles, where December lies beside January, Sunday
beside Monday and 23 o'clock beside midnight. A circle starts on January 1, on Monday, and at midnight."""

SAME = 1e-9
"""What differs by less is constant: the sine of a whole turn is not quite 0."""


def parts_of(dates: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return all parts of dates, (n_dates, len(PARTS)); NaN for those that are missing.

    Examples
    --------
    >>> parts_of(np.array(["1970-01-08T06:00"], dtype="datetime64[us]")).round(3).tolist()  # A Thursday.
    [[7.25, 0.124, 0.992, 0.223, -0.975, 1.0, 0.0]]
    """
    missing = np.isnat(dates)
    dates = np.where(missing, np.datetime64(0, "us"), dates)
    days = dates.astype(np.int64) / DAY
    years = dates.astype("datetime64[Y]")
    starts, ends = (edge.astype("datetime64[us]").astype(np.int64) / DAY for edge in (years, years + 1))
    turns = np.column_stack([(days - starts) / (ends - starts), (days + 3) % 7 / 7, days % 1])
    angles = 2 * np.pi * turns
    parts = np.column_stack([days, *(f(angle) for angle in angles.T for f in (np.sin, np.cos))])
    parts[missing] = np.nan
    return parts


def parts_that_vary(dates: NDArray[np.datetime64]) -> tuple[str, ...]:
    """Return the names of the parts that tell dates apart: midnights have no hours; the days are always among them.

    Examples
    --------
    >>> parts_that_vary(np.array(["2026-01-05", "2026-01-12"], dtype="datetime64[us]"))
    ('days', 'year_sin', 'year_cos')
    """
    parts = parts_of(dates[~np.isnat(dates)])
    varies = np.ptp(parts, axis=0) > SAME
    circles = varies[1:].reshape(-1, 2).any(axis=1).repeat(2)
    return tuple(name for name, kept in zip(PARTS, [True, *circles], strict=True) if kept)
