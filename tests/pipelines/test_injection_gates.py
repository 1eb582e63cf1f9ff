"""What the gates compare is measured alike on both sides, at the right place, of lenses that could have been hosts."""

import numpy as np
import pandas as pd
import pytest

from skytrace.imaging import PreprocessOptions
from skytrace.imaging.psf import (
    PIXEL_SCALE_ARCSEC,
    ImagePsf,
    moffat_fwhm_from_psfsize,
    sky_sigma_nmgy,
    stamp_fwhm_arcsec,
)
from skytrace.imaging.quality import QualityOptions
from skytrace.lensing.population import PopulationOptions, host_light_shape
from skytrace.pipelines.injection_recovery.anchors import LAYER, measure_anchors, measure_composites
from skytrace.pipelines.injection_recovery.gates import _background, check_realism
from skytrace.pipelines.injection_recovery.shards import Campaign, recompute
from skytrace.selection.arcs import ArcOptions, arc_annulus_snr, measure_arcs
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.realism import (
    BlindPanelOptions,
    ClassifierTestOptions,
    GateOptions,
    LinearProbeOptions,
    MorphologyOptions,
)
from skytrace.sky import SelectionOptions
from skytrace.surveys.interface import LENS_COLUMNS, CutoutBatch

from ..selection.fake_sky import FakeSky, random_detector
from .small_campaign import GRID, INJECTION, campaign_of, run, split_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return folder, run(folder)


