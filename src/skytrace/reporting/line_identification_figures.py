"""Which element makes which feature: what the lines of each take from the light at every wavelength, and send to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["ELEMENT_SYMBOLS", "line_identification_figure"]

ELEMENT_SYMBOLS = {
    6: "C", 8: "O", 12: "Mg", 14: "Si", 16: "S", 20: "Ca", 22: "Ti", 24: "Cr", 26: "Fe", 27: "Co", 28: "Ni",
}  # fmt: skip
#: Of ln(without the lines / with them), at which the colours end.
_MOST = 1.0


@house_style
def line_identification_figure(table: pd.DataFrame, *, between_angstrom: tuple[float, float]) -> Figure:
    """Above: the model's spectrum. Below, a row an element: ln of its spectrum without the element's lines over that
    with them; brown where the lines take light away, violet where they send it.

    table: of ``identify_lines``, one row a wavelength and element.
    """
    table = table[table["wavelength_angstrom"].between(*between_angstrom)]
    wide = table.pivot(index="atomic_number", columns="wavelength_angstrom", values="without")
    one = table.drop_duplicates("wavelength_angstrom").sort_values("wavelength_angstrom")
    wavelength, light = one["wavelength_angstrom"].to_numpy(), one["luminosity"].to_numpy()
    change = np.log(wide.to_numpy() / light)
    rows = len(wide)
    figure, (top, bottom) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=2.2 + 0.18 * rows, rows=2, sharex=True, height_ratios=(1.0, 0.13 * rows)
    )
    scale = 10.0 ** np.floor(np.log10(light.max()))
    top.plot(wavelength, light / scale, color=COLOURS["black"], lw=0.8)
    top.set_ylabel(rf"$L_\lambda$ [$10^{{{int(np.log10(scale))}}}$ erg s$^{{-1}}$ Å$^{{-1}}$]")
    top.set_ylim(0.0, 1.08 * light.max() / scale)
    steps = np.sqrt(wavelength[1:] * wavelength[:-1])
    edges = np.concatenate([[wavelength[0]], steps, [wavelength[-1]]])
    mesh = bottom.pcolormesh(
        edges, np.arange(rows + 1), change, cmap="PuOr_r", vmin=-_MOST, vmax=_MOST, rasterized=True
    )
    bottom.set_yticks(np.arange(rows) + 0.5, [ELEMENT_SYMBOLS.get(int(z), str(z)) for z in wide.index])
    bottom.tick_params(axis="y", length=0)
    bottom.invert_yaxis()
    bottom.set(xlabel="rest wavelength [Å, vacuum]", xlim=between_angstrom)
    bar = figure.colorbar(mesh, ax=bottom, extend="both", pad=0.01)
    bar.set_label("ln (without / with)")
    return figure
