"""What the emulator's network reads of ejecta is what the simulator's ejecta are made of."""

import numpy as np
import pandas as pd
import pytest

from skytrace.spectra import EJECTA_PARAMETERS, ejecta_zones, nickel_decay
from skytrace.spectra.emulator_inputs import emulator_inputs
from skytrace.spectra.parameter_space import stage_one_space

SPACE = stage_one_space()
BOX = (np.array(SPACE.low), np.array(SPACE.high), np.array(SPACE.logarithmic))
MODEL = {
    "log_L": 43.1, "v_inner": 9000.0, "log_rho_0": -13.2, "density_exp": -7.0, "T_e_ratio": 0.9, "v_core": 11_000.0,
    "v_wall": 16_000.0, "X_Fe_core": 0.4, "X_Si_wall": 0.4, "v_break": 14_000.0, "density_exp_outer": -9.0,
    "t_exp": 18.0, "X_Fe_wall": 0.05, "X_Ni": 0.08, "X_Fe_outer": 0.02,
}  # fmt: skip
#: The derived quantities stand behind the fifteen parameters, in this order.
FIRST = 15
CORE_TEMPERATURE, DEPTH_AT_12000, DEPTH_AT_25000, COLUMN, COBALT, IRON_OUTER = 0, 7, 11, 14, 20, 24


def inputs(**changes):
    table = pd.DataFrame([MODEL | changes])[list(SPACE.names)]
    return emulator_inputs(table.to_numpy(dtype=float), SPACE.names, BOX)[0]


def test_box_becomes_minus_one_to_one():
    ends = emulator_inputs(np.array([SPACE.low, SPACE.high]), SPACE.names, BOX)[:, :FIRST]
    np.testing.assert_allclose(ends, [[-1.0] * FIRST, [1.0] * FIRST])


def test_a_logarithmic_parameter_has_its_middle_at_the_geometric_mean():
    box = (np.array([0.001, 0.0]), np.array([0.1, 1.0]), np.array([True, False]))
    np.testing.assert_allclose(emulator_inputs(np.array([[0.01, 0.25]]), ("a", "b"), box), [[0.0, -0.5]], atol=1e-12)


def test_core_temperature_follows_stefan_and_boltzmann():
    hot, cold = inputs(log_L=43.4, t_exp=12.0), inputs(log_L=42.6, t_exp=24.0)
    ratio = 10.0 ** (hot - cold)[FIRST + CORE_TEMPERATURE]
    assert ratio == pytest.approx((10.0**0.8 * 2.0**2) ** 0.25)


def test_density_at_places_is_that_of_the_ejecta():
    zones = ejecta_zones(pd.DataFrame([MODEL])[list(EJECTA_PARAMETERS)], zones=2000)
    middle = 0.5 * (zones.velocity_edges_km_s[0, 1:] + zones.velocity_edges_km_s[0, :-1])
    for place, at in ((12_000.0, DEPTH_AT_12000), (25_000.0, DEPTH_AT_25000)):
        density = np.interp(place, middle, np.log10(zones.density_g_cm3[0]))
        assert inputs()[FIRST + at] == pytest.approx(density + np.log10(18.0), abs=1e-3)


@pytest.mark.parametrize("v_break", [8000.0, 14_000.0, 35_000.0])
def test_column_is_the_integral_of_the_density(v_break):
    table = pd.DataFrame([MODEL | {"v_break": v_break}])[list(EJECTA_PARAMETERS)]
    zones = ejecta_zones(table, zones=5000)
    column = (zones.density_g_cm3[0] * np.diff(zones.velocity_edges_km_s[0])).sum()
    assert inputs(v_break=v_break)[FIRST + COLUMN] == pytest.approx(np.log10(column * 18.0), abs=1e-3)


def test_cobalt_and_iron_are_those_of_nickel_decay():
    _, cobalt, iron = nickel_decay(18.0)
    assert inputs()[FIRST + COBALT] == pytest.approx(np.log10(0.08 * cobalt))
    assert inputs()[FIRST + IRON_OUTER] == pytest.approx(np.log10(0.02 + 0.08 * iron), abs=1e-4)


def test_other_parameters_are_read_as_they_are():
    box = (np.zeros(3), np.ones(3), np.zeros(3, dtype=bool))
    assert emulator_inputs(np.full((4, 3), 0.5), ("a", "b", "c"), box).shape == (4, 3)


def test_jax_reads_the_same():
    import jax.numpy as jnp

    theta = SPACE.from_unit(np.random.default_rng(0).random((50, 15)))
    np.testing.assert_allclose(
        np.asarray(emulator_inputs(jnp.asarray(theta), SPACE.names, BOX, jnp)),
        emulator_inputs(theta, SPACE.names, BOX), atol=3e-5,
    )  # fmt: skip
