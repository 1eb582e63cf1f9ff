"""Two pictures of the same lens: the cluster, its mass and its members once more, with other light behind, another PSF
and other noise. For learning what a lens is without labels; such clusters are in no survey.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.clusters.field_inputs import network_inputs
from skytrace.compute.progress import progress
from skytrace.compute.threads import single_threaded
from skytrace.errors import SurveyError, check_whole
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.clusters.galaxies import draw_field
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.population import simulate_clusters
from skytrace.surveys.clusters.rendering import FIELD_STREAM, PSF_BETA, observed_field, render_cluster

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.field_inputs import InputOptions
    from skytrace.surveys.clusters.interface import ClusterSurvey
    from skytrace.surveys.clusters.options import MockClusterOptions

__all__ = ["paired_images", "paired_inputs"]

_STREAM, _BANDS = 62, ("g", "r", "i")


def paired_images(
    numbers: NDArray[np.int64], *, options: MockClusterOptions
) -> tuple[tuple[NDArray[np.float32], MoffatPsf], tuple[NDArray[np.float32], MoffatPsf]]:
    """((images (n, band, y, x) [nanomaggies], PSFs), the same of the second pictures) of clusters ``numbers``."""
    rows: list[Any] = simulate_clusters(np.asarray(numbers), options=options).to_dict("records")
    images = np.empty((2, len(rows), 3, options.pixels, options.pixels), dtype=np.float32)
    widths = np.empty((2, len(rows), 3))

    def render(k: int) -> None:
        other = _other_sky(rows[k], options)
        images[0, k] = render_cluster(rows[k], options=options)
        images[1, k] = _second_picture(rows[k], other, options)
        for which, row in enumerate((rows[k], other)):
            widths[which, k] = [row[f"psf_fwhm_{band}_arcsec"] for band in _BANDS]

    with single_threaded(), ThreadPoolExecutor(options.threads) as pool:
        for _ in progress(pool.map(render, range(len(rows))), total=len(rows), description="pairs of lenses"):
            pass
    first, second = (MoffatPsf(w, PSF_BETA) for w in widths)
    return (images[0], first), (images[1], second)


def paired_inputs(
    survey: ClusterSurvey, pairs: int, *, inputs: InputOptions
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a network sees of ``pairs`` lenses, twice (n, channel, y, x): clusters beyond those of the mock survey.

    Raises SurveyError for a survey that is not simulated: no lens of the sky can be seen with another source.
    """
    check_whole("pretraining.clusters", pairs, 1, 10_000_000)
    if not isinstance(survey, MockClusters):
        raise SurveyError(f"survey {survey.name!r} shows no lens with another source; set pretraining.clusters = 0")
    options = replace(survey.options, lens_fraction=1.0)
    first, second = paired_images(survey.options.n_clusters + np.arange(pairs), options=options)
    scale = options.pixel_scale_arcsec
    return (
        network_inputs(*first, pixel_scale_arcsec=scale, options=inputs),
        network_inputs(*second, pixel_scale_arcsec=scale, options=inputs),
    )


def _other_sky(row: dict[str, Any], options: MockClusterOptions) -> dict[str, Any]:
    """The same cluster under a PSF and a depth drawn anew."""
    rng = np.random.default_rng([options.seed, _STREAM, 1, int(row["number"])])
    other = dict(row)
    for b, band in enumerate(_BANDS):
        width = np.exp(options.seeing_scatter * rng.standard_normal())
        other[f"psf_fwhm_{band}_arcsec"] = options.psf_fwhm_arcsec[b] * width
        other[f"depth_{band}_mag"] = options.depth_mag[b] + options.depth_scatter_mag * rng.standard_normal()
    return other


def _second_picture(row: dict[str, Any], other: dict[str, Any], options: MockClusterOptions) -> NDArray[np.float32]:
    half = 0.5 * options.pixels * options.pixel_scale_arcsec
    share = options.red_projection_share
    own = np.random.default_rng([options.seed, FIELD_STREAM, int(row["number"])])
    rng = np.random.default_rng([options.seed, _STREAM, 0, int(row["number"])])
    field = draw_field(row, half, own, red_projection_share=share)
    behind = draw_field(row, half, rng, red_projection_share=share).behind
    return observed_field(other, replace(field, behind=behind), options=options, rng=rng)
