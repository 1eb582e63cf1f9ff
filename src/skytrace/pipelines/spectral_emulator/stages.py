"""Glue of one stage: its space and models, their spectra, the emulator of these, and the posterior that it gives."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions
from skytrace.compute.json_values import json_ready
from skytrace.pipelines.spectral_emulator.options import StageOptions
from skytrace.pipelines.spectral_emulator.shards import ModelShardOptions, simulate_in_shards
from skytrace.pipelines.spectral_emulator.simulators import SimulatorOptions
from skytrace.spectra.emulator_options import EmulatorOptions
from skytrace.spectra.feature_options import FeatureOptions
from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
from skytrace.spectra.preprocessing import ObservationOptions
from skytrace.spectra.training_options import TrainingSetOptions
from skytrace.spectra.wavelengths import SPEED_OF_LIGHT_KM_S

Arrays = dict[str, np.ndarray]
Table = pd.DataFrame
Report = dict[str, Any]

__all__ = [
    "Observation", "best_physical", "draw_first_models", "draw_models_of", "draw_narrowed_models", "error_fraction",
    "error_scales", "infer_in", "observe", "parameter_space", "simulate_models", "split_training", "target_of", "train",
    "within",
]  # fmt: skip

#: Models over which the scale of the emulator's error is looked at.
_OF_SCALE = 512
#: Bins on either side of a feature's minimum to which its polynomial is fitted.
_FEATURE_BINS, _FEATURE_KM_S = 6, (2500.0, 20_000.0)
#: Times the mean model's luminosity, or a part of it, beyond which a unit or a distance is wrong.
_FAR = 100.0
_AGREEMENT = ("parameter", "method", "reference", "mean_offset_sigma", "width_ratio", "agrees", "words")
_SPACE = ("names", "low", "high", "unit", "relaxed_by_width", "logarithmic")


def draw_first_models(options: StageOptions) -> tuple[Table, Table, Report]:
    """Models of the fifteen parameters, those to learn from first; the space; how they were drawn."""
    from skytrace.spectra.parameter_space import stage_one_space

    return _draw(stage_one_space(), options)


def draw_models_of(stage: int) -> Callable[[Table, StageOptions], tuple[Table, Table, Report]]:
    """The node function that draws the models of a later stage, about the posterior means of the one before."""

    def draw_models(summary: Table, options: StageOptions) -> tuple[Table, Table, Report]:
        from skytrace.spectra.inference_stages import next_stage_space

        return _draw(next_stage_space(summary, stage), options)

    return draw_models


def draw_narrowed_models(posterior: Any, space: Table, options: StageOptions) -> tuple[Table, Table, Report]:
    """Models of the part of the space in which the posterior lies: from its 1st to its 99th percentile and 30 % more on
    either side, parameter by parameter. The report says by how many powers of ten the volume is smaller.
    """
    from skytrace.spectra.inference_stages import narrowed_space

    values = {str(name): draws.to_numpy() for name, draws in posterior.posterior.data_vars.items()}
    box, compression = narrowed_space(values, parameter_space(space))
    models, table, report = _draw(box, options)
    return models, table, report | {"log10_compression": compression}


def _draw(space: Any, options: StageOptions) -> tuple[Table, Table, Report]:
    from skytrace.spectra.parameter_space import draw_latin_hypercube

    training, counts = draw_latin_hypercube(space, options.models, seed=options.seed)
    held_out, other = draw_latin_hypercube(space, options.held_out, seed=options.seed + 1)
    models = pd.concat([training, held_out], ignore_index=True)
    table = pd.DataFrame({name: list(getattr(space, name)) for name in _SPACE})
    report = {"models": options.models, "held_out": options.held_out, "training": counts, "held_out_draws": other}
    return models, table, json_ready(report)


def parameter_space(table: Table) -> Any:
    """The ParameterSpace of its table."""
    from skytrace.spectra.parameter_space import ParameterSpace

    return ParameterSpace(**{name: tuple(table[name]) for name in _SPACE})


def simulate_models(
    models: Table, atomic: Arrays, stage: StageOptions, simulator: SimulatorOptions, training: TrainingSetOptions,
    shards: ModelShardOptions, cluster: ClusterOptions,
) -> tuple[Arrays, Table]:  # fmt: skip
    """Spectra of the models that came out well, and those in quarantine with the reason. Resumable; see ``shards``."""
    from skytrace.spectra.training_set import training_set_to_arrays

    found = simulate_in_shards(
        models, seed=stage.seed, atomic=atomic, simulator=simulator, training=training, shards=shards, cluster=cluster
    )  # fmt: skip
    return training_set_to_arrays(found), found.quarantine


def split_training(spectra: Arrays, stage: StageOptions) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """(parameters (n, d), luminosity (n, m) [erg/s/A]) to learn from, and those that no emulator may see."""
    from skytrace.spectra.training_set import LUMINOSITY_UNIT_ERG_S_ANGSTROM

    luminosity = spectra["luminosity_1e38"].astype(np.float64) * LUMINOSITY_UNIT_ERG_S_ANGSTROM
    mine = spectra["model_id"] < stage.models
    parts = tuple((spectra["parameters"][rows], luminosity[rows]) for rows in (mine, ~mine))
    return parts[0], parts[1]


def train(
    spectra: Arrays, space: Table, stage: StageOptions, emulator: EmulatorOptions, earlier: Arrays | None = None,
    earlier_stage: StageOptions | None = None,
) -> tuple[Arrays, Table, Table, Table, Report]:  # fmt: skip
    """The emulator; its error on held-out models by wavelength, by model (beside that of the ensemble before it was
    distilled), by feature, and in numbers. earlier: spectra of the same parameters in a wider space, from which it
    learns too; the held-out ones of these stay unseen.
    """
    from skytrace.spectra.emulator import emulator_to_arrays
    from skytrace.spectra.emulator_training import distilled_emulator, train_ensemble
    from skytrace.spectra.emulator_validation import spectrum_rms, validate_emulator
    from skytrace.spectra.parameter_space import draw_latin_hypercube

    (parameters, luminosity), (unseen, truth) = split_training(spectra, stage)
    box = parameter_space(space)
    further = None if earlier is None or earlier_stage is None else split_training(earlier, earlier_stage)[0]
    ensemble = train_ensemble(
        parameters, spectra["wavelength_angstrom"], luminosity, space=box, options=emulator, further=further
    )
    trained = distilled_emulator(
        ensemble, options=emulator, draw=lambda n: draw_latin_hypercube(box, n, seed=stage.seed)[0].to_numpy()
    )
    ours, before = (
        spectrum_rms(one.predict(unseen).luminosity, truth)["rms_of_peak"] for one in (trained, ensemble.emulator)
    )
    by_model = Table({"model": np.arange(len(unseen)), "rms_of_peak": ours, "ensemble_rms_of_peak": before})
    # a minimum is fitted over as many bins as measure_features' own default has on a finer grid
    reach = np.clip(_FEATURE_BINS * _bin_km_s(trained.wavelength_angstrom), *_FEATURE_KM_S)
    wide = FeatureOptions(fit_half_width_km_s=float(reach))
    found = validate_emulator(trained, unseen, truth, features=wide)
    report = {
        **found.summary, "models": len(parameters), "held_out": len(unseen), "parameters": parameters.shape[1],
        "earlier_models": 0 if further is None else len(further[0]),
        "displacement": dict(zip(trained.names, trained.error.displacement, strict=False)),
    }  # fmt: skip
    return emulator_to_arrays(trained), found.by_wavelength, by_model, found.by_feature, json_ready(report)


def _bin_km_s(wavelength_angstrom: np.ndarray) -> float:
    """Width of a bin that is one of many, equal in log wavelength."""
    return float(np.log(wavelength_angstrom[1] / wavelength_angstrom[0]) * SPEED_OF_LIGHT_KM_S)


class Observation(NamedTuple):
    """An observed spectrum as a likelihood takes it: emulator, its model on the used bins, used (m,), luminosity and
    error (m,) [erg/s/A] on the emulator's grid (NaN where masked); scales: smallest and largest of the emulator's
    error; name: of the spectrum.
    """

    emulator: Any
    model: Any
    used: np.ndarray
    luminosity: np.ndarray
    error: np.ndarray
    scales: tuple[float, float]
    phase_day: float | None
    name: str


def observe(
    emulator: Arrays, space: Table, observed: Arrays, likelihood: LikelihoodOptions, observation: ObservationOptions
) -> Observation:
    """The observed spectrum at rest, without dust, on the grid of the emulator."""
    from skytrace.spectra.emulator import emulator_from_arrays
    from skytrace.spectra.inference_model import inference_model
    from skytrace.spectra.inference_target import observed_luminosity, used_bins
    from skytrace.spectra.observed import spectrum_from_arrays
    from skytrace.spectra.preprocessing import prepare_observed

    trained, spectrum = emulator_from_arrays(emulator), spectrum_from_arrays(observed)
    prepared = prepare_observed(spectrum, trained.wavelength_angstrom, options=observation)
    luminosity, error = observed_luminosity(prepared)
    used = used_bins(trained.wavelength_angstrom, ~np.isfinite(luminosity), likelihood)
    _check_brightness(spectrum, luminosity[used], trained.level_erg_s_a)
    model = inference_model(trained, parameter_space(space), bins=used)
    scales = error_scales(trained, space)
    return Observation(trained, model, used, luminosity, error, scales, spectrum.phase_day, spectrum.name)


def _check_brightness(spectrum: Any, luminosity: np.ndarray, level_erg_s_a: float) -> None:
    """Raise CatalogueError for a spectrum that is no supernova's by far: no posterior would say so."""
    from skytrace.errors import CatalogueError

    ratio = float(np.median(luminosity) / level_erg_s_a) if luminosity.size else 1.0
    if not 1.0 / _FAR <= ratio <= _FAR:
        raise CatalogueError(
            f"{spectrum.name}: its median luminosity is {ratio:.2g} times that of the models, which lies outside "
            f"[{1.0 / _FAR:g}, {_FAR:g}]; are flux_unit and distance_modulus_mag = "
            f"{spectrum.distance_modulus_mag:g} right?"
        )


