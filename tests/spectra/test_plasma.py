"""The plasma: Saha's limit, both branches of the nebular correction, charge, dilution and a line's depth."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra._plasma_kernels import nebular_ratio
from skytrace.spectra.atomic_data import AtomicData
from skytrace.spectra.plasma import bin_opacity, plasma_tables, solve_plasma

K_EV = 8.617333262145e-5
IONIZATION_EV = (6.1132, 11.8717, 50.9132, 67.2732)


def calcium(**changes):
    """Calcium I to IV and bare V; Ca II has a ground level, a metastable one and an excited one."""
    tables = {
        "ion_z": np.full(5, 20), "ion_stage": np.arange(1, 6), "ionization_ev": np.array([*IONIZATION_EV, np.nan]),
        "level_ion": np.array([0, 1, 1, 1, 2, 3, 4]), "level_energy_ev": np.array([0, 0, 1.7, 3.15, 0, 0, 0.0]),
        "level_g": np.array([1, 2, 10, 4, 1, 4, 1]), "level_metastable": np.array([1, 1, 1, 0, 1, 1, 1], dtype=bool),
        "line_wavelength_angstrom": np.array([3934.77, 8544.4]), "line_f_lu": np.array([0.682, 0.06]),
        "line_lower": np.array([1, 2]), "line_upper": np.array([3, 3]), "line_ion": np.array([1, 1]),
        "line_a_ul_per_s": np.array([1.47e8, 9e6]), "element_z": np.array([20]), "atomic_mass_u": np.array([40.078]),
    }  # fmt: skip
    return AtomicData(**(tables | changes))


def solved(t_rad=9000.0, dilution=1.0, ratio=1.0, density=1e8):
    return solve_plasma(
        plasma_tables(calcium()), np.array([t_rad]), np.array([dilution]), np.array([[density]]), t_electron_ratio=ratio
    )


def test_full_radiation_at_one_temperature_gives_the_saha_equation():
    state = solved()
    electrons, ions = state.electron_density_cm3[0], state.ion_density_cm3[0, :, 0]
    kt = K_EV * 9000.0
    partition = [1.0, 2.0 + 10.0 * np.exp(-1.7 / kt) + 4.0 * np.exp(-3.15 / kt), 1.0]
    for stage in (0, 1):
        saha = 4.829e15 * 9000.0**1.5 * partition[stage + 1] / partition[stage] * np.exp(-IONIZATION_EV[stage] / kt)
        assert ions[stage + 1] * electrons / ions[stage] == pytest.approx(saha, rel=1e-3)


def test_charges_balance_and_atoms_are_kept():
    state = solved(t_rad=12_000.0, dilution=0.2, ratio=0.8)
    ions = state.ion_density_cm3[0, :, 0]
    assert ions.sum() == pytest.approx(1e8, rel=1e-9)
    assert state.electron_density_cm3[0] == pytest.approx(ions @ np.arange(5), rel=1e-9)


def test_above_the_threshold_the_correction_is_the_electrons_temperature_against_the_fields():
    t_rad, t_electron, dilution, chi = 10_000.0, 8000.0, 0.3, 16.19
    delta = 0.8 * np.exp(chi / (K_EV * t_rad) - chi / (K_EV * t_electron))
    expected = dilution * (0.5 * delta + 0.5 * dilution) * np.sqrt(0.8)
    assert nebular_ratio(chi, 11.8717, t_rad, t_electron, dilution, 0.5) == pytest.approx(expected, rel=1e-9)
    assert delta < 0.1  # the other sign would make it > 1: 2.4 times too much ionisation in a typical model


def test_below_the_threshold_only_the_blocked_continuum_is_corrected():
    t_rad, t_electron, dilution, chi, threshold = 10_000.0, 8000.0, 0.3, 7.9, 11.8717
    blocked = np.exp((chi - threshold) / (K_EV * t_rad))
    delta = 1.0 - blocked + 0.8 * np.exp(chi / (K_EV * t_rad) - threshold / (K_EV * t_electron))
    expected = dilution * (0.5 * delta + 0.5 * dilution) * np.sqrt(0.8)
    assert nebular_ratio(chi, threshold, t_rad, t_electron, dilution, 0.5) == pytest.approx(expected, rel=1e-9)


def test_the_two_branches_meet_at_the_threshold():
    below, above = (nebular_ratio(11.8717 + step, 11.8717, 10_000.0, 8000.0, 0.3, 0.5) for step in (-1e-9, 1e-9))
    assert below == pytest.approx(above, rel=1e-6)


def test_dilution_weakens_excited_levels_but_not_metastable_ones():
    full, dilute = solved(dilution=1.0), solved(dilution=0.1)
    ground_full, ground_dilute = full.level_density_cm3[1, 0], dilute.level_density_cm3[1, 0]
    assert dilute.level_density_cm3[2, 0] / ground_dilute == pytest.approx(full.level_density_cm3[2, 0] / ground_full)
    ratio = dilute.level_density_cm3[3, 0] / ground_dilute / (full.level_density_cm3[3, 0] / ground_full)
    assert ratio == pytest.approx(0.1, rel=1e-5)


def test_a_lines_depth_is_sobolevs_with_stimulated_emission_taken_off():
    tables, state = plasma_tables(calcium()), solved(dilution=0.5)
    opacity = bin_opacity(tables, state, np.geomspace(3000.0, 10_000.0, 101), time_s=1e6)
    lower, upper = state.level_density_cm3[[1, 3], 0]
    depth = 0.02654009 * 0.682 * 3934.77e-8 * 1e6 * (lower - 2.0 / 4.0 * upper)
    where = int(np.log(3934.77 / 3000.0) / np.log(10.0 / 3.0) * 100)
    assert opacity.depth[where, 0] == pytest.approx(depth, rel=1e-5)
    assert np.count_nonzero(opacity.depth) == 2
    assert opacity.crowd.sum() == pytest.approx((1.0 - np.exp(-opacity.depth)).sum(), rel=0.02)


def test_tables_without_the_fourth_stage_are_refused():
    with pytest.raises(CatalogueError, match="stages I to IV"):
        plasma_tables(calcium(ion_stage=np.array([1, 2, 3, 4, 6])))
