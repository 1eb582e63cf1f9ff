"""The whole of lens_finder on a small built-in sky, and the nodes' refusals."""

import copy
import gc
import json

import numpy as np
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from skytrace.audit import GateOptions, ShortcutOptions
from skytrace.audit.anchor_flux import AnchorFluxOptions
from skytrace.audit.detectability import DetectabilityOptions
from skytrace.audit.gates import mask_core
from skytrace.audit.parity import ParityOptions
from skytrace.compute import ClusterOptions
from skytrace.errors import CatalogueError, LeakageError, PixelError
from skytrace.imaging import PreprocessOptions, preprocess, preprocessing_checksum
from skytrace.imaging.quality import QualityOptions
from skytrace.learning import (
    CalibrationOptions,
    EnsembleOptions,
    EvaluationOptions,
    MemberOptions,
    StrataEvaluationOptions,
    StratumOptions,
    ThresholdOptions,
    TopOptions,
    TrainingOptions,
    score_stamps,
)
from skytrace.learning.calibration import fit_calibrator
from skytrace.learning.metrics import calibration_errors, roc_auc
from skytrace.learning.samples import MANIFEST_COLUMNS, sample_weights
from skytrace.learning.store import StampStore
from skytrace.pipelines.lens_finder import create_pipeline, nodes, parity_nodes
from skytrace.pipelines.lens_finder.options import CutoutOptions, PartsOptions
from skytrace.sky import SelectionOptions, SplitOptions, StrataOptions
from skytrace.sky.selection_parity import ParityOptions as SelectionParityOptions
from skytrace.surveys.interface import CutoutBatch

PARAMETERS = {
    "selection": SelectionOptions(),
    "split": SplitOptions(),
    "strata": StrataOptions(pool_balance="record"),
    "preprocess": PreprocessOptions(),
    "quality": QualityOptions(),
    "training": TrainingOptions(epochs=2, images_per_epoch=128, batch_size=32, average_decay=0.5, threads=1),
    "threshold": ThresholdOptions(false_positive_rate=0.1),
    "evaluation": EvaluationOptions(n_resamples=100),
    "parts": PartsOptions(gallery=6),
    "shortcuts": ShortcutOptions(n_resamples=100),
    "gates": GateOptions(folds=2, classifier="logistic", n_resamples=100),
    "ensemble": EnsembleOptions(
        (MemberOptions("sharp", "psfsize_r", high=1.25), MemberOptions("blurred", "psfsize_r", low=1.25)), folds=2
    ),
    "calibration": CalibrationOptions(folds=2, n_resamples=100),
    "evaluation_strata": StrataEvaluationOptions(
        (StratumOptions("tier"), StratumOptions("arc_evidence", edges=(5.0, 50.0))), min_per_class=2, n_resamples=100
    ),
    "top": TopOptions(survey_galaxies=1e5, top=(100,), n_draws=100),
    "detectability": DetectabilityOptions(n_resamples=100),
    "selection_parity": SelectionParityOptions({"mag_z_21": {"mag_z_max": 21.0}}),
    "parity": ParityOptions(n_resamples=100),
    "anchor_flux": AnchorFluxOptions(),
}  # fmt: skip


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    from skytrace.surveys.mock import MockSurvey, MockSurveyOptions

    return MockSurvey(tmp_path_factory.mktemp("sky"), MockSurveyOptions(n_galaxies=600, threads=1))


class Kept(MemoryDataset):
    """Not forgotten once its last reader has run."""

    def release(self):
        pass


