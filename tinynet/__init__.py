"""tinynet: the fastest way to train small and medium dense networks from Python.

>>> import tinynet as tn
>>> net = tn.Sequential(tn.Linear(4, 5), tn.Sigmoid(), tn.Linear(5, 3), seed=0)
>>> net.n_parameters
43
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynet.base.hints import did_you_mean
from tinynet.base.version import __version__ as __version__

if TYPE_CHECKING:
    from tinynet import backends as backends
    from tinynet import datasets as datasets
    from tinynet import ensembles as ensembles
    from tinynet import errors as errors
    from tinynet import estimators as estimators
    from tinynet import exchange as exchange
    from tinynet import layers as layers
    from tinynet import losses as losses
    from tinynet import math as math
    from tinynet import models as models
    from tinynet import notebook as notebook
    from tinynet import optimizers as optimizers
    from tinynet import program as program
    from tinynet import schedules as schedules
    from tinynet import training as training
    from tinynet.backends import available, get_backend, use_backend
    from tinynet.base.arrays import numpy_namespace
    from tinynet.base.errors import (
        BackendUnavailableError,
        DependencyError,
        DeviceMemoryError,
        DivergenceError,
        ModelFileError,
        ModelInTrainingError,
        RankError,
        ResumeError,
        ScaleWarning,
        TinynetError,
    )
    from tinynet.datasets.table import Table
    from tinynet.ensembles.ensemble import Ensemble
    from tinynet.layers import (
        ELU,
        GELU,
        Activation,
        BatchNorm,
        Denormalize,
        Dropout,
        Embedding,
        Exp,
        Identity,
        Increasing,
        LayerNorm,
        LeakyReLU,
        Linear,
        MeanVariance,
        Normalize,
        ReLU,
        Residual,
        Sigmoid,
        SiLU,
        Softmax,
        Softplus,
        Tanh,
    )
    from tinynet.layers.initializers import (
        Constant,
        Glorot,
        He,
        Initializer,
        LeCun,
        Normal,
        Ones,
        Uniform,
        Zeros,
    )
    from tinynet.layers.layer import Layer
    from tinynet.layers.scalar import ScalarActivation
    from tinynet.losses import (
        BinaryCrossEntropy,
        BinaryFocal,
        CategoricalFocal,
        CrossEntropy,
        ElementwiseLoss,
        GaussianNLL,
        Huber,
        LogCosh,
        Loss,
        MeanAbsoluteError,
        MeanSquaredError,
        PoissonLoss,
        Quantile,
        Sobolev,
    )
    from tinynet.losses.scalar import ScalarLoss
    from tinynet.models.laplace import laplace
    from tinynet.models.loading import load
    from tinynet.models.posterior import ClassLaplace, Laplace
    from tinynet.models.rate_range import LearningRateRange, learning_rate_range
    from tinynet.models.sequential import Sequential
    from tinynet.models.taken_over import from_sklearn, from_torch
    from tinynet.optimizers import (
        LBFGS,
        SGD,
        Adam,
        AdamW,
        BayesianRegularization,
        LevenbergMarquardt,
        Optimizer,
        RMSprop,
    )
    from tinynet.plotting.weights import plot_weights
    from tinynet.schedules import CosineDecay, ExponentialDecay, OneCycle, Schedule, StepDecay, Warmup
    from tinynet.sweeps.distributions import Choice, IntUniform, LogUniform
    from tinynet.sweeps.result import SweepResult
    from tinynet.sweeps.sweep import sweep
    from tinynet.training.averaging import EMA, SWA
    from tinynet.training.callbacks import Callback, LambdaCallback
    from tinynet.training.gradcheck import GradientCheck, gradient_check
    from tinynet.training.history import EnsembleHistory, History
    from tinynet.training.live import LivePlot
    from tinynet.training.loggers import CSVLogger, JSONLogger
    from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau, StopAfter
    from tinynet.training.progress import ProgressBar
    from tinynet.training.pruning import OptunaPruning
    from tinynet.training.saving import Checkpoint
    from tinynet.training.trackers import LambdaSink, TensorBoardLogger

_ON_FIRST_USE = {
    "Activation": "tinynet.layers",
    "Adam": "tinynet.optimizers",
    "AdamW": "tinynet.optimizers",
    "BackendUnavailableError": "tinynet.base.errors",
    "BatchNorm": "tinynet.layers",
    "BayesianRegularization": "tinynet.optimizers",
    "BinaryCrossEntropy": "tinynet.losses",
    "BinaryFocal": "tinynet.losses",
    "CSVLogger": "tinynet.training.loggers",
    "Callback": "tinynet.training.callbacks",
    "CategoricalFocal": "tinynet.losses",
    "Checkpoint": "tinynet.training.saving",
    "Choice": "tinynet.sweeps.distributions",
    "ClassLaplace": "tinynet.models.posterior",
    "Constant": "tinynet.layers.initializers",
    "CosineDecay": "tinynet.schedules",
    "CrossEntropy": "tinynet.losses",
    "Denormalize": "tinynet.layers",
    "DependencyError": "tinynet.base.errors",
    "DeviceMemoryError": "tinynet.base.errors",
    "DivergenceError": "tinynet.base.errors",
    "Dropout": "tinynet.layers",
    "ELU": "tinynet.layers",
    "EMA": "tinynet.training.averaging",
    "EarlyStopping": "tinynet.training.monitors",
    "ElementwiseLoss": "tinynet.losses",
    "Embedding": "tinynet.layers",
    "Ensemble": "tinynet.ensembles.ensemble",
    "EnsembleHistory": "tinynet.training.history",
    "Exp": "tinynet.layers",
    "ExponentialDecay": "tinynet.schedules",
    "GELU": "tinynet.layers",
    "GaussianNLL": "tinynet.losses",
    "Glorot": "tinynet.layers.initializers",
    "GradientCheck": "tinynet.training.gradcheck",
    "He": "tinynet.layers.initializers",
    "History": "tinynet.training.history",
    "Huber": "tinynet.losses",
    "Identity": "tinynet.layers",
    "Increasing": "tinynet.layers",
    "Initializer": "tinynet.layers.initializers",
    "IntUniform": "tinynet.sweeps.distributions",
    "JSONLogger": "tinynet.training.loggers",
    "LBFGS": "tinynet.optimizers",
    "LambdaCallback": "tinynet.training.callbacks",
    "LambdaSink": "tinynet.training.trackers",
    "Laplace": "tinynet.models.posterior",
    "Layer": "tinynet.layers.layer",
    "LayerNorm": "tinynet.layers",
    "LeCun": "tinynet.layers.initializers",
    "LeakyReLU": "tinynet.layers",
    "LearningRateRange": "tinynet.models.rate_range",
    "LevenbergMarquardt": "tinynet.optimizers",
    "Linear": "tinynet.layers",
    "LivePlot": "tinynet.training.live",
    "LogCosh": "tinynet.losses",
    "LogUniform": "tinynet.sweeps.distributions",
    "Loss": "tinynet.losses",
    "MeanAbsoluteError": "tinynet.losses",
    "MeanSquaredError": "tinynet.losses",
    "MeanVariance": "tinynet.layers",
    "ModelFileError": "tinynet.base.errors",
    "ModelInTrainingError": "tinynet.base.errors",
    "Normal": "tinynet.layers.initializers",
    "Normalize": "tinynet.layers",
    "OneCycle": "tinynet.schedules",
    "Ones": "tinynet.layers.initializers",
    "Optimizer": "tinynet.optimizers",
    "OptunaPruning": "tinynet.training.pruning",
    "PoissonLoss": "tinynet.losses",
    "ProgressBar": "tinynet.training.progress",
    "Quantile": "tinynet.losses",
    "RMSprop": "tinynet.optimizers",
    "RankError": "tinynet.base.errors",
    "ReLU": "tinynet.layers",
    "ReduceLROnPlateau": "tinynet.training.monitors",
    "Residual": "tinynet.layers",
    "ResumeError": "tinynet.base.errors",
    "SGD": "tinynet.optimizers",
    "SWA": "tinynet.training.averaging",
    "ScalarActivation": "tinynet.layers.scalar",
    "ScalarLoss": "tinynet.losses.scalar",
    "ScaleWarning": "tinynet.base.errors",
    "Schedule": "tinynet.schedules",
    "Sequential": "tinynet.models.sequential",
    "SiLU": "tinynet.layers",
    "Sigmoid": "tinynet.layers",
    "Sobolev": "tinynet.losses",
    "Softmax": "tinynet.layers",
    "Softplus": "tinynet.layers",
    "StepDecay": "tinynet.schedules",
    "StopAfter": "tinynet.training.monitors",
    "SweepResult": "tinynet.sweeps.result",
    "Table": "tinynet.datasets.table",
    "Tanh": "tinynet.layers",
    "TensorBoardLogger": "tinynet.training.trackers",
    "TinynetError": "tinynet.base.errors",
    "Uniform": "tinynet.layers.initializers",
    "Warmup": "tinynet.schedules",
    "Zeros": "tinynet.layers.initializers",
    "available": "tinynet.backends",
    "backends": "tinynet.backends",
    "datasets": "tinynet.datasets",
    "ensembles": "tinynet.ensembles",
    "errors": "tinynet.errors",
    "estimators": "tinynet.estimators",
    "exchange": "tinynet.exchange",
    "from_sklearn": "tinynet.models.taken_over",
    "from_torch": "tinynet.models.taken_over",
    "get_backend": "tinynet.backends",
    "gradient_check": "tinynet.training.gradcheck",
    "laplace": "tinynet.models.laplace",
    "layers": "tinynet.layers",
    "learning_rate_range": "tinynet.models.rate_range",
    "load": "tinynet.models.loading",
    "losses": "tinynet.losses",
    "math": "tinynet.math",
    "models": "tinynet.models",
    "notebook": "tinynet.notebook",
    "numpy_namespace": "tinynet.base.arrays",
    "optimizers": "tinynet.optimizers",
    "plot_weights": "tinynet.plotting.weights",
    "program": "tinynet.program",
    "schedules": "tinynet.schedules",
    "sweep": "tinynet.sweeps.sweep",
    "training": "tinynet.training",
    "use_backend": "tinynet.backends",
}
"""Names whose modules are imported when they are first used: no program needs them all, and each pays for an import."""

__all__ = [
    "ELU",
    "EMA",
    "GELU",
    "LBFGS",
    "SGD",
    "SWA",
    "Activation",
    "Adam",
    "AdamW",
    "BackendUnavailableError",
    "BatchNorm",
    "BayesianRegularization",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CSVLogger",
    "Callback",
    "CategoricalFocal",
    "Checkpoint",
    "Choice",
    "ClassLaplace",
    "Constant",
    "CosineDecay",
    "CrossEntropy",
    "Denormalize",
    "DependencyError",
    "DeviceMemoryError",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "ElementwiseLoss",
    "Embedding",
    "Ensemble",
    "EnsembleHistory",
    "Exp",
    "ExponentialDecay",
    "GaussianNLL",
    "Glorot",
    "GradientCheck",
    "He",
    "History",
    "Huber",
    "Identity",
    "Increasing",
    "Initializer",
    "IntUniform",
    "JSONLogger",
    "LambdaCallback",
    "LambdaSink",
    "Laplace",
    "Layer",
    "LayerNorm",
    "LeCun",
    "LeakyReLU",
    "LearningRateRange",
    "LevenbergMarquardt",
    "Linear",
    "LivePlot",
    "LogCosh",
    "LogUniform",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "MeanVariance",
    "ModelFileError",
    "ModelInTrainingError",
    "Normal",
    "Normalize",
    "OneCycle",
    "Ones",
    "Optimizer",
    "OptunaPruning",
    "PoissonLoss",
    "ProgressBar",
    "Quantile",
    "RMSprop",
    "RankError",
    "ReLU",
    "ReduceLROnPlateau",
    "Residual",
    "ResumeError",
    "ScalarActivation",
    "ScalarLoss",
    "ScaleWarning",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Sobolev",
    "Softmax",
    "Softplus",
    "StepDecay",
    "StopAfter",
    "SweepResult",
    "Table",
    "Tanh",
    "TensorBoardLogger",
    "TinynetError",
    "Uniform",
    "Warmup",
    "Zeros",
    "available",
    "from_sklearn",
    "from_torch",
    "get_backend",
    "gradient_check",
    "laplace",
    "learning_rate_range",
    "load",
    "numpy_namespace",
    "plot_weights",
    "sweep",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        hint = "" if name.startswith("_") else did_you_mean(name, __all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}" + (f".{hint}" if hint else ""))
    module = import_module(_ON_FIRST_USE[name])
    value = globals()[name] = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
