"""Savitzky-Golay smoothing with a window in Angstrom that depends on wavelength, for batches of noisy spectra.

A least-squares polynomial over the pixels of a window, evaluated at its pixel (Savitzky & Golay 1964); on a regular
grid this is scipy.signal.savgol_filter with mode "interp", which has neither masks, irregular grids, changing windows
nor errors. Where the window leaves the spectrum the nearest whole window is taken. Masked pixels have no weight, and
take the polynomial's value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

__all__ = ["SmoothingOptions", "smooth", "smoothing_matrix"]


@dataclass(frozen=True)
class SmoothingOptions:
    """uv_angstrom, optical_angstrom, nir_angstrom: widths of the window below ``uv_below_angstrom``, between, and above
    ``nir_above_angstrom``. order: of the polynomial. noisy_below: spectra whose median signal-to-noise ratio per pixel
    is lower are smoothed, others are left as they are.
    """

    uv_angstrom: float = 155.0
    optical_angstrom: float = 55.0
    nir_angstrom: float = 105.0
    uv_below_angstrom: float = 3500.0
    nir_above_angstrom: float = 7500.0
    order: int = 3
    noisy_below: float = 20.0

    def __post_init__(self) -> None:
        for key in ("uv_angstrom", "optical_angstrom", "nir_angstrom"):
            check_between(key, getattr(self, key), 1.0, 2000.0)
        check_between("uv_below_angstrom", self.uv_below_angstrom, 0.0, 1e5)
        check_between("nir_above_angstrom", self.nir_above_angstrom, self.uv_below_angstrom, 1e5)
        check_whole("order", self.order, 0, 6)
        check_between("noisy_below", self.noisy_below, 0.0, 1e6)

    def window_angstrom(self, wavelength_angstrom: ArrayLike) -> NDArray[np.float64]:
        """Width of the window at each wavelength."""
        wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
        below, above = wavelength < self.uv_below_angstrom, wavelength > self.nir_above_angstrom
        return np.select([below, above], [self.uv_angstrom, self.nir_angstrom], self.optical_angstrom)


def smoothing_matrix(
    wavelength_angstrom: ArrayLike, window_angstrom: ArrayLike, *, order: int = 3, mask: ArrayLike | None = None
) -> csr_array:
    """Sparse (m, m): smoothed flux = matrix @ flux, for the unmasked pixels ``mask`` (m,) leaves.

    A pixel whose window holds fewer than order + 2 unmasked pixels is left as it is.
    """
    from scipy.sparse import csr_array

    wavelength = np.asarray(wavelength_angstrom, dtype=np.float64)
    half = 0.5 * np.broadcast_to(np.asarray(window_angstrom, dtype=np.float64), wavelength.shape)
    good = np.ones(wavelength.shape, bool) if mask is None else ~np.asarray(mask, bool)
    centre = np.clip(wavelength, wavelength[0] + half, np.maximum(wavelength[-1] - half, wavelength[0] + half))
    slack = 1e-9 * half
    first = np.searchsorted(wavelength, centre - half - slack)
    stop = np.searchsorted(wavelength, centre + half + slack, side="right")
    place = first[:, None] + np.arange((stop - first).max())
    weight = (place < stop[:, None]) & good[np.minimum(place, wavelength.size - 1)]
    place = np.minimum(place, wavelength.size - 1)
    x = (wavelength[place] - centre[:, None]) / half[:, None]
    basis = np.polynomial.legendre.legvander(x, order) * weight[..., None]  # (m, w, order + 1)
    at_pixel = np.polynomial.legendre.legvander((wavelength - centre) / half, order)
    normal = np.swapaxes(basis, 1, 2) @ basis
    enough = weight.sum(axis=1) >= order + 2
    normal[~enough] = np.eye(order + 1)
    solved = np.linalg.solve(normal, at_pixel[..., None])
    coefficients = (basis @ solved)[..., 0]
    coefficients[~enough] = 0.0
    rows = np.repeat(np.arange(wavelength.size), place.shape[1])
    matrix = csr_array((coefficients.ravel(), (rows, place.ravel())), shape=(wavelength.size,) * 2)
    if not enough.all():
        kept = np.flatnonzero(~enough)
        matrix = matrix + csr_array((np.ones(kept.size), (kept, kept)), shape=matrix.shape)
    matrix.eliminate_zeros()
    return matrix


def smooth(
    wavelength_angstrom: ArrayLike,
    flux: ArrayLike,
    error: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    options: SmoothingOptions | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Flux and error (n, m) of spectra (n, m) or (m,), and which of them (n,) were noisy and so smoothed.

    error: of independent pixels in; that of each smoothed pixel out (neighbours are correlated over a window). There is
    one matrix for each distinct mask.
    """
    options = options or SmoothingOptions()
    values, sigma = (np.atleast_2d(np.array(array, dtype=np.float64)) for array in (flux, error))
    hidden = np.broadcast_to(np.zeros(values.shape[-1], bool) if mask is None else np.asarray(mask, bool), values.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(hidden, np.nan, values / sigma)
    noisy = np.nanmedian(ratio, axis=1) < options.noisy_below
    window = options.window_angstrom(wavelength_angstrom)
    distinct, which = np.unique(hidden, axis=0, return_inverse=True)
    for i, one_mask in enumerate(distinct):
        rows = np.flatnonzero((which.ravel() == i) & noisy)
        if rows.size:
            matrix = smoothing_matrix(wavelength_angstrom, window, order=options.order, mask=one_mask).T.tocsr()
            values[rows] = np.where(one_mask, 0.0, values[rows]) @ matrix
            variance = np.where(one_mask, 0.0, sigma[rows]) ** 2
            sigma[rows] = np.sqrt(variance @ matrix.power(2))
    return values, sigma, noisy
