"""The mock clusters are what they say: the light behind is lensed as the theory has it, and colour alone is no help."""

from functools import partial

import numpy as np
import pytest

from skytrace.errors import OptionError, SurveyError
from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing import LensModel, SourceModel, render_lenses
from skytrace.lensing.image_positions import image_positions
from skytrace.sky.split import healpix_cell
from skytrace.surveys.clusters.field_mass import deflection
from skytrace.surveys.clusters.galaxies import Field, Galaxies, draw_field
from skytrace.surveys.clusters.interface import CLUSTER_COLUMNS, CLUSTER_TRUTH_COLUMNS, ClusterSurvey
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import CONFUSERS, MockClusterOptions
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.red_sequence import red_sequence_colours
from skytrace.surveys.clusters.rendering import lensed_light


def options(**changes):
    return MockClusterOptions(**{"n_clusters": 60, "threads": 1, "lens_fraction": 0.5, **changes})


def one_source(x=0.0, y=0.0, q=1.0):
    """A field with one source behind and a round BCG, no subhalos."""
    ones = np.ones(1)
    nothing = Galaxies(np.zeros(1), np.zeros(1), np.ones((1, 3)), ones, ones, q * ones, 0 * ones)
    behind = Galaxies(x * ones, y * ones, np.array([[1.0, 2.0, 3.0]]), 0.4 * ones, ones, 0.7 * ones, 0.3 * ones)
    return Field(nothing, behind, np.zeros((0, 4)), (np.nan, np.nan), np.zeros(3), None, None)


def row(**changes):
    table = simulate_clusters(np.arange(1), options=options())
    return {**table.iloc[0].to_dict(), "kappa_s": 0.0, "epsilon": 0.0, "theta_e_bcg_arcsec": 0.0, **changes}


def test_a_cluster_alone_has_the_pixels_it_has_in_any_survey():
    whole = MockClusters(options())
    ids = whole.clusters()["cluster_id"].to_numpy()[[3, 41, 17]]
    together = whole.cutouts(ids)
    alone = MockClusters(options(n_clusters=500, threads=2)).cutouts(ids[1:2])
    np.testing.assert_array_equal(alone.image[0], together.image[1])
    assert isinstance(whole, ClusterSurvey) and together.image.dtype == np.float32
    with pytest.raises(SurveyError, match="no cluster 'nobody'"):
        whole.cutouts(["nobody"])


def test_what_a_model_reads_does_not_hold_the_truth():
    survey = MockClusters(options())
    assert list(survey.clusters()) == list(CLUSTER_COLUMNS)
    assert list(survey.truth()) == list(CLUSTER_TRUTH_COLUMNS)
    assert set(CLUSTER_COLUMNS) & set(CLUSTER_TRUTH_COLUMNS) == {"cluster_id"}


def test_mixture_and_labels_are_those_asked_for():
    survey = MockClusters(options(n_clusters=20000, lens_fraction=0.1, confuser_fraction=0.5, label_fraction=0.3))
    truth, table = survey.truth(), survey.clusters()
    assert truth["is_lens"].mean() == pytest.approx(0.1, abs=0.01)
    for is_lens, tolerance in ((False, 0.01), (True, 0.03)):  # what confuses stands before lenses as often
        beside = truth["confuser"][truth["is_lens"] == is_lens].value_counts(normalize=True)
        assert beside["plain"] == pytest.approx(0.5, abs=2 * tolerance)
        assert all(beside[name] == pytest.approx(0.1, abs=tolerance) for name in CONFUSERS)
    assert (truth["kind"] == np.where(truth["is_lens"], "lens", truth["confuser"])).all()
    assert not table["known_lens"][~truth["is_lens"]].any()
    assert table["known_lens"][truth["is_lens"]].mean() == pytest.approx(0.3, abs=0.04)
    members = truth["n_background"][truth["is_lens"]]
    assert members.min() == 20 and members.max() == 50
    assert truth["z_source"].between(0.8, 1.5).all() and (truth["z_source"] > truth["z_lens"]).all()
    # labels are drawn at random among lenses: known ones are no richer
    known = table["known_lens"] & truth["is_lens"]
    unknown = ~table["known_lens"] & truth["is_lens"]
    assert np.log(truth["m200_msun"][known]).mean() == pytest.approx(
        np.log(truth["m200_msun"][unknown]).mean(), abs=0.1
    )


def test_neighbours_on_the_sky_share_half_of_the_scatter_of_seeing_and_depth():
    table = MockClusters(options(n_clusters=40000, seeing_scatter=0.1, depth_scatter_mag=0.2)).clusters()
    cell = healpix_cell(table["ra"], table["dec"], nside=16)
    for scatter, values in ((0.1, np.log(table["psf_fwhm_r_arcsec"])), (0.2, table["depth_i_mag"])):
        assert values.std() == pytest.approx(scatter, rel=0.03)
        within = values - values.groupby(cell).transform("mean")
        n = values.groupby(cell).transform("size")
        assert (within**2 * n / (n - 1).clip(lower=1)).mean() ** 0.5 == pytest.approx(scatter * 0.5**0.5, rel=0.03)


