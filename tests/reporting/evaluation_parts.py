"""Small simulated parts of an evaluation, computed by the code that computes the real ones."""

import numpy as np
import pandas as pd

from skytrace.audit.detectability import recall_factors
from skytrace.learning import EvaluationOptions, evaluate_scores, metrics
from skytrace.statistics import beta_interval, bootstrap_interval

THRESHOLD = 0.5
CATEGORIES = np.array(["", "ring_proxy", "spiral_proxy", "merger_proxy"])


def score_table(n: int = 3000, *, lenses: int = 150, seed: int = 5) -> pd.DataFrame:
    """Scores of galaxies and lenses; spirals score higher than other galaxies, faint arcs lower than bright ones."""
    rng = np.random.default_rng(seed)
    label = (np.arange(n) < lenses).astype(int)
    snr = np.where(label == 1, rng.lognormal(2.0, 0.6, n), 0.0)
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


def shares(rows: list[dict]) -> pd.DataFrame:
    """k of n of every row as value with the house's intervals."""
    table = pd.DataFrame(rows)
    table["value"] = table["k"] / table["n"]
    table["low68"], table["high68"] = beta_interval(table["k"], table["n"])
    table["low95"], table["high95"] = beta_interval(table["k"], table["n"], 0.9545)
    return table


def recall_by_stratum(scores: pd.DataFrame) -> pd.DataFrame:
    lenses = scores[scores["label"] == 1].assign(arc=lambda t: np.where(t["arc_snr"] < 7.4, "faint", "bright"))
    rows = [
        {"stratum": stratum, "bin": name, "k": int((part["score"] >= THRESHOLD).sum()), "n": len(part)}
        for stratum, column in (("type", "type"), ("arc_snr", "arc"))
        for name, part in lenses.groupby(column)
    ]
    return shares(rows).rename(columns={"k": "n_found", "value": "recall"})


def auc_table(scores: pd.DataFrame, features: dict[str, np.ndarray], *, name: str) -> pd.DataFrame:
    rows = []
    for feature, values in features.items():
        label = scores["label"].to_numpy()
        interval = bootstrap_interval(metrics.roc_auc, values, label, n_resamples=60, seed=1, strata=label).as_dict()
        low = interval["low_68"]
        flag = "red" if low > 0.7 else "yellow" if low > 0.6 else "green"
        rows.append({name: feature, "auc": interval.pop("value"), **interval, "colour": flag})
    table = pd.DataFrame(rows).drop(columns="standard_error")
    return table.rename(columns=lambda column: column.replace("_", "") if column[:3] in ("low", "hig") else column)


def shortcuts_of(scores: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    label = scores["label"].to_numpy()
    shifts = {"psfsize_r": 0.0, "core_flux_8_r": 0.6, "annulus_4_16_g": 1.5}
    return auc_table(scores, {name: rng.normal(shift * label) for name, shift in shifts.items()}, name="feature")


def two_factor(scores: pd.DataFrame) -> dict:
    """By tier, what the gate calls observable and what is found."""
    return {
        f"tier {tier}": recall_factors(part["arc_snr"] > 5.0, part["score"] >= THRESHOLD)
        for tier, part in scores[scores["label"] == 1].groupby("tier")
    }
