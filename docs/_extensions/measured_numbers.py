"""``{measured-numbers}``, ``{peers}`` and ``{reports}``: the numbers of the validation page, read from their files.

docs/validation.yml names files and keys, as `kedro trace FILE:KEY` spells them, and holds no number itself: one that is
not in its file stops the build. Reports are copied to results/ of the site, and no page of it is made of them.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from docutils import nodes
from page_tables import link, table
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parents[1]
RESULTS = DOCS / "results"
FOLDER_LINK = re.compile(r"\]\(results/(\w+)\)")
PEER_HEADS = ("what", "unit", "ours", "peer", "ratio", "error of ours (median / p90 / max)", "of the peer")


def number(file: str, key: str, form: str) -> str:
    """The value of ``key`` in docs/results/``file`` as text, in Python's format ``form``; text stays as it is."""
    from skytrace.provenance.report_values import read_value

    value = read_value(RESULTS / file, key)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return format(value, form) if form else str(value)


def measured(row: dict[str, Any]) -> str:
    """What a row of validation.yml measures, with its interval or error where it names one."""
    form, file, key = row.get("form", ".3f"), row["file"], row["key"]
    said = number(file, key, form)
    if "interval" in row:
        low, high = (number(file, near(key, end), form) for end in row["interval"])
        said += f" ({low} to {high})"
    if "error" in row:
        said += f" ± {number(file, near(key, row['error']), form.lstrip('+'))}"
    beside = [f"{words}: {number(file, other, form)}" for words, other in row.get("beside", {}).items()]
    return "; ".join([said, *beside])


def near(key: str, name: str) -> str:
    """The key of ``name`` next to ``key``; a ``name`` with a joint of its own is a whole key already."""
    joint = "/" if "/" in key else "."
    stem = key.rpartition(joint)[0]
    return name if joint in name or not stem else f"{stem}{joint}{name}"


def sections() -> list[dict[str, Any]]:
    """The sections of validation.yml."""
    return yaml.safe_load((DOCS / "validation.yml").read_text(encoding="utf-8"))


def made_by(file: str) -> str:
    """The commit whose run made docs/results/``file``, by the run.json beside it; "" where none says so."""
    record = RESULTS / Path(file).parent / "run.json"
    if not record.is_file():
        return ""
    reports = json.loads(record.read_text(encoding="utf-8"))["reports"].values()
    return next((entry["commit"][:7] for entry in reports if entry["file"] == Path(file).name), "")


def peers() -> list[dict[str, str]]:
    """The rows of the table of docs/benchmarks.md, column by column."""
    lines = [line for line in (DOCS / "benchmarks.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip().strip("*") for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def reports() -> dict[str, list[Path]]:
    """Folder of docs/results -> its reports; "" are those in no folder."""
    found: dict[str, list[Path]] = {}
    for path in sorted(RESULTS.rglob("*")):
        if path.is_file():
            found.setdefault(path.parent.relative_to(RESULTS).as_posix().strip("."), []).append(path)
    return found


class MeasuredNumbers(SphinxDirective):
    """Every number of validation.yml, in one table; dependencies noted, so that a new report renews the page."""

    def run(self) -> list[nodes.Node]:
        """One table."""
        rows = []
        for section in sections():
            for row in section["rows"]:
                self.env.note_dependency(str(RESULTS / row["file"]))
                question = [link(section["question"], f"{section['page']}.html")]
                source = [link(row["file"], f"results/{row['file']}"), nodes.Text(f":{row['key']}")]
                rows.append((question, row["what"], measured(row), source, made_by(row["file"])))
        heads = ("question", "what was measured", "value (interval)", "file:key", "commit")
        return [table(heads, rows, (16, 34, 20, 22, 8))]


class Peers(SphinxDirective):
    """Ours beside each named peer, from the page that `make bench` writes."""

    def run(self) -> list[nodes.Node]:
        """One table."""
        self.env.note_dependency(str(DOCS / "benchmarks.md"))
        rows = [[row[head] for head in PEER_HEADS] for row in peers()]
        return [table(PEER_HEADS, rows, (16, 12, 10, 22, 8, 20, 12))]


class Reports(SphinxDirective):
    """All reports, folder by folder, each a target that pages may link."""

    def run(self) -> list[nodes.Node]:
        """A heading and a list of files for each folder."""
        found: list[nodes.Node] = []
        for folder, paths in reports().items():
            words = f"results/{folder}" if folder else "results"
            section = nodes.section(ids=[target(folder)])
            section += nodes.title(words, words)
            self.env.domains.standard_domain.note_hyperlink_target(
                target(folder), self.env.docname, target(folder), words
            )
            files = nodes.paragraph()
            for path in paths:
                name = path.relative_to(RESULTS).as_posix()
                files += [nodes.Text(", ") if len(files) else nodes.Text(""), link(path.name, f"results/{name}")]
            section += files
            found.append(section)
        return found


def link_folders(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links of pages to a folder of reports, which GitHub lists, lead here to the list of its files."""
    source[0] = FOLDER_LINK.sub(lambda match: f"](#{target(match[1])})", source[0])


def target(folder: str) -> str:
    """Where the validation page lists the reports of ``folder``."""
    return f"reports-{folder or 'single'}".replace("_", "-")


def copy_reports(app: Sphinx, error: Exception | None) -> None:
    """Put the reports beside the pages."""
    if error is None and app.builder.format == "html":
        shutil.copytree(RESULTS, Path(app.outdir) / "results", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls."""
    app.add_directive("measured-numbers", MeasuredNumbers)
    app.add_directive("peers", Peers)
    app.add_directive("reports", Reports)
    app.connect("source-read", link_folders)
    app.connect("build-finished", copy_reports)
    return {"version": "1", "parallel_read_safe": True}
