"""The light curve that is fitted, with its derivatives, in loops that become vector instructions. Private to the fit.

The model is that of ``light_curve_model`` (a test compares them to 1e-12). Parameters are (t0, A, beta, alpha). Kernels
that no Python calls are not cached on disk each by itself: they are in the machine code of those that it does call.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

__all__ = ["CONSTANTS", "OBSERVATION", "predict", "predict_fluxes"]

#: Rows of ``obs`` (8, m), the observations of one supernova. front: of the blackbody, (1 + z) scale / lambda_rest^3;
#: x0: c2 / lambda_rest [K]; ln_colour: ln(pivot / lambda_rest); fdr: a^2 of tau_FDR = fdr x flux; position: in the
#: columns of the series.
OBSERVATION = ("mjd", "flux", "inverse_sigma", "front", "x0", "ln_colour", "fdr", "position")
#: What all supernovae share, in this order.
CONSTANTS = (
    "is_template", "rise", "rise_power", "sharpness", "decline", "floor_k", "drop_k", "cooling", "plasma",
    "loss", "loss_scale", "a_precision", "beta_mean", "beta_precision", "peak_days", "with_fdr",
)  # fmt: skip

_FUSED = {"contract"}  # multiply-add in one rounding
_LN2, _LOG2E = math.log(2.0), 1.0 / math.log(2.0)
_LN2_HIGH = 6.93147180369123816490e-01  # its last 21 bits are 0: n times it is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 x 2^52: adding it leaves the nearest whole number in the lowest bits
_TWO52 = 4503599627370496.0
_EXP = tuple(1.0 / math.factorial(k) for k in range(13))  # the next term is below 2e-16 for |r| <= ln(2) / 2
_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)  # bits of sqrt(1/2)
_ONE, _MANTISSA = np.int64(0x3FF0000000000000), np.int64(0x000FFFFFFFFFFFFF)
_TWO52_BITS = np.int64(0x4330000000000000)


@njit(nogil=True, fastmath=_FUSED, error_model="numpy")
def _exp(x):
    """e^x to 2e-16, for loops of vector instructions; x beyond +-700 is taken as +-700."""
    x = min(max(x, -700.0), 700.0)
    shifted = x * _LOG2E + _ROUND
    whole = shifted - _ROUND
    r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
    p = _EXP[12]
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


@njit(nogil=True, fastmath=_FUSED, error_model="numpy")
def _log(x):
    """ln x of a positive, normal x to 4e-16, for loops of vector instructions."""
    bits = np.float64(x).view(np.int64) + (_ONE - _ROOT_HALF)
    exponent = np.int64((bits >> np.int64(52)) | _TWO52_BITS).view(np.float64) - (_TWO52 + 1023.0)
    m = np.int64((bits & _MANTISSA) + _ROOT_HALF).view(np.float64)
    f = (m - 1.0) / (m + 1.0)
    g = f * f
    p = 1.0 / 19.0  # g <= 0.03: the next term is below 3e-17
    p = p * g + 1.0 / 17.0
    p = p * g + 1.0 / 15.0
    p = p * g + 1.0 / 13.0
    p = p * g + 1.0 / 11.0
    p = p * g + 1.0 / 9.0
    p = p * g + 1.0 / 7.0
    p = p * g + 1.0 / 5.0
    p = p * g + 1.0 / 3.0
    return exponent * _LN2_HIGH + (2.0 * f + (2.0 * f * g * p + exponent * _LN2_LOW))


@njit(nogil=True, fastmath=_FUSED, error_model="numpy")
def _blackbody(theta, obs, stretch, c, out, slopes):
    """Fluxes without FDR and, where ``slopes`` asks for them, their derivatives by t0, A, beta and alpha.

    Several short loops: the chain log, exp, log, exp of one is so long that a processor sees little of the next
    observations while it waits; rows of ``out`` keep what the next loop takes.
    """
    mjd, front, x0, ln_colour = obs[0], obs[3], obs[4], obs[5]
    flux, by_t0, by_a, by_beta, by_alpha = out[0], out[1], out[2], out[3], out[4]
    t0, a, beta, alpha = theta[0], theta[1], theta[2], theta[3]
    per_stretch, power, sharpness, ln_rise0 = 1.0 / stretch, c[2], c[3], math.log(c[1])
    per_sharpness, per_decline, per_cooling, per_plasma = 1.0 / c[3], 1.0 / c[4], 1.0 / c[7], 1.0 / c[8]
    floor, drop = c[5], c[6]
    constant = alpha + 2.0 * _LN2 * per_sharpness + 2.0 * c[1] * per_decline
    for i in range(mjd.size):
        t = max((mjd[i] - t0) * per_stretch, 1e-12)
        by_t0[i] = power * (_log(t) - ln_rise0)
    for i in range(mjd.size):
        by_a[i] = 1.0 + _exp(sharpness * by_t0[i])
    for i in range(mjd.size):
        t = max((mjd[i] - t0) * per_stretch, 1e-12)
        by_beta[i] = constant + 2.0 * (by_t0[i] - per_sharpness * _log(by_a[i]) - t * per_decline)
        if slopes:
            by_t0[i] = 2.0 * (power / (t * by_a[i]) - per_decline)
    for i in range(mjd.size):
        t = max((mjd[i] - t0) * per_stretch, 1e-12)
        colour = _exp(beta * ln_colour[i])
        grown = (1.0 - _exp(-t * per_plasma)) * colour
        by_a[i] = grown
        by_beta[i] -= a * grown
        if slopes:
            by_t0[i] -= a * (colour - grown) * per_plasma
    for i in range(mjd.size):
        t = max((mjd[i] - t0) * per_stretch, 1e-12)
        cooled = drop * _exp(-t * per_cooling)
        per_temperature = 1.0 / (floor + cooled)
        by_alpha[i] = x0[i] * per_temperature
        if slopes:
            flux[i] = cooled * per_temperature * per_cooling
    for i in range(mjd.size):
        x = by_alpha[i]
        per_light = 1.0 / (1.0 - _exp(-x))
        value = front[i] * per_light * _exp(by_beta[i] - x)
        value = value if mjd[i] > t0 else 0.0
        if slopes:
            by_t0[i] = -value * (by_t0[i] - x * per_light * flux[i]) * per_stretch
            by_beta[i] = -value * a * by_a[i] * ln_colour[i]
            by_a[i] = -value * by_a[i]
            by_alpha[i] = value
        flux[i] = value


@njit(nogil=True, fastmath=_FUSED, error_model="numpy")
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


@njit(nogil=True, error_model="numpy")
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


@njit(nogil=True, error_model="numpy")
def predict(theta, obs, stretch, c, phase, series, slope, out):
    """Fluxes [Jy] and their derivatives by the parameters, into out[0] and out[1:5]."""
    if phase is None:  # decided by the types: without a series its code is not compiled
        _blackbody(theta, obs, stretch, c, out, True)
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


@njit(nogil=True, error_model="numpy")
def predict_fluxes(theta, obs, stretch, c, phase, series, slope, out):
    """``predict`` where only the fluxes, out[0], are asked for: half the work, out[1:5] is undefined."""
    if phase is None and c[15] == 0.0:
        _blackbody(theta, obs, stretch, c, out, False)
    else:
        predict(theta, obs, stretch, c, phase, series, slope, out)
