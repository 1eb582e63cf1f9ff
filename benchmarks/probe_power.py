"""Where the linear probe of gate 8 has power: `python -m benchmarks.probe_power --detector FILE --survey FOLDER`.

A frozen detector sees injections of one set of draws that differ in one thing. Sources: smooth (family 1), with clumps
as the population draws them by default (family 2), with heavy clumps, which it never draws and which are there to ask
whether the features carry texture at all, and, where `--library` names one, stamps of real galaxies (family 3), each
seen through the survey's PSFs and through PSFs some times as broad. Controls that the probe must find: light through a
PSF 1.5 times too broad, sources 0.5 mag too red in g-r, and hosts drawn from all galaxies and not from the red ones.

Smooth injections in the survey's PSF (or in the same PSF as the others) play the injections, the others the anchors:
disjoint hosts, matched in theta_E, PSF, depth and arc S/N of the injected light. A trial is a new split of hosts and a
new choice of anchors; where both sides are smooth, nothing differs. "Detected" is an AUC above the 95th percentile of
those trials of the same probe; "failed" one above the gate's bound. Trials share one pool: their scatter is that of a
choice among its injections. A JSON line goes to stdout, a table to stderr.

First comes the table of docs/selection_function.md: every family against itself (nothing differs) and against every
simpler one in the survey's PSF, with the gate's own probe and intervals, medians of the trials, and how many trials
tell the two apart (their 95 % interval lies above 1/2) or fail the gate; and what the gate itself states of its power
with smooth injections on both sides (``--table-only`` stops there). ``--json``
keeps it all, what each family is too; docs/results/probe_power.json is such a file, and a test holds the page to it.
"""

from __future__ import annotations

from benchmarks.measure import note, one_thread, print_line  # isort: skip  (sets threads before numpy loads)

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

#: Far from the default's clumps (5 with 10 to 50 % of the light): 4 with nearly all of it.
HEAVY_CLUMPS = {
    "clumpy_share": 1.0, "n_clumps": 4, "clump_share_min": 0.8, "clump_share_max": 0.95,
    "clump_sigma_min_arcsec": 0.03, "clump_sigma_max_arcsec": 0.06,
}  # fmt: skip
THETA_E = (1.0, 1.5, 2.0)
#: Arc S/N of the bins, and the PSF's width over the survey's: the last is that of a space telescope.
SNR_EDGES = (10.0, 30.0, 100.0, np.inf)
SEEING = (1.0, 0.7, 0.2)
#: Sources of the injections: bright, so that the probe has arcs to see.
MAG_R = (21.0, 23.5)
#: The gate's own probe; and every layer's features with the regularisation chosen by an inner cross-validation.
PROBES = ("penultimate", "every layer")
#: Of the labels of a trial, for the interval's width.
N_PERMUTATIONS = 19


def options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, required=True, help="detector.safetensors with its card beside it")
    parser.add_argument("--survey", type=Path, required=True, help="folder for a built-in survey of its own, kept")
    parser.add_argument("--library", type=Path, help="npz of a SourceLibrary: adds family 3")
    parser.add_argument("--cache", type=Path, help="folder for the pools' features, kept; name it anew for other code")
    parser.add_argument("--anchors", type=int, default=112, help="anchors of a trial")
    parser.add_argument("--per-anchor", type=int, default=4, help="injections of each anchor")
    parser.add_argument("--pool", type=int, default=2400, help="injections made of each kind")
    parser.add_argument("--seeds", type=int, default=9, help="trials of each case")
    parser.add_argument("--table-only", action="store_true", help="only the table of families")
    parser.add_argument("--json", type=Path, help="file for the results")
    return parser.parse_args()


