"""Gates see their own region and nothing else; a shuffled label is noise to all of them; masks cut exact pixels."""

import numpy as np
import pandas as pd
import pytest

from skytrace.audit.gates import CATALOGUE, GATES, compare_gates, core_pixels, gate_features, gate_scores, mask_core
from skytrace.audit.options import GateOptions
from skytrace.audit.shortcuts import catalogue_features
from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.imaging.apertures import elliptical_radius
from skytrace.learning.metrics import roc_auc

RADIUS = elliptical_radius(64)
FAST = GateOptions(classifier="logistic", folds=4, n_resamples=200)


@pytest.fixture
def sample():
    """600 stamps of unit noise in 80 sky cells, a third of them "lenses"."""
    rng = np.random.default_rng(8)
    stamps = rng.normal(size=(600, 3, 64, 64)).astype(np.float32)
    return stamps, (np.arange(600) % 3 == 0).astype(int), rng.integers(0, 80, 600)


def arcs(n, rng, radius_px):
    """A short arc at a random angle for every stamp, (n, 1, 64, 64)."""
    y, x = np.indices((64, 64)) - 32
    angle = rng.uniform(-np.pi, np.pi, (n, 1, 1))
    apart = np.angle(np.exp(1j * (np.arctan2(y, x) - angle)))
    light = np.exp(-0.5 * ((RADIUS - radius_px) / 1.5) ** 2) * (np.abs(apart) < 0.7)
    return light[:, None].astype(np.float32)


def aucs(stamps, labels, cells, options=FAST):
    return {gate: roc_auc(score, labels) for gate, score in
            gate_scores(stamps, labels, cells=cells, options=options).items()}  # fmt: skip


def test_the_mask_takes_exactly_the_pixels_nearer_than_the_radius():
    inside = {(y, x) for y in range(64) for x in range(64) if (y - 32) ** 2 + (x - 32) ** 2 < 64}
    assert set(zip(*(index.tolist() for index in np.nonzero(core_pixels(64, 8.0))), strict=True)) == inside
    assert len(inside) == 193  # lattice points with x^2 + y^2 < 64
    stamps = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    before = stamps.copy()
    masked = mask_core(stamps, 8.0, fill=-2.5)
    core = core_pixels(64, 8.0)
    assert (masked[:, :, core] == -2.5).all()
    np.testing.assert_array_equal(masked[:, :, ~core], stamps[:, :, ~core])
    np.testing.assert_array_equal(stamps, before)
    assert masked.dtype == np.float32


def test_the_ring_fill_continues_a_smooth_galaxy_and_forgets_its_core():
    profile = (100.0 / (1.0 + RADIUS)).astype(np.float32)
    stamps = np.stack([profile, 3.0 * profile, 0.0 * profile])[None]
    other = stamps.copy()
    other[:, :, core_pixels(64, 8.0)] += 50.0
    masked = mask_core(stamps, 8.0)
    np.testing.assert_array_equal(mask_core(other, 8.0), masked)
    assert masked[0, 1, 32, 32] == pytest.approx(300.0 / 10.0, rel=0.03)  # the light at r = 9
    assert masked[0, 2, 32, 32] == 0.0


@pytest.mark.parametrize(
    ("gate", "blind"), [("core", RADIUS >= 8), ("annulus", (RADIUS < 8) | (RADIUS >= 28)), ("profile", RADIUS >= 28)]
)
def test_a_gate_sees_nothing_outside_its_region_and_all_of_it(gate, blind):
    rng = np.random.default_rng(1)
    stamps = rng.normal(size=(4, 3, 64, 64)).astype(np.float32)
    changed = stamps.copy()
    changed[:, :, blind] = rng.normal(size=(4, 3, int(blind.sum())))
    seen = gate_features(stamps, gate)
    np.testing.assert_array_equal(gate_features(changed, gate), seen)
    assert not np.allclose(gate_features(stamps + (~blind).astype(np.float32), gate), seen)


