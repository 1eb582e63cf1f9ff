"""Shifts under alternatives: found where planted, not found where there are none, and set against the statistics."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.sensitivity import SensitivityOptions, sensitivity
from skytrace.statistics import holm_adjusted

GRID = SelectionGrid(GridOptions((0.5, 1.0, 1.5, 2.0), (0.9, 1.2), (23.0, 23.5)))


def table(seed, shift=0.0, at=None, per_cell=100, hosts=25, luck=0.7, host_seed=0, prefix="h"):
    """Hosts of every condition with luck of their own; in theta_E bin ``at`` (or all) the logit is shifted."""
    rng = np.random.default_rng(seed)
    cell = np.repeat(np.arange(GRID.n_cells), per_cell)
    theta, condition = cell // 4, cell % 4
    host = condition * hosts + np.tile(np.arange(per_cell) % hosts, GRID.n_cells)
    fortune = luck * np.random.default_rng(host_seed).normal(size=4 * hosts)[host]
    moved = shift * ((theta == at) if at is not None else 1.0)
    p = expit(-1.0 + 0.4 * theta + fortune + moved)
    names = np.array([f"{prefix}{i}" for i in range(4 * hosts)])[host]
    return pd.DataFrame({"cell": cell, "galaxy_id": names, "score": np.where(rng.random(len(cell)) < p, 0.9, 0.1)})


def compare(base, alternatives, **options):
    how = {name: options.pop(name) for name in ("thresholds", "threshold_draws", "kinds", "against") if name in options}
    return sensitivity(
        base, alternatives, GRID, threshold=0.5, options=SensitivityOptions(**{"n_resamples": 250, **options}), **how
    )


def row(found, name, axis):
    return found.summary.set_index(["alternative", "axis"]).loc[(name, axis)]


def test_shifts_are_the_plain_differences_of_completeness_and_their_summary_is_theirs():
    base, other = table(1), table(2, shift=0.8, at=2)
    found = compare(base, {"psf beta": other})
    share = [t.assign(d=t["score"] >= 0.5).groupby("cell")["d"].mean().to_numpy() for t in (base, other)]
    cells = share[1] - share[0]
    surface = found.shifts[found.shifts["axis"] == "surface"]
    np.testing.assert_allclose(surface["shift"], cells, atol=1e-12)
    theta = found.shifts[found.shifts["axis"] == "theta_e"]
    np.testing.assert_allclose(theta["shift"], cells.reshape(4, 4).mean(axis=1), atol=1e-12)
    summary = row(found, "psf beta", "theta_e")
    assert summary["at"] == 1.5 and summary["max_shift"] == pytest.approx(theta["shift"].max())
    assert summary["median_shift"] == pytest.approx(np.median(theta["shift"]))
    assert summary["p_max"] < 0.02 and summary["verdict"] in ("matters", "dominates")
    assert row(found, "psf beta", "surface")["median_abs_shift"] == pytest.approx(np.median(np.abs(cells)))


def test_without_any_difference_none_is_seen_at_the_stated_rate():
    seen = []
    for seed in range(60):
        found = compare(table(seed, host_seed=seed), {"none": table(seed + 5000, host_seed=seed)})
        seen.append([row(found, "none", axis)["p_max"] <= 0.05 for axis in ("theta_e", "depth")])
    assert np.mean(seen) < 0.12


def test_the_largest_shifts_interval_holds_all_bins_together():
    held = 0
    for seed in range(60):
        found = compare(table(seed, host_seed=seed), {"none": table(seed + 9000, host_seed=seed)})
        shifts = found.shifts[found.shifts["axis"] == "theta_e"]
        summary = row(found, "none", "theta_e")
        at = (shifts["value"] == summary["at"]).to_numpy()
        reach = (summary["max_high68"] - summary["max_low68"]) / 2 / shifts.loc[at, "standard_error"].iloc[0]
        held += bool((shifts["shift"].abs() <= reach * shifts["standard_error"]).all())
    assert 0.5 < held / 60 < 0.84


def test_common_random_numbers_make_the_error_of_a_shift_small():
    base = table(3)
    paired = base.assign(score=np.where(base["cell"] == 0, 0.9, base["score"]))
    error = {}
    for name, other in {"paired": paired, "fresh": table(4, host_seed=9, prefix="other")}.items():
        shifts = compare(base, {name: other}).shifts
        error[name] = shifts.loc[shifts["axis"] == "depth", "standard_error"].to_numpy()
    assert (error["paired"] < 0.3 * error["fresh"]).all()
    shifts = compare(base, {"paired": paired}).shifts
    assert (shifts.loc[(shifts["axis"] == "theta_e") & (shifts["value"] > 0.5), "standard_error"] == 0).all()


def test_a_prior_that_moves_everything_dominates_and_a_choice_does_not_count():
    base, moved = table(1), table(2, shift=1.5)
    found = compare(base, {"source family": moved, "same": table(8)})
    assert found.verdict == "priors dominate" and "source family" in found.sentence
    assert row(found, "source family", "theta_e")["ratio"] > 3
    assert "same" not in found.sentence.split(";")[0]
    choice = compare(base, {"source family": moved, "same": table(8)}, kinds={"source family": "choice"})
    assert choice.verdict == "no shift seen"
    assert "source family" not in choice.sentence and choice.others["choice"].startswith("Choices dominate: source")
    assert row(choice, "source family", "theta_e")["verdict"] == "dominates"


def test_a_shift_that_is_sure_and_small_matters_without_dominating():
    base = table(1, hosts=10, luck=2.5)  # few, very different hosts: a wide interval of the surface itself
    flips = (np.arange(len(base)) % 17 == 0) & (base["score"] < 0.5)
    found = compare(base, {"slope": base.assign(score=np.where(flips, 0.9, base["score"]))})
    assert found.verdict == "priors matter"
    assert row(found, "slope", "depth")["p_max"] < 0.05 and row(found, "slope", "depth")["ratio"] < 1


def test_another_threshold_is_an_alternative_of_the_same_injections():
    base = table(1)
    base["score"] = np.random.default_rng(0).random(len(base))
    found = compare(base, {"threshold 0.8": base}, thresholds={"threshold 0.8": 0.8}, kinds={"threshold 0.8": "choice"})
    middle = (base["score"] >= 0.5) & (base["score"] < 0.8)
    expected = -middle.groupby(base["cell"] // 4).mean()
    shifts = found.shifts[found.shifts["axis"] == "theta_e"]
    np.testing.assert_allclose(shifts["shift"], expected, atol=1e-12)
    assert found.verdict == "not measured"


def test_only_cells_filled_on_both_sides_are_compared():
    base, other = table(1), table(2)
    other = other[other["cell"] >= 4]
    found = compare(base, {"degraded": other})
    assert list(found.shifts.loc[found.shifts["axis"] == "theta_e", "value"]) == [1.0, 1.5, 2.0]
    assert row(found, "degraded", "depth")["bins"] == 2
    alone = compare(base[base["cell"] < 4], {"degraded": other})
    assert alone.verdict == "not measured" and (alone.summary["verdict"] == "not measured").all()


def test_unknown_names_and_columns_are_refused():
    with pytest.raises(OptionError, match="is called beta"):
        compare(table(1), {"a": table(2)}, thresholds={"beta": 0.5})
    with pytest.raises(CatalogueError, match="injections of a lack the columns score"):
        compare(table(1), {"a": table(2).drop(columns="score")})
    with pytest.raises(OptionError, match="as small as level"):
        SensitivityOptions(n_resamples=150, level=0.001)
    with pytest.raises(OptionError, match="kind of a = 'guess'"):
        compare(table(1), {"a": table(2)}, kinds={"a": "guess"})
    with pytest.raises(OptionError, match="is called b"):
        compare(table(1), {"a": table(2)}, against={"a": "b"})
    with pytest.raises(OptionError, match=r"Holm's p of 16 tests as small as level = 0\.05; 320 can"):
        compare(table(1), {name: table(2) for name in "abcd"})
    with pytest.raises(OptionError, match=r"threshold_draws of a have shape \(3,\)"):
        compare(table(1), {"a": table(2)}, threshold_draws={"a": np.full(3, 0.5)})


def test_of_many_alternatives_without_effect_none_matters():
    alarms, one_by_one = 0, 0
    for seed in range(12):
        base = table(seed, host_seed=seed, per_cell=40)
        others = {f"none {k}": table(1000 * k + seed, host_seed=seed, per_cell=40) for k in range(1, 13)}
        found = compare(base, others, n_resamples=1999)
        alarms += found.verdict != "no shift seen"
        one_by_one += (found.summary["p_max"] <= 0.05).any()
    assert alarms <= 2
    assert one_by_one >= 5  # 48 tests at 0.05 each: some alternative would have mattered in most of the trials


def test_what_matters_has_an_interval_without_zero_and_holm_is_over_alternatives_and_axes():
    rng = np.random.default_rng(6)
    base = table(1)
    others = {f"shift {k}": table(20 + k, shift=rng.normal(0.0, 0.4), at=k % 4) for k in range(6)}
    summary = compare(base, others, n_resamples=999).summary
    np.testing.assert_allclose(summary["p_holm"], holm_adjusted(summary["p_max"]))
    seen = summary["verdict"].isin(["matters", "dominates"])
    assert 0 < seen.sum() < len(summary)
    assert (summary["p_holm"][seen] <= 0.05).all()
    assert ((summary["max_low95"] > 0) | (summary["max_high95"] < 0))[seen].all()


def test_an_alternative_is_held_against_the_one_that_it_names():
    rule, both = table(2, shift=-1.0), table(3, shift=-1.0)
    alone = compare(table(1), {"rule": rule, "slope": both})
    assert row(alone, "slope", "theta_e")["verdict"] == "dominates"  # the rule's shift, under the slope's name
    found = compare(table(1), {"rule": rule, "slope": both}, against={"slope": "rule"})
    assert row(found, "slope", "theta_e")["verdict"] == "not seen" and row(found, "slope", "depth")["against"] == "rule"
    share = [t.assign(d=t["score"] >= 0.5).groupby("cell")["d"].mean().to_numpy() for t in (rule, both)]
    surface = found.shifts[(found.shifts["axis"] == "surface") & (found.shifts["alternative"] == "slope")]
    np.testing.assert_allclose(surface["shift"], share[1] - share[0], atol=1e-12)


def test_the_thresholds_own_noise_is_in_the_error_of_a_shift():
    rng = np.random.default_rng(2)
    base = table(1).assign(score=rng.random(GRID.n_cells * 100))
    other = base.assign(score=np.clip(base["score"] + rng.normal(0, 0.01, len(base)), 0, 1))
    own, theirs = rng.normal(0.5, 0.03, (2, 250))  # a score is uniform: 0.03 of threshold is 0.03 of completeness
    apart = compare(base, {"a": other}, threshold_draws={"base": own, "a": theirs})
    fixed = compare(base, {"a": other})
    same = compare(base, {"a": other}, threshold_draws={"base": own, "a": own})
    errors = [one.shifts.query("axis == 'depth'")["standard_error"].to_numpy() for one in (apart, fixed, same)]
    np.testing.assert_allclose(errors[0], np.sqrt(errors[1] ** 2 + 2 * 0.03**2), rtol=0.15)
    assert (errors[1] < 0.006).all() and (errors[2] < 0.3 * errors[0]).all()  # what both share cancels
    constant = np.full(250, 0.5)
    again = compare(base, {"a": other}, threshold_draws={"base": constant, "a": constant})
    pd.testing.assert_frame_equal(again.summary, fixed.summary)
