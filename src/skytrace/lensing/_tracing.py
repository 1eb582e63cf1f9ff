"""Compiled float32 ray tracing through an SIE or EPL with shear. Private to rendering.

The SIE's two angular functions are universal polynomials. A power law's are its own: both are smooth in
T = (w - q)/(1 - q), w = sqrt(q^2 c^2 + s^2) for the direction (c, s) from the centre along the mass, so degree 10 holds
them to 4e-6 of theta_E at q = 0.2 and to 1e-9 above 0.5; the series of Tessore & Metcalf (2015) would take 35 terms.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numba.np.unsafe.ndarray import to_fixed_tuple
from numpy.polynomial import chebyshev

from skytrace.lensing._kernel_cache import follow_sources
from skytrace.lensing.deflection import MIN_AXIS_RATIO, regular_arccos

__all__ = ["FLOAT", "LENS_COLUMNS", "MATH", "exp2", "lens_columns", "log2", "trace"]

_DEGREE = 10
#: Columns of the kernels' ``lens`` argument: geometry, 2 - gamma_epl, by how much gamma_epl exceeds 2 (0 below), and
#: the power law's two polynomials.
LENS_COLUMNS = (
    "theta_e", "q", "cos", "sin", "x", "y", "gamma1", "gamma2", "exponent", "steep",
    *(f"along{k}" for k in range(_DEGREE + 1)), *(f"across{k}" for k in range(_DEGREE + 1)),
)  # fmt: skip
FLOAT = _F = np.float32
_ALONG, _ACROSS = 10, 11 + _DEGREE


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
MATH = {"contract", "nsz", "arcp", "nnan", "ninf"}


@njit(inline="always", error_model="numpy")
def log2(x):
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
def exp2(x):
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
def _shoot_power_law(x, y, q, cos, sin, cx, cy, g1, g2, exponent, along_terms, across_terms):
    """Source position of (x, y), and the deflection over the distance from the centre."""
    dx, dy = x - cx, y - cy
    along, across = cos * dx + sin * dy, cos * dy - sin * dx
    radius2 = along * along + across * across + _F(1e-12)
    inverse = _F(1) / np.sqrt(radius2)
    c, s = along * inverse, across * inverse
    t = _F(2) * (_F(1) + q) * s * s / (np.sqrt(q * q * c * c + s * s + _F(1e-12)) + q) - _F(1)
    a, b = along_terms[10], across_terms[10]
    a, b = a * t + along_terms[9], b * t + across_terms[9]
    a, b = a * t + along_terms[8], b * t + across_terms[8]
    a, b = a * t + along_terms[7], b * t + across_terms[7]
    a, b = a * t + along_terms[6], b * t + across_terms[6]
    a, b = a * t + along_terms[5], b * t + across_terms[5]
    a, b = a * t + along_terms[4], b * t + across_terms[4]
    a, b = a * t + along_terms[3], b * t + across_terms[3]
    a, b = a * t + along_terms[2], b * t + across_terms[2]
    a, b = a * t + along_terms[1], b * t + across_terms[1]
    a, b = a * t + along_terms[0], b * t + across_terms[0]
    power = exp2(_F(0.5) * exponent * log2(radius2))
    ax, ay = power * c * a, power * s * b
    bx = x - (cos * ax - sin * ay) - (g1 * x + g2 * y)
    by = y - (sin * ax + cos * ay) - (g2 * x - g1 * y)
    return bx, by, min(power * inverse * max(a, b), _F(100))


@njit(cache=True, nogil=True, fastmath=MATH, error_model="numpy")
def trace(x, y, ox, oy, m, lens, bx, by, stretch):
    """Source positions of m points (x + ox, y + oy), and the largest length of a unit step there seen in the source."""
    te, q, cos, sin, cx, cy, g1, g2 = (
        lens[0], lens[1], lens[2], lens[3], lens[4], lens[5], lens[6], lens[7])  # fmt: skip
    shear = _F(1) + np.sqrt(g1 * g1 + g2 * g2)
    exponent, steep = lens[8], lens[9]
    if exponent == _F(0):
        for i in range(m):
            px, py, k = _shoot(x[i] + ox, y[i] + oy, te, q, cos, sin, cx, cy, g1, g2)
            bx[i] = px
            by[i] = py
            stretch[i] = max(shear, k - _F(2) + shear)
    else:
        along = to_fixed_tuple(lens[_ALONG:], 11)  # type: ignore[call-arg, var-annotated]
        across = to_fixed_tuple(lens[_ACROSS:], 11)
        for i in range(m):
            px, py, k = _shoot_power_law(x[i] + ox, y[i] + oy, q, cos, sin, cx, cy, g1, g2, exponent, along, across)
            bx[i] = px
            by[i] = py
            stretch[i] = max(shear + steep * k, k - _F(2) + shear)


@njit(cache=True, nogil=True, error_model="numpy")
def _angular(t, q, c, s):
    """The power law's deflection over (c, s) in direction (c, s) at unit distance, for b = theta_E sqrt(q) = 1."""
    w = math.sqrt(q * q * c * c + s * s)
    cos, sin = q * c / w, s / w
    f = (1.0 - q) / (1.0 + q)
    step = -f * complex(cos * cos - sin * sin, 2.0 * cos * sin)
    term = complex(cos, sin)
    total = term
    for k in range(1, 200):
        term = term * step * ((2 * k - 2 + t) / (2 * k + 2 - t))
        total += term
        if abs(term.real) + abs(term.imag) < 1e-12:
            break
    total *= 2.0 / (1.0 + q) * w ** (1.0 - t)
    return total.real / c, total.imag / s


