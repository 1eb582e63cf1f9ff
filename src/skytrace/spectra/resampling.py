"""Flux-conserving resampling of a batch of spectra, with errors and masks.

Every pixel is a bin between the midpoints to its neighbours; a new bin's flux density is the mean of the old ones,
weighted by the width they share with it (Carnall 2017, arXiv:1705.05165). On unmasked spectra this is what specutils'
FluxConservingResampler computes, values and variances alike (a test compares them). It is written here as one sparse
matrix because that one ignores masks (a NaN spreads, a gap counts as data), takes one spectrum at a time through a loop
over pixels, and does not give the covariance of neighbouring bins, which share pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skytrace.errors import OptionError, check_between

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from scipy.sparse import csr_array

__all__ = ["Resampled", "bin_edges", "overlap_widths", "resample", "resampling_covariance"]


class Resampled(NamedTuple):
    """flux, error, mask (True: too little of the bin is covered), all (n, k)."""

    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    mask: NDArray[np.bool_]


def bin_edges(wavelength_angstrom: ArrayLike) -> NDArray[np.float64]:
    """Edges (m + 1,) of the bins about ascending wavelengths (m,): midpoints, the outer ones by symmetry.

    Raises OptionError for fewer than two wavelengths or such as do not ascend.
    """
    centres = np.asarray(wavelength_angstrom, dtype=np.float64)
    if centres.ndim != 1 or centres.size < 2 or not (np.diff(centres) > 0).all():
        raise OptionError(f"wavelength_angstrom of shape {centres.shape} is no ascending grid of at least 2 values")
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def overlap_widths(old_edges: ArrayLike, new_edges: ArrayLike) -> csr_array:
    """Width [A] that new bin i and old bin j share, sparse (k, m)."""
    from scipy.sparse import csr_array

    old, new = np.asarray(old_edges, dtype=np.float64), np.asarray(new_edges, dtype=np.float64)
    every = np.unique(np.concatenate([old, new]))
    every = every[(every >= max(old[0], new[0])) & (every <= min(old[-1], new[-1]))]
    middle, width = 0.5 * (every[1:] + every[:-1]), np.diff(every)
    rows, columns = np.searchsorted(new, middle) - 1, np.searchsorted(old, middle) - 1
    return csr_array((width, (rows, columns)), shape=(new.size - 1, old.size - 1))


def resample(
    wavelength_angstrom: ArrayLike,
    flux: ArrayLike,
    error: ArrayLike | None,
    new_wavelength_angstrom: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    min_covered: float = 0.5,
) -> Resampled:
    """Spectra (n, m) or (m,) on ``wavelength_angstrom`` (m,), as means over the bins of ``new_wavelength_angstrom``.

    The integral of the flux over the common range is conserved where nothing is masked; a bin of which a share of less
    than ``min_covered`` is covered by unmasked pixels is masked, its flux and error are NaN. error: standard deviations
    of independent pixels, None: the result's errors are 0. One spectrum (m,) is a batch of one.
    """
    check_between("min_covered", min_covered, 0.0, 1.0, include_low=False)
    values = np.atleast_2d(np.asarray(flux, dtype=np.float64))
    good = np.ones(values.shape, bool) if mask is None else ~np.broadcast_to(np.asarray(mask, bool), values.shape)
    new_edges = bin_edges(new_wavelength_angstrom)
    shared = overlap_widths(bin_edges(wavelength_angstrom), new_edges).T.tocsr()
    covered = good @ shared
    enough = covered >= min_covered * np.diff(new_edges) * (1 - 1e-12)
    variance = np.zeros(values.shape) if error is None else np.where(good, np.asarray(error, np.float64), 0.0) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (np.where(good, values, 0.0) @ shared) / covered
        spread = np.sqrt(variance @ shared.power(2)) / covered
    return Resampled(np.where(enough, mean, np.nan), np.where(enough, spread, np.nan), ~enough)


def resampling_covariance(
    wavelength_angstrom: ArrayLike,
    error: ArrayLike,
    new_wavelength_angstrom: ArrayLike,
    *,
    mask: ArrayLike | None = None,
) -> csr_array:
    """Covariance, sparse (k, k), of the resampled flux of one spectrum (m,) whose pixels are independent: its diagonal
    is ``resample``'s error squared, its neighbours what bins that share a pixel have in common.
    """
    from scipy.sparse import diags_array

    sigma = np.asarray(error, dtype=np.float64)
    good = np.ones(sigma.shape, bool) if mask is None else ~np.asarray(mask, bool)
    shared = overlap_widths(bin_edges(wavelength_angstrom), bin_edges(new_wavelength_angstrom))
    covered = shared @ good.astype(np.float64)
    scaled = diags_array(1.0 / np.where(covered > 0, covered, np.inf)) @ shared
    return (scaled @ diags_array(np.where(good, sigma, 0.0) ** 2) @ scaled.T).tocsr()
