"""Glue of what is asked of emulator and posteriors: the training-size curve, coverage, closure, identifications.

Coverage is asked twice: of observations that the model itself draws, which tests the sampler, and of models that no
emulator saw, which tests the emulator and its covariance too.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready
from skytrace.errors import OptionError
from skytrace.pipelines.spectral_emulator.inference_shards import MockShardOptions, coverage_in_shards
from skytrace.pipelines.spectral_emulator.options import CoverageOptions, CurveOptions, KnockOutOptions, StageOptions
from skytrace.pipelines.spectral_emulator.shards import ModelShardOptions
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions, open_simulator
from skytrace.pipelines.spectral_emulator.stages import (
    error_fraction,
    observe,
    parameter_space,
    split_training,
    target_of,
)
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.preprocessing import ObservationOptions

Arrays = dict[str, np.ndarray]
Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["close", "identify_lines", "measure_coverage", "measure_training_sizes"]

#: Rms in sigma of the emulator's error up to which it closes with the simulator: its error is not white.
_CLOSES = 2.0
#: Climbs to the mode of a mock: where a spectrum's own search begins at more, nearly all of them end at one place.
_STARTS = 2
#: Of mocks: drawn from emulator, its error, inadequacy and noise; and spectra of the simulator that no emulator saw.
_KINDS = ("drawn from the model", "simulated, never seen")


def measure_training_sizes(
    spectra: Arrays, space: Table, whole: Table, stage: StageOptions, emulator: EmulatorOptions, curve: CurveOptions
) -> tuple[Table, Report]:
    """Rms on every held-out model of ensembles that learnt from fewer models, and from all (whole: held-out errors),
    before they are distilled; their medians, and where a power law through these meets the published one.
    """
    from skytrace.compute import progress
    from skytrace.spectra.emulator_validation import training_size_curve, training_size_errors

    (parameters, luminosity), (unseen, truth) = split_training(spectra, stage)
    together = np.concatenate([parameters, unseen]), np.concatenate([luminosity, truth])
    held = np.arange(len(together[0])) >= len(parameters)
    sizes = [size for size in curve.sizes if size < len(parameters)]
    found = [
        training_size_errors(
            size, together[0], spectra["wavelength_angstrom"], together[1], held, space=parameter_space(space),
            options=replace(emulator, distilled=None),
        )["rms_of_peak"]
        for size in progress(sizes, total=len(sizes), description="training sizes")
    ]  # fmt: skip
    sizes, found = [*sizes, len(parameters)], [*found, whole["ensemble_rms_of_peak"].to_numpy()]
    table = pd.concat(
        [Table({"models": size, "model": np.arange(len(one)), "rms_of_peak": one})
         for size, one in zip(sizes, found, strict=True)], ignore_index=True
    )  # fmt: skip
    medians = [{"models": size, "median": float(np.median(one)), "p95": float(np.percentile(one, 95.0))}
               for size, one in zip(sizes, found, strict=True)]  # fmt: skip
    law = training_size_curve(sizes, found, goal=curve.published_percent / 100.0)._asdict() if len(sizes) > 1 else None
    return table, json_ready({"sizes": medians, "law": law, "published": _published(curve)})


def _published(curve: CurveOptions) -> Report:
    return {"median_percent": curve.published_percent, "models": curve.published_models}


def measure_coverage(
    emulator: Arrays, space: Table, spectra: Arrays, observed: Arrays, stage: StageOptions,
    likelihood: LikelihoodOptions, sampler: SpectrumSamplerOptions, observation: ObservationOptions,
    coverage: CoverageOptions, shards: ModelShardOptions, cluster: ClusterOptions,
) -> tuple[Table, Table]:  # fmt: skip
    """Every mock's interval of every parameter; and by kind of mock and parameter how many hold the truth. Mocks have
    the mask, the noise and the calibration of the observed spectrum; the date of an explosion is left out, because
    models that no emulator saw exploded at any time. Raises OptionError for fewer held-out models than mocks.
    """
    from skytrace.spectra import inference_mocks
    from skytrace.spectra.inference_coverage import coverage_report
    from skytrace.spectra.inference_density import from_unit, prior_draws

    likelihood = replace(likelihood, explosion=None)
    seen = observe(emulator, space, observed, likelihood, observation)
    _, (unseen, truth) = split_training(spectra, stage)
    if len(unseen) < coverage.mocks:
        raise OptionError(
            f"coverage.mocks = {coverage.mocks} is above the {len(unseen)} held-out models of the first stage that are "
            "not in quarantine; raise stage_one.held_out"
        )
    fraction = error_fraction(seen)
    rngs = [np.random.default_rng([coverage.seed, kind]) for kind in range(3)]
    told: Report = {"model": seen.model, "options": likelihood}
    unit = prior_draws(coverage.own_mocks, target_of(seen, likelihood)(), **told, rng=rngs[0])
    own, own_error = inference_mocks.mock_of_draws(unit, fraction[seen.used], **told, rng=rngs[1])
    some = slice(0, coverage.mocks)
    other, other_error = inference_mocks.mock_of_spectra(
        np.where(seen.used, truth[some], np.nan), fraction, options=likelihood, rng=rngs[2]
    )  # fmt: skip
    short = replace(
        sampler, n_starts=min(_STARTS, sampler.n_starts), nuts_chains=2, nuts_warmup=coverage.warmup,
        nuts_draws=coverage.draws, max_tree_depth=coverage.max_tree_depth, target_accept=coverage.target_accept,
        seed=coverage.seed,
    )  # fmt: skip
    # both kinds together, so that one program serves all
    table = coverage_in_shards(
        np.concatenate([_on_grid(own, seen.used), other]),
        np.concatenate([_on_grid(own_error, seen.used), other_error]),
        np.concatenate([from_unit(unit, **told, xp=np)[0], unseen[some]]), emulator=seen.emulator,
        space=parameter_space(space), options=likelihood, sampler=short,
        shards=MockShardOptions(shards.folder, coverage.batch), cluster=cluster,
        scales=seen.scales, phase_day=seen.phase_day,
    )  # fmt: skip
    table = table.assign(kind=np.where(table["mock"] < len(own), *_KINDS))
    reports = [
        coverage_report(table[table["kind"] == kind], constrained_below=sampler.constrained_below).assign(kind=kind)
        for kind in _KINDS
    ]  # fmt: skip
    return table, pd.concat(reports, ignore_index=True)


def _on_grid(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """(n, m) of values (n, used bins); NaN elsewhere."""
    every = np.full((len(values), len(used)), np.nan)
    every[:, used] = values
    return every


def close(
    emulator: Arrays, space: Table, observed: Arrays, report: Report, atomic: Arrays, likelihood: LikelihoodOptions,
    observation: ObservationOptions, simulator: SimulatorOptions,
) -> tuple[Table, Report]:  # fmt: skip
    """The simulator run again at the mode: its spectrum beside the emulator's and the observed one, and how far apart
    they are in sigma of the emulator's error.
    """
    from skytrace.spectra.atomic_data import atomic_from_arrays
    from skytrace.spectra.resampling import resample

    seen = observe(emulator, space, observed, likelihood, observation)
    trained, used = seen.emulator, seen.used
    best = pd.DataFrame({name: [float(report["best"][name])] for name in trained.names})
    run = open_simulator(simulator, atomic_from_arrays(atomic))(best, 0)
    again = resample(run.wavelength_angstrom, run.luminosity[0], None, trained.wavelength_angstrom).flux[0]
    predicted = trained.predict(best.to_numpy())
    emulated, sigma = predicted.luminosity[0], predicted.sigma[0]
    pull = (trained.stretch(again) - predicted.stretched[0]) / sigma
    table = Table({
        "wavelength_angstrom": trained.wavelength_angstrom, "observed": seen.luminosity, "observed_error": seen.error,
        "emulated": emulated, "emulated_sigma": sigma, "simulated": again, "used": used,
    })  # fmt: skip
    peak = np.nanmax(again[used])
    rms = {
        "rms_of_peak_emulator": float(np.sqrt(np.mean((emulated - again)[used] ** 2)) / peak),
        "rms_of_peak_observed": float(np.sqrt(np.mean((seen.luminosity - again)[used] ** 2)) / peak),
        "rms_pull": float(np.sqrt(np.mean(pull[used] ** 2))),
    }
    return table, json_ready({
        "parameters": report["best"], "converged": bool(run.converged[0]), "t_inner_k": float(run.t_inner_k[0]), **rms,
        "closes": rms["rms_pull"] < _CLOSES,
    })  # fmt: skip


def identify_lines(report: Report, atomic: Arrays, simulator: SimulatorOptions, knock_out: KnockOutOptions) -> Table:
    """One row a wavelength and element at the mode: the spectrum with all lines, and without those of the element.

    Always by the built-in simulator, whatever the emulator learnt from: an external one does not say which line did it.
    """
    from skytrace.spectra import line_identification
    from skytrace.spectra.atomic_data import atomic_from_arrays

    best = pd.DataFrame({name: [float(value)] for name, value in report["best"].items()})
    found = line_identification.knock_out(
        best, knock_out.elements, atomic=atomic_from_arrays(atomic), options=simulator.built_in
    )
    parts = [
        Table({
            "wavelength_angstrom": found.wavelength_angstrom, "atomic_number": z, "luminosity": found.luminosity,
            "without": without,
        })
        for z, without in zip(found.atomic_number, found.without, strict=True)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)
