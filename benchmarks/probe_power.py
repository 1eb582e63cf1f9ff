"""Size and power of gate 8, the linear probe, at a survey's number of anchors: `python -m benchmarks.probe_power`.

A frozen detector sees injections of one set of draws with different sources: smooth (family 1), clumpy (family 2) and,
where `--library` names one, stamps of real galaxies (family 3). One family plays the anchors, one the injections; both
are drawn from disjoint hosts, matched in arc S/N and theta_E, and probed as the gate does. Where both are of one
family the AUC's interval must hold 0.5 as often as it says (size); else the probe should find out (power). Prints a
table to stderr and a JSON line to stdout: per case the AUC, its median 68 and 95 % interval and permutation p over the
seeds, how often 0.5 lies in the 95 % interval, and how often p <= 0.05.
"""

from __future__ import annotations

from benchmarks.measure import note, one_thread, print_line  # isort: skip  (sets threads before numpy loads)

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

CLUMPY = {
    "clumpy_share": 1.0, "n_clumps": 4, "clump_share_min": 0.8, "clump_share_max": 0.95,
    "clump_sigma_min_arcsec": 0.03, "clump_sigma_max_arcsec": 0.06,
}  # fmt: skip
THETA_E = (1.0, 1.5, 2.0)


def options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, required=True, help="detector.safetensors with its card beside it")
    parser.add_argument("--survey", type=Path, required=True, help="folder for a built-in survey of its own, kept")
    parser.add_argument("--library", type=Path, help="npz of a SourceLibrary: adds family 3")
    parser.add_argument("--anchors", type=int, default=112, help="anchors of a trial")
    parser.add_argument("--per-anchor", type=int, default=4, help="injections of each anchor")
    parser.add_argument("--pool", type=int, default=1500, help="injections made of each family")
    parser.add_argument("--seeds", type=int, default=20, help="trials of each case")
    parser.add_argument("--permutations", type=int, default=19, help="of labels in each trial")
    parser.add_argument("--quick", action="store_true", help="3 trials on a small pool")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.seeds, chosen.pool = 3, 700
    return chosen


def families(library: Path | None) -> dict[str, object]:
    """Name -> PopulationOptions: bright sources, so that the probe has arcs to see, and alike but for their texture."""
    from skytrace.lensing.population import PopulationOptions
    from skytrace.lensing.source_library import load_library

    smooth = PopulationOptions(
        mag_r_min=21.0, mag_r_max=23.5, clumpy_share=0.0, position_rule="magnification", minimum_magnification=3.0
    )
    found: dict[str, object] = {"smooth": smooth, "clumpy": replace(smooth, **CLUMPY)}
    if library is not None:
        found["stamps"] = replace(
            smooth, image_share=1.0, source_library=str(library), source_library_checksum=load_library(library).checksum
        )
    return found


def prepared_hosts(chosen: argparse.Namespace) -> object:
    """Red galaxies that are no lens, as they are (no degrading), of a sky that no detector was trained on."""
    from skytrace.imaging import PreprocessOptions
    from skytrace.imaging.photometry import mag_ab
    from skytrace.selection.injection import InjectionOptions, prepare_hosts
    from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

    survey = MockSurvey(chosen.survey, MockSurveyOptions(n_galaxies=1600, seed=20261121))
    survey.make()
    galaxies, lenses = survey.galaxies(), survey.lenses()
    colour = mag_ab(galaxies["flux_g"]) - mag_ab(galaxies["flux_r"])
    red = (colour >= 1.1) & ~galaxies["galaxy_id"].isin(lenses["galaxy_id"]) & (galaxies["psfsize_r"] < 1.6)
    table = galaxies[red].sort_values("galaxy_id").iloc[:400].reset_index(drop=True)
    batch = survey.cutouts(list(table["galaxy_id"].astype(str)))
    return prepare_hosts(batch, table, mode="matched", options=InjectionOptions(), preprocessing=PreprocessOptions())


