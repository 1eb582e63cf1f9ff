"""Glue of what is asked of the emulator and its posteriors: the training-size curve, coverage, closure, identifications.

Coverage is asked twice: of observations that the model itself draws, which tests the sampler, and of models that no
emulator saw, which tests the emulator and its covariance too.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready
from skytrace.pipelines.spectral_emulator.inference_shards import coverage_in_shards
from skytrace.pipelines.spectral_emulator.options import CoverageOptions, CurveOptions, KnockOutOptions, StageOptions
from skytrace.pipelines.spectral_emulator.shards import ModelShardOptions
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions, open_simulator
from skytrace.pipelines.spectral_emulator.stages import (
    observed_target,
    parameter_space,
    split_training,
    typical_scales,
)
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.preprocessing import ObservationOptions

Arrays = dict[str, np.ndarray]
Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["close", "identify_lines", "measure_coverage", "measure_training_sizes"]


def measure_training_sizes(
    spectra: Arrays, space: Table, stage: StageOptions, emulator: EmulatorOptions, curve: CurveOptions
) -> tuple[Table, Report]:
    """Median rms on held-out models of emulators of fewer models, and where their power law meets the published one."""
    from skytrace.compute import progress
    from skytrace.spectra.emulator_validation import training_size_curve, training_size_errors

    (parameters, luminosity), (unseen, truth) = split_training(spectra, stage)
    together = np.concatenate([parameters, unseen]), np.concatenate([luminosity, truth])
    held = np.arange(len(together[0])) >= len(parameters)
    sizes = [size for size in curve.sizes if size < len(parameters)] + [len(parameters)]
    found = [
        training_size_errors(
            size, together[0], spectra["wavelength_angstrom"], together[1], held, space=parameter_space(space),
            options=emulator,
        )["rms_of_peak"]
        for size in progress(sizes, total=len(sizes), description="training sizes")
    ]  # fmt: skip
    table = Table({
        "models": sizes, "rms_of_peak_median": [float(np.median(one)) for one in found],
        "rms_of_peak_p95": [float(np.percentile(one, 95.0)) for one in found],
    })  # fmt: skip
    if len(sizes) < 2:
        return table, {"sizes": sizes, "law": None, "published": _published(curve)}
    law = training_size_curve(sizes, found, goal=curve.published_percent / 100.0)
    return table, json_ready({"sizes": sizes, "law": law._asdict(), "published": _published(curve)})


def _published(curve: CurveOptions) -> Report:
    return {"median_percent": curve.published_percent, "models": curve.published_models}


def measure_coverage(
    emulator: Arrays, space: Table, spectra: Arrays, observed: Arrays, stage: StageOptions,
    likelihood: LikelihoodOptions, sampler: SpectrumSamplerOptions, observation: ObservationOptions,
    coverage: CoverageOptions, shards: ModelShardOptions, cluster: ClusterOptions,
) -> tuple[Table, Table]:  # fmt: skip
    """Every mock's interval of every parameter; and by kind of mock and parameter how many hold the truth."""
    from skytrace.spectra.emulator import emulator_from_arrays
    from skytrace.spectra.inference_coverage import coverage_report
    from skytrace.spectra.inference_model import inference_model

    trained = emulator_from_arrays(emulator)
    model = inference_model(trained, parameter_space(space))
    _, luminosity, error = observed_target(observed, model, likelihood, observation, scales=typical_scales(trained))
    _, (unseen, truth) = split_training(spectra, stage)
    short = replace(
        sampler, nuts_chains=2, nuts_warmup=coverage.warmup, nuts_draws=coverage.draws, seed=coverage.seed
    )  # fmt: skip
    table = coverage_in_shards(
        trained, parameter_space(space), error / np.abs(luminosity), unseen, truth, options=likelihood, sampler=short,
        coverage=coverage, scales=typical_scales(trained), folder=Path(shards.folder), cluster=cluster,
    )  # fmt: skip
    reports = [
        coverage_report(mine.drop(columns="kind"), constrained_below=sampler.constrained_below).assign(kind=kind)
        for kind, mine in table.groupby("kind", sort=False)
    ]  # fmt: skip
    return table, pd.concat(reports, ignore_index=True)


def close(
    emulator: Arrays, space: Table, observed: Arrays, report: Report, likelihood: LikelihoodOptions,
    observation: ObservationOptions, simulator: SimulatorOptions,
) -> tuple[Table, Report]:  # fmt: skip
    """The simulator run again at the mode: its spectrum beside the emulator's and the observed one, and how far apart
    they are in sigma of the emulator's error.
    """
    from skytrace.spectra.emulator import emulator_from_arrays
    from skytrace.spectra.inference_model import inference_model
    from skytrace.spectra.inference_target import used_bins
    from skytrace.spectra.resampling import resample

    trained = emulator_from_arrays(emulator)
    model = inference_model(trained, parameter_space(space))
    _, luminosity, error = observed_target(observed, model, likelihood, observation, scales=typical_scales(trained))
    best = pd.DataFrame({name: [float(report["best"][name])] for name in trained.names})
    run = open_simulator(simulator)(best, 0)
    again = resample(run.wavelength_angstrom, run.luminosity[0], None, trained.wavelength_angstrom).flux[0]
    predicted = trained.predict(best.to_numpy())
    pull = (trained.stretch(again) - predicted.stretched[0]) / predicted.sigma[0]
    used = used_bins(trained.wavelength_angstrom, ~np.isfinite(luminosity), likelihood)
    table = Table({
        "wavelength_angstrom": trained.wavelength_angstrom, "observed": luminosity, "observed_error": error,
        "emulated": predicted.luminosity[0], "emulated_sigma": predicted.sigma[0], "simulated": again, "used": used,
    })  # fmt: skip
    peak = np.nanmax(again[used])
    figures = {
        "parameters": report["best"], "converged": bool(run.converged[0]), "t_inner_k": float(run.t_inner_k[0]),
        "rms_of_peak_emulator": float(np.sqrt(np.mean((predicted.luminosity[0] - again)[used] ** 2)) / peak),
        "rms_of_peak_observed": float(np.sqrt(np.nanmean((luminosity - again)[used] ** 2)) / peak),
        "rms_pull": float(np.sqrt(np.mean(pull[used] ** 2))),
    }  # fmt: skip
    figures["closes"] = figures["rms_pull"] < 2.0
    return table, json_ready(figures)


def identify_lines(report: Report, simulator: SimulatorOptions, knock_out: KnockOutOptions) -> Table:
    """One row a wavelength and element at the mode: the spectrum with all lines, and without those of the element.

    Always by the built-in simulator, whatever the emulator learnt from: an external one does not say which line did it.
    """
    from skytrace.spectra import line_identification
    from skytrace.spectra.atomic_lines import load_atomic_data

    best = pd.DataFrame({name: [float(value)] for name, value in report["best"].items()})
    atomic = load_atomic_data(options=simulator.built_in.atomic)
    found = line_identification.knock_out(best, knock_out.elements, atomic=atomic, options=simulator.built_in)
    parts = [
        Table({
            "wavelength_angstrom": found.wavelength_angstrom, "atomic_number": z, "luminosity": found.luminosity,
            "without": without,
        })
        for z, without in zip(found.atomic_number, found.without, strict=True)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)
