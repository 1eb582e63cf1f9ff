"""The Milky Way's dust by its definition: E(B-V) is what it takes from B more than from V, and R_V of it from V."""

import numpy as np
import pandas as pd
import pytest

from skytrace.supernovae.dust import R_V, milky_way_transmission, unknown_reddening, without_milky_way_dust


def test_extinction_is_what_its_name_says():
    blue, visual = -2.5 * np.log10(milky_way_transmission([440.0, 549.5], 1.0))
    assert blue - visual == pytest.approx(1.0, abs=0.05)
    assert visual == pytest.approx(R_V, abs=0.1)


def test_magnitudes_are_proportional_to_the_reddening():
    wavelength = np.array([[400.0], [900.0]])
    mag = -2.5 * np.log10(milky_way_transmission(wavelength, [0.0, 0.1, 0.2]))
    assert mag.shape == (2, 3)
    np.testing.assert_array_equal(mag[:, 0], 0.0)
    np.testing.assert_allclose(mag[:, 2], 2 * mag[:, 1], rtol=1e-12)


def test_a_supernova_without_a_known_reddening_stays_as_it_is():
    table = pd.DataFrame({"snid": ["a", "b", "c"], "wavelength_nm": 500.0, "flux_jy": -1e-6, "flux_err_jy": 1e-7})
    objects = pd.DataFrame({"snid": ["a", "b"], "mwebv": [0.2, np.nan]})
    free = without_milky_way_dust(table, objects)
    assert free["flux_jy"].iloc[0] < -1.5e-6  # a negative flux stays negative
    np.testing.assert_allclose(free["flux_jy"] / free["flux_err_jy"], -10.0)
    assert free["flux_jy"].tolist()[1:] == [-1e-6, -1e-6]


def test_supernovae_of_unknown_reddening_are_named():
    table = pd.DataFrame({"snid": ["c", "a", "b", "b"]})
    objects = pd.DataFrame({"snid": ["a", "b", "z"], "mwebv": [0.0, np.nan, np.nan]})
    assert unknown_reddening(table, objects) == ["b", "c"]
