"""The whole pipeline on few simulated supernovae: what stage 3 writes is what the stages before it gave."""

import copy
from typing import Any, get_type_hints

import numpy as np
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from skytrace.parameters import build_options
from skytrace.pipelines.supernova import stage_three_page, stage_three_reports
from skytrace.pipelines.supernova.options import POSTERIORS
from skytrace.pipelines.supernova.pipeline import create_pipeline
from skytrace.pipelines.supernova.validation import REPORTS
from skytrace.supernovae.model_comparison import fold_figures
from skytrace.supernovae.recomputation import RecomputationError
from skytrace.surveys.supernovae.mock import MockSupernovae
from skytrace.surveys.supernovae.options import MockSupernovaOptions

pytestmark = pytest.mark.slow
#: One number of every report, and of the posteriors' summary.
_CORRUPTED = {
    "validation_report": "rows_kept", "fit_report": "alpha_err.percentile_50", "cosmology": "fits.flat_lcdm.omega_m",
    "sampler": "basis.kappa_raw", "comparison": "posteriors.0.elpd_loo", "pairs": "noise.flat_lcdm.difference",
    "folds": "flat_lcdm.held_out.elpd", "seeds": "models.flat_lcdm.spread_mag",
    "scatter": "laws.flat_lcdm.clean.rms_mag", "outliers": "sides.n_brighter",
    "outlier_injection": "levels.light_curve.auc.neg_elpd.value", "predictive": "noise.student_t.all.tails.0.expected",
    "truth_report": "alpha.mle.unflagged.median",
}  # fmt: skip


def _merged(base: dict, over: dict) -> dict:
    out = dict(base)
    for key, value in over.items():
        out[key] = _merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


class _Kept(MemoryDataset):
    """What a run makes, kept for the tests: runners release it after its last use."""

    def _release(self) -> None:
        pass


@pytest.fixture(scope="module")
def run(repository, tmp_path_factory) -> dict[str, Any]:
    """Every dataset of a run with the parameters of the smoke environment, by its name without the namespace."""
    values: dict = {}
    for env in ("base", "smoke"):
        path = repository / f"conf/{env}/parameters_supernova.yml"
        values = _merged(values, yaml.safe_load(path.read_text())["supernova"])
    values["shards"]["folder"] = str(tmp_path_factory.mktemp("shards"))
    values["distance_bias"]["n_supernovae"] = 0
    values["cluster"]["workers"] = 1
    pipeline = create_pipeline()
    survey = MockSupernovae(MockSupernovaOptions(n_supernovae=160))
    catalog = DataCatalog({"supernova_survey": MemoryDataset(survey, copy_mode="assign")})
    for node in pipeline.nodes:
        hints = get_type_hints(node.func)
        for argument, name in _arguments(node):
            if name.startswith("params:supernova."):
                value: Any = values
                for part in name.removeprefix("params:supernova.").split("."):
                    value = value[part]
                kind = hints[argument]
                catalog[name] = _Kept(build_options(name, value, kind))
    for name in pipeline.all_outputs():
        catalog[name] = _Kept(copy_mode="assign")
    SequentialRunner().run(pipeline, catalog)
    names = pipeline.all_outputs() | {name for name in pipeline.inputs() if name.startswith("params:supernova.")}
    return {name.replace("supernova.", "", 1): catalog[name].load() for name in names}


def _arguments(node: Any) -> list[tuple[str, str]]:
    import inspect

    bound = inspect.signature(node.func).bind(
        *(node._inputs if isinstance(node._inputs, list) else [node._inputs] if isinstance(node._inputs, str) else []),
        **(node._inputs if isinstance(node._inputs, dict) else {}),
    )
    return [(name, value) for name, value in bound.arguments.items() if isinstance(value, str)]


def _keys(report: Any, key: str) -> tuple[Any, Any]:
    """The container of a dotted key, and its last part."""
    *path, last = key.split(".")
    for part in path:
        report = report[int(part)] if isinstance(report, list) else report[part]
    return report, int(last) if isinstance(report, list) else last


def _recompute(run: dict[str, Any], reports: dict[str, Any]) -> Any:
    (node,) = (node for node in create_pipeline().nodes if node.name.endswith(".recompute"))
    taken = {argument: dataset.replace("supernova.", "", 1) for argument, dataset in node._inputs.items()}
    values = {argument: run[dataset] for argument, dataset in taken.items()}
    return stage_three_reports.recompute(**{**values, **{f"report_{name}": one for name, one in reports.items()}})


def test_every_report_comes_out_again(run):
    found = run["recomputation"]
    assert found["agrees"], [row for row in found["numbers"] if row["state"] == "differs"]
    assert found["n_agree"] > 900
    assert {row["file"] for row in found["numbers"]} == {f"{name}.json" for name in REPORTS} | {"posterior_summary.csv"}
    left = {name.split(":")[0] for name in found["not_recomputed"]}
    assert left <= {"sampler.json", "outlier_injection.json"}


