"""Clusters cut out of FITS mosaics: the right pixels, in nanomaggies, and no data where there is none."""

import pickle

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skytrace.compute import ClusterOptions
from skytrace.errors import OptionError, SurveyError
from skytrace.pipelines.cluster_pu.fields import cut_fields, read_fields
from skytrace.pipelines.cluster_pu.options import FieldOptions
from skytrace.surveys.clusters.interface import CLUSTER_COLUMNS, ClusterSurvey
from skytrace.surveys.clusters.mosaic import ClusterMosaic
from skytrace.surveys.clusters.options import MosaicOptions

SCALE = 0.262
SIZE = 300
CENTRES = {"7": (150, 160), "8": (20, 150), "9": (150, 297)}  # x, y: inside, near an edge, at an edge
SIGMA = {"g": 0.01, "r": 0.02, "i": 0.03}


def header(scale=SCALE):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, 2.0), (SIZE / 2, SIZE / 2)
    wcs.wcs.cdelt = -scale / 3600, scale / 3600
    return wcs


@pytest.fixture
def folder(tmp_path):
    """Mosaics of sky noise with a bright pixel on each cluster, in units of zero point 25, and their catalogue."""
    rng = np.random.default_rng(3)
    wcs, unit = header(), 10 ** (0.4 * 2.5)  # counts a nanomaggy
    for band, sigma in SIGMA.items():
        image = sigma * rng.standard_normal((SIZE, SIZE))
        for x, y in CENTRES.values():
            image[y, x] = 5.0
        image[155:158, 140:150] = np.nan
        weight = np.full((SIZE, SIZE), sigma**-2 / unit**2)
        weight[150:153, 100:110] = 0.0
        for name, plane in (("image", image * unit), ("weight", weight)):
            fits.PrimaryHDU(plane.astype(np.float32), wcs.to_header()).writeto(tmp_path / f"{name}-{band}.fits")
    ra, dec = wcs.pixel_to_world_values(*np.array(list(CENTRES.values()), dtype=float).T)
    table = pd.DataFrame({"MEM_MATCH_ID": [7, 8, 9], "RA": ra, "DEC": dec, "Z_LAMBDA": 0.4, "LAMBDA": 40.0})
    far = table.iloc[:1].assign(MEM_MATCH_ID=10, RA=(table["RA"].iloc[0] + 180) % 360, DEC=-table["DEC"].iloc[0])
    pd.concat([table, far]).to_parquet(tmp_path / "clusters.parquet")
    return tmp_path


def options(**changes):
    files = {name: {band: f"{name[:-1]}-{band}.fits" for band in "gri"} for name in ("images", "weights")}
    return {**files, "zero_point_mag": 25.0, **changes}


def test_the_cluster_is_in_the_middle_of_its_cutout_in_nanomaggies(folder):
    survey = ClusterMosaic(folder, options(minimum_valid_fraction=0.3))
    cutouts = survey.cutouts(["9", "7"])
    assert isinstance(survey, ClusterSurvey) and cutouts.image.shape == (2, 3, 128, 128)
    np.testing.assert_allclose(cutouts.image[:, :, 64, 64], 5.0, rtol=1e-6)
    np.testing.assert_allclose(cutouts.noise, [list(SIGMA.values())] * 2, rtol=1e-5)
    assert cutouts.pixel_scale_arcsec == pytest.approx(SCALE, rel=1e-6)


def test_pixels_do_not_travel_to_a_worker_which_reads_them_itself(folder):
    survey = ClusterMosaic(folder, options(minimum_valid_fraction=0.3))
    cutouts = survey.cutouts(["9"])
    packed = pickle.dumps(survey)
    assert len(packed) < 1e5 < sum(one.image.nbytes for band in survey.mosaics.values() for one in band)
    np.testing.assert_array_equal(pickle.loads(packed).cutouts(["9"]).image, cutouts.image)


