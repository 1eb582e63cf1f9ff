"""Which distance law predicts supernovae better: PSIS-LOO, WAIC, K folds and a held-out set, with their uncertainties.

elpd: expected log predictive density (Vehtari, Gelman & Gabry 2017, Stat. Comput. 27, 1413); a difference counts only
against its standard error, which is that of the supernova-by-supernova differences. Folds and the held-out set come
from a hash of the supernova's name, made before any fit, so that no table, order or fit moves a supernova.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_whole
from skytrace.supernovae.cosmology import ALPHA_PER_MAG, HubbleData, hubble_data, residual_figures
from skytrace.supernovae.population import population_data
from skytrace.supernovae.population_options import ComparisonOptions, PopulationOptions, SamplerOptions
from skytrace.supernovae.sampling import log_likelihood_draws, mean_alpha_draws, sample_population

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "compare_models",
    "fold_figures",
    "fold_of_snid",
    "held_out",
    "leave_one_out",
    "pointwise_elpd",
    "score_fold",
    "snid_digest",
]

_DRAWS_PER_CHAIN = 500


def fold_of_snid(snid: Sequence[str], *, n_folds: int, salt: str) -> NDArray[np.int64]:
    """Fold (n,) from 0 to n_folds - 1 of supernovae: sha256 of "salt:name", the name in lower case."""
    check_whole("n_folds", n_folds, 2, 10**6)
    return np.array([snid_digest(name, salt=salt) % n_folds for name in snid], dtype=np.int64)


def snid_digest(name: str, *, salt: str) -> int:
    """sha256 of "salt:name", the name in lower case, as a number: what every lot drawn for a supernova goes by."""
    return int(hashlib.sha256(f"{salt}:{str(name).lower()}".encode()).hexdigest(), 16)


def held_out(snid: Sequence[str], *, options: ComparisonOptions | None = None) -> NDArray[np.bool_]:
    """Whether each supernova (n,) is kept from every posterior and fold, one in ``holdout_modulus``."""
    options = options or ComparisonOptions()
    return fold_of_snid(snid, n_folds=options.holdout_modulus, salt=options.holdout_salt) == 0


def leave_one_out(posterior: Any) -> Any:
    """arviz's PSIS-LOO of InferenceData: what ``pointwise_elpd`` and ``compare_models`` are made of. It takes
    a millisecond a supernova, so that who needs both computes it once.
    """
    import arviz

    return arviz.loo(posterior, var_name="alpha", pointwise=True, scale="log", reff=_relative_efficiency(posterior))


def pointwise_elpd(posterior: Any, *, k_hat_good: float = 0.7, loo: Any = None) -> pd.DataFrame:
    """One row a supernova of InferenceData: snid, elpd_loo, pareto_k, k_flag (above k_hat_good: not to be trusted).

    loo: ``leave_one_out`` of it, computed where None.
    """
    import pandas as pd

    loo = leave_one_out(posterior) if loo is None else loo
    k = np.asarray(loo.pareto_k)
    snid = posterior.log_likelihood["alpha"].coords["snid"].to_numpy().astype(str)
    return pd.DataFrame({"snid": snid, "elpd_loo": np.asarray(loo.loo_i), "pareto_k": k, "k_flag": ~(k <= k_hat_good)})


def compare_models(
    posteriors: Mapping[str, Any], *, options: ComparisonOptions | None = None, loo: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """One row a law, best first, of InferenceData by name that share their supernovae.

    elpd_loo, elpd_loo_se, p_loo; loo_difference to the best and loo_difference_se (0 for the best itself); the same
    with waic; pareto_k_max, n_k_flagged (k above k_hat_good), waic_warning (a variance above 0.4 for some supernova).
    loo: ``leave_one_out`` of each, computed where None.
    Raises CatalogueError where the laws were not fitted to the same alpha of the same supernovae.
    """
    import pandas as pd

    options = options or ComparisonOptions()
    if not posteriors:
        raise OptionError("posteriors is empty: give InferenceData by name")
    _same_supernovae(posteriors)
    loo = {name: leave_one_out(posterior) if loo is None else loo[name] for name, posterior in posteriors.items()}
    waic = {name: _waic(posterior) for name, posterior in posteriors.items()}
    best = max(loo, key=lambda name: loo[name].elpd_loo)
    rows = []
    for name in posteriors:
        k = np.asarray(loo[name].pareto_k)
        row = {"model": name, "elpd_loo": float(loo[name].elpd_loo), "elpd_loo_se": float(loo[name].se)}
        row |= {"p_loo": float(loo[name].p_loo)}
        row |= _difference("loo", np.asarray(loo[best].loo_i) - np.asarray(loo[name].loo_i))
        row |= {"elpd_waic": float(waic[name].elpd_waic), "elpd_waic_se": float(waic[name].se)}
        row |= {"p_waic": float(waic[name].p_waic)}
        row |= _difference("waic", np.asarray(waic[best].waic_i) - np.asarray(waic[name].waic_i))
        row |= {"pareto_k_max": float(k.max()), "n_k_flagged": int((~(k <= options.k_hat_good)).sum())}
        row |= {"waic_warning": bool(waic[name].warning), "n": len(k)}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("elpd_loo", ascending=False, kind="stable").reset_index(drop=True)


def score_fold(
    table: pd.DataFrame | HubbleData,
    fold: NDArray[np.int64],
    which: int,
    *,
    options: PopulationOptions,
    sampler: SamplerOptions | None = None,
) -> pd.DataFrame:
    """Fit everything but one fold and score that one: one shard of a cross-validation, which needs no other.

    table: Hubble table. fold: (n,). Returns one row a supernova of the fold: snid, fold, elpd (log of the mean
    predictive density), mu_mag, mu_err_mag, mu_predicted_mag, residual_mag, prob_ia. Never is the fold's alpha seen by
    the fit, nor its redshifts by the basis. The fast mode is tried first where ``sampler.method`` says so, and raises.
    """
    import pandas as pd
    from scipy.special import logsumexp

    hubble = table if isinstance(table, HubbleData) else hubble_data(table)
    fold = np.asarray(fold)
    if fold.shape != hubble.mu_mag.shape:
        raise CatalogueError(f"folds {fold.shape} do not fit {len(hubble.mu_mag)} supernovae")
    out = fold == which
    if not out.any() or out.all():
        raise CatalogueError(f"fold {which} has {int(out.sum())} of {len(out)} supernovae: nothing to fit or to score")
    fitted, basis = population_data(_rows(hubble, ~out), options=options)
    scored, _ = population_data(_rows(hubble, out), options=options, basis=basis)
    posterior = sample_population(fitted, options=options, sampler=sampler)
    likelihood = log_likelihood_draws(posterior, scored, draws_per_chain=_DRAWS_PER_CHAIN).reshape(-1, int(out.sum()))
    mean = mean_alpha_draws(posterior, scored, draws_per_chain=_DRAWS_PER_CHAIN).mean(axis=(0, 1))
    part = _rows(hubble, out)
    predicted = -mean / ALPHA_PER_MAG
    return pd.DataFrame(
        {
            "snid": part.snid,
            "fold": which,
            "elpd": logsumexp(likelihood, axis=0) - np.log(len(likelihood)),
            "mu_mag": part.mu_mag,
            "mu_err_mag": part.mu_err_mag,
            "mu_predicted_mag": predicted,
            "residual_mag": part.mu_mag - predicted,
            "prob_ia": part.prob_ia,
        }
    )


def fold_figures(scores: pd.DataFrame, *, prob_ia_min: float = 0.5) -> dict[str, Any]:
    """Of the joined tables of ``score_fold``: elpd, elpd_se, n_folds and the residuals' spread (``residual_figures``).

    Residuals are of predictions for supernovae that were not fitted, about the weighted offset of all of them.
    """
    n = len(scores)
    weight = 1.0 / scores["mu_err_mag"].to_numpy() ** 2
    likely_ia = ~(scores["prob_ia"].to_numpy() <= prob_ia_min)
    return {
        "elpd": float(scores["elpd"].sum()),
        "elpd_se": float(np.sqrt(n) * scores["elpd"].std(ddof=1)),
        "n_folds": int(scores["fold"].nunique()),
        **residual_figures(scores["residual_mag"], weight, likely_ia),
    }


def _waic(posterior: Any) -> Any:
    import warnings

    import arviz

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warning is a column of the table
        return arviz.waic(posterior, var_name="alpha", pointwise=True, scale="log")


def _relative_efficiency(posterior: Any) -> float:
    """ESS per draw of the thinned draws that carry the log likelihood; at most 1."""
    import arviz

    if posterior.posterior.attrs.get("method") == "fast":
        return float(posterior.posterior.attrs["diagnostic_ess_fraction"])
    ess = float(arviz.ess(posterior.posterior).to_array().mean())
    kept = posterior.log_likelihood.sizes["chain"] * posterior.log_likelihood.sizes["draw"]
    return min(1.0, ess / kept)


def _difference(name: str, pointwise: NDArray[np.float64]) -> dict[str, float]:
    error = np.sqrt(len(pointwise)) * pointwise.std(ddof=1)
    return {f"{name}_difference": float(pointwise.sum()), f"{name}_difference_se": float(error)}


def _same_supernovae(posteriors: Mapping[str, Any]) -> None:
    first_name, first = next(iter(posteriors.items()))
    alpha = first.observed_data["alpha"]
    for name, posterior in posteriors.items():
        other = posterior.observed_data["alpha"]
        if not (np.array_equal(other["snid"], alpha["snid"]) and np.array_equal(other, alpha)):
            raise CatalogueError(f"{name} was fitted to other supernovae than {first_name}: elpd cannot be compared")


def _rows(hubble: HubbleData, chosen: NDArray[np.bool_]) -> HubbleData:
    return HubbleData(**{name: column[chosen] for name, column in vars(hubble).items()})
