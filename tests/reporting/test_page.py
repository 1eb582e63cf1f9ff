"""The explorer page: it is whole in itself, its controls work, and what a user writes is text."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting.page import selection_function_page

THETAS, PSFS, DEPTHS, THRESHOLDS = (0.5, 1.0, 1.5), (0.9, 1.2), (22.5, 23.5, 24.5), (0.5, 0.9)


def surface() -> pd.DataFrame:
    rows = []
    for threshold, depth, psf, theta in itertools.product(THRESHOLDS, DEPTHS, PSFS, THETAS):
        n = 0 if (depth, psf) == (22.5, 0.9) else 40 if theta == 0.5 else 200
        detected = int(n * min(1.0, theta * (depth - 22.0) / 4 / psf * (1.0 if threshold < 0.6 else 0.5)))
        value = detected / n if n else np.nan
        state = "no_hosts" if n == 0 else "insufficient" if n < 200 else "ok"
        rows.append(
            {
                "theta_e": theta, "psf_fwhm": psf, "depth": depth, "threshold": threshold, "state": state, "n": n,
                "mode": "none" if n == 0 else "degraded" if depth < 23 else "matched", "n_detected": detected,
                "n_hosts": 12 if n else 0, "completeness": value, "low68": value, "high68": value,
                "low95": value, "high95": value,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


REPORT = {
    "verdict": "NO-GO",
    "gates": [{"name": "1 arc S/N", "status": "fail", "sentence": "medians differ by <script>alert(1)</script>"}],
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "selection_function.html"
    csv = surface().to_csv(index=False).encode()
    html = selection_function_page(
        surface(), REPORT, facts={"detector": "resnet18 & co"}, downloads={"selection_function.csv": csv}
    )
    path.write_text(html, encoding="utf-8")
    return path


def test_a_table_without_a_needed_column_is_refused_by_name():
    with pytest.raises(ValueError, match="lacks n_hosts"):
        selection_function_page(surface().drop(columns="n_hosts"), REPORT)


def test_text_from_outside_is_escaped(page_file):
    html = page_file.read_text()
    assert "<script>alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "resnet18 &amp; co" in html


def test_the_embedded_cells_are_the_table_with_nan_as_null(page_file):
    html = page_file.read_text()
    cells = json.loads(html.split('id="cells">')[1].split("</script>")[0])
    table = surface()
    assert cells["n_detected"] == table["n_detected"].tolist()
    assert [value is None for value in cells["completeness"]] == table["completeness"].isna().tolist()


@pytest.mark.browser
def test_sliders_change_the_map_without_network_or_errors(browser, page_file):
    page = browser.new_page()
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())

    def numbers():
        return page.locator("#cells-layer text").all_text_contents()

    def expected(depth, threshold):
        table = surface().query("depth == @depth and threshold == @threshold and n > 0")
        return sorted(str(int(np.floor(100 * value + 0.5))) for value in table["completeness"])

    assert sorted(numbers()) == expected(23.5, 0.5)
    page.locator("#depth").fill("2")
    assert sorted(numbers()) == expected(24.5, 0.5)
    page.locator("#threshold").fill("1")
    assert sorted(numbers()) == expected(24.5, 0.9)
    page.locator("#depth").fill("0")
    assert page.locator('#cells-layer rect[fill="url(#none)"]').count() == 3  # no hosts at PSF 0.9, depth 22.5
    page.locator("#depth").fill("2")
    assert page.locator('#cells-layer rect[fill="url(#hatch)"]').count() == 2  # n = 40 at theta_E 0.5
    page.locator("#cells-layer rect.cell").nth(2).hover()
    details = page.locator("#details").inner_text()
    assert "n = 200" in details
    assert "12 (matched)" in details
    assert not problems
    assert all(url.startswith(("file:", "data:")) for url in requests)
    page.close()


@pytest.mark.browser
def test_the_colour_scale_is_stated_and_the_same_for_all_depths_of_a_threshold(browser, page_file):
    page = browser.new_page()
    page.goto(page_file.as_uri())
    ends = {}
    for threshold, depth in itertools.product((0, 1), (0, 1, 2)):
        page.locator("#threshold").fill(str(threshold))
        page.locator("#depth").fill(str(depth))
        ends[threshold, depth] = page.locator("#map .scale").all_text_contents()
        assert f"from 0 to {ends[threshold, depth][-1]}" in page.locator("#scale-note").inner_text()
    assert all(ends[0, depth] == ["0 %", "50 %", "100 %"] for depth in range(3))
    assert all(ends[1, depth] == ["0 %", "30 %", "60 %"] for depth in range(3))
    # the same colour table and end as the figure's: 52 % of at most 60 % is step 55 of 64
    best = page.locator("#cells-layer rect.cell").nth(2)
    table = page.evaluate("JSON.parse(document.getElementById('colours').textContent)")
    assert best.get_attribute("fill") == table[round(64 * 0.52 / 0.6)]
    page.close()


@pytest.mark.browser
def test_the_page_fits_a_phone(browser, page_file):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "NO-GO" in page.locator("#verdict").inner_text()
    with page.expect_download() as download:
        page.locator("#downloads a").first.click()
    assert download.value.suggested_filename == "selection_function.csv"
    page.close()
