"""Completeness by cell: counts, intervals that cover, design effects that match the bootstrap, trends that are seen."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.completeness import CompletenessOptions, completeness_table, marginals
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.trends import trend_test, trend_tests
from skytrace.statistics import beta_interval, cluster_bootstrap_proportion, design_effect

SMALL = SelectionGrid(GridOptions((1.0, 1.25, 1.5), (0.9, 1.05), (23.0, 23.5)))


def injections(grid, per_cell=200, hosts=20, probability=None, host_scatter=0.0, seed=0):
    """A simulated detector: P(detected) by cell, shifted by each host's own luck (in logit)."""
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(grid.n_cells), per_cell)
    host = np.tile(np.arange(per_cell) % hosts, grid.n_cells) + 1000 * (cell % np.prod(grid.shape[1:]))
    p = np.full(grid.n_cells, 0.3) if probability is None else probability
    luck = host_scatter * np.random.default_rng(seed + 1).normal(size=host.max() + 1)[host]
    logit = np.log(p / (1 - p))[cell] + luck
    detected = rng.random(len(cell)) < 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {"cell": cell, "galaxy_id": [f"h{i}" for i in host], "mode": "matched", "score": np.where(detected, 0.8, 0.2)}
    )


def test_a_hand_counted_cell_has_its_counts_and_reference_intervals():
    rows = [(0, f"h{i % 4}", "matched", 0.9 if i < 7 else 0.1) for i in range(35)]
    rows += [(1, f"h{i}", "degraded", 0.6) for i in range(200)]
    table = completeness_table(pd.DataFrame(rows, columns=["cell", "galaxy_id", "mode", "score"]), SMALL)
    first, second, empty = (table.iloc[i] for i in range(3))
    assert (first["n"], first["n_detected"], first["n_hosts"], first["state"]) == (35, 7, 4, "insufficient")
    assert not first["sufficient"]
    np.testing.assert_allclose([first["low68"], first["high68"]], [0.1414126568777862, 0.2754523757956235], rtol=1e-4)
    assert (second["completeness"], second["mode"], second["state"]) == (1.0, "degraded", "ok")
    np.testing.assert_allclose([second["low68"], second["high68"]], [0.9950510030984421, 0.9998999563829096], rtol=1e-4)
    assert (empty["n"], empty["mode"], empty["state"]) == (0, "none", "no_hosts")
    assert np.isnan(empty[["completeness", "low68", "high95", "low68_hosts"]].astype(float)).all()


def test_every_cell_of_the_grid_appears_once_at_every_threshold():
    table = completeness_table(injections(SMALL), SMALL, options=CompletenessOptions((0.5, 0.9)))
    assert len(table) == 2 * SMALL.n_cells
    assert (table.groupby("threshold")["cell"].nunique() == SMALL.n_cells).all()
    assert (table[table["threshold"] == 0.9]["n_detected"] == 0).all()
    np.testing.assert_array_equal(table["theta_e"][:4], 1.0)


def test_detected_means_a_score_at_or_above_the_threshold():
    table = injections(SMALL, per_cell=2)
    table["score"] = 0.5
    assert (completeness_table(table, SMALL)["completeness"] == 1.0).all()


@pytest.mark.parametrize("level, expected", [("68", (0.64, 0.73)), ("95", (0.93, 0.975))])
def test_intervals_cover_a_known_detector(level, expected):
    grid = SelectionGrid(
        GridOptions(tuple(np.arange(25) * 0.1 + 0.5), tuple(np.arange(20) * 0.1 + 0.5), tuple(np.arange(20) * 0.5 + 19))
    )
    rng = np.random.default_rng(5)
    truth = rng.beta(0.7, 2.0, size=grid.n_cells)
    n = 200
    detected = rng.random((grid.n_cells, n)) < truth[:, None]
    sample = pd.DataFrame(
        {
            "cell": np.repeat(np.arange(grid.n_cells), n), "galaxy_id": np.tile(np.arange(n), grid.n_cells),
            "mode": "matched", "score": np.where(detected, 0.9, 0.1).ravel(),
        }
    )  # fmt: skip
    table = completeness_table(sample, grid)
    assert len(table) == 10_000
    covered = (table[f"low{level}"] <= truth) & (truth <= table[f"high{level}"])
    assert expected[0] < covered.mean() < expected[1]


