"""The one figure style: MNRAS column widths, colour-blind-safe colours, quiet axes, same data same bytes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

__all__ = [
    "COLOURS",
    "DOUBLE_COLUMN_INCHES",
    "SINGLE_COLUMN_INCHES",
    "colour_maximum",
    "figure_png",
    "house_style",
    "new_figure",
]

P = ParamSpec("P")
R = TypeVar("R")

#: MNRAS column widths [inch].
SINGLE_COLUMN_INCHES = 3.32
DOUBLE_COLUMN_INCHES = 6.97
#: Okabe & Ito (2008): distinguishable with any colour vision.
COLOURS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermilion": "#D55E00",
    "sky": "#56B4E9", "purple": "#CC79A7", "black": "#000000",
}  # fmt: skip
#: Upper ends that a colour scale of probabilities may have: few and round, so that figures can be compared.
_COLOUR_MAXIMA = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_STYLE: dict[str, Any] = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7, "legend.title_fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "axes.linewidth": 0.6,
    "xtick.direction": "in", "ytick.direction": "in", "xtick.top": True, "ytick.right": True,
    "figure.dpi": 200, "savefig.dpi": 200, "hatch.linewidth": 0.5,
}  # fmt: skip


def house_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Decorate a figure function: everything that it draws, legends and colour bars too, is in the house style."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        """As ``draw``, within the house style."""
        from matplotlib import rc_context

        settings: dict[Any, Any] = {**_STYLE, "axes.prop_cycle": _cycle()}
        with rc_context(settings):
            return draw(*args, **kwargs)

    return styled


def new_figure(
    *, width: float = SINGLE_COLUMN_INCHES, height: float = 2.5, rows: int = 1, columns: int = 1, **kwargs: Any
) -> tuple[Figure, Any]:
    """A figure [inches] with its axes, without a display; call it inside a function decorated by ``house_style``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **kwargs)


def colour_maximum(probabilities: ArrayLike) -> float:
    """The upper end of a colour scale from 0 for ``probabilities``: round, and not below any; NaN is left out."""
    import numpy as np

    values = np.asarray(probabilities, dtype=float)
    highest = float(np.max(values, where=np.isfinite(values), initial=0.0))
    return next((end for end in _COLOUR_MAXIMA if highest <= end), 1.0)


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG bytes without a creation time or a software name, so that the same data give the same file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()


def _cycle() -> Any:
    from cycler import cycler

    return cycler(color=list(COLOURS.values()))
