"""Metrics: figures that are reported beside the loss."""

from tinynet.training.metrics.figures import Direction, direction, figures_of, known_direction
from tinynet.training.metrics.meter import Meter
from tinynet.training.metrics.table import METRICS, Measure, Metric, get_metrics

__all__ = [
    "METRICS",
    "Direction",
    "Measure",
    "Meter",
    "Metric",
    "direction",
    "figures_of",
    "get_metrics",
    "known_direction",
]
