"""Two routes and two populations with known truths: every verdict is reached, and for the right reason."""

import numpy as np
import pytest

from skytrace.audit.parity import (
    ParityOptions,
    central_magnitudes,
    compare_routes,
    parity_verdict,
    population_test,
    route_test,
)
from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.imaging.profiles import GaussianComponents, SersicComponents, render_profiles
from skytrace.imaging.psf import PIXEL_SCALE_ARCSEC, MoffatPsf

N = 40
SIGMA = 0.004
OPTIONS = ParityOptions(n_resamples=300)


def galaxies(n=N, *, seed=0, brighter=1.0, shift_px=(0.0, 0.0)):
    """Noiseless (n, 3, 101, 101): round exponentials, z magnitudes 17.5-20, seen through 1.3 arcsec."""
    rng = np.random.default_rng(seed)
    flux_z = brighter * 10.0 ** (0.4 * (22.5 - rng.uniform(17.5, 20.0, n)))
    none = np.zeros(0)
    sersic = SersicComponents(
        stamp=np.arange(n),
        flux_nmgy=flux_z[:, None] * [0.2, 0.6, 1.0],
        x_arcsec=np.full(n, shift_px[0] * PIXEL_SCALE_ARCSEC),
        y_arcsec=np.full(n, shift_px[1] * PIXEL_SCALE_ARCSEC),
        half_light_radius_arcsec=rng.uniform(0.6, 1.4, n),
        sersic_index=np.full(n, 1.0),
        q=np.full(n, 1.0),
        phi_rad=np.zeros(n),
    )
    nothing = GaussianComponents(np.zeros(0, dtype=np.int64), np.zeros((0, 3)), none, none, none)
    return render_profiles(sersic, nothing, MoffatPsf(np.full((n, 3), 1.3)))


def noise(n=N, *, seed):
    return np.random.default_rng(seed).normal(0.0, SIGMA, (n, 3, 101, 101)).astype(np.float32)


@pytest.fixture(scope="module")
def first():
    return galaxies() + noise(seed=1)


@pytest.fixture(scope="module")
def training():
    return central_magnitudes(galaxies(120, seed=5) + noise(120, seed=6))


