"""The selection function as one page that works from a file: no network, no server, one HTML document."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import colour_maximum

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["selection_function_page"]

#: What the page needs of each cell. Optional: ``detector`` (one is assumed without it), and the intervals that know
#: about injections sharing a host, low68_hosts, high68_hosts and the design_effect behind them.
CELL_COLUMNS = (
    "theta_e", "psf_fwhm", "depth", "threshold", "mode", "state", "n", "n_detected", "n_hosts",
    "completeness", "low68", "high68", "low95", "high95",
)  # fmt: skip
SHARED_HOST_COLUMNS = ("low68_hosts", "high68_hosts", "design_effect")


def selection_function_page(
    table: pd.DataFrame,
    report: Mapping[str, Any],
    *,
    galleries: Sequence[tuple[str, str, bytes]] = (),
    facts: Mapping[str, str] | None = None,
    downloads: Mapping[str, bytes] | None = None,
    title: str = "Selection function",
) -> str:
    """HTML of the explorer: verdict, heat map with depth, threshold and detector controls, hover, galleries, downloads.

    table: one row a (cell, threshold[, detector]) with CELL_COLUMNS; theta_e and psf_fwhm [arcsec], depth [AB mag].
    report: the realism report: "verdict", "gates" (each with name, status, sentence), optionally "limits" (sentences).
    galleries: (heading, caption, PNG bytes). facts: what the numbers are of (detector, survey, definitions).
    downloads: file name -> bytes, offered as links inside the page. All text is escaped.
    Raises ValueError naming the columns that ``table`` lacks.
    """
    missing = [name for name in CELL_COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"the selection-function table lacks {', '.join(missing)}")
    environment = _environment()
    return environment.get_template("selection_function.html.j2").render(
        title=title,
        verdict=str(report.get("verdict", "INSUFFICIENT")),
        gates=list(report.get("gates", ())),
        limits=list(report.get("limits", ())),
        facts=dict(facts or {}),
        galleries=[(heading, caption, _data_uri("image/png", png)) for heading, caption, png in galleries],
        downloads={name: _data_uri("application/octet-stream", content) for name, content in (downloads or {}).items()},
        cells_json=_script_json(_cells(table)),
        colours_json=_script_json(_colour_table()),
    )


def _environment():
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(loader=PackageLoader("skytrace.reporting"), autoescape=True, undefined=StrictUndefined)


def _cells(table: pd.DataFrame) -> dict[str, Any]:
    """The table by column, rounded to what a reader can use; NaN becomes null.

    ``colour_max``: upper end of the colour scale, the same for all depths of a threshold and detector.
    """
    columns: dict[str, Any] = {name: table[name] for name in CELL_COLUMNS}
    columns["detector"] = table["detector"] if "detector" in table.columns else ["detector"] * len(table)
    maps = [np.asarray(columns["threshold"]), np.asarray(columns["detector"])]
    columns["colour_max"] = table["completeness"].groupby(maps).transform(colour_maximum)
    columns |= {name: table[name] for name in SHARED_HOST_COLUMNS if name in table.columns}
    return {name: [_plain(value) for value in values] for name, values in columns.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), 5) if value is not None and np.isfinite(value) else None


def _script_json(value: Any) -> str:
    """JSON that can stand inside a script element whatever text it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _colour_table() -> list[str]:
    """65 steps of cividis, made for colour-blind readers (Nunez, Anderton & Renslow 2018)."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["cividis"](k / 64)) for k in range(65)]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
