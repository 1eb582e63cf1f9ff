"""How strong a lens a cluster's catalogue entry promises: Einstein radii from richness, velocity dispersion and L_X.

Each is a proxy with its own scatter (0.2-0.3 dex and more), to be ranked by, never to be quoted as a measurement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.clusters.options import CatalogueFeatureOptions
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CATALOGUE_SCHEMA",
    "catalogue_features",
    "comoving_distance_mpc",
    "sigma_v_from_l_x",
    "theta_e_from_l_x",
    "theta_e_from_richness",
    "theta_e_from_sigma_v",
]

_ARCSEC = 206264.80625
_LIGHT_KM_S = 299792.458
#: Column of ``catalogue_features`` -> unit and source.
CATALOGUE_SCHEMA = {
    "richness": ("1", "catalogue"),
    "redshift": ("1", "catalogue"),
    "theta_e_richness_arcsec": ("arcsec", 'proxy 10" (N / 50)^0.4 sqrt((1 + z) / 1.4)'),
    "theta_e_sigma_v_arcsec": ("arcsec", "isothermal sphere of the catalogue's velocity dispersion"),
    "theta_e_l_x_arcsec": ("arcsec", "isothermal sphere of the velocity dispersion that L_X predicts"),
}
#: Column -> (lowest, highest) of what it can hold; beyond, the unit is wrong.
_RANGES = {
    "richness": (0.0, 1000.0),
    "redshift": (0.0, 5.0),
    "sigma_v_km_s": (50.0, 4000.0),
    "l_x_erg_s": (1e40, 1e47),
}


def theta_e_from_richness(richness: ArrayLike, redshift: ArrayLike) -> NDArray[np.float64]:
    """10" (N / 50)^0.4 sqrt((1 + z) / 1.4) [arcsec]; the scaling of the project's design, about z = 0.4."""
    n, z = np.asarray(richness, dtype=np.float64), np.asarray(redshift, dtype=np.float64)
    return 10.0 * (n / 50.0) ** 0.4 * np.sqrt((1.0 + z) / 1.4)


def theta_e_from_sigma_v(
    sigma_v_km_s: ArrayLike, redshift: ArrayLike, *, options: CatalogueFeatureOptions | None = None
) -> NDArray[np.float64]:
    """4 pi (sigma / c)^2 D_ls / D_s [arcsec] of an isothermal sphere before a source at options.z_source; 0 beyond."""
    options = options or CatalogueFeatureOptions()
    lens = comoving_distance_mpc(redshift, options=options)
    source = comoving_distance_mpc(options.z_source, options=options)
    ratio = np.maximum(1.0 - lens / source, 0.0)
    return 4.0 * np.pi * (np.asarray(sigma_v_km_s, dtype=np.float64) / _LIGHT_KM_S) ** 2 * ratio * _ARCSEC


def theta_e_from_l_x(
    l_x_erg_s: ArrayLike, redshift: ArrayLike, *, options: CatalogueFeatureOptions | None = None
) -> NDArray[np.float64]:
    """``theta_e_from_sigma_v`` of ``sigma_v_from_l_x`` [arcsec]."""
    sigma = sigma_v_from_l_x(l_x_erg_s, redshift, options=options)
    return theta_e_from_sigma_v(sigma, redshift, options=options)


