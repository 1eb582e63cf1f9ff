"""The figures in docs/supernova.md are those of the reports that are kept, and what the project asks of them holds."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
SKIES = {"simulated": ROOT / "docs/results/supernova_mock", "real": ROOT / "docs/results/des_sn"}


@pytest.fixture(scope="module")
def reports():
    """Sky -> file -> its content."""
    found = {}
    for sky, folder in SKIES.items():
        found[sky] = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
        found[sky]["posterior"] = pd.read_csv(folder / "posterior_summary.csv").set_index(["posterior", "parameter"])
    return found


@pytest.fixture(scope="module")
def page():
    return re.sub(r"[ \t]+", " ", (ROOT / "docs" / "supernova.md").read_text())


def pair(found):
    return f"{found['difference']:+.1f} +- {found['se']:.1f}"


def aucs(found):
    return ", ".join(f"{found[name]['value']:.3f}" for name in ("neg_elpd", "log_odds", "pareto_k"))


def tails(found):
    seen = ", ".join(f"{one['seen']} ({one['expected']:.0f})" for one in found["all"]["tails"])
    return f"{found['all']['ks_p']:.1g}; {seen}"


def posterior(summary, name, parameter, digits=3):
    row = summary.loc[(name, parameter)]
    return f"{row['mean']:.{digits}f} +- {row['sd']:.{digits}f}"


def figures(found, known_by):
    """One cell a row of the table, in its order."""
    loo, rule = found["pairs"]["loo"]["student_t"], found["outliers"]["known_by"][known_by]["rules"]["mixture"]
    levels, sides, seeds = found["outlier_injection"]["levels"], found["outliers"]["sides"], found["seeds"]
    factors = [f"{one['n_found']}/{one['n']}" for one in levels["alpha"]["by_factor"]]
    return [
        posterior(found["posterior"], "flat_lcdm_mixture", "omega_m"),
        posterior(found["posterior"], "flat_lcdm", "omega_m"),
        posterior(found["posterior"], "flat_lcdm_mixture", "sigma_int_mag"),
        pair(loo["qfd_anchored"]),
        pair(found["pairs"]["held_out"]["qfd_anchored"]),
        pair(loo["log_distance"]),
        pair(loo["qfd_seed"]),
        pair(found["pairs"]["noise"]["flat_lcdm"]),
        tails(found["predictive"]["noise"]["student_t"]),
        tails(found["predictive"]["noise"]["mixture"]),
        aucs(found["outliers"]["known_by"][known_by]["auc"]),
        f"{rule['n_found']}/{rule['n_chosen']}, {rule['n_found']}/{rule['n_outliers']}",
        aucs(levels["alpha"]["auc"]),
        aucs(levels["light_curve"]["auc"]),
        ", ".join(factors),
        f"{sides['n_brighter']} / {sides['n_fainter']}",
        f"{seeds['largest_spread_mag']:.0e}",
    ]


def test_the_table_of_the_page_is_that_of_the_reports(reports, page):
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.split("| figure | simulated | DES-SN5YR v1.2 |")[1].splitlines()[2:]
        if line.startswith("|")
    ]
    table = [row for row in cells if len(row) == 3]
    simulated, real = figures(reports["simulated"], "truth"), figures(reports["real"], "prob_ia")
    assert [row[1] for row in table[: len(simulated)]] == simulated
    assert [row[2] for row in table[: len(real)]] == real


def test_the_simulated_sky_gives_its_truth_back(reports):
    truth = reports["simulated"]["truth_report"]
    alpha = truth["alpha"]["mean"]["unflagged"]
    assert abs(alpha["mean"]) < 0.01 and 0.9 < alpha["pull_sd"] < 1.1
    row = reports["simulated"]["posterior"].loc[("flat_lcdm_mixture", "omega_m")]
    assert abs(row["mean"] - 0.31) < 2 * row["sd"]


def test_every_posterior_reached_what_was_asked_of_it(reports):
    for found in reports.values():
        failures = {name: one["failures"] for name, one in found["sampler"]["posteriors"].items()}
        assert not any(failures.values()), failures


def test_least_squares_on_the_real_tables_are_the_independent_figures(reports):
    laws = reports["real"]["cosmology"]
    for table, omega_m, rms, rms_ia in (("des_sn5yr_v12", 0.365, 0.267, 0.169), ("des_dovekie", 0.352, 0.271, 0.169)):
        fit = laws[table]["flat_lcdm"]
        assert fit["omega_m"] == pytest.approx(omega_m, abs=0.003)
        assert fit["rms_all_mag"] == pytest.approx(rms, abs=0.001)
        assert fit["rms_ia_mag"] == pytest.approx(rms_ia, abs=0.0015)
    assert laws["des_sn5yr_v12"]["qfd_seed"]["rms_all_mag"] > 3.0


def test_real_light_curves_of_ab_surveys_measure_distances_to_less_than_half_a_magnitude(reports, page):
    surveys = reports["real"]["fit_report"]["scatter_by_survey"]
    for name in ("DES", "FOUNDATION", "PS1MD", "SNLS"):
        assert surveys[name]["rms_mag"] <= 0.45
        assert f"{name} {surveys[name]['rms_mag']:.2f}" in page
