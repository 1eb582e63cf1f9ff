"""The compiled pass over cluster cutouts behind ``clusters.patches``: one cutout at a time, in cache.

Imported only by functions that measure. Sums of grey levels are whole numbers below 2^24, exact in float32 in any
order; brightness sums run in float64. A cutout's numbers do not depend on its batch.
"""

from __future__ import annotations

import math

import numba
import numpy as np

__all__ = ["CLUSTER_COLUMNS", "N_PATCH_COLUMNS", "measure_clusters"]

#: Columns of a patch: mean g r i, std g r i, g-r, r-i and their errors, contrast g r i, edges, neighbours g r i.
N_PATCH_COLUMNS = 17
CLUSTER_COLUMNS = 5
_INFINITY = np.float32(np.inf)
_NAN = np.float32(np.nan)
_LOWEST = np.float32(-1e30)
#: A luptitude's softening in units of the flux error (Lupton, Gunn & Szalay 1999, section 3.1).
_SOFTENING = 1.042
_MAG = 2.5 / math.log(10.0)


@numba.njit(nogil=True, cache=True)
def measure_clusters(images, sigma, thresholds, edges, edge_share, peaks_at, colour, out):  # pragma: no cover
    """Fill ``out`` = patch (n, 9, N_PATCH_COLUMNS), cluster (n, CLUSTER_COLUMNS), share (n, 9, 3) of pixels with data,
    peaks (n, k, 3) as y, x, S/N from the brightest, NaN where there are fewer.

    images (n, 3, s, s) float32, sigma (n, 3) float64 of the sky, thresholds (8 k,) float32 [sigma], edges (4,),
    edge_share in (0, 1), peaks_at: least S/N, colour: (floor [mag], off-sequence distance [sigma]).
    """
    patch, cluster, share, peaks = out
    size = images.shape[2]
    unit = np.empty((3, size, size), dtype=np.float32)
    level = np.empty((3, size, size), dtype=np.float32)
    good = np.ones((3, size, size), dtype=np.float32)
    stack = np.empty((size, size), dtype=np.float32)
    smooth = np.empty((size, size), dtype=np.float32)
    gradient = np.empty((size, size), dtype=np.float32)
    gradient_bits = gradient.reshape(size * size).view(np.uint32)
    counts, chosen = np.empty(4096, dtype=np.int32), np.empty(size * size, dtype=np.int32)
    column = np.empty((2, size)), np.empty((3, size), dtype=np.float32)
    clean, present_band = np.empty(3, dtype=np.bool_), np.empty(3, dtype=np.bool_)
    for c in range(images.shape[0]):
        weight_sum, present = 0.0, 0
        for b in range(3):
            n_bad = _normalise(images[c, b], np.float32(1.0 / sigma[c, b]), unit[b], good[b])
            clean[b] = n_bad == 0
            present_band[b] = n_bad < size * size
            if present_band[b]:
                weight_sum += sigma[c, b] ** -2
                present += 1
            _quantise(unit[b], thresholds, level[b])
            _patches(images[c, b], good[b], clean[b], level[b], edges, b, patch[c], share[c], column)
        _fill(stack, np.float32(0.0) if present else _NAN)
        for b in range(3):
            if present_band[b]:
                _add_band(unit[b], good[b], clean[b], np.float32(1.0 / sigma[c, b] / math.sqrt(weight_sum)), stack)
        for p in range(9):
            _patch_colours(patch[c, p], share[c, p], sigma[c], edges, p)
        _neighbours(patch[c], sigma[c])
        _gradient(stack, gradient)
        place = _rank_place(gradient_bits, edge_share, counts, chosen)
        cut = np.float64(gradient[place // size, place % size]) if place >= 0 else np.nan
        cluster[c, 0] = math.sqrt(cut / 2.0) / 4.0
        _edges(gradient, cut, edges, patch[c])
        _smooth(stack, smooth)
        cluster[c, 1] = _peaks(smooth, peaks_at, peaks[c])
        _coherence(unit, good, sigma[c], peaks[c], colour, cluster[c])


@numba.njit(nogil=True, cache=True)
def _normalise(image, inverse, unit, good):  # pragma: no cover
    """Brightness in sky sigmas, 0 without data; the number of pixels without data."""
    size = image.shape[0]
    n_bad = 0
    for y in range(size):
        bad = np.int32(0)
        for x in range(size):
            unit[y, x] = image[y, x] * inverse
            bad += np.int32(not (abs(image[y, x]) < _INFINITY))
        n_bad += int(bad)
    if n_bad:
        for y in range(size):
            for x in range(size):
                has = abs(image[y, x]) < _INFINITY
                good[y, x] = np.float32(has)
                unit[y, x] = unit[y, x] if has else np.float32(0.0)
    else:
        _fill(good, np.float32(1.0))
    return n_bad


@numba.njit(nogil=True, cache=True)
def _fill(plane, value):  # pragma: no cover
    """Set every pixel."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            plane[y, x] = value


@numba.njit(nogil=True, cache=True)
def _frame(plane, value):  # pragma: no cover
    """Set the outermost pixels."""
    last = plane.shape[0] - 1
    for k in range(last + 1):
        plane[0, k], plane[last, k], plane[k, 0], plane[k, last] = value, value, value, value


@numba.njit(nogil=True, cache=True)
def _quantise(unit, thresholds, level):  # pragma: no cover
    """Grey level: how many thresholds (a multiple of eight, the last may be infinite) a pixel reaches."""
    size = unit.shape[0]
    for y in range(size):
        for x in range(size):
            level[y, x] = np.float32(0.0)
        for k in range(0, thresholds.size, 8):
            t0, t1, t2, t3 = thresholds[k], thresholds[k + 1], thresholds[k + 2], thresholds[k + 3]
            t4, t5, t6, t7 = thresholds[k + 4], thresholds[k + 5], thresholds[k + 6], thresholds[k + 7]
            for x in range(size):
                u = unit[y, x]
                low = np.int32(u >= t0) + np.int32(u >= t1) + np.int32(u >= t2) + np.int32(u >= t3)
                high = np.int32(u >= t4) + np.int32(u >= t5) + np.int32(u >= t6) + np.int32(u >= t7)
                level[y, x] += np.float32(np.int32(low + high))


@numba.njit(nogil=True, cache=True)
def _patches(image, good, clean, level, edges, b, patch, share, column):  # pragma: no cover
    """Mean, standard deviation, GLCM contrast and share of pixels with data of one band's nine patches.

    Sums run down the columns of a row of patches into ``column`` (total, square: (2, s) float64; along, down, diagonal:
    (3, s) float32), so that every loop is as long as the image is wide.
    """
    sums, pairs = column
    for i in range(3):
        if clean:
            _column_sums(image, level, edges[i], edges[i + 1], sums, pairs)
        for j in range(3):
            p, height, width = 3 * i + j, edges[i + 1] - edges[i], edges[j + 1] - edges[j]
            window = image[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
            count = float(height * width)
            if clean:
                total, square, contrast = _of_columns(sums, pairs, edges[j], edges[j + 1], height)
            else:
                has = good[edges[i] : edges[i + 1], edges[j] : edges[j + 1]]
                total, square, count = _masked_moments(window, has)
                contrast = _masked_contrast(level[edges[i] : edges[i + 1], edges[j] : edges[j + 1]], has)
            share[p, b] = count / (height * width)
            mean = total / count if count else np.nan
            patch[p, b] = mean
            patch[p, 3 + b] = math.sqrt(max(square / count - mean * mean, 0.0)) if count else np.nan
            patch[p, 10 + b] = contrast


@numba.njit(nogil=True, cache=True)
def _column_sums(image, level, y0, y1, sums, pairs):  # pragma: no cover
    """Down the columns of rows y0..y1-1: brightness and its square, squared differences of neighbouring levels."""
    size = image.shape[1]
    total, square = sums[0], sums[1]
    along, down, diagonal = pairs[0], pairs[1], pairs[2]
    for x in range(size):
        total[x], square[x] = 0.0, 0.0
        along[x], down[x], diagonal[x] = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for y in range(y0, y1):
        row, here = image[y], level[y]
        for x in range(size):
            value = np.float64(row[x])
            total[x] += value
            square[x] += value * value
        for x in range(size - 1):
            d = here[x + 1] - here[x]
            along[x] += d * d
        if y + 1 < y1:
            below = level[y + 1]
            for x in range(size):
                d = below[x] - here[x]
                down[x] += d * d
            for x in range(size - 1):
                d, e = below[x + 1] - here[x], below[x] - here[x + 1]
                diagonal[x] += d * d + e * e


@numba.njit(nogil=True, cache=True)
def _of_columns(sums, pairs, x0, x1, height):  # pragma: no cover
    """Brightness, its square, and mean (q_i - q_j)^2 over 0, 45, 90 and 135 degrees, of the columns x0..x1-1."""
    total, square, along, down, diagonal = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(x0, x1):
        total += sums[0, x]
        square += sums[1, x]
        down += pairs[1, x]
    for x in range(x0, x1 - 1):
        along += pairs[0, x]
        diagonal += pairs[2, x]
    width = x1 - x0
    contrast = along / (height * (width - 1.0)) + down / ((height - 1.0) * width)
    return total, square, 0.25 * (contrast + diagonal / ((height - 1.0) * (width - 1.0)))


@numba.njit(nogil=True, cache=True)
def _masked_moments(image, good):  # pragma: no cover
    """Sum, sum of squares and number of the pixels with data."""
    total, square, count = 0.0, 0.0, 0.0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if good[y, x] > 0:
                value = np.float64(image[y, x])
                total += value
                square += value * value
                count += 1.0
    return total, square, count


@numba.njit(nogil=True, cache=True)
def _masked_contrast(level, good):  # pragma: no cover
    """Mean of (q_i - q_j)^2 over the four directions, of pairs of pixels with data; NaN where a direction has none."""
    height, width = level.shape
    total = 0.0
    for k in range(4):
        dy, dx = (0, 1, 1, 1)[k], (1, 0, 1, -1)[k]
        squares, pairs = 0.0, 0.0
        for y in range(height - dy):
            for x in range(max(-dx, 0), width - max(dx, 0)):
                if good[y, x] > 0 and good[y + dy, x + dx] > 0:
                    d = np.float64(level[y + dy, x + dx]) - np.float64(level[y, x])
                    squares += d * d
                    pairs += 1.0
        total += squares / pairs if pairs else np.nan
    return 0.25 * total


@numba.njit(nogil=True, cache=True)
def _add_band(unit, good, clean, weight, stack):  # pragma: no cover
    """Add a band to the S/N stack sum(x / sigma^2) / sqrt(sum(1 / sigma^2)); NaN where it has no data."""
    for y in range(unit.shape[0]):
        for x in range(unit.shape[1]):
            stack[y, x] += weight * unit[y, x]
        if not clean:
            for x in range(unit.shape[1]):
                if good[y, x] == 0:
                    stack[y, x] = _NAN


@numba.njit(nogil=True, cache=True)
def _luptitude(flux, error):  # pragma: no cover
    """asinh magnitude (without zero point) and its error, softening 1.042 errors; NaN without data."""
    b = _SOFTENING * error
    return -_MAG * (math.asinh(flux / (2.0 * b)) + math.log(b)), _MAG * error / math.sqrt(flux * flux + 4.0 * b * b)


@numba.njit(nogil=True, cache=True)
def _patch_colours(row, share, sigma, edges, p):  # pragma: no cover
    """g-r and r-i of the mean brightness, and their errors from the sky."""
    area = (edges[p // 3 + 1] - edges[p // 3]) * (edges[p % 3 + 1] - edges[p % 3])
    for k in range(2):
        row[6 + k], row[8 + k] = np.nan, np.nan
        if share[k] > 0 and share[k + 1] > 0:
            m, e = _luptitude(row[k], sigma[k] / math.sqrt(share[k] * area))
            m2, e2 = _luptitude(row[k + 1], sigma[k + 1] / math.sqrt(share[k + 1] * area))
            row[6 + k], row[8 + k] = m - m2, math.sqrt(e * e + e2 * e2)


@numba.njit(nogil=True, cache=True)
def _neighbours(patch, sigma):  # pragma: no cover
    """Mean brightness minus that of the adjacent patches with data [sigma]."""
    for b in range(3):
        for p in range(9):
            total, count = 0.0, 0
            for other in range(9):
                near = abs(other // 3 - p // 3) <= 1 and abs(other % 3 - p % 3) <= 1 and other != p
                if near and patch[other, b] == patch[other, b]:
                    total += patch[other, b]
                    count += 1
            patch[p, 14 + b] = (patch[p, b] - total / count) / sigma[b] if count else np.nan


@numba.njit(nogil=True, cache=True)
def _gradient(stack, gradient):  # pragma: no cover
    """Square of the Sobel gradient (weights 1 2 1, not normalised); NaN on the frame and beside missing pixels."""
    size = stack.shape[0]
    _frame(gradient, _NAN)
    two = np.float32(2.0)
    for y in range(1, size - 1):
        above, here, below, row = stack[y - 1], stack[y], stack[y + 1], gradient[y]
        for x in range(1, size - 1):
            left = above[x - 1] + two * here[x - 1] + below[x - 1]
            right = above[x + 1] + two * here[x + 1] + below[x + 1]
            top = above[x - 1] + two * above[x] + above[x + 1]
            bottom = below[x - 1] + two * below[x] + below[x + 1]
            row[x] = (right - left) * (right - left) + (bottom - top) * (bottom - top)


@numba.njit(nogil=True, cache=True)
def _rank_place(bits, portion, count, chosen):  # pragma: no cover
    """Where the value of rank floor(portion (m - 1)) among the m finite numbers >= 0 is, exactly; -1 for m = 0.

    The bits of positive floats are in the order of the floats: three counts of 12, 10 and 10 bits find them.
    """
    for place in range(4096):
        count[place] = 0
    m = 0
    for i in range(bits.size):
        place = bits[i] >> np.uint32(20)
        count[place] += 1
    for place in range(2040):  # those behind hold infinity and NaN
        m += count[place]
    if m == 0:
        return -1
    rank = int(portion * (m - 1))
    place = 0
    while rank >= count[place]:
        rank -= count[place]
        place += 1
    kept = 0
    for i in range(bits.size):
        if bits[i] >> np.uint32(20) == place:
            chosen[kept] = i
            kept += 1
    prefix = np.uint32(place)
    for step in range(2):
        shift = np.uint32((10, 0)[step])
        for place in range(1024):
            count[place] = 0
        for k in range(kept):
            if bits[chosen[k]] >> (shift + np.uint32(10)) == prefix:
                count[(bits[chosen[k]] >> shift) & np.uint32(1023)] += 1
        place = 0
        while rank >= count[place]:
            rank -= count[place]
            place += 1
        prefix = np.uint32((prefix << np.uint32(10)) | np.uint32(place))
    for k in range(kept):
        if bits[chosen[k]] == prefix:
            return chosen[k]
    return -1


@numba.njit(nogil=True, cache=True)
def _edges(gradient, cut, edges, patch):  # pragma: no cover
    """Share of a patch's pixels whose gradient is above the cluster's threshold."""
    limit = np.float32(cut)
    for p in range(9):
        high, known = 0, 0
        for y in range(edges[p // 3], edges[p // 3 + 1]):
            row = gradient[y, edges[p % 3] : edges[p % 3 + 1]]
            h, k = np.int32(0), np.int32(0)
            for x in range(row.size):
                h += np.int32(row[x] > limit)
                k += np.int32(row[x] == row[x])
            high += int(h)
            known += int(k)
        patch[p, 13] = high / known if known else np.nan


@numba.njit(nogil=True, cache=True)
def _smooth(stack, smooth):  # pragma: no cover
    """The S/N stack through (1 2 1) x (1 2 1), in units of its own white noise; very low on the frame and at gaps."""
    size = stack.shape[0]
    _frame(smooth, _LOWEST)
    two, scale = np.float32(2.0), np.float32(1.0 / 6.0)  # the root of the sum of squared weights
    for y in range(1, size - 1):
        above, here, below, row = stack[y - 1], stack[y], stack[y + 1], smooth[y]
        for x in range(1, size - 1):
            sides = above[x] + below[x] + here[x - 1] + here[x + 1]
            corners = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1]
            value = (two * two * here[x] + two * sides + corners) * scale
            row[x] = value if value == value else _LOWEST


@numba.njit(nogil=True, cache=True)
def _peaks(smooth, least, peaks):  # pragma: no cover
    """Number of maxima of their 5 x 5 pixels with S/N >= least; the brightest go into ``peaks``."""
    size = smooth.shape[0]
    for k in range(peaks.shape[0]):
        peaks[k, 0], peaks[k, 1], peaks[k, 2] = np.nan, np.nan, np.nan
    limit = np.float32(least)
    count = 0
    high = np.zeros(size, dtype=np.uint8)
    for y in range(2, size - 2):
        above, here, below = smooth[y - 1], smooth[y], smooth[y + 1]
        for x in range(2, size - 2):
            beside = (here[x] >= here[x - 1]) & (here[x] >= here[x + 1])
            high[x] = (here[x] >= limit) & (here[x] >= above[x]) & (here[x] >= below[x]) & beside
        for x in range(2, size - 2):
            value = here[x]
            if high[x] and _is_maximum(smooth, y, x, value):
                last = min(count, peaks.shape[0])
                count += 1
                k = last
                while k > 0 and peaks[k - 1, 2] < value:
                    if k < peaks.shape[0]:
                        peaks[k, 0], peaks[k, 1], peaks[k, 2] = peaks[k - 1, 0], peaks[k - 1, 1], peaks[k - 1, 2]
                    k -= 1
                if k < peaks.shape[0]:
                    peaks[k, 0], peaks[k, 1], peaks[k, 2] = y, x, value
    return count


@numba.njit(nogil=True, cache=True)
def _is_maximum(smooth, y, x, value):  # pragma: no cover
    """Above all earlier and not below any later pixel of the 5 x 5: a plateau counts once."""
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            other = smooth[y + dy, x + dx]
            if other > value or (other == value and (dy < 0 or (dy == 0 and dx < 0))):
                return False
    return True


@numba.njit(nogil=True, cache=True)
def _coherence(unit, good, sigma, peaks, colour, cluster):  # pragma: no cover
    """Colours of the peaks compared in pairs: mean of exp(-d^2 / 2), all peaks and those off the central colour."""
    n_peaks = peaks.shape[0]
    found = np.empty((n_peaks + 1, 5))  # g-r, r-i, var(g-r), var(r-i), covariance; the last row is the centre's
    size = unit.shape[1]
    count = 0
    for k in range(n_peaks):
        if peaks[k, 0] == peaks[k, 0]:
            count += _colour_at(unit, good, sigma, int(peaks[k, 0]), int(peaks[k, 1]), colour[0], found[count])
    has_centre = _colour_at(unit, good, sigma, size // 2, size // 2, colour[0], found[n_peaks])
    cluster[2] = _mean_agreement(found[:count])
    cluster[3], cluster[4] = np.nan, np.nan
    if has_centre:
        off = 0
        for k in range(count):
            if _distance2(found[k], found[n_peaks]) > colour[1] ** 2:
                for j in range(5):
                    found[off, j] = found[k, j]
                off += 1
        cluster[3] = off
        cluster[4] = _mean_agreement(found[:off])


@numba.njit(nogil=True, cache=True)
def _colour_at(unit, good, sigma, y, x, floor, row):  # pragma: no cover
    """Fill ``row`` with the colours of the 5 x 5 pixels; 0 where a pixel is missing, else 1."""
    mags, errors = np.empty(3), np.empty(3)
    for b in range(3):
        total, known = 0.0, 0.0
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                total += unit[b, y + dy, x + dx]
                known += good[b, y + dy, x + dx]
        if known < 25.0:
            return 0
        mags[b], errors[b] = _luptitude(total * sigma[b], 5.0 * sigma[b])
    row[0], row[1] = mags[0] - mags[1], mags[1] - mags[2]
    row[2] = errors[0] ** 2 + errors[1] ** 2 + floor**2
    row[3] = errors[1] ** 2 + errors[2] ** 2 + floor**2
    row[4] = -errors[1] * errors[1]
    return 1


@numba.njit(nogil=True, cache=True)
def _distance2(one, other):  # pragma: no cover
    """Squared Mahalanobis distance of two colours with the sum of their covariances."""
    dx, dy = one[0] - other[0], one[1] - other[1]
    a, b, c = one[2] + other[2], one[3] + other[3], one[4] + other[4]
    return (b * dx * dx - 2.0 * c * dx * dy + a * dy * dy) / (a * b - c * c)


@numba.njit(nogil=True, cache=True)
def _mean_agreement(found):  # pragma: no cover
    """Mean of exp(-d^2 / 2) over pairs; 1/2 for one colour with honest errors. NaN for fewer than two."""
    total, pairs = 0.0, 0
    for i in range(found.shape[0]):
        for j in range(i):
            total += math.exp(-0.5 * _distance2(found[i], found[j]))
            pairs += 1
    return total / pairs if pairs else np.nan
