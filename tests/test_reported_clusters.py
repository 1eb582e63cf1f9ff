"""The figures in docs/cluster_pu.md are those of the reports that are kept, and what the project asks of them holds."""

import csv
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/results/cluster_mock"


@pytest.fixture(scope="module")
def reports():
    """Name of a report -> its content; the table of comparisons by variant."""
    found = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    with (FOLDER / "ablations.csv").open() as lines:
        found["variants"] = {row["variant"]: row for row in csv.DictReader(lines)}
    return found


@pytest.fixture(scope="module")
def page():
    return re.sub(r"\s+", " ", (ROOT / "docs/cluster_pu.md").read_text())


def between(found, digits=3, ends=("low_95", "high_95")):
    value, low, high = (found[key] for key in ("value", *ends))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def of_variant(row):
    return f"{float(row['auroc']):.3f} ({float(row['auroc_low_95']):.3f} to {float(row['auroc_high_95']):.3f})"


def figures(reports):
    """What the page's table says, row by row."""
    rare, variants = reports["evaluation"]["rare_events"], reports["variants"]
    jeffreys = ("jeffreys_low_95", "jeffreys_high_95")
    rows = {
        "AUROC of the stack": between(rare["auroc"]),
        **{name: of_variant(variants[name]) for name in ("elkan_noto", "nn_pu", "positive_vs_unlabelled")},
        "oracle": of_variant(variants["oracle: trained on true labels"]),
        **{
            words: of_variant(next(row for name, row in variants.items() if name.startswith(words)))
            for words in ("best cut in one colour", "best single column")
        },
        **{f"recall at {rate}": between(found, 2, jeffreys) for rate, found in rare["recall_at"].items()},
        "average precision": between(rare["average_precision"]),
        "mean probability over the prior": between(rare["calibration"]["mean_over_prior"], 2),
        "the same at the prior given": between(
            reports["evaluation"]["calibration_at_unlabelled_prior"]["mean_over_prior"], 2
        ),
        "ECE over the prior": between(rare["calibration"]["ece_over_prior"], 2),
        "hours a discovery": between(rare["cost_per_discovery_hours"], 0),
        "shuffled labels": ", ".join(f"{value:.3f}" for value in reports["shuffle"]["mean"].values()),
    }
    tracks = reports["transformer_evaluation"]["auroc"]
    for name in ("transformer", "CPU track", "stack of both", "transformer trained on true labels"):
        rows[name] = between(tracks[name]["auroc"])
    for name in ("transformer", "stack of both"):
        rows[f"{name} minus CPU track"] = between(tracks[name]["minus_cpu_track"])
    for loss in reports["evaluation"]["robustness"]:
        rows[f"AUROC, {loss['condition']}"] = f"{loss['difference']['value']:+.3f}"
    survey = reports["survey"]
    rows["lenses by chance alignment"] = f"{survey['expected_lenses']:.1f} of {survey['clusters']:,}"
    return rows


def test_every_figure_on_the_page_is_that_of_the_kept_reports(reports, page):
    missing = {name: words for name, words in figures(reports).items() if words not in page}
    assert not missing


def test_what_the_tracks_must_show_is_shown(reports):
    rare, tracks = reports["evaluation"]["rare_events"], reports["transformer_evaluation"]["auroc"]
    assert tracks["CPU track"]["auroc"]["low_95"] >= 0.75
    assert tracks["transformer"]["auroc"]["value"] >= max(0.85, tracks["CPU track"]["auroc"]["value"])
    given = reports["evaluation"]["calibration_at_unlabelled_prior"]["mean_over_prior"]
    assert 0.8 <= given["value"] <= 1.2
    colour = next(row for name, row in reports["variants"].items() if name.startswith("best cut in one colour"))
    assert 0.35 < float(colour["auroc"]) < 0.65
    assert reports["shuffle"]["passes"]
    assert all(abs(mean - 0.5) <= 0.1 for mean in reports["shuffle"]["mean"].values())
    assert not rare["recall_at"]["0.001"]["resolved"] and rare["recall_at"]["0.01"]["resolved"]
