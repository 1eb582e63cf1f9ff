"""What a finished run left for its astronomer: the verdict, the main numbers, and where the files are."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skytrace.compute import atomic_path
from skytrace.errors import SkytraceError
from skytrace.provenance.hashing import file_sha256, relative_name
from skytrace.provenance.runs import read_manifests, run_state, run_words

__all__ = ["HEADLINES", "REPORTS", "Results", "find_results", "save_reports"]

#: Datasets worth naming at the end, in reading order, with the words for each.
HEADLINES = {
    "injection_recovery.selection_function_page": "the selection function, to explore in a browser",
    "injection_recovery.selection_function": "the selection function, for SelectionFunction.load",
    "injection_recovery.selection_function_csv": "the same as CSV",
    "injection_recovery.heatmaps": "heat maps",
    "injection_recovery.realism_report": "the realism gates",
    "lens_finder.evaluation": "the detector on sky it never saw",
    "lens_finder.detector": "the detector and its card",
    "supernova.supernova_page": "the distance laws compared, in words and figures",
    "supernova.supernovae": "one row a supernova",
    "spectral_emulator.supernova_spectrum_page": "what the supernova is made of, in words and figures",
    "cluster_pu.triage_page": "candidates for clusters that lens clusters, ranked, with pictures",
    "cluster_pu.candidates": "one row a cluster field, best first",
    "cluster_pu.evaluation": "the ranking on test fields",
}

#: The small reports whose numbers a README may cite: what ``save_reports`` keeps.
REPORTS = (
    "lens_finder.evaluation",
    "lens_finder.calibration",
    "lens_finder.ensemble_report",
    "lens_finder.region_gates",
    "lens_finder.shortcuts",
    "lens_finder.detectability",
    "injection_recovery.realism_report",
    "injection_recovery.trends",
    "injection_recovery.marginals",
    "injection_recovery.product_summary",
    "injection_recovery.failure_report",
    "injection_recovery.host_report",
    "injection_recovery.two_stage_report",
    "injection_recovery.monotone_report",
    "injection_recovery.published_report",
    "injection_studies.sensitivity",
    "injection_studies.ablations",
    "injection_studies.detector_report",
    "injection_studies.outside_lens_report",
    "supernova.validation_report",
    "supernova.fit_report",
    "supernova.cosmology_report",
    "supernova.posterior_summary",
    "supernova.sampler_report",
    "supernova.pair_report",
    "supernova.fold_report",
    "supernova.seed_report",
    "supernova.scatter_report",
    "supernova.outlier_report",
    "supernova.injection_report",
    "supernova.predictive_report",
    "supernova.truth_report",
    "spectral_emulator.observation_report",
    "spectral_emulator.atomic_report",
    *(
        f"spectral_emulator.{stage}.{name}"
        for stage in ("stage_one", "second_round", "stage_two", "stage_three")
        for name in (
            "draws",
            "emulator_report",
            "error_by_wavelength",
            "held_out_errors",
            "feature_errors",
            "summary",
            "agreement",
            "inference_report",
        )
    ),
    "spectral_emulator.training_size_report",
    "spectral_emulator.coverage",
    "spectral_emulator.closure_report",
    "cluster_pu.survey_report",
    "cluster_pu.split_report",
    "cluster_pu.learning_report",
    "cluster_pu.shuffle_report",
    "cluster_pu.anomaly_report",
    "cluster_pu.evaluation",
    "cluster_pu.ablation_table",
    "cluster_pu.by_prior",
    "cluster_pu.prior_study",
    "cluster_pu.track_stack",
    "cluster_pu.transformer_evaluation",
)

_PAIRS = "supernova.pair_report"


@dataclass(frozen=True)
class Results:
    """verdict: of the realism gates, None while there is none. auc: (value, low, high at 95 %) of the detector on
    its test split, or None. paths: dataset name -> file, of those that are there. detector_sky: folder of the sky that
    the detector was trained and tested on, where it is not that of the other results. notes: runs that were killed or
    failed, or still go on, as far as they are the newest or wrote one of ``paths``. laws: the supernovae's comparison
    of distance laws in words, or "". clusters: how well cluster fields are ranked, in words, or "".
    """

    verdict: str | None
    auc: tuple[float, float, float] | None
    paths: dict[str, Path] = field(default_factory=dict)
    detector_sky: str = ""
    notes: tuple[str, ...] = ()
    laws: str = ""
    clusters: str = ""

    def lines(self, project: Path, *, env: str | None = None) -> list[str]:
        """The results in words, one line each, paths relative to ``project``. env: Kedro's, for what to run."""
        if not self.paths:
            asked = f" --env {env}" if env else ""
            return [
                f"no results yet: kedro run{asked} --pipelines injection_recovery, or any of `kedro registry list`",
                *self.notes,
            ]
        files = self.files(project)
        width = max(len(path) for path, _ in files)
        return [*self.findings(), *(f"{path:<{width}}  {words}" for path, words in files), *self.notes]

    def findings(self) -> list[str]:
        """The verdict and the main numbers, one line each; none where there are no results."""
        if not self.paths:
            return []
        of_lenses = any(not name.startswith(("supernova.", "spectral_emulator.", "cluster_pu.")) for name in self.paths)
        lines = [f"verdict: {self.verdict or 'none yet'}"] if of_lenses else []
        if self.auc is not None:
            auc = "detector: AUC {:.4f} [{:.4f}, {:.4f} at 95 %] on the test split".format(*self.auc)
            lines.append(f"{auc} of {self.detector_sky}" if self.detector_sky else auc)
        return lines + [line for line in (self.laws, self.clusters) if line]

    def files(self, project: Path) -> list[tuple[str, str]]:
        """(path relative to ``project``, what it is) of every file worth opening, in reading order."""
        return [(relative_name(path, project), HEADLINES[name]) for name, path in self.paths.items()]


