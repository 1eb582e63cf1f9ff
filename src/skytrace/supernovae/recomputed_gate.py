"""The reports of stage 3 made again from its tables, as ``recomputed_reports`` does for the stages before.

AUCs by scikit-learn instead of our ranks, their errors by counting pairs instead of by ranks.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.supernovae.outliers import SCORES, fit_mixture
from skytrace.supernovae.recomputed_reports import spread_again

if TYPE_CHECKING:
    from skytrace.supernovae.outlier_options import OutlierOptions

__all__ = ["injection_again", "outliers_again", "pairs_again", "scatter_again"]

_EDGES = (1.0, 1.1, 1.3, 1.6, 2.0, 10.0, np.inf)
_TAILS = {"68": 0.5 * (1.0 - 0.6826894921370859), "95": 0.5 * (1.0 - 0.9544997361036416)}


def scatter_again(scores: pd.DataFrame, gated: pd.DataFrame, options: OutlierOptions) -> dict[str, Any]:
    """scatter.json: spread of predictions for supernovae that were not fitted, by law and group."""
    outlier = (gated["p_outlier"] > options.p_outlier_min).to_numpy()
    report: dict[str, Any] = {}
    for model, rows in scores.groupby("model", sort=False):
        held = rows["held_out"].to_numpy(dtype=bool)
        groups = {"all": ~held, "clean": ~held & ~outlier, "held_out": held, "held_out_clean": held & ~outlier}
        report[str(model)] = {}
        for name, chosen in groups.items():
            part = rows[chosen]
            weight = 1.0 / part["mu_err_mag"].to_numpy() ** 2
            spread = spread_again(part["residual_mag"].to_numpy(), weight, part["prob_ia"].to_numpy())
            report[str(model)][name] = {
                "rms_mag": spread["rms_all_mag"], "wrms_mag": spread["wrms_all_mag"], "mad_mag": spread["mad_all_mag"],
                "n": spread["n_all"],
            }  # fmt: skip
    return {"clean_by": {"p_outlier_min": options.p_outlier_min}, "laws": report}


def pairs_again(pointwise: pd.DataFrame, scores: pd.DataFrame, reference: str) -> dict[str, Any]:
    """pairs.json, by joining on snid instead of by place."""
    elpd = _wide(pointwise, "posterior", "elpd_loo")
    report: dict[str, Any] = {"loo": {"student_t": {}, "mixture": {}}, "noise": {}}
    for name in elpd:
        noise, ending = ("mixture", "_mixture") if name.endswith("_mixture") else ("student_t", "")
        if reference + ending in elpd and name != reference + ending:
            report["loo"][noise][name.removesuffix("_mixture")] = _difference(elpd[name] - elpd[reference + ending])
        if name + "_mixture" in elpd:
            report["noise"][name] = _difference(elpd[name + "_mixture"] - elpd[name])
    for part, chosen in (("folds", ~scores["held_out"]), ("held_out", scores["held_out"])):
        wide = _wide(scores[chosen], "model", "elpd")
        report[part] = {law: _difference(wide[law] - wide[reference]) for law in wide if law != reference}
    return report


def outliers_again(gated: pd.DataFrame, truth: pd.DataFrame, options: OutlierOptions) -> dict[str, Any]:
    """outliers.json."""
    from scipy.stats import binomtest

    p, bad = gated["p_outlier"] > options.p_outlier_min, gated["chi2_per_dof"] > options.chi2_per_dof_min
    residual = gated.loc[p, "residual_mag"]
    bright, faint = residual[residual < 0.0], residual[residual >= 0.0]
    n = len(residual)
    tails = {
        f"p_bright_or_{words}": float(binomtest(len(bright), n, 0.5, alternative=side).pvalue) if n else None
        for words, side in (("fewer", "less"), ("more", "greater"))
    }
    mixtures = {}
    for name, features in options.mixtures.items():
        complete = int(gated[list(features)].notna().all(axis=1).sum())
        known = complete >= 20
        mixtures[name] = fit_mixture(gated[list(features)], seed=options.seed).report if known else {}
    rules = {"mixture": p, "light_curve": bad, "both": p & bad}
    named = ("p_outlier_min", "chi2_per_dof_min", "prob_ia_min")
    return {
        "gate": {name: getattr(options, name) for name in named},
        "n": len(gated),
        "n_outliers": n,
        "n_flagged": int((p & bad).sum()),
        "n_without_light_curve": int(gated["chi2_per_dof"].isna().sum()),
        "mixtures": mixtures,
        "sides": {
            "n_outliers": n, "n_brighter": len(bright), "n_fainter": len(faint), **tails,
            "median_brighter_mag": float(bright.median()) if len(bright) else None,
            "median_fainter_mag": float(faint.median()) if len(faint) else None,
        },
        "known_by": {
            name: _known_again(
                gated[known], outlier[known], {rule: is_in[known] for rule, is_in in rules.items()}, options
            )
            for name, (known, outlier) in _references(gated, truth, options).items()
        },
    }  # fmt: skip


def injection_again(injections: pd.DataFrame, options: OutlierOptions) -> dict[str, Any]:
    """outlier_injection.json."""
    levels = {}
    for level, every in injections.groupby("level", sort=False):
        lost = every["lost"].fillna(False).astype(bool)
        rows = every[~lost]
        injected, clean = rows["injected"].astype(bool), rows["clean"].astype(bool)
        found = rows["p_outlier"] > options.p_outlier_min
        pool = rows[injected | clean]
        ln_error = np.log(rows["recovered"][injected]) - np.log(rows["factor"][injected])
        place = np.digitize(rows["factor"], _EDGES[1:-1])
        levels[str(level)] = {
            "n": len(rows), "n_injected": int(injected.sum()), "n_lost": int(lost.sum()),
            "auc": {name: _auc(rows[name], injected) for name in SCORES},
            "auc_clean": {name: _auc(pool[name], pool["injected"]) for name in SCORES},
            "n_found": int((injected & found).sum()), "n_others_found": int((~injected & found).sum()),
            "by_factor": [
                {"factor_low": low, "factor_high": None if high == np.inf else high,
                 "n": int((injected & (place == k)).sum()), "n_found": int((injected & found & (place == k)).sum()),
                 "completeness": _share(int((injected & found & (place == k)).sum()),
                                        int((injected & (place == k)).sum()))}
                for k, (low, high) in enumerate(itertools.pairwise(_EDGES))
            ],
            "ln_factor_error_median": float(ln_error.median()) if len(ln_error) else None,
            "ln_factor_error_mad": float(1.4826 * (ln_error - ln_error.median()).abs().median())
            if len(ln_error) else None,
            "n_chi2_per_dof_above": int((every["chi2_per_dof"] > options.chi2_per_dof_min).sum()),
        }  # fmt: skip
    return {"levels": levels}


def _references(gated: pd.DataFrame, truth: pd.DataFrame, options: OutlierOptions) -> dict[str, tuple]:
    prob = gated["prob_ia"]
    found = {"prob_ia": (prob.notna(), prob <= options.prob_ia_min)}
    if len(truth):
        kind = gated["snid"].map(dict(zip(truth["snid"], truth["kind"], strict=True)))
        found["truth"] = (kind.notna(), kind.notna() & (kind != "ia"))
        for name in set(kind.dropna()) - {"ia"}:
            found[f"truth_{name}"] = (kind.isin(["ia", name]), kind == name)
    return found


def _known_again(some: pd.DataFrame, outlier: pd.Series, rules: dict, options: OutlierOptions) -> dict[str, Any]:
    report: dict[str, Any] = {"n": len(some), "auc": {}, "rules": {}}
    for score in [*SCORES, *(f"log_odds_{name}" for name in options.mixtures if name != options.gate)]:
        report["auc"][score] = _auc(some[score], outlier)
    for rule, chosen in rules.items():
        found, n_chosen, n_outliers = int((chosen & outlier).sum()), int(chosen.sum()), int(outlier.sum())
        report["rules"][rule] = {
            "n_chosen": n_chosen, "n_outliers": n_outliers, "n_found": found, "purity": _share(found, n_chosen),
            "completeness": _share(found, n_outliers),
        }  # fmt: skip
    return report


def _share(found: int, total: int) -> dict[str, Any]:
    """found of total with Jeffreys intervals of 1 and 2 sigma."""
    from scipy.stats import beta

    figures: dict[str, Any] = {"value": found / total if total else None}
    for level, tail in _TAILS.items() if total else ():
        ends = beta.ppf([tail, 1.0 - tail], found + 0.5, total - found + 0.5)
        figures |= {f"low_{level}": float(ends[0]), f"high_{level}": float(ends[1])}
    return figures


def _auc(score: pd.Series, outlier: pd.Series) -> dict[str, Any]:
    """Every outlier's share of the clean below it, and every clean one's of the outliers above it, ties as halves."""
    from scipy.stats import norm
    from sklearn.metrics import roc_auc_score

    known = score.notna().to_numpy()
    x, is_outlier = score.to_numpy(dtype=float)[known], outlier.to_numpy(dtype=bool)[known]
    bad, good = x[is_outlier], x[~is_outlier]
    record: dict[str, Any] = {
        "value": None, "n_outliers": len(bad), "n_clean": len(good), "n_unknown": int((~known).sum())
    }  # fmt: skip
    if min(len(bad), len(good)) == 0:
        return record
    area = record["value"] = float(roc_auc_score(is_outlier, x))
    if min(len(bad), len(good)) > 1 and 0.0 < area < 1.0:
        beaten, beating = _below(good, bad), 1.0 - _below(bad, good)
        error = record["standard_error"] = float(
            np.sqrt(beaten.var(ddof=1) / len(bad) + beating.var(ddof=1) / len(good))
        )
        for level, tail in (("68", 0.5 * (1.0 - 0.6827)), ("95", 0.5 * (1.0 - 0.9545))):
            reach = norm.isf(tail) * error / (area * (1.0 - area))
            for end, sign in (("low", -1.0), ("high", 1.0)):
                odds = area / (1.0 - area) * np.exp(sign * reach)
                record[f"{end}_{level}"] = float(odds / (1.0 + odds))
    return record


def _below(these: np.ndarray, those: np.ndarray) -> np.ndarray:
    """Share of ``these`` below each of ``those``."""
    order = np.sort(these)
    return 0.5 * (np.searchsorted(order, those, "left") + np.searchsorted(order, those, "right")) / len(order)


def _wide(table: pd.DataFrame, by: str, value: str) -> dict[str, pd.Series]:
    """Name -> value by snid and its number among the rows of the same snid."""
    return {
        str(name): part.set_index([part["snid"], part.groupby("snid").cumcount()])[value]
        for name, part in table.groupby(by, sort=False)
    }


def _difference(each: pd.Series) -> dict[str, Any]:
    error = float(np.sqrt(len(each)) * each.std())
    total = float(each.sum())
    distance = total / error if error > 0.0 else None
    near = abs(total) < 4.0 or abs(total) <= 2.0 * error
    return {"difference": total, "se": error, "standard_errors": distance, "indistinguishable": near, "n": len(each)}
