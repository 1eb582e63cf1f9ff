"""The compiled march in comoving wavelength. Private to ``transfer``, whose docstring holds the method.

Rays lie along one grid of cells, equal in -ln(1 - z/c), that a photon crosses at the rate at which its comoving
wavelength grows: a step of one bin moves all photons by one cell. They stay where they are in memory and the rays'
origin moves instead.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["group_bins", "march", "trace_rays"]


#: Narrowing of a border per zone's width in cells and line beyond the first in a bin: diffusion d / 6 against d / 6N.
_NARROWING = 1.5
#: Where photons that a border turned back stand in their zone, in half widths from its middle.
_TURNED_AT = np.float32(0.8)
_ONE, _NONE = np.float32(1.0), np.float32(0.0)


@njit(nogil=True, cache=True)
def trace_rays(ray_edges, shell_edges, light_speed, cell):  # pragma: no cover
    """Cut rays of an annulus each into cells and shells; lengths are velocities.

    ray_edges (r + 1,), shell_edges (s + 1,), the first being the core's surface; cell: cells' width in -c ln(1 - z/c).
    Returns area (n,), cells (n, 5): first static cell, number of cells, first segment, number of segments, core flag;
    exit (n,): the grid's cell behind the last; static (m, 2): 1 - z/c and radius of each cell; segments (g, 2):
    first cell and shell. Rays that meet the core are two: behind it, without a way out, and before it, fed by it.
    """
    n_rays, inner, outer = ray_edges.size - 1, shell_edges[0], shell_edges[-1]
    reach = 2 + math.ceil(-light_speed * math.log(1.0 - outer / light_speed) / cell)
    area, cells = np.empty(2 * n_rays), np.zeros((2 * n_rays, 5), dtype=np.int64)
    leaves = np.empty(2 * n_rays, dtype=np.int64)
    static = np.empty((2 * n_rays * 2 * reach, 2))
    segments = np.empty((2 * n_rays * 2 * reach, 2), dtype=np.int64)
    n, m, g = 0, 0, 0
    for ray in range(n_rays):
        impact2 = 0.5 * (ray_edges[ray] ** 2 + ray_edges[ray + 1] ** 2)
        open_ray, shell_before = False, np.int64(-1)
        for k in range(-reach, reach):
            z = light_speed * (1.0 - math.exp(-(k + 0.5) * cell / light_speed))
            radius = math.sqrt(impact2 + z * z)
            inside = inner <= radius < outer
            if inside:
                if not open_ray:
                    open_ray, shell_before = True, np.int64(-1)
                    area[n] = math.pi * (ray_edges[ray + 1] ** 2 - ray_edges[ray] ** 2)
                    cells[n, 0], cells[n, 2] = m, g
                    cells[n, 4] = 1 if impact2 < inner * inner and z > 0.0 else 0
                shell = np.searchsorted(shell_edges, radius, side="right") - 1
                if shell != shell_before:
                    segments[g, 0], segments[g, 1] = m - cells[n, 0], shell
                    shell_before = shell
                    g += 1
                static[m, 0], static[m, 1] = 1.0 - z / light_speed, radius
                m += 1
            if open_ray and not inside:
                open_ray = False
                cells[n, 1], cells[n, 3] = m - cells[n, 0], g - cells[n, 2]
                leaves[n] = k if z > 0.0 else -1
                n += 1
    return area[:n].copy(), cells[:n].copy(), leaves[:n].copy(), static[:m].copy(), segments[:g].copy()


@njit(nogil=True, cache=True)
def group_bins(depths, electron_depth, weak, longest):  # pragma: no cover
    """Events of a march (n, 3): first bin, number of bins, bin that stands for them: neighbours together while thin.

    depths (b, z) of the lines, electron_depth (z,) of one bin's electrons, weak: optical depth up to which bins are
    merged, longest: most bins of one event.
    """
    n_bins, n_zones = depths.shape
    events = np.empty((n_bins, 3), dtype=np.int64)
    held = np.zeros(n_zones)
    n, first = 0, 0
    while first < n_bins:
        last = first
        for z in range(n_zones):
            held[z] = depths[first, z] + electron_depth[z]
        while last + 1 < n_bins and last + 1 - first < longest:
            largest = 0.0
            for z in range(n_zones):
                held[z] += depths[last + 1, z] + electron_depth[z]
                largest = max(largest, held[z])
            if largest > weak:
                break
            last += 1
        events[n, 0], events[n, 1], events[n, 2] = first, last + 1 - first, (first + last) // 2
        n += 1
        first = last + 1
    return events[:n].copy()


@njit(nogil=True, cache=True, fastmath=True)
def march(rays, cells_of, crossings, shells, events, opacity, fed, energy, out):  # pragma: no cover
    """Carry the photons through all events; fill out (emergent (b + 2 longest + 4,), estimators (z, 2)).

    rays: area (n,), cells (n, 5), leaves (n,); cells_of: by ray (zone, stretch, stretch * position (m,)), by zone
    (place, area, area * position, area * stretch (m,), first of each zone (z + 1,)), and the width of a ray's row;
    crossings: of borders, by border: (place, length, area, zone before, side (g,), first of each border (z + 1,));
    a place is an index of the photons less the rays' origin. shells: path, spread, farthest (z,), sums over cells
    weighted by area, and width [cells]; events (n, 3); opacity: depths and crowds (b, z), electron_depth (z,); fed (b,)
    photons entering per bin and area; energy (b,) of a photon. emergent is counted by the observer's wavelength bin
    plus ``longest``, the most cells of a ray. Returns the photons that fell back on the core.
    """
    area, cells, leaves = rays
    by_ray, by_zone, width = cells_of
    emergent, estimators = out
    n_zones, longest = shells[0].size, cells[:, 1].max()
    spare = width - longest
    photons = np.zeros((area.size, width), dtype=np.float32)
    flat = photons.reshape(-1)
    sums, turned = np.zeros((n_zones, 3), dtype=np.float32), np.zeros((n_zones, 2), dtype=np.float32)
    passed, through = np.ones(n_zones, dtype=np.float32), np.ones(n_zones + 1, dtype=np.float32)
    level, slope = np.zeros(n_zones, dtype=np.float32), np.zeros(n_zones, dtype=np.float32)
    origin, now, fallen = spare, -1, 0.0
    for event in range(events.shape[0]):
        place = events[event, 2]
        move = place - now
        if move > origin:
            photons[:, spare : spare + longest] = photons[:, origin : origin + longest].copy()
            origin = spare
        _prepare(events[event], opacity, shells[3], passed, through)
        turned[:] = _NONE
        entering = fed[now + 1 : place + 1]
        for r in range(area.size):
            at = now + longest - leaves[r] if leaves[r] >= 0 else -1
            fallen += _advance(photons[r], origin, area[r], cells[r], entering, emergent, at, through[0], turned)
        origin, now = origin - move, place
        _narrow(flat, origin, move, crossings, through, turned)
        _gather(flat, origin, by_zone, sums)
        light = energy[place] * move
        for z in range(n_zones):
            _set_source(z, sums, turned, passed, shells, level, slope)
            travelled = (sums[z, 2] + turned[z, 0]) * light
            estimators[z, 0] += travelled
            estimators[z, 1] += travelled * energy[place]
        for r in range(area.size):
            _scatter(photons[r], origin, cells[r], by_ray, passed, level, slope)
    turned[:] = _NONE
    nothing = np.zeros(longest, dtype=np.float32)
    for r in range(area.size):
        at = now + longest - leaves[r] if leaves[r] >= 0 else -1
        fallen += _advance(photons[r], origin, area[r], cells[r], nothing, emergent, at, _ONE, turned)
    return fallen


@njit(nogil=True, cache=True)
def _prepare(event, opacity, width, passed, through):  # pragma: no cover
    """Shares that pass an event unscattered, by zone, and the shares that each border between zones lets through."""
    depths, crowds, electron_depth = opacity
    first, count = event[0], event[1]
    through[:] = _NONE
    for z in range(width.size):
        depth, crowd = count * electron_depth[z], _NONE
        for b in range(first, first + count):
            depth += depths[b, z]
            crowd += crowds[b, z]
        passed[z] = math.exp(-depth)
        half = np.float32(0.5 * _NARROWING * width[z] * max(crowd / count - 1.0, 0.0))
        through[z] += half
        through[z + 1] += half
    for border in range(through.size):
        through[border] = _ONE / (_ONE + through[border])


@njit(nogil=True, cache=True)
def _advance(row, origin, area, cells, entering, emergent, at, through, turned):  # pragma: no cover
    """Move the photons of a ray by ``entering``'s length: out at its end, in at its beginning if the core feeds it.

    at: where in ``emergent`` the ray's light of the present bin is counted, -1 for a ray that ends on the core.
    through: share that the core's surface lets pass. Returns the photons that end on the core.
    """
    n_cells, fallen = cells[1], 0.0
    for i in range(1, entering.size + 1):
        leaving = area * row[origin + n_cells - i]
        if at >= 0:
            emergent[at + i] += leaving
        else:
            back = leaving * (_ONE - through)
            turned[0, 0] += back
            turned[0, 1] -= back
            fallen += leaving - back
        row[origin - i] = _NONE
        if cells[4] == 1:
            row[origin - i] = entering[i - 1] * through
            fallen += area * entering[i - 1] * (_ONE - through)
    return fallen


@njit(nogil=True, cache=True, fastmath=True)
def _narrow(flat, origin, move, crossings, through, turned):  # pragma: no cover
    """Take those photons off their rays that the border which they crossed in this move does not let through; add them
    to turned (z, 2), number and side, of the zone where they came from.
    """
    place, length, area, before, side, first = crossings
    for border in range(1, first.size - 1):
        passes = through[border]
        if passes >= np.float32(0.999):
            continue
        for s in range(first[border], first[border + 1]):
            at, back = origin + place[s], _NONE
            for k in range(at, at + min(move, length[s])):
                back += flat[k]
                flat[k] *= passes
            back *= area[s] * (_ONE - passes)
            turned[before[s], 0] += back
            turned[before[s], 1] += side[s] * back


@njit(nogil=True, cache=True, fastmath=True)
def _gather(flat, origin, by_zone, sums):  # pragma: no cover
    """Sums (z, 3) over the photons of each zone: number, position and path. A zone's cells lie in one run of the
    tables, whatever ray they are of, so that the processor adds many at a time.
    """
    place, area, moment_of, path_of, first = by_zone
    here = flat[origin:]
    for z in range(first.size - 1):
        number, moment, travel = _NONE, _NONE, _NONE
        mine = slice(first[z], first[z + 1])
        places, areas, moments, paths = place[mine], area[mine], moment_of[mine], path_of[mine]
        for i in range(places.size):
            value = here[places[i]]
            number += value * areas[i]
            moment += value * moments[i]
            travel += value * paths[i]
        sums[z, 0], sums[z, 1], sums[z, 2] = number, moment, travel


@njit(nogil=True, cache=True)
def _set_source(z, sums, turned, passed, shells, level, slope):  # pragma: no cover
    """A zone's scattered light: level at its middle and slope, which keep number and mean radius, nowhere negative."""
    path, spread, farthest, _ = shells
    scattered = _ONE - passed[z]
    mean = (scattered * sums[z, 0] + turned[z, 0]) / path[z]
    lean = (scattered * sums[z, 1] + _TURNED_AT * turned[z, 1]) / spread[z]
    limit = mean / farthest[z]
    level[z], slope[z] = mean, min(max(lean, -limit), limit)


@njit(nogil=True, cache=True, fastmath=True)
def _scatter(row, origin, cells, by_ray, passed, level, slope):  # pragma: no cover
    """Leave the unscattered share of a ray's photons in place and add what its zones scatter into it."""
    zone, stretch, leaning = by_ray
    first = cells[0]
    here = row[origin : origin + cells[1]]
    zones, along, tilt = zone[first:], stretch[first:], leaning[first:]
    for k in range(here.size):
        z = zones[k]
        here[k] = here[k] * passed[z] + level[z] * along[k] + slope[z] * tilt[k]