def test_gate_features_are_the_stated_means_and_medians():
    stamps = np.random.default_rng(2).normal(size=(3, 3, 64, 64)).astype(np.float32)
    options = GateOptions()
    ring = (RADIUS >= 10) & (RADIUS < 12)
    profile = gate_features(stamps, "profile").reshape(3, 3, 14)
    np.testing.assert_allclose(profile[:, :, 5], np.median(stamps[:, :, ring], axis=2), rtol=1e-6)
    annulus = gate_features(stamps, "annulus").reshape(3, 3, 5, 8)
    y, x = np.indices((64, 64)) - 32
    turn = np.degrees(np.arctan2(y, x)) % 360
    second = (RADIUS >= 12) & (RADIUS < 16)
    sectors = np.stack([stamps[:, :, second & (turn >= 30 * k) & (turn < 30 * (k + 1))].mean(axis=2)
                        for k in range(options.sectors)], axis=2)  # fmt: skip
    np.testing.assert_allclose(annulus[:, :, 1, 0], sectors.mean(axis=2), atol=1e-5)
    np.testing.assert_allclose(annulus[:, :, 1, 1], sectors.max(axis=2), atol=1e-5)
    # a quarter turn moves sectors, no feature
    np.testing.assert_allclose(
        gate_features(np.rot90(stamps[:, :, 1:, 1:], axes=(2, 3)).copy(), "annulus"),
        gate_features(stamps[:, :, 1:, 1:].copy(), "annulus"),
        atol=0.12,
    )


def test_a_signal_in_the_core_is_seen_by_the_core_gate_alone(sample):
    stamps, labels, cells = sample
    stamps = stamps + 0.5 * labels[:, None, None, None] * (RADIUS < 5).astype(np.float32)
    found = aucs(stamps, labels, cells)
    assert found["core"] > 0.95
    assert found["annulus"] < 0.60
    assert found["profile"] > 0.9  # the profile includes the core
    # the core's own gate has nothing left to look at: the others find nothing once it is masked
    found = aucs(mask_core(stamps, 8.0), labels, cells)
    assert max(found.values()) < 0.60


def test_arcs_at_random_angles_are_seen_by_the_annulus_gate_alone(sample):
    stamps, labels, cells = sample
    rng = np.random.default_rng(3)
    stamps = stamps + 1.5 * labels[:, None, None, None] * arcs(600, rng, 14.0)
    found = aucs(stamps, labels, cells)
    assert found["annulus"] > 0.95
    assert found["core"] < 0.60
    # masking the core costs a reader of the annulus nothing
    masked = aucs(mask_core(stamps, 8.0), labels, cells)
    assert masked["annulus"] == found["annulus"]


def catalogue_of(labels, rng):
    """A catalogue whose galaxies differ in g - r alone, beside columns that no catalogue gate may see."""
    n = len(labels)
    flux = 10.0 ** rng.normal(1.0, 0.3, (n, 1)) * [0.3, 1.0, 2.0]
    flux[:, 0] *= 10.0 ** (-0.4 * (0.6 * labels + 0.15 * rng.normal(size=n)))
    columns = {f"flux_{band}": flux[:, k] for k, band in enumerate("grz")}
    return pd.DataFrame(
        columns
        | {"shape_r": rng.normal(1.0, 0.1, n), "sersic": 4.0, "type": "SER", "psfsize_r": rng.normal(1.2, 0.1, n)}
        | {"asymmetry_r": labels, "core_flux_8_g": labels, "g_minus_r": labels, "tier": labels, "label": labels}
    )


def test_galaxies_that_differ_in_the_catalogue_are_told_by_its_gate_alone_and_arcs_are_not(sample):
    stamps, labels, cells = sample
    catalogue = catalogue_features(catalogue_of(labels, np.random.default_rng(4)))
    scores = gate_scores(stamps, labels, cells=cells, catalogue=catalogue, options=FAST)
    found = {gate: roc_auc(score, labels) for gate, score in scores.items()}
    assert list(found) == [*GATES, CATALOGUE]
    assert found.pop(CATALOGUE) > 0.95
    assert max(found.values()) < 0.60
    # arcs inside the core: the core alone tells the lenses although the galaxies are the same
    same = catalogue_features(catalogue_of(0 * labels, np.random.default_rng(4)).assign(label=labels))
    ring = np.exp(-0.5 * (RADIUS - 5.0) ** 2).astype(np.float32)
    stamps = stamps + 0.5 * labels[:, None, None, None] * ring
    scores = gate_scores(stamps, labels, cells=cells, catalogue=same, options=FAST)
    found = {gate: roc_auc(score, labels) for gate, score in scores.items()}
    assert found["core"] > 0.9
    assert abs(found[CATALOGUE] - 0.5) < 0.08


def test_the_catalogue_holds_no_pixel_and_no_label_and_colours_are_magnitudes():
    table = catalogue_of(np.arange(8) % 2, np.random.default_rng(0))
    table.loc[3, "flux_g"] = -0.1
    features = catalogue_features(table)
    assert set(features) == {
        "flux_g", "flux_r", "flux_z", "shape_r", "sersic", "type=SER", "psfsize_r", "mag_g_minus_r", "mag_r_minus_z",
    }  # fmt: skip
    assert features["mag_r_minus_z"].to_numpy() == pytest.approx(np.full(8, 2.5 * np.log10(2.0)))
    assert features["mag_g_minus_r"].isna().tolist() == [row == 3 for row in range(8)]
    with pytest.raises(CatalogueError, match="columns of a catalogue"):
        catalogue_features(table[["asymmetry_r", "label"]])


