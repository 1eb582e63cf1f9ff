"""Detectors: networks, training, scoring, ensembles, and the measures of how good they are."""

from skytrace.learning.detector import Detector
from skytrace.learning.evaluation import EvaluationOptions, evaluate_scores
from skytrace.learning.options import (
    ARCHITECTURES,
    CalibrationOptions,
    EnsembleOptions,
    MemberOptions,
    StrataEvaluationOptions,
    StratumOptions,
    SurveyScenario,
    ThresholdOptions,
    TopOptions,
    TrainingOptions,
)
from skytrace.learning.scoring import score_stamps
from skytrace.learning.store import StampStore

__all__ = [
    "ARCHITECTURES",
    "CalibrationOptions",
    "Detector",
    "EnsembleOptions",
    "EvaluationOptions",
    "MemberOptions",
    "StampStore",
    "StrataEvaluationOptions",
    "StratumOptions",
    "SurveyScenario",
    "ThresholdOptions",
    "TopOptions",
    "TrainingOptions",
    "evaluate_scores",
    "score_stamps",
]
