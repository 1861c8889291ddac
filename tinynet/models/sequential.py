"""Sequential: layers in a row, with their parameters in one flat vector, and how they are trained."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tinynet.backends import get_backend
from tinynet.backends.base import Array, Backend, Granularity, Plan, State, on_backend
from tinynet.backends.byhand import ByHand
from tinynet.backends.ranks.alone import ALONE, Alone
from tinynet.backends.ranks.divided import Divided
from tinynet.base.checks import whole
from tinynet.base.hints import hints_arguments
from tinynet.layers import LAYERS
from tinynet.layers.layer import Layer
from tinynet.layers.row import checked_layers, widths
from tinynet.losses import Loss
from tinynet.models.assembly import checked_dtype, checked_precision, refuse_late_embedding, values_of
from tinynet.models.derivatives import Differentiable
from tinynet.models.exports import Exports
from tinynet.models.inference import Inference
from tinynet.models.manual import ManualLoop
from tinynet.models.network import alone_in_training
from tinynet.models.summary import as_html, as_text
from tinynet.program import Precision, Program, Specialize

if TYPE_CHECKING:
    from tinynet.optimizers import Optimizer
    from tinynet.training.callbacks import Callback
    from tinynet.training.class_weights import ClassWeight
    from tinynet.training.history import History
    from tinynet.training.metrics import Metric


class Sequential(ManualLoop, Inference, Differentiable, Exports):
    """A network: layers applied one after the other.

    Parameters
    ----------
    *layers : Layer
        Widths of neighbours must fit; activations take the width of what comes in.
    dtype : {"float32", "float64"}
        What the model computes in; data are converted to it, it is never changed.
    seed : int, optional
        Seeds the initial weights, the order of the samples and dropout: the same seed gives the same run.
    backend : str, optional
        "numba" (or "cpu"), "numpy", "cupy" (or "gpu", "gpu:1"), "auto". By default ``use_backend``'s or
        ``TINYNET_BACKEND``'s.
    device : int, optional
        The number of the GPU, from 0: ``backend="gpu", device=1`` is ``backend="gpu:1"``.
    precision : {"float32", "tf32", "bf16"}
        What the factors of the matrix products may be rounded to, for tensor cores to multiply: TF32 keeps 10 bits of
        mantissa of 23, bfloat16 keeps 7. Sums, weights, losses and updates stay float32. For large float32 networks on
        a GPU of compute capability 8.0 or higher. It is a setting of the computation and not of the weights: files do
        not hold it, ``clone`` and ``to`` keep it.

    Attributes
    ----------
    layers : tuple of Layer
    history : History or None
        Of the last ``fit``, also when it was interrupted.
    loss : Loss or None
        Of the last ``fit``.
    metadata : dict
        Notes that are saved with the model: what JSON holds. NumPy's numbers and arrays come back as numbers and lists.
    stop_training : bool
        A callback sets it to end training.

    Examples
    --------
    >>> import tinynet as tn
    >>> net = tn.Sequential(tn.Linear(2, 3), tn.Tanh(), tn.Linear(3, 1), seed=0)
    >>> net.predict([[0.0, 0.0]]).shape
    (1, 1)
    """

    def __init__(
        self,
        *layers: Layer | Sequence[Layer],
        dtype: DTypeLike = "float32",
        seed: int | None = None,
        backend: str | Backend | None = None,
        initial_values: ArrayLike | None = None,
        device: int | None = None,
        precision: str = "float32",
    ) -> None:
        self.layers = checked_layers(layers, names=LAYERS)
        refuse_late_embedding(self.layers)
        self.dtype = checked_dtype(dtype)
        widths_in = widths(self.layers)
        ops = tuple(layer.lower(n, i) for i, (layer, n) in enumerate(zip(self.layers, widths_in, strict=True)))
        self.backend = get_backend(backend, device)
        chosen = checked_precision(precision, self.dtype, self.backend)
        self.program = Program(ops, dtype=self.dtype, precision=chosen)
        self.seed = None if seed is None else whole("seed", seed, at_least=0)
        if initial_values is None:
            values = np.concatenate([values_of(layer, self.rng) for layer in self.layers])
        else:
            values = np.asarray(initial_values)
        if initial_values is None or seed is not None:
            dropout_seed = int(self.rng.integers(0, 2**63))
        else:  # A model of a file may never draw, and gets its generator when it does.
            dropout_seed = int.from_bytes(os.urandom(8)) >> 1
        self._begin()
        self._settle(self.backend.new_state(self.program, values, dropout_seed))
        self.history: History | None = None

    @property
    def rng(self) -> np.random.Generator:
        """What draws the initial weights, the order of the samples and the key of dropout."""
        held: dict[str, np.random.Generator] = vars(self)
        # Of two threads that make it at once, the first one's stays.
        return held["rng"] if "rng" in held else held.setdefault("rng", np.random.default_rng(self.seed))

    @rng.setter
    def rng(self, rng: np.random.Generator) -> None:
        vars(self)["rng"] = rng

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle and copy carry of the model, with what draws: a copy will train as the model would."""
        parts = super().__getstate__()
        parts["attributes"].setdefault("rng", deepcopy(self.rng))
        return parts

    def _settle(self, state: State) -> None:
        """Make ``state`` the model's, and the layers' arrays views into it."""
        super()._settle(state)
        self._by_hand = ByHand(self.backend)
        self._predict_plan = None
        self._quick, self._quick_derivatives = None, {}
        first, first_buffer = 0, 0
        for layer, op in zip(self.layers, self.program.ops, strict=True):
            n = sum(math.prod(shape) for shape in op.shapes)
            n_buffers = sum(math.prod(shape) for shape in op.buffer_shapes)
            piece, held = slice(first, first + n), slice(first_buffer, first_buffer + n_buffers)
            part = State(
                parameters=state.parameters[piece],
                gradients=state.gradients[piece],
                moments=state.moments[:0],
                buffers=state.buffers[held],
                dropout_seed=state.dropout_seed,
            )
            layer.join(part, self.backend, self.dtype, self.guard)
            first, first_buffer = piece.stop, held.stop

    # -- training ----------------------------------------------------------------------------------------------------

    @on_backend
    @hints_arguments
    @alone_in_training
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
        drop_last: bool = False,
        validation_data: tuple[Any, ...] | None = None,
        validation_split: float = 0.0,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        missing_targets: str = "error",
        metrics: str | Metric | Iterable[str | Metric] = (),
        callbacks: Callback | Sequence[Callback] = (),
        verbose: int = 0,
        resume_from: str | os.PathLike[str] | None = None,
        resume_changes: str | Iterable[str] = (),
        threads: int | None = None,
        comm: Any = None,
        deterministic: bool | int = False,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : (n_samples, n_in) array-like of real numbers
            NumPy, lists, pandas, polars, anything with DLPack or the array API. A ``numpy.memmap`` stays on disk. On
            the GPU backend also CuPy arrays, and what has DLPack or ``__cuda_array_interface__``, without a copy; data
            too large for the device stay in host memory and go up in chunks.
        y : (n_samples, n_out) array-like, or (n_samples,)
            One value a sample where the network has one output; class numbers for ``CrossEntropy``. In any units where
            the network ends in ``Denormalize``: the loss is then that of standardised targets. For ``Sobolev`` a pair
            ``(y, dy)``, values and their derivatives by the inputs.
        loss : str or Loss
            "mse", "mae", "huber", "bce", "cross_entropy".
        optimizer : str or Optimizer
            "sgd", "adam", "adamw", "rmsprop", or "lm", "br", "lbfgs" (which take all samples in each step, an epoch)
            with their defaults. The same object in a later ``fit`` goes on with its moments; a name or a new object
            starts afresh.
        epochs : int
        batch_size : int, optional
            Samples of an update; by default 32, or all for the optimizers that take all samples in each step.
        shuffle : bool or "replacement"
            True: a new permutation each epoch. False: the order of the data. "replacement": every sample is drawn from
            all, as the notebook does.
        drop_last : bool
            Leave out the last batch where it is smaller than the others.
        validation_data : (x, y) or (x, y, sample_weight), optional
        validation_split : float
            The share of samples, from the end of the data, that is held out; the rest is trained on. Shuffle before
            what lies in order.
        sample_weight : (n_samples,) array-like, optional
            Factor of each sample's loss, of those held out too, and in tinynet's metrics. The mean of a loss is taken
            over samples, not over weights, as in Keras.
        class_weight : dict of int to float, or "balanced", optional
            Factor for each class while training: neither ``val_loss`` nor metrics have it. "balanced":
            ``n_samples / (n_classes * count)``, as in scikit-learn, of the samples that are trained on.
        missing_targets : {"error", "ignore"}
            "ignore": targets that are NaN were not measured. Loss, gradient and metrics leave them out, of validation
            data too; the mean of a loss divides by the number of targets that were measured, in all data, so that each
            of them counts the same in whatever batch it is. For losses of each target by itself.
        metrics : str, callable or list of them
            Names of tinynet's ("accuracy", "f1", "auc", "log_loss", "mae", "r2", ...; see the how-to on metrics), or
            functions ``f(prediction, target) -> float`` on NumPy arrays, which get the weights if they have a third
            argument ``sample_weight``; of the model at the end of each epoch, over all samples. The loss tells
            tinynet's metrics what targets and outputs mean.
        callbacks : list of Callback
        verbose : {0, 1, 2}
            Nothing; progress; a line for each epoch.
        resume_from : path, optional
            A file that ``Checkpoint`` wrote: training goes on where it stood, and ends bit for bit as if it had never
            stopped. Give the same arguments as in the interrupted call: a checkpoint of other data, settings or
            figures is refused, and the message names what differs. More epochs are no difference.
        resume_changes : str or list of str
            What may differ all the same: "learning_rate" (the new one is taken as it is given, whatever
            ``ReduceLROnPlateau`` has made of the old one), "epochs" (fewer than are done: the model is that of the
            checkpoint), "callbacks" (their settings).
        threads : int, optional
            By default ``TINYNET_THREADS``, else up to 4 for large batches of small networks, and as many as the BLAS
            library takes for the matrix products of large ones. For small networks the result is the same to the last
            bit for any number; the products of large ones are as reproducible as those of the BLAS library.
        comm : mpi4py.MPI.Intracomm, optional
            Train together with the other ranks of a communicator, such as ``MPI.COMM_WORLD``: each calls ``fit`` with
            samples of its own and otherwise the same arguments, and gets what one process gets from the samples of all,
            to rounding. ``batch_size`` counts those of all ranks. See the how-to on several machines.
        deterministic : bool or int
            Cut the samples of all ranks into so many parts (``True``: 16) and add up what these give in their order:
            any number of ranks, and one process without ``comm``, then give the same bits. In one process it takes two
            to six times as long as ``False``, whose sums are others.

        Returns
        -------
        History

        Warns
        -----
        ScaleWarning
            If columns of ``x``, or targets that are numbers, have a mean or a standard deviation beyond 30 and no layer
            (``Normalize``, ``Denormalize``) scales them. 256 rows are looked at; none of data on a GPU.
        UserWarning
            If ``validation_split`` holds out the end of samples that are sorted by class.

        Raises
        ------
        ValueError, TypeError
            If anything does not fit; the model is untouched.
        ModelInTrainingError
            If a callback calls it, of a training of this very model, which is untouched. Another thread waits until
            that training is over.
        DivergenceError
            If the loss, or a weight, becomes NaN or infinite; the model holds the weights of its best epoch, the one
            with the lowest loss, or those that it began with if they are better. ``history`` tells of the epochs
            before.
        MemoryError
            If there is no room (``DeviceMemoryError`` on a GPU), with the model as after Ctrl-C.
        RankError
            With ``comm``, if another rank has failed; the model is as after Ctrl-C.
        KeyboardInterrupt
            On Ctrl-C, after the callbacks' ``on_train_end``. The model holds the weights of its last whole epoch, which
            is the last one that ``history`` tells of; ``fit`` with the same optimizer goes on from there.

        Examples
        --------
        >>> import tinynet as tn
        >>> net = tn.Sequential(tn.Linear(1, 1), seed=0)
        >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], loss="mse", optimizer="sgd", epochs=3)
        >>> len(history["loss"])
        3
        """
        from tinynet.models.fitting import fitted  # What trains is imported by those who train.

        return fitted(
            self,
            x,
            y,
            loss=loss,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            validation_data=validation_data,
            validation_split=validation_split,
            sample_weight=sample_weight,
            class_weight=class_weight,
            missing_targets=missing_targets,
            metrics=metrics,
            callbacks=callbacks,
            verbose=verbose,
            resume_from=resume_from,
            resume_changes=resume_changes,
            threads=threads,
            comm=comm,
            deterministic=deterministic,
        )

    # -- places and copies -------------------------------------------------------------------------------------------

    @property
    def precision(self) -> Precision:
        """What the factors of the matrix products may be rounded to; ``to`` changes it."""
        return self.program.precision

    @alone_in_training
    def to(self, backend: str | Backend, device: int | None = None, precision: str | None = None) -> Sequential:
        """Move the model to another backend, or another GPU; return it. The optimizer's memory stays behind.

        Parameters
        ----------
        backend, device, precision
            As for ``Sequential``; without ``precision``, the model keeps its own.

        Raises
        ------
        ValueError
            If that backend cannot multiply in this precision; the model stays where it is.
        ModelInTrainingError
            If a callback of a training of this model calls it. Another thread waits until that is over.
        """
        place = get_backend(backend, device)
        chosen = checked_precision(self.precision if precision is None else precision, self.dtype, place)
        old, (values, buffers) = self.state, self.at_one_moment(self._host_copies)
        state = place.new_state(self.program, values, old.dropout_seed)
        state.buffers, state.draws = place.asarray(buffers), old.draws
        with self.changing():
            self.backend, self._optimizer, self.program = place, None, replace(self.program, precision=chosen)
            self._settle(state)
        return self

    @on_backend
    def clone(self, dtype: DTypeLike | None = None, precision: str | None = None) -> Sequential:
        """Return a model of its own with the same layers and weights, in another dtype or precision if one is given."""
        layers = [layer.fresh_copy() for layer in self.layers]
        values, buffers = self.at_one_moment(self._host_copies)
        other = Sequential(
            *layers,
            dtype=self.dtype if dtype is None else dtype,
            backend=self.backend,
            initial_values=values,
            precision=self.precision if precision is None else precision,
        )
        other.state.buffers[...] = self.backend.asarray(buffers)
        other.state.dropout_seed, other.state.draws = self.state.dropout_seed, self.state.draws
        other.rng.bit_generator.state = self.rng.bit_generator.state
        other.loss, other.metadata = self.loss, dict(self.metadata)
        return other

    # -- display -----------------------------------------------------------------------------------------------------

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Print a table of the layers: output width and number of parameters."""
        print_fn(as_text(self))

    def _repr_html_(self) -> str:
        return as_html(self)

    def __repr__(self) -> str:
        layers = ", ".join(repr(layer) for layer in self.layers)
        precision = "" if self.precision == "float32" else f", precision={self.precision!r}"
        return f"Sequential({layers}, dtype={self.dtype!r}, backend={self.backend.name!r}{precision})"

    # -- parts -------------------------------------------------------------------------------------------------------

    def plan(
        self,
        loss: Loss,
        optimizer: Optimizer,
        y: Array,
        batch_size: int,
        granularity: Granularity,
        streamed: bool = False,
        specialize: Specialize = "sizes",
        standardised: bool = False,
        team: Alone = ALONE,
    ) -> Plan:
        """Return the plan that trains this model on targets like ``y``; see ``Backend.plan`` and ``Program``."""
        from tinynet.schedules import is_own

        spec, update = self._loss_spec(loss, y), optimizer.lower(self.parameter_names)
        program = replace(self.trained_program.taught(spec), optimizer=update, batch_size=batch_size)
        program = replace(program, specialize=specialize, standardised=standardised)
        own = [*program.own_settings, *["learning rate"] * is_own(optimizer.learning_rate)]
        if own:
            raise ValueError(
                f"one model expects one number for each setting; got several for: {', '.join(own)}. "
                "Pass one, or train many models at once with tn.Ensemble."
            )
        if isinstance(team, Divided):
            from tinynet.backends.ranks.plans import ranks_plan

            return ranks_plan(program, self.backend, team)
        return self._plan(program, granularity, streamed)
