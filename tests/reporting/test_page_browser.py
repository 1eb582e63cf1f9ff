"""The explorer in a headless Chromium: what a reader sees is what the table says, wherever the controls stand."""

import base64
import functools
import re

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting.page import selection_function_page
from skytrace.statistics import beta_interval

from .test_page import HOSTILE, REPORT, surface

pytestmark = pytest.mark.browser
AXES = ["theta_e", "psf_fwhm", "depth"]


@functools.cache
def measured() -> pd.DataFrame:
    """``surface`` with real intervals, a merged pair, a cell without detections, and a second detector."""
    table = surface()
    merged = (table["theta_e"] == 0.5) & (table["depth"] == 24.5)
    table.loc[merged, ["state", "merge_cells", "n_own", "n_detected_own"]] = ["merged", 2, 20, 3]
    none = (table["theta_e"] == 1.0) & (table["depth"] == 23.5) & (table["psf_fwhm"] == 1.2)
    table.loc[none, ["n_detected", "completeness"]] = [0, 0.0]
    full = table["n"] > 0
    table["design_effect"] = np.where(full & (table["n_detected"] > 0), 1.6, np.nan)
    table["n_effective"] = table["n"] / 1.6
    table["share_host_detected"] = np.where(full, 0.0125, np.nan)
    for level, share in (("68", 0.6827), ("95", 0.9545)):
        for end, trials in (("", table["n"]), ("_hosts", table["n_effective"])):
            ends = beta_interval(table["completeness"].fillna(0.0) * trials, trials, share)
            for side, values in zip(("low", "high"), ends, strict=True):
                table[f"{side}{level}{end}"] = np.where(full, values, np.nan)
    other = table.assign(detector=HOSTILE, threshold=table["threshold"] + 0.05, threshold_default=0.95)
    return pd.concat([table.assign(detector="resnet18", threshold_default=0.5), other], ignore_index=True)


