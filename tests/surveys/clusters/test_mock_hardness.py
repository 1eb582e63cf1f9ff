"""The mock is no gift: what a colour cut alone can do with it, and a count of objects by their colour."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skytrace.clusters.options import PatchOptions
from skytrace.clusters.patches import patch_features_and_peaks
from skytrace.clusters.peak_colours import peak_colour_features
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions
from skytrace.surveys.clusters.red_sequence import red_sequence_colours


def red_share(cutouts, redshift, cut):
    """Share of the pixels seen in i that are redder in r-i than the cluster's sequence by ``cut``."""
    _, r, i = np.moveaxis(cutouts.image, 1, 0)
    seen = (i > 5 * cutouts.noise[:, 2, None, None]) & (r > 2 * cutouts.noise[:, 1, None, None])
    colour = -2.5 * np.log10(np.where(seen, r, 1.0) / np.where(seen, i, 1.0))
    red = seen & (colour > red_sequence_colours(redshift)[:, 1, None, None] + cut)
    return red.sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1)


def patch_colour(cutouts, blue, red):
    """Colours (n, 2) of a field's middle ninth and of the rest of it."""
    side = cutouts.image.shape[-1]
    middle = slice(side // 3, side - side // 3)
    inside = cutouts.image[..., middle, middle].sum(axis=(2, 3))
    outside = cutouts.image.sum(axis=(2, 3)) - inside
    flux = np.stack([inside, outside], axis=-1)
    return -2.5 * np.log10(flux[:, blue] / flux[:, red])


def counts_by_colour(cutouts):
    """Peaks of other colours than the centre's, and peaks off the sequence of all peaks (n, 2)."""
    options = PatchOptions(pool_outer=True)
    patches, peaks = patch_features_and_peaks(cutouts.image, cutouts.noise, options=options)
    colours = peak_colour_features(
        cutouts.image, cutouts.noise, cutouts.psf, pixel_scale_arcsec=cutouts.pixel_scale_arcsec, patches=options,
        peaks=peaks,
    )  # fmt: skip
    return np.column_stack([patches["off_colour_peaks"], colours["off_sequence_peaks"]])


@pytest.mark.slow
def test_a_colour_cut_alone_does_not_find_the_lenses_and_a_count_by_colour_finds_some():
    survey = MockClusters(MockClusterOptions(n_clusters=600, lens_fraction=0.4, threads=2))
    table, is_lens = survey.clusters(), survey.truth()["is_lens"].to_numpy()
    scores = []
    for k in range(0, len(table), 100):
        cutouts, redshift = survey.cutouts(table["cluster_id"][k : k + 100]), table["redshift"].to_numpy()[k : k + 100]
        red = [red_share(cutouts, redshift, cut) for cut in (0.1, 0.3)]
        cuts = [*red, patch_colour(cutouts, 0, 1), patch_colour(cutouts, 1, 2)]
        scores.append(np.column_stack([*cuts, counts_by_colour(cutouts)]))
    areas = np.array([roc_auc_score(is_lens, score) for score in np.concatenate(scores).T])
    cuts, counts = areas[:6], areas[6:]
    # a standard error is 0.024; neither these cuts nor the opposite ones find lenses
    assert (np.abs(cuts - 0.5) < 0.15).all(), areas.round(3)
    # counts of objects off the cluster's colour are no colour cut: they hold more, and far from all
    assert (counts < 0.8).all() and counts.max() > 0.6, areas.round(3)
