"""Real lens positions, negatives and photometry through systems, selection, exclusion, split and verification.

Negatives here are positions of unlabelled galaxies; they pass the filters of position alone. The lenses of Stein et al.
2022 have photometry and pass the filters that theirs allows: maskbits are not published (taken as 0, so that filter
removes nothing) and no confuser category is asked of them.
"""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import LeakageError
from skytrace.imaging.photometry import flux_nmgy, mag_ab
from skytrace.sky import (
    SelectionOptions,
    assign_split,
    pairs_within,
    select_galaxies,
    select_positions,
    verify_split,
    withhold_anchors,
)
from skytrace.sky.selection_parity import ParityOptions, named_selections, parity_report, selection_counts
from skytrace.surveys.interface import LENS_COLUMNS
from skytrace.surveys.legacy_survey.lenses import read_lens_catalog
from skytrace.surveys.lens_catalogue import lens_systems, lenses_of_systems

SEED = 20260101


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "imaging" / "catalogs"


@pytest.fixture(scope="module")
def resolved(folder):
    return lens_systems(folder / "lens_catalog.parquet")


@pytest.fixture(scope="module")
def negatives(folder):
    table = pd.read_parquet(folder / "negative_positions.parquet").rename(columns={"RA": "ra", "DEC": "dec"})
    # north and south number their bricks' objects apart
    return table.assign(galaxy_id=table["footprint"] + "-" + table["row_id"])[["galaxy_id", "ra", "dec"]]


@pytest.fixture(scope="module")
def lenses(resolved):
    """LENS_COLUMNS with a galaxy at every graded system: its own position."""
    systems, _ = resolved
    graded = systems[systems["tier"] != ""]
    galaxies = pd.DataFrame({"galaxy_id": "lens-" + graded["system_id"], "ra": graded["ra"], "dec": graded["dec"]})
    return lenses_of_systems(systems, galaxies, anchor_fraction=0.3)


def sample(negatives, lenses, *, exclude=True):
    """Negatives and lenses of the footprint with their splits, anchors withheld."""
    kept, ledger = select_positions(negatives, lenses if exclude else lenses.iloc[:0])
    positives, _ = select_positions(lenses[lenses["galaxy_id"] != ""], lenses.iloc[:0])
    table = pd.concat([kept, positives[["galaxy_id", "ra", "dec"]].assign(label=1)], ignore_index=True)
    table["is_anchor"] = table["galaxy_id"].isin(lenses.loc[lenses["is_anchor"], "galaxy_id"])
    table["split"] = assign_split(table["ra"], table["dec"], seed=SEED)
    return withhold_anchors(table)[0], ledger


def test_systems_found_on_the_sky_are_those_that_the_catalogue_states(folder, resolved):
    systems, report = resolved
    catalog = read_lens_catalog(folder / "lens_catalog.parquet")
    usable = catalog[~catalog["cluster_survey_only"]]
    assert report["entries"] == len(catalog) == 29_991
    assert report["cluster_survey_only"] == 9_927
    assert report["entries_linked"] == len(usable) == 20_064
    assert report["systems"] == usable["system_id"].nunique() == 15_148
    assert report["duplicates_resolved"] == 20_064 - 15_148
    stated = usable.groupby("system_id").size().sort_values().to_numpy()
    np.testing.assert_array_equal(np.sort(systems["n_entries"]), stated)


def test_tiers_of_real_systems(resolved):
    systems, report = resolved
    assert report["systems_by_tier"] == {"confirmed": 977, "A": 679, "B": 1218, "weak": 12_274}
    assert report["confident_from_images_alone"] == 548
    assert systems["system_id"].is_unique
    # two thousand of the imaging searches' systems are known from other channels, too
    channels = report["systems_by_channel"]
    assert channels["imaging_ml_resnet"] == {"systems": 2671, "found_there_alone": 16}
    assert (systems.loc[systems["tier"] == "", "sample_weight"] == 0).all()
    assert report["widest_system_arcsec"] < 5.0


def test_no_positive_rests_on_a_cluster_survey(folder, lenses):
    catalog = read_lens_catalog(folder / "lens_catalog.parquet")
    flagged = catalog[catalog["cluster_survey_only"]]
    positives = lenses[lenses["galaxy_id"] != ""]
    assert tuple(lenses.columns) == LENS_COLUMNS and len(positives) == 977 + 679 + 1218
    # a cluster survey may point at a lens that others graded: then the position is the graded entry's own
    graded = catalog[~catalog["cluster_survey_only"] & catalog["grade"].isin(["confident", "A", "B"])]
    own = set(zip(graded["ra"], graded["dec"], strict=True))
    assert set(zip(positives["ra"], positives["dec"], strict=True)) <= own
    assert len(flagged) == 9_927


def test_real_negatives_and_lenses_split_without_a_leak(negatives, lenses):
    table, ledger = sample(negatives, lenses)
    assert dict(zip(ledger["filter"], ledger["removed"], strict=True)) == {
        "finite_coordinates": 0, "dec": 28_408, "near_lens": 45,
    }  # fmt: skip
    report = verify_split(table, lenses=lenses)
    assert report["rows"] == {"anchor": 245, "test": 3012, "train": 14_787, "val": 3445}
    assert report["positives"] == {"anchor": 245, "test": 217, "train": 881, "val": 181}
    share = np.array([report["rows"][name] + (245 if name == "train" else 0) for name in ("train", "val", "test")])
    assert (np.abs(share / share.sum() - [0.70, 0.15, 0.15]) < 0.03).all()


