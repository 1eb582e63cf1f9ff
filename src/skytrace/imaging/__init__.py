"""Pixels: photometry, point-spread functions, apertures, quality, and what a detector is shown."""

from skytrace.imaging.preprocessing import (
    PreprocessOptions,
    annulus_statistics,
    preprocess,
    preprocessing_checksum,
)

__all__ = ["PreprocessOptions", "annulus_statistics", "preprocess", "preprocessing_checksum"]
