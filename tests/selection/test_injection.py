"""What injection adds: the lensed light, its photon noise, inside the radius, on pixels with data, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import correlate1d

from skytrace.errors import OptionError, PixelError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.imaging.preprocessing import PreprocessOptions, annulus_statistics, preprocess
from skytrace.imaging.sky_noise import resampling_kernel
from skytrace.lensing.population import draw_lenses
from skytrace.selection.condition_sky import ConditionSky
from skytrace.selection.injection import InjectionOptions, inject_lenses, prepare_hosts

from .fake_sky import FakeSky

SKY, OPTIONS, PREPROCESSING = FakeSky(8), InjectionOptions(), PreprocessOptions()
TARGET = ConditionSky(1.65 * np.array([1.1, 1.0, 0.95]), psfdepth_from_mag(22.5 + np.array([0.5, 0.0, -1.0])))


@pytest.fixture(scope="module")
def hosts():
    return host_stamps("matched")


def host_stamps(mode: str):
    table = SKY.galaxies().query("psfsize_r < 1.5 and psfdepth_r > 400") if mode == "degraded" else SKY.galaxies()
    return prepare_hosts(
        SKY.cutouts(list(table["galaxy_id"])), table, mode=mode, target=TARGET,
        options=OPTIONS, preprocessing=PREPROCESSING,
    )  # fmt: skip


def draw(hosts, rows, *, theta_e: float = 1.5, first: int = 0):
    ids = first + np.arange(len(rows))
    return draw_lenses(ids, np.full(len(rows), theta_e), hosts.table.iloc[rows], seed=OPTIONS.seed)


@pytest.mark.parametrize("mode", ["matched", "degraded"])
def test_no_light_leaves_the_hosts_stamp_as_it_was_to_the_bit(mode):
    hosts = host_stamps(mode)
    rows = np.arange(len(hosts))
    empty = inject_lenses(hosts, rows, draw(hosts, rows), options=OPTIONS, preprocessing=PREPROCESSING, flux_scale=0.0)
    plain = preprocess(hosts.image, options=PREPROCESSING, statistics=hosts.statistics)
    assert (empty.stamps == plain).all()


def test_injected_flux_is_magnification_times_source_flux(hosts):
    rows = np.arange(8)
    lenses = draw(hosts, rows)
    quiet = inject_lenses(
        hosts, rows, lenses, options=replace(OPTIONS, photon_noise=False), preprocessing=PREPROCESSING
    )
    added = (quiet.image - hosts.image).sum(axis=(2, 3), dtype=np.float64)
    expected = quiet.measured["magnification"].to_numpy()[:, None] * lenses.sources.flux_nmgy
    assert added == pytest.approx(expected, rel=5e-3)
    assert (quiet.measured["flux_cut_fraction"] < 5e-3).all()


def test_cached_statistics_are_those_of_the_injected_cutout(hosts):
    rows = np.arange(8)
    injected = inject_lenses(hosts, rows, draw(hosts, rows, theta_e=3.0), options=OPTIONS, preprocessing=PREPROCESSING)
    batch = SKY.cutouts(list(SKY.galaxies()["galaxy_id"]))
    whole = batch.image.copy()
    whole[:, :, 18:82, 18:82] = injected.image
    median, scale = annulus_statistics(whole, batch.invvar, options=PREPROCESSING)
    assert (median == hosts.statistics[0]).all()
    assert (scale == hosts.statistics[1]).all()
    assert (preprocess(whole, batch.invvar, options=PREPROCESSING) == injected.stamps).all()


def test_photon_noise_is_that_of_the_added_light_alone(hosts):
    rows = np.zeros(400, dtype=int)
    lenses = draw(hosts, rows)
    same = type(lenses)(lenses.lenses.take(rows), lenses.sources.take(rows), lenses.table)
    noisy = inject_lenses(hosts, rows, same, options=OPTIONS, preprocessing=PREPROCESSING)
    first = type(lenses)(lenses.lenses.take([0]), lenses.sources.take([0]), lenses.table[:1])
    quiet_options = replace(OPTIONS, photon_noise=False)
    quiet = inject_lenses(hosts, rows[:1], first, options=quiet_options, preprocessing=PREPROCESSING)
    bright = quiet.added[0, 1] > 0.2 * quiet.added[0, 1].max()
    variance = noisy.added[:, 1].var(axis=0)[bright]
    weights = resampling_kernel() ** 2  # the photons of the exposures were resampled with them
    resampled = correlate1d(correlate1d(np.maximum(quiet.added[0, 1], 0), weights, axis=0), weights, axis=1)
    expected = resampled[bright] / (4 * OPTIONS.electrons_per_nmgy_r)
    assert (variance / expected).mean() == pytest.approx(1.0, abs=0.03)
    assert np.abs(noisy.added[:, :, quiet.added[0, 1] == 0]).max() == 0


def test_pixels_without_data_stay_the_hosts(hosts):
    invvar = hosts.invvar.copy()
    invvar[:, :, 20:30] = 0
    masked = replace(hosts, invvar=invvar)
    rows = np.arange(8)
    injected = inject_lenses(masked, rows, draw(masked, rows), options=OPTIONS, preprocessing=PREPROCESSING)
    assert (injected.image[:, :, 20:30] == hosts.image[:, :, 20:30]).all()
    assert (injected.image[:, :, 31:33] != hosts.image[:, :, 31:33]).any()


def test_an_injection_is_the_same_alone_and_in_a_batch(hosts):
    rows = np.arange(8)
    together = inject_lenses(hosts, rows, draw(hosts, rows), options=OPTIONS, preprocessing=PREPROCESSING)
    alone = inject_lenses(
        hosts, rows[5:6], draw(hosts, rows[5:6], first=5), options=OPTIONS, preprocessing=PREPROCESSING
    )
    assert (alone.stamps[0] == together.stamps[5]).all()


def test_a_table_of_other_galaxies_is_refused():
    table = SKY.galaxies()
    with pytest.raises(PixelError, match="not of the same galaxies"):
        prepare_hosts(
            SKY.cutouts(list(table["galaxy_id"])), table.iloc[::-1], mode="matched",
            options=OPTIONS, preprocessing=PREPROCESSING,
        )  # fmt: skip


def test_light_that_could_reach_the_background_annulus_is_refused():
    table = SKY.galaxies()
    with pytest.raises(OptionError, match=r"confine_radius_px = 37\.0 .*annulus_px = \(36"):
        prepare_hosts(
            SKY.cutouts(list(table["galaxy_id"])), table, mode="matched",
            options=replace(OPTIONS, confine_radius_px=37.0), preprocessing=PREPROCESSING,
        )  # fmt: skip
