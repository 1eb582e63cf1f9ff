"""What is made of the measured surface: merged cells, stages, the published surface, a model, causes, card, page."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.injection_recovery import page_nodes, product_nodes, product_nodes_failures
from skytrace.pipelines.injection_recovery.graph import make_pipeline

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Merged cells, two stages, published surface, monotone model, stability, failure causes, model card, page."""
    return make_pipeline([*_of_the_surface(), *_of_the_misses(), *_pages()])


def _of_the_surface() -> list[Node]:
    """What the measured cells say further, and how far they can be trusted."""
    return [
        Node(
            product_nodes.merge_cells,
            ["injections", "detector", "params:grid", "params:completeness", "params:merging"],
            "merged_cells",
            name="merge_cells",
        ),
        Node(
            product_nodes.factor_completeness,
            ["injections", "detector", "params:grid", "params:completeness", "params:gates"],
            ["two_stage", "two_stage_report"],
            name="factor_completeness",
        ),
        Node(
            product_nodes.compare_with_published,
            ["selection_function", "injections", "host_report", "params:grid", "params:published"],
            ["published_cells", "published_marginals", "published_report", "published_cells_figure",
             "published_marginals_figure"],
            name="compare_with_published",
        ),
        Node(
            product_nodes.fit_model,
            ["injections", "hosts", "detector", "params:grid", "params:monotone"],
            ["monotone_model", "monotone_cells", "monotone_report", "monotone_figure"],
            name="fit_model",
        ),
        Node(
            product_nodes.check_stability,
            ["injections", "hosts", "detector", "params:stability"],
            ["stability_report", "stability_figure"],
            name="check_stability",
        ),
    ]  # fmt: skip


def _of_the_misses() -> list[Node]:
    """Why injections are missed."""
    return [
        Node(
            product_nodes_failures.explain_failures,
            ["survey", "detector", "hosts", "conditions", "injections", "params:grid", "params:population",
             "params:injection", "params:preprocess", "params:failures", "params:failure_sample"],
            ["failures", "failure_stamps"],
            name="explain_failures",
        ),
        Node(
            product_nodes_failures.count_failures,
            ["failures", "injections", "detector", "params:grid", "params:failures"],
            ["failure_counts", "failure_report", "failure_figure"],
            name="count_failures",
        ),
    ]  # fmt: skip


def _pages() -> list[Node]:
    """What a reader opens."""
    return [
        Node(
            product_nodes.write_card,
            ["selection_function", "realism_report", "conditions", "trends", "published_report", "host_report"],
            ["model_card", "model_card_page"],
            name="write_card",
        ),
        Node(
            page_nodes.summarise_products,
            ["two_stage_report", "stability_report", "monotone_report", "failure_report", "published_report"],
            "product_summary",
            name="summarise_products",
        ),
        Node(
            page_nodes.write_page,
            ["selection_function", "realism_report", "injections", "injection_stamps", "host_report", "trends",
             "marginals", "published_cells", "published_report", "failure_stamps", "failure_report",
             "product_summary", "model_card_page", "anchors", "composites", "params:gates"],
            "selection_function_page",
            name="write_page",
        ),
    ]  # fmt: skip
