"""Figures of the Hubble diagram, the laws' comparison, the distance basis, and the scores that find outliers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, SINGLE_COLUMN_INCHES, house_style, new_figure
from skytrace.supernovae.elpd_verdict import pair_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["LAW_LABELS", "basis_figure", "hubble_figure", "loo_figure", "outlier_roc_figure"]

#: Law -> how figures and pages name it.
LAW_LABELS = {
    "flat_lcdm": "flat ΛCDM",
    "qfd_anchored": "QFD, three terms, anchored",
    "log_distance": "D ∝ ln(1+z)",
    "linear_two_term": "two terms, anchored",
    "qfd_no_distance": "three terms, no distance",
    "qfd_seed": "QFD as its authors write it",
}
_PAINT = {
    "flat_lcdm": ("black", "-"),
    "qfd_anchored": (COLOURS["vermilion"], "--"),
    "log_distance": (COLOURS["blue"], "-."),
    "linear_two_term": (COLOURS["green"], ":"),
    "qfd_no_distance": (COLOURS["purple"], (0, (5, 1, 1, 1, 1, 1))),
    "qfd_seed": (COLOURS["orange"], (0, (6, 2))),
}
_SCORE_PAINT = {
    "neg_elpd": ("−elpd", COLOURS["vermilion"], "-"),
    "log_odds": ("gate, ln $k_J^*$", COLOURS["blue"], "--"),
    "pareto_k": ("Pareto $k$", "0.45", ":"),
}


@house_style
def hubble_figure(residuals: pd.DataFrame, *, reference: str = "flat_lcdm", n_bins: int = 14) -> Figure:
    """Top: distance moduli and the laws fitted to them. Bottom: data in bins, and the rivals, minus ``reference``.

    residuals: one row a SN: z_hd, mu_mag, mu_err_mag (with the intrinsic scatter), outlier, residual_<law>_mag (of
    outliers not read). Points are weighted means of bins of as many SNe that are no outliers, with the error of the
    mean from the bin's own scatter. A law that leaves a panel is drawn where it is inside.
    """
    laws = [law for law in LAW_LABELS if f"residual_{law}_mag" in residuals]
    table = residuals.sort_values("z_hd", kind="stable")
    z, mu, out = (table[name].to_numpy() for name in ("z_hd", "mu_mag", "outlier"))
    good = table[~out]
    model = {law: mu[~out] - good[f"residual_{law}_mag"].to_numpy() for law in laws}
    figure, (top, bottom) = new_figure(
        width=SINGLE_COLUMN_INCHES, height=4.5, rows=2, sharex=True, height_ratios=(1.5, 1.0)
    )
    top.plot(z[~out], mu[~out], ".", color="0.72", markersize=1.2, rasterized=True, zorder=0)
    top.plot(z[out], mu[out], "x", color="0.45", markersize=2.2, markeredgewidth=0.5, zorder=0, label="outliers")
    for law in laws:
        colour, line = _PAINT[law]
        top.plot(*_smooth(z[~out], model[law]), color=colour, linestyle=line, linewidth=1.0, label=LAW_LABELS[law])
        if law != reference:
            x, difference = _smooth(z[~out], model[law] - model[reference])
            bottom.plot(x, difference, color=colour, linestyle=line, linewidth=1.0)
    centre, mean, error = _binned(
        z[~out], good[f"residual_{reference}_mag"].to_numpy(), good["mu_err_mag"], n_bins
    )  # fmt: skip
    bottom.errorbar(centre, mean, yerr=error, fmt="o", color="black", markersize=2.4, elinewidth=0.8, zorder=5)
    bottom.axhline(0.0, color="0.5", linewidth=0.6)
    end = max(0.12, 1.4 * float(np.nanmax(np.abs(mean) + error)))
    bottom.set(xscale="log", xlabel="redshift z", ylabel="minus flat ΛCDM [mag]", ylim=(-end, end))
    inside = np.percentile(mu, [0.2, 99.8])
    top.set(ylabel="distance modulus μ [mag]", ylim=(inside[0] - 0.8, inside[1] + 0.8))
    figure.legend(*top.get_legend_handles_labels(), frameon=False, fontsize=6, loc="outside upper center", ncols=2)
    bottom.set_title(f"fits and bins: {len(good):,} SNe without outliers", fontsize=6.5)
    top.set_title(f"n = {len(table):,} SNe", fontsize=6.5)
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if z.min() <= tick <= z.max()]
    bottom.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    bottom.minorticks_off()
    return figure


@house_style
def loo_figure(models: pd.DataFrame) -> Figure:
    """elpd of every posterior below that of the best law with the same noise, with its standard error, logarithmic
    beyond 10.

    models: rows of the comparison: posterior, loo_difference, loo_difference_se.
    """
    figure, axis = new_figure(width=SINGLE_COLUMN_INCHES, height=0.7 + 0.26 * len(models))
    place = np.arange(len(models))[::-1]
    difference = -models["loo_difference"].to_numpy(dtype=float)
    error = models["loo_difference_se"].to_numpy(dtype=float)
    worse = np.array(
        [pair_verdict(value, one) == "worse" for value, one in zip(difference, error, strict=True)], dtype=bool
    )
    for apart, colour, words in ((False, COLOURS["blue"], "as good as the best"),
                                 (True, COLOURS["vermilion"], "worse")):  # fmt: skip
        rows = worse == apart
        if rows.any():
            axis.errorbar(
                difference[rows], place[rows], xerr=error[rows], fmt="s" if apart else "o", color=colour,
                markersize=3.5, elinewidth=1.0, label=words,
            )  # fmt: skip
    axis.axvline(0.0, color="0.5", linewidth=0.6, linestyle="--")
    axis.set_xscale("symlog", linthresh=10.0)
    axis.set_yticks(place, [_posterior_label(name) for name in models["posterior"]], fontsize=6)
    lowest = min(float((difference - error).min()), -12.0)
    ticks = [tick for tick in (-100_000, -10_000, -1_000, -100, -10, 0) if tick >= 1.6 * lowest]
    ticks = ticks if len(ticks) < 5 else [tick for tick in ticks if tick not in (-1_000, -10)]
    axis.set_xticks(ticks, [f"{tick:,}".replace("-", "−") for tick in ticks], fontsize=6)
    axis.minorticks_off()
    axis.set_xlim(1.6 * lowest, 5.0)
    axis.set(xlabel="Δelpd (PSIS-LOO) ± SE", ylim=(-0.6, len(models) - 0.4))
    figure.legend(frameon=False, fontsize=6, loc="outside upper center", ncols=2)
    return figure


@house_style
def basis_figure(
    z: np.ndarray, basis: Mapping[str, Any], correlation_p: np.ndarray, correlation_c: np.ndarray
) -> Figure:
    """Left: the three centred terms (grey) and their orthogonal form. Middle: condition numbers. Right: correlations of
    the posterior's coefficients, as written (below the diagonal) and orthogonal (above it).

    z (n,): fitted redshifts. basis: of ``basis_diagnostics``. correlation_p, correlation_c (3, 3).
    """
    from skytrace.supernovae.distance_basis import distance_basis, qfd_basis

    figure, (left, middle, right) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=2.4, columns=3, width_ratios=(1.15, 1.0, 0.95)
    )
    grid = np.linspace(z.min(), z.max(), 200)
    made = distance_basis(z)
    phi = qfd_basis(grid) - made.mean
    for k, name in enumerate(("ln(1+z)", "z", "z/(1+z)")):
        left.plot(grid, phi[:, k], color="0.55", linestyle=("-", "--", ":")[k], linewidth=0.9, label=name)
    for k, colour in enumerate(("blue", "vermilion", "green")):
        left.plot(grid, made.rows(grid)[:, k], color=COLOURS[colour], linewidth=1.0, label=f"$Q'_{k + 1}$")
    left.set(xlabel="redshift z", ylabel="term, centred")
    left.legend(frameon=False, fontsize=6, ncols=2)
    names = {"kappa_normal": "ΦᵀΦ", "kappa_raw": "Φ", "kappa_centred": "Φ centred", "kappa_orthogonal": "Q′"}
    values = [float(basis[name]) for name in names]
    place = np.arange(len(names))[::-1]
    middle.barh(place, values, left=0.5, color=["0.75", "0.6", "0.6", COLOURS["blue"]], height=0.6)
    for y, value in zip(place, values, strict=True):
        middle.text(value * 1.5 + 0.5, y, f"{value:,.0f}", va="center", fontsize=6.5)
    middle.set_xscale("log")
    middle.set(xlim=(0.5, max(values) * 400), xlabel="condition number κ")
    middle.set_yticks(place, names.values())
    both = np.tril(correlation_p, -1) + np.triu(correlation_c, 1) + np.eye(3)
    right.imshow(both, cmap="PuOr_r", vmin=-1.0, vmax=1.0)
    for i in range(3):
        for j in range(3):
            if i != j:
                value = both[i, j]
                right.text(
                    j, i, f"{value:+.4f}" if abs(value) > 0.99 else f"{value:+.2f}", ha="center", va="center",
                    color="white" if abs(value) > 0.6 else "black", fontsize=6.5,
                )  # fmt: skip
    labels = ("$k_J$, $c_1$", "$η'$, $c_2$", "$ξ$, $c_3$")
    right.set_xticks(range(3), labels)
    right.set_yticks(range(3), labels)
    right.tick_params(length=0)
    right.set_title("below: ($k_J$, $η'$, $ξ$); above: $c$", fontsize=7)
    return figure


@house_style
def outlier_roc_figure(
    known: Mapping[str, tuple[pd.DataFrame, np.ndarray]], reports: Mapping[str, Mapping[str, Any]]
) -> Figure:
    """ROC of the three scores, one panel a reference: title -> (gated table, is_outlier), and its AUC records."""
    from sklearn.metrics import roc_curve

    rows = -(-len(known) // 2)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES,
        height=0.2 + 2.3 * rows,
        rows=rows,
        columns=2,
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    for axis in axes.ravel()[len(known) :]:
        axis.set_visible(False)
    for axis, (title, (table, outlier)) in zip(axes.ravel(), known.items(), strict=False):
        for score, (name, colour, line) in _SCORE_PAINT.items():
            record = reports[title].get(score, {})
            seen = table[score].notna().to_numpy()
            if record.get("value") is None or len(set(outlier[seen])) < 2:
                continue
            fpr, tpr, _ = roc_curve(outlier[seen], table.loc[seen, score])
            words = f"{name}: {record['value']:.3f}"
            if record.get("low_95") is not None:
                words += f" ({record['low_95']:.3f}–{record['high_95']:.3f})"
            axis.plot(fpr, tpr, color=colour, linestyle=line, linewidth=1.1, label=words)
        axis.plot([0, 1], [0, 1], color="0.8", linewidth=0.6)
        axis.set(xlim=(0, 1), ylim=(0, 1.02))
        axis.set_title(f"{title}: {int(outlier.sum()):,} of {len(outlier):,}", fontsize=7)
        axis.legend(  # on paper: a score that is no gate runs through any corner
            fontsize=5.5, loc="lower right", title="AUC (95 %)", title_fontsize=5.5, frameon=True, framealpha=0.85,
            edgecolor="none", borderpad=0.2,
        )  # fmt: skip
    if len(known) % 2 and rows > 1:
        axes[-2, 1].tick_params(labelbottom=True)  # the panel below it is not drawn
    figure.supxlabel("share of the others taken", fontsize=8)
    figure.supylabel("share of outliers found", fontsize=8)
    return figure


def _smooth(z: np.ndarray, values: np.ndarray, *, points: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Median of a curve in narrow bins of ln z: two frames of redshift make it no function of one of them."""
    edges = np.unique(np.quantile(z, np.linspace(0.0, 1.0, min(points, max(2, len(z) // 4)) + 1)))
    place = np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)
    used = np.unique(place)
    return (
        np.array([np.median(z[place == k]) for k in used]), np.array([np.median(values[place == k]) for k in used])
    )  # fmt: skip


def _binned(z: np.ndarray, residual: np.ndarray, error: Any, n_bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted means of residuals in bins of equal number, and their errors from the weighted scatter in the bin."""
    weight = 1.0 / np.asarray(error, dtype=float) ** 2
    parts = [part for part in np.array_split(np.arange(len(z)), n_bins) if len(part) > 2]
    centre = np.array([np.median(z[part]) for part in parts])
    mean = np.array([np.average(residual[part], weights=weight[part]) for part in parts])
    errors = []
    for part, middle in zip(parts, mean, strict=True):
        share = weight[part] / weight[part].sum()
        errors.append(np.sqrt(np.sum(share**2 * (residual[part] - middle) ** 2)))
    return centre, mean, np.array(errors)


def _posterior_label(name: str) -> str:
    law = name.removesuffix("_mixture")
    return LAW_LABELS.get(law, law) + (",\ntwo populations" if name.endswith("_mixture") else "")
