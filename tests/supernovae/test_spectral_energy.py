"""Spectral energy distributions: luminosity, limits, and the template against sncosmo's own evaluation."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.fit_options import ModelOptions
from skytrace.supernovae.spectral_energy import (
    SPHERE_10PC_CM2,
    SpectralSeries,
    bolometric_luminosity_erg_s,
    flux_10pc_jy,
    radius_shape,
    spectral_series,
    temperature_k,
)

BLACKBODY, TEMPLATE = ModelOptions(), ModelOptions(sed="template")


@pytest.mark.parametrize("options", [BLACKBODY, TEMPLATE], ids=lambda options: options.sed)
def test_nothing_shines_before_the_explosion(options):
    assert (flux_10pc_jy([-50.0, -1e-6, 0.0], 500.0, options=options) == 0.0).all()
    assert flux_10pc_jy(1e-3, 500.0, options=options) < 1e-6 * flux_10pc_jy(19.0, 500.0, options=options)


def test_blackbody_integrates_to_its_luminosity():
    wavelength = np.geomspace(10.0, 1e6, 20_001)
    for t in (5.0, 19.0, 60.0):
        per_nm = flux_10pc_jy(t, wavelength, options=BLACKBODY) * 1e-23 * 2.99792458e17 / wavelength**2
        luminosity = np.trapezoid(per_nm, wavelength) * SPHERE_10PC_CM2
        assert luminosity == pytest.approx(bolometric_luminosity_erg_s(t, BLACKBODY), rel=1e-4)


def test_largest_luminosity_is_the_one_asked_for():
    t = np.linspace(0.0, 100.0, 100_001)
    assert bolometric_luminosity_erg_s(t, BLACKBODY).max() == pytest.approx(1.5e43, rel=1e-7)
    series = spectral_series(ModelOptions(sed="template", template_smoothing_nm=0.0))
    per_nm = series.flux(np.linspace(0, 60, 1201)[:, None], series.wavelength_nm)
    per_nm = per_nm * 1e-23 * 2.99792458e17 / series.wavelength_nm**2
    total = np.trapezoid(per_nm, series.wavelength_nm, axis=1).max() * SPHERE_10PC_CM2
    assert total == pytest.approx(1.5e43, rel=1e-5)


def test_radius_rises_as_a_square_and_falls_as_an_exponential():
    early = radius_shape(np.array([0.5, 1.0]), BLACKBODY)
    assert early[1] / early[0] == pytest.approx(4.0 * np.exp(-0.5 / 150.0), rel=1e-6)
    late = radius_shape(np.array([200.0, 350.0]), BLACKBODY)
    assert late[1] / late[0] == pytest.approx(np.exp(-1.0), rel=1e-3)
    assert radius_shape(19.0, BLACKBODY) == pytest.approx(1.0)
    assert temperature_k(np.array([0.0, 1e6]), BLACKBODY) == pytest.approx([12_000.0, 4500.0])


def test_template_follows_sncosmo_at_its_own_phases():
    import sncosmo

    source = sncosmo.get_source("hsiao-subsampled")
    series = spectral_series(ModelOptions(sed="template", template_smoothing_nm=0.0))
    phases, nm = np.array([-10.0, 0.0, 15.0, 40.0]), np.array([360.0, 440.0, 550.0, 700.0])
    theirs = source.flux(phases, nm * 10.0) * nm**2  # F_nu up to a constant
    ours = series.flux(phases[:, None] + 20.0, nm)
    ratio = ours / theirs
    np.testing.assert_allclose(ratio, ratio.mean(), rtol=1e-6)


def test_template_reaches_the_brightness_of_a_type_ia():
    blue = -2.5 * np.log10(flux_10pc_jy(np.linspace(10, 30, 41), 440.0, options=TEMPLATE).max() / 3631.0)
    assert -19.7 < blue < -19.1


def test_a_table_of_ones_own_takes_the_place_of_the_named_series():
    phase, wavelength = np.meshgrid([0.0, 10.0, 20.0, 40.0], [300.0, 500.0, 700.0, 900.0], indexing="ij")
    shape = np.where(phase > 0, np.exp(-(((phase - 20.0) / 12.0) ** 2)), 0.0) * wavelength
    table = pd.DataFrame({"phase_days": phase.ravel(), "wavelength_nm": wavelength.ravel(), "flux": shape.ravel()})
    series = SpectralSeries.from_table(table.sample(frac=1.0, random_state=1), smoothing_nm=0.0)
    flux = flux_10pc_jy(20.0, np.array([400.0, 800.0]), options=TEMPLATE, series=series)
    assert flux[1] / flux[0] == pytest.approx(8.0)  # F_lambda ~ lambda, F_nu ~ lambda^3
    assert np.isnan(flux_10pc_jy(20.0, 950.0, options=TEMPLATE, series=series))
    with pytest.raises(CatalogueError, match="every pair"):
        SpectralSeries.from_table(table.iloc[1:])
    with pytest.raises(CatalogueError, match="flux"):
        SpectralSeries.from_table(table.drop(columns="flux"))


def test_light_after_the_last_phase_fades_at_the_last_rate():
    series = spectral_series(TEMPLATE)
    end = series.phase_days[-1]
    flux = series.flux(np.array([end - 5.0, end, end + 5.0, end + 10.0]), 550.0)
    assert flux[1] / flux[0] == pytest.approx(flux[2] / flux[1]) == pytest.approx(flux[3] / flux[2])
    assert flux[3] < flux[1]


def test_unknown_series_is_named(monkeypatch):
    import sncosmo

    monkeypatch.setattr(sncosmo, "get_source", lambda name: (_ for _ in ()).throw(KeyError(name)))
    with pytest.raises(OptionError, match=r"sn-never-seen.*hsiao-subsampled"):
        spectral_series(ModelOptions(sed="template", template_source="sn-never-seen"))
    with pytest.raises(OptionError, match="greybody"):
        ModelOptions(sed="greybody")


def test_a_template_that_is_not_on_disk_is_refused_and_no_server_is_asked(monkeypatch):
    import urllib.request

    from sncosmo.builtins import DATADIR

    def ask(*_, **__):
        pytest.fail("a server was asked")

    usual = DATADIR._get_url
    monkeypatch.setattr(urllib.request, "urlopen", ask)
    monkeypatch.setattr(DATADIR, "_rootdir", str(Path(__file__).parent))
    monkeypatch.setattr(DATADIR, "_checked_rootdir", None)
    with pytest.raises(OptionError, match=r"'nugent-sn1a' could not be loaded .*nothing is downloaded"):
        spectral_series(ModelOptions(sed="template", template_source="nugent-sn1a"))
    assert DATADIR._get_url == usual
