"""The whole of cluster_pu on a small simulated sky: what it writes is what its parts say, and truth decides nothing."""

import inspect
import shutil
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from scipy.stats import ks_2samp

from skytrace.clusters.worse_sky import SkyShift
from skytrace.compute import ClusterOptions
from skytrace.learning.metrics import roc_auc
from skytrace.parameters import build_options
from skytrace.pipelines.cluster_pu.features import measure_features
from skytrace.pipelines.cluster_pu.fields import cut_fields, fields_in_order
from skytrace.pipelines.cluster_pu.options import FeatureOptions, FieldOptions
from skytrace.pipelines.cluster_pu.pipeline import create_pipeline
from skytrace.pipelines.cluster_pu.triage import FIGURES
from skytrace.surveys.clusters.mock import MockClusters
from skytrace.surveys.clusters.options import MockClusterOptions

N_FIELDS, PIXELS = 150, 64
_SINGLE = ("best cut in one colour: ", "best single colour-based count: ", "best single coherence of colours: ")


def _merged(base: dict, over: dict) -> dict:
    out = dict(base)
    for key, value in over.items():
        out[key] = _merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class _Kept(MemoryDataset):
    """What a run makes, kept for the tests: runners release it after its last use."""

    def _release(self) -> None:
        pass


def _survey(**kwargs: Any) -> MockClusters:
    return MockClusters(
        MockClusterOptions(
            n_clusters=N_FIELDS, lens_fraction=0.4, label_fraction=0.6, pixels=PIXELS, threads=1, **kwargs
        )
    )


