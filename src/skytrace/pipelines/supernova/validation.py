"""Stage 3 of supernova: outliers and their test, every report made again, figures and the page."""

from kedro.pipeline import Node

from skytrace.pipelines.supernova import stage_three, stage_three_checks, stage_three_page, stage_three_reports
from skytrace.pipelines.supernova.options import POSTERIORS

__all__ = ["REPORTS", "validation_nodes"]

#: Name of a report's file (without .json) -> its dataset. All of them are made again, and quoted by the page.
REPORTS = {
    "validation_report": "validation_report", "fit_report": "fit_report", "cosmology": "cosmology_report",
    "sampler": "sampler_report", "comparison": "comparison_report", "pairs": "pair_report", "folds": "fold_report",
    "seeds": "seed_report", "scatter": "scatter_report", "outliers": "outlier_report",
    "outlier_injection": "injection_report", "predictive": "predictive_report", "truth_report": "truth_report",
}  # fmt: skip
_REPORTS = {f"report_{name}": dataset for name, dataset in REPORTS.items()}
_GATE = "params:gate"


def validation_nodes() -> list[Node]:
    """The gate and its injection test; noise and fits checked; pairs and scatter; the table for experts; the
    recomputation; the page.
    """
    return [*_outliers(), *_checks(), *_reports(), _page()]


def _checks() -> list[Node]:
    posteriors = ["posterior_flat_lcdm", "posterior_flat_lcdm_mixture"]
    return [
        Node(
            stage_three_checks.check_noise,
            ["inference_table", *posteriors, "params:population"],
            "predictive_report",
            name="check_noise",
        ),
        Node(
            stage_three_checks.check_truth,
            ["light_curves", "light_curve_fits", "hubble", "inference_table", "truth", *posteriors, "params:fit",
             "params:population"],
            ["truth_residuals", "truth_report"],
            name="check_truth",
        ),
    ]  # fmt: skip


def _outliers() -> list[Node]:
    return [
        Node(
            stage_three.find_outliers,
            ["fold_scores", "pointwise_elpd", "light_curve_fits", "truth", "params:population", _GATE],
            ["outliers", "outlier_report"],
            name="find_outliers",
        ),
        Node(
            stage_three.inject_outliers,
            ["inference_table", "outliers", "hubble", "light_curves", "light_curve_fits", "objects",
             "params:population", "params:sampler", "params:fit", "params:hubble", _GATE, "params:injection"],
            ["injections", "injection_report"],
            name="inject_outliers",
        ),
        Node(
            stage_three.measure_scatter,
            ["fold_scores", "outliers", _GATE],
            "scatter_report",
            name="measure_scatter",
        ),
        Node(
            stage_three.join_supernovae,
            ["objects", "rejections", "quality", "light_curve_fits", "hubble_left_out", "outliers"],
            "supernovae",
            name="join_supernovae",
        ),
    ]  # fmt: skip


def _reports() -> list[Node]:
    tables = (
        "validated_light_curves", "objects", "rejections", "light_curve_fits", "hubble", "hubble_left_out",
        "published_hubble", "inference_table", "cosmology_residuals", "posterior_summary", "pointwise_elpd",
        "fold_scores", "seed_scores", "outliers", "injections", "truth_residuals", "truth",
    )  # fmt: skip
    options = ("validation", "inference", "population", "comparison", "folds", "gate")
    return [
        Node(
            stage_three_reports.compare_pairs,
            ["pointwise_elpd", "fold_scores", "inference_table", "posterior_summary", "params:inference",
             "params:population", _GATE],
            "pair_report",
            name="compare_pairs",
        ),
        Node(
            stage_three_reports.recompute,
            {**{name: name for name in tables}, **{name: f"params:{name}" for name in options},
             **{name: f"posterior_{name}" for name in POSTERIORS}, **_REPORTS},
            "recomputation",
            name="recompute",
        ),
    ]  # fmt: skip


def _page() -> Node:
    tables = (
        "recomputation", "inference_table", "model_comparison", "posterior_summary", "fold_scores",
        "light_curves", "light_curve_fits", "outliers", "injections", "truth", "quality_ledger",
        "posterior_flat_lcdm", "posterior_qfd_anchored",
    )  # fmt: skip
    figures = [f"{name}_{kind}" for name in stage_three_page.FIGURES for kind in ("figure", "figure_pdf")]
    return Node(
        stage_three_page.write_page,
        {
            **{name: name for name in tables},
            **{name: f"params:{name}" for name in ("inference", "population", "fit", "gate")},
            **_REPORTS,
        },
        [*figures, "supernova_page"],
        name="write_page",
    )
