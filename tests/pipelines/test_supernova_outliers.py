"""The gate's glue: truth validates and decides nothing; every supernova has one row in the experts' table."""

import numpy as np
import pandas as pd
import pytest
import yaml

from skytrace.datasets import AtomicCSVDataset
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


@pytest.mark.parametrize(
    ("name", "number", "text"), [("rejections", "mjd", "band"), ("hubble_left_out", "z_hel", "survey")]
)
def test_ledgers_give_names_back_as_they_were_written(repository, tmp_path, name, number, text):
    entries = yaml.safe_load((repository / "conf/base/catalog_supernova.yml").read_text())
    entry = {key: value for key, value in entries[f"supernova.{name}"].items() if key in ("load_args", "save_args")}
    ledger = AtomicCSVDataset(filepath=str(tmp_path / "ledger.csv"), **entry)
    table = pd.DataFrame({"snid": ["0012", "NA", "1e5"], text: ["nan", "7", "r"], number: [0.5, np.nan, 2.0]})
    ledger.save(table.assign(reason="any"))
    found = ledger.load()
    assert found["snid"].tolist() == ["0012", "NA", "1e5"]
    assert found[text].tolist() == ["nan", "7", "r"]
    np.testing.assert_array_equal(found[number], [0.5, np.nan, 2.0])


def test_the_experts_table_accounts_once_for_every_supernova_that_came_in(tables):
    gated, _ = _gated(tables, tables["truth"])
    columns = [name for name in stage_three._OF_FITS if name not in tables["fits"]]
    fits = tables["fits"].assign(**dict.fromkeys(columns, 0.0))
    extra = fits.iloc[:1].assign(snid="only-fitted")
    fits = pd.concat([fits, extra], ignore_index=True)
    left_out = pd.DataFrame({"snid": ["only-fitted"], "reason": ["no_alpha"]})
    cuts = pd.DataFrame({"snid": ["cut-a", "cut-b"], "removed_by": ["signal", "redshift"]})
    quality = pd.concat([fits[["snid"]].assign(removed_by=""), cuts], ignore_index=True).assign(survey="T", z_hel=0.4)
    rejections = pd.DataFrame(
        {"snid": ["sn000", "all-bad", "all-bad", " "], "reason": [*["flux_not_finite"] * 3, "no_snid"]}
    )
    unseen = pd.DataFrame({"snid": ["all-bad", "no-photometry"], "survey": "T", "z_hel": 0.5})
    objects = pd.concat([quality[["snid", "survey", "z_hel"]], unseen], ignore_index=True)
    joined = stage_three.join_supernovae(objects, rejections, quality, fits, left_out, gated)
    assert joined["snid"].is_unique
    assert joined["snid"].is_monotonic_increasing
    assert set(joined["snid"]) == set(objects["snid"]) | set(gated["snid"])
    by_name = joined.set_index("snid")
    published_only = set(gated["snid"]) - set(fits["snid"])  # a Hubble table is inferred from, without light curves
    assert len(published_only) == 50
    assert by_name.loc[sorted(published_only), "removed_by"].eq("no_light_curve").all()
    removed = by_name.loc[by_name["removed_by"] != "", "removed_by"].drop(published_only).to_dict()
    assert removed == {
        "cut-a": "signal", "cut-b": "redshift", "all-bad": "validation", "no-photometry": "no_light_curve",
    }  # fmt: skip
    assert by_name.loc[["cut-a", "no-photometry"], "z_hel"].tolist() == [0.4, 0.5]
    assert by_name["left_out_because"].dropna().to_dict() == {"only-fitted": "no_alpha"}
    assert set(joined.loc[joined["removed_by"] == "", "snid"]) == set(fits["snid"])
    assert joined["p_outlier"].notna().sum() == 200
