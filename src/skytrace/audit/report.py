"""The audit of a detector: what it may see, and which numbers and which parts of a stamp give the classes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from skytrace.audit.columns import check_model_inputs
from skytrace.audit.gates import CATALOGUE
from skytrace.audit.shortcuts import shortcut_summary
from skytrace.compute.json_values import json_records

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

__all__ = ["audit_report", "gate_verdicts"]

_MASKED = "detector, core masked"
_LIMITS = (
    "A green shortcut is a feature that does not separate the classes alone; features together may.",
    "A red feature of the arc region is no fault: lenses are made to differ there. It bounds what an AUC is worth.",
    "A gate that fails shows what this small classifier finds; another may find more in the same pixels.",
    "The core holds every arc with theta_E below its radius: an AUC of the core near the detector's does not say "
    "whether deflectors or arcs were learnt. What the galaxies alone give away is the AUC of the catalogue.",
    "The catalogue's AUC counts how the sample was drawn too: confusers are chosen by their catalogue values.",
    "Masking the core shows that the detector can do without it here, not that it does not use it when it is there.",
    "Nothing here is about the sky: classes matched in this sample may differ from lenses and galaxies of a survey.",
)


def audit_report(
    *,
    inputs: Iterable[str],
    shortcuts: pd.DataFrame | None = None,
    gates: pd.DataFrame | None = None,
    metadata_fusion: bool = False,
) -> dict[str, Any]:
    """JSON-ready: columns, shortcuts (of ``shortcut_aucs``), gates (of ``compare_gates``), and what is not shown.

    What was not measured is None under its key, never left out. Raises LeakageError where ``inputs`` of the detector
    are not on the whitelist: no report is written about a detector that sees a label.
    """
    allowed = check_model_inputs(inputs, metadata_fusion=metadata_fusion)
    return {
        "columns": {"inputs": list(allowed), "metadata_fusion": metadata_fusion, "whitelisted": True},
        "shortcuts": None if shortcuts is None else {**shortcut_summary(shortcuts), "table": json_records(shortcuts)},
        "gates": None if gates is None else {"verdicts": gate_verdicts(gates), "table": json_records(gates)},
        "does_not_show": list(_LIMITS),
    }


def gate_verdicts(gates: pd.DataFrame) -> list[str]:
    """A sentence for each row of ``compare_gates`` (reference "detector"), by the paired 95 % interval."""
    if "below_reference" not in gates:
        return ["no detector was scored on these stamps: the gates stand alone"]
    sentences = []
    for row in gates.to_dict(orient="records"):
        name, low, high = row["classifier"], row["below_reference_low_95"], row["below_reference_high_95"]
        if name == "detector":
            continue
        interval = f"AUC {row['auc']:.3f}, {row['below_reference']:+.3f} below it (95 %: {low:+.3f} to {high:+.3f})"
        if name == _MASKED:
            found = "loses" if low > 0 else "loses nothing measurable"
            sentences.append(f"the detector {found} when its core is masked: {interval}")
        elif low > 0:
            sentences.append(f"{name} alone does not reach the detector: {interval}")
        elif name == CATALOGUE:
            sentences.append(
                f"{name} alone, without a pixel, is not measurably worse than the detector: its AUC is no evidence of "
                f"arcs: {interval}"
            )
        else:
            sentences.append(f"{name} alone is not measurably worse than the detector: {interval}")
    return sentences
