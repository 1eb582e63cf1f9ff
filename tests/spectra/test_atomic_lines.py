"""The tables are those of the reference spectra, and agree with what is known of the strongest lines."""

import numpy as np
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra import AtomicOptions, load_atomic_data
from skytrace.spectra.atomic_cut import bound_levels, largest_sobolev_depth
from skytrace.spectra.atomic_files import atomic_constants, line_list_folder, read_levels, read_lines
from skytrace.spectra.atomic_lines import assemble, match_levels

#: Ion, air wavelength [A] and log gf, from NIST's Atomic Spectra Database.
NIST = {
    "Si II 6347": (14, 2, 6347.11, 0.15), "Si II 6371": (14, 2, 6371.37, -0.08),
    "Ca II K": (20, 2, 3933.66, 0.11), "Ca II H": (20, 2, 3968.47, -0.19), "Mg II 4481": (12, 2, 4481.126, 0.75),
    "O I 7772": (8, 1, 7771.94, 0.37), "O I 7774": (8, 1, 7774.17, 0.22), "O I 7775": (8, 1, 7775.39, 0.00),
    "C II 6578": (6, 2, 6578.05, -0.02), "S II 5454": (16, 2, 5453.85, 0.50), "Fe III 5156": (26, 3, 5156.11, -1.99),
}  # fmt: skip
FE_II = {4923.92: (-1.32, -1.56), 5018.44: (-1.22, -1.40), 5169.03: (-0.87, -1.30)}


def air_angstrom(vacuum):
    """Morton (2000, ApJS 130, 403), equation 8."""
    s2 = (1e4 / vacuum) ** 2
    return vacuum / (1.0 + 8.34254e-5 + 2.406147e-2 / (130.0 - s2) + 1.5998e-4 / (38.9 - s2))


def strongest_log_gf(atomic, z, stage, air):
    """log gf of the strongest line of the ion within 0.02 A of an air wavelength."""
    ion = (atomic.ion_z[atomic.line_ion] == z) & (atomic.ion_stage[atomic.line_ion] == stage)
    near = ion & (np.abs(air_angstrom(atomic.line_wavelength_angstrom) - air) < 0.02)
    return np.log10(np.max(atomic.line_f_lu[near] * atomic.level_g[atomic.line_lower[near]]))


def test_the_tables_have_the_check_sums_of_the_reference_spectra(atomic_as_it_stands):
    atomic = atomic_as_it_stands
    assert len(atomic.line_f_lu) == 114_963
    assert atomic.line_f_lu.sum() == pytest.approx(3682.165, abs=5e-4)
    assert atomic.line_wavelength_angstrom.sum() == pytest.approx(352_458_046.79, abs=0.01)
    own = ~atomic.ion_bare[atomic.level_ion]
    assert own.sum() == 13_599
    assert atomic.level_g[own].sum() == 93_381
    assert atomic.level_g[~own].tolist() == [1] * 11


def test_58282_of_the_lines_are_spin_allowed(atomic_as_it_stands):
    atomic = atomic_as_it_stands
    options = {"atomic_numbers": atomic.element_z.tolist(), "highest_stage": 4}
    lines = read_lines(line_list_folder(), **options)
    levels = {name: column.to_numpy() for name, column in read_levels(line_list_folder(), **options).items()}
    ends = [match_levels(levels, lines, end) for end in ("lower", "upper")]
    wavelength = 1e8 / (levels["energy_per_cm"][ends[1]] - levels["energy_per_cm"][ends[0]])

    def rows(z, stage, g_lower, g_upper, angstrom, a_ul):
        # wavelengths to 1e-6 A and A to six digits tell lines of an ion from each other
        return list(zip(z, stage, g_lower, g_upper, np.rint(angstrom * 1e6 + 0.3).astype(int),
                        np.rint(np.log(a_ul) * 1e5 + 0.3).astype(int), strict=True))  # fmt: skip

    names = ("z", "stage", "g_lower", "g_upper")
    listed = rows(*(lines[name] for name in names), wavelength, lines["a_ul_per_s"])
    kind = dict(zip(listed, lines["type"], strict=True))
    found = rows(
        atomic.ion_z[atomic.line_ion], atomic.ion_stage[atomic.line_ion], atomic.level_g[atomic.line_lower],
        atomic.level_g[atomic.line_upper], atomic.line_wavelength_angstrom, atomic.line_a_ul_per_s,
    )  # fmt: skip
    kinds = np.array([kind.get(row, -1) for row in found])
    assert np.all(kinds >= 0)
    assert np.sum(kinds == 0) == 58_282


