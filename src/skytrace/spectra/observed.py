"""One observed spectrum, with everything that must be known to compare it to a model, and how its faults were handled.

Wavelengths are vacuum wavelengths in ascending order without gaps: where the source has none, or none that counts,
the pixel is masked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError
from skytrace.spectra.noise import local_scatter
from skytrace.spectra.observed_options import CleaningOptions, SourceOptions
from skytrace.spectra.wavelengths import air_to_vacuum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["ObservedSpectrum", "observed_spectrum", "spectrum_from_arrays", "spectrum_to_arrays"]

#: Names of what a spectrum is made of, by kind.
_ARRAYS = ("wavelength_angstrom", "flux", "error", "mask")
_TEXTS = ("name", "frame")
_NUMBERS = ("redshift", "phase_day", "distance_modulus_mag", "mwebv_mag")
#: Pixels of the running median of the steps, with which a gap is found.
_STEP_WINDOW_PX = 51
#: Of all supernova spectra; what lies outside is in another unit than it is said to be.
_SENSIBLE_ANGSTROM = (500.0, 60_000.0)
#: Filled pixels in one gap; more would be a step of millimetres beside one of Angstrom.
_MOST_FILLED_PIXELS = 100_000
#: Equal neighbours that are not above 0 from which on they are fill values.
_FILL_RUN_PX = 5


@dataclass(frozen=True)
class ObservedSpectrum:
    """wavelength_angstrom, flux [erg/s/cm2/A], error, mask (True: no data), all (m,); vacuum, ascending.

    frame: "observed" or "rest" (flux then is f_lambda (1 + z)). redshift, phase_day, distance_modulus_mag, mwebv_mag:
    None where unknown. dereddened: whether mwebv_mag has been taken out. handling: what was done to the file's values,
    in words. Flux and error of a masked pixel may be NaN.
    """

    wavelength_angstrom: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    mask: NDArray[np.bool_]
    name: str
    frame: str
    dereddened: bool
    redshift: float | None = None
    phase_day: float | None = None
    distance_modulus_mag: float | None = None
    mwebv_mag: float | None = None
    handling: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.wavelength_angstrom.shape
        for key in ("flux", "error", "mask"):
            if getattr(self, key).shape != shape or len(shape) != 1:
                raise CatalogueError(f"{self.name}: {key} has shape {getattr(self, key).shape}, wavelengths {shape}")
        if not (np.diff(self.wavelength_angstrom) > 0).all():
            raise CatalogueError(f"{self.name}: wavelength_angstrom does not ascend")
        good = ~self.mask
        if not (np.isfinite(self.flux[good]).all() and (self.error[good] > 0).all()):
            raise CatalogueError(f"{self.name}: an unmasked pixel has no finite flux or no positive error")

    def noted(self, *words: str, **changes: object) -> ObservedSpectrum:
        """The spectrum with ``changes``, and ``words`` added to its handling."""
        return replace(self, handling=(*self.handling, *words), **changes)  # type: ignore[arg-type]

    @property
    def signal_to_noise(self) -> float:
        """Median of flux over error of the unmasked pixels."""
        good = ~self.mask
        return float(np.median(self.flux[good] / self.error[good]))


def observed_spectrum(
    wavelength_angstrom: ArrayLike,
    flux: ArrayLike,
    error: ArrayLike | None = None,
    *,
    source: SourceOptions,
    options: CleaningOptions | None = None,
    handling: tuple[str, ...] = (),
) -> ObservedSpectrum:
    """An ObservedSpectrum of raw columns (m,): sorted, duplicates averaged, NaN and gaps masked, errors supplied as
    ``options.errors`` says, air wavelengths converted; each step that changed something is recorded.

    Raises CatalogueError for wavelengths that are not finite or not in Angstrom, a frame without a redshift, flux
    without errors where they are asked of the file, and coverage that does not reach; the message names the key, the
    value and the allowed range.
    """
    options = options or CleaningOptions()
    columns, notes = _finite_columns(source.name, wavelength_angstrom, flux, error)
    if source.frame == "observed" and source.redshift is None:
        raise CatalogueError(f"{source.name}: frame = 'observed' needs a redshift in [-0.01, 10]; redshift is None")
    columns, more = _ascending(columns)
    notes += more
    if source.frame == "observed" and source.redshift is not None and source.redshift < 0.0:
        notes.append(f"redshift = {source.redshift:g} is negative: taken as of a galaxy that comes nearer")
    if source.medium == "air":
        columns[0] = air_to_vacuum(columns[0])
        notes.append("air wavelengths converted to vacuum (Morton 2000; below 2000 A they were vacuum already)")
    columns, more = _with_errors(source.name, columns, options)
    notes += more
    wavelength, flux_, error_, mask, more = _gaps_filled(source.name, columns, options.gap_factor)
    notes += more
    _check_coverage(source.name, wavelength, mask, options)
    return ObservedSpectrum(
        wavelength, flux_, error_, mask, name=source.name, frame=source.frame, dereddened=source.dereddened,
        redshift=source.redshift, phase_day=source.phase_day, distance_modulus_mag=source.distance_modulus_mag,
        mwebv_mag=source.mwebv_mag, handling=(*handling, *notes),
    )  # fmt: skip


def _finite_columns(
    name: str, wavelength: ArrayLike, flux: ArrayLike, error: ArrayLike | None
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Wavelength, flux, error (NaN where unknown), and what was made NaN. Raises CatalogueError."""
    columns = [np.array(column, dtype=np.float64).ravel() for column in (wavelength, flux)]
    columns.append(np.full(columns[0].shape, np.nan) if error is None else np.array(error, dtype=np.float64).ravel())
    sizes = [column.size for column in columns]
    if len(set(sizes)) > 1 or not sizes[0]:
        raise CatalogueError(f"{name}: wavelength, flux and error have {sizes} values, not one length of 1 or more")
    if not np.isfinite(columns[0]).all():
        raise CatalogueError(f"{name}: {int((~np.isfinite(columns[0])).sum())} wavelengths are not finite")
    low, high = float(columns[0].min()), float(columns[0].max())
    if low < _SENSIBLE_ANGSTROM[0] or high > _SENSIBLE_ANGSTROM[1]:
        raise CatalogueError(
            f"{name}: wavelength_angstrom = {low:g} to {high:g} is outside its allowed range "
            f"[{_SENSIBLE_ANGSTROM[0]:g}, {_SENSIBLE_ANGSTROM[1]:g}]; is wavelength_unit (nm? um?) right?"
        )
    notes = []
    unknown = ~np.isfinite(columns[1])
    if unknown.any():
        columns[1][unknown] = columns[2][unknown] = np.nan
        notes.append(f"{int(unknown.sum())} pixels without a finite flux masked")
    filled = _fill_values(columns[1])
    if filled.any():
        values = ", ".join(f"{value:g}" for value in np.unique(columns[1][filled])[:3])
        columns[1][filled] = columns[2][filled] = np.nan
        notes.append(f"{int(filled.sum())} pixels of fill values ({values}; equal neighbours, not above 0) masked")
    unknown |= filled
    if not unknown.all() and np.median(columns[1][~unknown]) <= 0.0:
        raise CatalogueError(
            f"{name}: the median flux = {np.median(columns[1][~unknown]):g} is not above 0; is its sign right?"
        )
    if error is not None:
        bad = ~unknown & ~(np.isfinite(columns[2]) & (columns[2] > 0))
        columns[2][bad] = np.nan
        if bad.any():
            notes.append(f"{int(bad.sum())} pixels with a flux have no finite, positive error")
    return columns, notes


