"""The built-in supernova: what is taken out of its spectrum again leaves the simulator's luminosity."""

import numpy as np
import pytest

from skytrace.errors import OptionError
from skytrace.spectra import EJECTA_PARAMETERS, simulate_spectra
from skytrace.spectra.preprocessing import prepare_observed
from skytrace.spectra.resampling import resample
from skytrace.surveys.spectra.interface import SpectrumSource
from skytrace.surveys.spectra.mock import MockSpectrum
from skytrace.surveys.spectra.options import MockSpectrumOptions

TRUTH = {
    "log_L": 43.0, "v_inner": 10500.0, "log_rho_0": -13.0, "density_exp": -7.0, "T_e_ratio": 0.9, "v_core": 11500.0,
    "v_wall": 15000.0, "X_Fe_core": 0.2, "X_Si_wall": 0.4, "v_break": 14000.0, "density_exp_outer": -9.0,
    "t_exp": 18.0, "X_Fe_wall": 0.02, "X_Ni": 0.05, "X_Fe_outer": 0.01,
}  # fmt: skip
FAST = {"zones": 8, "coarse_iterations": 1, "fine_iterations": 1, "coarse_km_s": 1000.0, "fine_km_s": 1000.0}


def options(**changes):
    return MockSpectrumOptions.from_mapping(
        {"parameters": TRUTH, "redshift": 0.02, "mwebv_mag": 0.3, "simulation": FAST, **changes}
    )


def test_a_spectrum_at_rest_and_without_dust_has_the_luminosity_of_its_model():
    mock = MockSpectrum(options(signal_to_noise=1e6, calibration_error=0.0))
    assert isinstance(mock, SpectrumSource)
    grid = np.arange(2500.0, 9500.0, 40.0)
    seen = prepare_observed(mock.spectrum(), grid)
    model = simulate_spectra(mock.truth(), options=mock.options.simulation)
    expected = resample(model.wavelength_angstrom, model.luminosity, None, grid).flux[0]
    distance_cm = 1e6 * 3.0856775814913673e18 * 10 ** (0.2 * (29.04 - 25.0))
    np.testing.assert_allclose(4 * np.pi * distance_cm**2 * seen.flux, expected, rtol=0.02)
    assert np.median(4 * np.pi * distance_cm**2 * seen.flux / expected) == pytest.approx(1.0, abs=1e-3)


def test_noise_and_calibration_are_those_asked_for():
    clean = MockSpectrum(options(signal_to_noise=1e6, calibration_error=0.0)).spectrum().flux
    noisy = MockSpectrum(options(signal_to_noise=20.0, calibration_error=0.0)).spectrum()
    pull = (noisy.flux - clean) / noisy.error
    assert pull.std() == pytest.approx(1.0, abs=0.06) and abs(pull.mean()) < 0.1
    assert noisy.signal_to_noise == pytest.approx(20.0, rel=0.1)
    scales = [
        np.median(MockSpectrum(options(signal_to_noise=1e6, calibration_error=0.1, seed=seed)).spectrum().flux / clean)
        for seed in range(6)
    ]
    rng = [np.random.default_rng([seed, 81]).standard_normal() for seed in range(6)]
    np.testing.assert_allclose(scales, 1.0 + 0.1 * np.array(rng), rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": {**TRUTH, "v_iner": 1.0}}, "v_iner"),
        ({"parameters": {k: v for k, v in TRUTH.items() if k != "X_Ni"}}, "lack X_Ni"),
        ({"longest_angstrom": 30_000.0}, "longest_angstrom = 30000"),
        ({"signal_to_noise": 0.0}, "signal_to_noise = 0"),
        ({"snr": 3.0}, "snr"),
    ],
)
def test_options_that_make_no_sense_are_named(changes, message):
    with pytest.raises(OptionError, match=message):
        options(**changes)
    assert set(TRUTH) == set(EJECTA_PARAMETERS)
