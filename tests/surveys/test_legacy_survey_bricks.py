"""The brick route: fpack-compressed coadds written here come back pixel for pixel, edges and missing bands flagged."""

import numpy as np
import pytest

from skytrace.errors import SurveyError
from skytrace.surveys.legacy_survey import LegacySurvey
from skytrace.surveys.legacy_survey.bricks import brick_names, brick_path
from tests.surveys.legacy_files import FWHM, SCALE, brick_wcs, moffat_pixels, sweep_rows, write_brick, write_sweep

SIZE = 300
STARS = np.array([[60.0, 75.0], [150.0, 150.0], [290.0, 140.0], [5.0, 295.0]])  # 0-based x, y
BRICK = "1500p020"


def sky_planes():
    rng = np.random.default_rng(5)
    planes = {}
    for k, band in enumerate("grz"):
        image = sum(
            moffat_pixels(x=x, y=y, flux=10.0 * (k + 1), fwhm_arcsec=FWHM[k], shape=(SIZE, SIZE)) for x, y in STARS
        )
        planes["image", band] = (image + 0.001 * rng.normal(size=image.shape)).astype(np.float32)
        planes["invvar", band] = rng.uniform(1e3, 2e3, image.shape).astype(np.float32)
        planes["psfsize", band] = np.full(image.shape, 1.1 + 0.1 * k, dtype=np.float32)
    planes["maskbits", None] = np.zeros((SIZE, SIZE), dtype=np.int32)
    planes["maskbits", None][75, 60] = 2
    return planes


@pytest.fixture
def bricks(tmp_path, monkeypatch):
    """(root, planes, ids) of one brick with four galaxies."""
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    wcs, planes = brick_wcs(150.0, 2.0, SIZE), sky_planes()
    write_brick(tmp_path / "legacy_survey/coadd", BRICK, planes, wcs)
    rows = sweep_rows(len(STARS))
    rows["ra"], rows["dec"] = wcs.all_pix2world(STARS, 0).T
    write_sweep(tmp_path / "legacy_survey/sweeps/sweep.fits", rows)
    return tmp_path, planes, [f"10000-333333-{objid}" for objid in rows["objid"]]


def survey_of_bricks():
    return LegacySurvey({"route": "bricks"})


def test_stamps_are_the_brick_pixels_centred_on_the_galaxy(bricks):
    _, planes, ids = bricks
    batch = survey_of_bricks().cutouts([ids[1], ids[0]], size=101)
    for k, (x, y) in enumerate([(150, 150), (60, 75)]):
        for b, band in enumerate("grz"):
            window = np.s_[y - 50 : y + 51, x - 50 : x + 51]
            np.testing.assert_array_equal(batch.image[k, b], planes["image", band][window])
            np.testing.assert_array_equal(batch.invvar[k, b], planes["invvar", band][window])
        assert np.unravel_index(batch.image[k, 1].argmax(), (101, 101)) == (50, 50)
    assert batch.maskbits[1, 50, 50] == 2 and np.count_nonzero(batch.maskbits) == 1


def test_psf_comes_from_the_bricks_psfsize_map(bricks):
    _, _, ids = bricks
    psf = survey_of_bricks().cutouts(ids[:1]).psf
    np.testing.assert_allclose(psf.fwhm_arcsec, 0.81127 * np.array([[1.1, 1.2, 1.3]]), rtol=1e-4)


def test_star_in_a_brick_has_its_total_flux_within_one_percent(bricks):
    _, _, ids = bricks
    stamp = survey_of_bricks().cutouts([ids[1]]).image[0]
    y, x = np.indices((101, 101)) - 50
    np.testing.assert_allclose(stamp[:, np.hypot(x, y) <= 25].sum(axis=1), [10.0, 20.0, 30.0], rtol=0.01)


def test_beyond_the_edge_there_is_no_data_and_the_mask_says_so(bricks):
    _, planes, ids = bricks
    batch = survey_of_bricks().cutouts([ids[2], ids[3]], size=101)
    # star at x = 290 of 300: nine columns to its right exist
    inside = np.arange(101) - 50 + 290 < SIZE
    assert (batch.invvar[0][:, :, ~inside] == 0).all() and (batch.image[0][:, :, ~inside] == 0).all()
    assert (batch.maskbits[0][:, ~inside] == 1 | 1 << 5 | 1 << 6 | 1 << 7).all()
    np.testing.assert_array_equal(batch.image[0, 2][:, inside], planes["image", "z"][90:191, 240:])
    # star in a corner: x = 5, y = 295
    np.testing.assert_array_equal(batch.image[1, 0, :55, 45:], planes["image", "g"][245:, :56])
    assert np.count_nonzero(batch.invvar[1, 0]) == 55 * 56


