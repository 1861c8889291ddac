"""The errors of tinynet, where users import them from."""

from tinynet.base.errors import (
    BackendUnavailableError,
    DependencyError,
    DeviceMemoryError,
    DivergenceError,
    ModelFileError,
    ModelInTrainingError,
    ResumeError,
    TinynetError,
)

__all__ = [
    "BackendUnavailableError",
    "DependencyError",
    "DeviceMemoryError",
    "DivergenceError",
    "ModelFileError",
    "ModelInTrainingError",
    "ResumeError",
    "TinynetError",
]
