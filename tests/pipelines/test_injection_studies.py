"""Studies on a tiny sky: common random numbers hold, nothing moves without a cause, and mistakes are named."""

import html
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skytrace.compute import ClusterOptions
from skytrace.errors import CatalogueError, OptionError, PixelError
from skytrace.imaging import PreprocessOptions
from skytrace.imaging.quality import QualityOptions
from skytrace.learning import Detector, MemberOptions, ThresholdOptions
from skytrace.learning.ensemble import Ensemble
from skytrace.learning.metrics import choose_threshold
from skytrace.learning.samples import split_certificate
from skytrace.lensing.population import PopulationOptions
from skytrace.pipelines.injection_recovery.nodes import choose_hosts
from skytrace.pipelines.injection_recovery.shards import IDS_PER_CELL, Campaign, recompute, run_campaign
from skytrace.pipelines.injection_studies.alternatives import (
    CampaignOptions,
    allowed_overrides,
    common_columns,
    kind_of,
)
from skytrace.pipelines.injection_studies.detectors import compare_detectors, score_detectors
from skytrace.pipelines.injection_studies.ensemble import add_ensemble_score, frozen_members, seen_conditions
from skytrace.pipelines.injection_studies.nodes import (
    compare_alternatives,
    pair_ablations,
    reference_difference,
    run_alternatives,
)
from skytrace.pipelines.injection_studies.operating_points import bare_host_rate
from skytrace.pipelines.injection_studies.options import MaskingOptions, StudyOptions
from skytrace.pipelines.injection_studies.study_page import write_studies_page
from skytrace.selection.completeness import CompletenessOptions
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import COMMON_COLUMNS, PairedOptions
from skytrace.selection.sensitivity import SensitivityOptions
from skytrace.sky import SelectionOptions
from skytrace.statistics import beta_interval

from ..selection.fake_sky import FakeSky, random_detector

GRID = GridOptions((0.75, 1.5), (1.2, 1.5), (23.5, 24.0), injections_per_cell=12)
GRID_CELLS = 8
HOSTS = HostOptions(min_matched_hosts=4, max_hosts_per_cell=8)
INJECTION = InjectionOptions(batch_size=16, score_batch=16, n_stamps=10)
MANIFEST = pd.DataFrame(
    {"galaxy_id": ["a", "b", "c"], "split": ["train", "val", "test"], "label": [1, 0, 0], "stamp_row": [0, 1, 2]}
)

PER_CELL = 6
ALTERNATIVES = {
    "identical": {},
    "source_family_1": {"population.clumpy_share": 0.0},
    "counts_slope_steep": {"population.counts_slope": 0.8},
    "photon_noise_off": {"injection.photon_noise": False},
    "clip_1": {"preprocess.clip": 1.0},
    "theta_e_uniform": {"grid.theta_e_in_cell": "uniform"},
    "hosts_degraded": {"hosts.min_matched_hosts": 1000},
}
STUDIES = StudyOptions(alternatives=ALTERNATIVES, injections_per_cell=PER_CELL, thresholds=(0.3,))
SENSITIVITY = SensitivityOptions(min_injections=4, n_resamples=799)
PAIRED = PairedOptions(theta_e_edges_arcsec=(0.5, 1.0, 2.0), n_permutations=199)
THRESHOLD = ThresholdOptions("fixed", value=0.5)
THRESHOLD_RULE = "fixed by a parameter"
AT_RATE = ThresholdOptions(false_positive_rate=0.1)
_UNIFORM = np.random.default_rng(2).random((60, 2))
_IDS = [f"v{k}" for k in range(60)]
VALIDATION = pd.DataFrame(_UNIFORM, columns=["blurred", "early"]).assign(label=np.arange(60) % 2, galaxy_id=_IDS)
VALIDATION["stacked"] = VALIDATION[["blurred", "early"]].mean(axis=1)
OPTIONS = CampaignOptions(GRID, HOSTS, PopulationOptions(), INJECTION, PreprocessOptions())


