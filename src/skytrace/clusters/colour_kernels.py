"""Compiled loops behind ``clusters.colours`` and ``clusters.peak_colours``: one field at a time, in cache.

Imported only by functions that measure. No sum is reordered, so a field's numbers do not depend on its batch, and are
the same on any processor.
"""

from __future__ import annotations

import math

import numba
import numpy as np

__all__ = ["aperture_sums", "compare_colours", "count_agreeing"]

#: Added to the diagonal of a sum of weights, so that nothing weighed is a very wide answer and not an error.
_RIDGE = 1e-12
#: An iteration that moves the centroid by less [mag] is the last.
_SETTLED = 1e-12


@numba.njit(nogil=True, cache=True)
def aperture_sums(images, places, inside, weight_sigma, half, scale, total, squares):  # pragma: no cover
    """Fill total (n, m, 3), the sum of pixel x weight, and squares, that of the squared weights, for m places a field.

    images (n, 3, y, x) float32; places (n, m, 2) row and column; inside (n, m): the others are left as they are;
    weight_sigma (n, 3) [arcsec] of a Gaussian weight with the peak of a unit Gaussian; half [pixels], scale [arcsec].
    """
    side = 2 * half + 1
    down, along, column = np.empty(side), np.empty(side), np.empty(side)
    for c in range(images.shape[0]):
        for k in range(places.shape[1]):
            if not inside[c, k]:
                continue
            first_y, first_x = int(np.rint(places[c, k, 0])) - half, int(np.rint(places[c, k, 1])) - half
            for b in range(3):
                sigma = weight_sigma[c, b]
                sum_y, sum_x = 0.0, 0.0
                for j in range(side):
                    down[j] = math.exp(-0.5 * ((first_y + j - places[c, k, 0]) * scale / sigma) ** 2)
                    along[j] = math.exp(-0.5 * ((first_x + j - places[c, k, 1]) * scale / sigma) ** 2)
                    sum_y += down[j] ** 2
                    sum_x += along[j] ** 2
                    column[j] = 0.0
                for j in range(side):
                    row, weight = images[c, b, first_y + j], down[j]
                    for i in range(side):
                        column[i] += weight * row[first_x + i]
                found = 0.0
                for i in range(side):
                    found += along[i] * column[i]
                peak = 1.0 / (2.0 * math.pi * sigma**2)
                total[c, k, b], squares[c, k, b] = found * peak, sum_y * sum_x * peak**2


@numba.njit(nogil=True, cache=True)
def compare_colours(values, total, known, huber, iterations, squared, chi_squared, whole):  # pragma: no cover
    """Fill squared (n, m), the squared distance of each known colour from the Huber centroid of the others; chi_squared
    (n,) of all about their weighted mean; whole (n, 2), the Huber centroid of all.

    values (n, m, 2); total (n, m, 2, 2) covariances; known (n, m). Fields with one colour have its value as ``whole``
    and a squared distance that means nothing.
    """
    n, m = known.shape
    at, weights = np.empty((m, 2)), np.empty((m, 3))
    rank = np.empty((m, 2), dtype=np.int64)
    for c in range(n):
        index = np.flatnonzero(known[c])
        count = index.size
        sums = np.zeros(3)
        for k in range(count):
            at[k] = values[c, index[k]]
            _inverse(total[c, index[k]], weights[k])
            sums += weights[k]
        ordered = np.empty((count, 2))
        for axis in range(2):
            order = np.argsort(at[:count, axis])
            for k in range(count):
                rank[order[k], axis] = k
                ordered[k, axis] = at[order[k], axis]
        whole[c] = _huber_centroid(at, weights, count, -1, ordered, rank, huber, iterations)
        chi_squared[c] = _chi_squared(at, weights, count)
        for k in range(count):
            centre = _huber_centroid(at, weights, count, k, ordered, rank, huber, iterations)
            rest = sums - weights[k]
            a, b, d = rest[0] + _RIDGE, rest[1], rest[2] + _RIDGE
            size = a * d - b * b
            own = total[c, index[k]]
            # covariance of the colour's own errors and of the others' centroid, inverted by hand
            s00, s01, s11 = own[0, 0] + d / size, own[0, 1] - b / size, own[1, 1] + a / size
            x, y = at[k, 0] - centre[0], at[k, 1] - centre[1]
            squared[c, index[k]] = (s11 * x * x - 2.0 * s01 * x * y + s00 * y * y) / (s00 * s11 - s01 * s01)


