"""The survey of real DECam fields, on fields written here: what it reads, what it refuses, and what a stamp holds."""

import pickle

import numpy as np
import pytest
from astropy.io import fits

from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.surveys.decam_fields import DecamFieldsOptions, DecamFieldsSurvey
from skytrace.surveys.interface import GALAXY_COLUMNS, LENS_COLUMNS, ImagingSurvey
from skytrace.surveys.pixel_masks import bright_star_mask, field_maskbits
from skytrace.surveys.stamps import paste_window
from tests.surveys.legacy_files import FWHM, SIGMA, brick_wcs, moffat_pixels

H, W = 220, 260
STARS = ((60, 70, 30.0), (190, 150, 12.0), (250, 30, 8.0))  # x, y, flux in r


def planes():
    image = np.random.default_rng(8).normal(size=(3, H, W)) * SIGMA[:, None, None]
    for x, y, flux in STARS:
        for k, share in enumerate((0.4, 1.0, 1.6)):
            image[k] += moffat_pixels(x=x, y=y, flux=flux * share, fwhm_arcsec=FWHM[k], shape=(H, W))
    invvar = np.array(np.broadcast_to(SIGMA[:, None, None] ** -2, image.shape))
    exposures = np.tile(np.array([2, 3, 4], dtype=np.int16)[:, None, None], (1, H, W))
    return image.astype(np.float32), invvar.astype(np.float32), exposures


def write_field(path, image, invvar, exposures, **header):
    primary = fits.PrimaryHDU(image, header=brick_wcs(28.4, -16.4, W).to_header())
    values = {"BANDS": "grz", "BAND0": "g", "BAND1": "r", "BAND2": "z", "BUNIT": "nanomaggy"}
    values |= dict(zip(("PSF_G", "PSF_R", "PSF_Z"), FWHM.tolist(), strict=True))
    for key, value in {**values, **header}.items():
        primary.header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, fits.ImageHDU(invvar), fits.ImageHDU(exposures)]).writeto(path, overwrite=True)


@pytest.fixture
def survey(tmp_path):
    write_field(tmp_path / "alpha.fits", *planes())
    return DecamFieldsSurvey(tmp_path, {"minimum_valid_fraction": 0.4})


def test_is_an_imaging_survey_with_the_galaxy_columns_and_no_lenses(survey):
    table = survey.galaxies()
    assert isinstance(survey, ImagingSurvey)
    assert set(GALAXY_COLUMNS) <= set(table.columns)
    assert not table[list(GALAXY_COLUMNS)].isna().any().any()
    assert tuple(survey.lenses().columns) == LENS_COLUMNS and survey.lenses().empty


def test_a_file_that_is_not_yet_whole_is_no_field(survey, tmp_path):
    half = (tmp_path / "alpha.fits").read_bytes()[:-2880]
    (tmp_path / ".beta.fits.host-17-4.partial.fits").write_bytes(half)
    assert list(survey.fields) == ["alpha"]


def test_sources_are_named_by_field_and_brightness_and_lie_at_their_place(survey):
    table = survey.galaxies()
    assert table["galaxy_id"].tolist() == ["decam-alpha-0", "decam-alpha-1", "decam-alpha-2"]
    wcs = brick_wcs(28.4, -16.4, W)
    for row, (x, y, _) in zip(table.itertuples(), STARS, strict=True):
        ra, dec = wcs.all_pix2world(x, y, 0)
        assert abs(row.ra - ra) * np.cos(np.radians(dec)) * 3600 < 0.1 and abs(row.dec - dec) * 3600 < 0.1
    assert table["type"].tolist() == ["PSF"] * 3


def test_conditions_are_those_of_the_pixels_under_the_source(survey):
    row = survey.galaxies().iloc[0]
    assert [row["nobs_g"], row["nobs_r"], row["nobs_z"]] == [2, 3, 4]
    for k, band in enumerate("grz"):
        assert row[f"psfsize_{band}"] == pytest.approx(FWHM[k] / 0.81127, rel=1e-4)
        neff = 4 * np.pi * (FWHM[k] / 0.81127 / 2.354820 / 0.262) ** 2
        assert row[f"psfdepth_{band}"] == pytest.approx(SIGMA[k] ** -2 / neff, rel=1e-3)
        assert 0.3 * row[f"psfdepth_{band}"] < row[f"galdepth_{band}"] < row[f"psfdepth_{band}"]
    assert row["maskbits"] == 0 and row["ebv"] == 0


