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
from skytrace.selection.realism.options import GateOptions
from skytrace.selection.realism.report import realism_report, require_go, verdict

__all__ = [
    "HOST_AXES",
    "BackgroundSample",
    "ComparisonSample",
    "GateOptions",
    "GateResult",
    "background_pixels",
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
