"""The gate's glue: truth validates and decides nothing; every supernova has one row in the experts' table."""

import numpy as np
import pandas as pd
import pytest

from skytrace.pipelines.supernova import stage_three
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.population_options import PopulationOptions

OPTIONS = OutlierOptions(mixtures={"brightness": ["ln_k_j_star"]})


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(7)
    n = 200
    names = np.array([f"sn{k:03d}" for k in range(n)])
    residual = rng.normal(0.0, 0.1, n)
    residual[:10] += 2.0
    scores = pd.DataFrame(
        {"snid": names, "held_out": np.arange(n) >= 180, "residual_mag": residual, "mu_err_mag": 0.1,
         "prob_ia": np.nan, "elpd": -(residual**2), "model": "flat_lcdm"}
    )  # fmt: skip
    elpd = pd.DataFrame({"snid": names, "elpd_loo": -(residual**2), "pareto_k": 0.1, "posterior": "flat_lcdm"})[:180]
    fits = pd.DataFrame({"snid": names[:150], "chi2": 10.0, "ndof": 10, "skew": 0.0})
    truth = pd.DataFrame({"snid": names, "kind": np.where(np.arange(n) < 10, "non_ia", "ia")})
    return {"scores": scores, "elpd": elpd, "fits": fits, "truth": truth}


def _gated(tables, truth):
    return stage_three.find_outliers(
        tables["scores"], tables["elpd"], tables["fits"], truth, PopulationOptions(), OPTIONS
    )


def test_truth_changes_the_report_and_no_row_of_the_table(tables):
    truth = tables["truth"]
    gated, report = _gated(tables, truth)
    other, lied = _gated(tables, truth.assign(kind=truth["kind"].to_numpy()[::-1]))
    unknown, silent = _gated(tables, truth.iloc[:0])
    pd.testing.assert_frame_equal(gated, other)
    pd.testing.assert_frame_equal(gated, unknown)
    assert report["known_by"]["truth"]["auc"]["log_odds"]["value"] == 1.0
    assert lied["known_by"]["truth"]["auc"]["log_odds"]["value"] < 0.8
    assert list(silent["known_by"]) == ["prob_ia"]
    assert silent["known_by"]["prob_ia"]["n"] == 0
    assert report["n_outliers"] == 10
    assert report["sides"]["n_fainter"] == 10


def test_the_experts_table_has_every_supernova_once(tables):
    gated, _ = _gated(tables, tables["truth"])
    columns = [name for name in stage_three._OF_FITS if name not in tables["fits"]]
    fits = tables["fits"].assign(**dict.fromkeys(columns, 0.0))
    extra = fits.iloc[:1].assign(snid="only-fitted")
    left_out = pd.DataFrame({"snid": ["only-fitted"], "reason": ["no_alpha"]})
    joined = stage_three.join_supernovae(pd.concat([fits, extra], ignore_index=True), left_out, gated)
    assert joined["snid"].is_unique
    assert joined["snid"].is_monotonic_increasing
    assert len(joined) == 201
    assert joined.set_index("snid").loc["only-fitted", "left_out_because"] == "no_alpha"
    assert joined["p_outlier"].notna().sum() == 200
