"""Lenses expected of a catalogue by its own redshifts and richnesses: limits by hand, simulated pairs, real data."""

import numpy as np
import pandas as pd
import pytest

from skytrace.clusters.catalogue import comoving_distance_mpc, theta_e_from_richness
from skytrace.clusters.options import SurveyScaleOptions
from skytrace.clusters.survey_scale import alignment_probability, background_density, occupied_area_deg2, survey_table
from skytrace.errors import CatalogueError, OptionError


def sphere(n, seed=0, **columns):
    """Clusters all over the sky."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "cluster_id": [f"c{k}" for k in range(n)], "ra": rng.uniform(0, 360, n),
            "dec": np.degrees(np.arcsin(rng.uniform(-1, 1, n))), "group": "all",
        }
    )  # fmt: skip
    return table.assign(**columns)


def test_one_source_plane_gives_the_isothermal_cross_section_times_its_density():
    found = alignment_probability(
        [10.0, 20.0], [0.3, 0.3], [2.0], [5.0], options=SurveyScaleOptions(proxy_z_source=2.0)
    )
    expected = 5.0 * np.pi * (10.0 / 3600.0) ** 2
    np.testing.assert_allclose(found, [expected, 4 * expected], rtol=1e-12)
    # a nearer source: the Einstein radius shrinks by the ratio of D_ls / D_s
    near, lens, far = (float(comoving_distance_mpc(z)) for z in (0.9, 0.3, 2.0))
    ratio = (1 - lens / near) / (1 - lens / far)
    found = alignment_probability([10.0], [0.3], [0.9], [5.0], options=SurveyScaleOptions())
    np.testing.assert_allclose(found, expected * ratio**2, rtol=1e-9)


def test_nothing_lenses_what_lies_before_it_or_too_near_behind():
    options = SurveyScaleOptions(minimum_gap=0.2)
    found = alignment_probability([10.0] * 4, [0.4, 0.45, 0.9, 2.5], [0.61, 0.3], [1.0, 1.0], options=options)
    assert found[0] > 0 and (found[1:] == 0).all()


def test_the_area_of_a_filled_sky_is_the_sphere_and_of_one_cell_its_own():
    assert occupied_area_deg2(np.arange(12 * 16**2), nside=16) == pytest.approx(41252.96, rel=1e-6)
    assert occupied_area_deg2([7, 7, 7], nside=64) == pytest.approx(41252.96 / (12 * 64**2), rel=1e-6)


def test_the_density_behind_is_that_of_the_deepest_catalogue_and_counts_the_part_that_is_missing():
    redshift = np.r_[np.full(200, 0.3), np.full(10, 0.9)]
    groups = np.array(["wide"] * 200 + ["deep"] * 10)
    cells = np.r_[np.arange(100), np.arange(100), np.arange(10)]
    cell = 41252.96 / (12 * 64**2)
    z, density = background_density(redshift, groups, cells, options=SurveyScaleOptions())
    assert density.sum() == pytest.approx(2 / cell, rel=1e-4)
    assert density[z > 0.5].sum() == pytest.approx(1 / cell, rel=1e-4)
    half = background_density(redshift, groups, cells, options=SurveyScaleOptions(share=0.5))[1]
    np.testing.assert_allclose(half, 2 * density)


def test_simulated_alignments_are_as_many_as_expected():
    """Lenses of one redshift before sources of another, placed at random: pairs within theta_E are counted."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    n, theta_e = 20_000, 60.0
    richness = 50.0 * (theta_e / 10.0) ** 2.5 * (1.4 / 1.3) ** 1.25  # whose proxy is theta_e at z = 0.3
    assert float(theta_e_from_richness(richness, 0.3)) == pytest.approx(theta_e)
    table = sphere(2 * n, redshift=np.repeat([0.3, 1.0], n), richness=richness)
    options = SurveyScaleOptions(nside=16, proxy_z_source=1.01)
    expected = survey_table(table, options=options)["alignment_probability"].sum()
    place = SkyCoord(table["ra"], table["dec"], unit="deg")
    _, _, distance, _ = place[n:].search_around_sky(place[:n], theta_e * units.arcsec)
    assert abs(len(distance) - expected) < 3.5 * np.sqrt(expected)
    assert expected == pytest.approx(n**2 / 41252.96 * np.pi * (theta_e / 3600) ** 2, rel=0.05)


def test_a_catalogue_of_one_redshift_and_columns_that_are_not_named_are_refused():
    with pytest.raises(CatalogueError, match="none lies behind another"):
        survey_table(sphere(5, redshift=0.3, richness=30.0), options=SurveyScaleOptions())
    with pytest.raises(OptionError, match="does not name redshift, richness"):
        SurveyScaleOptions(columns={"cluster_id": "a", "ra": "b", "dec": "c"})
    with pytest.raises(OptionError, match="rishness"):
        SurveyScaleOptions(columns={"rishness": "a"})


def test_real_clusters_have_the_area_of_their_surveys_and_few_chance_alignments(real_data, monkeypatch):
    from skytrace.pipelines.cluster_pu.options import FeatureOptions, PriorOptions
    from skytrace.pipelines.cluster_pu.survey_scale import describe_survey

    monkeypatch.setenv("SKYTRACE_DATA", str(real_data))
    sample = pd.DataFrame({"redshift": np.linspace(0.2, 0.6, 100), "richness": np.linspace(20, 120, 100)})
    # a quarter of the clusters was kept out of the file by a hash of their names
    options = SurveyScaleOptions("imaging/catalogs/cluster_catalog.parquet", share=0.75)
    table, report = describe_survey(sample, options, FeatureOptions(), PriorOptions())
    assert report["status"] == "read" and report["clusters"] == len(table) == 74_649
    areas = {one["catalogue"]: one["area_deg2"] for one in report["catalogues"]}
    assert areas["camira_sdss_dr8_v2"] == pytest.approx(11_960, rel=0.05)  # Oguri 2014, section 4
    assert report["expected_lenses"] == pytest.approx(table["alignment_probability"].sum())
    assert 3e-6 < report["prior"]["by_alignment"] < 3e-4
    assert report["prior"]["ratio"] == pytest.approx(report["prior"]["by_alignment"] / 1e-4)
    known = theta_e_from_richness(table["richness"], table["redshift"])
    np.testing.assert_allclose(table["theta_e_richness_arcsec"], known)


def test_without_a_catalogue_the_report_says_so_and_one_that_is_missing_is_named(tmp_path, monkeypatch):
    from skytrace.pipelines.cluster_pu.options import FeatureOptions, PriorOptions
    from skytrace.pipelines.cluster_pu.survey_scale import describe_survey

    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    for options, words in ((SurveyScaleOptions(), "null"), (SurveyScaleOptions("a/b.parquet"), "a/b.parquet")):
        table, report = describe_survey(pd.DataFrame(), options, FeatureOptions(), PriorOptions())
        assert not len(table) and report["status"] == "absent" and words in report["reason"]
