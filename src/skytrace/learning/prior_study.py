"""What estimates of a small prior are worth: simulations in which it is known, and so are the densities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import check_whole
from skytrace.learning.class_prior import ESTIMATORS, apply_estimator, exact_density_prior, tail_ratio_upper_bound
from skytrace.learning.gaussian_problem import GaussianProblem
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["prior_study", "simulated_estimates"]


def prior_study(
    *,
    priors: Sequence[float] = (1e-2, 1e-3, 1e-4),
    problem: GaussianProblem | None = None,
    n_positives: int = 100,
    n_unlabelled: int = 20_000,
    n_simulations: int = 200,
    estimators: Sequence[str] = ESTIMATORS,
    level: float = 0.95,
    seed: int,
) -> pd.DataFrame:
    """A row a prior and estimator, and one for the exact densities and for the upper bound.

    Columns: prior, estimator, n_simulations, median_ratio, low_ratio, high_ratio (16, 50 and 84 % of estimate / prior),
    relative_error (root mean square of estimate / prior - 1), within_factor_2 (share of simulations), covers (of the
    bound: share in which it lies at or above the prior, which must be ``level`` or more; else NaN), and covers_low_95,
    covers_high_95: its Jeffreys interval.
    The best case for all: scores are the exact log-odds of the label, with no classifier to learn.
    """
    import pandas as pd

    rows = []
    for prior in priors:
        found = simulated_estimates(
            prior, problem=problem, n_positives=n_positives, n_unlabelled=n_unlabelled, n_simulations=n_simulations,
            estimators=estimators, level=level, seed=seed,
        )  # fmt: skip
        for name, estimate in found.items():
            ratio = estimate.to_numpy() / prior
            low, median, high = np.quantile(ratio, [0.16, 0.5, 0.84])
            bound = name == "upper_bound"
            ends = beta_interval(np.sum(ratio >= 1.0), len(ratio), LEVELS["95"]) if bound else (np.nan, np.nan)
            rows.append(
                {
                    "prior": prior,
                    "estimator": name,
                    "n_simulations": n_simulations,
                    "median_ratio": median,
                    "low_ratio": low,
                    "high_ratio": high,
                    "relative_error": np.sqrt(np.mean((ratio - 1.0) ** 2)),
                    "within_factor_2": np.mean((ratio >= 0.5) & (ratio <= 2.0)),
                    "covers": np.mean(ratio >= 1.0) if bound else np.nan,
                    "covers_low_95": float(ends[0]),
                    "covers_high_95": float(ends[1]),
                }
            )
    return pd.DataFrame(rows)


def simulated_estimates(
    prior: float,
    *,
    problem: GaussianProblem | None = None,
    n_positives: int,
    n_unlabelled: int,
    n_simulations: int,
    estimators: Sequence[str] = ESTIMATORS,
    level: float = 0.95,
    seed: int,
) -> pd.DataFrame:
    """Estimates, a row a simulation, a column an estimator; and exact_densities and upper_bound."""
    import pandas as pd

    check_whole("n_simulations", n_simulations, 1, 1_000_000)
    problem = problem or GaussianProblem(n_features=4)
    rows = []
    for number in range(n_simulations):
        rng = np.random.default_rng([seed, number])
        of_positives = problem.log_ratio(problem.positives(n_positives, rng=rng))
        of_unlabelled = problem.log_ratio(problem.unlabelled(n_unlabelled, prior=prior, rng=rng)[0])
        # log-odds of the label: n_P f_P / (n_U f_U), f_U = pi f_P + (1 - pi) f_N
        p, u = (
            np.log(n_positives / n_unlabelled) + z - np.logaddexp(np.log(prior) + z, np.log1p(-prior))
            for z in (of_positives, of_unlabelled)
        )
        row = {name: apply_estimator(name, p, u) for name in estimators}
        row["exact_densities"] = exact_density_prior(of_unlabelled)
        row["upper_bound"] = tail_ratio_upper_bound(p, u, level=level)
        rows.append(row)
    return pd.DataFrame(rows)