def find_results(catalog: dict[str, Any], project: Path) -> Results:
    """Look on disk for the HEADLINES of ``catalog``, a catalog configuration with resolved paths."""
    paths = {}
    for name in HEADLINES:
        entry = catalog.get(name)
        path = _newest(project / entry["filepath"], bool(entry.get("versioned"))) if entry else None
        if path is not None:
            paths[name] = path
    report = _read(paths.get("injection_recovery.realism_report"))
    auc = _auc(_read(paths.get("lens_finder.evaluation")))
    laws = _laws(_read(_newest(project / catalog.get(_PAIRS, {}).get("filepath", "."), False)))
    clusters = _clusters(_read(paths.get("cluster_pu.evaluation")))
    notes = _notes(catalog, project, paths)
    return Results(report.get("verdict"), auc, paths, _other_sky(catalog), notes, laws, clusters)


def _laws(pairs: dict[str, Any]) -> str:
    """Anchored basis against flat LambdaCDM, from the pair report; "" without one."""
    pair = pairs.get("loo", {}).get("student_t", {}).get("qfd_anchored")
    if pair is None:
        return ""
    words = "they predict equally well" if pair["indistinguishable"] else "they do not predict equally well"
    figure = f"{pair['difference']:+.1f} +- {pair['se']:.1f}"
    return f"supernovae: elpd of the anchored basis minus flat LambdaCDM {figure} by PSIS-LOO, n = {pair['n']}: {words}"


def _clusters(evaluation: dict[str, Any]) -> str:
    """How well cluster fields are ranked, from their rare-event report; "" without one."""
    rare = evaluation.get("rare_events")
    if rare is None:
        return ""
    auroc, sample = rare["auroc"], rare["sample"]
    area = f"AUROC {auroc['value']:.3f} [{auroc['low_95']:.3f}, {auroc['high_95']:.3f} at 95 %]"
    return f"clusters: {area} on {sample['positives']} lenses and {sample['negatives']} other test fields"


def _notes(catalog: dict[str, Any], project: Path, paths: dict[str, Path]) -> tuple[str, ...]:
    """A line for every run that is not done, as far as it is its sky's newest or wrote a file of ``paths`` as it is."""
    notes = []
    for folder in _manifest_folders(catalog, project):
        for place, facts in enumerate(read_manifests(folder)):
            if facts.get("status") == "done":
                continue
            kept = [path for name, path in paths.items() if _wrote(facts, name, path, project)]
            if kept:
                files = ", ".join(relative_name(path, project) for path in kept)
                notes.append(f"note: {run_words(facts)}; {files} is of that run")
            elif place == 0:
                notes.append(f"note: {run_words(facts)}" + ("; no file named here is of that run" if paths else ""))
    return tuple(notes)


def _manifest_folders(catalog: dict[str, Any], project: Path) -> list[Path]:
    """Where the runs that write the REPORTS leave their manifests: a folder a sky."""
    reports = (catalog.get(name, {}).get("filepath") for name in ("injection_recovery.realism_report", *REPORTS))
    return list(dict.fromkeys((project / path).parents[1] / "manifests" for path in reports if path))


