"""The one road from spectra to what an emulator learns, and back: normalise, stretch by asinh, compress by PCA; and the
road of an observed spectrum to the same grid: deredden, to rest, resample with its errors.

Simulated and observed spectra take the same transform. It is a value of plain arrays, so that it can be stored and
applied without the library that fitted it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import CatalogueError, OptionError, check_between
from skytrace.spectra.extinction import ExtinctionOptions, deredden, to_rest_frame
from skytrace.spectra.resampling import bin_edges, resample
from skytrace.spectra.smoothing import SmoothingOptions, smooth

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.observed import ObservedSpectrum

__all__ = [
    "ObservationOptions",
    "SpectrumTransform",
    "TransformOptions",
    "fit_transform",
    "mean_flux",
    "prepare_observed",
]


@dataclass(frozen=True)
class TransformOptions:
    """normalise_angstrom: the mean flux between these wavelengths becomes 1; its logarithm is kept beside the scores.
    softening: s of asinh(flux / s), in units of that mean: linear below, logarithmic above. variance: share of the
    variance of the stretched training spectra that the principal components keep.
    """

    normalise_angstrom: tuple[float, float] = (4000.0, 7000.0)
    softening: float = 0.05
    variance: float = 0.999

    def __post_init__(self) -> None:
        if len(self.normalise_angstrom) != 2:
            raise OptionError(f"normalise_angstrom = {self.normalise_angstrom!r} is not a pair (low, high) in Angstrom")
        low, high = self.normalise_angstrom
        check_between("normalise_angstrom[0]", low, 500.0, 50_000.0)
        check_between("normalise_angstrom[1]", high, low, 50_000.0, include_low=False)
        check_between("softening", self.softening, 1e-6, 1e3)
        check_between("variance", self.variance, 0.0, 1.0, include_low=False, include_high=False)


@dataclass(frozen=True)
class ObservationOptions:
    """extinction: the law that takes out the Milky Way's dust; smoothing: of noisy spectra, to look at: a likelihood
    takes the bins as independent, which smoothed ones are not (their errors would be two to three times too small);
    None: not smoothed. min_covered: share of a bin that unmasked pixels must cover.
    """

    extinction: ExtinctionOptions = field(default_factory=ExtinctionOptions)
    smoothing: SmoothingOptions | None = None
    min_covered: float = 0.5

    def __post_init__(self) -> None:
        check_between("min_covered", self.min_covered, 0.0, 1.0, include_low=False)


@dataclass(frozen=True)
class SpectrumTransform:
    """Spectra (n, m) on wavelength_angstrom (m,) <-> scores (n, c) and log10 of the mean flux (n,).

    mean (m,), components (c, m), orthonormal: of the stretched flux. retained: share of the training set's variance
    that they hold. truncation (m,): rms over the training set of what they leave, in stretched units.
    """

    wavelength_angstrom: NDArray[np.float64]
    normalise_angstrom: tuple[float, float]
    softening: float
    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    retained: float
    truncation: NDArray[np.float64]

    def stretch(self, flux: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """asinh(flux / mean flux / softening), (n, m), and log10 of the mean flux, (n,)."""
        values = np.atleast_2d(np.asarray(flux, dtype=np.float64))
        level = mean_flux(self.wavelength_angstrom, values, self.normalise_angstrom)
        return np.arcsinh(values / level[:, None] / self.softening), np.log10(level)

    def unstretch(self, stretched: ArrayLike, log_level: ArrayLike) -> NDArray[np.float64]:
        """The inverse of ``stretch``."""
        level = 10.0 ** np.asarray(log_level, dtype=np.float64)
        return np.sinh(np.asarray(stretched, dtype=np.float64)) * self.softening * level[:, None]

    def forward(self, flux: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores (n, c) and log10 of the mean flux (n,) of spectra (n, m) without masked pixels."""
        stretched, log_level = self.stretch(flux)
        return (stretched - self.mean) @ self.components.T, log_level

    def inverse(self, scores: ArrayLike, log_level: ArrayLike) -> NDArray[np.float64]:
        """Spectra (n, m) of scores (n, c) and log10 of the mean flux (n,): exact but for the variance not retained."""
        return self.unstretch(np.asarray(scores, dtype=np.float64) @ self.components + self.mean, log_level)


