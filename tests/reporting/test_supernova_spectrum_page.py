"""The page says of every parameter what its table says: a wall is a wall, and an empty flag is none."""

import numpy as np
import pandas as pd
import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

from skytrace.reporting.style import figure_png, house_style, new_figure
from skytrace.reporting.supernova_spectrum_page import FIGURE_CAPTIONS, supernova_spectrum_page
from skytrace.reporting.supernova_spectrum_words import moved_words


@house_style
def blank():
    return new_figure()[0]


SUMMARY = pd.DataFrame({
    "parameter": ["log_L", "v_inner", "X_Ni", "inadequacy"], "mean": [43.0, 10500.0, 0.01, 0.1],
    "sd": [0.01, 300.0, 0.01, 0.01], "median": [43.0, 10500.0, 0.01, 0.1], "low68": [42.99, 10200.0, 0.006, 0.09],
    "high68": [43.01, 10800.0, 0.02, 0.11], "low95": [42.98, 9900.0, 0.005, 0.08],
    "high95": [43.02, 11100.0, 0.03, 0.12], "prior_low": [42.5, 7000.0, 0.005, 0.003],
    "prior_high": [43.5, 15000.0, 0.25, 1.0], "prior_sd": [0.29, 2300.0, 0.07, 0.2],
    "width_of_prior": [0.03, 0.13, 0.14, 0.05], "constrained": [True, True, True, True],
    "flag": ["", "", "X_Ni lies at its lower bound <b>", ""],
})  # fmt: skip


@pytest.fixture
def kept(repository, tmp_path, monkeypatch):
    """The summary after its way through the catalog's own file."""
    monkeypatch.chdir(tmp_path)
    soft = {"parameters": "soft", "globals": "soft"}
    loader = OmegaConfigLoader(
        str(repository / "conf"), base_env="base", default_run_env="smoke", env="smoke", merge_strategy=soft
    )
    name = "spectral_emulator.stage_one.summary"
    catalog = DataCatalog.from_config({name: loader["catalog"][name]})
    catalog.save(name, SUMMARY)
    return catalog.load(name)


def reports():
    inference = {
        "samplers": {"nuts": {"r_hat_max": 1.001}}, "failures": {"nuts": []}, "best": {"log_L": 43.0}, "flags": [],
        "checks": {"predictive_p": 0.4, "predictive_p_without_inadequacy": 1e-9}, "bins": 95,
        "likelihood": {"merged_bins": 4, "explosion": None},
    }  # fmt: skip
    emulator = {
        "parameters": 15, "models": 2000, "held_out": 200, "rms_of_peak_median": 0.026, "rms_of_peak_p95": 0.053,
        "covered_68": 0.7, "covered_95": 0.95,
    }  # fmt: skip
    return {
        "observation": {
            "name": "a simulated supernova", "note": "a note", "pixels": 100, "masked": 3, "handling": [],
            "shortest_angstrom": 2000.0, "longest_angstrom": 10200.0, "signal_to_noise": 50.0,
        },
        "atomic": {"lines": 114963, "levels": 13599},
        "closure": {"closes": True, "rms_pull": 1.2, "rms_of_peak_emulator": 0.01, "rms_of_peak_observed": 0.02},
        "training_sizes": {"law": None, "published": {"median_percent": 0.36, "models": 25000}, "sizes": []},
        "inference": {"stage_one": inference}, "emulator": {"stage_one": emulator},
        "draws": {"stage_one": {"training": {"drawn": 300, "rejected": 200}}},
    }  # fmt: skip


def page_of(summary, *, observed=False):
    coverage = pd.DataFrame({
        "kind": ["drawn"], "parameter": ["log_L"], "n": [100], "covered_68": [0.7], "covered_68_low": [0.65],
        "covered_68_high": [0.74], "covered_95": [0.95], "bias_sigma": [-0.1], "spread_sigma": [1.0],
        "constrained": [True], "holds": [True], "importance_share": [0.12],
    })  # fmt: skip
    truth = pd.DataFrame({"log_L": [43.005], "v_inner": [11000.0], "X_Ni": [0.01]})
    truth = truth.iloc[:0] if observed else truth
    png = figure_png(blank())
    features = pd.DataFrame({
        "feature": ["si_ii_6355"], "models": [132], "only_simulated": [6], "only_predicted": [20],
        "velocity_median_km_s": [5.2], "velocity_abs_km_s": [399.4], "velocity_abs_p95_km_s": [1516.7],
        "depth_abs": [0.018], "depth_abs_p95": [0.087],
    })  # fmt: skip
    tables = {
        "summary": {"stage_one": summary}, "truth": truth, "coverage": coverage, "agreement": pd.DataFrame(),
        "features": features,
    }  # fmt: skip
    labels = {"stage_one": "stage 1"}
    return supernova_spectrum_page(
        reports(), tables, dict.fromkeys(FIGURE_CAPTIONS, png), labels=labels, layered="stage_one"
    )


