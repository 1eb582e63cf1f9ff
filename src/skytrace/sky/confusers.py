"""Galaxies that look like lenses, told by Tractor scalars alone (design page ``lens_finder``, stage 2).

Magnitudes and colours are as catalogued (AB, not corrected for extinction); ellipticity is hypot(e1, e2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import OptionError, check_between
from skytrace.imaging.photometry import mag_ab
from skytrace.sky.crossmatch import pairs_within
from skytrace.sky.identifiers import is_among

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CONFUSER_PRECEDENCE", "ConfuserOptions", "confuser_categories"]

#: The primary category is the first of these that fits: what needs a measured companion or a rare shape before what
#: describes a large share of all galaxies.
CONFUSER_PRECEDENCE = (
    "merger_proxy",
    "edge_on_proxy",
    "blue_clumpy",
    "spiral_proxy",
    "large_galaxy",
    "ring_proxy",
)


@dataclass(frozen=True)
class ConfuserOptions:
    """Thresholds. *_flux_r: nmgy; *_shape_r: half-light radius [arcsec]; merger_separation_arcsec: nearest and farthest
    neighbour; merger_flux_ratio: a neighbour is comparable if the fluxes differ by at most this factor.
    """

    ring_flux_r: float = 5.0
    ring_sersic: float = 4.0
    edge_on_ellipticity: float = 0.50
    edge_on_shape_r: float = 0.6
    blue_g_minus_r: float = 0.4
    blue_mag_r: float = 20.5
    large_shape_r: float = 2.0
    large_flux_r: float = 3.0
    merger_separation_arcsec: tuple[float, float] = (3.0, 6.0)
    merger_flux_ratio: float = 3.0
    spiral_g_minus_r: float = 0.7
    spiral_shape_r: float = 0.8

    def __post_init__(self) -> None:
        check_between("edge_on_ellipticity", self.edge_on_ellipticity, 0.0, 1.0)
        check_between("merger_flux_ratio", self.merger_flux_ratio, 1.0, 100.0)
        for key in ("ring_flux_r", "ring_sersic", "edge_on_shape_r", "large_shape_r", "large_flux_r", "spiral_shape_r"):
            check_between(key, getattr(self, key), 0.0, np.inf)
        if len(self.merger_separation_arcsec) != 2:
            raise OptionError(f"merger_separation_arcsec = {self.merger_separation_arcsec!r} is not a pair (near, far)")
        for key in ("blue_g_minus_r", "blue_mag_r", "spiral_g_minus_r"):
            check_between(key, getattr(self, key), -10.0, 40.0)
        near, far = self.merger_separation_arcsec
        check_between("merger_separation_arcsec[0]", near, 0.0, 60.0)
        check_between("merger_separation_arcsec[1]", far, near, 60.0)
        object.__setattr__(self, "merger_separation_arcsec", (float(near), float(far)))


def confuser_categories(
    galaxies: pd.DataFrame, *, neighbours: pd.DataFrame | None = None, options: ConfuserOptions | None = None
) -> pd.DataFrame:
    """One row a galaxy: a bool column per category, and ``confuser_category``, the primary one ("" where none fits).

    galaxies: Tractor columns. neighbours: the table in which companions are sought (default: the galaxies themselves;
    give the whole survey where ``galaxies`` is already filtered). A colour of a non-positive flux fits no category.
    """
    options = options or ConfuserOptions()
    kind = galaxies["type"].astype(str).str.strip().to_numpy(dtype=str)
    flux_r = galaxies["flux_r"].to_numpy(dtype=float)
    shape_r = galaxies["shape_r"].to_numpy(dtype=float)
    sersic = galaxies["sersic"].to_numpy(dtype=float)
    ellipticity = np.hypot(galaxies["shape_e1"].to_numpy(dtype=float), galaxies["shape_e2"].to_numpy(dtype=float))
    mag_r = mag_ab(flux_r)
    g_minus_r = mag_ab(galaxies["flux_g"].to_numpy(dtype=float)) - mag_r
    steep = (kind == "DEV") | ((kind == "SER") & (sersic >= options.ring_sersic))
    fits = {
        "merger_proxy": _has_comparable_neighbour(galaxies, galaxies if neighbours is None else neighbours, options),
        "edge_on_proxy": (ellipticity >= options.edge_on_ellipticity) & (shape_r >= options.edge_on_shape_r),
        "blue_clumpy": (g_minus_r <= options.blue_g_minus_r) & (mag_r <= options.blue_mag_r),
        "spiral_proxy": (g_minus_r <= options.spiral_g_minus_r) & (shape_r >= options.spiral_shape_r),
        "large_galaxy": (shape_r >= options.large_shape_r) & (flux_r >= options.large_flux_r),
        "ring_proxy": steep & (flux_r >= options.ring_flux_r),
    }
    table = pd.DataFrame({name: fits[name] for name in CONFUSER_PRECEDENCE}, index=galaxies.index)
    conditions = [fits[name] for name in CONFUSER_PRECEDENCE]
    table["confuser_category"] = np.select(conditions, list(CONFUSER_PRECEDENCE), default="")
    return table


def _has_comparable_neighbour(
    galaxies: pd.DataFrame, neighbours: pd.DataFrame, options: ConfuserOptions
) -> NDArray[np.bool_]:
    """Whether another source of comparable r flux lies in the ring of separations around each galaxy, (n,)."""
    near, far = options.merger_separation_arcsec
    flux = neighbours["flux_r"].to_numpy(dtype=float)
    ra, dec = neighbours["ra"].to_numpy(dtype=float), neighbours["dec"].to_numpy(dtype=float)
    usable = np.flatnonzero((flux > 0) & np.isfinite(ra) & np.isfinite(dec))
    pairs, separation = pairs_within(ra[usable], dec[usable], far)
    pairs = usable[pairs]
    ratio = flux[pairs[:, 0]] / flux[pairs[:, 1]]
    comparable = (
        (separation >= near) & (ratio <= options.merger_flux_ratio) & (ratio >= 1.0 / options.merger_flux_ratio)
    )
    merging = np.zeros(len(neighbours), dtype=bool)
    merging[pairs[comparable].ravel()] = True
    if neighbours is galaxies:
        return merging
    return is_among(galaxies["galaxy_id"], neighbours["galaxy_id"][merging])
