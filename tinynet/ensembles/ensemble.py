"""Ensemble: many models of one network, each with its own seed and settings, trained together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tinynet.backends import get_backend
from tinynet.backends.base import Backend, Plan, State, on_backend, views
from tinynet.base.checks import whole
from tinynet.base.config import chosen_threads, use_threads
from tinynet.base.hints import hints_arguments
from tinynet.ensembles.files import Stored, read_ensemble, save_ensemble
from tinynet.ensembles.models import joined, model_of, selected
from tinynet.ensembles.ranks import over_ranks
from tinynet.ensembles.reporting import Reporting
from tinynet.ensembles.settings import bootstrap_weights, check_program, generators_of, with_frozen
from tinynet.ensembles.trainer import EnsembleTrainer
from tinynet.ensembles.whole import WholeEnsembleTrainer
from tinynet.layers.layer import Layer
from tinynet.losses import Loss, as_weights, get_loss
from tinynet.models.assembly import checked_precision
from tinynet.models.network import alone_in_training
from tinynet.models.sequential import Sequential
from tinynet.optimizers import Optimizer, get_optimizer
from tinynet.program import Program
from tinynet.training.callbacks import Callback
from tinynet.training.class_weights import ClassWeight, with_class_weights
from tinynet.training.data import Data, check_some_weight, checked_data, standardise, with_validation
from tinynet.training.gaps import weighed_by_measured
from tinynet.training.history import EnsembleHistory
from tinynet.training.identity import checked_changes
from tinynet.training.metrics import Meter, Metric, direction, get_metrics
from tinynet.training.scales import warn_of_scales


class Ensemble(Reporting):
    """Many models of one network, trained together at the speed of the hardware.

    Model ``i`` is what ``Sequential`` makes of the same layers with the seed ``seeds[i]``: it has the same initial
    weights, sees the samples in the same order, and ends as that net trained alone would.

    Parameters
    ----------
    net : Sequential
        The network. Its weights are not used, but those of layers that are not ``trainable``: all models have them.
        Only built-in layers can be trained many at once.
    n_models : int
    seeds : (n_models,) ints, optional
        By default ``net.seed, net.seed + 1, ...``, or random ones where ``net`` has no seed.

    Attributes
    ----------
    seeds : list of int
    seeds_drawn : bool
        Whether nobody gave them. They are then no hindrance to a resumed training, which takes those of its checkpoint.
    history : EnsembleHistory or None
        Of the last ``fit``, also when it was interrupted.
    scores : dict of str to (n_models,) array
        The figures of the weights that each model holds, by name: "loss", with validation data "val_loss", and the
        metrics of the last ``fit``, as in its history.
    metadata : dict
        Notes that are saved with the ensemble: what JSON holds. NumPy's numbers and arrays become numbers and lists.

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
        if not isinstance(net, Sequential):
            raise TypeError(f"Ensemble expects a Sequential, of which it trains copies; got {net!r}.")
        n_models, drawn = whole("n_models", n_models), seeds is None and net.seed is None
        layers = [layer.fresh_copy() for layer in net.layers]
        generators, seeds = generators_of(n_models, seeds, net.seed)
        values = np.empty((n_models, net.program.n_parameters), net.dtype)
        dropout_seeds = np.empty(n_models, np.int64)
        for i, rng in enumerate(generators):
            values[i] = np.concatenate([layer.initial_values(rng) for layer in layers])
            dropout_seeds[i] = rng.integers(0, 2**63)
        values = with_frozen(values, net)
        program = replace(net.program, n_models=n_models)
        check_program(program)
        buffers = net.backend.to_numpy(net.state.buffers)
        state = net.backend.new_state(program, values, dropout_seeds, buffers)
        self._hold(layers, program, state, net.backend, seeds, generators)
        self.seeds_drawn = drawn

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
        self.seeds_drawn = False
        self._begin()
        self.scores: dict[str, NDArray[np.float64]] = {}
        self.history: EnsembleHistory | None = None

    @classmethod
    def _of(cls, *parts: Any) -> Ensemble:
        made: Ensemble = object.__new__(cls)
        made._hold(*parts)
        return made

    # -- training ----------------------------------------------------------------------------------------------------

    @on_backend
    @hints_arguments
    @alone_in_training
    @over_ranks
    def fit(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss = "mse",
        optimizer: str | Optimizer = "adam",
        epochs: int = 1,
        batch_size: int | None = None,
        shuffle: bool | str = True,
        shared_order: bool = False,
        drop_last: bool = False,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        missing_targets: str = "error",
        bootstrap: bool = False,
        metrics: str | Metric | Iterable[str | Metric] = (),
        callbacks: Callback | Sequence[Callback] = (),
        verbose: int = 0,
        resume_from: str | os.PathLike[str] | None = None,
        resume_changes: str | Iterable[str] = (),
        threads: int | None = None,
        comm: Any = None,
    ) -> EnsembleHistory:
        """Train all models.

        Parameters
        ----------
        x, y, loss, epochs, batch_size, shuffle, drop_last, validation_data, validation_split, class_weight,
        missing_targets
            As for ``Sequential.fit``.
        resume_from, resume_changes, threads
            As for ``Sequential.fit``. What models get does not depend on the number of threads. A model that has
            stopped does not go on, whatever changes.
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
            of the sample weights while training.
        metrics : str, callable or list of them
            As for ``Sequential.fit``, of each model: ``history["accuracy"]``, and with validation data
            ``history["val_accuracy"]``, are (n_epochs, n_models), too.
        callbacks : list of Callback
            ``EarlyStopping`` and ``ReduceLROnPlateau`` act on each model by itself; a model that has stopped costs
            nothing more. ``Checkpoint`` counts epochs. Others are called with figures that are (n_models,) arrays.
        verbose : {0, 1, 2}
        comm : mpi4py.MPI.Intracomm, optional
            Divide the models among the ranks of a communicator: each calls ``fit`` with the same arguments and samples,
            and ends with all models, which are what one process makes of them. The optimizer's memory is not kept.

        Returns
        -------
        EnsembleHistory
            ``history["loss"]`` is (n_epochs, n_models). A model that diverges is stopped and gets the weights of its
            best epoch back, the one with the lowest loss, or those that it began with if they are better;
            ``history.diverged`` lists such models. The others go on.

        Raises
        ------
        ValueError, TypeError
            If anything does not fit; the models are untouched.
        KeyboardInterrupt, MemoryError
            As for ``Sequential.fit``: every model holds the weights of the last epoch that ``history`` tells of.
        ModelInTrainingError
            If a callback of a training of these models calls it. Another thread waits until that is over.
        """
        chosen, updater = get_loss(loss).with_missing(missing_targets), get_optimizer(optimizer)
        data = self._data(chosen, x, y, sample_weight)
        data, validation = with_validation(data, partial(self._data, chosen), validation_data, validation_split)
        data = with_class_weights(weighed_by_measured(data, chosen), class_weight, chosen, self.program)
        validation = None if validation is None else weighed_by_measured(validation, chosen)
        warn_of_scales(data, chosen, self.program)
        if bootstrap:
            drawn = self.bootstrap_weights(len(data)).astype(self.dtype)
            if data.weight is not None:
                drawn *= self.backend.to_numpy(data.weight)
                check_some_weight(drawn, "the weight of what bootstrap draws")
            data.weight = self.backend.asarray(drawn)
        standardise([data, validation], self.program, self.state)
        trainer = (WholeEnsembleTrainer if updater.takes_all_samples else EnsembleTrainer)(
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
            metrics=get_metrics(metrics),
            callbacks=callbacks,
            verbose=verbose,
        )
        with use_threads(threads), self.backend.using_threads(chosen_threads()):
            return trainer.run(resume_from, checked_changes(resume_changes))

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
        return bootstrap_weights(self.seeds, n_samples)

    @on_backend
    @hints_arguments
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        loss: str | Loss | None = None,
        metrics: str | Metric | Iterable[str | Metric] = (),
        sample_weight: Any = None,
        missing_targets: str = "error",
    ) -> dict[str, NDArray[np.float64]]:
        """Return the loss and metrics of each model over data, (n_models,) arrays by name; see ``Sequential``."""
        chosen = self._loss_for(loss).with_missing(missing_targets)
        data = weighed_by_measured(self._data(chosen, x, y, sample_weight), chosen)
        meter = Meter(get_metrics(metrics), data, chosen, self.program)
        plan = self.plan(chosen, None, data.y, None)

        def measured(state: State) -> dict[str, NDArray[np.float64]]:
            value = np.asarray(plan.evaluate(state, data.x, data.y, data.weight))
            return {"loss": value} | self.measure(meter, np.arange(len(self)), state)

        return self.at_one_moment(measured)

    # -- models ------------------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Sequential]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, which: int) -> Sequential: ...
    @overload
    def __getitem__(self, which: slice | Sequence[int] | NDArray[Any]) -> Ensemble: ...

    def __getitem__(self, which: Any) -> Sequential | Ensemble:
        """Return one model as a ``Sequential``, or some as an ``Ensemble`` (a slice, numbers, or a mask); copies."""
        if isinstance(which, int | np.integer):
            if not -len(self) <= which < len(self):
                raise IndexError(f"the ensemble has {len(self)} models, numbered from 0; got {which}.")
            number = range(len(self))[int(which)]
            return self.at_one_moment(lambda state: model_of(self, state, number))
        numbers = np.arange(len(self))[which]
        return self.at_one_moment(lambda state: selected(self, state, numbers))

    @hints_arguments
    def best(self, n: int = 1, by: str | None = None, mode: str = "auto") -> Ensemble:
        """Return the ``n`` models with the best figure, best first.

        Parameters
        ----------
        n : int
        by : str, optional
            A name in ``scores``; by default "val_loss", or "loss" where nothing was held out.
        mode : {"auto", "min", "max"}
            What is best: the lowest, or the highest. "auto": the lowest loss, and what is best of a metric of
            tinynet's. For a metric of yours say which.

        Raises
        ------
        ValueError
            If there is no such figure, not so many models, or mode is "auto" and nobody knows what is best.

        Examples
        --------
        >>> import tinynet as tn
        >>> models = tn.Ensemble(tn.Sequential(tn.Linear(1, 1), seed=0), 5)
        >>> history = models.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=3)
        >>> models.best()[0]
        Sequential(Linear(1, 1), dtype='float32', backend='numba')
        """
        if by is None:
            by = "val_loss" if "val_loss" in self.scores else "loss"
        if by not in self.scores:
            known = ", ".join(map(repr, self.scores)) or "nothing: the models were never trained"
            raise ValueError(f"best expects the name of a figure of the last fit; got {by!r}. There is {known}.")
        if whole("n", n) > len(self):
            raise ValueError(f"best expects at most as many as there are models, {len(self)}; got {n}.")
        values = self.scores[by] if direction(by, mode) == "min" else -self.scores[by]
        return self[np.argsort(values, kind="stable")[:n]]  # NaN comes last.

    @classmethod
    def concatenate(cls, ensembles: Sequence[Ensemble]) -> Ensemble:
        """Return the models of several ensembles of one network as one ensemble; copies."""
        return joined(ensembles)

    def get_weights(self) -> list[NDArray[Any]]:
        """Return copies of the trained arrays of all models: each has the models as its first axis."""
        flat, _ = self.at_one_moment(self._host_copies)
        return [array.copy() for layout in self.program.parameter_layout for array in views(flat, layout)]

    @alone_in_training
    def to(self, backend: str | Backend, precision: str | None = None) -> Ensemble:
        """Move the models to another backend; return them. See ``Sequential.to``."""
        place = get_backend(backend)
        chosen = checked_precision(self.program.precision if precision is None else precision, self.dtype, place)
        old, (values, buffers) = self.state, self.at_one_moment(self._host_copies)
        state = place.new_state(self.program, values, old.dropout_seed, buffers)
        state.draws[...] = old.draws
        with self.changing():
            self.backend, self._optimizer, self.program = place, None, replace(self.program, precision=chosen)
            self._settle(state)
        return self

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ensemble to a ``.npz`` file that ``Ensemble.load`` reads; see ``Sequential.save``."""
        save_ensemble(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str], *, backend: str | None = None) -> Ensemble:
        """Read an ensemble that ``save`` wrote; see ``tinynet.load``."""
        return built(read_ensemble(path, backend=backend))

    def _meant(self, name: str) -> str:
        if hasattr(Sequential, name):
            return f" One model has it: models[0].{name}, or models.best()[0].{name}."
        return super()._meant(name)

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.layers)
        return f"Ensemble({len(self)} models of {layers}, dtype={self.dtype!r}, backend={self.backend.name!r})"

    # -- parts -------------------------------------------------------------------------------------------------------

    def plan(
        self, loss: Loss, optimizer: Optimizer | None, y: Any, batch_size: int | None, standardised: bool = False
    ) -> Plan:
        """Return the plan that trains these models on targets like ``y``; see ``Sequential.plan``."""
        spec = self._loss_spec(loss, y)
        updates = None if optimizer is None else optimizer.lower(self.parameter_names)
        program = (self.program if optimizer is None else self.trained_program).taught(spec)
        program = replace(program, optimizer=updates, batch_size=batch_size, standardised=standardised)
        check_program(program)
        return self._plan(program)

    def _data(self, loss: Loss, x: Any, y: Any, sample_weight: Any = None) -> Data:
        """Return checked data on the backend."""
        parts, columns = (self._samples(x), y, loss, self.program.n_out, self.dtype, self.backend), self._columns(loss)
        if np.ndim(sample_weight) != 2:
            return checked_data(*parts, sample_weight, columns=columns)
        data = checked_data(*parts, columns=columns)
        if len(sample_weight) != len(self):
            raise ValueError(
                f"sample_weight expects shape (n_samples,) or ({len(self)}, n_samples); got {np.shape(sample_weight)}."
            )
        weights = [as_weights(own, len(data), self.dtype, f"sample_weight[{i}]") for i, own in enumerate(sample_weight)]
        data.sample_weight = np.stack(weights)
        data.weight = self.backend.asarray(data.sample_weight)
        return data


def built(stored: Stored) -> Ensemble:
    """Return the ensemble that a file held."""
    models = Ensemble._of(stored.layers, stored.program, stored.state, stored.backend, stored.seeds, stored.generators)
    models.scores, models.metadata, models.loss = stored.scores, stored.metadata, stored.loss
    return models
