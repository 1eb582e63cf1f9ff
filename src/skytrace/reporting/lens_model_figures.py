"""Mass models of lensing clusters: where images are, where the model puts them, and its critical curves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.reporting.style import COLOURS, DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["System", "systems_figure"]

#: Families are told apart by mark and colour; a seventh repeats the first's.
_MARKS = (("o", "blue"), ("s", "vermilion"), ("^", "green"), ("D", "purple"), ("v", "orange"), ("P", "sky"))


class System(NamedTuple):
    """model: figures by name. images: observed and predicted places by family. members: places and luminosities.
    curves: outlines (p, 2) [arcsec] by name.
    """

    model: dict[str, Any]
    images: pd.DataFrame
    members: pd.DataFrame
    curves: dict[str, list[NDArray[np.float64]]]


@house_style
def systems_figure(systems: Sequence[System]) -> Figure:
    """Two panels a system. Left: images (open: observed, dots: predicted, medians), members (grey, area as luminosity),
    critical curves (solid) and caustics (dotted) for a source at z_reference. Right: observed less predicted, with the
    errors of the observation. A figure without a system says so.
    """
    rows = max(len(systems), 1)
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=3.1 * rows if systems else 1.0, rows=rows, columns=2, squeeze=False
    )
    if not systems:
        for axis in axes.ravel():
            axis.set_axis_off()
        axes[0, 0].text(0.0, 0.5, "No candidate has enough identified images to be modelled.", va="center")
    for (sky, rest), system in zip(axes, systems, strict=False):
        _draw_sky(sky, system)
        _draw_residuals(rest, system)
    return figure


def _draw_sky(axis: Any, system: System) -> None:
    model, images, members = system.model, system.images, system.members
    axis.scatter(members["x_arcsec"], members["y_arcsec"], s=12.0 * members["luminosity"], color="0.75", lw=0)
    styles = (
        ("tangential", "-", "critical curve, tangential"), ("radial", "--", "radial"),
        ("tangential_caustics", ":", "caustics"), ("radial_caustics", ":", None),
    )  # fmt: skip
    for name, line, label in styles:
        for k, outline in enumerate(system.curves[name]):
            axis.plot(*outline.T, ls=line, lw=0.8, color="black", label=label if k == 0 else None)
    for (mark, colour), (_, mine) in zip(_styles(images), images.groupby("family"), strict=True):
        axis.plot(mine["x_arcsec"], mine["y_arcsec"], mark, ms=5, mfc="none", color=COLOURS[colour])
        axis.plot(mine["predicted_x_arcsec"], mine["predicted_y_arcsec"], ".", ms=3, color=COLOURS[colour])
    reach = 1.35 * float(np.hypot(images["x_arcsec"], images["y_arcsec"]).max())
    radius = [model[f"einstein_radius_arcsec{end}"] for end in ("", "_low", "_high")]
    axis.set(
        xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="x from the BCG (arcsec)",
        ylabel="y from the BCG (arcsec)",
        title=f"{model['cluster_id']}: $\\theta_E$ = {radius[0]:.2f} (+{radius[2] - radius[0]:.2f} "
        f"-{radius[0] - radius[1]:.2f}) arcsec",
    )  # fmt: skip
    axis.legend(
        loc="lower left", frameon=False, title=f"source at z = {model['z_reference']:g}", alignment="left",
        borderaxespad=0.2, handlelength=1.6,
    )  # fmt: skip


def _draw_residuals(axis: Any, system: System) -> None:
    images = system.images
    axis.axhline(0.0, color="0.7", lw=0.6)
    axis.axvline(0.0, color="0.7", lw=0.6)
    for (mark, colour), (name, mine) in zip(_styles(images), images.groupby("family"), strict=True):
        axis.errorbar(
            mine["x_arcsec"] - mine["predicted_x_arcsec"], mine["y_arcsec"] - mine["predicted_y_arcsec"],
            xerr=mine["position_err_arcsec"], yerr=mine["position_err_arcsec"], fmt=mark, ms=4, mfc="none", lw=0.6,
            color=COLOURS[colour], label=f"family {name} (z = {mine['z_source'].iloc[0]:.2f})",
        )  # fmt: skip
    reach = 1.15 * max(abs(end) for limits in (axis.get_xlim(), axis.get_ylim()) for end in limits)
    axis.set(
        xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xlabel="observed less predicted x (arcsec)",
        ylabel="observed less predicted y (arcsec)",
        title=f"{len(images)} images, rms {system.model['image_rms_arcsec']:.2f} arcsec in the image plane",
    )  # fmt: skip
    axis.legend(loc="upper left", frameon=False)


def _styles(images: pd.DataFrame) -> list[tuple[str, str]]:
    return [_MARKS[k % len(_MARKS)] for k in range(images["family"].nunique())]
