"""The referee's page: every number with its intervals, what was not measured said so, and nothing from outside runs."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.report import audit_report
from skytrace.errors import CatalogueError, OptionError
from skytrace.learning import EvaluationOptions, evaluate_scores
from skytrace.learning.calibration import CalibrationOptions, calibration_verdict
from skytrace.learning.comparison import compare_scores
from skytrace.learning.options import StrataEvaluationOptions
from skytrace.learning.strata_evaluation import validation_test_gap
from skytrace.reporting import evaluation_figures as figures
from skytrace.reporting.detector_figures import precision_recall_figure, roc_figure
from skytrace.reporting.evaluation_audit import _chance_text
from skytrace.reporting.evaluation_page import evaluation_page
from skytrace.reporting.evaluation_performance import _told_once
from skytrace.reporting.evaluation_shapes import strata_table
from skytrace.reporting.evaluation_tables import interval_cells, number_text
from skytrace.reporting.galleries import ErrorGallery, gallery_items, worst_errors
from skytrace.reporting.style import figure_png

from . import evaluation_parts as parts

CARD = {
    "architecture": "resnet18", "threshold": {"value": 0.5, "rule": "fixed by a parameter"},
    "preprocessing": {"options": {"crop": 64, "stretch": "arcsinh"}, "checksum": "9f" * 32},
    "split": {"verified": True, "splits": {"test": {"stamps": 3000, "lenses": 150, "galaxy_ids_sha256": "ab" * 32}}},
    "training_sample": {"stamps_sha256": "cd" * 32},
    "must_not_be_claimed": ["No purity of a survey follows without its prevalence of <b>lenses</b>."],
}  # fmt: skip
OPTIONS = CalibrationOptions(n_resamples=100)
EVIL = "<script>alert(1)</script>"


class Reader(HTMLParser):
    """Tables as lists of rows, by caption; and the text of every section by its id."""

    def __init__(self, html):
        super().__init__()
        self.tables, self.sections, self.tags = {}, {}, []
        self.rows, self.cell, self.caption, self.section = [], None, None, ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "section":
            self.section = dict(attributes)["id"]
            self.sections[self.section] = ""
        elif tag == "table":
            self.rows = []
        elif tag == "caption":
            self.caption = ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)
            self.cell = None
        elif tag == "table":
            self.tables[self.caption] = self.rows
            self.caption = None

    def handle_data(self, text):
        if self.section:
            self.sections[self.section] += text
        if self.cell is not None:
            self.cell += text
        elif self.caption == "":
            self.caption = text


@pytest.fixture(scope="module")
def scores():
    return parts.score_table()


@pytest.fixture(scope="module")
def evaluation(scores):
    return parts.evaluation_of(scores)


@pytest.fixture(scope="module")
def inputs(scores, evaluation):
    shortcuts, strata = parts.shortcuts_of(scores), parts.by_stratum(scores)
    options = StrataEvaluationOptions(matched=("type",), n_resamples=100)
    gap = validation_test_gap(parts.score_table(seed=6), scores, options=options)
    false_positives, false_negatives = worst_errors(scores, threshold=parts.THRESHOLD, n=6)
    false_positives.loc[0, "galaxy_id"] = EVIL
    stamps = np.random.default_rng(0).normal(0.0, 1.0, (6, 3, 64, 64))
    drawn = {
        "roc": roc_figure(scores, evaluation=evaluation),
        "precision_recall": precision_recall_figure(scores, evaluation=evaluation),
        "shortcuts": figures.shortcut_figure(shortcuts),
        "recall_by_stratum": figures.recall_by_stratum_figure(strata_table(strata)),
    }
    verdict = calibration_verdict(scores["score"], scores["score"], scores["label"], options=OPTIONS)
    return {
        "card": CARD,
        "figures": {name: figure_png(figure) for name, figure in drawn.items()},
        "galleries": [
            ErrorGallery(f"{name} {EVIL}", "the worst", gallery_items(stamps[: len(rows)], rows))
            for name, rows in (("False positives", false_positives), ("False negatives", false_negatives))
        ],
        "strata": {"by_stratum": strata, "gap": gap},
        "top_k": parts.composition(scores),
        "audit": {
            "columns": ["stamps"], "shortcuts": shortcuts,
            "shortcut_summary": {"verdict": "match the classes", "expected_by_chance": 0.0123},
            "gates": parts.gates_of(scores),
        },
        "ensemble": {
            "correlation": pd.DataFrame([[1.0, 0.4], [0.4, 1.0]], index=["a", "b"], columns=["a", "b"]),
            "comparison": compare_scores(scores["score"], scores["score"] ** 2, scores["label"], n_resamples=100),
            "selective": {
                "curve": {"coverage": [k / 100 for k in range(1, 101)], "risk": [k / 1000 for k in range(100)]}
            },
        },
        "calibration": {**verdict, "choice": {"method": "platt", "folds": 5}},
        "parity": {
            "verdict": {"verdict": "processing artifact", "undecided": ["population"]},
            "anchor_flux": {
                "n": 10, "n_agree": 9, "share": 0.9, "interval_68": [0.77, 0.96], "interval_95": [0.62, 0.99],
                "too_faint": 3, "disagree": {"mock-00007": 1.5},
            },
            "processing": {
                "state": "outside",
                "measures": {
                    "g": {
                        "central_ratio": {
                            "value": 0.8, "interval": [0.78, 0.82], "bounds": [0.95, 1.05], "state": "outside", "n": 40,
                        }
                    }
                },
            },
        },
        "detectability": {
            "completeness": [
                {"axis": "theta_e_arcsec", "low": 0.5, "high": 1.0, "n": 40, "k": 10, "completeness": 0.25,
                 "low68": 0.19, "high68": 0.33, "low95": 0.13, "high95": 0.40},
            ],
            "factors": parts.two_factor(scores),
            "gate": {
                "threshold": 3.1, "false_alarm_rate": 0.01,
                "false_alarms": {
                    "k": 10, "n": 1000, "share": 0.01, "interval_68": [0.006, 0.015], "interval_95": [0.004, 0.02],
                },
            },
        },
        "split_report": {"verified": True, "rows": {"train": 10, "test": 5}, "columns": {}},
        "ledgers": {"Filters": pd.DataFrame({"filter": ["mag_z"], "removed": [1234], "reason": [f"faint {EVIL}"]})},
    }  # fmt: skip


@pytest.fixture(scope="module")
def html(evaluation, inputs):
    return evaluation_page(evaluation, **inputs)


@pytest.fixture(scope="module")
def read(html):
    return Reader(html)


def row(table, name):
    return next(cells for cells in table if cells[0] == name)


def test_the_headline_table_holds_each_quantity_with_both_intervals(read, evaluation):
    table = read.tables["Quantities of the evaluated split with 68 % and 95 % intervals"]
    for name, record in (
        ("AUC", evaluation["ranking"]["auc"]),
        ("recall at the threshold", evaluation["at_threshold"]["recall"]),
        ("recall (TPR) at FPR 0.01", evaluation["recall_at_false_positive_rate"]["0.01"]),
    ):
        assert row(table, name)[1:4] == list(interval_cells(record))
        low, high = (float(text) for text in re.findall(r"[\d.]+", row(table, name)[3]))
        assert (low, high) == pytest.approx((record["low_95"], record["high_95"]), abs=1e-3)
    unresolved = row(table, "recall (TPR) at FPR 0.0001")
    assert unresolved[1:4] == ["–"] * 3
    assert "2850 galaxies" in unresolved[4]


def test_a_rate_that_was_not_asked_for_is_said_to_be_missing(scores):
    options = EvaluationOptions(n_resamples=100, false_positive_rates=(0.05,))
    report = evaluate_scores(scores, threshold=parts.THRESHOLD, options=options)
    table = Reader(evaluation_page(report, card={})).tables[
        "Quantities of the evaluated split with 68 % and 95 % intervals"
    ]
    assert row(table, "recall (TPR) at FPR 0.001")[4].startswith("not measured in this run")
    assert float(row(table, "recall (TPR) at FPR 0.05")[1]) > 0.5


def test_decimals_follow_the_width_of_the_interval():
    assert interval_cells({"value": 0.98765, "low_68": 0.9870, "high_68": 0.9883})[:2] == (
        "0.9877",
        "0.9870 to\xa00.9883",
    )
    assert interval_cells({"value": 0.5, "low68": 0.3, "high68": 0.7}) == ("0.50", "0.30 to\xa00.70", "–")
    assert interval_cells({"value": None, "reason": "no lenses"}) == ("–", "–", "–")


def test_a_chance_number_too_small_to_mean_anything_has_no_exponent():
    assert _chance_text(3e-109) == "fewer than 0.01"
    assert [_chance_text(0.0123), _chance_text(None)] == ["0.012", "–"]


def test_recall_confusers_shortcuts_and_factors_are_the_values_of_their_tables(read, scores, evaluation):
    strata = strata_table(parts.by_stratum(scores))
    table = read.tables["Recall at the threshold, by stratum"]
    lenses = strata[strata["n"] > 0]
    assert [cells[:2] for cells in table[1:]] == [
        [f"{r.stratum}, {r.bin}", f"{r.n_found} of {r.n}"] for r in lenses.itertuples()
    ]
    assert [float(cells[2]) for cells in table[1:]] == pytest.approx(lenses["recall"].tolist(), abs=6e-3)
    both = read.tables["Ranking, false positives and calibration in bins that hold both lenses and galaxies"]
    assert [cells[0] for cells in both[1:]] == ["type, DEV", "type, REX", "type, SER"]
    assert both[0][-1] == "ECE before calibration (68 %)", "the headline's ECE is that of the calibrated scores"
    assert "By seeing: not measured; the table has no column 'seeing'." in read.sections["recall"]
    spirals = evaluation["false_positives_by_category"]["spiral_proxy"]
    cells = row(read.tables["At the threshold"], "spiral_proxy")
    assert cells[1:3] == [str(spirals["k"]), str(spirals["n"])]
    assert float(cells[3]) == pytest.approx(spirals["value"], abs=1e-3)
    assert row(read.tables["AUC of each feature alone, strongest first"], "annulus_4_16_g")[5] == "■\xa0red"
    assert "1 ■\xa0red" in read.sections["shortcuts"]
    assert "Verdict: match the classes." in read.sections["shortcuts"]
    glance = row(read.tables["Questions and answers"], "Can a single feature tell lenses from galaxies?")[1]
    assert glance.endswith(". Match the classes."), "the warning must stand where a referee looks first"
    assert "coloured by chance alone: 0.012." in read.sections["shortcuts"]
    factors = parts.two_factor(scores)["tier A"]["conditional_recall"]
    factored = read.tables["Two-factor recall of the measured"]
    cells = next(cells for cells in factored if cells[1] == "recall of observable")
    assert (cells[0], cells[2:4]) == ("tier A", [str(factors["k"]), str(factors["n"])])
    bins = read.tables["Gate and anchors: completeness"]
    assert bins[1] == ["theta_e_arcsec", "0.500", "1.000", "40", "10", "0.25", "0.19 to\xa00.33", "0.13 to\xa00.40"]
    gate = row(read.tables["Gate and anchors: gate"], "false alarms")
    assert gate[1:] == ["0.0100", "0.0060 to\xa00.0150", "0.0040 to\xa00.0200", "10 of 1,000"]


def test_entries_that_no_section_knows_are_shown_and_sentences_are_quoted(read):
    assert "The ensemble does not beat the single network in AUC: " in read.sections["ensemble"]
    table = read.tables["Comparison: ensemble against single network, paired bootstrap"]
    assert row(table, "AUC")[3:6] == ["0", "0 to\xa00", "0 to\xa00"]  # the same ranks
    assert row(table, "recall at ten false positives, FPR 0.0035")[3] == "0"
    assert row(table, "recall at FPR 0.001")[6] == "2850 galaxies show 2.9 false positives; 5 are needed"
    assert row(read.tables["Parity: processing, further entries"], "state")[1] == "outside"
    assert row(read.tables["How it was calibrated"], "choice, method")[1] == "platt"
    risks = read.tables["Ensemble: selective: curve"]
    assert (risks[1], risks[-1]) == (["0.010", "0"], ["1.000", "0.099"])  # thinned, both ends kept
    assert "9f" * 32 in read.sections["preprocessing"]
    assert "ab" * 32 in read.sections["split"]
    assert "cd" * 32 in read.sections["card"]
    assert row(read.tables["The detector"], "threshold, value")[1] == "0.5"


def test_the_calibration_limits_are_judged_by_value_and_by_interval(evaluation):
    def said(value, high):
        scope = {"share": 1.0, "limit": 0.02, "noise_95": 0.012, "before": {}}
        part = {"all": {**scope, "after": {"ece": {"value": value, "low_95": 0.0, "high_95": high}}}}
        return Reader(evaluation_page(evaluation, card=CARD, calibration=part)).sections["calibration"]

    assert "ECE over all scores after calibration 0.010, limit 0.02: met, at 95 % too." in said(0.010, 0.015)
    assert "met by the value, but the 95 % interval reaches beyond it" in said(0.010, 0.03)
    assert (
        "ECE over all scores after calibration 0.030, limit 0.02: missed. A perfect calibration shows up to 0.012"
        in said(0.030, 0.04)
    )


def test_errors_before_and_after_calibration_stand_side_by_side(read, inputs):
    table = read.tables["Expected (ECE) and maximum (MCE) calibration error"]
    for stage in ("before", "after"):
        record = inputs["calibration"]["top"][stage]["ece"]
        assert row(table, f"ECE, highest 1 % of scores, {stage} calibration")[1:4] == list(interval_cells(record))


def test_a_judged_measure_shows_its_interval_its_bounds_and_its_state(read):
    cells = row(read.tables["Parity: processing"], "measures, g, central ratio")
    assert cells[1:] == ["0.800", "–", "0.780 to\xa00.820", "outside 0.950 to\xa01.050"]
    anchors = row(read.tables["Parity"], "anchor flux")
    assert (anchors[1], anchors[4]) == ("0.90", "9 of 10")
    differing = read.tables["Anchors whose central flux is not the catalogue's, the farthest first"]
    assert row(differing, "mock-00007")[1] == "1.500"
    assert "Verdict: processing artifact (undecided: population)." in read.sections["parity"]
    assert "processing artifact (undecided: population)" in read.sections["checks"]


def test_anchors_of_another_flux_are_named_farthest_first_and_no_more_than_a_dozen(evaluation):
    ratios = {f"bright-{k:02d}": 1.3 + 0.01 * k for k in range(20)} | {"dark": 0.25}
    parity = {"anchor_flux": {"n": 100, "n_agree": 79, "share": 0.79, "too_faint": 0, "disagree": ratios}}
    tables = Reader(evaluation_page(evaluation, card=CARD, parity=parity)).tables
    caption = "Anchors whose central flux is not the catalogue's, the farthest first, and 9 more (all in anchor_fluxes)"
    assert [cells[0] for cells in tables[caption]][-12:] == ["dark", *(f"bright-{k:02d}" for k in range(19, 8, -1))]
    assert not any("bright" in str(table) for name, table in tables.items() if name != caption)


def test_strata_tables_give_the_unit_of_what_is_binned(evaluation, inputs):
    known = inputs["strata"]["by_stratum"]
    strata = {"by_stratum": {"psfsize_r": known["arc_snr"], "type": known["type"]}}
    read = Reader(evaluation_page(evaluation, card=CARD, strata=strata))
    for caption in (
        "Recall at the threshold, by stratum",
        "Ranking, false positives and calibration in bins that hold both lenses and galaxies",
    ):
        strata_named = {cells[0].partition(", ")[0] for cells in read.tables[caption][1:]}
        assert strata_named <= {"psfsize_r (arcsec)", "type"}
    assert "psfsize_r (arcsec), < 5" in {cells[0] for cells in read.tables["Recall at the threshold, by stratum"]}


def test_gaps_within_strata_stand_beside_the_whole_and_what_chance_gives(read, inputs):
    gap = inputs["strata"]["gap"]
    table = read.tables["Validation against test"]
    assert row(table, "global gap, validation - test")[1:4] == list(interval_cells(gap["global_gap"]))
    largest = gap["max_stratified_gap"]
    assert row(table, f"max stratified gap ({largest['stratum']})")[1] == interval_cells(largest)[0]
    rows = read.tables["AUC gap, validation - test, within matched strata"][1:]
    assert [cells[0] for cells in rows] == ["DEV", "REX", "SER"]
    assert f"p = {number_text(largest['p_value'])}" in read.sections["gap"]


def test_the_top_k_says_what_each_scenario_assumes_and_what_is_not_resolved(read, inputs):
    rare = inputs["top_k"]["scenarios"][1]
    assumed = row(read.tables["Numbers in the survey that each scenario assumes"], "rare")
    assert assumed[1] == number_text(rare["numbers_assumed"]["lens"])
    lenses = read.tables["Lenses among the K highest scores"]
    assert row(lenses, "rare, K = 5,000")[3:6] == list(interval_cells(rare["top"][1]["lens_share"], decimals=4))
    assert row(lenses, "rare, K = 1")[1] == str(rare["top"][0]["test_galaxies_above"])
    assert row(lenses, "rare, K = 1")[3] == "–"
    expected = read.tables["Expected numbers among the K highest scores"]
    assert expected[0][:3] == ["scenario", "K", "lens"]
    assert {cells[1] for cells in expected[1:]} == {"5,000"}
    assert next(cells for cells in expected if cells[:2] == ["rare", "5,000"])[2] == number_text(
        rare["top"][1]["expected"]["lens"]["value"]
    )


def test_gates_stand_beside_the_detector_with_paired_differences(read, inputs):
    table = inputs["audit"]["gates"]
    core = table[table["classifier"] == "core"].iloc[0]
    cells = row(read.tables["AUC of each, on the same stamps"], "core")
    assert float(cells[3]) == pytest.approx(core["auc"], abs=1e-3)
    below = row(read.tables["How much lower than the detector's AUC, paired bootstrap"], "core")
    assert float(below[1]) == pytest.approx(core["below_reference"], abs=1e-3)
    assert f"AUC {core['auc']:.2f}" in read.sections["checks"]


def test_the_audits_own_report_gives_the_same_sections_as_its_entries(evaluation, inputs):
    audit = inputs["audit"]
    whole = audit_report(inputs=["stamps"], shortcuts=audit["shortcuts"], gates=audit["gates"])
    page = Reader(evaluation_page(evaluation, card=CARD, audit=json.loads(json.dumps(whole))))
    for caption in ("AUC of each feature alone, strongest first", "AUC of each, on the same stamps"):
        assert page.tables[caption] == Reader(evaluation_page(evaluation, card=CARD, audit=audit)).tables[caption]
    assert "Core alone does not reach the detector: AUC" in page.sections["gates"]
    assert whole["does_not_show"][0] in page.sections["gates"]
    partial = audit_report(inputs=["stamps"], shortcuts=audit["shortcuts"])
    assert "Not measured." in Reader(evaluation_page(evaluation, card=CARD, audit=partial)).sections["gates"]


def test_every_part_that_was_not_run_says_so_with_its_reason(evaluation):
    page = Reader(evaluation_page(evaluation, card={}, not_measured={"parity": "No second extraction route."}))
    absent = {"curves",
        "top-k", "columns", "shortcuts", "gates", "ensemble", "parity", "detectability", "errors", "preprocessing",
        "ledgers", "card",
    }  # fmt: skip
    assert {key for key, text in page.sections.items() if "Not measured." in text} == absent
    assert "No second extraction route." in page.sections["parity"]
    assert "After calibration: not measured. This run did not include it." in page.sections["calibration"]
    assert "Gap within matched strata: not measured." in page.sections["gap"]
    assert "no proof that the splits do not overlap" in page.sections["split"]
    assert "no proof" in page.sections["checks"]


def test_a_report_that_went_through_json_gives_the_same_page(evaluation, inputs, html):
    back = dict(inputs)
    for name in ("strata", "audit", "detectability", "top_k"):
        text = json.dumps(inputs[name], default=lambda table: table.to_dict("records"))
        back[name] = json.loads(text)
    assert evaluation_page(json.loads(json.dumps(evaluation)), **back) == html


def test_text_from_outside_is_escaped_and_the_page_has_no_script(html):
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # heading, id, alternative text, ledger
    assert "of &lt;b&gt;lenses" in html
    assert "default-src 'none'" in html


def test_pictures_have_words_tables_have_captions_and_ids_are_unique(read):
    images = [attributes for tag, attributes in read.tags if tag == "img"]
    assert images
    assert all(attributes["alt"] and attributes["src"].startswith("data:image/png;base64,") for attributes in images)
    assert None not in read.tables
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"][1:] for tag, attributes in read.tags if tag == "a"]
    assert set(targets) <= set(ids)


def test_an_unknown_figure_and_a_table_without_a_needed_column_are_refused(evaluation):
    with pytest.raises(OptionError, match="'rock' is not one of roc"):
        evaluation_page(evaluation, card=CARD, figures={"rock": b""})
    with pytest.raises(OptionError, match="'roc' is not a PNG"):
        evaluation_page(evaluation, card=CARD, figures={"roc": b"<svg/>"})
    with pytest.raises(CatalogueError, match="lacks columns colour"):
        evaluation_page(evaluation, card=CARD, audit={"shortcuts": [{"feature": "psf", "auc": 0.5}]})


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 390])
def test_the_page_asks_for_nothing_says_no_error_and_fits(browser, html, tmp_path, width):
    file = tmp_path / "evaluation.html"
    file.write_text(html, encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 844})
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert "AUC" in page.locator("#headline table").first.inner_text()
    assert page.locator("#errors .gallery li").count() == 12
    assert not problems
    assert all(url.startswith(("file:", "data:")) for url in requests)
    page.close()


def test_a_share_of_nothing_has_no_interval_and_one_of_something_keeps_its_own():
    assert interval_cells({"value": None, "n": 0, "low_68": 0.06, "high_68": 0.94}) == ("–", "none", "none")
    assert interval_cells({"value": float("nan"), "n": 0, "low68": 0.06, "high68": 0.94})[1:] == ("none", "none")
    assert " to\xa0" in interval_cells({"value": 0.0, "n": 5, "low_68": 0.01, "high_68": 0.17})[1]


def test_a_calibrator_that_the_choice_repeats_is_told_once():
    chosen = {"method": "isotonic", "parameters": {"scores": [0.1, 0.9]}}
    part = {"all": {}, "top": {}, "calibrator": chosen, "choice": {**chosen, "folds": 5}}
    assert _told_once(part) == {"calibrator": chosen, "choice": {"folds": 5}}
    other = {**part, "choice": {"method": "platt"}}
    assert _told_once(other)["choice"] == {"method": "platt"}
