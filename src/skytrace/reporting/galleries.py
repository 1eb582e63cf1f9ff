"""The worst errors of a detector as pictures: galaxies that it called lenses, lenses that it missed.

Pictures are made of the preprocessed stamps that the detector saw, so that a reader judges the same pixels. With the
background scale of every band the stretch is undone to fluxes and the colours are the sky's; without it bands are in
units of their noise, which the caption says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, check_between
from skytrace.reporting.stamps import png_bytes, rgb_stamps
from skytrace.reporting.style import DOUBLE_COLUMN_INCHES, house_style, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "ErrorGallery",
    "GalleryItem",
    "error_galleries",
    "error_gallery",
    "gallery_items",
    "stamp_pictures",
    "worst_errors",
]

#: Noise of one pixel in g, r, z [nmgy] at median DR10 depth: only the colours of stamps whose own scale is not given.
_TYPICAL_NOISE_NMGY = (0.0025, 0.0039, 0.0121)


@dataclass(frozen=True)
class GalleryItem:
    """png: one picture. lines: what stands below it, the galaxy's id first. alternative: the picture in words."""

    png: bytes
    lines: tuple[str, ...]
    alternative: str


@dataclass(frozen=True)
class ErrorGallery:
    """heading; caption: how these were chosen and of how many; items, the worst first."""

    heading: str
    caption: str
    items: tuple[GalleryItem, ...]


