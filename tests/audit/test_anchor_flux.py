"""Aperture light against the catalogue: right where the galaxy is, wrong where it is not, at the stated 20 %."""

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.anchor_flux import (
    MISPLACED,
    AnchorFluxOptions,
    anchor_flux_check,
    anchor_flux_summary,
    catalogue_aperture_flux,
)
from skytrace.errors import CatalogueError, PixelError
from skytrace.imaging.profiles import GaussianComponents, SersicComponents, render_profiles
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, MoffatPsf, moffat_fwhm_from_psfsize

PSFSIZE = 1.4


def catalogue(n, **columns):
    table = {
        "galaxy_id": [f"g{k}" for k in range(n)], "type": "REX", "shape_r": 1.0, "shape_e1": 0.0, "shape_e2": 0.0,
        "sersic": 1.0, "flux_g": 8.0, "flux_r": 25.0, "flux_z": 45.0,
        **{f"psfsize_{band}": PSFSIZE for band in "grz"},
    }  # fmt: skip
    return pd.DataFrame({**table, **columns}, index=range(n))


def images(n, *, flux=(8.0, 25.0, 45.0), radius=1.0, index=1.0, q=1.0, offset_arcsec=0.0, seed=0):
    profile = SersicComponents(
        np.arange(n), np.tile(flux, (n, 1)).astype(float), np.broadcast_to(offset_arcsec, n).astype(float),
        np.zeros(n), np.full(n, radius), np.full(n, index), np.full(n, q), np.full(n, 0.7),
    )  # fmt: skip
    none = GaussianComponents(np.zeros(0, dtype=int), np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0))
    psf = MoffatPsf(np.full((n, 3), float(moffat_fwhm_from_psfsize(PSFSIZE))))
    stamps = render_profiles(profile, none, psf)
    return stamps + np.random.default_rng(seed).normal(0.0, 0.005, stamps.shape).astype(np.float32)


def test_a_point_source_has_the_moffats_own_share_in_the_aperture():
    fwhm = float(moffat_fwhm_from_psfsize(PSFSIZE))
    alpha = fwhm / (2.0 * np.sqrt(2.0 ** (1.0 / 3.5) - 1.0))
    share = 1.0 - (1.0 + (8.0 * PIXEL_SCALE_ARCSEC / alpha) ** 2) ** -2.5
    flux = catalogue_aperture_flux(catalogue(1, type="PSF"), options=AnchorFluxOptions(radius_px=8.0))
    np.testing.assert_allclose(flux, [[8.0 * share, 25.0 * share, 45.0 * share]], rtol=3e-3)


def test_a_band_without_exposures_says_nothing_and_the_others_decide():
    flux = catalogue_aperture_flux(catalogue(1, psfsize_g=0.0))
    assert np.isnan(flux[0, 0]) and np.isfinite(flux[0, 1:]).all()
    stamps = images(1)
    stamps[:, 0] = np.nan
    assert anchor_flux_check(stamps, catalogue(1, psfsize_g=0.0))["agrees"].all()


def test_galaxies_in_place_agree_whatever_their_profile():
    ser = images(2, radius=1.5 * np.sqrt(0.5), index=2.5, q=0.5)  # shape_r is along the major axis
    checked = anchor_flux_check(
        np.concatenate([images(2), ser]),
        catalogue(4, type=["REX", "EXP", "SER", "SER"], shape_r=[1.0, 1.0, 1.5, 1.5], sersic=[0, 0, 2.5, 2.5],
                  shape_e1=[0, 0, 1 / 3, 0.2], shape_e2=[0, 0, 0, np.sqrt(1 / 9 - 0.04)]),
    )  # fmt: skip
    assert checked["agrees"].all() and (checked["reason"] == "").all()
    np.testing.assert_allclose(checked[["ratio_g", "ratio_r", "ratio_z"]], 1.0, atol=0.03)


@pytest.mark.parametrize(("offset", "agrees"), [(0.3, True), (4.0, False)])
def test_a_galaxy_elsewhere_is_not_where_the_catalogue_says(offset, agrees):
    checked = anchor_flux_check(images(1, offset_arcsec=offset), catalogue(1))
    assert checked.loc[0, "agrees"] == agrees
    assert (checked.loc[0, "reason"] == f"{MISPLACED}: too little light") != agrees


@pytest.mark.parametrize(("factor", "agrees"), [(0.77, False), (0.83, True), (1.17, True), (1.23, False)])
def test_the_bound_is_twenty_percent_either_way(factor, agrees):
    flux = factor * np.array([8.0, 25.0, 45.0])
    checked = anchor_flux_check(images(1, flux=flux), catalogue(1))
    assert checked.loc[0, "agrees"] == agrees
    assert checked.loc[0, "ratio"] == pytest.approx(factor, abs=0.02)
    if factor > 1.2:
        assert checked.loc[0, "reason"] == f"{MISPLACED}: too much light"


def test_the_summary_counts_who_can_be_told_and_names_who_disagrees():
    table = catalogue(5)
    table.loc[4, ["flux_g", "flux_r", "flux_z"]] = 0.05
    stamps = images(5, offset_arcsec=np.array([0.0, 0.0, 0.0, 5.0, 0.0]))
    summary = anchor_flux_summary(anchor_flux_check(stamps, table))
    assert (summary["n"], summary["n_agree"], summary["too_faint"]) == (4, 3, 1)
    assert list(summary["disagree"]) == ["g3"] and summary["disagree"]["g3"] < 0.2
    low, high = summary["interval_95"]
    assert 0.2 < low < 0.75 < high < 1.0


def test_what_does_not_fit_is_refused():
    with pytest.raises(CatalogueError, match="lacks columns sersic"):
        catalogue_aperture_flux(catalogue(1).drop(columns="sersic"))
    with pytest.raises(PixelError, match="2 images for 1 rows"):
        anchor_flux_check(images(2), catalogue(1))
