"""Do the intervals hold what they say? Posteriors of simulated observations, many at once, against the truth.

Two kinds of observations: draws of the model itself (emulator, its error, inadequacy, noise), which test the sampler,
and spectra of the simulator that the emulator never saw, which test emulator and covariance too. Each is sampled by
NUTS, and by importance sampling from the Laplace approximation as an independent check.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.special import gammaln, ndtr

from skytrace.errors import CatalogueError
from skytrace.spectra.inference_density import coordinate_names, from_unit, log_densities
from skytrace.spectra.inference_displacement import settled_target
from skytrace.spectra.inference_mode import in_batches
from skytrace.spectra.inference_options import COVERAGE_68
from skytrace.spectra.inference_posterior import PriorWidth, prior_widths
from skytrace.spectra.inference_sampling import nuts_of_targets
from skytrace.spectra.inference_target import SpectrumTarget, spectrum_target

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions

__all__ = ["coverage_of_mocks", "coverage_report"]

_PROPOSAL_DF, _IMPORTANCE_DRAWS = 5.0, 2000


def coverage_of_mocks(
    luminosity: NDArray[np.float64], error: NDArray[np.float64], truth: NDArray[np.float64], ids: ArrayLike, *,
    model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions,
    scales: ArrayLike = (1.0, 1.0), phase_day: float | None = None,
) -> pd.DataFrame:  # fmt: skip
    """One row a mock and parameter: mock, parameter, truth, mean, sd, low68, high68, low95, high95, prior_sd, rank (of
    the truth among the draws, in [0, 1]); of the mock r_hat, ess, divergences, importance_k (Pareto k-hat),
    importance_mean and importance_sd.

    luminosity, error (t, m), NaN where masked, the same for all; truth (t, d): of the model's parameters; ids (t,).
    """
    build = partial(spectrum_target, model=model, options=options, scales=scales, phase_day=phase_day)
    if len({tuple(np.isfinite(row)) for row in luminosity}) > 1:
        raise CatalogueError("mocks of one call must have the same masked bins")
    settled = [
        settled_target(partial(build, row, sigma), model=model, options=options, sampler=sampler)
        for row, sigma in zip(luminosity, error, strict=True)
    ]
    targets = [target for target, _ in settled]
    ends, roots = (np.array([getattr(mode, name) for _, mode in settled]) for name in ("z", "root"))
    *columns, _ = zip(*targets, strict=True)
    leaves: list[Any] = [*(np.stack(column) for column in columns), model.network]
    stacked = SpectrumTarget(*leaves)
    ids = np.asarray(ids)
    with jax.enable_x64(True):
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(jax.random.key(sampler.seed), i), 2))(ids)
        unit, diverging = nuts_of_targets(
            keys, stacked, ends, roots, model=model, options=options, warmup=sampler.nuts_warmup,
            draws=sampler.nuts_draws, target_accept=sampler.target_accept, max_tree_depth=sampler.max_tree_depth,
        )  # fmt: skip
        weighted = [
            _importance(targets[i], ends[i], roots[i], np.random.default_rng([sampler.seed, 8, int(ids[i])]), model,
                        options) for i in range(len(targets))
        ]  # fmt: skip
    priors = prior_widths(targets[0], model=model, options=options)
    parts = [
        _rows(int(ids[i]), unit[i], truth[i], diverging[i], weighted[i], priors, model, options)
        for i in range(len(targets))
    ]
    import pandas as pd

    return pd.DataFrame([row for part in parts for row in part])


def _importance(
    target: SpectrumTarget, mode: NDArray[np.float64], root: NDArray[np.float64], rng: np.random.Generator,
    model: InferenceModel, options: LikelihoodOptions,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """k-hat, mean and sd (D,) of the parameters by draws from a Student-t of the Laplace approximation's shape."""
    from skytrace.supernovae.adaptive_importance import smoothed_weights

    d, df = len(mode), _PROPOSAL_DF
    w = rng.standard_normal((_IMPORTANCE_DRAWS, d)) * np.sqrt(df / rng.chisquare(df, (_IMPORTANCE_DRAWS, 1)))
    z = mode + w @ root.T
    density = in_batches(lambda rows: log_densities(rows, target, model=model, options=options), z)
    proposal = gammaln(0.5 * (df + d)) - 0.5 * (df + d) * np.log1p((w**2).sum(axis=1) / df)
    weight, k_hat = smoothed_weights(np.where(np.isfinite(density), density - proposal, -np.inf))
    values = _natural(ndtr(z), model, options)
    mean = weight @ values
    return k_hat, mean, np.sqrt(weight @ (values - mean) ** 2)


