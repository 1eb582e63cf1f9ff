"""Compiled float32 kernel: the lensed light of a source of unit flux, integrated onto a fine grid. Private to
rendering.

Every lens is computed on its own, with loops whose lengths depend on that lens alone: a lens gives the same bits
alone, in any batch and on any thread. Where a cell of the image plane needs it, the light is integrated by
Gauss-Legendre rules of 2 x 2, 3 x 3, 5 x 5, 15 x 15 or (on a steep cusp) 27 x 27 nodes, chosen from the textbook
error term of each rule and one absolute tolerance.
Numba's cache on disk does not see that a file imported here has changed: after editing _brightness.py or _tracing.py,
change this file too (or delete its cache).
Nodes are deposited on the grid with three-point weights that keep the zeroth, first and second moments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.polynomial.legendre import leggauss

from skytrace.lensing._brightness import BLOCK, SOURCE_COLUMNS, brightness, classify
from skytrace.lensing._tracing import FLOAT, MATH

__all__ = ["RULE_OFFSETS", "RULE_STARTS", "RULE_WEIGHTS", "lensed_flux", "sample_light"]

_F = FLOAT
_STAMP = SOURCE_COLUMNS.index("stamp")
_CLASSES = 7  # 1 one node, 2: 2 x 2, 3: 3 x 3, 4: 5 x 5, 5: 15 x 15 in 5 x 5 parts, 6: 27 x 27 in 9 x 9 parts


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


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _integrate(x, y, index, m, size, first, last, offsets, weights, scene, width, grid):
    """Add the light of m cells of width ``size``, by nodes first..last, to the flat ``grid`` of that width."""
    bx, by, stretch, light = np.empty(BLOCK, _F), np.empty(BLOCK, _F), np.empty(BLOCK, _F), np.empty(BLOCK, _F)
    nine = np.empty((9, BLOCK), _F)
    area = size * size
    for start in range(0, m, BLOCK):
        count = min(BLOCK, m - start)
        nine[:, :count] = _F(0)
        for k in range(first, last):
            brightness(x[start:], y[start:], offsets[k, 0] * size, offsets[k, 1] * size, count,
                       scene, bx, by, stretch, light)  # fmt: skip
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
def sample_light(
    lens, source, clumps, stamps, roughness, tolerance, pixels, origin, scale, offsets, weights, starts, out
):
    """Light of unit-flux sources on grids of half a pixel.

    lens (n, 32), source (n, 16), clumps (n, k, 4), stamps (s, rows, columns), roughness, tolerance (n,): float32.
    pixels: the box's width; its pixel (0, 0) is centred on (origin, origin) [arcsec]. out: (n, 2 pixels + 2,
    2 pixels + 2) float32, flux per half pixel, one cell of border.
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
        light = source[lens_index]
        row_of = np.int64(light[_STAMP])
        scene = (lens[lens_index], light, clumps[lens_index], stamps[row_of], roughness[row_of])
        classify(x, y, total, _F(scale), scene, tolerance[lens_index], cls, value)
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
        classify(fx, fy, m, size, scene, tolerance[lens_index], fcls, fvalue)
        for i in range(m):
            if fcls[i] == _F(1):
                grid[findex[i]] += quarter * fvalue[i]
        for wanted in range(2, _CLASSES):
            count = _gather(fx, fy, findex, fcls, m, _F(wanted), gx, gy, gindex)
            _integrate(gx, gy, gindex, count, size, starts[wanted], starts[wanted + 1], offsets, weights,
                       scene, width, grid)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def lensed_flux(
    lens, source, clumps, stamps, roughness, tolerance, half_width, cells, hole, offsets, weights, starts, out
):
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
        light = source[lens_index]
        row_of = np.int64(light[_STAMP])
        scene = (lens[lens_index], light, clumps[lens_index], stamps[row_of], roughness[row_of])
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
        classify(x, y, used, scale, scene, tolerance[lens_index], cls, value)
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
        classify(fx, fy, m, size, scene, tolerance[lens_index], fcls, fvalue)
        for i in range(m):
            if fcls[i] == _F(1):
                flux += np.float64(size * size * fvalue[i])
        for wanted in range(2, _CLASSES):
            grid[:] = _F(0)
            count = _gather(fx, fy, findex, fcls, m, _F(wanted), gx, gy, gindex)
            _integrate(gx, gy, gindex, count, size, starts[wanted], starts[wanted + 1], offsets, weights,
                       scene, 3, grid)  # fmt: skip
            for d in range(9):
                flux += np.float64(grid[d])
        out[lens_index] = flux