def pool_of(hosts, population, detector, n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """n injections with the same ids, hosts and theta_E whatever the family: table and penultimate features (n, d)."""
    from skytrace.imaging import PreprocessOptions
    from skytrace.learning.features import detector_features
    from skytrace.lensing.population import draw_lenses
    from skytrace.selection.injection import InjectionOptions, inject_lenses

    rows = np.arange(n) % len(hosts)
    theta = np.asarray(THETA_E)[np.arange(n) // len(hosts) % len(THETA_E)]
    draw = draw_lenses(np.arange(n), theta, hosts.table.iloc[rows], options=population, seed=11)
    injected = inject_lenses(hosts, rows, draw, options=InjectionOptions(), preprocessing=PreprocessOptions())
    table = pd.DataFrame(
        {"theta_e": theta, "psf_fwhm": hosts.psfsize_r[rows], "depth": np.asarray(hosts.depth_r_mag)[rows],
         "arc_snr": injected.measured["arc_snr"], "galaxy_id": hosts.table["galaxy_id"].astype(str).to_numpy()[rows]}
    )  # fmt: skip
    features = detector_features(detector, injected.stamps)["penultimate"]
    return table, features


def trial(anchors, injections, chosen: argparse.Namespace, seed: int) -> dict[str, float]:
    """One mock gate: anchors and injections of disjoint hosts, matched, probed."""
    from skytrace.selection.realism import GateOptions
    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.linear_probe import gate_linear_probe
    from skytrace.selection.realism.options import LinearProbeOptions

    rng = np.random.default_rng([20260508, seed])
    names = np.unique(anchors[0]["galaxy_id"])
    first = set(names[rng.random(len(names)) < 0.25])
    held = anchors[0]["galaxy_id"].isin(first).to_numpy()
    seen = [table["arc_snr"].to_numpy() >= 10.0 for table, _ in (anchors, injections)]
    a = rng.permutation(np.flatnonzero(held & seen[0]))[: chosen.anchors]
    b = np.flatnonzero(~held & seen[1])
    tables = [anchors[0].iloc[a].reset_index(drop=True), injections[0].iloc[b].reset_index(drop=True)]
    sample = ComparisonSample(
        tables[0], tables[1].assign(weight=len(a) / len(b)), {"arc_snr_cut": 10.0}, ("theta_e", "psf_fwhm", "depth")
    )
    gates = replace(GateOptions(), psf_fwhm_step_arcsec=0.4, depth_step_mag=1.0)
    probe = LinearProbeOptions(
        per_anchor=chosen.per_anchor, n_permutations=chosen.permutations, n_simulations=0, n_frechet=19,
        n_resamples=200, seed=seed,
    )  # fmt: skip
    gate = gate_linear_probe(
        sample, {"penultimate": anchors[1][a]}, {"penultimate": injections[1][b]}, gates=gates, options=probe
    )
    if "auc" not in gate.statistics:
        raise SystemExit(f"a trial matched too few: {gate.sentence} Give a larger --pool.")
    kept = ("auc", "low_68", "high_68", "low_95", "high_95", "p")
    return {name: float(gate.statistics[name]) for name in kept} | {"anchors": float(gate.n_anchors)}


def main() -> None:
    """Make the pools, run the cases, print table and line."""
    chosen = options()
    device = one_thread()
    from skytrace.datasets.detector import DetectorDataset

    detector = DetectorDataset(filepath=str(chosen.detector)).load()
    hosts = prepared_hosts(chosen)
    pools = {}
    for name, population in families(chosen.library).items():
        pools[name] = pool_of(hosts, population, detector, chosen.pool)
        note(f"{name}: {chosen.pool} injections in {len(hosts)} hosts, features {pools[name][1].shape}")
    cases = [(name, name) for name in pools] + [(a, b) for a in pools if a != "smooth" for b in pools if b != a]
    rows = []
    for a, b in cases:
        trials = pd.DataFrame([trial(pools[a], pools[b], chosen, seed) for seed in range(chosen.seeds)])
        row = {"anchors_are": a, "injections_are": b} | trials.median().to_dict()
        row["holds_half"] = float(((trials["low_95"] <= 0.5) & (trials["high_95"] >= 0.5)).mean())
        row["rejected"] = float((trials["p"] <= 0.05).mean())
        rows.append(row)
        note(
            f"anchors {a:7s} injections {b:7s} AUC {row['auc']:.3f} (68 %: {row['low_68']:.3f}-{row['high_68']:.3f}, "
            f"95 %: {row['low_95']:.3f}-{row['high_95']:.3f}) p {row['p']:.3f}; 0.5 inside {row['holds_half']:.0%}, "
            f"p <= 0.05 in {row['rejected']:.0%} of {chosen.seeds}"
        )
    print_line(
        name="size and power of the linear probe", unit="AUC", anchors=chosen.anchors, seeds=chosen.seeds,
        device=device, cases=rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
