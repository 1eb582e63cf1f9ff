"""Ejecta: decay, density, zones of composition, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.ejecta import COMPOSITION_Z, ejecta_zones, nickel_decay, physical_problems

MODEL = {
    "log_L": 43.163, "v_inner": 10562.0, "log_rho_0": -13.255, "density_exp": -5.99, "T_e_ratio": 0.859,
    "v_core": 14783.0, "v_wall": 22550.0, "X_Fe_core": 0.3723, "X_Si_wall": 0.4439, "v_break": 13438.0,
    "density_exp_outer": -10.19, "t_exp": 24.12, "X_Fe_wall": 0.003, "X_Ni": 0.1669, "X_Fe_outer": 0.0024,
}  # fmt: skip


def table(**changes):
    return pd.DataFrame([MODEL | changes])


def test_nickel_has_decayed_to_11_79_and_9_percent_after_19_days():
    np.testing.assert_allclose(nickel_decay(19.0), [0.114, 0.791, 0.095], atol=5e-4)


def test_decay_begins_with_nickel_ends_with_iron_and_loses_nothing():
    nickel, cobalt, iron = nickel_decay(np.array([0.0, 6.075, 77.24, 5000.0]))
    np.testing.assert_allclose(nickel + cobalt + iron, 1.0, atol=1e-14)
    np.testing.assert_allclose(nickel[:2], [1.0, 0.5], atol=1e-14)
    assert iron[-1] > 1.0 - 1e-12


def test_cobalt_obeys_its_rate_equation():
    time, step = 19.0, 1e-4
    nickel, cobalt, _ = nickel_decay(time)
    _, later, _ = nickel_decay(time + step)
    _, sooner, _ = nickel_decay(time - step)
    rate = np.log(2.0) * (nickel / 6.075 - cobalt / 77.24)
    np.testing.assert_allclose((later - sooner) / (2.0 * step), rate, rtol=1e-7)


def test_density_is_two_power_laws_that_meet_at_the_break():
    zones = ejecta_zones(table(), zones=3000)
    middle = 0.5 * (zones.velocity_edges_km_s[0, 1:] + zones.velocity_edges_km_s[0, :-1])
    slope = np.gradient(np.log(zones.density_g_cm3[0]), np.log(middle))
    np.testing.assert_allclose(slope[middle < 13_400.0][1:], MODEL["density_exp"], rtol=1e-3)
    np.testing.assert_allclose(slope[middle > 13_480.0], MODEL["density_exp_outer"], rtol=1e-3)
    assert zones.density_g_cm3[0, 0] == pytest.approx(10.0 ** MODEL["log_rho_0"], rel=3e-3)


def test_a_break_beneath_the_photosphere_leaves_one_power_law_from_it():
    """log_rho_0 is the density at v_inner and t_exp, wherever the break lies."""
    ejecta = ejecta_zones(table(v_inner=11_000.0, v_break=10_000.0), zones=40)
    middle = 0.5 * (ejecta.velocity_edges_km_s[0, 1:] + ejecta.velocity_edges_km_s[0, :-1])
    expected = MODEL["log_rho_0"] + MODEL["density_exp_outer"] * np.log10(middle / 11_000.0)
    np.testing.assert_allclose(np.log10(ejecta.density_g_cm3[0]), expected, atol=1e-12)


def test_each_zone_has_its_own_silicon_and_iron_and_oxygen_fills_up():
    zones = ejecta_zones(table())
    middle = 0.5 * (zones.velocity_edges_km_s[0, 1:] + zones.velocity_edges_km_s[0, :-1])
    silicon = zones.mass_fraction[0, :, COMPOSITION_Z.index(14)]
    expected = np.select([middle < MODEL["v_core"], middle < MODEL["v_wall"]], [0.10, MODEL["X_Si_wall"]], 0.05)
    np.testing.assert_allclose(silicon, expected, rtol=1e-12)
    np.testing.assert_allclose(zones.mass_fraction.sum(axis=2), 1.0, rtol=1e-14)
    iron = zones.mass_fraction[0, [0, -1], COMPOSITION_Z.index(26)]
    np.testing.assert_allclose(iron, [0.39421795, 0.02431795], atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"v_core": 9000.0}, "v_core = 9000 lies below v_inner = 10562"),
        ({"v_wall": 14_000.0}, "v_wall = 14000 lies below v_core = 14783"),
        ({"X_Fe_core": 0.9}, "mass fractions of the core add up to"),
        ({"X_Si_wall": 0.75, "X_Fe_wall": 0.2}, "mass fractions of the wall add up to"),
        ({"t_exp": float("nan")}, "t_exp = nan is outside"),
        ({"v_inner": 29_500.0, "v_core": 29_600.0, "v_wall": 29_700.0}, "v_inner = 29500 is not inside 30000 km/s"),
    ],
)
def test_an_unphysical_model_is_refused_with_row_value_and_reason(changes, words):
    both = pd.concat([table(), table(**changes)], ignore_index=True)
    assert physical_problems(both)[0] == ""
    with pytest.raises(OptionError, match=f"row 1: .*{words}"):
        ejecta_zones(both)


def test_a_missing_parameter_is_named():
    with pytest.raises(CatalogueError, match=r"lack the column.*X_Ni"):
        ejecta_zones(table().drop(columns="X_Ni"))


def test_a_zone_that_a_border_crosses_mixes_both_sides_by_volume():
    bounds = np.array([14783.0, 22550.0])
    mixed, sharp = ejecta_zones(table(), shared_borders=True), ejecta_zones(table())
    edges = mixed.velocity_edges_km_s[0]
    crossed = np.searchsorted(edges, bounds) - 1
    for border, zone in zip(bounds, crossed, strict=True):
        below = (border**3 - edges[zone] ** 3) / (edges[zone + 1] ** 3 - edges[zone] ** 3)
        wanted = below * sharp.mass_fraction[0, zone - 1] + (1.0 - below) * sharp.mass_fraction[0, zone + 1]
        np.testing.assert_allclose(mixed.mass_fraction[0, zone], wanted, rtol=1e-12)
    whole = np.setdiff1d(np.arange(30), crossed)
    np.testing.assert_array_equal(mixed.mass_fraction[0, whole], sharp.mass_fraction[0, whole])
    np.testing.assert_allclose(mixed.mass_fraction.sum(axis=2), 1.0, rtol=1e-12)


def test_shared_borders_keep_the_mass_of_every_element_at_any_border():
    """Iron's share of the volume is that of the layers themselves, in coarse zones too; sharp borders miss it."""
    for border in (14_500.0, 14_700.0, 14_900.0):
        coarse = ejecta_zones(table(v_core=border), zones=6, shared_borders=True)
        volume = np.diff(coarse.velocity_edges_km_s[0] ** 3)
        fine = ejecta_zones(table(v_core=border), zones=6000)
        shell = np.diff(fine.velocity_edges_km_s[0] ** 3)
        iron = COMPOSITION_Z.index(26)
        exact = fine.mass_fraction[0, :, iron] @ shell / shell.sum()
        assert coarse.mass_fraction[0, :, iron] @ volume / volume.sum() == pytest.approx(exact, rel=1e-3)
        sharp = ejecta_zones(table(v_core=border), zones=6)
        assert abs(sharp.mass_fraction[0, :, iron] @ volume / volume.sum() / exact - 1.0) > 0.01
