"""Selection: each filter removes what it says, in order; positives, pools and confusers are told apart."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.sky import ConfuserOptions, SelectionOptions, confuser_categories, select_galaxies, select_positions


def make_galaxies(n, **columns):
    """Plain red round galaxies, 0.1 deg apart, that pass every filter and fit no confuser category."""
    table = pd.DataFrame(
        {
            "galaxy_id": [f"g{i:03d}" for i in range(n)],
            "ra": 150.0 + 0.1 * np.arange(n),
            "dec": 2.0,
            "type": "REX",
            "flux_g": 4.0,
            "flux_r": 16.0,
            "flux_z": 30.0,
            "shape_r": 0.7,
            "shape_e1": 0.0,
            "shape_e2": 0.0,
            "sersic": 1.0,
            "maskbits": 0,
            "nobs_g": 4,
            "nobs_r": 4,
            "nobs_z": 4,
        }
    )
    for name, values in columns.items():
        for row, value in values.items():
            table[name] = table[name].astype(object) if isinstance(value, str) else table[name]
            table.loc[row, name] = value
    return table


def make_lenses(*rows):
    columns = ["lens_id", "galaxy_id", "ra", "dec", "tier", "theta_e_arcsec", "is_anchor"]
    return pd.DataFrame(rows, columns=columns).astype({"is_anchor": bool})


def test_every_filter_has_its_own_row_and_removes_exactly_its_offender():
    galaxies = make_galaxies(
        14,
        ra={0: np.nan},
        dec={1: -18.0, 2: 32.5},
        type={3: "PSF"},
        maskbits={4: 1 << 12, 5: 1 << 4},
        nobs_g={6: 2},
        nobs_r={7: 2},
        nobs_z={8: 0},
        flux_z={9: 0.0, 10: 10.0 ** (0.4 * 2.5), 11: 10.0 ** (0.4 * 2.5) * 1.001},
    )
    lenses = make_lenses(("L1", "", galaxies["ra"][12], 2.0 + 10.9 / 3600, "A", np.nan, False))
    sample, ledger = select_galaxies(galaxies, lenses)
    assert dict(zip(ledger["filter"], ledger["removed"], strict=True)) == {
        "finite_coordinates": 1,
        "dec": 2,
        "type": 1,
        "maskbits": 1,
        "nobs_g": 1,
        "nobs_r": 1,
        "nobs_z": 1,
        "flux_z": 1,
        "mag_z": 1,
        "near_lens": 1,
    }
    assert sample["galaxy_id"].tolist() == ["g005", "g011", "g013"]
    assert (ledger["rows_in"] - ledger["removed"] == ledger["rows_out"]).all()
    assert (ledger["rows_in"].to_numpy()[1:] == ledger["rows_out"].to_numpy()[:-1]).all()


def test_lenses_pass_the_same_filters_but_not_the_exclusion():
    galaxies = make_galaxies(4, nobs_r={1: 1})
    lenses = make_lenses(
        ("L1", "g000", galaxies["ra"][0], 2.0, "B", 1.0, False),
        ("L2", "g000", galaxies["ra"][0], 2.0, "confirmed", 1.1, True),
        ("L3", "g001", galaxies["ra"][1], 2.0, "A", 1.2, False),
    )
    sample, ledger = select_galaxies(galaxies, lenses)
    assert sample["galaxy_id"].tolist() == ["g000", "g002", "g003"]
    lens = sample.iloc[0]
    assert (lens["label"], lens["tier"], lens["lens_id"], lens["pool"]) == (1, "confirmed", "L2", "lens")
    assert sample["is_anchor"].tolist() == [True, False, False]
    assert sample["tier"].tolist()[1:] == ["", ""]
    assert ledger.set_index("filter")["lenses_removed"].to_dict()["nobs_r"] == 1


def test_exponentials_are_a_pool_of_their_own_and_off_by_default():
    galaxies = make_galaxies(3, type={0: "EXP", 1: "SER "})
    sample, _ = select_galaxies(galaxies, make_lenses())
    assert sample["galaxy_id"].tolist() == ["g001", "g002"]
    sample, _ = select_galaxies(galaxies, make_lenses(), options=SelectionOptions(exp_pool=True))
    assert sample["pool"].tolist() == ["N1b", "N1", "N1"]


def test_confusers_get_every_category_that_fits_and_the_first_as_primary():
    galaxies = make_galaxies(
        8,
        type={1: "SER", 2: "SER", 3: "DEV"},
        sersic={1: 4.0, 2: 3.9},
        shape_e1={4: 0.3, 5: 0.3},
        shape_e2={4: 0.4, 5: 0.39},
        flux_g={6: 16.0},
        shape_r={7: 2.0},
    )
    table = confuser_categories(galaxies)
    assert table["confuser_category"].tolist() == [
        "", "ring_proxy", "", "ring_proxy", "edge_on_proxy", "", "blue_clumpy", "large_galaxy",
    ]  # fmt: skip
    everything = confuser_categories(
        make_galaxies(1, type={0: "DEV"}, shape_e1={0: -0.6}, flux_g={0: 16.0}, shape_r={0: 3.0})
    )
    assert everything.iloc[0].drop(["merger_proxy", "confuser_category"]).all()
    assert everything["confuser_category"][0] == "edge_on_proxy"


def test_a_merger_has_a_comparable_neighbour_at_three_to_six_arcsec():
    galaxies = make_galaxies(8, flux_r={3: 16.0 / 2.9, 5: 16.0 / 3.1})
    for row, separation in ((1, 4.0), (3, 5.9), (5, 4.0), (7, 2.9)):
        galaxies.loc[row, ["ra", "dec"]] = galaxies["ra"][row - 1], 2.0 + separation / 3600
    merging = confuser_categories(galaxies)["merger_proxy"].tolist()
    assert merging == [True, True, True, True, False, False, False, False]


def test_neighbours_that_were_filtered_out_still_make_a_merger():
    galaxies = make_galaxies(3, nobs_g={1: 0})
    galaxies.loc[1, ["ra", "dec"]] = galaxies["ra"][0], 2.0 + 5.0 / 3600
    sample, _ = select_galaxies(galaxies, make_lenses())
    assert sample["confuser_category"].tolist() == ["merger_proxy", ""]
    assert sample["pool"].tolist() == ["N2", "N1"]


def test_flux_without_a_magnitude_fits_no_colour_category():
    galaxies = make_galaxies(1, flux_g={0: -1.0}, shape_r={0: 1.0})
    assert confuser_categories(galaxies)["confuser_category"].tolist() == [""]


def test_bad_tables_are_refused_with_every_problem_in_one_message():
    galaxies = make_galaxies(3)
    with pytest.raises(CatalogueError, match="empty"):
        select_galaxies(galaxies.iloc[:0], make_lenses())
    with pytest.raises(CatalogueError, match=r"lacks columns nobs_z.*lens table lacks columns tier"):
        select_galaxies(galaxies.drop(columns="nobs_z"), make_lenses().drop(columns="tier"))
    doubled = pd.concat([galaxies, galaxies.iloc[:1]])
    strange = make_lenses(("L1", "g999", 1.0, 1.0, "C", 1.0, False))
    with pytest.raises(CatalogueError, match=r"repeats: g000.*unknown galaxy, the first 'g999'.*tier 'C'"):
        select_galaxies(doubled, strange)
    with pytest.raises(CatalogueError, match=r"'nobs_g'.*left none of 3"):
        select_galaxies(galaxies.assign(nobs_g=1), make_lenses())


def test_a_list_of_positions_passes_the_filters_of_position_alone():
    places = make_galaxies(4, ra={0: np.nan}, dec={1: 40.0})[["galaxy_id", "ra", "dec"]]
    lenses = make_lenses(("L1", "", places["ra"][2], 2.0, "B", np.nan, False))
    kept, ledger = select_positions(places, lenses)
    assert kept["galaxy_id"].tolist() == ["g003"] and (kept["label"] == 0).all()
    assert ledger[["filter", "removed"]].to_numpy().tolist() == [
        ["finite_coordinates", 1], ["dec", 1], ["near_lens", 1],
    ]  # fmt: skip
    with pytest.raises(CatalogueError, match="repeats: g000"):
        select_positions(pd.concat([places, places]), lenses)
    with pytest.raises(CatalogueError, match="lacks columns dec"):
        select_positions(places.drop(columns="dec"), lenses)


@pytest.mark.parametrize(
    "bad", [{"types": ("BLOB",)}, {"types": ()}, {"maskbits": (40,)}, {"dec_max_deg": -20.0}, {"mag_z_max": 50}]
)
def test_selection_options_outside_their_range_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        SelectionOptions(**bad)
    with pytest.raises(OptionError, match="merger_separation"):
        ConfuserOptions(merger_separation_arcsec=(6.0, 3.0))


def test_options_come_as_lists_and_dicts_from_yaml():
    options = SelectionOptions(types=["SER"], maskbits=[1], confusers={"ring_flux_r": 7.0})
    assert options.confusers == ConfuserOptions(ring_flux_r=7.0)
    assert hash(options) == hash(SelectionOptions(types=("SER",), maskbits=(1,), confusers=options.confusers))
