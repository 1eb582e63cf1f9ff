"""Matched sets: nearest, each injection once, labels exchanged inside sets only, folds that split no host."""

import itertools

import numpy as np
import pytest

from skytrace.selection.realism.matching import fold_groups, match_injections, match_points
from skytrace.selection.realism.options import GateOptions
from tests.selection.gate_arcs import cheap, sample_of

OPTIONS = GateOptions()


def test_as_many_anchors_as_possible_have_a_partner_within_reach():
    # only one pairing gives both a partner within reach: the second anchor must have the first injection
    real, fake = np.array([[0.0], [1.0]]), np.array([[0.5], [-0.6]])
    matched = match_points(real, fake, per_anchor=1, max_distance=1.0)
    np.testing.assert_array_equal(matched.injections(2), [1, 0])
    assert matched.n_unmatched == 0


def test_with_distinct_hosts_the_sum_is_the_least_of_all_that_use_none_twice():
    rng = np.random.default_rng(3)
    for _ in range(20):
        real, fake = rng.random((3, 2)), rng.random((9, 2))
        hosts = rng.integers(0, 5, 9).astype(str)
        matched = match_points(real, fake, per_anchor=1, max_distance=2.0, groups=hosts)
        apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
        choices = [rows for rows in itertools.permutations(range(9), 3) if len(set(hosts[list(rows)])) == 3]
        least = min((apart[[0, 1, 2], list(rows)].sum() for rows in choices), default=None)
        if least is None:  # fewer hosts than anchors: no more pairs than hosts
            assert len(matched.anchors) == len(set(hosts))
            continue
        chosen = matched.injections(3)
        assert len(set(hosts[chosen])) == 3
        assert apart[matched.anchors[matched.sets[~matched.is_anchor]], chosen].sum() == pytest.approx(least)


def test_no_pair_is_farther_than_a_step_in_any_axis_and_none_is_used_twice():
    anchors, injections = cheap(60, seed=1), cheap(400, seed=2)
    sample = sample_of(anchors, injections)
    matched = match_injections(sample, per_anchor=3, options=OPTIONS, arc_snr_step_dex=0.15)
    fake = matched.injections(len(anchors))
    assert len(np.unique(fake)) == len(fake) > 100
    anchor_of_set = dict(zip(matched.sets[matched.is_anchor], matched.anchors, strict=True))
    partner = np.array([anchor_of_set[k] for k in matched.sets[~matched.is_anchor]])
    for column, step in (("theta_e", 0.25), ("psf_fwhm", 0.15)):
        apart = np.abs(anchors[column].to_numpy()[partner] - injections[column].to_numpy()[fake])
        assert apart.max() <= step * (1 + 1e-9)
    ratio = np.log10(anchors["arc_snr"].to_numpy()[partner] / injections["arc_snr"].to_numpy()[fake])
    assert np.abs(ratio).max() <= 0.15 * (1 + 1e-9)


def test_anchors_out_of_reach_or_unmeasured_are_counted():
    real = np.array([[0.0], [9.0], [np.nan]])
    matched = match_points(real, np.array([[0.1], [0.2], [np.nan]]), per_anchor=2, max_distance=1.0)
    assert matched.n_unmatched == 2
    np.testing.assert_array_equal(matched.anchors, [0])
    np.testing.assert_array_equal(np.sort(matched.injections(3)), [0, 1])


def test_relabelling_keeps_one_anchor_a_set_and_gives_every_member_its_turn():
    matched = match_injections(sample_of(cheap(20, seed=1), cheap(300, seed=2)), per_anchor=3, options=OPTIONS)
    rng = np.random.default_rng(0)
    times = np.zeros(len(matched.rows))
    for _ in range(400):
        labels = matched.relabelled(rng)
        assert (np.bincount(matched.sets[labels]) == 1).all()
        times += labels
    size = np.bincount(matched.sets)[matched.sets]
    assert np.abs(times / 400 - 1.0 / size).max() < 0.12


def test_a_chain_of_sets_and_hosts_stays_in_one_group_until_it_holds_too_much():
    sets, hosts = np.array([0, 0, 1, 1, 2, 2, 3, 3]), np.array(["a", "b", "b", "c", "d", "e", "f", "g"])
    groups, whole = fold_groups(sets, hosts, folds=2)
    assert whole and len(set(groups[:4])) == 1 and len(set(groups)) == 3
    groups, whole = fold_groups(sets, hosts, folds=4)
    assert not whole and groups[1] == groups[2] and len(set(groups)) == 7
