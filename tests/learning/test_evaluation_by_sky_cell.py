"""Galaxies of one sky cell are no independent trials: the intervals of an evaluation know it, and say so."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.learning import EvaluationOptions, evaluate_scores
from skytrace.learning.metrics import roc_auc

OPTIONS = EvaluationOptions(n_resamples=200, seed=1)


def scores_by_cell(*, seed=0, n_cells=60, galaxies=9, shared=1.0):
    """Three lenses and some galaxies a cell; the galaxies of a cell move together by ``shared`` (in logit)."""
    rng = np.random.default_rng(seed)
    label = np.tile(np.repeat([1, 0], [3, galaxies]), n_cells)
    cell = np.repeat(rng.permutation(10 * n_cells)[:n_cells], 3 + galaxies)
    luck = np.repeat(shared * rng.normal(size=n_cells), 3 + galaxies)
    logit = rng.normal(size=len(label)) + np.where(label == 1, 1.5, luck)
    score = 1.0 / (1.0 + np.exp(-logit))
    tier = np.where(label == 1, "A", "")
    return pd.DataFrame({"score": score, "label": label, "tier": tier, "confuser_category": "", "healpix_128": cell})


def width(report):
    auc = report["ranking"]["auc"]
    return auc["high_68"] - auc["low_68"]


def test_cells_that_share_their_luck_widen_the_auc_interval_by_the_scatter_that_new_skies_show():
    table = scores_by_cell()
    cells = evaluate_scores(table, threshold=0.5, options=OPTIONS)
    stamps = evaluate_scores(table.drop(columns="healpix_128"), threshold=0.5, options=OPTIONS)
    skies = [scores_by_cell(seed=seed) for seed in range(1, 300)]
    scatter = np.std([roc_auc(sky["score"], sky["label"]) for sky in skies])
    assert (cells["resampled"], stamps["resampled"]) == ("sky cells", "stamps")
    assert "60 cells" in cells["resampled_note"] and "too narrow" in stamps["resampled_note"]
    assert cells["ranking"]["auc"]["value"] == stamps["ranking"]["auc"]["value"]
    assert width(cells) == pytest.approx(2 * scatter, rel=0.25)
    # galaxies of one cell correlate by 1/2: 9 of them count as 9 / (1 + 8 / 2); the lenses are independent
    assert width(stamps) < 0.75 * width(cells)
    assert cells["by_tier"]["A"]["auc"]["low_68"] == cells["ranking"]["auc"]["low_68"]


def test_cells_without_shared_luck_give_the_interval_of_stamps():
    table = scores_by_cell(shared=0.0, seed=4)
    options = EvaluationOptions(n_resamples=1000, seed=1)
    cells = evaluate_scores(table, threshold=0.5, options=options)
    stamps = evaluate_scores(table.drop(columns="healpix_128"), threshold=0.5, options=options)
    assert width(cells) == pytest.approx(width(stamps), rel=0.2)


def test_a_handful_of_cells_is_not_resampled_and_the_report_says_so():
    report = evaluate_scores(scores_by_cell(n_cells=9), threshold=0.5, options=OPTIONS)
    assert report["resampled"] == "stamps"
    assert "9 sky cells, 10 needed" in report["resampled_note"]


def test_intervals_of_sky_cells_cover_the_auc_of_the_whole_sky_and_those_of_stamps_do_not():
    whole = scores_by_cell(seed=10_000, n_cells=20_000)
    truth, covered = roc_auc(whole["score"], whole["label"]), {"sky cells": 0, "stamps": 0}
    from skytrace.statistics import bootstrap_interval

    for seed in range(150):
        sky = scores_by_cell(seed=seed, shared=1.0, galaxies=20)
        for name, how in (("sky cells", {"clusters": sky["healpix_128"]}), ("stamps", {"strata": sky["label"]})):
            found = bootstrap_interval(roc_auc, sky["score"], sky["label"], seed=seed, n_resamples=100, **how)
            low, high = found.intervals[0.6827]
            covered[name] += low <= truth <= high
    assert 0.58 < covered["sky cells"] / 150 < 0.78
    assert covered["stamps"] / 150 < 0.50


def test_a_row_without_its_cell_is_refused():
    table = scores_by_cell().astype({"healpix_128": float})
    table.loc[3, "healpix_128"] = np.nan
    with pytest.raises(CatalogueError, match=r"1 row\(s\) have no healpix_128"):
        evaluate_scores(table, threshold=0.5, options=OPTIONS)
