"""From hosts that the detector never saw to its measured selection function, the gates' verdict and the page."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.injection_recovery import gates, nodes
from skytrace.pipelines.injection_recovery.graph import make_pipeline

__all__ = ["create_pipeline"]


def create_pipeline(**_: object) -> Pipeline:
    """Hosts, injections, gates, surface, page."""
    steps = [
        Node(
            nodes.choose_hosts,
            ["survey", "split_galaxies", "params:host_selection", "params:hosts", "params:grid", "params:preprocess",
             "params:quality"],
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
        Node(
            gates.measure_anchors,
            ["survey", "split_galaxies", "params:host_selection", "params:grid", "params:injection",
             "params:preprocess", "params:quality", "params:arcs"],
            "anchors",
        ),
        Node(
            gates.measure_composites,
            ["survey", "hosts", "conditions", "injections", "anchors", "params:grid", "params:population",
             "params:injection", "params:preprocess", "params:gates", "params:arcs"],
            ["composites", "injection_stamps"],
            name="measure_composites",
        ),
        Node(
            gates.check_realism,
            ["anchors", "composites", "injections", "injection_stamps", "hosts", "detector", "params:host_selection",
             "params:injection", "params:quality", "params:arcs", "params:gates"],
            ["realism_report", "realism_figure"],
            name="check_realism",
        ),
        Node(
            nodes.measure_surface,
            ["injections", "conditions", "realism_report", "detector", "params:grid", "params:population",
             "params:completeness"],
            ["selection_function", "selection_function_csv", "marginals", "trends"],
            name="measure_surface",
        ),
        Node(nodes.plot_heatmaps, "selection_function", "heatmaps"),
        Node(nodes.plot_marginals, ["marginals", "selection_function"], "marginals_figure"),
        Node(
            nodes.write_page,
            ["selection_function", "realism_report", "injections", "injection_stamps", "host_report", "trends"],
            "selection_function_page",
        ),
    ]  # fmt: skip
    return make_pipeline(steps)