def test_what_lies_beyond_the_mosaic_is_nan_and_counted_not_zero(folder):
    cutouts = ClusterMosaic(folder, options(minimum_valid_fraction=0.3)).cutouts(["8", "9", "7"])
    # cluster 8 at x = 20: its columns -44..-1 are missing; cluster 9 at y = 297: rows 300..360
    assert np.isnan(cutouts.image[0, :, :, :44]).all() and np.isfinite(cutouts.image[0, :, :90, 44:]).any()
    assert np.isnan(cutouts.image[1, :, 67:, :]).all()
    np.testing.assert_allclose(cutouts.padded_fraction[:, 0], [44 / 128, 61 / 128, 0.0])
    assert not (cutouts.image == 0).any()


def test_pixels_without_weight_or_value_carry_no_data(folder):
    cutouts = ClusterMosaic(folder, options()).cutouts(["7"])
    bad = np.isnan(cutouts.image[0, 0])
    # image x 140..149, y 155..157 is NaN; x 100..109, y 150..152 has no weight; the cutout begins at (86, 96)
    assert bad[59:62, 54:64].all() and bad[54:57, 14:24].all() and bad.sum() == 60
    np.testing.assert_allclose(cutouts.missing_fraction, 60 / 128**2)


def test_noise_without_weights_is_measured_on_the_pixels(folder):
    cutouts = ClusterMosaic(folder, options(weights={})).cutouts(["7"])
    np.testing.assert_allclose(cutouts.noise[0], list(SIGMA.values()), rtol=0.03)


def test_clusters_off_the_mosaic_or_mostly_padding_are_left_out(folder):
    survey = ClusterMosaic(folder, options())
    table = survey.clusters()
    assert table["cluster_id"].tolist() == ["7", "8", "9"] and set(CLUSTER_COLUMNS) <= set(table)
    strict = ClusterMosaic(folder, options(minimum_valid_fraction=0.9)).clusters()
    assert strict["cluster_id"].tolist() == ["7"]
    assert not table["known_lens"].any() and survey.truth().empty
    assert len(survey.files_read) == 7
    # depth: 5 sigma of the PSF's matched filter
    neff = np.pi * 1.2**2 / (4 * (2 ** (1 / 3.5) - 1)) * 6 / 2.5**2 / SCALE**2
    assert table["depth_g_mag"][0] == pytest.approx(22.5 - 2.5 * np.log10(5 * 0.01 * np.sqrt(neff)), abs=1e-3)


def test_a_second_mosaic_serves_what_the_first_does_not_hold(folder):
    second = header()
    second.wcs.crval = 151.0, 2.0
    fits.PrimaryHDU(np.full((SIZE, SIZE), 2.5, dtype=np.float32), second.to_header()).writeto(folder / "second.fits")
    table = pd.read_parquet(folder / "clusters.parquet")
    other = table.iloc[:1].assign(MEM_MATCH_ID=11, RA=151.0, DEC=2.0)
    pd.concat([table, other]).to_parquet(folder / "clusters.parquet")
    images = {band: (f"image-{band}.fits", "second.fits") for band in "gri"}
    cutouts = ClusterMosaic(folder, options(images=images, weights={})).cutouts(["11", "7"])
    np.testing.assert_allclose(cutouts.image[0], 0.25, rtol=1e-6)
    assert cutouts.image[1, 0, 64, 64] == pytest.approx(5.0)


