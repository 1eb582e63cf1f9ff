"""The lineage builds as a static page, raw sky to report, and a browser can read it without the network."""

import base64
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from skytrace.pipeline_registry import LINEAGES

LAYERS_OF_LINEAGE = {"raw", "primary", "model_input", "models", "model_output", "reporting"}


#: What Kedro-Viz shows of a dataset, by the class of the dataset; raw surveys and HTML pages have no preview.
PREVIEWS = {
    "AtomicParquetDataset": "TablePreview",
    "AtomicCSVDataset": "TablePreview",
    "AtomicJSONDataset": "JSONPreview",
    "NPZDataset": "JSONPreview",
    "DetectorDataset": "JSONPreview",
    "EnsembleDataset": "JSONPreview",
    "TransformerDataset": "JSONPreview",
    "PosteriorDataset": "JSONPreview",
    "FigureDataset": "ImagePreview",
}
WITHOUT_PREVIEW = {
    "HTMLDataset", "MockClusterImagesDataset", "MockClustersDataset", "MockSpectrumDataset",
    "MockSupernovaDataset", "MockSurveyDataset",
}  # fmt: skip
ROWS = 60
#: Its stamps stay on disk: the catalog names the array.
STREAMED = "lens_finder.stamps"


@pytest.fixture(scope="module")
def project(repository, tmp_path_factory) -> Path:
    """A copy of the tracked files, so that the checkout stays clean, with something saved in every dataset."""
    project = tmp_path_factory.mktemp("viz") / "project"
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=repository, capture_output=True, text=True
    )
    for name in listing.stdout.splitlines():
        if not name.startswith(("data/", "docs/", "tests/")) and (repository / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, project / name)
    command = [sys.executable, "-c", "import sys; from tests.test_viz import fill; fill(sys.argv[1])", str(project)]
    done = subprocess.run(
        command, cwd=project, env=environment(project, repository), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return project


@pytest.fixture(scope="module")
def built(project) -> Path:
    """The site that ``make site`` builds."""
    command = ["make", "-o", ".venv/.ready", "site", f"BIN={Path(sys.executable).parent}"]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return project / "build"


def environment(project: Path, *others: Path) -> dict[str, str]:
    """That of a process which imports the package from ``project``."""
    folders = os.pathsep.join(str(folder) for folder in (project / "src", *others))
    return {**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": folders, "MPLBACKEND": "Agg"}


def fill(folder: str) -> None:
    """Save in every dataset of the project in ``folder`` something that says the dataset's name."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path(folder))
    with KedroSession.create(project_path=folder) as session:
        catalog = session.load_context().catalog
        for name in sorted(catalog.keys()):
            kind = type(catalog.get(name)).__name__
            if kind in PREVIEWS:
                catalog.save(name, content(kind, name))


def content(kind: str, name: str) -> object:
    """What a dataset of class ``kind`` keeps, so small and so plain that the preview of ``name`` tells it apart."""
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from skytrace.learning import Detector

    if kind in ("AtomicParquetDataset", "AtomicCSVDataset"):
        table = pd.DataFrame({"said_by": [name] * ROWS, "row": range(ROWS), "missing": np.nan})
        # what some of our tables hold and JSON does not
        hosts = {"hosts": [np.arange(2)] * ROWS, "night": pd.Timestamp("2011-08-24")}
        return table.assign(**hosts) if kind == "AtomicParquetDataset" else table
    if kind == "AtomicJSONDataset":
        return {"said_by": name}
    if kind == "NPZDataset" and name == STREAMED:
        return {"stamps": np.zeros((2, 3, 8, 8), dtype=np.float32)}
    if kind == "NPZDataset":
        return {name.replace(".", "_"): np.arange(3)}
    if kind == "FigureDataset":
        figure = Figure(figsize=(1, 1))
        figure.text(0, 0.5, name, fontsize=3)
        return figure
    if kind == "PosteriorDataset":
        import arviz

        return arviz.from_dict(posterior={name.replace(".", "_"): np.zeros((2, 3))})
    if kind == "TransformerDataset":
        from skytrace.learning.pu_transformer import PUTransformer
        from skytrace.learning.transformer_options import TransformerOptions

        weights = ({"weight": np.zeros(3, dtype=np.float32)},)
        return PUTransformer(TransformerOptions(), (4, 64, 64), weights, {"said_by": name})
    detector = Detector("resnet18", {"weight": np.zeros(3, dtype=np.float32)}, {"said_by": name})
    return detector if kind == "DetectorDataset" else SimpleNamespace(members={"one": detector}, card={"said_by": name})


@pytest.fixture(scope="module")
def lineage(built) -> dict:
    return json.loads((built / "api" / "main").read_text())


@pytest.fixture(scope="module")
def layered(repository) -> dict[str, dict]:
    """Every catalog entry of conf/base with a layer: name -> class, layer, rows of its preview."""
    entries = {}
    for path in sorted((repository / "conf" / "base").glob("catalog*.yml")):
        for name, entry in yaml.safe_load(path.read_text()).items():
            viz = (entry.get("metadata") or {}).get("kedro-viz", {})
            if not name.startswith("_") and "layer" in viz:
                kind = entry["type"].rsplit(".", 1)[-1]
                entries[name] = {"kind": kind, "layer": viz["layer"], "nrows": viz.get("preview_args", {}).get("nrows")}
    return entries


def details(built: Path, lineage: dict) -> dict[str, dict]:
    """What the site shows beside each dataset once it is clicked."""
    folder = built / "api" / "nodes"
    return {n["name"]: json.loads((folder / n["id"]).read_text()) for n in lineage["nodes"] if n["type"] == "data"}


def test_every_dataset_with_a_layer_stands_in_the_built_site_in_that_layer(lineage, layered):
    shown = {node["name"]: node["layer"] for node in lineage["nodes"] if node["type"] == "data"}
    assert len(layered) > 30
    assert shown == {name: entry["layer"] for name, entry in layered.items()}
    assert {node["name"] for node in lineage["nodes"] if node["type"] == "data" and not node["layer"]} == set()


def test_every_dataset_is_of_a_class_whose_preview_is_known_here(layered):
    assert {entry["kind"] for entry in layered.values()} <= PREVIEWS.keys() | WITHOUT_PREVIEW


def test_tables_and_reports_are_previewed_with_their_own_content(built, lineage, layered):
    shown = details(built, lineage)
    checked = {"TablePreview": 0, "JSONPreview": 0}
    for name, entry in layered.items():
        kind = PREVIEWS.get(entry["kind"])
        if kind not in checked:
            continue
        preview = shown[name]["preview"]
        assert shown[name]["preview_type"] == kind, name
        if kind == "TablePreview":
            rows = min(entry["nrows"], ROWS)
            more = entry["kind"] == "AtomicParquetDataset"
            assert preview["columns"] == ["said_by", "row", "missing", *(["hosts", "night"] if more else [])], name
            beyond = [[0, 1], "2011-08-24 00:00:00"] if more else []
            read = [[*row[:2], row[2] or None, *row[3:]] for row in preview["data"]]  # "" where words are all words
            assert read == [[name, row, None, *beyond] for row in range(rows)], name
        elif name == STREAMED:
            assert json.loads(preview) == {"stamps": "float32 (2, 3, 8, 8)"}
        elif entry["kind"] == "NPZDataset":
            assert json.loads(preview) == {name.replace(".", "_"): "int64 (3,)"}
        elif entry["kind"] == "PosteriorDataset":
            assert json.loads(preview) == {"posterior": {name.replace(".", "_"): [2, 3]}}
        elif entry["kind"] == "AtomicJSONDataset":
            assert json.loads(preview) == {"said_by": name}
        else:
            assert json.loads(preview)["card"] == {"said_by": name}
        checked[kind] += 1
    assert checked["TablePreview"] > 12
    assert checked["JSONPreview"] > 6


def test_figures_are_previewed_as_the_very_pictures_on_disk(project, built, lineage, layered):
    shown = details(built, lineage)
    figures = [name for name, entry in layered.items() if entry["kind"] == "FigureDataset"]
    figures = [name for name in figures if not name.endswith("_pdf")]  # nothing can be shown of these
    assert len(figures) >= 6
    pictures = set()
    for name in figures:
        picture = base64.b64decode(shown[name]["preview"])
        assert shown[name]["preview_type"] == "ImagePreview"
        assert picture == (project / shown[name]["filepath"]).read_bytes(), name
        assert picture.startswith(b"\x89PNG")
        pictures.add(picture)
    assert len(pictures) == len(figures)  # each its own


def test_the_graph_reaches_from_the_raw_survey_to_the_page(lineage):
    names = {node["id"]: node["name"] for node in lineage["nodes"]}
    following: dict[str, set[str]] = {}
    for edge in lineage["edges"]:
        following.setdefault(edge["source"], set()).add(edge["target"])
    start = [key for key, name in names.items() if name == "detector_survey"]
    reached, frontier = set(start), list(start)
    while frontier:
        for key in following.get(frontier.pop(), set()) - reached:
            reached.add(key)
            frontier.append(key)
    assert any(names[key].endswith("detector") for key in reached)
    assert any(names[key].endswith("selection_function_page") for key in reached)


def test_layers_run_from_raw_to_reporting(lineage):
    assert set(lineage["layers"]) >= LAYERS_OF_LINEAGE
    order = lineage["layers"]
    assert order.index("raw") < order.index("models") < order.index("reporting")


def test_boxes_carry_the_names_of_the_pipelines(lineage):
    modular = {node["name"] for node in lineage["nodes"] if node["type"] == "modularPipeline"}
    assert {"lens_finder", "injection_recovery"} <= modular


@pytest.fixture(scope="module")
def address(built):
    """The built site, served as any static host would."""
    handler = functools.partial(QuietHandler, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize("pipeline", list(LINEAGES))
def test_a_browser_reads_every_pipeline_of_the_built_page_without_network_or_errors(browser, address, pipeline):
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    errors, outside = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: outside.append(request.url) if not local(request.url, address) else None)
    page.goto(f"{address}/?pid={pipeline}&expandAllPipelines=false")
    page.wait_for_selector(".pipeline-node", timeout=60_000)
    drawn = {node.text_content() for node in page.query_selector_all(".pipeline-node")}
    layers = [name.text_content() for name in page.query_selector_all(".pipeline-layer-name")]
    assert pipeline in drawn  # one box, that opens on a click
    assert (layers[0], layers[-1]) == ("raw", "reporting")
    assert not errors
    assert not outside
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["injection_recovery.heatmaps", "injection_recovery.marginals"])
def test_a_click_on_a_dataset_shows_its_preview(browser, address, built, lineage, name):
    node = next(node for node in lineage["nodes"] if node["name"] == name)
    page = browser.new_page(viewport={"width": 1600, "height": 1200})
    page.goto(f"{address}/?pid=injection_recovery&expandAllPipelines=true&sid={node['id']}")
    if name.endswith("heatmaps"):
        picture = page.wait_for_selector("img[src^='data:image/png;base64,']", timeout=60_000)
        assert picture.get_attribute("src").endswith(details(built, lineage)[name]["preview"])
        assert picture.evaluate("image => image.complete && image.naturalWidth") == 200
    else:
        page.wait_for_selector(f"td:has-text('{name}')", timeout=60_000)
    page.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the built site without a line per request."""

    def log_message(self, *_: object) -> None:
        pass


def local(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))
