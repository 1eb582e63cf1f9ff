"""What cluster_pu does with input that is not what it should be: a clear error, or a flag; never a silent number."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, DatasetError

from skytrace.clusters.feature_table import feature_groups, filled_features, fit_filling
from skytrace.clusters.options import PatchOptions
from skytrace.errors import CatalogueError, OptionError, PixelError, SurveyError
from skytrace.pipelines.cluster_pu.estimators import split_fields
from skytrace.pipelines.cluster_pu.features import field_features
from skytrace.pipelines.cluster_pu.options import FeatureOptions, PriorOptions
from skytrace.pipelines.cluster_pu.triage import rank_candidates
from skytrace.sky.split import SplitOptions
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions

PIXELS = 64
OPTIONS = FeatureOptions(patches=PatchOptions(pixels=PIXELS, pool_outer=True))


@pytest.fixture(scope="module")
def damaged():
    """Four fields: whole, without i, without data in the upper left patch, without any data."""
    survey = MockClusters(MockClusterOptions(n_clusters=4, pixels=PIXELS, threads=1))
    cutouts = survey.cutouts(survey.clusters()["cluster_id"])
    image, noise = cutouts.image.copy(), cutouts.noise.copy()
    image[1, 2], noise[1, 2] = np.nan, np.nan
    end = OPTIONS.patches.edges[1]
    image[2, :, :end, :end] = np.nan
    image[3], noise[3] = np.nan, np.nan
    missing = np.isnan(image).mean(axis=(2, 3))
    return dataclasses.replace(cutouts, image=image, noise=noise, missing_fraction=missing)


def test_a_missing_band_and_an_empty_patch_are_flagged_and_a_model_reads_no_nan(damaged):
    table = field_features(damaged, OPTIONS)
    assert table["band_missing_i"].to_list() == [0, 1, 0, 1]
    assert table["band_missing_g"].to_list() == [0, 0, 0, 1]
    assert table["empty_patches"].to_list() == [0, 9, 1, 9]
    # what the other bands tell is kept, what needs the missing one is not known
    assert np.isfinite(table.loc[1, ["mean_g_p11", "g_minus_r_p11"]].to_numpy(dtype=float)).all()
    assert table.loc[1, ["mean_i_p11", "r_minus_i_p11"]].isna().all()
    assert np.isfinite(table.loc[2, ["r_minus_i_p11", "r_minus_i_outer_mean"]].to_numpy(dtype=float)).all()
    groups = feature_groups(OPTIONS.patches)
    columns = [name for group in ("patches", "cutout", "peak_colours") for name in groups[group]]
    filling = fit_filling(table.iloc[[0, 2]], columns)
    filled = filled_features(table, filling)
    assert np.isfinite(filled.to_numpy()).all()
    assert filled.loc[3, "mean_i_p11"] == table.loc[[0, 2], "mean_i_p11"].median()


def test_what_is_missing_is_said_beside_the_candidate(damaged):
    table = field_features(damaged, OPTIONS)
    ids = table["cluster_id"]
    n = 12  # the fields three times: the calibration needs known lenses and others
    repeated = pd.concat([table.assign(cluster_id=ids + f"-{k}") for k in range(3)], ignore_index=True)
    names = repeated["cluster_id"]
    known = np.arange(n) < 4
    logits = pd.DataFrame(
        {
            "cluster_id": names, "cell": np.arange(n), "split": "val", "known_lens": known,
            "stack": np.linspace(2, -2, n), "logit_unlabelled": np.linspace(0, -4, n),
            "logit": np.linspace(-5, -9, n),
        }
    )  # fmt: skip
    clusters = pd.DataFrame({"cluster_id": names, "ra": 1.0, "dec": 2.0, "redshift": 0.3, "richness": 30.0})
    share = np.tile(damaged.missing_fraction.max(axis=1), 3)
    fields = pd.DataFrame({"cluster_id": names, "padded_fraction": 0.0, "missing_fraction": share})
    anomalies = pd.DataFrame({"cluster_id": names, "distance": 1.0, "tail_share": 0.5, "anomalous": False})
    prior = PriorOptions(unlabelled=0.1, n_draws=10)
    ranked = rank_candidates(clusters, fields, repeated, logits, anomalies, prior).set_index("cluster_id")
    flags = ranked["flags"].loc[[f"{ids[k]}-1" for k in range(4)]].to_list()
    assert "without data" not in flags[0]
    assert "100 % without data; 9 patches without data in a band" in flags[1]
    assert "1 patches without data in a band" in flags[2] and "11 % without data" in flags[2]
    assert "100 % without data" in flags[3]


def test_a_worse_sky_leaves_a_missing_band_missing_and_the_others_as_they_are(damaged):
    from skytrace.clusters.worse_sky import SkyShift, worsened_fields

    normals = np.random.default_rng(1).standard_normal(damaged.image.shape, dtype=np.float32)
    worse, _, _ = worsened_fields(
        damaged.image, damaged.noise, damaged.psf, shift=SkyShift("both", 1.2, 0.5), normals=normals,
        pixel_scale_arcsec=damaged.pixel_scale_arcsec,
    )  # fmt: skip
    np.testing.assert_array_equal(np.isnan(worse), np.isnan(damaged.image))


def test_cutouts_of_another_size_than_the_options_say_are_refused(damaged):
    with pytest.raises(PixelError, match="cutouts of 64 x 64 px are too small: pixels = 128"):
        field_features(damaged, FeatureOptions())


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (0, "train has 0 known lenses"),
        (1, "(train|val) has [01] known"),
        (70, r"val has \d+ known lenses and 0 unlabelled"),
    ],
)
def test_too_few_known_lenses_or_unlabelled_fields_end_the_run_before_anything_is_fitted(known, words):
    rng = np.random.default_rng(3)
    n = 100
    clusters = pd.DataFrame(
        {
            "cluster_id": [f"c{k}" for k in range(n)], "ra": rng.uniform(0, 360, n), "dec": rng.uniform(-60, 60, n),
            "known_lens": np.arange(n) < known,
        }
    )  # fmt: skip
    options = SplitOptions(nside=16, fractions=(0.5, 0.25, 0.25), seed=1)
    if known > 1:  # all fields of the calibration fold are known, too few elsewhere
        split = split_fields(clusters.assign(known_lens=np.arange(n) % 3 == 0), clusters, options)[0]
        clusters["known_lens"] = (split["split"] == "val") | (np.arange(n) % 3 == 0)
    with pytest.raises(CatalogueError, match=words):
        split_fields(clusters, clusters, options)


@pytest.mark.parametrize("prior", [0.0, 1.0])
def test_a_prior_of_none_or_all_is_refused(prior):
    for key in ("unlabelled", "sky"):
        with pytest.raises(OptionError, match=rf"{key} = {prior} is outside its allowed range \(0, 1\)"):
            PriorOptions(**{key: prior})
    with pytest.raises(OptionError, match="sweep"):
        PriorOptions(sweep=(1e-3, prior))


def test_an_unknown_survey_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match="RedMapperDataset"):
        DataCatalog.from_config({"cluster_survey": {"type": "skytrace.datasets.RedMapperDataset"}})["cluster_survey"]
    entry = {
        "type": "skytrace.datasets.ClusterMosaicDataset", "folder": "clusters/nowhere",
        "options": {"images": {"g": "g.fits", "r": "r.fits", "i": "i.fits"}},
    }  # fmt: skip
    survey = DataCatalog.from_config({"cluster_survey": entry}).load("cluster_survey")
    with pytest.raises(SurveyError, match=r"no folder .*clusters/nowhere.*FITS mosaics of g, r and i"):
        survey.clusters()
