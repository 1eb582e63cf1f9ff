"""A pixelised mass model that knows nothing of the light, to say how much of a parametric result is its form.

kappa = b kappa0 (1 + delta) with kappa0 ~ R^-slope about the origin and delta a Gaussian random field on a square grid:
everything is linear in (delta, b, shear, source positions) but the weights of the images, which are iterated. The
posterior is that of a linear Gaussian model, and its draws are made by conditioning draws of the prior (Matheron's
rule). One family alone leaves the mass sheet free; what then fixes it is kappa0, so the ensemble runs over its slope.
Deflection of a uniform square cell: double differences of (v ln(u^2 + v^2) + 2 u arctan(v / u)) / (2 pi).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.clusters.modelling_images import distance_ratio
from skytrace.errors import CatalogueError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.clusters.modelling_images import LensedImages
    from skytrace.clusters.modelling_options import ClusterLensOptions, FreeFormOptions

__all__ = ["FreeFormEnsemble", "cell_deflection", "free_form_ensemble", "free_form_systematic"]

_FLAT_ARCSEC = 100.0  # prior width of a source position: flat beside every other scale here
_LEAST_STRETCH = 0.05  # of an image's Jacobian: images on the critical curve don't weigh without limit
_AMPLITUDE_SIGMA = 0.3


@dataclass(frozen=True)
class FreeFormEnsemble:
    """Of k draws (every slope's together): kappa (k, y, x) for a source at z_reference, slope (k,),
    einstein_radius_arcsec (k,), NaN where the tangential critical curve leaves the grid or there is none. axis_arcsec:
    cell centres. source_rms_arcsec (slopes,): of the mean model's source positions about each family's. negative: share
    of cells with kappa < 0, which a linear model does not forbid.
    """

    kappa: NDArray[np.float64]
    slope: NDArray[np.float64]
    einstein_radius_arcsec: NDArray[np.float64]
    axis_arcsec: NDArray[np.float64]
    source_rms_arcsec: NDArray[np.float64]
    negative: float


def free_form_ensemble(
    images: LensedImages, *, lens: ClusterLensOptions, options: FreeFormOptions, rng: np.random.Generator
) -> FreeFormEnsemble:
    """n_draws from the posterior for each slope. Raises CatalogueError where z_reference is not behind the lens."""
    from skytrace.clusters.modelling_derived import tangential_outline, within_outline

    if not lens.z_reference > images.z_lens:
        raise CatalogueError(f"z_reference = {lens.z_reference:g} is not behind the lens at z = {images.z_lens:g}")
    radius = np.hypot(images.x_arcsec, images.y_arcsec)
    reach = options.box_over_radius * float(radius.max())
    edges = np.linspace(-reach, reach, options.cells + 1)
    axis = 0.5 * (edges[1:] + edges[:-1])
    x, y = (side.ravel() for side in np.meshgrid(axis, axis))
    cell = float(edges[1] - edges[0])
    scale = options.correlation_over_radius * float(radius.mean())
    distance2 = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
    field = np.exp(-0.5 * distance2 / scale**2) + 1e-8 * np.eye(len(x))
    root = options.departure_sigma * np.linalg.cholesky(field)
    at_images = _cells(images.x_arcsec, images.y_arcsec, x, y, cell)
    at_cells = _cells(x, y, x, y, cell)
    kappas, slopes, radii, rms = [], [], [], []
    for slope in options.slopes:
        drawn, source_rms = _one_slope(images, lens, options, slope, root, (x, y, cell), at_images, rng)
        rms.append(source_rms)
        base = _power_law(x, y, slope, float(radius.mean()), cell)
        for u in drawn:
            maps = _total(u, base, at_cells, x, y)
            kappa = 0.5 * (maps[2] + maps[4])
            gamma = np.sqrt(0.25 * (maps[2] - maps[4]) ** 2 + maps[3] ** 2)
            shape = (options.cells, options.cells)
            outline = tangential_outline((1.0 - kappa - gamma).reshape(shape), axis)
            area, _ = within_outline(outline, axis, maps[0].reshape(shape), maps[1].reshape(shape))
            kappas.append(kappa.reshape(shape))
            radii.append(np.sqrt(area / np.pi))
            slopes.append(slope)
    kappa = np.array(kappas)
    return FreeFormEnsemble(kappa, np.array(slopes), np.array(radii), axis, np.array(rms), float((kappa < 0).mean()))


def free_form_systematic(ensemble: FreeFormEnsemble, einstein_radius_arcsec: NDArray[np.float64]) -> dict[str, float]:
    """What the form of the mass may do to the Einstein radius [arcsec]: parametric draws (k,) beside the ensemble.

    offset: ensemble's median less the parametric one. spread: half the 68 % interval over the ensemble.
    between_slopes: standard deviation of the medians of slopes that have a curve in any draw, NaN where only one of
    several has; what the others would say is not in it. systematic: the root of offset^2 + between_slopes^2.
    """
    drawn = ensemble.einstein_radius_arcsec
    low, median, high = np.nanpercentile(drawn, [15.865, 50.0, 84.135])
    slopes, curved = np.unique(ensemble.slope), np.unique(ensemble.slope[np.isfinite(drawn)])
    medians = [np.nanmedian(drawn[ensemble.slope == slope]) for slope in curved]
    offset = float(median - np.nanmedian(einstein_radius_arcsec))
    between = float(np.std(medians)) if len(curved) >= min(2, len(slopes)) else float("nan")
    return {
        "free_form_radius_arcsec": float(median), "offset_arcsec": offset, "spread_arcsec": float(0.5 * (high - low)),
        "between_slopes_arcsec": between, "systematic_arcsec": float(np.hypot(offset, between)),
        "without_curve": float(np.isnan(drawn).mean()),
    }  # fmt: skip


def cell_deflection(dx: Any, dy: Any, cell_arcsec: float) -> tuple[NDArray[np.float64], ...]:
    """alpha_x, alpha_y and their derivatives xx, xy, yy at offsets dx, dy [arcsec] from the centre of a square cell of
    kappa = 1; their trace is 2 inside the cell and 0 outside.
    """
    dx, dy = np.asarray(dx, dtype=np.float64), np.asarray(dy, dtype=np.float64)
    out = [np.zeros(np.broadcast(dx, dy).shape) for _ in range(5)]
    half = 0.5 * cell_arcsec
    tiny = 1e-9 * cell_arcsec  # a point on a cell's edge belongs to its right or upper neighbour
    for sign_u in (1.0, -1.0):
        for sign_v in (1.0, -1.0):
            u, v, sign = dx + sign_u * half + tiny, dy + sign_v * half + tiny, sign_u * sign_v / np.pi
            log, angle_u, angle_v = 0.5 * np.log(u**2 + v**2), np.arctan(v / u), np.arctan(u / v)
            parts = (v * log + u * angle_u, u * log + v * angle_v, angle_u, log, angle_v)
            for total, part in zip(out, parts, strict=True):
                total += sign * part
    return tuple(out)


def _cells(px: Any, py: Any, x: Any, y: Any, cell: float) -> NDArray[np.float64]:
    """``cell_deflection`` (5, point, cell) of every cell at every point."""
    return np.stack(cell_deflection(px[:, None] - x, py[:, None] - y, cell))


def _power_law(x: Any, y: Any, slope: float, radius: float, cell: float) -> NDArray[np.float64]:
    """(6, n): alpha_x, alpha_y, xx, xy, yy and kappa of the round power law of Einstein radius ``radius``."""
    s = np.maximum(x**2 + y**2, (0.5 * cell) ** 2)
    mean = (radius**2 / s) ** (0.5 * slope)
    turn = -slope * mean / s
    kappa = (1.0 - 0.5 * slope) * mean
    return np.stack([mean * x, mean * y, mean + turn * x**2, turn * x * y, mean + turn * y**2, kappa])


def _total(u: NDArray, base: NDArray, cells: NDArray, x: Any, y: Any) -> NDArray[np.float64]:
    """alpha_x, alpha_y, xx, xy, yy (5, n) of u = (kappa0 delta of the cells, b, gamma1, gamma2)."""
    b, g1, g2 = u[-3:]
    shear = np.stack([g1 * x + g2 * y, g2 * x - g1 * y, g1 + 0 * x, g2 + 0 * x, -g1 + 0 * x])
    return cells @ u[:-3] + b * base[:5] + shear


def _one_slope(
    images: LensedImages, lens: ClusterLensOptions, options: FreeFormOptions, slope: float, root: NDArray,
    grid: tuple[Any, Any, float], cells: NDArray, rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Draws (n_draws, cells + 3) of u, and the mean model's rms in the source plane."""
    px, py = images.x_arcsec, images.y_arcsec
    n, radius = len(px), float(np.hypot(px, py).mean())
    ratio = distance_ratio(images.z_lens, images.z_source, options=lens)
    ratio = ratio / distance_ratio(images.z_lens, lens.z_reference, options=lens)
    base, kappa0 = _power_law(px, py, slope, radius, 0.0), _power_law(*grid[:2], slope, radius, grid[2])[5]
    shear_x, shear_y = np.stack([px, py], axis=1), np.stack([-py, px], axis=1)
    # theta = beta + ratio H u: H (2n, cells + 3)
    design = np.concatenate(
        [np.hstack([cells[0], base[0][:, None], shear_x]), np.hstack([cells[1], base[1][:, None], shear_y])]
    ) * np.tile(ratio, 2)[:, None]  # fmt: skip
    same = (images.family[:, None] == images.family) * _FLAT_ARCSEC**2
    flat = np.kron(np.eye(2), same)
    widths = np.array([_AMPLITUDE_SIGMA, options.shear_sigma, options.shear_sigma])

    def prior(w: NDArray) -> NDArray:
        return np.vstack([kappa0[:, None] * (root @ w[:-3]), widths[:, None] * w[-3:]])

    left = np.hstack([(design[:, :-3] * kappa0) @ root, design[:, -3:] * widths])  # H C^1/2
    mean = np.zeros(design.shape[1])
    mean[-3] = 1.0
    best, err2 = mean, images.position_err_arcsec**2 + options.model_err_arcsec**2
    target = np.concatenate([px, py])
    for _ in range(options.iterations):
        noise = _source_noise(_total(best, base, cells, px, py), ratio, err2)
        solver = np.linalg.inv(left @ left.T + flat + noise)
        best = mean + prior((left.T @ (solver @ (target - design @ mean)))[:, None])[:, 0]
    w = rng.standard_normal((left.shape[1], options.n_draws))
    sources = np.linalg.cholesky(flat + 1e-9 * np.eye(2 * n)) @ rng.standard_normal((2 * n, options.n_draws))
    errors = np.linalg.cholesky(noise) @ rng.standard_normal((2 * n, options.n_draws))
    gap = (target - design @ mean)[:, None] - left @ w - sources - errors
    drawn = mean[:, None] + prior(w + left.T @ (solver @ gap))
    beta = (target - design @ best).reshape(2, n)
    off = [
        beta[:, images.family == name] - beta[:, images.family == name].mean(1, keepdims=True) for name in images.names
    ]
    return drawn.T, float(np.sqrt(sum((part**2).sum() for part in off) / n))


def _source_noise(maps: NDArray, ratio: NDArray, err2: NDArray) -> NDArray[np.float64]:
    """Covariance (2n, 2n) of source positions: err^2 (J J^T + a floor), J the images' Jacobians."""
    xx, xy, yy = 1.0 - ratio * maps[2], -ratio * maps[3], 1.0 - ratio * maps[4]
    floor = _LEAST_STRETCH**2
    diagonal_x, diagonal_y, cross = (
        err2 * (xx**2 + xy**2 + floor),
        err2 * (yy**2 + xy**2 + floor),
        err2 * xy * (xx + yy),
    )
    return np.block([[np.diag(diagonal_x), np.diag(cross)], [np.diag(cross), np.diag(diagonal_y)]])
