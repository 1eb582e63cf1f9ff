"""Stratified negatives: the choice depends on ids and seed alone, goals are met or recorded."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky import StrataOptions, galaxy_hash, nobs_z_bin, stratify, stratify_chunks
from skytrace.sky import strata as strata_module


def make_sample(n_negative=4000, n_positive=20, seed=0, split=False):
    rng = np.random.default_rng(seed)
    n = n_negative + n_positive
    label = np.arange(n) < n_positive
    table = pd.DataFrame(
        {
            "galaxy_id": [f"id-{i}" for i in range(n)],
            "label": label.astype(int),
            "pool": np.where(label, "lens", np.where(rng.random(n) < 0.3, "N2", "N1")),
            "type": rng.choice(["SER", "DEV", "REX"], n),
            "nobs_z": rng.integers(1, 15, n),
        }
    )
    if split:
        table["split"] = rng.choice(["train", "val", "test"], n, p=[0.7, 0.15, 0.15])
    return table


SAMPLE = make_sample(600, 12, split=True)
CHOSEN = stratify(SAMPLE, options=StrataOptions(seed=3, negatives_per_positive=10))


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_row_order(random):
    order = list(range(len(SAMPLE)))
    random.shuffle(order)
    chosen, ledger = stratify(SAMPLE.iloc[order], options=StrataOptions(seed=3, negatives_per_positive=10))
    pd.testing.assert_frame_equal(chosen, CHOSEN[0])
    pd.testing.assert_frame_equal(ledger, CHOSEN[1])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=12), min_size=1))
def test_a_hash_depends_on_its_own_id_only(ids):
    together = galaxy_hash(ids, seed=5)
    assert [galaxy_hash([one], seed=5)[0] for one in ids] == together.tolist()


def test_hashes_are_locked_across_versions():
    def by_hand(text, seed):
        mask = 2**64 - 1

        def splitmix64(z):
            z = (z + 0x9E3779B97F4A7C15) & mask
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            return z ^ (z >> 31)

        state = splitmix64(seed) ^ 0xCBF29CE484222325
        for character in text:
            state = ((state ^ ord(character)) * 0x100000001B3) & mask
        return splitmix64(state)

    assert galaxy_hash(["mock-0000001"], seed=0)[0] == by_hand("mock-0000001", 0)
    assert galaxy_hash(["é"], seed=2**62)[0] == by_hand("é", 2**62)


def test_hashes_are_uniform_and_change_with_the_seed():
    ids = [f"mock-{i:07d}" for i in range(50_000)]
    first, second = galaxy_hash(ids, seed=1) / 2.0**64, galaxy_hash(ids, seed=2) / 2.0**64
    counts = np.histogram(first, bins=50, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 90  # chi2 with 49 degrees of freedom: p = 3e-4
    assert len(np.unique(first)) == 50_000
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02


def test_every_stratum_reaches_its_goal_when_there_is_enough():
    chosen, ledger = stratify(make_sample(20_000, 24), options=StrataOptions(negatives_per_positive=20))
    assert not ledger[["shortfall", "backfilled", "trimmed"]].to_numpy().any()
    positives = chosen[chosen["label"] == 1].groupby(["type_bin", "nobs_z_bin"]).size()
    negatives = chosen[chosen["label"] == 0].groupby(["type_bin", "nobs_z_bin"]).size()
    pd.testing.assert_series_equal(negatives, 20 * positives)
    assert (chosen["pool"] == "N2").sum() == 0.15 * (chosen["label"] == 0).sum()


def test_the_first_by_hash_are_taken():
    sample = make_sample(1000, 1).assign(type="SER", nobs_z=4)
    chosen, _ = stratify(sample, options=StrataOptions(seed=9, negatives_per_positive=100))
    ordinary = sample[sample["pool"] == "N1"]
    first = ordinary["galaxy_id"].to_numpy()[np.argsort(galaxy_hash(ordinary["galaxy_id"], seed=9))][:85]
    assert set(chosen.loc[chosen["pool"] == "N1", "galaxy_id"]) == set(first)


def test_a_bigger_goal_only_adds_galaxies():
    small, _ = stratify(make_sample(), options=StrataOptions(negatives_per_positive=5, pool_balance="record"))
    large, _ = stratify(make_sample(), options=StrataOptions(negatives_per_positive=9, pool_balance="record"))
    assert set(small["galaxy_id"]) < set(large["galaxy_id"])


def test_a_shortfall_is_backfilled_from_the_nearest_bins_of_the_same_type_and_recorded():
    rows = [("p", 1, "lens", "SER", 4)]
    rows += [(f"a{i}", 0, "N1", "SER", 4) for i in range(3)]
    rows += [(f"b{i}", 0, "N1", "SER", 1) for i in range(2)]
    rows += [(f"c{i}", 0, "N1", "SER", 20) for i in range(5)]
    rows += [(f"d{i}", 0, "N1", "DEV", 4) for i in range(9)]
    sample = pd.DataFrame(rows, columns=["galaxy_id", "label", "pool", "type", "nobs_z"])
    options = StrataOptions(negatives_per_positive=8, n2_fraction=0.01)
    chosen, ledger = stratify(sample, options=options)
    assert [sum(name.startswith(letter) for name in chosen["galaxy_id"]) for letter in "abcd"] == [3, 2, 3, 0]
    assert sorted(chosen["nobs_z_bin"][chosen["backfilled"]].tolist()) == ["1-2", "1-2", "11+", "11+", "11+"]
    own = ledger[(ledger["type_bin"] == "SER") & (ledger["pool"] == "N1")].set_index("nobs_z_bin")
    assert own.loc["3-5", ["goal", "available", "taken", "backfilled", "shortfall"]].tolist() == [8, 3, 3, 5, 0]
    assert own["lent"].tolist() == [2, 0, 0, 3]


def test_what_cannot_be_filled_is_a_recorded_shortfall():
    sample = make_sample(50, 5).assign(type="SER", nobs_z=4, pool=["lens"] * 5 + ["N1"] * 50)
    chosen, ledger = stratify(sample)
    assert (chosen["label"] == 0).sum() == 50
    assert ledger["shortfall"].sum() == 500 - 50


def test_the_pools_keep_their_ratio_in_every_split_whatever_is_short():
    for scarce in ("N1", "N2"):
        sample = make_sample(6000, 60, split=True)
        drop = (sample["pool"] == scarce) & (np.arange(len(sample)) % 20 != 0)
        chosen, ledger = stratify(sample[~drop])
        for _, part in chosen[chosen["label"] == 0].groupby("split"):
            confusers = (part["pool"] == "N2").sum()
            assert abs(confusers - 0.15 * len(part)) <= 1
        assert ledger["trimmed"].sum() > 0
        assert (
            ledger["taken"].sum() + ledger["backfilled"].sum() - ledger["trimmed"].sum() == (chosen["label"] == 0).sum()
        )


def test_withheld_anchors_stay_and_ask_for_no_negatives():
    sample = make_sample(500, 10).assign(split="train")
    sample.loc[:4, "split"] = "anchor"
    chosen, ledger = stratify(sample)
    assert (chosen["split"] == "anchor").sum() == 5
    assert ledger[ledger["split"] == "train"]["positives"].sum() == 2 * 5  # once per pool
    assert ledger[ledger["split"] == "anchor"]["goal"].sum() == 0


def test_bins_of_exposures():
    assert nobs_z_bin([0, 1, 2, 3, 5, 6, 10, 11, 60]).tolist() == [
        "1-2", "1-2", "1-2", "3-5", "3-5", "6-10", "6-10", "11+", "11+",
    ]  # fmt: skip


def test_bad_samples_and_options_are_refused():
    sample = make_sample(10, 2)
    with pytest.raises(CatalogueError, match="'id-0' repeats"):
        stratify(pd.concat([sample, sample.iloc[:1]]))
    with pytest.raises(CatalogueError, match="no positive"):
        stratify(sample[sample["label"] == 0])
    with pytest.raises(CatalogueError, match="lacks columns nobs_z"):
        stratify(sample.drop(columns="nobs_z"))
    for bad in ({"n2_fraction": 1.0}, {"negatives_per_positive": 0}, {"pool_balance": "cut"}, {"seed": -1}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            StrataOptions(**bad)


SMALL = StrataOptions(seed=3, negatives_per_positive=10)


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 9), st.integers(40, 700))
def test_the_choice_depends_on_neither_order_nor_partitions_nor_chunk_size(random, n_parts, chunk_rows):
    order = list(range(len(SAMPLE)))
    random.shuffle(order)
    cuts = sorted(random.randrange(len(SAMPLE) + 1) for _ in range(n_parts - 1))  # partitions may be empty
    rows = SAMPLE.iloc[order]
    parts = [rows.iloc[low:high] for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    with pytest.MonkeyPatch.context() as patched:
        for name in ("_CHUNK_ROWS", "_WAITING_ROWS"):
            patched.setattr(strata_module, name, chunk_rows)
        chosen, ledger = stratify_chunks(parts, options=SMALL)
    pd.testing.assert_frame_equal(chosen, CHOSEN[0])
    pd.testing.assert_frame_equal(ledger, CHOSEN[1])


def test_a_plain_sort_of_everything_gives_the_same_rows():
    sample = make_sample(9000, 30, split=True)
    options = StrataOptions(seed=11, negatives_per_positive=7, pool_balance="record")
    chosen, ledger = stratify_chunks([sample.iloc[k::7] for k in range(7)], options=options)
    assert not ledger[["shortfall", "backfilled"]].to_numpy().any()
    ranked = sample.assign(bin=nobs_z_bin(sample["nobs_z"]), hash=galaxy_hash(sample["galaxy_id"], seed=11))
    asked = ranked[ranked["label"] == 1].groupby(["split", "type", "bin"]).size()
    expected = set(sample.loc[sample["label"] == 1, "galaxy_id"])
    for (split, kind, nobs), n in asked.items():
        here = ranked[(ranked["split"] == split) & (ranked["type"] == kind) & (ranked["bin"] == nobs)]
        for pool, share in (("N1", 7 * n - round(1.05 * n)), ("N2", round(1.05 * n))):
            expected |= set(here[here["pool"] == pool].nsmallest(share, "hash")["galaxy_id"])
    assert set(chosen["galaxy_id"]) == expected


def test_memory_holds_only_what_may_be_chosen(monkeypatch):
    sample = make_sample(40_000, 4).assign(type="SER", nobs_z=4)
    for name in ("_CHUNK_ROWS", "_WAITING_ROWS"):
        monkeypatch.setattr(strata_module, name, 1000)
    seen = []
    cut = strata_module._cut
    monkeypatch.setattr(strata_module, "_cut", lambda kept, *rest: seen.append(sum(map(len, kept))) or cut(kept, *rest))
    chosen, _ = stratify_chunks([sample], options=SMALL)
    assert len(chosen) == 4 + 40
    assert max(seen) <= 2 * 40 + 2 * 1000


def test_what_can_be_read_once_or_changes_in_between_is_refused():
    with pytest.raises(OptionError, match="read only once"):
        stratify_chunks(part for part in [SAMPLE])
    with pytest.raises(CatalogueError, match="differ in their columns"):
        stratify_chunks([SAMPLE, SAMPLE.drop(columns="split")])

    class Shrinking:
        def __init__(self):
            self.parts = [SAMPLE, SAMPLE[SAMPLE["label"] == 1]]

        def __iter__(self):
            return iter([self.parts.pop(0)])

    with pytest.raises(CatalogueError, match="second reading"):
        stratify_chunks(Shrinking(), options=SMALL)
    doubled = SAMPLE.iloc[:1]
    with pytest.raises(CatalogueError, match="'id-0' repeats"):
        stratify_chunks([SAMPLE, doubled], options=SMALL)