def test_a_gain_a_correlation_and_a_shift_are_measured_as_planted():
    truth = galaxies(8)
    moved = 1.1 * galaxies(8, shift_px=(0.5, -0.3))
    table = compare_routes(truth, moved)
    np.testing.assert_allclose(table["mean_ratio"], 1.1, rtol=2e-3)
    np.testing.assert_allclose(table["shift_x_px"], 0.5, rtol=0.04)
    np.testing.assert_allclose(table["shift_y_px"], -0.3, rtol=0.04)
    noisy = truth + noise(8, seed=4)
    same = compare_routes(noisy, 1.1 * noisy + 3.0)
    np.testing.assert_allclose(same["central_ratio"], 1.1, rtol=1e-4)  # a constant is background
    np.testing.assert_allclose(same["correlation"], 1.0, atol=1e-6)
    np.testing.assert_allclose(same[["shift_x_px", "shift_y_px"]], 0.0, atol=1e-3)
    a, b = truth[0, 1].ravel().astype(float), moved[0, 1].ravel().astype(float)
    assert table.loc[1, "correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert table.loc[:3, ["object", "band"]].to_numpy().tolist() == [[0, "g"], [0, "r"], [0, "z"], [1, "g"]]


def test_pixels_without_data_in_either_route_do_not_count():
    truth = galaxies(3)
    second, weight = truth.copy(), np.ones_like(truth)
    second[:, :, :30] = 1e6
    weight[:, :, :30] = 0.0
    table = compare_routes(truth, second, second_invvar=weight)
    np.testing.assert_allclose(table[["mean_ratio", "correlation"]], 1.0, atol=1e-5)
    weight[:, :, 50, 50] = 0.0
    assert not compare_routes(truth, second, second_invvar=weight)["compared"].any()


def test_verdict_neither(first):
    # the same exposures resampled twice share most of their noise
    processing = route_test(compare_routes(first, first + 0.2 * noise(seed=2), options=OPTIONS), options=OPTIONS)
    anchors, galaxies_like_them = np.random.default_rng(3).normal(19.0, 0.6, (2, 1500, 3))
    verdict = parity_verdict(processing, population_test(anchors, galaxies_like_them + 0.02, options=OPTIONS))
    assert verdict["verdict"] == "neither" and verdict["undecided"] == []
    assert verdict["outside"] == {"processing": [], "population": []}


def test_verdict_processing_artifact_from_a_gain_in_one_route(first):
    processing = route_test(compare_routes(first, 1.1 * first, options=OPTIONS), options=OPTIONS)
    ratio = processing["measures"]["r"]["central_ratio"]
    assert ratio["value"] == pytest.approx(1.1, rel=1e-4) and ratio["bounds"] == [0.95, 1.05]
    magnitudes = central_magnitudes(first)
    verdict = parity_verdict(processing, population_test(magnitudes, magnitudes, options=ParityOptions(
        n_resamples=300, population_tolerance_mag=0.6
    )))  # fmt: skip
    assert verdict["verdict"] == "processing artifact"
    assert verdict["outside"]["processing"] == sorted(
        f"{band}.{name}" for band in "grz" for name in ("central_ratio", "mean_ratio")
    )


def test_a_half_pixel_shift_is_a_processing_artifact_and_not_a_gain():
    shifted = galaxies(shift_px=(0.5, 0.0)) + noise(seed=1)
    processing = route_test(compare_routes(galaxies() + noise(seed=1), shifted, options=OPTIONS), options=OPTIONS)
    assert processing["state"] == "outside"
    for band in "grz":
        states = {name: entry["state"] for name, entry in processing["measures"][band].items()}
        assert states["shift_x_px"] == "outside"
        assert states["shift_y_px"] == states["central_ratio"] == "inside"
    assert processing["measures"]["r"]["shift_x_px"]["value"] == pytest.approx(0.5, abs=0.03)


def test_verdict_population_shift_from_anchors_twice_as_bright(first, training):
    processing = route_test(compare_routes(first, first, options=OPTIONS), options=OPTIONS)
    anchors = central_magnitudes(galaxies(120, seed=5, brighter=2.0) + noise(120, seed=7))
    population = population_test(anchors, training, options=OPTIONS)
    verdict = parity_verdict(processing, population)
    assert (verdict["verdict"], verdict["outside"]["population"]) == ("population shift", ["g", "r", "z"])
    difference = population["measures"]["z"]
    assert difference["value"] == pytest.approx(-2.5 * np.log10(2.0), abs=0.01)
    assert difference["interval"][0] < difference["value"] < difference["interval"][1] < -0.2


def test_verdict_both(first, training):
    processing = route_test(compare_routes(first, 0.8 * first, options=OPTIONS), options=OPTIONS)
    anchors = central_magnitudes(galaxies(120, seed=5, brighter=2.0) + noise(120, seed=7))
    assert parity_verdict(processing, population_test(anchors, training, options=OPTIONS))["verdict"] == "both"


def test_too_few_objects_decide_nothing(first, training):
    processing = route_test(compare_routes(first, first, options=OPTIONS), options=OPTIONS)
    population = population_test(central_magnitudes(first[:6]), training, options=OPTIONS)
    verdict = parity_verdict(processing, population)
    assert (verdict["verdict"], verdict["undecided"]) == ("undecided", ["population"])
    # what one test establishes stands though the other cannot tell
    artifact = route_test(compare_routes(first, 1.1 * first, options=OPTIONS), options=OPTIONS)
    verdict = parity_verdict(artifact, population)
    assert (verdict["verdict"], verdict["undecided"]) == ("processing artifact", ["population"])


def test_faint_objects_are_not_compared_and_none_at_all_is_an_error():
    faint = 1e-4 * galaxies(5) + noise(5, seed=3)
    table = compare_routes(faint, faint)
    assert not table["compared"].any()
    with pytest.raises(CatalogueError, match="no object has a central S/N of 10"):
        route_test(table)


def test_bad_pixels_and_bounds_are_refused():
    images = np.zeros((2, 3, 101, 101), dtype=np.float32)
    with pytest.raises(PixelError, match="bands g, r, z"):
        compare_routes(images[:, :2], images[:, :2])
    with pytest.raises(PixelError, match="same positions"):
        compare_routes(images, images[:1])
    with pytest.raises(CatalogueError, match="band g has 1 anchors"):
        population_test(np.ones((1, 3)), np.ones((5, 3)))
    for bad in ({"ratio_tolerance": 0.0}, {"shift_max_px": -1.0}, {"level": 1.0}, {"correlation_min": 1.0}):
        with pytest.raises(OptionError, match=next(iter(bad))):
            ParityOptions(**bad)
