"""Spectra on one grid: dust, redshift, flux conservation, errors, smoothing, and the transform that emulators learn."""

import numpy as np
import pytest
from scipy.signal import savgol_filter

from skytrace.errors import CatalogueError, OptionError
from skytrace.spectra.extinction import ExtinctionOptions, deredden, extinction_mag, to_rest_frame
from skytrace.spectra.noise import local_scatter
from skytrace.spectra.observed import ObservedSpectrum
from skytrace.spectra.preprocessing import ObservationOptions, TransformOptions, fit_transform, prepare_observed
from skytrace.spectra.resampling import bin_edges, resample, resampling_covariance
from skytrace.spectra.smoothing import SmoothingOptions, smooth, smoothing_matrix
from skytrace.spectra.wavelengths import air_to_vacuum, vacuum_to_air

RNG = np.random.default_rng(11)
IRREGULAR = np.sort(RNG.uniform(3000.0, 9000.0, 1500))
FLUX = 1.0 + 0.5 * np.sin(IRREGULAR / 200.0) + RNG.uniform(0, 0.3, (3, IRREGULAR.size))


def test_air_and_vacuum_wavelengths_are_those_of_the_tables_and_go_round():
    # NIST: H alpha 6562.79 A in air, 6564.61 in vacuum; Ca II K 3933.66, 3934.77; Ca II 8542.09, 8544.44
    np.testing.assert_allclose(air_to_vacuum([6562.79, 3933.66, 8542.09]), [6564.60, 3934.77, 8544.44], atol=0.015)
    grid = np.linspace(2001.0, 25_000.0, 500)
    np.testing.assert_allclose(vacuum_to_air(air_to_vacuum(grid)), grid, atol=2e-9)
    np.testing.assert_array_equal(air_to_vacuum([1200.0, 1999.0]), [1200.0, 1999.0])


def test_extinction_is_that_of_the_papers():
    # CCM89's own equations at 1/lambda = 1.82/um are a = 1, b = 0: A_V by definition; the peak of 2175 A by its table
    v = 1e4 / 1.82
    assert extinction_mag([v], 1.0, options=ExtinctionOptions("CCM89"))[0] == pytest.approx(3.1, abs=1e-3)
    assert extinction_mag([v], 1.0, options=ExtinctionOptions("CCM89", 5.0))[0] == pytest.approx(5.0, abs=2e-3)
    # Fitzpatrick (1999), table 3, R_V = 3.1: A/E(B-V) = 2.688 at 6000, 3.806 at 4670, 4.315 at 4110, 6.265 at 2700 A
    f99 = extinction_mag([6000.0, 4670.0, 4110.0, 2700.0], [1.0, 0.5])
    np.testing.assert_allclose(f99[0], [2.688, 3.806, 4.315, 6.265], rtol=0.01)
    np.testing.assert_allclose(f99[1], 0.5 * f99[0])


def test_dereddening_undoes_reddening_with_its_error_and_stays_within_its_law():
    ebv = np.array([0.1, 0.0, 1.0])
    dimmed = FLUX * 10 ** (-0.4 * extinction_mag(IRREGULAR, ebv))
    flux, error = deredden(IRREGULAR, dimmed, 0.1 * dimmed, ebv)
    np.testing.assert_allclose(flux, FLUX, rtol=1e-13)
    np.testing.assert_allclose(error, 0.1 * FLUX, rtol=1e-13)
    with pytest.raises(OptionError, match=r"outside the range of F99, \[1000, 33333"):
        extinction_mag([900.0, 5000.0], 0.1)
    with pytest.raises(OptionError, match="ebv_mag"):
        extinction_mag([5000.0], [-0.1])


def test_the_rest_frame_keeps_the_integral_of_the_flux():
    wavelength, flux, error = to_rest_frame(IRREGULAR, FLUX, 0.1 * FLUX, [0.0, 0.5, 2.0])
    for i in range(3):
        assert np.trapezoid(flux[i], wavelength[i]) == pytest.approx(np.trapezoid(FLUX[i], IRREGULAR), rel=1e-13)
    np.testing.assert_allclose(wavelength[2], IRREGULAR / 3.0)
    np.testing.assert_allclose(error[1], 0.15 * FLUX[1])


