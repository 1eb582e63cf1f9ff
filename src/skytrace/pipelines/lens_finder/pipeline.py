"""The whole of lens_finder: the detector, and the audit of what it learnt and from what."""

from kedro.pipeline import Pipeline

from skytrace.pipelines.lens_finder import audit, detector

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Stages 1 to 12 of the design page."""
    return detector.create_pipeline() + audit.create_pipeline()
