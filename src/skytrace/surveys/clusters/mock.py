"""The built-in clusters: fields of known truth, some of which lens a background cluster. Computed when asked for.

Each cluster has a random stream of its own, so any part of the survey can be made alone, in any order, on any number of
threads, with the same pixels. What it leaves out: clusters along the line of sight beyond the confusers, structure of
the halo beyond its galaxies, correlated noise, masks, and sources at more than one redshift behind one cluster.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute.progress import progress
from skytrace.compute.threads import single_threaded
from skytrace.errors import SurveyError
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.clusters.interface import CLUSTER_TRUTH_COLUMNS, ClusterCutouts, check_clusters
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.population import cluster_table, simulate_clusters
from skytrace.surveys.clusters.rendering import PSF_BETA, render_cluster, sky_noise_nmgy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

__all__ = ["MockClusters"]

_BANDS = ("g", "r", "i")


class MockClusters:
    """A ClusterSurvey of ``options.n_clusters``."""

    name = "mock_clusters"
    #: What a reader of results must know about this sky.
    note = "simulated clusters of known truth: they show that the machinery finds what it should, on no real sky"

    def __init__(self, options: MockClusterOptions | None = None) -> None:
        self.options = options or MockClusterOptions()
        self.files_read: set[Path] = set()

    @cached_property
    def _simulated(self) -> pd.DataFrame:
        table = simulate_clusters(np.arange(self.options.n_clusters), options=self.options)
        return table.set_index("cluster_id", drop=False)

    def clusters(self) -> pd.DataFrame:
        """One row a cluster, CLUSTER_COLUMNS."""
        return check_clusters(cluster_table(self._simulated), source=self.name)

    def truth(self) -> pd.DataFrame:
        """CLUSTER_TRUTH_COLUMNS; nothing that learns, ranks or calibrates may read it."""
        return self._simulated[list(CLUSTER_TRUTH_COLUMNS)].reset_index(drop=True)

    def cutouts(self, cluster_ids: Sequence[str]) -> ClusterCutouts:
        """Cutouts in the order asked for. Raises SurveyError naming the first unknown cluster."""
        ids = np.asarray(cluster_ids, dtype=str).reshape(-1)
        unknown = [str(name) for name in ids if name not in self._simulated.index]
        if unknown:
            raise SurveyError(f"mock clusters have no cluster {unknown[0]!r} ({len(unknown)} unknown in all)")
        rows = self._simulated.loc[ids].to_dict("records")
        options = self.options
        image = np.empty((len(ids), 3, options.pixels, options.pixels), dtype=np.float32)

        def render(k: int) -> None:
            image[k] = render_cluster(rows[k], options=options)

        with single_threaded(), ThreadPoolExecutor(options.threads) as pool:
            for _ in progress(pool.map(render, range(len(ids))), total=len(ids), description="mock clusters"):
                pass
        noise = np.array([sky_noise_nmgy(row, options.pixel_scale_arcsec) for row in rows]).reshape(-1, 3)
        fwhm = np.array([[row[f"psf_fwhm_{band}_arcsec"] for band in _BANDS] for row in rows]).reshape(-1, 3)
        nothing = np.zeros((len(ids), 3))
        psf = MoffatPsf(fwhm, PSF_BETA)
        return ClusterCutouts(ids, image, noise, psf, nothing, nothing.copy(), options.pixel_scale_arcsec)