@pytest.mark.parametrize("classifier", ["logistic", "gradient_boosting"])
def test_the_catalogues_gate_takes_missing_values(sample, classifier):
    stamps, labels, cells = (values[:200] for values in sample)
    table = catalogue_of(labels, np.random.default_rng(4))
    table.loc[::7, "flux_g"] = np.nan
    catalogue, options = catalogue_features(table), GateOptions(classifier=classifier, folds=2)
    score = gate_scores(stamps, labels, cells=cells, catalogue=catalogue, options=options)[CATALOGUE]
    assert np.isfinite(score).all()
    assert roc_auc(score, labels) > 0.85
    with pytest.raises(CatalogueError, match="199 rows for the gate 'catalogue' and 200 labels"):
        gate_scores(stamps, labels, cells=cells, catalogue=catalogue.iloc[1:], options=options)


def test_a_shuffled_label_gives_one_half_within_the_interval(sample):
    stamps, labels, cells = sample
    stamps = stamps + labels[:, None, None, None] * (arcs(600, np.random.default_rng(3), 14.0) + (RADIUS < 5))
    tables = []
    for seed in range(8):
        shuffled = np.random.default_rng(seed).permutation(labels)
        scores = gate_scores(stamps, shuffled, cells=cells, options=FAST)
        tables.append(compare_gates(scores, shuffled, cells=cells, options=FAST))
        assert list(tables[-1]["classifier"]) == list(GATES)
    table = pd.concat(tables)
    assert table["auc"].mean() == pytest.approx(0.5, abs=0.02)
    # refitting scatters by more than the interval of given scores says (``compare_gates``): not 95 % but most
    assert ((table["low_95"] < 0.5) & (table["high_95"] > 0.5)).mean() > 0.7
    assert (np.abs(table["auc"] - 0.5) < 4.0 * table["standard_error"]).all()


def test_boosted_gates_give_the_same_scores_twice(sample):
    stamps, labels, cells = sample
    stamps = (stamps + 0.5 * labels[:, None, None, None] * (RADIUS < 5))[:200].astype(np.float32)
    options = GateOptions(folds=2)
    first, second = (gate_scores(stamps, labels[:200], cells=cells[:200], options=options) for _ in range(2))
    for gate in GATES:
        np.testing.assert_array_equal(first[gate], second[gate])
    assert roc_auc(first["core"], labels[:200]) > 0.9


def test_the_table_compares_on_common_resamples():
    rng = np.random.default_rng(5)
    labels, cells = (np.arange(800) % 4 == 0).astype(int), rng.integers(0, 100, 800)
    full = rng.normal(size=800) + 2.0 * labels
    scores = {"detector": full, "detector, core masked": full + 1e-3 * rng.normal(size=800),
              "core": rng.normal(size=800)}  # fmt: skip
    table = compare_gates(scores, labels, cells=cells).set_index("classifier")
    assert table.loc["detector", "auc"] == pytest.approx(roc_auc(full, labels), abs=1e-12)
    assert table.loc["detector", ["below_reference", "below_reference_high_95"]].tolist() == [0.0, 0.0]
    masked, core = table.loc["detector, core masked"], table.loc["core"]
    # paired: nearly equal scores differ by far less than either is uncertain
    assert masked["below_reference_high_95"] - masked["below_reference_low_95"] < 0.1 * masked["standard_error"]
    assert core["below_reference_low_95"] > 0.3
    with pytest.raises(CatalogueError, match="'core' are not 800 finite"):
        compare_gates({"core": full[:10]}, labels, cells=cells)


def test_bad_inputs_are_refused(sample):
    stamps, labels, _ = sample
    with pytest.raises(CatalogueError, match="4 folds need"):
        gate_scores(stamps, labels, cells=np.zeros(600), options=FAST)
    with pytest.raises(PixelError, match="outer_radius_px"):
        gate_features(stamps[:, :, :40, :40], "core")
    with pytest.raises(PixelError, match="fill"):
        mask_core(stamps, 8.0, fill="black")
    with pytest.raises(OptionError, match="radius_px"):
        mask_core(stamps, 40.0)
    with pytest.raises(OptionError, match="classifier"):
        GateOptions(classifier="forest")
