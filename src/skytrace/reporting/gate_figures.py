"""Figures of the realism gates beyond brightness and colour: arc shapes, the blind panel, classifier and probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import PixelError
from skytrace.reporting.stamps import rgb_stamps
from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["MORPHOLOGY_LABELS", "blind_panel_figure", "classifier_figure", "morphology_figure"]

#: Column of the classifier -> its words; rings are told by ``_ring_words``.
_CLASSIFIER_LABELS = {
    "arc_matched": "matched-filter S/N", "arc_peak": "peak S/N", "arc_snr": "arc S/N in $r$",
    "arc_snr_g": "arc S/N in $g$", "arc_snr_z": "arc S/N in $z$", "arc_flux_g": "arc flux in $g$",
    "arc_flux_r": "arc flux in $r$", "arc_flux_z": "arc flux in $z$", "arc_g_r": "arc $g-r$", "arc_r_z": "arc $r-z$",
    "arc_spread": "lit area / FWHM$^2$", "arc_radius_ratio": r"arc radius / $\theta_\mathrm{E}$",
    "arc_width": "scatter of radii / FWHM", "arc_extent": "lit share of the circle", "arc_asymmetry": "one-sidedness",
    "arc_two_fold": "two-fold symmetry", "arc_surface_brightness": "surface brightness in $r$",
}  # fmt: skip
_RING = "arc_ring_"

#: Column of ``arc_morphology`` -> label with unit.
MORPHOLOGY_LABELS = {
    "arc_surface_brightness": r"arc surface brightness in $r$ (AB mag arcsec$^{-2}$)",
    "arc_radius_ratio": r"arc radius / $\theta_\mathrm{E}$",
    "arc_asymmetry": "asymmetry (0 ring, 1 one-sided)",
}


@house_style
def blind_panel_figure(images: NDArray[np.floating], *, columns: int = 10) -> Figure:
    """Stamps (n, 3 = g r z, y, x) [nanomaggies] in the key's order, numbered from 1 and with nothing else to go by.

    Every stamp has the same colours and stretch (``rgb_stamps``); y upwards. Without stamps the figure says so. Raises
    PixelError on another shape.
    """
    if np.ndim(images) != 4:
        raise PixelError(f"a panel needs stamps (n, 3, y, x); got shape {np.shape(images)}")
    if not len(images):
        figure, axis = new_figure(width=DOUBLE_COLUMN_INCHES, height=0.5)
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no panel: too few known lenses have a matched injection", ha="center", va="center")
        return figure
    rows = -(-len(images) // columns)
    side = DOUBLE_COLUMN_INCHES / columns
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=rows * (side + 0.14), rows=rows, columns=columns, squeeze=False
    )
    for axis in axes.ravel():
        axis.set_axis_off()
    for number, (axis, picture) in enumerate(zip(axes.ravel(), rgb_stamps(images), strict=False), start=1):
        axis.imshow(picture, origin="lower", interpolation="nearest")
        axis.set_title(f"{number}", fontsize=6, pad=1)
    return figure


@house_style
def morphology_figure(gate: Mapping[str, Any], anchors: pd.DataFrame, injections: pd.DataFrame) -> Figure:
    """Cumulative distributions of the columns of gate 4, anchors against injections by their weight.

    gate: the result of gate 4 as a mapping (status, statistics). Cumulative, so that no bin decides what is seen.
    """
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.36 * DOUBLE_COLUMN_INCHES, columns=len(MORPHOLOGY_LABELS), sharey=True
    )
    for axis, (name, label) in zip(axes, MORPHOLOGY_LABELS.items(), strict=True):
        for table, colour, line, who in (
            (injections, "blue", "-", "injections"),
            (anchors, "vermilion", "--", "known lenses"),
        ):
            values = table[name].to_numpy(dtype=float)
            weight = table["weight"].to_numpy(dtype=float) if "weight" in table else np.ones(len(values))
            known = np.isfinite(values)
            if known.any():
                order = np.argsort(values[known], kind="stable")
                share = np.cumsum(weight[known][order]) / weight[known].sum()
                axis.step(
                    values[known][order], share, where="post", color=COLOURS[colour], linestyle=line, linewidth=1.3,
                    label=f"{who} ({known.sum():,})",
                )  # fmt: skip
        p = gate["statistics"].get("columns", {}).get(name, {}).get("p")
        axis.set(xlabel=label, ylim=(0.0, 1.0), title="" if p is None else f"p = {p:.3f}")
    axes[0].set_ylabel("share of the sample below")
    handles, labels = axes[0].get_legend_handles_labels()
    together = gate["statistics"].get("p")
    title = gate["status"] + ("" if together is None else f", p together {together:.3f}")
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, title=f"gate 4: {title}")
    return figure


@house_style
def classifier_figure(
    classifier: Mapping[str, Any], probe: Mapping[str, Any], *, half_width_fwhm: float | None = None
) -> Figure:
    """AUC of gates 5 and 8 with intervals, bounds and what permuted labels give; and the classifier's importances.

    classifier, probe: the results of gates 5 and 8 as mappings (status, statistics, bound). A gate without an AUC is
    named with its status. half_width_fwhm: of the annulus whose rings the classifier sees (``MorphologyOptions``), for
    their radii; without it rings are counted from inside.
    """
    figure, (left, right) = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=0.42 * DOUBLE_COLUMN_INCHES, columns=2, width_ratios=(1, 1.2)
    )
    for place, (gate, name) in enumerate(((classifier, "classifier (5)"), (probe, "linear probe (8)"))):
        found = gate["statistics"]
        if "auc" not in found:
            left.text(0.5, place, f"{name}: {gate['status']}", ha="center", va="center", fontsize=7)
            continue
        left.hlines(place, found["low_95"], found["high_95"], color=COLOURS["sky"], linewidth=1.4, label="95 %")
        left.hlines(place, found["low_68"], found["high_68"], color=COLOURS["blue"], linewidth=3.2, label="68 %")
        left.plot([found["auc"]], [place], "o", color="black", markersize=3.5, label="AUC")
        null = found["null_mean"] + np.array([-1.0, 1.0]) * found["null_sd"]
        left.hlines(place - 0.2, *null, color="0.6", linewidth=3.2, label=r"labels permuted, mean $\pm$ sd")
        if "auc_max" in gate["bound"]:
            ends = [place - 0.35, place + 0.35]
            left.plot([gate["bound"]["auc_max"]] * 2, ends, color=COLOURS["vermilion"], linewidth=1.2, label="bound")
    left.set(xlim=(0.0, 1.0), ylim=(-0.6, 1.6), xlabel="cross-validated AUC", title="anchors against injections")
    left.set_yticks([0, 1], ["classifier (5)", "linear probe (8)"])
    left.axvline(0.5, color="0.5", linewidth=0.6, linestyle=":")
    importance = classifier["statistics"].get("importance", {})
    shown = list(importance)[:10][::-1]
    right.barh(
        np.arange(len(shown)), [importance[name]["loss"] for name in shown], color=COLOURS["blue"],
        xerr=[importance[name]["loss_sd"] for name in shown], error_kw={"linewidth": 0.8},
    )  # fmt: skip
    rings = sum(name.startswith(_RING) for name in importance)
    right.set_yticks(np.arange(len(shown)), [_feature_words(name, rings, half_width_fwhm) for name in shown])
    right.set(xlabel="loss of AUC when exchanged (line: sd)", title="classifier (5)")
    handles = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))  # both gates have the same
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles), frameon=False)
    return figure


def _feature_words(name: str, rings: int, half_width_fwhm: float | None) -> str:
    """A column of the classifier in words; a ring by its radii from theta_E, in FWHM, or by its number from inside."""
    if not name.startswith(_RING):
        return _CLASSIFIER_LABELS.get(name, name.removeprefix("arc_").replace("_", " "))
    number = int(name.removeprefix(_RING))
    if half_width_fwhm is None:
        return f"light in ring {number + 1} of {rings} from inside"
    low, high = (half_width_fwhm * (2.0 * k / rings - 1.0) for k in (number, number + 1))
    return rf"light at $\theta_\mathrm{{E}}$ {low:+.2g} to {high:+.2g} FWHM".replace("+0 ", "0 ").replace("-", "\u2212")