def split_of(sky: FakeSky) -> pd.DataFrame:
    return sky.galaxies()[["galaxy_id", "ra", "dec"]].assign(split="test")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """(campaign, injections, detector whose threshold is the median score): the published campaign."""
    sky = FakeSky()
    hosts, conditions, _ = choose_hosts(
        sky, split_of(sky), SelectionOptions(), HOSTS, GRID, PreprocessOptions(), QualityOptions()
    )
    campaign = Campaign(GRID, PopulationOptions(), INJECTION, PreprocessOptions(), hosts, conditions)
    folder = tmp_path_factory.mktemp("published")
    detector = random_detector().with_card(split={"splits": split_certificate(MANIFEST)})
    injections = run_campaign(campaign, detector, sky, folder=folder, cluster=ClusterOptions(workers=1))
    middle = float(np.median(injections["score"]))
    return campaign, injections, detector.with_card(threshold={"value": middle, "rule": THRESHOLD_RULE})


def alternatives_of(frozen, folder: Path, studies: StudyOptions = STUDIES) -> pd.DataFrame:
    campaign, injections, detector = frozen
    sky = FakeSky()
    return run_alternatives(
        sky, detector, campaign.hosts, campaign.conditions, injections, split_of(sky), MANIFEST, GRID,
        SelectionOptions(), HOSTS, PopulationOptions(), INJECTION, PreprocessOptions(), QualityOptions(), studies,
        ClusterOptions(workers=1), str(folder),
    )  # fmt: skip


@pytest.fixture(scope="module")
def studied(frozen, tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return folder, alternatives_of(frozen, folder)


def rows_of(studied, name: str) -> pd.DataFrame:
    table = studied[1]
    return table[table["alternative"] == name].reset_index(drop=True)


def test_the_base_is_the_first_injections_of_every_published_cell(frozen, studied):
    _, injections, _ = frozen
    base = rows_of(studied, "base")
    first = injections[injections["injection_id"] % IDS_PER_CELL < PER_CELL].reset_index(drop=True)
    assert len(base) == GRID_CELLS * PER_CELL
    drawn = [name for name in base.columns if name not in ("score", "alternative", "magnification", "arc_snr")]
    drawn = [name for name in drawn if not name.endswith(("_nmgy", "_fraction"))]
    pd.testing.assert_frame_equal(base[drawn], first[drawn])
    np.testing.assert_allclose(base["magnification"], first["magnification"], rtol=1e-3)  # integrated batch by batch
    # the same weights on the same pixels; only the company in a batch is another
    np.testing.assert_allclose(base["score"], first["score"], rtol=0, atol=1e-6)
    assert reference_difference(base, injections) <= 1e-6


def test_an_alternative_that_changes_nothing_has_no_discordant_pair_and_no_shift(frozen, studied):
    _, injections, detector = frozen
    table, report = pair_ablations(studied[1], detector, STUDIES, PAIRED)
    one = table[(table["alternative"] == "identical") & (table["bin"] == "all")].iloc[0]
    assert (one["n_base_only"], one["n_ablation_only"], one["difference"]) == (0, 0, 0.0)
    assert one["n"] == GRID_CELLS * PER_CELL
    assert 0 < one["n_both"] < one["n"]  # the threshold divides the injections, so a change could have been seen
    shifts, summary, _ = compare_alternatives(studied[1], injections, detector, GRID, STUDIES, SENSITIVITY)
    assert (shifts.loc[shifts["alternative"] == "identical", "shift"] == 0).all()
    assert set(summary.loc[summary["alternative"] == "identical", "verdict"]) == {"not seen"}
    assert report["over_all"][0]["alternative"] == "identical"


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("source_family_1", {"source_family", "source_clump_fraction"}),
        ("counts_slope_steep", {"source_mag_g", "source_mag_r", "source_mag_z", "source_half_light_radius_arcsec"}),
        ("photon_noise_off", set()),
        ("clip_1", set()),
        ("theta_e_uniform", {"theta_e_arcsec", "source_x_arcsec", "source_y_arcsec"}),
    ],
)
def test_only_the_draws_that_an_option_decides_are_others(studied, name, changed):
    base, other = rows_of(studied, "base"), rows_of(studied, name)
    drawn = [column for column in base if column.startswith(("lens_", "source_", "gamma", "theta_e_arc"))]
    drawn += ["injection_id", "galaxy_id", "mode", "cell"]
    differ = {column for column in drawn if not (base[column] == other[column]).all()}
    assert differ == changed
    # what a pair is asked to share is what the option leaves alone
    assert set(common_columns(ALTERNATIVES[name])) == set(COMMON_COLUMNS) - changed
    assert (base["score"] != other["score"]).any()