def _fill_values(flux: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which pixels (m,) stand in runs of equal values that are not above 0: what files hold where nothing was seen."""
    change = np.flatnonzero(np.concatenate([[True], flux[1:] != flux[:-1], [True]]))
    lengths = np.diff(change)
    return np.repeat((lengths >= _FILL_RUN_PX) & (flux[change[:-1]] <= 0.0), lengths)


def _ascending(columns: list[NDArray[np.float64]]) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Sorted by wavelength; equal wavelengths averaged, with weights 1 / error^2 where every one has an error."""
    notes = []
    if (np.diff(columns[0]) < 0).any():
        order = np.argsort(columns[0], kind="stable")
        columns = [column[order] for column in columns]
        notes.append("wavelengths sorted into ascending order")
    unique, place = np.unique(columns[0], return_inverse=True)
    if len(unique) == len(columns[0]):
        return columns, notes
    notes.append(f"{len(columns[0]) - len(unique)} pixels repeat a wavelength: averaged with those they repeat")
    _, flux, error = columns
    known = np.isfinite(flux)
    weighted = np.bincount(place, ~np.isfinite(error) & known) == 0  # all of its values have errors
    weight = np.where(known, np.where(weighted[place], 1.0 / np.where(known, error, 1.0) ** 2, 1.0), 0.0)
    total = np.bincount(place, weight)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(place, weight * np.where(known, flux, 0.0)) / total
        spread = np.where(weighted & (total > 0), 1.0 / np.sqrt(total), np.nan)
    return [unique, np.where(total > 0, mean, np.nan), spread], notes


def _with_errors(
    name: str, columns: list[NDArray[np.float64]], options: CleaningOptions
) -> tuple[list[NDArray[np.float64]], list[str]]:
    """Errors as ``options.errors`` says. Raises CatalogueError where there are none and none may be estimated."""
    wavelength, flux, error = columns
    known = np.isfinite(flux)
    if options.errors == "file":
        if not np.isfinite(error).any():
            raise CatalogueError(
                f"{name}: the flux has no errors and errors = 'file'; give a column of errors, or allow "
                "errors = 'scatter' (from the local scatter of the flux)"
            )
        lacking = known & ~np.isfinite(error)
        notes = [f"{int(lacking.sum())} pixels without an error masked"] if lacking.any() else []
        return [wavelength, np.where(lacking, np.nan, flux), error], notes
    if known.sum() < options.min_pixels:
        raise CatalogueError(f"{name}: {int(known.sum())} pixels have a flux; min_pixels = {options.min_pixels}")
    replaced = known if options.errors == "scatter" else known & ~np.isfinite(error)
    if not replaced.any():
        return columns, []
    estimate = np.full(flux.shape, np.nan)
    estimate[known] = local_scatter(flux[known], window_px=options.scatter_window_px)
    if not (estimate[replaced] > 0).all():
        raise CatalogueError(f"{name}: errors = {options.errors!r}, but the flux has no scatter in places")
    words = f"errors of {int(replaced.sum())} pixels estimated from the local scatter of the flux (not of the file)"
    return [wavelength, flux, np.where(replaced, estimate, error)], [words]


def _gaps_filled(
    name: str, columns: list[NDArray[np.float64]], gap_factor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], list[str]]:
    """Wavelength, flux, error and mask with masked pixels at the local step where the wavelengths leave a gap."""
    from scipy.ndimage import median_filter

    wavelength, flux, error = columns
    step = np.diff(wavelength)
    usual = median_filter(step, size=min(_STEP_WINDOW_PX, max(step.size, 1)), mode="reflect") if step.size else step
    gaps = np.flatnonzero(step > gap_factor * usual)
    notes = [f"gap from {wavelength[i]:.1f} to {wavelength[i + 1]:.1f} A filled with masked pixels" for i in gaps]
    new = [np.arange(1, round(step[i] / usual[i])) * step[i] / round(step[i] / usual[i]) + wavelength[i] for i in gaps]
    if sum(map(len, new)) > _MOST_FILLED_PIXELS:
        raise CatalogueError(f"{name}: {sum(map(len, new))} pixels would fill gaps; at most {_MOST_FILLED_PIXELS}")
    place = np.repeat(gaps + 1, [len(points) for points in new])
    filled = np.insert(wavelength, place, np.concatenate([*new, np.empty(0)]))
    flux, error = (np.insert(values, place, np.nan) for values in (flux, error))
    return filled, flux, error, ~np.isfinite(flux), notes


