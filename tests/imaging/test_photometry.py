"""Magnitudes and depths against vectors."""

import json
from pathlib import Path

import numpy as np
import pytest

from skytrace.imaging.photometry import flux_nmgy, mag_ab, mag_depth, psfdepth_from_mag

VECTORS = json.loads((Path(__file__).parents[1] / "lensing" / "vectors.json").read_text())["photometry"]


@pytest.mark.parametrize(
    ("function", "section", "given", "expected"),
    [
        (mag_ab, "nmgy_to_mag", "nmgy", "mag"),
        (flux_nmgy, "mag_to_nmgy", "mag", "nmgy"),
        (mag_depth, "psfdepth_to_mag5", "psfdepth_ivar", "mag5"),
        (psfdepth_from_mag, "mag5_to_psfdepth", "mag5", "psfdepth_ivar"),
    ],
)
def test_conversions_match_the_vectors(function, section, given, expected):
    cases = VECTORS[section]
    ours = function(np.array([case[given] for case in cases]))
    assert np.allclose(ours, [case[expected] for case in cases], rtol=1e-9)


def test_magnitudes_and_depths_return_to_where_they_started():
    mags = np.linspace(14.0, 27.0, 14)
    assert np.allclose(mag_ab(flux_nmgy(mags)), mags, atol=1e-12)
    assert np.allclose(mag_depth(psfdepth_from_mag(mags)), mags, atol=1e-12)


def test_fluxes_that_are_not_positive_have_no_magnitude():
    assert np.isnan(mag_ab([0.0, -1.0, np.nan])).all()
    assert np.isnan(mag_depth([0.0])).all()
