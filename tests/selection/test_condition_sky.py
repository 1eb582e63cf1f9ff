"""A condition's sky in g and z is the survey's own there, whatever hosts are degraded to it."""

import numpy as np
import pandas as pd
import pytest

from skytrace.imaging.photometry import mag_depth, psfdepth_from_mag
from skytrace.selection.condition_sky import ConditionSky, SkyRelation
from skytrace.selection.degrade import degraded_sky
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.hosts import TARGET_COLUMNS, HostOptions, match_hosts


def survey(n: int = 4000, *, seed: int = 0) -> pd.DataFrame:
    """r depth 23.9 +- 0.4 mag; g 0.5 and z -1.0 mag from it with 0.3 mag of scatter of their own. PSFs alike."""
    rng = np.random.default_rng(seed)
    common = rng.normal(23.9, 0.3, n)
    own = {band: rng.normal(0.0, 0.27, n) for band in "grz"}
    size = np.exp(rng.normal(np.log(1.25), 0.12, n))
    table = {"galaxy_id": [f"g{i:05d}" for i in range(n)]}
    for band, offset, ratio in zip("grz", (0.5, 0.0, -1.0), (1.1, 1.0, 0.93), strict=True):
        table[f"psfdepth_{band}"] = psfdepth_from_mag(common + offset + own[band])
        table[f"psfsize_{band}"] = size * ratio * np.exp(rng.normal(0.0, 0.03, n))
    return pd.DataFrame(table)


def test_the_target_of_a_condition_is_the_median_sky_of_the_survey_there():
    table = survey()
    relation = SkyRelation.fit(table)
    depth = mag_depth(table[[f"psfdepth_{band}" for band in "grz"]].to_numpy())
    for centre in (23.5, 24.0, 24.4):
        there = np.abs(depth[:, 1] - centre) < 0.1
        target = mag_depth(relation.at(1.3, centre).psfdepth)
        assert target[1] == pytest.approx(centre)
        assert target == pytest.approx(np.median(depth[there], axis=0), abs=0.05)
    sizes = table[[f"psfsize_{band}" for band in "grz"]].to_numpy()
    sharp = np.abs(sizes[:, 1] - 1.1) < 0.03
    assert relation.at(1.1, 24.0).psfsize == pytest.approx(np.median(sizes[sharp], axis=0), rel=0.02)


def test_scaling_by_what_r_lost_would_have_made_the_other_bands_shallower_than_the_survey():
    """Regression to the mean: of hosts that are deep in r, g is less far above its own mean."""
    table = survey()
    depth = mag_depth(table[[f"psfdepth_{band}" for band in "grz"]].to_numpy())
    deep = depth[:, 1] > 24.4
    scaled = np.median(23.5 + depth[deep, 0] - depth[deep, 1])
    assert scaled < mag_depth(SkyRelation.fit(table).at(1.3, 23.5).psfdepth)[0] - 0.25


def test_beyond_the_sky_of_the_survey_the_bands_keep_the_difference_of_its_edge():
    relation = SkyRelation.fit(survey())
    edge = relation.depth_range_mag[0]
    at_edge, beyond = (mag_depth(relation.at(1.3, depth).psfdepth) - depth for depth in (edge, edge - 1.5))
    assert beyond == pytest.approx(at_edge)


def test_a_host_that_is_worse_in_one_band_alone_keeps_that_band_and_loses_the_others():
    table = survey()
    sky = SkyRelation.fit(table).at(1.6, 23.0)
    sizes = table[[f"psfsize_{band}" for band in "grz"]].to_numpy()
    depths = table[[f"psfdepth_{band}" for band in "grz"]].to_numpy()
    reach = sky.within_reach(sizes, depths)
    sizes, depths = sizes[reach][:5], depths[reach][:5]
    sizes[0, 0], depths[1, 2] = 1.2 * sky.psfsize[0], 0.7 * sky.psfdepth[2]
    reached = sky.reached_by(sizes, depths)
    assert reached.psfsize[0, 0] == sizes[0, 0]
    assert reached.psfdepth[1, 2] < depths[1, 2], "its noise a pixel cannot get quieter as the PSF grows"
    np.testing.assert_array_equal(reached.psfsize[2:], np.broadcast_to(sky.psfsize, (3, 3)))
    np.testing.assert_array_equal(reached.psfdepth[:, 1], sky.psfdepth[1])
    degraded_sky(sizes, depths, target_psfsize=reached.psfsize, target_psfdepth=reached.psfdepth)  # no reverse in it


def test_a_host_that_is_worse_in_a_band_in_both_respects_keeps_it_to_the_last_bit():
    """(d n) / n is not always d: rounding alone asked for a sky that is deeper than the host's own, and was refused."""
    rng = np.random.default_rng(0)
    sky = ConditionSky(np.array([1.2, 1.6, 1.1]), psfdepth_from_mag(np.array([24.0, 23.0, 22.5])))
    sizes = np.stack([rng.uniform(1.3, 1.5, 2000), np.full(2000, 1.0), rng.uniform(1.2, 1.4, 2000)], axis=1)
    mags = np.stack([rng.uniform(23.0, 23.8, 2000), np.full(2000, 24.5), rng.uniform(21.5, 22.4, 2000)], axis=1)
    depths = psfdepth_from_mag(mags)
    reached = sky.reached_by(sizes, depths)
    np.testing.assert_array_equal(reached.psfdepth[:, [0, 2]], depths[:, [0, 2]])
    degraded_sky(sizes, depths, target_psfsize=reached.psfsize, target_psfdepth=reached.psfdepth)


def test_nearly_all_degraded_hosts_get_the_sky_of_the_condition_in_every_band():
    table = survey()
    sky = SkyRelation.fit(table).at(1.6, 22.9)
    sizes = table[[f"psfsize_{band}" for band in "grz"]].to_numpy()
    depths = table[[f"psfdepth_{band}" for band in "grz"]].to_numpy()
    reach = sky.within_reach(sizes, depths)
    reached = mag_depth(sky.reached_by(sizes[reach], depths[reach]).psfdepth)
    assert np.mean(reached == mag_depth(sky.psfdepth)) > 0.9
    assert reached.mean(axis=0) == pytest.approx(mag_depth(sky.psfdepth), abs=0.03)


def test_the_account_of_a_condition_names_the_sky_that_its_degraded_hosts_get():
    grid = SelectionGrid(GridOptions(psf_fwhm_arcsec=(1.65, 1.8), depth_mag=(22.5, 23.0)))
    table = survey()
    _, conditions = match_hosts(table, grid, options=HostOptions(min_matched_hosts=1000))
    assert (conditions["mode"] == "degraded").all()
    targets = conditions[list(TARGET_COLUMNS)].to_numpy()
    assert targets[:, 1] == pytest.approx(conditions["psf_fwhm"].to_numpy())
    assert mag_depth(targets[:, 4]) == pytest.approx(conditions["depth"].to_numpy())