def _check_coverage(
    name: str, wavelength: NDArray[np.float64], mask: NDArray[np.bool_], options: CleaningOptions
) -> None:
    """Raise CatalogueError unless enough unmasked pixels reach across the range asked for."""
    valid = wavelength[~mask]
    low, high = options.covered_angstrom
    if valid.size < options.min_pixels:
        raise CatalogueError(f"{name}: {valid.size} unmasked pixels; min_pixels = {options.min_pixels} are asked")
    if valid[0] > low or valid[-1] < high:
        raise CatalogueError(
            f"{name}: unmasked pixels cover {valid[0]:.1f} to {valid[-1]:.1f} A; "
            f"covered_angstrom = [{low:g}, {high:g}] is asked"
        )
    inside = (wavelength >= low) & (wavelength <= high)
    share = float((~mask[inside]).mean())
    if share < options.min_valid_fraction:
        raise CatalogueError(
            f"{name}: {share:.3f} of the pixels in {low:g}-{high:g} A are unmasked; at least min_valid_fraction = "
            f"{options.min_valid_fraction:g} is asked"
        )


def check_absolute(spectrum: ObservedSpectrum) -> None:
    """Raise CatalogueError where what turns the flux into a luminosity without dust is not known."""
    if spectrum.distance_modulus_mag is None:
        raise CatalogueError(f"{spectrum.name}: distance_modulus_mag in [20, 50] is needed; it is None")
    if not spectrum.dereddened and spectrum.mwebv_mag is None:
        raise CatalogueError(f"{spectrum.name}: dereddened = False needs mwebv_mag in [0, 5]; it is None")


def spectrum_to_arrays(spectrum: ObservedSpectrum) -> dict[str, NDArray]:
    """The spectrum as named arrays without Python objects, for an npz; NaN is a number that is not known."""
    arrays = {name: np.asarray(getattr(spectrum, name)) for name in (*_ARRAYS, *_TEXTS, "dereddened")}
    for name in _NUMBERS:
        value = getattr(spectrum, name)
        arrays[name] = np.array(np.nan if value is None else value)
    return arrays | {"handling": np.array(spectrum.handling, dtype=str)}


def spectrum_from_arrays(arrays: Mapping[str, NDArray]) -> ObservedSpectrum:
    """The inverse of ``spectrum_to_arrays``. Raises CatalogueError naming arrays that are missing."""
    missing = [name for name in (*_ARRAYS, *_TEXTS, *_NUMBERS, "dereddened", "handling") if name not in arrays]
    if missing:
        raise CatalogueError(f"arrays of a spectrum lack {', '.join(missing)}; there are {', '.join(arrays)}")
    parts: dict[str, Any] = {name: np.asarray(arrays[name]) for name in _ARRAYS}
    parts |= {name: str(arrays[name]) for name in _TEXTS}
    parts |= {name: None if np.isnan(arrays[name]) else float(arrays[name]) for name in _NUMBERS}
    handling = tuple(str(words) for words in arrays["handling"])
    return ObservedSpectrum(**parts, dereddened=bool(arrays["dereddened"]), handling=handling)
