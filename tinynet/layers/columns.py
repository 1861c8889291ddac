"""Columns: what layers share that hold the mean and the scale of data, and are not trained."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, State
from tinynet.backends.ranks.alone import Alone
from tinynet.backends.ranks.parts import blocks_of
from tinynet.base.arrays import as_real_array_anywhere, as_samples, numpy_namespace
from tinynet.base.checks import whole
from tinynet.base.gaps import check_measured, with_gaps
from tinynet.base.guard import Guard
from tinynet.base.statistics import BLOCK_ROWS, moments
from tinynet.layers.initializers import Ones, Zeros
from tinynet.layers.layer import Layer


class Columns(Layer):
    """Two stored numbers for each column, which ``adapt`` takes from data and no optimizer touches."""

    stored: ClassVar[tuple[str, str]]
    """Names of the arrays: what is subtracted, and what is divided by."""

    def __init__(self, n: int) -> None:
        self._begin(n, 1)

    def _begin(self, n: int, blocks: int) -> None:
        """Be a layer of ``n`` columns of data, in so many blocks."""
        super().__init__()
        self.n = whole("n", n)
        self.n_in = self.n_out = n = self.n * blocks
        subtracted, divisor = self.stored
        self.add_parameter(subtracted, (n,), Zeros(), trainable=False)
        self.add_parameter(divisor, (n,), Ones(), trainable=False)
        self._adapted = False

    @property
    def adapted(self) -> bool:
        """Whether the columns are those of data: from ``adapt``, or from a file."""
        return self._adapted

    def _adapt(self, data: Any, name: str, comm: Any, *, gaps: bool = False) -> None:
        """Take the mean and the standard deviation of each column of data; see ``Normalize.adapt``.

        With ``gaps``, of the numbers in it that are not NaN.
        """
        from tinynet.backends.ranks.team import session_of  # Predictions need it as little as what trains.

        with session_of(comm) as team:
            self._adapt_in(team, data, name, gaps)

    def _adapt_in(self, team: Alone, data: Any, name: str, gaps: bool) -> None:
        if self._guard is not None:
            self._guard.check("adapt")
        backend = self._backend or get_backend()
        with backend.active():
            array = as_real_array_anywhere(backend.admit(data, name), name)
            if array.ndim == 1 and self.n == 1 and name == "y":
                array = array.reshape(-1, 1)
            if gaps:
                samples = with_gaps(array, name, self.n, "float64")
            else:
                samples = as_samples(array, name, self.n, "float64", expects=repr(self))
            # Of several ranks each has whole blocks of all samples, so that they find what one process finds.
            samples = team.dealt(samples, blocks_of(BLOCK_ROWS))
            mean, scale, count = moments(samples, gaps=gaps, stacked=team.stacked)
            check_measured(count, name)
            # A column that varies by no more than its own rounding is constant: dividing would only magnify noise.
            scale = numpy_namespace(scale).where(scale <= abs(mean) * 1e-12, 1.0, scale)
            with self.changing():
                self._keep(mean, scale)
                self._adapted = True

    @abstractmethod
    def _keep(self, mean: Array, scale: Array) -> None:
        """Store what the layer needs of the columns of data."""

    def load_buffers(self, values: dict[str, NDArray[Any]]) -> None:
        """Take up the columns from a file."""
        with self.changing():
            super().load_buffers(values)
            self._adapted = True

    def fresh_copy(self) -> Columns:
        """Return a copy that belongs to no model, with the columns that this layer holds."""
        other = super().fresh_copy()
        assert isinstance(other, Columns)
        if self.adapted:
            assert self._backend is not None
            columns = {name: self._backend.to_numpy(getattr(self, name)) for name in self.buffer_names}
            other.build(self._dtype, backend=self._backend)
            other.load_buffers(columns)
        return other

    def join(self, state: State, backend: Backend, dtype: str, guard: Guard | None = None) -> None:
        """Belong to a model, with the columns that the layer holds."""
        adapted = self.adapted
        super().join(state, backend, dtype, guard)
        self._adapted = adapted

    def _write_buffers(self) -> None:
        super()._write_buffers()
        self._adapted = False

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"n": self.n}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.n})"
