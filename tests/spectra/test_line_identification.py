"""Knocking an element's lines out: its troughs fill, nothing else changes, and the model keeps its light."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError
from skytrace.spectra import SimulationOptions, simulate_spectra
from skytrace.spectra.line_identification import knock_out

OPTIONS = SimulationOptions(fine_km_s=500.0, zones=12, coarse_iterations=2)
MODEL = pd.DataFrame({
    "log_L": [43.0], "v_inner": [10500.0], "log_rho_0": [-13.0], "density_exp": [-7.0], "T_e_ratio": [0.9],
    "v_core": [11500.0], "v_wall": [16000.0], "X_Fe_core": [0.2], "X_Si_wall": [0.4], "v_break": [14000.0],
    "density_exp_outer": [-9.0], "t_exp": [18.0], "X_Fe_wall": [0.02], "X_Ni": [0.05], "X_Fe_outer": [0.01],
})  # fmt: skip


@pytest.fixture(scope="module")
def found(atomic):
    return knock_out(MODEL, [6, 14, 20], atomic=atomic, options=OPTIONS)


def test_with_all_lines_it_is_the_spectrum_of_the_simulator(found, atomic):
    peer = simulate_spectra(MODEL, options=OPTIONS, atomic=atomic)
    np.testing.assert_allclose(found.luminosity, peer.luminosity[0], rtol=2e-6)


def test_silicon_made_the_6150_trough_and_calcium_that_of_h_and_k(found):
    at = lambda low, high: (found.wavelength_angstrom > low) & (found.wavelength_angstrom < high)
    silicon, calcium = found.taken[1] / found.luminosity, found.taken[2] / found.luminosity
    assert silicon[at(6050, 6200)].max() > 0.3 > 0.02 > np.abs(calcium[at(6050, 6200)]).max()
    assert calcium[at(3650, 3800)].max() > 0.3
    # what a line takes from the light behind it, it scatters about its rest wavelength
    assert silicon[at(6340, 6500)].min() < -0.01


def test_an_element_that_the_tables_lack_and_two_models_are_refused(atomic):
    with pytest.raises(CatalogueError, match="lack the elements Z = 92"):
        knock_out(MODEL, [92], atomic=atomic, options=OPTIONS)
    with pytest.raises(CatalogueError, match="2 rows"):
        knock_out(pd.concat([MODEL, MODEL]), [14], atomic=atomic, options=OPTIONS)
