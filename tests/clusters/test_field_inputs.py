"""What the network sees: fluxes and colours of one scale for all fields, and residuals that hold what they say."""

import numpy as np
import pytest

from skytrace.clusters.field_inputs import InputOptions, network_inputs, worse_view
from skytrace.errors import OptionError, PixelError
from skytrace.imaging.profiles import point_sources
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions

SCALE = 0.262
EVERYTHING = InputOptions(channels=("bands", "half_turn", "off_sequence"))


def psf_of(n, fwhm=(1.2, 1.05, 0.95)):
    return MoffatPsf(np.tile(fwhm, (n, 1)), 3.5)


def inputs(images, psf=None, options=EVERYTHING):
    images = np.asarray(images, dtype=np.float32)
    return network_inputs(images, psf or psf_of(len(images)), pixel_scale_arcsec=SCALE, options=options)


def stars(places, fluxes, fwhm=(1.2, 1.05, 0.95), pixels=64):
    """(band, y, x) of stars at places [arcsec from pixel size // 2], with the fluxes (k, band)."""
    image = np.zeros((3, pixels, pixels))
    for (x, y), flux in zip(places, fluxes, strict=True):
        image += point_sources(
            x, y, np.array([flux]), np.array(fwhm), beta=3.5, pixels=pixels, pixel_scale_arcsec=SCALE
        )
    return image[None]


@pytest.fixture(scope="module")
def sky():
    survey = MockClusters(MockClusterOptions(n_clusters=3, threads=1, pixels=64))
    return survey.cutouts(survey.clusters()["cluster_id"])


def test_bands_give_back_the_flux_of_the_field_whatever_its_brightness(sky):
    soft = np.array(EVERYTHING.softening_nmgy)[:, None, None]
    for factor in (1.0, 7.0):  # a normalisation field by field would undo the factor
        seen = inputs(factor * sky.image, sky.psf)
        np.testing.assert_allclose(
            (np.sinh(seen[:, :3].astype(np.float64)) * soft).sum(axis=(2, 3)),
            factor * sky.image.sum(axis=(2, 3), dtype=np.float64), rtol=1e-4,
        )  # fmt: skip


def test_a_field_is_seen_the_same_whatever_fields_are_beside_it(sky):
    together = inputs(sky.image, sky.psf)
    for k in range(3):
        np.testing.assert_array_equal(inputs(sky.image[[k]], sky.psf.take([k]))[0], together[k])


def test_half_a_turn_leaves_nothing_of_what_is_symmetric_about_the_bcg():
    round_bcg = stars([(0.0, 0.0)], [(3.0, 5.0, 8.0)])
    assert np.abs(inputs(round_bcg)[:, 3:6]).max() < 0.02
    with_arc = stars([(0.0, 0.0), (3.0, 1.0)], [(3.0, 5.0, 8.0), (0.1, 0.4, 0.9)])
    left = np.sinh(inputs(with_arc)[0, 3:6].astype(np.float64)) * np.array(EVERYTHING.softening_nmgy)[:, None, None]
    np.testing.assert_allclose(np.maximum(left, 0).sum(axis=(1, 2)), (0.1, 0.4, 0.9), rtol=0.15)
    np.testing.assert_allclose(left[..., 1:, 1:].sum(axis=(1, 2)), 0.0, atol=0.02)


@pytest.mark.parametrize("fwhm", [(1.2, 1.05, 0.95), (0.9, 1.1, 1.3)])
def test_what_has_the_bcgs_colour_leaves_the_off_sequence_channels_and_redder_light_stays(fwhm):
    """Members of any brightness vanish in spite of PSFs that differ; a redder source keeps what it has more."""
    sequence = np.array([1.0, 2.5, 4.0])
    members = stars([(0.0, 0.0), (5.0, 2.0), (-4.0, -5.0)], [9 * sequence, 3 * sequence, 0.5 * sequence], fwhm)
    without = inputs(members, psf_of(1, fwhm))[0, 6:]
    unmatched = np.arcsinh((members[0, 2] - 1.6 * members[0, 1]) / 0.024)
    assert np.abs(without).max() < 0.15 * np.abs(unmatched).max()
    red = members + stars([(2.0, -6.0)], [(0.1, 0.6, 2.0)], fwhm)
    seen, soft = inputs(red, psf_of(1, fwhm))[0, 6:], np.array([[[0.012]], [[0.024]]])
    left = (np.sinh(seen.astype(np.float64)) - np.sinh(without.astype(np.float64))) * soft
    np.testing.assert_allclose(left.sum(axis=(1, 2)), (0.6 - 2.5 * 0.1, 2.0 - 1.6 * 0.6), rtol=0.05)


def test_pixels_without_data_are_empty_sky_and_nothing_else_changes(sky):
    holed = sky.image.copy()
    holed[:, :, :6] = np.nan
    filled = np.where(np.isnan(holed), 0.0, holed)
    assert np.isfinite(inputs(holed, sky.psf)).all()
    np.testing.assert_array_equal(inputs(holed, sky.psf), inputs(filled, sky.psf))


def test_a_view_is_the_same_again_differs_from_others_and_the_first_is_the_field_itself(sky):
    def view(number, seeds=(1, 2, 3), rows=slice(None)):
        return worse_view(
            sky.image[rows], sky.noise[rows], sky.psf.take(np.arange(3)[rows]), seeds=np.array(seeds), view=number,
            pixel_scale_arcsec=SCALE, options=EVERYTHING,
        )  # fmt: skip

    np.testing.assert_array_equal(view(0)[0], sky.image)
    np.testing.assert_array_equal(view(1)[0], view(1)[0])
    np.testing.assert_array_equal(view(1, seeds=(2,), rows=slice(1, 2))[0][0], view(1)[0][1])
    assert (np.abs(view(1)[0] - view(2)[0]).max(axis=(1, 2, 3)) > 0).all()
    factor = view(1)[1].fwhm_arcsec / sky.psf.fwhm_arcsec
    assert ((factor > 1.0) & (factor <= EVERYTHING.seeing_factor)).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"channels": ("bands", "colour_jitter")}, "channels"), ({"channels": ("half_turn",)}, "'bands' among them"),
        ({"softening_nmgy": (0.1, 0.0, 0.1)}, "softening_nmgy"), ({"seeing_factor": 0.9}, "seeing_factor"),
        ({"views": 0}, "views"),
    ],
)  # fmt: skip
def test_impossible_inputs_are_named(values, message):
    with pytest.raises(OptionError, match=message):
        InputOptions(**values)


def test_images_that_are_no_fields_are_refused():
    with pytest.raises(PixelError, match="not \\(n, 3, y, x\\)"):
        inputs(np.zeros((2, 2, 64, 64)))
    with pytest.raises(PixelError, match="2 x k pixels"):
        inputs(np.zeros((2, 3, 63, 63)))


@pytest.mark.parametrize("missing, silent", [(0, [6]), (1, [6, 7]), (2, [7])])
def test_a_missing_band_leaves_nothing_off_the_sequence(missing, silent):
    """Without the guard all of the cluster would be left, which is what a lens looks like."""
    members = stars([(0.0, 0.0), (5.0, 2.0)], [(9.0, 22.0, 36.0), (3.0, 7.0, 12.0)])
    members[:, missing] = np.nan
    seen = inputs(members)[0]
    assert all((seen[channel] == 0.0).all() for channel in silent)
    assert np.isfinite(seen).all()
