"""Lenses imaged from space, as the survey would show them: what is known of an image survives the way down."""

import numpy as np
import pandas as pd
import pytest

from skytrace.errors import CatalogueError, PixelError
from skytrace.imaging.psf import half_maximum_fwhm_arcsec
from skytrace.selection.realism.outside_comparison import COMPARED, compare_outside
from skytrace.selection.realism.outside_lenses import (
    OutsideLensOptions,
    SpaceImage,
    as_seen_by_survey,
    light_centre_and_shape,
    measure_outside,
)

SCALE = 0.08
SIZE = 160


def gaussian(fwhm_arcsec, *, size=SIZE, centre=None, q=1.0, phi=0.0):
    """Unit flux; q, phi: shape of equal-area ellipses."""
    row, column = centre or ((size - 1) / 2, (size - 1) / 2)
    y, x = np.indices((size, size), dtype=float)
    u, v = np.cos(phi) * (x - column) + np.sin(phi) * (y - row), -np.sin(phi) * (x - column) + np.cos(phi) * (y - row)
    sigma = fwhm_arcsec / 2.3548 / SCALE
    light = np.exp(-0.5 * (q * u**2 + v**2 / q) / sigma**2)
    return light / light.sum()


def arcs(radius_arcsec, places_rad, half_angle_rad, *, flux=400.0):
    """Arcs of a Gaussian profile (0.1") about the middle of the image [electrons/s]."""
    y, x = np.indices((SIZE, SIZE)) - SIZE // 2
    radius, angle = np.hypot(x, y) * SCALE, np.arctan2(y, x)
    apart = np.abs(np.angle(np.exp(1j * (angle[None] - np.asarray(places_rad)[:, None, None]))))
    light = np.exp(-0.5 * ((radius - radius_arcsec) / 0.1) ** 2) * (apart <= half_angle_rad).any(axis=0)
    return flux * light / light.sum()


def test_a_point_from_space_arrives_with_its_flux_at_its_place_and_as_wide_as_the_cells_psf():
    own, target = 0.14, np.array([0.73, 1.46])
    image = gaussian(own, centre=(70.3, 88.6))
    stamps, covered = as_seen_by_survey(
        image, pixel_scale_arcsec=SCALE, own_fwhm_arcsec=own, target_fwhm_arcsec=target, centre=(70.3, 88.6), pixels=41
    )
    assert covered.all()
    assert stamps[0].sum() == pytest.approx(1.0, abs=4e-3) and stamps[1].sum() == pytest.approx(1.0, abs=1.2e-2)
    assert half_maximum_fwhm_arcsec(stamps) == pytest.approx(target, rel=0.01)
    y, x = np.indices((41, 41))
    assert (stamps * x).sum(axis=(1, 2)) / stamps.sum(axis=(1, 2)) == pytest.approx(20.0, abs=0.02)
    assert (stamps * y).sum(axis=(1, 2)) / stamps.sum(axis=(1, 2)) == pytest.approx(20.0, abs=0.02)


def test_surface_brightness_of_an_even_sky_is_kept_and_the_images_end_is_known():
    even = np.full((SIZE, SIZE), 2.0)
    stamps, covered = as_seen_by_survey(
        even, pixel_scale_arcsec=SCALE, own_fwhm_arcsec=0.14, target_fwhm_arcsec=[1.2], centre=(80.0, 80.0), pixels=64
    )
    assert stamps[0][covered] == pytest.approx(2.0 * (0.262 / SCALE) ** 2, rel=1e-6)
    assert 0.5 < covered.sum() * (0.262 / (SIZE * SCALE)) ** 2 <= 1.0 and not covered[0].any()
    with pytest.raises(PixelError, match="never sharpened"):
        as_seen_by_survey(
            even, pixel_scale_arcsec=SCALE, own_fwhm_arcsec=0.9, target_fwhm_arcsec=[0.8], centre=(80, 80)
        )


@pytest.mark.parametrize(("q", "phi"), [(1.0, 0.0), (0.7, 0.5), (0.6, 2.2)])
def test_centre_and_shape_of_the_deflector_are_found_beside_its_arc(q, phi):
    light = 500.0 * gaussian(1.0, centre=(82.4, 76.8), q=q, phi=phi) + arcs(2.2, [0.4], 0.5, flux=60.0)
    row, column, found_q, found_phi = light_centre_and_shape(light, pixel_scale_arcsec=SCALE, within_arcsec=1.3)
    assert (row, column) == (pytest.approx(82.4, abs=0.1), pytest.approx(76.8, abs=0.1))
    assert found_q == pytest.approx(q, abs=0.03)
    if q < 1.0:
        assert np.abs(np.angle(np.exp(2j * (found_phi - phi)))) < 0.06


@pytest.fixture(scope="module")
def measured():
    """Arcs of known radius and places in good sky: one-sided, an even pair, and one outside theta_E."""
    psf, host = gaussian(0.13, size=61), 300.0 * gaussian(0.6, centre=(80.0, 80.0))
    lenses = [
        SpaceImage("one side", host + arcs(1.8, [0.7], np.pi / 4), psf, SCALE, 1.8),
        SpaceImage("pair", host + arcs(1.8, [0.7, 0.7 + np.pi], np.pi / 7), psf, SCALE, 1.8),
        SpaceImage("outside", host + arcs(2.1, [0.7], np.pi / 4), psf, SCALE, 1.8),
        SpaceImage("no model", host, psf, SCALE, np.nan),
    ]
    sky = pd.DataFrame({"psf_fwhm": [0.9], "depth": [25.5]})
    return measure_outside(lenses, sky, options=OutsideLensOptions(pixels=48))[0].set_index("name")


