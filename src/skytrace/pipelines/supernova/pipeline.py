"""The whole of supernova that `kedro run --pipelines supernova` makes, stage by stage."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.supernova import light_curves, stage_one, stage_two
from skytrace.pipelines.supernova.graph import make_pipeline
from skytrace.pipelines.supernova.options import POSTERIORS, check_choices
from skytrace.pipelines.supernova.validation import validation_nodes

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Light curves that can be used; one fit per supernova; the population and the comparison of laws; outliers,
    figures and the page.
    """
    return make_pipeline([*_light_curves(), *_fits(), *_inference(), *validation_nodes()])


def _light_curves() -> list[Node]:
    """Stage 0: raw sky, validated, cut, every row and every SN accounted for."""
    return [
        Node(
            check_choices,
            ["params:milky_way_dust", "params:folds", "params:gate", "params:population"],
            None,
            name="check_choices",
        ),
        Node(
            light_curves.validate,
            ["supernova_survey", "params:validation"],
            ["validated_light_curves", "objects", "rejections", "validation_report"],
            name="validate",
        ),
        Node(
            light_curves.read_published,
            ["supernova_survey", "params:inference", "params:hubble"],
            "published_hubble",
            name="read_published",
        ),
        Node(light_curves.read_truth, "supernova_survey", "truth", name="read_truth"),
        Node(
            light_curves.cut,
            ["validated_light_curves", "objects", "params:milky_way_dust", "params:quality"],
            ["light_curves", "quality", "quality_ledger"],
            name="cut",
        ),
    ]


def _fits() -> list[Node]:
    """Stage 1: t0, A, beta and alpha of every SN, and the Hubble table that they make."""
    return [
        Node(
            stage_one.fit,
            ["light_curves", "params:fit", "params:shards", "params:cluster"],
            "light_curve_fits",
            name="fit",
        ),
        Node(
            stage_one.simulate_distances,
            [
                "supernova_survey",
                "params:validation",
                "params:milky_way_dust",
                "params:quality",
                "params:fit",
                "params:hubble",
                "params:distance_bias",
                "params:shards",
                "params:cluster",
            ],
            "simulated_distances",
            name="simulate_distances",
        ),
        Node(
            stage_one.make_hubble_table,
            [
                "light_curve_fits",
                "objects",
                "published_hubble",
                "simulated_distances",
                "params:hubble",
                "params:distance_bias",
            ],
            ["hubble", "hubble_left_out", "distance_bias", "fit_report"],
            name="make_hubble_table",
        ),
    ]


def _inference() -> list[Node]:
    """Stage 2: the laws fitted to every table, posteriors of the one that is inferred from, and what they predict."""
    drawn = {name: f"posterior_{name}" for name in POSTERIORS}
    return [
        Node(
            stage_two.split_inference_table,
            ["hubble", "published_hubble", "params:inference", "params:comparison"],
            "inference_table",
            name="split_inference_table",
        ),
        Node(
            stage_two.fit_laws,
            ["hubble", "published_hubble", "params:inference", "params:population"],
            ["cosmology_report", "cosmology_residuals"],
            name="fit_laws",
        ),
        *(
            Node(
                stage_two.posterior_sampler(name),
                ["inference_table", "params:posteriors", "params:population", "params:sampler"],
                posterior,
                name=f"sample_{name}",
            )
            for name, posterior in drawn.items()
        ),
        Node(
            stage_two.summarise_posteriors,
            {"inference_table": "inference_table", **drawn},
            ["posterior_summary", "sampler_report"],
            name="summarise_posteriors",
        ),
        Node(
            stage_two.compare_posteriors,
            {"options": "params:comparison", **drawn},
            ["model_comparison", "pointwise_elpd", "comparison_report"],
            name="compare_posteriors",
        ),
        Node(
            stage_two.predict_unseen,
            ["inference_table", "params:population", "params:sampler", "params:folds", "params:shards",
             "params:cluster"],
            ["fold_scores", "fold_report"],
            name="predict_unseen",
        ),
        Node(
            stage_two.check_seeds,
            ["inference_table", "params:population", "params:sampler", "params:folds"],
            ["seed_scores", "seed_report"],
            name="check_seeds",
        ),
    ]  # fmt: skip
