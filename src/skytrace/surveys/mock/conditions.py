"""Where the mock survey points and what it sees there: seeing, depth, exposures and dust, coherent on the sky.

Depth follows the measured, bimodal histograms of Legacy Surveys DR10 south; seeing and exposures follow DECam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import ndtr

from skytrace.errors import OptionError
from skytrace.imaging.photometry import psfdepth_from_mag
from skytrace.surveys.interface import BANDS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.surveys.mock.options import MockSurveyOptions

__all__ = [
    "DEPTH_AREA_SQDEG",
    "DEPTH_BIN_CENTRES_MAG",
    "ELECTRONS_PER_NMGY_PER_EXPOSURE",
    "PSF_BETA",
    "Pointings",
    "depth_quantile",
    "draw_pointings",
    "place_galaxies",
]

#: One Moffat index for the whole survey (the middle one of the three with closed optical transfer functions).
PSF_BETA = 3.5

#: Centres of the 0.1 mag bins of DEPTH_AREA_SQDEG.
DEPTH_BIN_CENTRES_MAG = np.round(np.arange(21.6, 26.75, 0.1), 1)

#: Area [sq deg] per 0.1 mag of 5-sigma PSF depth in DR10 south where there are 3+ exposures, read by pixel tracing
#: from files/depth-hist-{g,r,z}-dr10-south.png of github.com/legacysurvey/legacysurvey 816da167 (+-10 sq deg). Two
#: peaks: DECaLS (r = 24.2) and the Dark Energy Survey (r = 25.1).
DEPTH_AREA_SQDEG = {
    "g": (
        6.2, 6.2, 6.2, 6.2, 6.2, 6.2, 12.5, 12.5, 6.2, 12.5, 18.7, 18.7, 18.7, 24.9, 31.1, 31.1, 24.9, 18.7, 24.9, 31.1,
        31.1, 49.8, 81.0, 130.8, 149.5, 149.5, 149.5, 230.4, 448.4, 896.8, 1831.0, 2715.3, 2715.3, 2578.3, 1837.2,
        1170.8, 1594.3, 1843.4, 1843.4, 1089.9, 417.3, 224.2, 149.5, 168.2, 168.2, 99.6, 62.3, 74.7, 74.7, 37.4, 24.9,
        0.0,
    ),
    "r": (
        12.5, 18.7, 18.7, 12.5, 12.5, 12.5, 12.5, 18.7, 18.7, 12.5, 18.7, 18.7, 18.7, 24.9, 24.9, 31.1, 43.6, 56.1,
        74.7, 112.1, 105.9, 99.6, 149.5, 317.6, 1239.3, 2491.1, 2565.8, 2565.8, 1837.2, 1114.8, 734.9, 604.1, 591.6,
        884.3, 1656.6, 1787.4, 1787.4, 940.4, 298.9, 174.4, 118.3, 118.3, 112.1, 68.5, 68.5, 68.5, 43.6, 18.7, 12.5,
        12.5, 12.5, 0.0,
    ),
    "z": (
        18.7, 18.7, 12.5, 31.1, 37.4, 43.6, 49.8, 99.6, 124.6, 130.8, 149.5, 161.9, 168.2, 249.1, 535.6, 1507.1, 3051.6,
        3263.3, 3263.3, 2285.6, 1289.1, 1121.0, 1656.6, 1656.6, 1401.2, 691.3, 255.3, 149.5, 124.6, 124.6, 93.4, 68.5,
        43.6, 31.1, 18.7, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5,
        12.5, 0.0,
    ),
}  # fmt: skip

#: Electrons that 1 nanomaggy gives in one typical DECam exposure: t_exp 10^(0.4 (zpt - 22.5)) gain, with the median
#: exposure time (131, 76, 114 s) and zero point (25.08, 25.17, 24.91 in ADU/s) of 18 survey-ccds rows of
#: github.com/legacysurvey legacypipe and obiwan test cases, and 4.0 electrons per ADU. The same gain turns a dark sky
#: of 20.8 mag/arcsec^2 in r into the sig1 = 9.5e-3 nanomaggies that those rows list.
ELECTRONS_PER_NMGY_PER_EXPOSURE = {"g": 5600.0, "r": 3600.0, "z": 4200.0}

#: Quantiles of the number of exposures at DR9 lens candidates (Stein et al. 2022, 2,154 rows), r band.
_NOBS_QUANTILES = (
    (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0),
    (1, 2, 2, 3, 4, 6, 8, 9, 10, 12, 17),
)
#: E(B-V) quantiles of the same rows.
_EBV_QUANTILES = (
    (0.0, 0.01, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.99, 1.0),
    (0.004, 0.0088, 0.0120, 0.0138, 0.0185, 0.0285, 0.0425, 0.0636, 0.0796, 0.123, 0.20),
)
#: Median psfsize [arcsec] by band. Half-maximum widths of DECam PSFEx models have medians 1.15, 1.05, 0.90"; their
#: Neff-equivalent psfsize is 1 / 0.8113 of that, and coadds down-weight poor seeing by about a tenth.
_PSFSIZE_MEDIAN = {"g": 1.30, "r": 1.17, "z": 1.05}
_PSFSIZE_LOG_SCATTER = 0.215
_PSFSIZE_RANGE = (0.78, 2.05)
_NSIDE = 128
_SITE_SPACING_ARCSEC = 46.0
_SITE_JITTER_ARCSEC = 8.0
_SITES_A_SIDE = 9


@dataclass(frozen=True)
class Pointings:
    """Observing conditions of m pointings: ra, dec [deg], psfsize_arcsec, psfdepth (both (m, band)), nobs, ebv (m,)."""

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    psfsize_arcsec: NDArray[np.float64]
    psfdepth: NDArray[np.float64]
    nobs: NDArray[np.int64]
    ebv: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ra)


def depth_quantile(probability: ArrayLike, *, band: str) -> NDArray[np.float64]:
    """5-sigma PSF depth [AB mag] below which a fraction ``probability`` of DR10 south lies, linear inside the bins."""
    area = np.asarray(DEPTH_AREA_SQDEG[band])
    edges = np.append(DEPTH_BIN_CENTRES_MAG - 0.05, DEPTH_BIN_CENTRES_MAG[-1] + 0.05)
    cumulative = np.append(0.0, np.cumsum(area)) / area.sum()
    keep = np.append(True, np.diff(cumulative) > 0)
    return np.interp(np.asarray(probability, dtype=np.float64), cumulative[keep], edges[keep])


def draw_pointings(n: int, *, rng: np.random.Generator) -> Pointings:
    """Conditions of ``n`` pointings in distinct HEALPix cells of nside 128 with |b| > 20 deg and -19 < dec < 33 deg.

    Depths of the three bands share most of their rank (the same survey programmes observed all bands), exposures rise
    with depth at given seeing, and better seeing is slightly deeper. Each marginal is the measured one.
    """
    ra, dec = _draw_cells(n, rng)
    common, seeing = rng.standard_normal(n), rng.standard_normal(n)
    psfsize = np.empty((n, len(BANDS)))
    depth_mag = np.empty((n, len(BANDS)))
    for b, band in enumerate(BANDS):
        own = 0.8 * seeing + 0.6 * rng.standard_normal(n)
        psfsize[:, b] = np.clip(_PSFSIZE_MEDIAN[band] * np.exp(_PSFSIZE_LOG_SCATTER * own), *_PSFSIZE_RANGE)
        rank = 0.9 * common - 0.15 * seeing
        rank = rank + np.sqrt(1.0 - 0.9**2 - 0.15**2) * rng.standard_normal(n)
        depth_mag[:, b] = depth_quantile(ndtr(rank), band=band)
    effort = depth_mag + 2.5 * np.log10(psfsize)  # what many exposures buy, whatever the seeing
    effort = effort + 0.1 * rng.standard_normal(effort.shape)
    ranks = (np.argsort(np.argsort(effort, axis=0), axis=0) + 0.5) / n
    nobs = np.rint(np.interp(ranks, *_NOBS_QUANTILES)).astype(np.int64)
    ebv = np.interp(rng.random(n), *_EBV_QUANTILES)
    return Pointings(ra, dec, psfsize, psfdepth_from_mag(depth_mag), nobs, ebv)


def _draw_cells(n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from astropy_healpix import HEALPix

    grid = HEALPix(nside=_NSIDE, order="nested")
    tries = 4 * n + 200
    ra = rng.uniform(0.0, 360.0, tries)
    dec = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(-19.0)), np.sin(np.radians(33.0)), tries)))
    pole_ra, pole_dec = np.radians(192.86), np.radians(27.13)
    sin_b = np.sin(np.radians(dec)) * np.sin(pole_dec)
    sin_b += np.cos(np.radians(dec)) * np.cos(pole_dec) * np.cos(np.radians(ra) - pole_ra)
    high = np.abs(sin_b) > np.sin(np.radians(20.0))
    from astropy import units

    cells = grid.lonlat_to_healpix(ra[high] * units.deg, dec[high] * units.deg)
    _, first = np.unique(cells, return_index=True)
    cells = cells[np.sort(first)][:n]
    if len(cells) < n:
        raise OptionError(
            f"n_galaxies needs {n} pointings in HEALPix cells of their own; the footprint gave {len(cells)}. "
            "Raise galaxies_per_pointing or lower n_galaxies"
        )
    lon, lat = grid.healpix_to_lonlat(cells)
    return np.asarray(lon.to_value(units.deg)), np.asarray(lat.to_value(units.deg))


def place_galaxies(pointings: Pointings, *, options: MockSurveyOptions, rng: np.random.Generator) -> pd.DataFrame:
    """Table of n galaxies: pointing, ra, dec and per-galaxy conditions (psfsize_*, psfdepth_*, nobs_*, ebv).

    Galaxies sit on a jittered 9 x 9 lattice of 46" about the centre of the cell, so that no two stamps of 101 pixels
    (26.5") overlap and all stay well inside the cell. Dithering scatters nobs by one and depth by 0.03 mag.
    """
    n, per = options.n_galaxies, options.galaxies_per_pointing
    pointing = np.arange(n) // per
    sites = np.argsort(rng.random((len(pointings), _SITES_A_SIDE**2)), axis=1)[:, :per]
    site = sites[pointing, np.arange(n) % per]
    middle = (_SITES_A_SIDE - 1) / 2
    jitter = rng.uniform(-_SITE_JITTER_ARCSEC, _SITE_JITTER_ARCSEC, (2, n))
    east = (site % _SITES_A_SIDE - middle) * _SITE_SPACING_ARCSEC + jitter[0]
    north = (site // _SITES_A_SIDE - middle) * _SITE_SPACING_ARCSEC + jitter[1]
    dec = pointings.dec[pointing] + north / 3600.0
    ra = np.mod(pointings.ra[pointing] + east / 3600.0 / np.cos(np.radians(dec)), 360.0)
    table = {"pointing": pointing, "ra": ra, "dec": dec, "ebv": pointings.ebv[pointing]}
    dither = rng.choice([-1, 0, 0, 1], size=(n, len(BANDS)))
    scatter = 10.0 ** (0.8 * 0.03 * rng.standard_normal((n, len(BANDS))))
    for b, band in enumerate(BANDS):
        table[f"psfsize_{band}"] = pointings.psfsize_arcsec[pointing, b]
        table[f"psfdepth_{band}"] = pointings.psfdepth[pointing, b] * scatter[:, b]
        table[f"nobs_{band}"] = np.maximum(pointings.nobs[pointing, b] + dither[:, b], 1)
    return pd.DataFrame(table)