@pytest.fixture(scope="module")
def run(survey, tmp_path_factory):
    """Every dataset that the pipeline leaves, by its name without the namespace."""
    pipeline = create_pipeline()
    catalog = DataCatalog({name: Kept(copy_mode="assign") for name in pipeline.datasets()})
    catalog["detector_survey"] = MemoryDataset(survey, copy_mode="assign")
    for name, options in PARAMETERS.items():
        catalog[f"params:lens_finder.{name}"] = options
    scratch = str(tmp_path_factory.mktemp("scratch"))
    catalog["params:lens_finder.cutouts"] = CutoutOptions(chunk=64, scratch_folder=scratch)
    catalog["params:lens_finder.cluster"] = ClusterOptions(workers=1)
    catalog["params:lens_finder.checkpoint_folder"] = str(tmp_path_factory.mktemp("checkpoints"))
    SequentialRunner().run(pipeline, catalog)
    return {name.removeprefix("lens_finder."): catalog[name].load() for name in pipeline.all_outputs()}


def test_manifest_has_a_row_a_cutout_and_points_at_its_stamp(run, survey):
    manifest, stamps = run["manifest"], run["stamps"]
    assert tuple(manifest.columns[: len(MANIFEST_COLUMNS)]) == MANIFEST_COLUMNS
    assert manifest["galaxy_id"].tolist() == run["sample"]["galaxy_id"].tolist()
    kept = manifest[manifest["stamp_row"] >= 0]
    assert kept["stamp_row"].tolist() == list(range(len(stamps["stamps"])))
    assert kept["galaxy_id"].tolist() == stamps["galaxy_id"].tolist()
    some = kept.iloc[[0, 70, len(kept) - 1]]
    batch = survey.cutouts(some["galaxy_id"].tolist())
    np.testing.assert_array_equal(preprocess(batch.image, batch.invvar), stamps["stamps"][some["stamp_row"].to_numpy()])


def test_every_rejected_cutout_has_a_reason_and_the_ledger_counts_all(run):
    manifest, ledger = run["manifest"], run["quality_ledger"]
    assert ((manifest["stamp_row"] >= 0) == (manifest["reject_reasons"] == "")).all()
    assert ledger["cutouts"].sum() == len(manifest)
    accepted = ledger.loc[ledger["outcome"] == "accepted", "cutouts"].sum()
    assert accepted == len(run["stamps"]["stamps"])


def test_filter_ledger_closes(run, survey):
    ledger = run["filter_ledger"]
    assert ledger["rows_in"].iloc[0] == len(survey.galaxies())
    assert (ledger["rows_in"].iloc[1:].to_numpy() == ledger["rows_out"].iloc[:-1].to_numpy()).all()
    assert ledger["rows_out"].iloc[-1] == len(run["selected_galaxies"])


def test_only_sky_that_was_not_trained_on_is_scored(run):
    scores, manifest = run["scores"], run["manifest"]
    assert set(scores["split"]) <= {"val", "test", "anchor"}
    trained = manifest.loc[manifest["split"] == "train", "galaxy_id"]
    assert not scores["galaxy_id"].isin(trained).any()
    assert not manifest.loc[manifest["is_anchor"], "split"].isin(["train", "val"]).any()


def test_scores_are_those_of_the_saved_detector(run):
    rows = run["manifest"].set_index("galaxy_id").loc[run["scores"]["galaxy_id"], "stamp_row"].to_numpy()
    again = score_stamps(run["detector"], run["stamps"]["stamps"][rows[::-1]])[::-1]
    np.testing.assert_array_equal(run["scores"]["score"], again)


def test_card_says_what_the_detector_is_and_where_its_threshold_comes_from(run):
    card = json.loads(json.dumps(run["detector"].card, allow_nan=False))
    manifest = run["manifest"]
    accepted = manifest[(manifest["stamp_row"] >= 0)]
    for split, record in card["split"]["splits"].items():
        assert record["stamps"] == (accepted["split"] == split).sum()
    assert card["training_sample"]["lenses"] == ((accepted["split"] == "train") & (accepted["label"] == 1)).sum()
    assert card["preprocessing"]["checksum"] == preprocessing_checksum(PreprocessOptions())
    assert card["options"]["seed"] == PARAMETERS["training"].seed
    assert card["threshold"]["chosen_on"] == "validation"
    assert len(card["must_not_be_claimed"]) >= 3
    validation = run["scores"][run["scores"]["split"] == "val"]
    false = validation.loc[validation["label"] == 0, "score"] >= run["detector"].threshold
    assert false.sum() == card["threshold"]["validation_false_positives"] <= 0.1 * len(false)