def _natural(unit: NDArray[np.float64], model: InferenceModel, options: LikelihoodOptions) -> NDArray[np.float64]:
    """Natural parameters and amplitude (..., D)."""
    parameters, amplitude = from_unit(unit, model, options, xp=np)
    return np.concatenate([parameters, amplitude[..., None]], axis=-1) if options.inadequacy else parameters


def _rows(
    mock: int, unit: NDArray[np.float64], truth: NDArray[np.float64], diverging: NDArray[np.bool_], weighted: Any,
    priors: dict[str, PriorWidth], model: InferenceModel, options: LikelihoodOptions,
) -> list[dict[str, Any]]:  # fmt: skip
    import arviz

    names = coordinate_names(model, options)
    samples = arviz.convert_to_dataset({name: unit[..., i] for i, name in enumerate(names)})
    of_mock = {
        "r_hat": float(arviz.rhat(samples).to_array().max()), "ess": float(arviz.ess(samples).to_array().min()),
        "divergences": int(diverging.sum()), "importance_k": weighted[0],
    }  # fmt: skip
    values = _natural(unit, model, options).reshape(-1, len(names))
    rows = []
    for i, name in enumerate(names[: truth.shape[0]]):
        low95, low68, high68, high95 = np.percentile(values[:, i], [2.275, 15.8655, 84.1345, 97.725])
        rows.append({
            "mock": mock, "parameter": name, "truth": float(truth[i]), "mean": float(values[:, i].mean()),
            "sd": float(values[:, i].std()), "low68": low68, "high68": high68, "low95": low95, "high95": high95,
            "prior_sd": priors[name].sd, "rank": float((values[:, i] < truth[i]).mean()), **of_mock,
            "importance_mean": float(weighted[1][i]), "importance_sd": float(weighted[2][i]),
        })  # fmt: skip
    return rows


def coverage_report(
    table: pd.DataFrame, *, constrained_below: float = 0.5, r_hat_max: float = 1.1, k_hat_max: float = 0.7
) -> pd.DataFrame:
    """One row a parameter of ``coverage_of_mocks``: n, n_not_converged (left out), covered_68, covered_95, each with
    its Jeffreys interval (low, high), bias_sigma (mean of (mean - truth) / sd), spread_sigma (its standard deviation),
    width_of_prior (median), constrained, holds (0.60 to 0.76 of the 68 % intervals, asked of constrained ones alone),
    importance_share (mocks of k-hat below ``k_hat_max``) and, of these, importance_offset_sigma (median distance).
    """
    import pandas as pd

    from skytrace.statistics.intervals import beta_interval

    rows = []
    for name, mine in table.groupby("parameter", sort=False):
        good = mine[mine["r_hat"] < r_hat_max]
        pull = (good["mean"] - good["truth"]) / good["sd"]
        row: dict[str, Any] = {"parameter": name, "n": len(good), "n_not_converged": len(mine) - len(good)}
        for level in ("68", "95"):
            inside = int(((good["truth"] >= good[f"low{level}"]) & (good["truth"] <= good[f"high{level}"])).sum())
            low, high = beta_interval(inside, len(good))
            row |= {f"covered_{level}": inside / max(len(good), 1), f"covered_{level}_low": float(low)}
            row[f"covered_{level}_high"] = float(high)
        width = float((good["sd"] / good["prior_sd"]).median())
        trusted = good[good["importance_k"] < k_hat_max]
        constrained = width < constrained_below
        row |= {
            "bias_sigma": float(pull.mean()), "spread_sigma": float(pull.std()), "width_of_prior": width,
            "constrained": constrained,
            "holds": bool(COVERAGE_68[0] <= row["covered_68"] <= COVERAGE_68[1]) if constrained else None,
            "importance_share": len(trusted) / max(len(good), 1),
            "importance_offset_sigma": float(
                ((trusted["importance_mean"] - trusted["mean"]) / trusted["sd"]).abs().median()
            ),
        }  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)
