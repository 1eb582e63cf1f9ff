"""Which supernovae the population does not explain, and how good the scores are that say so.

Three scores are held against each other: the pointwise -elpd (log predictive density of a supernova from fits that have
not seen it), the probability of the outlying component of a two-component Gaussian mixture of per-supernova summaries,
and the Pareto k of PSIS, which measures how much a fit leans on a supernova and is kept for comparison. An outlier is a
supernova that the population does not explain; why (another type, lensing, a bad light curve) is another question.

k_J*: the constant that a supernova alone gives the fitted law, D_i = (c / k_J*) f(z_i): ln k_J* = ln h0 - (ln 10 / 5)
(mu_i - mu_law(z_i)). A supernova four times too bright seems half as far, and has twice the k_J*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.supernovae.outlier_options import OutlierOptions

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "SCORES",
    "Mixture",
    "brightness_sides",
    "fit_mixture",
    "gate_supernovae",
    "light_curve_features",
    "ln_k_j_star",
    "outlier_rules",
    "outlier_summaries",
    "residual_scatter",
    "rule_figures",
    "score_auc",
]

#: Column of the gated table -> what it is; larger says outlier.
SCORES = {"neg_elpd": "-elpd", "log_odds": "mixture", "pareto_k": "Pareto k"}
_MIN_ROWS = 20  # below, two components and their covariances are not determined


@dataclass(frozen=True)
class Mixture:
    """p_outlier, log_odds (n,): of the outlying component; NaN where a feature is unknown. label (n,): 0 or 1, the
    component by order of the mean of the first feature, -1 unknown. report: weights, means, BIC, in plain types.
    """

    p_outlier: NDArray[np.float64]
    log_odds: NDArray[np.float64]
    label: NDArray[np.int64]
    report: dict[str, Any]


def ln_k_j_star(residual_mag: ArrayLike, *, h0_km_s_mpc: float = 70.0) -> NDArray[np.float64]:
    """ln of the constant k_J* [km/s/Mpc] that puts a supernova of residual mu - mu_law (n,) [mag] on the law."""
    return np.log(h0_km_s_mpc) - 0.2 * np.log(10.0) * np.asarray(residual_mag, dtype=np.float64)


def outlier_summaries(
    scores: pd.DataFrame, elpd: pd.DataFrame, fits: pd.DataFrame, *, h0_km_s_mpc: float = 70.0
) -> pd.DataFrame:
    """What the gate knows of each supernova, one row each, in the order of ``scores``.

    scores: of ``score_fold`` for one law with held_out. elpd: of ``pointwise_elpd`` of the same law's posterior.
    fits: of ``fit_light_curves``; a supernova without a light curve has unknown chi2_per_dof and residual_skew.
    Columns: snid, held_out, residual_mag, mu_err_mag, prob_ia, ln_k_j_star, neg_elpd (leave-one-out; of the held out
    the prediction's), pareto_k (NaN of the held out), chi2_per_dof, ln_chi2_per_dof, residual_skew.
    """
    table = _numbered(scores[["snid", "held_out", "residual_mag", "mu_err_mag", "prob_ia", "elpd"]])
    table = table.merge(_numbered(elpd[["snid", "elpd_loo", "pareto_k"]]), how="left", on=["snid", "_which"])
    light = light_curve_features(fits).reindex(table["snid"]).set_index(table.index)
    return pd.DataFrame(
        {
            **{name: table[name] for name in ("snid", "held_out", "residual_mag", "mu_err_mag", "prob_ia")},
            "ln_k_j_star": ln_k_j_star(table["residual_mag"], h0_km_s_mpc=h0_km_s_mpc),
            "neg_elpd": -table["elpd_loo"].fillna(table["elpd"]),
            "pareto_k": table["pareto_k"],
            **{str(name): light[name] for name in light},
        }
    )


def light_curve_features(fits: pd.DataFrame) -> pd.DataFrame:
    """chi2_per_dof, its ln, and residual_skew of the fits that have degrees of freedom, by snid."""
    fits = fits[fits["ndof"] > 0].drop_duplicates("snid").set_index("snid")
    per_dof = (fits["chi2"] / fits["ndof"]).astype(float)
    per_dof = per_dof.where(per_dof > 0.0)
    return pd.DataFrame(
        {"chi2_per_dof": per_dof, "ln_chi2_per_dof": np.log(per_dof), "residual_skew": fits["skew"].astype(float)}
    )


def fit_mixture(features: pd.DataFrame, *, seed: int = 42) -> Mixture:
    """Two Gaussian components of ``features`` (n, k), against one by BIC; the outlying one is that of fewer members.

    Starts: the robust core against the rest, and k-means; the likelier fit counts. Where BIC prefers one component no
    supernova is an outlier: p_outlier 0, log_odds that of the two components nevertheless (a score can still rank).
    Raises CatalogueError where fewer than 20 rows are complete.
    """
    from sklearn.mixture import GaussianMixture

    values = features.to_numpy(dtype=np.float64)
    known = np.asarray(np.isfinite(values).all(axis=1))
    if known.sum() < _MIN_ROWS:
        names = ", ".join(map(str, features))
        raise CatalogueError(f"{int(known.sum())} supernovae know all of {names}: a mixture needs at least {_MIN_ROWS}")
    x = values[known]
    centre, scale = np.median(x, axis=0), _robust_scale(x)
    x = (x - centre) / scale
    one = GaussianMixture(1, random_state=seed).fit(x)
    two = max(_two_components(x, seed), key=lambda fit: fit.lower_bound_)
    order = np.argsort(two.means_[:, 0], kind="stable")
    outlying = int(np.argmin(two.weights_))
    bic_one, bic_two = float(one.bic(x)), float(two.bic(x))
    odds = _log_odds(two, x, outlying)
    preferred = bic_two < bic_one
    p_outlier, log_odds = np.full(len(values), np.nan), np.full(len(values), np.nan)
    label = np.full(len(values), -1, dtype=np.int64)
    log_odds[known] = odds
    p_outlier[known] = np.where(preferred, 1.0 / (1.0 + np.exp(-np.clip(odds, -700.0, 700.0))), 0.0)
    label[known] = np.argsort(order)[two.predict(x)]
    report = {
        "features": [str(name) for name in features],
        "n": int(known.sum()),
        "bic_one": bic_one,
        "bic_two": bic_two,
        "two_components": bool(preferred),
        "outlying_label": int(np.argsort(order)[outlying]),
        "outlying_weight": float(two.weights_[outlying]),
        "weights": [float(two.weights_[k]) for k in order],
        "means": [(centre + scale * two.means_[k]).tolist() for k in order],
        "sds": [(scale * np.sqrt(np.diag(two.covariances_[k]))).tolist() for k in order],
    }
    return Mixture(p_outlier, log_odds, label, report)


def gate_supernovae(
    summaries: pd.DataFrame, *, options: OutlierOptions | None = None
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """``summaries`` with p_outlier, log_odds, label of the gate's mixture (and log_odds_<name> of every mixture),
    outlier (p_outlier > p_outlier_min) and flagged (also chi2/ndof above its limit); the mixtures' reports by name.

    A mixture that too few supernovae know the features of is reported with the reason, and scores nobody; the gate's
    own must be measured: CatalogueError.
    """
    options = options or OutlierOptions()
    table, reports = summaries.copy(), {}
    for name, features in options.mixtures.items():
        try:
            mixture = fit_mixture(summaries[list(features)], seed=options.seed)
        except CatalogueError as error:
            if name == options.gate:
                raise
            reports[name] = {"features": list(features), "reason": str(error)}
            table[f"log_odds_{name}"] = np.nan
            continue
        reports[name] = mixture.report
        table[f"log_odds_{name}"] = mixture.log_odds
        if name == options.gate:
            table["p_outlier"], table["log_odds"], table["label"] = mixture.p_outlier, mixture.log_odds, mixture.label
    table["outlier"] = table["p_outlier"] > options.p_outlier_min
    table["flagged"] = table["outlier"] & (table["chi2_per_dof"] > options.chi2_per_dof_min)
    return table, reports


def outlier_rules(gated: pd.DataFrame, *, options: OutlierOptions) -> dict[str, NDArray[np.bool_]]:
    """Who each rule calls an outlier (n,): the mixture, a bad light curve, and both together."""
    bad = (gated["chi2_per_dof"] > options.chi2_per_dof_min).to_numpy()
    mixture = gated["outlier"].to_numpy(dtype=bool)
    return {"mixture": mixture, "light_curve": bad, "both": mixture & bad}


def score_auc(score: ArrayLike, is_outlier: ArrayLike) -> dict[str, Any]:
    """Area under the ROC of a score (n,), larger meaning outlier, with the standard error of DeLong, DeLong &
    Clarke-Pearson (1988) and intervals that are symmetric in the logit of the area, so that they stay within 0 to 1.

    Rows whose score is NaN are left out and counted. {value, standard_error, low_68, ..., n_outliers, n_clean,
    n_unknown}; value None with a reason where a class is empty. No interval where a class has one member, or where the
    area is 0 or 1: none is known.
    """
    from scipy.special import expit, logit
    from scipy.stats import norm, rankdata

    from skytrace.statistics.intervals import LEVELS

    x, outlier = np.asarray(score, dtype=np.float64), np.asarray(is_outlier, dtype=bool)
    known = ~np.isnan(x)
    x, outlier = x[known], outlier[known]
    n, m = int(outlier.sum()), int((~outlier).sum())
    counts = {"n_outliers": n, "n_clean": m, "n_unknown": int((~known).sum())}
    if min(n, m) == 0:
        return {"value": None, "reason": "one class has no supernova with this score", **counts}
    ranks = rankdata(x)
    above = (ranks[outlier] - rankdata(x[outlier])) / m  # of the clean, the share below each outlier
    below = 1.0 - (ranks[~outlier] - rankdata(x[~outlier])) / n
    area = float(above.mean())
    record: dict[str, Any] = {"value": area}
    if min(n, m) > 1 and 0.0 < area < 1.0:
        error = float(np.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m))
        record["standard_error"] = error
        for label, level in LEVELS.items():
            reach = norm.ppf(0.5 + 0.5 * level) * error / (area * (1.0 - area))
            record[f"low_{label}"], record[f"high_{label}"] = (float(expit(logit(area) + s * reach)) for s in (-1, 1))
    return {**record, **counts}


def rule_figures(chosen: ArrayLike, is_outlier: ArrayLike) -> dict[str, Any]:
    """Purity and completeness of a rule (n,) against what is known (n,), with Beta intervals of 68 and 95 %."""
    from skytrace.statistics.intervals import LEVELS, beta_interval

    chosen, truth = np.asarray(chosen, dtype=bool), np.asarray(is_outlier, dtype=bool)
    found = int((chosen & truth).sum())
    figures: dict[str, Any] = {"n_chosen": int(chosen.sum()), "n_outliers": int(truth.sum()), "n_found": found}
    for name, total in (("purity", figures["n_chosen"]), ("completeness", figures["n_outliers"])):
        if total == 0:
            figures[name] = {"value": None, "reason": "nobody to divide by"}
            continue
        figures[name] = {"value": found / total}
        for label, level in LEVELS.items():
            low, high = beta_interval(found, total, level)
            figures[name] |= {f"low_{label}": float(low), f"high_{label}": float(high)}
    return figures


def brightness_sides(gated: pd.DataFrame) -> dict[str, Any]:
    """Outliers brighter and fainter than the law, with the chance that as few would be bright were each side as likely.

    Lensing, or more mass shining, only brightens: fainter outliers need another cause, whatever the bright ones are.
    p_bright_or_fewer, p_bright_or_more: binomial, one-sided, null 1/2.
    """
    from scipy.stats import binom

    residual = gated.loc[gated["outlier"], "residual_mag"].to_numpy()
    n, bright = len(residual), int((residual < 0.0).sum())
    return {
        "n_outliers": n,
        "n_brighter": bright,
        "n_fainter": n - bright,
        "p_bright_or_fewer": float(binom.cdf(bright, n, 0.5)) if n else None,
        "p_bright_or_more": float(binom.sf(bright - 1, n, 0.5)) if n else None,
        "median_brighter_mag": float(np.median(residual[residual < 0.0])) if bright else None,
        "median_fainter_mag": float(np.median(residual[residual >= 0.0])) if n > bright else None,
    }


def residual_scatter(scores: pd.DataFrame, outlier: ArrayLike) -> dict[str, Any]:
    """rms, weighted rms and 1.4826 MAD [mag] of predictions for supernovae that were not fitted, by group.

    scores: rows of ``score_fold`` of one law, with held_out; outlier (n,): of the same rows. Each group is taken about
    its own inverse-variance-weighted mean. all: predicted in folds; clean: of these no outlier; held_out and
    held_out_clean: in no posterior and no fold's fit (the gate that says who is clean has seen them).
    """
    from skytrace.supernovae.cosmology import residual_figures

    held, out = scores["held_out"].to_numpy(dtype=bool), np.asarray(outlier, dtype=bool)
    groups = {"all": ~held, "clean": ~held & ~out, "held_out": held, "held_out_clean": held & ~out}
    report = {}
    for name, chosen in groups.items():
        part = scores[chosen]
        everybody = np.ones(len(part), dtype=bool)
        figures = residual_figures(part["residual_mag"], 1.0 / part["mu_err_mag"].to_numpy() ** 2, everybody)
        report[name] = {f"{key}_mag": figures[f"{key}_all_mag"] for key in ("rms", "wrms", "mad")} | {"n": len(part)}
    return report


def _numbered(table: pd.DataFrame) -> pd.DataFrame:
    """With the number of the row among those of the same snid: a release may list a supernova several times."""
    return table.assign(_which=table.groupby("snid", sort=False).cumcount())


def _robust_scale(x: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = 1.4826 * np.median(np.abs(x - np.median(x, axis=0)), axis=0)
    return np.where(spread > 0.0, spread, np.where(x.std(axis=0) > 0.0, x.std(axis=0), 1.0))


def _two_components(x: NDArray[np.float64], seed: int) -> list[Any]:
    """Fits from k-means and from the robust core (within 3 sigma of the median in every feature) against the rest."""
    from sklearn.mixture import GaussianMixture

    fits = [GaussianMixture(2, n_init=3, random_state=seed, max_iter=500).fit(x)]
    core = (np.abs(x) < 3.0).all(axis=1)
    if min(core.sum(), (~core).sum()) > x.shape[1] + 1:
        parts = (x[core], x[~core])
        covariances = [np.atleast_2d(np.cov(part.T)) + 1e-6 * np.eye(x.shape[1]) for part in parts]
        fits.append(
            GaussianMixture(
                2, random_state=seed, max_iter=500, weights_init=[core.mean(), 1.0 - core.mean()],
                means_init=[part.mean(axis=0) for part in parts],
                precisions_init=[np.linalg.inv(covariance) for covariance in covariances],
            ).fit(x)
        )  # fmt: skip
    return fits


def _log_odds(mixture: Any, x: NDArray[np.float64], outlying: int) -> NDArray[np.float64]:
    """ln of weight times density of the outlying component over that of the other; never saturates, so it ranks."""
    from scipy.stats import multivariate_normal

    log_terms = [
        np.log(mixture.weights_[k])
        + np.atleast_1d(multivariate_normal(mixture.means_[k], mixture.covariances_[k], allow_singular=True).logpdf(x))
        for k in (0, 1)
    ]
    return np.asarray(log_terms[outlying] - log_terms[1 - outlying])