def test_evaluation_is_of_the_test_split_and_is_plain_json(run):
    evaluation = json.loads(json.dumps(run["evaluation"], allow_nan=False))
    test = run["scores"][run["scores"]["split"] == "test"]
    assert evaluation["sample"]["rows"] == len(test)
    assert evaluation["threshold"] == run["detector"].threshold
    assert evaluation["held_out_anchors"]["recall"]["n"] == (run["scores"]["is_anchor"]).sum()
    assert evaluation["recall_at_false_positive_rate"]["0.01"]["resolved"] is False


def test_no_report_holds_a_number_that_json_does_not_know(run):
    reports = {name: value for name, value in run.items() if isinstance(value, dict) and name != "stamps"}
    assert {"evaluation", "split_report", "calibration", "strata_evaluation", "parity", "detectability"} <= set(reports)
    for report in reports.values():
        json.dumps(report, allow_nan=False)


def test_figures_are_figures(run):
    assert [len(run[name].axes) for name in ("roc", "precision_recall", "reliability")] == [1, 1, 2]


def test_every_node_carries_the_pipelines_tag_and_only_the_survey_comes_from_outside():
    pipeline = create_pipeline()
    assert all(node.tags == {"lens_finder"} for node in pipeline.nodes)
    outside = {name for name in pipeline.inputs() if not name.startswith("params:")}
    assert outside == {"detector_survey"}


def test_a_label_among_the_model_inputs_fails_the_run(run):
    stamps = run["stamps"] | {"label": np.zeros(len(run["stamps"]["stamps"]))}
    options = (PreprocessOptions(), PARAMETERS["training"], PARAMETERS["threshold"], "unused")
    with pytest.raises(LeakageError, match="'label' \\(a label\\)"):
        nodes.train_detector(stamps, run["manifest"], run["split_report"], *options)


def test_stamps_prepared_otherwise_than_in_training_are_not_scored(run):
    with pytest.raises(PixelError, match="preprocessing"):
        nodes.score_sample(run["detector"], run["stamps"], run["manifest"], PreprocessOptions(clip=5.0))


class Damaged:
    """A survey whose cutouts are spoilt by ``damage(image, invvar)``."""

    name = "damaged"

    def __init__(self, survey, damage):
        self.survey, self.damage = survey, damage

    def cutouts(self, galaxy_ids, *, size=101):
        batch = self.survey.cutouts(galaxy_ids, size=size)
        image, invvar = batch.image.copy(), batch.invvar.copy()
        self.damage(image, invvar)
        return CutoutBatch(batch.galaxy_id, image, invvar, batch.maskbits, batch.psf)


@pytest.fixture
def cut(tmp_path):
    options = CutoutOptions(scratch_folder=str(tmp_path / "scratch"))
    return lambda survey, sample: nodes.cut_stamps(survey, sample, PreprocessOptions(), QualityOptions(), options)


def test_a_nan_core_or_a_missing_band_rejects_that_cutout_alone(run, survey, cut):
    sample = run["sample"].iloc[:8].reset_index(drop=True)
    before = run["manifest"].iloc[:8]

    def damage(image, invvar):
        image[2, 1, 50, 50] = np.nan
        invvar[5, 0] = 0.0

    stamps, manifest, _ = cut(Damaged(survey, damage), sample)
    assert "nan_core_r" in manifest["reject_reasons"][2]
    assert "band_missing_g" in manifest["reject_reasons"][5]
    untouched = [row for row in range(8) if row not in (2, 5)]
    assert manifest["reject_reasons"][untouched].tolist() == before["reject_reasons"].iloc[untouched].tolist()
    assert np.isfinite(stamps["stamps"][:]).all()
    assert len(stamps["stamps"]) == (manifest["stamp_row"] >= 0).sum()


