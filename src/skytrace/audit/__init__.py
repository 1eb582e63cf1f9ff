"""Checks that a detector learnt from what it should, and saw nothing else."""

from skytrace.audit.columns import METADATA_COLUMNS, PIXEL_COLUMNS, check_model_inputs

__all__ = ["METADATA_COLUMNS", "PIXEL_COLUMNS", "check_model_inputs"]