def test_a_corrupted_number_of_any_report_is_the_one_that_is_found(run):
    reports = {name: copy.deepcopy(run[dataset]) for name, dataset in REPORTS.items()}
    assert set(_CORRUPTED) == set(reports)
    for name, key in _CORRUPTED.items():
        container, last = _keys(reports[name], key)
        container[last] = container[last] + (1 if isinstance(container[last], int) else 1e-6)
    summary = run["posterior_summary"].copy()
    chosen = (summary["posterior"] == "flat_lcdm") & (summary["parameter"] == "omega_m")
    summary.loc[chosen, "high68"] += 1e-6
    found = _recompute({**run, "posterior_summary": summary}, reports)
    wrong = {f"{row['file']}:{row['key']}" for row in found["numbers"] if row["state"] == "differs"}
    expected = {f"{name}.json:{key}" for name, key in _CORRUPTED.items()}
    assert wrong == expected | {"posterior_summary.csv:flat_lcdm.omega_m.high68"}


def test_the_experts_table_adds_up_to_the_supernovae_of_every_stage(run):
    table, quality, ledger = run["supernovae"], run["quality"], run["quality_ledger"]
    assert set(table["snid"]) == set(run["objects"]["snid"]) and table["snid"].is_unique
    removed = table["removed_by"].value_counts().to_dict()
    assert removed == quality["removed_by"].value_counts().to_dict()
    assert removed.pop("") == len(run["light_curve_fits"]) == ledger["supernovae_out"].iloc[-1]
    assert removed and sum(removed.values()) == ledger["supernovae_removed"].sum()
    fitted = table[table["removed_by"] == ""]
    left_out = fitted["left_out_because"].notna()
    assert set(fitted.loc[left_out, "snid"]) == set(run["hubble_left_out"]["snid"])
    assert set(fitted.loc[~left_out, "snid"]) == set(run["hubble"]["snid"])
    assert set(table.loc[table["p_outlier"].notna(), "snid"]) == set(run["inference_table"]["snid"])


def test_no_page_is_written_where_a_number_differs(run):
    wrong = copy.deepcopy(run["recomputation"])
    wrong["numbers"][0]["state"] = "differs"
    (node,) = (node for node in create_pipeline().nodes if node.name.endswith(".write_page"))
    values = {name: run[dataset.replace("supernova.", "", 1)] for name, dataset in node._inputs.items()}
    with pytest.raises(RecomputationError, match="1 of"):
        stage_three_page.write_page(**{**values, "recomputation": wrong})


def test_the_page_shows_every_figure_and_quotes_the_reports(run):
    page = run["supernova_page"]
    assert page.count("<img") == len(stage_three_page.FIGURES)
    pairs, predictive, truth = (run[name] for name in ("pair_report", "predictive_report", "truth_report"))
    for number in (
        format(pairs["noise"]["flat_lcdm"]["difference"], "+.1f"),
        format(predictive["noise"]["student_t"]["all"]["ks_p"], ".2g"),
        format(truth["population"]["flat_lcdm_mixture"]["omega_m"]["mean"], ".3f"),
        format(run["injection_report"]["levels"]["alpha"]["auc"]["log_odds"]["value"], ".3f"),
    ):
        assert number.replace("-", "−") in page
    failing = any(one["fails"] for one in predictive["noise"].values())
    assert ("The residuals contradict neither" in page) != failing


def test_seeds_move_the_rms_of_the_held_out_alone_and_by_what_is_reported(run):
    scores, report = run["seed_scores"], run["seed_report"]
    held = run["inference_table"].loc[run["inference_table"]["held_out"], "snid"]
    for (model, _), rows in scores.groupby(["model", "seed"]):
        assert set(rows["snid"]) == set(held)
        assert fold_figures(rows)["rms_all_mag"] in report["models"][model]["rms_all_mag"].values()
    assert report["largest_spread_mag"] > 0.0


def test_light_that_was_made_brighter_comes_back_brighter_and_nobody_else_moves(run):
    table = run["injections"]
    light = table[table["level"] == "light_curve"]
    injected = light[light["injected"].astype(bool) & ~light["lost"].astype(bool)]
    assert len(injected) > 5
    np.testing.assert_allclose(np.log(injected["recovered"]), np.log(injected["factor"]), atol=0.35)
    assert (light.loc[~light["injected"].astype(bool), "recovered"] == 1.0).all()
    strong = injected[injected["factor"] > 5.0]
    np.testing.assert_allclose(strong["residual_mag"], -2.5 * np.log10(strong["factor"]), atol=1.0)
    others = set(run["hubble"]["snid"]) - set(injected["snid"])
    assert others <= set(light["snid"])


def test_alpha_is_true_within_its_errors_and_truth_decides_nothing(run):
    report = run["truth_report"]
    mean = report["alpha"]["mean"]["unflagged"]
    assert abs(mean["mean"]) < 4.0 * mean["mean_err"]
    assert 0.7 < mean["pull_sd"] < 1.4
    assert report["truth"]["omega_m"] == pytest.approx(0.31, abs=1e-6)
    readers = {node.name for node in create_pipeline().nodes if "supernova.truth" in node.inputs}
    assert readers == {
        f"supernova.{name}" for name in ("find_outliers", "check_truth", "recompute", "write_page")
    }  # fmt: skip
    assert set(POSTERIORS) == {name.removeprefix("posterior_") for name in run if name.startswith("posterior_")} - {
        "summary", "predictive_figure", "predictive_figure_pdf"
    }  # fmt: skip
