"""lens_finder: train a strong-lens detector on survey cutouts, and measure how good it is on sky it never saw."""

from skytrace.pipelines.lens_finder.pipeline import create_pipeline

__all__ = ["create_pipeline"]
