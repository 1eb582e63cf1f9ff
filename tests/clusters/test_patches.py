"""Patch features are what their names say: against plain numpy and scikit-image, and under symmetry and gaps."""

import numpy as np
import pytest

from skytrace.clusters import PatchOptions, bright_peaks, feature_columns, feature_schema, patch_features
from skytrace.clusters.patches import grey_thresholds
from skytrace.errors import OptionError, PixelError

NOISE = np.array([0.02, 0.03, 0.04])


@pytest.fixture(scope="module")
def fields():
    """Three fields of forty round galaxies each."""
    rng = np.random.default_rng(5)
    y, x = np.indices((128, 128))
    images = NOISE[:, None, None] * rng.standard_normal((3, 3, 128, 128))
    for image in images:
        for _ in range(40):
            row, column = rng.uniform(0, 128, 2)
            profile = (1.0 + ((y - row) ** 2 + (x - column) ** 2) / 6.0) ** -2.0
            image += 10 ** rng.uniform(-1, 1) * rng.uniform(0.3, 1.5, 3)[:, None, None] * profile
    return images.astype(np.float32)


def windows(options):
    edges = options.edges
    return [(slice(edges[i], edges[i + 1]), slice(edges[j], edges[j + 1])) for i in range(3) for j in range(3)]


def test_the_nine_patches_are_43_43_42_pixels_wide_and_lose_none():
    assert np.diff(PatchOptions().edges).tolist() == [43, 43, 42]
    assert np.diff(PatchOptions(pool_outer=True).edges).tolist() == [43, 42, 43]
    for pixels in range(24, 40):
        for pool in (False, True):
            widths = np.diff(PatchOptions(pixels=pixels, pool_outer=pool).edges)
            assert widths.sum() == pixels and np.ptp(widths) <= 1
            assert not pool or widths[0] == widths[2]


def test_mean_and_standard_deviation_are_those_of_the_patch(fields):
    table = patch_features(fields, NOISE)
    for p, window in enumerate(windows(PatchOptions())):
        for b, band in enumerate("gri"):
            pixels = fields[(slice(None), b, *window)].astype(float)
            where = f"_p{p // 3}{p % 3}"
            np.testing.assert_allclose(table[f"mean_{band}{where}"], pixels.mean(axis=(1, 2)), rtol=1e-12)
            np.testing.assert_allclose(table[f"std_{band}{where}"], pixels.std(axis=(1, 2)), rtol=1e-9)


@pytest.mark.parametrize("levels", [16, 32, 57])
def test_contrast_is_that_of_scikit_images_co_occurrence_matrix(fields, levels):
    from skimage.feature import graycomatrix, graycoprops

    options = PatchOptions(glcm_levels=levels)
    table = patch_features(fields[:1], NOISE, options=options)
    unit = fields[0] * (1.0 / NOISE).astype(np.float32)[:, None, None]
    grey = np.searchsorted(grey_thresholds(options), unit, side="right").astype(np.uint8)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    for p, window in enumerate(windows(options)):
        for b, band in enumerate("gri"):
            matrix = graycomatrix(grey[(b, *window)], [1], angles, levels=levels, symmetric=True, normed=True)
            ours = table[f"glcm_contrast_{band}_p{p // 3}{p % 3}"][0]
            assert ours == pytest.approx(graycoprops(matrix, "contrast").mean(), abs=1e-9)


def test_grey_levels_keep_what_lies_below_the_sky():
    options = PatchOptions()
    thresholds = grey_thresholds(options)
    assert (np.diff(thresholds) > 0).all() and len(thresholds) == 31
    level = np.searchsorted(thresholds, np.array([-2.5, -1.0, 0.0, 1.0, 299.0, 1e6], dtype=np.float32), side="right")
    assert (np.diff(level[:4]) > 0).all() and level[-1] == level[-2] == 31


def test_colours_are_those_of_a_flat_field_with_the_error_of_its_noise():
    mean = np.array([0.5, 1.0, 2.0])
    images = np.broadcast_to(mean[:, None, None], (1, 3, 128, 128)).astype(np.float32)
    table = patch_features(images, NOISE)
    assert table["g_minus_r_p11"][0] == pytest.approx(2.5 * np.log10(2.0), abs=1e-4)
    assert table["r_minus_i_p11"][0] == pytest.approx(2.5 * np.log10(2.0), abs=1e-4)
    expected = 2.5 / np.log(10) / 43 * np.hypot(NOISE[0] / mean[0], NOISE[1] / mean[1])
    assert table["g_minus_r_err_p11"][0] == pytest.approx(expected, rel=1e-4)
    assert table["edge_density_p11"][0] == 0.0