def test_a_steeper_count_keeps_the_order_of_the_sources(studied):
    base, other = rows_of(studied, "base"), rows_of(studied, "counts_slope_steep")
    assert (np.argsort(base["source_mag_r"]) == np.argsort(other["source_mag_r"])).all()
    assert (other["source_mag_r"] >= base["source_mag_r"]).all()


def test_without_photon_noise_the_pixels_lose_that_noise_and_nothing_else(frozen):
    campaign, injections, _ = frozen
    sky = FakeSky()
    quiet = replace(campaign, injection=replace(INJECTION, photon_noise=False))
    chosen = injections.iloc[:16]
    residuals = []
    both = zip(recompute(campaign, sky, chosen), recompute(quiet, sky, chosen), strict=True)
    for (rows, hosts, noisy), (_, _, plain) in both:
        np.testing.assert_array_equal(plain.image, hosts.image[rows["host_row"]] + plain.added)
        light = plain.added
        difference = noisy.added - light
        bright = light > 0.2 * light.max(axis=(2, 3), keepdims=True)
        gain = hosts.electrons_per_nmgy[rows["host_row"]][:, :, None, None]
        residuals.append((difference / np.sqrt(light / gain, where=bright, out=np.ones_like(light)))[bright])
        assert (noisy.measured["arc_snr"] == plain.measured["arc_snr"]).all()
    residual = np.concatenate(residuals)
    assert abs(residual.mean()) < 5 / np.sqrt(len(residual))
    assert residual.std() < 1.1  # Poisson of the added light, smoothed at most by the coadd's correlation


def test_a_lower_clip_changes_scores_through_the_brightest_pixels_alone(frozen):
    campaign, injections, _ = frozen
    sky = FakeSky()
    lower = replace(campaign, preprocessing=replace(campaign.preprocessing, clip=1.0))
    chosen = injections.iloc[:16]
    for (_, _, full), (_, _, cut) in zip(recompute(campaign, sky, chosen), recompute(lower, sky, chosen), strict=True):
        np.testing.assert_array_equal(cut.stamps, np.clip(full.stamps, -1.0, 1.0))
        np.testing.assert_array_equal(cut.image, full.image)


def test_other_hosts_enter_only_where_the_condition_changes_its_mode(frozen, studied):
    campaign, injections, detector = frozen
    mode = campaign.conditions.set_index("condition")["mode"]
    other = rows_of(studied, "hosts_degraded")
    assert set(other["mode"]) == {"degraded"}
    cells = campaign.conditions.set_index(["psf_index", "depth_index"])["condition"]
    conditions = {int(cells.loc[key]) for key in zip(other["psf_index"], other["depth_index"], strict=True)}
    assert {mode.loc[condition] for condition in conditions} == {"matched"}
    table, _ = pair_ablations(studied[1], detector, STUDIES, PAIRED)
    assert "hosts_degraded" not in set(table["alternative"])
    _, summary, report = compare_alternatives(studied[1], injections, detector, GRID, STUDIES, SENSITIVITY)
    assert set(summary.loc[summary["alternative"] == "hosts_degraded", "kind"]) == {"choice"}
    assert report["alternatives_by_kind"]["choice"] == ["hosts_degraded", "threshold_0.3"]


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        ({"population.counts_slope": 0.2}, "prior"),
        ({"grid.theta_e_in_cell": "uniform"}, "prior"),
        ({"injection.psf_beta": 2.5}, "prior"),
        ({"preprocess.clip": 3.0}, "processing"),
        ({"injection.photon_noise": False}, "ablation"),
        ({"injection.saddle_images": False}, "ablation"),
        ({"hosts.degraded_hosts": False}, "choice"),
        ({"population.counts_slope": 0.2, "preprocess.clip": 3.0}, "processing"),
    ],
)
def test_a_pixel_operation_or_an_unphysical_ablation_is_no_prior(overrides, kind):
    assert kind_of(overrides) == kind


