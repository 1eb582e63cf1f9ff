"""What a survey of clusters is, to everything that reads one: a catalogue, cutouts, and the few lenses that are known.

Sources (mock, mosaic) implement ``ClusterSurvey``; pipelines know only this page. What a simulated sky alone knows is
in ``truth()``, which nothing that learns, ranks or calibrates may read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from skytrace.clusters.options import BANDS
from skytrace.errors import CatalogueError, PixelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.imaging.psf import MoffatPsf

__all__ = ["CLUSTER_COLUMNS", "CLUSTER_TRUTH_COLUMNS", "ClusterCutouts", "ClusterSurvey", "check_clusters"]

#: One row a cluster: position of the BCG [deg], redshift and richness as measured, sigma_v_km_s and l_x_erg_s (0.1-2.4
#: keV) NaN where unknown, PSF half-maximum widths [arcsec], 5-sigma point-source depths and zero points [mag],
#: known_lens: whether the literature has it as a cluster-cluster lens (False: unlabelled, not "no").
CLUSTER_COLUMNS = (
    "cluster_id", "ra", "dec", "redshift", "richness", "sigma_v_km_s", "l_x_erg_s",
    *(f"psf_fwhm_{band}_arcsec" for band in BANDS), *(f"depth_{band}_mag" for band in BANDS),
    *(f"zero_point_{band}_mag" for band in BANDS), "known_lens",
)  # fmt: skip
#: What only a simulated sky knows: is_lens, confuser (what stands in the field besides its cluster, lens or not; plain:
#: nothing), kind (lens, or what the confuser is), true redshifts, mass, theta_E of halo and
#: BCG for a source at z_source, and how many members the background cluster has.
CLUSTER_TRUTH_COLUMNS = (
    "cluster_id", "is_lens", "kind", "confuser", "z_lens", "z_source", "richness_true", "m200_msun", "concentration",
    "theta_e_arcsec", "n_background",
)  # fmt: skip


@dataclass(frozen=True)
class ClusterCutouts:
    """Cutouts of n clusters in g, r, i, the BCG on pixel (size // 2, size // 2).

    image: (n, band, y, x) float32 [nanomaggies], sky-subtracted, **NaN where there is no data**: padding beyond a
    mosaic's edge is never zero. noise: (n, band) sky sigma a pixel [nanomaggies]. padded_fraction: (n, band) share of
    the cutout beyond all mosaics; missing_fraction: (n, band) share without data for whatever reason.
    """

    cluster_id: NDArray[np.str_]
    image: NDArray[np.float32]
    noise: NDArray[np.float64]
    psf: MoffatPsf
    padded_fraction: NDArray[np.float64]
    missing_fraction: NDArray[np.float64]
    pixel_scale_arcsec: float

    def __post_init__(self) -> None:
        n = len(self.cluster_id)
        if self.image.ndim != 4 or self.image.shape[:2] != (n, len(BANDS)):
            raise PixelError(f"image shape {self.image.shape} is not (n={n}, band={len(BANDS)}, y, x)")
        for name in ("noise", "padded_fraction", "missing_fraction"):
            if getattr(self, name).shape != (n, len(BANDS)):
                raise PixelError(f"{name} shape {getattr(self, name).shape} is not (n={n}, band={len(BANDS)})")
        if len(self.psf) != n:
            raise PixelError(f"{len(self.psf)} PSFs for {n} cutouts")

    def __len__(self) -> int:
        return len(self.cluster_id)

    def take(self, rows: Sequence[int]) -> ClusterCutouts:
        """The cutouts ``rows``."""
        chosen = np.asarray(rows, dtype=np.int64)
        return ClusterCutouts(
            self.cluster_id[chosen], self.image[chosen], self.noise[chosen], self.psf.take(chosen),
            self.padded_fraction[chosen], self.missing_fraction[chosen], self.pixel_scale_arcsec,
        )  # fmt: skip


@runtime_checkable
class ClusterSurvey(Protocol):
    """A source of cluster fields."""

    name: str

    def clusters(self) -> pd.DataFrame:
        """One row a cluster, CLUSTER_COLUMNS, unique cluster_id."""
        ...

    def cutouts(self, cluster_ids: Sequence[str]) -> ClusterCutouts:
        """Cutouts in the order asked for. Raises SurveyError naming the first unknown cluster."""
        ...

    def truth(self) -> pd.DataFrame:
        """CLUSTER_TRUTH_COLUMNS of a simulated sky; of a real one no row."""
        ...


def check_clusters(table: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """``table`` if it is a usable cluster table; CatalogueError with every problem in one message otherwise."""
    problems = []
    missing = [name for name in CLUSTER_COLUMNS if name not in table]
    if missing:
        problems.append(f"lacks columns {', '.join(missing)}")
    if not len(table):
        problems.append("is empty")
    elif not missing:
        repeated = table["cluster_id"][table["cluster_id"].duplicated()].unique()
        if len(repeated):
            problems.append(f"repeats cluster_id {', '.join(map(str, repeated[:3]))} ({len(repeated)} in all)")
        for name, low, high in (("ra", 0, 360), ("dec", -90, 90), ("redshift", 0, 5), ("richness", 0, 1000)):
            values = table[name].to_numpy(dtype=float)
            bad = ~((values >= low) & (values <= high))
            if bad.any():
                problems.append(f"has {name} = {values[bad][0]:g} outside [{low}, {high}] in {int(bad.sum())} rows")
    if problems:
        raise CatalogueError(f"cluster table of {source} " + "; ".join(problems))
    return table