@pytest.mark.parametrize("n_bins", [37, 700, 4000])
def test_resampling_conserves_flux(n_bins):
    edges = bin_edges(IRREGULAR)
    inner = np.sort(np.random.default_rng(n_bins).uniform(edges[0] + 50, edges[-1] - 50, n_bins))
    new = resample(IRREGULAR, FLUX, None, inner, min_covered=1.0)
    new_edges = bin_edges(inner)
    cumulative = np.concatenate([np.zeros((3, 1)), np.cumsum(FLUX * np.diff(edges), axis=1)], axis=1)
    asked = [np.diff(np.interp(new_edges[[0, -1]], edges, row))[0] for row in cumulative]
    np.testing.assert_allclose(new.flux @ np.diff(new_edges), asked, rtol=1e-12)
    assert not new.mask.any()


def test_resampling_agrees_with_specutils_in_flux_and_variance():
    import astropy.units as u
    from astropy.nddata import StdDevUncertainty
    from specutils import Spectrum
    from specutils.manipulation import FluxConservingResampler

    sigma, grid = 0.1 * FLUX[0], np.arange(3200.0, 8800.0, 13.0)
    spectrum = Spectrum(
        spectral_axis=IRREGULAR * u.AA, flux=FLUX[0] * u.Jy, uncertainty=StdDevUncertainty(sigma)
    )  # fmt: skip
    theirs = FluxConservingResampler()(spectrum, grid * u.AA)
    ours = resample(IRREGULAR, FLUX[0], sigma, grid)
    np.testing.assert_allclose(ours.flux[0], theirs.flux.value, rtol=1e-11)
    np.testing.assert_allclose(ours.error[0], theirs.uncertainty.array**-0.5, rtol=1e-11)


def test_errors_of_resampled_flux_are_those_of_many_noisy_spectra():
    grid, sigma = np.arange(3500.0, 4000.0, 3.0), 0.1 * FLUX[0]
    hidden = (IRREGULAR > 3700) & (IRREGULAR < 3720)
    draws = FLUX[0] + sigma * np.random.default_rng(3).normal(size=(20_000, sigma.size))
    many = resample(IRREGULAR, draws, None, grid, mask=hidden)
    one = resample(IRREGULAR, FLUX[0], sigma, grid, mask=hidden)
    good = ~one.mask[0]
    assert 0 < (~good).sum() < 12
    np.testing.assert_allclose(many.flux.std(axis=0)[good], one.error[0][good], rtol=0.03)
    covariance = resampling_covariance(IRREGULAR, sigma, grid, mask=hidden).toarray()[np.ix_(good, good)]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), one.error[0][good], rtol=1e-12)
    scale = np.outer(one.error[0][good], one.error[0][good])
    np.testing.assert_allclose(np.cov(many.flux[:, good].T) / scale, covariance / scale, atol=0.04)
    assert (np.diag(covariance, 1) / np.diag(scale, 1)).max() > 0.5  # bins of 3 A share pixels of 4 A


def test_smoothing_is_scipys_on_a_regular_grid_and_exact_for_its_polynomial_on_any():
    grid = np.arange(3600.0, 5000.0, 5.0)
    noisy = np.random.default_rng(0).normal(size=grid.size)
    ours = smoothing_matrix(grid, 50.0, order=3) @ noisy
    np.testing.assert_allclose(ours, savgol_filter(noisy, 11, 3, mode="interp"), atol=1e-12)
    x = (IRREGULAR - 6000.0) / 3000.0
    cubic = 1.0 - 2.0 * x + 0.5 * x**2 + 3.0 * x**3
    hidden = np.random.default_rng(2).uniform(size=x.size) < 0.2
    window = SmoothingOptions().window_angstrom(IRREGULAR)
    assert set(window) == {155.0, 55.0, 105.0}
    smoothed = smoothing_matrix(IRREGULAR, window, order=3, mask=hidden) @ np.where(hidden, 0.0, cubic)
    np.testing.assert_allclose(smoothed[~hidden], cubic[~hidden], atol=1e-10)