def test_pixels_in_another_unit_are_refused(run, survey, cut):
    def to_counts(image, invvar):
        image *= 300.0
        invvar /= 300.0**2

    with pytest.raises((PixelError, CatalogueError), match=r"nanomaggies|flux_unit"):
        cut(Damaged(survey, to_counts), run["sample"].iloc[:20].reset_index(drop=True))


def test_no_usable_cutout_at_all_is_an_error(run, survey, cut):
    def blank(image, invvar):
        invvar[:] = 0.0

    with pytest.raises(CatalogueError, match="rejected all 5 cutouts"):
        cut(Damaged(survey, blank), run["sample"].iloc[:5].reset_index(drop=True))


def test_tier_b_counts_half():
    assert sample_weights(["confirmed", "A", "B", ""]).tolist() == [1.0, 1.0, 0.5, 1.0]
    with pytest.raises(CatalogueError, match="tier 'C'"):
        sample_weights(["C"])


def test_stamps_wait_on_disk_and_leave_nothing_behind(run, survey, cut, tmp_path):
    stamps, _, _ = cut(survey, run["sample"].iloc[:30].reset_index(drop=True))
    assert isinstance(stamps["stamps"], StampStore)
    folder = next((tmp_path / "scratch").iterdir())
    assert {path.name for path in folder.iterdir()} == {"shard-00000.npz", "shard-00000.parquet"}
    again = run["stamps"]["stamps"][np.arange(len(stamps["stamps"]))]
    np.testing.assert_array_equal(stamps["stamps"][:], again)
    selected, copied = stamps["stamps"].select(np.array([3])), copy.deepcopy(stamps)["stamps"]
    del stamps
    assert np.isfinite(selected[:]).all() and len(copied[:]) == len(again), "the folder lives while anything reads it"
    del selected, copied
    gc.collect()
    assert not folder.exists()


def test_two_runs_in_one_scratch_folder_do_not_mix(run, survey, cut):
    first, _, _ = cut(survey, run["sample"].iloc[:20].reset_index(drop=True))
    before = first["stamps"][:]
    second, _, _ = cut(survey, run["sample"].iloc[20:40].reset_index(drop=True))
    np.testing.assert_array_equal(first["stamps"][:], before)
    assert not np.array_equal(second["stamps"][:10], before[:10])


def test_the_whole_sample_is_never_in_memory(survey, run, monkeypatch, tmp_path):
    """Cutouts are asked for a chunk at a time, and no array of all stamps is made before the catalog writes them."""
    asked = []
    real = survey.cutouts
    monkeypatch.setattr(
        type(survey), "cutouts", lambda self, ids, *, size=101: asked.append(len(ids)) or real(ids, size=size)
    )
    options = CutoutOptions(chunk=16, scratch_folder=str(tmp_path / "scratch"))
    nodes.cut_stamps(survey, run["sample"].iloc[:40], PreprocessOptions(), QualityOptions(), options)
    assert asked == [16, 16, 8]


def test_the_audit_scores_a_masked_core_with_the_published_detector(run):
    gates = run["region_gates"].set_index("classifier")
    assert {"detector", "detector, core masked", "core", "annulus", "profile", "catalogue"} == set(gates.index)
    rows = run["manifest"][run["manifest"]["split"].isin(["val", "test"]) & (run["manifest"]["stamp_row"] >= 0)]
    masked = mask_core(run["stamps"]["stamps"][rows["stamp_row"].to_numpy()], 8.0)
    expected = roc_auc(score_stamps(run["detector"], masked), rows["label"].to_numpy())
    assert gates.loc["detector, core masked", "auc"] == pytest.approx(expected, abs=1e-6)
    assert gates.loc["detector", "below_reference"] == 0


def test_the_audit_lists_the_detectors_inputs(run):
    assert run["audit"]["columns"] == {"inputs": ["stamps"], "metadata_fusion": False, "whitelisted": True}


