"""Small simulated parts of an evaluation, computed by the code that computes the real ones."""

import numpy as np
import pandas as pd

from skytrace.audit.detectability import recall_factors
from skytrace.audit.gates import compare_gates
from skytrace.audit.options import GateOptions, ShortcutOptions
from skytrace.audit.shortcuts import shortcut_aucs
from skytrace.learning import EvaluationOptions, evaluate_scores
from skytrace.learning.options import StrataEvaluationOptions, StratumOptions, SurveyScenario, TopOptions
from skytrace.learning.strata_evaluation import evaluate_strata
from skytrace.learning.top_composition import category_shares, top_composition

THRESHOLD = 0.5
CATEGORIES = np.array(["", "ring_proxy", "spiral_proxy", "merger_proxy"])


def score_table(n: int = 3000, *, lenses: int = 150, seed: int = 5) -> pd.DataFrame:
    """Scores of galaxies and lenses; spirals score higher than other galaxies, faint arcs lower than bright ones."""
    rng = np.random.default_rng(seed)
    label = (np.arange(n) < lenses).astype(int)
    snr = np.where(label == 1, rng.lognormal(2.0, 0.6, n), np.nan)
    category = np.where(label == 1, "", rng.choice(CATEGORIES, n, p=[0.85, 0.05, 0.05, 0.05]))
    logit = np.where(label == 1, 0.4 * snr - 2.0, -4.0 + 2.0 * (category == "spiral_proxy")) + rng.normal(0.0, 1.2, n)
    return pd.DataFrame(
        {
            "galaxy_id": [f"mock-{k:05d}" for k in range(n)], "score": 1.0 / (1.0 + np.exp(-logit)), "label": label,
            "tier": np.where(label == 1, np.array(["A", "B"])[np.arange(n) % 2], ""), "confuser_category": category,
            "theta_e_arcsec": np.where(label == 1, rng.uniform(0.5, 2.5, n), np.nan), "arc_snr": snr,
            "type": np.array(["SER", "DEV", "REX"])[np.arange(n) % 3],
        }
    )  # fmt: skip


def evaluation_of(scores: pd.DataFrame) -> dict:
    options = EvaluationOptions(n_resamples=100, false_positive_rates=(1e-2, 1e-3, 1e-4))
    return {"split": "test", **evaluate_scores(scores, threshold=THRESHOLD, options=options)}


def by_stratum(scores: pd.DataFrame) -> dict:
    strata = (StratumOptions("type"), StratumOptions("arc_snr", edges=(5.0, 10.0)), StratumOptions("seeing"))
    options = StrataEvaluationOptions(strata=strata, n_resamples=100)
    return evaluate_strata(scores, threshold=THRESHOLD, options=options)


def composition(scores: pd.DataFrame) -> dict:
    """Where 100 of 1e5 galaxies are taken the rates are measured; for 1 of 1e9 they are not resolved."""
    scenarios = (SurveyScenario("common", 1e-2), SurveyScenario("rare", 1e-4))
    options = TopOptions(survey_galaxies=1e5, top=(1, 5000), scenarios=scenarios, n_draws=100)
    shares = category_shares(scores.loc[scores["label"] == 0, "confuser_category"])
    return top_composition(scores, shares=shares, options=options)


def gates_of(scores: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    label = scores["label"].to_numpy()
    shifts = {"core": 0.5, "annulus": 1.5, "detector, core masked": 2.5, "detector": 3.0}
    seen = {name: rng.normal(shift * label) for name, shift in shifts.items()}
    return compare_gates(seen, label, options=GateOptions(n_resamples=60))


def shortcuts_of(scores: pd.DataFrame) -> pd.DataFrame:
    """One feature without signal, one with a little, one with much, and one that is nearly never known."""
    rng = np.random.default_rng(3)
    label = scores["label"].to_numpy()
    shifts = {"psfsize_r": 0.0, "core_flux_8_r": 0.6, "annulus_4_16_g": 1.5}
    features = pd.DataFrame({name: rng.normal(shift * label) for name, shift in shifts.items()})
    features["ebv"] = np.where(np.arange(len(label)) < 3, 0.1, np.nan)
    return shortcut_aucs(features, label, options=ShortcutOptions(n_resamples=60))


def two_factor(scores: pd.DataFrame) -> dict:
    """By tier, what the gate calls observable and what is found."""
    return {
        f"tier {tier}": recall_factors(part["arc_snr"] > 5.0, part["score"] >= THRESHOLD)
        for tier, part in scores[scores["label"] == 1].groupby("tier")
    }
