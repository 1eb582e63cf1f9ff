"""Checks that a detector learnt from what it should, and saw nothing else."""

from skytrace.audit.columns import METADATA_COLUMNS, PIXEL_COLUMNS, check_model_inputs
from skytrace.audit.gates import compare_gates, gate_scores, mask_core
from skytrace.audit.options import GateOptions, ShortcutOptions
from skytrace.audit.report import audit_report
from skytrace.audit.shortcuts import catalogue_features, shortcut_aucs, shortcut_features

__all__ = [
    "METADATA_COLUMNS",
    "PIXEL_COLUMNS",
    "GateOptions",
    "ShortcutOptions",
    "audit_report",
    "catalogue_features",
    "check_model_inputs",
    "compare_gates",
    "gate_scores",
    "mask_core",
    "shortcut_aucs",
    "shortcut_features",
]
