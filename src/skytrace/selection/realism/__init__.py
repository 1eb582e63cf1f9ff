"""Do the injected lenses look like real ones? Gates with bounds fixed beforehand, and one verdict."""

from skytrace.selection.realism.background import BackgroundSample, background_pixels
from skytrace.selection.realism.comparison import HOST_AXES, ComparisonSample, comparison_sample, nearest_injections
from skytrace.selection.realism.gates import (
    GateResult,
    gate_arc_colour,
    gate_arc_snr,
    gate_background,
    gate_parity,
)
from skytrace.selection.realism.options import COMPARISON_RULE, ComparisonSettings, GateOptions
from skytrace.selection.realism.report import comparison_hash, realism_report, require_go, verdict

__all__ = [
    "COMPARISON_RULE",
    "HOST_AXES",
    "BackgroundSample",
    "ComparisonSample",
    "ComparisonSettings",
    "GateOptions",
    "GateResult",
    "background_pixels",
    "comparison_hash",
    "comparison_sample",
    "gate_arc_colour",
    "gate_arc_snr",
    "gate_background",
    "gate_parity",
    "nearest_injections",
    "realism_report",
    "require_go",
    "verdict",
]
