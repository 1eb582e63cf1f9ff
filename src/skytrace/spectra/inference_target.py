"""An observed spectrum as what a likelihood compares models to: used bins, merged, with factorised covariances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.inference_covariance import inadequacy_kernel, scale_nodes, whiten

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions
    from skytrace.spectra.observed import ObservedSpectrum

__all__ = [
    "CM_PER_PARSEC",
    "SpectrumTarget",
    "observed_luminosity",
    "spectrum_target",
    "target_covariance",
    "used_bins",
]

CM_PER_PARSEC = 3.0856775814913673e18  # IAU 2015 resolution B2: 648000 / pi au


class SpectrumTarget(NamedTuple):
    """Arrays of one observation; (k,) merged bins of up to g bins each, (l,) lengths and (j,) scales of the error.

    rows, weights (k, g): bins of the model's grid, and their shares, in each merged bin. observed, wavelength_angstrom
    (k,). whitening (l, j, k, k), eigenvalues (l, j, k), log_determinant (l, j), log_scales (j,): of the covariance.
    root_weights (k,): square roots of the feature weights. explosion_day (3,): low, high and edge of t_exp, NaN where
    flat. noise (k, k), direction (k,): noise, and dy / dln L at the observation; factor_sigma (): of ln of the common
    factor. network: the model's arrays.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    observed: NDArray[np.float64]
    wavelength_angstrom: NDArray[np.float64]
    whitening: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    log_determinant: NDArray[np.float64]
    log_scales: NDArray[np.float64]
    root_weights: NDArray[np.float64]
    explosion_day: NDArray[np.float64]
    noise: NDArray[np.float64]
    direction: NDArray[np.float64]
    factor_sigma: NDArray[np.float64]
    network: Any