def test_only_noisy_spectra_are_smoothed_and_their_errors_are_those_of_many():
    grid = np.arange(3000.0, 4200.0, 5.0)
    clean = 1.0 + 0.2 * np.sin(grid / 300.0)
    flux = clean + 0.1 * np.random.default_rng(4).normal(size=(5000, grid.size))
    flux[0] = clean
    error = np.full(flux.shape, 0.1)
    error[0] = 0.01
    values, sigma, noisy = smooth(grid, flux, error)
    assert not noisy[0]
    assert noisy[1:].all()
    np.testing.assert_array_equal(values[0], clean)
    np.testing.assert_allclose(values[1:].std(axis=0), sigma[1], rtol=0.06)
    assert np.abs(values[1:].mean(axis=0) - clean).max() < 0.005
    # in the middle of a window of 2 k + 1 pixels a cubic has variance 3 (3 k^2 + 3 k - 1) / ((2k - 1)(2k + 1)(2k + 3))
    k = 15
    expected = 0.1 * np.sqrt(3 * (3 * k**2 + 3 * k - 1) / ((2 * k - 1) * (2 * k + 1) * (2 * k + 3)))
    assert sigma[1][40] == pytest.approx(expected, rel=1e-9)


def test_the_local_scatter_follows_noise_that_changes_along_the_spectrum():
    x = np.arange(4000)
    sigma = np.where(x < 2000, 0.02, 0.1)
    noisy = 1.0 + 0.3 * np.sin(x / 40.0) + sigma * np.random.default_rng(8).normal(size=(20, x.size))
    estimate = local_scatter(noisy)
    assert np.median(estimate[:, 100:1900]) == pytest.approx(0.02, rel=0.03)
    assert np.median(estimate[:, 2100:3900]) == pytest.approx(0.1, rel=0.03)


def training_spectra(n=200, rank=8):
    grid = np.arange(3500.0, 9000.0, 20.0)
    rng = np.random.default_rng(21)
    shapes = np.array([np.sin(grid / 150.0 / (i + 1) + i) for i in range(rank)])
    continuum = np.exp(-grid / 4000.0)
    return grid, 1e40 * continuum * np.exp(rng.normal(size=(n, rank)) * 0.3 / (1 + np.arange(rank)) ** 2 @ shapes)


def test_what_the_inverse_of_the_transform_loses_is_the_variance_that_was_not_retained():
    grid, flux = training_spectra()
    transform = fit_transform(grid, flux)
    assert 0.999 <= transform.retained < 1.0
    np.testing.assert_allclose(
        transform.components @ transform.components.T, np.eye(len(transform.components)), atol=1e-12
    )
    scores, level = transform.forward(flux)
    stretched, _ = transform.stretch(flux)
    back, _ = transform.stretch(transform.inverse(scores, level))
    kept = scores @ transform.components + transform.mean
    lost = ((stretched - kept) ** 2).sum() / ((stretched - stretched.mean(axis=0)) ** 2).sum()
    assert lost == pytest.approx(1.0 - transform.retained, rel=1e-8)
    assert (transform.truncation**2).sum() * len(flux) == pytest.approx(((stretched - kept) ** 2).sum(), rel=1e-10)
    assert np.abs(back - kept).max() < 0.05
    without = fit_transform(grid, flux, options=TransformOptions(variance=0.9))
    assert len(without.components) < len(transform.components)


