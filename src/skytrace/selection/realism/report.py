"""One verdict from all gates, as a report that can be written as JSON.

Precedence: one failed gate makes NO-GO; else one insufficient gate makes INSUFFICIENT; else GO. Gates that are only
reported (4, 6) have no bound to fall by.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from skytrace.compute.fingerprint import fingerprint
from skytrace.compute.json_values import json_ready
from skytrace.errors import CatalogueError, RealismGateFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.gates import GateResult
    from skytrace.selection.realism.options import ComparisonSettings, GateOptions

__all__ = ["GATE_NAMES", "comparison_hash", "realism_report", "require_go", "verdict"]

#: The eight registered gates, in the order of the report.
GATE_NAMES = (
    "1 arc S/N", "2 background", "3 arc colour", "4 arc morphology", "5 classifier", "6 blind panel", "7 parity",
    "8 linear probe",
)  # fmt: skip

#: What these gates can and cannot show, word for word in every report.
_LIMITS = (
    "Gates 1, 2, 3, 5, 7 and 8 are judged against bounds (`registration` says when each was set); 4 (distributions) "
    "and 6 (blind panel) are reported without one: GO does not say that the distributions of arc shapes are equal, or "
    "that a person takes injections for real lenses.",
    "Gate 5 asks whether a classifier of arc shapes stays below its bound, not whether it sees no difference: a pass "
    "may leave most injections told from lenses. Its sentence states how large a difference would make it fail.",
    "Anchors are discovered lenses. Both sides are cut at the same measured arc S/N and the injections are weighted to "
    "the anchors' theta_E, PSF and depth (and hosts): the gates ask whether observable injections resemble discovered "
    "lenses.",
    "They cannot say whether the faint injections below the cut are realistic, because no such real lenses are known.",
    "The rule that discovered the anchors also prefers bright, blue, complete arcs: a gate may fall for that reason "
    "alone, and a pass within a factor of two in S/N or 0.2 mag in colour does not exclude what a detector sees.",
    "The cut bounds the faint end of both sides, so the 10th percentile tests less than the median and the 90th. "
    "Where the S/N above it follows a power law, a common factor in brightness shows only in how many pass (counts).",
    "Measured arc light includes what a host model leaves of the host: injections are matched to the anchors' hosts in "
    "r magnitude and g-r where host_matched says so, and no further. Gate 8 matches the arc S/N as well, so it judges "
    "the look of arcs of equal brightness, and leaves out anchors brighter than any injection near them.",
    "Gate 8 sees what a straight line through the last features of this one detector sees, with the power that its "
    "sentence states; where it passes, its AUC may still be above 1/2.",
    "An injection counts only if its own light is observable; of anchors that is taken for granted.",
    "Anchors pass the selection and the quality control of hosts; a lens that search found outside them is left out.",
)


def realism_report(
    gates: Sequence[GateResult],
    sample: ComparisonSample,
    *,
    threshold: float,
    options: GateOptions,
    settings: ComparisonSettings,
) -> dict[str, Any]:
    """All gates and the verdict: verdict, validated, gates, limits, comparison (counts), matched_axes, options,
    settings, options_hash (``comparison_hash``).

    gates: the results of all eight, in any order. sample: ``comparison_sample``. threshold: of the detector. No NaN
    inside. Raises CatalogueError where a gate is missing, unknown or there twice: a verdict of some is none.
    """
    if sorted(gate.name for gate in gates) != sorted(GATE_NAMES):
        raise CatalogueError(f"a report needs {', '.join(GATE_NAMES)}; got {', '.join(gate.name for gate in gates)}")
    gates = sorted(gates, key=lambda gate: GATE_NAMES.index(gate.name))
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
    return json_ready(report)


def comparison_hash(options: GateOptions, settings: ComparisonSettings, *, axes: Sequence[str]) -> str:
    """16 digits that change with everything that decides the comparison but the data: the bounds and the matching, how
    arcs are measured, what anchors pass, the axes that were matched, and the integer that stands for the code.
    """
    return fingerprint(options, settings, list(axes), length=16)


def verdict(gates: Sequence[GateResult]) -> str:
    """GO, NO-GO or INSUFFICIENT by the stated precedence; no judged gates at all are INSUFFICIENT."""
    status = {gate.status for gate in gates} - {"reported"}
    if "fail" in status:
        return "NO-GO"
    return "INSUFFICIENT" if "insufficient" in status or not status else "GO"


def require_go(report: Mapping[str, Any]) -> None:
    """Raise RealismGateFailed, naming the gates that did not pass, unless the verdict is GO."""
    if report["verdict"] != "GO":
        open_ones = [gate for gate in report["gates"] if gate["status"] not in ("pass", "reported")]
        fallen = "; ".join(f"{gate['name']} ({gate['status']})" for gate in open_ones)
        raise RealismGateFailed(f"realism verdict {report['verdict']}: {fallen}; see the report's sentences")
