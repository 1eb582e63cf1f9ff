"""The compiled fit of light curves: the model with its derivatives, and a bounded Levenberg-Marquardt. Private to
``light_curve_fit``.

The model is that of ``light_curve_model`` (a test compares them to 1e-12), in loops that a compiler turns into vector
instructions. Every supernova is computed on its own, its observations in their given order, so that it gets the same
bits alone, in any batch and on any thread. Parameters are (t0, A, beta, alpha). What is minimised is 2 x the negative
log posterior: the loss of each residual in sigmas, (A / sd)^2 and ((beta - mean) / sd)^2. Steps solve the damped
normal equations (Marquardt's scaling) on the parameters that no bound holds; the fit has converged when the decrease
that an undamped step still promises is below TOLERANCE.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["CONSTANTS", "OBSERVATION", "STATUS", "TOLERANCE", "fit_supernovae", "objective_gradient", "predict_all"]

#: Rows of ``obs`` (8, m), the observations of one supernova. front: of the blackbody, (1 + z) scale / lambda_rest^3;
#: x0: c2 / lambda_rest [K]; ln_colour: ln(pivot / lambda_rest); fdr: a^2 of tau_FDR = fdr x flux; position: in the
#: columns of the series.
OBSERVATION = ("mjd", "flux", "inverse_sigma", "front", "x0", "ln_colour", "fdr", "position")
#: What all supernovae share, in this order.
CONSTANTS = (
    "is_template", "rise", "rise_power", "sharpness", "decline", "floor_k", "drop_k", "cooling", "plasma",
    "loss", "loss_scale", "a_precision", "beta_mean", "beta_precision", "peak_days", "with_fdr",
)  # fmt: skip
STATUS = ("converged", "iterations", "stalled", "no_signal")
TOLERANCE = 1e-9
_CONVERGED, _ITERATIONS, _STALLED, _NO_SIGNAL = range(4)
_SAME_BASIN = 0.01  # of the objective's curvature between two descents: a second one that comes so near ends there

_EXTRA = np.array([[0.5, 0.7], [0.03, 2.5], [0.02, 0.5]])  # (A, beta) of further starts of a fit without priors
_NEWTON_AFTER = 15  # iterations: residuals so large that Gauss-Newton crawls get second derivatives

_FUSED = {"contract"}  # multiply-add in one rounding
_SUMS = {"contract", "reassoc", "nsz"}
_LN2, _LOG2E = math.log(2.0), 1.0 / math.log(2.0)
_LN2_HIGH = 6.93147180369123816490e-01  # its last 21 bits are 0: n times it is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 x 2^52: adding it leaves the nearest whole number in the lowest bits
_TWO52 = 4503599627370496.0
_EXP = tuple(1.0 / math.factorial(k) for k in range(14))
_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)
_ONE, _MANTISSA = np.int64(0x3FF0000000000000), np.int64(0x000FFFFFFFFFFFFF)
_TWO52_BITS = np.int64(0x4330000000000000)


@njit(inline="always", error_model="numpy")
def _exp(x):
    """e^x to 2e-16, for loops of vector instructions; x beyond +-700 is taken as +-700."""
    x = min(max(x, -700.0), 700.0)
    shifted = x * _LOG2E + _ROUND
    whole = shifted - _ROUND
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = _EXP[13]
    p = p * r + _EXP[12]
    p = p * r + _EXP[11]
    p = p * r + _EXP[10]
    p = p * r + _EXP[9]
    p = p * r + _EXP[8]
    p = p * r + _EXP[7]
    p = p * r + _EXP[6]
    p = p * r + _EXP[5]
    p = p * r + _EXP[4]
    p = p * r + _EXP[3]
    p = p * r + _EXP[2]
    p = p * r + 1.0
    p = p * r + 1.0
    bits = np.float64(shifted).view(np.int64)
    return p * np.int64((bits + np.int64(1023)) << np.int64(52)).view(np.float64)


@njit(inline="always", error_model="numpy")
def _log(x):
    """ln x of a positive, normal x to 4e-16, for loops of vector instructions."""
    bits = np.float64(x).view(np.int64) + (_ONE - _ROOT_HALF)
    exponent = np.int64((bits >> np.int64(52)) | _TWO52_BITS).view(np.float64) - (_TWO52 + 1023.0)
    m = np.int64((bits & _MANTISSA) + _ROOT_HALF).view(np.float64)
    f = (m - 1.0) / (m + 1.0)
    g = f * f
    p = 1.0 / 23.0
    p = p * g + 1.0 / 21.0
    p = p * g + 1.0 / 19.0
    p = p * g + 1.0 / 17.0
    p = p * g + 1.0 / 15.0
    p = p * g + 1.0 / 13.0
    p = p * g + 1.0 / 11.0
    p = p * g + 1.0 / 9.0
    p = p * g + 1.0 / 7.0
    p = p * g + 1.0 / 5.0
    p = p * g + 1.0 / 3.0
    return exponent * _LN2_HIGH + (2.0 * f + (2.0 * f * g * p + exponent * _LN2_LOW))


@njit(cache=True, nogil=True, fastmath=_FUSED, error_model="numpy")
def _blackbody(theta, obs, stretch, c, out):
    """Fluxes without FDR and their derivatives by t0, A, beta and alpha, into out[:5]."""
    mjd, front, x0, ln_colour = obs[0], obs[3], obs[4], obs[5]
    flux, by_t0, by_a, by_beta, by_alpha = out[0], out[1], out[2], out[3], out[4]
    t0, a, beta, alpha = theta[0], theta[1], theta[2], theta[3]
    per_stretch, power, sharpness, ln_rise0 = 1.0 / stretch, c[2], c[3], math.log(c[1])
    per_sharpness, per_decline, per_cooling, per_plasma = 1.0 / c[3], 1.0 / c[4], 1.0 / c[7], 1.0 / c[8]
    floor, drop = c[5], c[6]
    constant = alpha + 2.0 * _LN2 * per_sharpness + 2.0 * c[1] * per_decline
    for i in range(mjd.size):
        rest = (mjd[i] - t0) * per_stretch
        t = max(rest, 1e-12)
        ln_rise = power * (_log(t) - ln_rise0)
        joined = 1.0 + _exp(sharpness * ln_rise)
        cooled = drop * _exp(-t * per_cooling)
        per_temperature = 1.0 / (floor + cooled)
        x = x0[i] * per_temperature
        per_light = 1.0 / (1.0 - _exp(-x))
        left = _exp(-t * per_plasma)
        colour = _exp(beta * ln_colour[i])
        grown = (1.0 - left) * colour
        exponent = constant + 2.0 * (ln_rise - per_sharpness * _log(joined) - t * per_decline) - x - a * grown
        value = front[i] * per_light * _exp(exponent)
        value = value if rest > 0.0 else 0.0
        rate = 2.0 * (power / (t * joined) - per_decline) - x * per_light * cooled * per_temperature * per_cooling
        rate -= a * colour * left * per_plasma
        flux[i] = value
        by_t0[i] = -value * rate * per_stretch
        by_a[i] = -value * grown
        by_beta[i] = -value * a * grown * ln_colour[i]
        by_alpha[i] = value


@njit(cache=True, nogil=True, fastmath=_FUSED, error_model="numpy")
def _template(theta, obs, stretch, c, phase, series, slope, out):
    """As ``_blackbody``, for the spectral series."""
    mjd, ln_colour, position = obs[0], obs[5], obs[7]
    last = phase.size - 1
    for i in range(mjd.size):
        t = (mjd[i] - theta[0]) / stretch
        if t <= 0.0:
            for j in range(5):
                out[j, i] = 0.0
            continue
        left = int(position[i])
        right = position[i] - left
        if t >= phase[last]:
            end = (1.0 - right) * series[last, left] + right * series[last, left + 1]
            before = (1.0 - right) * series[last - 1, left] + right * series[last - 1, left + 1]
            fade = max(math.log(before / end) / (phase[last] - phase[last - 1]), 0.0) if end > 0.0 else 0.0
            emitted = end * math.exp(-fade * (t - phase[last]))
            rate = -fade * emitted
        else:
            k = np.searchsorted(phase, t, side="right") - 1
            width = phase[k + 1] - phase[k]
            u = (t - phase[k]) / width
            v = 1.0 - u
            y0 = (1.0 - right) * series[k, left] + right * series[k, left + 1]
            y1 = (1.0 - right) * series[k + 1, left] + right * series[k + 1, left + 1]
            s0 = width * ((1.0 - right) * slope[k, left] + right * slope[k, left + 1])
            s1 = width * ((1.0 - right) * slope[k + 1, left] + right * slope[k + 1, left + 1])
            emitted = (1.0 + 2.0 * u) * v * v * y0 + u * v * v * s0 + u * u * (3.0 - 2.0 * u) * y1 - u * u * v * s1
            rate = (6.0 * u * v * (y1 - y0) + v * (1.0 - 3.0 * u) * s0 + u * (3.0 * u - 2.0) * s1) / width
        left_over = _exp(-t / c[8])
        colour = _exp(theta[2] * ln_colour[i])
        grown = (1.0 - left_over) * colour
        dim = stretch * _exp(theta[3] - theta[1] * grown)
        value = dim * emitted
        out[0, i] = value
        out[1, i] = -(dim * rate - value * theta[1] * colour * left_over / c[8]) / stretch
        out[2, i] = -value * grown
        out[3, i] = -value * theta[1] * grown * ln_colour[i]
        out[4, i] = value


@njit(cache=True, nogil=True, error_model="numpy")
def _lambert(y):
    """W0(y), y >= 0: Halley's iteration (three digits a step from a start good to a few per cent)."""
    w = math.log1p(y) * (1.0 - math.log1p(math.log1p(y)) / (2.0 + math.log1p(y)))
    for _ in range(8):
        e = math.exp(w)
        miss = w * e - y
        step = miss / (e * (w + 1.0) - (w + 2.0) * miss / (2.0 * w + 2.0))
        w -= step
        if abs(step) <= 1e-15 * abs(w):
            break
    return w