def test_every_lens_shows_the_brightest_galaxy_of_its_background_cluster_twice():
    table = simulate_clusters(np.arange(60), options=options(lens_fraction=1.0, confuser_fraction=1.0))
    assert (table["confuser"] == "merger").any()
    for cluster in table.to_dict("records"):
        rng = np.random.default_rng([20261121, 61, int(cluster["number"])])
        field = draw_field(cluster, 16.0, rng, red_projection_share=0.0)
        first = len(field.behind) - int(cluster["n_background"])
        images = image_positions(
            partial(deflection, row=cluster, field=field), field.behind.x[first], field.behind.y[first],
            half_width_arcsec=20.0,
        )  # fmt: skip
        assert (np.abs(images.magnification) > 0.5).sum() >= 2


def test_light_without_mass_before_it_keeps_its_flux_and_place():
    light = lensed_light(row(), one_source(1.31, -2.62), options=options())
    np.testing.assert_allclose(light.sum(axis=(1, 2)), [1.0, 2.0, 3.0], rtol=0.02)
    y, x = np.indices(light[0].shape)
    centre = [(light[0] * at).sum() / light[0].sum() - 64 for at in (x, y)]
    np.testing.assert_allclose(centre, [5.0, -10.0], atol=0.02)


@pytest.mark.parametrize("place", [(0.3, 0.2), (1.6, -0.4)])
def test_light_behind_an_isothermal_bcg_is_that_of_the_lens_renderer(place):
    cluster = row(theta_e_bcg_arcsec=3.0, phi_rad=0.7)
    ours = lensed_light(cluster, one_source(*place, q=0.8), options=options())
    one = np.ones(1)
    source = SourceModel(np.array([[1.0, 2.0, 3.0]]), place[0], place[1], 0.4, 1.0, 0.7, 0.3)
    psf = MoffatPsf(np.array([[cluster[f"psf_fwhm_{band}_arcsec"] for band in "gri"]]))
    peer = render_lenses(LensModel(3.0 * one, 0.8 * one, 0.7 * one), source, psf, pixels=128)[0]
    assert np.abs(ours - peer).max() < 0.015 * peer.max()  # light is sampled every half pixel


def test_a_source_behind_the_centre_of_a_round_halo_is_a_ring_of_the_einstein_radius():
    table = simulate_clusters(np.arange(40), options=options(lens_fraction=1.0))
    cluster = table[(table["theta_e_arcsec"] > 5) & (table["theta_e_arcsec"] < 12)].iloc[0].to_dict()
    light = lensed_light({**cluster, "epsilon": 0.0}, one_source(), options=options())[2]
    y, x = np.indices(light.shape) - 64
    radius = np.hypot(x, y) * 0.262
    profile = [light[np.abs(radius - r) < 0.2].mean() for r in np.arange(0.5, 16, 0.1)]
    assert 0.5 + 0.1 * np.argmax(profile) == pytest.approx(cluster["theta_e_arcsec"], abs=0.35)


def test_members_lie_on_the_red_sequence_of_their_cluster():
    table = simulate_clusters(np.arange(30), options=options())
    for cluster in table.to_dict("records")[:10]:
        flux = draw_field(cluster, 60.0, np.random.default_rng(1), red_projection_share=0.0).foreground.flux
        colours = -2.5 * np.log10(flux[:, :-1] / flux[:, 1:])
        bright = np.argsort(-flux[:, 2])[:15]
        off = colours[bright] - red_sequence_colours(cluster["z_lens"])
        on_it = np.abs(off).max(axis=1) < 0.2
        assert on_it.mean() >= 0.4  # up to half of the members are blue
        np.testing.assert_allclose(np.median(off[on_it], axis=0), 0.0, atol=0.06)
        assert (off[~on_it] < 0.2).all(), "none is redder"


def test_noise_and_depth_are_those_stated():
    survey = MockClusters(options())
    table = survey.clusters()
    cutouts = survey.cutouts(table["cluster_id"][:6])
    step = np.diff(cutouts.image[:, :, :20, :20], axis=3)
    measured = 1.4826 * np.median(np.abs(step), axis=(2, 3)) / np.sqrt(2)
    np.testing.assert_allclose(np.median(measured / cutouts.noise, axis=0), 1.0, atol=0.1)
    # 5 sigma of a matched filter on the Moffat PSF
    fwhm = table["psf_fwhm_i_arcsec"][0]
    neff = np.pi * fwhm**2 / (4 * (2 ** (1 / 3.5) - 1)) * 6 / 2.5**2 / 0.262**2
    assert 22.5 - 2.5 * np.log10(5 * cutouts.noise[0, 2] * np.sqrt(neff)) == pytest.approx(table["depth_i_mag"][0])


def test_values_out_of_range_are_named():
    with pytest.raises(OptionError, match=r"lens_fraction = 2 is outside its allowed range \[0, 1\]"):
        MockClusterOptions(lens_fraction=2)
    with pytest.raises(OptionError, match=r"background_z = \(0\.2, 1\.5\)"):
        MockClusterOptions(background_z=(0.2, 1.5))
    with pytest.raises(OptionError, match="did you mean n_clusters"):
        MockClusterOptions.from_mapping({"n_cluster": 5})
