"""Two pictures of one lens: the same cluster, other light behind it, another PSF and noise."""

import numpy as np
import pytest

from skytrace.clusters.field_inputs import InputOptions
from skytrace.errors import SurveyError
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.pairs import paired_images, paired_inputs

OPTIONS = MockClusterOptions(n_clusters=4, lens_fraction=1.0, pixels=64, threads=1)


@pytest.fixture(scope="module")
def pairs():
    return paired_images(np.arange(4), options=OPTIONS)


def test_the_first_picture_is_the_surveys_own(pairs):
    survey = MockClusters(OPTIONS)
    np.testing.assert_array_equal(pairs[0][0], survey.cutouts(survey.clusters()["cluster_id"]).image)


def test_the_second_shows_the_same_cluster_with_another_source_and_another_psf(pairs):
    (first, own), (second, other) = pairs
    assert (np.abs(other.fwhm_arcsec / own.fwhm_arcsec - 1) > 1e-3).all()
    core = slice(28, 37)
    flux = [images[:, 2, core, core].sum(axis=(1, 2)) for images in (first, second)]
    np.testing.assert_allclose(flux[1], flux[0], rtol=0.25)  # the BCG in i; what is lensed onto it is bluer
    blocks = [images[:, 2].reshape(4, 16, 4, 16, 4).sum(axis=(2, 4)).reshape(4, -1) for images in (first, second)]
    noise = 4 * 0.008
    for k in range(4):
        alike = np.corrcoef(np.arcsinh(blocks[0][k] / noise), np.arcsinh(blocks[1][k] / noise))[0, 1]
        others = [
            np.corrcoef(np.arcsinh(blocks[0][k] / noise), np.arcsinh(blocks[1][j] / noise))[0, 1]
            for j in range(4) if j != k
        ]  # fmt: skip
        assert alike > max(others) and alike < 0.999
        assert np.abs(blocks[1][k] - blocks[0][k]).max() > 10 * noise, "the light behind is another"


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