@njit(cache=True, nogil=True, error_model="numpy")
def _predict(theta, obs, stretch, c, phase, series, slope, out):
    """Fluxes [Jy] and their derivatives by the parameters, into out[0] and out[1:5]."""
    if c[0] == 0.0:
        _blackbody(theta, obs, stretch, c, out)
    else:
        _template(theta, obs, stretch, c, phase, series, slope, out)
    if c[15] == 0.0:
        return
    for i in range(obs.shape[1]):
        fdr = 2.0 * _lambert(0.5 * math.sqrt(obs[6, i] * out[0, i]))
        kept = math.exp(-fdr)
        out[0, i] *= kept
        for j in range(1, 5):
            out[j, i] *= kept * 2.0 / (2.0 + fdr)  # d ln(kept flux) / d ln(flux)


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, fastmath=_SUMS, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _normal(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient):
    """Objective; ``hessian`` (4, 4) and ``gradient`` (4,) get half its Gauss-Newton Hessian and gradient.

    out (7, m) gets fluxes, their four derivatives, residuals in sigmas and weights.
    """
    _predict(theta, obs, stretch, c, phase, series, slope, out)
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


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(hessian, gradient, damping, held, step, lower):
    """Step of the damped normal equations; a ``held`` parameter keeps the step that it has. False: not definite."""
    for a in range(4):
        if held[a]:
            for b in range(a):
                lower[a, b] = 0.0
            lower[a, a] = 1.0
            continue
        for b in range(a + 1):
            total = 0.0 if held[b] else hessian[a, b]
            if a == b:
                total += damping * total
            for m in range(b):
                total -= lower[a, m] * lower[b, m]
            if a == b:
                if not total > 1e-14 * hessian[a, a]:
                    return False
                lower[a, a] = math.sqrt(total)
            else:
                lower[a, b] = total / lower[b, b]
    for a in range(4):
        if held[a]:
            continue
        total = -gradient[a]
        for k in range(4):
            if held[k]:
                total -= hessian[a, k] * step[k]
        for m in range(a):
            if not held[m]:
                total -= lower[a, m] * step[m]
        step[a] = total / lower[a, a]
    for a in range(3, -1, -1):
        if held[a]:
            continue
        for m in range(a + 1, 4):
            if not held[m]:
                step[a] -= lower[m, a] * step[m]
        step[a] /= lower[a, a]
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _bounded_step(theta, low, high, hessian, gradient, damping, step, held, lower):
    """Step inside the bounds: a parameter that would leave is put on its bound, the others follow. False: singular."""
    for j in range(4):
        step[j] = 0.0
        held[j] = (theta[j] <= low[j] and gradient[j] > 0.0) or (theta[j] >= high[j] and gradient[j] < 0.0)
        if not hessian[j, j] > 0.0:
            held[j] = True
    for _ in range(4):
        if not _solve(hessian, gradient, damping, held, step, lower):
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