@pytest.mark.parametrize("name", NIST)
def test_log_gf_agree_with_nist(atomic, name):
    z, stage, air, known = NIST[name]
    assert strongest_log_gf(atomic, z, stage, air) == pytest.approx(known, abs=0.006)


@pytest.mark.parametrize("air", FE_II)
def test_multiplet_42_of_fe_ii_is_overridden_unless_asked_for_as_it_stands(atomic, atomic_as_it_stands, air):
    better, listed = FE_II[air]
    assert strongest_log_gf(atomic, 26, 2, air) == pytest.approx(better, abs=1e-9)
    assert strongest_log_gf(atomic_as_it_stands, 26, 2, air) == pytest.approx(listed, abs=0.006)
    same = np.sum(atomic.line_f_lu != atomic_as_it_stands.line_f_lu)
    assert same == 3  # and no other line changes


def test_einstein_coefficients_follow_from_oscillator_strengths(atomic):
    # Lorentz: A_ul = 8 pi^2 e^2 nu^2 / (m_e c^3) (g_l / g_u) f_lu, in cgs
    frequency = 2.99792458e18 / atomic.line_wavelength_angstrom
    ratio = atomic.level_g[atomic.line_lower] / atomic.level_g[atomic.line_upper]
    per_f = 8.0 * np.pi**2 * 4.80320471e-10**2 / (9.1093837e-28 * 2.99792458e10**3) * frequency**2
    np.testing.assert_allclose(atomic.line_a_ul_per_s, per_f * ratio * atomic.line_f_lu, rtol=1e-5)


def test_wavelengths_are_of_vacuum_and_ascend_and_energies_close(atomic):
    assert np.all(np.diff(atomic.line_wavelength_angstrom) >= 0.0)
    energy = atomic.level_energy_ev[atomic.line_upper] - atomic.level_energy_ev[atomic.line_lower]
    np.testing.assert_allclose(12398.419843 / energy, atomic.line_wavelength_angstrom, rtol=1e-8)
    assert atomic.line_wavelength_angstrom.min() > 1000.0
    assert atomic.line_wavelength_angstrom.max() < 20_000.0


def test_a_level_is_metastable_where_no_strong_line_leads_down(atomic):
    z, stage = atomic.ion_z[atomic.level_ion], atomic.ion_stage[atomic.level_ion]

    def flags(number, ion_stage, low, high):
        of_ion = (z == number) & (stage == ion_stage)
        return atomic.level_metastable[of_ion & (atomic.level_energy_ev >= low) & (atomic.level_energy_ev <= high)]

    assert flags(20, 2, 0.0, 0.0).all()  # ground
    assert flags(20, 2, 1.6, 1.8).tolist() == [True, True]  # 3d: only forbidden lines
    assert flags(20, 2, 3.1, 3.2).tolist() == [False, False]  # 4p: H and K
    assert flags(26, 2, 0.0, 4.7).all()  # 3d6 4s, 3d7: even like the ground term
    assert not flags(26, 2, 4.767, 5.3).any()  # z6D, z6F, odd
    strong = np.log10(atomic.line_f_lu * atomic.level_g[atomic.line_lower]) > -3.0
    assert not atomic.level_metastable[atomic.line_upper[strong]].any()


def test_the_cut_leaves_out_only_lines_that_are_thin_everywhere():
    silicon = AtomicOptions(elements=("Si",), sobolev_depth_least=0.0)
    everything = load_atomic_data(options=silicon)
    depth = largest_sobolev_depth(everything)
    kept = load_atomic_data(options=AtomicOptions(elements=("Si",)))
    assert np.array_equal(kept.line_f_lu, everything.line_f_lu[depth > 0.01])
    assert 0 < len(kept.line_f_lu) < len(everything.line_f_lu)
    # Si II 6347 by hand at 7000 K and 10^9.5 electrons, where it is thickest: Si II and III only, U = 5.72 and 1
    near = np.abs(everything.line_wavelength_angstrom - 6348.865) < 0.02
    at = np.argmax(np.where(near, everything.line_f_lu, 0.0))
    kt = 8.617333262e-5 * 7000.0
    doubly_per_singly = 4.8293e15 * 7000.0**1.5 * (1.0 / 5.72) * np.exp(-16.346 / kt) / 10**9.5
    silicon_ii = 10**-12.5 * 0.75 / (28.085 * 1.66053907e-24) / (1.0 + doubly_per_singly)
    lower_level = silicon_ii * 2.0 * np.exp(-8.121 / kt) / 5.72
    by_hand = 0.0265400 * everything.line_f_lu[at] * 6348.865e-8 * 15 * 86_400 * lower_level
    assert depth[at] == pytest.approx(by_hand, rel=0.02)


