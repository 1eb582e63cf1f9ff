import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.learning.stream import BalancedStream

LABELS = np.array([1] * 10 + [0] * 90)
CONFUSER = np.arange(100) >= 80


def stream(**changes):
    options = {"batch_size": 40, "positive_share": 0.5, "confuser_share": 0.15, "seed": 5} | changes
    return BalancedStream(LABELS, CONFUSER, **options)


def test_every_batch_holds_the_shares_asked_for():
    for step in (0, 1, 17):
        rows = stream().batch(step)
        assert LABELS[rows].sum() == 20
        assert CONFUSER[rows].sum() == 3
        assert len(rows) == 40


def test_a_pool_is_used_up_before_any_row_comes_again():
    ordinary = np.concatenate([stream(batch_size=16).batch(step) for step in range(10)])
    ordinary = ordinary[(LABELS[ordinary] == 0) & ~CONFUSER[ordinary]]
    assert len(ordinary) == 70
    assert len(set(ordinary.tolist())) == 70


def test_a_batch_depends_on_its_step_alone():
    alone = stream().batch(9)
    after_others = [stream().batch(step) for step in range(10)][-1]
    np.testing.assert_array_equal(alone, after_others)
    assert not np.array_equal(alone, stream(seed=6).batch(9))


def test_an_empty_pool_gives_its_share_to_the_other():
    assert BalancedStream(LABELS, np.zeros(100, bool), 40, 0.5, 0.15, 5).counts() == (20, 20, 0)
    assert BalancedStream(LABELS, LABELS == 0, 40, 0.5, 0.15, 5).counts() == (20, 0, 20)


def test_one_class_cannot_be_learnt_from():
    with pytest.raises(CatalogueError, match="no lens"):
        BalancedStream(np.zeros(9), np.zeros(9, bool), 4, 0.5, 0.1, 0)


def test_a_domain_has_its_share_of_every_pool_to_the_row_in_the_long_run():
    domain = np.arange(100) % 4 == 0
    batches = [stream(in_domain=domain, domain_share=0.7).batch(step) for step in range(200)]
    rows = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {40}
    assert {int(LABELS[batch].sum()) for batch in batches} == {20}
    for pool, count in ((LABELS == 1, 20), ((LABELS == 0) & ~CONFUSER, 17), (CONFUSER, 3)):
        within = (pool & domain)[rows].sum() / 200 / count
        # 0.7 from the domain, and of the rest what falls into it by chance
        expected = 0.7 + 0.3 * (pool & domain).sum() / pool.sum()
        assert within == pytest.approx(expected, abs=0.01)


def test_a_domain_of_share_zero_changes_no_row():
    domain = np.arange(100) % 4 == 0
    for step in (0, 3):
        np.testing.assert_array_equal(stream(in_domain=domain).batch(step), stream().batch(step))


def test_a_pool_without_rows_in_the_domain_is_drawn_from_as_a_whole():
    domain = np.arange(100) < 10  # lenses alone
    rows = stream(in_domain=domain, domain_share=1.0).batch(2)
    assert LABELS[rows].sum() == 20
    assert CONFUSER[rows].sum() == 3


def test_a_step_of_a_domain_needs_no_history():
    domain = np.arange(100) % 4 == 0
    running = stream(in_domain=domain, domain_share=0.7)
    batches = [running.batch(step) for step in range(30)]
    np.testing.assert_array_equal(stream(in_domain=domain, domain_share=0.7).batch(29), batches[29])
    np.testing.assert_array_equal(running.batch(0), batches[0])
