"""What a survey of galaxies is, to everything that reads one: a table, and cutouts with inverse variance and PSF.

Sources (mock, decam_fields, legacy_survey) implement ``ImagingSurvey``; pipelines know only this page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from skytrace.errors import CatalogueError, PixelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.imaging.psf import ImagePsf, MoffatPsf

__all__ = ["BANDS", "GALAXY_COLUMNS", "LENS_COLUMNS", "CutoutBatch", "ImagingSurvey", "check_galaxies"]

BANDS = ("g", "r", "z")

#: Columns of ``ImagingSurvey.galaxies()``: Tractor (sweep 10.1) names and units, plus ``galaxy_id``.
#: flux_* nanomaggies (not corrected for extinction), flux_ivar_* nanomaggies^-2, shape_r half-light radius [arcsec],
#: psfsize_* FWHM of the Gaussian of equal Neff [arcsec], psfdepth_*/galdepth_* inverse variance [nanomaggies^-2].
GALAXY_COLUMNS = (
    "galaxy_id", "ra", "dec", "type",
    "flux_g", "flux_r", "flux_z", "flux_ivar_g", "flux_ivar_r", "flux_ivar_z",
    "shape_r", "shape_e1", "shape_e2", "sersic", "maskbits",
    "nobs_g", "nobs_r", "nobs_z",
    "psfsize_g", "psfsize_r", "psfsize_z",
    "psfdepth_g", "psfdepth_r", "psfdepth_z", "galdepth_g", "galdepth_r", "galdepth_z",
    "ebv",
)  # fmt: skip

#: Columns of ``ImagingSurvey.lenses()``: known and candidate lenses. ``galaxy_id`` is "" where no galaxy of the survey
#: lies at the position; ``tier`` is confirmed, A or B; ``theta_e_arcsec`` is NaN where unmeasured; ``is_anchor`` marks
#: the confirmed/A systems kept aside for evaluation and realism gates (never trained on).
LENS_COLUMNS = ("lens_id", "galaxy_id", "ra", "dec", "tier", "theta_e_arcsec", "is_anchor")


@dataclass(frozen=True)
class CutoutBatch:
    """Cutouts of n galaxies, bands in the order of ``bands`` (g, r, z), checked by provenance, never by brightness.

    galaxy_id: (n,) str. image: (n, band, y, x) float32 [nanomaggies]. invvar: the same shape [nanomaggies^-2], 0 where
    a pixel carries no data (masked, off the edge, band missing). maskbits: (n, y, x) int32, DR10 bits.
    psf: n PSFs per band. The galaxy is centred on pixel (size // 2, size // 2).
    """

    galaxy_id: NDArray[np.str_]
    image: NDArray[np.float32]
    invvar: NDArray[np.float32]
    maskbits: NDArray[np.int32]
    psf: MoffatPsf | ImagePsf
    bands: tuple[str, ...] = BANDS
    pixel_scale_arcsec: float = 0.262

    def __post_init__(self) -> None:
        n = len(self.galaxy_id)
        if self.bands != BANDS:
            raise PixelError(f"cutout bands are {self.bands}; this project needs exactly {BANDS}, in this order")
        if self.image.ndim != 4 or self.image.shape[:2] != (n, len(BANDS)):
            raise PixelError(f"image shape {self.image.shape} is not (n={n}, band={len(BANDS)}, y, x)")
        if self.invvar.shape != self.image.shape:
            raise PixelError(f"invvar shape {self.invvar.shape} differs from image shape {self.image.shape}")
        if self.maskbits.shape != (n, *self.image.shape[2:]):
            raise PixelError(f"maskbits shape {self.maskbits.shape} is not (n, y, x) of image {self.image.shape}")
        if len(self.psf) != n:
            raise PixelError(f"{len(self.psf)} PSFs for {n} cutouts")
        if (self.invvar < 0).any():
            raise PixelError("invvar has negative values; an inverse variance is 0 (no data) or positive")

    def __len__(self) -> int:
        return len(self.galaxy_id)


@runtime_checkable
class ImagingSurvey(Protocol):
    """A source of raw sky.

    It may have, beside these: ``catalogue``, a HatsCatalogue of its galaxies, which are then selected partition by
    partition (``surveys.selected``); ``expect(galaxy_ids)``, told before many cutouts are asked for; ``fetches``, true
    where cutouts come over the network at a rate that holds for one process. Cutouts on other processes pickle it.
    """

    name: str

    def galaxies(self) -> pd.DataFrame:
        """One row a galaxy, at least GALAXY_COLUMNS, unique galaxy_id."""
        ...

    def lenses(self) -> pd.DataFrame:
        """Known and candidate lenses, LENS_COLUMNS; empty (with the columns) where the survey has none."""
        ...

    def cutouts(self, galaxy_ids: Sequence[str], *, size: int = 101) -> CutoutBatch:
        """Cutouts in the order asked for. Raises SurveyError naming the first unknown or unreachable galaxy."""
        ...


def check_galaxies(table: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """Return ``table`` if it is a usable galaxy table; raise CatalogueError with every problem in one message.

    Problems: empty, missing columns, repeated galaxy_id, and fluxes that cannot be nanomaggies (median r magnitude
    outside 12-28 AB: counts, microjansky and magnitudes all fail this).
    """
    problems = []
    missing = [name for name in GALAXY_COLUMNS if name not in table.columns]
    if missing:
        problems.append(f"lacks columns {', '.join(missing)}")
    if len(table) == 0:
        problems.append("is empty")
    elif not missing:
        repeated = table["galaxy_id"][table["galaxy_id"].duplicated()].unique()
        if len(repeated):
            problems.append(f"repeats galaxy_id {', '.join(map(str, repeated[:3]))} ({len(repeated)} in all)")
        flux = table["flux_r"].to_numpy(dtype=float)
        flux = flux[np.isfinite(flux) & (flux > 0)]
        median = 22.5 - 2.5 * np.log10(np.median(flux)) if len(flux) else np.nan
        if not 12.0 <= median <= 28.0:
            problems.append(f"has a median r magnitude of {median:.1f}: flux_r is not in nanomaggies")
    if problems:
        raise CatalogueError(f"galaxy table of {source} " + "; ".join(problems))
    return table
