"""The supernova page says what its numbers say, each with its source, and stops where a number is missing."""

import re

import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.reporting.cited_numbers import CitedNumbers
from skytrace.reporting.supernova_data_sections import _ledger_table, flag_words
from skytrace.reporting.supernova_sections import _law_table, _law_words
from skytrace.reporting.supernova_words import (
    found_words,
    noise_words,
    note_words,
    pair_words,
    predictive_words,
    reach_words,
    seed_words,
    side_words,
)  # fmt: skip
from skytrace.supernovae.elpd_verdict import pair_verdict


@pytest.mark.parametrize(
    ("difference", "se", "said"),
    [(-1.2, 1.2, "equal"), (-3.9, 0.1, "equal"), (-9.0, 5.0, "equal"), (-9.0, 4.0, "worse"), (278.0, 29.0, "better")],
)
def test_a_difference_counts_beyond_two_errors_and_beyond_four(difference, se, said):
    assert pair_verdict(difference, se) == said


def _pairs(difference: float, se: float) -> CitedNumbers:
    one = {"difference": difference, "se": se, "n": 164}
    loo = {"student_t": {"qfd_anchored": one}, "mixture": {}}
    return CitedNumbers({"pairs.json": {"loo": loo, "held_out": {"qfd_anchored": {**one, "difference": 0.4}}}})


def test_words_follow_the_numbers():
    equal = pair_words(_pairs(-1.2, 1.3), "qfd_anchored", "flat ΛCDM")
    assert "cannot be told apart from flat ΛCDM" in equal
    assert "elpd −1.2 ± 1.3; on the 164 held out SNe +0.4 ± 1.3." in equal
    assert "worse than flat ΛCDM" in pair_words(_pairs(-278.0, 29.0), "qfd_anchored", "flat ΛCDM")
    assert "better than flat ΛCDM" in pair_words(_pairs(278.0, 29.0), "qfd_anchored", "flat ΛCDM")


def test_every_number_of_a_sentence_is_listed_once_with_its_key():
    numbers = _pairs(-1.2, 1.3)
    words = pair_words(numbers, "qfd_anchored", "flat ΛCDM")
    (table,) = numbers.sources()
    shown = [row[0] for row in table.rows]
    assert sorted(re.findall(r"[+−]?\d+(?:\.\d+)?", words)) == sorted(shown)
    assert ("−1.2", "pairs.json", "loo.student_t.qfd_anchored.difference") in table.rows
    assert numbers.sources() == ()


def test_a_number_that_no_file_holds_cannot_be_quoted():
    with pytest.raises(CatalogueError, match=r"pairs\.json has no loo\.student_t\.log_distance\.difference"):
        pair_words(_pairs(1.0, 1.0), "log_distance", "flat ΛCDM")
    numbers = CitedNumbers({"f.json": {"rows": [{"x": 1234, "none": None, "yes": True}]}})
    assert numbers.text("f.json", "rows.0.x") == "1,234"
    assert numbers.text("f.json", "rows.0.none") == "–"
    assert numbers.text("f.json", "rows.0.yes") == "yes"


@pytest.mark.parametrize(
    ("few", "many", "said"), [(1e-6, 1.0, "another cause"), (1.0, 1e-6, "brightening would make"), (0.4, 0.7, "both")]
)
def test_sides_say_what_the_binomial_says(few, many, said):
    sides = {"n_outliers": 9, "n_brighter": 4, "n_fainter": 5, "p_bright_or_fewer": few, "p_bright_or_more": many}
    assert said in side_words(CitedNumbers({"outliers.json": {"sides": sides}}))
    assert "none to explain" in side_words(CitedNumbers({"outliers.json": {"sides": {"n_outliers": 0}}}))


def test_the_old_scatters_are_told_to_be_no_target_beside_what_was_measured():
    laws = {
        "qfd_seed": {"rms_all_mag": 9.1, "wrms_all_mag": 8.0},
        "flat_lcdm": {"rms_all_mag": 0.27, "wrms_all_mag": 0.2},
    }
    reports = {"pairs.json": {"table": "t"}, "cosmology.json": {"t": laws}}
    first, second = seed_words(reports, CitedNumbers(reports))
    assert "9.10 mag" in first
    assert "0.270 mag" in first
    assert "1.89 and 8.16" in second
    assert "Neither is a target" in second


def _level(pareto: float, above: int) -> dict:
    auc = {name: {"value": value} for name, value in (("neg_elpd", 0.98), ("log_odds", 0.97), ("pareto_k", pareto))}
    return {
        "n_injected": 100, "n_lost": 0, "auc": auc, "auc_clean": auc, "ln_factor_error_median": 0.0,
        "ln_factor_error_mad": 0.03,
        "n_chi2_per_dof_above": above,
    }  # fmt: skip