def test_design_effect_is_that_of_one_cell_alone_and_matches_the_bootstrap_over_hosts():
    sample = injections(SMALL, per_cell=400, hosts=40, host_scatter=1.2, seed=3)
    table = completeness_table(sample, SMALL)
    rows = sample[sample["cell"] == 5]
    alone = design_effect(rows["score"] >= 0.5, rows["galaxy_id"])
    np.testing.assert_allclose(table["design_effect"][5], alone, rtol=1e-12)
    drawn = cluster_bootstrap_proportion(rows["score"] >= 0.5, rows["galaxy_id"], n_resamples=4000, seed=1)
    share = table["completeness"][5]
    bootstrap_effect = drawn.standard_error**2 / (share * (1 - share) / 400)
    assert alone > 2 and abs(bootstrap_effect / alone - 1) < 0.12
    width = table["high68_hosts"][5] - table["low68_hosts"][5]
    low, high = drawn.intervals[0.6827]
    assert abs(width / (high - low) - 1) < 0.12
    assert width > 1.3 * (table["high68"][5] - table["low68"][5])


def test_host_intervals_cover_where_plain_ones_do_not():
    grid = SelectionGrid(GridOptions(tuple(np.arange(20) * 0.1 + 0.5), (0.9, 1.05), (23.0, 23.5)))
    hits, n_cells = {"": 0, "_hosts": 0}, 0
    expected = np.mean(1 / (1 + np.exp(-(np.log(0.3 / 0.7) + 1.5 * np.random.default_rng(9).normal(size=400_000)))))
    for seed in range(48):
        rng = np.random.default_rng(seed)
        luck = 1.5 * rng.normal(size=(grid.n_cells, 40))  # hosts of each cell of their own
        p = np.repeat(1 / (1 + np.exp(-(np.log(0.3 / 0.7) + luck))), 10, axis=1)
        detected = rng.random(p.shape) < p
        cell, host = np.repeat(np.arange(grid.n_cells), 400), np.repeat(np.arange(grid.n_cells * 40), 10)
        sample = pd.DataFrame(
            {"cell": cell, "galaxy_id": host, "mode": "matched", "score": np.where(detected, 0.9, 0.1).ravel()}
        )
        table = completeness_table(sample, grid)
        n_cells += len(table)
        for kind in hits:
            hits[kind] += int(((table[f"low68{kind}"] <= expected) & (expected <= table[f"high68{kind}"])).sum())
    assert hits[""] / n_cells < 0.55
    assert 0.64 < hits["_hosts"] / n_cells < 0.73  # 3,840 cells: 0.676 +- 0.008


def test_a_cell_without_detections_borrows_the_correlation_of_the_others():
    grid = SMALL
    sample = injections(grid, per_cell=200, hosts=10, host_scatter=1.5, seed=4)
    sample.loc[sample["cell"] == 0, "score"] = 0.1
    row = completeness_table(sample, grid).iloc[0]
    assert row["n_detected"] == 0 and np.isnan(row["design_effect"])
    assert 10 <= row["n_effective"] < 150
    assert row["high68_hosts"] > 1.3 * row["high68"]


def test_host_intervals_are_the_one_beta_interval_at_effective_counts():
    table = completeness_table(injections(SMALL, hosts=10, host_scatter=1.0), SMALL)
    n = table["n_effective"]
    assert (n != np.floor(n)).any()
    for name, level in (("68", 0.6827), ("95", 0.9545)):
        low, high = beta_interval(table["completeness"] * n, n, level)
        np.testing.assert_array_equal(table[f"low{name}_hosts"], low)
        np.testing.assert_array_equal(table[f"high{name}_hosts"], high)


def test_the_detectors_own_threshold_comes_first_and_once():
    options = CompletenessOptions((0.5, 0.8), min_injections=7)
    assert options.with_detector(0.8) == CompletenessOptions((0.8, 0.5), min_injections=7)
    alone = CompletenessOptions(()).with_detector(0.3)
    assert completeness_table(injections(SMALL, per_cell=4), SMALL, options=alone)["threshold"].unique() == [0.3]


@pytest.mark.parametrize("count", [completeness_table, marginals])
def test_without_any_threshold_there_is_nothing_to_count(count):
    with pytest.raises(OptionError, match=r"thresholds = \(\)"):
        count(injections(SMALL, per_cell=4), SMALL, options=CompletenessOptions(()))


def test_modes_are_never_mixed_in_a_cell():
    sample = injections(SMALL, per_cell=4)
    sample.loc[1, "mode"] = "degraded"
    with pytest.raises(CatalogueError, match=r"mix matched and degraded hosts in cell.* 0"):
        completeness_table(sample, SMALL)


def test_unusable_injections_are_refused_with_every_problem_in_one_message():
    sample = injections(SMALL, per_cell=4)
    sample.loc[0, "score"], sample.loc[1, "cell"] = np.nan, 99
    with pytest.raises(CatalogueError, match=r"first: 99.*no probability"):
        completeness_table(sample, SMALL)
    with pytest.raises(CatalogueError, match="galaxy_id"):
        completeness_table(sample.drop(columns="galaxy_id"), SMALL)


