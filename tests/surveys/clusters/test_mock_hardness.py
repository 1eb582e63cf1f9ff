"""The mock is no gift: what a colour cut alone can do with it, with its interval."""

import numpy as np
from sklearn.metrics import roc_auc_score

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


def test_a_colour_cut_alone_does_not_find_the_lenses():
    survey = MockClusters(MockClusterOptions(n_clusters=160, lens_fraction=0.5, threads=1))
    table, is_lens = survey.clusters(), survey.truth()["is_lens"].to_numpy()
    cutouts = survey.cutouts(table["cluster_id"])
    rng = np.random.default_rng(0)
    for cut in (0.1, 0.3):
        score = red_share(cutouts, table["redshift"].to_numpy(), cut)
        draws = [rng.integers(0, len(score), len(score)) for _ in range(300)]
        areas = np.array([roc_auc_score(is_lens[k], score[k]) for k in draws])
        # its 68 % interval ends below 0.65, and above 0.35: neither this cut nor the opposite one finds lenses
        low, high = np.quantile(areas, [0.16, 0.84])
        assert low > 0.35 and high < 0.65, (cut, low, high)
