"""Glue of the figures and the page."""

from typing import Any

import numpy as np
import pandas as pd

from skytrace.pipelines.spectral_emulator.graph import LABELS, LAYERED, STAGES
from skytrace.spectra.inference_options import LikelihoodOptions
from skytrace.spectra.preprocessing import ObservationOptions

Arrays = dict[str, np.ndarray]
Table = pd.DataFrame
Report = dict[str, Any]

__all__ = ["FIGURES", "write_page"]

#: Figures in the order in which ``write_page`` returns them, each twice: PNG and PDF.
FIGURES = (
    "spectrum", "lines", "corner", "shrinkage", "abundances", "emulator_error", "training_size", "coverage",
    "agreement",
)  # fmt: skip
_PROFILE_KM_S, _PROFILE_ROWS = np.arange(7000.0, 28_001.0, 500.0), 1000


def write_page(
    observed_spectrum: Arrays,
    observation_report: Report,
    atomic_report: Report,
    truth: Table,
    closure_report: Report,
    line_identification: Table,
    coverage: Table,
    training_sizes: Table,
    training_size_report: Report,
    agreement: Table,
    error_by_wavelength: Table,
    feature_errors: Table,
    layered_posterior: Any,
    last_posterior: Any,
    last_models: Table,
    fitted: Table,
    likelihood: LikelihoodOptions,
    observation: ObservationOptions,
    **of_stages: Any,
) -> tuple[Any, ...]:
    """The figures, each for its PNG and its PDF, and the page. of_stages: <stage>_<summary, emulator_report,
    inference_report, draws>.
    """
    from skytrace.reporting import spectral_inference_figures as figures
    from skytrace.reporting.emulator_figures import emulator_error_figure, training_size_figure
    from skytrace.reporting.line_identification_figures import line_identification_figure
    from skytrace.reporting.style import figure_png
    from skytrace.reporting.supernova_spectrum_page import supernova_spectrum_page
    from skytrace.spectra.inference_stages import shrinkage_table

    summaries = {stage: of_stages[f"{stage}_summary"] for stage in STAGES}
    reports = {
        kind: {stage: of_stages[f"{stage}_{name}"] for stage in STAGES}
        for kind, name in (("inference", "inference_report"), ("emulator", "emulator_report"), ("draws", "draws"))
    }
    known = {name: float(truth[name].iloc[0]) for name in truth} if len(truth) else None
    shared = shrinkage_table({LABELS[stage]: summary for stage, summary in summaries.items()})
    sizes = sorted(training_sizes["models"].unique())
    errors = training_sizes.pivot(index="models", columns="model", values="rms_of_peak").loc[sizes].to_numpy()
    drawn = (
        figures.spectrum_fit_figure(
            fitted, fitted, observed=_at_rest(observed_spectrum, observation), excluded=likelihood.excluded,
            name=str(observation_report["name"]),
        ),
        line_identification_figure(line_identification, between_angstrom=_between(observation_report)),
        figures.spectral_corner_figure(_draws(layered_posterior), truths=known),
        figures.stage_shrinkage_figure(shared[~shared["parameter"].str.startswith(("X_", "mode_"))]),
        figures.composition_figure(
            _profiles(pd.DataFrame({name: values.ravel() for name, values in _draws(last_posterior).items()})),
            prior=_profiles(last_models), truth=_profiles(truth) if len(truth) else None,
        ),
        emulator_error_figure(
            error_by_wavelength, models=int(reports["emulator"]["stage_one"]["held_out"]),
            windows=list(likelihood.excluded.values()),
        ),
        training_size_figure(sizes, errors, _curve(training_size_report)),
        figures.coverage_figure({str(kind): mine for kind, mine in coverage.groupby("kind", sort=False)}),
        figures.sampler_agreement_figure(agreement),
    )  # fmt: skip
    pictures = {name: figure_png(figure) for name, figure in zip(FIGURES, drawn, strict=True)}
    page = supernova_spectrum_page(
        {
            "observation": observation_report, "atomic": atomic_report, "closure": closure_report,
            "training_sizes": training_size_report, **reports,
        },
        {"summary": summaries, "truth": truth, "coverage": coverage, "agreement": agreement,
         "features": feature_errors}, pictures,
        labels=LABELS, layered=LAYERED,
    )  # fmt: skip
    return *(figure for figure in drawn for _ in range(2)), page


def _draws(posterior: Any) -> dict[str, np.ndarray]:
    return {str(name): values.to_numpy() for name, values in posterior.posterior.data_vars.items()}


def _profiles(models: Table) -> Table:
    """Mass fractions by velocity of evenly spaced rows."""
    from skytrace.spectra.inference_predictions import composition_profiles

    some = np.unique(np.linspace(0, len(models) - 1, min(len(models), _PROFILE_ROWS)).astype(int))
    return composition_profiles(models.iloc[some].reset_index(drop=True), _PROFILE_KM_S)


def _at_rest(observed: Arrays, observation: ObservationOptions) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength [A] and luminosity [erg/s/A] of the unmasked pixels, at rest and without dust."""
    from skytrace.spectra.inference_target import observed_luminosity
    from skytrace.spectra.observed import spectrum_from_arrays
    from skytrace.spectra.preprocessing import prepare_observed

    spectrum = spectrum_from_arrays(observed)
    stretch = 1.0 + (spectrum.redshift or 0.0) * (spectrum.frame == "observed")
    seen = spectrum.wavelength_angstrom[~spectrum.mask] / stretch
    grid = np.geomspace(1.001 * seen.min(), 0.999 * seen.max(), 1200)
    prepared = prepare_observed(spectrum, grid, options=observation)
    luminosity, _ = observed_luminosity(prepared)
    return grid, luminosity


def _between(report: Report) -> tuple[float, float]:
    stretch = 1.0 + (report["redshift"] or 0.0) * (report["frame"] == "observed")
    return report["shortest_angstrom"] / stretch, report["longest_angstrom"] / stretch


def _curve(report: Report) -> Any:
    from skytrace.spectra.emulator_validation import TrainingSizeCurve

    law = report["law"]
    if not law:
        return None
    never = {"goal_size": law["goal_size"], "goal_size_interval": law["goal_size_interval"]}
    never["goal_size"] = np.inf if never["goal_size"] is None else never["goal_size"]  # JSON knows no infinity
    never["goal_size_interval"] = tuple(np.inf if end is None else end for end in never["goal_size_interval"])
    return TrainingSizeCurve(**{**law, **never})
