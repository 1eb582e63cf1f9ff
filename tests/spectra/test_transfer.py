"""The march in comoving wavelength: limits with known answers, what it conserves, and how it converges."""

import numpy as np
import pytest

from skytrace.spectra.plasma import LineOpacity
from skytrace.spectra.transfer import bin_edges_angstrom, carry_light, draw_rays, planck_luminosity
from skytrace.spectra.wavelengths import SPEED_OF_LIGHT_KM_S

TIME_S = 15.0 * 86_400.0
EDGES = np.linspace(10_000.0, 30_000.0, 31)


def opacity(n_zones, cell, wavelength=(), depth=()):
    """Lines (l,) with depths (l, z) in the bins of ``cell`` km/s."""
    edges = bin_edges_angstrom(cell)
    out = LineOpacity(*(np.zeros((len(edges) - 1, n_zones), dtype=np.float32) for _ in range(2)))
    for line, one in zip(wavelength, depth, strict=True):
        where = int(np.searchsorted(edges, line) - 1)
        out.depth[where] += one
        out.crowd[where] += 1.0 - np.exp(-np.asarray(one))
    return out


def forest(n_lines, seed=7):
    """Wavelengths (l,) of a blanketed ultraviolet and an open red, and depths (l, z) that fall outwards."""
    rng = np.random.default_rng(seed)
    wavelength = np.sort(1200.0 + 8000.0 * rng.beta(1.0, 3.0, n_lines))
    strength = 10.0 ** rng.uniform(-2.0, 3.0, n_lines)
    return wavelength, strength[:, None] * (EDGES[1:] / EDGES[0]) ** -8.0


def carried(cell=250.0, lines=((), ()), electrons=0.0, t_inner=11_000.0, edges=EDGES, **options):
    rays = draw_rays(edges, cell_km_s=cell, core_rays=options.pop("core_rays", 10))
    return carry_light(
        rays, opacity(len(edges) - 1, cell, *lines), np.full(len(edges) - 1, electrons),
        t_inner_k=t_inner, time_s=TIME_S, **options,
    )  # fmt: skip


def binned(light, low=3500.0, high=9000.0, width=30.0):
    """Mean spectrum in bins of ``width`` A."""
    edges = np.arange(low, high + 1.0, width)
    x, y = light.wavelength_angstrom, light.spectrum_erg_s_angstrom
    total = np.concatenate([[0.0], np.cumsum(0.5 * (y[1:] + y[:-1]) * np.diff(x))])
    return np.diff(np.interp(edges, x, total)) / width


def test_without_matter_the_core_is_seen_as_a_black_body_that_moves():
    light = carried()
    core_cm, beta = EDGES[0] * 1e5 * TIME_S, EDGES[0] / SPEED_OF_LIGHT_KM_S
    where = (light.wavelength_angstrom > 1500.0) & (light.wavelength_angstrom < 15_000.0)
    seen = light.wavelength_angstrom[where]
    mu = np.sqrt((np.arange(200) + 0.5) / 200.0)
    shifted = seen[:, None] / (1.0 - beta * mu)
    expected = (planck_luminosity(shifted, 11_000.0, core_cm) / (1.0 - beta * mu) ** 2).mean(axis=1)
    np.testing.assert_allclose(light.spectrum_erg_s_angstrom[where], expected, rtol=0.02)
    assert light.escaped == pytest.approx(1.0, abs=1e-3)


def test_without_matter_the_field_dilutes_as_geometry_says():
    light = carried(cell=60.0, core_rays=40)
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    expected = 0.5 * (1.0 - np.sqrt(1.0 - (EDGES[0] / middle) ** 2))
    approach = 1.0 - 0.5 * (middle + np.sqrt(middle**2 - EDGES[0] ** 2)) / SPEED_OF_LIGHT_KM_S
    np.testing.assert_allclose(light.dilution[2:] * (light.t_rad_k[2:] / 11_000.0) ** 4, (expected * approach)[2:],
                               rtol=0.06)  # fmt: skip


@pytest.mark.parametrize("electrons", [0.0, 1e9])
def test_photons_are_neither_made_nor_lost(electrons):
    light = carried(lines=forest(8000), electrons=electrons)
    assert light.escaped + light.returned == pytest.approx(1.0, abs=2e-3)
    assert 0.05 < light.escaped < 0.7


