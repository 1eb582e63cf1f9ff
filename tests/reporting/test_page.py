"""The explorer page as text: whole in itself, its numbers are the table's, and what a user writes stays text."""

import base64
import hashlib
import itertools
import json
import re

import numpy as np
import pandas as pd
import pytest

from skytrace.reporting.page import selection_function_page
from skytrace.reporting.plain_html import plain_table_html

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
HOSTILE = "</script><img src=x onerror=alert(1)>"


def embedded(html: str, name: str):
    return json.loads(html.split(f'id="{name}">')[1].split("</script>", maxsplit=1)[0])


@pytest.fixture(scope="module")
def html() -> str:
    return selection_function_page(surface(), REPORT, facts={"detector": "resnet18 & co"})


def test_a_table_without_a_needed_column_is_refused_by_name():
    with pytest.raises(ValueError, match="lacks n_hosts"):
        selection_function_page(surface().drop(columns="n_hosts"), REPORT)
    with pytest.raises(ValueError, match="table of marginals lacks axis"):
        selection_function_page(surface(), REPORT, marginals=pd.DataFrame({"value": [1.0]}))
    with pytest.raises(ValueError, match=r"comparison lacks .*difference"):
        selection_function_page(surface(), REPORT, comparison=surface())


def test_whose_number_it_is_stands_under_the_map(html):
    assert 'id="population"' not in html
    page = selection_function_page(surface(), REPORT, population=[("Source magnitudes", "r < 24.5 & more")])
    assert "r &lt; 24.5 &amp; more" in page
    assert page.index('id="map"') < page.index('id="population"') < page.index("<h2>Download</h2>")


def test_text_from_outside_is_escaped(html):
    assert "<script>alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "resnet18 &amp; co" in html


def test_hostile_names_add_no_element_to_the_page():
    plain = selection_function_page(surface(), {**REPORT, "limits": ["x"]}, **everything("name"))
    hostile = selection_function_page(
        surface().assign(detector=HOSTILE), {"verdict": HOSTILE, "limits": [HOSTILE], "gates": [
            {"name": HOSTILE, "status": HOSTILE, "sentence": HOSTILE}]}, **everything(HOSTILE)
    )  # fmt: skip
    assert "<img src=x" not in hostile
    for tag in ("<script", "</script", "<img", "<li", "<td"):
        assert hostile.count(tag) == plain.count(tag), tag
    assert embedded(hostile, "cells")["detector"][0] == HOSTILE


def everything(name: str) -> dict:
    png = b"\x89PNG\r\n\x1a\n"
    return {
        "title": name, "galleries": [(name, name, png)], "facts": {name: name}, "downloads": {name: b"1"},
        "gate_notes": [name], "gate_figures": [(name, png)],
        "products": [(name, name, png), (name, name, pd.DataFrame({name: [name]})), (name, name, f"<p>{name}</p>")],
    }  # fmt: skip


def test_the_embedded_cells_are_the_table_with_nan_as_null(html):
    cells = embedded(html, "cells")
    table = surface()
    assert cells["n_detected"] == table["n_detected"].tolist()
    assert [value is None for value in cells["completeness"]] == table["completeness"].isna().tolist()


def test_embedded_numbers_keep_eight_digits():
    table = surface().assign(low95=1.23456789e-6)
    assert embedded(selection_function_page(table, REPORT), "cells")["low95"][0] == 1.2345679e-6


def test_the_policy_lets_only_the_pages_own_script_and_style_run(html):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html).group(1)
    for kind, opening in (("script-src", "<script>"), ("style-src", "<style>")):
        inside = html.split(opening)[1].split(opening.replace("<", "</"))[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"\s(style|onclick|onload)=", html)  # the policy would drop them silently


def test_the_table_itself_is_a_download_where_no_csv_is_given():
    for downloads, name in ((None, "selection_function.csv"), ({"mine.csv": b"a,b\n"}, "mine.csv")):
        page = selection_function_page(surface(), REPORT, downloads=downloads)
        links = re.findall(r'<a download="([^"]+)" href="data:text/csv;base64,([^"]+)"', page)
        assert [link[0] for link in links] == [name]
        wanted = surface().to_csv(index=False).encode() if downloads is None else downloads[name]
        assert base64.b64decode(links[0][1]) == wanted


def test_every_gate_stands_on_top_with_its_status_and_sentence():
    statuses = ("pass", "insufficient", "reported", "not run")
    gates = [{"name": f"gate {k}", "status": status, "sentence": f"words {k}"} for k, status in enumerate(statuses)]
    page = selection_function_page(surface(), {"verdict": "INSUFFICIENT", "gates": gates})
    head = page.split("Probability of detection")[0]
    for k, status in enumerate(statuses):
        assert f"gate {k}: {status}" in head
        assert f"words {k}" in head
    assert "4 gates: 1 passed, 0 failed, 1 insufficient, 2 reported without a bound" in " ".join(head.split())


def test_how_the_bounds_came_about_and_the_gates_figures_stand_folded_under_the_gates(html):
    assert 'id="registration"' not in html and 'id="gate-figures"' not in html
    png = b"\x89PNG\r\n\x1a\n"
    page = selection_function_page(
        surface(), REPORT, gate_notes=["Bound set after a run & told"], gate_figures=[("Gates 1 and 3", png)]
    )
    order = [page.index(words) for words in ('id="gates"', 'id="registration"', 'id="gate-figures"', 'id="map"')]
    assert order == sorted(order)
    assert "<li>Bound set after a run &amp; told</li>" in page
    folded = page.split('<details id="gate-figures">')[1].split("</details>")[0]  # closed: without "open"
    assert base64.b64encode(png).decode() in folded and "<figcaption>Gates 1 and 3</figcaption>" in folded


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ('<table border="1"><tr><th colspan="2">a</th></tr></table>', '<table><tr><th colspan="2">a</th></tr></table>'),
        ('<td onclick="f()" style="x">1 &lt; 2</td>', "<td>1 &lt; 2</td>"),
        ("<p>a<script>f('</p>')</script>b", "<p>ab</p>"),
        ('<a href="javascript:f()">x</a><img src=x onerror=f()>', "x"),
        ("<svg><td>hidden</td></svg>shown", "shown"),
        ('<td rowspan="9 onclick=f()">1', "<td>1</td>"),
        ("</td></table>x", "x"),
    ],
)
def test_foreign_html_keeps_tables_and_text_and_nothing_that_runs(source, kept):
    assert plain_table_html(source) == kept