def _wrote(facts: dict[str, Any], name: str, path: Path, project: Path) -> bool:
    """Whether this run's manifest says that it wrote ``path`` with the bytes that it has now."""
    record = (facts.get("datasets") or {}).get(name, {})
    if record.get("role") != "output" or record.get("path") != relative_name(path, project):
        return False
    return record.get("bytes") == path.stat().st_size and record.get("sha256") == file_sha256(path)


def _other_sky(catalog: dict[str, Any]) -> str:
    """The folder of the detector's results, where it is another than that of the injections'; else ""."""
    ours, its = (
        Path(str(catalog.get(name, {}).get("filepath", ""))).parent.parent.name
        for name in ("injection_recovery.realism_report", "lens_finder.evaluation")
    )
    return its if ours and its and ours != its else ""


def save_reports(catalog: dict[str, Any], project: Path, folder: Path, *, only: str | None = None) -> list[Path]:
    """Copy the REPORTS that are there to ``folder``, with run.json: the runs and commits that made them.

    only: the reports of this pipeline and no other.

    run.json: run_id, started, seconds, git, device, globals of the run that made the last of the reports, and for every
    file its SHA-256 and the run that wrote these very bytes, by its manifest. Raises SkytraceError where there are no
    reports, or one whose bytes no manifest of a finished run knows, and for a pipeline that has none.
    """
    pipelines = {name.split(".")[0] for name in REPORTS}
    if only is not None and only not in pipelines:
        raise SkytraceError(f"no pipeline {only!r} leaves reports; choose one of {', '.join(sorted(pipelines))}")
    wanted = [name for name in REPORTS if name in catalog and (only is None or name.startswith(f"{only}."))]
    found = {name: project / catalog[name]["filepath"] for name in wanted}
    found = {name: path for name, path in found.items() if path.is_file()}
    if not found:
        raise SkytraceError(f"no reports to save yet: kedro run --pipelines {only or 'injection_recovery'}")
    runs = [(near, read_manifests(near)) for near in _manifest_folders(catalog, project)]
    manifests = [facts for _, some in runs for facts in some]
    makers = {name: _maker(name, file_sha256(path), manifests) for name, path in found.items()}
    for name, maker in makers.items():
        if maker is None:
            folders = ", ".join(relative_name(near, project) for near, _ in runs)
            raise SkytraceError(
                f"no manifest in {folders} is of a finished run that wrote {relative_name(found[name], project)} as it "
                f"is now{_unfinished_maker(name, found[name], manifests, project)}: run the pipeline again"
            )
    folder.mkdir(parents=True, exist_ok=True)
    saved, reports = [], {}
    for name, path in found.items():
        target = folder / path.name
        with atomic_path(target) as partial:
            shutil.copyfile(path, partial)
        saved.append(target)
        maker = makers[name] or {}
        reports[name] = {
            "file": path.name, "sha256": file_sha256(target), "run_id": maker["run_id"],
            "commit": (maker.get("git") or {}).get("commit"), "dirty": (maker.get("git") or {}).get("dirty"),
        }  # fmt: skip
    last = max((maker for maker in makers.values() if maker), key=lambda maker: maker["run_id"])
    run = {key: last.get(key) for key in ("run_id", "started", "seconds", "git", "device", "globals")}
    with atomic_path(folder / "run.json") as partial:
        partial.write_text(json.dumps(run | {"reports": reports}, indent=2) + "\n", encoding="utf-8")
    return [*saved, folder / "run.json"]


def _maker(name: str, sha256: str, manifests: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest finished run that wrote dataset ``name`` with these bytes."""
    for facts in manifests:
        record = facts.get("datasets", {}).get(name, {})
        if facts.get("status") == "done" and record.get("role") == "output" and record.get("sha256") == sha256:
            return facts
    return None


def _unfinished_maker(name: str, path: Path, manifests: list[dict[str, Any]], project: Path) -> str:
    """Who wrote these bytes, where it is a run that did not end well."""
    for facts in manifests:
        if run_state(facts) != "done" and _wrote(facts, name, path, project):
            return f"; {run_words(facts)}, and wrote it"
    return ""


def _newest(path: Path, versioned: bool) -> Path | None:
    if not versioned:
        return path if path.is_file() else None
    release = os.environ.get("KEDRO_RELEASE")
    found = sorted(path.glob(f"{release or '*'}/{path.name}"))
    return found[-1] if found else None


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _auc(evaluation: dict[str, Any]) -> tuple[float, float, float] | None:
    entry = evaluation.get("ranking", {}).get("auc", {})
    values = [entry.get(key) for key in ("value", "low_95", "high_95")]
    return None if None in values else (values[0], values[1], values[2])