def observed_luminosity(
    spectrum: ObservedSpectrum,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Luminosity and its error (m,) [erg/s/A] of a spectrum at rest: 4 pi d^2 f with the distance modulus; NaN where
    masked. Raises CatalogueError for one in another frame, with dust, or without a distance modulus.
    """
    if spectrum.frame != "rest" or not spectrum.dereddened:
        raise CatalogueError(f"{spectrum.name}: bring it to rest without dust first (prepare_observed)")
    if spectrum.distance_modulus_mag is None:
        raise CatalogueError(f"{spectrum.name}: distance_modulus_mag in [20, 50] is needed; it is None")
    distance_cm = 10.0 * 10.0 ** (0.2 * spectrum.distance_modulus_mag) * CM_PER_PARSEC
    factor = np.where(spectrum.mask, np.nan, 4.0 * np.pi * distance_cm**2)
    return spectrum.flux * factor, spectrum.error * factor


def used_bins(wavelength_angstrom: ArrayLike, mask: ArrayLike, options: LikelihoodOptions) -> NDArray[np.bool_]:
    """Bins (m,) that are neither masked nor within an excluded window."""
    wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
    used = ~np.asarray(mask, dtype=bool)
    for low, high in options.excluded.values():
        used = used & ~((wavelength >= low) & (wavelength <= high))
    return used


def spectrum_target(
    luminosity: ArrayLike,
    error: ArrayLike,
    model: InferenceModel,
    *,
    options: LikelihoodOptions,
    correlation: Any = None,
    scales: ArrayLike = (1.0, 1.0),
    phase_day: float | None = None,
    displaced: NDArray[np.float64] | None = None,
) -> SpectrumTarget:
    """The target of a spectrum (m,) on the model's grid, in erg/s/A, NaN where masked, with its 1 sigma errors.

    correlation (m, m), sparse or dense: of the noise; None: independent bins. scales: smallest and largest scale of the
    emulator's error that may occur. phase_day: days from B maximum, which ``options.explosion`` needs.
    displaced (d, m): what one standard deviation of the emulator's displacement in each parameter does to y, near the
    parameters that will be inferred (``inference_displacement``); None: nothing. Noise goes to y
    by its derivative: 1 % too small where it is 10 % of the flux, 6 % at 20 %, 45 % at 40 %. Raises
    CatalogueError where fewer than 10 merged bins are left, or the phase is missing.
    """
    values, sigma = np.asarray(luminosity, dtype=np.float64), np.asarray(error, dtype=np.float64)
    known = np.isfinite(values) & np.isfinite(sigma)
    used = used_bins(model.wavelength_angstrom, ~known, options)
    rows, weights = _merged(model.wavelength_angstrom, used, options.merged_bins)
    if len(rows) < 10:
        raise CatalogueError(f"{len(rows)} merged bins are left of {used.size}: at least 10 are asked; see excluded")
    places = np.flatnonzero(used)
    mean = np.zeros((len(rows), places.size))
    np.add.at(mean, (np.arange(len(rows))[:, None], np.searchsorted(places, rows)), weights)
    y = model.stretch(values[places])
    slope = 1.0 / np.hypot(values[places], model.unit_erg_s_a)
    scaled = mean * (slope * sigma[places])
    noise = scaled @ scaled.T if correlation is None else scaled @ (correlation[places][:, places] @ scaled.T)
    direction = mean @ np.tanh(y)
    components = model.error_components[:, places] @ mean.T
    emulator = components.T @ components + (mean * model.error_variance[places]) @ mean.T
    if displaced is not None:
        moved = displaced[:, places] @ mean.T
        emulator = emulator + moved.T @ moved
    wavelength = model.wavelength_angstrom[places]
    kernels = [mean @ inadequacy_kernel(wavelength, length, options.kernel) @ mean.T for length in options.lengths_km_s]
    if not options.inadequacy:
        kernels = kernels[:1]
    smallest, largest = (float(scale) for scale in np.asarray(scales))
    nodes = scale_nodes(smallest, largest, options.scale_nodes)
    parts = [[whiten(noise + np.exp(2.0 * node) * emulator, kernel) for node in nodes] for kernel in kernels]
    matrices, eigenvalues, determinants = (
        np.array([[part[i] for part in row] for row in parts]) for i in range(3)
    )  # fmt: skip
    centre = mean @ wavelength
    return SpectrumTarget(
        rows, weights, mean @ y, centre, matrices, eigenvalues, determinants, nodes, _root_weights(centre, options),
        _explosion(options, phase_day), noise, direction,
        np.array(options.log_scale_sigma), model.network,
    )  # fmt: skip


def target_covariance(
    target: SpectrumTarget, *, scale: float = 1.0, amplitude: float = 0.0, length: int = 0
) -> NDArray[np.float64]:
    """C(scale, amplitude) (k, k) of a target, from its factors at the nearest node of the scale, with the common factor
    at the observed luminosity (the likelihood has it at the model's).
    """
    node = int(np.argmin(np.abs(target.log_scales - np.log(scale))))
    inverse = np.linalg.inv(target.whitening[length, node])
    along = target.factor_sigma * target.direction
    return (inverse * (1.0 + amplitude**2 * target.eigenvalues[length, node])) @ inverse.T + np.outer(along, along)


def _merged(
    wavelength: NDArray[np.float64], used: NDArray[np.bool_], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """rows, weights (k, size) of the runs of used bins cut into groups; a run's last one may have fewer. A run ends at
    a bin that is not used, and where the grid lacks bins.
    """
    places = np.flatnonzero(used)
    step = np.diff(np.log(wavelength))
    gap = (np.diff(places) > 1) | (np.diff(np.log(wavelength[places])) > 1.5 * np.median(step))
    rows, weights = [], []
    for run in np.split(places, np.flatnonzero(gap) + 1):
        for start in range(0, len(run), size):
            group = run[start : start + size]
            rows.append(np.concatenate([group, np.full(size - len(group), group[0])]))
            weights.append(np.concatenate([np.full(len(group), 1.0 / len(group)), np.zeros(size - len(group))]))
    return np.array(rows, dtype=np.int64).reshape(-1, size), np.array(weights).reshape(-1, size)


def _root_weights(wavelength: NDArray[np.float64], options: LikelihoodOptions) -> NDArray[np.float64]:
    weight = np.ones(len(wavelength))
    for low, high, factor in (options.feature_weights or {}).values():
        weight = np.where((wavelength >= low) & (wavelength <= high), factor, weight)
    return np.sqrt(weight)


def _explosion(options: LikelihoodOptions, phase_day: float | None) -> NDArray[np.float64]:
    dated = options.explosion
    if dated is None:
        return np.full(3, np.nan)
    if phase_day is None:
        raise CatalogueError("the explosion is dated before B maximum, but the spectrum's phase_day is None")
    return np.array([dated.low_day + phase_day, dated.high_day + phase_day, dated.soft_day])