def families(library: Path | None) -> dict[str, object]:
    """Name -> PopulationOptions: bright sources, so that the probe has arcs to see, and alike but for their texture."""
    from skytrace.lensing.population import PopulationOptions
    from skytrace.lensing.source_library import load_library

    smooth = PopulationOptions(
        mag_r_min=MAG_R[0], mag_r_max=MAG_R[1], clumpy_share=0.0, position_rule="magnification",
        minimum_magnification=3.0,
    )  # fmt: skip
    found: dict[str, object] = {
        "smooth": smooth, "default clumps": replace(smooth, clumpy_share=1.0),
        "heavy clumps": replace(smooth, **HEAVY_CLUMPS),
    }  # fmt: skip
    if library is not None:
        found["stamps"] = replace(
            smooth, image_share=1.0, source_library=str(library), source_library_checksum=load_library(library).checksum
        )
    return found


def report(table: list[dict[str, object]], kinds: dict[str, object], chosen, device: str) -> dict[str, object]:
    """The table with everything that it was made with."""
    from skytrace.selection.realism.options import LinearProbeOptions

    settings = {
        "anchors": chosen.anchors, "per_anchor": chosen.per_anchor, "seeds": chosen.seeds, "pool": chosen.pool,
        "mag_r": list(MAG_R), "snr_min": SNR_EDGES[0], "n_permutations": N_PERMUTATIONS,
        "fails_above": LinearProbeOptions().auc_max,
        "families": {name: family_settings(kind) for name, kind in kinds.items()},
    }  # fmt: skip
    return {"name": "power of the linear probe", "unit": "AUC", "device": device, "settings": settings, "table": table}


def family_settings(population) -> dict[str, object]:
    """What makes the sources of a family: the file of stamps by its checksum, not by where it lies."""
    if population.image_share:
        return {"image_share": population.image_share, "source_library_checksum": population.source_library_checksum}
    if not population.clumpy_share:
        return {"clumpy_share": 0.0}
    return {name: getattr(population, name) for name in HEAVY_CLUMPS}


def prepared_hosts(survey: object, *, red: bool) -> object:
    """400 galaxies that are no lens, as they are (no degrading): red ones, or of any colour and kind."""
    from skytrace.imaging import PreprocessOptions
    from skytrace.imaging.photometry import mag_ab
    from skytrace.selection.injection import InjectionOptions, prepare_hosts

    galaxies, lenses = survey.galaxies(), survey.lenses()
    colour = mag_ab(galaxies["flux_g"]) - mag_ab(galaxies["flux_r"])
    usable = ~galaxies["galaxy_id"].isin(lenses["galaxy_id"]) & (galaxies["psfsize_r"] < 1.6)
    if red:
        usable &= colour >= 1.1
    table = galaxies[usable].sort_values("galaxy_id").iloc[:400].reset_index(drop=True)
    batch = survey.cutouts(list(table["galaxy_id"].astype(str)))
    return prepare_hosts(batch, table, mode="matched", options=InjectionOptions(), preprocessing=PreprocessOptions())