def marginals(table: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for axis in AXES:
        sums = table.groupby(["detector", "threshold", axis], as_index=False)[["n", "n_detected"]].sum()
        parts.append(sums.rename(columns={axis: "value"}).assign(axis=axis))
    pooled = pd.concat(parts, ignore_index=True)
    pooled.loc[(pooled["axis"] == "depth") & (pooled["value"] == 22.5), ["n", "n_detected"]] = 0
    pooled["completeness"] = pooled["n_detected"] / pooled["n"].where(pooled["n"] > 0)
    for level, share in (("68", 0.6827), ("95", 0.9545)):
        low, high = beta_interval(pooled["n_detected"], pooled["n"], share)
        pooled[f"low{level}"] = np.where(pooled["n"] > 0, low, np.nan)
        pooled[f"high{level}"] = np.where(pooled["n"] > 0, high, np.nan)
    return pooled


def comparison(table: pd.DataFrame) -> pd.DataFrame:
    ours = table[(table["detector"] == "resnet18") & (table["threshold"] == 0.5) & (table["depth"] > 23)]
    both = ours[AXES].assign(role="both")
    for side, factor in (("ours", 1.0), ("theirs", 0.5)):
        for name in ("n", "n_detected", "mode", "state"):
            both[f"{name}_{side}"] = ours[name]
        for name in ("completeness", "low68", "high68"):
            both[f"{name}_{side}"] = factor * ours[name]
    both["difference"] = both["completeness_ours"] - both["completeness_theirs"]
    both["difference_low95"], both["difference_high95"] = both["difference"] - 0.1, both["difference"] + 0.1
    both["excludes_zero"] = both["difference"] > 0.1
    both.attrs = {"threshold_ours": 0.5, "threshold_theirs": 0.3}
    return both


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "selection_function.html"
    table = measured()
    gates = [{"name": f"{k} gate", "status": status, "sentence": "word " * 30}
             for k, status in enumerate(("pass", "fail", "insufficient", "reported"))]  # fmt: skip
    html = selection_function_page(
        table, {**REPORT, "gates": gates}, facts={"host": HOSTILE}, marginals=marginals(table),
        comparison=comparison(table), downloads={"large.csv": b"0123456789abcdef\n" * 120_000, "table.csv":
                                                 table.to_csv(index=False).encode()},
        products=[("A table", "words", pd.DataFrame({f"column_{k}": [0.123, 2.0] for k in range(12)}))],
        galleries=[("Best", "the best", PNG), ("Worst", "the worst", PNG)],
    )  # fmt: skip
    path.write_text(html, encoding="utf-8")
    return path


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def page(browser, page_file):
    """The page, open; afterwards nothing has failed and nothing was asked of a network."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: problems.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    yield page
    page.close()
    assert not problems
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)


def cell(page, theta: float, psf: float, where: str = "#map"):
    return page.locator(f'{where} .cell[data-theta="{theta:g}"][data-psf="{psf:g}"]')


def shown(table: pd.DataFrame, depth: float, threshold: float, detector: str = "resnet18") -> pd.DataFrame:
    near = np.isclose(table["threshold"], threshold)
    return table[near & (table["depth"] == depth) & (table["detector"] == detector)]


def entries(page) -> dict[str, str]:
    names = page.locator("#details dt").all_text_contents()
    return dict(zip(names, page.locator("#details dd").all_text_contents(), strict=True))


def assert_shows(text: str, *values: float) -> None:
    """The percentages in ``text`` are ``values`` to half a unit of their last digit."""
    numbers = re.findall(r"(< |> )?([\d.]+) %", text)
    assert len(numbers) == len(values), text
    for (bound, number), value in zip(numbers, values, strict=True):
        decimals = len(number.partition(".")[2])
        if bound == "< ":
            assert 0 < 100 * value < float(number), text
        elif bound == "> ":
            assert float(number) < 100 * value < 100, text
        else:
            assert abs(float(number) - 100 * value) <= 0.5000001 * 10.0**-decimals, (text, value)


@pytest.mark.parametrize(("depth", "threshold"), [(0, 0), (1, 0), (2, 1)])
def test_the_panel_says_of_every_cell_what_the_table_says_after_the_sliders_moved(page, depth, threshold):
    page.locator("#depth").fill(str(depth))
    page.locator("#threshold").fill(str(threshold))
    for row in shown(measured(), (22.5, 23.5, 24.5)[depth], (0.5, 0.9)[threshold]).itertuples():
        cell(page, row.theta_e, row.psf_fwhm).hover()
        panel = entries(page)
        assert panel["state"].startswith(row.state.replace("_", " "))
        if row.n == 0:
            assert set(panel) == {"state"}
            assert "it is not 0" in page.locator("#details").inner_text()
            continue
        assert_shows(panel["P(detected)"], row.completeness)
        assert_shows(panel["68 %, shared hosts"], row.low68_hosts, row.high68_hosts)
        assert_shows(panel["95 %, shared hosts"], row.low95_hosts, row.high95_hosts)
        assert_shows(panel["68 %, if independent"], row.low68, row.high68)
        assert_shows(panel["95 %, if independent"], row.low95, row.high95)
        assert panel["detected"] == f"{row.n_detected} of n = {row.n}"
        assert panel["hosts"] == f"12 ({row.mode})"
        assert panel["design effect"].startswith("1.60" if row.n_detected else "not measurable")
        assert f"{row.n_effective:.1f} effective trials" in panel["design effect"]
        assert_shows(panel["host alone passes"], 0.0125)
        words = page.locator("#details").inner_text()
        assert ("None was detected. A Jeffreys interval" in words) == (row.n_detected == 0)
        assert ("of this cell alone 3 of 20" in words) == (row.state == "merged")


def test_numbers_hatches_and_marks_on_the_map_are_those_of_the_table_at_every_setting(page):
    table = measured()
    for detector, thresholds in (("resnet18", (0.5, 0.9)), (HOSTILE, (0.55, 0.95))):
        page.locator("#detector").select_option(detector)
        for j, threshold in enumerate(thresholds):
            page.locator("#threshold").fill(str(j))
            for k, depth in enumerate((22.5, 23.5, 24.5)):
                page.locator("#depth").fill(str(k))
                rows = shown(table, depth, threshold, detector)
                for state in ("ok", "insufficient", "no_hosts", "merged"):
                    wanted = int((rows["state"] == state).sum())
                    assert page.locator(f'#map .cell[data-state="{state}"]').count() == wanted
                    hatch = page.locator(f'#map .hatch[fill="url(#hatch-{state})"]').count()
                    assert hatch == (wanted if state in ("insufficient", "merged") else 0)
                    words = {"insufficient": "insufficient", "no_hosts": "no hosts", "merged": "merged"}.get(state)
                    if words:
                        said = f"{words}: {wanted}" in page.locator("#legend").inner_text()
                        assert said == (wanted > 0)
                empty = page.locator('#map .cell[fill="url(#hatch-none)"]').count()
                assert empty == int((rows["n"] == 0).sum())
                assert page.locator("#map .degraded").count() == int((rows["mode"] == "degraded").sum())
                wanted = sorted(
                    {"ok": "{}", "insufficient": "({})", "merged": "[{}]"}[row.state].format(
                        int(np.floor(100 * row.completeness + 0.5))
                    )
                    for row in rows[rows["n"] > 0].itertuples()
                )  # fmt: skip
                assert sorted(page.locator("#map .layer text").all_text_contents()) == wanted


def test_colour_follows_the_stated_scale_which_is_the_same_for_all_depths_of_a_threshold(page):
    ends = {}
    for threshold in (0, 1):
        for depth in (0, 1, 2):
            page.locator("#threshold").fill(str(threshold))
            page.locator("#depth").fill(str(depth))
            ends[threshold, depth] = page.locator("#legend .scale").all_text_contents()
            assert f"from 0 to {ends[threshold, depth][-1]}," in page.locator("#scale-note").inner_text()
    assert all(ends[0, depth] == ["0 %", "50 %", "100 %"] for depth in range(3))
    assert all(ends[1, depth] == ["0 %", "30 %", "60 %"] for depth in range(3))
    # the same colour table and end as the figure's: 52 % of at most 60 % is step 55 of 64
    table = page.evaluate("JSON.parse(document.getElementById('colours').textContent)")
    assert cell(page, 1.5, 0.9).get_attribute("fill") == table[round(64 * 0.52 / 0.6)]


def test_a_link_restores_the_view_and_the_view_is_in_the_link(page, page_file):
    page.goto(page_file.as_uri() + "#depth=24.5&threshold=0.9&theta_e=1.5&psf=1.2")
    page.reload()
    row = shown(measured(), 24.5, 0.9).query("theta_e == 1.5 and psf_fwhm == 1.2").iloc[0]
    assert page.locator("#depth-value").inner_text() == "24.50"
    assert page.locator("#threshold-value").inner_text() == "0.900"
    assert_shows(entries(page)["P(detected)"], row["completeness"])
    page.locator('[data-steps="depth"][data-by="-1"]').click()
    cell(page, 1.0, 0.9).click()
    words = page.url.split("#")[1]
    assert "depth=23.5" in words
    assert "threshold=0.9" in words
    assert "theta_e=1&psf=0.9" in words


def test_an_address_of_what_was_not_measured_is_told_in_sight_and_corrected(page, page_file):
    page.goto("about:blank")
    page.goto(page_file.as_uri() + "#depth=24.5&threshold=0.7")
    note = page.locator("#link-note")
    assert note.inner_text().startswith("The address asked for threshold = 0.7, which was not measured here.")
    assert "depth 24.50, score ≥ 0.500" in note.inner_text()
    box = note.bounding_box()
    assert 0 <= box["y"] <= box["y"] + box["height"] <= 900 + 1, "nobody sees it without scrolling"
    assert page.locator("#threshold-value").inner_text().startswith("0.500")
    assert "depth=24.5&threshold=0.5" in page.url
    assert "0.7" not in page.url.split("#")[1]
    page.locator('[data-steps="depth"][data-by="-1"]').click()
    assert not note.is_visible()
    page.goto(page_file.as_uri() + "#depth=99&threshold=0.5")
    assert "asked for depth = 99" in note.inner_text()
    assert page.locator("#depth-value").inner_text() == "23.50"
    assert "depth=23.5&" in page.url


def test_a_detector_brings_its_own_thresholds_and_its_name_stays_text(page):
    page.locator("#detector").select_option(HOSTILE)
    assert page.locator("#threshold-value").inner_text() == "0.950 (the detector’s own)"
    assert page.locator("#threshold-first").inner_text() == "0.550"
    cell(page, 1.0, 0.9).click()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert page.locator("#detector").input_value() == HOSTILE
    assert page.locator("img[src=x]").count() == 0


def test_the_map_is_one_stop_of_the_keyboard_and_arrows_walk_its_cells(page):
    assert page.locator("#map .cell[tabindex='0']").count() == 1
    page.locator("#map .cell[tabindex='0']").focus()  # the first one read: smallest theta_E, largest PSF
    for key, theta, psf in (("ArrowRight", 1.0, 1.2), ("ArrowDown", 1.0, 0.9), ("End", 1.5, 0.9), ("Home", 0.5, 0.9)):
        page.keyboard.press(key)
        assert page.locator("#details h3").first.inner_text() == f"θE {theta:.2f}″, PSF {psf:.2f}″, depth 23.50"
    page.keyboard.press("Enter")
    assert "theta_e=0.5&psf=0.9" in page.url
    assert page.locator("#map .cell[aria-selected='true']").get_attribute("aria-label").startswith(
        "theta_E 0.50 arcsec, PSF 0.90 arcsec: "
    )  # fmt: skip
    page.keyboard.press("Escape")
    assert "theta_e" not in page.url
    page.locator("#depth").focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#depth").get_attribute("aria-valuetext") == "24.50"


def test_marginals_are_the_tables_and_break_where_nothing_was_measured(page):
    table = marginals(measured())
    rows = table[(table["detector"] == "resnet18") & (table["threshold"] == 0.5)]
    panels = page.locator("#marginals svg")
    assert panels.count() == 3
    for axis, values in rows.groupby("axis"):
        words = page.locator(f'#marginals svg[data-axis="{axis}"] .dot title').all_text_contents()
        full = values[values["n"] > 0].sort_values("value")
        assert len(words) == len(full)
        for text, row in zip(words, full.itertuples(), strict=True):
            value, narrow, wide = re.split(r" \(68 % |; 95 % ", text.partition(": ")[2].partition("),")[0])
            assert_shows(value, row.completeness)
            assert_shows(narrow, row.low68, row.high68)
            assert_shows(wide, row.low95, row.high95)
            assert text.endswith(f"{row.n_detected:,} of {row.n:,}")
    assert page.locator('#marginals svg[data-axis="depth"] .empty').count() == 1
    assert "nothing was measured in this bin" in page.locator("#marginals-note").inner_text()


def test_the_comparison_shows_both_surfaces_and_their_difference_at_the_depth_of_the_slider(page):
    page.locator("#depth").fill("2")
    rows = comparison(measured()).query("depth == 24.5")
    for row in rows.itertuples():
        place = (row.theta_e, row.psf_fwhm)
        for side in ("ours", "theirs"):
            percent = f"{100 * getattr(row, f'completeness_{side}'):.1f}".removesuffix(".0")
            label = cell(page, *place, f"#map-{side}").get_attribute("aria-label")
            assert f"{percent}" in label
        cell(page, *place, "#map-difference").hover()
        said = page.locator("#comparison-cell").inner_text()
        assert f"difference +{100 * row.difference:.2f} points" in said
        assert "Measured in both" in said
    points = {k: f"+{np.floor(100 * r.difference + 0.5):.0f}" for k, r in enumerate(rows.itertuples())}
    wanted = sorted(points[k] if sure else f"({points[k]})" for k, sure in enumerate(rows["excludes_zero"]))
    assert sorted(page.locator("#map-difference .layer text").all_text_contents()) == wanted
    assert page.locator("#map-difference .hatch").count() == int((~rows["excludes_zero"]).sum())
    page.locator("#depth").fill("0")
    assert "no such cell at this depth" in page.locator("#comparison-note").inner_text()


@pytest.mark.parametrize("width", [28, 30, 42, 60])
@pytest.mark.parametrize("words", ["(0)", "(−1)", "(−12)", "[0.3]", "(100)"])
def test_brackets_of_a_narrow_cell_stay_and_its_text_fits(page, words, width):
    said, length, size = page.evaluate(
        """([words, w]) => {
          const line = node("g", {}, byId("map")), row = { theta_e: 1, psf_fwhm: 1 };
          drawCell(line, row, { fill: "#fff", text: words, hatch: "zero", dark: true }, { x: 0, y: 0, w, h: 30 });
          const text = line.querySelector("text");
          const found = [text.textContent, text.getComputedTextLength(), Number(text.getAttribute("font-size"))];
          line.remove();
          return found; }""",
        [words, width],
    )
    assert said == words, "a bracket is what marks a cell without enough injections, or a difference that may be 0"
    assert length <= width + 1
    assert 8 <= size <= 13


def test_print_opens_what_is_folded_and_hides_the_controls(page):
    assert page.locator("details.gallery[open]").count() == 1
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details.gallery[open]").count() == 2
    page.emulate_media(media="print")
    assert page.locator(".stepper").first.is_hidden()
    assert page.locator("#threshold-value").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details.gallery[open]").count() == 1


@pytest.mark.parametrize("name", ["table.csv", "large.csv"])
def test_a_download_is_the_very_file_however_large(page, name):
    wanted = {"table.csv": measured().to_csv(index=False).encode(), "large.csv": b"0123456789abcdef\n" * 120_000}
    with page.expect_download() as download:
        page.locator(f'#downloads a[download="{name}"]').click()
    assert download.value.suggested_filename == name
    assert download.value.path().read_bytes() == wanted[name]


def test_the_map_as_a_table_has_every_shown_cell(page):
    page.locator("#numbers summary").click()
    page.locator("#depth").fill("0")
    lines = page.locator("#numbers tbody tr")
    assert lines.count() == 6
    first = lines.first.locator("td").all_text_contents()
    assert first[:3] == ["0.50", "0.90", "–"]
    assert first[-1] == "no hosts"


@pytest.mark.parametrize("width", [360, 390])
def test_on_a_phone_nothing_runs_off_the_page_and_no_text_is_smaller_than_twelve_pixels(browser, page_file, width):
    page = browser.new_page(viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True)
    page.goto(page_file.as_uri())
    assert "NO-GO" in page.locator("#verdict").inner_text()
    page.locator("#gates-details summary").click()
    page.locator("#numbers summary").click()
    cell(page, 1.5, 1.2).tap()
    assert "of n = 200" in page.locator("#details").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    smallest = page.evaluate("""() => Math.min(...[...document.querySelectorAll('body *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length
          && !['SCRIPT', 'title'].includes(e.tagName))
        .map(e => parseFloat(getComputedStyle(e).fontSize)
          * (e.ownerSVGElement && e.tagName === 'text' ? e.getScreenCTM().a || Math.abs(e.getScreenCTM().b) : 1)))""")
    assert smallest >= 11.99
    sentence = page.locator("#gates tbody tr td:last-child").first.bounding_box()
    assert sentence["width"] > 0.8 * width  # the sentence has the width of the page, not a column of it
    page.close()