def test_the_verdict_on_priors_names_priors_alone(frozen, studied):
    _, injections, detector = frozen
    # as if clipping lost everything: the largest shift of all, and no prior's
    table = studied[1].assign(score=np.where(studied[1]["alternative"] == "clip_1", 0.0, studied[1]["score"]))
    _, summary, report = compare_alternatives(table, injections, detector, GRID, STUDIES, SENSITIVITY)
    kinds = summary.groupby("kind")["alternative"].agg(set)
    assert kinds["processing"] == {"clip_1"} and kinds["ablation"] == {"photon_noise_off"}
    assert kinds["prior"] == {"identical", "source_family_1", "counts_slope_steep", "theta_e_uniform"}
    assert "clip_1" not in report["sentence"] and "photon_noise_off" not in report["sentence"]
    assert "clip_1" in report["sentences_of_other_kinds"]["processing"]
    assert report["not_run"]["source_family_3"].startswith("studies.source_library is null")


def test_an_alternative_with_a_base_is_paired_with_it(frozen, studied):
    _, injections, detector = frozen
    alternatives = {**ALTERNATIVES, "twin": {"base": "counts_slope_steep"}}
    studies = replace(STUDIES, alternatives=alternatives)
    steep = studied[1][studied[1]["alternative"] == "counts_slope_steep"]
    table = pd.concat([studied[1], steep.assign(alternative="twin")], ignore_index=True)
    pairs, _ = pair_ablations(table, detector, studies, PAIRED)
    twin = pairs[(pairs["alternative"] == "twin") & (pairs["bin"] == "all")].iloc[0]
    assert (twin["against"], twin["difference"], twin["n_base_only"]) == ("counts_slope_steep", 0.0, 0)
    shifts, summary, _ = compare_alternatives(table, injections, detector, GRID, studies, SENSITIVITY)
    assert (shifts.loc[shifts["alternative"] == "twin", "shift"] == 0).all()
    assert set(summary.loc[summary["alternative"] == "twin", "against"]) == {"counts_slope_steep"}
    assert studies.overrides("twin") == ALTERNATIVES["counts_slope_steep"]


@pytest.mark.parametrize(
    ("base", "words"),
    [("steeper", "must be another alternative"), ("one", "must be another"), ("hosts", "changes the hosts")],
)
def test_a_base_that_cannot_be_is_refused(base, words):
    alternatives = {"one": {"base": base, "population.shear_sigma": 0.0}, "hosts": {"hosts.min_matched_hosts": 1000}}
    with pytest.raises(OptionError, match=words):
        StudyOptions(alternatives=alternatives)


def test_a_library_of_real_galaxies_adds_source_family_3(frozen, tmp_path, monkeypatch):
    _, _, detector = frozen
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-20:21, -20:21]
    stamps = {
        name: 100 * np.exp(-(x**2 + (y * stretch) ** 2) / 30.0) + rng.normal(size=x.shape)
        for name, stretch in (("round", 1.0), ("flat", 2.0))
    }
    monkeypatch.setattr("skytrace.surveys.hst_sources.read_source_stamps", lambda folder: stamps)
    studies = replace(STUDIES, alternatives={"identical": {}}, source_library="stamps", injections_per_cell=2)
    table = alternatives_of(frozen, tmp_path, studies)
    assert list(dict.fromkeys(table["alternative"])) == ["base", "identical", "source_family_3"]
    family = table.loc[table["alternative"] == "source_family_3", "source_family"]
    assert set(family) == {3} and 3 not in set(table.loc[table["alternative"] == "base", "source_family"])
    pairs, _ = pair_ablations(table, detector, studies, PAIRED)
    assert set(pairs.loc[pairs["alternative"] == "source_family_3", "kind"]) == {"prior"}
    assert len(list(tmp_path.glob("source-library-*.npz"))) == 1