def sigma_v_from_l_x(
    l_x_erg_s: ArrayLike, redshift: ArrayLike, *, options: CatalogueFeatureOptions | None = None
) -> NDArray[np.float64]:
    """Velocity dispersion [km/s] of a cluster of luminosity L500 in 0.1-2.4 keV [erg/s].

    E(z)^-7/3 L500 / 1e44 = 10^0.274 (M500 / 3e14 Msun)^1.64 (Arnaud et al. 2010; Piffaretti et al. 2011, eq. 2), M200
    of an NFW profile, sigma = 1082.9 (h(z) M200 / 1e15 Msun)^0.3361 (Evrard et al. 2008, dark matter).
    """
    options = options or CatalogueFeatureOptions()
    z = np.asarray(redshift, dtype=np.float64)
    expansion = np.sqrt(options.omega_m * (1.0 + z) ** 3 + 1.0 - options.omega_m)
    scaled = np.asarray(l_x_erg_s, dtype=np.float64) / 1e44 * expansion ** (-7.0 / 3.0)
    m500 = 3e14 * (scaled / 10.0**0.274) ** (1.0 / 1.64)
    m200 = m500 * _m200_over_m500(options.concentration)
    return 1082.9 * (options.h0_km_s_mpc / 100.0 * expansion * m200 / 1e15) ** 0.3361


def catalogue_features(table: pd.DataFrame, *, options: CatalogueFeatureOptions | None = None) -> pd.DataFrame:
    """The columns of CATALOGUE_SCHEMA, rows as in ``table``.

    table: richness, redshift and, where known, sigma_v_km_s and l_x_erg_s (0.1-2.4 keV); what is missing or NaN gives
    NaN. Raises CatalogueError for a column that is missing and a value out of range, naming column, value and range.
    """
    options = options or CatalogueFeatureOptions()
    missing = [name for name in ("richness", "redshift") if name not in table]
    if missing:
        raise CatalogueError(
            f"the cluster table lacks {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    columns = {
        name: table[name].to_numpy(dtype=np.float64) if name in table else np.full(len(table), np.nan)
        for name in _RANGES
    }
    for name, (low, high) in _RANGES.items():
        values = columns[name]
        known = np.isfinite(values) if name not in ("richness", "redshift") else np.ones(len(values), dtype=bool)
        bad = known & ~((values >= low) & (values <= high))
        if bad.any():
            k = int(np.argmax(bad))
            raise CatalogueError(
                f"{name} = {values[k]!r} in row {k} is outside its allowed range [{low:g}, {high:g}] "
                f"({int(bad.sum())} such rows)"
            )
    n, z = columns["richness"], columns["redshift"]
    found = (
        n, z, theta_e_from_richness(n, z),
        theta_e_from_sigma_v(columns["sigma_v_km_s"], z, options=options),
        theta_e_from_l_x(columns["l_x_erg_s"], z, options=options),
    )  # fmt: skip
    return pd.DataFrame(dict(zip(CATALOGUE_SCHEMA, found, strict=True)), index=table.index)


def comoving_distance_mpc(
    redshift: ArrayLike, *, options: CatalogueFeatureOptions | None = None
) -> NDArray[np.float64]:
    """Comoving distance [Mpc] of flat LambdaCDM without radiation, from a table (2e-6 for 0.01 < z < 20)."""
    options = options or CatalogueFeatureOptions()
    grid = np.expm1(np.linspace(0.0, np.log(21.0), 6001))
    middle = 0.5 * (grid[1:] + grid[:-1])
    inverse, between = (1.0 / np.sqrt(options.omega_m * (1.0 + z) ** 3 + 1.0 - options.omega_m) for z in (grid, middle))
    steps = (inverse[1:] + 4.0 * between + inverse[:-1]) / 6.0 * np.diff(grid)
    distance = np.append(0.0, np.cumsum(steps)) * _LIGHT_KM_S / options.h0_km_s_mpc
    return np.interp(np.log1p(np.asarray(redshift, dtype=np.float64)), np.log1p(grid), distance)


def _m200_over_m500(concentration: float) -> float:
    """Of an NFW profile with c200: the radius at which the mean density is 500 times critical, by root finding."""
    from scipy.optimize import brentq

    def mass(x: float) -> float:
        return float(np.log1p(x) - x / (1.0 + x))

    full = mass(concentration)
    x500 = brentq(lambda x: mass(x) / full * (concentration / x) ** 3 - 2.5, 1e-3, concentration)
    return full / mass(x500)
