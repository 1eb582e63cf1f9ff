"""Smooth profiles of stage 3: flat in each zone, alike among neighbours, and near every profile of stage 2."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from skytrace.errors import CatalogueError
from skytrace.spectra.abundance_profiles import MODE_RANGE, mode_columns, modes_of_zones, with_zone_abundances
from skytrace.spectra.composition import ZONE_SPECIES, layers_as_zones, zone_columns
from skytrace.spectra.ejecta import ejecta_zones
from skytrace.spectra.parameter_space import draw_latin_hypercube, stage_space
from tests.spectra.test_ejecta import table
from tests.spectra.test_parameter_space import CENTRE

LOW, HIGH = (np.log(np.array(bounds)) for bounds in zip(*ZONE_SPECIES.values(), strict=True))


def heights(parameters, zones):
    """(n, 8, zones): ln X in units of its range."""
    log_x = np.log(parameters[list(zone_columns(zones))].to_numpy()).reshape(len(parameters), 8, zones)
    return (log_x - LOW[:, None]) / (HIGH - LOW)[:, None]


def coarse(fifteen):
    """(..., 6): means over the six zones of stage 2, the middle zone of a layer shared by two."""
    layers = fifteen.reshape(*fifteen.shape[:-1], 3, 5)
    halves = [(layers[..., 0] + layers[..., 1] + 0.5 * layers[..., 2]) / 2.5,
              (0.5 * layers[..., 2] + layers[..., 3] + layers[..., 4]) / 2.5]  # fmt: skip
    return np.stack(halves, axis=-1).reshape(*fifteen.shape[:-1], 6)


@pytest.fixture(scope="module")
def drawn():
    """Zones of 3000 models with modes from the whole interval (0, 1)."""
    modes = np.random.default_rng(2).uniform(size=(3000, 48))
    return heights(with_zone_abundances(pd.DataFrame(modes, columns=list(mode_columns()))), 15)


def test_each_zones_abundance_is_flat_in_its_logarithm_before_a_spectrum_is_seen(drawn):
    for zone in (0, 4, 7, 14):
        assert stats.kstest(drawn[:, 0, zone], "uniform").pvalue > 0.001
    np.testing.assert_allclose(drawn.std(axis=0), 1.0 / np.sqrt(12.0), rtol=0.05)


def test_neighbouring_zones_resemble_each_other_and_distant_ones_and_species_do_not(drawn):
    g = stats.norm.ppf(drawn)
    correlation = np.corrcoef(g[:, 0].T)
    np.testing.assert_allclose(np.diag(correlation, 1)[1:-1], np.exp(-0.5 * (0.2 / 0.3) ** 2), atol=0.08)
    assert np.abs(np.diag(correlation, 10)).max() < 0.15
    assert np.abs(np.corrcoef(g[:, 0, 3], g[:, 1, 3])[0, 1]) < 0.06


def test_a_profile_of_the_family_is_found_again_from_its_zones():
    low, high = MODE_RANGE
    modes = np.random.default_rng(3).uniform(0.2, 0.8, size=(20, 48))
    table_of_modes = pd.DataFrame(modes, columns=list(mode_columns()))
    zones = with_zone_abundances(table_of_modes)
    inside = ((heights(zones, 15) > low) & (heights(zones, 15) < high)).all(axis=(1, 2))
    assert inside.sum() > 10
    np.testing.assert_allclose(modes_of_zones(zones)[inside], table_of_modes[inside], atol=1e-6)


def test_random_profiles_of_stage_two_are_met_within_15_percent_of_the_range():
    second = draw_latin_hypercube(stage_space(2, CENTRE), 100, seed=4)[0]
    modes = modes_of_zones(second)
    assert ((modes[list(mode_columns())] >= 0.005) & (modes[list(mode_columns())] <= 0.995)).all(axis=None)
    met = stats.norm.cdf(coarse(stats.norm.ppf(heights(with_zone_abundances(modes), 15))))
    worst = np.abs(met - heights(second, 6)).max(axis=-1)
    assert np.percentile(worst, 50) < 0.005
    assert np.percentile(worst, 95) < 0.15


def test_a_smooth_profile_of_stage_two_is_met_in_every_one_of_the_fifteen_zones():
    def smooth(position):  # silicon's rise and fall, iron's decline, in units of the range of ln X
        return np.stack([0.15 + 0.6 * np.exp(-0.5 * ((position - 1.3) / 0.8) ** 2), 0.85 - 0.22 * position])

    names, position = list(ZONE_SPECIES), {6: (np.arange(6) + 0.5) / 2.0, 15: (np.arange(15) + 0.5) / 5.0}
    second = layers_as_zones(table())
    for species, height in zip(("Si", "Fe"), smooth(position[6]), strict=True):
        k = names.index(species)
        for zone in range(6):
            second[f"X_{species}_zone_{zone + 1}"] = np.exp(LOW[k] + (HIGH - LOW)[k] * height[zone])
    met = heights(with_zone_abundances(modes_of_zones(second)), 15)[0]
    np.testing.assert_allclose(met[[names.index("Si"), names.index("Fe")]], smooth(position[15]), atol=0.05)


def test_modes_give_the_ejecta_of_their_zones():
    third = draw_latin_hypercube(stage_space(3, CENTRE), 5, seed=4)[0]
    by_modes, by_zones = ejecta_zones(third), ejecta_zones(with_zone_abundances(third))
    np.testing.assert_array_equal(by_modes.mass_fraction, by_zones.mass_fraction)
    assert len(np.unique(by_modes.mass_fraction[0, :, 3])) > 10


def test_incomplete_modes_and_modes_beside_zones_are_refused():
    third = draw_latin_hypercube(stage_space(3, CENTRE), 2, seed=4)[0]
    with pytest.raises(CatalogueError, match="missing or unknown: mode_Fe_2"):
        ejecta_zones(third.drop(columns="mode_Fe_2"))
    with pytest.raises(CatalogueError, match="zones and modes of their profiles in one table"):
        ejecta_zones(pd.concat([third, with_zone_abundances(third)[list(zone_columns(15))]], axis=1))
    with pytest.raises(CatalogueError, match="not of 3"):
        modes_of_zones(layers_as_zones(table(), zones=3))
