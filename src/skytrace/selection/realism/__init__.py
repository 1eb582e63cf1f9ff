"""Do the injected lenses look like real ones? Gates with bounds fixed beforehand, and one verdict."""

from skytrace.selection.realism.background import BackgroundSample, background_pixels
from skytrace.selection.realism.blind_panel import blind_panel_key, gate_blind_panel
from skytrace.selection.realism.classifier_test import gate_classifier
from skytrace.selection.realism.comparison import HOST_AXES, ComparisonSample, comparison_sample, nearest_injections
from skytrace.selection.realism.gates import (
    GateResult,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_parity,
)
from skytrace.selection.realism.linear_probe import gate_linear_probe
from skytrace.selection.realism.morphology import arc_morphology, gate_morphology
from skytrace.selection.realism.options import (
    COMPARISON_RULE,
    BlindPanelOptions,
    ClassifierTestOptions,
    ComparisonSettings,
    GateOptions,
    LinearProbeOptions,
    MorphologyOptions,
)
from skytrace.selection.realism.report import GATE_NAMES, comparison_hash, realism_report, require_go, verdict

__all__ = [
    "COMPARISON_RULE",
    "GATE_NAMES",
    "HOST_AXES",
    "BackgroundSample",
    "BlindPanelOptions",
    "ClassifierTestOptions",
    "ComparisonSample",
    "ComparisonSettings",
    "GateOptions",
    "GateResult",
    "LinearProbeOptions",
    "MorphologyOptions",
    "arc_morphology",
    "background_pixels",
    "blind_panel_key",
    "comparison_hash",
    "comparison_sample",
    "gate_arc_colour",
    "gate_arc_snr",
    "gate_background",
    "gate_blind_panel",
    "gate_classifier",
    "gate_linear_probe",
    "gate_morphology",
    "gate_parity",
    "nearest_injections",
    "realism_report",
    "require_go",
    "verdict",
]