@pytest.mark.parametrize(("pareto", "above", "said"), [(0.34, 2, "it is no gate"), (0.9, 80, "by most light curves")])
def test_pareto_k_and_the_joint_flag_are_judged_by_their_numbers(pareto, above, said):
    reports = {
        "outlier_injection.json": {
            "scaling": "mass_ratio", "levels": {"alpha": _level(pareto, 0), "light_curve": _level(pareto, above)}
        }
    }  # fmt: skip
    words = " ".join(found_words(reports, CitedNumbers(reports)))
    assert said in words
    assert ("it is no gate" in words) == (pareto < 0.7)
    assert ("asks for a bad one misses it" in words) == (above < 50)


def test_a_table_whose_errors_leave_out_the_scatter_is_told_and_a_bound_is_no_measurement():
    figures = {f"{key}_{who}_mag": 0.2 for key in ("rms", "wrms", "mad") for who in ("all", "ia")}
    good = {"omega_m": 0.3, "omega_m_err": 0.01, "chi2": 95.0, "ndof": 100, "n": 102, "at_bound": False, **figures}
    bad = {**good, "omega_m": 1.0, "chi2": 24000.0, "at_bound": True}
    assert len(_law_words({"published": {"flat_lcdm": good}})) == 1
    words = _law_words({"published": {"flat_lcdm": good}, "fits": {"flat_lcdm": bad}})
    assert words[1].startswith("For fits χ²/ndof is far above 1")
    rows = _law_table({"published": {"flat_lcdm": good}, "fits": {"flat_lcdm": bad}}).rows
    assert [row[3] for row in rows] == ["0.300 ± 0.010", "1, the end of its range"]
    assert [row[4] for row in rows] == ["0.950", "240.000"]


def _checks(student: bool, mixture: bool) -> dict:
    tails = [{"beyond_mag": -2.0, "seen": 0, "expected": 30.6, "p_few": 1e-9, "p_many": 1.0}]

    def one(fails: bool) -> dict:
        figures = {"n": 1642, "ks": 0.06, "ks_p": 3e-5 if fails else 0.4, "tails": tails}
        return {"all": figures, "tail_p": 5e-9 if fails else 1.0, "fails": fails}

    noise = {"student_t": one(student), "mixture": one(mixture)}
    pair = {"difference": 165.2, "se": 19.4}
    return {"predictive.json": {"small_p": 0.01, "noise": noise}, "pairs.json": {"noise": {"flat_lcdm": pair}}}


@pytest.mark.parametrize(
    ("student", "mixture", "said"),
    [(False, False, "contradict neither"), (True, False, "the noise passes the same check"),
     (True, True, "is to be read with that in mind")],
)  # fmt: skip
def test_a_noise_model_that_fails_is_said_to_fail_beside_the_comparison(student, mixture, said):
    reports = _checks(student, mixture)
    words = " ".join(noise_words(reports, CitedNumbers(reports)))
    assert said in words
    assert "predicts better than Student-t noise: elpd +165.2 ± 19.4" in words
    each = predictive_words(reports, CitedNumbers(reports))
    assert ["The noise model fails" in one for one in each] == [student, mixture]
    assert "0 seen and 30.6 expected brighter by more than 2 mag" in each[0]


@pytest.mark.parametrize(("sigma", "said"), [(0.06, "could not reject"), (3.0, "what the law itself")])
def test_the_reach_of_a_table_decides_whether_it_could_reject(sigma, said):
    figures = {"z_min": 0.05, "z_max": 1.1, "omega_m": 0.33, "rms_mag": 1e-4, "max_mag": 2e-3}
    reports = {"pairs.json": {"imitation": {**figures, "distinction_sigma": sigma}}}
    assert said in reach_words(CitedNumbers(reports))


def test_every_flag_is_counted_and_said_what_it_does_to_a_distance():
    flags = {"rank_deficient": 1260, "at_bound_a_plasma": 259}
    numbers = CitedNumbers({"fit_report.json": {"flags": flags}})
    (words,) = flag_words(numbers)
    assert "rank_deficient, 1,260: the light curve alone does not determine" in words
    assert "at_bound_a_plasma, 259: the plasma's A is held at its bound" in words
    assert [row[2] for row in numbers.sources()[0].rows] == ["flags.rank_deficient", "flags.at_bound_a_plasma"]
    assert flag_words(CitedNumbers({"fit_report.json": {"flags": {}}})) == ()


def test_every_cut_is_a_row_with_what_it_took():
    ledger = pd.DataFrame(
        [(1, "before_peak", 1264, 1232, 32, 91936, 90052, 1884, "none before")],
        columns=["step", "cut", "supernovae_in", "supernovae_out", "supernovae_removed", "observations_in",
                 "observations_out", "observations_removed", "reason"],
    )  # fmt: skip
    table = _ledger_table(ledger)
    assert table.columns[2:] == ("SNe before", "removed", "SNe left", "observations removed", "observations left")
    assert table.rows == (("before peak", "none before", "1,264", "32", "1,232", "1,884", "90,052"),)


def test_counts_of_rows_in_a_note_have_commas_and_years_have_none():
    note = "142 of 1555 rows of the 2022 release were left out"
    assert note_words({"note": note}) == "142 of 1,555 rows of the 2022 release were left out"
    assert note_words({"note": None}) == ""
