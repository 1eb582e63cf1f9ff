"""Figures of what a spectrum says of its supernova: fit, corner, stages, agreement, coverage, composition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.line_identification_figures import ELEMENT_SYMBOLS
from skytrace.reporting.posterior_figures import corner_figure
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure
from skytrace.spectra.inference_agreement import MEAN_SIGMA, WIDTH_RATIO
from skytrace.spectra.inference_options import COVERAGE_68

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = [
    "composition_figure",
    "coverage_figure",
    "parameter_label",
    "sampler_agreement_figure",
    "spectral_corner_figure",
    "spectrum_fit_figure",
    "stage_shrinkage_figure",
]

_LABELS = {
    "log_L": r"$\log L$ [erg/s]", "v_inner": r"$v_{\rm inner}$", "log_rho_0": r"$\log\rho_0$ [g/cm$^3$]",
    "density_exp": "inner slope", "T_e_ratio": r"$T_e/T_R$", "v_core": r"$v_{\rm core}$", "v_wall": r"$v_{\rm wall}$",
    "X_Fe_core": r"$X$(Fe), core", "X_Si_wall": r"$X$(Si), wall", "v_break": r"$v_{\rm break}$",
    "density_exp_outer": "outer slope", "t_exp": r"$t_{\rm exp}$ [d]", "X_Fe_wall": r"$X$(Fe), wall",
    "X_Ni": r"$X$(Ni)", "X_Fe_outer": r"$X$(Fe), outer", "inadequacy": "inadequacy",
}  # fmt: skip
_LINES = ("-", "--", ":", "-.")
_CYCLE = tuple(COLOURS[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky"))


def parameter_label(name: str) -> tuple[str, float]:
    """What an axis says of a parameter, and the unit that its values are divided by: velocities in 1000 km/s."""
    unit = 1000.0 if name.startswith("v_") else 1.0
    label = _LABELS.get(name, name)
    return (f"{label} [$10^3$ km/s]", unit) if unit != 1.0 else (label, unit)


@house_style
def spectrum_fit_figure(
    spectra: pd.DataFrame,
    residuals: pd.DataFrame,
    *,
    observed: tuple[ArrayLike, ArrayLike],
    excluded: Mapping[str, tuple[float, float]],
    name: str,
) -> Figure:
    """Above: the whole observed spectrum (wavelength, luminosity), the model's median and where it lies with 68 and
    95 %; below: residuals in y, with 1 sigma with the fitted inadequacy and without. Grey: what was not used.

    spectra, residuals: of ``inference_predictions``.
    """
    figure, (top, bottom) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=4.2, rows=2, sharex=True, height_ratios=(2.4, 1.0)
    )  # fmt: skip
    wavelength, light = (np.asarray(column, dtype=float) for column in observed)
    scale = 10.0 ** np.floor(np.log10(np.nanmax(light)))
    top.plot(wavelength, light / scale, color="0.45", linewidth=0.7, label=name)
    grid = _with_gaps(spectra)
    x = grid["wavelength_angstrom"]
    for ends, alpha in (("95", 0.25), ("68", 0.5)):
        top.fill_between(
            x, grid[f"low{ends}"] / scale, grid[f"high{ends}"] / scale, color=COLOURS["sky"], alpha=alpha, linewidth=0,
            label=f"model, {ends} %",
        )  # fmt: skip
    top.plot(x, grid["median"] / scale, color=COLOURS["blue"], linewidth=0.8, label="model, median")
    rest = _with_gaps(residuals)
    x = rest["wavelength_angstrom"]
    bottom.fill_between(
        x, -rest["sigma"], rest["sigma"], color=COLOURS["orange"], alpha=0.35, linewidth=0,
        label="1σ with inadequacy",
    )  # fmt: skip
    bottom.fill_between(
        x, -rest["sigma_without_inadequacy"], rest["sigma_without_inadequacy"], color=COLOURS["vermilion"], alpha=0.5,
        linewidth=0, label="1σ without",
    )  # fmt: skip
    bottom.plot(x, rest["residual"], color="black", linewidth=0.7)
    low, high = np.nanmin(wavelength), np.nanmax(wavelength)
    for axis in (top, bottom):
        for number, (start, stop) in enumerate(excluded.values()):
            if stop > low and start < high:
                axis.axvspan(
                    max(start, low), min(stop, high), color="0.9", zorder=0, linewidth=0,
                    label="not used" if axis is top and number == 0 else None,
                )  # fmt: skip
        axis.set_xlim(low, high)
    most = 1.1 * float(np.abs(residuals[["residual", "sigma"]]).to_numpy().max())
    bottom.set(xlabel="rest wavelength [Å, vacuum]", ylabel="residual in y", ylim=(-most, most))
    top.set_ylabel(rf"$L_\lambda$ [$10^{{{int(np.log10(scale))}}}$ erg s$^{{-1}}$ Å$^{{-1}}$]")
    top.set_ylim(0.0, 1.12 * float(np.nanmax(light)) / scale)
    top.legend(frameon=False, ncols=2, loc="upper right")
    bottom.legend(frameon=False, ncols=2, loc="upper right", fontsize=6)
    return figure


def spectral_corner_figure(
    values: Mapping[str, ArrayLike], *, names: Sequence[str] | None = None, truths: Mapping[str, float] | None = None
) -> Figure:
    """``corner_figure`` of the parameters ``names`` (None: all) of a posterior's values, with labels and units."""
    import arviz

    chosen = list(values) if names is None else list(names)
    labels = {name: parameter_label(name) for name in chosen}
    columns = {label: np.asarray(values[name], dtype=float) / unit for name, (label, unit) in labels.items()}
    marked = {labels[name][0]: value / labels[name][1] for name, value in (truths or {}).items() if name in labels}
    size = max(4.0, min(16.0, 1.05 * len(chosen)))
    return corner_figure(arviz.from_dict(posterior=columns), truths=marked, size_inches=size, title_format=None)


