"""tinynet: the fastest way to train small and medium dense networks from Python.

>>> import tinynet as tn
>>> net = tn.Sequential(tn.Linear(4, 5), tn.Sigmoid(), tn.Linear(5, 3), seed=0)
>>> net.n_parameters
43
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinynet import errors as errors
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
from tinynet.base.hints import did_you_mean
from tinynet.base.version import __version__ as __version__
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
from tinynet.models.loading import load
from tinynet.models.sequential import Sequential
from tinynet.optimizers import LBFGS, SGD, Adam, AdamW, BayesianRegularization, LevenbergMarquardt, Optimizer, RMSprop
from tinynet.schedules import CosineDecay, ExponentialDecay, OneCycle, Schedule, StepDecay, Warmup
from tinynet.training.averaging import EMA, SWA
from tinynet.training.callbacks import Callback, LambdaCallback
from tinynet.training.gradcheck import GradientCheck, gradient_check
from tinynet.training.history import EnsembleHistory, History
from tinynet.training.monitors import EarlyStopping, ReduceLROnPlateau, StopAfter
from tinynet.training.progress import ProgressBar
from tinynet.training.saving import Checkpoint

if TYPE_CHECKING:
    from tinynet import datasets as datasets
    from tinynet import estimators as estimators
    from tinynet import math as math
    from tinynet import notebook as notebook
    from tinynet.datasets.table import Table
    from tinynet.models.laplace import laplace
    from tinynet.models.posterior import ClassLaplace, Laplace
    from tinynet.models.rate_range import LearningRateRange, learning_rate_range
    from tinynet.models.taken_over import from_sklearn, from_torch
    from tinynet.plotting.weights import plot_weights
    from tinynet.sweeps.distributions import Choice, IntUniform, LogUniform
    from tinynet.sweeps.result import SweepResult
    from tinynet.sweeps.sweep import sweep
    from tinynet.training.live import LivePlot
    from tinynet.training.loggers import CSVLogger, JSONLogger
    from tinynet.training.pruning import OptunaPruning
    from tinynet.training.trackers import LambdaSink, TensorBoardLogger

_ON_FIRST_USE = {
    "CSVLogger": "tinynet.training.loggers",
    "Choice": "tinynet.sweeps.distributions",
    "IntUniform": "tinynet.sweeps.distributions",
    "JSONLogger": "tinynet.training.loggers",
    "LambdaSink": "tinynet.training.trackers",
    "LearningRateRange": "tinynet.models.rate_range",
    "LivePlot": "tinynet.training.live",
    "LogUniform": "tinynet.sweeps.distributions",
    "OptunaPruning": "tinynet.training.pruning",
    "SweepResult": "tinynet.sweeps.result",
    "Table": "tinynet.datasets.table",
    "TensorBoardLogger": "tinynet.training.trackers",
    "datasets": "tinynet.datasets",
    "estimators": "tinynet.estimators",
    "from_sklearn": "tinynet.models.taken_over",
    "from_torch": "tinynet.models.taken_over",
    "learning_rate_range": "tinynet.models.rate_range",
    "math": "tinynet.math",
    "notebook": "tinynet.notebook",
    "plot_weights": "tinynet.plotting.weights",
    "ClassLaplace": "tinynet.models.posterior",
    "Laplace": "tinynet.models.posterior",
    "laplace": "tinynet.models.laplace",
    "sweep": "tinynet.sweeps.sweep",
}
"""Names whose modules are imported when they are first used: few programs need them, all pay for an import."""

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
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}".removesuffix("."))
    module = import_module(_ON_FIRST_USE[name])
    value = globals()[name] = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