def test_cutouts_are_the_fields_own_pixels_with_the_headers_psf(survey):
    batch = survey.cutouts(["decam-alpha-1", "decam-alpha-0"], size=101)
    image, invvar, _ = planes()
    np.testing.assert_array_equal(batch.image[0], image[:, 100:201, 140:241])
    np.testing.assert_array_equal(batch.invvar[0], invvar[:, 100:201, 140:241])
    np.testing.assert_allclose(batch.psf.fwhm_arcsec, np.tile(FWHM, (2, 1)), rtol=1e-12)
    assert batch.psf.beta == 3.5


def test_pixels_do_not_travel_to_a_worker_which_reads_them_itself(survey):
    batch = survey.cutouts(["decam-alpha-1"], size=101)
    packed = pickle.dumps(survey)
    assert len(packed) < sum(field.image.nbytes for field in survey.fields.values()) / 10
    there = pickle.loads(packed)
    np.testing.assert_array_equal(there.cutouts(["decam-alpha-1"], size=101).image, batch.image)


def test_beyond_the_edge_a_stamp_has_no_data_and_says_so(survey):
    batch = survey.cutouts(["decam-alpha-2"], size=101)  # star at (250, 30)
    y, x = np.mgrid[30 - 50 : 30 + 51, 250 - 50 : 250 + 51]
    inside = (y >= 0) & (x < W)
    assert (batch.invvar[0][:, ~inside] == 0).all() and (batch.image[0][:, ~inside] == 0).all()
    assert (batch.invvar[0][:, inside] > 0).all()
    assert (batch.maskbits[0][~inside] == 0b11100001).all() and (batch.maskbits[0][inside] == 0).all()


def test_stamp_mostly_off_the_field_is_not_offered_and_others_keep_their_names(tmp_path):
    write_field(tmp_path / "alpha.fits", *planes())
    fractions = DecamFieldsSurvey(tmp_path, {"minimum_valid_fraction": 0.0}).galaxies()["valid_fraction"]
    assert fractions.tolist() == pytest.approx([1.0, 1.0, 81 * 60 / 101**2], abs=0.01)
    kept = DecamFieldsSurvey(tmp_path, {"minimum_valid_fraction": 0.6}).galaxies()
    assert kept["galaxy_id"].tolist() == ["decam-alpha-0", "decam-alpha-1"]


def test_pixels_that_are_not_finite_carry_no_data(tmp_path):
    image, invvar, exposures = planes()
    image[1, 75, 65] = np.nan
    write_field(tmp_path / "alpha.fits", image, invvar, exposures)
    batch = DecamFieldsSurvey(tmp_path, {"minimum_valid_fraction": 0.0}).cutouts(["decam-alpha-0"])
    assert batch.image[0, 1, 55, 55] == 0 and batch.invvar[0, 1, 55, 55] == 0
    assert batch.maskbits[0, 55, 55] == 1 << 6


def test_the_same_fields_give_the_same_table(tmp_path):
    write_field(tmp_path / "alpha.fits", *planes())
    first, second = (DecamFieldsSurvey(tmp_path).galaxies() for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"BANDS": "rgz", "BAND0": "r", "BAND1": "g"}, "bands rgz"),
        ({"BAND1": "i"}, "BAND0..2"),
        ({"BUNIT": "adu"}, "BUNIT is 'adu'"),
        ({"PSF_R": 0.0}, r"PSF_R = 0\.0, .* are not three widths in arcsec"),
        ({"CDELT2": 1e-4}, "pixel scale"),
    ],
)
def test_a_header_that_is_not_grz_nanomaggies_at_this_scale_is_refused(tmp_path, header, message):
    write_field(tmp_path / "bad.fits", *planes(), **header)
    with pytest.raises(SurveyError, match=rf"bad\.fits: .*{message}"):
        DecamFieldsSurvey(tmp_path).galaxies()


def test_pixels_in_another_unit_are_refused(tmp_path):
    image, invvar, exposures = planes()
    write_field(tmp_path / "counts.fits", image * np.float32(1e7), invvar / np.float32(1e14), exposures)
    with pytest.raises(CatalogueError, match="not in nanomaggies"):
        DecamFieldsSurvey(tmp_path).galaxies()


