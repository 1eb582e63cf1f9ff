"""Dust and redshift taken out of spectra: what the supernova would look like at rest behind no dust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, check_between, check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["ExtinctionOptions", "deredden", "extinction_mag", "to_rest_frame"]

_LAWS = ("F99", "CCM89", "O94", "F04", "G23")


@dataclass(frozen=True)
class ExtinctionOptions:
    """law: of dust_extinction's averages over R_V: F99 (Fitzpatrick 1999), CCM89 (Cardelli et al. 1989), O94, F04, G23.
    r_v: A_V / E(B-V), 3.1 in the diffuse Milky Way.
    """

    law: str = "F99"
    r_v: float = 3.1

    def __post_init__(self) -> None:
        check_choice("law", self.law, _LAWS)
        low, high = (2.3, 5.6) if self.law == "G23" else (2.0, 6.0)
        check_between("r_v", self.r_v, low, high)


def extinction_mag(
    wavelength_angstrom: ArrayLike, ebv_mag: ArrayLike, *, options: ExtinctionOptions | None = None
) -> NDArray[np.float64]:
    """A(lambda) [mag], (n, m), behind dust of ``ebv_mag`` (n,); (m,) for one number. wavelength_angstrom (m,): vacuum,
    in the frame of the dust. Raises OptionError for wavelengths beyond the law.
    """
    import dust_extinction.parameter_averages
    from astropy import units

    options = options or ExtinctionOptions()
    wavelength, ebv = np.asarray(wavelength_angstrom, dtype=np.float64), np.asarray(ebv_mag, dtype=np.float64)
    if ebv.size:
        check_between("ebv_mag", float(ebv.min()), 0.0, 10.0)
        check_between("ebv_mag", float(ebv.max()), 0.0, 10.0)
    law = getattr(dust_extinction.parameter_averages, options.law)(Rv=options.r_v)
    low, high = (1e4 / inverse_um for inverse_um in reversed(law.x_range))
    if wavelength.min() < low or wavelength.max() > high:
        raise OptionError(
            f"wavelength_angstrom = {wavelength.min():g} to {wavelength.max():g} is outside the range of "
            f"{options.law}, [{low:g}, {high:g}]"
        )
    per_ebv = options.r_v * law(wavelength * units.AA)
    return ebv[..., None] * np.asarray(per_ebv, dtype=np.float64)


def deredden(
    wavelength_angstrom: ArrayLike,
    flux: ArrayLike,
    error: ArrayLike,
    ebv_mag: ArrayLike,
    *,
    options: ExtinctionOptions | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux and error of spectra (n, m) or (m,) as they would be without dust of ``ebv_mag`` (n,) or one number."""
    factor = 10 ** (0.4 * extinction_mag(wavelength_angstrom, ebv_mag, options=options))
    return np.asarray(flux, dtype=np.float64) * factor, np.asarray(error, dtype=np.float64) * factor


def to_rest_frame(
    wavelength_angstrom: ArrayLike, flux: ArrayLike, error: ArrayLike, redshift: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Wavelength / (1 + z), flux (1 + z), error (1 + z): the integral of f_lambda stays, so that with the luminosity
    distance L_lambda = 4 pi d_L^2 f_lambda. redshift: one number, or (n,): the wavelengths then are (n, m).
    """
    z = np.asarray(redshift, dtype=np.float64)
    if z.size:
        check_between("redshift", float(z.min()), -0.01, 10.0)
        check_between("redshift", float(z.max()), -0.01, 10.0)
    stretch = 1.0 + z[..., None]
    wavelength, *scaled = (np.asarray(values, dtype=np.float64) for values in (wavelength_angstrom, flux, error))
    return wavelength / stretch, scaled[0] * stretch, scaled[1] * stretch
