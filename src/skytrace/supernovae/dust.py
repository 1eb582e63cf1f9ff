"""Dust of the Milky Way: what it lets through, and light curves as they would be without it.

Fitzpatrick (1999), R_V = 3.1, at the pivot wavelength of the filter, as sncosmo has it. E(B-V) as the survey states it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = ["milky_way_transmission", "unknown_reddening", "without_milky_way_dust"]

R_V = 3.1


def milky_way_transmission(wavelength_nm: ArrayLike, mwebv: ArrayLike) -> NDArray[np.float64]:
    """Share of the light that arrives, (n,): 10^(-0.4 E(B-V) k(wavelength)). wavelength_nm: 91 to 6,000."""
    import sncosmo

    wavelength, mwebv = np.broadcast_arrays(
        np.asarray(wavelength_nm, dtype=np.float64), np.asarray(mwebv, dtype=np.float64)
    )
    unique, place = np.unique(wavelength, return_inverse=True)
    dust = sncosmo.F99Dust(r_v=R_V)
    dust.set(ebv=1.0)
    at_one_mag = dust.propagate(10.0 * unique, np.ones_like(unique))
    return at_one_mag[place.reshape(wavelength.shape)] ** mwebv  # magnitudes are proportional to E(B-V)


def unknown_reddening(light_curves: pd.DataFrame, objects: pd.DataFrame) -> list[str]:
    """The SNe of the light curves, in order, whose E(B-V) is not known: ``without_milky_way_dust`` leaves them as they
    are, fainter and redder than they would be without dust.
    """
    known = objects.loc[objects["mwebv"].notna(), "snid"]
    return sorted(set(light_curves["snid"]) - set(known))


def without_milky_way_dust(light_curves: pd.DataFrame, objects: pd.DataFrame) -> pd.DataFrame:
    """The light curves with flux and error divided by the transmission of each SN's mwebv; 0 where it is unknown, of
    the SNe that ``unknown_reddening`` names.
    """
    known = objects.drop_duplicates("snid").set_index("snid")["mwebv"].fillna(0.0)
    mwebv = light_curves["snid"].map(known).fillna(0.0).to_numpy()
    arrives = milky_way_transmission(light_curves["wavelength_nm"].to_numpy(), mwebv)
    return light_curves.assign(
        flux_jy=light_curves["flux_jy"] / arrives, flux_err_jy=light_curves["flux_err_jy"] / arrives
    )