@pytest.fixture(scope="module")
def run(repository, tmp_path_factory) -> dict[str, Any]:
    """Every dataset of a run with the parameters of the smoke environment, by its name without the namespace."""
    values: dict = {}
    for env in ("base", "smoke"):
        path = repository / f"conf/{env}/parameters_cluster_pu.yml"
        values = _merged(values, yaml.safe_load(path.read_text())["cluster_pu"])
    values["shards"] = {"folder": str(tmp_path_factory.mktemp("shards")), "fields": 40}
    values["features"]["patches"]["pixels"] = PIXELS
    values["transformer"]["checkpoints"] = str(tmp_path_factory.mktemp("checkpoints"))
    values["split"]["fractions"] = [0.4, 0.3, 0.3]
    values["prior"]["unlabelled"] = 0.2
    values["learning"]["shuffles"] = 1
    values["prior_study"] |= {"n_simulations": 1, "n_unlabelled": 500}
    pipeline = create_pipeline()
    catalog = DataCatalog({"cluster_survey": MemoryDataset(_survey(), copy_mode="assign")})
    for node in pipeline.nodes:
        hints = get_type_hints(node.func)
        bound = inspect.signature(node.func).bind(*([node._inputs] if isinstance(node._inputs, str) else node._inputs))
        for argument, name in bound.arguments.items():
            if name.startswith("params:cluster_pu."):
                value = values[name.removeprefix("params:cluster_pu.")]
                catalog[name] = _Kept(build_options(name, value, hints[argument]))
    for name in pipeline.all_outputs():
        catalog[name] = _Kept(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    names = pipeline.all_outputs() | {name for name in pipeline.inputs() if name.startswith("params:")}
    return {name.replace("cluster_pu.", "", 1): catalog[name].load() for name in names}


def test_every_field_is_ranked_once_and_known_lenses_are_not_candidates(run):
    candidates = run["candidates"]
    assert sorted(candidates["cluster_id"]) == sorted(run["clusters"]["cluster_id"])
    ranks = candidates.loc[~candidates["known_lens"], "rank"].to_numpy()
    np.testing.assert_array_equal(ranks, np.arange(1, len(ranks) + 1))
    assert (candidates.loc[candidates["known_lens"], "rank"] == 0).all()
    assert (np.diff(candidates["logit"]) <= 0).all()


def test_no_cell_is_in_two_splits_and_test_fields_are_scored_by_what_never_saw_them(run):
    split = run["split"]
    assert (split.groupby("cell")["split"].nunique() == 1).all()
    assert run["learning_report"]["known_lenses"] == int(split.loc[split["split"] == "train", "known_lens"].sum())
    calibrated = run["learning_report"]["calibrated_on"]
    assert sum(calibrated.values()) == int((split["split"] == "val").sum())


def test_probabilities_are_at_the_skys_prior_and_inside_their_intervals(run):
    candidates, prior = run["candidates"], run["params:prior"]
    shift = np.log(prior.sky / (1 - prior.sky)) - np.log(prior.unlabelled / (1 - prior.unlabelled))
    np.testing.assert_allclose(candidates["logit"] - candidates["logit_unlabelled"], shift, rtol=1e-9)
    np.testing.assert_allclose(candidates["probability"], 1 / (1 + np.exp(-candidates["logit"])), rtol=1e-9)
    assert (candidates["low_95"] <= candidates["low_68"]).all()
    assert (candidates["high_68"] <= candidates["high_95"]).all()
    inside = (candidates["low_95"] <= candidates["probability"]) & (candidates["probability"] <= candidates["high_95"])
    assert inside.mean() > 0.9
    # at 1e-4, uncertain by a factor of two either way, nothing is known to better than that
    assert np.median(candidates["high_68"] / candidates["low_68"]) > 2.0


def test_the_reported_auc_is_that_of_the_test_fields_against_the_truth(run):
    truth = run["truth"].set_index("cluster_id")["is_lens"]
    test = run["logits"][run["logits"]["split"] == "test"]
    expected = roc_auc(test["logit"].to_numpy(), truth.loc[test["cluster_id"]].to_numpy().astype(int))
    report = run["evaluation"]["rare_events"]
    assert report["auroc"]["value"] == pytest.approx(expected)
    assert report["sample"]["positives"] == int(truth.loc[test["cluster_id"]].sum())
    table = run["ablation_table"].set_index("variant")
    assert table.loc["stack, calibrated", "auroc"] == pytest.approx(expected)
    assert table.loc["stack, calibrated", "difference_value"] == 0.0
    groups = {f"without {name}" for name in ("patches", "cutout", "peak_colours", "catalogue")}
    assert groups | {"elkan_noto", "nn_pu", "positive_vs_unlabelled", "oracle: trained on true labels"} <= set(
        table.index
    )


def test_what_a_colour_is_worth_is_told_apart_from_what_a_count_by_colour_is(run):
    variants = list(run["ablation_table"]["variant"])
    chosen = {words: name.removeprefix(words) for words in _SINGLE for name in variants if name.startswith(words)}
    assert set(chosen) == set(_SINGLE)
    assert "_minus_" in chosen["best cut in one colour: "]
    assert "peaks" in chosen["best single colour-based count: "] or "agreeing" in chosen[_SINGLE[1]]


def test_the_page_says_what_is_extrapolated_what_the_backstop_finds_and_how_often_the_bound_holds(run):
    report, page = run["evaluation"], run["triage_page"]
    curve = pd.DataFrame(report["rare_events"]["discovery_curve"])
    assert (curve["resolved"] == (curve["negatives_above"] >= 1)).all() and not curve["resolved"].iloc[0]
    assert (curve["at_limit"] <= curve["discoveries"]).all() and (curve["by_probability"] > 0).all()
    assert "no: extrapolated" in page and "at the upper limit of the false-positive rate" in page
    over = report["anomalies"]["over_chance"]
    assert over["called"] == sum(report["anomalies"][name]["anomalous"] for name in ("lenses", "non_lenses"))
    assert "anomaly backstop" in page and "% of these; sky split" in page
    (bound,) = report["prior_upper_bound"]
    assert bound["prior"] == 0.01 and bound["n_simulations"] == 1 and bound["covers_high_95"] <= 1.0
    assert "upper bound of the prior holds" in page


def test_truth_reaches_the_evaluation_and_nothing_else(run):
    readers = {node.name for node in create_pipeline().nodes if "cluster_pu.truth" in node.inputs}
    assert readers == {"cluster_pu.evaluate", "cluster_pu.judge_tracks"}
    (judge,) = (node for node in create_pipeline().nodes if node.name.endswith(".judge_tracks"))
    assert not {name for node in create_pipeline().nodes for name in node.inputs} & set(judge.outputs)
    after = create_pipeline().from_nodes("cluster_pu.evaluate").nodes
    assert {node.name.split(".")[1] for node in after} == {"evaluate", "write_page"}
    for name in ("features", "split", "logits", "candidates"):
        assert not {"is_lens", "kind", "z_source", "theta_e_arcsec"} & set(run[name].columns)


def test_fields_without_a_lens_are_scored_as_the_test_fields_are_and_reach_the_evaluation_alone(run):
    readers = {node.name for node in create_pipeline().nodes if "cluster_pu.lens_free_logits" in node.inputs}
    assert readers == {"cluster_pu.evaluate"}
    more, report = run["lens_free_logits"], run["evaluation"]
    assert not set(more["cluster_id"]) & set(run["clusters"]["cluster_id"])
    told, few = report["more_non_lenses"], report["rare_events"]
    assert told["lens_free_fields"] == len(more) == run["params:lens_free"].fields
    assert told["sample"]["negatives"] == few["sample"]["negatives"] + len(more)
    assert told["sample"]["positives"] == few["sample"]["positives"]
    # they are the other fields once more: their scores are those of the test fields that hold no lens
    truth = run["truth"].set_index("cluster_id")["is_lens"]
    test = run["logits"][run["logits"]["split"] == "test"]
    others = test.loc[~truth.loc[test["cluster_id"]].to_numpy(dtype=bool), "logit"].to_numpy()
    assert ks_2samp(more["logit"], others).pvalue > 1e-3


def test_a_real_sky_without_truth_is_judged_by_its_known_lenses_and_says_so(run):
    from skytrace.pipelines.cluster_pu.evaluation import evaluate

    (node,) = (node for node in create_pipeline().nodes if node.name.endswith(".evaluate"))
    values = [run[name.replace("cluster_pu.", "", 1)] for name in node._inputs]
    report, table, _, _ = evaluate(run["truth"].iloc[:0], *values[1:])
    test = run["logits"][run["logits"]["split"] == "test"]
    assert report["rare_events"]["sample"]["positives"] == int(test["known_lens"].sum())
    assert "undiscovered lenses too" in report["truth"]
    assert "oracle: trained on true labels" not in set(table["variant"])


def test_sweeping_the_prior_moves_precision_and_cost_the_right_way(run):
    table = run["by_prior"].sort_values("prior")
    assert (np.diff(table["average_precision"]) > 0).all()
    assert (np.diff(table["hours_per_discovery"]) < 0).all()
    assert table["learner_auroc"].notna().all()


def test_the_page_is_one_file_with_a_strip_for_every_candidate_and_escaped_names(run):
    page = run["triage_page"]
    shown = run["params:triage"].candidates
    assert page.count("<img") == shown + len(FIGURES)
    assert "http" not in page.split("<style>")[0].replace("http-equiv", "") and "<script" not in page
    first = run["candidates"].query("rank == 1")["cluster_id"].item()
    assert f"1. {first}" in page


def test_names_from_a_catalogue_cannot_become_markup():
    from skytrace.reporting.triage_page import Candidate, triage_page

    page = triage_page([Candidate(1, "<b>x</b>", ("<i>",), ("a & b",), b"png")], subtitle="<u>", sentences=["<s>"])
    for markup in ("<b>x", "<i>", "<u>", "<s>"):
        assert markup not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page and "a &amp; b" in page


def test_shards_that_are_there_are_not_rendered_again_and_their_size_changes_nothing(tmp_path, monkeypatch):
    survey = _survey()
    clusters = survey.clusters().iloc[:6].reset_index(drop=True)
    inline = ClusterOptions(workers=1)
    whole = cut_fields(survey, clusters, FieldOptions(str(tmp_path / "a"), fields=6), inline)
    parts = cut_fields(survey, clusters, FieldOptions(str(tmp_path / "b"), fields=2), inline)
    assert parts["shard"].nunique() == 3 and whole["shard"].nunique() == 1
    ids = clusters["cluster_id"].to_list()
    for (_, one, i), (_, two, j) in zip(fields_in_order(whole, ids), fields_in_order(parts, ids), strict=True):
        np.testing.assert_array_equal(one.image[i], two.image[j])
    asked: list[int] = []
    rendered = MockClusters.cutouts
    monkeypatch.setattr(MockClusters, "cutouts", lambda self, ids: asked.append(len(ids)) or rendered(self, ids))
    Path(parts["shard"].iloc[2]).unlink()
    again = cut_fields(survey, clusters, FieldOptions(str(tmp_path / "b"), fields=2), inline)
    assert asked == [2]
    pd.testing.assert_frame_equal(again, parts)
    options = FeatureOptions(patches=_patches(), shifts=(SkyShift("shallower", 1.0, 0.5),))
    split = pd.DataFrame({"cluster_id": ids, "split": ["test"] * 3 + ["train"] * 3})
    one = measure_features(whole, clusters, split, options, FieldOptions(str(tmp_path / "a")), inline)
    two = measure_features(parts, clusters, split, options, FieldOptions(str(tmp_path / "b")), inline)
    for first, second in zip(one, two, strict=True):
        pd.testing.assert_frame_equal(first, second)
    assert one[1]["cluster_id"].to_list() == ids[:3]
    shutil.rmtree(tmp_path)


def _patches():
    """Patch options of the small cutouts."""
    from skytrace.clusters.options import PatchOptions

    return PatchOptions(pixels=PIXELS, pool_outer=True)


def test_the_transformer_sees_the_fields_that_were_cut_and_training_fields_once_more_under_a_worse_sky(run):
    from skytrace.clusters.field_inputs import network_inputs
    from skytrace.pipelines.cluster_pu.transformer_inputs import inputs_of

    index, split, options = run["transformer_inputs"], run["split"], run["params:transformer"].inputs
    train = set(split.loc[split["split"] == "train", "cluster_id"])
    assert set(index.loc[index["condition"] == "view_1", "cluster_id"]) == train
    test = set(split.loc[split["split"] == "test", "cluster_id"])
    assert set(index.loc[index["condition"] == "shallower", "cluster_id"]) == test
    some = split["cluster_id"].iloc[[120, 3, 77]]
    store = inputs_of(index, some)
    for row, (_, cutouts, k) in zip(store[:], fields_in_order(run["fields"], list(some)), strict=True):
        expected = network_inputs(
            cutouts.image[[k]], cutouts.psf.take([k]), pixel_scale_arcsec=cutouts.pixel_scale_arcsec, options=options
        )
        np.testing.assert_allclose(row, expected[0], rtol=1e-3, atol=1e-3)  # half precision on disk


def test_both_tracks_are_stacked_out_of_fold_and_calibrated_on_val_alone(run):
    from skytrace.learning.pu_calibration import fit_pu_scale
    from skytrace.learning.pu_stacking import fit_pu_stack, stacked_logits

    logits, transformer, record = run["logits"], run["transformer_logits"], run["track_stack"]
    np.testing.assert_array_equal(logits["cluster_id"], transformer["cluster_id"])
    np.testing.assert_array_equal(logits["transformer"], transformer["logit"])
    np.testing.assert_array_equal(logits["trees"], run["tree_logits"]["logit_unlabelled"])
    train, val = logits["split"] == "train", logits["split"] == "val"
    assert ((transformer["fold"] >= 0) == train).all()
    known = logits["known_lens"].astype(int)
    stack = fit_pu_stack(
        logits.loc[train, ["trees", "transformer"]], known[train], penalty=run["params:learning"].penalty
    )
    assert stack["coefficients"] == pytest.approx(record["stack"]["coefficients"])
    np.testing.assert_allclose(stacked_logits(stack, logits[~train]), logits.loc[~train, "stack"])
    assert np.abs(stacked_logits(stack, logits[train]) - logits.loc[train, "stack"]).max() > 1e-6
    scale = fit_pu_scale(logits.loc[val, "stack"], known[val], prior=run["params:prior"].unlabelled)
    assert scale == pytest.approx((record["scale"]["slope"], record["scale"]["intercept"]))


def test_training_fields_are_scored_by_the_network_of_their_fold_and_the_others_by_all(run):
    from skytrace.learning.pu_transformer import dihedral_logits
    from skytrace.pipelines.cluster_pu.transformer_inputs import inputs_of

    model, table = run["transformer"], run["transformer_logits"]
    for fold, networks in ((0, [0]), (-1, range(len(model.states)))):
        rows = table[table["fold"] == fold].head(20)
        seen = inputs_of(run["transformer_inputs"], rows["cluster_id"])
        raw = [dihedral_logits(model.network(k), seen, test_views=model.card["test_views"]) for k in networks]
        np.testing.assert_allclose(model.final_logits(np.mean(raw, axis=0)), rows["logit"], atol=1e-5)


def test_the_tracks_are_judged_against_the_truth_of_the_test_fields(run):
    truth = run["truth"].set_index("cluster_id")["is_lens"]
    test = run["logits"][run["logits"]["split"] == "test"]
    labels = truth.loc[test["cluster_id"]].to_numpy().astype(int)
    found = run["transformer_evaluation"]["auroc"]
    for name, column in (("transformer", "transformer"), ("CPU track", "trees"), ("stack of both", "stack")):
        assert found[name]["auroc"]["value"] == pytest.approx(roc_auc(test[column].to_numpy(), labels))
    gain = found["transformer"]["auroc"]["value"] - found["CPU track"]["auroc"]["value"]
    assert found["transformer"]["minus_cpu_track"]["value"] == pytest.approx(gain)
    assert "transformer trained on true labels" in found
    np.testing.assert_allclose(run["transformer_attention"]["attention"].sum(axis=(1, 2)), 1.0, atol=1e-5)
