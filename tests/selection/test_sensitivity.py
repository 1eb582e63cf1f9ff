"""Shifts under alternatives: found where planted, not found where there are none, and set against the statistics."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.grid import GridOptions, SelectionGrid
from skytrace.selection.sensitivity import SensitivityOptions, sensitivity

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
    thresholds = options.pop("thresholds", None)
    return sensitivity(
        base, alternatives, GRID, threshold=0.5, thresholds=thresholds,
        options=SensitivityOptions(n_resamples=150, **options),
    )  # fmt: skip


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
    choice = compare(base, {"source family": moved, "same": table(8)}, choices=("source family",), level=0.01)
    assert choice.verdict == "no shift seen"
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
    found = compare(base, {"threshold 0.8": base}, thresholds={"threshold 0.8": 0.8}, choices=("threshold 0.8",))
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