def test_band_that_the_brick_was_not_observed_in_is_empty_and_flagged(bricks):
    root, _, ids = bricks
    for what in ("image", "invvar", "psfsize"):
        brick_path(root / "legacy_survey/coadd", BRICK, what, "z").unlink()
    batch = survey_of_bricks().cutouts([ids[1]])
    assert (batch.invvar[0, 2] == 0).all() and (batch.invvar[0, :2] > 0).all()
    assert (batch.maskbits[0] == 1 << 7).all()


def test_image_without_its_invvar_is_an_error_not_a_guess(bricks):
    root, _, ids = bricks
    path = brick_path(root / "legacy_survey/coadd", BRICK, "invvar", "r")
    path.unlink()
    with pytest.raises(SurveyError, match=path.name):
        survey_of_bricks().cutouts(ids[:1])


def test_truncated_brick_is_named(bricks):
    root, _, ids = bricks
    path = brick_path(root / "legacy_survey/coadd", BRICK, "image", "r")
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(SurveyError, match=path.name):
        survey_of_bricks().cutouts(ids)


def test_galaxy_whose_brick_is_absent_names_the_brick(bricks):
    root, _, ids = bricks
    rows = sweep_rows(4, ra=40.0, dec=-5.0)
    rows["brickname"] = "0400m050"
    rows["release"] = np.int16(10001)
    write_sweep(root / "legacy_survey/sweeps/other.fits", rows)
    with pytest.raises(SurveyError, match="brick 0400m050"):
        survey_of_bricks().cutouts([ids[0], "10001-333333-7"])


def test_galaxy_without_any_data_is_named(bricks):
    root, planes, ids = bricks
    for band in "grz":
        planes["invvar", band][:] = 0
    write_brick(root / "legacy_survey/coadd", BRICK, planes, brick_wcs(150.0, 2.0, SIZE))
    with pytest.raises(SurveyError, match=f"galaxy {ids[0]}: .*no data"):
        survey_of_bricks().cutouts(ids)


def test_both_routes_give_the_same_pixels(bricks):
    from tests.surveys.cutout_server import serving
    from tests.surveys.legacy_files import answer

    _, _, ids = bricks
    by_brick = survey_of_bricks().cutouts([ids[1]])
    with serving(lambda query: answer(by_brick.image[0], by_brick.invvar[0], by_brick.maskbits[0])) as server:
        by_service = LegacySurvey({"base_url": server.url}).cutouts([ids[1]])
    np.testing.assert_array_equal(by_brick.image, by_service.image)
    np.testing.assert_array_equal(by_brick.invvar, by_service.invvar)
    np.testing.assert_array_equal(by_brick.maskbits, by_service.maskbits)


def test_sweep_without_brick_names_finds_them_from_the_position(bricks):
    root, planes, ids = bricks
    rows = sweep_rows(4).drop(columns="brickname")
    rows["ra"], rows["dec"] = brick_wcs(150.0, 2.0, SIZE).all_pix2world(STARS, 0).T
    write_sweep(root / "legacy_survey/sweeps/sweep.fits", rows)
    name = brick_names(rows["ra"][[1]], rows["dec"][[1]])[0]
    assert name != BRICK
    write_brick(root / "legacy_survey/coadd", name, planes, brick_wcs(150.0, 2.0, SIZE))
    assert survey_of_bricks().cutouts([ids[1]]).image[0, 1, 50, 50] == planes["image", "r"][150, 150]


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        (330.015949, -0.869719, "3301m007"),  # rows are centred on multiples of 0.25 deg: this one ends at -0.875
        (330.015949, -0.875001, "3301m010"),
        (0.1, 0.0, "0001p000"),
        (359.9, 0.0, "3598p000"),
        (0.0, 90.0, "1800p900"),
        (123.4, -90.0, "1800m900"),
    ],
)
def test_brick_names_of_known_places(ra, dec, name):
    assert brick_names([ra], [dec])[0] == name


def test_pixel_scale_of_the_test_brick_is_the_surveys():
    from astropy.wcs.utils import proj_plane_pixel_scales

    np.testing.assert_allclose(proj_plane_pixel_scales(brick_wcs(150.0, 2.0, SIZE)) * 3600, SCALE, rtol=1e-6)
