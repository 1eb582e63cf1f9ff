"""The selection function as one page that works from a file: no network, no server, one HTML document.

Its script and style are listed by their hash in the page's content security policy, so that text from outside could not
run even if it were not escaped. Numbers reach the page as JSON; what a reader sees is drawn from them in the browser.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.html_templates import data_uri, html_template
from skytrace.reporting.population_words import POPULATION_HEADING
from skytrace.reporting.style import colour_maximum

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["selection_function_page"]

#: What the page needs of each cell. ``detector`` is optional: one is assumed without it.
CELL_COLUMNS = (
    "theta_e", "psf_fwhm", "depth", "threshold", "mode", "state", "n", "n_detected", "n_hosts",
    "completeness", "low68", "high68", "low95", "high95",
)  # fmt: skip
#: Shown where the table has them: intervals that know about injections sharing a host and the design effect behind
#: them, the share of injections whose host passes the threshold by itself, and what a merged cell is made of.
OPTIONAL_COLUMNS = (
    "low68_hosts", "high68_hosts", "low95_hosts", "high95_hosts", "design_effect", "n_effective",
    "share_host_detected", "merge_cells", "n_own", "n_detected_own",
)  # fmt: skip
MARGINAL_COLUMNS = ("axis", "value", "threshold", "n", "n_detected", "completeness")
_ENDS = ("low68", "high68", "low95", "high95")
COMPARISON_COLUMNS = (
    "theta_e", "psf_fwhm", "depth", "role",
    *(f"{name}_{side}" for side in ("ours", "theirs")
      for name in ("n", "n_detected", "mode", "state", "completeness", "low68", "high68")),
    "difference", "difference_low95", "difference_high95", "excludes_zero",
)  # fmt: skip
#: Gate status -> sign beside the word: no status is told by its colour alone.
_SIGNS = {"pass": "✓", "fail": "✗", "insufficient": "?", "reported": "i"}
_SCRIPTS = ("explorer_state.js", "explorer_map.js", "explorer_details.js", "explorer_plots.js", "explorer_start.js")


def selection_function_page(
    table: pd.DataFrame,
    report: Mapping[str, Any],
    *,
    galleries: Sequence[tuple[str, str, bytes]] = (),
    facts: Mapping[str, str] | None = None,
    downloads: Mapping[str, bytes] | None = None,
    title: str = "Selection function",
    marginals: pd.DataFrame | None = None,
    comparison: pd.DataFrame | None = None,
    products: Sequence[tuple[str, str, bytes | str | pd.DataFrame]] = (),
    population: Sequence[tuple[str, str]] = (),
    gate_notes: Sequence[str] = (),
    gate_figures: Sequence[tuple[str, bytes]] = (),
) -> str:
    """HTML of the explorer: verdict and gates, heat map with depth, threshold and detector controls, downloads.

    table: one row a (cell, threshold[, detector]) with CELL_COLUMNS, and OPTIONAL_COLUMNS, threshold_default where
    there are any; theta_e and psf_fwhm [arcsec], depth [AB mag]. report: the realism report: "verdict", "gates" (each
    with name, status, sentence), optionally "limits" (sentences). galleries: (heading, caption, PNG bytes).
    facts: what the numbers are of (detector, survey, definitions). downloads: file name -> bytes, offered as links
    inside the page; the table as CSV is added where no file ends in .csv. marginals: of ``selection.marginals``,
    with ``detector`` where they are of several. comparison: of ``compare_surfaces``, shown side by side.
    products: (heading, words, content), content a PNG, a DataFrame, or an HTML table, of which only plain table
    elements are kept. population: ``population_words``, shown under the map. gate_notes: sentences under the table of
    gates (``bound_words``). gate_figures: (caption, PNG bytes) of what the gates compare, folded beneath it. All text
    is escaped. Raises ValueError naming the columns that a table lacks.
    """
    _check_columns("selection-function table", table, CELL_COLUMNS)
    files = dict(downloads or {})
    if not any(name.endswith(".csv") for name in files):
        files["selection_function.csv"] = table.to_csv(index=False).encode()
    style = _source("selection_function.css")
    script = "".join(_source(name) for name in _SCRIPTS)
    return html_template("selection_function.html.j2").render(
        title=title,
        style=style,
        script=script,
        style_hash=_policy_hash(style),
        script_hash=_policy_hash(script),
        verdict=str(report.get("verdict", "INSUFFICIENT")),
        gates=_gates(report),
        limits=list(report.get("limits", ())),
        gate_notes=[str(words) for words in gate_notes],
        gate_figures=[(caption, data_uri("image/png", png)) for caption, png in gate_figures],
        facts=dict(facts or {}),
        population=[(str(key), str(value)) for key, value in population],
        population_heading=POPULATION_HEADING,
        galleries=[(heading, caption, data_uri("image/png", png)) for heading, caption, png in galleries],
        products=[_product(*product) for product in products],
        downloads=[_download(name, content) for name, content in files.items()],
        with_marginals=marginals is not None,
        with_comparison=comparison is not None,
        cells_json=_script_json(_cells(table)),
        colours_json=_script_json(_colour_table("cividis")),
        explorer_json=_script_json(_beside_the_cells(table, report, marginals, comparison)),
    )  # fmt: skip


def _source(name: str) -> str:
    """A script or style of the page; safe to stand in its element only because it never holds the element's end."""
    from importlib.resources import files

    return (files("skytrace.reporting") / "templates" / name).read_text(encoding="utf-8")


