"""The lineage builds as a static page, raw sky to report, and a browser can read it without the network."""

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from skytrace.reporting.lineage_site import make_self_contained

LAYERS_OF_LINEAGE = {"raw", "primary", "model_input", "models", "model_output", "reporting"}


@pytest.fixture(scope="module")
def built(repository, tmp_path_factory) -> Path:
    """A built kedro-viz site, made in a copy of the tracked files so that the checkout stays clean."""
    project = tmp_path_factory.mktemp("viz") / "project"
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=repository, capture_output=True, text=True
    )
    for name in listing.stdout.splitlines():
        if not name.startswith(("data/", "docs/", "tests/")) and (repository / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / name, project / name)
    environment = {**os.environ, "DO_NOT_TRACK": "1", "PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "kedro", "viz", "build", "--include-hooks", "--include-previews"],
        cwd=project, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return make_self_contained(project / "build")


@pytest.fixture(scope="module")
def lineage(built) -> dict:
    return json.loads((built / "api" / "main").read_text())


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


@pytest.mark.browser
def test_a_browser_reads_the_built_page_without_network_or_errors(browser, built):
    handler = functools.partial(QuietHandler, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        page = browser.new_page(viewport={"width": 1600, "height": 1200})
        errors, outside = [], []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: outside.append(request.url) if not local(request.url, address) else None)
        page.goto(f"{address}/?pid=injection_recovery&expandAllPipelines=false")
        page.wait_for_selector(".pipeline-node", timeout=60_000)
        text = page.inner_text("body")
        assert "Lens Finder" in text or "lens_finder" in text
        assert not errors
        assert not outside
        page.close()
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves the built site without a line per request."""

    def log_message(self, *_: object) -> None:
        pass


def local(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))