def test_every_bound_level_is_kept_and_every_unbound_one_is_used(atomic):
    unbound = np.flatnonzero(~bound_levels(atomic))
    assert 0 < len(unbound) < 500
    assert np.isin(unbound, np.r_[atomic.line_lower, atomic.line_upper]).all()


def test_each_element_ends_with_a_bare_ion():
    levels = {"z": [1, 1, 2, 2], "stage": [1, 1, 1, 2], "g": [2, 6, 1, 2], "energy_ev": [0.0, 10.2, 0.0, 0.0]}
    lines = {"lower": [0], "upper": [1], "wavelength_angstrom": [1215.67], "f_lu": [0.4162]}
    levels, lines = ({name: np.array(column) for name, column in table.items()} for table in (levels, lines))
    options = AtomicOptions(elements=("He", "H"))
    masses, ionization = atomic_constants(options.atomic_numbers, highest_stage=4)
    atomic = assemble(levels, lines, options=options, masses=masses, ionization=ionization)
    assert list(zip(atomic.ion_z, atomic.ion_stage, strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)]
    assert atomic.ionization_ev[[0, 2, 3]] == pytest.approx([13.5984, 24.5874, 54.4178], abs=1e-4)
    assert np.isnan(atomic.ionization_ev[[1, 4]]).all()
    assert atomic.atomic_mass_u == pytest.approx([1.008, 4.0026], abs=1e-3)
    assert atomic.level_ion.tolist() == [0, 0, 1, 2, 3, 4]
    assert atomic.level_g.tolist() == [2, 6, 1, 1, 2, 1]
    assert atomic.line_a_ul_per_s == pytest.approx([6.262e8], rel=2e-3)  # Lyman alpha


def test_a_line_without_a_level_is_an_error():
    levels = {"z": [6, 6], "stage": [1, 1], "term": [1, 2], "g": [1, 3], "energy_per_cm": [0.0, 100.0]}
    lines = {"z": [6], "stage": [1], "term_upper": [2], "g_upper": [5], "energy_upper_per_cm": [100.0]}
    levels, lines = ({name: np.array(column) for name, column in table.items()} for table in (levels, lines))
    with pytest.raises(CatalogueError, match=r"1 lines have no upper level.*'g_upper': 5"):
        match_levels(levels, lines, "upper")


def test_the_nearest_of_several_levels_is_taken():
    energies = np.array([0.0, 10.0, 10.4, 11.0, 50.0])
    levels = {"z": np.full(5, 6), "stage": np.full(5, 1), "term": np.array([1, 2, 2, 2, 3]), "g": np.full(5, 3),
              "energy_per_cm": energies}  # fmt: skip
    targets = np.array([-5.0, 10.19, 10.21, 10.69, 10.71, 900.0])
    lines = {"z": np.full(6, 6), "stage": np.full(6, 1), "term_lower": np.full(6, 2), "g_lower": np.full(6, 3),
             "energy_lower_per_cm": targets}  # fmt: skip
    assert match_levels(levels, lines, "lower").tolist() == [1, 1, 2, 2, 3, 3]


def test_hydrogen_like_ions_are_refused_with_the_reason():
    with pytest.raises(CatalogueError, match=r"'z': 1, 'stage': 1.*hydrogen-like ions"):
        load_atomic_data(options=AtomicOptions(elements=("H", "O")))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"elements": ("Si", "Feb")}, "'Feb' is not an element.*did you mean Fe"),
        ({"elements": ("U",)}, "'U' is not an element"),
        ({"elements": "Si"}, "elements = 'Si' is not a list"),
        ({"elements": ("Si", "Si")}, "twice"),
        ({"highest_stage": 0}, "highest_stage = 0 is outside its allowed range"),
        ({"wavelength_high_angstrom": 900.0}, "wavelength_high_angstrom = 900.0"),
        ({"sobolev_depth_least": -1.0}, "sobolev_depth_least = -1.0"),
    ],
)
def test_impossible_options_are_refused(bad, message):
    with pytest.raises(OptionError, match=message):
        AtomicOptions(**bad)
