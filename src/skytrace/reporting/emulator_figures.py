"""Figures of the emulator of spectra: error by wavelength, examples beside simulated ones, error by training size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.reporting.style import (
    COLOURS,
    DOUBLE_COLUMN_INCHES,
    SINGLE_COLUMN_INCHES,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from skytrace.spectra.emulator import SpectrumEmulator
    from skytrace.spectra.emulator_validation import TrainingSizeCurve

__all__ = ["emulator_error_figure", "emulator_examples_figure", "training_size_figure"]

#: Where a model is dark the fraction has no meaning: errors above are not shown.
_HIGHEST_PERCENT = 200.0
_WAVELENGTH = "Rest wavelength [Å]"
_INTENDED = {"covered_68": 0.683, "covered_95": 0.95}


@house_style
def emulator_error_figure(table: pd.DataFrame, *, models: int, windows: Sequence[tuple[float, float]] = ()) -> Figure:
    """Above: fractional error of the flux, median and 95th percentile over held-out models, by wavelength. Below: share
    of the models within the emulator's 68 and 95 % intervals. windows [Å]: shaded, as those of the loss.
    """
    figure, (above, below) = new_figure(width=DOUBLE_COLUMN_INCHES, height=3.6, rows=2, sharex=True)
    x = table["wavelength_angstrom"]
    for name, colour, label in (("error_p95", "sky", "95th percentile"), ("error_median", "blue", "median")):
        above.plot(x, 100.0 * table[name], color=COLOURS[colour], lw=1.0, label=label)
    above.set(ylabel="Error of the flux [%]", yscale="log", title=f"{models} held-out models")
    above.set_ylim(top=min(above.get_ylim()[1], _HIGHEST_PERCENT))
    above.legend(frameon=False, ncols=2)
    for name, colour in (("covered_95", "sky"), ("covered_68", "blue")):
        below.plot(x, 100.0 * table[name], color=COLOURS[colour], lw=1.0)
        below.axhline(100.0 * _INTENDED[name], color=COLOURS["black"], lw=0.6, ls=":")
    below.set(ylabel="Models in the interval [%]", xlabel=_WAVELENGTH, ylim=(40.0, 102.0), xlim=(x.iloc[0], x.iloc[-1]))
    for axis in (above, below):
        for low, high in windows:
            axis.axvspan(low, high, color="0.93", lw=0, zorder=0)
    return figure


@house_style
def emulator_examples_figure(
    emulator: SpectrumEmulator, parameters: ArrayLike, luminosity: ArrayLike, *, titles: Sequence[str]
) -> Figure:
    """One panel a model (n, d): the simulated spectrum (n, m) [erg/s/Å] over its peak, the emulated one with its 68 %
    band, and below zero their difference.
    """
    truth = np.atleast_2d(np.asarray(luminosity, dtype=np.float64))
    found = emulator.predict(np.atleast_2d(np.asarray(parameters, dtype=np.float64)))
    low, high = (emulator.unstretch(found.stretched + side * found.sigma) for side in (-1.0, 1.0))
    columns = min(2, len(truth))
    rows = -(-len(truth) // columns)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=1.7 * rows + 0.3, rows=rows, columns=columns, sharex=True, squeeze=False
    )
    x = emulator.wavelength_angstrom
    for axis, title, mine, emulated, bottom, top in zip(
        axes.flat, titles, truth, found.luminosity, low, high, strict=False
    ):
        peak = mine.max()
        axis.fill_between(x, bottom / peak, top / peak, color=COLOURS["orange"], alpha=0.35, lw=0, label="68 % band")
        axis.plot(x, mine / peak, color=COLOURS["black"], lw=0.8, label="simulated")
        axis.plot(x, emulated / peak, color=COLOURS["vermilion"], lw=0.8, ls="--", label="emulated")
        axis.plot(x, (emulated - mine) / peak - 0.2, color=COLOURS["blue"], lw=0.6, label="difference $-$ 0.2")
        axis.axhline(-0.2, color="0.6", lw=0.4)
        axis.set(xlim=(x[0], x[-1]), ylim=(-0.45, 1.15))
        axis.text(0.98, 0.95, title, transform=axis.transAxes, ha="right", va="top", fontsize=7)
    for axis in axes.flat[len(truth) :]:
        axis.set_visible(False)
    axes.flat[0].legend(frameon=False, loc="center right", fontsize=6)
    figure.supxlabel(_WAVELENGTH, fontsize=8)
    figure.supylabel("Luminosity per Å over its peak", fontsize=8)
    return figure


@house_style
def training_size_figure(sizes: Sequence[int], errors: ArrayLike, curve: TrainingSizeCurve | None) -> Figure:
    """Rms error over the peak (s, h) of held-out models against the number of models trained on: median, 16th to 84th
    and 95th percentile, the power law through the medians, and the goal that it is extended to. curve: None where one
    size has no law.
    """
    table, size = 100.0 * np.asarray(errors, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    figure, axis = new_figure(width=SINGLE_COLUMN_INCHES, height=2.6)
    low, middle, high, highest = np.percentile(table, [16.0, 50.0, 84.0, 95.0], axis=1)
    axis.errorbar(
        size, middle, yerr=[middle - low, high - middle], fmt="o", ms=3, lw=0.8, color=COLOURS["blue"],
        label=f"median of {table.shape[1]}, 16-84 %",
    )  # fmt: skip
    axis.plot(size, highest, "v", ms=3, color=COLOURS["sky"], label="95th percentile")
    if curve is not None:
        end = curve.goal_size if np.isfinite(curve.goal_size) else 10.0 * size.max()
        line = np.geomspace(size.min(), max(min(end, 1e4 * size.max()), size.max()), 50)
        axis.plot(line, 100.0 * curve.amplitude * line**-curve.slope, color=COLOURS["black"], lw=0.8,
                  label=f"median $\\propto n^{{-{curve.slope:.2f}}}$")  # fmt: skip
        axis.axhline(100.0 * curve.goal, color=COLOURS["vermilion"], lw=0.8, ls=":", label=f"{100 * curve.goal:g} %")
    axis.set(xscale="log", yscale="log", xlabel="Models trained on", ylabel="Rms error over the peak [%]")
    axis.legend(frameon=False, fontsize=6)
    return figure
