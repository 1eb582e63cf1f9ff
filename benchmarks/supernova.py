"""Supernovae fitted a second, all at once, against scipy's L-BFGS-B on one after another with a jitted gradient.

Both minimise the same function of the same packed light curves (blackbody, priors as by default), to convergence, on
one thread, CPU seconds. scipy starts from the truth and in scaled parameters, ours from its own starting values. The
peer's gradient is JAX's, jitted; beside it scipy with our own compiled analytic gradient (`peer_compiled`,
`ratio_compiled`), where what is left is the cost of calling a minimiser from Python. The error is how far our
minimum lies above scipy's lower one of the two; `lower` is the share of supernovae where it lies 1e-3 below.

`seconds` is the whole job for 5,468 supernovae on two threads, wall clock after compilation: from a table to a table,
with sorting, packing, errors and flags. Rows of stage 2 (benchmarks/_supernova_population.py) are added where it is
there. --quick times the peer on fewer supernovae. --check fails outside BOUNDS.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import importlib.util
import math
import os
import sys
import time
from pathlib import Path

import numpy as np

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

import jax

from benchmarks._supernova_peers import CompiledGradient, JaxGradient, minima, simulate
from skytrace.supernovae import FitOptions, fit_light_curves
from skytrace.supernovae.light_curve_fit import fit_packed
from skytrace.supernovae.light_curve_packing import pack_light_curves

N_JOB, N_OURS, SEED = 5468, 2048, 20261121
#: What --check asks of either form: (lowest, highest).
BOUNDS = {
    "ratio": (60.0, math.inf), "error_max": (0.0, 1e-3), "within_1e_6": (0.999, 1.0), "converged": (1.0, 1.0),
    "seconds": (0.0, 5.0),
}  # fmt: skip


def whole_job_seconds(repeats: int) -> float:
    """Wall seconds of the best of ``repeats`` fits of N_JOB supernovae, two threads, after compilation."""
    table, _ = simulate(N_JOB, SEED)
    options = FitOptions(workers=2)
    fit_light_curves(table.iloc[:500], options=options)
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        fit_light_curves(table, options=options)
        best = min(best, time.perf_counter() - start)
    return best


def measure_fits(*, n_peer: int, repeats: int) -> dict:
    """Rates of ours and the peers, and by how much our minima differ from theirs."""
    table, truth = simulate(N_OURS, SEED + 1)
    options = FitOptions(workers=1)
    packed = pack_light_curves(table, options=options)
    with jax.enable_x64(True):
        gradients = [JaxGradient(packed, i) for i in range(n_peer)]
        compiled = [CompiledGradient(packed, i) for i in range(n_peer)]
        ours, packing, theirs, own = measure.best_seconds(
            lambda: fit_packed(packed, options=options),
            lambda: pack_light_curves(table, options=options),
            lambda: minima(gradients, packed, truth),
            lambda: minima(compiled, packed, truth),
            repeats=repeats,
        )
        everyone = [CompiledGradient(packed, i) for i in range(N_OURS)]
        theirs_all = minima(everyone, packed, truth)
        theirs_all[:n_peer] = np.minimum(theirs_all[:n_peer], minima(gradients, packed, truth))
    fits = fit_packed(packed, options=options)
    above = fits["objective"].to_numpy() - theirs_all
    return {
        "ours": N_OURS / ours, "peer": n_peer / theirs, "ratio": N_OURS / ours / (n_peer / theirs),
        "packing": N_OURS / packing, "peer_compiled": n_peer / own, "ratio_compiled": N_OURS / ours / (n_peer / own),
        **measure.error_figures(np.maximum(above, 0.0)), "within_1e_6": float((above < 1e-6).mean()),
        "lower": float((above < -1e-3).mean()), "converged": float(fits["converged"].mean()),
        "observations_per_supernova": float(fits["n_obs"].mean()),
    }  # fmt: skip


def population_rows(quick: bool) -> tuple[dict, dict]:
    """Figures of stage 2 and their bounds, where its benchmark is there."""
    if importlib.util.find_spec("benchmarks._supernova_population") is None:
        return {}, {}
    from benchmarks import _supernova_population

    return _supernova_population.population_rows(quick), _supernova_population.bounds(quick)


def main() -> None:
    options = measure.arguments(__doc__)
    measure.note(f"{N_JOB} supernovae from table to table on two threads")
    seconds, cores = whole_job_seconds(2 if options.quick else 5), os.cpu_count()
    device = measure.one_thread()
    n_peer, repeats = (64, 2) if options.quick else (400, 5)
    measure.note(f"{seconds:.2f} s; {N_OURS} supernovae ours, {n_peer} by scipy, in turns")
    fits = measure_fits(n_peer=n_peer, repeats=repeats)
    shown = ", ".join(f"{key} {fits[key]:.4g}" for key in ("ours", "peer", "ratio", "error_max", "within_1e_6"))
    measure.note(f"{shown}; now stage 2")
    population, population_bounds = population_rows(options.quick)
    row = measure.print_line(
        name="supernova", unit="supernovae/s/core", **fits,
        peer_name="scipy L-BFGS-B from the truth, one supernova after another, JAX jit(value_and_grad)",
        error_of=f"-2 ln posterior above scipy's, {N_OURS} supernovae", threads=1, device=device,
        seconds=seconds, seconds_of=f"{N_JOB} supernovae from table to table, two threads on {cores} cores",
        **population,
    )  # fmt: skip
    if options.check and (broken := measure.broken_bounds(row, BOUNDS | population_bounds)):
        raise SystemExit(f"benchmarks.supernova: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
