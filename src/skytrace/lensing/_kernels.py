"""Compiled float32 kernel: the lensed light of a source of unit flux, integrated onto a fine grid. Private to
rendering.

Every lens is computed on its own, with loops whose lengths depend on that lens alone: a lens gives the same bits
alone, in any batch and on any thread. Where a cell of the image plane needs it, the light is integrated by
Gauss-Legendre rules of 2 x 2, 3 x 3, 5 x 5, 15 x 15 or (on a steep cusp) 27 x 27 nodes, chosen from the textbook
error term of each rule and one absolute tolerance.
Nodes are deposited on the grid with three-point weights that keep the zeroth, first and second moments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.polynomial import chebyshev
from numpy.polynomial.legendre import leggauss

from skytrace.lensing.deflection import MIN_AXIS_RATIO, regular_arccos

__all__ = ["LENS_COLUMNS", "SOURCE_COLUMNS", "lensed_flux", "sample_light"]

#: Columns of the kernel's ``lens`` argument.
LENS_COLUMNS = ("theta_e", "q", "cos", "sin", "x", "y", "gamma1", "gamma2")
#: Columns of ``source``: geometry, 1/Re, ln of the central surface brightness, b, 1/n and the softened core.
SOURCE_COLUMNS = (
    "x",
    "y",
    "cos",
    "sin",
    "q",
    "inverse_re",
    "ln_center",
    "b",
    "inverse_n",
    "core2",
    "a0",
    "a1",
    "a2",
    "a3",
)

_F = np.float32
_BLOCK = 256
_CLASSES = 7  # 1 one node, 2: 2 x 2, 3: 3 x 3, 4: 5 x 5, 5: 15 x 15 in 5 x 5 parts, 6: 27 x 27 in 9 x 9 parts


def _fit(function, low: float, high: float, degree: int) -> tuple:
    """Power-series coefficients, in t = (2 x - low - high)/(high - low), of the Chebyshev fit on [low, high]."""
    nodes = np.cos((np.arange(64) + 0.5) * np.pi / 64)
    series = chebyshev.chebfit(nodes, function((high + low) / 2 + (high - low) / 2 * nodes), degree)
    return tuple(_F(value) for value in chebyshev.cheb2poly(series))


_W = _fit(regular_arccos, MIN_AXIS_RATIO, 1.0, 7)  # 5e-8
_V = _fit(regular_arccos, 1.0, 1.0 / MIN_AXIS_RATIO, 10)  # 3e-7
_LOG2 = _fit(np.log2, 1.0, 2.0, 8)  # 5e-8
_EXP2 = _fit(np.exp2, -0.5, 0.5, 6)  # 2e-9
_W_SCALE, _W_SHIFT = _F(2 / (1 - MIN_AXIS_RATIO)), _F((1 + MIN_AXIS_RATIO) / (1 - MIN_AXIS_RATIO))
_V_SCALE = _F(2 / (1 / MIN_AXIS_RATIO - 1))
_V_SHIFT = _F((1 / MIN_AXIS_RATIO + 1) / (1 / MIN_AXIS_RATIO - 1))
_LOG2E = _F(np.log2(np.e))
_MATH = {"contract", "nsz", "arcp", "nnan", "ninf"}


@njit(inline="always", error_model="numpy")
def _log2(x):
    """log2 of a positive normal float32."""
    bits = np.float32(x).view(np.int32)
    exponent = np.float32((bits >> np.int32(23)) - np.int32(127))
    mantissa = np.int32((bits & np.int32(0x007FFFFF)) | np.int32(0x3F800000)).view(np.float32)
    t = _F(2) * mantissa - _F(3)
    p = _LOG2[8]
    p = p * t + _LOG2[7]
    p = p * t + _LOG2[6]
    p = p * t + _LOG2[5]
    p = p * t + _LOG2[4]
    p = p * t + _LOG2[3]
    p = p * t + _LOG2[2]
    p = p * t + _LOG2[1]
    p = p * t + _LOG2[0]
    return exponent + p


@njit(inline="always", error_model="numpy")
def _exp2(x):
    """2^x, 0 below 2^-120; x at most 120."""
    inside = max(x, _F(-120))
    inside = min(inside, _F(120))
    shifted = inside + _F(127.5)
    whole = np.int32(shifted)
    t = (inside - np.float32(whole - np.int32(127))) * _F(2)
    p = _EXP2[6]
    p = p * t + _EXP2[5]
    p = p * t + _EXP2[4]
    p = p * t + _EXP2[3]
    p = p * t + _EXP2[2]
    p = p * t + _EXP2[1]
    p = p * t + _EXP2[0]
    power = np.int32(whole << np.int32(23)).view(np.float32)
    return p * power


@njit(inline="always", error_model="numpy")
def _shoot(x, y, te, q, cos, sin, cx, cy, g1, g2):
    """Source position of (x, y), and twice the convergence there."""
    dx, dy = x - cx, y - cy
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    inverse = _F(1) / np.sqrt(along * along + across * across + _F(1e-12))
    c, s = along * inverse, across * inverse
    w = np.sqrt(q * q * c * c + s * s + _F(1e-12))
    sq = np.sqrt(q)
    iq = _F(1) / q
    t = w * _W_SCALE - _W_SHIFT
    a = _W[7]
    a = a * t + _W[6]
    a = a * t + _W[5]
    a = a * t + _W[4]
    a = a * t + _W[3]
    a = a * t + _W[2]
    a = a * t + _W[1]
    a = a * t + _W[0]
    t = w * iq * _V_SCALE - _V_SHIFT
    b = _V[10]
    b = b * t + _V[9]
    b = b * t + _V[8]
    b = b * t + _V[7]
    b = b * t + _V[6]
    b = b * t + _V[5]
    b = b * t + _V[4]
    b = b * t + _V[3]
    b = b * t + _V[2]
    b = b * t + _V[1]
    b = b * t + _V[0]
    ax, ay = te * sq * c * a, te * sq * s * iq * b
    bx = x - (cos * ax - sin * ay) - (g1 * x + g2 * y)
    by = y - (sin * ax + cos * ay) - (g2 * x - g1 * y)
    return bx, by, min(te * sq * inverse / w, _F(100))


@njit(inline="always", error_model="numpy")
def _radius2(bx, by, sx, sy, cos, sin, q, inverse_re):
    """Squared elliptical radius in units of Re."""
    dx, dy = bx - sx, by - sy
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    return (q * u * u + v * v / q) * inverse_re * inverse_re


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _classify(x, y, m, size, lens, source, clumps, tolerance, cls, value):
    """Per cell of width ``size``: surface brightness at its centre (value) and the cheapest sufficient rule (cls)."""
    te, q, cos, sin, cx, cy, g1, g2 = (
        lens[0], lens[1], lens[2], lens[3], lens[4], lens[5], lens[6], lens[7])  # fmt: skip
    sx, sy, sc, ss, sq, ire = source[0], source[1], source[2], source[3], source[4], source[5]
    log_center, slope, half = source[6] * _LOG2E, source[7] * _LOG2E, source[8] * _F(0.5)
    core2, a0, a1, a2, a3 = source[9], source[10], source[11], source[12], source[13]
    b, inverse_n = source[7], source[8]
    flat = ire / np.sqrt(sq)
    shear = _F(1) + np.sqrt(g1 * g1 + g2 * g2)
    for i in range(m):
        bx, by, kappa2 = _shoot(x[i], y[i], te, q, cos, sin, cx, cy, g1, g2)
        rho2 = max(_radius2(bx, by, sx, sy, sc, ss, sq, ire), _F(1e-20))
        power = _exp2(half * _log2(rho2))
        light = _exp2(log_center - slope * power)
        t = rho2 / core2
        light = light if t > _F(1) else ((a3 * t + a2) * t + a1) * t + a0
        value[i] = light
        extent = size * flat * max(shear, kappa2 - _F(2) + shear)
        rho = np.sqrt(max(rho2, core2))
        nearest = max(rho - _F(0.72) * extent, np.sqrt(core2))
        near_power = _exp2(inverse_n * _log2(nearest))
        near_light = _exp2(log_center - slope * near_power)
        y1 = extent * max(b * inverse_n * near_power, _F(1)) / nearest
        y2 = y1 * y1
        y4 = y2 * y2
        e = near_light / tolerance
        c = _F(1)
        c += _F(1) if e * y2 * _F(0.0416667) > _F(1) else _F(0)
        c += _F(1) if e * y4 * _F(2.3e-4) > _F(1) else _F(0)
        c += _F(1) if e * y4 * y2 * _F(5e-7) > _F(1) else _F(0)
        c += _F(1) if (e * y4 * y4 * y2 * _F(3.9e-13) > _F(1)) and (y2 > _F(25)) else _F(0)
        c += _F(1) if (nearest <= _F(1.001) * np.sqrt(core2)) and (c > _F(4)) and (inverse_n < _F(0.45)) else _F(0)
        cls[i] = c
    for j in range(clumps.shape[0]):
        amplitude, px, py, inverse_sigma = clumps[j, 0], clumps[j, 1], clumps[j, 2], clumps[j, 3]
        for i in range(m):
            bx, by, kappa2 = _shoot(x[i], y[i], te, q, cos, sin, cx, cy, g1, g2)
            extent = size * inverse_sigma * max(shear, kappa2 - _F(2) + shear)
            d2 = ((bx - px) * (bx - px) + (by - py) * (by - py)) * inverse_sigma * inverse_sigma
            value[i] += amplitude * _exp2(_F(-0.5) * _LOG2E * d2)
            near = max(np.sqrt(d2) - _F(0.72) * extent, _F(0))
            e = amplitude * _exp2(_F(-0.5) * _LOG2E * near * near) / tolerance
            y2 = extent * extent * _F(2.5)
            y4 = y2 * y2
            c = _F(1)
            c += _F(1) if e * y2 * _F(0.0416667) > _F(1) else _F(0)
            c += _F(1) if e * y4 * _F(2.3e-4) > _F(1) else _F(0)
            c += _F(1) if e * y4 * y2 * _F(5e-7) > _F(1) else _F(0)
            c += _F(1) if e * y4 * y4 * y2 * _F(3.9e-13) > _F(1) else _F(0)
            cls[i] = max(cls[i], c)


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _brightness(x, y, ox, oy, m, lens, source, clumps, bx, by, out):
    """Surface brightness at (x + ox, y + oy) for m points."""
    te, q, cos, sin, cx, cy, g1, g2 = (
        lens[0], lens[1], lens[2], lens[3], lens[4], lens[5], lens[6], lens[7])  # fmt: skip
    sx, sy, sc, ss, sq, ire = source[0], source[1], source[2], source[3], source[4], source[5]
    log_center, slope, half = source[6] * _LOG2E, source[7] * _LOG2E, source[8] * _F(0.5)
    core2, a0, a1, a2, a3 = source[9], source[10], source[11], source[12], source[13]
    for i in range(m):
        px, py, _ = _shoot(x[i] + ox, y[i] + oy, te, q, cos, sin, cx, cy, g1, g2)
        bx[i] = px
        by[i] = py
        rho2 = max(_radius2(px, py, sx, sy, sc, ss, sq, ire), _F(1e-20))
        light = _exp2(log_center - slope * _exp2(half * _log2(rho2)))
        t = rho2 / core2
        out[i] = light if t > _F(1) else ((a3 * t + a2) * t + a1) * t + a0
    for j in range(clumps.shape[0]):
        amplitude, px, py, inverse_sigma = clumps[j, 0], clumps[j, 1], clumps[j, 2], clumps[j, 3]
        for i in range(m):
            d2 = ((bx[i] - px) * (bx[i] - px) + (by[i] - py) * (by[i] - py)) * inverse_sigma * inverse_sigma
            out[i] += amplitude * _exp2(_F(-0.5) * _LOG2E * d2)


def _rule(nodes: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Square rule on a unit cell: offsets (k, 2), and (k, 9) weights times the three-point deposit polynomials."""
    ox, oy = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
    weight = np.outer(weights, weights).ravel()
    deposit = [np.stack([t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2]) for t in (ox, oy)]
    nine = (weight * deposit[1][:, None] * deposit[0][None]).reshape(9, -1).T
    return np.stack([ox, oy], axis=1), nine