@numba.njit(nogil=True, cache=True)
def _inverse(matrix, out):  # pragma: no cover
    """out = (00, 01, 11) of the inverse of a symmetric 2 x 2 matrix."""
    size = matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]
    out[0], out[1], out[2] = matrix[1, 1] / size, -matrix[0, 1] / size, matrix[0, 0] / size


@numba.njit(nogil=True, cache=True)
def _middle(ordered, rank, count, left_out, axis):  # pragma: no cover
    """Median of one coordinate without the value ``left_out`` (-1: of all); 0 where none is left."""
    gone = rank[left_out, axis] if left_out >= 0 else count
    left = count - 1 if left_out >= 0 else count
    if left == 0:
        return 0.0
    low, high = (left - 1) // 2, left // 2
    return 0.5 * (ordered[low + (low >= gone), axis] + ordered[high + (high >= gone), axis])


@numba.njit(nogil=True, cache=True)
def _huber_centroid(at, weights, count, left_out, ordered, rank, huber, iterations):  # pragma: no cover
    """Huber M-estimate (2,) of the centre of ``at`` (count, 2), one left out: iteratively reweighted, a value d sigma
    away counts min(1, huber / d) (Huber 1981, section 6), from the median of each coordinate, so that one bright odd
    image does not set it.
    """
    centre = np.empty(2)
    for axis in range(2):
        centre[axis] = _middle(ordered, rank, count, left_out, axis)
    for _ in range(iterations):
        a, b, d = _RIDGE, 0.0, _RIDGE
        u, v = 0.0, 0.0
        for k in range(count):
            if k == left_out:
                continue
            p, q, r = weights[k, 0], weights[k, 1], weights[k, 2]
            x, y = at[k, 0] - centre[0], at[k, 1] - centre[1]
            distance = math.sqrt(max(p * x * x + 2.0 * q * x * y + r * y * y, 0.0))
            w = 1.0 if distance <= huber else huber / distance
            p, q, r = w * p, w * q, w * r
            a, b, d = a + p, b + q, d + r
            u += p * at[k, 0] + q * at[k, 1]
            v += q * at[k, 0] + r * at[k, 1]
        size = a * d - b * b
        new_u, new_v = (d * u - b * v) / size, (a * v - b * u) / size
        moved = max(abs(new_u - centre[0]), abs(new_v - centre[1]))
        centre[0], centre[1] = new_u, new_v
        if moved < _SETTLED:
            break
    return centre


@numba.njit(nogil=True, cache=True)
def _chi_squared(at, weights, count):  # pragma: no cover
    """Sum of squared distances of all values from their weighted mean."""
    a, b, d, u, v = _RIDGE, 0.0, _RIDGE, 0.0, 0.0
    for k in range(count):
        p, q, r = weights[k, 0], weights[k, 1], weights[k, 2]
        a, b, d = a + p, b + q, d + r
        u += p * at[k, 0] + q * at[k, 1]
        v += q * at[k, 0] + r * at[k, 1]
    size = a * d - b * b
    mean_u, mean_v = (d * u - b * v) / size, (a * v - b * u) / size
    found = 0.0
    for k in range(count):
        p, q, r = weights[k, 0], weights[k, 1], weights[k, 2]
        x, y = at[k, 0] - mean_u, at[k, 1] - mean_v
        found += p * x * x + 2.0 * q * x * y + r * y * y
    return found


@numba.njit(nogil=True, cache=True)
def count_agreeing(colour, covariance, known, added, within, count):  # pragma: no cover
    """Fill count (n, m): of the other known colours, those within ``within`` sigma of both errors and ``added`` [mag^2]
    on the diagonal; -1 for a colour that is not known.
    """
    n, m = known.shape
    for c in range(n):
        for i in range(m):
            count[c, i] = 0 if known[c, i] else -1
        for i in range(m):
            if not known[c, i]:
                continue
            for j in range(i + 1, m):
                if not known[c, j]:
                    continue
                first, second = covariance[c, i], covariance[c, j]
                a = first[0, 0] + second[0, 0] + added
                b = first[0, 1] + second[0, 1]
                d = first[1, 1] + second[1, 1] + added
                x, y = colour[c, i, 0] - colour[c, j, 0], colour[c, i, 1] - colour[c, j, 1]
                if (d * x * x - 2.0 * b * x * y + a * y * y) / (a * d - b * b) <= within**2:
                    count[c, i] += 1
                    count[c, j] += 1
