"""scikit-learn's protocol for callbacks, which its version 1.9 brings; before it there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this version of scikit-learn has no callbacks."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Return the method."""
        return method


__all__ = ["CallbackSupportMixin", "FitTask", "with_callbacks"]


class FitTask:
    """The fit of an estimator as scikit-learn's callbacks see it: a task with a subtask for each iteration.

    Parameters
    ----------
    estimator : estimator
    given : tuple
        What was passed to ``fit``: X, y and sample_weight.
    reconstruct : callable
        Returns the fitted attributes of the present iteration.
    """

    def __init__(self, estimator: Any, given: tuple[Any, Any, Any], reconstruct: Callable[[], Any]) -> None:
        self.estimator, self.reconstruct = estimator, reconstruct
        x, y, sample_weight = given
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"X": x, "y": y, "metadata": metadata}
        self.active = bool(getattr(estimator, "_skl_callbacks", []))
        self.context: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        if self.active:
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin_iteration(self, iteration: int) -> None:
        """Call the hooks at the beginning of an iteration, counted from 0."""
        self.subtask = self.context.subcontext(task_name=f"iteration {iteration}")
        self.subtask.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_iteration(self) -> bool:
        """Call the hooks at the end of the iteration; return whether one of them asks to stop."""
        return bool(
            self.subtask.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self.reconstruct, **self.data
            )
        )

    def end(self) -> None:
        """Call the hooks at the end of the fit."""
        if self.active:
            self.context.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self.reconstruct, **self.data
            )
