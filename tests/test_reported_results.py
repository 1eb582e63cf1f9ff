"""The numbers that the README cites are those of the committed reports, and they are what the project promises."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from skytrace.lensing.population import PopulationOptions
from skytrace.statistics import beta_interval

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "docs" / "results" / "mock"
#: The reports whose numbers stand in the README, which names the commits that made them.
CITED = (
    "lens_finder.evaluation", "injection_recovery.realism_report", "injection_recovery.trends",
    "injection_recovery.marginals", "injection_recovery.failure_report",
)  # fmt: skip


@pytest.fixture(scope="module")
def reported():
    names = ("evaluation", "realism_report", "trends", "run")
    found = {name: json.loads((REPORTS / f"{name}.json").read_text()) for name in names}
    return found | {"marginals": pd.read_csv(REPORTS / "marginals.csv")}


@pytest.fixture(scope="module")
def readme():
    return re.sub(r"\s+", " ", (ROOT / "README.md").read_text())


def test_the_detector_is_good_and_its_sky_not_too_easy(reported):
    auc = reported["evaluation"]["ranking"]["auc"]
    assert auc["value"] >= 0.95
    assert auc["high_95"] <= 0.999
    assert reported["evaluation"]["resampled"] == "sky cells"


def test_completeness_moves_as_physics_says_beyond_its_intervals(reported):
    trends = reported["trends"]
    assert trends["theta_e"]["z"] > 3 and trends["depth"]["z"] > 3
    assert trends["seeing"]["z"] < -3


def test_the_readme_cites_the_committed_reports(reported, readme):
    auc, sample = reported["evaluation"]["ranking"]["auc"], reported["evaluation"]["sample"]
    assert f"{auc['value']:.3f} (95 % interval {auc['low_95']:.3f} to {auc['high_95']:.3f}" in readme
    assert f"{sample['rows']:,} stamps, {sample['lenses']:,} of them lenses" in readme
    made_by = {entry["commit"] for name, entry in reported["run"]["reports"].items() if name in CITED}
    assert made_by and all(f"commit `{commit[:7]}`" in readme for commit in made_by)
    assert f"**{reported['realism_report']['verdict']}**" in readme
    gates = {gate["name"][0]: gate["statistics"] for gate in reported["realism_report"]["gates"]}
    for number in "58":
        found = gates[number]
        assert f"{found['auc']:.3f} (95 %: {found['low_95']:.3f} to {found['high_95']:.3f};" in readme
    depth = reported["trends"]["depth"]
    assert f"{100 * depth['low_end']:.1f} % at 22.5 to {100 * depth['high_end']:.0f} % at 24.5" in readme
    assert f"z = {reported['trends']['seeing']['z']:+.1f}" in readme
    assert f"z = {reported['trends']['psf_fwhm']['z']:+.1f}" in readme


def test_the_reports_were_made_by_a_clean_tree(reported):
    assert set(CITED) <= set(reported["run"]["reports"])
    assert {entry["dirty"] for entry in reported["run"]["reports"].values()} == {False}


def test_the_page_of_lens_finder_cites_the_committed_reports_of_the_large_sky():
    large = ROOT / "docs" / "results" / "mock_large"
    evaluation, calibration, ensemble, run = (
        json.loads((large / f"{name}.json").read_text()) for name in ("evaluation", "calibration", "ensemble", "run")
    )
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "lens_finder.md").read_text())
    assert {entry["dirty"] for entry in run["reports"].values()} == {False}
    assert f"commit `{run['git']['commit'][:7]}`" in page
    for value in (evaluation["ranking"]["auc"], evaluation["recall_at_false_positive_rate"]["0.001"]):
        assert f"{value['value']:.3f} ({value['low_95']:.3f} to {value['high_95']:.3f})" in page
    for part, limit in (("all", 0.02), ("top", 0.05)):
        error = calibration[part]["after"]["ece"]
        assert error["value"] <= limit
        assert f"{error['value']:.4f} ({error['low_95']:.4f} to {error['high_95']:.4f}); limit {limit}" in page
    assert ensemble["comparison"]["recall_at_false_positive_rate"]["0.001"]["sentence"] in page


def test_the_page_of_lens_finder_counts_anchors_that_the_gate_cannot_measure_apart():
    """By counts that every version of the report holds."""
    found = json.loads((ROOT / "docs" / "results" / "mock_large" / "detectability.json").read_text())
    page = (ROOT / "docs" / "lens_finder.md").read_text()
    n, seen = found["anchors"], found["factors"]["all"]["conditional_recall"]["n"]
    apart = found["gate"]["unstable_or_unmeasured"]["anchors"]
    assert f"not measured | {seen}, {n - seen - apart}, {apart} of {n} |" in page
    low, high = beta_interval(seen, n - apart, 0.9545)
    assert f"of the measured ones | {seen / (n - apart):.2f} ({low:.2f} to {high:.2f}) |" in page


def test_the_page_of_the_selection_function_holds_the_table_of_the_probes_power():
    kept = ROOT / "docs" / "results" / "probe_power.json"
    page = (ROOT / "docs" / "selection_function.md").read_text()
    if not kept.exists():
        pytest.skip(
            "docs/results/probe_power.json is not there yet: benchmarks.probe_power --table-only --json makes it"
        )
    found = json.loads(kept.read_text())
    names = {"stamps": "stamps of HST galaxies"}
    for row in found["table"]:
        kinds = " | ".join(names.get(row[side], row[side]) for side in ("anchors_are", "injections_are"))
        told = f"{row['told_apart']} of {row['trials']}"
        assert f"| {kinds} | {row['auc']:.3f} | {row['low_95']:.3f}-{row['high_95']:.3f} | {told} |" in page
    power = found["stated_power"]
    for auc, share in power["power_at"].items():
        assert f"| {auc} | {power['auc_if_changed_at'][auc]:.2f} | {share:.0%} |" in page
        assert power["auc_if_changed_at"][auc] < power["best_auc_if_changed_at"][auc] + 0.01 < float(auc) + 0.02
    settings = found["settings"]
    words = re.sub(r"\s+", " ", page)
    assert (
        f"arc S/N >= {settings['snr_min']:g}, sources of r = {settings['mag_r'][0]:g} to {settings['mag_r'][1]:g}"
        in words
    )
    assert f"{settings['anchors']} anchors with {settings['per_anchor']} injections each" in words
    assert f"medians of {settings['seeds']} trials" in words
    default, heavy = (settings["families"][f"{name} clumps"] for name in ("default", "heavy"))
    for clumps in (default, heavy):
        share = [f"{100 * clumps[f'clump_share_{end}']:.0f}" for end in ("min", "max")]
        assert f"{clumps['n_clumps']} clumps with {share[0]} to {share[1]} % of the" in words
    drawn = PopulationOptions()
    assert {name: getattr(drawn, name) for name in default} == {**default, "clumpy_share": drawn.clumpy_share}


def test_the_page_of_the_selection_function_cites_the_studies_that_were_run():
    rows = pd.read_csv(REPORTS / "ablations.csv").query("bin == 'all'")
    page = (ROOT / "docs" / "selection_function.md").read_text()
    made_by = json.loads((REPORTS / "run.json").read_text())["reports"]["injection_studies.ablations"]["commit"]
    assert f"commit `{made_by[:7]}`" in page
    assert len(rows) >= 15
    for row in rows.itertuples():
        share, low, high = 100 * row.difference, 100 * row.low95, 100 * row.high95
        interval = f"{low:+.2f} to {high:+.2f} %"
        assert (
            f"| {row.alternative} | {share:+.2f} % | {interval} | +{row.n_ablation_only} -{row.n_base_only} |" in page
        )
    verdict = json.loads((REPORTS / "sensitivity.json").read_text())["verdict"]
    assert f"**the {verdict}**" in page


def test_the_real_fields_measure_no_completeness_and_the_documentation_says_so():
    folder, words = ROOT / "docs" / "results" / "decam_fields", (ROOT / "docs" / "real_data.md").read_text()
    report, hosts, failures = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("realism_report", "host_report", "failures")
    )
    assert report["verdict"] == "INSUFFICIENT"
    assert [gate["name"] for gate in report["gates"] if gate["status"] == "pass"] == ["2 background", "7 parity"]
    assert hosts["hosts_used"] == 8
    assert f"{hosts['candidates']} galaxies are selected and {hosts['hosts_used']} pass" in words
    assert hosts["candidates"] == hosts["hosts_used"] + hosts["rejected_by_quality"]
    found = failures["detected_measured"]
    assert f"finds {found} of the {failures['missed'] + found:,}" in words
