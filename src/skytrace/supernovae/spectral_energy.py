"""What a supernova sends out: F_nu at 10 pc [Jy] by rest-frame days since explosion and rest-frame wavelength.

Two spectral energy distributions behind one function: an expanding, cooling blackbody, and a spectral series (a table
of spectra by phase; Hsiao et al. 2007, ApJ 663, 1187, as sncosmo carries it). Neither sends anything before the
explosion, and the largest bolometric luminosity of either is ``peak_luminosity_erg_s``.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, OptionError
from skytrace.supernovae.opacity import LIGHT_JY_NM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from skytrace.supernovae.fit_options import ModelOptions

__all__ = [
    "C2_NM_K",
    "SPHERE_10PC_CM2",
    "SpectralSeries",
    "blackbody_scale_jy",
    "bolometric_luminosity_erg_s",
    "flux_10pc_jy",
    "radius_shape",
    "spectral_series",
    "temperature_k",
]

SPHERE_10PC_CM2 = 4.0 * np.pi * (10.0 * 3.0856775814913673e18) ** 2
_SIGMA_SB = 5.670374419e-5  # erg/s/cm2/K4, CODATA 2018
C2_NM_K = 1.438776877e7  # h c / k
_TWO_HC_JY_NM3 = 1e23 * 2 * 6.62607015e-27 * 2.99792458e10 * 1e21  # B_nu [Jy/sr] = this / lambda_nm^3 / expm1(x)
_WAVELENGTH_STEP_NM = 5.0


def temperature_k(t_days: ArrayLike, options: ModelOptions) -> NDArray[np.float64]:
    """Temperature of the blackbody."""
    cooled = np.exp(-np.asarray(t_days, dtype=np.float64) / options.cooling_days)
    return options.temperature_floor_k + options.temperature_drop_k * cooled


def radius_shape(t_days: ArrayLike, options: ModelOptions) -> NDArray[np.float64]:
    """Radius of the blackbody over that at ``rise_days``: x^p (2 / (1 + x^(p s)))^(1/s) exp(-(t - rise) / decline).

    x = t / rise_days, p the rise power, s the sharpness of the join; 0 before the explosion.
    """
    t = np.maximum(np.asarray(t_days, dtype=np.float64), 0.0)
    rise = (t / options.rise_days) ** options.rise_power
    sharp = options.join_sharpness
    return rise * (2.0 / (1.0 + rise**sharp)) ** (1.0 / sharp) * np.exp(-(t - options.rise_days) / options.decline_days)


@lru_cache(maxsize=64)
def blackbody_scale_jy(options: ModelOptions) -> float:
    """F_nu at 10 pc [Jy] = this x radius_shape^2 / lambda_nm^3 / expm1(c2 / (lambda T)): sets the largest luminosity.

    F_nu = pi B_nu R^2 / (10 pc)^2 and L = 4 pi R^2 sigma T^4, so the radius comes from the largest shape^2 T^4.
    """
    t = np.linspace(0.0, 10.0 * options.rise_days, 20_001)
    largest = float(np.max(radius_shape(t, options) ** 2 * temperature_k(t, options) ** 4))
    radius_squared = options.peak_luminosity_erg_s / (4.0 * np.pi * _SIGMA_SB * largest)
    return np.pi * _TWO_HC_JY_NM3 * radius_squared * 4.0 * np.pi / SPHERE_10PC_CM2


@dataclass(frozen=True, eq=False)
class SpectralSeries:
    """A table of spectra on which both the readable model and the compiled fit work.

    phase_days (p,): rest-frame days since explosion, the first is 0. wavelength_nm (w,): evenly spaced.
    flux_jy (p, w): F_nu at 10 pc, 0 in the first row. slope_jy (p, w): its derivative by phase [Jy/d]: cubic Hermite
    in phase that never undershoots (PCHIP), linear in wavelength. After the last phase the light fades exponentially
    with the rate of the last interval.
    """

    phase_days: NDArray[np.float64]
    wavelength_nm: NDArray[np.float64]
    flux_jy: NDArray[np.float64]
    slope_jy: NDArray[np.float64]

    @classmethod
    def from_table(
        cls, table: Any, *, peak_luminosity_erg_s: float = 1.5e43, smoothing_nm: float = 80.0
    ) -> SpectralSeries:
        """Series of a table with the columns phase_days, wavelength_nm, flux (F_lambda, any unit), one row a pair.

        Raises CatalogueError where a column is missing or the pairs are not a full grid.
        """
        missing = [name for name in ("phase_days", "wavelength_nm", "flux") if name not in table.columns]
        if missing:
            raise CatalogueError(f"a spectral series needs phase_days, wavelength_nm and flux; missing: {missing}")
        grid = table.pivot(index="phase_days", columns="wavelength_nm", values="flux")
        if grid.isna().to_numpy().any() or min(grid.shape) < 3:
            raise CatalogueError("a spectral series needs a flux at every pair of three or more phases and wavelengths")
        return cls.from_grid(
            grid.index.to_numpy(), grid.columns.to_numpy(), grid.to_numpy(),
            peak_luminosity_erg_s=peak_luminosity_erg_s, smoothing_nm=smoothing_nm,
        )  # fmt: skip

    @classmethod
    def from_grid(
        cls,
        phase_days: ArrayLike,
        wavelength_nm: ArrayLike,
        flux: ArrayLike,
        *,
        peak_luminosity_erg_s: float = 1.5e43,
        smoothing_nm: float = 80.0,
    ) -> SpectralSeries:
        """Series from F_lambda (p, w) in any unit; the explosion is at its first phase, whose flux is taken as 0."""
        from scipy.interpolate import PchipInterpolator

        phase, wavelength = np.asarray(phase_days, dtype=np.float64), np.asarray(wavelength_nm, dtype=np.float64)
        spectra = np.maximum(np.asarray(flux, dtype=np.float64), 0.0)
        spectra[0] = 0.0
        if not (spectra > 0.0).any():
            raise CatalogueError("a spectral series without light cannot be scaled to a luminosity")
        even = np.arange(wavelength[0], wavelength[-1] + 1e-9, _WAVELENGTH_STEP_NM)
        flux_jy = _averaged(wavelength, spectra / spectra.max(), even, smoothing_nm) * even**2 / LIGHT_JY_NM
        slope = PchipInterpolator(phase, flux_jy, axis=0).derivative()(phase)
        slope[0] = 0.0  # light appears without a jump in its rate
        unscaled = cls(phase - phase[0], even, flux_jy, slope)
        days = np.linspace(0.0, unscaled.phase_days[-1], 1001)
        total = np.trapezoid(unscaled.flux(days[:, None], even) * LIGHT_JY_NM / even**2, even, axis=1)
        scale = peak_luminosity_erg_s / SPHERE_10PC_CM2 / float(total.max())
        return cls(
            unscaled.phase_days, even, np.ascontiguousarray(scale * flux_jy), np.ascontiguousarray(scale * slope)
        )

    def flux(self, t_days: ArrayLike, wavelength_rest_nm: ArrayLike) -> NDArray[np.float64]:
        """F_nu at 10 pc [Jy]; NaN at a wavelength outside the table."""
        t, nm = np.broadcast_arrays(np.asarray(t_days, np.float64), np.asarray(wavelength_rest_nm, np.float64))
        position = (nm - self.wavelength_nm[0]) / (self.wavelength_nm[1] - self.wavelength_nm[0])
        outside = ~((position >= 0) & (position <= len(self.wavelength_nm) - 1))
        column = np.clip(np.where(outside, 0, position), 0, len(self.wavelength_nm) - 1.000001)
        left = column.astype(np.int64)
        right = column - left
        row = np.clip(np.searchsorted(self.phase_days, t, side="right") - 1, 0, len(self.phase_days) - 2)

        def at(values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
            return (1.0 - right) * values[rows, left] + right * values[rows, left + 1]

        width = self.phase_days[row + 1] - self.phase_days[row]
        u = (np.clip(t, 0.0, self.phase_days[-1]) - self.phase_days[row]) / width
        inside = (
            (1 + 2 * u) * (1 - u) ** 2 * at(self.flux_jy, row) + u * (1 - u) ** 2 * width * at(self.slope_jy, row)
            + u * u * (3 - 2 * u) * at(self.flux_jy, row + 1) + u * u * (u - 1) * width * at(self.slope_jy, row + 1)
        )  # fmt: skip
        last = np.full_like(row, len(self.phase_days) - 1)
        before, end = at(self.flux_jy, last - 1), at(self.flux_jy, last)
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.log(before / end) / (self.phase_days[-1] - self.phase_days[-2])
        fade = np.exp(-np.maximum(np.nan_to_num(rate), 0.0) * np.maximum(t - self.phase_days[-1], 0.0))
        return np.where(outside, np.nan, np.where(t > 0, inside * fade, 0.0))


def _averaged(
    wavelength: NDArray[np.float64], spectra: NDArray[np.float64], at: NDArray[np.float64], width_nm: float
) -> NDArray[np.float64]:
    """Means of ``spectra`` over ``width_nm`` about ``at``, cut at the ends of the table: from the running integral."""
    if width_nm == 0:
        return np.stack([np.interp(at, wavelength, row) for row in spectra])
    steps = 0.5 * (spectra[:, 1:] + spectra[:, :-1]) * np.diff(wavelength)
    running = np.concatenate([np.zeros((len(spectra), 1)), np.cumsum(steps, axis=1)], axis=1)
    low = np.maximum(at - 0.5 * width_nm, wavelength[0])
    high = np.minimum(at + 0.5 * width_nm, wavelength[-1])
    return np.stack([(np.interp(high, wavelength, row) - np.interp(low, wavelength, row)) for row in running]) / (
        high - low
    )


@contextmanager
def _without_downloads() -> Iterator[None]:
    """sncosmo asks a server for the sources that it does not find on disk; here it raises FileNotFoundError."""
    from sncosmo.builtins import DATADIR

    def refuse(path: str) -> str:
        raise FileNotFoundError(f"{path} is not on disk, and nothing is downloaded here")

    usual = DATADIR._get_url
    DATADIR._get_url = refuse
    try:
        yield
    finally:
        DATADIR._get_url = usual


@lru_cache(maxsize=8)
def spectral_series(options: ModelOptions) -> SpectralSeries:
    """The series that ``template_source`` names. Raises OptionError where sncosmo has no such source on disk: what a
    run reads is what its user put there, so nothing is downloaded.
    """
    import sncosmo

    try:
        with _without_downloads():
            source = sncosmo.get_source(options.template_source)
    except Exception as error:
        raise OptionError(
            f"template_source = {options.template_source!r} could not be loaded by sncosmo ({error}); "
            "hsiao-subsampled comes with the package; others must lie in sncosmo's data folder before"
        ) from error
    phase, angstrom = np.asarray(source._phase), np.asarray(source._wave)
    return SpectralSeries.from_grid(
        phase, angstrom / 10.0, source.flux(phase, angstrom) * 10.0,
        peak_luminosity_erg_s=options.peak_luminosity_erg_s, smoothing_nm=options.template_smoothing_nm,
    )  # fmt: skip


def flux_10pc_jy(
    t_days: ArrayLike, wavelength_rest_nm: ArrayLike, *, options: ModelOptions, series: SpectralSeries | None = None
) -> NDArray[np.float64]:
    """F_nu at 10 pc [Jy], t_days (rest frame) after the explosion; both broadcast. 0 before the explosion.

    series: a table of one's own, in place of the one that ``options`` name, when ``options.sed`` is ``template``.
    """
    if options.sed == "template":
        return (series or spectral_series(options)).flux(t_days, wavelength_rest_nm)
    t, nm = np.asarray(t_days, dtype=np.float64), np.asarray(wavelength_rest_nm, dtype=np.float64)
    after = np.maximum(t, 0.0)
    with np.errstate(over="ignore"):
        spectrum = nm**-3.0 / np.expm1(C2_NM_K / (nm * temperature_k(after, options)))
    return blackbody_scale_jy(options) * radius_shape(after, options) ** 2 * spectrum


def bolometric_luminosity_erg_s(t_days: ArrayLike, options: ModelOptions) -> NDArray[np.float64]:
    """Luminosity of the blackbody over all wavelengths, 4 pi R^2 sigma T^4."""
    t = np.linspace(0.0, 10.0 * options.rise_days, 20_001)
    largest = np.max(radius_shape(t, options) ** 2 * temperature_k(t, options) ** 4)
    after = np.maximum(np.asarray(t_days, dtype=np.float64), 0.0)
    shape = radius_shape(after, options) ** 2 * temperature_k(after, options) ** 4
    return options.peak_luminosity_erg_s * shape / largest
