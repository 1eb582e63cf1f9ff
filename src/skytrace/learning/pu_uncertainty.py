"""How sure a probability is whose prior nobody knows well: draws of the prior and of the calibration's two numbers.

The prior enters twice: as the share of positives among the unlabelled rows that the scale is fitted with, and as the
share in the survey that probabilities are told for. Both are uncertain by one LogNormal factor. What is not in the
interval: the scatter of the classifiers themselves, and positives of the field that are unlike the known ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, check_between, check_whole
from skytrace.learning.pu_calibration import fit_pu_scale
from skytrace.learning.pu_losses import shifted_logits

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["probability_intervals", "scale_draws"]

#: No share of positives among unlabelled rows is believed above this.
_LARGEST_PRIOR = 0.5


def scale_draws(
    logits: ArrayLike, labelled: ArrayLike, *, prior: float, log_sd: float, n_draws: int, seed: int
) -> pd.DataFrame:
    """prior_factor, slope, intercept of ``n_draws`` (rows): factor ~ LogNormal(0, log_sd), the other two fitted at
    prior x factor to positives and unlabelled rows of the calibration fold, each drawn with replacement.

    Raises CatalogueError with fewer than two positives or unlabelled rows.
    """
    import pandas as pd

    check_whole("n_draws", n_draws, 1, 10**7)
    check_between("log_sd", log_sd, 0.0, 10.0)
    z, s = np.asarray(logits, dtype=np.float64), np.asarray(labelled)
    of = [np.flatnonzero(s == value) for value in (1, 0)]
    if min(map(len, of)) < 2:
        raise CatalogueError(
            f"the calibration fold holds {len(of[0])} known positives and {len(of[1])} unlabelled rows; two of each "
            "are needed: give it a larger share of the sky"
        )
    rng = np.random.default_rng(seed)
    factors = np.exp(log_sd * rng.standard_normal(n_draws))
    rows = []
    for factor in factors:
        drawn = np.concatenate([rng.choice(some, len(some)) for some in of])
        slope, intercept = fit_pu_scale(z[drawn], s[drawn], prior=_bounded(prior * factor))
        rows.append({"prior_factor": factor, "slope": slope, "intercept": intercept})
    return pd.DataFrame(rows)


def probability_intervals(
    logits: ArrayLike, draws: pd.DataFrame, *, prior: float, target_prior: float, levels: dict[str, float]
) -> pd.DataFrame:
    """low_<name>, high_<name> (rows as logits) of the probability at ``target_prior``, for name -> level.

    logits (n,): of the meta-learner, before the scale. draws: of ``scale_draws`` at ``prior``.
    """
    import pandas as pd
    from scipy.special import expit

    z = np.asarray(logits, dtype=np.float64)
    shifted: NDArray[np.float64] = np.stack(
        [
            shifted_logits(
                draw.slope * z + draw.intercept, from_prior=_bounded(prior * draw.prior_factor),
                to_prior=_bounded(target_prior * draw.prior_factor),
            )
            for draw in draws.itertuples()
        ]
    )  # fmt: skip
    columns = {}
    for name, level in levels.items():
        low, high = np.quantile(shifted, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
        columns[f"low_{name}"], columns[f"high_{name}"] = expit(low), expit(high)
    return pd.DataFrame(columns)


def _bounded(prior: float) -> float:
    return float(np.clip(prior, 1e-12, _LARGEST_PRIOR))
