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
    "dog_core", "dog_annulus", "asymmetry", "background_median", "background_mad",
)  # fmt: skip

_SHIFT, _BUCKETS = np.uint32(20), 1 << 12  # sign, exponent and the first 3 bits of the mantissa
_SIGN = np.uint32(0x80000000)
_MAGNITUDE = np.int32(0x7FFFFFFF)
_INFINITY, _ZERO = np.float32(np.inf), np.float32(0.0)  # in the pixels' own precision: twice as many at once


@numba.njit(nogil=True, cache=True)
def measure_planes(image, invvar, size, frame_px, annulus, core, apertures, rings, dog):  # pragma: no cover
    """(plane, PLANE_COLUMNS) float64 of planes image, invvar (plane, size * size) float32.

    annulus: (flat pixels of the background, how many must have data). core: flat pixels r <= 8. apertures: (first (6,),
    pixel, weight, area (5,)), five softened apertures one after another. rings: (pixel, ring, in_annulus) of the 1 px
    rings 0-16. dog: (taps of sigma 1 and 2 from the middle outwards, in_core, in_annulus (33, 33)).
    """
    out = np.zeros((image.shape[0], 20))
    n = image.shape[1]
    good, value, used = np.empty(n, dtype=np.uint8), np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    keys = np.empty(annulus[0].size, dtype=np.int32)
    bucket, drawn = np.empty(n, dtype=np.uint16), np.empty((6, n), dtype=np.float32)
    counted = bucket, np.empty(_BUCKETS + 1, dtype=np.int32), np.zeros(_BUCKETS + 1, dtype=np.uint8), drawn
    near = slice(max(size // 2 - 29, 0) * size, min(size // 2 + 30, size) * size)  # the lines of the apertures
    for p in range(image.shape[0]):
        pixels, weights, row = image[p], invvar[p], out[p]
        n_good = np.int32(0)
        for i in range(n):
            has = (abs(pixels[i]) < _INFINITY) & (weights[i] > _ZERO)
            good[i] = has
            n_good = np.int32(n_good + np.int32(has))
        _gaps(pixels, good, n_good, size, frame_px, core, row)
        _background(pixels, good, n_good == n, annulus, used, keys, row)
        _percentiles(pixels, good, n_good, used, counted, row)
        _subtract(pixels[near], good[near], row[18], value[near])
        _apertures(good, n_good == n, value, apertures, row)
        _rings(good, value, rings, row)
        _difference_of_gaussians(value, size, dog, row)
    return out


@numba.njit(nogil=True, cache=True)
def _subtract(pixels, good, background, value):  # pragma: no cover
    """Brightness above the background; 0 without data."""
    for i in range(pixels.size):
        value[i] = np.float32(pixels[i] - background) if good[i] else _ZERO


@numba.njit(nogil=True, cache=True)
def _ranked(values, good, pivot, wanted, counted, ranked):  # pragma: no cover
    """Set ranked[j] to the value of rank wanted[j] (not decreasing) among the good values (float32), exactly.

    Values are counted by the leading bits of their distance from the pivot: buckets are narrow near it, where a plane
    has its pixels. Subtraction and bits keep the order, so only buckets that hold a wanted rank are looked into.
    """
    bucket, count, slot_of, drawn = counted
    for i in range(values.size):
        bits = np.float32(values[i] - pivot).view(np.uint32)
        order = np.uint32(np.int32(bits) >> np.int32(31)) | _SIGN
        bucket[i] = np.uint16((bits ^ order) >> _SHIFT) if good[i] else np.uint16(_BUCKETS)
    count[:] = 0
    for i in range(values.size):
        count[bucket[i]] += 1
    chosen, slot = np.empty(6, dtype=np.int64), np.empty(6, dtype=np.int64)
    first, filled = np.empty(6, dtype=np.int64), np.zeros(6, dtype=np.int64)
    below, slots, j = 0, 0, 0
    for block in range(0, _BUCKETS, 64):
        inside = count[block : block + 64].sum()
        if j == wanted.size or wanted[j] >= below + inside:
            below += inside
            continue
        for place in range(block, block + 64):
            below += count[place]
            if j < wanted.size and wanted[j] < below:
                chosen[slots], first[slots] = place, below - count[place]
                slot_of[place] = slots + 1
                while j < wanted.size and wanted[j] < below:
                    slot[j] = slots
                    j += 1
                slots += 1
    for i in range(values.size):
        s = slot_of[bucket[i]]
        if s:
            drawn[s - 1, filled[s - 1]] = values[i]
            filled[s - 1] += 1
    for s in range(slots):
        slot_of[chosen[s]] = 0
    for k in range(wanted.size):
        s, rank = slot[k], wanted[k] - first[slot[k]]
        if k > 0 and s == slot[k - 1] and wanted[k] <= wanted[k - 1] + 1:
            # the selection left all larger values behind the former rank
            smallest = drawn[s, rank]
            for i in range(rank + 1, filled[s]):
                smallest = min(smallest, drawn[s, i])
            ranked[k] = smallest
        else:
            ranked[k] = _select(drawn[s, : filled[s]], rank)


@numba.njit(nogil=True, cache=True)
def _select(values, k):  # pragma: no cover
    """The value of rank k; reorders the values (Hoare 1961)."""
    low, high = 0, values.size - 1
    same = 0  # planes of one value exist: all its pixels are in one bucket
    while same <= high and values[same] == values[0]:
        same += 1
    if same > high:
        return values[0]
    while low < high:
        middle = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < middle:
                i += 1
            while values[j] > middle:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@numba.njit(nogil=True, cache=True)
def _background(pixels, good, complete, annulus, used, keys, row):  # pragma: no cover
    """Median and median absolute deviation of the annulus: bit for bit those of ``preprocessing.annulus_statistics``.

    Both 0 where too few of its pixels have data.
    """
    index, fewest = annulus
    n_used = 0
    if complete:
        n_used = index.size
        for j in range(n_used):
            used[j] = pixels[index[j]]
    else:
        for i in index:
            used[n_used] = pixels[i]
            n_used += good[i]
    if n_used < fewest:
        return
    values = used[:n_used]
    row[18] = _median(values, keys[:n_used])
    median = np.float32(row[18])
    for i in range(n_used):
        values[i] = abs(values[i] - median)
    row[19] = _median(values, keys[:n_used])


@numba.njit(nogil=True, cache=True)
def _median(values, keys):  # pragma: no cover
    """Median of float32 values, exactly: bisection in their bits, which count 16 at once and sort nothing."""
    bits = values.view(np.int32)
    for i in range(keys.size):
        keys[i] = bits[i] ^ ((bits[i] >> np.int32(31)) & _MAGNITUDE)  # as whole numbers in the order of the values
    rank = (keys.size - 1) // 2
    low, high = np.int64(-(2**31)), np.int64(2**31 - 1)
    while low < high:
        middle = (low + high) >> 1
        if _count_up_to(keys, np.int32(middle)) > rank:
            high = middle
        else:
            low = middle + 1
    lower, upper = np.int32(low), np.int32(low)
    if keys.size % 2 == 0 and _count_up_to(keys, lower) == rank + 1:
        upper = _MAGNITUDE
        for i in range(keys.size):
            upper = np.int32(min(upper, np.int32(keys[i]) if keys[i] > lower else _MAGNITUDE))
    return 0.5 * (_of_key(lower) + _of_key(upper))


@numba.njit(nogil=True, cache=True)
def _count_up_to(keys, limit):  # pragma: no cover
    count = np.int32(0)
    for i in range(keys.size):
        count = np.int32(count + np.int32(keys[i] <= limit))
    return count


@numba.njit(nogil=True, cache=True)
def _of_key(key):  # pragma: no cover
    return np.float64(np.int32(key ^ ((key >> np.int32(31)) & _MAGNITUDE)).view(np.float32))


@numba.njit(nogil=True, cache=True)
def _gaps(pixels, good, n_good, size, frame_px, core, row):  # pragma: no cover
    row[4] = n_good > 0
    if n_good == pixels.size:
        return
    row[0] = 1.0 - n_good / pixels.size
    centre = _good_within(good, size, size // 2 - 25, size // 2 + 25)
    inside = _good_within(good, size, frame_px, size - frame_px)
    in_core, weightless = 0, 0
    for i in core:
        in_core += good[i]
        weightless += (good[i] == 0) & (abs(pixels[i]) < _INFINITY)
    n_inside = (size - 2 * frame_px) ** 2
    row[1] = 1.0 - centre / 2500.0
    row[2], row[3] = 1.0 - in_core / core.size, weightless / core.size
    row[5] = inside / n_inside - (n_good - inside) / (pixels.size - n_inside)


@numba.njit(nogil=True, cache=True)
def _good_within(good, size, low, high):  # pragma: no cover
    """Pixels with data among the rows and columns low to high - 1."""
    total = np.int32(0)
    for y in range(low, high):
        line = good[y * size + low : y * size + high]
        for x in range(line.size):
            total = np.int32(total + np.int32(line[x]))
    return total


@numba.njit(nogil=True, cache=True)
def _percentiles(pixels, good, n_good, used, counted, row):  # pragma: no cover
    """Percentiles 1, 50, 99 of the pixels with data, linear between ranks; NaN without data."""
    row[6:9] = np.nan
    if n_good == 0:
        return
    wanted, ranked = np.empty(6, dtype=np.int64), np.empty(6)
    for k, percent in enumerate((1, 50, 99)):
        wanted[2 * k] = int(0.01 * percent * (n_good - 1))
        wanted[2 * k + 1] = min(wanted[2 * k] + 1, n_good - 1)
    if n_good >= 200:
        _ranked(pixels, good, np.float32(row[18]), wanted, counted, ranked)
    else:  # the ranks of so few pixels are not in order
        n_used = 0
        for i in range(pixels.size):
            if good[i]:
                used[n_used] = pixels[i]
                n_used += 1
        for k in range(6):
            ranked[k] = _select(used[:n_good], wanted[k])
    for k, percent in enumerate((1, 50, 99)):
        share = 0.01 * percent * (n_good - 1) - wanted[2 * k]
        row[6 + k] = ranked[2 * k] + share * (ranked[2 * k + 1] - ranked[2 * k])


@numba.njit(nogil=True, cache=True)
def _apertures(good, complete, value, apertures, row):  # pragma: no cover
    """Sums of the three discs and means of the two annuli; NaN without data.

    Four sums at a time, which do not wait for each other; the lists are filled up to fours with weight 0.
    """
    first, pixel, weight, whole = apertures
    for a in range(5):
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        for j in range(first[a], first[a + 1], 4):
            t0 += weight[j] * value[pixel[j]]
            t1 += weight[j + 1] * value[pixel[j + 1]]
            t2 += weight[j + 2] * value[pixel[j + 2]]
            t3 += weight[j + 3] * value[pixel[j + 3]]
        total, area = (t0 + t1) + (t2 + t3), whole[a]
        if not complete:
            area = 0.0
            for j in range(first[a], first[a + 1]):
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
    """Mean squares in core and annulus of the 33 x 33 pixels that the annulus needs; 49 x 49 go in.

    Separable and symmetric: opposite pixels are added first, for both widths. One statement a pixel, so that the
    compiler works on 16 at once.
    """
    narrow, wide, in_core, in_annulus = dog
    n0, n1, n2, n3, n4 = narrow[0], narrow[1], narrow[2], narrow[3], narrow[4]
    w0, w1, w2, w3, w4 = wide[0], wide[1], wide[2], wide[3], wide[4]
    w5, w6, w7, w8 = wide[5], wide[6], wide[7], wide[8]
    corner = size // 2 - 24
    one, two = np.empty((49, 33), dtype=np.float32), np.empty((49, 33), dtype=np.float32)
    for y in range(49):
        start = (corner + y) * size + corner
        v = value[start : start + 49]
        for x in range(33):
            s1, s2, s3, s4 = v[x + 7] + v[x + 9], v[x + 6] + v[x + 10], v[x + 5] + v[x + 11], v[x + 4] + v[x + 12]
            s5, s6, s7, s8 = v[x + 3] + v[x + 13], v[x + 2] + v[x + 14], v[x + 1] + v[x + 15], v[x] + v[x + 16]
            one[y, x] = n0 * v[x + 8] + n1 * s1 + n2 * s2 + n3 * s3 + n4 * s4
            two[y, x] = w0 * v[x + 8] + w1 * s1 + w2 * s2 + w3 * s3 + w4 * s4 + w5 * s5 + w6 * s6 + w7 * s7 + w8 * s8
    core, annulus, n_core, n_annulus = 0.0, 0.0, 0, 0
    square = np.empty(33, dtype=np.float32)
    for y in range(33):
        for x in range(33):
            fine = n0 * one[y + 8, x] + n1 * (one[y + 7, x] + one[y + 9, x]) + n2 * (one[y + 6, x] + one[y + 10, x])
            fine += n3 * (one[y + 5, x] + one[y + 11, x]) + n4 * (one[y + 4, x] + one[y + 12, x])
            coarse = w0 * two[y + 8, x] + w1 * (two[y + 7, x] + two[y + 9, x]) + w2 * (two[y + 6, x] + two[y + 10, x])
            coarse += w3 * (two[y + 5, x] + two[y + 11, x]) + w4 * (two[y + 4, x] + two[y + 12, x])
            coarse += w5 * (two[y + 3, x] + two[y + 13, x]) + w6 * (two[y + 2, x] + two[y + 14, x])
            coarse += w7 * (two[y + 1, x] + two[y + 15, x]) + w8 * (two[y, x] + two[y + 16, x])
            square[x] = (fine - coarse) * (fine - coarse)
        for x in range(33):
            if in_annulus[y, x]:
                annulus += square[x]
                n_annulus += 1
            if in_core[y, x]:
                core += square[x]
                n_core += 1
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
