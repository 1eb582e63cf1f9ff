"""injection_studies: how the measured selection function moves under other choices, and for other detectors."""

from skytrace.pipelines.injection_studies.pipeline import create_pipeline

__all__ = ["create_pipeline"]