def mean_flux(
    wavelength_angstrom: ArrayLike, flux: ArrayLike, between_angstrom: tuple[float, float]
) -> NDArray[np.float64]:
    """Mean flux density (n,) of spectra (n, m) between two wavelengths, bins counted by the width inside; NaN pixels
    are left out. Raises OptionError where the grid does not reach, CatalogueError where a mean is not positive.
    """
    low, high = between_angstrom
    edges = bin_edges(wavelength_angstrom)
    if low < edges[0] or high > edges[-1]:
        raise OptionError(
            f"normalise_angstrom = [{low:g}, {high:g}] is outside the range of the grid, [{edges[0]:g}, {edges[-1]:g}]"
        )
    width = np.clip(np.minimum(edges[1:], high) - np.maximum(edges[:-1], low), 0.0, None)
    values = np.asarray(flux, dtype=np.float64)
    known = np.isfinite(values)
    level = (np.where(known, values, 0.0) @ width) / np.maximum(known @ width, np.finfo(float).tiny)
    bad = np.flatnonzero(~(level > 0))
    if bad.size:
        raise CatalogueError(
            f"{bad.size} spectra have no positive mean flux in {low:g}-{high:g} A, the first "
            f"{level[bad[0]]:g} of row {bad[0]}"
        )
    return level


def fit_transform(
    wavelength_angstrom: ArrayLike, flux: ArrayLike, *, options: TransformOptions | None = None
) -> SpectrumTransform:
    """The transform whose principal components keep ``options.variance`` of training spectra (n, m).

    Raises CatalogueError for fewer than two spectra or flux that is not finite, and what ``mean_flux`` raises.
    """
    from sklearn.decomposition import PCA

    options = options or TransformOptions()
    wavelength, values = np.asarray(wavelength_angstrom, dtype=np.float64), np.asarray(flux, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise CatalogueError(f"training spectra of shape {values.shape}: at least two rows of finite flux are asked")
    between = options.normalise_angstrom
    stretched = np.arcsinh(values / mean_flux(wavelength, values, between)[:, None] / options.softening)
    fitted = PCA(n_components=options.variance, svd_solver="full").fit(stretched)
    centred = stretched - fitted.mean_
    left = centred - (centred @ fitted.components_.T) @ fitted.components_
    return SpectrumTransform(
        wavelength, (float(between[0]), float(between[1])), options.softening, fitted.mean_, fitted.components_,
        float(fitted.explained_variance_ratio_.sum()), np.sqrt((left**2).mean(axis=0)),
    )  # fmt: skip


def prepare_observed(
    spectrum: ObservedSpectrum, wavelength_angstrom: ArrayLike, *, options: ObservationOptions | None = None
) -> ObservedSpectrum:
    """An observed spectrum at rest, without the Milky Way's dust, as means over the bins of
    ``wavelength_angstrom`` (k,) with propagated errors; smoothed if noisy where the options ask for it. What the
    spectrum says is done already is not done again.

    Raises CatalogueError where the dust or the redshift that must be taken out is not known.
    """
    options = options or ObservationOptions()
    wavelength, flux, error = spectrum.wavelength_angstrom, spectrum.flux, spectrum.error
    words: list[str] = []
    if not spectrum.dereddened:
        if spectrum.frame == "rest":
            raise CatalogueError(f"{spectrum.name}: Galactic dust cannot be taken out at rest; frame = 'rest'")
        if spectrum.mwebv_mag is None:
            raise CatalogueError(f"{spectrum.name}: dereddened = False needs mwebv_mag in [0, 5]; it is None")
        flux, error = deredden(wavelength, flux, error, spectrum.mwebv_mag, options=options.extinction)
        law = options.extinction
        words.append(f"dereddened by E(B-V) = {spectrum.mwebv_mag:g} ({law.law}, R_V = {law.r_v:g})")
    if spectrum.frame == "observed":
        if spectrum.redshift is None:
            raise CatalogueError(f"{spectrum.name}: frame = 'observed' needs a redshift in [-0.01, 10]; it is None")
        wavelength, flux, error = to_rest_frame(wavelength, flux, error, spectrum.redshift)
        words.append(f"brought to rest from z = {spectrum.redshift:g}")
    if options.smoothing is not None:
        flux, error, noisy = smooth(wavelength, flux, error, mask=spectrum.mask, options=options.smoothing)
        if noisy[0]:
            words.append(
                "smoothed (Savitzky-Golay), as its signal-to-noise ratio is low; errors of neighbours correlate"
            )
    new = resample(
        wavelength, flux, error, wavelength_angstrom, mask=spectrum.mask, min_covered=options.min_covered
    )  # fmt: skip
    if new.mask.all():
        raise CatalogueError(f"{spectrum.name}: no bin of the grid is covered by min_covered = {options.min_covered:g}")
    words.append(f"resampled to {new.flux.shape[1]} bins, of which {int(new.mask.sum())} are masked")
    grid = np.array(wavelength_angstrom, dtype=np.float64)
    changed = {"wavelength_angstrom": grid, "flux": new.flux[0], "error": new.error[0], "mask": new.mask[0]}
    return spectrum.noted(*words, frame="rest", dereddened=True, **changed)