@njit(cache=True, nogil=True, error_model="numpy")
def _promised(theta, low, high, hessian, gradient, step, held, lower):
    """Decrease of the objective that an undamped step promises; infinity where there is no such step."""
    damping = 0.0
    while not _bounded_step(theta, low, high, hessian, gradient, damping, step, held, lower):
        damping = max(1e-10, 100.0 * damping)
        if damping > 1.0:
            return np.inf
    total = 0.0
    for j in range(4):
        total -= 2.0 * gradient[j] * step[j]
        for k in range(4):
            total -= step[j] * hessian[j, k] * step[k]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(source, target):
    """target[:] = source, without the compiled error message of a shape that does not fit."""
    for j in range(4):
        target[j] = source[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _copy_square(source, target):
    for j in range(4):
        for k in range(4):
            target[j, k] = source[j, k]


@njit(cache=True, nogil=True, error_model="numpy")
def _newton(theta, low, high, obs, stretch, c, phase, series, slope, space):
    """Put half the full Hessian at ``theta``, by differences of the gradient, in place of the Gauss-Newton one in
    ``space``, where it is positive definite on the parameters that are free.
    """
    out, hessians, vectors, held = space
    gauss_newton, full, lower, spare = hessians[0], hessians[3], hessians[2], hessians[4]
    gradient, step, trial, above, below = vectors[0], vectors[2], vectors[3], vectors[4], vectors[5]
    for j in range(4):
        _copy(theta, trial)
        width = 1e-3 / math.sqrt(gauss_newton[j, j]) if gauss_newton[j, j] > 0.0 else 1e-6
        trial[j] = theta[j] + width
        _normal(trial, obs, stretch, c, phase, series, slope, out, spare, above)
        trial[j] = theta[j] - width
        _normal(trial, obs, stretch, c, phase, series, slope, out, spare, below)
        for k in range(4):
            full[j, k] = (above[k] - below[k]) / (2.0 * width)
    for j in range(4):
        for k in range(j):
            full[j, k] = full[k, j] = 0.5 * (full[j, k] + full[k, j])
    if _bounded_step(theta, low, high, full, gradient, 0.0, step, held, lower):
        _copy_square(full, gauss_newton)


@njit(cache=True, nogil=True, error_model="numpy")
def _distance(theta, other, hessian):
    """Squared distance of two sets of parameters in the objective's curvature."""
    total = 0.0
    for j in range(4):
        for k in range(4):
            total += (theta[j] - other[j]) * hessian[j, k] * (theta[k] - other[k])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _descend(theta, low, high, obs, stretch, c, phase, series, slope, most, best, best_objective, space):
    """Levenberg-Marquardt from ``theta``, in place: objective, iterations, status.

    Ends early, with an infinite objective, where it comes near ``best``, an end of another descent, from above.
    """
    out, hessians, vectors, held = space
    hessian, other_hessian, lower = hessians[0], hessians[1], hessians[2]
    gradient, other_gradient, step, trial = vectors[0], vectors[1], vectors[2], vectors[3]
    objective = _normal(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient)
    damping, tried = 1e-3, objective
    for iteration in range(most):
        if iteration >= _NEWTON_AFTER:
            _newton(theta, low, high, obs, stretch, c, phase, series, slope, space)
        promised = _promised(theta, low, high, hessian, gradient, step, held, lower)
        if promised < TOLERANCE:
            return objective, iteration, _CONVERGED
        if objective >= best_objective and _distance(theta, best, hessian) < _SAME_BASIN:
            return np.inf, iteration, _CONVERGED
        accepted = False
        while damping < 1e14:
            if _bounded_step(theta, low, high, hessian, gradient, damping, step, held, lower):
                for j in range(4):
                    trial[j] = min(max(theta[j] + step[j], low[j]), high[j])
                tried = _normal(trial, obs, stretch, c, phase, series, slope, out, other_hessian, other_gradient)
                if tried < objective:
                    accepted = True
                    break
            damping *= 6.0
        if not accepted:
            return objective, iteration, _CONVERGED if promised < 1e-6 else _STALLED
        objective = tried
        _copy(trial, theta)
        _copy_square(other_hessian, hessian)
        _copy(other_gradient, gradient)
        damping = max(0.1 * damping, 1e-12)
    return objective, most, _ITERATIONS


@njit(cache=True, nogil=True, error_model="numpy")
def _profiled(theta, low, high, obs, stretch, c, phase, series, slope, out):
    """Objective at the best alpha for the other parameters, which is linear in e^alpha; sets theta[3]."""
    theta[3] = 0.5 * (low[3] + high[3])
    _predict(theta, obs, stretch, c, phase, series, slope, out)
    cross, power, squares = 0.0, 0.0, 0.0
    for i in range(obs.shape[1]):
        flux, measured = out[0, i] * obs[2, i], obs[1, i] * obs[2, i]
        cross += flux * measured
        power += flux * flux
        squares += measured * measured
    if not (cross > 0.0 and power > 0.0):
        theta[3] = low[3]
        return squares
    theta[3] = min(max(theta[3] + math.log(cross / power), low[3]), high[3])
    return squares - cross * cross / power


@njit(cache=True, nogil=True, error_model="numpy")
def _brightest_mjd(obs):
    """Epoch of the largest flux among observations of 5 sigma, of the largest significance where there is none."""
    best, at, significant = -np.inf, 0.0, False
    for i in range(obs.shape[1]):
        strong = obs[1, i] * obs[2, i] >= 5.0
        score = obs[1, i] if strong else obs[1, i] * obs[2, i]
        if (strong and not significant) or (strong == significant and score > best):
            best, at, significant = score, obs[0, i], strong
    return at


@njit(cache=True, nogil=True, error_model="numpy")
def _fit_one(obs, low, high, stretch, c, phase, series, slope, counts, theta, starts, scores, space):
    """Best of several starts, in ``theta``: objective, iterations of all descents, status."""
    n_starts, n_refined, most = counts
    bright = _brightest_mjd(obs)
    for k in range(n_starts):
        offset = c[14] * (1.0 if n_starts == 1 else 1.7 - 1.4 * k / (n_starts - 1))
        starts[k, 0] = min(max(bright - offset * stretch, low[0]), high[0])
        starts[k, 1] = min(0.1, high[1])
        starts[k, 2] = min(c[12], high[2])
        scores[k] = _profiled(starts[k], low, high, obs, stretch, c, phase, series, slope, space[0])
    best, status, iterations = np.inf, _NO_SIGNAL, 0
    theta[:] = np.inf
    refined = n_refined + (_EXTRA.shape[0] if c[13] == 0.0 else 0)
    for turn in range(refined):
        if turn < n_refined:
            k = np.argmin(scores[:n_starts])  # type: ignore[assignment]
            start = starts[k]
            if scores[k] == np.inf:
                continue
            scores[k] = np.inf
        else:  # without priors the likelihood has more than one minimum in A and beta
            if best == np.inf:
                break
            start = starts[0]
            start[0] = theta[0]
            start[1] = min(_EXTRA[turn - n_refined, 0], high[1])
            start[2] = min(_EXTRA[turn - n_refined, 1], high[2])
            _profiled(start, low, high, obs, stretch, c, phase, series, slope, space[0])
        if start[3] <= low[3]:
            continue
        found, used, how = _descend(start, low, high, obs, stretch, c, phase, series, slope, most, theta, best, space)
        iterations += used
        if found < best:
            best, status = found, how
            _copy(start, theta)
    return best, iterations, status


@njit(cache=True, nogil=True, error_model="numpy")
def fit_supernovae(observations, offsets, stretch, low, high, c, phase, series, slope, counts, first, last, found):
    """Fit supernovae first..last; ``found`` holds (theta (n, 4), Fisher (n, 4, 4), gradient (n, 4), summary (n, 5),
    status (n,)).

    observations (8 m,): ``obs`` of one supernova after another, that of i from 8 offsets[i] to 8 offsets[i + 1].
    stretch (n,) = 1 + z; low, high (n, 4); counts: starts, starts refined, most iterations. Fisher: of the data
    alone. gradient: half that of the objective, 0 but at a bound. summary: objective, chi2, skewness, excess
    kurtosis, iterations.
    """
    theta, fisher, gradient, summary, status = found
    most = 1
    for i in range(first, last):
        most = max(most, offsets[i + 1] - offsets[i])
    starts, scores = np.empty((counts[0], 4)), np.empty(counts[0])
    work, hessians, vectors, held = np.empty(7 * most), np.empty((5, 4, 4)), np.empty((6, 4)), np.empty(4, np.bool_)
    for i in range(first, last):
        n = offsets[i + 1] - offsets[i]
        obs, out = observations[8 * offsets[i] : 8 * offsets[i + 1]].reshape(8, n), work[: 7 * n].reshape(7, n)
        objective, iterations, how = _fit_one(
            obs, low[i], high[i], stretch[i], c, phase, series, slope, counts, theta[i], starts, scores,
            (out, hessians, vectors, held),
        )  # fmt: skip
        status[i] = how
        summary[i, 4] = iterations
        if how == _NO_SIGNAL:
            continue
        _normal(theta[i], obs, stretch[i], c, phase, series, slope, out, fisher[i], gradient[i])
        fisher[i, 1, 1] -= c[11]
        fisher[i, 2, 2] -= c[13]
        summary[i, 0] = objective
        _residual_moments(out[5], summary[i])


@njit(cache=True, nogil=True, error_model="numpy")
def _residual_moments(misses, summary):
    """chi2, skewness and excess kurtosis of the residuals in sigmas, into summary[1:4]."""
    n = misses.size
    mean, second, third, fourth, chi2 = misses.sum() / n, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        off = misses[i] - mean
        chi2 += misses[i] ** 2
        second += off**2
        third += off**3
        fourth += off**4
    summary[1] = chi2
    summary[2] = third / n / (second / n) ** 1.5 if second > 0.0 else np.nan
    summary[3] = fourth / n / (second / n) ** 2 - 3.0 if second > 0.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def objective_gradient(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient):
    """Objective of one supernova, priors included; ``gradient`` (4,) gets its gradient. For other minimisers.

    out (7, m) and hessian (4, 4) are work space.
    """
    objective = _normal(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient)
    for j in range(4):
        gradient[j] *= 2.0
    return objective


@njit(cache=True, nogil=True, error_model="numpy")
def predict_all(theta, obs, stretch, c, phase, series, slope):
    """Fluxes [Jy] of one supernova's observations and their derivatives, (5, m)."""
    out = np.empty((5, obs.shape[1]))
    _predict(theta, obs, stretch, c, phase, series, slope, out)
    return out
