"""Entries become systems: chains, ties, references, tiers, and never a lens out of a cluster survey."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky.systems import SYSTEM_COLUMNS, SystemOptions, entry_tiers, friends_of_friends, resolve_systems
from skytrace.surveys.interface import LENS_COLUMNS
from skytrace.surveys.lens_catalogue import lens_systems, lenses_of_systems

ARCSEC = 1.0 / 3600.0
COLUMNS = [
    "ra", "dec", "grade", "lens_type", "theta_e_arcsec", "reference", "discovery_channel", "source_table",
    "cluster_survey_only",
]  # fmt: skip


def entry(ra, dec, grade="A", kind="galaxy", theta=np.nan, reference="Paper", channel="resnet", table="t", flag=False):
    return dict(zip(COLUMNS, (ra, dec, grade, kind, theta, reference, channel, table, flag), strict=True))


def test_a_chain_of_links_is_one_group_and_a_gap_parts_it():
    dec = np.array([0.0, 2.9, 5.8, 9.0, 11.0]) * ARCSEC
    assert friends_of_friends(np.full(5, 10.0), dec, 3.0).tolist() == [0, 0, 0, 1, 1]


def test_groups_join_across_the_meridian_and_near_the_pole():
    ra, dec = [359.9999, 0.0001, 100.0, 280.0], [0.0, 0.0, 90.0 - ARCSEC, 90.0 - ARCSEC]
    assert friends_of_friends(ra, dec, 3.0).tolist() == [0, 0, 1, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_groups_are_those_of_repeated_merging_by_hand(seed, n):
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(0, 30 * ARCSEC, n), rng.uniform(0, 30 * ARCSEC, n)
    group = np.arange(n)
    near = np.hypot(ra[:, None] - ra, dec[:, None] - dec) <= 4.0 * ARCSEC
    for _ in range(n):
        group = np.array([group[near[i]].min() for i in range(n)])
    expected = pd.factorize(group)[0]
    np.testing.assert_array_equal(friends_of_friends(ra, dec, 4.0), expected)


ENTRIES = pd.DataFrame(
    [
        entry(10.0, 0.0, "B", theta=1.9, reference="Huang | Stein", channel="resnet", table="huang"),
        entry(10.0, 2.0 * ARCSEC, "A", reference="Stein", channel="selfsupervised", table="stein"),
        entry(10.0, 4.0 * ARCSEC, "C", theta=1.1, reference="Storfer", channel="resnet", table="storfer"),
        entry(20.0, 5.0, "C", reference="Storfer", table="storfer"),
        entry(30.0, 5.0, "confident", "cluster", theta=30.0, reference="Oguri", channel="literature", table="lenscat"),
        entry(40.0, 5.0, "confident", reference="Lopes", channel="literature", table="lenscat", flag=True),
        entry(50.0, 5.0, None, reference=None, channel="literature", table="lenscat"),
        entry(60.0, 5.0, "confident", theta=1.5, reference="Bolton", channel="literature", table="lenscat"),
        entry(np.nan, 5.0, "A"),
    ]
)


def test_a_system_takes_its_best_entrys_place_and_tier_and_every_reference():
    systems, report = resolve_systems(ENTRIES)
    assert tuple(systems.columns) == SYSTEM_COLUMNS
    first = systems.iloc[0]
    assert first["system_id"] == "L010.00000+00.00056"
    assert (first["tier"], first["n_entries"]) == ("A", 3)
    assert first["theta_e_arcsec"] == pytest.approx(1.9)  # the A entry has none; B comes before C
    assert first["references"] == "Huang | Stein | Storfer"
    assert first["discovery_channels"] == "resnet | selfsupervised"
    assert first["extent_arcsec"] == pytest.approx(2.0, rel=1e-6)
    assert systems["tier"].tolist() == ["A", "", "", "", "confirmed"]
    assert {name: report[name] for name in (
        "entries", "cluster_survey_only", "without_position", "entries_linked", "systems", "duplicates_resolved",
        "systems_of_several_entries", "systems_of_several_discovery_channels", "systems_of_several_tiers",
    )} == {
        "entries": 9, "cluster_survey_only": 1, "without_position": 1, "entries_linked": 7, "systems": 5,
        "duplicates_resolved": 2, "systems_of_several_entries": 1, "systems_of_several_discovery_channels": 1,
        "systems_of_several_tiers": 1,
    }  # fmt: skip
    assert report["systems_by_tier"] == {"confirmed": 1, "A": 1, "B": 0, "weak": 3}
    assert report["systems_by_channel"] == {
        "literature": {"systems": 3, "found_there_alone": 3},
        "resnet": {"systems": 2, "found_there_alone": 1},
        "selfsupervised": {"systems": 1, "found_there_alone": 0},
    }


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(len(ENTRIES))))
def test_row_order_decides_nothing(order):
    systems, report = resolve_systems(ENTRIES.iloc[list(order)])
    expected, expected_report = resolve_systems(ENTRIES)
    pd.testing.assert_frame_equal(systems, expected)
    assert report == expected_report


def test_a_cluster_survey_neither_is_a_lens_nor_joins_two():
    rows = [entry(10.0, 0.0), entry(10.0, 2.5 * ARCSEC, "confident", flag=True), entry(10.0, 5.0 * ARCSEC, "B")]
    systems, report = resolve_systems(pd.DataFrame(rows))
    assert systems["tier"].tolist() == ["A", "B"]
    assert report["duplicates_resolved"] == 0
    with pytest.raises(CatalogueError, match="none of 1 lens entries"):
        resolve_systems(pd.DataFrame(rows[1:2]))


def test_confident_from_imaging_searches_alone_is_a_candidate_of_tier_a():
    stein, storfer, silo = "Stein et al. - arXiv:2110.00023", "Storfer - arXiv:2206.02764", "Talbot - arXiv:2007.09006"
    rows = [entry(10.0 * k, 0.0, "confident", reference=text) for k, text in enumerate(
        (stein, f"{stein} | {storfer}", f"{storfer} | {silo}", silo, None)
    )]  # fmt: skip
    systems, report = resolve_systems(pd.DataFrame(rows))
    assert systems["tier"].tolist() == ["A", "A", "confirmed", "confirmed", "confirmed"]
    assert report["confident_from_images_alone"] == 2
    assert entry_tiers(pd.DataFrame(rows).drop(columns="reference")).tolist() == ["confirmed"] * 5


def test_the_linking_length_is_an_option():
    rows = pd.DataFrame([entry(10.0, 0.0), entry(10.0, 4.0 * ARCSEC, "B")])
    assert len(resolve_systems(rows)[0]) == 2
    assert len(resolve_systems(rows, options=SystemOptions(radius_arcsec=5.0))[0]) == 1
    with pytest.raises(OptionError, match="radius_arcsec"):
        SystemOptions(radius_arcsec=0.0)
    with pytest.raises(CatalogueError, match="lack columns grade"):
        resolve_systems(rows.drop(columns="grade"))


def test_systems_become_lenses_of_a_survey_with_weights(tmp_path):
    path = tmp_path / "lenses.parquet"
    ENTRIES.assign(system_id="unused").to_parquet(path)
    systems, _ = lens_systems(path)
    assert systems["sample_weight"].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0]
    galaxies = pd.DataFrame(
        {"galaxy_id": ["a", "c", "z"], "ra": [10.0, 20.0, 60.0], "dec": [2.5 * ARCSEC, 5.0, 5.0 + 0.5 * ARCSEC]}
    )
    lenses = lenses_of_systems(systems, galaxies, anchor_fraction=1.0)
    assert tuple(lenses.columns) == LENS_COLUMNS
    assert lenses["galaxy_id"].tolist() == ["a", "", "", "", "z"]
    assert lenses["tier"].tolist() == ["A", "B", "B", "B", "confirmed"]
    assert lenses["is_anchor"].tolist() == [True, False, False, False, True]
