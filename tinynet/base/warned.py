"""Warnings, at the line of whoever called tinynet."""

from __future__ import annotations

import os
import sys
import warnings

PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


def warn_caller(text: str, kind: type[Warning] = UserWarning) -> None:
    """Warn, and name the line outside of tinynet from which all of this was called: it is the one to look at.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_caller("the data are large")
    >>> caught[0].filename.startswith(PACKAGE)
    False
    """
    frame, level = sys._getframe(0), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, kind, stacklevel=level)