def test_a_flag_that_is_empty_stays_empty_on_its_way_through_the_file(kept):
    assert list(kept["flag"]) == list(SUMMARY["flag"])
    np.testing.assert_allclose(kept["mean"], SUMMARY["mean"])


def test_walls_and_truths_are_counted_without_the_inadequacy(kept):
    html = page_of(kept)
    assert "3 are constrained by the spectrum" in html and "1 lie within 2 sigma of a bound" in html
    assert "2 of 3 intervals of 68 % hold it" in html
    assert html.count("at a bound") == 1
    assert "<b>" not in html and "&lt;b&gt;" in html


def test_a_real_spectrum_has_no_column_of_truths(kept):
    html = page_of(kept, observed=True)
    assert ">truth<" in page_of(kept) and ">truth<" not in html
    assert "The truth is known here" not in html


def test_one_sampler_and_one_size_are_said_in_words(kept):
    html = page_of(kept)
    assert "One sampler ran: nothing to compare." in html
    assert "The simulator knows 114,963 lines" in html and "extrapolation" not in html


def test_a_sampler_that_failed_is_said_before_anything_it_gave(kept, monkeypatch):
    whole = reports()
    whole["inference"]["stage_one"]["failures"]["nuts"] = ["R-hat reaches 2.240"]
    monkeypatch.setitem(globals(), "reports", lambda: whole)
    html = page_of(kept)
    assert 0 < html.index("did not converge in stage 1 (R-hat reaches 2.240)") < html.index("3 are constrained")


@pytest.mark.parametrize(
    ("p", "alone", "words"),
    [
        (1e-5, 0.0, "The model does not fit this spectrum: none of its intervals is to be quoted."),
        (0.3, 1e-9, "The simulator fits only with the inadequacy"),
        (1.0, 1.0, "errors are too large, and intervals wider than need be"),
        (0.3, 0.2, None),
    ],
)
def test_how_the_quoted_step_fits_is_said_first(kept, monkeypatch, p, alone, words):
    whole = reports()
    whole["inference"]["stage_one"]["checks"] = {"predictive_p": p, "predictive_p_without_inadequacy": alone}
    monkeypatch.setitem(globals(), "reports", lambda: whole)
    html = page_of(kept)
    assert 0 < html.index("Posterior predictive p of stage 1: ") < html.index("3 are constrained")
    said = [one for one in ("does not fit this", "fits only with", "wider than need be") if one in html]
    assert len(said) == (words is not None) and (words is None or words.replace("'", "&#x27;") in html or words in html)


def test_what_moved_between_the_first_step_and_the_one_that_is_quoted_is_told():
    later = SUMMARY.assign(mean=[43.0, 9900.0, 0.012, 0.1])
    labels = {"stage_one": "stage 1", "second_round": "second round"}
    (words,) = moved_words({"stage_one": SUMMARY, "second_round": later}, labels, "second_round")
    assert "From stage 1" in words and "v_inner (\u22122.0): intervals" in words
    assert moved_words({"stage_one": SUMMARY, "second_round": SUMMARY}, labels, "second_round") == []
    assert moved_words({"stage_one": SUMMARY}, labels, "stage_one") == []


def test_a_posterior_that_is_the_prior_is_not_called_a_limit(kept):
    open_one = kept.assign(constrained=[True, True, False, True])
    html = page_of(open_one)
    assert html.count("at a bound") == 0 and "15 parameters, of which 2 are constrained" in html


def test_a_dated_explosion_and_errors_that_are_too_large_are_said(kept, monkeypatch):
    plain = page_of(kept)
    assert "The likelihood compares 95 bins, each the mean of 4" in plain
    assert "states larger errors" not in plain and "The explosion is dated" not in plain
    whole = reports()
    dated = {"low_day": 17.5, "high_day": 18.5, "soft_day": 0.25, "source": "someone <b>"}
    whole["inference"]["stage_one"]["likelihood"]["explosion"] = dated
    whole["emulator"]["stage_one"]["covered_68"] = 0.91
    monkeypatch.setitem(globals(), "reports", lambda: whole)
    names = kept.assign(parameter=["log_L", "t_exp", "X_Ni", "inadequacy"])
    html = page_of(names, observed=True)
    assert "t_exp has a prior of 17.5 to 18.5 d (someone &lt;b&gt;)" in html
    assert "emulator of stage one states larger errors than it makes: 91 % of" in html
