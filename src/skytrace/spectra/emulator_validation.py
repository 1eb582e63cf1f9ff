"""How good an emulator of spectra is on models that it has not seen, and how that improves with the training set.

The models to validate on must be apart from all that ``train_emulator`` was given: its own error part measures the
error that enters a likelihood, and says nothing independent about itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.errors import CatalogueError, check_between, check_whole
from skytrace.spectra.emulator import SpectrumEmulator
from skytrace.spectra.emulator_options import EmulatorOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.emulator_training import EmulatedSpace
    from skytrace.spectra.feature_options import FeatureOptions

__all__ = [
    "EmulatorValidation",
    "TrainingSizeCurve",
    "feature_errors",
    "spectrum_rms",
    "training_size_curve",
    "training_size_errors",
    "validate_emulator",
]

_DEFAULT = EmulatorOptions()
#: Half widths of central Gaussian intervals that hold 68 % and 95 %.
_HALF_WIDTHS = {"covered_68": 0.994457883, "covered_95": 1.959963985}


@dataclass(frozen=True, eq=False)
class EmulatorValidation:
    """by_model: rms_of_peak, rms_of_mean (share of the simulated spectrum's), scale, normalised (rms over wavelength of
    the error in y over its sigma). by_wavelength: wavelength_angstrom, error_median, error_p95 (fraction of the flux),
    covered_68, covered_95 (share of models whose y lies within the interval). by_feature: see ``feature_errors``.
    summary: numbers by name.
    """

    by_model: pd.DataFrame
    by_wavelength: pd.DataFrame
    by_feature: pd.DataFrame
    summary: dict[str, float]


class TrainingSizeCurve(NamedTuple):
    """error = amplitude x size^-slope: by least squares in logarithms. Intervals are percentiles over resamples of the
    models validated on. goal_size: where the law meets the goal, inf where it does not fall.
    """

    amplitude: float
    slope: float
    slope_interval: tuple[float, float]
    goal: float
    goal_size: float
    goal_size_interval: tuple[float, float]


def validate_emulator(
    emulator: SpectrumEmulator,
    parameters: ArrayLike,
    luminosity: ArrayLike,
    *,
    features: FeatureOptions | None = None,
) -> EmulatorValidation:
    """Errors of ``emulator`` on simulated spectra (n, m) [erg/s/A] of parameters (n, d) apart from its training."""
    import pandas as pd

    flux = np.asarray(luminosity, dtype=np.float64)
    predicted = emulator.predict(parameters)
    normalised = (emulator.stretch(flux) - predicted.stretched) / predicted.sigma
    fractional = np.abs(predicted.luminosity / flux - 1.0)
    by_model = spectrum_rms(predicted.luminosity, flux).assign(
        scale=predicted.scale, normalised=np.sqrt((normalised**2).mean(axis=1))
    )
    median, high = np.percentile(fractional, [50.0, 95.0], axis=0)
    covered = {name: (np.abs(normalised) <= width).mean(axis=0) for name, width in _HALF_WIDTHS.items()}
    by_wavelength = pd.DataFrame(
        {"wavelength_angstrom": emulator.wavelength_angstrom, "error_median": median, "error_p95": high, **covered}
    )
    summary = {"models": float(len(flux))}
    for name in ("rms_of_peak", "rms_of_mean"):
        values = by_model[name].to_numpy()
        summary |= {f"{name}_median": float(np.median(values)), f"{name}_p95": float(np.percentile(values, 95.0))}
    summary |= {
        "fractional_median": float(np.median(fractional)),
        "fractional_p95": float(np.percentile(fractional, 95)),
    }
    summary |= {name: float(share.mean()) for name, share in covered.items()}
    table = feature_errors(emulator.wavelength_angstrom, predicted.luminosity, flux, options=features)
    return EmulatorValidation(by_model, by_wavelength, table, summary)


def spectrum_rms(predicted: ArrayLike, simulated: ArrayLike) -> pd.DataFrame:
    """rms_of_peak, rms_of_mean: rms over wavelength of predicted less simulated (n, m), over the simulated spectrum's
    highest and mean value, a row a model.
    """
    import pandas as pd

    truth = np.asarray(simulated, dtype=np.float64)
    rms = np.sqrt(((np.asarray(predicted, dtype=np.float64) - truth) ** 2).mean(axis=1))
    return pd.DataFrame({"rms_of_peak": rms / truth.max(axis=1), "rms_of_mean": rms / truth.mean(axis=1)})


def feature_errors(
    wavelength_angstrom: ArrayLike,
    predicted: ArrayLike,
    simulated: ArrayLike,
    *,
    options: FeatureOptions | None = None,
) -> pd.DataFrame:
    """One row a feature: models (with the feature in both), only_simulated, only_predicted, and of predicted less
    simulated: velocity_median_km_s (signed), velocity_abs_km_s and velocity_abs_p95_km_s, depth_abs and depth_abs_p95.

    Spectra (n, m) without noise, measured by ``measure_features``, whose default options fit a minimum where the bins
    are no wider than 600 km/s.
    """
    import pandas as pd

    from skytrace.spectra.features import measure_features

    ours = measure_features(wavelength_angstrom, predicted, options=options)
    theirs = measure_features(wavelength_angstrom, simulated, options=options)
    rows = []
    for name, true in theirs.groupby("feature", sort=False):
        mine = ours[ours["feature"] == name]
        in_mine, in_true = ((table["status"] == "ok").to_numpy() for table in (mine, true))
        both = in_mine & in_true
        row = {"feature": name, "models": int(both.sum()), "only_simulated": int((in_true & ~in_mine).sum())}
        row["only_predicted"] = int((in_mine & ~in_true).sum())
        speed = (mine["velocity_km_s"].to_numpy() - true["velocity_km_s"].to_numpy())[both]
        depth = (mine["depth"].to_numpy() - true["depth"].to_numpy())[both]
        row["velocity_median_km_s"] = _percentile(speed, 50.0)
        for key, values, unit in (("velocity_abs", np.abs(speed), "_km_s"), ("depth_abs", np.abs(depth), "")):
            row[f"{key}{unit}"], row[f"{key}_p95{unit}"] = _percentile(values, 50.0), _percentile(values, 95.0)
        rows.append(row)
    return pd.DataFrame(rows)


def training_size_errors(
    size: int,
    parameters: ArrayLike,
    wavelength_angstrom: ArrayLike,
    luminosity: ArrayLike,
    held: ArrayLike,
    *,
    space: EmulatedSpace,
    options: EmulatorOptions = _DEFAULT,
) -> dict[str, Any]:
    """One point of the curve: an emulator trained on ``size`` of the models that are not held (n,) out. size and
    rms_of_peak (h,), in the order of the held rows.

    Smaller sizes are subsets of larger ones; a size depends on nothing of the others, so that each is a shard's work.
    Raises CatalogueError where there are not as many models.
    """
    from skytrace.spectra.emulator_training import train_emulator

    apart = np.asarray(held, dtype=bool)
    theta, flux = np.asarray(parameters, dtype=np.float64), np.asarray(luminosity, dtype=np.float64)
    free = np.random.default_rng([options.seed, 2]).permutation(np.flatnonzero(~apart))
    check_whole("size", size, 2, 10**9)
    if size > len(free):
        raise CatalogueError(f"size = {size}, but only {len(free)} models are not held out")
    rows = free[:size]
    emulator = train_emulator(theta[rows], wavelength_angstrom, flux[rows], space=space, options=options)
    errors = spectrum_rms(emulator.predict(theta[apart]).luminosity, flux[apart])["rms_of_peak"].to_numpy()
    return {"size": size, "rms_of_peak": errors}


def training_size_curve(
    sizes: Sequence[int],
    errors: ArrayLike,
    *,
    goal: float,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> TrainingSizeCurve:
    """A power law through the medians over models of errors (s, h) of emulators trained on ``sizes`` (s,) models, and
    the size at which it meets ``goal``.

    Models are resampled together at all sizes. The interval has only that in it: neither the luck of a training set or
    start of a network, nor that errors stop falling where a simulator's own roughness is reached. Raises CatalogueError
    for fewer than two sizes or errors that are not positive.
    """
    from skytrace.statistics.bootstrap import bootstrap_indices

    check_between("goal", goal, 0.0, np.inf, include_low=False)
    check_between("level", level, 0.0, 1.0, include_low=False, include_high=False)
    table = np.asarray(errors, dtype=np.float64)
    log_size = np.log(np.asarray(sizes, dtype=np.float64))
    if table.ndim != 2 or len(table) != len(log_size) or len(np.unique(log_size)) < 2 or not (table > 0).all():
        raise CatalogueError(
            f"errors of shape {table.shape} for {len(log_size)} sizes: two sizes and errors > 0 are asked"
        )
    chosen = bootstrap_indices(table.shape[1], n_resamples=n_resamples, seed=seed)
    medians = np.concatenate([np.median(table, axis=1)[:, None], np.median(table[:, chosen], axis=2)], axis=1)
    centred = log_size - log_size.mean()
    slope = -(centred @ np.log(medians)) / (centred @ centred)
    log_amplitude = np.log(medians).mean(axis=0) + slope * log_size.mean()
    with np.errstate(divide="ignore", over="ignore"):
        meets = np.where(slope > 0, np.exp((log_amplitude - np.log(goal)) / np.maximum(slope, 1e-300)), np.inf)
    ends = [50.0 * (1.0 - level), 50.0 * (1.0 + level)]
    low, high = np.percentile(slope[1:], ends)
    first, last = np.percentile(meets[1:], ends, method="nearest")  # inf has no mean with its neighbour
    return TrainingSizeCurve(
        float(np.exp(log_amplitude[0])), float(slope[0]), (float(low), float(high)),
        goal, float(meets[0]), (float(first), float(last)),
    )  # fmt: skip


def _percentile(values: NDArray[np.float64], percent: float) -> float:
    """NaN where there is nothing."""
    return float(np.percentile(values, percent)) if len(values) else float("nan")
