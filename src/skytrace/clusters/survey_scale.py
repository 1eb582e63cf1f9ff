"""How many clusters of a catalogue lens one of the clusters behind them, by its own richnesses and redshifts.

An isothermal lens makes several images of what lies within pi theta_E^2 of its axis in the source plane. The clusters
behind are those of the catalogue, counted by redshift and square degree; the Einstein radius is the proxy of richness,
scaled to each source redshift. What is counted is a background cluster whose centre is imaged more than once. Three
things are not known and are in no interval: the proxy (0.2 dex and more, and its square counts), the clusters that the
catalogue misses beyond its reach, and clustering along the line of sight. The answer is good to a factor of a few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.clusters.catalogue import comoving_distance_mpc, theta_e_from_richness
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.clusters.options import CatalogueFeatureOptions, SurveyScaleOptions

__all__ = ["alignment_probability", "background_density", "occupied_area_deg2", "survey_table"]

_SKY_DEG2 = 129600.0 / np.pi
_REDSHIFT_STEP = 0.02


def occupied_area_deg2(cells: ArrayLike, *, nside: int) -> float:
    """Area [deg^2] of the HEALPix cells that hold a cluster: too large by the edges of the footprint, too small where
    cells hold few. cells (n,): of the clusters.
    """
    return len(np.unique(np.asarray(cells))) * _SKY_DEG2 / (12 * nside**2)


def background_density(
    redshift: ArrayLike, groups: ArrayLike, cells: ArrayLike, *, options: SurveyScaleOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(middles (k,) of bins in redshift, clusters (k,) a square degree in each), by the deepest catalogue beyond each
    redshift: the one with the most clusters a square degree behind it.

    redshift, groups (the catalogue), cells (n,). Divided by options.share, the part of the catalogue that the file has.
    """
    redshift, groups, cells = (np.asarray(values) for values in (redshift, groups, cells))
    edges = np.arange(0.0, redshift.max() + 2 * _REDSHIFT_STEP, _REDSHIFT_STEP)
    behind = []
    for name in np.unique(groups):
        mine = groups == name
        area = occupied_area_deg2(cells[mine], nside=options.nside)
        counts = np.histogram(redshift[mine], edges)[0] / (area * options.share)
        behind.append(counts[::-1].cumsum()[::-1])
    most = np.max(behind, axis=0)
    return 0.5 * (edges[1:] + edges[:-1]), most - np.append(most[1:], 0.0)


def alignment_probability(
    theta_e_arcsec: ArrayLike,
    redshift: ArrayLike,
    source_redshift: ArrayLike,
    per_deg2: ArrayLike,
    *,
    options: SurveyScaleOptions,
    cosmology: CatalogueFeatureOptions | None = None,
) -> NDArray[np.float64]:
    """Expected background clusters (n,) whose centre a cluster images more than once.

    theta_e_arcsec, redshift (n,): of the clusters, theta_E for a source at options.proxy_z_source. source_redshift,
    per_deg2 (k,): of the clusters behind; only those beyond redshift + options.minimum_gap count.
    """
    theta, z = np.asarray(theta_e_arcsec, dtype=np.float64), np.asarray(redshift, dtype=np.float64)
    z_source, density = np.asarray(source_redshift, dtype=np.float64), np.asarray(per_deg2, dtype=np.float64)
    lens, source = (comoving_distance_mpc(value, options=cosmology) for value in (z, z_source))
    reference = float(comoving_distance_mpc(options.proxy_z_source, options=cosmology))
    # D_ls / D_s of a flat universe, over that of the proxy's source
    strength = np.maximum(1.0 - lens[:, None] / source, 0.0) / np.maximum(1.0 - lens / reference, 1e-9)[:, None]
    strength *= (z_source > z[:, None] + options.minimum_gap) & (z < options.proxy_z_source)[:, None]
    return np.pi * (theta / 3600.0) ** 2 * (strength**2 @ density)


def survey_table(
    table: pd.DataFrame, *, options: SurveyScaleOptions, cosmology: CatalogueFeatureOptions | None = None
) -> pd.DataFrame:
    """cluster_id, group, cell, redshift, richness, theta_e_richness_arcsec, alignment_probability: rows of ``table``,
    which has cluster_id, ra, dec [deg], redshift, richness and group.

    Raises CatalogueError for a catalogue of one redshift or less: nothing lies behind anything.
    """
    import pandas as pd

    from skytrace.sky.split import healpix_cell

    z = table["redshift"].to_numpy(dtype=float)
    if not len(table) or np.ptp(z) <= options.minimum_gap:
        raise CatalogueError(
            f"{len(table)} clusters whose redshifts differ by no more than minimum_gap = {options.minimum_gap:g}: none "
            "lies behind another"
        )
    cells = healpix_cell(table["ra"], table["dec"], nside=options.nside)
    theta = theta_e_from_richness(table["richness"], z)
    behind = background_density(z, table["group"], cells, options=options)
    chance = alignment_probability(theta, z, *behind, options=options, cosmology=cosmology)
    known = table[["cluster_id", "group", "redshift", "richness"]].reset_index(drop=True)
    own = pd.DataFrame({"cell": cells, "theta_e_richness_arcsec": theta, "alignment_probability": chance})
    return pd.concat([known, own], axis=1)
