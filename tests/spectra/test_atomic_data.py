"""Partition functions, and tables on their way to arrays and back."""

import dataclasses

import numpy as np
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra import atomic_from_arrays, atomic_to_arrays, partition_function

#: Z, stage and U(5000 K), from the levels of NIST's Atomic Spectra Database.
U_5000_K = {"Fe II": (26, 2, 43.4), "Si II": (14, 2, 5.68), "Ca II": (20, 2, 2.20), "Co II": (27, 2, 29.9),
            "Ni II": (28, 2, 10.8)}  # fmt: skip


@pytest.mark.parametrize("ion", U_5000_K)
def test_partition_functions_at_5000_k_are_known(atomic, ion):
    z, stage, known = U_5000_K[ion]
    at = np.flatnonzero((atomic.ion_z == z) & (atomic.ion_stage == stage))[0]
    assert partition_function(atomic, 5000.0)[0, at] == pytest.approx(known, rel=0.003)


def test_partition_functions_are_sums_over_the_levels_of_each_ion(atomic):
    temperature = np.array([4000.0, 9000.0, 20_000.0])
    found = partition_function(atomic, temperature)
    assert found.shape == (3, len(atomic.ion_z))
    for ion in (0, 4, 12, len(atomic.ion_z) - 2):
        own = atomic.level_ion == ion
        weights = atomic.level_g[own] * np.exp(-atomic.level_energy_ev[own] / (8.617333e-5 * temperature[:, None]))
        np.testing.assert_allclose(found[:, ion], weights.sum(axis=1), rtol=1e-6)
    assert np.all(found[:, atomic.ion_bare] == 1.0)


def test_partition_functions_run_from_the_ground_level_to_all_levels(atomic):
    cold, hot = partition_function(atomic, [100.0, 1e7])
    calcium_ii = np.flatnonzero((atomic.ion_z == 20) & (atomic.ion_stage == 2))[0]
    assert cold[calcium_ii] == pytest.approx(2.0)
    assert hot[calcium_ii] == pytest.approx(atomic.level_g[atomic.level_ion == calcium_ii].sum(), rel=0.02)


@pytest.mark.parametrize("temperature_k", [0.0, -5.0, np.nan, 1e9])
def test_an_impossible_temperature_is_refused(atomic, temperature_k):
    with pytest.raises(OptionError, match="temperature_k"):
        partition_function(atomic, [5000.0, temperature_k])


def test_tables_come_back_from_a_file_of_arrays(atomic, tmp_path):
    np.savez(tmp_path / "atomic.npz", **atomic_to_arrays(atomic))
    with np.load(tmp_path / "atomic.npz", allow_pickle=False) as archive:
        back = atomic_from_arrays(archive)
    for field in dataclasses.fields(atomic):
        before, after = getattr(atomic, field.name), getattr(back, field.name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("level_g"), "lack level_g"),
        (lambda a: a.update(level_g=a["level_g"][1:]), r"lengths differ: .*level_g \(13609,\)"),
        (lambda a: a.update(line_lower=a["line_lower"] + 10_000), "line_lower is outside the 13610 levels"),
        (lambda a: a.update(line_ion=a["line_ion"] * 0), "line_lower is a level of another ion"),
        (lambda a: a.update(line_wavelength_angstrom=a["line_wavelength_angstrom"][::-1]), "not sorted by wavelength"),
        (lambda a: a.update(line_f_lu=a["line_f_lu"] * np.nan), "line_f_lu holds a value that is not positive"),
        (lambda a: a.update(level_energy_ev=-a["level_energy_ev"]), "levels not by ion and energy"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(atomic, change, message):
    arrays = atomic_to_arrays(atomic)
    change(arrays)
    with pytest.raises(CatalogueError, match=message):
        atomic_from_arrays(arrays)