def target_of(seen: Observation, likelihood: LikelihoodOptions) -> Callable[..., Any]:
    """What makes the target of the observation: from the displaced error near its parameters, or without."""
    from skytrace.spectra.inference_target import spectrum_target

    return partial(
        spectrum_target, seen.luminosity[seen.used], seen.error[seen.used], seen.model, options=likelihood,
        scales=seen.scales, phase_day=seen.phase_day,
    )  # fmt: skip


def infer_in(stage: int) -> Callable[..., tuple[Any, Table, Table, Table, Report]]:
    """The node function of one stage's inference."""

    def infer(
        emulator: Arrays, space: Table, observed: Arrays, options: StageOptions, likelihood: LikelihoodOptions,
        sampler: SpectrumSamplerOptions, observation: ObservationOptions, prior: Table | None = None,
    ) -> tuple[Any, Table, Table, Table, Report]:  # fmt: skip
        """The posterior that is kept; its summary by parameter; the spectra that it predicts, with residuals; how the
        samplers agree; diagnostics and flags. prior: the space against which widths and walls are held, where that of
        the emulator was cut from the same spectrum's posterior.
        """
        from skytrace.spectra import inference_predictions as predictions
        from skytrace.spectra.inference_displacement import settled_target
        from skytrace.spectra.inference_posterior import spectrum_inference_data
        from skytrace.spectra.inference_stages import infer_stage

        seen = observe(emulator, space, observed, likelihood, observation)
        told: Report = {"model": seen.model, "options": likelihood}
        sampler = replace(sampler, methods=options.methods)
        target, mode = settled_target(target_of(seen, likelihood), **told, sampler=sampler)
        result = infer_stage(
            target, **told, sampler=sampler, stage=stage, error_fraction=error_fraction(seen)[seen.used], mode=mode,
            prior=None if prior is None else within(seen.model, prior),
        )  # fmt: skip
        spectra = predictions.posterior_spectra(result.posterior, target, **told)
        fitted = spectra.merge(predictions.standard_residuals(result.posterior, target, **told))
        agreement = Table(columns=_AGREEMENT) if result.agreement is None else result.agreement
        report = {
            "samplers": {name: one.diagnostics for name, one in result.posteriors.items()},
            "failures": {name: list(one.failures) for name, one in result.posteriors.items()},
            "checks": result.checks, "flags": list(result.flags), "bins": len(target.observed),
            "best": best_physical(result, seen.model, likelihood, target), "likelihood": asdict(likelihood),
        }  # fmt: skip
        kept = spectrum_inference_data(result.posterior, target, name=seen.name, stage=stage)
        return kept, result.summary, fitted, agreement, json_ready(report)

    return infer


