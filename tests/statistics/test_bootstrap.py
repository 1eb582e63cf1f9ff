"""Bootstrap: agreement with known standard errors, strata, seeds; clusters and the design effect."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.statistics import bootstrap_indices, bootstrap_interval, cluster_bootstrap_proportion, design_effect


def _mean(values):
    return values.mean(axis=-1)


def test_interval_of_a_mean_has_the_width_of_the_central_limit_theorem():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    result = bootstrap_interval(_mean, values, seed=1, n_resamples=4000, vectorised=True)
    expected = values.std() / np.sqrt(400)
    low, high = result.intervals[0.6827]
    assert result.value == pytest.approx(values.mean())
    assert result.standard_error == pytest.approx(expected, rel=0.05)
    assert high - low == pytest.approx(2 * expected, rel=0.07)
    low, high = result.intervals[0.9545]
    assert high - low == pytest.approx(4 * expected, rel=0.07)


def test_95_percent_intervals_cover_the_true_mean():
    rng = np.random.default_rng(5)
    samples = rng.exponential(1.0, (300, 150))
    covered = [
        low <= 1.0 <= high
        for low, high in (
            bootstrap_interval(_mean, s, levels=[0.95], seed=i, n_resamples=400, vectorised=True).intervals[0.95]
            for i, s in enumerate(samples)
        )
    ]
    assert 0.89 <= np.mean(covered) <= 0.98


def test_vectorised_and_plain_statistics_give_the_same_interval_whatever_the_block():
    a, b = np.random.default_rng(1).normal(size=(2, 3000))
    plain = bootstrap_interval(lambda x, y: np.mean(x * y), a, b, seed=3, n_resamples=900)
    batched = bootstrap_interval(lambda x, y: (x * y).mean(-1), a, b, seed=3, n_resamples=900, vectorised=True)
    assert plain.intervals[0.9545] == pytest.approx(batched.intervals[0.9545], rel=1e-12)
    whole = bootstrap_indices(3000, n_resamples=900, seed=3)
    assert (whole[:5] == bootstrap_indices(3000, n_resamples=5, seed=3)).all()


def test_a_stratified_resample_keeps_the_size_of_every_class():
    labels = np.random.default_rng(2).permutation(np.repeat([0, 1, 7], [90, 8, 2]))
    index = bootstrap_indices(100, n_resamples=200, seed=4, strata=labels)
    for label, size in ((0, 90), (1, 8), (7, 2)):
        assert ((labels[index] == label).sum(axis=1) == size).all()
    # every member is as likely as any other of its class
    counts = np.bincount(index.ravel(), minlength=100)
    assert abs(counts[labels == 7] - 200).max() < 60


def _clustered(rng, n_clusters=120, size=10, rho=0.6):
    """Standard normal values of which a cluster shares the part rho, with the cluster of each; 3 of 4 clusters full."""
    shared = np.sqrt(rho) * rng.normal(size=n_clusters)
    width = np.where(np.arange(n_clusters) % 4, size, size // 2)
    cluster = np.repeat(np.arange(n_clusters), width)
    return shared[cluster] + np.sqrt(1 - rho) * rng.normal(size=len(cluster)), rng.permutation(n_clusters)[cluster]


def test_whole_clusters_widen_the_interval_by_the_root_of_the_design_effect():
    values, cluster = _clustered(np.random.default_rng(3), n_clusters=600)
    rows = bootstrap_interval(_mean, values, seed=1, n_resamples=2000, vectorised=True)
    whole = bootstrap_interval(np.mean, values, clusters=cluster, seed=1, n_resamples=2000)
    width = np.bincount(cluster)
    expected = 1 + (np.sum(width**2) / len(values) - 1) * 0.6  # Kish: 1 + (mean size, by member, - 1) rho
    assert expected > 5
    assert whole.standard_error / rows.standard_error == pytest.approx(np.sqrt(expected), rel=0.1)
    assert whole.value == rows.value


def test_intervals_of_whole_clusters_cover_where_those_of_rows_do_not():
    covered = {"rows": 0, "clusters": 0}
    for seed in range(250):
        values, cluster = _clustered(np.random.default_rng(seed), n_clusters=60)
        for name, given in (("rows", None), ("clusters", cluster)):
            found = bootstrap_interval(np.mean, values, clusters=given, seed=seed, n_resamples=200)
            low, high = found.intervals[0.6827]
            covered[name] += low <= 0.0 <= high
    assert covered["rows"] / 250 < 0.42
    assert 0.60 < covered["clusters"] / 250 < 0.75


def test_a_resample_holds_each_cluster_whole_or_not_at_all():
    cluster = np.array(["b", "a", "b", "c", "b"])
    counts = []
    bootstrap_interval(
        lambda rows: counts.append(np.bincount(rows, minlength=5)) or 0.0, np.arange(5), clusters=cluster, seed=1,
        n_resamples=400,
    )  # fmt: skip
    counts = np.array(counts[1:])  # the first is the sample itself
    assert (counts[:, [0, 2]] == counts[:, [4]]).all()
    assert (counts[:, 0] + counts[:, 1] + counts[:, 3] == 3).all()
    assert abs(counts.mean(axis=0) - 1).max() < 0.15


def test_clusters_that_cannot_be_drawn_are_refused():
    with pytest.raises(OptionError, match="1 cluster cannot"):
        bootstrap_interval(np.mean, [1.0, 2.0], clusters=[7, 7], seed=1)
    with pytest.raises(OptionError, match=r"\(1,\) for 2 rows"):
        bootstrap_interval(np.mean, [1.0, 2.0], clusters=[7], seed=1)
    with pytest.raises(OptionError, match="strata"):
        bootstrap_interval(np.mean, [1.0, 2.0], clusters=[7, 8], strata=[0, 1], seed=1)


def test_flat_names_for_a_json_file():
    flat = bootstrap_interval(_mean, np.arange(9.0), seed=1, levels=(0.6827, 0.95), vectorised=True).as_dict()
    assert set(flat) == {"value", "standard_error", "low_68", "high_68", "low_95", "high_95"}
    assert flat["low_95"] < flat["low_68"] < flat["value"] < flat["high_68"] < flat["high_95"]


def test_bad_inputs_are_refused():
    with pytest.raises(OptionError, match="lengths"):
        bootstrap_interval(np.mean, [1.0, 2.0], [1.0], seed=1)
    with pytest.raises(OptionError, match="levels"):
        bootstrap_interval(np.mean, [1.0, 2.0], levels=[68.0], seed=1)
    with pytest.raises(OptionError, match="no resample"):
        bootstrap_interval(lambda values: np.nan, [1.0, 2.0], seed=1, n_resamples=5)
    with pytest.raises(OptionError, match="0 or 1"):
        design_effect([0.0, 0.5], [1, 2])
    with pytest.raises(OptionError, match="cluster"):
        design_effect([0.0, 1.0], [1])


def test_design_effect_of_fully_dependent_trials_is_the_cluster_size():
    host = np.repeat(np.arange(50), 4)
    detected = np.repeat(np.arange(50) % 2, 4)
    assert design_effect(detected, host) == pytest.approx(4 * 50 / 49)


def test_design_effect_of_one_trial_a_host_is_one():
    detected = np.arange(200) % 3 == 0
    assert design_effect(detected, np.arange(200)) == pytest.approx(200 / 199)


def test_design_effect_grows_with_the_correlation_within_hosts():
    rng = np.random.default_rng(6)
    host = np.repeat(np.arange(4000), 5)
    share = rng.beta(1.0, 1.0, 4000)  # variance 1/12 of a mean of 1/2: correlation 1/3
    detected = rng.random(20_000) < share[host]
    assert design_effect(detected, host) == pytest.approx(1 + 4 / 3, rel=0.05)


def test_design_effect_is_not_a_number_where_nothing_varies():
    assert np.isnan(design_effect([1, 1, 1], [1, 2, 3]))
    assert np.isnan(design_effect([1, 0, 1], [7, 7, 7]))


def test_the_cluster_bootstrap_agrees_with_the_design_effect():
    rng = np.random.default_rng(7)
    host = rng.integers(0, 80, 400)
    detected = rng.random(400) < rng.beta(0.5, 0.5, 80)[host]
    result = cluster_bootstrap_proportion(detected, host, n_resamples=8000, seed=1)
    p = detected.mean()
    assert result.value == pytest.approx(p)
    assert result.standard_error**2 == pytest.approx(design_effect(detected, host) * p * (1 - p) / 400, rel=0.1)
