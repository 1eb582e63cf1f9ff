"""The published tables become a SelectionFunction without loss, and two surfaces are compared cell by cell."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skytrace.errors import CatalogueError, OptionError, SelectionEnvelopeError
from skytrace.selection.completeness import CompletenessOptions, completeness_table
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.published import (
    STATEMENTS,
    Statement,
    common_marginals,
    comparability,
    compare_surfaces,
    comparison_summary,
    difference_interval,
    published_table,
    read_published,
)
from skytrace.selection.selection_function import SelectionFunction

GRID = SelectionGrid(GridOptions((1.0, 1.25, 1.5), (0.9, 1.05, 1.2), (23.0, 23.5), injections_per_cell=200))


def raw_table(*, injections=500, share=lambda theta, psf, depth: 0.1 * theta / psf) -> pd.DataFrame:
    """Columns of the published file: two thresholds, all magnitudes and one bin; no hosts at PSF 0.9, depth 23."""
    rows = []
    for theta, psf, depth, threshold in itertools.product((1.0, 1.25, 1.5), (0.9, 1.05, 1.2), (23.0, 23.5), (0.3, 0.8)):
        empty = psf == 0.9 and depth == 23.0
        n = 0 if empty else injections
        k = round(n * share(theta, psf, depth) * (1.0 if threshold == 0.3 else 0.5))
        head = {"theta_e": theta, "psf_fwhm": psf, "depth_5sig": depth, "threshold": threshold}
        head["fpr_target"] = np.nan if threshold == 0.3 else 1e-3
        rows.append({**head, "source_mag_bin": "all", "n_injections": n, "n_detected": k})
        if not empty:  # the published bins have no rows for cells without hosts
            rows.append({**head, "source_mag_bin": "23-24", "n_injections": n // 3, "n_detected": min(k, n // 3)})
    table = pd.DataFrame(rows)
    with np.errstate(invalid="ignore"):
        table["completeness"] = table["n_detected"] / table["n_injections"].where(table["n_injections"] > 0)
    return table


@pytest.fixture
def folder(tmp_path):
    """A folder as it is published."""
    raw_table().to_parquet(tmp_path / "grid_no_poisson.parquet")
    meta = {"arch": "efficientnet_v2_s", "n_empty_cells": 3, "add_poisson_noise": False, "source_model": "Sersic"}
    (tmp_path / "grid_no_poisson_meta.json").write_text(json.dumps(meta))
    probe = {"linear_probe": {"cv_auc_mean": 0.997, "cv_auc_std": 0.003}}
    (tmp_path / "linear_probe.json").write_text(json.dumps(probe))
    scores = {"negatives": {"n_valid": 3000, "fpr_at_thresholds": {"p>0.3": 13 / 3000, "p>0.800 (FPR-derived)": 1e-3}}}
    (tmp_path / "real_lens_scores.json").write_text(json.dumps(scores))
    return tmp_path


@pytest.fixture(scope="module")
def injections() -> pd.DataFrame:
    """Ours: 200 a cell into 20 hosts, each host seen ten times in a cell and in all Einstein radii of a condition."""
    cells = GRID.cells()
    cell = np.repeat(cells["cell"].to_numpy(), 200)
    number = np.tile(np.arange(200), len(cells))
    host = number % 20
    rng = np.random.default_rng(5)
    # scores depend on the host: injections into one host succeed and fail together
    score = np.clip(0.25 + 0.5 * (host / 20) + 0.1 * rng.standard_normal(len(cell)), 0, 1)
    condition = cell % 6
    mode = np.where(condition < 2, "degraded", "matched")
    return pd.DataFrame({"cell": cell, "galaxy_id": [f"h{c}-{h}" for c, h in zip(condition, host, strict=True)],
                         "mode": mode, "score": score})  # fmt: skip


@pytest.fixture(scope="module")
def ours(injections) -> SelectionFunction:
    table = completeness_table(injections, GRID, options=CompletenessOptions((0.6, 0.5)))
    metadata = {"detector": "resnet18", "verdict": "GO", "threshold_default": 0.6, **{
        f"{axis}_definition": words for axis, words in GRID.definitions().items()
    }}  # fmt: skip
    return SelectionFunction.from_table(table, metadata=metadata)


def test_counts_states_and_intervals_come_from_the_published_counts(folder):
    surface = read_published(folder)
    answer = surface.probability(theta_e=1.5, psf_fwhm=1.2, depth=23.5)
    assert answer.n == 500
    assert answer.value == 63 / 500  # a share of 0.126
    posterior = stats.beta(63.5, 437.5)
    assert answer.low == pytest.approx(posterior.ppf(stats.norm.cdf(-1)), rel=1e-9)
    assert answer.high == pytest.approx(posterior.ppf(stats.norm.cdf(1)), rel=1e-9)
    assert answer.state == "ok"
    assert np.isnan(answer.n_hosts)  # hosts were never counted; a number would be made up
    assert np.isnan(answer.low_hosts)
    assert set(surface.table["interval_source"]) == {"counts", "none"}


def test_a_cell_without_hosts_is_no_hosts_and_not_zero(folder):
    surface = read_published(folder)
    empty = surface.probability(theta_e=1.0, psf_fwhm=0.9, depth=23.0, empty="nan")
    assert (empty.state, empty.mode, empty.n) == ("no_hosts", "none", 0)
    assert np.isnan(empty.value)
    with pytest.raises(SelectionEnvelopeError, match="no injections"):
        surface.probability(theta_e=1.0, psf_fwhm=0.9, depth=23.0)
    assert (surface.table["state"] == "no_hosts").sum() == 3 * 2  # three Einstein radii, two thresholds


def test_a_magnitude_bin_has_all_cells_and_those_that_its_file_omits_are_empty(folder):
    surface = read_published(folder, source_mag_bin="23-24")
    assert len(surface.table) == 18 * 2
    assert (surface.table["n"] == 0).sum() == 6
    assert surface.probability(theta_e=1.25, psf_fwhm=1.05, depth=23.5).n == 166
    assert surface.probability(theta_e=1.25, psf_fwhm=1.05, depth=23.5).state == "insufficient"
    assert "23-24 AB in r, unlensed" in surface.metadata["source_mag_bin"]


def test_where_no_counts_are_given_the_published_interval_is_kept_and_said_so():
    raw = raw_table().query("source_mag_bin == 'all' and threshold == 0.3").astype({"n_detected": float})
    row = (raw["theta_e"] == 1.5) & (raw["psf_fwhm"] == 1.2) & (raw["depth_5sig"] == 23.5)
    raw.loc[row, "n_detected"] = np.nan
    raw["ci68_lo"], raw["ci68_hi"], raw["ci95_lo"], raw["ci95_hi"] = 0.11, 0.14, 0.10, 0.16
    table = published_table(raw).set_index(["theta_e", "psf_fwhm", "depth"])
    kept, counted = table.loc[(1.5, 1.2, 23.5)], table.loc[(1.25, 1.2, 23.5)]
    assert kept["interval_source"] == "as published"
    assert (kept["low68"], kept["high68"], kept["low95"], kept["high95"]) == (0.11, 0.14, 0.10, 0.16)
    assert kept["completeness"] == 63 / 500
    assert counted["interval_source"] == "counts"
    assert counted["low68"] != 0.11


def test_the_verdict_is_that_of_their_own_probe(folder):
    surface = read_published(folder)
    assert surface.metadata["verdict"] == "NO-GO"
    assert not surface.validated
    assert "0.997" in surface.metadata["verdict_reason"]
    assert read_published(folder, probe_auc_max=0.999).metadata["verdict"] == "INSUFFICIENT"  # never GO: gates not run
    (folder / "linear_probe.json").unlink()
    assert read_published(folder).metadata["verdict"] == "INSUFFICIENT"


def test_each_threshold_says_its_false_positive_rate(folder):
    facts = {fact["threshold"]: fact for fact in read_published(folder).metadata["thresholds"]}
    assert facts[0.3]["fpr_target"] is None
    assert facts[0.3]["false_positive_rate"]["value"] == pytest.approx(13 / 3000)
    assert facts[0.3]["false_positive_rate"]["low68"] == pytest.approx(stats.beta(13.5, 2987.5).ppf(stats.norm.cdf(-1)))
    assert facts[0.8]["fpr_target"] == 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="n_detected"), "grid_no_poisson.parquet.*n_detected"),
        (lambda t: t.assign(n_detected=t["n_injections"] + 1), "grid_no_poisson.parquet, column n_detected"),
        (lambda t: t.assign(completeness=0.9), "grid_no_poisson.parquet, column completeness"),
        (lambda t: t.assign(n_injections=t["n_injections"] - 0.5), "grid_no_poisson.parquet, column n_injections"),
        (lambda t: t.assign(psf_fwhm=np.nan), "grid_no_poisson.parquet, column psf_fwhm"),
        (lambda t: pd.concat([t, t]), "grid_no_poisson.parquet: a cell appears twice"),
        (lambda t: t[t["psf_fwhm"] > 0.95], "grid_no_poisson.parquet, column n_injections: 0 empty cells.*say 3"),
    ],
)
def test_an_unusable_table_is_refused_naming_file_and_column(folder, change, words):
    change(raw_table()).to_parquet(folder / "grid_no_poisson.parquet")
    with pytest.raises(CatalogueError, match=words):
        read_published(folder)


def test_what_is_not_there_or_not_readable_is_named(folder):
    with pytest.raises(CatalogueError, match=r"grid_poisson.parquet is not in"):
        read_published(folder, photon_noise=True)
    with pytest.raises(CatalogueError, match="column source_mag_bin: no rows of '20-21'; there are 23-24, all"):
        read_published(folder, source_mag_bin="20-21")
    (folder / "grid_no_poisson_meta.json").write_text("{")
    with pytest.raises(CatalogueError, match=r"grid_no_poisson_meta.json cannot be read as a JSON object"):
        read_published(folder)
    (folder / "grid_no_poisson.parquet").write_bytes(b"no table")
    with pytest.raises(CatalogueError, match=r"grid_no_poisson.parquet cannot be read as a Parquet table"):
        read_published(folder)


@pytest.mark.parametrize("level", [0.6827, 0.9545])
@pytest.mark.parametrize("counts", [(20, 200, 5, 500), (0, 50, 3, 500), (0, 40, 0, 500), (150, 153.3, 31.5, 60)])
def test_the_interval_of_a_difference_is_that_of_the_two_posteriors(counts, level):
    k1, n1, k2, n2 = counts
    rng = np.random.default_rng(1)
    draws = rng.beta(k1 + 0.5, n1 - k1 + 0.5, 1_000_000) - rng.beta(k2 + 0.5, n2 - k2 + 0.5, 1_000_000)
    want = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    low, high = difference_interval(*counts, level)
    width = want[1] - want[0]
    value = k1 / n1 - k2 / n2
    assert low[0] == pytest.approx(min(want[0], value), abs=0.01 * width)
    assert high[0] == pytest.approx(max(want[1], value), abs=0.01 * width)


def test_the_interval_of_a_difference_covers_as_often_as_it_says():
    rng = np.random.default_rng(2)
    drawn = np.stack([rng.binomial(50, 0.16, 2000), rng.binomial(100, 0.1, 2000)])
    (k1, k2), often = np.unique(drawn, axis=1, return_counts=True)
    low, high = difference_interval(k1, 50, k2, 100, 0.6827)
    covered = np.average((low <= 0.06) & (high >= 0.06), weights=often)
    assert covered == pytest.approx(0.6827, abs=0.035)  # three standard errors of 2,000


def test_two_empty_counts_are_never_called_different():
    low, high = difference_interval([0, 0], [10, 500], [0, 0], [500, 10], 0.9545)
    assert (low <= 0).all()
    assert (high >= 0).all()


def test_cells_are_compared_where_both_measured_and_filled_ones_are_named(ours, folder):
    theirs = read_published(folder)
    table = compare_surfaces(ours, theirs)
    assert len(table) == 18
    assert table["role"].value_counts().to_dict() == {"both": 15, "filled_degraded": 3}
    filled = table[table["role"] == "filled_degraded"]
    assert ((filled["psf_fwhm"] == 0.9) & (filled["depth"] == 23.0)).all()
    assert filled["difference"].isna().all()
    assert not filled["excludes_zero"].any()
    row = table.query("theta_e == 1.5 and psf_fwhm == 1.2 and depth == 23.5").iloc[0]
    mine = ours.probability(theta_e=1.5, psf_fwhm=1.2, depth=23.5)
    assert row["completeness_ours"] == mine.value
    assert row["difference"] == pytest.approx(mine.value - 63 / 500)
    # host-aware: ten injections a host that succeed together are fewer trials, and the interval is the wider one
    assert (row["low68_ours"], row["high68_ours"]) == pytest.approx((mine.low_hosts, mine.high_hosts))
    assert row["high68_ours"] - row["low68_ours"] > 1.5 * (mine.high - mine.low)
    assert row["difference_high68"] - row["difference_low68"] > mine.high_hosts - mine.low_hosts
    assert table["same_width"].all()
    assert table["edge_theirs"].all()  # with two depths every cell lies in an outermost bin of theirs


def test_an_assumed_design_effect_of_theirs_widens_the_difference_only(ours, folder):
    theirs = read_published(folder)
    plain, wide = compare_surfaces(ours, theirs), compare_surfaces(ours, theirs, their_design_effect=4.0)
    both = plain["role"] == "both"
    assert plain["difference"][both].tolist() == wide["difference"][both].tolist()
    widths = [(t["high68_theirs"] - t["low68_theirs"])[both] for t in (plain, wide)]
    assert np.median(widths[1] / widths[0]) == pytest.approx(2.0, rel=0.03)  # square root of four


def test_a_coarser_grid_is_compared_at_common_centres_and_marked_as_wider(folder):
    coarse = SelectionGrid(GridOptions((1.0, 1.5), (0.9, 1.2), (23.0, 23.5)))
    cell = np.repeat(np.arange(coarse.n_cells), 200)
    sample = pd.DataFrame({"cell": cell, "galaxy_id": "h", "mode": "matched", "score": 0.7}).assign(
        galaxy_id=[f"h{i % 50}" for i in range(len(cell))]
    )
    ours = SelectionFunction.from_table(completeness_table(sample, coarse))
    table = compare_surfaces(ours, read_published(folder))
    assert len(table) == 8
    assert not table["same_width"].any()
    with pytest.raises(CatalogueError, match="no cell"):
        common_marginals(table, sample, coarse)
    elsewhere = ours.table.assign(psf_fwhm=ours.table["psf_fwhm"] + 0.05)
    with pytest.raises(CatalogueError, match="no cell centre in common"):
        compare_surfaces(SelectionFunction.from_table(elsewhere), read_published(folder))
    with pytest.raises(OptionError, match=r"threshold = 0\.77 was not measured"):
        compare_surfaces(ours, read_published(folder), their_threshold=0.77)


def test_common_marginals_pool_the_same_cells_of_both(ours, injections, folder):
    theirs = read_published(folder)
    table = common_marginals(compare_surfaces(ours, theirs), injections, GRID)
    first = table.query("axis == 'psf_fwhm' and value == 0.9").set_index("side")
    # depth 23 is empty there at PSF 0.9, so that ours leave it out as well
    assert first.loc["theirs", "n"] == 3 * 500
    assert first.loc["ours", "n"] == 3 * 200
    assert first["n_cells"].tolist() == [3, 3]
    assert table["equal_weights"].all()
    raw = raw_table().query("source_mag_bin == 'all' and threshold == 0.3 and psf_fwhm == 0.9")
    assert first.loc["theirs", "n_detected"] == raw["n_detected"].sum()
    mine = injections[injections["cell"].isin(GRID.cells().query("psf_fwhm == 0.9 and depth == 23.5")["cell"])]
    assert first.loc["ours", "completeness"] == pytest.approx((mine["score"] >= 0.6).mean())
    # twenty hosts, thirty injections each that agree: as uncertain as about twenty trials, not as 600
    width = first.loc["ours", "high68"] - first.loc["ours", "low68"]
    assert width > 3 * np.sqrt(4 * 0.25 * 0.3 / 600)
    assert sorted(table["axis"].unique()) == ["depth", "psf_fwhm", "theta_e"]


def test_marginals_of_one_mode_leave_the_other_mode_out_on_both_sides(ours, injections, folder):
    comparison = compare_surfaces(ours, read_published(folder))
    table = common_marginals(comparison[comparison["mode_ours"] == "matched"], injections, GRID)
    # the conditions at PSF 0.9 have degraded hosts here
    assert sorted(table.loc[table["axis"] == "psf_fwhm", "value"].unique()) == [1.05, 1.2]
    assert table[table["axis"] == "depth"].groupby("side")["n"].sum().to_dict() == {
        "ours": 12 * 200,
        "theirs": 12 * 500,
    }


def test_cells_with_different_counts_are_said_to_weigh_differently(ours, injections, folder):
    comparison = compare_surfaces(ours, read_published(folder))
    cell = GRID.cells().query("theta_e == 1.0 and psf_fwhm == 1.2 and depth == 23.5")["cell"].iloc[0]
    comparison.loc[
        (comparison["theta_e"] == 1.0) & (comparison["psf_fwhm"] == 1.2) & (comparison["depth"] == 23.5), "n_ours"
    ] = 199
    table = common_marginals(comparison, injections.drop(injections.index[injections["cell"] == cell][0]), GRID)
    uneven = table[(table["side"] == "ours") & ~table["equal_weights"]]
    assert uneven[["axis", "value"]].to_numpy().tolist() == [["theta_e", 1.0], ["psf_fwhm", 1.2], ["depth", 23.5]]
    assert table.loc[table["side"] == "theirs", "equal_weights"].all()


def test_the_summary_counts_roles_and_says_what_it_cannot(ours, folder):
    comparison = compare_surfaces(ours, read_published(folder))
    summary = comparison_summary(comparison)
    json.dumps(summary, allow_nan=False)
    assert summary["roles"] == {"both": 15, "filled_matched": 0, "filled_degraded": 3, "only_theirs": 0, "neither": 0}
    both = comparison[comparison["role"] == "both"]
    want = stats.spearmanr(both["completeness_ours"], both["completeness_theirs"]).statistic
    assert summary["rank_correlation"] == pytest.approx(want)
    text = " ".join(summary["sentences"])
    assert "15 were measured in both" in text
    assert "3 are empty there and filled here (3 by degraded hosts)" in text
    assert "no test" in text


def test_every_statement_says_why_and_is_filled_from_the_two_files(ours, folder):
    assert all(s.reason and s.source and s.theirs and s.ours for s in STATEMENTS)
    assert len({s.topic for s in STATEMENTS}) == len(STATEMENTS)
    filled = {words["topic"]: words for words in comparability(ours, read_published(folder), survey="mock")}
    assert "score >= 0.3" in filled["threshold"]["theirs"]
    assert "score >= 0.6" in filled["threshold"]["ours"]
    assert filled["sky"]["ours"] == "mock"
    assert filled["source positions"]["ours"] == "not stated in the file (source_position_rule)"
    assert not any("{" in words[side] for words in filled.values() for side in ("ours", "theirs"))
    with pytest.raises(OptionError, match="comparable"):
        Statement("x", "maybe", "a", "b", "c", "d")
