"""One verdict from all gates, as a report that can be written as JSON.

Precedence: one failed gate makes NO-GO; else one insufficient gate makes INSUFFICIENT; else GO.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute.fingerprint import fingerprint
from skytrace.errors import RealismGateFailed
from skytrace.selection.realism.gates import GateResult, gate_arc_colour, gate_arc_snr, gate_background, gate_parity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from skytrace.selection.realism.background import BackgroundSample
    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.options import ComparisonSettings, GateOptions

__all__ = ["comparison_hash", "realism_report", "require_go", "verdict"]

#: What these gates can and cannot show, word for word in every report.
_LIMITS = (
    "Of the eight gates that are planned, 1, 2, 3 and 7 are run; distributions (4), the two-sample classifier (5), the "
    "blind panel (6) and the linear probe of the detector (8) are not yet: GO means these four.",
    "Anchors are discovered lenses. Both sides are cut at the same measured arc S/N and the injections are weighted to "
    "the anchors' theta_E, PSF and depth (and hosts): the gates ask whether observable injections resemble discovered "
    "lenses.",
    "They cannot say whether the faint injections below the cut are realistic, because no such real lenses are known.",
    "The rule that discovered the anchors also prefers bright, blue, complete arcs: a gate may fall for that reason "
    "alone, and a pass within a factor of two in S/N or 0.2 mag in colour does not exclude what a detector sees.",
    "The cut bounds the faint end of both sides, so the 10th percentile tests less than the median and the 90th. "
    "Where the S/N above it follows a power law, a common factor in brightness shows only in how many pass (counts).",
    "Measured arc light includes what a host model leaves of the host: injections are matched to the anchors' hosts in "
    "r magnitude and g-r where host_matched says so, and no further.",
    "An injection counts only if its own light is observable; of anchors that is taken for granted.",
    "Anchors pass the selection and the quality control of hosts; a lens that search found outside them is left out.",
)


def realism_report(
    sample: ComparisonSample,
    background: BackgroundSample,
    parity: pd.DataFrame,
    *,
    threshold: float,
    options: GateOptions,
    settings: ComparisonSettings,
) -> dict[str, Any]:
    """All gates and the verdict: verdict, validated, gates, limits, comparison (counts), matched_axes, options,
    settings, options_hash (``comparison_hash``).

    sample: ``comparison_sample``. background: ``background_pixels``. parity: see ``gate_parity``. threshold: of the
    detector. No NaN inside.
    """
    gates = [
        gate_arc_snr(sample, options=options),
        gate_background(background, options=options),
        gate_arc_colour(sample, options=options),
        gate_parity(parity, threshold=threshold, options=options),
    ]
    decided = verdict(gates)
    report = {
        "verdict": decided,
        "validated": decided == "GO",
        "gates": [dataclasses.asdict(gate) for gate in gates],
        "limits": list(_LIMITS),
        "comparison": dict(sample.counts),
        "threshold": float(threshold),
        "matched_axes": list(sample.axes),
        "options": dataclasses.asdict(options),
        "settings": dataclasses.asdict(settings),
        "options_hash": comparison_hash(options, settings, axes=sample.axes),
    }
    return _plain(report)


def comparison_hash(options: GateOptions, settings: ComparisonSettings, *, axes: Sequence[str]) -> str:
    """16 digits that change with everything that decides the comparison but the data: the bounds and the matching, how
    arcs are measured, what anchors pass, the axes that were matched, and the integer that stands for the code.
    """
    return fingerprint(options, settings, list(axes), length=16)


def verdict(gates: Sequence[GateResult]) -> str:
    """GO, NO-GO or INSUFFICIENT by the stated precedence; no gates at all are INSUFFICIENT."""
    status = {gate.status for gate in gates}
    if "fail" in status:
        return "NO-GO"
    return "INSUFFICIENT" if "insufficient" in status or not status else "GO"


def require_go(report: Mapping[str, Any]) -> None:
    """Raise RealismGateFailed, naming the gates that did not pass, unless the verdict is GO."""
    if report["verdict"] != "GO":
        fallen = "; ".join(f"{gate['name']} ({gate['status']})" for gate in report["gates"] if gate["status"] != "pass")
        raise RealismGateFailed(f"realism verdict {report['verdict']}: {fallen}; see the report's sentences")


def _plain(value: Any) -> Any:
    """The same with JSON's own types only; NaN and infinities become null."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
