"""What a finished run left for its astronomer: the verdict, the main numbers, and where the files are."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skytrace.provenance.hashing import relative_name

__all__ = ["HEADLINES", "Results", "find_results"]

#: Datasets worth naming at the end, in reading order, with the words for each.
HEADLINES = {
    "injection_recovery.selection_function_page": "the selection function, to explore in a browser",
    "injection_recovery.selection_function": "the selection function, for SelectionFunction.load",
    "injection_recovery.selection_function_csv": "the same as CSV",
    "injection_recovery.heatmaps": "heat maps",
    "injection_recovery.realism_report": "the realism gates",
    "lens_finder.evaluation": "the detector on sky it never saw",
    "lens_finder.detector": "the detector and its card",
}


@dataclass(frozen=True)
class Results:
    """verdict: of the realism gates, None while there is none. auc: (value, low, high at 95 %) of the detector on
    its test split, or None. paths: dataset name -> file, of those that are there.
    """

    verdict: str | None
    auc: tuple[float, float, float] | None
    paths: dict[str, Path] = field(default_factory=dict)

    def lines(self, project: Path) -> list[str]:
        """The results in words, one line each, paths relative to ``project``."""
        if not self.paths:
            return ["no results yet: kedro run --pipelines injection_recovery"]
        lines = [f"verdict: {self.verdict or 'none yet'}"]
        if self.auc is not None:
            lines.append("detector: AUC {:.4f} [{:.4f}, {:.4f} at 95 %] on the test split".format(*self.auc))
        shown = {name: relative_name(path, project) for name, path in self.paths.items()}
        width = max(map(len, shown.values()))
        return lines + [f"{path:<{width}}  {HEADLINES[name]}" for name, path in shown.items()]


def find_results(catalog: dict[str, Any], project: Path) -> Results:
    """Look on disk for the HEADLINES of ``catalog``, a catalog configuration with resolved paths."""
    paths = {}
    for name in HEADLINES:
        entry = catalog.get(name)
        path = _newest(project / entry["filepath"], bool(entry.get("versioned"))) if entry else None
        if path is not None:
            paths[name] = path
    report = _read(paths.get("injection_recovery.realism_report"))
    return Results(report.get("verdict"), _auc(_read(paths.get("lens_finder.evaluation"))), paths)


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
