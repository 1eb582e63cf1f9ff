"""Which galaxies, which part of the sky, and which split."""

from skytrace.sky.split import SplitOptions, assign_split, healpix_cell, withhold_anchors

__all__ = ["SplitOptions", "assign_split", "healpix_cell", "withhold_anchors"]
