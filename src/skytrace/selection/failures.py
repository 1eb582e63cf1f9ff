"""Why was an injected lens missed? One cause each, from measured covariates, in a stated precedence.

The first cause that holds is the lens's cause: arc too faint for the observability gate; blended (theta_E below the
PSF); host brighter than the arc where the arc lies; a neighbour or a mask there; arc light on pixels that the
preprocessing clips; score that changes when the core is masked; unexplained. A cause that cannot be judged for a lens
(its covariate is NaN) and that no earlier one pre-empts makes it "not_measured", never "unexplained".

A cause is an association in this precedence and not a proof: ``cause_summary`` therefore also counts every cause
wherever it holds, and among the *detected*, where a good explanation is rare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, PixelError, check_between
from skytrace.imaging.apertures import subtract_azimuthal_profile
from skytrace.selection.arcs import arc_annulus

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.selection.grid import SelectionGrid

__all__ = [
    "CAUSES", "FAILURE_COLUMNS", "FailureOptions", "cause_summary", "counted_causes", "failure_causes",
    "failure_counts", "failure_covariates", "failure_flags", "injected_psfsize",
]  # fmt: skip

#: The causes in their precedence, and what each means.
CAUSES = {
    "faint_arc": "arc S/N below the observability gate",
    "blended": "Einstein radius below the PSF size",
    "host_outshines": "host brighter than the arc in the arc's annulus",
    "neighbour_or_mask": "a neighbour or masked pixels in the arc's annulus",
    "clipped": "arc light on pixels that the preprocessing clips",
    "core_sensitive": "score changes when the core is masked",
}
#: What a table must hold beside theta_e_arcsec, arc_snr, score and the PSF size.
FAILURE_COLUMNS = ("host_over_arc", "masked_share", "neighbour_share", "clipped_share", "score_core_masked")
_CHUNK = 256


@dataclass(frozen=True)
class FailureOptions:
    """observable_snr: integrated arc S/N (r, injected light) of the gate. blended_theta_e: in PSF sizes (psfsize_r).
    host_over_arc: flux ratio (r) in the annulus, above which the host outshines the arc. neighbour_share, masked_share:
    of the annulus' pixels. clipped_share: of the arc's light in the annulus. core_score_change: of the score, either
    way. neighbour_sigma: residual of a neighbour's pixel after the host model, over its noise; host_error: of that
    model, as a share of its light.
    """

    observable_snr: float = 5.0
    blended_theta_e: float = 1.0
    host_over_arc: float = 1.0
    masked_share: float = 0.1
    neighbour_share: float = 0.1
    clipped_share: float = 0.25
    core_score_change: float = 0.1
    neighbour_sigma: float = 5.0
    host_error: float = 0.05

    def __post_init__(self) -> None:
        check_between("observable_snr", self.observable_snr, 0.0, 1000.0)
        check_between("blended_theta_e", self.blended_theta_e, 0.0, 10.0)
        check_between("host_over_arc", self.host_over_arc, 0.0, 1e6)
        for key in ("masked_share", "neighbour_share", "clipped_share", "core_score_change"):
            check_between(key, getattr(self, key), 0.0, 1.0, include_low=False)
        check_between("neighbour_sigma", self.neighbour_sigma, 1.0, 100.0)
        check_between("host_error", self.host_error, 0.0, 1.0)


def failure_covariates(
    host: NDArray[np.floating],
    added: NDArray[np.floating],
    stamps: NDArray[np.floating],
    invvar: NDArray[np.floating],
    *,
    theta_e_arcsec: ArrayLike,
    fwhm_arcsec: ArrayLike,
    background_nmgy: ArrayLike,
    sigma_nmgy: ArrayLike,
    clip: float,
    host_index: ArrayLike | None = None,
    options: FailureOptions | None = None,
) -> pd.DataFrame:
    """What pixels say of the annulus |r - theta_E| <= FWHM of n injections; all but the rescoring with a masked core.

    host: (n, 3, y, x) before injection [nanomaggies]; added: what was injected; invvar alike. stamps: (n, 3, y, x) as
    the detector saw them; clip: of the preprocessing. background_nmgy, sigma_nmgy: (n,) of the host in r. Columns:
    host_over_arc: flux of host (background taken off, never below 0) over injected flux, in r; inf without arc light
    there. masked_share: annulus pixels without data in some band. neighbour_share: pixels with data whose residual in r
    exceeds neighbour_sigma after a host model constant on circles was taken off. clipped_share: of the arc's light in
    the annulus, on pixels at the clip, the mean of the bands. NaN where the annulus holds no pixel with data.
    host_index: (n,) equal where host pixels are: each host is then modelled once.
    """
    options = options or FailureOptions()
    shape = np.shape(host)
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise PixelError(f"host must be (n, 3, y, x) with square stamps; got shape {shape}")
    for name, pixels in (("added", added), ("stamps", stamps), ("invvar", invvar)):
        if np.shape(pixels) != shape:
            raise PixelError(f"{name} shape {np.shape(pixels)} differs from host shape {shape}")
    values = (theta_e_arcsec, fwhm_arcsec, background_nmgy, sigma_nmgy)
    numbers = [np.broadcast_to(np.asarray(value, dtype=np.float64), (shape[0],)) for value in values]
    index = np.arange(shape[0]) if host_index is None else np.asarray(host_index)
    first, place = np.unique(index, return_index=True, return_inverse=True)[1:]
    residual = subtract_azimuthal_profile(
        np.asarray(host)[first, 1:2].astype(np.float32), np.asarray(invvar)[first, 1:2].astype(np.float32)
    )[:, 0]
    parts = []
    for start in range(0, shape[0], _CHUNK):
        rows = slice(start, start + _CHUNK)
        theta_e, fwhm, background, sigma = (value[rows] for value in numbers)
        planes = tuple(np.asarray(pixels[rows]) for pixels in (host, added, stamps, invvar))
        parts.append(_covariates_of(planes, residual[place[rows]], theta_e, fwhm, background, sigma, clip, options))
    return pd.concat(parts, ignore_index=True)


def injected_psfsize(injections: pd.DataFrame) -> NDArray[np.float64]:
    """PSF size (psfsize_r [arcsec]) of every injection: the host's own, or the cell's to which it was degraded."""
    degraded = injections["mode"].to_numpy() == "degraded"
    return np.where(degraded, injections["psf_fwhm"], injections["host_psfsize_r"]).astype(np.float64)


def failure_flags(injections: pd.DataFrame, *, options: FailureOptions | None = None) -> pd.DataFrame:
    """Which causes hold, whatever the score: one column a cause of CAUSES, 1, 0, or NaN where it was not measured.

    injections: columns of the injections table (theta_e_arcsec, arc_snr, score, mode, psf_fwhm, host_psfsize_r) and
    FAILURE_COLUMNS. Raises CatalogueError on missing columns.
    """
    options = options or FailureOptions()
    needed = ("theta_e_arcsec", "arc_snr", "score", "mode", "psf_fwhm", "host_psfsize_r", *FAILURE_COLUMNS)
    missing = [name for name in needed if name not in injections.columns]
    if missing:
        raise CatalogueError(f"injections lack the columns {', '.join(missing)}; measure them with failure_covariates")
    x = {name: injections[name].to_numpy(dtype=np.float64) for name in needed if name != "mode"}
    obstructed = np.maximum(x["masked_share"] / options.masked_share, x["neighbour_share"] / options.neighbour_share)
    flags = {
        **_drawn_flags(injections, options),
        "host_outshines": _holds(x["host_over_arc"], x["host_over_arc"] > options.host_over_arc),
        "neighbour_or_mask": _holds(obstructed, obstructed > 1.0),
        "clipped": _holds(x["clipped_share"], x["clipped_share"] > options.clipped_share),
    }
    change = np.abs(x["score_core_masked"] - x["score"])
    flags["core_sensitive"] = _holds(change, change >= options.core_score_change)
    return pd.DataFrame(flags, index=injections.index)


def failure_causes(
    injections: pd.DataFrame, *, threshold: float, options: FailureOptions | None = None
) -> pd.DataFrame:
    """``failure_flags`` and the column cause: "detected", the first cause that holds, "unexplained", "not_measured"."""
    check_between("threshold", threshold, 0.0, 1.0, include_low=False, include_high=False)
    flags = failure_flags(injections, options=options)
    values = flags.to_numpy()
    # a NaN stops the search too: an earlier cause wins, a later one cannot be known to be the first
    stops = (values == 1.0) | np.isnan(values)
    first = np.where(stops.any(axis=1), stops.argmax(axis=1), len(CAUSES))
    unknown = np.isnan(np.take_along_axis(values, np.minimum(first, len(CAUSES) - 1)[:, None], axis=1)[:, 0])
    names = np.array([*CAUSES, "unexplained"], dtype=object)[first]
    names[unknown & (first < len(CAUSES))] = "not_measured"
    names[injections["score"].to_numpy(dtype=np.float64) >= threshold] = "detected"
    return flags.assign(cause=names)


def counted_causes(missed: pd.DataFrame, *, options: FailureOptions | None = None) -> pd.Series:
    """Cause -> how many of all ``missed`` injections have it as their first, for the causes that need no pixels
    (faint_arc, blended). Exact where no arc S/N is missing: nothing comes before them.
    """
    open_ones = np.ones(len(missed), dtype=bool)
    counts = {}
    for name, flag in _drawn_flags(missed, options or FailureOptions()).items():
        counts[name] = int((open_ones & (flag == 1.0)).sum())
        open_ones &= flag == 0.0
    return pd.Series(counts, dtype=np.int64)


def failure_counts(cell: ArrayLike, cause: ArrayLike, grid: SelectionGrid) -> pd.DataFrame:
    """Counts by cell: one row a cell of ``grid`` with n, n_missed, and one column a cause (unexplained, not_measured
    last), which add up to n_missed.
    """
    cell, cause = np.asarray(cell, dtype=np.int64), np.asarray(cause, dtype=object)
    if cell.shape != cause.shape or ((cell < 0) | (cell >= grid.n_cells)).any():
        raise CatalogueError(
            f"cell {cell.shape} and cause {cause.shape} must be (n,), cells within 0..{grid.n_cells - 1}"
        )
    names = [*CAUSES, "unexplained", "not_measured"]
    place = pd.Index([*names, "detected"]).get_indexer(pd.Index(cause))
    if (place < 0).any():
        raise CatalogueError(f"{cause[place < 0][0]!r} is no cause of a failure")
    counts = np.bincount(cell * (len(names) + 1) + place, minlength=grid.n_cells * (len(names) + 1))
    counts = counts.reshape(grid.n_cells, -1)
    table = grid.cells().assign(n=counts.sum(axis=1), n_missed=counts[:, :-1].sum(axis=1))
    return table.assign(**{name: counts[:, number] for number, name in enumerate(names)})


def cause_summary(causes: pd.DataFrame) -> pd.DataFrame:
    """One row a cause: cause, meaning, n (missed, as the first cause), share_of_missed; n_holds (missed, wherever it
    holds), holds_missed and holds_detected (its share among missed and detected, of those measured). A cause explains
    as far as it is commoner among the missed. causes: of ``failure_causes``.
    """
    missed = (causes["cause"] != "detected").to_numpy()
    rows = []
    for name, meaning in {**CAUSES, "unexplained": "none of these", "not_measured": "a covariate is missing"}.items():
        n = int((causes["cause"] == name).sum())
        row = {
            "cause": name,
            "meaning": meaning,
            "n": n,
            "share_of_missed": n / missed.sum() if missed.any() else np.nan,
        }
        if name in CAUSES:
            flag = causes[name].to_numpy(dtype=np.float64)
            row["n_holds"] = int((flag[missed] == 1.0).sum())
            for kind, rows_of in (("missed", missed), ("detected", ~missed)):
                known = flag[rows_of & np.isfinite(flag)]
                row[f"holds_{kind}"] = float(known.mean()) if len(known) else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def _drawn_flags(injections: pd.DataFrame, options: FailureOptions) -> dict[str, NDArray[np.float64]]:
    """The causes that every injection's own row tells, without its pixels: the first of the precedence."""
    snr = injections["arc_snr"].to_numpy(dtype=np.float64)
    blended = injections["theta_e_arcsec"].to_numpy(dtype=np.float64) / injected_psfsize(injections)
    return {
        "faint_arc": _holds(snr, snr < options.observable_snr),
        "blended": _holds(blended, blended < options.blended_theta_e),
    }


