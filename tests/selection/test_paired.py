"""Paired ablations: the exact binomial of the pairs that differ, and a test that knows of shared hosts."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.selection.paired import PairedOptions, pair_injections, paired_table, paired_test


def detections(both, base_only, ablation_only, neither):
    base = np.repeat([1, 1, 0, 0], [both, base_only, ablation_only, neither]).astype(bool)
    ablation = np.repeat([1, 0, 1, 0], [both, base_only, ablation_only, neither]).astype(bool)
    return base, ablation


def test_p_is_the_exact_binomial_of_the_pairs_that_differ():
    base, ablation = detections(40, 3, 12, 145)
    found = paired_test(base, ablation, host=np.arange(200), n_permutations=19_999, seed=1)
    exact = 2 * sum(comb(15, k) for k in range(4)) / 2**15
    assert found.p_mcnemar == pytest.approx(exact, rel=1e-12)
    assert (found.n_both, found.n_base_only, found.n_ablation_only, found.n_neither) == (40, 3, 12, 145)
    assert found.difference == pytest.approx(9 / 200)
    # one injection a host: exchanging hosts is exchanging pairs
    assert found.p_hosts == pytest.approx(exact, abs=5 * np.sqrt(exact / 19_999))
    # Wald variance of a paired difference, (b + c - (b - c)^2 / n) / n^2, times m / (m - 1)
    assert found.standard_error == pytest.approx(np.sqrt((15 - 81 / 200) * 200 / 199) / 200, rel=1e-12)
    # one pair more on either discordant side, 4 and 13 of 202; hosts of one pair have the design effect 200 / 199
    half = np.sqrt((17 - 81 / 202) * 200 / 199) / 202
    assert (found.low68, found.high68) == pytest.approx((9 / 202 - half, 9 / 202 + half), rel=1e-12)


def test_pairs_that_never_differ_give_no_evidence():
    base, _ = detections(5, 0, 0, 7)
    found = paired_test(base, base, host=np.arange(12), seed=0)
    assert (found.p_mcnemar, found.p_hosts, found.difference) == (1.0, 1.0, 0.0)


def test_no_discordant_pair_is_no_certainty():
    base, _ = detections(100, 0, 0, 200)
    found = paired_test(base, base, host=np.arange(300), n_permutations=99, seed=0)
    assert found.low95 == -found.high95 == pytest.approx(-2 * np.sqrt(2) / 302)
    # were that the truth's own distance, 300 pairs without one that differs would be a rare sight
    assert (1 - found.high95) ** 300 < 0.08


@pytest.mark.parametrize("rate", [0.002, 0.01, 0.05])
def test_the_interval_covers_where_few_pairs_differ(rate):
    rng, hits = np.random.default_rng(4), {"68": 0, "95": 0}
    for _ in range(400):
        u = rng.random(250)
        gained, lost = u < rate, u > 1 - rate / 2
        found = paired_test(lost, gained, host=np.arange(250), n_permutations=99, seed=0)
        for level in hits:
            low, high = getattr(found, f"low{level}"), getattr(found, f"high{level}")
            hits[level] += low <= rate / 2 <= high
    assert hits["95"] / 400 > 0.93  # a Wald interval: 0.50 at the rarest
    assert hits["68"] / 400 > 0.62


def test_the_host_test_keeps_its_size_where_hosts_move_together_and_mcnemar_does_not():
    rng = np.random.default_rng(3)
    host = np.repeat(np.arange(40), 10)
    p = []
    for trial in range(400):
        gains = rng.random(40) < 0.5  # a host's pairs all move one way, either way as likely
        moved = rng.random(400) < 0.3
        base, ablation = moved & ~gains[host], moved & gains[host]
        found = paired_test(base, ablation, host=host, n_permutations=199, seed=trial)
        p.append((found.p_mcnemar, found.p_hosts))
    size = (np.array(p) <= 0.05).mean(axis=0)
    assert size[0] > 0.2
    assert 0.02 < size[1] < 0.085


def test_the_host_interval_covers_a_known_difference():
    rng = np.random.default_rng(8)
    host, hits = np.repeat(np.arange(60), 8), 0
    for _ in range(400):
        shift = rng.choice([0.0, 0.3], size=60)[host]  # half of the hosts gain 0.3: 0.15 on average
        u = rng.random(480)
        found = paired_test(u < 0.3, u < 0.3 + shift, host=host, n_permutations=99, seed=0)
        hits += found.low68 <= 0.15 <= found.high68
    assert 0.62 < hits / 400 < 0.74


def tables(n=600, seed=0):
    rng = np.random.default_rng(seed)
    base = pd.DataFrame(
        {
            "injection_id": np.arange(n), "galaxy_id": [f"h{i % 50}" for i in range(n)],
            "theta_e_arcsec": rng.choice([0.5, 1.0, 2.0], n), "source_mag_r": rng.uniform(22, 25, n),
            "source_x_arcsec": rng.normal(size=n), "source_y_arcsec": rng.normal(size=n), "mode": "matched",
            "score": rng.random(n),
        }
    )  # fmt: skip
    lifted = np.where(base["theta_e_arcsec"] == 2.0, np.minimum(base["score"] + 0.2, 1.0), base["score"])
    return base, base.assign(score=lifted).sample(frac=1.0, random_state=1)


def test_a_bin_that_an_ablation_lifts_is_named_and_no_other():
    base, ablation = tables()
    pairs = pair_injections(base, ablation)
    options = PairedOptions((0.375, 0.75, 1.5, 2.5, 3.0), n_permutations=999)
    table = paired_table(pairs, threshold=0.5, options=options)
    assert list(table["bin"]) == ["0.375-0.75", "0.75-1.5", "1.5-2.5", "2.5-3", "all"]
    assert list(table["p_mcnemar_holm"][:2]) == [1.0, 1.0] and table["p_mcnemar_holm"][2] < 1e-6
    assert table["n"][3] == 0 and np.isnan(table["p_mcnemar"][3]) and table["n"].iloc[-1] == 600
    inside = base[base["theta_e_arcsec"] == 2.0]["score"]
    assert table["n_ablation_only"][2] == ((inside < 0.5) & (inside >= 0.3)).sum()


def test_pairs_without_common_random_numbers_are_refused():
    base, ablation = tables()
    with pytest.raises(CatalogueError, match="differ in source_mag_r"):
        pair_injections(base, ablation.assign(source_mag_r=23.0))
    with pytest.raises(CatalogueError, match="no injection_id"):
        pair_injections(base, ablation.assign(injection_id=ablation["injection_id"] + 10_000))
    with pytest.raises(CatalogueError, match="ablation injections lack the columns score"):
        pair_injections(base, ablation.drop(columns="score"))


def test_pairs_are_matched_by_id_whatever_the_order():
    base, ablation = tables()
    pairs = pair_injections(base, ablation.iloc[:300])
    expected = ablation.iloc[:300].sort_values("injection_id")
    np.testing.assert_array_equal(pairs["injection_id"], expected["injection_id"])
    np.testing.assert_array_equal(pairs["score_ablation"], expected["score"])


def test_bins_that_do_not_rise_are_refused():
    with pytest.raises(OptionError, match="rising"):
        PairedOptions((1.0, 1.0))