def test_finished_shards_are_kept_and_give_the_same_table(frozen, studied):
    folder, table = studied
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    again = alternatives_of(frozen, folder)
    pd.testing.assert_frame_equal(again, table)
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_injections_of_another_seed_are_no_reference(frozen, studied):
    _, injections, _ = frozen
    base = rows_of(studied, "base")
    moved = injections.assign(source_mag_r=injections["source_mag_r"] + 0.01)
    with pytest.raises(CatalogueError, match="source_mag_r"):
        reference_difference(base, moved)
    with pytest.raises(CatalogueError, match="lacks"):
        reference_difference(base, injections[injections["injection_id"] % IDS_PER_CELL < 3])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"population.clumpy_shar": 0.0}, "did you mean population.clumpy_share"),
        ({"injection.seed": 3}, "alternatives.one has no option 'injection.seed'; .*there are grid.theta_e_in_cell"),
        ({"clumpy_share": 0.0}, "no option 'clumpy_share'"),
    ],
)
def test_an_option_that_there_is_not_is_named_with_those_there_are(overrides, words):
    with pytest.raises(OptionError, match=words):
        StudyOptions(alternatives={"one": overrides})
    assert "injection.seed" not in allowed_overrides()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"population.clumpy_share": 1.5}, "alternatives.one: clumpy_share = 1.5 is outside"),
        ({"injection.photon_noise": 0}, "alternatives.one.injection.photon_noise = 0 is not of the kind"),
        ({"grid.theta_e_in_cell": "gaussian"}, "alternatives.one: theta_e_in_cell = 'gaussian'"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_its_alternative(overrides, words):
    with pytest.raises(OptionError, match=words):
        OPTIONS.with_overrides("one", overrides)


def test_more_injections_asked_of_a_cell_than_it_has_are_refused(frozen, studied):
    _, injections, detector = frozen
    options = SensitivityOptions(min_injections=PER_CELL + 1, n_resamples=799)
    with pytest.raises(OptionError, match="min_injections = 7 is above studies"):
        compare_alternatives(studied[1], injections, detector, GRID, STUDIES, options)


def ensemble_of(detector: Detector) -> Ensemble:
    """Two members of other weights, stacked by hand-made coefficients; its domains divide the injections."""
    state = detector.state | {"fc.bias": detector.state["fc.bias"] + 0.3}
    members = {"blurred": detector, "early": replace(detector, state=state)}
    asked = (MemberOptions("blurred", "psfsize_r", low=1.35), MemberOptions("early", "type_bin", values=("DEV",)))
    stacking = {
        "members": ["blurred", "early"], "mean": [0.0] * 4, "sd": [1.0] * 4, "coefficients": [0.7, 0.2, 0.5, 0.1],
        "intercept": -0.1,
    }  # fmt: skip
    card = {name: detector.card[name] for name in ("preprocessing", "split", "threshold")}
    options = {"members": [asdict(member) for member in asked], "combination": "stacked"}
    return Ensemble(members, {**card, "options": options, "stacking": stacking})


def scores_of(values: np.ndarray) -> pd.DataFrame:
    """The same scores of as many galaxies and lenses of the validation and of the test split."""
    half = pd.DataFrame({"label": VALIDATION["label"], "healpix_128": 0, "score": values})
    return pd.concat(
        [half.assign(split="val", galaxy_id=_IDS), half.assign(split="test", galaxy_id=[f"t{k}" for k in range(60)])],
        ignore_index=True,
    )


SCORES = scores_of(_UNIFORM[:, 0])
ENSEMBLE_SCORES = VALIDATION.rename(columns={"stacked": "ensemble"}).assign(galaxy_id=[f"t{k}" for k in range(60)])


def compared(table: pd.DataFrame, detector: Detector, other: Detector, threshold=THRESHOLD, **given):
    found = {"masked_scores": SCORES, "ensemble": ensemble_of(detector), "injections": table, **given}
    return compare_detectors(
        table, found["injections"], detector, other, found["ensemble"], SCORES, found["masked_scores"],
        ENSEMBLE_SCORES, VALIDATION, GRID, threshold, CompletenessOptions(min_injections=4), SENSITIVITY, PAIRED,
    )  # fmt: skip


@pytest.fixture(scope="module")
def detectors_of(frozen, tmp_path_factory):
    campaign, injections, detector = frozen
    folder = tmp_path_factory.mktemp("detectors")

    def scored(other):
        return score_detectors(
            FakeSky(), detector, other, ensemble_of(detector), VALIDATION, campaign.hosts, campaign.conditions,
            injections, MANIFEST, GRID, PopulationOptions(), INJECTION, PreprocessOptions(), THRESHOLD, STUDIES,
            ClusterOptions(workers=1), str(folder),
        )  # fmt: skip

    return scored


def test_a_detector_of_the_same_weights_has_the_same_surface(frozen, detectors_of):
    _, _, detector = frozen
    table = detectors_of(detector)
    assert (table["score"] == table["score_masked"]).all()
    surfaces, _, pairs, report = compared(table, detector, detector)
    one, other = (surfaces[surfaces["detector"] == name].drop(columns="detector") for name in ("default", "masked"))
    pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))
    assert (pairs.loc[pairs["detector"] == "masked", ["n_base_only", "n_ablation_only"]] == 0).all(axis=None)
    moved = [row for row in report["how_the_surface_moves"] if row["alternative"] == "masked"]
    assert {row["verdict"] for row in moved} == {"not seen"}