def test_unequal_shapes_negative_weights_and_broken_files_are_refused(tmp_path):
    image, invvar, exposures = planes()
    write_field(tmp_path / "a" / "f.fits", image, invvar[:, :100], exposures)
    write_field(tmp_path / "b" / "f.fits", image, -invvar, exposures)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "f.fits").write_text("no")
    for folder, message in (("a", "three times"), ("b", "negative"), ("c", "cannot be read")):
        with pytest.raises(SurveyError, match=message):
            DecamFieldsSurvey(tmp_path / folder).galaxies()


@pytest.mark.filterwarnings("error")
def test_a_file_that_was_cut_short_is_named_with_what_it_should_have_and_has(tmp_path):
    write_field(tmp_path / "f.fits", *planes())
    content = (tmp_path / "f.fits").read_bytes()
    end = len(content) // 2880 * 2880
    for size, needed in ((end - 3000, "HDU 2"), (end // 2, "HDU 1"), (end // 3, "HDU 0"), (3000, "HDU 0")):
        (tmp_path / "f.fits").write_bytes(content[:size])
        with pytest.raises(SurveyError, match=rf"f\.fits is not whole: {needed} with .* needs .* has {size:,}; fetch"):
            DecamFieldsSurvey(tmp_path).galaxies()


def test_a_header_without_a_psf_is_told_by_the_missing_key(tmp_path):
    write_field(tmp_path / "f.fits", *planes())
    with fits.open(tmp_path / "f.fits", mode="update") as hdus:
        del hdus[0].header["PSF_R"]
    with pytest.raises(SurveyError, match=r"f\.fits: its header has no PSF_R \("):
        DecamFieldsSurvey(tmp_path).galaxies()


def test_missing_or_empty_folder_says_what_goes_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    with pytest.raises(SurveyError, match=r"imaging/decam_grz_fields; \$SKYTRACE_DATA is .*HDU 0 image.*real_data\.md"):
        DecamFieldsSurvey().galaxies()
    (tmp_path / "imaging/decam_grz_fields").mkdir(parents=True)
    with pytest.raises(SurveyError, match=r"no \*\.fits in"):
        DecamFieldsSurvey().galaxies()


def test_a_field_without_sources_is_an_error(tmp_path):
    image, invvar, exposures = planes()
    noise = np.random.default_rng(1).normal(size=image.shape) * SIGMA[:, None, None]
    write_field(tmp_path / "blank.fits", noise.astype(np.float32), invvar, exposures)
    with pytest.raises(SurveyError, match="no source"):
        DecamFieldsSurvey(tmp_path).galaxies()


def test_unknown_galaxy_and_bad_options_are_named(survey):
    with pytest.raises(SurveyError, match="decam-alpha-99"):
        survey.cutouts(["decam-alpha-0", "decam-alpha-99"])
    with pytest.raises(OptionError, match="minimum_valid_fraction"):
        DecamFieldsOptions(minimum_valid_fraction=1.5)


def test_saturated_core_flags_its_surroundings_and_a_dead_column_does_not():
    image = moffat_pixels(x=100, y=100, flux=3000.0, fwhm_arcsec=1.2, shape=(201, 201))
    invvar = np.full(image.shape, 4e4)
    y, x = np.indices(image.shape)
    invvar[np.hypot(x - 100, y - 100) < 6] = 0
    invvar[:, 20:22] = 0
    bits = bright_star_mask(image, invvar)
    assert bits[100, 100] == bits[100, 112] == bits[88, 100] == 2
    assert bits[20, 21] == 0 and bits[100, 170] == 0


def test_maskbits_name_the_bands_without_data():
    invvar = np.ones((3, 1, 5))
    invvar[0, 0, 1] = invvar[1, 0, 2] = invvar[2, 0, 3] = 0
    invvar[:, 0, 4] = 0
    assert field_maskbits(invvar).tolist() == [[0, 1 << 5, 1 << 6, 1 << 7, 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7]]


@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("centre", [(0, 0), (6, 2), (3, 3), (-9, 2), (30, 1)])
def test_windows_agree_with_a_padded_image(size, centre):
    image = np.arange(7 * 8).reshape(7, 8)
    stamp = np.full((size, size), -1)
    paste_window(stamp, image, centre=centre)
    padded = np.pad(image, 40, constant_values=-1)
    x, y = centre[0] + 40 - size // 2, centre[1] + 40 - size // 2
    np.testing.assert_array_equal(stamp, padded[y : y + size, x : x + size])
