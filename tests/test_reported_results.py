"""The numbers that the README cites are those of the committed reports, and they are what the project promises."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "docs" / "results" / "mock"


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
    assert f"commit `{reported['run']['git']['commit'][:7]}`" in readme
    assert f"**{reported['realism_report']['verdict']}**" in readme
    depth = reported["trends"]["depth"]
    assert f"{100 * depth['low_end']:.1f} % at 22.5 to {100 * depth['high_end']:.0f} % at 24.5" in readme
    assert f"z = {reported['trends']['seeing']['z']:+.1f}" in readme
    assert f"z = {reported['trends']['psf_fwhm']['z']:+.1f}" in readme


def test_the_reports_were_made_by_a_clean_tree(reported):
    assert reported["run"]["git"]["dirty"] is False