def test_bands_of_other_units_and_seeing_have_the_flux_noise_and_depth_of_their_own(folder):
    """The same sky in counts of three zero points."""
    zero_points, widths = {"g": 25.0, "r": 27.5, "i": 22.5}, {"i": 0.7, "g": 1.4, "r": 1.1}
    for band, zero_point in zero_points.items():
        factor = 10 ** (0.4 * (zero_point - 25.0))
        for name, power in (("image", 1), ("weight", -2)):
            with fits.open(folder / f"{name}-{band}.fits", mode="update") as hdus:
                hdus[0].data = (hdus[0].data * factor**power).astype(np.float32)
    survey = ClusterMosaic(folder, options(zero_point_mag=zero_points, psf_fwhm_arcsec=widths))
    cutouts, table = survey.cutouts(["7"]), survey.clusters()
    np.testing.assert_allclose(cutouts.image[0, :, 64, 64], 5.0, rtol=1e-5)
    np.testing.assert_allclose(cutouts.noise[0], list(SIGMA.values()), rtol=1e-4)
    np.testing.assert_array_equal(cutouts.psf.fwhm_arcsec[0], [1.4, 1.1, 0.7])
    for band, sigma in SIGMA.items():
        neff = np.pi * widths[band] ** 2 / (4 * (2 ** (1 / 3.5) - 1)) * 6 / 2.5**2 / SCALE**2
        assert table[f"psf_fwhm_{band}_arcsec"][0] == widths[band]
        expected = 22.5 - 2.5 * np.log10(5 * sigma * np.sqrt(neff))
        assert table[f"depth_{band}_mag"][0] == pytest.approx(expected, abs=1e-3)
    # of one zero point, these bands would have colours that are wrong by magnitudes
    wrong = ClusterMosaic(folder, options()).cutouts(["7"]).image[0, :, 64, 64]
    np.testing.assert_allclose(wrong, [5.0, 50.0, 0.5], rtol=1e-5)


def test_one_number_is_that_of_every_band_and_a_missing_unknown_or_impossible_band_is_named():
    images = {band: f"{band}.fits" for band in "gri"}
    same = MosaicOptions(images=images, zero_point_mag=25.0, psf_fwhm_arcsec=1.0)
    assert same == MosaicOptions(images=images, zero_point_mag=[25, 25, 25], psf_fwhm_arcsec=dict.fromkeys("irg", 1.0))
    assert same.zero_point_mag == (25.0, 25.0, 25.0) and same.psf_fwhm_arcsec == (1.0, 1.0, 1.0)
    with pytest.raises(OptionError, match=r"zero_point_mag = .* has no value for band r, i; it needs g, r, i"):
        MosaicOptions(images=images, zero_point_mag={"g": 25.0})
    with pytest.raises(OptionError, match="psf_fwhm_arcsec has no option 'z'"):
        MosaicOptions(images=images, psf_fwhm_arcsec={"g": 1.0, "r": 1.0, "z": 1.0})
    with pytest.raises(OptionError, match=r"zero_point_mag = \(25.0, 25.0\) is not one value or three"):
        MosaicOptions(images=images, zero_point_mag=(25.0, 25.0))
    with pytest.raises(OptionError, match=r"psf_fwhm_arcsec of i = 0.0 is outside its allowed range \[0.05, 10\]"):
        MosaicOptions(images=images, psf_fwhm_arcsec=(1.0, 1.0, 0.0))
    with pytest.raises(OptionError, match="zero_point_mag of g = '25' is not a number"):
        MosaicOptions(images=images, zero_point_mag="25")