def test_radius_of_a_known_arc_is_recovered(measured):
    assert measured.loc["one side", "arc_radius_ratio"] == pytest.approx(1.0, abs=0.03)
    assert measured.loc["pair", "arc_radius_ratio"] == pytest.approx(1.0, abs=0.03)
    assert measured.loc["outside", "arc_radius_ratio"] == pytest.approx(2.1 / 1.8, abs=0.04)


def test_asymmetry_of_a_known_arc_is_recovered(measured):
    """An even arc of half angle a has |sum S exp(i phi)| / sum S = sin(a)/a, less by blur; an even pair has 0."""
    one_sided = np.sin(np.pi / 4) / (np.pi / 4)
    assert one_sided - 0.15 < measured.loc["one side", "arc_asymmetry"] < one_sided + 0.02
    assert measured.loc["pair", "arc_asymmetry"] < 0.06


def test_flux_of_a_known_arc_is_that_of_the_zero_point_and_the_assumed_colour(measured):
    """The host model takes its share of an arc, the more the wider it is (see ArcOptions)."""
    expected = 400.0 * 10 ** (0.4 * (22.5 - 26.45 - 0.8))
    for name, least in (("one side", 0.75), ("pair", 0.6)):
        assert least * expected < measured.loc[name, "arc_flux_r"] < 1.02 * expected


def test_a_lens_without_a_model_is_left_out(measured):
    assert "no model" not in measured.index and (measured["own_fwhm_arcsec"] - 0.13).abs().max() < 0.004


def drawn(n_lenses, *, shift=0.0, seed=1):
    """Lenses and injections of one generator in six cells; shift is added to the lenses' asymmetry."""
    rng = np.random.default_rng(seed)

    def table(n, names):
        frame = pd.DataFrame(
            {"name": names, "theta_e": rng.choice([1.0, 1.25, 1.5], n), "arc_snr": 10 ** rng.uniform(0.8, 1.4, n)}
        )
        frame["arc_radius_ratio"], frame["arc_asymmetry"] = rng.normal(1.0, 0.1, n), rng.uniform(0.0, 0.8, n)
        return frame

    sky = pd.MultiIndex.from_product([(0.9, 1.2, 1.5), (23.5, 24.5)], names=["psf_fwhm", "depth"]).to_frame(index=False)
    outside = sky.merge(table(n_lenses, [f"lens {k}" for k in range(n_lenses)]), how="cross")
    outside["arc_asymmetry"] += shift
    return outside, pd.concat([table(150, "injection").assign(psf_fwhm=p, depth=d) for p, d in sky.to_numpy()])


def test_lenses_drawn_as_injections_are_consistent_and_one_sided_ones_are_not():
    report, ranked = compare_outside(*drawn(12))
    assert report["verdict"] == "consistent" and report["lenses_compared"] == 12 and len(report["cells"]) == 6
    assert report["arc_snr_over_injections_at_assumed_colour"] == pytest.approx(1.0, abs=0.3)
    assert ranked["arc_asymmetry_rank"].between(0.0, 1.0).all()
    changed, _ = compare_outside(*drawn(12, shift=0.35))
    assert changed["verdict"] == "different" and changed["shapes"]["arc_asymmetry"]["mean_rank"] > 0.75
    assert compare_outside(*drawn(5))[0]["verdict"] == "insufficient"


def test_interval_of_the_mean_rank_holds_one_half_as_often_as_it_says():
    """95 % of a bootstrap over 12 lenses is known to cover some per cent less; the two shapes together, less again."""
    holds = []
    for seed in range(12):
        report, _ = compare_outside(*drawn(12, seed=100 + seed), options=OutsideLensOptions(n_bootstrap=400))
        holds += [shape["low_95"] <= 0.5 <= shape["high_95"] for shape in report["shapes"].values()]
    assert 0.75 <= np.mean(holds) <= 1.0


def test_tables_without_the_shapes_are_refused():
    outside, injections = drawn(3)
    with pytest.raises(CatalogueError, match="arc_asymmetry"):
        compare_outside(outside, injections.drop(columns="arc_asymmetry"))


@pytest.mark.parametrize(("folder", "words"), [(None, "folder is null"), ("imaging/nowhere", "imaging/nowhere")])
def test_without_images_every_output_says_why_it_is_empty(monkeypatch, tmp_path, folder, words):
    from skytrace.pipelines.injection_recovery.outside import check_outside_lenses

    monkeypatch.setenv("SKYTRACE_DATA", str(tmp_path))
    unused = [None] * 9
    report, ranked, figure = check_outside_lenses(*unused, OutsideLensOptions(folder=folder))
    assert (report["status"], report["verdict"]) == ("absent", "not checked")
    assert words in report["reason"]
    assert len(ranked) == 0 and set(COMPARED) <= set(ranked.columns)
    shown = " ".join(text.get_text().replace("\n", " ") for axis in figure.axes for text in axis.texts)
    assert words in shown