def test_colour_errors_are_the_scatter_of_repeated_faint_skies():
    rng = np.random.default_rng(2)
    images = (0.02 + NOISE[:, None, None] * rng.standard_normal((60, 3, 128, 128))).astype(np.float32)
    table = patch_features(images, NOISE)
    scatter = np.concatenate([table[f"g_minus_r_p{p}"] for p in ("00", "11", "22", "02", "20", "12")]).std()
    assert scatter == pytest.approx(table["g_minus_r_err_p11"].mean(), rel=0.15)


def test_edges_are_counted_against_the_clusters_own_threshold(fields):
    quiet = fields[:1].copy()
    quiet[:, :, :86, :86] = 0.0
    table = patch_features(quiet, NOISE)
    density = np.array([[table[f"edge_density_p{i}{j}"][0] for j in range(3)] for i in range(3)])
    assert density[0, 0] == 0.0 and density[2, 2] > 0.1
    area = np.outer(np.diff(PatchOptions().edges), np.diff(PatchOptions().edges)) - np.array(
        [[85, 43, 84], [43, 0, 42], [84, 42, 83]]
    )  # the frame has no gradient
    assert (density * area).sum() / area.sum() == pytest.approx(0.1, abs=1e-3)


def test_pooled_columns_do_not_change_under_flips_and_quarter_turns(fields):
    options = PatchOptions(pool_outer=True)
    table = patch_features(fields, NOISE, options=options)
    stable = [name for name in feature_columns(options) if "_outer_" in name or name.endswith("_p11")]
    for turned in (fields[:, :, ::-1], fields[:, :, :, ::-1], np.rot90(fields, axes=(2, 3)), fields.swapaxes(2, 3)):
        other = patch_features(np.ascontiguousarray(turned), NOISE, options=options)
        np.testing.assert_allclose(other[stable], table[stable], rtol=1e-6, atol=1e-9)
    plain = patch_features(fields, NOISE)
    turned = patch_features(np.ascontiguousarray(fields[:, :, ::-1]), NOISE)
    assert not np.allclose(plain["mean_g_p00"], turned["mean_g_p00"], rtol=1e-3)


def test_peaks_are_found_where_stars_were_put_brightest_first():
    y, x = np.indices((128, 128))
    images = np.zeros((1, 3, 128, 128), dtype=np.float32)
    places = [(30, 40, 3.0), (90, 20, 2.0), (64, 100, 1.0)]
    for row, column, flux in places:
        images += flux * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / 4.0)
    peaks = bright_peaks(images, [0.01] * 3)
    assert peaks[0, :3, :2].tolist() == [[30, 40], [90, 20], [64, 100]]
    assert np.isnan(peaks[0, 3:]).all()
    assert patch_features(images, [0.01] * 3)["peak_count"][0] == 3
    # stack of three equal bands: S/N times sqrt(3); binomial weights raise a smooth peak by 16 / 6
    assert peaks[0, 0, 2] == pytest.approx(
        3.0 / 0.01 * np.sqrt(3) * 16 / 6 * (0.5 + 0.5 * np.exp(-1 / 8)) ** 2, rel=1e-3
    )


def test_peaks_of_one_colour_agree_to_a_half_and_of_two_colours_less():
    rng = np.random.default_rng(8)
    y, x = np.indices((128, 128))
    images = np.zeros((2, 3, 128, 128))
    grid = [(20 + 22 * i, 20 + 22 * j) for i in range(5) for j in range(5)]
    for k, (row, column) in enumerate(grid):
        profile = 0.15 * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / 9.0)
        images[0] += profile
        images[1] += np.array([1.0, 1.0, 1.0] if k % 2 else [0.3, 1.0, 2.0])[:, None, None] * profile
    images = (images + 0.01 * rng.standard_normal(images.shape)).astype(np.float32)
    table = patch_features(images, [0.01] * 3, options=PatchOptions(colour_floor_mag=0.0, peak_sigma=12.0))
    assert table["peak_colour_coherence"][0] == pytest.approx(0.5, abs=0.12)
    assert table["peak_colour_coherence"][1] < 0.35
    assert table["off_colour_peaks"][0] == 0 and table["off_colour_peaks"][1] >= 10
    assert table["off_colour_coherence"][1] > 0.3


