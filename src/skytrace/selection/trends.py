"""Does completeness rise or fall along an axis of the grid, beyond its uncertainty, with everything else held fixed?

Worse seeing is asked for twice. At a fixed psfdepth, sigma_pix = 1 / sqrt(psfdepth Neff) *falls* as the PSF grows: the
sky got darker in return, and an arc's S/N goes up with the square root of the PSF. At a fixed sky noise of a pixel the
same exposure is taken in worse seeing, and the point-source depth falls with it: ``seeing``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from skytrace.errors import CatalogueError, check_between, check_choice
from skytrace.selection.grid import AXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = ["TRENDS", "TrendTest", "trend_test", "trend_tests"]

#: What a trend can be asked of: the axes of the grid, and the PSF size at a fixed sky noise of a pixel.
TRENDS = {
    "theta_e": "Einstein radius",
    "psf_fwhm": "PSF size at a fixed point-source depth",
    "depth": "depth",
    "seeing": "PSF size at a fixed sky noise of a pixel (the same exposure in worse seeing)",
}
_UNITS = {"theta_e": "arcsec", "psf_fwhm": "arcsec", "depth": "mag", "seeing": "arcsec"}


@dataclass(frozen=True)
class TrendTest:
    """slope: change of completeness per unit of the axis, within lines of cells that differ in that axis alone.

    standard_error: hosts resampled whole, to first order. z: their ratio. direction: rises, falls or flat (|z| within
    the level). low_end, high_end: mean completeness in the first and last bins of lines that reach both (NaN if none,
    and for seeing). n_lines: lines of cells; for seeing the planes of one theta_E. turns_at: the bin where completeness
    is highest, if both ends of the axis lie below it at ``level`` (Bonferroni over the bins that could be it), along
    lines that reach every bin; None where it does not turn, and for seeing. end_z: of the two ends
    less that bin.
    """

    axis: str
    threshold: float
    slope: float
    standard_error: float
    z: float
    direction: str
    low_end: float
    high_end: float
    n_lines: int
    n: int
    n_hosts: int
    sentence: str
    turns_at: float | None = None
    end_z: tuple[float, float] | None = None


def trend_test(
    injections: pd.DataFrame, grid: SelectionGrid, *, axis: str, threshold: float, level: float = 0.9545
) -> TrendTest:
    """Least-squares slope of completeness along ``axis`` (TRENDS) with an intercept of its own for every line of cells.

    For ``seeing`` a line is a plane of one theta_E, in which completeness is the slope times the PSF size plus a
    parabola in the sky noise of a pixel [mag], depth + 2.5 log10(PSF).
    injections: columns cell, galaxy_id, score. The slope is a weighted sum of cell shares, so that its variance follows
    from each host's summed contribution over all cells (linearised, m / (m - 1)); it is never taken smaller than
    that of independent trials. level: two-sided, for ``direction``. Raises CatalogueError where no line of
    cells has two that are filled.
    """
    check_choice("axis", axis, tuple(TRENDS))
    check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
    check_between("level", level, 0.0, 1.0, include_low=False, include_high=False)
    cell = injections["cell"].to_numpy(dtype=np.int64)
    detected = injections["score"].to_numpy(dtype=np.float64) >= threshold
    n = np.bincount(cell, minlength=grid.n_cells).astype(np.float64)
    k = np.bincount(cell, weights=detected, minlength=grid.n_cells)
    share = np.divide(k, n, out=np.zeros_like(n), where=n > 0)
    weight, n_lines = _seeing_weights(n, grid) if axis == "seeing" else _slope_weights(n, grid, axis)
    if n_lines == 0:
        raise CatalogueError(f"no line of cells along {axis} has injections in two bins; its trend cannot be measured")
    hosts = pd.factorize(injections["galaxy_id"], sort=True)[0]
    hosts_used = len(np.unique(hosts[weight[cell] != 0]))

    def contrast(weight: NDArray[np.float64]) -> tuple[float, float]:
        """A weighted sum of cell shares and its standard error, hosts taken whole."""
        part = (weight / np.maximum(n, 1.0))[cell] * (detected - share[cell])
        by_host = np.bincount(hosts, weights=part)
        many = len(np.unique(hosts[weight[cell] != 0]))
        clustered = many / max(many - 1.0, 1.0) * np.sum(by_host**2)
        jeffreys = (k + 0.5) / (n + 1.0)
        independent = np.sum(weight**2 * jeffreys * (1.0 - jeffreys) / np.maximum(n, 1.0))
        return float(weight @ share), float(np.sqrt(max(clustered, independent)))

    slope, error = contrast(weight)
    z = slope / error
    limit = float(np.sqrt(2.0) * special.erfinv(level))
    direction = "flat" if abs(z) <= limit else ("rises" if z > 0 else "falls")
    low_end, high_end = (np.nan, np.nan) if axis == "seeing" else _ends(share, n, grid, axis)
    words = "shows no change" if direction == "flat" else direction
    sentence = (
        f"Completeness {words} with {TRENDS[axis]}: {slope:+.4f} +- {error:.4f} per {_UNITS[axis]} (z = {z:+.1f}), "
        f"within {n_lines} {'planes of one Einstein radius' if axis == 'seeing' else 'lines of cells'} that differ in "
        "nothing else."
    )
    turn, falls = (None, None) if axis == "seeing" else _turnover(n, share, grid, axis, contrast, level)
    if turn is not None and falls is not None:
        sentence += (
            f" It is no straight line: completeness is highest at {turn:g} {_UNITS[axis]}, and lower at both ends "
            f"(z = {falls[0]:+.1f} and {falls[1]:+.1f})."
        )
    used = int(n[weight != 0].sum())
    return TrendTest(
        axis, float(threshold), slope, error, z, direction, low_end, high_end, n_lines, used, hosts_used, sentence,
        turn, falls,
    )  # fmt: skip


def trend_tests(injections: pd.DataFrame, grid: SelectionGrid, *, threshold: float) -> dict[str, dict[str, Any]]:
    """``trend_test`` of all TRENDS as dicts of JSON's own types (NaN becomes None), by name.

    An axis without a line of cells that has two filled gives direction ``not measured`` and a sentence that says so.
    """
    found: dict[str, dict[str, Any]] = {}
    for axis, words in TRENDS.items():
        try:
            fields = asdict(trend_test(injections, grid, axis=axis, threshold=threshold))
        except CatalogueError as error:
            sentence = f"The change of completeness with {words} is not measured: {error}."
            fields = {"axis": axis, "threshold": float(threshold), "direction": "not measured", "sentence": sentence}
        finite = {name: not isinstance(value, float) or np.isfinite(value) for name, value in fields.items()}
        found[axis] = {name: value if finite[name] else None for name, value in fields.items()}
    return found


def _slope_weights(n: NDArray[np.float64], grid: SelectionGrid, axis: str) -> tuple[NDArray[np.float64], int]:
    """Weight of each cell's share in the slope (filled cells count alike), and the number of lines that take part."""
    place = AXES.index(axis)
    filled = np.moveaxis((n > 0).reshape(grid.shape), place, -1)
    x = np.broadcast_to(grid.centres[axis], filled.shape)
    count = filled.sum(axis=-1, keepdims=True)
    centred = np.where(filled, x - np.where(filled, x, 0.0).sum(axis=-1, keepdims=True) / np.maximum(count, 1), 0.0)
    square = np.sum(centred**2)
    weight = centred / square if square > 0 else centred
    return np.moveaxis(weight, -1, place).ravel(), int((count > 1).sum())


