"""AB magnitudes and nanomaggies; the one conversion of the house. 1 nanomaggy = 3.631e-6 Jy, AB zero point 22.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["EXTINCTION_PER_EBV", "band_columns", "flux_nmgy", "mag_ab", "mag_depth", "psfdepth_from_mag"]

#: A_band / E(B-V) [mag] of the DECam filters for SFD98 maps (Legacy Surveys DR10, "Galactic extinction").
EXTINCTION_PER_EBV = {"g": 3.214, "r": 2.165, "z": 1.211}


def band_columns(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """(n, 3) float64: the columns ``name``_g, ``name``_r and ``name``_z. Raises KeyError on a missing one."""
    return table[[f"{name}_{band}" for band in "grz"]].to_numpy(dtype=np.float64)


def flux_nmgy(mag: ArrayLike) -> NDArray[np.float64]:
    """Flux [nanomaggies] of an AB magnitude: 10^(0.4 (22.5 - m))."""
    return 10.0 ** (0.4 * (22.5 - np.asarray(mag, dtype=np.float64)))


def mag_ab(flux: ArrayLike) -> NDArray[np.float64]:
    """AB magnitude of a flux [nanomaggies]; NaN where the flux is not positive."""
    flux = np.asarray(flux, dtype=np.float64)
    positive = flux > 0
    return np.where(positive, 22.5 - 2.5 * np.log10(np.where(positive, flux, 1.0)), np.nan)


def mag_depth(psfdepth: ArrayLike) -> NDArray[np.float64]:
    """5-sigma depth [AB mag] of an inverse variance [nanomaggies^-2] (DR10 ``psfdepth`` or ``galdepth``)."""
    psfdepth = np.asarray(psfdepth, dtype=np.float64)
    positive = psfdepth > 0
    return np.where(positive, mag_ab(5.0 / np.sqrt(np.where(positive, psfdepth, 1.0))), np.nan)


def psfdepth_from_mag(mag5: ArrayLike) -> NDArray[np.float64]:
    """Inverse variance [nanomaggies^-2] of a 5-sigma depth [AB mag]."""
    return 25.0 / flux_nmgy(mag5) ** 2
