"""The compiled inner loops of ``imaging.quality``: one plane (a band of a cutout) at a time, in cache.

Imported only by functions that measure. Sums run in one order in float64 and order statistics are exact, so that a
plane's numbers do not depend on its batch. No reassociation, hence no ``fastmath``.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["PLANE_COLUMNS", "measure_planes", "set_bit_shares"]

#: What ``measure_planes`` returns for a plane, in this order. DoG energies and the asymmetry are in image units.
PLANE_COLUMNS = (
    "nan_fraction", "nan_fraction_centre", "nan_fraction_core", "core_zero_invvar", "band_present", "edge_score",
    "percentile_1", "percentile_50", "percentile_99",
    "core_flux_4", "core_flux_8", "core_flux_12", "annulus_4_16", "annulus_16_28", "radial_gradient",
    "dog_core", "dog_annulus", "asymmetry",
)  # fmt: skip

_SHIFT = np.uint32(19)  # sign, exponent and the first 4 bits of the mantissa: 8192 buckets
_BUCKETS = 1 << 13
_SIGN = np.uint32(0x80000000)


@numba.njit(nogil=True, cache=True)
def measure_planes(image, invvar, pivot, size, frame_px, core, apertures, rings, dog):  # pragma: no cover
    """(plane, PLANE_COLUMNS) float64 of planes image, invvar (plane, size * size) float32; pivot (plane,): background.

    core: flat pixels r <= 8. apertures: (first (6,), pixel, weight), five softened apertures one after another.
    rings: (pixel, ring, in_annulus) of the 1 px rings 0-16. dog: (taps of sigma 1 and 2, in_core, in_annulus (33, 33)).
    """
    out = np.empty((image.shape[0], 18))
    n = image.shape[1]
    good, value = np.empty(n, dtype=np.uint8), np.empty(n, dtype=np.float32)
    bucket, slot_of = np.empty(n, dtype=np.uint16), np.zeros(_BUCKETS + 1, dtype=np.uint8)
    count, drawn = np.empty(_BUCKETS + 1, dtype=np.int32), np.empty((6, n), dtype=np.float32)
    for p in range(image.shape[0]):
        pixels, weights, row = image[p], invvar[p], out[p]
        n_good = _subtract(pixels, weights, pivot[p], good, value)
        _gaps(pixels, good, n_good, size, frame_px, core, row)
        _percentiles(pixels, good, n_good, value, bucket, count, slot_of, drawn, row)
        _apertures(good, value, apertures, row)
        _rings(good, value, rings, row)
        _difference_of_gaussians(value, size, dog, row)
    return out


@numba.njit(nogil=True, cache=True)
def _subtract(pixels, weights, pivot, good, value):  # pragma: no cover
    """Which pixels carry data, and their brightness above the background (0 without data); how many do."""
    n_good = 0
    for i in range(pixels.size):
        has = (abs(pixels[i]) < np.inf) & (weights[i] > 0.0)
        good[i] = has
        value[i] = np.float32(pixels[i] - pivot) if has else np.float32(0.0)
        n_good += has
    return n_good


@numba.njit(nogil=True, cache=True)
def _gaps(pixels, good, n_good, size, frame_px, core, row):  # pragma: no cover
    row[:6] = 0.0
    row[4] = n_good > 0
    if n_good == pixels.size:
        return
    row[0] = 1.0 - n_good / pixels.size
    centre = 0
    for y in range(size // 2 - 25, size // 2 + 25):
        for x in range(size // 2 - 25, size // 2 + 25):
            centre += good[y * size + x]
    inside = 0
    for y in range(frame_px, size - frame_px):
        for x in range(frame_px, size - frame_px):
            inside += good[y * size + x]
    in_core, weightless = 0, 0
    for i in core:
        in_core += good[i]
        weightless += (good[i] == 0) & (abs(pixels[i]) < np.inf)
    n_inside = (size - 2 * frame_px) ** 2
    row[1] = 1.0 - centre / 2500.0
    row[2], row[3] = 1.0 - in_core / core.size, weightless / core.size
    row[5] = inside / n_inside - (n_good - inside) / (pixels.size - n_inside)


@numba.njit(nogil=True, cache=True)
def _percentiles(pixels, good, n_good, value, bucket, count, slot_of, drawn, row):  # pragma: no cover
    """Exact percentiles 1, 50, 99, linear between ranks.

    Pixels are counted by the leading bits of their brightness above the background: buckets are narrow where pixels are
    many. Subtraction and bits keep the order, so only the buckets that hold a wanted rank are sorted.
    """
    if n_good == 0:
        row[6:9] = np.nan
        return
    count[:] = 0
    bits = value.view(np.uint32)
    for i in range(pixels.size):
        ordered = ~bits[i] if bits[i] & _SIGN else bits[i] | _SIGN
        bucket[i] = (ordered >> _SHIFT) if good[i] else _BUCKETS
    for i in range(pixels.size):
        count[bucket[i]] += 1
    rank, wanted = np.empty(3), np.empty(6, dtype=np.int64)
    for k, percent in enumerate((1, 50, 99)):
        rank[k] = 0.01 * percent * (n_good - 1)
        wanted[2 * k] = int(np.floor(rank[k]))
        wanted[2 * k + 1] = min(wanted[2 * k] + 1, n_good - 1)
    # low ranks of a percentile, then its high: never decreasing, but for samples of a few pixels
    order = np.argsort(wanted)
    place, below, slots = -1, 0, 0
    first, slot = np.empty(6, dtype=np.int64), np.empty(6, dtype=np.int64)
    chosen, filled = np.empty(6, dtype=np.int64), np.zeros(6, dtype=np.int64)
    for j in order:
        while wanted[j] >= below:
            place += 1
            below += count[place]
        if slots == 0 or chosen[slots - 1] != place:
            chosen[slots] = place
            slots += 1
            slot_of[place] = slots
        slot[j], first[j] = slots - 1, below - count[place]
    for i in range(pixels.size):
        s = slot_of[bucket[i]]
        if s:
            drawn[s - 1, filled[s - 1]] = pixels[i]
            filled[s - 1] += 1
    for s in range(slots):
        slot_of[chosen[s]] = 0
        drawn[s, : filled[s]].sort()
    for k in range(3):
        low = np.float64(drawn[slot[2 * k], wanted[2 * k] - first[2 * k]])
        high = np.float64(drawn[slot[2 * k + 1], wanted[2 * k + 1] - first[2 * k + 1]])
        row[6 + k] = low + (rank[k] - wanted[2 * k]) * (high - low)


@numba.njit(nogil=True, cache=True)
def _apertures(good, value, apertures, row):  # pragma: no cover
    """Sums of the three discs and means of the two annuli; NaN without data."""
    first, pixel, weight = apertures
    for a in range(5):
        total, area = 0.0, 0.0
        for j in range(first[a], first[a + 1]):
            total += weight[j] * value[pixel[j]]
            area += weight[j] * good[pixel[j]]
        row[9 + a] = (total if a < 3 else total / area) if area > 0.0 else np.nan


@numba.njit(nogil=True, cache=True)
def _rings(good, value, rings, row):  # pragma: no cover
    """The radial gradient, and the rms about the radial profile in the annulus."""
    pixel, ring, in_annulus = rings
    total, members = np.zeros(17), np.zeros(17)
    for j in range(pixel.size):
        total[ring[j]] += value[pixel[j]]
        members[ring[j]] += good[pixel[j]]
    inner, outer = members[:4].sum(), members[8:12].sum()
    row[14] = np.nan
    if inner > 0 and outer > 0:
        row[14] = (total[:4].sum() / inner - total[8:12].sum() / outer) / 8.0
    square, n_used = 0.0, 0
    for j in range(pixel.size):
        if in_annulus[j] and good[pixel[j]]:
            residual = value[pixel[j]] - total[ring[j]] / members[ring[j]]
            square += residual * residual
            n_used += 1
    row[17] = np.sqrt(square / max(n_used, 1))


@numba.njit(nogil=True, cache=True)
def _difference_of_gaussians(value, size, dog, row):  # pragma: no cover
    """Mean squares in core and annulus of the 33 x 33 pixels that the annulus needs; 49 x 49 go in."""
    narrow, wide, in_core, in_annulus = dog
    corner = size // 2 - 24
    blurred = np.zeros((2, 49, 33))
    for y in range(49):
        line = value[(corner + y) * size + corner : (corner + y) * size + corner + 49]
        for k in range(17):
            for x in range(33):
                blurred[1, y, x] += wide[k] * line[x + k]
        for k in range(9):
            for x in range(33):
                blurred[0, y, x] += narrow[k] * line[x + k + 4]
    core, annulus, n_core, n_annulus = 0.0, 0.0, 0, 0
    difference = np.empty(33)
    for y in range(33):
        difference[:] = 0.0
        for k in range(9):
            for x in range(33):
                difference[x] += narrow[k] * blurred[0, y + k + 4, x]
        for k in range(17):
            for x in range(33):
                difference[x] -= wide[k] * blurred[1, y + k, x]
        for x in range(33):
            square = difference[x] * difference[x]
            core += square * in_core[y, x]
            annulus += square * in_annulus[y, x]
            n_core += in_core[y, x]
            n_annulus += in_annulus[y, x]
    row[15], row[16] = core / n_core, annulus / n_annulus


@numba.njit(nogil=True, cache=True)
def set_bit_shares(maskbits, bits):  # pragma: no cover
    """Share (n, len(bits)) of the pixels of maskbits (n, pixel) that have each bit set."""
    shares = np.empty((maskbits.shape[0], bits.size))
    for i in range(maskbits.shape[0]):
        seen = 0
        for j in range(maskbits.shape[1]):
            seen |= maskbits[i, j]
        for b in range(bits.size):
            total = 0
            if (seen >> bits[b]) & 1:
                for j in range(maskbits.shape[1]):
                    total += (maskbits[i, j] >> bits[b]) & 1
            shares[i, b] = total / maskbits.shape[1]
    return shares
