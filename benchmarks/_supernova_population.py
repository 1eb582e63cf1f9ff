"""Stage 2 of the supernova pipeline: the posterior of 4,831 simulated supernovae by the fast mode, NUTS and emcee.

CPU seconds on one thread: the fast mode after compilation, NUTS and emcee with theirs, which is done anew for each data
set. The supernovae are of LambdaCDM (Omega_M 0.315) with Student-t noise (nu 6), sigma_int 0.1 and errors like those of
light-curve fits; they are then compared under the distance laws by PSIS-LOO. Full form also: calibration by 2,000
simulations of 150 supernovae with the fast mode and 200 with NUTS, and the coverage of Omega_M over 300 replicas.
--quick leaves these, and most of emcee's steps, out.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import time
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["bounds", "population_rows", "simulated_hubble_table"]

N_SUPERNOVAE, OMEGA_M, SIGMA_INT, NU = 4831, 0.315, 0.1, 6.0
BOUNDS = {
    "fast_ess": (5000.0, float("inf")),
    "fast_seconds": (0.0, 5.0),
    "nuts_ess_min": (5000.0, float("inf")),
    "nuts_seconds": (0.0, 40.0),
    "nuts_r_hat_max": (0.0, 1.01),
    "nuts_divergences": (0.0, 0.0),
    # the supernovae are of LambdaCDM, which the three anchored terms can imitate
    "loo_loss_qfd_anchored": (-10.0, 10.0),
}
_PARAMETERS = ("offset", "c_1", "c_2", "c_3", "sigma_int", "nu")
#: Of the full form alone: calibration, and coverage of intervals that are to hold the truth in 68 %.
FULL_BOUNDS = {
    "loo_loss_qfd_seed": (100.0, float("inf")),
    "sbc_fast_simulations": (2000.0, float("inf")),
    "sbc_fast_refused": (0.0, 400.0),
    **{f"sbc_fast_p_{name}": (1e-3, 1.0) for name in _PARAMETERS},
    **{f"sbc_nuts_p_{name}": (1e-3, 1.0) for name in _PARAMETERS},
    "omega_m_coverage_68": (0.60, 0.76),
    "omega_m_pull_mean": (-0.25, 0.25),
}


def bounds(quick: bool) -> dict[str, tuple[float, float]]:
    """What --check holds the figures to: the full form has those of calibration and coverage, too."""
    return dict(BOUNDS) if quick else {**BOUNDS, **FULL_BOUNDS}


def simulated_hubble_table(n: int, *, seed: int, error: float = 0.35) -> pd.DataFrame:
    """snid, z_hd, alpha, alpha_err of n supernovae of flat LambdaCDM; error [alpha]: half to one and a half of it."""
    from skytrace.supernovae.cosmology import ALPHA_PER_MAG, flat_lcdm_distance_modulus

    rng = np.random.default_rng(seed)
    z, sigma = rng.uniform(0.03, 1.2, n), error * rng.uniform(0.5, 1.5, n)
    noise = np.hypot(SIGMA_INT, sigma) * rng.standard_t(NU, n)
    alpha = -ALPHA_PER_MAG * flat_lcdm_distance_modulus(z, omega_m=OMEGA_M) + noise
    return pd.DataFrame({"snid": [f"s{i:05d}" for i in range(n)], "z_hd": z, "alpha": alpha, "alpha_err": sigma})


def population_rows(quick: bool) -> dict[str, Any]:
    """Seconds, effective sample sizes and health of the three samplers, LOO differences, calibration and coverage."""
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.population_options import PopulationOptions

    options = PopulationOptions()
    table = simulated_hubble_table(N_SUPERNOVAE, seed=1)
    data, _ = population_data(table, options=options)
    rows: dict[str, Any] = {"population_n": N_SUPERNOVAE}
    rows |= _samplers(data, options, quick)
    rows |= _laws(table, quick)
    if not quick:
        rows |= _calibration() | _coverage()
    return rows


def _timed(work: Any) -> tuple[Any, float]:
    start = time.process_time()
    out = work()
    return out, time.process_time() - start


def _samplers(data: Any, options: Any, quick: bool) -> dict[str, Any]:
    from skytrace.supernovae.population_options import SamplerOptions
    from skytrace.supernovae.sampling import sample_emcee, sample_fast, sample_nuts

    sampler = SamplerOptions(n_warmup=400)
    _, first = _timed(lambda: sample_fast(data, options=options, sampler=sampler))
    fast, seconds = _timed(lambda: sample_fast(data, options=options, sampler=sampler))
    rows = {"fast_seconds": seconds, "fast_seconds_with_compilation": first, "fast_ess": fast.diagnostics["ess"]}
    rows |= {"fast_k_hat": fast.diagnostics["k_hat"]}
    measure.note(f"fast: ESS {rows['fast_ess']:.0f} in {seconds:.2f} s, k-hat {rows['fast_k_hat']:.2f}")
    nuts, seconds = _timed(lambda: sample_nuts(data, options=options, sampler=sampler))
    health = nuts.diagnostics
    rows |= {"nuts_seconds": seconds, "nuts_ess_min": min(health["ess_bulk_min"], health["ess_tail_min"])}
    rows |= {"nuts_r_hat_max": health["r_hat_max"], "nuts_divergences": health["divergences"]}
    rows |= {"nuts_leapfrog_steps_mean": health["leapfrog_steps_mean"]}
    measure.note(f"NUTS: smallest ESS {rows['nuts_ess_min']:.0f} in {seconds:.1f} s with compilation")
    n_steps = 500 if quick else 4000
    work = lambda: sample_emcee(data, options=options, sampler=sampler, n_steps=n_steps)  # noqa: E731
    ensemble, seconds = _timed(work)
    rows |= {"emcee_seconds": seconds, "emcee_ess_min": ensemble.diagnostics["ess_bulk_min"]}
    rows |= {"emcee_ess_per_second": rows["emcee_ess_min"] / seconds}
    rows |= {"nuts_ess_per_second": rows["nuts_ess_min"] / rows["nuts_seconds"]}
    rows |= {"fast_ess_per_second": rows["fast_ess"] / rows["fast_seconds"]}
    for name, other in (("nuts", nuts), ("emcee", ensemble)):
        rows[f"fast_{name}_difference_sd_max"] = max(
            float(np.max(np.abs(draws.mean((0, 1)) - other.values[key].mean((0, 1))) / draws.std((0, 1))))
            for key, draws in fast.values.items()
        )
    measure.note(f"emcee: smallest ESS {rows['emcee_ess_min']:.0f} in {seconds:.1f} s")
    return rows


def _laws(table: pd.DataFrame, quick: bool) -> dict[str, Any]:
    """LOO of the distance laws, each against flat LambdaCDM: positive where the law predicts worse."""
    from skytrace.supernovae.inference_data import inference_data
    from skytrace.supernovae.model_comparison import pointwise_elpd
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
    from skytrace.supernovae.sampling import sample_fast

    sampler, elpd, rows = SamplerOptions(method="fast"), {}, {}
    flagged = 0
    for model in ("flat_lcdm", "qfd_anchored", "linear_two_term", "qfd_no_distance", "qfd_seed")[: 4 if quick else 5]:
        options = PopulationOptions(model=model)
        data, basis = population_data(table, options=options)
        posterior = sample_fast(data, options=options, sampler=sampler)
        draws = 125 if quick else 500
        stored = inference_data(
            posterior, data, snid=table["snid"], basis=basis, log_likelihood_draws_per_chain=draws
        )  # fmt: skip
        each = pointwise_elpd(stored)
        elpd[model], flagged = each["elpd_loo"].to_numpy(), flagged + int(each["k_flag"].sum())
        if model != "flat_lcdm":
            difference = elpd["flat_lcdm"] - elpd[model]
            rows[f"loo_loss_{model}"] = float(difference.sum())
            rows[f"loo_loss_{model}_se"] = float(np.sqrt(len(difference)) * difference.std(ddof=1))
            measure.note(f"LOO: {model} loses {difference.sum():.1f} +- {rows[f'loo_loss_{model}_se']:.1f}")
    return rows | {"pareto_k_flagged": flagged}


def _calibration() -> dict[str, Any]:
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
    from skytrace.supernovae.simulation_based_calibration import calibrate_fast, calibrate_nuts

    options = PopulationOptions()
    data, _ = population_data(simulated_hubble_table(150, seed=2, error=0.2), options=options)
    sampler = SamplerOptions(n_draws=1000, n_warmup=200, n_samples=400)
    fast, seconds = _timed(lambda: calibrate_fast(data, options=options, sampler=sampler, n_simulations=2000))
    rows: dict[str, Any] = {"sbc_fast_simulations": 2000, "sbc_fast_refused": fast.n_refused}
    rows |= {"sbc_fast_seconds": seconds, **{f"sbc_fast_p_{k}": v for k, v in fast.p_values().items()}}
    measure.note(f"SBC of the fast mode: p {fast.p_values()}, {fast.n_refused} refused")
    nuts, seconds = _timed(lambda: calibrate_nuts(data, options=options, sampler=sampler, n_simulations=200))
    rows |= {"sbc_nuts_simulations": 200, "sbc_nuts_divergences": nuts.divergences, "sbc_nuts_seconds": seconds}
    rows |= {f"sbc_nuts_p_{k}": v for k, v in nuts.p_values(n_bins=10).items()}
    measure.note(f"SBC of NUTS: p {nuts.p_values(n_bins=10)}")
    return rows


def _coverage() -> dict[str, Any]:
    """Share of 300 replicas of 400 supernovae whose 68 % interval holds the true Omega_M (least squares)."""
    from skytrace.supernovae.cosmology import ALPHA_PER_MAG, fit_cosmology, flat_lcdm_distance_modulus

    pulls = []
    for seed in range(300):
        rng = np.random.default_rng(1000 + seed)
        z, error = rng.uniform(0.03, 1.2, 400), rng.uniform(0.1, 0.3, 400)
        alpha = ALPHA_PER_MAG * (rng.normal(0.0, error) - flat_lcdm_distance_modulus(z, omega_m=OMEGA_M))
        fit = fit_cosmology(pd.DataFrame({"z_hd": z, "alpha": alpha, "alpha_err": ALPHA_PER_MAG * error}))
        pulls.append((fit.parameters["omega_m"] - OMEGA_M) / fit.errors["omega_m"])
    coverage = float(np.mean(np.abs(pulls) < 1.0))
    measure.note(f"Omega_M: 68 % intervals of 300 replicas cover {coverage:.1%}")
    return {"omega_m_coverage_68": coverage, "omega_m_pull_mean": float(np.mean(pulls))}


def main() -> int:
    """The figures as one JSON line; with --check 1 where a bound is broken."""
    arguments = measure.arguments(__doc__)
    device = measure.one_thread()
    rows = population_rows(arguments.quick)
    line = measure.print_line(name="supernova_population", unit="s", threads=1, device=device, **rows)
    broken = measure.broken_bounds(line, bounds(arguments.quick)) if arguments.check else []
    for sentence in broken:
        measure.note(sentence)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