def test_a_detector_with_a_higher_bar_loses_exactly_the_scores_between(frozen, detectors_of):
    _, _, detector = frozen
    bar = detector.threshold + 1e-3
    higher = detector.with_card(threshold={"value": bar, "rule": THRESHOLD_RULE})
    table = detectors_of(detector)
    _, _, pairs, _ = compared(table, detector, higher)
    between = ((table["score"] >= detector.threshold) & (table["score"] < bar)).sum()
    whole = pairs[(pairs["bin"] == "all") & (pairs["detector"] == "masked")].iloc[0]
    assert (whole["n_base_only"], whole["n_ablation_only"]) == (between, 0)
    assert between > 0


def at_one_rate(detector: Detector, values: np.ndarray) -> Detector:
    choice = choose_threshold(values, VALIDATION["label"], options=AT_RATE)
    return detector.with_card(threshold=choice)


def test_a_difference_of_cuts_that_luck_of_the_validation_galaxies_explains_is_no_verdict(frozen, detectors_of):
    _, _, detector = frozen
    table = detectors_of(detector)
    # injections as uniform as the validation scores, and all detectors of one worth
    uniform = np.random.default_rng(5).random(len(table))
    names = ("member_blurred", "member_early", "ensemble")
    table = table.assign(score=uniform, score_masked=uniform**2, **{f"score_{name}": uniform for name in names})
    other = _UNIFORM[:, 0] ** 2  # its own scale
    masked = at_one_rate(detector, other)
    first = at_one_rate(detector, _UNIFORM[:, 0])
    ensemble = ensemble_of(detector).with_card(
        threshold=choose_threshold(VALIDATION["stacked"], VALIDATION["label"], options=AT_RATE)
    )
    _, _, pairs, report = compared(table, first, masked, AT_RATE, masked_scores=scores_of(other), ensemble=ensemble)
    same = pairs[(pairs["bin"] == "all") & (pairs["detector"] == "masked")].iloc[0]
    assert (same["difference"], same["low95"], same["high95"]) == (0.0, 0.0, 0.0)  # on every resample the same cut
    early = pairs[(pairs["bin"] == "all") & (pairs["detector"] == "member_early")].iloc[0]
    # the same scores under two cuts: at these cuts a difference, with the luck of 30 galaxies in each none
    assert early["low95_fixed"] > 0 > early["low95"]
    assert early["high95"] - early["low95"] > 1.5 * (early["high95_fixed"] - early["low95_fixed"])
    assert "member_early is not told apart from default" in report["sentences"]["member_early"]
    galaxies = VALIDATION["label"] == 0
    expected = int((_UNIFORM[galaxies, 0] >= first.threshold).sum())
    found = report["operating_points"]["default"]["test_false_positive_rate"]
    assert (found["k"], found["n"]) == (expected, 30)
    assert (found["low_95"], found["high_95"]) == pytest.approx(beta_interval(expected, 30, 0.9545))