def test_calibration_is_fitted_on_validation_and_judged_on_test(run):
    scores, report = run["calibrated_scores"], run["calibration"]
    validation = scores[scores["split"] == "val"]
    method = report["calibrator"]["method"]
    again = fit_calibrator(validation["score"], validation["label"], method=method)
    np.testing.assert_allclose(scores["probability"], again.apply(scores["score"]), atol=1e-12)
    test = scores[scores["split"] == "test"]
    after = calibration_errors(test["probability"].to_numpy(), test["label"].to_numpy())[0]
    assert report["all"]["after"]["ece"]["value"] == pytest.approx(after, abs=1e-9)


def test_the_ensemble_sees_no_more_images_than_the_single_network(run):
    budget = run["ensemble_report"]["image_budget"]
    images = budget["images_per_epoch_of_member"]
    assert set(images) == {"sharp", "blurred"}
    assert 0 < sum(images.values()) <= budget["images_per_epoch_single_network"] == 128


def test_recall_of_anchors_is_what_can_be_seen_times_what_is_found(run):
    factors = run["detectability"]["factors"]["all"]
    seen, found = factors["observable_fraction"], factors["conditional_recall"]
    assert factors["product"]["k"] == found["k"] and factors["product"]["n"] == seen["n"]
    anchors = run["scores"][(run["scores"]["is_anchor"]) & (run["scores"]["label"] == 1)]
    hits = (anchors["score"] >= run["detector"].threshold).sum()
    apart = factors["recall_of_unmeasured"]["k"]
    assert factors["recall"]["k"] == hits == factors["product"]["k"] + factors["recovered_unobservable"]["k"] + apart
    assert sum(part["k"] for part in factors["classes"].values()) == factors["recall"]["n"] == len(anchors)
    unstable = run["detectability"]["gate"]["unstable_or_unmeasured"]["anchors"]
    assert factors["classes"]["not_measured"]["k"] == unstable


def test_a_survey_with_one_route_gets_no_parity_verdict_and_says_so(run):
    assert run["parity"]["verdict"] is None and "one route" in run["parity"]["note"]
    assert run["parity"]["population"]["n_anchors"] == len(run["anchor_fluxes"])


def test_a_gain_between_two_routes_is_a_processing_artifact(run, survey, tmp_path):
    class TwoRoutes:
        name = "two routes"

        def __init__(self, gain):
            self.gain = gain

        def cutouts(self, ids, *, size=101):
            batch = survey.cutouts(ids, size=size)
            return CutoutBatch(
                batch.galaxy_id, batch.image * np.float32(self.gain), batch.invvar, batch.maskbits, batch.psf
            )

        def second_route(self):
            return TwoRoutes(1.2)

    cutouts = CutoutOptions(chunk=64, scratch_folder=str(tmp_path))
    report, _ = parity_nodes.check_parity(
        TwoRoutes(1.0), run["sample"], run["manifest"], PartsOptions(), cutouts,
        ParityOptions(n_resamples=100, population_tolerance_mag=3.0), AnchorFluxOptions(),
    )  # fmt: skip
    assert report["verdict"]["verdict"] == "processing artifact"
    assert report["processing"]["measures"]["r"]["central_ratio"]["value"] == pytest.approx(1.2, abs=0.01)


def test_other_selections_are_counted_beside_this_one(run):
    counts = run["selection_parity"]
    last = counts[(counts["type_bin"] == "all") & (counts["step"] == counts["step"].max())]
    assert last["rows_base"].sum() == len(run["selected_galaxies"])
    assert (last["difference_mag_z_21"] >= 0).all()


def test_the_page_tells_every_part_that_was_measured(run):
    page = run["evaluation_page"]
    for words in ("Detectability", "Shortcut", "Calibration", "Ensemble", "False positives", "one route"):
        assert words.lower() in page.lower(), words
    assert page.count("data:image/png") >= 12
