"""Ensemble: many models of one network, each with its own seed and settings, trained together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tinynet.arrays import as_samples
from tinynet.assembly import checked_precision
from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, Plan, State, on_backend
from tinynet.callbacks import Callback
from tinynet.checks import number, whole
from tinynet.config import chosen_threads, use_threads
from tinynet.data import Data, checked_data, checked_validation, split_data
from tinynet.ensemble_trainer import EnsembleTrainer
from tinynet.history import EnsembleHistory
from tinynet.layer import Layer
from tinynet.layers import Dropout, Normalize
from tinynet.losses import Loss, as_weights, get_loss
from tinynet.metrics import Metric, get_metrics
from tinynet.model import Sequential
from tinynet.optimizers import Optimizer, get_optimizer
from tinynet.program import CustomOp, Program

PREDICT_BYTES = 1 << 26
"""Most memory for the predictions of all models that ``mean``, ``std`` and ``quantile`` hold at a time."""

_BOOTSTRAP = 0xB0075
"""Makes the generator that draws a bootstrap sample another one than that which draws the order of samples."""


class Ensemble:
    """Many models of one network, trained together at the speed of the hardware.

    Model ``i`` is what ``Sequential`` makes of the same layers with the seed ``seeds[i]``: it has the same initial
    weights, sees the samples in the same order, and ends as that net trained alone would.

    Parameters
    ----------
    net : Sequential
        The network; its weights are not used. Only built-in layers can be trained many at once.
    n_models : int
    seeds : (n_models,) ints, optional
        By default ``net.seed, net.seed + 1, ...``, or random ones where ``net`` has no seed.

    Attributes
    ----------
    seeds : list of int
    history : EnsembleHistory or None
        Of the last ``fit``, also when it was interrupted.
    scores : dict of str to (n_models,) array
        The figures of the weights that each model holds, by name: "loss", and with validation data "val_loss".
    metadata : dict
        Notes that are saved with the ensemble; JSON must be able to hold them.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(1, 4), tn.Tanh(), tn.Linear(4, 1), seed=0)
    >>> models = tn.Ensemble(net, n_models=3)
    >>> history = models.fit([[0.0], [1.0]], [[0.0], [2.0]], optimizer=tn.SGD([0.1, 0.01, 0.001]), epochs=5)
    >>> history["loss"].shape, models.predict([[0.5]]).shape
    ((5, 3), (3, 1, 1))
    """

    def __init__(self, net: Sequential, n_models: int, seeds: Sequence[int] | None = None) -> None:
        n_models = whole("n_models", n_models)
        layers = [layer.fresh_copy() for layer in net.layers]
        generators, seeds = _generators(n_models, seeds, net.seed)
        values = np.empty((n_models, net.program.n_parameters), net.dtype)
        dropout_seeds = np.empty(n_models, np.int64)
        for i, rng in enumerate(generators):
            values[i] = np.concatenate([layer.initial_values(rng) for layer in layers])
            dropout_seeds[i] = rng.integers(0, 2**63)
        program = replace(net.program, n_models=n_models)
        _check_program(program)
        state = net.backend.new_state(program, values, dropout_seeds)
        state.buffers[...] = net.state.buffers
        self._hold(layers, program, state, net.backend, seeds, generators)

    def _hold(
        self,
        layers: Sequence[Layer],
        program: Program,
        state: State,
        backend: Backend,
        seeds: list[int],
        generators: list[np.random.Generator],
    ) -> None:
        self.layers, self.program, self.state, self.backend = tuple(layers), program, state, backend
        self.seeds, self.generators, self.dtype = seeds, generators, program.dtype
        self.metadata: dict[str, Any] = {}
        self.scores: dict[str, NDArray[np.float64]] = {}
        self.history: EnsembleHistory | None = None
        self.loss: Loss | None = None
        self.stop_training = False
        self._optimizer: Optimizer | None = None
        self._plans: dict[Program, Plan] = {}

    @classmethod
    def _of(cls, *parts: Any) -> Ensemble:
        made: Ensemble = object.__new__(cls)
        made._hold(*parts)
        return made

    # -- training ----------------------------------------------------------------------------------------------------

    @on_backend
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss = "mse",
        optimizer: str | Optimizer = "adam",
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool | str = True,
        shared_order: bool = False,
        drop_last: bool = False,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        bootstrap: bool = False,
        callbacks: Callback | Sequence[Callback] = (),
        verbose: int = 0,
        resume_from: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ) -> EnsembleHistory:
        """Train all models.

        Parameters
        ----------
        x, y, loss, epochs, batch_size, shuffle, drop_last, validation_data, validation_split, resume_from, threads
            As for ``Sequential.fit``. What models get does not depend on the number of threads.
        optimizer : str or Optimizer
            Every number in it, of its schedule, of the loss and the rates of dropout may be a sequence with one for
            each model.
        shared_order : bool
            All models see the samples in one order, that of the first model. It saves drawing and looking up an order
            for each, which for the smallest networks takes longer than the training itself.
        sample_weight : (n_samples,) or (n_models, n_samples) array-like, optional
            Factor of each sample's loss.
        bootstrap : bool
            Each model is trained on a bootstrap sample of its own (Breiman 1996): ``bootstrap_weights`` are factors
            of the sample weights.
        callbacks : list of Callback
            ``EarlyStopping`` and ``ReduceLROnPlateau`` act on each model by itself; a model that has stopped costs
            nothing more. ``Checkpoint`` counts epochs. Others are called with figures that are (n_models,) arrays.
        verbose : {0, 1, 2}

        Returns
        -------
        EnsembleHistory
            ``history["loss"]`` is (n_epochs, n_models). A model that diverges is stopped and gets the best weights
            back that were seen before; ``history.diverged`` lists such models. The others go on.

        Raises
        ------
        ValueError, TypeError
            If anything does not fit; the models are untouched.
        """
        chosen, updater = get_loss(loss), get_optimizer(optimizer)
        data = self._data(x, y, chosen, sample_weight)
        validation = None
        if validation_data is not None:
            if validation_split:
                raise ValueError("fit expects validation_data or validation_split, not both. Drop one of them.")
            xv, yv, *wv = checked_validation(validation_data)
            validation = self._data(xv, yv, chosen, *wv)
        elif validation_split:
            data, validation = _split(data, number("validation_split", validation_split, above=0.0, below=1.0))
        if bootstrap:
            drawn = self.bootstrap_weights(len(data)).astype(self.dtype)
            data.weight = self.backend.asarray(drawn if data.weight is None else drawn * data.weight)
        trainer = EnsembleTrainer(
            self,
            data,
            validation,
            loss=chosen,
            optimizer=updater,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            shared_order=bool(shared_order),
            drop_last=drop_last,
            callbacks=callbacks,
            verbose=verbose,
        )
        self.loss = chosen
        with use_threads(threads), self.backend.using_threads(chosen_threads()):
            return trainer.run(resume_from)

    def bootstrap_weights(self, n_samples: int) -> NDArray[np.int64]:
        """Return how often each sample is in each model's bootstrap sample; 0: it is out of the bag.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        counts : (n_models, n_samples) int64 array
            A function of the seeds alone. Each row sums to ``n_samples``.
        """
        counts = np.empty((len(self), n_samples), np.int64)
        for row, seed in zip(counts, self.seeds, strict=True):
            drawn = np.random.default_rng([seed, _BOOTSTRAP]).integers(0, n_samples, n_samples)
            row[:] = np.bincount(drawn, minlength=n_samples)
        return counts

    @on_backend
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss | None = None,
        metrics: str | Metric | Iterable[str | Metric] = (),
        sample_weight: Any = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Return the loss and metrics of each model over data, (n_models,) arrays by name; see ``Sequential``."""
        if loss is None and self.loss is None:
            raise ValueError("evaluate expects a loss: these models were never trained. Pass loss='mse', for instance.")
        chosen = get_loss(self.loss if loss is None else loss)  # type: ignore[arg-type]
        data = self._data(x, y, chosen, sample_weight)
        plan = self.plan(chosen, None, data.y, None)
        figures = {"loss": np.asarray(plan.evaluate(self.state, data.x, data.y, data.weight))}
        named = get_metrics(metrics)
        if named:
            prediction = self.predict(x)
            for name, metric in named.items():
                figures[name] = np.array([float(metric(own, data.y_host)) for own in prediction])
        return figures

    # -- predictions -------------------------------------------------------------------------------------------------

    def predict(self, x: Any) -> NDArray[Any]:
        """Return the output of each model; dropout is off.

        Parameters
        ----------
        x : (n_samples, n_in) array-like

        Returns
        -------
        y : (n_models, n_samples, n_out) array
        """
        return self._predict(self._samples(x))

    __call__ = predict

    def mean(self, x: Any) -> NDArray[Any]:
        """Return the mean of the models' outputs, (n_samples, n_out)."""
        return self._reduce(x, lambda y: y.mean(axis=0, dtype=np.float64))

    def std(self, x: Any, ddof: int = 0) -> NDArray[Any]:
        """Return the standard deviation of the models' outputs, (n_samples, n_out)."""
        return self._reduce(x, lambda y: y.std(axis=0, ddof=ddof, dtype=np.float64))

    def quantile(self, x: Any, q: Any) -> NDArray[Any]:
        """Return quantiles of the models' outputs.

        Parameters
        ----------
        x : (n_samples, n_in) array-like
        q : float or sequence of float
            In [0, 1].

        Returns
        -------
        y : (n_samples, n_out) array, or (n_q, n_samples, n_out) for a sequence
        """
        return self._reduce(x, lambda y: np.quantile(y, q, axis=0), axis=np.ndim(q))

    def _reduce(self, x: Any, function: Callable[[NDArray[Any]], Any], axis: int = 0) -> NDArray[Any]:
        """Apply a function over the models to a range of samples at a time."""
        samples = self._samples(x)
        rows = max(1, PREDICT_BYTES // (8 * len(self) * self.program.n_out))
        parts = [function(self._predict(samples[i : i + rows])) for i in range(0, len(samples), rows)]
        result: NDArray[Any] = np.concatenate(parts, axis=axis).astype(self.dtype)
        return result

    def _samples(self, x: Any) -> Array:
        admitted = self.backend.admit(x, "x")
        samples = as_samples(admitted, "x", self.program.n_in, self.dtype, expects=repr(self.layers[0]))
        self._require_adapted()
        return samples

    @on_backend
    def _predict(self, samples: Any) -> NDArray[Any]:
        out = self.backend.empty((len(self), len(samples), self.program.n_out), self.dtype)
        self._plan(self.program).predict(self.state, self.backend.asarray(samples), out)
        return self.backend.to_numpy(out)

    # -- models ------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        assert self.program.n_models is not None
        return self.program.n_models

    def __iter__(self) -> Iterator[Sequential]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, which: int) -> Sequential: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int] | NDArray[Any]) -> Ensemble: ...

    def __getitem__(self, which: Any) -> Sequential | Ensemble:
        """Return one model as a ``Sequential``, or some as an ``Ensemble`` (a slice, numbers, or a mask); copies."""
        if isinstance(which, int | np.integer):
            return self._model(range(len(self))[int(which)])
        members = np.arange(len(self))[which]
        program = self.program.select(members.tolist())
        to_numpy, asarray = self.backend.to_numpy, self.backend.asarray
        values, seeds = to_numpy(self.state.parameters)[members], self.state.dropout_seed[members]
        state = self.backend.new_state(program, values, seeds)
        state.buffers[...] = asarray(to_numpy(self.state.buffers)[members])
        state.draws[...] = self.state.draws[members]
        layers = [layer.fresh_copy() for layer in self.layers]
        for layer in layers:
            if isinstance(layer, Dropout) and isinstance(layer.rate, tuple):
                layer.rate = tuple(layer.rate[i] for i in members)
        generators = [_copied(self.generators[i]) for i in members]
        made = Ensemble._of(layers, program, state, self.backend, [self.seeds[i] for i in members], generators)
        made.loss, made.metadata = self.loss and self.loss.select(members.tolist()), dict(self.metadata)
        made.scores = {name: values[members] for name, values in self.scores.items()}
        return made

    def _model(self, i: int) -> Sequential:
        layers = [layer.fresh_copy() for layer in self.layers]
        for layer in layers:
            if isinstance(layer, Dropout) and isinstance(layer.rate, tuple):
                layer.rate = layer.rate[i]
        values = self.backend.to_numpy(self.state.parameters[i])
        settings: dict[str, Any] = {"dtype": self.dtype, "backend": self.backend, "precision": self.program.precision}
        net = Sequential(*layers, seed=self.seeds[i], initial_values=values, **settings)
        net.state.buffers[...] = self.backend.asarray(self.state.buffers[i])
        net.state.dropout_seed, net.state.draws = int(self.state.dropout_seed[i]), int(self.state.draws[i])
        net.rng = _copied(self.generators[i])
        net.loss, net.metadata = self.loss and self.loss.select(i), dict(self.metadata)
        return net

    def best(self, n: int = 1, by: str = "val_loss") -> Ensemble:
        """Return the ``n`` models with the lowest figure, best first.

        Parameters
        ----------
        n : int
        by : str
            A name in ``scores``.

        Examples
        --------
        >>> import tinynet as tn
        >>> models = tn.Ensemble(tn.Sequential(tn.Linear(1, 1), seed=0), 5)
        >>> history = models.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=3)
        >>> models.best(by="loss")[0]
        Sequential(Linear(1, 1), dtype='float32', backend='numba')
        """
        if by not in self.scores:
            known = ", ".join(map(repr, self.scores)) or "nothing: the models were never trained"
            raise ValueError(f"best expects the name of a figure of the last fit; got {by!r}. There is {known}.")
        if whole("n", n) > len(self):
            raise ValueError(f"best expects at most as many as there are models, {len(self)}; got {n}.")
        return self[np.argsort(self.scores[by], kind="stable")[:n]]  # NaN comes last.

    @classmethod
    def concatenate(cls, ensembles: Sequence[Ensemble]) -> Ensemble:
        """Return the models of several ensembles of one network as one ensemble; copies."""
        first = ensembles[0]
        for other in ensembles:
            if _plain(other) != _plain(first) or other.backend is not first.backend:
                raise ValueError(
                    "concatenate expects ensembles of the same layers, dtype, precision and backend; got others. "
                    "Build them from one network."
                )
        rates = [_joined(values) for values in zip(*(_rates(ensemble) for ensemble in ensembles), strict=True)]
        layers = [layer.fresh_copy() for layer in first.layers]
        for layer, rate in zip([layer for layer in layers if isinstance(layer, Dropout)], rates, strict=True):
            layer.rate = rate
        widths = [op.n_in for op in first.program.ops]
        ops = tuple(layer.lower(n, i) for i, (layer, n) in enumerate(zip(layers, widths, strict=True)))
        program = replace(first.program, ops=ops, n_models=sum(map(len, ensembles)))
        joined = {
            name: np.concatenate([first.backend.to_numpy(getattr(ensemble.state, name)) for ensemble in ensembles])
            for name in ("parameters", "buffers", "draws", "dropout_seed")
        }
        state = first.backend.new_state(program, joined["parameters"], joined["dropout_seed"])
        state.buffers[...], state.draws[...] = first.backend.asarray(joined["buffers"]), joined["draws"]
        seeds = [seed for ensemble in ensembles for seed in ensemble.seeds]
        generators = [_copied(rng) for ensemble in ensembles for rng in ensemble.generators]
        made = cls._of(layers, program, state, first.backend, seeds, generators)
        made.loss, made.metadata = _joined_loss(ensembles), dict(first.metadata)
        shared = set.intersection(*(set(ensemble.scores) for ensemble in ensembles))
        made.scores = {
            name: np.concatenate([e.scores[name] for e in ensembles]) for name in first.scores if name in shared
        }
        return made

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the trained arrays of all models: each has the models as its first axis."""
        flat = self.backend.to_numpy(self.state.parameters)
        layout = [piece for row in self.program.parameter_layout for piece in row]
        return [
            flat[:, offset : offset + int(np.prod(shape))].reshape(len(self), *shape).copy() for offset, shape in layout
        ]

    @property
    def n_parameters(self) -> int:
        """Number of trained parameters of each model."""
        return self.program.n_parameters

    def to(self, backend: str | Backend, precision: str | None = None) -> Ensemble:
        """Move the models to another backend; return them. See ``Sequential.to``."""
        place, old = get_backend(backend), self.state
        chosen = checked_precision(self.program.precision if precision is None else precision, self.dtype, place)
        state = place.new_state(self.program, self.backend.to_numpy(old.parameters), old.dropout_seed)
        state.buffers[...] = place.asarray(self.backend.to_numpy(old.buffers))
        state.draws[...] = old.draws
        self.backend, self.state, self._optimizer, self._plans = place, state, None, {}
        self.program = replace(self.program, precision=chosen)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ensemble to a ``.npz`` file that ``Ensemble.load`` reads; see ``Sequential.save``."""
        from tinynet.ensemble_files import save_ensemble

        save_ensemble(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str], *, backend: str | None = None) -> Ensemble:
        """Read an ensemble that ``save`` wrote; see ``tinynet.load``."""
        from tinynet.ensemble_files import load_ensemble

        return load_ensemble(path, backend=backend)

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.layers)
        return f"Ensemble({len(self)} models of {layers}, dtype={self.dtype!r}, backend={self.backend.name!r})"

    # -- parts -------------------------------------------------------------------------------------------------------

    def plan(self, loss: Loss, optimizer: Optimizer | None, y: Any, batch_size: int | None) -> Plan:
        """Return the plan that trains these models on targets like ``y``."""
        spec = loss.lower(self.program.ops, index_target=y.ndim == 1)
        updates = None if optimizer is None else optimizer.lower()
        program = replace(self.program, loss=spec, optimizer=updates, batch_size=batch_size)
        _check_program(program)
        return self._plan(program)

    def _plan(self, program: Program) -> Plan:
        if program not in self._plans:
            if len(self._plans) >= 8:
                self._plans.clear()
            self._plans[program] = self.backend.plan_for(self.state, program)
        return self._plans[program]

    def prepare_optimizer(self, optimizer: Optimizer) -> None:
        """Make room for what the optimizer remembers; keep it if it is the optimizer of before."""
        if optimizer is self._optimizer and len(self.state.moments) == optimizer.n_moments:
            return
        self.state.moments = self.backend.new_moments(self.state, optimizer.n_moments)
        self.state.step[...] = 0
        self._optimizer = optimizer

    def _data(self, x: Any, y: Any, loss: Loss, sample_weight: Any = None) -> Data:
        """Return checked data on the backend."""
        parts = (self._samples(x), y, loss, self.program.n_out, self.dtype, self.backend)
        if np.ndim(sample_weight) != 2:
            return checked_data(*parts, sample_weight)
        data = checked_data(*parts)
        if len(sample_weight) != len(self):
            raise ValueError(
                f"sample_weight expects shape (n_samples,) or ({len(self)}, n_samples); got {np.shape(sample_weight)}."
            )
        weights = [as_weights(own, len(data), self.dtype, f"sample_weight[{i}]") for i, own in enumerate(sample_weight)]
        data.weight = self.backend.asarray(np.stack(weights))
        return data

    def _require_adapted(self) -> None:
        for layer in self.layers:
            if isinstance(layer, Normalize) and not layer.adapted:
                raise ValueError(f"{layer!r} has seen no data yet. Call its adapt(x) before making the ensemble.")


