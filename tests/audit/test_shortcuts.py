"""A planted offset is red, noise is green, and the AUC is that of scikit-learn and of learning.metrics."""

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.options import ShortcutOptions
from skytrace.audit.resampling import resample_counts, resampled_auc
from skytrace.audit.shortcuts import shortcut_aucs, shortcut_features, shortcut_summary
from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.metrics import roc_auc
from skytrace.statistics import bootstrap_interval


@pytest.fixture
def sample():
    """600 galaxies and 120 lenses in 60 sky cells; 40 features of pure noise."""
    rng = np.random.default_rng(3)
    labels = (np.arange(720) % 6 == 0).astype(int)
    names = [f"{name}_{band}" for name in ("background_median", "background_mad", "percentile_1", "dog_core", "nobs",
             "psfsize", "psfdepth", "galdepth", "asymmetry", "edge_score", "annulus_4_16", "flux", "percentile_50")
             for band in "grz"]  # fmt: skip
    table = pd.DataFrame({name: rng.normal(size=720) for name in names})
    return table.assign(ebv=rng.normal(size=720)), labels, rng.integers(0, 60, 720)


@pytest.mark.parametrize("ties", [False, True])
def test_the_auc_is_that_of_scikit_learn_and_of_our_metrics(ties):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 500)
    values = rng.normal(size=500) + 0.4 * labels
    values = np.round(values) if ties else values
    once = np.ones((1, 500), dtype=np.uint16)
    assert resampled_auc(values, labels == 1, once)[0] == pytest.approx(roc_auc_score(labels, values), abs=1e-12)
    assert resampled_auc(values, labels == 1, once)[0] == pytest.approx(roc_auc(values, labels), abs=1e-12)
    # a count is a repetition: of rows, in scikit-learn's hands
    counts = resample_counts(labels == 1, None, n_resamples=3, seed=1)
    for draw, auc in zip(counts, resampled_auc(values, labels == 1, counts), strict=True):
        rows = np.repeat(np.arange(500), draw)
        assert auc == pytest.approx(roc_auc_score(labels[rows], values[rows]), abs=1e-12)


def test_the_interval_is_that_of_the_row_by_row_bootstrap():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 400)
    features = pd.DataFrame({"ebv": rng.normal(size=400) + 0.5 * labels})
    row = shortcut_aucs(features, labels, options=ShortcutOptions(n_resamples=2000)).iloc[0]
    peer = bootstrap_interval(roc_auc, features["ebv"], labels, n_resamples=1000, seed=5, strata=labels)
    assert row["auc"] == pytest.approx(peer.value, abs=1e-12)
    assert row["standard_error"] == pytest.approx(peer.standard_error, rel=0.08)
    assert [row["low_68"], row["high_68"]] == pytest.approx(peer.intervals[0.6827], abs=0.004)


def test_a_brightness_offset_between_the_classes_is_red_and_suspect(sample):
    table, labels, cells = sample
    table["background_median_r"] += 1.0 * labels
    table["nobs_z"] -= 0.5 * labels
    result = shortcut_aucs(shortcut_features(table), labels, cells=cells).set_index("feature")
    # two unit Gaussians one sigma apart: AUC = Phi(1 / sqrt 2) = 0.760
    assert result.loc["background_median_r", "auc"] == pytest.approx(0.760, abs=0.06)
    assert result.loc["background_median_r", ["colour", "higher_in", "kind"]].tolist() == [
        "red", "lenses", "background",
    ]  # fmt: skip
    assert result.loc["nobs_z", "auc"] == pytest.approx(0.638, abs=0.06)
    assert result.loc["nobs_z", "higher_in"] == "galaxies"
    summary = shortcut_summary(result.reset_index())
    assert "background_median_r" in summary["suspect"] and "match the classes" in summary["verdict"]


def test_the_light_of_the_deflector_is_coloured_but_not_suspect(sample):
    table, labels, cells = sample
    table["annulus_16_28_z"] = np.random.default_rng(1).normal(size=720) + 1.5 * labels
    summary = shortcut_summary(shortcut_aucs(shortcut_features(table), labels, cells=cells))
    assert summary["coloured"] == [{"feature": "annulus_16_28_z", "kind": "outskirts", "colour": "red"}]
    assert summary["suspect"] == [] and "no evidence of lensing" in summary["verdict"]


def test_shuffled_labels_are_green_at_the_stated_rate(sample):
    """20 shuffles of 40 features: as many coloured as the normal approximation says, which is hardly any."""
    table, labels, cells = sample
    rng = np.random.default_rng(9)
    coloured, stated = 0, 0.0
    for _ in range(20):
        result = shortcut_aucs(table, rng.permutation(labels), cells=cells, options=ShortcutOptions(n_resamples=100))
        coloured += int((result["colour"] != "green").sum())
        stated += float(result["chance"].sum())
    assert stated < 0.5
    assert coloured <= 1
    # with laxer bounds there is something to count: the rate itself is right
    loose, rate = ShortcutOptions(yellow=0.51, red=0.9, n_resamples=100), []
    for _ in range(20):
        result = shortcut_aucs(table, rng.permutation(labels), cells=cells, options=loose)
        rate.append([(result["colour"] != "green").mean(), result["chance"].mean()])
    found, expected = np.mean(rate, axis=0)
    assert found == pytest.approx(expected, abs=0.05)


def test_whole_cells_are_drawn_so_that_a_feature_of_the_cell_is_uncertain(sample):
    """One value a cell: the rows of a cell are not independent, and the interval must say so."""
    _, _, cells = sample
    rng = np.random.default_rng(4)
    labels = (rng.random(60) < 0.3).astype(int)[cells]  # whole cells of lenses
    features = pd.DataFrame({"psfsize_r": rng.normal(size=60)[cells]})
    by_row = shortcut_aucs(features, labels).iloc[0]
    by_cell = shortcut_aucs(features, labels, cells=cells).iloc[0]
    assert by_cell["auc"] == by_row["auc"]
    assert by_cell["standard_error"] > 2.0 * by_row["standard_error"]


def test_absence_and_types_are_features_of_their_own(sample):
    table, labels, _ = sample
    table.loc[labels == 1, "asymmetry_g"] = np.nan
    table["type"] = np.where(labels == 1, "DEV", "SER")
    features = shortcut_features(table)
    result = shortcut_aucs(features, labels).set_index("feature")
    assert result.loc["asymmetry_g:missing", ["auc", "colour", "kind"]].tolist() == [1.0, "red", "gaps"]
    assert result.loc["asymmetry_g", "colour"] == "not judged"
    assert result.loc["type=DEV", "auc"] == 1.0
    assert "label" not in shortcut_features(table.assign(label=labels)).columns


def test_bad_inputs_are_refused(sample):
    table, labels, cells = sample
    with pytest.raises(CatalogueError, match="one class only"):
        shortcut_aucs(table, np.zeros(720, dtype=int))
    with pytest.raises(CatalogueError, match="60 sky cells for 720"):
        shortcut_aucs(table, labels, cells=cells[:60])
    with pytest.raises(CatalogueError, match="none of the features"):
        shortcut_features(pd.DataFrame({"label": [0, 1]}))
    with pytest.raises(OptionError, match="red"):
        ShortcutOptions(yellow=0.8, red=0.7)
