"""supernova: from light curves to a Hubble diagram, and an honest comparison of cosmologies."""

from skytrace.pipelines.supernova.pipeline import create_pipeline

__all__ = ["create_pipeline"]
