"""Notebooks as stories: what their cells showed when they ran, and what the files say that they must show."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient

__all__ = ["QUOTED", "Story", "run_story"]

SECONDS_A_CELL = 900  # of a machine that does much else
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Story:
    """A notebook, as it stands or as it ran."""

    cells: list

    @classmethod
    def read(cls, path: Path) -> "Story":
        """The notebook at ``path``."""
        return cls(nbformat.read(path, as_version=4).cells)

    @property
    def traced(self) -> str:
        """What the last cell asks `kedro trace` for: ``dataset:key``."""
        command, _, target = self.cells[-1].source.partition("!kedro trace ")
        assert not command and "\n" not in target, f"the last cell is no `!kedro trace`: {self.cells[-1].source}"
        return target.strip('"')

    def said(self, cell: int) -> str:
        """What the cell printed, as plain text."""
        outputs = [output.text for output in self.cells[cell].get("outputs", []) if output.output_type == "stream"]
        return _COLOURS.sub("", "".join(outputs)).replace("\r\n", "\n")

    def quoted(self) -> str:
        """What the one cell printed that quotes a number."""
        (cell,) = [n for n, cell in enumerate(self.cells) if "quoted" in cell.metadata.get("tags", [])]
        return self.said(cell).strip()

    def lineage(self) -> tuple[float, str]:
        """The number that the trace in the last cell found, and its verdict on the chain."""
        found = self.said(-1)
        (value,) = re.findall(r"^\S+ = (\S+)$", found, re.MULTILINE)
        (verdict,) = re.findall(r"^(?:whole|broken in).*", found, re.MULTILINE)
        return float(value), verdict

    def figures(self) -> int:
        """How many pictures it showed."""
        return sum("image/png" in output.get("data", {}) for cell in self.cells for output in cell.get("outputs", []))


def run_story(path: Path, environment: dict[str, str]) -> Story:
    """Run every cell where the notebook lies, in a kernel of this Python. Raises CellExecutionError where one does."""
    book = nbformat.read(path, as_version=4)
    client = NotebookClient(
        book, timeout=SECONDS_A_CELL, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env=environment)
    return Story(book.cells)


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _row(path: Path, **wanted: str) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as stream:
        (row,) = [row for row in csv.DictReader(stream) if all(row[key] == value for key, value in wanted.items())]
    return row


def _law(reports: Path) -> tuple[str, float]:
    pair = _json(reports / "supernova/pairs.json")["loo"]["mixture"]["qfd_anchored"]
    return (
        f"elpd of three terms less flat ΛCDM: {pair['difference']:+.2f} ± {pair['se']:.2f}, n = {pair['n']}: "
        f"{'equal' if pair['indistinguishable'] else 'better' if pair['difference'] > 0 else 'worse'}",
        pair["difference"],
    )


def _silicon(reports: Path) -> tuple[str, float]:
    row = _row(reports / "spectral_emulator/second_round_summary.csv", parameter="X_Si_wall")
    middle, low, high, prior_low, prior_high = (
        float(row[name]) for name in ("median", "low68", "high68", "prior_low", "prior_high")
    )
    words = "constrained" if row["constrained"] == "True" else "not constrained"
    return (
        f"silicon: {middle:.3f} (68 %: {low:.3f} to {high:.3f}), prior {prior_low:.3f} to {prior_high:.3f}, {words}",
        middle,
    )


def _detector(reports: Path) -> tuple[str, float]:
    evaluation = _json(reports / "lens_finder/evaluation.json")
    auc, sample = evaluation["ranking"]["auc"], evaluation["sample"]
    return (
        f"AUC {auc['value']:.3f} (95 %: {auc['low_95']:.3f} to {auc['high_95']:.3f}), "
        f"{sample['lenses']} lenses and {sample['rows'] - sample['lenses']} galaxies",
        auc["value"],
    )


def _completeness(reports: Path) -> tuple[str, float]:
    folder = reports / "injection_recovery"
    threshold = _json(reports / "lens_finder/evaluation.json")["threshold"]
    row = _row(folder / "selection_function.csv", threshold=str(threshold), theta_e="1.5", psf_fwhm="1.2", depth="24.0")
    value = int(row["n_detected"]) / int(row["n"])
    return (
        f"completeness {value:.3f} (68 %: {float(row['low68_hosts']):.3f} to {float(row['high68_hosts']):.3f}), "
        f"{row['n']} injections into {row['n_hosts']} hosts, gates: {_json(folder / 'realism_report.json')['verdict']}",
        value,
    )


def _hours(reports: Path) -> tuple[str, float]:
    rare = _json(reports / "cluster_pu/evaluation.json")["rare_events"]
    cost = rare["cost_per_discovery_hours"]
    # 30 s a field: a discovery costs one over the precision of them
    assert abs(cost["value"] - 30 / 3600 / rare["precision_at_recall"]["value"]) < 1e-9 * cost["value"]
    return (
        f"{cost['value']:.1f} hours a discovery (68 %: {cost['low_68']:.1f} to {cost['high_68']:.1f}) to find "
        f"{100 * rare['precision_at_recall']['recall']:.0f}% of the lenses, from {rare['sample']['positives']} lenses "
        f"and {rare['sample']['negatives']} other test fields",
        cost["value"],
    )


#: Notebook -> what its tagged cell must print, and the number that it traces, by the files of a sky's reports.
QUOTED: dict[str, Callable[[Path], tuple[str, float]]] = {
    "which_distance_law_do_supernovae_prefer": _law,
    "what_is_a_supernova_made_of": _silicon,
    "what_did_my_lens_finder_learn": _detector,
    "how_complete_is_my_lens_finder": _completeness,
    "which_clusters_should_i_look_at_first": _hours,
}
