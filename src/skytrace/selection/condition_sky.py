"""What sky a (PSF, depth) condition of the grid means in g and z, where the grid names r alone.

Hosts that are degraded to a condition get the sky that the survey has there, not their own g and z scaled as r was:
a host that is deep in r is, by regression to the mean, less so in g and z, and its arcs would be fainter there than
those of the survey's own sky of that depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.imaging.photometry import mag_depth, psfdepth_from_mag
from skytrace.imaging.psf import neff_pixels

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ConditionSky", "SkyRelation"]

_BANDS = ("g", "r", "z")
_REFERENCE = 1  # r


@dataclass(frozen=True)
class ConditionSky:
    """psfsize: (band,) or (n, band) [arcsec]. psfdepth: as psfsize [nanomaggies^-2]."""

    psfsize: NDArray[np.float64]
    psfdepth: NDArray[np.float64]

    def within_reach(self, psfsize: NDArray[np.float64], psfdepth: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which hosts (n,) of own psfsize, psfdepth (n, band) can be degraded to it, by their r band.

        Sharper, deeper, and with less sky noise a pixel: convolving leaves the noise of large scales as it is, so a
        host whose pixels are noisier than the target's could reach the target's depth on paper only.
        """
        size, depth = psfsize[:, _REFERENCE], psfdepth[:, _REFERENCE]
        with np.errstate(invalid="ignore"):
            quieter = depth * neff_pixels(size) >= self.psfdepth[_REFERENCE] * neff_pixels(self.psfsize[_REFERENCE])
            return (size < self.psfsize[_REFERENCE]) & (depth > self.psfdepth[_REFERENCE]) & quieter

    def reached_by(self, psfsize: NDArray[np.float64], psfdepth: NDArray[np.float64]) -> ConditionSky:
        """The sky (n, band) that each host gets: this one, but never sharper, deeper or quieter a pixel than its own.

        In g and z a host may be worse than the condition's sky; there it keeps what it has.
        """
        size = np.maximum(self.psfsize, psfsize)
        # the ratio first: it is exactly 1 where the host keeps its PSF
        quietest = psfdepth * (neff_pixels(psfsize) / neff_pixels(size))
        return ConditionSky(size, np.minimum(self.psfdepth, quietest))


@dataclass(frozen=True)
class SkyRelation:
    """Straight lines of the survey's sky: depth_b - depth_r [mag] against depth_r, ln(psf_b / psf_r) against ln psf_r.

    depth, psf: (band, 2) intercept and slope. depth_range_mag, psf_range_arcsec: 5th and 95th percentiles of r; beyond
    them the difference of the nearer end is taken, for no sky of the survey says what it would be.
    """

    depth: NDArray[np.float64]
    psf: NDArray[np.float64]
    depth_range_mag: tuple[float, float]
    psf_range_arcsec: tuple[float, float]

    @classmethod
    def fit(cls, galaxies: pd.DataFrame) -> SkyRelation:
        """Of a table with psfsize_* and psfdepth_* [nanomaggies^-2] in g, r and z, all positive."""
        size = galaxies[[f"psfsize_{band}" for band in _BANDS]].to_numpy(dtype=np.float64)
        depth = mag_depth(galaxies[[f"psfdepth_{band}" for band in _BANDS]].to_numpy(dtype=np.float64))
        log_size = np.log(size)
        return cls(
            _lines(depth[:, _REFERENCE], depth - depth[:, [_REFERENCE]]),
            _lines(log_size[:, _REFERENCE], log_size - log_size[:, [_REFERENCE]]),
            _range(depth[:, _REFERENCE]),
            _range(size[:, _REFERENCE]),
        )

    def at(self, psf_r_arcsec: float, depth_r_mag: float) -> ConditionSky:
        """The sky where r has this PSF size and depth; r itself is taken as it is given."""
        depth_x = float(np.clip(depth_r_mag, *self.depth_range_mag))
        size_x = float(np.log(np.clip(psf_r_arcsec, *self.psf_range_arcsec)))
        depth = depth_r_mag + self.depth[:, 0] + self.depth[:, 1] * depth_x
        size = psf_r_arcsec * np.exp(self.psf[:, 0] + self.psf[:, 1] * size_x)
        return ConditionSky(size, psfdepth_from_mag(depth))


def _lines(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intercept and slope (band, 2) of y (n, band) against x (n,) by least squares; slope 0 where x does not vary."""
    centred = x - x.mean()
    spread = np.sum(centred**2)
    slope = centred @ y / spread if spread > 1e-9 * len(x) else np.zeros(y.shape[1])
    return np.stack([y.mean(axis=0) - slope * x.mean(), slope], axis=1)


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.percentile(values, [5.0, 95.0])
    return float(low), float(high)
