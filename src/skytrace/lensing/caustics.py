"""Where a source must lie to be multiply imaged, or magnified enough, and uniform draws of positions inside.

For an SIE the outer boundary is the cut (the image of the lens centre: crossing it adds an image of zero
magnification) joined with the tangential caustic, whose cusps may reach beyond it (Kormann et al. 1994). Regions are
outlined about the mapped lens centre on a grid of directions; both curves are star-shaped about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, check_between, check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.lensing.deflection import LensModel

__all__ = ["multiply_imaged_area", "point_images", "sample_source_positions", "source_region_area"]

_RULES = ("multiply_imaged", "magnification")
_DIRECTIONS = {"multiply_imaged": 360, "magnification": 64}
_CHUNK = 4096


def multiply_imaged_area(lenses: LensModel) -> NDArray[np.float64]:
    """Area (n,) [arcsec^2] of the source plane with two or more images: inside the cut or the tangential caustic."""
    return source_region_area(lenses, rule="multiply_imaged")


def source_region_area(
    lenses: LensModel, *, rule: str = "multiply_imaged", minimum_magnification: float = 2.0
) -> NDArray[np.float64]:
    """Area (n,) [arcsec^2] of the region of ``rule``: "multiply_imaged", or "magnification" (total >= the minimum)."""
    areas = []
    for start in range(0, len(lenses), _CHUNK):
        radii = _outline(lenses.take(np.arange(start, min(start + _CHUNK, len(lenses)))), rule, minimum_magnification)
        areas.append(_sectors(radii).sum(axis=1))
    return np.concatenate(areas) if areas else np.zeros(0)


def sample_source_positions(
    lenses: LensModel,
    *,
    rule: str = "multiply_imaged",
    minimum_magnification: float = 2.0,
    uniforms: ArrayLike | None = None,
    rng: np.random.Generator | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One source position (x, y), each (n,) [arcsec] from the coordinate origin, uniform over the region of ``rule``.

    rule: "multiply_imaged" (two or more images), or "magnification" (total magnification of a point >= the
    minimum; it costs about a millisecond a lens). uniforms: (n, k >= 2) numbers in [0, 1), the first two columns are
    used; or rng draws them.
    theta_e_arcsec = 0 has no such region and gives the mapped centre.
    Raises OptionError for an unknown rule, for neither or both of uniforms and rng, and for uniforms of the wrong
    shape.
    """
    if (uniforms is None) == (rng is None):
        raise OptionError("sample_source_positions needs exactly one of uniforms (n, k >= 2) and rng")
    n = len(lenses)
    drawn = rng.random((n, 2)) if rng is not None else np.asarray(uniforms, dtype=np.float64)
    if drawn.ndim != 2 or len(drawn) != n or drawn.shape[1] < 2 or not ((drawn >= 0) & (drawn <= 1)).all():
        raise OptionError(f"uniforms of shape {drawn.shape} must be (n = {n}, k >= 2) numbers in [0, 1]")
    x, y = np.empty(n), np.empty(n)
    for start in range(0, n, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, n))
        part = lenses.take(rows)
        dx, dy = _inside(_outline(part, rule, minimum_magnification), drawn[rows, 0], drawn[rows, 1])
        center_x, center_y = mapped_center(part)
        x[rows], y[rows] = center_x + dx, center_y + dy
    return x, y


def mapped_center(lenses: LensModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source-plane position (n,), (n,) [arcsec] about which caustics are symmetric: the lens centre less its shear."""
    x, y = np.asarray(lenses.center_x_arcsec), np.asarray(lenses.center_y_arcsec)
    gamma1, gamma2 = np.asarray(lenses.gamma1), np.asarray(lenses.gamma2)
    return x - gamma1 * x - gamma2 * y, y - gamma2 * x + gamma1 * y


def point_images(lenses: LensModel, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Number of images (n,) and total magnification (n,) of one point source per lens, at (x, y) [arcsec]."""
    from skytrace.lensing import _outlines

    center_x, center_y = mapped_center(lenses)
    dx, dy = np.broadcast_to(x, len(lenses)) - center_x, np.broadcast_to(y, len(lenses)) - center_y
    counts, totals = np.zeros(len(lenses), dtype=np.int64), np.zeros(len(lenses))
    _outlines.point_images(dx, dy, *_shape(lenses), counts, totals)  # type: ignore[call-arg]
    return counts, totals


def _shape(lenses: LensModel) -> tuple:
    """The parameters that shape a lens about its centre."""
    return lenses.theta_e_arcsec, lenses.q, lenses.phi_rad, lenses.gamma1, lenses.gamma2


def _outline(lenses: LensModel, rule: str, minimum_magnification: float) -> NDArray[np.float64]:
    """Radii (n, directions) of the region of ``rule`` about the mapped centre."""
    from skytrace.lensing import _outlines

    check_choice("rule", rule, _RULES)
    check_between("minimum_magnification", minimum_magnification, 1.2, 100.0)
    radii = np.zeros((len(lenses), _DIRECTIONS[rule]))
    if rule == "multiply_imaged":
        _outlines.multiply_imaged_radii(*_shape(lenses), radii)  # type: ignore[call-arg]
    else:
        _outlines.magnified_radii(*_shape(lenses), minimum_magnification, radii)  # type: ignore[call-arg]
    return radii


def _sectors(radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (n, directions) of the triangles between neighbouring directions."""
    return 0.5 * np.sin(2.0 * np.pi / radii.shape[1]) * radii * np.roll(radii, -1, axis=1)


def _inside(
    radii: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Uniform points in the polygons: u picks the triangle and, with what is left of it, the side; v the depth."""
    n, directions = radii.shape
    cumulative = np.cumsum(_sectors(radii), axis=1)
    target = u * cumulative[:, -1]
    sector = np.minimum((cumulative <= target[:, None]).sum(axis=1), directions - 1)
    rows = np.arange(n)
    area = _sectors(radii)[rows, sector]
    before = cumulative[rows, sector] - area
    share = np.divide(target - before, area, out=np.zeros(n), where=area > 0)
    depth = np.sqrt(v)
    step = 2.0 * np.pi / directions
    near, far = radii[rows, sector], radii[rows, (sector + 1) % directions]
    first, second = depth * (1.0 - share) * near, depth * share * far
    angle = sector * step
    return first * np.cos(angle) + second * np.cos(angle + step), first * np.sin(angle) + second * np.sin(angle + step)
