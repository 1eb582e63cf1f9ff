"""The figures in docs/spectral_emulator.md are those of the reports that are kept."""

import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/results/spectral_mock"


def rows_of(name):
    with (FOLDER / f"{name}.csv").open() as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def reports():
    """Name of a report -> its content."""
    return {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}


@pytest.fixture(scope="module")
def page():
    return re.sub(r"\s+", " ", (ROOT / "docs/spectral_emulator.md").read_text())


def percent(value, digits=2):
    return f"{100 * value:.{digits}f} %"


def test_error_of_every_emulator_is_that_of_its_report(reports, page):
    for stage in ("stage_one", "second_round", "stage_two", "stage_three"):
        found = reports[f"{stage}_emulator"]
        row = (
            f"| {found['models']:,} | {found['parameters']} | {percent(found['rms_of_peak_median'])} | "
            f"{percent(found['rms_of_peak_p95'])} | {found['covered_68']:.2f} |"
        )
        assert row in page, row


def test_power_law_of_the_training_size_is_that_of_its_report(reports, page):
    law, sizes = reports["training_sizes"]["law"], reports["training_sizes"]["sizes"]
    assert f"{percent(sizes[-1]['median'])} before it is distilled" in page
    assert f"falls as the {law['slope']:.2f} power" in page
    low, high = law["goal_size_interval"]
    assert f"{law['goal_size']:,.0f} models (95 %: {low:,.0f} to {high:,.0f})" in page


def test_curve_of_the_large_training_set_is_that_of_its_report(page):
    found = json.loads((ROOT / "docs/results/spectral_mock_large/training_sizes.json").read_text())
    first, second, last = found["sizes"]
    words = (
        f"{percent(first['median'])} of {first['models']:,} models, {percent(second['median'])} of "
        f"{second['models']:,} and {percent(last['median'])} of {last['models']:,} "
        f"(95th percentile {percent(last['p95'])})"
    )
    assert words in page
    assert (
        f"falls as the {found['law']['slope']:.2f} power" in page and f"at {found['law']['goal_size']:,.0f} by" in page
    )
    distilled = json.loads((ROOT / "docs/results/spectral_mock_large/stage_one_emulator.json").read_text())
    assert f"Distilled, those {last['models']:,} give {percent(distilled['rms_of_peak_median'])}" in page


def test_coverage_is_that_of_its_report(page):
    found = rows_of("coverage")
    kinds = {kind: [row for row in found if row["kind"] == kind] for kind in dict.fromkeys(r["kind"] for r in found)}
    for kind, mine in kinds.items():
        asked = [row for row in mine if row["constrained"] == "True"]
        holds = sum(row["holds"] == "True" for row in asked)
        shares = [float(row["covered_68"]) for row in asked]
        words = f"{holds} of {len(asked)} constrained parameters hold (shares {min(shares):.2f} to {max(shares):.2f})"
        assert words in page, (kind, words)


def test_convergence_of_every_stage_is_that_of_its_report(reports, page):
    for stage in ("stage_one", "second_round", "stage_two", "stage_three"):
        nuts = reports[f"{stage}_inference"]["samplers"]["nuts"]
        row = f"| {nuts['r_hat_max']:.3f} | {nuts['ess_bulk_min']:.0f} | {nuts['divergences']:.0f} |"
        assert row in page, (stage, row)


def test_agreement_of_the_samplers_is_that_of_its_table(page):
    found = rows_of("second_round_agreement")
    for method in ("emcee", "nested", "neural"):
        mine = [row for row in found if row["method"] == method]
        agree = sum(row["agrees"] == "True" for row in mine)
        assert f"{method}: {agree} of {len(mine)}" in page, (method, agree, len(mine))


def test_recovered_truths_are_those_of_the_summary(reports, page):
    """Value, error and truth of every parameter that the page names, and the one that is furthest off."""
    truth = reports["run"]["globals"]["mock_spectrum"]["parameters"]
    found = {row["parameter"]: row for row in rows_of("second_round_summary") if row["parameter"] in truth}
    named = re.findall(r"`(\w+)` = (-?[\d.,]+) \+- ([\d.,]+)[^()]*\((-?[\d.,]+)\)", page)
    assert len(named) >= 5
    for name, mean, sd, true in named:
        values = [float(text.replace(",", "")) for text in (mean, sd, true)]
        digits = len(sd.partition(".")[2])
        assert values[0] == pytest.approx(float(found[name]["mean"]), abs=0.51 * 10.0**-digits), name
        assert values[1] == pytest.approx(float(found[name]["sd"]), abs=0.51 * 10.0**-digits), name
        assert values[2] == truth[name], name
    off = {name: abs(float(row["mean"]) - truth[name]) / float(row["sd"]) for name, row in found.items()}
    furthest = max(off, key=off.get)
    assert f"the furthest is `{furthest}`, {off[furthest]:.1f} sigma off" in page


def test_time_and_commit_of_the_run_are_its_own(reports, page):
    run = reports["run"]
    assert f"{run['seconds'] / 60:.0f} minutes" in page
    assert f"`{run['git']['commit'][:7]}`" in page and not run["git"]["dirty"]


def test_closure_is_that_of_its_report(reports, page):
    closure = reports["closure"]
    assert f"{closure['rms_pull']:.2f} sigma of the emulator's error" in page
    assert f"{percent(closure['rms_of_peak_observed'], 1)} of the peak from the spectrum" in page


def test_what_is_said_of_sn_2011fe_is_in_its_reports(page):
    folder = ROOT / "docs/results/spectral_sn2011fe"
    with (folder / "second_round_summary.csv").open() as lines:
        found = {row["parameter"]: row for row in csv.DictReader(lines)}
    for name, digits, errors in (("log_L", 3, 3), ("v_inner", 0, 0), ("t_exp", 2, 2), ("log_rho_0", 2, 2)):
        mean, sd = float(found[name]["mean"]), float(found[name]["sd"])
        assert f"{name} = {mean:.{digits}f} +- {sd:.{errors}f}" in page, name
    assert sum(bool(row["flag"]) for row in found.values()) == 8 and "Eight of fifteen parameters" in page
    steps = [json.loads((folder / f"{step}_inference.json").read_text()) for step in
             ("stage_one", "second_round", "stage_two", "stage_three")]  # fmt: skip
    assert f"(R-hat at most {max(one['samplers']['nuts']['r_hat_max'] for one in steps):.3f})" in page
    second, last = steps[1]["checks"], steps[3]["checks"]
    assert f"p is {second['predictive_p']:.3f} in the second round and {last['predictive_p']:.2f} in the last" in page
    assert f"({second['misfit_per_bin_without_inadequacy']:.0f} per bin)" in page
    closure = json.loads((folder / "closure.json").read_text())
    assert f"is {percent(closure['rms_of_peak_observed'], 1)} of the peak from the spectrum" in page
    with (folder / "coverage.csv").open() as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if row["kind"] != "drawn from the model" and row["constrained"] == "True"
        ]
    held = [row["parameter"] for row in rows if row["holds"] == "True"]
    (fails,) = [row for row in rows if row["holds"] != "True"]
    assert f"{len(held)} of {len(rows)} constrained parameters hold; {fails['parameter']} does not " in page
    assert f"({float(fails['covered_68']):.2f} where 0.68 is asked)" in page
    run = json.loads((folder / "run.json").read_text())
    assert f"`{run['git']['commit'][:7]}`" in page and not run["git"]["dirty"]