def test_a_threshold_outside_zero_to_one_is_refused():
    with pytest.raises(OptionError, match=r"thresholds = 1.0 is outside"):
        CompletenessOptions((1.0,))
    with pytest.raises(OptionError, match="different"):
        CompletenessOptions((0.5, 0.5))


def test_marginals_pool_the_other_axes():
    sample = injections(SMALL, per_cell=50)
    table = marginals(sample, SMALL)
    theta = table[table["axis"] == "theta_e"]
    np.testing.assert_array_equal(theta["value"], [1.0, 1.25, 1.5])
    assert (theta["n"] == 200).all() and table.groupby("axis")["n_detected"].sum().nunique() == 1
    second = sample["cell"].between(4, 7)
    assert theta["completeness"].iloc[1] == (sample[second]["score"] >= 0.5).mean()
    assert list(table["axis"].unique()) == ["theta_e", "psf_fwhm", "depth"]


def detector_that_behaves(grid):
    cells = grid.cells()
    logit = -1 + 1.5 * (cells["theta_e"] - 1.25) - 3 * (cells["psf_fwhm"] - 1) + 1.2 * (cells["depth"] - 23.2)
    return (1 / (1 + np.exp(-logit))).to_numpy()


def test_trends_of_a_detector_that_behaves_are_seen_on_every_axis():
    sample = injections(SMALL, probability=detector_that_behaves(SMALL), hosts=40, host_scatter=0.5)
    found = {axis: trend_test(sample, SMALL, axis=axis, threshold=0.5) for axis in ("theta_e", "psf_fwhm", "depth")}
    assert {axis: test.direction for axis, test in found.items()} == {
        "theta_e": "rises", "psf_fwhm": "falls", "depth": "rises",
    }  # fmt: skip
    truth = detector_that_behaves(SMALL).reshape(SMALL.shape)
    expected = np.mean([np.polyfit([1.0, 1.25, 1.5], line, 1)[0] for line in truth.reshape(3, -1).T])
    assert abs(found["theta_e"].slope - expected) < 3 * found["theta_e"].standard_error


def test_worse_seeing_at_the_same_exposure_is_told_from_worse_seeing_at_the_same_depth():
    """Slopes of +0.20 per mag of sky noise and -0.10 per arcsec of PSF: at a fixed depth a broader PSF brings a quieter
    sky, so that its slope there is the sum of both."""
    grid = SelectionGrid(GridOptions((1.0, 1.5), (0.9, 1.2, 1.5, 1.8), (23.0, 23.5, 24.0, 24.5)))
    cells = grid.cells()
    sky_mag = cells["depth"] + 2.5 * np.log10(cells["psf_fwhm"])
    truth = 0.45 + 0.20 * (sky_mag - 24.1) - 0.10 * (cells["psf_fwhm"] - 1.35)
    sample = injections(grid, per_cell=2000, probability=truth.to_numpy(), hosts=200)
    same_exposure = trend_test(sample, grid, axis="seeing", threshold=0.5)
    assert same_exposure.slope == pytest.approx(-0.10, abs=3 * same_exposure.standard_error)
    assert (same_exposure.direction, same_exposure.n_lines) == ("falls", 2) and same_exposure.standard_error < 0.02
    same_depth = trend_test(sample, grid, axis="psf_fwhm", threshold=0.5)
    size = np.array([0.9, 1.2, 1.5, 1.8])
    expected = -0.10 + 0.20 * np.polyfit(size, 2.5 * np.log10(size), 1)[0]
    assert same_depth.slope == pytest.approx(expected, abs=3 * same_depth.standard_error)
    assert same_depth.direction == "rises"


def test_seeing_is_not_measured_where_every_cell_of_a_plane_has_the_same_psf():
    sample = injections(SMALL, per_cell=20)
    one_psf = sample[sample["cell"].isin(SMALL.cells().query("psf_index == 0")["cell"])]
    assert trend_tests(one_psf, SMALL, threshold=0.5)["seeing"]["direction"] == "not measured"


def test_a_trend_is_not_made_by_empty_cells_alone():
    # depth raises completeness; the sharp PSF exists in deep sky only. Pooled, sharp looks better; line by line not
    p = np.where(SMALL.cells()["depth"] > 23.2, 0.8, 0.2)
    sample = injections(SMALL, probability=p, hosts=100)
    cells = SMALL.cells()
    missing = cells["cell"][(cells["psf_fwhm"] == 0.9) & (cells["depth"] == 23.0)]
    sample = sample[~sample["cell"].isin(missing)]
    pooled = marginals(sample, SMALL)
    pooled = pooled[pooled["axis"] == "psf_fwhm"]["completeness"].to_numpy()
    assert pooled[0] - pooled[1] > 0.2
    assert trend_test(sample, SMALL, axis="psf_fwhm", threshold=0.5, level=0.9973).direction == "flat"


