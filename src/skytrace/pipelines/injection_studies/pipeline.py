"""The published campaign again, a part of each cell, under every alternative and by every detector."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.injection_recovery.outside import outside_node
from skytrace.pipelines.injection_studies import detectors, nodes, study_page
from skytrace.pipelines.lens_finder.nodes import score_sample

__all__ = ["create_pipeline"]

NAME = "injection_studies"
#: What is read of other pipelines, by its name in the nodes below.
FROM_LENS_FINDER = (
    "detector", "ensemble", "ensemble_scores", "ensemble_validation", "manifest", "scores", "split_galaxies",
    "split_report", "stamps",
)  # fmt: skip
FROM_INJECTION_RECOVERY = ("hosts", "conditions", "injections", "realism_report")
#: Parameters of other pipelines: studies change nothing of them but what an alternative says.
OF_LENS_FINDER = ("training", "threshold", "checkpoint_folder")
OF_INJECTION_RECOVERY = (
    "grid", "host_selection", "host_options", "population", "injection", "preprocess", "quality", "completeness",
    "cluster", "shard_folder", "arcs",
)  # fmt: skip


def create_pipeline(**_: object) -> Pipeline:
    """Alternatives with their sensitivity and paired tests; the masked detector with every detector's surface."""
    steps = [
        Node(
            nodes.run_alternatives,
            ["survey", "detector", "hosts", "conditions", "injections", "split_galaxies", "manifest", "params:grid",
             "params:host_selection", "params:host_options", "params:population", "params:injection",
             "params:preprocess", "params:quality", "params:studies", "params:cluster", "params:shard_folder"],
            "study_injections",
            name="run_alternatives",
        ),
        Node(
            nodes.compare_alternatives,
            ["study_injections", "injections", "detector", "params:grid", "params:studies", "params:sensitivity"],
            ["sensitivity_shifts", "sensitivity_summary", "sensitivity"],
            name="compare_alternatives",
        ),
        Node(
            nodes.pair_ablations,
            ["study_injections", "detector", "params:studies", "params:paired"],
            ["ablations", "ablation_report"],
            name="pair_ablations",
        ),
        Node(
            detectors.train_masked_detector,
            ["stamps", "manifest", "split_report", "params:preprocess", "params:training", "params:threshold",
             "params:masking", "params:checkpoint_folder"],
            ["masked_detector", "masked_training_history"],
            name="train_masked_detector",
        ),
        Node(
            score_sample,
            ["masked_detector", "stamps", "manifest", "params:preprocess"],
            "masked_scores",
            name="score_masked_detector",
        ),
        Node(
            detectors.score_detectors,
            ["survey", "detector", "masked_detector", "ensemble", "ensemble_validation", "hosts", "conditions",
             "injections", "manifest", "params:grid", "params:population", "params:injection", "params:preprocess",
             "params:threshold", "params:studies", "params:cluster", "params:shard_folder"],
            "detector_injections",
            name="score_detectors",
        ),
        Node(
            detectors.compare_detectors,
            ["detector_injections", "injections", "detector", "masked_detector", "ensemble", "scores", "masked_scores",
             "ensemble_scores", "ensemble_validation", "params:grid", "params:threshold",
             "params:completeness", "params:sensitivity", "params:paired"],
            ["detector_surfaces", "detector_marginals", "detector_pairs", "detector_report"],
            name="compare_detectors",
        ),
        Node(
            study_page.write_studies_page,
            ["detector_surfaces", "detector_marginals", "detector_pairs", "detector_report", "sensitivity_shifts",
             "sensitivity_summary", "sensitivity", "ablations", "realism_report", "params:studies"],
            ["sensitivity_figure", "ablation_figure", "detectors_figure", "injection_studies_page"],
            name="write_studies_page",
        ),
        outside_node(),
    ]  # fmt: skip
    upstream = {name: f"lens_finder.{name}" for name in FROM_LENS_FINDER}
    upstream |= {name: f"injection_recovery.{name}" for name in FROM_INJECTION_RECOVERY}
    options = {f"params:{name}": f"params:lens_finder.{name}" for name in OF_LENS_FINDER}
    options |= {
        f"params:{name}": f"params:injection_recovery.{'hosts' if name == 'host_options' else name}"
        for name in OF_INJECTION_RECOVERY
    }
    return Pipeline(steps, namespace=NAME, inputs={"survey": "survey", **upstream}, parameters=options, tags=[NAME])
