"""Two pictures of one lens: the same cluster, other light behind it, another PSF and noise."""

from dataclasses import replace

import numpy as np
import pytest

from skytrace.clusters.field_inputs import InputOptions
from skytrace.errors import SurveyError
from skytrace.surveys.clusters.galaxies import draw_field
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.pairs import paired_images, paired_inputs
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.rendering import lensed_light, noiseless_cluster, sky_noise_nmgy

OPTIONS = MockClusterOptions(n_clusters=4, lens_fraction=1.0, pixels=64, threads=1)


@pytest.fixture(scope="module")
def pairs():
    return paired_images(np.arange(4), options=OPTIONS)


def test_the_first_picture_is_the_surveys_own(pairs):
    survey = MockClusters(OPTIONS)
    np.testing.assert_array_equal(pairs[0][0], survey.cutouts(survey.clusters()["cluster_id"]).image)


def test_the_second_is_under_another_psf(pairs):
    (_, own), (_, other) = pairs
    assert (np.abs(other.fwhm_arcsec / own.fwhm_arcsec - 1) > 1e-3).all()


def test_the_pictures_of_a_lens_differ_by_what_lies_behind_and_by_noise_alone():
    """Under one sky the difference is the lensed light of the second source minus that of the first, and noise."""
    still = replace(OPTIONS, seeing_scatter=0.0, depth_scatter_mag=0.0, zero_point_scatter_mag=0.0)
    (first, _), (second, _) = paired_images(np.arange(4), options=still)
    half = 0.5 * still.pixels * still.pixel_scale_arcsec
    for k, row in enumerate(simulate_clusters(np.arange(4), options=still).to_dict("records")):
        own, other = (np.random.default_rng([still.seed, *stream, k]) for stream in ((61,), (62, 0)))
        fields = [draw_field(row, half, rng, red_projection_share=still.red_projection_share) for rng in (own, other)]
        fields[1] = replace(fields[0], behind=fields[1].behind)
        light = [noiseless_cluster(row, field, options=still) for field in fields]
        lensed = [lensed_light(row, field, options=still) for field in fields]
        sky = sky_noise_nmgy(row, still.pixel_scale_arcsec)[:, None, None]
        electrons = np.array([3300.0, 4200.0, 4200.0])[:, None, None]
        variance = sum(sky**2 + np.maximum(one, 0) / electrons for one in light)
        chi = (second[k] - first[k] - (lensed[1] - lensed[0])) / np.sqrt(variance)
        np.testing.assert_allclose(chi.std(axis=(1, 2)), 1.0, atol=0.05)
        assert np.abs(chi).max() < 6.0
        assert np.sqrt((((lensed[1] - lensed[0]) / sky) ** 2).sum()) > 20.0, "another source"


def test_a_cluster_has_its_pictures_whatever_others_are_asked_for(pairs):
    alone = paired_images(np.array([2]), options=OPTIONS)
    for picture, all_pictures in zip(alone, pairs, strict=True):
        np.testing.assert_array_equal(picture[0][0], all_pictures[0][2])


def test_inputs_are_of_clusters_that_no_survey_holds_and_of_simulated_skies_alone():
    survey = MockClusters(OPTIONS)
    first, second = paired_inputs(survey, 2, inputs=InputOptions())
    assert first.shape == second.shape == (2, 5, 32, 32)

    class Sky:
        name = "a_real_sky"

    with pytest.raises(SurveyError, match=r"a_real_sky.*pretraining\.clusters = 0"):
        paired_inputs(Sky(), 2, inputs=InputOptions())
