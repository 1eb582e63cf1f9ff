"""The design grid: Einstein radius x PSF size x depth. Bin centres are named, edges lie half a step away.

PSF size is the survey's column psfsize_r, the FWHM of the *Gaussian of equal Neff* [arcsec], not a half-maximum width.
Depth is the 5-sigma AB magnitude of psfdepth_r (galdepth_r selectable): m5 = 22.5 - 2.5 log10(5 / sqrt(psfdepth)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import OptionError, check_between, check_choice, check_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["AXES", "GridOptions", "SelectionGrid"]

#: Axes of the grid, slowest first; also the columns that hold a cell's centre.
AXES = ("theta_e", "psf_fwhm", "depth")


def _centres(first: float, last: float, step: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.round(np.arange(first, last + step / 2, step), 6))


@dataclass(frozen=True)
class GridOptions:
    """theta_e_arcsec, psf_fwhm_arcsec, depth_mag: bin centres, evenly spaced and rising, two or more.
    depth_column: psfdepth_r or galdepth_r. injections_per_cell: wanted in a cell; a cell with fewer is insufficient.
    theta_e_in_cell: every injection at the cell's centre, or uniform between its edges.
    """

    theta_e_arcsec: tuple[float, ...] = _centres(0.5, 3.0, 0.25)
    psf_fwhm_arcsec: tuple[float, ...] = _centres(0.9, 1.8, 0.15)
    depth_mag: tuple[float, ...] = _centres(22.5, 24.5, 0.5)
    depth_column: str = "psfdepth_r"
    injections_per_cell: int = 200
    theta_e_in_cell: str = "centre"

    def __post_init__(self) -> None:
        ranges = {"theta_e_arcsec": (0.05, 8.0), "psf_fwhm_arcsec": (0.3, 4.0), "depth_mag": (18.0, 30.0)}
        for key, (low, high) in ranges.items():
            centres = np.asarray(getattr(self, key), dtype=np.float64)
            if centres.ndim != 1 or len(centres) < 2:
                raise OptionError(f"{key} = {getattr(self, key)!r} must list at least two bin centres")
            for value in centres:
                check_between(key, float(value), low, high)
            steps = np.diff(centres)
            if not (steps > 0).all() or not np.allclose(steps, steps[0], rtol=1e-6):
                raise OptionError(f"{key} = {list(centres)} must rise in equal steps")
            object.__setattr__(self, key, tuple(float(value) for value in centres))
        check_choice("depth_column", self.depth_column, ("psfdepth_r", "galdepth_r"))
        check_choice("theta_e_in_cell", self.theta_e_in_cell, ("centre", "uniform"))
        check_whole("injections_per_cell", self.injections_per_cell, 1, 1_000_000)


@dataclass(frozen=True)
class SelectionGrid:
    """The cells of ``options``. A condition is a (PSF, depth) pair: the cells of one condition share their hosts."""

    options: GridOptions

    @property
    def centres(self) -> dict[str, NDArray[np.float64]]:
        """Axis -> bin centres."""
        values = (self.options.theta_e_arcsec, self.options.psf_fwhm_arcsec, self.options.depth_mag)
        return {axis: np.asarray(value) for axis, value in zip(AXES, values, strict=True)}

    @property
    def edges(self) -> dict[str, NDArray[np.float64]]:
        """Axis -> bin edges, half a step from the centres."""
        out = {}
        for axis, centre in self.centres.items():
            half = 0.5 * (centre[1] - centre[0])
            out[axis] = np.append(centre - half, centre[-1] + half)
        return out

    @property
    def shape(self) -> tuple[int, int, int]:
        """(theta_E, PSF, depth) bins."""
        n_theta, n_psf, n_depth = (len(centre) for centre in self.centres.values())
        return n_theta, n_psf, n_depth

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(np.prod(self.shape))

    def bin_of(self, axis: str, values: ArrayLike) -> NDArray[np.int64]:
        """Bin of each value along ``axis``, lower edge included; -1 outside the grid and for NaN."""
        edges = self.edges[axis]
        values = np.asarray(values, dtype=np.float64)
        index = np.searchsorted(edges, values, side="right") - 1
        return np.where((values >= edges[0]) & (values < edges[-1]), index, -1).astype(np.int64)

    def cells(self) -> pd.DataFrame:
        """One row a cell in id order: cell, theta_index, psf_index, depth_index and the centres under AXES."""
        index = np.indices(self.shape).reshape(3, -1)
        columns: dict[str, NDArray] = {"cell": np.arange(self.n_cells)}
        columns.update(zip(("theta_index", "psf_index", "depth_index"), index, strict=True))
        for axis, rows in zip(AXES, index, strict=True):
            columns[axis] = self.centres[axis][rows]
        return pd.DataFrame(columns)

    def conditions(self) -> pd.DataFrame:
        """One row a (PSF, depth) condition: condition, psf_index, depth_index, psf_fwhm, depth."""
        index = np.indices(self.shape[1:]).reshape(2, -1)
        return pd.DataFrame(
            {
                "condition": np.arange(index.shape[1]),
                "psf_index": index[0],
                "depth_index": index[1],
                "psf_fwhm": self.centres["psf_fwhm"][index[0]],
                "depth": self.centres["depth"][index[1]],
            }
        )

    def definitions(self) -> dict[str, str]:
        """What the axes mean, in words; written into every artifact."""
        return {
            "theta_e": "Einstein radius [arcsec], product-average (intermediate-axis) convention of lenstronomy",
            "psf_fwhm": "psfsize_r [arcsec]: FWHM of the Gaussian of equal Neff, not a half-maximum width",
            "depth": f"5-sigma AB magnitude of {self.options.depth_column}: 22.5 - 2.5 log10(5 / sqrt(depth))",
            "edges": "half a step from the named centres, lower edge included",
        }