@house_style
def stage_shrinkage_figure(table: pd.DataFrame) -> Figure:
    """One row a parameter, on the range of its first prior: each stage's prior (thin) and 68 % interval (thick).

    table: of ``shrinkage_table``.
    """
    names = list(dict.fromkeys(table["parameter"]))
    stages = list(table["stage"].unique())
    figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.7 + 0.21 * len(names) * max(1, len(stages) / 2))
    first = table.drop_duplicates("parameter").set_index("parameter")
    step = 0.7 / len(stages)
    for number, stage in enumerate(stages):
        rows = table[table["stage"] == stage]
        low = rows["parameter"].map(first["prior_low"]).to_numpy()
        width = rows["parameter"].map(first["prior_high"]).to_numpy() - low
        y = np.array([names.index(name) for name in rows["parameter"]]) + (number - 0.5 * (len(stages) - 1)) * step
        ends = {key: (rows[key].to_numpy() - low) / width for key in ("prior_low", "prior_high", "low68", "high68")}
        colour = _CYCLE[number % len(_CYCLE)]
        axis.hlines(y, ends["prior_low"], ends["prior_high"], color=colour, linewidth=0.6, alpha=0.7)
        axis.hlines(y, ends["low68"], ends["high68"], color=colour, linewidth=3.0, label=f"{stage}, 68 %")
    axis.set_yticks(range(len(names)), [parameter_label(name)[0].split(" [")[0] for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set(xlim=(-0.02, 1.02), xlabel="place within the first prior (thin lines: prior of the stage)")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@house_style
def sampler_agreement_figure(table: pd.DataFrame) -> Figure:
    """Means and widths of each sampler against the reference, by parameter; grey: what counts as agreement.

    table: of ``agreement_table``.
    """
    if not len(table):
        figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.8)
        axis.set_axis_off()
        axis.text(0.5, 0.5, "one sampler ran: nothing to compare", ha="center", va="center")
        return figure
    names = list(dict.fromkeys(table["parameter"]))
    reference = table["reference"].iloc[0]
    figure, (left, right) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.9 + 0.17 * len(names), columns=2, sharey=True
    )  # fmt: skip
    left.axvspan(-MEAN_SIGMA, MEAN_SIGMA, color="0.9", zorder=0)
    right.axvspan(1.0 / (1.0 + WIDTH_RATIO), 1.0 + WIDTH_RATIO, color="0.9", zorder=0)
    for number, (method, rows) in enumerate(table.groupby("method", sort=False)):
        y = [names.index(name) for name in rows["parameter"]]
        style = {
            "color": _CYCLE[number % len(_CYCLE)],
            "marker": "osD^"[number % 4],
            "linestyle": "",
            "markersize": 3.5,
        }
        left.plot(rows["mean_offset_sigma"], y, label=str(method), **style)
        right.plot(rows["width_ratio"], y, **style)
    left.set_yticks(range(len(names)), [parameter_label(name)[0].split(" [")[0] for name in names])
    left.set_ylim(len(names) - 0.4, -0.6)
    most = max(0.5, 1.1 * float(table["mean_offset_sigma"].abs().max()))
    left.set(xlim=(-most, most), xlabel=f"difference of means from {reference} [σ]")
    right.set(xlabel=f"width over that of {reference}", xscale="log")
    span = max(1.5, 1.1 * float(np.exp(np.abs(np.log(table["width_ratio"])).max())))
    ticks = [tick for tick in (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0) if 1.0 / span <= tick <= span]
    right.set_xlim(1.0 / span, span)
    right.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    right.minorticks_off()
    left.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    return figure


