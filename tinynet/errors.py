"""The errors of tinynet, where users import them from."""

from tinynet.base.errors import (
    BackendUnavailableError,
    DependencyError,
    DeviceMemoryError,
    DivergenceError,
    ModelFileError,
    ModelInTrainingError,
    RankError,
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
    "RankError",
    "ResumeError",
    "TinynetError",
]