def within(model: Any, space: Table) -> Any:
    """The model with the box of another space of the same parameters: for its prior, not for spectra."""
    box = parameter_space(space)
    return replace(model, low=np.array(box.low), high=np.array(box.high))


def error_fraction(seen: Observation) -> np.ndarray:
    """Noise over flux (m,), NaN where masked or without flux."""
    flux = np.abs(seen.luminosity)
    return np.where(flux > 0.0, seen.error / np.where(flux > 0.0, flux, 1.0), np.nan)


def error_scales(emulator: Any, space: Table) -> tuple[float, float]:
    """Smallest and largest scale of the emulator's error over 512 physical models of its space."""
    from skytrace.spectra.parameter_space import draw_latin_hypercube

    drawn, _ = draw_latin_hypercube(parameter_space(space), _OF_SCALE, seed=0)
    _, scale = emulator.predict_stretched(drawn.to_numpy())
    return float(scale.min()), float(scale.max())


def best_physical(result: Any, model: Any, likelihood: LikelihoodOptions, target: Any) -> dict[str, float]:
    """The mode, or where that is unphysical (limits are soft) the draw
    of the highest density that is physical. Raises SimulatorError where none of 500 draws is.
    """
    import jax

    from skytrace.errors import SimulatorError
    from skytrace.spectra.ejecta import unphysical_masks
    from skytrace.spectra.inference_density import from_unit, log_posteriors
    from skytrace.spectra.inference_stages import best_parameters

    def wrong(table: Table) -> np.ndarray:
        return np.any([*unphysical_masks(table).values(), np.zeros(len(table), dtype=bool)], axis=0)

    mode = best_parameters(result, model, likelihood)
    if not wrong(Table({name: [value] for name, value in mode.items()})).any():
        return mode
    unit = result.posterior.draws(500)
    with jax.enable_x64(True):
        density = np.asarray(log_posteriors(unit, target, model=model, options=likelihood))
    table = Table(np.asarray(from_unit(unit, model, likelihood, xp=np)[0]), columns=list(model.names))
    density = np.where(wrong(table), -np.inf, density)
    if not np.isfinite(density).any():
        raise SimulatorError("none of 500 draws of the posterior is physical: no model to run the simulator at")
    return {str(name): float(value) for name, value in table.iloc[int(np.argmax(density))].items()}