def _generators(
    n_models: int, seeds: Sequence[int] | None, first: int | None
) -> tuple[list[np.random.Generator], list[int]]:
    """Return the generator of each model and its seed."""
    if seeds is None:
        drawn = np.random.SeedSequence().generate_state(n_models).tolist()
        seeds = drawn if first is None else range(first, first + n_models)
    chosen = [whole("seeds", seed, at_least=0) for seed in seeds]
    if len(chosen) != n_models:
        raise ValueError(f"seeds expects one for each model, {n_models}; got {len(chosen)}.")
    return [np.random.default_rng(seed) for seed in chosen], chosen


def _copied(rng: np.random.Generator) -> np.random.Generator:
    other = np.random.default_rng(0)
    other.bit_generator.state = rng.bit_generator.state
    return other


def _check_program(program: Program) -> None:
    """Refuse what cannot be trained many at once, and settings for another number of models."""
    for op in program.ops:
        if isinstance(op, CustomOp):
            raise TypeError(
                f"an Ensemble expects built-in layers; got {type(op.layer).__name__}, which holds arrays of one model. "
                "Train a list of Sequential models instead."
            )
    for name, values in program.own_settings.items():
        if len(values) != program.n_models:
            raise ValueError(f"{name} expects one number for each of {program.n_models} models; got {len(values)}.")