def test_validation_scores_that_a_threshold_was_not_chosen_on_are_refused(frozen, detectors_of):
    _, _, detector = frozen
    table = detectors_of(detector)
    first = at_one_rate(detector, _UNIFORM[:, 0])
    ensemble = ensemble_of(first)
    with pytest.raises(CatalogueError, match=r"threshold of masked is .* not the scores that it was chosen on"):
        compared(table, first, at_one_rate(detector, _UNIFORM[:, 0] ** 2), AT_RATE, ensemble=ensemble)
    with pytest.raises(CatalogueError, match="scores of masked, val: 59 rows, not the 60"):
        compared(table, first, first, AT_RATE, ensemble=ensemble, masked_scores=SCORES.iloc[1:])


def test_bare_hosts_are_counted_once_a_condition(frozen):
    _, injections, _ = frozen
    middle = float(injections["host_score"].median())
    found = bare_host_rate(injections, middle)
    hosts = injections.drop_duplicates(["galaxy_id", "psf_index", "depth_index"])
    assert (found["n"], found["k"]) == (len(hosts), int((hosts["host_score"] >= middle).sum()))
    assert 0 < found["k"] < found["n"] < len(injections)
    assert found["n_effective"] <= found["n"] and found["low_95"] <= found["value"] <= found["high_95"]


def test_detectors_of_other_preprocessing_or_another_rule_do_not_compare(frozen, detectors_of):
    _, _, detector = frozen
    with pytest.raises(PixelError, match="preprocessing"):
        detectors_of(detector.with_card(preprocessing={"checksum": "0" * 64}))
    table = detectors_of(detector)
    other = detector.with_card(threshold={"value": 0.5, "rule": "a guess"})
    with pytest.raises(OptionError, match="different rules"):
        compared(table, detector, other)


def test_the_page_holds_every_detectors_surface_at_its_own_threshold(frozen, studied, detectors_of):
    _, injections, detector = frozen
    higher = detector.with_card(threshold={"value": detector.threshold + 1e-3, "rule": THRESHOLD_RULE})
    surfaces, margins, pairs, report = compared(detectors_of(detector), detector, higher)
    shifts, summary, found = compare_alternatives(studied[1], injections, detector, GRID, STUDIES, SENSITIVITY)
    ablations, _ = pair_ablations(studied[1], detector, STUDIES, PAIRED)
    realism = {"verdict": "INSUFFICIENT", "gates": [], "limits": ["A limit of the gates."]}
    *figures, page = write_studies_page(
        surfaces, margins, pairs, report, shifts, summary, found, ablations, realism, STUDIES
    )
    own = json.loads(re.search(r'"own_threshold": ?(\{.*?\})', page)[1])
    expected = {"default": detector.threshold, "masked": detector.threshold + 1e-3, "ensemble": detector.threshold}
    assert set(own) == {*expected, "member_blurred", "member_early"}
    assert {name: own[name] for name in expected} == pytest.approx(expected, abs=1e-7)
    assert len(figures) == 3 and page.count("data:image/png") >= 3
    for words in (found["sentence"], "A limit of the gates.", "photon_noise_off"):
        assert html.escape(words) in page
    assert f"{GRID_CELLS * PER_CELL:,}: the first {PER_CELL} of every cell" in page


