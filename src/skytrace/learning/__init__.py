"""Detectors: networks, training, scoring, and the measures of how good they are."""

from skytrace.learning.detector import Detector
from skytrace.learning.evaluation import EvaluationOptions, evaluate_scores
from skytrace.learning.options import ARCHITECTURES, ThresholdOptions, TrainingOptions
from skytrace.learning.scoring import score_stamps

__all__ = [
    "ARCHITECTURES",
    "Detector",
    "EvaluationOptions",
    "ThresholdOptions",
    "TrainingOptions",
    "evaluate_scores",
    "score_stamps",
]
