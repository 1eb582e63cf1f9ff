"""Leaks planted by hand into a clean sample: each is caught, alone, and named."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import LeakageError
from skytrace.sky import assign_split, healpix_cell, select_galaxies, select_positions, verify_split
from tests.sky.test_selection import make_galaxies, make_lenses

SEED = 20260101
ARCSEC = 1.0 / 3600.0


def clean_sample(n=2000):
    rng = np.random.default_rng(8)
    table = pd.DataFrame(
        {
            "galaxy_id": [f"g{i:04d}" for i in range(n)],
            "ra": rng.uniform(140.0, 180.0, n),
            "dec": rng.uniform(-5.0, 20.0, n),
            "label": (np.arange(n) < 40).astype(int),
            "is_anchor": False,
        }
    )
    table["split"] = assign_split(table["ra"], table["dec"], seed=SEED)
    return table


def lenses_of(table):
    lens = table[table["label"] == 1]
    return pd.DataFrame(
        {"lens_id": "L" + lens["galaxy_id"], "ra": lens["ra"].to_numpy(), "dec": lens["dec"].to_numpy()}
    ).reset_index(drop=True)


def planted(table, **row):
    return pd.concat([table, pd.DataFrame([{**table.iloc[-1].to_dict(), **row}])], ignore_index=True)


def test_the_clean_sample_passes():
    table = clean_sample()
    assert verify_split(table, lenses=lenses_of(table))["rows"]


def test_a_cell_in_two_splits_is_caught():
    table = clean_sample()
    victim = table[table["split"] == "train"].iloc[0]
    # elsewhere in the same cell: no position, and no id, is in two splits
    cell = healpix_cell(victim["ra"], victim["dec"])[0]
    steps = np.arange(30.0, 600.0, 10.0) * ARCSEC
    step = next(step for step in steps if healpix_cell(victim["ra"], victim["dec"] + step)[0] == cell)
    leaking = planted(table, galaxy_id="planted", ra=victim["ra"], dec=victim["dec"] + step, split="test")
    with pytest.raises(LeakageError) as caught:
        verify_split(leaking)
    assert str(caught.value) == f"the split leaks: HEALPix cell in two splits: {cell}"


def test_the_same_galaxy_three_tenths_of_an_arcsec_apart_under_two_ids_is_caught():
    table = clean_sample()
    # a cell border between train and another split: both rows keep their own cell's split
    ra = np.arange(150.0, 165.0, 0.3 * ARCSEC)
    split = assign_split(ra, np.zeros(len(ra)), seed=SEED)
    edge = int(np.flatnonzero(split[1:] != split[:-1])[0])
    for name, k in (("one", edge), ("two", edge + 1)):
        table = planted(table, galaxy_id=name, ra=ra[k], dec=0.0, split=split[k])
    with pytest.raises(LeakageError) as caught:
        verify_split(table)
    assert str(caught.value) == 'the split leaks: position (within 1") of galaxies in two splits: one and two'


@pytest.mark.parametrize(("separation", "caught"), [(10.9, True), (11.1, False)])
def test_a_negative_within_eleven_arcsec_of_a_lens_is_caught(separation, caught):
    table = clean_sample()
    lens = table[table["label"] == 1].iloc[0]
    place = {"ra": lens["ra"], "dec": lens["dec"] + separation * ARCSEC}
    leaking = planted(table, galaxy_id="near", label=0, split=lens["split"], **place)
    if not caught:
        assert verify_split(leaking, lenses=lenses_of(table))["rows"]
        return
    with pytest.raises(LeakageError) as error:
        verify_split(leaking, lenses=lenses_of(table))
    assert str(error.value) == (
        f'the split leaks: negative within 11" of a lens: near ({separation}" from L{lens["galaxy_id"]})'
    )


def test_the_exclusion_of_selection_removes_the_planted_negative():
    galaxies = make_galaxies(3)
    galaxies.loc[1, ["ra", "dec"]] = galaxies["ra"][0], 2.0 + 10.9 * ARCSEC
    lenses = make_lenses(("L1", "g000", galaxies["ra"][0], 2.0, "A", 1.0, False))
    sample, _ = select_galaxies(galaxies, lenses)
    assert sample["galaxy_id"].tolist() == ["g000", "g002"]
    positions, ledger = select_positions(galaxies[["galaxy_id", "ra", "dec"]].iloc[1:], lenses)
    assert positions["galaxy_id"].tolist() == ["g002"]
    assert ledger["filter"].tolist() == ["finite_coordinates", "dec", "near_lens"]
    assert ledger["removed"].tolist() == [0, 0, 1]
