"""The whole of supernova that `kedro run --pipelines supernova` makes, stage by stage."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.supernova import light_curves, stage_one
from skytrace.pipelines.supernova.graph import make_pipeline

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Light curves that can be used; one fit per supernova."""
    return make_pipeline([*_light_curves(), *_fits()])


def _light_curves() -> list[Node]:
    """Stage 0: raw sky, validated, cut, every row and every SN accounted for."""
    return [
        Node(
            light_curves.validate,
            ["supernova_survey", "params:validation"],
            ["validated_light_curves", "objects", "rejections", "validation_report"],
            name="validate",
        ),
        Node(light_curves.read_published, "supernova_survey", "published_hubble", name="read_published"),
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
            stage_one.make_hubble_table,
            ["light_curve_fits", "objects", "published_hubble", "params:hubble"],
            ["hubble", "hubble_left_out", "fit_report"],
            name="make_hubble_table",
        ),
    ]