@house_style
def coverage_figure(reports: Mapping[str, pd.DataFrame]) -> Figure:
    """Share of mocks whose 68 % interval holds the truth, by parameter and kind of mock, with its 68 % Jeffreys
    interval; hollow: parameters that the spectrum does not constrain; grey: ``COVERAGE_68``.

    reports: kind of mock -> ``coverage_report``.
    """
    names = list(dict.fromkeys(name for report in reports.values() for name in report["parameter"]))
    figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.9 + 0.2 * len(names))
    axis.axvspan(*COVERAGE_68, color="0.9", zorder=0)
    axis.axvline(0.6827, color="0.5", linewidth=0.6)
    for number, (kind, report) in enumerate(reports.items()):
        y = np.array([names.index(name) for name in report["parameter"]]) + 0.24 * (number - 0.5 * (len(reports) - 1))
        colour = _CYCLE[number % len(_CYCLE)]
        value = report["covered_68"].to_numpy()
        axis.hlines(y, report["covered_68_low"], report["covered_68_high"], color=colour, linewidth=0.8)
        solid = report["constrained"].to_numpy(dtype=bool)
        n = int(report["n"].max())
        axis.plot(value[solid], y[solid], "o", color=colour, markersize=3.5, label=f"{kind}, n = {n}")
        axis.plot(value[~solid], y[~solid], "o", color=colour, markersize=3.5, markerfacecolor="white")
    axis.set_yticks(range(len(names)), [parameter_label(name)[0].split(" [")[0] for name in names])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set(xlim=(0.3, 1.0), xlabel="share of 68 % intervals that hold the truth (hollow: not constrained)")
    axis.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return figure


@house_style
def composition_figure(
    profiles: pd.DataFrame, *, prior: pd.DataFrame | None = None, truth: pd.DataFrame | None = None,
    elements: Sequence[int] = (8, 14, 16, 20, 26, 27, 28),
) -> Figure:  # fmt: skip
    """Mass fractions by velocity at the time of the spectrum, an element a panel: median and 68 % of the posterior,
    68 % of the prior (dashed) and the truth, where they are given.

    All three: of ``composition_profiles``; elements: atomic numbers. Dotted beyond the bands' start: velocities that
    fewer than half of the draws put outside the photosphere.
    """
    columns = min(4, len(elements))
    rows = -(-len(elements) // columns)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=1.7 * rows + 0.5, rows=rows, columns=columns, sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    blue, orange = COLOURS["blue"], COLOURS["orange"]
    for axis, z in zip(axes.flat, elements, strict=False):
        mine, seen = _of_element(profiles, z), _of_element(profiles, z, share=0.5)
        x = seen["velocity_km_s"] / 1000.0
        axis.fill_between(x, seen["low68"], seen["high68"], color=blue, alpha=0.25, linewidth=0, label="posterior 68 %")
        axis.plot(x, seen["median"], color=blue, linewidth=1.1, label="median")
        axis.plot(mine["velocity_km_s"] / 1000.0, mine["median"], color=blue, linewidth=0.6, linestyle=":")
        if prior is not None:
            wide = _of_element(prior, z, share=0.5)
            for end in ("low68", "high68"):
                label = "prior 68 %" if end == "low68" else None
                axis.plot(
                    wide["velocity_km_s"] / 1000.0, wide[end], color="0.35", linewidth=0.8, linestyle="--", label=label
                )
        if truth is not None:
            true = _of_element(truth, z)
            axis.plot(true["velocity_km_s"] / 1000.0, true["median"], color=orange, linewidth=1.2, label="truth")
        axis.text(0.95, 0.04, ELEMENT_SYMBOLS[z], transform=axis.transAxes, ha="right", va="bottom", weight="bold")
    axes[0, 0].set(yscale="log", ylim=(3e-5, 1.5))
    spare = list(axes.flat[len(elements) :])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if spare:
        spare[0].legend(handles, labels, frameon=False, loc="center left")
    else:
        axes[0, 0].legend(handles, labels, frameon=False)
    for axis in spare:
        axis.set_axis_off()
    for number in range(len(elements)):
        if number + columns >= len(elements):  # the lowest of its column
            axes.flat[number].set_xlabel("velocity [$10^3$ km/s]")
            axes.flat[number].tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("mass fraction")
    return figure


def _of_element(profiles: pd.DataFrame, atomic_number: int, *, share: float = 0.0) -> pd.DataFrame:
    """Rows of an element where at least ``share`` of the draws has ejecta; what is next to nothing is drawn as that."""
    rows = profiles[(profiles["atomic_number"] == atomic_number) & (profiles["photosphere_share"] >= share)]
    return rows.assign(**{name: np.maximum(rows[name], 1e-5) for name in ("median", "low68", "high68")})


def _with_gaps(table: pd.DataFrame) -> dict[str, Any]:
    """Columns with a NaN wherever the wavelengths jump, so that no line is drawn across what was not used."""
    wavelength = table["wavelength_angstrom"].to_numpy()
    step = np.diff(np.log(wavelength))
    jumps = np.flatnonzero(step > 3.0 * np.median(step)) + 1
    return {str(name): np.insert(table[name].to_numpy(dtype=float), jumps, np.nan) for name in table.columns}
