"""A second line list gives the same kind of tables, and says what is wrong with it."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, SurveyError
from skytrace.spectra import AtomicOptions, partition_function, read_line_list

SODIUM = AtomicOptions(elements=("Na",), highest_stage=1, sobolev_depth_least=0.0, overrides=False)


@pytest.fixture
def tables(tmp_path):
    """Na I with its D lines in tables, and a function that writes them."""
    ion = {"atomic_number": 11, "ion_charge": 0}
    made = {
        "levels": pd.DataFrame({**ion, "level_number": [0, 1, 2], "energy_ev": [0.0, 2.1023, 2.1044], "g": [2, 2, 4]}),
        "lines": pd.DataFrame(
            {**ion, "wavelength_angstrom": [5897.558, 5891.583], "f_lu": [0.320, 0.641], "g_lower": [2.0, 2.0],
             "level_lower": [0, 0], "level_upper": [1, 2]}
        ),
        "ionization": pd.DataFrame({**ion, "ionization_energy_ev": [5.139], "mass_u": [22.99]}),
    }  # fmt: skip

    def write():
        for name, table in made.items():
            table.to_parquet(tmp_path / f"{name}.parquet")
        return tmp_path

    return made, write


def test_the_sodium_doublet_comes_through(tables):
    atomic = read_line_list(tables[1](), options=SODIUM)
    assert atomic.line_wavelength_angstrom.tolist() == [5891.583, 5897.558]
    assert atomic.line_a_ul_per_s == pytest.approx([6.16e7, 6.14e7], rel=2e-3)  # NIST
    assert (atomic.ion_stage[0], atomic.ionization_ev[0]) == (1, 5.139)
    assert atomic.level_metastable.tolist() == [True, False, False, True]
    assert partition_function(atomic, 5000.0)[0, 0] == pytest.approx(2.045, abs=2e-3)


def test_a_line_keeps_its_gf_where_the_level_has_another_g(tables):
    made, write = tables
    made["lines"]["g_lower"] = 6.0
    atomic = read_line_list(write(), options=SODIUM)
    assert 2 * atomic.line_f_lu == pytest.approx([6 * 0.641, 6 * 0.320])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(lines=t["lines"].drop(columns=["f_lu", "g_lower"])), "lacks the columns f_lu, g_lower"),
        (lambda t: t["lines"].update({"f_lu": [0.3, -1.0]}), "f_lu is not a positive number in 1 rows"),
        (lambda t: t["levels"].update({"g": [2.0, np.nan, 4.0]}), "nothing"),
        (lambda t: t["lines"].update({"level_upper": [1, 7]}), "1 lines whose level_upper is not among the levels"),
        (lambda t: t.update(levels=t["levels"].assign(level_number=[0, 1, 1])), "repeats 1 level numbers"),
        (
            lambda t: t.update(ionization=t["ionization"].assign(ion_charge=1)),
            "no ionisation energy of Z = 11 charge 0",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tables, change, message):
    made, write = tables
    change(made)
    if message == "nothing":  # DataFrame.update passes over nan
        made["levels"] = made["levels"].assign(g=[2.0, np.nan, 4.0])
        message = "g is not a positive number in 1 rows"
    with pytest.raises(CatalogueError, match=message):
        read_line_list(write(), options=SODIUM)


def test_a_missing_file_is_named(tables):
    folder = tables[1]()
    (folder / "levels.parquet").unlink()
    with pytest.raises(SurveyError, match=r"no file .*levels\.parquet; it needs lines\.parquet, levels"):
        read_line_list(folder, options=SODIUM)


def test_a_file_that_is_not_parquet_is_named(tables):
    folder = tables[1]()
    (folder / "lines.parquet").write_text("not parquet")
    with pytest.raises(SurveyError, match=r"lines\.parquet cannot be read as a Parquet table"):
        read_line_list(folder, options=SODIUM)


def test_an_ion_that_the_list_lacks_is_named(tables):
    with pytest.raises(CatalogueError, match="no level of Z = 11 charge 1"):
        read_line_list(tables[1](), options=AtomicOptions(elements=("Na",), highest_stage=2))


def test_an_independent_list_agrees_on_partition_functions(real_data, atomic):
    folder = real_data / "atomic"
    if not (folder / "lines.parquet").is_file():
        pytest.skip(f"no second line list in {folder}")
    other = read_line_list(folder)
    assert len(other.line_f_lu) == 41_111
    assert np.array_equal(other.ion_z, atomic.ion_z)
    ratio = partition_function(other, 5000.0)[0] / partition_function(atomic, 5000.0)[0]
    assert np.abs(ratio - 1.0).max() < 0.03
