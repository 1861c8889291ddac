"""LivePlot: the losses of a training while it runs, in a Jupyter notebook."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from tinynet.base.checks import number
from tinynet.base.warned import warn_caller
from tinynet.plotting.figures import check_plot
from tinynet.plotting.history import plot_history
from tinynet.training.callbacks import Callback
from tinynet.training.logs import Logs

SHARE = 0.1
"""Most of the time of a training that may go into drawing."""


class LivePlot(Callback):
    """Show a plot of the losses below the cell, and renew it while training runs.

    Outside Jupyter there is nothing to show it in: the training runs as without it, and a warning says so.
    ``history.plot()`` draws the same plot anywhere, afterwards. Of an ensemble it shows the median of the models and a
    band from the lowest to the highest.

    Parameters
    ----------
    every_seconds : float
        Time between two drawings; longer where drawing would take more than a tenth of the training.

    Raises
    ------
    DependencyError
        When training begins, if matplotlib is not installed.
    """

    looks_every = None
    first_rank_only = True

    def __init__(self, every_seconds: float = 0.5) -> None:
        self.every_seconds = number("every_seconds", every_seconds, at_least=0.2)
        self._handle: Any = None
        self._next = math.inf

    def on_train_begin(self, logs: Logs) -> None:
        """Find the notebook."""
        check_plot()
        self._handle, self._next = None, math.inf
        if not in_jupyter():
            warn_caller(
                "LivePlot draws in a Jupyter notebook; this is none, and nothing is drawn. "
                "history.plot() draws the losses afterwards."
            )
            return
        from IPython.display import DisplayHandle

        self._handle, self._next = DisplayHandle(), -math.inf
        self._shown = False

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Draw if it is time."""
        if time.monotonic() >= self._next:
            self._draw()

    def on_train_end(self, logs: Logs) -> None:
        """Draw the whole training."""
        if self._handle is not None and len(self.trainer.history):
            self._draw()

    def _draw(self) -> None:
        started = time.monotonic()
        figure = plot_history(self.trainer.history)
        (self._handle.update if self._shown else self._handle.display)(figure)
        self._shown = True
        now = time.monotonic()
        self._next = now + max(self.every_seconds, (now - started) / SHARE)


def in_jupyter() -> bool:
    """Tell whether the code runs in a Jupyter kernel, which shows pictures; a terminal with IPython does not."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None
