"""One step of the fit: the objective with its normal equations, and the bounded step that they promise. Private to
``_fit_kernels``.

What is minimised is 2 x the negative log posterior: the loss of each residual in sigmas, (A / sd)^2 and
((beta - mean) / sd)^2. Steps solve the damped normal equations (Marquardt's scaling) on the parameters that no bound
holds.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from skytrace.supernovae._fit_model_kernels import predict

__all__ = [
    "SUMS",
    "bounded_step",
    "copy_hessian",
    "copy_parameters",
    "distance",
    "newton_hessian",
    "normal_equations",
    "promised",
]

SUMS = {"contract", "reassoc", "nsz"}  # sums may be taken in any order, multiply-add in one rounding


@njit(nogil=True, error_model="numpy")
def _robust_weights(misses, c, weights):
    """Sum of the loss of residuals in sigmas; ``weights`` get its derivative by their squares."""
    total = 0.0
    for i in range(misses.size):
        square = misses[i] * misses[i]
        if c[9] == 1.0:
            root = math.sqrt(1.0 + square / c[10] ** 2)
            total += 2.0 * c[10] ** 2 * (root - 1.0)
            weights[i] = 1.0 / root
        else:
            total += (c[10] + 1.0) * math.log1p(square / c[10])
            weights[i] = (c[10] + 1.0) / (c[10] + square)
    return total


@njit(nogil=True, fastmath=SUMS, error_model="numpy")
def _sums(misses, weights, inverse_sigma, out, hessian, gradient):
    """Sum of squares; half the Gauss-Newton Hessian and gradient, without priors."""
    d0, d1, d2, d3 = out[1], out[2], out[3], out[4]
    g0 = g1 = g2 = g3 = squares = 0.0
    h00 = h10 = h11 = h20 = h21 = h22 = h30 = h31 = h32 = h33 = 0.0
    for i in range(misses.size):
        miss, by_flux = misses[i], weights[i] * misses[i]
        squares += miss * miss
        j0, j1, j2, j3 = (
            d0[i] * inverse_sigma[i],
            d1[i] * inverse_sigma[i],
            d2[i] * inverse_sigma[i],
            d3[i] * inverse_sigma[i],
        )
        g0 -= by_flux * j0
        g1 -= by_flux * j1
        g2 -= by_flux * j2
        g3 -= by_flux * j3
        w0, w1, w2, w3 = weights[i] * j0, weights[i] * j1, weights[i] * j2, weights[i] * j3
        h00 += w0 * j0
        h10 += w1 * j0
        h11 += w1 * j1
        h20 += w2 * j0
        h21 += w2 * j1
        h22 += w2 * j2
        h30 += w3 * j0
        h31 += w3 * j1
        h32 += w3 * j2
        h33 += w3 * j3
    gradient[0], gradient[1], gradient[2], gradient[3] = g0, g1, g2, g3
    hessian[0, 0], hessian[1, 1], hessian[2, 2], hessian[3, 3] = h00, h11, h22, h33
    hessian[1, 0] = hessian[0, 1] = h10
    hessian[2, 0] = hessian[0, 2] = h20
    hessian[2, 1] = hessian[1, 2] = h21
    hessian[3, 0] = hessian[0, 3] = h30
    hessian[3, 1] = hessian[1, 3] = h31
    hessian[3, 2] = hessian[2, 3] = h32
    return squares


@njit(nogil=True, error_model="numpy")
def normal_equations(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient):
    """Objective; ``hessian`` (4, 4) and ``gradient`` (4,) get half its Gauss-Newton Hessian and gradient.

    out (7, m) gets fluxes, their four derivatives, residuals in sigmas and weights.
    """
    predict(theta, obs, stretch, c, phase, series, slope, out)
    measured, inverse_sigma, fluxes, misses = obs[1], obs[2], out[0], out[5]
    for i in range(misses.size):
        misses[i] = (measured[i] - fluxes[i]) * inverse_sigma[i]
    robust = 0.0
    if c[9] == 0.0:
        for i in range(misses.size):
            out[6, i] = 1.0
    else:
        robust = _robust_weights(misses, c, out[6])
    squares = _sums(misses, out[6], inverse_sigma, out, hessian, gradient)
    off = theta[2] - c[12]
    gradient[1] += c[11] * theta[1]
    gradient[2] += c[13] * off
    hessian[1, 1] += c[11]
    hessian[2, 2] += c[13]
    return (squares if c[9] == 0.0 else robust) + c[11] * theta[1] ** 2 + c[13] * off * off


@njit(nogil=True, error_model="numpy")
def _solve(hessian, gradient, damping, held, step):
    """Step of the damped normal equations; a ``held`` parameter keeps the step that it has. False: not definite.

    L D L^T written out: loops over four are slower than their arithmetic. The row of a held parameter is of the unit
    matrix, with its step on the right-hand side.
    """
    f0, f1, f2, f3 = not held[0], not held[1], not held[2], not held[3]
    s0, s1 = 0.0 if f0 else step[0], 0.0 if f1 else step[1]
    s2, s3 = 0.0 if f2 else step[2], 0.0 if f3 else step[3]
    h00, h11, h22, h33 = hessian[0, 0], hessian[1, 1], hessian[2, 2], hessian[3, 3]
    h10, h20, h21 = hessian[1, 0], hessian[2, 0], hessian[2, 1]
    h30, h31, h32 = hessian[3, 0], hessian[3, 1], hessian[3, 2]
    r0 = -gradient[0] - h10 * s1 - h20 * s2 - h30 * s3 if f0 else s0
    r1 = -gradient[1] - h10 * s0 - h21 * s2 - h31 * s3 if f1 else s1
    r2 = -gradient[2] - h20 * s0 - h21 * s1 - h32 * s3 if f2 else s2
    r3 = -gradient[3] - h30 * s0 - h31 * s1 - h32 * s2 if f3 else s3
    h10, h20, h21 = h10 if f0 and f1 else 0.0, h20 if f0 and f2 else 0.0, h21 if f1 and f2 else 0.0
    h30, h31, h32 = h30 if f0 and f3 else 0.0, h31 if f1 and f3 else 0.0, h32 if f2 and f3 else 0.0
    grown = 1.0 + damping
    d0 = grown * h00 if f0 else 1.0
    i0 = 1.0 / d0
    l10, l20, l30 = h10 * i0, h20 * i0, h30 * i0
    d1 = (grown * h11 if f1 else 1.0) - l10 * h10
    i1 = 1.0 / d1
    c21, c31 = h21 - l20 * h10, h31 - l30 * h10
    l21, l31 = c21 * i1, c31 * i1
    d2 = (grown * h22 if f2 else 1.0) - l20 * h20 - l21 * c21
    i2 = 1.0 / d2
    c32 = h32 - l30 * h20 - l31 * c21
    l32 = c32 * i2
    d3 = (grown * h33 if f3 else 1.0) - l30 * h30 - l31 * c31 - l32 * c32
    least = 1e-14
    if not (
        (d0 > least * h00 or not f0) and (d1 > least * h11 or not f1)
        and (d2 > least * h22 or not f2) and (d3 > least * h33 or not f3)
    ):  # fmt: skip
        return False
    y1 = r1 - l10 * r0
    y2 = r2 - l20 * r0 - l21 * y1
    step[3] = x3 = (r3 - l30 * r0 - l31 * y1 - l32 * y2) / d3
    step[2] = x2 = y2 * i2 - l32 * x3
    step[1] = x1 = y1 * i1 - l21 * x2 - l31 * x3
    step[0] = r0 * i0 - l10 * x1 - l20 * x2 - l30 * x3
    return True


@njit(nogil=True, error_model="numpy")
def bounded_step(theta, low, high, hessian, gradient, damping, step, held):
    """Step inside the bounds: a parameter that would leave is put on its bound, the others follow. False: singular."""
    for j in range(4):
        step[j] = 0.0
        held[j] = (theta[j] <= low[j] and gradient[j] > 0.0) or (theta[j] >= high[j] and gradient[j] < 0.0)
        if not hessian[j, j] > 0.0:
            held[j] = True
    for _ in range(4):
        if not _solve(hessian, gradient, damping, held, step):
            return False
        inside = True
        for j in range(4):
            if held[j]:
                continue
            if theta[j] + step[j] < low[j]:
                step[j], held[j], inside = low[j] - theta[j], True, False
            elif theta[j] + step[j] > high[j]:
                step[j], held[j], inside = high[j] - theta[j], True, False
        if inside:
            break
    return True


@njit(nogil=True, error_model="numpy")
def promised(theta, low, high, hessian, gradient, step, held):
    """Decrease of the objective that an undamped step promises; infinity where there is no such step."""
    damping = 0.0
    while not bounded_step(theta, low, high, hessian, gradient, damping, step, held):
        damping = max(1e-10, 100.0 * damping)
        if damping > 1.0:
            return np.inf
    total = 0.0
    for j in range(4):
        total -= 2.0 * gradient[j] * step[j]
        for k in range(4):
            total -= step[j] * hessian[j, k] * step[k]
    return total


@njit(nogil=True, error_model="numpy")
def copy_parameters(source, target):
    """target[:] = source, without the compiled error message of a shape that does not fit."""
    for j in range(4):
        target[j] = source[j]


@njit(nogil=True, error_model="numpy")
def copy_hessian(source, target):
    """Copy source (4, 4) into target."""
    for j in range(4):
        for k in range(4):
            target[j, k] = source[j, k]


@njit(nogil=True, error_model="numpy")
def newton_hessian(theta, low, high, obs, stretch, c, phase, series, slope, space):
    """Put half the full Hessian at ``theta``, by differences of the gradient, in place of the Gauss-Newton one in
    ``space``, where it is positive definite on the parameters that are free.
    """
    out, hessians, vectors, held = space
    gauss_newton, full, spare = hessians[0], hessians[2], hessians[3]
    gradient, step, trial, above, below = vectors[0], vectors[2], vectors[3], vectors[4], vectors[5]
    for j in range(4):
        copy_parameters(theta, trial)
        width = 1e-3 / math.sqrt(gauss_newton[j, j]) if gauss_newton[j, j] > 0.0 else 1e-6
        trial[j] = theta[j] + width
        normal_equations(trial, obs, stretch, c, phase, series, slope, out, spare, above)
        trial[j] = theta[j] - width
        normal_equations(trial, obs, stretch, c, phase, series, slope, out, spare, below)
        for k in range(4):
            full[j, k] = (above[k] - below[k]) / (2.0 * width)
    for j in range(4):
        for k in range(j):
            full[j, k] = full[k, j] = 0.5 * (full[j, k] + full[k, j])
    if bounded_step(theta, low, high, full, gradient, 0.0, step, held):
        copy_hessian(full, gauss_newton)


@njit(nogil=True, error_model="numpy")
def distance(theta, other, hessian):
    """Squared distance of two sets of parameters in the objective's curvature."""
    total = 0.0
    for j in range(4):
        for k in range(4):
            total += (theta[j] - other[j]) * hessian[j, k] * (theta[k] - other[k])
    return total
