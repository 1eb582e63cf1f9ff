"""injection_recovery: the measured selection function of the frozen detector."""

from skytrace.pipelines.injection_recovery.pipeline import create_pipeline

__all__ = ["create_pipeline"]