def test_stretch_is_inverted_exactly_and_normalises_the_mean_flux():
    grid, flux = training_spectra()
    transform = fit_transform(grid, flux)
    stretched, level = transform.stretch(flux)
    np.testing.assert_allclose(transform.unstretch(stretched, level), flux, rtol=1e-12)
    scaled, higher = transform.stretch(100.0 * flux)
    np.testing.assert_allclose(scaled, stretched, atol=1e-12)
    np.testing.assert_allclose(higher - level, 2.0, atol=1e-12)
    assert np.sinh(transform.stretch(np.ones(grid.size))[0][0, 0]) * 0.05 == pytest.approx(1.0, rel=1e-12)
    with pytest.raises(CatalogueError, match="no positive mean flux in 4000-7000 A"):
        transform.stretch(-flux)
    with pytest.raises(OptionError, match="normalise_angstrom"):
        fit_transform(grid, flux, options=TransformOptions(normalise_angstrom=(3000.0, 7000.0)))


def observed(**changes):
    grid = np.arange(3500.0, 8500.0, 2.0)
    flux = 1e-15 * (1.0 + 0.2 * np.sin(grid / 100.0))
    known = {"name": "SN X", "frame": "observed", "dereddened": False, "redshift": 0.05, "mwebv_mag": 0.1}
    mask = (grid > 6000) & (grid < 6100)
    return ObservedSpectrum(grid, np.where(mask, np.nan, flux), 0.01 * flux, mask, **{**known, **changes})


def test_an_observed_spectrum_is_dereddened_and_brought_to_rest_on_the_grid_once():
    grid = np.arange(3600.0, 7900.0, 20.0)
    spectrum = observed()
    prepared = prepare_observed(spectrum, grid)
    clean = 1e-15 * (1.0 + 0.2 * np.sin(1.05 * grid / 100.0)) * 1.05
    expected = clean * 10 ** (0.4 * extinction_mag(1.05 * grid, 0.1))
    good = ~prepared.mask
    np.testing.assert_allclose(prepared.flux[good], expected[good], rtol=2e-3)
    np.testing.assert_array_equal(grid[~good], np.arange(5720.0, 5801.0, 20.0))
    again = prepare_observed(prepared, grid)
    np.testing.assert_allclose(again.flux[good], prepared.flux[good], rtol=1e-12)
    assert again.handling[-1] == "resampled to 215 bins, of which 5 are masked"
    assert [words.split()[0] for words in prepared.handling] == ["dereddened", "brought", "resampled"]


def test_errors_of_a_noisy_spectrum_are_its_scatter_however_its_bins_are_merged():
    """S/N 10 a pixel, bins of 842 km/s, means over four of them, as a likelihood takes them: scatter over stated error.

    A spectrum that is smoothed first, for the eye, has neighbours that err alike: 1.5 times the stated error and more.
    """
    grid = np.arange(4000.0, 8000.0, 5.0)
    bins = 4200.0 * np.exp(np.arange(200) * 842.0 / 299_792.458)
    rng, runs = np.random.default_rng(3), 300

    def scatter(options):
        found = []
        for _ in range(runs):
            flux = 1e-15 * (1.0 + 0.1 * rng.normal(size=grid.size))
            spectrum = ObservedSpectrum(
                grid, flux, np.full(grid.size, 1e-16), np.zeros(grid.size, bool), name="SN X", frame="rest",
                dereddened=True,
            )  # fmt: skip
            seen = prepare_observed(spectrum, bins, options=options)
            found.append((seen.flux, seen.error))
        flux, error = np.array(found).transpose(1, 0, 2)[..., 8:-8].reshape(2, runs, -1, 4)
        return float(np.median(flux.mean(axis=2).std(axis=0) / np.sqrt((error**2).sum(axis=2)).mean(axis=0) * 4.0))

    assert scatter(None) == pytest.approx(1.0, abs=0.08)
    assert scatter(ObservationOptions(smoothing=SmoothingOptions())) > 1.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mwebv_mag": None}, "needs mwebv_mag"),
        ({"redshift": None}, "needs a redshift"),
        ({"frame": "rest"}, "at rest;"),
    ],
)
def test_what_is_needed_and_not_known_is_named(changes, words):
    with pytest.raises(CatalogueError, match=words):
        prepare_observed(observed(**changes), np.arange(4000.0, 7000.0, 20.0))