def test_the_ensemble_scores_composites_by_the_sky_that_they_show(frozen, detectors_of):
    campaign, _, detector = frozen
    table = detectors_of(detector)
    ensemble = ensemble_of(detector)
    found = []
    for rows, hosts, injected in recompute(campaign, FakeSky(), table):
        row = rows["host_row"].to_numpy()
        metadata = pd.DataFrame({"psfsize_r": hosts.psfsize_r[row], "type_bin": hosts.table["type"].to_numpy()[row]})
        found.append(rows.assign(expected=ensemble.score(injected.stamps, metadata=metadata)))
    expected = pd.concat(found).set_index("injection_id").loc[table["injection_id"]]
    np.testing.assert_allclose(table["score_ensemble"], expected["expected"], rtol=0, atol=1e-6)
    assert (table["score_member_early"] > table["score_member_blurred"]).all()


def test_a_degraded_composite_shows_the_sky_that_it_was_degraded_to_and_a_matched_one_its_own(frozen):
    campaign, injections, _ = frozen
    own = seen_conditions(injections.assign(mode="matched"), campaign.hosts, campaign.conditions)["psfsize_r"]
    broad = campaign.conditions.assign(target_psfsize_r=1.9)
    seen = seen_conditions(injections.assign(mode="degraded"), campaign.hosts, broad)
    assert own.max() < 1.9
    assert (seen["psfsize_r"] == 1.9).all()
    np.testing.assert_allclose(own, injections["host_psfsize_r"], rtol=0, atol=0)


def test_every_member_is_held_to_the_false_positive_rate_of_its_own_validation_scores(frozen):
    _, _, detector = frozen
    options = ThresholdOptions(false_positive_rate=0.1)
    for name, member in frozen_members(ensemble_of(detector), VALIDATION, options).items():
        scores = VALIDATION.loc[VALIDATION["label"] == 0, name.removeprefix("member_")]
        assert (scores >= member.threshold).mean() == 0.1
        assert member.card["preprocessing"] == detector.card["preprocessing"]


def test_a_domain_that_a_composite_has_no_value_of_is_named(frozen, detectors_of):
    campaign, _, detector = frozen
    table = detectors_of(detector)
    ensemble = ensemble_of(detector)
    asked = [
        {**member, "column": "galdepth_r", "values": (), "low": 1.0} for member in ensemble.card["options"]["members"]
    ]
    other = ensemble.with_card(options={**ensemble.card["options"], "members": asked})
    with pytest.raises(OptionError, match="need galdepth_r, which a composite has not"):
        add_ensemble_score(table, other, campaign.hosts, campaign.conditions)


def test_masking_changes_the_training_in_nothing_else(monkeypatch):
    from skytrace.learning import ThresholdOptions, TrainingOptions
    from skytrace.pipelines.injection_studies import detectors

    given = {}
    monkeypatch.setattr(detectors, "train_detector", lambda *arguments: given.update(training=arguments[4]))
    training = TrainingOptions(epochs=8)
    detectors.train_masked_detector(
        {}, MANIFEST, {}, PreprocessOptions(), training, ThresholdOptions(), MaskingOptions(0.4, 6.0, 0.25), "folder"
    )
    masked = given["training"]
    assert replace(masked, core_mask_share=0.0, core_mask_radius_px=8.0, core_mask_ramp=0.5) == training
    assert [masked.core_mask_share_at(epoch) for epoch in (0, 1, 2, 7)] == [0.0, 0.2, 0.4, 0.4]


def test_the_certificate_of_another_sample_stops_the_study(frozen, detectors_of):
    from skytrace.errors import LeakageError

    _, _, detector = frozen
    other = MANIFEST.assign(galaxy_id=["x", "b", "c"])
    with pytest.raises(LeakageError, match="train"):
        detectors_of(detector.with_card(split={"splits": split_certificate(other)}))