def test_trend_errors_know_that_hosts_are_shared_between_cells():
    z = []
    for seed in range(60):
        sample = injections(SMALL, per_cell=100, hosts=10, host_scatter=1.5, seed=100 * seed)
        z.append(trend_test(sample, SMALL, axis="depth", threshold=0.5).z)
    assert 0.75 < np.std(z) < 1.35  # binomial errors alone would give about 3


def test_a_grid_with_one_filled_bin_has_no_trend_to_measure():
    sample = injections(SMALL, per_cell=4)
    with pytest.raises(CatalogueError, match="theta_e"):
        trend_test(sample[sample["cell"] < 4], SMALL, axis="theta_e", threshold=0.5)


def test_an_axis_with_too_few_cells_says_so_and_the_others_are_measured():
    sample = injections(SMALL, per_cell=4)
    found = trend_tests(sample[sample["cell"] < 4], SMALL, threshold=0.5)
    assert found["theta_e"]["direction"] == "not measured"
    assert "Einstein radius is not measured" in found["theta_e"]["sentence"]
    assert found["depth"]["slope"] == trend_test(sample[sample["cell"] < 4], SMALL, axis="depth", threshold=0.5).slope


def test_eight_hosts_are_too_few_for_a_cell_however_often_each_is_used():
    table = completeness_table(injections(SMALL, per_cell=200, hosts=8), SMALL)
    assert (table["state"] == "insufficient").all()
    few = CompletenessOptions(min_hosts=8)
    assert (completeness_table(injections(SMALL, per_cell=200, hosts=8), SMALL, options=few)["state"] == "ok").all()


def test_one_detection_somewhere_does_not_make_trials_of_eight_hosts_independent():
    """3,200 injections into 8 hosts without a detection are 8 trials, whatever one hit in another bin looks like."""
    rows = [(cell, f"h{i % 8}", "matched", 0.1) for cell in range(2) for i in range(3200)]
    table = pd.DataFrame(rows, columns=["cell", "galaxy_id", "mode", "score"])
    table.loc[3200, "score"] = 0.9
    found = completeness_table(table, SMALL)
    assert found["n_effective"][:2].tolist() == pytest.approx([8.0, 8.0])
    assert found["high68_hosts"][0] == pytest.approx(beta_interval(0, 8, 0.6827)[1])


def test_hosts_of_which_a_few_are_good_are_covered_although_most_surveys_hold_none_of_these():
    """3 % of hosts at P = 0.5, the others at 1e-4, eight of them in a cell: the case that a fitted effect fails."""
    rng, truth, grid = np.random.default_rng(3), 0.03 * 0.5 + 0.97 * 1e-4, SMALL
    covered = []
    for _ in range(60):
        cell = np.repeat(np.arange(grid.n_cells), 200)
        p = np.where(rng.random(8 * grid.n_cells) < 0.03, 0.5, 1e-4)
        host = cell * 8 + np.tile(np.arange(200) % 8, grid.n_cells)
        score = np.where(rng.random(len(cell)) < p[host], 0.9, 0.1)
        table = completeness_table(
            pd.DataFrame({"cell": cell, "galaxy_id": host, "mode": "matched", "score": score}), grid
        )
        covered.append((table["low95_hosts"] <= truth) & (truth <= table["high95_hosts"]))
    assert np.mean(covered) > 0.95  # 0.22 of them, with an effect fitted to one hit


FIVE_RADII = SelectionGrid(GridOptions((1.0, 1.5, 2.0, 2.5, 3.0), (0.9, 1.05), (23.0, 23.5)))


def test_a_turnover_is_named_where_completeness_peaks_and_never_where_it_only_rises():
    radius = FIVE_RADII.cells()["theta_e"].to_numpy()
    peaked = injections(
        FIVE_RADII, per_cell=400, hosts=40, probability=0.1 + 0.2 * np.exp(-(((radius - 2.0) / 0.5) ** 2))
    )
    found = trend_test(peaked, FIVE_RADII, axis="theta_e", threshold=0.5)
    assert found.turns_at == 2.0 and max(found.end_z) < -4
    # 0.1 + 0.2 e^-4 = 0.104 at the ends, 0.3 at the top: four cells of 400 on each side
    assert found.end_z[0] == pytest.approx(-0.196 / np.sqrt((0.3 * 0.7 + 0.104 * 0.896) / 1600), rel=0.25)
    assert "completeness is highest at 2 arcsec" in found.sentence
    flat = [
        trend_test(
            injections(FIVE_RADII, per_cell=60, hosts=20, seed=seed), FIVE_RADII, axis="theta_e", threshold=0.5
        ).turns_at
        for seed in range(60)
    ]
    assert sum(turn is not None for turn in flat) <= 3