class LensSky(FakeSky):
    """FakeSky whose last twelve galaxies are anchors, with the faults that a test plants. margin: cutouts are this much
    larger or smaller than 101 px.
    """

    def __init__(self, *, blind: int = 0, margin: int = 0, **columns: object) -> None:
        super().__init__()
        self.anchor_ids = list(self.table["galaxy_id"][-12:])
        self.blind, self.margin = self.anchor_ids[:blind], margin
        for name, value in columns.items():
            self.table.loc[self.table["galaxy_id"].isin(self.anchor_ids[-2:]), name] = value

    def lenses(self) -> pd.DataFrame:
        rows = self.table[self.table["galaxy_id"].isin(self.anchor_ids)]
        lenses = rows[["galaxy_id", "ra", "dec"]].assign(tier="A", theta_e_arcsec=1.5, is_anchor=True)
        return lenses.assign(lens_id=[f"L{i:02d}" for i in range(len(rows))])[list(LENS_COLUMNS)]

    def cutouts(self, galaxy_ids, *, size: int = 101) -> CutoutBatch:
        batch = super().cutouts(galaxy_ids, size=size + self.margin)
        rows = np.isin(batch.galaxy_id, self.blind)
        batch.image[rows, 1, size // 2 - 2 : size // 2 + 2] = np.nan
        return batch


def measured_anchors(sky: FakeSky, *, selection=None, quality=None, injection=INJECTION, gates=None):
    return measure_anchors(
        sky, random_detector(), split_of(sky).assign(split="none"), selection or SelectionOptions(), GRID, injection,
        PreprocessOptions(), quality or QualityOptions(), gates or GateOptions(), ArcOptions(), MorphologyOptions(),
    )  # fmt: skip


def anchors_of(sky: FakeSky, **rules) -> pd.DataFrame:
    return measured_anchors(sky, **rules)[0]


@pytest.mark.parametrize(
    "columns, reason",
    [({"maskbits": 2}, "selection:maskbits"), ({"nobs_z": 1}, "selection:nobs_z"), ({"type": "EXP"}, "selection:type"),
     ({"flux_z": 1.0}, "selection:mag_z"), ({"dec": 80.0}, "selection:dec")],
)  # fmt: skip
def test_an_anchor_that_could_not_be_a_host_is_rejected_by_the_hosts_own_filter(columns, reason):
    anchors = anchors_of(LensSky(**columns))
    assert anchors["rejected"].tolist() == [""] * 10 + [reason] * 2
    assert anchors["arc_snr"].notna().tolist() == [True] * 10 + [False] * 2


def test_a_lens_is_not_excluded_for_being_near_a_lens_and_counts_once():
    sky = LensSky()
    lenses = pd.concat([sky.lenses(), sky.lenses().iloc[:1].assign(lens_id="A-twin", tier="confirmed")])
    sky.lenses = lambda: lenses.reset_index(drop=True)
    anchors = anchors_of(sky)
    assert anchors["lens_id"][anchors["rejected"] != ""].tolist() == ["L00"]
    assert anchors["rejected"].max() == "repeated:galaxy"


def test_an_anchor_without_pixels_is_rejected_by_the_hosts_own_quality_control():
    anchors = anchors_of(LensSky(blind=3))
    assert anchors["rejected"].tolist() == ["quality:nan_core_r;quality:nan_centre_r"] * 3 + [""] * 9
    assert anchors["arc_snr"].isna().tolist() == [True] * 3 + [False] * 9
    lenient = anchors_of(LensSky(blind=3), quality=QualityOptions(nan_fraction_centre_max=1.0))
    assert lenient["rejected"].tolist() == ["quality:nan_core_r"] * 3 + [""] * 9


@pytest.mark.parametrize(
    "sky, n", [(FakeSky(), 0), (LensSky(), 12)], ids=["no lens is known", "every lens is rejected"]
)
def test_a_sky_without_usable_lenses_has_an_anchor_table_all_the_same(sky, n):
    anchors = anchors_of(sky, selection=SelectionOptions(mag_z_max=15.0))
    assert len(anchors) == n == (anchors["rejected"] == "selection:mag_z").sum()
    assert anchors["arc_snr"].isna().all()
    assert set(anchors_of(LensSky()).columns) == set(anchors.columns)


def test_anchors_are_measured_at_the_centre_of_whatever_cutout_the_survey_gives():
    sky = LensSky(margin=40)
    batch = sky.cutouts(sky.anchor_ids)
    assert batch.image.shape[-1] == 141
    window = (slice(None), slice(None), slice(38, 102), slice(38, 102))  # pixel 70, the galaxy's, becomes pixel 32
    table = sky.table.set_index("galaxy_id").loc[sky.anchor_ids]
    q, phi = host_light_shape(table)
    sigma = sky_sigma_nmgy(
        *(table[[f"{name}_{band}" for band in "grz"]].to_numpy() for name in ("psfdepth", "psfsize"))
    )
    expected = measure_arcs(
        batch.image[window], batch.invvar[window], theta_e_arcsec=1.5, sigma_pix_nmgy=sigma, q=q, phi_rad=phi,
        fwhm_arcsec=moffat_fwhm_from_psfsize(table["psfsize_r"].to_numpy()),
    )  # fmt: skip
    np.testing.assert_array_equal(anchors_of(sky)["arc_snr"], expected["arc_snr"])


WIDE = InjectionOptions(**{**vars(INJECTION), "psf_beta": 2.5, "photon_noise": False})


@pytest.fixture
def widths(monkeypatch):
    """The half-maximum widths that ``measure_arcs`` is called with by the gates."""
    from skytrace.pipelines.injection_recovery import anchors

    used: list[float] = []

    def measured(image, invvar, *, fwhm_arcsec, **others):
        used.extend(np.asarray(fwhm_arcsec).tolist())
        return measure_arcs(image, invvar, fwhm_arcsec=fwhm_arcsec, **others)

    monkeypatch.setattr(anchors, "measure_arcs", measured)
    return used


def composites_of(injections, options, anchors, sky=None):
    campaign = campaign_of(FakeSky())
    return measure_composites(
        sky or FakeSky(), random_detector(), campaign.hosts, campaign.conditions, injections, anchors, GRID,
        PopulationOptions(), options, PreprocessOptions(), GateOptions(max_distance_steps=100.0), ArcOptions(),
        MorphologyOptions(),
    )  # fmt: skip


def test_arc_annuli_of_anchors_and_composites_follow_psf_beta(finished, widths):
    anchors = anchors_of(LensSky(), injection=WIDE)
    np.testing.assert_allclose(widths / anchors["psf_fwhm"], 0.7201, atol=1e-4)
    widths.clear()
    composites, _, _ = composites_of(finished[1].iloc[::11], WIDE, anchors)
    assert len(composites) == len(widths) > 10
    np.testing.assert_allclose(widths / composites["psf_fwhm"], 0.7201, atol=1e-4)


def test_the_background_begins_at_the_width_that_was_measured_on_the_psf_image():
    """A ring of light 4" out: beyond three widths of the PSF image, within three of the Moffat of its psfsize."""
    rng = np.random.default_rng(2)
    y, x = np.indices((64, 64)) - 32
    host = rng.normal(size=(4, 3, 64, 64)).astype(np.float32)
    ring = np.abs(np.hypot(x, y) * PIXEL_SCALE_ARCSEC - 4.0) < 0.4
    stamps = {
        "host": host, "image": host + 50 * ring.astype(np.float32), "invvar": np.ones_like(host),
        "theta_e": np.full(4, 1.0), "psf_fwhm": np.full(4, 1.5), "sigma_nmgy": np.ones((4, 3)),
    }  # fmt: skip
    moffat = _background(stamps, INJECTION, GateOptions())
    np.testing.assert_array_equal(moffat.before, moffat.after)  # nothing within 1" + 3 x 1.217" = 4.65"
    narrow = _background({**stamps, "fwhm_arcsec": np.full(4, 0.8)}, INJECTION, GateOptions())
    lit = (narrow.after != narrow.before).any(axis=1)
    assert lit.sum() > 0.9 * 4 * ring.sum() and len(narrow.before) > len(moffat.before) + lit.sum()
    images = ImagePsf(np.exp(-0.5 * np.hypot(*(np.indices((4, 3, 25, 25))[2:] - 12)) ** 2 / 1.5**2))
    own = stamp_fwhm_arcsec(images, np.full((4, 3), 1.5))[:, 1]
    np.testing.assert_allclose(own, 2.35482 * 1.5 * PIXEL_SCALE_ARCSEC, rtol=2e-3)  # 0.93", where the Moffat has 1.217"
    measured = _background({**stamps, "fwhm_arcsec": own}, INJECTION, GateOptions())
    assert len(moffat.before) < len(measured.before) < len(narrow.before)


def test_the_injected_lights_own_snr_is_measured_in_the_same_annulus(finished):
    campaign = Campaign(**{**vars(campaign_of(FakeSky())), "injection": WIDE})
    chosen = finished[1].query("mode == 'matched'").iloc[::7]
    assert len(chosen) > 3
    for rows, stamps, injected in recompute(campaign, FakeSky(), chosen):
        host = rows["host_row"].to_numpy()
        fwhm = moffat_fwhm_from_psfsize(stamps.psfsize_r[host], beta=2.5)
        alone = arc_annulus_snr(injected.added, rows["theta_e"], fwhm, stamps.sigma_nmgy[host]).integrated[:, 1]
        np.testing.assert_allclose(injected.measured["arc_snr"], alone, rtol=1e-6)


def test_the_realism_report_names_the_rejected_anchors_and_the_rules_of_the_comparison(finished):
    injections = finished[1]
    anchors, looks = measured_anchors(LensSky(blind=3, flux_z=1.0))
    composites, stamps, near = composites_of(injections.iloc[::11], INJECTION, anchors)
    hosts = campaign_of(FakeSky()).hosts

    def reported(selection=None, injection=INJECTION, arcs=None):
        return check_realism(
            anchors, composites, looks, near, injections, stamps, hosts, random_detector(),
            selection or SelectionOptions(), injection, QualityOptions(), arcs or ArcOptions(), GateOptions(),
            MorphologyOptions(), ClassifierTestOptions(), BlindPanelOptions(), LinearProbeOptions(),
        )[0]  # fmt: skip

    report = reported()
    assert report["comparison"]["anchors_rejected"] == 5
    assert report["comparison"]["anchors_rejected_by_reason"]["selection:mag_z"] == 2
    assert report["verdict"] in ("INSUFFICIENT", "NO-GO")
    assert [entry["gate"] for entry in report["registration"]] == [1, 1, 2, 3, 5, 8]
    bands = report["injected_pixels"]["bands"]
    assert all(abs(bands[band]["flux_ratio"] - 1.0) < 0.05 for band in "grz")
    others = [
        reported(selection=SelectionOptions(nobs_min=2)), reported(injection=WIDE), reported(arcs=ArcOptions(2.0)),
        reported(injection=InjectionOptions(**{**vars(INJECTION), "composites_per_anchor": 3})),
    ]  # fmt: skip
    assert len({report["options_hash"], *(other["options_hash"] for other in others)}) == 5


def test_what_the_detector_makes_of_an_anchor_is_what_it_makes_of_its_stamp():
    from skytrace.imaging import preprocess
    from skytrace.learning.features import detector_features

    sky = LensSky()
    anchors, kept = measured_anchors(sky, gates=GateOptions(observable_snr=0.0))
    seen = anchors[anchors["arc_snr"] >= 0.0]
    assert len(seen) > 0 and list(kept["id"]) == list(seen["lens_id"])
    batch = sky.cutouts(list(seen["galaxy_id"]))
    alone = detector_features(random_detector(), preprocess(batch.image, batch.invvar))["penultimate"]
    np.testing.assert_allclose(kept[f"{LAYER}penultimate"], alone, rtol=1e-5, atol=1e-5)
    assert {f"{LAYER}layer1", f"{LAYER}layer4"} <= set(kept)
