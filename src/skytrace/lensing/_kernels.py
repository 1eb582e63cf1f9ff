"""Compiled float32 kernel: the lensed light of a source of unit flux, integrated onto a fine grid. Private to
rendering.

Every lens is computed on its own, with loops whose lengths depend on that lens alone: a lens gives the same bits
alone, in any batch and on any thread. Where a cell of the image plane needs it, the light is integrated by
Gauss-Legendre rules of 2 x 2, 3 x 3 or 5 x 5 nodes, chosen from the textbook error term of each rule and one absolute
tolerance; a cell on a steep cusp is parted 5 x 5, each part takes a rule of its own or is parted again.
Nodes are deposited on the grid with three-point weights that keep the zeroth, first and second moments.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.polynomial.legendre import leggauss

from skytrace.lensing._brightness import BLOCK, SOURCE_COLUMNS, brightness, classify
from skytrace.lensing._kernel_cache import follow_sources
from skytrace.lensing._tracing import FLOAT, MATH

__all__ = ["RULE_OFFSETS", "RULE_STARTS", "RULE_WEIGHTS", "lensed_flux", "sample_light"]

_F = FLOAT
_STAMP = SOURCE_COLUMNS.index("stamp")
_PARTED = 5  # classes: 1 one node, 2: 2 x 2, 3: 3 x 3, 4: 5 x 5, from 5 on the cell is parted
_PARTS = 5
_LEVELS = 2  # a part of a part: 1/25 of half a pixel
_DEPOSIT = np.array([[0, -0.5, 0.5], [1, 0, -1], [0, 0.5, 0.5]], dtype=_F)  # powers of t of the three-point weights
_POINTS = 512  # points evaluated at a time
_LANES = 32  # numbers that a compiled loop takes at once, at most
_FAMILIES = 32  # cells parted at a time


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
    starts = np.cumsum([0, 0] + [len(offsets) for offsets, _ in found])
    offsets = np.concatenate([rule[0] for rule in found]).astype(_F)
    return offsets, np.concatenate([rule[1] for rule in found]).astype(_F), starts.astype(np.int64)


RULE_OFFSETS, RULE_WEIGHTS, RULE_STARTS = _rules()


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _integrate(x, y, m, size, first, last, offsets, weights, scene, nine):
    """Light of at most BLOCK cells of width ``size``, by nodes first..last: nine (9, BLOCK), as its 3 x 3 deposits.

    The nodes of several cells are evaluated together: whole vectors even where a rule has few cells.
    """
    px, py, bx, by = np.empty(_POINTS, _F), np.empty(_POINTS, _F), np.empty(_POINTS, _F), np.empty(_POINTS, _F)
    stretch, light = np.empty(_POINTS, _F), np.empty(_POINTS, _F)
    nodes, area = last - first, size * size
    together = _POINTS // nodes
    nine[:, :m] = _F(0)
    for start in range(0, m, together):
        count = min(together, m - start)
        used = count * nodes
        for k in range(nodes):
            dx, dy, at = offsets[first + k, 0] * size, offsets[first + k, 1] * size, k * count
            for i in range(count):
                px[at + i] = x[start + i] + dx
                py[at + i] = y[start + i] + dy
        whole = min(-(-used // _LANES) * _LANES, _POINTS)
        for i in range(used, whole):
            px[i], py[i] = px[used - 1], py[used - 1]
        brightness(px, py, _F(0), _F(0), whole, scene, bx, by, stretch, light)
        for k in range(nodes):
            at = k * count
            for d in range(9):
                wd = weights[first + k, d] * area
                for i in range(count):
                    nine[d, start + i] += wd * light[at + i]


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(nine, index, m, width, grid):
    """Add the 3 x 3 deposits of m cells."""
    for i in range(m):
        at = index[i]
        for d in range(3):
            row = at + (d - 1) * width
            grid[row - 1] += nine[3 * d, i]
            grid[row] += nine[3 * d + 1, i]
            grid[row + 1] += nine[3 * d + 2, i]


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _add_cells(x, y, index, m, size, first, last, offsets, weights, scene, width, grid):
    """Add the light of m cells of the flat ``grid`` of that width."""
    nine = np.empty((9, BLOCK), _F)
    for start in range(0, m, BLOCK):
        count = min(BLOCK, m - start)
        _integrate(x[start:], y[start:], count, size, first, last, offsets, weights, scene, nine)
        _scatter(nine, index[start:], count, width, grid)


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def _add_parts(x, y, index, ox, oy, m, size, share, first, last, offsets, weights, scene, width, grid):
    """Add the light of m parts of cells: (ox, oy) from the cell's centre and ``share`` wide, in units of the cell.

    A part's own 3 x 3 deposits lie at ox - share, ox, ox + share; each is deposited on the cell's 3 x 3 in turn, which
    is the same as depositing the nodes, the weights being quadratic in their place.
    """
    nine, along, deposits = np.empty((9, BLOCK), _F), np.empty((9, BLOCK), _F), np.empty((9, BLOCK), _F)
    for start in range(0, m, BLOCK):
        count = min(BLOCK, m - start)
        _integrate(x[start:], y[start:], count, size, first, last, offsets, weights, scene, nine)
        along[:, :count] = _F(0)
        deposits[:, :count] = _F(0)
        px, py = ox[start:], oy[start:]
        for d in range(9):
            for e in range(3):
                c0, c1, c2 = _DEPOSIT[e, 0], _DEPOSIT[e, 1], _DEPOSIT[e, 2]
                for i in range(count):
                    t = px[i] + share * _F(d % 3 - 1)
                    along[d - d % 3 + e, i] += (c0 + t * (c1 + t * c2)) * nine[d, i]
        for d in range(9):
            for e in range(3):
                c0, c1, c2 = _DEPOSIT[e, 0], _DEPOSIT[e, 1], _DEPOSIT[e, 2]
                for i in range(count):
                    t = py[i] + share * _F(d // 3 - 1)
                    deposits[3 * e + d % 3, i] += (c0 + t * (c1 + t * c2)) * along[d, i]
        _scatter(deposits, index[start:], count, width, grid)


@njit(cache=True, nogil=True, error_model="numpy")
def _split(cells, m, size, share, parts):
    """Fill ``parts`` with _PARTS x _PARTS parts of each of m ``cells`` of width ``size``: (x, y, index, ox, oy) both.

    share: the width of a part in units of the cell of the grid.
    """
    x, y, index, ox, oy = cells
    px, py, pindex, pox, poy = parts
    step, count = size / _F(_PARTS), 0
    for i in range(m):
        for row in range(_PARTS):
            v = _F(row) - _F(0.5 * (_PARTS - 1))
            for column in range(_PARTS):
                u = _F(column) - _F(0.5 * (_PARTS - 1))
                px[count], py[count], pindex[count] = x[i] + u * step, y[i] + v * step, index[i]
                pox[count], poy[count] = ox[i] + u * share, oy[i] + v * share
                count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _sort(cells, cls, m, out, bounds):
    """Copy m ``cells`` in the order of their classes: class c fills bounds[c] to bounds[c + 1]."""
    x, y, index, ox, oy = cells
    gx, gy, gindex, gox, goy = out
    bounds[:] = 0
    for i in range(m):
        bounds[min(np.int64(cls[i]), _PARTED) + 1] += 1  # type: ignore[operator]
    for c in range(_PARTED + 1):
        bounds[c + 1] += bounds[c]
    place = bounds.copy()
    for i in range(m):
        c = min(np.int64(cls[i]), _PARTED)  # type: ignore[assignment]
        at = place[c]
        place[c] = at + 1
        gx[at], gy[at], gindex[at], gox[at], goy[at] = x[i], y[i], index[i], ox[i], oy[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _from(cells, start):
    """The cells from ``start`` on."""
    x, y, index, ox, oy = cells
    return x[start:], y[start:], index[start:], ox[start:], oy[start:]


@njit(cache=True, nogil=True, error_model="numpy")
def _room(count):
    """Arrays for that many cells: x, y, index, and the place (ox, oy) inside a cell of the grid."""
    return np.empty(count, _F), np.empty(count, _F), np.empty(count, np.int64), np.zeros(count, _F), np.zeros(count, _F)


@njit(cache=True, nogil=True, error_model="numpy")
def _spend_parts(cells, m, size, share, level, scene, tolerance, rules, width, grid, work):
    """Add the light of ``m`` cells by their parts; the number and the cells of the parts that must be parted again.

    ``size`` is the width of a part, ``share`` the same in cells of the grid. On the last level nothing is left.
    """
    offsets, weights, starts = rules
    parts, chosen, bounds, cls, value = work
    count = _split(cells, m, size * _F(_PARTS), share, parts)
    classify(parts[0], parts[1], count, size, scene, tolerance, cls, value)
    if level == _LEVELS:
        for i in range(count):
            cls[i] = min(cls[i], _F(_PARTED - 1))
    _sort(parts, cls, count, chosen, bounds)
    for c in range(1, _PARTED):
        first, some = bounds[c], bounds[c + 1] - bounds[c]
        if some > 0:
            x, y, index, ox, oy = _from(chosen, first)
            _add_parts(x, y, index, ox, oy, some, size, share, starts[c], starts[c + 1], offsets, weights, scene,
                       width, grid)  # fmt: skip
    return bounds[_PARTED + 1] - bounds[_PARTED], _from(chosen, bounds[_PARTED])


@njit(cache=True, nogil=True, error_model="numpy")
def _spend(cells, m, size, scene, tolerance, rules, width, grid, work):
    """Add the light of m ``cells`` of the grid: by a rule where one suffices, else by parts, and these by parts again.

    tolerance: for a cell. A part may err 10 times as much, a part of a part 50 times: they are small and of either sign
    (measured: the errors of images do not grow).
    """
    offsets, weights, starts = rules
    chosen, bounds, cls, value, one, two = work
    classify(cells[0], cells[1], m, size, scene, tolerance, cls, value)
    area = size * size
    for i in range(m):
        if cls[i] == _F(1):
            grid[cells[2][i]] += area * value[i]
    _sort(cells, cls, m, chosen, bounds)
    for c in range(2, _PARTED):
        first, some = bounds[c], bounds[c + 1] - bounds[c]
        if some > 0:
            x, y, index, _, _ = _from(chosen, first)
            _add_cells(x, y, index, some, size, starts[c], starts[c + 1], offsets, weights, scene, width, grid)
    share = _F(1.0 / _PARTS)
    part, first, hard = size * share, bounds[_PARTED], bounds[_PARTED + 1] - bounds[_PARTED]
    for start in range(0, hard, _FAMILIES):
        few = min(_FAMILIES, hard - start)
        left, parts = _spend_parts(_from(chosen, first + start), few, part, share, 1, scene, tolerance * _F(10),
                                   rules, width, grid, one)  # fmt: skip
        for again in range(0, left, _FAMILIES):
            few = min(_FAMILIES, left - again)
            _spend_parts(_from(parts, again), few, part * share, share * share, _LEVELS, scene,
                         tolerance * _F(50), rules, width, grid, two)  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def _work(cells):
    """Work space of _spend for so many cells."""
    most, bounds = _FAMILIES * _PARTS * _PARTS, _PARTED + 2
    one = (_room(most), _room(most), np.empty(bounds, np.int64), np.empty(most, _F), np.empty(most, _F))
    two = (_room(most), _room(most), np.empty(bounds, np.int64), np.empty(most, _F), np.empty(most, _F))
    return _room(cells), np.empty(bounds, np.int64), np.empty(cells, _F), np.empty(cells, _F), one, two


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
    fine, work, rules = _room(4 * total), _work(4 * total), (offsets, weights, starts)
    fx, fy, findex = fine[0], fine[1], fine[2]
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
        _spend(fine, m, size, scene, tolerance[lens_index], rules, width, grid, work)


@njit(cache=True, nogil=True, error_model="numpy")
def lensed_flux(
    lens, source, clumps, stamps, roughness, tolerance, half_width, cells, hole, offsets, weights, starts, out
):
    """Lensed flux (n,) of unit-flux sources in boxes of +-half_width (n,) arcsec of cells x cells, less hole x hole."""
    n, total = len(lens), cells * cells
    x, y, cls, value = np.empty(total, _F), np.empty(total, _F), np.empty(total, _F), np.empty(total, _F)
    fine, work, rules = _room(4 * total), _work(4 * total), (offsets, weights, starts)
    fx, fy = fine[0], fine[1]
    fine[2][:] = 4
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
        grid[:] = _F(0)
        _spend(fine, m, size, scene, tolerance[lens_index], rules, 3, grid, work)
        for d in range(9):
            flux += np.float64(grid[d])
        out[lens_index] = flux


follow_sources(globals())