def test_without_the_exclusion_real_lenses_are_among_the_negatives(negatives, lenses):
    table, _ = sample(negatives, lenses, exclude=False)
    with pytest.raises(LeakageError, match=r'negative within 11" of a lens: .* \(45 in all\)'):
        verify_split(table, lenses=lenses)


def test_galaxies_that_both_halves_of_the_footprint_list_stay_in_one_split(negatives, lenses):
    pairs, separation = pairs_within(negatives["ra"], negatives["dec"], 1.0)
    side = negatives["galaxy_id"].str.split("-").str[0].to_numpy()
    assert len(pairs) == 92 and (side[pairs[:, 0]] != side[pairs[:, 1]]).sum() > 80 and np.median(separation) < 0.3
    table, _ = sample(negatives, lenses)
    twin = table.iloc[[0]].assign(galaxy_id="twin", dec=table["dec"].iloc[0] + 0.3 / 3600)
    twin["split"] = "test" if table["split"].iloc[0] != "test" else "train"
    with pytest.raises(LeakageError, match=r"position .* twin"):
        verify_split(pd.concat([table, twin], ignore_index=True))


def test_numbers_of_one_half_alone_do_not_name_a_galaxy(folder):
    table = pd.read_parquet(folder / "negative_positions.parquet")
    assert table["row_id"].duplicated().sum() == 2
    assert not (table["footprint"] + table["row_id"]).duplicated().any()


def stein_galaxies(folder):
    table = pd.read_parquet(folder / "stein2022_lens_photometry.parquet").drop_duplicates(["ra", "dec"])
    flux = {f"flux_{band}": flux_nmgy(table[f"mag_{band}"]) for band in "grz"}
    unpublished = {"maskbits": 0, "shape_r": 0.5, "shape_e1": 0.0, "shape_e2": 0.0, "sersic": 0.0}
    table = table.assign(galaxy_id=[f"stein-{k}" for k in range(len(table))], **flux, **unpublished)
    return table.rename(columns={"source_type": "type"}).reset_index(drop=True)


def test_photometry_of_real_lenses_through_the_reference_cuts(folder, resolved):
    galaxies = stein_galaxies(folder)
    lenses = lenses_of_systems(resolved[0], galaxies, anchor_fraction=0.3)
    chosen, ledger = select_galaxies(galaxies, lenses)
    assert ledger["rows_in"].iloc[0] == len(galaxies) == 2153
    removed = dict(zip(ledger["filter"], ledger["lenses_removed"], strict=True))
    assert removed == {
        "finite_coordinates": 0, "dec": 604, "type": 35, "maskbits": 0, "nobs_g": 92, "nobs_r": 27, "nobs_z": 14,
        "flux_z": 0, "mag_z": 37, "near_lens": 0,
    }  # fmt: skip
    assert (mag_ab(chosen["flux_z"]) < 20.0).all() and chosen["type"].isin(["SER", "DEV", "REX"]).all()
    assert (chosen["label"] == 1).sum() == 475
    # ungraded candidates lie on a weak system and are kept from the negatives; the few that the catalogue lacks are
    # not: an exclusion is as complete as its list of lenses
    assert ledger["removed"].iloc[-1] == 452 and (chosen["label"] == 0).sum() == 13


def test_deviations_counted_on_real_lenses(folder, resolved):
    galaxies = stein_galaxies(folder)
    lenses = lenses_of_systems(resolved[0], galaxies, anchor_fraction=0.3)
    deviations = ParityOptions({"mag_z_21": {"mag_z_max": 21.0}, "exp_pool": {"exp_pool": True}})
    selections = named_selections(SelectionOptions(), deviations)
    report = parity_report({name: selection_counts(galaxies, lenses, options=one) for name, one in selections.items()})
    last = report[(report["filter"] == "near_lens") & (report["type_bin"] == "all") & (report["label"] == 1)]
    assert last[["rows_base", "difference_mag_z_21", "difference_exp_pool"]].to_numpy().tolist() == [[475, 37, 19]]


def test_real_tractor_rows_through_the_filters(folder, lenses):
    """Rows of DR3, 7 and 8: COMP and SIMP are those releases' names, and no type of the reference search."""
    rows = pd.read_parquet(folder / "tractor_rows.parquet").drop_duplicates(["release", "brickid", "objid"])
    galaxies = rows.assign(
        galaxy_id=rows[["release", "brickid", "objid"]].astype(str).agg("-".join, axis=1),
        maskbits=rows["maskbits"].fillna(0).astype(int),
        shape_r=rows["shapedev_r"].where(rows["type"].str.strip() == "DEV", rows["shapeexp_r"]),
        shape_e1=rows["shapedev_e1"].fillna(0.0),
        shape_e2=rows["shapedev_e2"].fillna(0.0),
        sersic=0.0,
    )
    chosen, ledger = select_galaxies(galaxies, lenses.assign(galaxy_id=""))
    assert dict(zip(ledger["filter"], ledger["removed"], strict=True)) == {
        "finite_coordinates": 0, "dec": 0, "type": 276, "maskbits": 4, "nobs_g": 7, "nobs_r": 5, "nobs_z": 2,
        "flux_z": 0, "mag_z": 15, "near_lens": 0,
    }  # fmt: skip
    assert len(chosen) == 15 and set(chosen["type"]) <= {"DEV", "REX"}
    chosen["split"] = assign_split(chosen["ra"], chosen["dec"], seed=SEED)
    assert sum(verify_split(chosen, lenses=lenses)["rows"].values()) == 15
