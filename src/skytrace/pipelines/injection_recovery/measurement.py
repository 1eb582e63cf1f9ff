"""From hosts that the detector never saw to its measured selection function, the gates' verdict and the page."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.injection_recovery import anchors, gates, nodes
from skytrace.pipelines.injection_recovery.graph import make_pipeline

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Hosts, injections, gates, surface."""
    return make_pipeline([*_injections(), *_gates(), *_surface()])


def _injections() -> list[Node]:
    """Hosts that the detector never saw, and what it makes of the lenses put into them."""
    return [
        Node(
            nodes.choose_hosts,
            ["survey", "split_galaxies", "params:host_selection", "params:hosts", "params:grid", "params:preprocess",
             "params:quality", "params:cluster", "params:shard_folder"],
            ["hosts", "conditions", "host_report"],
            name="choose_hosts",
        ),
        Node(
            nodes.inject,
            ["survey", "detector", "hosts", "conditions", "split_galaxies", "manifest", "params:grid", "params:hosts",
             "params:population", "params:injection", "params:preprocess", "params:cluster", "params:shard_folder"],
            "injections",
            name="inject",
        ),
    ]  # fmt: skip


def _gates() -> list[Node]:
    """Known lenses beside injections of the same kind, and the verdict on the difference."""
    return [
        Node(
            anchors.measure_anchors,
            ["survey", "detector", "split_galaxies", "params:host_selection", "params:grid", "params:injection",
             "params:preprocess", "params:quality", "params:gates", "params:arcs", "params:morphology"],
            ["anchors", "anchor_stamps"],
            name="measure_anchors",
        ),
        Node(
            anchors.measure_composites,
            ["survey", "detector", "hosts", "conditions", "injections", "anchors", "params:grid", "params:population",
             "params:injection", "params:preprocess", "params:gates", "params:arcs", "params:morphology"],
            ["composites", "injection_stamps", "composite_stamps"],
            name="measure_composites",
        ),
        Node(
            gates.check_realism,
            ["anchors", "composites", "anchor_stamps", "composite_stamps", "injections", "injection_stamps", "hosts",
             "detector", "params:host_selection", "params:injection", "params:quality", "params:arcs", "params:gates",
             "params:morphology", "params:classifier_test", "params:blind_panel", "params:linear_probe"],
            ["realism_report", "blind_panel_key"],
            name="check_realism",
        ),
        Node(
            gates.plot_gates,
            ["realism_report", "anchors", "composites", "params:gates"],
            ["realism_figure", "morphology_figure", "classifier_figure"],
            name="plot_gates",
        ),
        Node(
            gates.plot_blind_panel,
            ["blind_panel_key", "anchor_stamps", "composite_stamps", "params:blind_panel"],
            "blind_panel",
        ),
    ]  # fmt: skip


def _surface() -> list[Node]:
    """The share of injections that was found, cell by cell."""
    return [
        Node(
            nodes.measure_surface,
            ["injections", "conditions", "realism_report", "detector", "params:grid", "params:population",
             "params:completeness", "params:hosts", "params:host_selection", "host_report"],
            ["selection_function", "selection_function_csv", "marginals", "trends"],
            name="measure_surface",
        ),
        Node(nodes.plot_heatmaps, "selection_function", "heatmaps"),
        Node(nodes.plot_marginals, ["marginals", "selection_function"], "marginals_figure"),
    ]  # fmt: skip
