"""Is the galaxy where the catalogue says? The light in an aperture at the position, against the catalogue's model of
the galaxy seen through the same PSF and the same aperture (``lens_finder``, stage 11).

Tractor: REX and EXP are exponentials, DEV is de Vaucouleurs, SER has its own index; shape_r is the half-light radius
along the major axis [arcsec], ellipticity (1 - q) / (1 + q) = hypot(e1, e2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.audit.parity import ParityOptions, central_fluxes
from skytrace.errors import CatalogueError, PixelError, check_between
from skytrace.imaging.apertures import aperture_photometry
from skytrace.imaging.profiles import GaussianComponents, SersicComponents, render_profiles
from skytrace.imaging.psf import MoffatPsf, moffat_fwhm_from_psfsize
from skytrace.statistics import LEVELS, beta_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MISPLACED", "AnchorFluxOptions", "anchor_flux_check", "anchor_flux_summary", "catalogue_aperture_flux"]

MISPLACED = "the anchor is not where the catalogue says"
_BANDS = ("g", "r", "z")
_INDEX = {"REX": 1.0, "EXP": 1.0, "DEV": 4.0}
_NEEDED = (
    "galaxy_id", "type", "shape_r", "shape_e1", "shape_e2", "sersic",
    *(f"{name}_{band}" for name in ("flux", "psfsize") for band in _BANDS),
)  # fmt: skip


@dataclass(frozen=True)
class AnchorFluxOptions:
    """tolerance: largest |measured / expected - 1|. radius_px: of the aperture; 4 px = 1.05" keeps most arcs out, of
    which the catalogue's model of the galaxy knows nothing. min_signal: S/N of the aperture below which nothing is
    said. psf_beta: of the Moffat with the catalogue's psfsize.
    """

    tolerance: float = 0.20
    radius_px: float = 4.0
    min_signal: float = 10.0
    psf_beta: float = 3.5

    def __post_init__(self) -> None:
        check_between("tolerance", self.tolerance, 0.0, 1.0, include_low=False, include_high=False)
        check_between("radius_px", self.radius_px, 2.0, 30.0)
        check_between("min_signal", self.min_signal, 0.0, 1e6)
        check_between("psf_beta", self.psf_beta, 1.0, 10.0, include_low=False)


def catalogue_aperture_flux(
    catalogue: pd.DataFrame, *, options: AnchorFluxOptions | None = None
) -> NDArray[np.float64]:
    """Flux (n, band) [nanomaggies] that the catalogue's model of each galaxy has within the aperture.

    catalogue: Tractor columns type, shape_r, shape_e1, shape_e2, sersic, flux_*, psfsize_*. A type without a profile
    (PSF) is a point; NaN in a band without exposures. Raises CatalogueError on missing columns.
    """
    options = options or AnchorFluxOptions()
    missing = [name for name in _NEEDED if name not in catalogue.columns]
    if missing:
        raise CatalogueError(f"the anchors' catalogue lacks columns {', '.join(missing)}")
    n = len(catalogue)
    kind = catalogue["type"].astype(str).str.strip()
    index = np.where(kind == "SER", catalogue["sersic"].to_numpy(dtype=float), kind.map(_INDEX).to_numpy(dtype=float))
    ellipticity = np.hypot(catalogue["shape_e1"].to_numpy(dtype=float), catalogue["shape_e2"].to_numpy(dtype=float))
    q = np.clip((1.0 - ellipticity) / (1.0 + ellipticity), 0.05, 1.0)
    radius = catalogue["shape_r"].to_numpy(dtype=float) * np.sqrt(q)
    extended = np.isfinite(index) & (radius > 0)
    rows, points = np.flatnonzero(extended), np.flatnonzero(~extended)
    unit = np.ones((n, len(_BANDS)))
    sersic = SersicComponents(
        rows, unit[rows], np.zeros(len(rows)), np.zeros(len(rows)), radius[rows], np.clip(index[rows], 0.4, 6.5),
        q[rows], np.zeros(len(rows)),
    )  # fmt: skip
    point = np.zeros(len(points))
    psfsize = catalogue[[f"psfsize_{band}" for band in _BANDS]].to_numpy(dtype=float)
    seen = np.isfinite(psfsize) & (psfsize > 0)  # a band without exposures has psfsize 0
    psfsize = np.where(seen, psfsize, 1.0)
    psf = MoffatPsf(moffat_fwhm_from_psfsize(psfsize, beta=options.psf_beta), beta=options.psf_beta)
    pixels = 2 * int(np.ceil(options.radius_px)) + 5
    stamps = render_profiles(sersic, GaussianComponents(points, unit[points], point, point, point), psf, pixels=pixels)
    share = aperture_photometry(stamps, radius_px=options.radius_px).flux_nmgy
    return np.where(seen, share * catalogue[[f"flux_{band}" for band in _BANDS]].to_numpy(dtype=float), np.nan)


def anchor_flux_check(
    images: NDArray[np.floating],
    catalogue: pd.DataFrame,
    *,
    invvar: NDArray[np.floating] | None = None,
    options: AnchorFluxOptions | None = None,
) -> pd.DataFrame:
    """One row an anchor: galaxy_id, measured_*, expected_* [nanomaggies], ratio_* per band, ratio, agrees, reason.

    images: (n, 3, y, x) nanomaggies, bands g, r, z, one a row of ``catalogue``. ratio: median over the bands with
    enough S/N (what is misplaced is so in all of them). agrees: ratio within tolerance of 1; else reason is MISPLACED,
    with the direction: too little light, or too much (a neighbour, or an arc, in the aperture). Where no band has the
    S/N, agrees is False and the reason is "too faint to tell".
    """
    options = options or AnchorFluxOptions()
    if len(images) != len(catalogue):
        raise PixelError(f"{len(images)} images for {len(catalogue)} rows of the catalogue")
    measured, noise = central_fluxes(images, invvar, options=ParityOptions(core_px=options.radius_px))
    expected = catalogue_aperture_flux(catalogue, options=options)
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = (expected / noise >= options.min_signal) & np.isfinite(measured)
        ratio = np.where(usable, measured / expected, np.nan)
    told = usable.any(axis=1)
    middle = np.full(len(ratio), np.nan)
    middle[told] = np.nanmedian(ratio[told], axis=1)
    agrees = told & (np.abs(middle - 1.0) <= options.tolerance)
    reason = np.where(middle < 1.0, f"{MISPLACED}: too little light", f"{MISPLACED}: too much light")
    reason = np.where(agrees, "", np.where(told, reason, "too faint to tell"))
    table = pd.DataFrame({"galaxy_id": catalogue["galaxy_id"].to_numpy()})
    for name, values in (("measured", measured), ("expected", expected), ("ratio", ratio)):
        for place, band in enumerate(_BANDS):
            table[f"{name}_{band}"] = values[:, place]
    return table.assign(ratio=middle, agrees=agrees, reason=reason)


def anchor_flux_summary(checked: pd.DataFrame) -> dict[str, Any]:
    """Share of the anchors bright enough to tell that agree, with 68 % and 95 % Beta intervals, and who does not."""
    told = checked["reason"] != "too faint to tell"
    k, n = int(checked["agrees"].sum()), int(told.sum())
    intervals = {f"interval_{name}": [float(end) for end in beta_interval(k, n, level)]
                 for name, level in LEVELS.items()}  # fmt: skip
    wrong = checked[told & ~checked["agrees"]]
    return {
        "n": n,
        "n_agree": k,
        "share": k / n if n else None,
        **intervals,
        "too_faint": int((~told).sum()),
        "disagree": dict(zip(wrong["galaxy_id"].astype(str), wrong["ratio"].astype(float).tolist(), strict=True)),
    }