def worst_errors(scores: pd.DataFrame, *, threshold: float, n: int = 24) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(false positives, highest score first; false negatives, lowest score first), at most ``n`` rows each.

    scores: galaxy_id, score, label and whatever the captions shall say. Ties are broken by galaxy_id. A galaxy is false
    from ``score >= threshold`` on, as everywhere. ``attrs["of"]`` of each table is how many there are in all.
    """
    check_between("n", n, 1, 10_000)
    missing = [name for name in ("galaxy_id", "score", "label") if name not in scores.columns]
    if missing:
        raise CatalogueError(f"the scores lack columns {', '.join(missing)}")
    chosen = []
    for label, ascending in ((0, False), (1, True)):
        wrong = scores[(scores["label"] == label) & ((scores["score"] >= threshold) == (label == 0))]
        table = wrong.sort_values(["score", "galaxy_id"], ascending=[ascending, True]).head(n).reset_index(drop=True)
        table.attrs["of"] = len(wrong)
        chosen.append(table)
    return chosen[0], chosen[1]


def error_galleries(
    stamps: NDArray[np.floating], scores: pd.DataFrame, *, threshold: float, n: int = 24,
    scale: NDArray[np.floating] | None = None, stretch: str = "arcsinh",
) -> tuple[ErrorGallery, ErrorGallery]:  # fmt: skip
    """Galleries of the worst false positives and false negatives for the page of an evaluation.

    stamps (m, 3, y, x) and scale (m, 3) in the order of the rows of ``scores`` (m), which has the columns of
    ``worst_errors`` and those that ``gallery_items`` says. A kind of error that did not happen has an empty gallery.
    """
    if len(stamps) != len(scores):
        raise CatalogueError(f"{len(stamps)} stamps for {len(scores)} scores")
    colours = "their fluxes" if scale is not None else "their noise: the colours are not those of the sky"
    galleries = []
    for table, heading, kind in zip(
        worst_errors(scores.assign(stamp_place=np.arange(len(scores))), threshold=threshold, n=n),
        ("False positives: galaxies called lenses", "False negatives: lenses missed"),
        ("highest", "lowest"),
        strict=True,
    ):
        place = table["stamp_place"].to_numpy()
        items = gallery_items(stamps[place], table, scale=None if scale is None else scale[place], stretch=stretch)
        caption = f"The {len(table)} of {table.attrs['of']} with the {kind} scores, bands in units of {colours}."
        galleries.append(ErrorGallery(heading, caption if items else "None in this sample.", items))
    return galleries[0], galleries[1]


def stamp_pictures(
    stamps: NDArray[np.floating], *, scale: NDArray[np.floating] | None = None, stretch: str = "arcsinh"
) -> NDArray[np.uint8]:
    """Lupton colours (n, y, x, 3) uint8 of preprocessed stamps (n, 3 = g r z, y, x).

    scale: (n, 3) the divisor of ``imaging.preprocess``, 1.4826 background MAD [nmgy]; with it the fluxes are restored
    (but for what was clipped). stretch: of the preprocessing, "arcsinh" or "linear".
    """
    stamps = np.asarray(stamps, dtype=np.float64)
    linear = np.sinh(stamps) if stretch == "arcsinh" else stamps
    if scale is None:
        scale = np.broadcast_to(_TYPICAL_NOISE_NMGY, (len(stamps), 3))
    scale = np.asarray(scale, dtype=np.float64)
    if scale.shape != (len(stamps), 3):
        raise CatalogueError(
            f"scale has shape {scale.shape}; {len(stamps)} stamps of three bands take {len(stamps), 3}"
        )
    return rgb_stamps(linear * scale[:, :, None, None])


def gallery_items(
    stamps: NDArray[np.floating],
    table: pd.DataFrame,
    *,
    scale: NDArray[np.floating] | None = None,
    stretch: str = "arcsinh",
    zoom: int = 2,
) -> tuple[GalleryItem, ...]:
    """A picture with its words for every row of ``table``, whose stamps (n, 3, y, x) are in the same order.

    table: galaxy_id, score, label, and where known confuser_category (galaxies), tier and theta_e_arcsec (lenses).
    """
    if len(stamps) != len(table):
        raise CatalogueError(f"{len(stamps)} stamps for {len(table)} rows of the gallery")
    if not len(table):
        return ()
    pictures = stamp_pictures(stamps, scale=scale, stretch=stretch).repeat(zoom, axis=1).repeat(zoom, axis=2)
    words = [caption_lines(row) for row in table.to_dict("records")]
    return tuple(
        GalleryItem(png_bytes(picture), lines, f"colour picture of {', '.join(lines)}")
        for picture, lines in zip(pictures[:, ::-1], words, strict=True)
    )


def caption_lines(row: Mapping[Any, Any]) -> tuple[str, ...]:
    """What stands below a picture: id, score, and the confuser category or the tier with the Einstein radius."""
    lines = [str(row["galaxy_id"]), f"score {row['score']:.3f}"]
    if row["label"] == 0:
        lines.append(str(row.get("confuser_category") or "no category").replace("_", " "))
    else:
        theta = row.get("theta_e_arcsec")
        known = theta is not None and np.isfinite(theta)
        lines.append(f"tier {row.get('tier') or 'unknown'}, θE " + (f"{theta:.2f}″" if known else "unknown"))
    return tuple(lines)


@house_style
def error_gallery(
    stamps: NDArray[np.floating],
    table: pd.DataFrame,
    *,
    title: str,
    scale: NDArray[np.floating] | None = None,
    stretch: str = "arcsinh",
    columns: int = 6,
) -> Figure:
    """The same pictures as one figure, y upwards; arguments as ``gallery_items``."""
    if len(stamps) != len(table):
        raise CatalogueError(f"{len(stamps)} stamps for {len(table)} rows of the gallery")
    rows = max(1, -(-len(table) // columns))
    side = DOUBLE_COLUMN_INCHES / columns
    figure, axes = new_figure(
        width=DOUBLE_COLUMN_INCHES, height=rows * (side + 0.34) + 0.25, rows=rows, columns=columns, squeeze=False
    )
    for axis in axes.ravel():
        axis.set_axis_off()
    if not len(table):
        figure.suptitle(f"{title}: none in this sample")
        return figure
    pictures = stamp_pictures(stamps, scale=scale, stretch=stretch)
    for axis, picture, row in zip(axes.ravel(), pictures, table.to_dict("records"), strict=False):
        axis.imshow(picture, origin="lower", interpolation="nearest")
        axis.set_title("\n".join(caption_lines(row)), fontsize=5.5, pad=2)
    figure.suptitle(title, fontsize=8)
    return figure
