"""Where a source must lie to be multiply imaged, or magnified enough, and uniform draws of positions inside.

For an SIE the outer boundary is the cut (the image of the lens centre: crossing it adds an image of zero
magnification) joined with the tangential caustic, whose cusps may reach beyond it (Kormann et al. 1994). Regions are
outlined about the mapped lens centre on a grid of directions; both curves are star-shaped about it.
A power law shallower than the SIE has a radial caustic in place of the cut. A steeper one gives every source a second
image, however faint: its region ends where that image is fainter than FAINTEST_IMAGE times the unlensed source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.errors import OptionError, check_between, check_choice

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.lensing.deflection import LensModel

__all__ = ["FAINTEST_IMAGE", "multiply_imaged_area", "point_images", "sample_source_positions", "source_region_area"]

#: Magnification below which the inner image of a lens steeper than the SIE is not counted as one.
FAINTEST_IMAGE = 0.01
_CURVE = 720
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
    minimum; it costs about 0.25 ms a lens). uniforms: (n, k >= 2) numbers in [0, 1), the first two columns are
    used; or rng draws them.
    theta_e_arcsec = 0 has no such region and gives the mapped centre. The magnification rule knows slope 2 only.
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

    _check_isothermal(lenses, "point_images")
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
        sloped = np.flatnonzero((np.asarray(lenses.gamma_epl) != 2.0) & (lenses.theta_e_arcsec > 0))
        if len(sloped):
            outlines = np.zeros((len(sloped), radii.shape[1]))
            _outlines.curve_radii(*_power_law_curves(lenses.take(sloped)), outlines)
            radii[sloped] = outlines
    else:
        _check_isothermal(lenses, "the magnification rule")
        _outlines.magnified_radii(*_shape(lenses), minimum_magnification, radii)  # type: ignore[call-arg]
    return radii


def _check_isothermal(lenses: LensModel, what: str) -> None:
    """Raise OptionError where a lens has another slope than 2: its images are not the roots that are counted here."""
    other = np.asarray(lenses.gamma_epl) != 2.0
    if other.any():
        slope = np.asarray(lenses.gamma_epl)[other][0]
        raise OptionError(f"{what} knows gamma_epl = 2 only, not {slope:g}; use the rule multiply_imaged")


def _power_law_curves(lenses: LensModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source-plane offsets x, y, each (n, 2, _CURVE), of the tangential caustic and of the outer end of two images.

    In direction phi the deflection is r^(1-t) a(phi), t = gamma_epl - 1, so the Jacobian is M - s B(phi) with
    s = r^-t, M = 1 - shear and B = (1 - t) a (x) e_r + a' (x) e_phi: its determinant is a quadratic in s. The smaller
    root is the tangential critical curve; the larger one the radial (t < 1); for t > 1 the place where the determinant
    is -1/FAINTEST_IMAGE takes its part.
    """
    from skytrace.lensing.power_law import epl_deflection

    angle = 2.0 * np.pi * np.arange(_CURVE) / _CURVE
    cos, sin = np.cos(angle), np.sin(angle)
    columns = (np.asarray(getattr(lenses, name))[:, None] for name in ("theta_e_arcsec", "q", "phi_rad", "gamma_epl"))
    a = np.stack(epl_deflection(cos, sin, *columns))  # (2, n, _CURVE), at unit distance
    wave = 1j * np.fft.rfftfreq(_CURVE, 1.0 / _CURVE)
    turned = np.fft.irfft(np.fft.rfft(a, axis=-1) * wave, n=_CURVE, axis=-1)
    g1, g2, slope = (np.asarray(getattr(lenses, name))[:, None] for name in ("gamma1", "gamma2", "gamma_epl"))
    t = slope - 1.0
    b11, b12 = (1 - t) * a[0] * cos - turned[0] * sin, (1 - t) * a[0] * sin + turned[0] * cos
    b21, b22 = (1 - t) * a[1] * cos - turned[1] * sin, (1 - t) * a[1] * sin + turned[1] * cos
    linear = (1 - g1) * b22 + (1 + g1) * b11 + g2 * (b12 + b21)
    square, constant = b11 * b22 - b12 * b21, 1.0 - g1**2 - g2**2

    def smaller_root(free: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2.0 * free / (linear + np.sqrt(np.maximum(linear**2 - 4.0 * square * free, 0.0)))

    tangential = smaller_root(constant)
    radial = (linear + np.sqrt(np.maximum(linear**2 - 4.0 * square * constant, 0.0))) / (2.0 * square)
    inner = np.where(t < 1.0, radial, smaller_root(constant + 1.0 / FAINTEST_IMAGE))
    radius = np.stack([tangential, inner], axis=1) ** (-1.0 / t[:, None])
    x, y = radius * cos, radius * sin
    pull = radius ** (1.0 - t[:, None])
    return (
        np.ascontiguousarray((1 - g1[:, None]) * x - g2[:, None] * y - pull * a[0][:, None]),
        np.ascontiguousarray((1 + g1[:, None]) * y - g2[:, None] * x - pull * a[1][:, None]),
    )


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