def test_infinitely_thin_lines_change_nothing_and_thin_ones_in_proportion():
    wavelength, depth = forest(300)
    empty, faint, twice = (
        binned(carried(lines=(wavelength, size * np.minimum(depth, 1.0)))) for size in (0.0, 1e-3, 2e-3)
    )
    np.testing.assert_allclose(faint, empty, rtol=5e-3)
    np.testing.assert_allclose(twice - empty, 2.0 * (faint - empty), atol=1e-5 * empty.max())


def test_an_opaque_forest_takes_the_cores_temperature_beside_the_core():
    wavelength = np.sort(np.random.default_rng(3).uniform(1000.0, 25_000.0, 20_000))
    light = carried(lines=(wavelength, np.full((20_000, 30), 50.0)))
    assert light.escaped < 0.1
    assert light.t_rad_k[0] == pytest.approx(11_000.0, rel=0.08)  # a zone's mean: redshifted away from the core
    assert light.dilution[0] == pytest.approx(1.0, abs=0.12)


def test_a_single_line_has_the_profile_of_resonance_scattering():
    """Jeffery & Branch (1990): S = W I_core, formal integral over the plane of constant z; tau the same everywhere."""
    edges = np.linspace(1000.0, 2500.0, 61)
    line, depth, cell = 5000.0, 1.0, 20.0
    lines = ([line], [np.full(60, depth)])
    with_line, without = (carried(cell, one, edges=edges, core_rays=30) for one in (lines, ((), ())))
    velocity = SPEED_OF_LIGHT_KM_S * np.log(with_line.wavelength_angstrom / line)
    window = np.abs(velocity) < 3000.0
    measured = with_line.spectrum_erg_s_angstrom[window] / without.spectrum_erg_s_angstrom[window]
    expected = np.array([_profile(-v / 1000.0, depth, 2.5) for v in velocity[window]])
    smooth = np.ones(5) / 5.0
    measured, expected = (np.convolve(one, smooth, "valid") for one in (measured, expected))
    assert np.sqrt(np.mean((measured - expected) ** 2)) < 0.01
    assert np.abs(measured - expected).max() < 0.05
    assert expected.min() < 0.5  # there is a trough to be missed
    assert expected.max() > 1.1  # and a peak


def _profile(z, depth, outermost):
    """Flux over continuum where the resonance surface is at z core radii towards the observer."""
    p = (np.arange(4000) + 0.5) / 4000.0 * outermost
    radius = np.sqrt(p**2 + z * z)
    inside = (radius > 1.0) & (radius < outermost)
    dilution = 0.5 * (1.0 - np.sqrt(np.clip(1.0 - 1.0 / np.maximum(radius, 1.0) ** 2, 0.0, None)))
    seen = inside & ((z > 0.0) | (p > 1.0))
    core = np.where(p < 1.0, np.where(seen, np.exp(-depth), 1.0), 0.0)
    return np.sum(2.0 * p * (core + np.where(seen, dilution * -np.expm1(-depth), 0.0))) * outermost / 4000.0


def test_spectrum_and_field_converge_as_bins_become_finer():
    lines = forest(1500)
    finest = carried(62.5, lines, electrons=1e8)
    distance, warmth = [], []
    for cell in (500.0, 250.0, 125.0):
        light = carried(cell, lines, electrons=1e8)
        distance.append(np.sqrt(np.mean((binned(light) / binned(finest) - 1.0) ** 2)))
        warmth.append(np.abs(light.t_rad_k / finest.t_rad_k - 1.0).max())
    assert distance[0] > distance[1] > distance[2]
    assert distance[1] < 0.06
    assert warmth[1] < 0.05


@pytest.mark.parametrize(("merged", "jitter"), [(0.0, 1e-4), (0.6, 6e-3)])
def test_emergent_light_answers_smoothly_to_the_strength_of_its_lines(merged, jitter):
    """Central differences of two steps agree: nothing is drawn at random, so that spectra can be interpolated. What
    the merging of bins adds, as which bins go together is a choice, is half a per cent of the peak for 4 %.
    """
    wavelength, depth = forest(1500)
    spectrum = {
        step: binned(carried(lines=(wavelength, depth * np.exp(step)), electrons=1e8, merged_depth=merged))
        for step in (-0.04, -0.02, 0.02, 0.04)
    }
    wide, narrow = spectrum[0.04] - spectrum[-0.04], 2.0 * (spectrum[0.02] - spectrum[-0.02])
    assert np.abs(wide - narrow).max() < jitter * spectrum[0.02].max()
    if merged == 0.0:
        assert np.sqrt(np.mean((wide - narrow) ** 2)) < 0.02 * np.sqrt(np.mean(wide**2))
