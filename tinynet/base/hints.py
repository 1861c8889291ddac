"""Did you mean: the name that was meant, where one is given that there is not.

Some names are nearly right (``epoch``, ``Relu``), others are those of other libraries (``lr``, ``Dense``,
``"categorical_crossentropy"``).
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Class = TypeVar("_Class", bound=type)

CLOSE = 0.7
"""How alike two names must be, from 0 to 1, for the one to be taken for the other misspelt."""

_OURS: dict[str, str] = {
    # Arguments.
    "learning_rate_init": "lr eta learning_rate",  # First: of the estimators' two it is the number.
    "learning_rate": "lr eta rate stepsize learning_rate_init",
    "epochs": "epoch n_epochs num_epochs nb_epoch n_iter iterations max_iter",
    "max_iter": "epochs n_epochs iterations",
    "batch_size": "batch bs minibatch minibatch_size",
    "validation_data": "validation val_data eval_set valid",
    "validation_split": "val_split validation_fraction",
    "validation_fraction": "val_split validation_split",
    "sample_weight": "weights weight sample_weights",
    "class_weight": "class_weights",
    "optimizer": "optim solver",
    "loss": "criterion objective loss_fn",
    "seed": "random_state random_seed rng",
    "random_state": "seed random_seed",
    "hidden_layer_sizes": "hidden layers hidden_layers units widths",
    "verbose": "verbosity progress",
    "n_models": "n_estimators size",
    "n_in": "input_dim input_size in_features n_inputs fan_in",
    "n_out": "units output_dim output_size out_features n_outputs fan_out",
    "weight": "weights kernel w get_weights coef_",
    "bias": "use_bias b biases intercept_",
    "weight_init": "kernel_initializer weight_initializer init",
    "bias_init": "bias_initializer",
    "rate": "p prob dropout",
    "alpha": "l2 weight_decay",
    "weight_decay": "l2 alpha decay",
    "damping": "mu",  # Before momentum, which is no argument of what has it.
    "max_damping": "mu_max",
    "decrease": "mu_dec",
    "increase": "mu_inc",
    "min_gradient": "min_grad",
    "momentum": "mu",
    "beta1": "beta_1 betas",
    "beta2": "beta_2",
    "epsilon": "eps",
    "clip_norm": "clipnorm max_norm grad_clip clip",
    "clip_value": "clipvalue",
    "factor": "gamma",
    "every": "step_size every_n_epochs period",
    "restore_best": "restore_best_weights",
    "min_learning_rate": "min_lr",
    "min_delta": "threshold",
    "monitor": "metric figure",
    "mode": "direction",
    "path": "file filename filepath",
    "space": "params param_grid",
    "n_samples": "n_iter n_trials",
    "build": "model net build_fn",
    "threads": "n_threads num_threads",
    "negative_slope": "alpha slope",
    # Methods and attributes of models.
    "fit": "train train_on_batch partial_fit",
    "predict": "eval infer sim predict_on_batch",
    "evaluate": "score test perform",
    "get_weights": "weights state_dict parameters named_parameters coefs_ getwb iw lw b",
    "set_weights": "load_state_dict load_weights",
    "save": "save_weights save_model",
    "n_parameters": "count_params num_params",
    "trainable": "freeze unfreeze requires_grad_",
    "jacobian": "gradient gradients grad",
    "to_c": "genfunction",
    # Of posteriors.
    "mean": "predict predict_mean",
    "std": "predict_std uncertainty sigma",
    # Of tables.
    "array": "transform fit_transform to_array",
    "columns": "feature_names feature_names_in_ get_feature_names_out",
    # Of what a sweep found.
    "best_settings": "best_params_ best_params",
    "best_model": "best_estimator_ best",
    "table": "cv_results_ results",
    "to_pandas": "to_frame dataframe",
    "run": "fit train",
    # Hooks of callbacks.
    "on_train_batch_begin": "on_batch_begin",
    "on_train_batch_end": "on_batch_end",
    # What stands in tinynet's own namespace.
    "Sequential": "model net network module mlp fitnet patternnet feedforwardnet",
    "Linear": "dense fullyconnected layerdense",
    "Sigmoid": "logsig",
    "Tanh": "tansig",
    "ReLU": "poslin",
    "Identity": "purelin",
    "SiLU": "swish",
    "Exp": "exponential",
    "Dropout": "alphadropout",
    "Normalize": "normalization standardscaler standardize batchnorm mapminmax mapstd",
    "MeanSquaredError": "mse mseloss meansquareerror",
    "MeanAbsoluteError": "mae l1 l1loss absoluteerror",
    "Huber": "huberloss smoothl1loss",
    "BinaryCrossEntropy": "bce bceloss bcewithlogitsloss binarycrossentropyloss",
    "CrossEntropy": "crossentropyloss categoricalcrossentropy sparsecategoricalcrossentropy nllloss logloss",
    "PoissonLoss": "poisson poissonnllloss",
    "Quantile": "pinball pinballloss quantileloss",
    "BinaryFocal": "focal focalloss binaryfocalcrossentropy sigmoidfocalloss",
    "StepDecay": "steplr",
    "ExponentialDecay": "exponentiallr",
    "CosineDecay": "cosineannealing cosineannealinglr",
    "Schedule": "learningratescheduler lrscheduler lambdalr",
    "ReduceLROnPlateau": "plateau",
    "Checkpoint": "modelcheckpoint",
    "TensorBoardLogger": "tensorboard",
    "LevenbergMarquardt": "trainlm lm",
    "BayesianRegularization": "trainbr",
    "load": "load_model from_file",
    # Names of losses, optimizers, metrics, activations, initializers and backends.
    "lm": "trainlm",
    "br": "trainbr",
    "lbfgs": "trainbfg trainscg traincgf traincgp traincgb trainoss bfgs l_bfgs_b",
    "mse": "mean_squared_error squared_error l2",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error absolute_error l1",
    "mape": "mean_absolute_percentage_error",
    "r2": "r2_score r_squared",
    "huber": "smooth_l1 huber_loss",
    "bce": "binary_crossentropy binary_cross_entropy_with_logits bce_with_logits",
    "cross_entropy": "categorical_crossentropy sparse_categorical_crossentropy crossentropy nll log_loss softmax",
    "log_loss": "cross_entropy crossentropy nll",
    "poisson": "poisson_nll",
    "quantile": "pinball",
    "focal": "binary_focal_crossentropy sigmoid_focal",
    "accuracy": "acc accuracy_score binary_accuracy categorical_accuracy",
    "auc": "roc_auc roc_auc_score auroc",
    "f1": "f1_score f_score",
    "top_k": "top_k_accuracy top_k_categorical_accuracy topk",
    "sigmoid": "logistic",
    "logistic": "sigmoid",
    "silu": "swish",
    "identity": "linear none",
    "exponential": "exp",
    "glorot": "xavier xavier_uniform",
    "he": "kaiming kaiming_uniform",
    "gpu": "cuda",
}
"""For names of ours, what others call the same."""

_DONE_OTHERWISE: tuple[tuple[str, str, str], ...] = (
    # Where models are fitted, and their optimizers are not made.
    (
        "optimizer",
        "lr learning_rate eta momentum weight_decay nesterov clip_norm",
        "It belongs to the optimizer, as in optimizer=tn.SGD(learning_rate=0.01).",
    ),
    (
        "callbacks",
        "early_stopping patience n_iter_no_change",
        "A callback does it: callbacks=tn.EarlyStopping(patience=10).",
    ),
    (
        "callbacks",
        "schedule scheduler lr_scheduler",
        "A schedule stands for the learning rate, as in optimizer=tn.Adam(tn.CosineDecay(0.01, epochs=100)).",
    ),
    ("callbacks", "seed random_state", "The network has it: tn.Sequential(..., seed=0)."),
    # Arguments of Linear.
    ("weight_init", "activation", "An activation is a layer of its own: tn.Linear(4, 8), tn.ReLU()."),
    # Methods of models.
    (
        "evaluate",
        "compile",
        "fit takes all that: net.fit(x, y, loss='mse', optimizer='adam', metrics=['r2']).",
    ),
    (
        "evaluate",
        "add append add_module",
        "All layers are given at once: tn.Sequential(tn.Linear(4, 8), tn.ReLU(), tn.Linear(8, 1)).",
    ),
    (
        "evaluate",
        "predict_proba predict_log_proba predict_classes predict_class decision_function",
        "predict gives what the last layer gives; net.predict(x).argmax(axis=1) is the class.",
    ),
    ("evaluate", "cuda cpu", "net.to('gpu') and net.to('cpu') say where it computes."),
    ("evaluate", "double float", "net.clone(dtype='float64') computes in another precision."),
    (
        "evaluate",
        "plot",
        "net.history.plot() shows how training went, net.report(x, y).plot() how good the predictions are.",
    ),
    (
        "evaluate",
        "trainparam trainfcn performfcn dividefcn divideparam",
        "fit and its optimizer take it: net.fit(x, y, optimizer=tn.LevenbergMarquardt(goal=1e-4), epochs=1000).",
    ),
    # Of what a sweep found.
    ("plot_losses", "plot", "plot_losses() shows losses over epochs, plot_parallel() which settings did well."),
    # What stands in tinynet's own namespace.
    (
        "Sequential",
        "nn optim functional keras",
        "Layers, losses and optimizers are in tinynet itself: tn.Linear, tn.Adam.",
    ),
    ("Sequential", "mlpregressor mlpclassifier", "tinynet.estimators has it, in place of scikit-learn's."),
    ("Sequential", "tensor as_tensor from_numpy", "Arrays of NumPy, lists and frames are taken as they are."),
    ("Sequential", "input inputlayer", "Linear says how many inputs it has: tn.Linear(4, 8)."),
    ("Sequential", "flatten", "x.reshape(len(x), -1) makes a row of each sample."),
    ("Sequential", "dataloader dataset tensordataset", "fit makes the batches: net.fit(x, y, batch_size=32)."),
    ("Sequential", "manual_seed set_seed set_random_seed", "A network has its own: tn.Sequential(..., seed=0)."),
    ("Sequential", "save save_model", "A network saves itself: net.save(path)."),
    ("Sequential", "no_grad", "predict computes no gradients."),
    (
        "Sequential",
        "conv1d conv2d maxpool2d maxpooling2d rnn simplernn lstm gru attention multiheadattention",
        "tinynet has layers of dense networks only.",
    ),
)
"""What others have a name for, and tinynet does in another way: a name of ours that stands where theirs is looked for,
their names, and how it is done."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return a sentence that names the one of ``valid`` that was meant, with a blank before it; or nothing.

    Where others have something that is done in another way here, the sentence says how.

    Examples
    --------
    >>> did_you_mean("lr", ["learning_rate", "momentum"]), did_you_mean("Relu", ["ELU", "ReLU"])
    (" Did you mean 'learning_rate'?", " Did you mean 'ReLU'?")
    >>> did_you_mean("mes", ["mae", "mse"])
    " Did you mean 'mse'?"
    >>> did_you_mean("activation", ["n_in", "weight_init"])
    ' An activation is a layer of its own: tn.Linear(4, 8), tn.ReLU().'
    >>> did_you_mean("xyz", ["learning_rate"])
    ''
    """
    plain = {_plain(entry): entry for entry in valid}
    given = _plain(name)
    found = plain.get(given)
    if found is None:
        meant = (_plain(ours) for ours, others in _OURS.items() if given in map(_plain, others.split()))
        found = next((plain[ours] for ours in meant if ours in plain), None)
    if found is None:
        for beside, others, remedy in _DONE_OTHERWISE:
            if _plain(beside) in plain and given in map(_plain, others.split()):
                return f" {remedy}"
    if found is None:  # Letters in another order, which leave short names less alike than longer ones.
        found = next((name for entry, name in plain.items() if sorted(entry) == sorted(given)), None)
    if found is None:
        from difflib import get_close_matches  # Only a name that is wrong pays for the import.

        found = next((plain[entry] for entry in get_close_matches(given, plain, 1, CLOSE)), None)
    return "" if found is None else f" Did you mean {found!r}?"


def instance_meant(value: object, base: type) -> str:
    """Return a sentence like ``did_you_mean``, where a class of some kind stands for an object of that kind.

    Examples
    --------
    >>> instance_meant(ValueError, Exception), instance_meant(3, Exception)
    (' Did you mean an instance, ValueError()?', '')
    """
    if isinstance(value, type) and issubclass(value, base):
        return f" Did you mean an instance, {value.__name__}()?"
    return ""


def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def hints_arguments(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Let a function tell what is wrong with its arguments: a name that it has not, one too many, one that is missing.

    Examples
    --------
    >>> @hints_arguments
    ... def fit(x, *, epochs=1):
    ...     return epochs
    >>> fit(0.0, epoch=3)
    Traceback (most recent call last):
        ...
    TypeError: fit() has no argument 'epoch'. Did you mean 'epochs'?
    >>> fit(0.0, 3)
    Traceback (most recent call last):
        ...
    TypeError: fit() takes x by place; got 2 arguments. Pass the others by name, as in epochs=...
    >>> fit(epochs=3)
    Traceback (most recent call last):
        ...
    TypeError: fit() needs the argument 'x', as in fit(x).
    """
    inner = inspect.unwrap(function)
    assert isinstance(inner, FunctionType)
    code, optional = inner.__code__, len(inner.__defaults__ or ())
    if code.co_flags & inspect.CO_VARKEYWORDS:  # It takes any name.
        return function
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    known, required = frozenset(names), names[: code.co_argcount - optional]
    most = sys.maxsize if code.co_flags & inspect.CO_VARARGS else code.co_argcount

    @wraps(function)
    def hinting(*args: _Arguments.args, **given: _Arguments.kwargs) -> _Result:
        if not given.keys() <= known or len(args) > most or any(name not in given for name in required[len(args) :]):
            parameters = [p for p in inspect.signature(inner).parameters.values() if p.name != "self"]
            n_given = len(args) - ("self" in names[:1])
            raise TypeError(wrong_arguments(_called(inner, hinting, args), parameters, n_given, given))
        return function(*args, **given)

    return hinting