def _split(data: Data, share: float) -> tuple[Data, Data]:
    """Hold out a share of the samples; weights of each model are split along their samples."""
    weight, data.weight = data.weight, None
    parts = split_data(data, share)
    if weight is not None:
        n = len(parts[0])
        parts[0].weight = np.ascontiguousarray(weight[..., :n])
        parts[1].weight = np.ascontiguousarray(weight[..., n:])
    return parts


def _rates(ensemble: Ensemble) -> list[tuple[float, ...]]:
    """Return the rates of each dropout layer, one for each model."""
    rates = [layer.rate for layer in ensemble.layers if isinstance(layer, Dropout)]
    return [rate if isinstance(rate, tuple) else (rate,) * len(ensemble) for rate in rates]


def _joined(values: tuple[tuple[float, ...], ...]) -> float | tuple[float, ...]:
    rates = tuple(rate for own in values for rate in own)
    return rates[0] if len(set(rates)) == 1 else rates


def _joined_loss(ensembles: Sequence[Ensemble]) -> Loss | None:
    """Return the loss that all models were trained on, each with its numbers; None if there is no such."""
    first = ensembles[0].loss
    if first is None or all(ensemble.loss is first for ensemble in ensembles):
        return first
    if first.is_custom or any(type(ensemble.loss) is not type(first) for ensemble in ensembles):
        return None
    each = [e.loss.select(i).config() for e in ensembles if e.loss is not None for i in range(len(e))]
    config: dict[str, Any] = {}
    for name, value in each[0].items():
        values = [own[name] for own in each]
        alike = all(other == value for other in values)
        if not (alike or isinstance(value, float)):
            return None
        config[name] = value if alike else values
    return type(first)(**config)


def _plain(ensemble: Ensemble) -> tuple[Any, ...]:
    """Return what must be equal for ensembles to be joined: everything but the rates of dropout."""
    ops = [
        (type(op), op.n_in, op.n_out, getattr(op, "kind", ""), getattr(op, "alpha", 0), getattr(op, "bias", 0))
        for op in ensemble.program.ops
    ]
    return (*ops, ensemble.dtype, ensemble.program.precision)
