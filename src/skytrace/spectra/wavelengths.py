"""Wavelengths in air and in vacuum: Morton (2000, ApJS 130, 403, equation 8), as specutils has it.

By the convention of spectroscopy wavelengths below 2000 A are vacuum wavelengths in either case, and stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AIR_ABOVE_ANGSTROM", "SPEED_OF_LIGHT_KM_S", "air_to_vacuum", "vacuum_to_air"]

SPEED_OF_LIGHT_KM_S = 299_792.458
#: Air wavelengths are used above this one only.
AIR_ABOVE_ANGSTROM = 2000.0
#: Of the inverse, where Morton's equation is solved by iteration [A].
_PRECISION_ANGSTROM = 1e-9


def air_to_vacuum(wavelength_angstrom: ArrayLike) -> NDArray[np.float64]:
    """Vacuum wavelengths [A], same shape, of those in standard air; the exact inverse of ``vacuum_to_air``."""
    from astropy import units
    from specutils.utils.wcs_utils import air_to_vac

    wavelength = np.array(wavelength_angstrom, dtype=np.float64)
    in_air = wavelength >= AIR_ABOVE_ANGSTROM
    if in_air.any():
        air = wavelength[in_air] * units.AA
        wavelength[in_air] = air_to_vac(air, scheme="iteration", precision=_PRECISION_ANGSTROM).value
    return wavelength


def vacuum_to_air(wavelength_angstrom: ArrayLike) -> NDArray[np.float64]:
    """Wavelengths in standard air [A], same shape, of those in vacuum. Between 2000 and 2000.65 A, whose air
    wavelengths lie below 2000, they stay vacuum wavelengths.
    """
    from astropy import units
    from specutils.utils.wcs_utils import vac_to_air

    wavelength = np.array(wavelength_angstrom, dtype=np.float64)
    place = wavelength >= AIR_ABOVE_ANGSTROM
    if place.any():
        air = vac_to_air(wavelength[place] * units.AA).value
        wavelength[place] = np.where(air >= AIR_ABOVE_ANGSTROM, air, wavelength[place])
    return wavelength
