"""Figures of light curves with the fitted model: panels of ordinary supernovae, and a gallery of outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.product_figures import absent_figure
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from skytrace.supernovae.fit_options import ModelOptions

__all__ = ["light_curve_figure"]

_PAINTS = tuple(COLOURS[name] for name in ("blue", "green", "orange", "vermilion", "purple", "sky"))
_MARKERS = ("o", "s", "^", "D", "v", "P")
_IN_ONE_LINE, _A_LINE = 4, 4  # bands whose legend is one line; names in a line where there are more
_PHASES = (-30.0, 100.0)  # rest-frame days since the fitted explosion that are shown


@house_style
def light_curve_figure(
    light_curves: pd.DataFrame, fits: pd.DataFrame, snids: Sequence[str], *, model: ModelOptions,
    titles: Mapping[str, str], columns: int = 4, absence: str = "No supernova to show.",
) -> Figure:  # fmt: skip
    """One panel a supernova: fluxes with errors by band against rest-frame days since t0, and the fitted model.

    fits: of ``fit_light_curves``. titles: snid -> what stands above its panel. The bands are those of the panel, from
    blue to red; model: options of the model that was fitted.
    """
    from skytrace.supernovae.light_curve_model import model_flux_jy
    from skytrace.supernovae.spectral_energy import spectral_series

    if not len(snids):
        return absent_figure(absence)
    series = spectral_series(model) if model.sed == "template" else None
    rows = -(-len(snids) // columns)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.25 + 1.55 * rows, rows=rows, columns=columns, squeeze=False
    )
    known = fits.set_index("snid")
    for axis in axes.ravel()[len(snids) :]:
        axis.set_visible(False)
    for axis, snid in zip(axes.ravel(), snids, strict=False):
        fit = known.loc[snid]
        mine = light_curves[light_curves["snid"] == snid]
        days = (mine["mjd"] - fit["t0"]) / (1.0 + fit["z_hel"])
        shown = days.between(*_PHASES).to_numpy()
        _draw(axis, mine[shown], days[shown], fit, lambda *a: model_flux_jy(*a, options=model, series=series))
        axis.set_title(titles.get(snid, snid), fontsize=6)
        axis.tick_params(labelsize=6)
    figure.supxlabel("rest-frame days since the fitted explosion", fontsize=8)
    figure.supylabel("flux density [μJy]", fontsize=8)
    return figure


def _draw(axis: Any, mine: pd.DataFrame, days: pd.Series, fit: Any, flux_of: Any) -> None:
    bands = mine.groupby("band")["wavelength_nm"].median().sort_values()
    grid = np.linspace(max(_PHASES[0], float(days.min()) - 3.0), min(_PHASES[1], float(days.max()) + 3.0), 200)
    top, bottom = 0.0, 0.0
    for place, (band, wavelength) in enumerate(bands.items()):
        colour, marker = _PAINTS[place % len(_PAINTS)], _MARKERS[place % len(_MARKERS)]
        here = (mine["band"] == band).to_numpy()
        flux, error = 1e6 * mine.loc[here, "flux_jy"], 1e6 * mine.loc[here, "flux_err_jy"]
        axis.errorbar(
            days[here], flux, yerr=error, fmt=marker, color=colour, markersize=1.8, elinewidth=0.5, linewidth=0,
            label=str(band),
        )  # fmt: skip
        mjd = fit["t0"] + grid * (1.0 + fit["z_hel"])
        curve = 1e6 * flux_of(
            mjd, wavelength, fit["z_hel"], fit["t0"], fit["a_plasma"], fit["beta"], fit["alpha"]
        )  # fmt: skip
        axis.plot(grid, curve, color=colour, linewidth=0.8)
        good = (error < 3.0 * error.median()).to_numpy()
        top = max(top, float(curve.max()), float(flux[good].max()) if good.any() else 0.0)
        bottom = min(bottom, float(np.percentile(flux[good], 5)) if good.any() else 0.0)
    axis.axhline(0.0, color="0.7", linewidth=0.5)
    span = top - bottom
    if span > 0.0:
        axis.set_ylim(bottom - 0.12 * span, top + 0.35 * span)
    if len(bands) <= _IN_ONE_LINE:
        axis.legend(
            frameon=False, fontsize=5, ncols=len(bands), loc="upper right", handletextpad=0.1, columnspacing=0.5,
            borderpad=0.1,
        )  # fmt: skip
    else:
        _many_bands(axis, [str(band) for band in bands.index])


def _many_bands(axis: Any, bands: list[str]) -> None:
    """Names of many bands, from blue to red, each in its colour, in lines above the data."""
    low, high = axis.get_ylim()
    lines = -(-len(bands) // _A_LINE)
    axis.set_ylim(low, low + (high - low) * (1.0 + 0.1 * max(0, lines - 1)))
    for place, band in enumerate(bands):
        axis.text(
            0.02 + (place % _A_LINE) / _A_LINE, 0.98 - 0.075 * (place // _A_LINE), band, fontsize=4, va="top",
            color=_PAINTS[place % len(_PAINTS)], transform=axis.transAxes,
        )  # fmt: skip