def pool_of(
    hosts, population, detector, n: int, *, seeing: float, cache: Path | None
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """n injections with the same ids, hosts and theta_E whatever the kind: table and features (n, d) of each probe."""
    from skytrace.imaging import PreprocessOptions
    from skytrace.imaging.psf import MoffatPsf
    from skytrace.learning.features import detector_features, detector_layers
    from skytrace.lensing.population import draw_lenses
    from skytrace.selection.injection import InjectionOptions, inject_lenses

    if cache is not None and cache.exists():
        kept = np.load(cache, allow_pickle=False)
        columns = {name[2:]: kept[name] for name in kept.files if name.startswith("t:")}
        return pd.DataFrame(columns), {name: kept[name] for name in PROBES}
    seen = replace(hosts, psf=MoffatPsf(hosts.psf.fwhm_arcsec * seeing, hosts.psf.beta))
    rows = np.arange(n) % len(hosts)
    theta = np.asarray(THETA_E)[np.arange(n) // len(hosts) % len(THETA_E)]
    draw = draw_lenses(np.arange(n), theta, hosts.table.iloc[rows], options=population, seed=11)
    injected = inject_lenses(seen, rows, draw, options=InjectionOptions(), preprocessing=PreprocessOptions())
    table = pd.DataFrame(
        {"theta_e": theta, "psf_fwhm": hosts.psfsize_r[rows], "depth": np.asarray(hosts.depth_r_mag)[rows],
         "arc_snr": injected.measured["arc_snr"],
         "galaxy_id": hosts.table["galaxy_id"].astype(str).to_numpy()[rows].astype(str)}
    )  # fmt: skip
    layers = detector_features(detector, injected.stamps, layers=detector_layers(detector))
    features = {PROBES[0]: layers["penultimate"], PROBES[1]: np.concatenate(list(layers.values()), axis=1)}
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        columns = {f"t:{name}": table[name].to_numpy() for name in table}
        columns["t:galaxy_id"] = columns["t:galaxy_id"].astype(str)
        np.savez(cache, **columns, **features)
    return table, features


def classifier(probe: str):
    """Maker of the probe's classifier."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from skytrace.selection.realism.options import LinearProbeOptions

    def line(c: float):
        return LogisticRegression(C=c, class_weight="balanced", max_iter=300, tol=1e-3)

    if probe == "penultimate":
        return lambda: make_pipeline(StandardScaler(), line(LinearProbeOptions().inverse_regularisation))
    chosen = {"C": [1e-5, 1e-4, 1e-3, 1e-2]}
    return lambda: make_pipeline(StandardScaler(), GridSearchCV(line(1.0), chosen, scoring="roc_auc", cv=3))


def comparison(anchors, injections, bins: tuple[float, float], probe: str, chosen, seed: int):
    """One mock comparison, hosts disjoint and rows matched: features (m, d), ``MatchedSets`` and host (m,)."""
    from skytrace.selection.realism import GateOptions
    from skytrace.selection.realism.matching import match_points, matching_steps

    rng = np.random.default_rng([20260508, seed])
    tables = (anchors[0], injections[0])
    names = np.unique(np.concatenate([table["galaxy_id"] for table in tables]))
    first = set(names[rng.random(len(names)) < 0.4])
    held = [table["galaxy_id"].isin(first).to_numpy() for table in tables]
    seen = [((table["arc_snr"] >= bins[0]) & (table["arc_snr"] < bins[1])).to_numpy() for table in tables]
    a = rng.permutation(np.flatnonzero(held[0] & seen[0]))[: chosen.anchors]
    b = np.flatnonzero(~held[1] & seen[1])
    gates = GateOptions()
    steps = [
        matching_steps(table.iloc[rows], ("theta_e", "psf_fwhm", "depth"), options=gates, arc_snr_step_dex=0.15)
        for table, rows in zip(tables, (a, b), strict=True)
    ]
    matched = match_points(*steps, per_anchor=chosen.per_anchor, max_distance=2.0)
    values = np.concatenate([anchors[1][probe][a], injections[1][probe][b]])[matched.rows].astype(float)
    groups = np.concatenate([tables[0]["galaxy_id"].to_numpy()[a], tables[1]["galaxy_id"].to_numpy()[b]])[matched.rows]
    return values, matched, groups


def trial(anchors, injections, bins: tuple[float, float], probe: str, chosen, seed: int) -> tuple[float, int]:
    """AUC and number of matched anchors of one mock comparison, cross-validated."""
    from skytrace.selection.realism.cross_validation import fold_numbers, out_of_fold, within_fold_auc
    from skytrace.selection.realism.options import LinearProbeOptions

    values, matched, groups = comparison(anchors, injections, bins, probe, chosen, seed)
    fold, _ = fold_numbers(matched.is_anchor, matched.sets, groups, options=LinearProbeOptions(seed=seed))
    score, _ = out_of_fold(values, matched.is_anchor, fold, classifier(probe))
    return float(within_fold_auc(score, matched.is_anchor, fold)[0]), int(matched.is_anchor.sum())


def family_pairs(names: list[str]) -> list[tuple[str, str]]:
    """(anchors, injections): every family against itself, and against every simpler one; names from simple to real."""
    return [(name, name) for name in names] + [(second, first) for first, second in itertools.combinations(names, 2)]


def family_trial(anchors, injections, chosen, seed: int) -> dict[str, float]:
    """The gate's AUC, the ends of its 95 % interval and the number of matched anchors of one mock comparison."""
    from skytrace.selection.realism.cross_validation import cross_validated_auc
    from skytrace.selection.realism.options import LinearProbeOptions

    values, matched, groups = comparison(anchors, injections, (SNR_EDGES[0], np.inf), PROBES[0], chosen, seed)
    result = cross_validated_auc(
        values, matched.is_anchor, sets=matched.sets, groups=groups, relabel=matched.relabelled,
        classifier=classifier(PROBES[0]),
        options=LinearProbeOptions(seed=seed, n_permutations=N_PERMUTATIONS, per_anchor=chosen.per_anchor),
    )  # fmt: skip
    return {
        "auc": result.auc, "low_95": result.low_95, "high_95": result.high_95, "anchors": int(matched.is_anchor.sum())
    }  # fmt: skip


def family_row(anchors: str, injections: str, trials: pd.DataFrame) -> dict[str, object]:
    """Medians of the trials; in how many of them the interval lies above 1/2 (told_apart), and the AUC above the gate's
    bound (failed).
    """
    from skytrace.selection.realism.options import LinearProbeOptions

    row = {"anchors_are": anchors, "injections_are": injections, **trials.median().to_dict()}
    row |= {"told_apart": int((trials["low_95"] > 0.5).sum()), "trials": len(trials)}
    row |= {"failed": int((trials["auc"] > LinearProbeOptions().auc_max).sum())}
    row |= {"auc_lowest": float(trials["auc"].min()), "auc_highest": float(trials["auc"].max())}
    note(
        f"{anchors} against {injections}: AUC {row['auc']:.3f} ({row['low_95']:.3f}-{row['high_95']:.3f}), told apart "
        f"in {row['told_apart']} of {row['trials']}, {row['anchors']:.0f} anchors"
    )
    return row


def family_table(pools: dict[str, object], chosen) -> list[dict[str, object]]:
    """A row a pair of families."""
    rows = []
    for anchors, injections in family_pairs(list(pools)):
        tried = [family_trial(pools[anchors], pools[injections], chosen, seed) for seed in range(chosen.seeds)]
        rows.append(family_row(anchors, injections, pd.DataFrame(tried)))
    return rows


def stated_power(pool, chosen) -> dict[str, object]:
    """What the gate itself says of its power where nothing differs: anchors and ten injections each of one family, on
    disjoint hosts, as the gate's own simulations have it.
    """
    from skytrace.selection.realism import GateOptions
    from skytrace.selection.realism.comparison import ComparisonSample
    from skytrace.selection.realism.linear_probe import gate_linear_probe
    from skytrace.selection.realism.options import LinearProbeOptions

    table, features = pool
    rng = np.random.default_rng(20260508)
    names = np.unique(table["galaxy_id"])
    first = table["galaxy_id"].isin(names[rng.random(len(names)) < 0.3]).to_numpy()
    seen = (table["arc_snr"] >= SNR_EDGES[0]).to_numpy()
    a = rng.permutation(np.flatnonzero(first & seen))[: chosen.anchors]
    b = rng.permutation(np.flatnonzero(~first & seen))[: 10 * chosen.anchors]
    sample = ComparisonSample(
        table.iloc[a].reset_index(drop=True), table.iloc[b].assign(weight=1.0).reset_index(drop=True),
        {"arc_snr_cut": SNR_EDGES[0]}, ("theta_e", "psf_fwhm", "depth"),
    )  # fmt: skip
    gate = gate_linear_probe(
        sample, *({"penultimate": features[PROBES[0]][rows]} for rows in (a, b)),
        gates=GateOptions(max_distance_steps=2.0),
        options=LinearProbeOptions(n_permutations=N_PERMUTATIONS, n_frechet=19, n_simulations=24),
    )  # fmt: skip
    note(gate.sentence)
    kept = ("power", "power_at", "auc_if_changed", "auc_if_changed_at", "best_auc_if_changed", "best_auc_if_changed_at",
            "false_alarm_rate", "n_simulations")  # fmt: skip
    sizes = {"anchors": gate.n_anchors, "injections": len(b)}
    return {**sizes, "status": gate.status, **{name: gate.statistics[name] for name in kept}}


def summary(aucs: np.ndarray, null: np.ndarray, bound: float) -> dict[str, float]:
    """Of trials and of those where nothing differs: mean AUC, its scatter, and how often it is detected and failed."""
    limit = float(np.quantile(null, 0.95))
    return {
        "auc": float(aucs.mean()), "sd": float(aucs.std(ddof=1)), "null": float(null.mean()), "limit": limit,
        "detected": float((aucs > limit).mean()), "failed": float((aucs > bound).mean()),
    }  # fmt: skip


def main() -> None:
    """Make the pools, run the cases, print table and line."""
    chosen = options()
    device = one_thread()
    from skytrace.datasets.detector import DetectorDataset
    from skytrace.selection.realism.options import LinearProbeOptions
    from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

    detector = DetectorDataset(filepath=str(chosen.detector)).load()
    survey = MockSurvey(chosen.survey, MockSurveyOptions(n_galaxies=1600, seed=20261121))
    survey.make()
    hosts = {red: prepared_hosts(survey, red=red) for red in (True, False)}
    kinds = families(chosen.library)
    smooth = kinds["smooth"]

    def pool(name: str, population=smooth, *, seeing: float = 1.0, red: bool = True):
        cache = chosen.cache / f"{name}_{seeing}_{chosen.pool}.npz" if chosen.cache else None
        made = pool_of(hosts[red], population, detector, chosen.pool, seeing=seeing, cache=cache)
        note(f"{name}, PSF {seeing:g} of the survey's: median arc S/N {made[0]['arc_snr'].median():.0f}")
        return made

    pools = {name: pool(name, kind) for name, kind in kinds.items()}
    found = report(family_table(pools, chosen), kinds, chosen, device)
    found["stated_power"] = stated_power(pools["smooth"], chosen)
    if chosen.table_only:
        keep(found, chosen.json)
        return
    plain = {seeing: pool("smooth", seeing=seeing) for seeing in SEEING}
    cases = [("PSF x 1.5", 1.0, pool("wrong_psf", seeing=1.5))]
    cases.append(("g-r + 0.5", 1.0, pool("red", replace(smooth, g_r_mean=smooth.g_r_mean + 0.5))))
    cases.append(("any host", 1.0, pool("any_host", red=False)))
    cases += [
        (name, seeing, pool(name, kind, seeing=seeing))
        for name, kind in kinds.items() if name != "smooth" for seeing in SEEING
    ]  # fmt: skip
    bound, rows = LinearProbeOptions().auc_max, []
    for probe in PROBES:
        seeds = range(chosen.seeds if probe == PROBES[0] else max(chosen.seeds // 2, 4))
        for low, high in itertools.pairwise(SNR_EDGES):
            null = {
                seeing: np.array([trial(made, made, (low, high), probe, chosen, seed)[0] for seed in seeds])
                for seeing, made in plain.items()
            }
            for name, seeing, made in cases:
                tried = [trial(made, plain[seeing], (low, high), probe, chosen, seed) for seed in seeds]
                row = {"anchors_are": name, "psf": seeing, "snr_low": low, "probe": probe, "seeds": len(seeds)}
                row["anchors"] = float(np.median([n for _, n in tried]))
                # nothing differs in any of them: their trials together set the limit
                row |= summary(np.array([auc for auc, _ in tried]), np.concatenate(list(null.values())), bound)
                rows.append(row)
                note(
                    f"{probe:11s} S/N {low:4.0f}+ PSF x {seeing:3.1f} {name:10s} AUC {row['auc']:.3f} +- "
                    f"{row['sd']:.3f} (limit {row['limit']:.3f}), detected {row['detected']:.0%}, above {bound:g} "
                    f"{row['failed']:.0%}, {row['anchors']:.0f} anchors"
                )
    keep({**found, "cases": rows}, chosen.json)


def keep(found: dict[str, object], path: Path | None) -> None:
    """One line to stdout and, where asked for, the same as a file."""
    row = print_line(**found)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