def _seeing_weights(n: NDArray[np.float64], grid: SelectionGrid) -> tuple[NDArray[np.float64], int]:
    """As ``_slope_weights``, of the PSF's coefficient beside a parabola in the sky noise for every theta_E."""
    cells = grid.cells()
    psf, depth = (cells[name].to_numpy(dtype=np.float64) for name in ("psf_fwhm", "depth"))
    sky_mag = depth + 2.5 * np.log10(psf)  # psfdepth = 1 / (sigma_pix^2 Neff), Neff ~ PSF^2
    plane, filled = cells["theta_index"].to_numpy(), n > 0
    weight, square, n_planes = np.zeros(len(n)), 0.0, 0
    for value in np.unique(plane[filled]):
        rows = filled & (plane == value)
        others = np.vander(sky_mag[rows] - sky_mag.mean(), 3)
        residual = psf[rows] - others @ np.linalg.lstsq(others, psf[rows], rcond=None)[0]
        if np.sum(residual**2) < 1e-9 or rows.sum() < 4:  # the plane's PSF follows from its sky noise: no slope in it
            continue
        weight[rows], n_planes = residual, n_planes + 1
        square += np.sum(residual**2)
    return weight / (square if square > 0 else 1.0), n_planes


def _turnover(
    n: NDArray[np.float64], share: NDArray[np.float64], grid: SelectionGrid, axis: str,
    contrast: Callable[[NDArray[np.float64]], tuple[float, float]], level: float,
) -> tuple[float | None, tuple[float, float] | None]:  # fmt: skip
    """Where completeness is highest within the axis, if it is lower at both ends; z of the ends less that bin."""
    place = AXES.index(axis)
    lines = np.moveaxis((n > 0).reshape(grid.shape), place, -1)
    whole = lines.all(axis=-1)
    if not whole.any() or lines.shape[-1] < 3:
        return None, None
    profile = np.moveaxis(share.reshape(grid.shape), place, -1)[whole].mean(axis=0)
    top = int(np.argmax(profile))
    if top in (0, lines.shape[-1] - 1):
        return None, None
    limit = float(special.ndtri(1.0 - 0.5 * (1.0 - level) / (lines.shape[-1] - 2)))
    z = []
    for end in (0, lines.shape[-1] - 1):
        weight = np.zeros(lines.shape)
        weight[whole, end], weight[whole, top] = 1.0 / whole.sum(), -1.0 / whole.sum()
        difference, error = contrast(np.moveaxis(weight, -1, place).ravel())
        z.append(difference / error)
    return (float(grid.centres[axis][top]), (z[0], z[1])) if max(z) < -limit else (None, None)


def _ends(share: NDArray[np.float64], n: NDArray[np.float64], grid: SelectionGrid, axis: str) -> tuple[float, float]:
    place = AXES.index(axis)
    lines = np.moveaxis(share.reshape(grid.shape), place, -1)
    filled = np.moveaxis((n > 0).reshape(grid.shape), place, -1)
    both = filled[..., 0] & filled[..., -1]
    if not both.any():
        return float("nan"), float("nan")
    return float(lines[..., 0][both].mean()), float(lines[..., -1][both].mean())
