"""The mock's catalogue shapes are those of its pixels, in Tractor's convention.

Tractor (``EllipseE.getRaDecBasis``; Legacy Surveys DR10, catalogues): e = (1 - q) / (1 + q), shape_e1 = e cos 2 PA,
shape_e2 = e sin 2 PA, PA from north through east. Stamps lie as the survey's cutouts: rows increase to the north,
columns to the west. What is compared is measured on pixels alone: second moments of the region above an isophote.
"""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from skytrace.imaging.psf import MoffatPsf
from skytrace.lensing.population import host_light_shape
from skytrace.surveys.mock import MockSurveyOptions
from skytrace.surveys.mock.rendering import noiseless_stamps, render_stamps
from skytrace.surveys.mock.sky import draw_sky

OPTIONS = MockSurveyOptions(n_galaxies=2500, threads=1, lens_fraction=0.0, artefact_fraction=0.0)
PIXEL_ARCSEC = 0.262
R_BAND = 1


def isophote_shape(stamp, semi_major_px):
    """(e1, e2) of the region around the centre above the isophote that reaches ``semi_major_px``.

    An ellipse filled with ones has second moments a^2 / 4 and b^2 / 4 along its axes; the brightest pixel at that
    radius is on the major axis of a galaxy that is alone.
    """
    centre = stamp.shape[0] // 2
    row, column = np.indices(stamp.shape) - centre
    level = stamp[np.abs(np.hypot(row, column) - semi_major_px) < 0.5].max()
    labels, _ = ndimage.label(stamp >= level)
    inside = labels == labels[centre, centre]
    east, north = -column[inside], row[inside]
    (minor, major), vectors = np.linalg.eigh(np.cov(np.stack([east, north])))
    q = np.sqrt(minor / major)
    position_angle = np.arctan2(*vectors[:, 1])  # of (east, north): from north through east
    e = (1 - q) / (1 + q)
    return e * np.cos(2 * position_angle), e * np.sin(2 * position_angle)


def isolated_bright_galaxies(sky):
    """Rows of bright galaxies of one Sersic profile, large against the PSF, with a shape in the catalogue, alone.

    Alone: within 10" of the centre, other galaxies and stars have less than 0.5 % of its light in r.
    """
    truth, galaxies, parts, stars = sky.truth, sky.galaxies, sky.sersic, sky.stars
    near = (np.hypot(parts.x_arcsec, parts.y_arcsec) < 10) & (parts.x_arcsec**2 + parts.y_arcsec**2 > 0)
    others = np.bincount(parts.stamp[near], parts.flux_nmgy[near, R_BAND], len(truth))
    close = np.hypot(stars.x_arcsec, stars.y_arcsec) < 10
    others += np.bincount(stars.stamp[close], stars.flux_nmgy[close, R_BAND], len(truth))
    own = 10 ** (-0.4 * (truth["mag_z"] + truth["r_z"] - 22.5))
    plain = truth["category"].isin(["early", "disk"]) & galaxies["type"].isin(["SER", "DEV", "EXP"])
    large = galaxies["shape_r"] > 0.9 * galaxies["psfsize_r"]
    return np.flatnonzero(plain & large & (truth["mag_z"] < 19.6) & (others < 0.005 * own))


def isophotes(sky, rows, images):
    """(n, 2) shapes of ``images`` (n, y, x) at 2.2 half-light radii."""
    semi_major = np.minimum(2.2 * sky.galaxies.loc[rows, "shape_r"] / PIXEL_ARCSEC, 42.0)
    return np.array([isophote_shape(*each) for each in zip(images, semi_major, strict=True)])


def turn(measured, table):
    """Degrees by which the measured position angles are ahead of the table's."""
    angle = np.arctan2(measured[:, 1], measured[:, 0]) - np.arctan2(table[:, 1], table[:, 0])
    return np.degrees(np.angle(np.exp(1j * angle)) / 2)


@pytest.fixture(scope="module")
def sky():
    return draw_sky(OPTIONS)


@pytest.fixture(scope="module")
def rows(sky):
    return isolated_bright_galaxies(sky)


@pytest.fixture(scope="module")
def table(sky, rows):
    return sky.galaxies.loc[rows, ["shape_e1", "shape_e2"]].to_numpy()


@pytest.mark.parametrize(("along", "e1", "e2"), [("north", 1 / 3, 0), ("east", -1 / 3, 0), ("north-east", 0, 1 / 3)])
def test_the_measurement_knows_an_ellipse_drawn_by_hand(along, e1, e2):
    row, column = np.indices((101, 101)) - 50
    diagonal = np.sqrt(0.5)
    north, east = {"north": (1, 0), "east": (0, 1), "north-east": (diagonal, diagonal)}[along]
    major, minor = north * row - east * column, east * row + north * column
    assert isophote_shape(np.exp(-np.hypot(major / 20, minor / 10)), 30.0) == pytest.approx((e1, e2), abs=0.01)


def test_ellipticities_of_the_table_are_those_of_the_sharp_pixels_in_size_and_sign(sky, rows, table):
    """Seen through a PSF of 0.4", which still rounds cuspy galaxies by some 8 %. e = 1 - q would halve the slope."""
    assert len(rows) > 40
    sharp = dataclasses.replace(sky, psf=MoffatPsf(np.full_like(sky.psf.fwhm_arcsec, 0.4), sky.psf.beta))
    shapes = isophotes(sky, rows, [noiseless_stamps(sharp, i, i + 1)[0, R_BAND] for i in rows])
    for k in (0, 1):
        slope, offset = np.polyfit(table[:, k], shapes[:, k], 1)
        assert 0.85 < slope < 1.0
        assert abs(offset) < 0.005
    elongated = np.hypot(*table.T) > 0.1
    assert elongated.sum() > 20
    assert np.abs(turn(shapes, table)[elongated]).max() < 5.0
    assert np.median(np.hypot(*(shapes - table).T)) < 0.03


def test_position_angles_of_the_table_are_those_of_the_surveys_own_pixels(sky, rows, table):
    """With the sky's own PSF and noise: a round PSF makes galaxies rounder, but turns none."""
    pixels = [render_stamps(sky, i, i + 1, options=OPTIONS)["image"][0, R_BAND] for i in rows]
    shapes = isophotes(sky, rows, [ndimage.gaussian_filter(image, 1.5) for image in pixels])
    elongated = np.hypot(*table.T) > 0.1
    turned = turn(shapes, table)[elongated]
    assert abs(np.median(turned)) < 0.5
    assert np.percentile(np.abs(turned), 80) < 4.0
    rounder = (np.hypot(*shapes.T) / np.hypot(*table.T))[elongated]
    assert 0.5 < np.median(rounder) < 0.9


def test_deflectors_are_laid_along_the_light_that_was_rendered(sky, rows):
    """What injections read from the table is the axis ratio and angle that the pixels were made with."""
    q, phi = host_light_shape(sky.galaxies.loc[rows])
    truth = sky.truth.loc[rows]
    apart = (phi - truth["phi"].to_numpy() + np.pi / 2) % np.pi - np.pi / 2
    assert np.abs(apart).max() < 1e-6
    assert np.abs(q - truth["q"].to_numpy()).max() < 0.08
