"""The report is JSON, says which parts carry the detector, and is never written about one that sees a label."""

import json

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.gates import compare_gates
from skytrace.audit.report import audit_report, gate_verdicts
from skytrace.audit.shortcuts import shortcut_aucs, shortcut_features
from skytrace.errors import LeakageError


@pytest.fixture
def parts():
    rng = np.random.default_rng(6)
    labels = (np.arange(900) % 3 == 0).astype(int)
    table = pd.DataFrame({"psfsize_r": rng.normal(size=900) + 1.5 * labels, "asymmetry_r": rng.normal(size=900),
                          "sersic": np.where(labels, np.nan, 4.0)})  # fmt: skip
    full = rng.normal(size=900) + 2.5 * labels
    scores = {"detector": full, "detector, core masked": full - 1e-9, "core": full.copy(),
              "annulus": rng.normal(size=900)}  # fmt: skip
    return shortcut_aucs(shortcut_features(table), labels), compare_gates(scores, labels)


def test_every_part_is_there_and_the_whole_is_json(parts):
    shortcuts, gates = parts
    report = json.loads(json.dumps(audit_report(inputs=["stamps"], shortcuts=shortcuts, gates=gates), allow_nan=False))
    assert report["columns"] == {"inputs": ["stamps"], "metadata_fusion": False, "whitelisted": True}
    assert report["shortcuts"]["suspect"][0] == "psfsize_r"
    assert report["shortcuts"]["features"]["not judged"] == 1
    unjudged = next(row for row in report["shortcuts"]["table"] if row["feature"] == "sersic")
    assert unjudged["auc"] is None and unjudged["n_lenses"] == 0
    assert len(report["gates"]["table"]) == 4
    assert len(report["does_not_show"]) >= 4


def test_what_was_not_measured_is_none_not_absent():
    report = audit_report(inputs=["stamps"])
    assert report["shortcuts"] is None and report["gates"] is None


def test_verdicts_follow_the_paired_interval(parts):
    masked, core, annulus = gate_verdicts(parts[1])
    assert masked.startswith("the detector loses nothing measurable when its core is masked")
    assert core.startswith("core alone is not measurably worse")
    assert annulus.startswith("annulus alone does not reach the detector: AUC 0.")


def test_a_catalogue_that_reaches_the_detector_is_no_evidence_of_arcs_and_a_core_is_left_open():
    rng = np.random.default_rng(2)
    labels = (np.arange(900) % 3 == 0).astype(int)
    full = rng.normal(size=900) + 2.5 * labels
    scores = {"detector": full, "core": full, "catalogue": full}
    core, catalogue = gate_verdicts(compare_gates(scores, labels))
    assert "learnt" not in core
    assert "without a pixel" in catalogue and "no evidence of arcs" in catalogue
    assert any("theta_E below its radius" in words for words in audit_report(inputs=["stamps"])["does_not_show"])


def test_a_detector_that_sees_a_label_gets_no_report(parts):
    with pytest.raises(LeakageError, match="tier"):
        audit_report(inputs=["stamps", "tier"], shortcuts=parts[0])