def _called(inner: FunctionType, outer: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """Return what users call a function; a constructor has the name of the class, which may have inherited it."""
    name = inner.__qualname__.removesuffix(".__init__")
    if name != inner.__qualname__ and args and getattr(type(args[0]), "__init__", None) is outer:
        name = type(args[0]).__name__
    return name.rpartition(".")[2]


def wrong_arguments(called: str, parameters: list[inspect.Parameter], n_given: int, given: Iterable[str]) -> str:
    """Return what is wrong with the arguments of a call: ``n_given`` without a name, and others by names."""
    names = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    placed = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    for name in given:
        if name not in names:
            public = [known for known in names if not known.startswith("_")]
            hint = did_you_mean(name, public) or f" It has {', '.join(public) or 'none'}."
            return f"{called}() has no argument {name!r}.{hint}"
        if name in placed[:n_given]:
            return f"{called}() takes the argument {name!r} once; got it by place and by name. Leave one out."
    if n_given > len(placed):
        named = next((p.name for p in parameters if p.kind is p.KEYWORD_ONLY), None)
        remedy = f"Pass the others by name, as in {named}=..." if named else "Leave the others out."
        return f"{called}() takes {' and '.join(placed) or 'nothing'} by place; got {n_given} arguments. {remedy}"
    required = [p.name for p in parameters if p.name in placed and p.default is p.empty]
    missing = " and ".join(repr(name) for name in required[n_given:] if name not in given)
    return (
        f"{called}() needs the argument{'s' * (' and ' in missing)} {missing}, as in {called}({', '.join(required)})."
    )


def hints_names(cls: _Class) -> _Class:
    """Let the constructor of a class, with ``__init__`` of its own, tell which argument was meant."""
    if isinstance(vars(cls).get("__init__"), FunctionType):
        cls.__init__ = hints_arguments(cls.__init__)  # type: ignore[misc]
    return cls


class Hinting:
    """Base class of those whose subclasses, the user's too, tell which argument of the constructor was meant."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hints_names(cls)


class HintingAttributes:
    """Base class of those who tell which of their attributes was meant, where one is asked for that they have not.

    Examples
    --------
    >>> class Net(HintingAttributes):
    ...     def evaluate(self):
    ...         pass
    >>> Net().score()
    Traceback (most recent call last):
        ...
    AttributeError: 'Net' object has no attribute 'score'. Did you mean 'evaluate'?
    """

    if not TYPE_CHECKING:  # Or every attribute would be right to who checks types.

        def __getattr__(self, name: str) -> Any:
            try:
                return object.__getattribute__(self, name)  # It raises, once more: a property may have failed.
            except AttributeError as error:
                if name.startswith("_") or hasattr(type(self), name):
                    raise
                hint = self._meant(name)
                raise AttributeError(f"{error}.{hint}" if hint else str(error)) from None

    def _meant(self, name: str) -> str:
        """Return a sentence that says what was meant, with a blank before it; or nothing."""
        return did_you_mean(name, [known for known in dir(self) if not known.startswith("_")])
