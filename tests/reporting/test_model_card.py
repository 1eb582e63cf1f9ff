"""The card says what the file and the report say, and nothing that a text holds can become markup."""

import re

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from skytrace.lensing.population import PopulationOptions
from skytrace.reporting.model_card import NEVER_CLAIM, ModelCard, Section, model_card
from skytrace.reporting.population_words import POPULATION_HEADING as OF_WHOM
from skytrace.selection.hosts import HostOptions
from skytrace.selection.selection_function import SelectionFunction

NASTY = [
    "<script>alert(1)</script>", "[click](javascript:alert(1))",
    "a | b | c", "*bold* _it_ `code`", "1. one", "# head",
    "- item",
    "https://example.org", "&lt;b&gt; & <b>", "![x](y)", "\\*", "---", "::: {x}", "a\n\n## b", "+ 3 mag", "10) x",
]  # fmt: skip


def surface(**changes) -> SelectionFunction:
    """Eight cells at two thresholds; two insufficient, one without hosts, one degraded."""
    rows = []
    for threshold in (0.5, 0.9):
        for number in range(8):
            theta, psf, depth = 1.0 + 0.25 * (number // 4), 0.9 + 0.15 * (number // 2 % 2), 23.0 + 0.5 * (number % 2)
            share = 0.1 + 0.01 * number
            n = {0: 0, 1: 100, 2: 50}.get(number, 200)
            rows.append(
                {"theta_e": theta, "psf_fwhm": psf, "depth": depth, "threshold": threshold, "n": n,
                 "n_detected": round(n * share),
                 "mode": "none" if n == 0 else "degraded" if number == 3 else "matched",
                 "state": "no_hosts" if n == 0 else "insufficient" if n < 200 else "ok", "n_hosts": n // 5,
                 "completeness": share if n else float("nan"), "low68": share - 0.02, "high68": share + 0.02,
                 "design_effect": 1.5 if n else float("nan")}
            )  # fmt: skip
    known = {"detector": "resnet18", "detector_hash": "0d2185afc6a2", "verdict": "NO-GO", "threshold_default": 0.9}
    known |= {"psf_fwhm_definition": "psfsize_r [arcsec]: FWHM of the Gaussian of equal Neff"}
    return SelectionFunction.from_table(pd.DataFrame(rows), metadata={**known, **changes})


def report(verdict="NO-GO", first="fail", second="insufficient"):
    return {
        "verdict": verdict, "options_hash": "e75faf3203fceb8f",
        "limits": ["They cannot say whether faint ones are real."],
        "gates": [
            {"name": "1 arc S/N", "status": first, "sentence": "p10 0.75, median 0.33; bound 0.5-2."},
            {"name": "3 arc colour", "status": second, "sentence": "2 anchors; the gate needs 30."},
        ],
    }  # fmt: skip


def section(card: ModelCard, heading: str) -> str:
    part = next(part for part in card.sections if part.heading == heading)
    return " ".join([*part.paragraphs, *part.points, *(cell for row in part.rows for cell in row)])


def shown(markdown: str) -> str:
    """The text that a reader of the rendered Markdown sees, without white space."""
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    import html as unescaper

    return re.sub(r"\s+", "", unescaper.unescape(re.sub(r"<[^>]*>", "", html)))


def test_the_card_says_which_gate_fell_and_that_it_is_not_validated():
    card = model_card(surface(), report())
    assert card.verdict == "NO-GO"
    assert "Not validated" in card.stamp
    assert "Fallen: 1 arc S/N." in card.stamp
    assert "Not judged for lack of lenses or measurements: 3 arc colour." in card.stamp
    assert "the probability that a real lens is found" in section(card, "Not to be claimed")
    assert "e75faf3203fceb8f" in section(card, "Validation")


def test_the_card_says_of_each_bound_when_it_was_set_and_what_was_changed_after_a_gate_fell():
    judged = {"options": {"snr_ratio_low": 0.5}, "settings": {"classifier_test": {"auc_max": 0.85}}}
    known = {"population": vars(PopulationOptions(mag_r_min=21.5))}
    words = section(model_card(surface(**known), {**report(), **judged}), "Validation")
    assert "Bounds fixed before any run: gate 1 snr_ratio_low = 0.5." in words
    assert "set 2026-11-21 after a run of the built-in sky" in words
    assert "changed after a gate had fallen" in words and "an interval that holds the bound" in words
    assert "beforehand" not in words
    pixels = {"injected_pixels": {"sentence": "Light that the stamps gained: g 0.9985."}}
    assert pixels["injected_pixels"]["sentence"] in section(model_card(surface(), {**report(), **pixels}), "Validation")


def test_the_card_says_which_sources_and_hosts_the_number_is_of():
    assert "Sources not stated in the file Hosts not stated" in section(model_card(surface(), report()), OF_WHOM)
    known = {"population": vars(PopulationOptions(mag_r_max=24.5)), "hosts": vars(HostOptions(min_g_r=1.1))}
    card = model_card(surface(**known), report())
    assert [part.heading for part in card.sections[:2]] == ["What it is", OF_WHOM]
    assert "r = 22 to 24.5 AB before lensing" in section(card, OF_WHOM)
    assert "g-r of 1.1 or more" in section(card, OF_WHOM) and "injection_studies" in section(card, OF_WHOM)
    studied = {"threshold": 0.9, "sentence": "Priors dominate: source_mag_faint."}
    cited = model_card(surface(**known), report(), sensitivity=studied)
    assert studied["sentence"] in section(cited, OF_WHOM)
    other = model_card(surface(**known), report(), sensitivity={**studied, "threshold": 0.8})
    assert studied["sentence"] not in section(other, OF_WHOM)  # of another surface
    assert "Which sources and hosts the number is of" in cited.to_html() and "22 to 24" in cited.to_markdown()


def test_go_is_said_without_claiming_more():
    card = model_card(surface(verdict="GO"), report("GO", "pass", "pass"))
    assert card.stamp.startswith("Validated by the 2 gates that are judged")
    assert "Injections cannot be told from real lenses." in section(card, "Not to be claimed")


@pytest.mark.parametrize(
    ("filed", "reported", "stands"),
    [("GO", "NO-GO", "NO-GO"), ("NO-GO", "GO", "NO-GO"), ("GO", "INSUFFICIENT", "INSUFFICIENT"),
     ("GO", "great", "INSUFFICIENT")],
)  # fmt: skip
def test_of_two_verdicts_the_worse_stands_and_the_difference_is_said(filed, reported, stands):
    card = model_card(surface(verdict=filed), report(reported))
    assert card.verdict == stands
    assert f"The file says {filed}, the report {reported}" in section(card, "Validation")


def test_no_gates_at_all_are_not_a_pass():
    card = model_card(surface(verdict="INSUFFICIENT"), {"verdict": "INSUFFICIENT", "gates": []})
    assert "No gate was run." in section(card, "Validation")
    assert card.stamp.startswith("Not validated")


def test_envelope_threshold_hosts_and_cells_are_those_of_the_default_threshold():
    conditions = pd.DataFrame(
        {
            "psf_fwhm": [0.9],
            "depth": [23.0],
            "mode": ["degraded"],
            "n_matched": [2],
            "n_degraded": [55],
            "n_hosts": [55],
        }
    )
    card = model_card(surface(), report(), conditions=conditions)
    assert "0.875 to 1.375 arcsec" in section(card, "Envelope")
    assert "FWHM of the Gaussian of equal Neff" in section(card, "Envelope")
    assert "score >= 0.9" in section(card, "Threshold")
    assert "0.5, 0.9" in section(card, "Threshold")
    assert "0d2185afc6a2" in section(card, "What it is")
    assert "1,150 in the cells" in section(card, "What it is")  # 5 cells of 200 and 2 of 50, once
    hosts = section(card, "Hosts")
    assert "10 to 40 hosts" in hosts
    assert "median 1.50" in hosts
    assert "0.9 23 degraded 2 55 55" in hosts
    cells = section(card, "Cells")
    assert "no_hosts: 1 of 8 cells" in cells
    assert "degraded hosts: 1 of 7 filled cells" in cells
    assert "0.110 to 0.170, median 0.140" in cells


def test_false_positives_of_every_threshold_are_printed_as_filed():
    filed = [
        {"threshold": 0.5, "k": 30, "n": 1200, "low68": 0.0209, "high68": 0.0299},
        {"threshold": 0.9, "k": 0, "n": 1200, "low68": 0.0, "high68": 0.0009},
    ]
    words = section(model_card(surface(host_false_positives=filed), report()), "Threshold")
    assert "0.5 30 of 1,200 0.025 0.0209 to 0.0299 0.9 0 of 1,200 0 0 to 0.0009" in words
    assert "not among all galaxies of a search" in words
    assert "not stated in the file" in section(model_card(surface(), report()), "Threshold")


def test_a_mock_sky_and_degraded_cells_bring_their_own_warnings():
    claims = section(model_card(surface(survey="mock"), report()), "Not to be claimed")
    assert claims.startswith('Not "It describes a real survey." Hosts, noise and lenses are simulated')
    assert "degraded to the cell from better data" in claims
    real = surface(survey="decam_fields")
    real.table["mode"] = "matched"
    claims = section(model_card(real, report()), "Not to be claimed")
    assert "simulated" not in claims
    assert "degraded" not in claims
    assert all(claim in claims and why in claims for claim, why in NEVER_CLAIM)


def test_trends_comparison_and_limits_are_quoted_word_for_word():
    trends = {"theta_e": {"sentence": "Completeness rises with Einstein radius: +0.0205 +- 0.0012 per arcsec."}}
    card = model_card(surface(), report(), trends=trends, comparison=["220 were measured in both."])
    text = shown(card.to_markdown())
    for sentence in (trends["theta_e"]["sentence"], "220 were measured in both.", *report()["limits"]):
        assert re.sub(r"\s+", "", sentence) in text
        assert sentence in card.to_html()


@pytest.mark.parametrize("words", NASTY)
def test_markdown_shows_any_text_as_it_is_and_makes_no_markup_of_it(words):
    body = Section("H", (words,), (words,), ("Column", "Other"), ((words, "x"),))
    card = ModelCard("T", "GO", "", (body,))
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card.to_markdown())
    allowed = {"h1", "h2", "p", "strong", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"<([a-z0-9]+)", html)) <= allowed
    assert html.count("<h2>") == 1
    assert html.count("<li>") == 1
    assert html.count("<td") == 2
    assert shown(card.to_markdown()).count(re.sub(r"\s+", "", words)) >= 3


@pytest.mark.parametrize("words", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_html_escapes_every_text_that_comes_from_outside(words):
    gates = {"verdict": words, "limits": [words], "gates": [{"name": words, "status": words, "sentence": words}]}
    card = model_card(
        surface(detector=words, theta_e_definition=words, survey=words), gates, title=words, comparison=[words],
        trends={"x": {"sentence": words}},
    )  # fmt: skip
    html = card.to_html()
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("&lt;") >= 8
    assert "http" not in html.replace("http-equiv", "")  # nothing is fetched