def test_a_cluster_alone_gives_the_same_numbers_as_in_a_batch(fields):
    together = patch_features(fields, NOISE)
    alone = patch_features(fields[2:], NOISE)
    np.testing.assert_array_equal(alone.to_numpy()[0], together.to_numpy()[2])


def test_an_empty_patch_and_a_missing_band_are_flagged_and_nan_and_spoil_nothing_else(fields):
    images = fields.copy()
    images[0, 1, :43, :43] = np.nan
    images[1, 2] = np.nan
    images[2, 0, 64, 70] = np.inf
    noise = np.tile(NOISE, (3, 1))
    noise[1, 2] = np.nan  # nobody knows the noise of a band without data
    table, whole = patch_features(images, noise), patch_features(fields, NOISE)
    assert table["empty_patches"].tolist() == [1, 9, 0]
    assert table["band_missing_i"].tolist() == [0, 1, 0]
    assert table["missing_fraction"][0] == pytest.approx(43 * 43 / (3 * 128**2))
    assert np.isnan(table.loc[0, ["mean_r_p00", "g_minus_r_p00", "glcm_contrast_r_p00", "edge_density_p00"]]).all()
    assert table["mean_r_p01"][0] == whole["mean_r_p01"][0]
    assert np.isfinite(table["mean_g_p00"][0]) and np.isfinite(table["edge_density_p22"][1])
    pixels = np.delete(images[2, 0, 43:86, 43:86].astype(float).ravel(), (64 - 43) * 43 + 70 - 43)
    assert table["mean_g_p11"][2] == pytest.approx(pixels.mean(), rel=1e-12)


def test_contrast_leaves_out_pairs_with_a_missing_pixel(fields):
    images = fields[:1].copy()
    images[0, 0, 10:12, 5:30] = np.nan
    options = PatchOptions()
    grey = np.searchsorted(grey_thresholds(options), images[0, 0, :43, :43] / np.float32(NOISE[0]), side="right")
    grey = np.where(np.isfinite(images[0, 0, :43, :43]), grey, np.nan)
    shifts = (
        grey[:, 1:] - grey[:, :-1],
        grey[1:] - grey[:-1],
        grey[1:, 1:] - grey[:-1, :-1],
        grey[1:, :-1] - grey[:-1, 1:],
    )
    expected = np.mean([np.nanmean(step**2) for step in shifts])
    assert patch_features(images, NOISE)["glcm_contrast_g_p00"][0] == pytest.approx(expected, rel=1e-3)


def test_the_schema_names_every_column_with_unit_and_source(fields):
    for options in (PatchOptions(), PatchOptions(pool_outer=True)):
        table, schema = patch_features(fields, NOISE, options=options), feature_schema(options)
        assert table.columns.to_list() == schema["name"].to_list() and schema["name"].is_unique
        assert (schema[["unit", "source", "description"]] != "").all(axis=None)
        assert not [name for name in feature_columns(options) if name.startswith(("band_missing", "x_px", "empty"))]


def test_pixels_that_cannot_be_used_are_refused_with_their_value_and_range(fields):
    with pytest.raises(PixelError, match=r"3 bands g, r, i"):
        patch_features(fields[:, :2], NOISE)
    with pytest.raises(PixelError, match=r"64 x 64 px are too small: pixels = 128"):
        patch_features(fields[:, :, :64, :64], NOISE)
    with pytest.raises(PixelError, match=r"noise\[0, r\] = .*0\.0.* outside its allowed range \(0, inf\)"):
        patch_features(fields, [0.1, 0.0, 0.1])
    with pytest.raises(OptionError, match=r"glcm_levels = 1 is outside its allowed range \[2, 256\]"):
        PatchOptions(glcm_levels=1)
    images = fields.copy()
    images[1, 2] = np.nan
    with pytest.raises(PixelError, match=r"images\[1\] has no pixel with data in band i"):
        patch_features(images, NOISE, options=PatchOptions(on_missing="raise"))
    images[1, 2] = 0.0
    images[2, 0, 43:86, :43] = np.nan
    with pytest.raises(PixelError, match=r"images\[2\] .* patch p10 of band g"):
        patch_features(images, NOISE, options=PatchOptions(on_missing="raise"))
