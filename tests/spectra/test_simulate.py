"""Simulated spectra against TARDIS (scatter mode, the same lines), and what a caller may rely on."""

import json
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.simulate import simulate_spectra
from skytrace.spectra.simulation_options import SimulationOptions
from tests.spectra.test_ejecta import table

#: The references were computed from the list as it stands.
AS_LISTED = SimulationOptions(atomic={"overrides": False})
POINTS = ("e05", "e07", "e10")


@pytest.fixture(scope="module")
def references(real_data):
    folder = real_data / "spectra" / "tardis_reference_pyemili"
    if not folder.is_dir():
        pytest.skip(f"no TARDIS references: {folder} is missing")
    return {name: dict(np.load(folder / f"{name}_scatter.npz")) for name in POINTS}


@lru_cache(maxsize=1)
def _simulated(rows):
    return simulate_spectra(pd.DataFrame([dict(row) for row in rows]), options=AS_LISTED)


@pytest.fixture(scope="module")
def simulated(references):
    return _simulated(tuple(tuple(json.loads(str(one["params"])).items()) for one in references.values()))


def _binned(wavelength, spectrum):
    order = np.argsort(wavelength)
    x, y = wavelength[order], spectrum[order]
    edges = np.arange(3500.0, 9001.0, 30.0)
    total = np.concatenate([[0.0], np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(x))])
    return np.diff(np.interp(edges, x, total)) / 30.0


def _minimum(wavelength, spectrum, low, high):
    """Wavelength of the lowest flux after smoothing by 20 A (1 sigma)."""
    order = np.argsort(wavelength)
    grid = np.arange(low - 100.0, high + 100.0, 2.0)
    kernel = np.exp(-0.5 * (np.arange(-60.0, 61.0, 2.0) / 20.0) ** 2)
    smooth = np.convolve(np.interp(grid, wavelength[order], spectrum[order]), kernel / kernel.sum(), "same")
    inside = (grid >= low) & (grid <= high)
    return grid[inside][smooth[inside].argmin()]


@pytest.mark.parametrize("name", POINTS)
def test_the_spectrum_is_tardis_within_15_percent(references, simulated, name):
    reference, row = references[name], POINTS.index(name)
    ours = _binned(simulated.wavelength_angstrom, simulated.luminosity[row])
    theirs = _binned(reference["wavelength_A"], reference["L_lambda_virtual"])
    bright = theirs > 0.1 * theirs.max()
    ratio = ours[bright] / theirs[bright] * theirs[bright].sum() / ours[bright].sum()
    assert np.sqrt(np.mean((ratio - 1.0) ** 2)) < 0.12


@pytest.mark.parametrize("name", POINTS)
def test_the_zones_are_in_the_state_that_tardis_finds(references, simulated, name):
    reference, row = references[name], POINTS.index(name)
    np.testing.assert_allclose(simulated.t_inner_k[row], reference["t_inner_K"], rtol=0.05)
    np.testing.assert_allclose(simulated.t_rad_k[row], reference["t_rad_K"], rtol=0.08)
    np.testing.assert_allclose(simulated.w[row], reference["W"], rtol=0.3)
    np.testing.assert_allclose(simulated.electron_density_cm3[row], reference["n_e_cm3"], rtol=0.15)
    assert simulated.converged[row]


#: Windows in which the reference's feature has a minimum of its own: e05's calcium lies blueward of 3500 A, and the
#: sulphur doublet stands out in none of the three.
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("e05", 5800.0, 6400.0), ("e07", 5800.0, 6400.0), ("e10", 6100.0, 6450.0), ("e07", 3600.0, 3900.0),
     ("e10", 3700.0, 3950.0)],
)  # fmt: skip
def test_absorption_minima_lie_where_tardis_has_them(references, simulated, name, low, high):
    reference, row = references[name], POINTS.index(name)
    ours = _minimum(simulated.wavelength_angstrom, simulated.luminosity[row], low, high)
    theirs = _minimum(reference["wavelength_A"], reference["L_lambda_virtual"], low, high)
    assert abs(ours - theirs) <= 30.0


def test_as_much_light_lies_between_1500_and_15000_angstrom_as_tardis_finds(references, simulated):
    for row, reference in enumerate(references.values()):
        inside = np.trapezoid(simulated.luminosity[row], simulated.wavelength_angstrom)
        share = reference["L_emitted_1500_15000_erg_s"] / reference["L_emitted_erg_s"]
        assert inside == pytest.approx(float(share * reference["L_requested_erg_s"]), rel=0.04)


def test_a_models_spectrum_does_not_depend_on_its_batch(references, simulated):
    alone = simulate_spectra(
        pd.DataFrame([json.loads(str(references["e07"]["params"]))], index=[41]), options=AS_LISTED
    )
    np.testing.assert_array_equal(alone.luminosity[0], simulated.luminosity[1])


def test_tables_without_models_or_numbers_are_refused_by_name():
    with pytest.raises(CatalogueError, match="parameters has no row"):
        simulate_spectra(table().iloc[:0])
    with pytest.raises(CatalogueError, match=r"the column log_L of parameters holds what is no number: .*'bright'"):
        simulate_spectra(table().astype(object).assign(log_L="bright"))


def test_options_outside_their_range_are_named():
    with pytest.raises(OptionError, match=r"coarse_km_s = 100 is outside its allowed range \[350"):
        SimulationOptions(coarse_km_s=100)
    with pytest.raises(OptionError, match="atomic has no option 'override'"):
        SimulationOptions(atomic={"override": False})
