"""Omega_M from light curves: simulated surveys, cut, fitted, corrected for the simulated bias, and inferred from.

Replicas of 1,250 SNe under the same nights, outliers in them, each with its own seed; one bias simulation in Omega_M
0.2 and 0.4 for all, as a survey has one. The posterior is that of the fast mode (NUTS where it is refused). Rows for
each true Omega_M: mean, mean error, mean and spread of the pulls, and the share of 68 % intervals that hold the truth,
for the mixture with the correction and without, and for Student-t with it. --quick: 20 replicas instead of 100 (40 away
from 0.31). --check fails outside BOUNDS.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

from skytrace.supernovae.distance_bias import (
    DistanceBiasOptions,
    correct_distance_bias,
    distance_bias,
    simulated_distances,
)
from skytrace.supernovae.hubble import HubbleOptions, hubble_from_fits
from skytrace.supernovae.quality import apply_quality_cuts
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.options import MockSupernovaOptions

N_SUPERNOVAE, SKY_SEED = 1250, 5
#: What --check asks of the corrected mixture: (lowest, highest). The issue's interval of coverage is for 100 replicas.
BOUNDS = {"coverage_0_31": (0.6, 0.76), "pull_mean_0_31": (-0.3, 0.3)}


def own_distances(survey: MockSupernovae) -> pd.DataFrame:
    """Hubble table of our own fits of a survey, not corrected."""
    from skytrace.supernovae import FitOptions, fit_light_curves

    objects = survey.objects()
    kept, _ = apply_quality_cuts(survey.light_curves(), objects)
    fits = fit_light_curves(kept, options=FitOptions(workers=1))
    return hubble_from_fits(fits, objects, options=HubbleOptions(peculiar_velocity_kms=250.0))[0]


def simulated_bias(options: DistanceBiasOptions) -> pd.DataFrame:
    """The bias of the survey of the replicas."""
    parts = []
    for omega_m in options.omega_m:
        survey = MockSupernovae(MockSupernovaOptions(sky_seed=SKY_SEED)).resimulated(
            n_supernovae=options.n_supernovae, seed=options.seed, omega_m=omega_m
        )
        made = survey.truth()[["snid", "scatter_mag"]].merge(survey.objects()[["snid", "z_hd", "z_hel"]], on="snid")
        made = made.assign(pair=made.index // 2)
        parts.append(simulated_distances(own_distances(survey), made, omega_m=omega_m))
    return distance_bias(pd.concat(parts, ignore_index=True), options=options)


def omega_m_of(table: pd.DataFrame, likelihood: str) -> tuple[float, float]:
    """Mean and standard deviation of Omega_M's posterior."""
    from skytrace.supernovae.population import population_data
    from skytrace.supernovae.population_options import PopulationOptions, SamplerOptions
    from skytrace.supernovae.sampling import ImportanceSamplingRefused, sample_fast, sample_nuts

    options = PopulationOptions(model="flat_lcdm", likelihood=likelihood)
    data, _ = population_data(table, options=options)
    try:
        posterior = sample_fast(data, options=options, sampler=SamplerOptions(n_draws=4000))
    except ImportanceSamplingRefused:
        posterior = sample_nuts(data, options=options, sampler=SamplerOptions(n_warmup=300, n_samples=700))
    draws = posterior.values["omega_m"]
    return float(draws.mean()), float(draws.std())


def replicas(omega_m: float, n: int, bias: pd.DataFrame) -> dict[str, Any]:
    """Figures over n replicas of one true Omega_M, by treatment."""
    found: dict[str, list[tuple[float, float]]] = {"": [], "uncorrected_": [], "student_t_": []}
    for k in range(n):
        survey = MockSupernovae(
            MockSupernovaOptions(n_supernovae=N_SUPERNOVAE, seed=10_000 + k, sky_seed=SKY_SEED, omega_m=omega_m)
        )
        table = own_distances(survey)
        corrected, _ = correct_distance_bias(table, bias)
        found[""].append(omega_m_of(corrected, "mixture"))
        found["uncorrected_"].append(omega_m_of(table, "mixture"))
        found["student_t_"].append(omega_m_of(corrected, "student_t"))
        if (k + 1) % 10 == 0:
            measure.note(f"Omega_M {omega_m}: {k + 1} of {n} replicas")
    rows: dict[str, Any] = {}
    name = f"{omega_m:.2f}".replace(".", "_")
    for kind, pairs in found.items():
        mean, error = np.array(pairs).T
        pull = (mean - omega_m) / error
        rows |= {f"{kind}replicas_{name}": n, f"{kind}omega_m_{name}": float(mean.mean())}
        rows |= {f"{kind}omega_m_sem_{name}": float(mean.std(ddof=1) / np.sqrt(n))}
        rows |= {f"{kind}error_{name}": float(error.mean()), f"{kind}pull_mean_{name}": float(pull.mean())}
        rows |= {f"{kind}pull_sd_{name}": float(pull.std(ddof=1))}
        rows |= {f"{kind}coverage_{name}": float((np.abs(pull) < 1.0).mean())}
    measure.note(", ".join(f"{key} {value:.4g}" for key, value in rows.items()))
    return rows


def main() -> int:
    """The figures as one JSON line; with --check 1 where a bound is broken."""
    arguments = measure.arguments(__doc__)
    device = measure.one_thread()
    bias = simulated_bias(DistanceBiasOptions())
    rows: dict[str, Any] = {}
    for omega_m, n in ((0.31, 100), (0.25, 40), (0.4, 40)):
        rows |= replicas(omega_m, 20 if arguments.quick else n, bias)
    line = measure.print_line(
        name="supernova_distances", unit="mean Omega_M of replicas of 0.31 (no peer)", ours=rows["omega_m_0_31"],
        peer=None, threads=1, device=device, **rows,
    )  # fmt: skip
    broken = measure.broken_bounds(line, BOUNDS) if arguments.check else []
    for sentence in broken:
        measure.note(sentence)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
