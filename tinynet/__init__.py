"""tinynet: the fastest way to train small and medium dense networks from Python.

>>> import tinynet as tn
>>> net = tn.Sequential(tn.Linear(4, 5), tn.Sigmoid(), tn.Linear(5, 3), seed=0)
>>> net.n_parameters
43
"""

from __future__ import annotations

from tinynet.arrays import numpy_namespace
from tinynet.backends import available, get_backend, use_backend
from tinynet.callbacks import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ProgressBar,
    ReduceLROnPlateau,
)
from tinynet.errors import (
    BackendUnavailableError,
    DependencyError,
    DeviceMemoryError,
    DivergenceError,
    ModelFileError,
    TinynetError,
)
from tinynet.gradcheck import GradientCheck, gradient_check
from tinynet.history import History
from tinynet.initializers import (
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
from tinynet.layer import Layer
from tinynet.layers import (
    ELU,
    GELU,
    Dropout,
    Exp,
    Identity,
    LeakyReLU,
    Linear,
    Normalize,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from tinynet.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    PoissonLoss,
)
from tinynet.model import Sequential
from tinynet.modelfile import load_model as load
from tinynet.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from tinynet.schedules import CosineDecay, ExponentialDecay, Schedule, StepDecay, Warmup

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "BackendUnavailableError",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "Constant",
    "CosineDecay",
    "CrossEntropy",
    "DependencyError",
    "DeviceMemoryError",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Exp",
    "ExponentialDecay",
    "Glorot",
    "GradientCheck",
    "He",
    "History",
    "Huber",
    "Identity",
    "Initializer",
    "LambdaCallback",
    "Layer",
    "LeCun",
    "LeakyReLU",
    "Linear",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "ModelFileError",
    "Normal",
    "Normalize",
    "Ones",
    "Optimizer",
    "PoissonLoss",
    "ProgressBar",
    "RMSprop",
    "ReLU",
    "ReduceLROnPlateau",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "StepDecay",
    "Tanh",
    "TinynetError",
    "Uniform",
    "Warmup",
    "Zeros",
    "available",
    "get_backend",
    "gradient_check",
    "load",
    "numpy_namespace",
    "use_backend",
]
