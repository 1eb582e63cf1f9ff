"""Cross-matching: brute force, the poles, RA 0, and radii of a few milliarcseconds."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.sky import crossmatch, pairs_within


def _haversine_arcsec(ra1, dec1, ra2, dec2):
    ra1, dec1, ra2, dec2 = map(np.radians, (ra1, dec1, ra2, dec2))
    h = np.sin((dec2 - dec1) / 2) ** 2 + np.cos(dec1) * np.cos(dec2) * np.sin((ra2 - ra1) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(h))) * 3600


@pytest.mark.parametrize("dec0", [0.0, 60.0, 89.99])
def test_nearest_neighbour_is_that_of_all_great_circles(dec0):
    rng = np.random.default_rng(1)
    ra1, ra2 = rng.uniform(-0.02, 0.02, 200) % 360, rng.uniform(-0.02, 0.02, 300) % 360
    dec1, dec2 = dec0 + rng.uniform(-0.005, 0.005, 200), dec0 + rng.uniform(-0.005, 0.005, 300)
    separation = _haversine_arcsec(ra1[:, None], dec1[:, None], ra2, dec2)
    index, got = crossmatch(ra1, dec1, ra2, dec2, 2.0)
    found = separation.min(axis=1) <= 2.0
    np.testing.assert_array_equal(index, np.where(found, separation.argmin(axis=1), -1))
    np.testing.assert_allclose(got[found], separation.min(axis=1)[found], atol=1e-6)
    assert np.isinf(got[~found]).all()


def test_pairs_are_all_close_pairs_once():
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 0.01, 100), rng.uniform(-0.005, 0.005, 100)
    pairs, separation = pairs_within(ra, dec, 3.0)
    everything = _haversine_arcsec(ra[:, None], dec[:, None], ra, dec)
    expected = np.argwhere(np.triu(everything <= 3.0, k=1))
    np.testing.assert_array_equal(pairs, expected)
    np.testing.assert_allclose(separation, everything[tuple(expected.T)], atol=1e-6)


def test_empty_lists_match_nothing_and_nan_is_refused():
    index, separation = crossmatch([1.0], [1.0], [], [], 1.0)
    assert index.tolist() == [-1] and np.isinf(separation).all()
    assert pairs_within([1.0], [1.0], 1.0)[0].shape == (0, 2)
    with pytest.raises(CatalogueError):
        crossmatch([np.nan], [0.0], [1.0], [1.0], 1.0)
