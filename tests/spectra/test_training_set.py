"""Training models: what is kept of each, what is refused, and that the company does not matter."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, OptionError, SimulatorError
from skytrace.spectra.simulate import SimulatedSpectra
from skytrace.spectra.training_options import TrainingSetOptions
from skytrace.spectra.training_set import (
    PROFILE_AT,
    assemble_training_set,
    model_seed,
    simulate_models,
    training_set_from_arrays,
    training_set_to_arrays,
    training_wavelengths,
)

OPTIONS = TrainingSetOptions(bins=60, max_quarantined=0.7)
FINE = np.geomspace(1500.0, 15_000.0, 4000)


def spectra(luminosity, wavelength=FINE, *, converged=True):
    one = np.ones(1)
    return SimulatedSpectra(
        wavelength_angstrom=wavelength, luminosity=luminosity[None], t_rad_k=np.linspace(11.0, 7.0, 9)[None] * 1e3,
        w=np.linspace(0.5, 0.1, 9)[None], electron_density_cm3=np.ones((1, 9)),
        velocity_edges_km_s=np.linspace(1e4, 3e4, 10)[None], t_inner_k=12e3 * one, escaped=0.3 * one,
        luminosity_change=0.01 * one, t_rad_change=0.02 * one, converged=np.array([converged]),
    )  # fmt: skip


def model(row, seed):
    """A spectrum that falls as a power law, and each kind of failure, by the parameter ``kind``."""
    kind, slope = int(row["kind"].iloc[0]), float(row["slope"].iloc[0])
    luminosity = 1e40 * (FINE / 5000.0) ** slope
    if kind == 1:
        raise OptionError("mass fractions of the core")
    if kind == 2:
        return spectra(np.where(FINE > 9000.0, np.nan, luminosity))
    if kind == 3:
        return spectra(np.where(FINE > 9000.0, -luminosity, luminosity))
    if kind == 4:
        return spectra(luminosity[1000:3000], FINE[1000:3000])
    if kind == 5:
        return spectra(luminosity, converged=False)
    if kind == 6:
        return spectra(0.0 * luminosity)
    if kind == 7:
        raise ZeroDivisionError("float division by zero")
    return spectra(luminosity)


def table(kinds):
    n = len(kinds)
    return pd.DataFrame({"model_id": np.arange(n), "kind": kinds, "slope": -np.arange(1.0, n + 1.0)})


def simulate(parameters, **changes):
    return simulate_models(parameters, simulate=model, seed=7, options=dataclasses.replace(OPTIONS, **changes))


def test_bins_hold_the_mean_of_the_fine_spectrum_over_them():
    out = simulate(table([0, 0, 0]))
    grid = training_wavelengths(OPTIONS)
    np.testing.assert_allclose(np.diff(np.log(grid)), np.log(10_500.0 / 2500.0) / 59, rtol=1e-12)
    middle = 0.5 * (grid[1:] + grid[:-1])
    edges = np.concatenate([[2 * grid[0] - middle[0]], middle, [2 * grid[-1] - middle[-1]]])
    for row, slope in enumerate((-1.0, -2.0, -3.0)):
        area = np.log(edges) if slope == -1.0 else edges ** (slope + 1.0) / (slope + 1.0)
        exact = 1e40 / 1e38 * 5000.0**-slope * np.diff(area) / np.diff(edges)
        np.testing.assert_allclose(out["luminosity_1e38"][row], exact, rtol=1e-5)


def test_a_model_carries_its_identity_and_its_state():
    out = simulate(table([0, 5, 0]))
    np.testing.assert_array_equal(out["seed"], [model_seed(7, number) for number in range(3)])
    np.testing.assert_array_equal(out["parameters"], [[0, -1], [5, -2], [0, -3]])
    np.testing.assert_array_equal(out["parameter_names"], ["kind", "slope"])
    np.testing.assert_array_equal(out["converged"], [True, False, True])
    np.testing.assert_allclose(out["t_rad_k"][0], 11e3 - 4e3 * np.array(PROFILE_AT))
    np.testing.assert_allclose(out["w"][0], 0.5 - 0.4 * np.array(PROFILE_AT), rtol=1e-6)
    assert list(out["reason"]) == ["", "", ""]


def test_seeds_are_of_set_and_model_and_below_2_to_the_31():
    seeds = [[model_seed(seed, number) for number in range(300)] for seed in (1, 2)]
    assert len(np.unique(seeds)) == 600
    assert np.max(seeds) < 2**31


def test_failed_models_are_in_quarantine_with_their_reason_and_not_among_the_training_models():
    training = assemble_training_set([simulate(table([0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0]))], options=OPTIONS)
    np.testing.assert_array_equal(training.model_id, [0, 8, 9, 10])
    assert np.isfinite(training.luminosity_1e38).all()
    assert training.converged.all()
    quarantine = training.quarantine.set_index("model_id")
    for number, words in {
        1: "OptionError: mass fractions of the core",
        2: "luminosities are not finite",
        3: "luminosities are negative",
        4: "does not cover 2469",
        5: "not converged: luminosity changed by 0.010, T_rad by 0.020",
        6: "is dark",
        7: "ZeroDivisionError: float division by zero",
    }.items():
        assert words in quarantine.loc[number, "reason"]
        assert quarantine.loc[number, "slope"] == -number - 1.0


def test_unconverged_models_stay_with_their_flag_where_that_is_asked_for():
    parts = [simulate(table([0, 5]))]
    training = assemble_training_set(parts, options=dataclasses.replace(OPTIONS, quarantine_unconverged=False))
    np.testing.assert_array_equal(training.converged, [True, False])
    assert training.quarantine.empty


def test_parts_in_any_order_and_of_any_size_make_the_same_set():
    whole = table([0, 1, 0, 5, 0, 0])
    once = assemble_training_set([simulate(whole)], options=OPTIONS)
    parts = [simulate(whole.iloc[rows]) for rows in ([4, 5], [1], [2, 0, 3])]
    again = assemble_training_set(parts, options=OPTIONS)
    for name, values in training_set_to_arrays(once).items():
        np.testing.assert_array_equal(values, getattr(again, name))
    pd.testing.assert_frame_equal(once.quarantine, again.quarantine)


def test_too_many_failures_stop_the_training_with_their_reasons():
    with pytest.raises(SimulatorError, match=r"3 of 4 models are in quarantine, .* 2 ZeroDivisionError, 1 OptionError"):
        assemble_training_set([simulate(table([7, 7, 1, 0]))], options=OPTIONS)


def test_errors_of_the_program_itself_are_no_reason():
    def broken(row, seed):
        raise TypeError("a mistake")

    with pytest.raises(TypeError, match="a mistake"):
        simulate_models(table([0]), simulate=broken, seed=7, options=OPTIONS)
    with pytest.raises(CatalogueError, match="lack model_id"):
        simulate(table([0]).drop(columns="model_id"))


def test_parts_that_do_not_belong_together_are_refused():
    first = simulate(table([0, 0]))
    with pytest.raises(CatalogueError, match="2 model_id occur more than once, the first is 0"):
        assemble_training_set([first, first], options=OPTIONS)
    with pytest.raises(CatalogueError, match="different wavelength_angstrom"):
        assemble_training_set([first, simulate(table([0]), bins=61)], options=OPTIONS)


def test_arrays_of_a_file_give_the_set_back():
    training = assemble_training_set([simulate(table([0, 1, 0]))], options=OPTIONS)
    arrays = training_set_to_arrays(training)
    again = training_set_from_arrays(arrays, training.quarantine)
    np.testing.assert_array_equal(again.luminosity_1e38, training.luminosity_1e38)
    with pytest.raises(CatalogueError, match="lack w; there are"):
        training_set_from_arrays({name: array for name, array in arrays.items() if name != "w"}, training.quarantine)
