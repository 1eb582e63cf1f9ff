"""Every augmentation that the transformer is trained with keeps Einstein radius, flux and colours; forbidden ones do
not. Measured on ray-traced lenses with one source behind the centre, so that the arcs are a ring of known radius.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import zoom

from skytrace.clusters.augmentation_contract import contract_breaches, measured_arcs
from skytrace.clusters.field_inputs import InputOptions, worse_view
from skytrace.imaging.psf import MoffatPsf
from skytrace.learning.augmentation import augment, move_pixels
from skytrace.surveys.clusters.galaxies import Galaxies, draw_field
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.rendering import PSF_BETA, field_psf, noiseless_cluster, sky_noise_nmgy

OPTIONS = MockClusterOptions(n_clusters=60, lens_fraction=1.0, seed=11)
SCALE = OPTIONS.pixel_scale_arcsec


@pytest.fixture(scope="module")
def lenses():
    """(with arcs, without, noise, psf, theta_E) of six lenses whose rings lie well inside the cutout."""
    rows = simulate_clusters(np.arange(60), options=OPTIONS)
    rows = rows[rows["theta_e_arcsec"].between(3.0, 9.0)].head(6).to_dict("records")
    source = Galaxies(*np.zeros((2, 1)), np.array([[2.0, 5.0, 9.0]]), *np.array([[0.4], [1.0], [0.9], [0.0]]))
    nobody = Galaxies(*np.zeros((2, 0)), np.zeros((0, 3)), *np.zeros((4, 0)))
    with_arcs, without = [], []
    for row in rows:
        row["epsilon"] = 0.0
        field = draw_field(row, 0.5 * 128 * SCALE, np.random.default_rng(row["number"]), red_projection_share=0.9)
        field = replace(field, star=None, subhalos=field.subhalos[:0])
        with_arcs.append(noiseless_cluster(row, replace(field, behind=source), options=OPTIONS))
        without.append(noiseless_cluster(row, replace(field, behind=nobody), options=OPTIONS))
    psf = MoffatPsf(np.concatenate([field_psf(row).fwhm_arcsec for row in rows]), PSF_BETA)
    noise = np.array([sky_noise_nmgy(row, SCALE) for row in rows])
    theta_e = np.array([row["theta_e_arcsec"] for row in rows])
    return np.stack(with_arcs).astype(np.float32), np.stack(without).astype(np.float32), noise, psf, theta_e


def measured(lenses, transform=lambda images: images):
    return measured_arcs(transform(lenses[0]), transform(lenses[1]), pixel_scale_arcsec=SCALE)


def test_the_measured_radius_is_the_einstein_radius(lenses):
    np.testing.assert_allclose(measured(lenses).einstein_radius_arcsec, lenses[4], rtol=0.08)


def test_the_colours_of_the_arcs_are_those_of_their_source(lenses):
    expected = -2.5 * np.log10([2.0 / 5.0, 5.0 / 9.0])
    np.testing.assert_allclose(measured(lenses).colour_mag, np.tile(expected, (6, 1)), atol=0.02)


@pytest.mark.parametrize("number", range(8))
def test_every_reflection_and_quarter_turn_keeps_the_contract(lenses, number):
    n = len(lenses[0])

    def turned(images):
        still = np.zeros((n, 2), dtype=np.int64)
        return move_pixels(images, flip=np.full(n, number >= 4), quarter_turns=np.full(n, number % 4), shift=still)

    assert contract_breaches(measured(lenses), measured(lenses, turned)) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_training_moves_keep_the_contract(lenses, seed):
    def moved(images):
        return augment(images, shift_px=4, rng=np.random.default_rng(seed))  # two pixels of the network's input

    assert contract_breaches(measured(lenses), measured(lenses, moved)) == []


@pytest.mark.parametrize("view", [1, 2])
def test_worse_views_of_training_fields_keep_the_contract_to_the_ends_of_their_range(lenses, view):
    _, _, noise, psf, _ = lenses
    for options in (InputOptions(), InputOptions(seeing_factor=1.3, depth_loss_mag=1.0)):

        def worse(images, options=options):
            return worse_view(
                images, noise, psf, seeds=range(len(images)), view=view, pixel_scale_arcsec=SCALE, options=options
            )[0]

        changed = worse(lenses[0])
        assert (np.std(changed - lenses[0], axis=(2, 3)) > 0.1 * noise).all(), "nothing was done to the sky"
        assert contract_breaches(measured(lenses), measured(lenses, worse)) == []


def jittered(images):
    return images * np.array([1.1, 1.0, 0.95], dtype=np.float32)[:, None, None]


def stretched(images):
    mean = images.mean(axis=(2, 3), keepdims=True)
    return mean + 1.2 * (images - mean)


def magnified(images):
    bigger = zoom(images, (1, 1, 1.15, 1.15), order=1)
    edge = (bigger.shape[-1] - 128) // 2
    return bigger[..., edge : edge + 128, edge : edge + 128] / 1.15**2


def normalised(images):
    return images / images.max(axis=(1, 2, 3), keepdims=True)


@pytest.mark.parametrize(
    ("forbidden", "word"),
    [(jittered, "colours"), (stretched, "Einstein radius"), (magnified, "Einstein radius"), (normalised, "flux")],
)
def test_colour_jitter_contrast_zoom_and_normalisation_break_the_contract(lenses, forbidden, word):
    breaches = contract_breaches(measured(lenses), measured(lenses, forbidden))
    assert any(word in breach for breach in breaches), breaches
