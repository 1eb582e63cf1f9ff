"""Observing conditions and number counts of the mock sky follow the measured ones."""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from skytrace.errors import OptionError
from skytrace.imaging.photometry import mag_depth
from skytrace.surveys.interface import BANDS
from skytrace.surveys.mock import MockSurveyOptions
from skytrace.surveys.mock.conditions import DEPTH_AREA_SQDEG, DEPTH_BIN_CENTRES_MAG, depth_quantile, draw_pointings
from skytrace.surveys.mock.population import draw_categories, draw_hosts


@pytest.fixture(scope="module")
def pointings():
    return draw_pointings(4000, rng=np.random.default_rng(3))


def test_depth_constants_have_the_published_quantiles():
    for band, expected in {
        "g": (24.7, 24.919, 25.274),
        "r": (24.182, 24.431, 25.041),
        "z": (23.238, 23.424, 23.779),
    }.items():
        assert depth_quantile([0.25, 0.5, 0.75], band=band) == pytest.approx(expected, abs=0.06)


def test_depths_follow_the_bimodal_dr10_histograms(pointings):
    edges = np.append(DEPTH_BIN_CENTRES_MAG - 0.05, 26.75)
    for b, band in enumerate(BANDS):
        drawn = np.histogram(mag_depth(pointings.psfdepth[:, b]), edges)[0] / len(pointings)
        wanted = np.array(DEPTH_AREA_SQDEG[band]) / sum(DEPTH_AREA_SQDEG[band])
        assert np.abs(np.cumsum(drawn) - np.cumsum(wanted)).max() < 1.63 / np.sqrt(len(pointings))
    depth_r = mag_depth(pointings.psfdepth[:, 1])
    shallow, valley, deep = (np.abs(depth_r - m) < 0.15 for m in (24.2, 24.75, 25.1))
    assert valley.sum() < 0.5 * min(shallow.sum(), deep.sum())


def test_seeing_and_depth_cover_the_injection_grid(pointings):
    size_r = pointings.psfsize_arcsec[:, 1]
    assert 0.05 < (size_r < 0.9).mean() < 0.2 and 0.005 < (size_r > 1.7).mean() < 0.1
    assert np.median(size_r) == pytest.approx(1.17, abs=0.03)
    assert ((size_r < 0.9) & (mag_depth(pointings.psfdepth[:, 1]) > 24.75)).mean() > 0.02


def test_exposures_rise_with_depth_and_have_the_measured_median(pointings):
    nobs = pointings.nobs[:, 1]
    assert np.median(nobs) == 6
    assert np.corrcoef(nobs, mag_depth(pointings.psfdepth[:, 1]))[0, 1] > 0.5


def test_too_many_pointings_for_the_sky_is_an_option_error():
    with pytest.raises(OptionError, match="galaxies_per_pointing"):
        draw_pointings(300_000, rng=np.random.default_rng(1))


def test_number_counts_have_the_asked_slope():
    options = MockSurveyOptions(n_galaxies=40_000, lens_fraction=0.0, confuser_fraction=0.0)
    hosts = draw_hosts(np.full(40_000, "disk"), options=options, rng=np.random.default_rng(4))
    counts, edges = np.histogram(hosts["mag_z"], np.arange(17.0, 20.01, 0.25))
    slope = np.polyfit(edges[:-1], np.log10(counts), 1, w=np.sqrt(counts))[0]
    assert slope == pytest.approx(0.40, abs=0.02)


def test_lens_hosts_have_the_colours_of_observed_lens_hosts():
    options = MockSurveyOptions(n_galaxies=4000)
    category = draw_categories(options=options, rng=np.random.default_rng(1))
    assert (category == "lens").sum() == 720
    hosts = draw_hosts(category, options=options, rng=np.random.default_rng(2)).query("category == 'lens'")
    # Stein et al. 2022 at 18 < mag_z < 19: g-r = 1.67, r-z = 1.29, each +-0.3
    middle = hosts[hosts["mag_z"].between(18, 19)]
    assert middle["g_r"].median() == pytest.approx(1.68, abs=0.15)
    assert middle["r_z"].median() == pytest.approx(1.27, abs=0.15)


def test_massive_early_types_are_drawn_from_the_deflectors_own_population():
    """Every property of the body: whoever tells a lens from them must have seen an arc."""
    names = ("mag_z", "redshift", "g_r", "r_z", "radius", "sersic", "q")
    category = np.repeat(["lens", "early"], 4000)
    options = MockSurveyOptions(n_galaxies=8000, massive_fraction=1.0)
    hosts = draw_hosts(category, options=options, rng=np.random.default_rng(3))
    lenses, twins = (hosts[hosts["category"] == name] for name in ("lens", "early"))
    assert all(ks_2samp(lenses[name], twins[name]).pvalue > 0.001 for name in names)
    options = MockSurveyOptions(n_galaxies=8000, massive_fraction=0.0)
    hosts = draw_hosts(category, options=options, rng=np.random.default_rng(3))
    lenses, others = (hosts[hosts["category"] == name] for name in ("lens", "early"))
    assert all(ks_2samp(lenses[name], others[name]).statistic > 0.2 for name in ("mag_z", "redshift", "g_r", "r_z"))
