import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.learning.metrics import roc_auc
from skytrace.learning.options import StrataEvaluationOptions, StratumOptions
from skytrace.learning.strata_evaluation import NO_VALUE, evaluate_strata, stratum_names, validation_test_gap
from skytrace.statistics import beta_interval

FAST = StrataEvaluationOptions(n_resamples=100)


def scored(n: int, *, seed: int, skill=2.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(int)
    return pd.DataFrame(
        {
            "score": 1 / (1 + np.exp(-rng.normal(skill * (2 * labels - 1) / 2, 1.0))),
            "label": labels,
            "tier": np.where(labels == 1, np.where(np.arange(n) % 8 == 0, "A", "B"), ""),
            "psfsize_r": rng.uniform(1.0, 2.0, n),
            "psfdepth_r": rng.uniform(23.0, 24.0, n),
            "nobs_z_bin": rng.choice(["3-5", "6-10", "11+"], n),
            "type_bin": rng.choice(["DEV", "SER"], n),
        }
    )


def test_bins_are_half_open_and_ordered_and_missing_values_stand_apart():
    values = pd.Series([5.0, 9.999, 10.0, 50.0, np.nan, 1.0])
    names = stratum_names(values, StratumOptions("arc_snr", edges=(5.0, 10.0)))
    assert list(names) == ["5 to 10", "5 to 10", ">= 10", ">= 10", NO_VALUE, "< 5"]
    assert list(names.categories) == ["< 5", "5 to 10", ">= 10", NO_VALUE]
    text = stratum_names(pd.Series(["11+", "3-5", "", "6-10", None]), StratumOptions("nobs_z_bin"))
    assert list(text.categories) == ["3-5", "6-10", "11+", NO_VALUE]
    assert list(text)[2] == list(text)[4] == NO_VALUE
    quarters = stratum_names(pd.Series(np.arange(100.0)), StratumOptions("x", quantiles=4))
    assert quarters.value_counts().tolist() == [25, 25, 25, 25, 0]


def test_recall_and_false_positives_of_a_stratum_are_counts_with_jeffreys_intervals():
    table = scored(800, seed=0)
    result = evaluate_strata(table, threshold=0.6, options=FAST)
    for record in result["type_bin"]["strata"]:
        rows = table[table["type_bin"] == record["stratum"]]
        lenses = rows.loc[rows["label"] == 1, "score"] >= 0.6
        assert (record["recall"]["k"], record["recall"]["n"]) == (lenses.sum(), len(lenses))
        low, high = beta_interval(lenses.sum(), len(lenses), 0.9545)
        assert (record["recall"]["low_95"], record["recall"]["high_95"]) == (low, high)
        assert record["auc"]["value"] == roc_auc(rows["score"], rows["label"])
        assert record["auc"]["low_95"] < record["auc"]["value"] < record["auc"]["high_95"]
    for column in ("psfsize_r", "psfdepth_r", "nobs_z_bin", "type_bin", "tier"):
        strata = result[column]["strata"]
        assert sum(r["lenses"] for r in strata) == 200
        assert sum(r["galaxies"] for r in strata) == 600
        assert sum(r["recall"]["k"] for r in strata) == (table.loc[table["label"] == 1, "score"] >= 0.6).sum()


def test_a_stratum_of_one_class_has_no_calibration_and_says_why():
    result = evaluate_strata(scored(400, seed=1), threshold=0.5, options=FAST)
    tiers = {record["stratum"]: record for record in result["tier"]["strata"]}
    assert set(tiers) == {"A", "B", NO_VALUE}
    assert tiers["A"]["ece"] == {"value": None, "reason": "the stratum holds lenses only"}
    assert tiers[NO_VALUE]["auc"]["reason"] == "the stratum holds galaxies only"
    assert tiers[NO_VALUE]["recall"]["value"] is None
    assert "no column 'arc_evidence'" in result["arc_evidence"]["reason"]


def test_a_gap_made_by_the_mix_of_strata_vanishes_within_them():
    """Validation has mostly easy rows, test mostly hard ones: a gap over all, and none within."""
    parts = {}
    for seed, (name, easy) in enumerate((("val", 3000), ("test", 600))):
        rows = [scored(easy, seed=seed, skill=4.0).assign(type_bin="DEV"),
                scored(3600 - easy, seed=10 + seed, skill=0.5).assign(type_bin="SER")]  # fmt: skip
        parts[name] = pd.concat(rows).assign(nobs_z_bin="3-5")
    result = validation_test_gap(parts["val"], parts["test"], options=FAST)
    assert result["global_gap"]["low_95"] > 0.1
    assert abs(result["max_stratified_gap"]["value"]) < result["max_stratified_gap"]["chance_95"]
    assert result["max_stratified_gap"]["p_value"] > 0.05
    assert {r["stratum"] for r in result["strata"]} == {"3-5 / DEV", "3-5 / SER"}


def test_overfitting_shows_within_strata():
    validation, test = scored(2000, seed=5, skill=3.0), scored(2000, seed=6, skill=1.5)
    largest = validation_test_gap(validation, test, options=FAST)["max_stratified_gap"]
    assert largest["value"] > largest["chance_95"]
    assert largest["p_value"] == pytest.approx(1 / 101)
    same = validation_test_gap(test, test, options=FAST)
    assert same["global_gap"]["value"] == 0.0
    assert same["max_stratified_gap"]["p_value"] == 1.0


def test_chance_knows_that_galaxies_of_one_sky_cell_are_no_independent_trials():
    """Skies without any gap, whose cells share their luck: p < 0.05 comes one time in twenty, and not by rows."""

    def sky(seed: int) -> list[pd.DataFrame]:
        rng = np.random.default_rng(seed)
        cell = np.repeat(np.arange(40), 12)
        label = np.tile(np.arange(12) % 4 == 0, 40).astype(int)
        luck = rng.normal(0.0, 2.5, 40)[cell]
        score = 1 / (1 + np.exp(-(rng.normal(size=len(cell)) + np.where(label == 1, 1.0 + luck, 0.0))))
        table = pd.DataFrame({"score": score, "label": label, "healpix_128": cell, "nobs_z_bin": "", "type_bin": ""})
        in_test = np.isin(cell, rng.permutation(40)[:20])
        return [table[~in_test], table[in_test]]

    def p_values(columns: list[str], permuted: str) -> np.ndarray:
        gaps = [validation_test_gap(*(part[columns] for part in sky(seed)), options=FAST) for seed in range(20)]
        assert {gap["max_stratified_gap"]["permuted"] for gap in gaps} == {permuted}
        return np.array([gap["max_stratified_gap"]["p_value"] for gap in gaps])

    columns = ["score", "label", "nobs_z_bin", "type_bin"]
    by_cell = p_values([*columns, "healpix_128"], "sky cells")
    by_row = p_values(columns, "stamps")
    assert (by_cell < 0.05).sum() <= 4  # of 20: mean 1, Poisson 99.6 %
    assert np.mean(by_cell) == pytest.approx(0.5, abs=3.3 * np.sqrt(1 / 12 / 20))
    assert (by_row < 0.05).sum() > 4


def test_a_gap_of_every_cell_shows_where_whole_cells_move():
    cell = np.arange(2000) // 50
    validation = scored(2000, seed=5, skill=3.0).assign(healpix_128=cell)
    largest = validation_test_gap(validation, scored(2000, seed=6, skill=1.5).assign(healpix_128=100 + cell),
                                  options=FAST)["max_stratified_gap"]  # fmt: skip
    assert largest["permuted"] == "sky cells" and largest["p_value"] == pytest.approx(1 / 101)


def test_strata_too_small_are_listed_and_not_used():
    validation, test = scored(300, seed=7), scored(300, seed=8)
    validation.loc[:5, "type_bin"] = "REX"
    result = validation_test_gap(validation, test, options=FAST)
    assert any(record["stratum"].endswith("REX") for record in result["skipped"])
    assert not any(record["stratum"].endswith("REX") for record in result["strata"])
    nothing = validation_test_gap(
        validation, test, options=StrataEvaluationOptions(n_resamples=100, min_per_class=10_000)
    )
    assert nothing["max_stratified_gap"]["value"] is None


def test_impossible_gaps_and_strata_are_named():
    validation = scored(100, seed=9)
    with pytest.raises(CatalogueError, match="both lenses and galaxies"):
        validation_test_gap(validation, validation[validation["label"] == 0], options=FAST)
    with pytest.raises(CatalogueError, match="lack nobs_z_bin"):
        validation_test_gap(validation.drop(columns="nobs_z_bin"), validation.drop(columns="nobs_z_bin"), options=FAST)
    with pytest.raises(OptionError, match="do not rise"):
        StratumOptions("x", edges=(2.0, 1.0))
    with pytest.raises(OptionError, match="both edges and quantiles"):
        StratumOptions("x", edges=(2.0,), quantiles=3)
