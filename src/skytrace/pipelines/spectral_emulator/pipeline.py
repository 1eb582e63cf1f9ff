"""The whole of spectral_emulator that `kedro run --pipelines spectral_emulator` makes, stage by stage."""

from kedro.pipeline import Node, Pipeline

from skytrace.pipelines.spectral_emulator import observation, page, stages, studies
from skytrace.pipelines.spectral_emulator.graph import LAYERED, STAGES, make_pipeline

__all__ = ["create_pipeline"]

_INFERENCE = ["params:likelihood", "params:sampler", "params:observation"]


def create_pipeline(**_: object) -> Pipeline:
    """The observed spectrum and the atoms; three stages of models, emulator and posterior; studies; the page."""
    return make_pipeline([*_given(), *(node for stage in STAGES for node in _stage(stage)), *_studies(), *_page()])


def _given() -> list[Node]:
    return [
        Node(
            observation.read_spectrum,
            "supernova_spectrum",
            ["observed_spectrum", "truth", "observation_report"],
            name="read_spectrum",
        ),
        Node(observation.tabulate_atoms, "params:simulator", ["atomic_tables", "atomic_report"], name="tabulate_atoms"),
    ]


def _stage(stage: str) -> list[Node]:
    """Models, spectra, emulator and posterior of one stage; it begins where the one before ended."""
    names = list(STAGES)
    before = names[names.index(stage) - 1] if stage != names[0] else None
    options = f"params:{stage}"
    again = before is not None and STAGES[stage] == STAGES[before]
    earlier = [f"{before}.spectra", f"params:{before}"] if again else []
    return [
        _draw(stage, before, again=again),
        Node(
            stages.simulate_models,
            [
                f"{stage}.models",
                "atomic_tables",
                options,
                "params:simulator",
                "params:training",
                "params:shards",
                "params:cluster",
            ],
            [f"{stage}.spectra", f"{stage}.quarantine"],
            name=f"{stage}.simulate_models",
        ),
        Node(
            stages.train,
            [f"{stage}.spectra", f"{stage}.space", options, "params:emulator", *earlier],
            [
                f"{stage}.emulator",
                f"{stage}.error_by_wavelength",
                f"{stage}.held_out_errors",
                f"{stage}.feature_errors",
                f"{stage}.emulator_report",
            ],
            name=f"{stage}.train",
        ),
        Node(
            stages.infer_in(STAGES[stage]),
            [
                f"{stage}.emulator",
                f"{stage}.space",
                "observed_spectrum",
                options,
                *_INFERENCE,
                *([f"{before}.space"] if again else []),
            ],
            [
                f"{stage}.posterior",
                f"{stage}.summary",
                f"{stage}.fitted",
                f"{stage}.agreement",
                f"{stage}.inference_report",
            ],
            name=f"{stage}.infer",
        ),
    ]


def _draw(stage: str, before: str | None, *, again: bool) -> Node:
    """The models of a stage: of the first, of the same parameters as the one before again, or of more parameters."""
    if before is None:
        function, given = stages.draw_first_models, []
    elif again:
        function, given = stages.draw_narrowed_models, [f"{before}.posterior", f"{before}.space"]
    else:
        function, given = stages.draw_models_of(STAGES[stage]), [f"{before}.summary"]
    drawn = [f"{stage}.models", f"{stage}.space", f"{stage}.draws"]
    return Node(function, [*given, f"params:{stage}"], drawn, name=f"{stage}.draw_models")


def _studies() -> list[Node]:
    first, last = next(iter(STAGES)), list(STAGES)[-1]
    return [
        Node(
            studies.measure_training_sizes,
            [
                f"{first}.spectra",
                f"{first}.space",
                f"{first}.held_out_errors",
                f"params:{first}",
                "params:emulator",
                "params:curve",
            ],
            ["training_sizes", "training_size_report"],
            name="measure_training_sizes",
        ),
        Node(
            studies.measure_coverage,
            [
                f"{first}.emulator",
                f"{first}.space",
                f"{first}.spectra",
                "observed_spectrum",
                f"params:{first}",
                *_INFERENCE,
                "params:coverage",
                "params:shards",
                "params:cluster",
            ],
            ["coverage_mocks", "coverage"],
            name="measure_coverage",
        ),
        Node(
            studies.close,
            [
                f"{last}.emulator",
                f"{last}.space",
                "observed_spectrum",
                f"{last}.inference_report",
                "atomic_tables",
                "params:likelihood",
                "params:observation",
                "params:simulator",
            ],
            ["closure_spectrum", "closure_report"],
            name="close",
        ),
        Node(
            studies.identify_lines,
            [f"{last}.inference_report", "atomic_tables", "params:simulator", "params:knock_out"],
            "line_identification",
            name="identify_lines",
        ),
    ]


def _page() -> list[Node]:
    first, last = next(iter(STAGES)), list(STAGES)[-1]
    alone = (
        "observed_spectrum", "observation_report", "atomic_report", "truth", "closure_report", "line_identification",
        "coverage", "training_sizes", "training_size_report",
    )  # fmt: skip
    of_stages = ("summary", "emulator_report", "inference_report", "draws")
    figures = [f"{name}{suffix}" for name in page.FIGURES for suffix in ("_figure", "_figure_pdf")]
    return [
        Node(
            page.write_page,
            {
                **{name: name for name in alone},
                **{f"{stage}_{what}": f"{stage}.{what}" for stage in STAGES for what in of_stages},
                "agreement": f"{LAYERED}.agreement",
                "error_by_wavelength": f"{first}.error_by_wavelength",
                "feature_errors": f"{first}.feature_errors",
                "layered_posterior": f"{LAYERED}.posterior",
                "last_posterior": f"{last}.posterior",
                "last_models": f"{last}.models",
                "fitted": f"{last}.fitted",
                "likelihood": "params:likelihood",
                "observation": "params:observation",
            },
            [*figures, "supernova_spectrum_page"],
            name="write_page",
        ),
    ]
