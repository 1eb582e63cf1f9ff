"""Compiled outlines of source-plane regions as radii on a grid of directions. Private to caustics.

About the lens centre the SIE with shear reads M theta' = b + alpha(phi), with M = 1 - shear, b the source's offset
from the mapped centre and alpha depending on the image's direction only. The Jacobian is M - 2 kappa t t^T (t
tangential), hence closed radii for every line of constant magnification, and one equation in phi for the images of a
point.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["curve_radii", "magnified_radii", "multiply_imaged_radii", "point_images"]

_CURVE = 720
_SCAN = 192
_BISECTIONS = 14
_REFINE = 16
_ANGLE_TOLERANCE = 2e-7  # rad


@njit(cache=True, nogil=True, error_model="numpy")
def _alpha(angle, theta_e, q, phi):
    """SIE deflection in direction ``angle`` from the centre."""
    c, s = math.cos(angle - phi), math.sin(angle - phi)
    w = math.sqrt(q * q * c * c + s * s)
    root = math.sqrt(q)
    f = math.sqrt(max(1.0 - q * q, 1e-14))
    u = theta_e * root / f * math.atan(f * c / w)
    v = theta_e * root / f * math.atanh(f * s / w)
    cos, sin = math.cos(phi), math.sin(phi)
    return cos * u - sin * v, sin * u + cos * v


@njit(cache=True, nogil=True, error_model="numpy")
def _jacobian_terms(angle, q, phi, g1, g2):
    """det M, t^T adj(M) t and r kappa * 2 / theta_E in direction ``angle``."""
    c, s = math.cos(angle), math.sin(angle)
    m11, m22, m12 = 1.0 - g1, 1.0 + g1, -g2
    # t = (-s, c); adj(M) = [[m22, -m12], [-m12, m11]]
    tangential = s * s * m22 + 2.0 * s * c * m12 + c * c * m11
    cc, ss = math.cos(angle - phi), math.sin(angle - phi)
    return m11 * m22 - m12 * m12, tangential, 1.0 / math.sqrt(q * cc * cc + ss * ss / q)


@njit(cache=True, nogil=True, error_model="numpy")
def _mapped(angle, radius, theta_e, q, phi, g1, g2):
    """Source-plane offset from the mapped centre of the image at (radius, angle)."""
    ax, ay = _alpha(angle, theta_e, q, phi)
    x, y = radius * math.cos(angle), radius * math.sin(angle)
    return (1.0 - g1) * x - g2 * y - ax, (1.0 + g1) * y - g2 * x - ay


@njit(cache=True, nogil=True, error_model="numpy")
def _widen(x0, y0, x1, y1, radii):
    """Raise ``radii`` where the segment from (x0, y0) to (x1, y1) lies further out."""
    count = len(radii)
    a0, a1 = math.atan2(y0, x0), math.atan2(y1, x1)
    turn = a1 - a0
    turn -= 2.0 * math.pi * math.floor(turn / (2.0 * math.pi) + 0.5)
    low = a0 if turn >= 0 else a0 + turn
    first = math.ceil(low / (2.0 * math.pi) * count)
    last = math.floor((low + abs(turn)) / (2.0 * math.pi) * count)
    for k in range(first, last + 1):
        angle = 2.0 * math.pi * k / count
        c, s = math.cos(angle), math.sin(angle)
        dx, dy = x1 - x0, y1 - y0
        across = c * dy - s * dx
        radius = (x0 * dy - y0 * dx) / across if abs(across) > 1e-300 else max(math.hypot(x0, y0), math.hypot(x1, y1))
        radii[k % count] = max(radii[k % count], radius)


@njit(cache=True, nogil=True, error_model="numpy")
def curve_radii(x, y, radii):
    """Fill radii (n, directions) with the outer outline of closed curves x, y (n, curve, points)."""
    n, curves, points = x.shape
    for i in range(n):
        radii[i] = 0.0
        for curve in range(curves):
            for k in range(points):
                after = (k + 1) % points
                _widen(x[i, curve, k], y[i, curve, k], x[i, curve, after], y[i, curve, after], radii[i])


@njit(cache=True, nogil=True, error_model="numpy")
def multiply_imaged_radii(theta_e, q, phi, g1, g2, radii):
    """Fill radii (n, directions) with the outer outline of the cut joined with the tangential caustic."""
    for i in range(len(theta_e)):
        radii[i] = 0.0
        for curve in range(2):
            x0, y0 = 0.0, 0.0
            for k in range(_CURVE + 1):
                angle = 2.0 * math.pi * k / _CURVE
                radius = 0.0
                if curve == 1:
                    det, tangential, profile = _jacobian_terms(angle, q[i], phi[i], g1[i], g2[i])
                    radius = theta_e[i] * tangential * profile / det
                x1, y1 = _mapped(angle, radius, theta_e[i], q[i], phi[i], g1[i], g2[i])
                if k > 0:
                    _widen(x0, y0, x1, y1, radii[i])
                x0, y0 = x1, y1


@njit(cache=True, nogil=True, error_model="numpy")
def _root(angle, bx, by, theta_e, q, phi, g1, g2):
    """f = t^T M^-1 (b + alpha(angle)), 0 at an image; its derivative; the image's distance from the centre.

    There det A = -f' det M / distance. The derivative: alpha' is theta_E sqrt(q) / w along t (w as in ``_alpha``).
    """
    cos, sin = math.cos(angle), math.sin(angle)
    cos_phi, sin_phi = math.cos(phi), math.sin(phi)
    c, s = cos * cos_phi + sin * sin_phi, sin * cos_phi - cos * sin_phi
    w = math.sqrt(q * q * c * c + s * s)
    f = math.sqrt(max(1.0 - q * q, 1e-14))
    scale = theta_e * math.sqrt(q)
    u, v = scale / f * math.atan(f * c / w), scale / f * math.atanh(f * s / w)
    px, py = bx + cos_phi * u - sin_phi * v, by + sin_phi * u + cos_phi * v
    det = (1.0 - g1) * (1.0 + g1) - g2 * g2
    x, y = ((1.0 + g1) * px + g2 * py) / det, (g2 * px + (1.0 - g1) * py) / det
    radius = cos * x + sin * y
    tangential = sin * sin * (1.0 + g1) - 2.0 * sin * cos * g2 + cos * cos * (1.0 - g1)
    return cos * y - sin * x, scale / w * tangential / det - radius, radius


@njit(cache=True, nogil=True, error_model="numpy")
def _scan_table(theta_e, q, phi, g1, g2, table):
    """Fill table (_SCAN + 1, 4): the linear form in (bx, by, 1) whose zero crossings in angle are images."""
    det = (1.0 - g1) * (1.0 + g1) - g2 * g2
    for k in range(_SCAN + 1):
        angle = -math.pi + 2.0 * math.pi * k / _SCAN
        c, s = math.cos(angle), math.sin(angle)
        ax, ay = _alpha(angle, theta_e, q, phi)
        table[k, 0] = (-s * (1.0 + g1) + c * g2) / det
        table[k, 1] = (-s * g2 + c * (1.0 - g1)) / det
        table[k, 2] = table[k, 0] * ax + table[k, 1] * ay
        table[k, 3] = angle


@njit(cache=True, nogil=True, error_model="numpy")
def _image(low, high, f_low, f_high, bx, by, theta_e, q, phi, g1, g2):
    """df/dangle and distance from the centre at the zero of ``_root`` between two angles, to _ANGLE_TOLERANCE.

    Newton's steps from the chord's zero, two as a rule; one that would leave the bracket is replaced by bisection.
    """
    angle = low + (high - low) * (f_low / (f_low - f_high))
    slope, radius = 0.0, 0.0
    for _ in range(_REFINE):
        value, slope, radius = _root(angle, bx, by, theta_e, q, phi, g1, g2)
        if abs(value) <= _ANGLE_TOLERANCE * abs(slope):
            break
        if (value > 0.0) == (f_low > 0.0):
            low = angle
        else:
            high = angle
        angle -= value / slope
        if not low < angle < high:
            angle = 0.5 * (low + high)
    return slope, radius


@njit(cache=True, nogil=True, error_model="numpy")
def image_count_and_magnification(bx, by, theta_e, q, phi, g1, g2, table):
    """Number of images and total magnification of a point source at offset (bx, by) from the mapped lens centre."""
    count, total = 0, 0.0
    det = (1.0 - g1) * (1.0 + g1) - g2 * g2
    previous = table[0, 0] * bx + table[0, 1] * by + table[0, 2]
    for k in range(1, _SCAN + 1):
        value = table[k, 0] * bx + table[k, 1] * by + table[k, 2]
        if (value > 0.0) != (previous > 0.0):
            slope, radius = _image(table[k - 1, 3], table[k, 3], previous, value, bx, by, theta_e, q, phi, g1, g2)
            if radius > 0.0:
                count += 1
                total += 1.0 / max(abs(det * slope / radius), 1e-9)
        previous = value
    return count, total


@njit(cache=True, nogil=True, error_model="numpy")
def point_images(bx, by, theta_e, q, phi, g1, g2, count, total):
    """Fill count (n,) and total (n,) for one point source per lens."""
    table = np.empty((_SCAN + 1, 4))
    for i in range(len(theta_e)):
        _scan_table(theta_e[i], q[i], phi[i], g1[i], g2[i], table)
        count[i], total[i] = image_count_and_magnification(bx[i], by[i], theta_e[i], q[i], phi[i], g1[i], g2[i], table)


@njit(cache=True, nogil=True, error_model="numpy")
def magnified_radii(theta_e, q, phi, g1, g2, minimum, radii):
    """Fill radii (n, directions) with the outline of total point-source magnification >= ``minimum``.

    Bisection along each direction; the map is odd about the centre, so half of the (even) directions suffice. Along
    a direction from the centre the total falls to 1; the largest single image alone is below the minimum beyond
    theta_E (1 + shear) (4 / (minimum - 1)) / q.
    """
    half = radii.shape[1] // 2
    table = np.empty((_SCAN + 1, 4))
    for i in range(len(theta_e)):
        _scan_table(theta_e[i], q[i], phi[i], g1[i], g2[i], table)
        for k in range(half):
            angle = math.pi * k / half
            c, s = math.cos(angle), math.sin(angle)
            low, high = 0.0, 4.0 * theta_e[i] / (min(minimum, 2.0) - 1.0) / q[i]
            for _ in range(_BISECTIONS):
                middle = 0.5 * (low + high)
                _, total = image_count_and_magnification(
                    middle * c, middle * s, theta_e[i], q[i], phi[i], g1[i], g2[i], table
                )
                if total >= minimum:
                    low = middle
                else:
                    high = middle
            radii[i, k] = low
            radii[i, k + half] = low