def _rules() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rules, joined: offsets, deposit weights, and where each class starts."""
    found = []
    for order in (1, 2, 3, 5):
        nodes, weights = leggauss(order)
        found.append(_rule(nodes / 2, weights / 2))
    nodes, weights = leggauss(3)
    for parts in (5, 9):
        steps = (np.arange(parts) - (parts - 1) / 2) / parts
        found.append(_rule((steps[:, None] + nodes / (2 * parts)).ravel(), np.tile(weights / (2 * parts), parts)))
    starts = np.cumsum([0, 0] + [len(offsets) for offsets, _ in found])
    offsets = np.concatenate([rule[0] for rule in found]).astype(_F)
    return offsets, np.concatenate([rule[1] for rule in found]).astype(_F), starts.astype(np.int64)


RULE_OFFSETS, RULE_WEIGHTS, RULE_STARTS = _rules()


@njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")
def _integrate(x, y, index, m, size, first, last, offsets, weights, lens, source, clumps, width, grid):
    """Add the light of m cells of width ``size``, by nodes first..last, to the flat ``grid`` of that width."""
    bx, by, light = np.empty(_BLOCK, _F), np.empty(_BLOCK, _F), np.empty(_BLOCK, _F)
    nine = np.empty((9, _BLOCK), _F)
    area = size * size
    for start in range(0, m, _BLOCK):
        count = min(_BLOCK, m - start)
        nine[:, :count] = _F(0)
        for k in range(first, last):
            _brightness(x[start:], y[start:], offsets[k, 0] * size, offsets[k, 1] * size, count,
                        lens, source, clumps, bx, by, light)  # fmt: skip
            for d in range(9):
                wd = weights[k, d] * area
                for i in range(count):
                    nine[d, i] += wd * light[i]
        for i in range(count):
            at = index[start + i]
            for d in range(3):
                row = at + (d - 1) * width
                grid[row - 1] += nine[3 * d, i]
                grid[row] += nine[3 * d + 1, i]
                grid[row + 1] += nine[3 * d + 2, i]


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(x, y, index, cls, m, wanted, gx, gy, gindex):
    """Copy the cells of one class together; their number."""
    count = 0
    for i in range(m):
        if cls[i] == wanted:
            gx[count] = x[i]
            gy[count] = y[i]
            gindex[count] = index[i]
            count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def sample_light(lens, source, clumps, tolerance, pixels, origin, scale, offsets, weights, starts, out):
    """Light of unit-flux sources on grids of half a pixel.

    lens (n, 8), source (n, 14), clumps (n, k, 4), tolerance (n,): float32. pixels: the box's width; its pixel (0, 0) is
    centred on (origin, origin) [arcsec]. out: (n, 2 pixels + 2, 2 pixels + 2) float32, flux per half pixel, one cell
    of border.
    """
    n, width, size = len(lens), 2 * pixels + 2, _F(scale) * _F(0.5)
    total = pixels * pixels
    x, y, cls, value = np.empty(total, _F), np.empty(total, _F), np.empty(total, _F), np.empty(total, _F)
    index = np.empty(total, np.int64)
    for row in range(pixels):
        for column in range(pixels):
            x[row * pixels + column] = origin + column * scale
            y[row * pixels + column] = origin + row * scale
            index[row * pixels + column] = (2 * row + 1) * width + 2 * column + 1
    fx, fy, fcls, fvalue = (
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
    )
    findex = np.empty(4 * total, np.int64)
    gx, gy, gindex = np.empty(4 * total, _F), np.empty(4 * total, _F), np.empty(4 * total, np.int64)
    quarter = size * size
    for lens_index in range(n):
        grid = out[lens_index].reshape(width * width)
        grid[:] = _F(0)
        one, light, extra = lens[lens_index], source[lens_index], clumps[lens_index]
        _classify(x, y, total, _F(scale), one, light, extra, tolerance[lens_index], cls, value)
        m = 0
        for i in range(total):
            at = index[i]
            if cls[i] == _F(1):
                flux = quarter * value[i]
                grid[at] = flux
                grid[at + 1] = flux
                grid[at + width] = flux
                grid[at + width + 1] = flux
            else:
                for k in range(4):
                    fx[m] = x[i] + (_F(k % 2) - _F(0.5)) * size
                    fy[m] = y[i] + (_F(k // 2) - _F(0.5)) * size
                    findex[m] = at + (k % 2) + (k // 2) * width
                    m += 1
        _classify(fx, fy, m, size, one, light, extra, tolerance[lens_index], fcls, fvalue)
        for i in range(m):
            if fcls[i] == _F(1):
                grid[findex[i]] += quarter * fvalue[i]
        for wanted in range(2, _CLASSES):
            count = _gather(fx, fy, findex, fcls, m, _F(wanted), gx, gy, gindex)
            _integrate(gx, gy, gindex, count, size, starts[wanted], starts[wanted + 1], offsets, weights,
                       one, light, extra, width, grid)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def lensed_flux(lens, source, clumps, tolerance, half_width, cells, hole, offsets, weights, starts, out):
    """Lensed flux (n,) of unit-flux sources in boxes of +-half_width (n,) arcsec of cells x cells, less hole x hole."""
    n, total = len(lens), cells * cells
    x, y, cls, value = np.empty(total, _F), np.empty(total, _F), np.empty(total, _F), np.empty(total, _F)
    fx, fy, fcls, fvalue = (
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
        np.empty(4 * total, _F),
    )
    findex = np.full(4 * total, 4, np.int64)
    gx, gy, gindex = np.empty(4 * total, _F), np.empty(4 * total, _F), np.empty(4 * total, np.int64)
    grid = np.empty(9, _F)
    for lens_index in range(n):
        one, light, extra = lens[lens_index], source[lens_index], clumps[lens_index]
        scale = _F(2) * half_width[lens_index] / _F(cells)
        size = scale * _F(0.5)
        first, last = (cells - hole) // 2, (cells + hole) // 2
        used = 0
        for row in range(cells):
            for column in range(cells):
                if not (first <= row < last and first <= column < last):
                    x[used] = (_F(column) + _F(0.5)) * scale - half_width[lens_index]
                    y[used] = (_F(row) + _F(0.5)) * scale - half_width[lens_index]
                    used += 1
        _classify(x, y, used, scale, one, light, extra, tolerance[lens_index], cls, value)
        flux = 0.0
        m = 0
        for i in range(used):
            if cls[i] == _F(1):
                flux += np.float64(scale * scale * value[i])
            else:
                for k in range(4):
                    fx[m] = x[i] + (_F(k % 2) - _F(0.5)) * size
                    fy[m] = y[i] + (_F(k // 2) - _F(0.5)) * size
                    m += 1
        _classify(fx, fy, m, size, one, light, extra, tolerance[lens_index], fcls, fvalue)
        for i in range(m):
            if fcls[i] == _F(1):
                flux += np.float64(size * size * fvalue[i])
        for wanted in range(2, _CLASSES):
            grid[:] = _F(0)
            count = _gather(fx, fy, findex, fcls, m, _F(wanted), gx, gy, gindex)
            _integrate(gx, gy, gindex, count, size, starts[wanted], starts[wanted + 1], offsets, weights,
                       one, light, extra, 3, grid)  # fmt: skip
            for d in range(9):
                flux += np.float64(grid[d])
        out[lens_index] = flux
