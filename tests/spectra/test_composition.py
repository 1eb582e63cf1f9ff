"""Abundances of velocity zones: where they go, how they decay, and that stage 1 is among them."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra.composition import COMPOSITION_Z, ZONE_SPECIES, layers_as_zones, zone_columns
from skytrace.spectra.ejecta import ejecta_zones, nickel_decay, physical_problems
from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_one_space
from skytrace.spectra.simulate import simulate_spectra
from skytrace.spectra.simulation_options import SimulationOptions
from tests.spectra.test_ejecta import table


@pytest.fixture(scope="module")
def models():
    return draw_latin_hypercube(stage_one_space(), 40, seed=5)[0]


def _middle(zones):
    return 0.5 * (zones.velocity_edges_km_s[0, 1:] + zones.velocity_edges_km_s[0, :-1])


@pytest.mark.parametrize("zones", [3, 6, 15])
def test_a_table_of_zones_that_mimics_stage_one_has_the_same_ejecta(models, zones):
    layers, own = ejecta_zones(models), ejecta_zones(layers_as_zones(models, zones=zones))
    np.testing.assert_array_equal(own.density_g_cm3, layers.density_g_cm3)
    np.testing.assert_allclose(own.mass_fraction, layers.mass_fraction, rtol=1e-13)


def test_a_table_of_zones_that_mimics_stage_one_has_the_same_spectrum(models, atomic):
    options = SimulationOptions(
        zones=12, coarse_km_s=1000.0, fine_km_s=1000.0, coarse_iterations=2, fine_iterations=1, core_rays=3
    )
    layers = simulate_spectra(models.iloc[:2], options=options, atomic=atomic)
    own = simulate_spectra(layers_as_zones(models.iloc[:2]), options=options, atomic=atomic)
    np.testing.assert_allclose(own.luminosity, layers.luminosity, rtol=1e-5)  # the march counts in 32 bits
    np.testing.assert_allclose(own.t_rad_k, layers.t_rad_k, rtol=1e-6)


def test_zones_are_equal_in_velocity_within_core_wall_and_outer_layers():
    changes = {f"X_Ca_zone_{zone}": 0.001 * zone for zone in range(1, 7)}
    zones = ejecta_zones(layers_as_zones(table()).assign(**changes), zones=3000)
    edges = [12_672.5, 14_783.0, 18_666.5, 22_550.0, 26_275.0]  # v_inner 10562, v_core 14783, v_wall 22550, 30000
    expected = 0.001 * (1 + np.searchsorted(edges, _middle(zones), side="right"))
    np.testing.assert_allclose(zones.mass_fraction[0, :, COMPOSITION_Z.index(20)], expected, rtol=1e-12)


@pytest.mark.parametrize(("species", "z"), [("Si", 14), ("S", 16), ("Mg", 12), ("Ti", 22), ("Cr", 24)])
def test_a_species_changes_its_own_element_in_its_own_zone_and_oxygen(species, z):
    plain = layers_as_zones(table())
    before = ejecta_zones(plain, zones=300)
    after = ejecta_zones(plain.assign(**{f"X_{species}_zone_2": plain[f"X_{species}_zone_2"] + 0.01}), zones=300)
    change = after.mass_fraction[0] - before.mass_fraction[0]
    inside = (_middle(before) >= 12_672.5) & (_middle(before) < 14_783.0)
    expected = np.zeros_like(change)
    expected[inside, COMPOSITION_Z.index(z)], expected[inside, COMPOSITION_Z.index(8)] = 0.01, -0.01
    np.testing.assert_allclose(change, expected, atol=1e-15)


def test_each_zones_nickel_decays_and_its_mass_fractions_sum_to_one():
    nickel_56 = np.linspace(0.05, 0.3, 6)
    iron = np.linspace(0.2, 0.01, 6)
    changes = {f"X_Ni_zone_{zone + 1}": nickel_56[zone] for zone in range(6)}
    changes |= {f"X_Fe_zone_{zone + 1}": iron[zone] for zone in range(6)}
    zones = ejecta_zones(layers_as_zones(table()).assign(**changes), zones=600)
    edges = [12_672.5, 14_783.0, 18_666.5, 22_550.0, 26_275.0]
    zone = np.searchsorted(edges, _middle(zones), side="right")
    left, cobalt, made = nickel_decay(24.12)
    fraction = zones.mass_fraction[0]
    np.testing.assert_allclose(fraction.sum(axis=1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(fraction[:, COMPOSITION_Z.index(28)], left * nickel_56[zone], rtol=1e-12)
    np.testing.assert_allclose(fraction[:, COMPOSITION_Z.index(27)], cobalt * nickel_56[zone], rtol=1e-12)
    np.testing.assert_allclose(fraction[:, COMPOSITION_Z.index(26)], iron[zone] + made * nickel_56[zone], rtol=1e-12)
    np.testing.assert_allclose(fraction[:, COMPOSITION_Z.index(6)], 0.02, rtol=1e-12)


def test_a_zone_of_more_than_everything_is_named():
    crowded = layers_as_zones(table()).assign(X_Fe_zone_4=0.8)
    assert physical_problems(crowded)[0].startswith("mass fractions of zone 4 add up to more than 1 (sum = 1.")


def test_incomplete_superfluous_or_indivisible_zones_are_named():
    full = layers_as_zones(table())
    with pytest.raises(CatalogueError, match=r"zones lack .* X_Ti_zone_3"):
        ejecta_zones(full.drop(columns="X_Ti_zone_3"))
    with pytest.raises(CatalogueError, match=r"zones and of layers \(X_Ni\) in one table"):
        ejecta_zones(full.assign(X_Ni=0.1))
    with pytest.raises(CatalogueError, match=r"unknown .* X_He_zone_1"):
        ejecta_zones(full.assign(X_He_zone_1=0.1))
    seven = full.assign(**{f"X_{species}_zone_7": 0.01 for species in ZONE_SPECIES})
    with pytest.raises(CatalogueError, match="7 zones cannot be shared out"):
        ejecta_zones(seven)
    with pytest.raises(CatalogueError, match=r"lack the column.* t_exp"):
        ejecta_zones(full.drop(columns="t_exp"))


def test_columns_of_zones_count_from_one_outwards():
    assert zone_columns(6)[:6] == tuple(f"X_Fe_zone_{zone}" for zone in range(1, 7))
    assert isinstance(layers_as_zones(table()), pd.DataFrame)
