"""Which sources of two lists are the same place on the sky: great-circle neighbours from a k-d tree of unit vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["crossmatch", "pairs_within"]

_ARCSEC = np.pi / 180.0 / 3600.0


def crossmatch(
    ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike, radius_arcsec: float
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Nearest source of list 2 to each of list 1: (index into list 2, separation [arcsec]), each (n1,).

    Positions in deg. Index -1 and separation inf where nothing lies within ``radius_arcsec`` (the edge counts).
    Raises CatalogueError on non-finite positions.
    """
    from scipy.spatial import cKDTree

    check_between("radius_arcsec", radius_arcsec, 0.0, 3600.0)
    first, second = _unit_vectors(ra1, dec1), _unit_vectors(ra2, dec2)
    if not len(first) or not len(second):
        return np.full(len(first), -1, dtype=np.intp), np.full(len(first), np.inf)
    chord, index = cKDTree(second).query(first, distance_upper_bound=_chord(radius_arcsec) * (1 + 1e-9))
    found = np.isfinite(chord)
    return np.where(found, index, -1), np.where(found, _arcsec(np.where(found, chord, 0.0)), np.inf)


def pairs_within(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """All pairs of one list closer than ``radius_arcsec``: (rows (pairs, 2), separation [arcsec]), sorted by row."""
    from scipy.spatial import cKDTree

    check_between("radius_arcsec", radius_arcsec, 0.0, 3600.0)
    vectors = _unit_vectors(ra, dec)
    if len(vectors) < 2:
        return np.empty((0, 2), dtype=np.intp), np.empty(0)
    pairs = cKDTree(vectors).query_pairs(_chord(radius_arcsec) * (1 + 1e-9), output_type="ndarray")
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    return pairs, _arcsec(np.linalg.norm(vectors[pairs[:, 0]] - vectors[pairs[:, 1]], axis=1))


def _unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    ra = np.radians(np.atleast_1d(np.asarray(ra, dtype=np.float64)))
    dec = np.radians(np.atleast_1d(np.asarray(dec, dtype=np.float64)))
    if not (np.isfinite(ra).all() and np.isfinite(dec).all()):
        raise CatalogueError("positions to be matched are not all finite")
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _chord(radius_arcsec: float) -> float:
    return float(2.0 * np.sin(0.5 * radius_arcsec * _ARCSEC))


def _arcsec(chord: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2.0 * np.arcsin(np.clip(0.5 * chord, 0.0, 1.0)) / _ARCSEC
