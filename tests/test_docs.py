"""The documentation builds without a warning, holds what the code holds, and is read without a network."""

import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from skytrace.pipeline_registry import LINEAGES
from tests.test_import_law import FOUNDATION, SCIENCE

pytest.importorskip("sphinx", reason="Sphinx is not installed: `make setup` installs the packages of requirements.lock")

#: The packages that pages show; reporting draws the project's own pages, errors is one module.
PUBLIC = {*SCIENCE, *FOUNDATION, "provenance"} - {"reporting", "errors"}
#: What a browser loads by itself, and the attribute that says from where.
LOADED = {
    "script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "embed": "src",
    "object": "data", "link": "href", "use": "href", "image": "href",
}  # fmt: skip
IN_STYLE = re.compile(r"(?:url\(\s*|@import\s+)['\"]?(?:https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory) -> Path:
    """The site that ``make docs`` builds; any warning fails here, with its words."""
    pages = tmp_path_factory.mktemp("site") / "docs"
    command = ["make", "-o", ".venv/.ready", "docs", f"BIN={Path(sys.executable).parent}", f"PAGES={pages}"]
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(command, cwd=repository, env=plain, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return pages


class Page(HTMLParser):
    """tags: (name, attributes) of a page. ids: what its links may point at. cells: the text of its table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(text)
        self.ids = {found[key] for _, found in self.tags for key in ("id", "name") if key in found}

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        if tag == "td":
            self.cells.append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data):
        if self._in_cell:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Page]:
    """Path inside the site -> the page."""
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in sorted(site.rglob("*.html"))
            if "_static" not in path.parts}  # fmt: skip


@pytest.fixture
def extensions(repository, monkeypatch):
    """The modules of docs/_extensions, by name."""
    monkeypatch.syspath_prepend(str(repository / "docs" / "_extensions"))
    return importlib.import_module


def links(page: Page) -> list[str]:
    return [found["href"] for tag, found in page.tags if tag == "a" and found.get("href")]


def test_every_pipeline_of_the_registry_has_its_question_in_the_navigation(pages, repository):
    asked = set(links(pages["questions/index.html"]))
    beside = set(links(pages["selection_function.html"]))  # the navigation of another page of the section
    for name in LINEAGES:
        assert f"{name}.html" in asked
        assert f"questions/{name}.html" in beside
        assert f"kedro run --pipelines {name}\n" in (repository / f"docs/questions/{name}.md").read_text()


def test_pages_of_pipelines_name_every_node_of_theirs(pages):
    from skytrace.pipeline_registry import create_lineage

    for name in LINEAGES:
        own = [node for node in create_lineage(LINEAGES[name]).nodes if name in node.tags]
        assert {node.name.removeprefix(f"{name}.") for node in own} <= set(pages[f"questions/{name}.html"].cells)


def test_every_dataset_and_every_layer_of_the_catalog_is_explained(pages, repository):
    layers, names = set(), set()
    for path in (repository / "conf" / "base").glob("catalog*.yml"):
        for name, entry in yaml.safe_load(path.read_text()).items():
            layer = ((entry.get("metadata") or {}).get("kedro-viz") or {}).get("layer")
            if layer and not name.startswith("_"):
                layers.add(layer)
                names.add(name)
    assert len(layers) >= 8
    assert {f"term-{layer}" for layer in layers} <= pages["glossary.html"].ids
    assert names <= set(pages["datasets.html"].cells)


def test_every_public_package_is_in_the_reference_with_all_its_names(pages):
    assert {path.removeprefix("api/").removesuffix(".html") for path in pages if path.startswith("api/")} == {
        *PUBLIC, "index",
    }  # fmt: skip
    for package in PUBLIC:
        names = importlib.import_module(f"skytrace.{package}").__all__
        shown = pages[f"api/{package}.html"].ids
        assert {f"skytrace.{package}.{name}" for name in names} <= shown, package


def test_nothing_is_loaded_from_the_network(site, pages):
    outside = [
        (path, tag, found[LOADED[tag]])
        for path, page in pages.items()
        for tag, found in page.tags
        if tag in LOADED and re.match(r"(?:https?:)?//", found.get(LOADED[tag], "")) and found.get("rel") != "canonical"
    ]
    assert outside == []
    styles = [*site.rglob("*.css"), *(site / path for path in pages)]
    assert [path.name for path in styles if IN_STYLE.search(path.read_text())] == []


def test_no_link_inside_the_site_is_broken(site, pages):
    broken, seen = [], 0
    for path, page in pages.items():
        for address in links(page):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            seen += 1
            target = ((site / path).parent / unquote(parts.path)).resolve() if parts.path else site / path
            name = target.relative_to(site.resolve()).as_posix() if parts.path else path
            if not target.is_file() or (parts.fragment and name in pages and parts.fragment not in pages[name].ids):
                broken.append((path, address))
    assert seen > 1000
    assert broken == []


def test_reports_are_files_of_the_site_and_no_pages(site, repository):
    kept = repository / "docs" / "results"
    for path in kept.rglob("*.*"):
        assert (site / "results" / path.relative_to(kept)).read_bytes() == path.read_bytes()
    index = (site / "searchindex.js").read_text()
    assert "results/" not in re.search(r'"docnames":\s*\[(.*?)\]', index)[1]


def test_text_of_files_is_text_and_never_markup(extensions, tmp_path):
    from docutils.core import publish_from_doctree
    from docutils.utils import new_document

    (tmp_path / "globals.yml").write_text("sky: mock\n")
    (tmp_path / "catalog_x.yml").write_text(
        "# <script>alert('`<b>`')</script>\n# and a second line\nx.table:\n  type: a.B\n"
        "  filepath: data/${globals:sky}/<i>.csv\n  metadata: {kedro-viz: {layer: raw}}\n"
    )
    facts, tables = extensions("pipeline_facts"), extensions("page_tables")
    entry = facts.catalog(tmp_path)["x.table"]
    assert entry["comment"] == "<script>alert('`<b>`')</script> and a second line"
    document = new_document("x")
    document += tables.table(("what", "where"), [(entry["comment"], f"`{entry['place']}`")], (50, 50))
    written = publish_from_doctree(document, writer="html5", settings_overrides={"stylesheet_path": None}).decode()
    body = written[written.index("<body") :]
    assert "&lt;script&gt;alert('" in body
    assert re.search(r"<(code|span)[^>]*>(<span[^>]*>)?&lt;b&gt;", body) and "data/mock/&lt;i&gt;.csv" in body
    assert "<script" not in body and "<b>" not in body and "<i>" not in body


def test_docstrings_keep_their_signs(extensions):
    plain = extensions("public_names").as_plain_text
    assert plain(["a*b, |x|, q_ and theta_e"]) == [r"a\*b, \|x\|, q\_ and theta_e"]
    assert plain(["columns ``name``_g of ``k*v``"]) == ["columns ``name``\\ _g of ``k*v``"]
    assert plain([">>> 2 * 3", "6", "", "a*b"]) == [">>> 2 * 3", "6", "", r"a\*b"]


def test_measured_numbers_are_those_of_their_files(pages, repository):
    results = repository / "docs" / "results"
    sections = yaml.safe_load((repository / "docs/validation.yml").read_text())
    rows = [row for section in sections for row in section["rows"]]
    cells = pages["validation.html"].cells
    checked = 0
    for row in rows:
        at = next(i for i, cell in enumerate(cells) if cell == row["what"])
        assert cells[at + 2] == f"{row['file']}:{row['key']}"
        if not row["file"].endswith(".json"):
            continue
        value = walk(json.loads((results / row["file"]).read_text()), row["key"])
        form = row.get("form", ".3f")
        shown = format(value, form) if form else str(value)
        assert re.split(r" \(| ± |; ", cells[at + 1])[0] == shown, row
        checked += 1
    assert checked > 40
    assert {Path(row["file"]).parts[0] for row in rows} >= {p.name for p in results.iterdir() if p.is_dir()}


def walk(content, key):
    """The value at a dotted key, where no name holds a dot but the rates that a report is keyed by."""
    parts = re.findall(r"(?:0\.\d+|[^.]+)", key)
    for part in parts:
        content = content[int(part)] if isinstance(content, list) else content[part]
    return content


def test_a_number_that_its_file_does_not_hold_stops_the_build(extensions):
    from skytrace.errors import SkytraceError

    with pytest.raises(SkytraceError, match="no_such_key"):
        extensions("measured_numbers").number("mock/trends.json", "depth.no_such_key", ".3f")


def test_intervals_and_peers_stand_beside_their_values(pages, repository):
    cells = pages["validation.html"].cells
    auc = json.loads((repository / "docs/results/mock/evaluation.json").read_text())["ranking"]["auc"]
    assert f"{auc['value']:.3f} ({auc['low_95']:.3f} to {auc['high_95']:.3f})" in cells
    omega = json.loads((repository / "docs/results/des_sn/cosmology.json").read_text())["pantheon_plus"]["flat_lcdm"]
    assert f"{omega['omega_m']:.3f} ± {omega['omega_m_err']:.3f}" in cells
    table = [line for line in (repository / "docs/benchmarks.md").read_text().splitlines() if line.startswith("| ")][1:]
    for line in table:
        what, _, ours, peer, ratio = (part.strip().strip("*") for part in line.strip("|").split("|")[1:6])
        at = [i for i, cell in enumerate(cells) if cell == what and cells[i + 2 : i + 5] == [ours, peer, ratio]]
        assert at, line


@pytest.mark.browser
def test_a_browser_opens_the_index_and_searches_from_disk(browser, site):
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    errors, outside = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: outside.append(request.url))
    page.goto(f"file://{site}/index.html")
    assert page.inner_text("h1").startswith("skytrace")
    image = page.wait_for_selector("article img")
    assert image.evaluate("image => image.complete && image.naturalWidth") > 300
    page.click("article a:has-text('injection_recovery') >> nth=0")
    assert page.inner_text("h1").startswith("How complete is my detector?")
    page.goto(f"file://{site}/search.html?q=beta_interval")
    page.wait_for_selector("#search-results a[href*='api/statistics.html']", timeout=60_000)
    page.goto(f"file://{site}/search.html?q=nanomaggy")
    page.wait_for_selector("#search-results a[href*='glossary.html']", timeout=60_000)
    assert errors == []
    assert len(outside) > 10
    assert [url for url in outside if not url.startswith(("file:", "data:"))] == []
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "validation", "questions/cluster_pu", "api/lensing", "datasets"])
def test_no_page_is_wider_than_a_telephone(browser, site, name):
    page = browser.new_page(viewport={"width": 400, "height": 900})
    page.goto(f"file://{site}/{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.close()
