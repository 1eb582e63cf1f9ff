"""A posterior as arviz InferenceData: parameters with the physical coefficients, log likelihood per supernova, health.

Nothing in it depends on when it was made, so that the same draws make the same file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.supernovae.cosmology import ALPHA_PER_MAG
from skytrace.supernovae.sampling import log_likelihood_draws

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from skytrace.supernovae.distance_basis import DistanceBasis
    from skytrace.supernovae.population import PopulationData
    from skytrace.supernovae.sampling import Posterior

__all__ = ["inference_data", "posterior_summary"]


def inference_data(
    posterior: Posterior,
    data: PopulationData,
    *,
    snid: Sequence[str],
    basis: DistanceBasis | None = None,
    log_likelihood_draws_per_chain: int = 500,
) -> Any:
    """InferenceData with the groups posterior, log_likelihood (evenly thinned), observed_data and sample_stats.

    posterior: offset, c (component), p (coefficient: k_j, eta_prime, xi, by solve_triangular from c), omega_m,
    sigma_int, nu or the outliers' parameters, and sigma_int_mag. Attributes: the method, the law, the likelihood, every
    diagnostic as diagnostic_<name>, and failures (";"-joined, "" where the run converged).
    """
    import arviz

    values = dict(posterior.values)
    coords: dict[str, Any] = {"snid": np.asarray(snid).astype(str)}
    dims: dict[str, list[str]] = {"alpha": ["snid"]}
    if basis is not None and "c" in values:
        values["p"] = basis.physical(values["c"])
        dims |= {"c": ["component"], "p": ["coefficient"]}
        coords |= {"component": list(range(1, values["c"].shape[-1] + 1)), "coefficient": list(basis.names)}
    values["sigma_int_mag"] = values["sigma_int"] / ALPHA_PER_MAG
    likelihood = log_likelihood_draws(posterior, data, draws_per_chain=log_likelihood_draws_per_chain)
    attributes: dict[str, Any] = {
        "method": posterior.method,
        "model": posterior.options.model,
        "likelihood": posterior.options.likelihood,
        "failures": ";".join(posterior.failures),
        **{f"diagnostic_{name}": value for name, value in posterior.diagnostics.items()},
    }
    # one call a group: arviz gives all groups of one call the same draws, and the likelihood has fewer
    parts = [
        arviz.from_dict(posterior=values, sample_stats=posterior.statistics or None, coords=coords, dims=dims),
        arviz.from_dict(log_likelihood={"alpha": likelihood}, coords=coords, dims=dims),
        arviz.from_dict(observed_data={"alpha": np.asarray(data.alpha)}, coords=coords, dims=dims),
    ]
    joined: Any = arviz.concat(*parts)
    for group in joined.groups():
        joined[group].attrs = dict(attributes) if group == "posterior" else {}
    joined.attrs = {}
    return joined


def posterior_summary(data: Any) -> pd.DataFrame:
    """One row a parameter of InferenceData: mean, sd, median, low68, high68, low95, high95, r_hat, ess_bulk, ess_tail.

    The coefficients p also have covariance_<name> with each of them (NaN of other parameters): they are so correlated
    that an sd alone says nothing of where they may lie.
    For the fast mode r_hat and ess are NaN: its resampled draws are not chains; its health is in the attributes.
    """
    import arviz
    import pandas as pd

    samples = data.posterior
    chains = samples.attrs.get("method") != "fast"
    health = {"r_hat": arviz.rhat, "ess_bulk": arviz.ess, "ess_tail": lambda x: arviz.ess(x, method="tail")}
    measured = {name: function(samples) for name, function in health.items()} if chains else {}
    rows = []
    for name in samples.data_vars:
        array = samples[name].to_numpy().reshape(-1, *samples[name].shape[2:])
        labels = samples[name].coords[samples[name].dims[2]].to_numpy() if array.ndim == 2 else [None]
        for i, label in enumerate(labels):
            draws = array if label is None else array[:, i]
            low95, low68, median, high68, high95 = np.percentile(draws, [2.275, 15.8655, 50.0, 84.1345, 97.725])
            row = {"parameter": str(name) if label is None else f"{name}[{label}]", "mean": draws.mean()}
            row |= {"sd": draws.std(ddof=1), "median": median, "low68": low68, "high68": high68}
            row |= {"low95": low95, "high95": high95}
            row |= {key: float(np.atleast_1d(measured[key][name])[i]) if chains else np.nan for key in health}
            if name == "p":
                row |= dict(zip((f"covariance_{other}" for other in labels), np.cov(array.T)[i], strict=True))
            rows.append(row)
    return pd.DataFrame(rows)
