"""Simulated supernova spectra: CPU seconds a model on one core, and how far they lie from TARDIS on the same lines.

Models are the references of $SKYTRACE_DATA (spectra/tardis_reference_pyemili, TARDIS in scatter mode), one after the
other with the options' defaults, and with ``fast``: bins of 500 km/s, five iterations. rms: 3500-9000 A in bins of
30 A above a tenth of the peak, after scaling to equal luminosity; the references themselves carry 4.5 % of Monte Carlo
noise. The peer's seconds are those that TARDIS took when the references were made, on another day: they are recorded,
not measured here (25 to 45 CPU-s a model, without 45 s of compilation). --quick: one repeat. --check fails above
0.5 CPU-s or 15 % for any model. There is no engine for an accelerator: --gpu measures the same.
"""

from __future__ import annotations

from benchmarks import measure  # isort: skip

import json
import os
import sys
from pathlib import Path
from typing import Any

if (source := str(Path(__file__).resolve().parents[1] / "src")) not in sys.path:
    sys.path.insert(0, source)

POINTS = ("e05", "e07", "e10")
BOUNDS = {"slowest": (0.0, 0.5), "rms_max": (0.0, 0.15), "w_max": (0.0, 0.3), "t_inner_max": (0.0, 0.05)}
#: CPU seconds a model that the references' README gives for TARDIS without compilation: the cheapest, the dearest.
RECORDED_CPU_S = (25.0, 45.0)


def references() -> dict[str, dict[str, Any]]:
    """Arrays of each reference; SystemExit where they are not there."""
    import numpy as np

    folder = Path(os.environ.get("SKYTRACE_DATA", "")) / "spectra" / "tardis_reference_pyemili"
    if "SKYTRACE_DATA" not in os.environ or not folder.is_dir():
        raise SystemExit("benchmarks.radiative_transfer: $SKYTRACE_DATA/spectra/tardis_reference_pyemili is not there")
    return {name: dict(np.load(folder / f"{name}_scatter.npz")) for name in POINTS}


def rms(reference: dict[str, Any], wavelength_angstrom: Any, luminosity: Any) -> float:
    """Root mean square of our flux over the reference's, less 1, where the reference is above a tenth of its peak."""
    import numpy as np

    edges = np.arange(3500.0, 9001.0, 30.0)
    means = []
    for x, y in ((wavelength_angstrom, luminosity), (reference["wavelength_A"], reference["L_lambda_virtual"])):
        order = np.argsort(x)
        area = 0.5 * (y[order][1:] + y[order][:-1]) * np.diff(x[order])
        means.append(np.diff(np.interp(edges, x[order], np.concatenate([[0.0], np.cumsum(area)]))))
    ours, theirs = means
    bright = theirs > 0.1 * theirs.max()
    scale = theirs[bright].sum() / ours[bright].sum()
    return float(np.sqrt(np.mean((ours[bright] * scale / theirs[bright] - 1.0) ** 2)))


def measured(found: dict[str, dict[str, Any]], options: Any, repeats: int) -> dict[str, Any]:
    """Seconds and differences by reference for one choice of options."""
    import numpy as np
    import pandas as pd

    from skytrace.spectra import simulate_spectra

    out: dict[str, Any] = {}
    for name, reference in found.items():
        table = pd.DataFrame([json.loads(str(reference["params"]))])
        spectra = simulate_spectra(table, options=options)
        (seconds,) = measure.best_seconds(lambda one=table: simulate_spectra(one, options=options), repeats=repeats)
        out[name] = {
            "cpu_s": seconds,
            "rms": rms(reference, spectra.wavelength_angstrom, spectra.luminosity[0]),
            "t_inner": float(abs(spectra.t_inner_k[0] / reference["t_inner_K"] - 1.0)),
            "w": float(np.abs(spectra.w[0] / reference["W"] - 1.0).max()),
        }
        measure.note(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in out[name].items()))
    return out


def main() -> None:
    chosen = measure.arguments(__doc__)
    device = measure.one_thread()
    from skytrace.spectra import SimulationOptions

    found, repeats = references(), 1 if chosen.quick else 5
    listed = {"overrides": False}  # as the references' lines are
    default = measured(found, SimulationOptions(atomic=listed), repeats)
    measure.note("fast")
    quick_ones = SimulationOptions(atomic=listed, fine_km_s=500.0, coarse_iterations=0, fine_iterations=5, core_rays=6)
    fast = measured(found, quick_ones, repeats)
    seconds = [one["cpu_s"] for one in default.values()]
    row = measure.print_line(
        name="supernova spectrum", ours=len(seconds) / sum(seconds), peer=None,
        unit=f"models/s (TARDIS: {RECORDED_CPU_S[0]:g} to {RECORDED_CPU_S[1]:g} s a model, recorded, not measured)",
        threads=1, device=device, cpu_s=sum(seconds) / len(seconds), slowest=max(seconds),
        rms_max=max(one["rms"] for one in default.values()), w_max=max(one["w"] for one in default.values()),
        t_inner_max=max(one["t_inner"] for one in default.values()), recorded_cpu_s=list(RECORDED_CPU_S),
        **{f"rms_{name}": one["rms"] for name, one in default.items()},
        **{f"cpu_s_{name}": one["cpu_s"] for name, one in default.items()},
        **{f"fast_{key}_{name}": one[key] for name, one in fast.items() for key in ("rms", "cpu_s", "w", "t_inner")},
    )  # fmt: skip
    if chosen.check and (broken := measure.broken_bounds(row, BOUNDS)):
        raise SystemExit(f"benchmarks.radiative_transfer: {'; '.join(broken)}")


if __name__ == "__main__":
    main()