def test_files_that_cannot_be_used_are_refused_by_name(folder):
    with pytest.raises(SurveyError, match="has no cluster '77'"):
        ClusterMosaic(folder, options()).cutouts(["77"])
    with pytest.raises(OptionError, match="no file for band i"):
        MosaicOptions(images={"g": "a", "r": "b"})
    with pytest.raises(OptionError, match="did you mean zero_point_mag"):
        MosaicOptions.from_mapping({"zero_point": 22.5})
    with pytest.raises(SurveyError, match=r"clusters\.parquet lacks LAMBDA_CHISQ"):
        columns = {"cluster_id": "MEM_MATCH_ID", "ra": "RA", "dec": "DEC", "redshift": "Z_LAMBDA"}
        ClusterMosaic(folder, options(columns={**columns, "richness": "LAMBDA_CHISQ"})).clusters()
    with pytest.raises(SurveyError, match=r"none of the 4 clusters .* minimum_valid_fraction = 1 "):
        ClusterMosaic(folder, options(minimum_valid_fraction=1.0)).clusters()
    fits.PrimaryHDU(np.zeros((SIZE, SIZE), dtype=np.float32), header(0.2).to_header()).writeto(folder / "fine.fits")
    images = {**{band: f"image-{band}.fits" for band in "gr"}, "i": "fine.fits"}
    with pytest.raises(SurveyError, match=r"pixel scales of 0\.2 to 0\.262 arcsec"):
        ClusterMosaic(folder, options(images=images, weights={})).clusters()
    fits.PrimaryHDU(np.zeros((9, 9))).writeto(folder / "blind.fits")
    with pytest.raises(SurveyError, match=r"mosaic .*absent\.fits cannot be read as FITS"):
        ClusterMosaic(folder, options(images={**images, "i": "absent.fits"}, weights={})).clusters()
    with pytest.raises(SurveyError, match=r"blind\.fits has no celestial WCS"):
        ClusterMosaic(folder, options(images={**images, "i": "blind.fits"}, weights={})).clusters()


def test_who_is_no_known_lens_or_nobody_knows_is_not_known(folder):
    table = pd.read_parquet(folder / "clusters.parquet")
    columns = {"cluster_id": "MEM_MATCH_ID", "ra": "RA", "dec": "DEC", "redshift": "Z_LAMBDA", "richness": "LAMBDA"}
    chosen = options(minimum_valid_fraction=0.3, catalogue="known.csv", columns={**columns, "known_lens": "KNOWN"})
    for values, expected in (
        ([1, None, 0, 1], [True, False, False]), (["yes", "No", "", "y"], [True, False, False]),
        ([True, False, True, True], [True, False, True]), (["T", "F", None, "F"], [True, False, False]),
    ):  # fmt: skip
        table.assign(KNOWN=values).to_csv(folder / "known.csv", index=False)
        known = ClusterMosaic(folder, chosen).clusters()["known_lens"]
        assert known.dtype == bool and known.tolist() == expected, values
    table.assign(KNOWN=["perhaps", 0, 1, 1]).to_csv(folder / "known.csv", index=False)
    with pytest.raises(SurveyError, match=r"known_lens = 'perhaps' in 1 rows"):
        ClusterMosaic(folder, chosen).clusters()


def test_other_pixels_in_a_file_of_the_same_name_are_other_content(folder):
    before = ClusterMosaic(folder, options()).content()
    assert set(before) == {f"{name}-{band}.fits" for name in ("image", "weight") for band in "gri"}
    with fits.open(folder / "image-r.fits", mode="update") as hdus:
        hdus[0].data[10, 10] += 5.0
    after = ClusterMosaic(folder, options()).content()
    assert {name for name in before if before[name] != after[name]} == {"image-r.fits"}


def test_shards_of_cutouts_follow_the_pixels_of_the_mosaics_and_not_their_names(folder, tmp_path_factory):
    shards = FieldOptions(str(tmp_path_factory.mktemp("shards")))

    def cut():
        survey = ClusterMosaic(folder, options())
        fields = cut_fields(survey, survey.clusters(), shards, ClusterOptions(workers=1))
        return fields["shard"][0], read_fields(fields["shard"][0]).image[0, 1, 64, 64]

    before = cut()
    assert cut() == before  # the same pixels: the shards that are there
    with fits.open(folder / "image-r.fits", mode="update") as hdus:
        x, y = CENTRES["7"]
        hdus[0].data[y, x] *= 2.0
    after = cut()
    assert after[0] != before[0]
    assert after[1] == pytest.approx(2.0 * before[1])
    assert read_fields(before[0]).image[0, 1, 64, 64] == before[1]  # what another run cut stays as it was