_NODES = np.cos((np.arange(_DEGREE + 1) + 0.5) * np.pi / (_DEGREE + 1))
#: Power-series coefficients from the values at the nodes: one row a power.
_INTERPOLATION = np.ascontiguousarray(np.linalg.inv(np.vander(_NODES, increasing=True)))


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(parameters, nodes, interpolation, out):
    """out[i, 10:] for every lens that is not isothermal; parameters (n, 3): theta_E, q, gamma_epl in float64."""
    count = len(nodes)
    along, across = np.empty(count), np.empty(count)
    for i in range(len(parameters)):
        theta_e, q, slope = parameters[i]
        if slope == 2.0:
            continue
        scale = (theta_e * math.sqrt(q)) ** (slope - 1.0)
        for j in range(count):
            share = 0.5 * (nodes[j] + 1.0)
            s2 = share * (2.0 * q + (1.0 - q) * share) / (1.0 + q)  # (w - q)(w + q)/(1 - q^2), w = q + (1 - q) share
            along[j], across[j] = _angular(slope - 1.0, q, math.sqrt(1.0 - s2), math.sqrt(s2))
        for k in range(count):
            a, b = 0.0, 0.0
            for j in range(count):
                a += interpolation[k, j] * along[j]
                b += interpolation[k, j] * across[j]
            out[i, _ALONG + k] = scale * a
            out[i, _ACROSS + k] = scale * b


def lens_columns(lenses) -> np.ndarray:
    """The kernels' lens argument (n, len(LENS_COLUMNS)) float32."""
    out = np.zeros((len(lenses), len(LENS_COLUMNS)), dtype=np.float32)
    geometry = (
        lenses.theta_e_arcsec, lenses.q, np.cos(lenses.phi_rad), np.sin(lenses.phi_rad), lenses.center_x_arcsec,
        lenses.center_y_arcsec, lenses.gamma1, lenses.gamma2, 2.0 - lenses.gamma_epl,
        np.maximum(lenses.gamma_epl - 2.0, 0.0),
    )  # fmt: skip
    for k, values in enumerate(geometry):
        out[:, k] = values
    parameters = np.stack([lenses.theta_e_arcsec, lenses.q, lenses.gamma_epl], axis=1)
    _fill(parameters, _NODES, _INTERPOLATION, out)
    return out


follow_sources(globals())
