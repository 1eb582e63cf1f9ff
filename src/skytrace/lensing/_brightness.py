"""Compiled float32 light of a unit-flux source along traced rays, and the rule a cell needs. Private to rendering.

A source is a Sersic body with Gaussian clumps, or a stamp: a grid of surface brightness, interpolated bilinearly (its
integral over the plane is exactly the sum of its pixels). ``scene`` is (lens, source, clumps, stamp, roughness) of
one lens; the last two have no pixels unless the source is a stamp.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from skytrace.lensing._kernel_cache import follow_sources
from skytrace.lensing._tracing import FLOAT, MATH, exp2, log2, trace

__all__ = ["BLOCK", "ROUGHNESS_STEP", "SOURCE_COLUMNS", "brightness", "classify"]

#: Columns of ``source``: geometry, 1/Re (or 1/pixel of a stamp), ln of the central surface brightness, b, 1/n, the
#: softened core; the stamp's row and its pixels per arcsec^2.
SOURCE_COLUMNS = (
    "x", "y", "cos", "sin", "q", "inverse_re", "ln_center", "b", "inverse_n", "core2", "a0", "a1", "a2", "a3", "stamp",
    "amplitude",
)  # fmt: skip
#: Stamp pixels along a cell of the roughness map; each holds the largest second difference up to one cell away.
ROUGHNESS_STEP = 4
BLOCK = 256

_F = FLOAT
_LOG2E = _F(np.log2(np.e))


@njit(inline="always", error_model="numpy")
def _radius2(bx, by, sx, sy, cos, sin, q, inverse_re):
    """Squared elliptical radius in units of Re."""
    dx, dy = bx - sx, by - sy
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    return (q * u * u + v * v / q) * inverse_re * inverse_re


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _stamp_light(bx, by, m, source, stamp, out):
    """Bilinear surface brightness; the stamp has a border of zeros one pixel wide."""
    sx, sy, cos, sin, inverse, amplitude = source[0], source[1], source[2], source[3], source[5], source[15]
    rows, columns = stamp.shape
    middle_u, middle_v = _F(columns - 1) * _F(0.5), _F(rows - 1) * _F(0.5)
    last_u, last_v = _F(columns - 1), _F(rows - 1)
    flat = stamp.reshape(rows * columns)
    for i in range(m):
        dx, dy = (bx[i] - sx) * inverse, (by[i] - sy) * inverse
        u = min(max(cos * dx + sin * dy + middle_u, _F(0)), last_u)
        v = min(max(cos * dy - sin * dx + middle_v, _F(0)), last_v)
        column, row = min(np.int32(u), np.int32(columns - 2)), min(np.int32(v), np.int32(rows - 2))
        fu, fv = u - _F(column), v - _F(row)
        at = row * np.int32(columns) + column
        low = flat[at] + fu * (flat[at + 1] - flat[at])
        high = flat[at + columns] + fu * (flat[at + columns + 1] - flat[at + columns])
        out[i] = amplitude * (low + fv * (high - low))


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def brightness(x, y, ox, oy, m, scene, bx, by, stretch, out):
    """Surface brightness at (x + ox, y + oy) for m points; bx, by and stretch are work space."""
    lens, source, clumps, stamp, _ = scene
    trace(x, y, ox, oy, m, lens, bx, by, stretch)
    if stamp.shape[0] > 0:
        _stamp_light(bx, by, m, source, stamp, out)
        return
    sx, sy, sc, ss, sq, ire = source[0], source[1], source[2], source[3], source[4], source[5]
    log_center, slope, half = source[6] * _LOG2E, source[7] * _LOG2E, source[8] * _F(0.5)
    core2, a0, a1, a2, a3 = source[9], source[10], source[11], source[12], source[13]
    for i in range(m):
        rho2 = max(_radius2(bx[i], by[i], sx, sy, sc, ss, sq, ire), _F(1e-20))
        light = exp2(log_center - slope * exp2(half * log2(rho2)))
        t = rho2 / core2
        out[i] = light if t > _F(1) else ((a3 * t + a2) * t + a1) * t + a0
    for j in range(clumps.shape[0]):
        amplitude, px, py, inverse_sigma = clumps[j, 0], clumps[j, 1], clumps[j, 2], clumps[j, 3]
        for i in range(m):
            d2 = ((bx[i] - px) * (bx[i] - px) + (by[i] - py) * (by[i] - py)) * inverse_sigma * inverse_sigma
            out[i] += amplitude * exp2(_F(-0.5) * _LOG2E * d2)


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _classify_body(bx, by, stretch, m, size, source, tolerance, cls, value):
    """Rule and central surface brightness of cells on a Sersic body."""
    sx, sy, sc, ss, sq, ire = source[0], source[1], source[2], source[3], source[4], source[5]
    log_center, slope, half = source[6] * _LOG2E, source[7] * _LOG2E, source[8] * _F(0.5)
    core2, a0, a1, a2, a3 = source[9], source[10], source[11], source[12], source[13]
    b, inverse_n = source[7], source[8]
    flat = ire / np.sqrt(sq)
    for i in range(m):
        rho2 = max(_radius2(bx[i], by[i], sx, sy, sc, ss, sq, ire), _F(1e-20))
        power = exp2(half * log2(rho2))
        light = exp2(log_center - slope * power)
        t = rho2 / core2
        light = light if t > _F(1) else ((a3 * t + a2) * t + a1) * t + a0
        value[i] = light
        extent = size * flat * stretch[i]
        rho = np.sqrt(max(rho2, core2))
        nearest = max(rho - _F(0.72) * extent, np.sqrt(core2))
        near_power = exp2(inverse_n * log2(nearest))
        near_light = exp2(log_center - slope * near_power)
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


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _classify_clump(bx, by, stretch, m, size, clump, tolerance, cls, value):
    """Add a clump's light to ``value`` and raise ``cls`` where it needs more."""
    amplitude, px, py, inverse_sigma = clump[0], clump[1], clump[2], clump[3]
    for i in range(m):
        extent = size * inverse_sigma * stretch[i]
        d2 = ((bx[i] - px) * (bx[i] - px) + (by[i] - py) * (by[i] - py)) * inverse_sigma * inverse_sigma
        value[i] += amplitude * exp2(_F(-0.5) * _LOG2E * d2)
        near = max(np.sqrt(d2) - _F(0.72) * extent, _F(0))
        e = amplitude * exp2(_F(-0.5) * _LOG2E * near * near) / tolerance
        y2 = extent * extent * _F(2.5)
        y4 = y2 * y2
        c = _F(1)
        c += _F(1) if e * y2 * _F(0.0416667) > _F(1) else _F(0)
        c += _F(1) if e * y4 * _F(2.3e-4) > _F(1) else _F(0)
        c += _F(1) if e * y4 * y2 * _F(5e-7) > _F(1) else _F(0)
        c += _F(1) if e * y4 * y4 * y2 * _F(3.9e-13) > _F(1) else _F(0)
        cls[i] = max(cls[i], c)


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _classify_stamp(bx, by, stretch, m, size, source, roughness, columns, rows, tolerance, cls):
    """The rule whose spacing resolves what the stamp holds near the cell: a midpoint sum of step h errs by D h^2 / 24.

    D is the stamp's largest second difference nearby. From a step of some four pixels on, neighbouring nodes are
    unrelated and the error of their mean is that of one (D / 2 here) over the nodes' number along a side.
    """
    sx, sy, cos, sin, inverse, amplitude = source[0], source[1], source[2], source[3], source[5], source[15]
    middle_u, middle_v = _F(columns - 1) * _F(0.5), _F(rows - 1) * _F(0.5)
    largest = roughness[0, 0]
    reach = _F(ROUGHNESS_STEP)
    for i in range(m):
        extent = size * stretch[i] * inverse
        half = _F(0.72) * extent
        dx, dy = (bx[i] - sx) * inverse, (by[i] - sy) * inverse
        u, v = cos * dx + sin * dy + middle_u, cos * dy - sin * dx + middle_v
        cls[i] = _F(1)
        if u < -half or v < -half or u > _F(columns) + half or v > _F(rows) + half:
            continue
        bend = largest
        if half <= reach:
            column = min(max(np.int32(u / reach), 0), roughness.shape[1] - 2)
            row = min(max(np.int32(v / reach), 0), roughness.shape[0] - 2)
            bend = roughness[row + 1, column + 1]
        bend *= amplitude / tolerance
        step = extent
        for wanted in range(1, 7):
            nodes = _F(1)
            if wanted == 2 or wanted == 3:
                nodes = _F(wanted)
            elif wanted == 4:
                nodes = _F(5)
            elif wanted == 5:
                nodes = _F(15)
            elif wanted == 6:
                nodes = _F(27)
            cls[i] = _F(wanted)
            step = extent / nodes
            if bend * min(step * step * _F(0.0416667), _F(0.5) / nodes) <= _F(1):
                break


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def classify(x, y, m, size, scene, tolerance, cls, value):
    """Per cell of width ``size``: surface brightness at its centre (value) and the cheapest sufficient rule (cls)."""
    lens, source, clumps, stamp, roughness = scene
    bx, by, stretch = np.empty(BLOCK, _F), np.empty(BLOCK, _F), np.empty(BLOCK, _F)
    for start in range(0, m, BLOCK):
        count = min(BLOCK, m - start)
        part_cls, part_value = cls[start : start + count], value[start : start + count]
        trace(x[start:], y[start:], _F(0), _F(0), count, lens, bx, by, stretch)
        if stamp.shape[0] > 0:
            _stamp_light(bx, by, count, source, stamp, part_value)
            _classify_stamp(bx, by, stretch, count, size, source, roughness, stamp.shape[1], stamp.shape[0],
                            tolerance, part_cls)  # fmt: skip
        else:
            _classify_body(bx, by, stretch, count, size, source, tolerance, part_cls, part_value)
            for j in range(clumps.shape[0]):
                _classify_clump(bx, by, stretch, count, size, clumps[j], tolerance, part_cls, part_value)


follow_sources(globals())