def _policy_hash(source: str) -> str:
    """``'sha256-...'`` of the text between the tags, for the content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode('ascii')}'"


def _gates(report: Mapping[str, Any]) -> list[dict[str, str]]:
    gates = []
    for gate in report.get("gates", ()):
        status = str(gate["status"])
        kind = status if status in _SIGNS else "other"
        sign = _SIGNS.get(status, "·")
        gates.append(
            {"name": str(gate["name"]), "status": status, "kind": kind, "sign": sign, "sentence": gate["sentence"]}
        )
    return gates


def _check_columns(what: str, table: pd.DataFrame, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(f"the {what} lacks {', '.join(missing)}")


def _cells(table: pd.DataFrame) -> dict[str, Any]:
    """The table by column; NaN becomes null.

    ``colour_max``: upper end of the colour scale, the same for all depths of a threshold and detector.
    """
    columns: dict[str, Any] = {name: table[name] for name in CELL_COLUMNS}
    columns["detector"] = _detectors(table)
    maps = [np.asarray(columns["threshold"]), np.asarray(columns["detector"])]
    columns["colour_max"] = table["completeness"].groupby(maps).transform(colour_maximum)
    columns |= {name: table[name] for name in OPTIONAL_COLUMNS if name in table.columns}
    return _by_column(columns)


def _detectors(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table["detector"]] if "detector" in table.columns else ["detector"] * len(table)


def _beside_the_cells(
    table: pd.DataFrame, report: Mapping[str, Any], marginals: pd.DataFrame | None, comparison: pd.DataFrame | None
) -> dict[str, Any]:
    """What the script needs beyond the cells: verdict, each detector's own threshold, marginals, the comparison."""
    own: dict[str, Any] = {}
    if "threshold_default" in table.columns:
        own = {name: _plain(v) for name, v in zip(_detectors(table), table["threshold_default"], strict=True)}
    beside: dict[str, Any] = {
        "verdict": str(report.get("verdict", "INSUFFICIENT")), "own_threshold": own, "marginals": None,
        "comparison": None,
    }  # fmt: skip
    if marginals is not None:
        end = "_hosts" if "low68_hosts" in marginals.columns else ""
        _check_columns("table of marginals", marginals, (*MARGINAL_COLUMNS, *(f"{name}{end}" for name in _ENDS)))
        columns: dict[str, Any] = {name: marginals[name] for name in MARGINAL_COLUMNS}
        columns |= {name: marginals[f"{name}{end}"] for name in _ENDS}
        if "detector" in marginals.columns:
            columns["detector"] = [str(name) for name in marginals["detector"]]
        beside["marginals"] = _by_column(columns)
        beside["shared_hosts"] = end != ""
    if comparison is not None:
        from skytrace.selection.published.comparison import ROLES

        _check_columns("comparison", comparison, COMPARISON_COLUMNS)
        beside["comparison"] = _by_column({name: comparison[name] for name in COMPARISON_COLUMNS})
        beside["roles"] = dict(ROLES)
        beside["limits"] = [_plain(comparison.attrs.get(f"threshold_{side}")) for side in ("ours", "theirs")]
        beside["diverging"] = _colour_table("PuOr_r")
    return beside


def _by_column(columns: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [_plain(value) for value in values] for name, values in columns.items()}


def _plain(value: Any) -> Any:
    """In JSON's own types; eight digits of a number, more than any interval warrants."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{float(value):.8g}") if value is not None and np.isfinite(value) else None


def _script_json(value: Any) -> str:
    """JSON that can stand inside a script element whatever text it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _colour_table(name: str) -> list[str]:
    """65 steps of a map made for colour-blind readers: cividis (Nunez, Anderton & Renslow 2018), PuOr (Brewer)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps[name](k / 64)) for k in range(65)]


def _product(heading: str, words: str, content: Any) -> dict[str, Any]:
    """A section: a picture, or a table whose text is escaped."""
    from skytrace.reporting.evaluation_tables import frame_table
    from skytrace.reporting.plain_html import plain_table_html

    section: dict[str, Any] = {"heading": heading, "words": words, "picture": None, "table": None, "html": None}
    if isinstance(content, bytes):
        return {**section, "picture": data_uri("image/png", content)}
    if isinstance(content, str):
        return {**section, "html": plain_table_html(content)}
    return {**section, "table": frame_table(heading, content)}


def _download(name: str, content: bytes) -> dict[str, str]:
    size = f"{len(content) / 1e6:.1f} MB" if len(content) >= 1e6 else f"{max(1, round(len(content) / 1e3))} kB"
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"name": name, "uri": data_uri(kind, content), "size": size}