def _holds(measured: NDArray[np.float64], flag: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(np.isnan(measured), np.nan, flag.astype(np.float64))


def _covariates_of(
    planes: tuple[NDArray, ...],
    left: NDArray[np.floating],
    theta_e: NDArray[np.float64],
    fwhm: NDArray[np.float64],
    background: NDArray[np.float64],
    sigma: NDArray[np.float64],
    clip: float,
    options: FailureOptions,
) -> pd.DataFrame:
    host, added, stamps, invvar = planes
    annulus = arc_annulus(host.shape[-1], theta_e, fwhm)
    data = (invvar > 0) & np.isfinite(host)
    inside = annulus & data[:, 1]
    n_pix = inside.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        host_flux = np.where(inside, host[:, 1] - background[:, None, None], 0.0).sum(axis=(1, 2), dtype=np.float64)
        arc_flux = np.where(inside, added[:, 1], 0.0).sum(axis=(1, 2), dtype=np.float64)
        ratio = np.where(arc_flux > 0, np.maximum(host_flux, 0.0) / arc_flux, np.inf)
        masked = (annulus & ~data.all(axis=1)).sum(axis=(1, 2)) / annulus.sum(axis=(1, 2))
        model = np.maximum(host[:, 1] - left - background[:, None, None], 0.0)
        noise = np.hypot(sigma[:, None, None], options.host_error * model)
        neighbour = (inside & (left > options.neighbour_sigma * noise)).sum(axis=(1, 2)) / n_pix
        light = np.where(annulus[:, None] & data, np.maximum(added, 0.0), 0.0).astype(np.float64)
        total = light.sum(axis=(2, 3))
        at_clip = np.where(np.abs(stamps) >= clip * (1.0 - 1e-6), light, 0.0).sum(axis=(2, 3))
        clipped = np.where(total > 0, at_clip / total, 0.0).mean(axis=1)
    columns = {"host_over_arc": ratio, "neighbour_share": neighbour, "clipped_share": clipped}
    table = pd.DataFrame({name: np.where(n_pix > 0, values, np.nan) for name, values in columns.items()})
    return table.assign(masked_share=masked)
