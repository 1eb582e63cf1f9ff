"""The compiled fit of light curves: a bounded Levenberg-Marquardt from several starts. Private to ``light_curve_fit``.

Every supernova is computed on its own, its observations in their given order, so that it gets the same bits alone, in
any batch and on any thread. The fit has converged when the decrease that an undamped step still promises is below
TOLERANCE. The model is ``_fit_model_kernels``', the objective and its steps ``_fit_step_kernels``'.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numba import njit

from skytrace.compute.kernel_cache import follow_files
from skytrace.supernovae._fit_model_kernels import CONSTANTS, OBSERVATION, predict, predict_fluxes
from skytrace.supernovae._fit_step_kernels import (
    bounded_step,
    copy_hessian,
    copy_parameters,
    distance,
    newton_hessian,
    normal_equations,
    promised,
)

__all__ = [
    "CONSTANTS", "OBSERVATION", "SOURCES", "STATUS", "TOLERANCE", "fit_supernovae", "objective_gradient", "predict_all",
]  # fmt: skip

#: Files whose kernels are compiled into each other.
SOURCES = tuple(
    Path(__file__).parent / name for name in ("_fit_kernels.py", "_fit_model_kernels.py", "_fit_step_kernels.py")
)
STATUS = ("converged", "iterations", "stalled", "no_signal")
TOLERANCE = 1e-8
_CONVERGED, _ITERATIONS, _STALLED, _NO_SIGNAL = range(4)
#: Of the objective's curvature between two descents, with priors and without: a second one that comes so near ends
#: there. Without priors minima in A and beta lie closer.
_SAME_BASIN, _SAME_BASIN_WITHOUT = 0.1, 0.01

_EXTRA = np.array([[0.5, 0.7], [0.03, 2.5], [0.02, 0.5]])  # (A, beta) of further starts of a fit without priors
_LANES = 8  # observations that a compiled loop takes at once
_UNDAMPED = 1e-5  # damping up to which the step is that which promised the decrease
_NEWTON_AFTER = 15  # iterations: residuals so large that Gauss-Newton crawls get second derivatives


@njit(nogil=True, error_model="numpy")
def _descend(theta, low, high, obs, stretch, c, phase, series, slope, most, best, best_objective, space):
    """Levenberg-Marquardt from ``theta``, in place: objective, iterations, status, and whether what ``space`` holds
    (residuals, Gauss-Newton Hessian, gradient) is of the end.

    Ends early, with an infinite objective, where it comes near ``best``, an end of another descent, from above.
    """
    out, hessians, vectors, held = space
    hessian, other_hessian = hessians[0], hessians[1]
    gradient, other_gradient, step, trial = vectors[0], vectors[1], vectors[2], vectors[3]
    objective = normal_equations(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient)
    damping, tried = 1e-3, objective
    near = _SAME_BASIN if c[13] > 0.0 else _SAME_BASIN_WITHOUT
    for iteration in range(most):
        if iteration >= _NEWTON_AFTER:
            newton_hessian(theta, low, high, obs, stretch, c, phase, series, slope, space)
        decrease = promised(theta, low, high, hessian, gradient, step, held)
        if decrease < TOLERANCE:
            return objective, iteration, _CONVERGED, iteration < _NEWTON_AFTER
        if objective >= best_objective and distance(theta, best, hessian) < near:
            return np.inf, iteration, _CONVERGED, False
        accepted, ready = False, damping <= _UNDAMPED
        while damping < 1e14:
            if ready or bounded_step(theta, low, high, hessian, gradient, damping, step, held):
                for j in range(4):
                    trial[j] = min(max(theta[j] + step[j], low[j]), high[j])
                tried = normal_equations(
                    trial, obs, stretch, c, phase, series, slope, out, other_hessian, other_gradient
                )
                if tried < objective:
                    accepted = True
                    break
            damping, ready = 6.0 * damping, False
        if not accepted:
            return objective, iteration, _CONVERGED if decrease < 1e-6 else _STALLED, False
        objective = tried
        copy_parameters(trial, theta)
        copy_hessian(other_hessian, hessian)
        copy_parameters(other_gradient, gradient)
        damping = max(0.1 * damping, 1e-12)
    return objective, most, _ITERATIONS, False


@njit(nogil=True, error_model="numpy")
def _profiled(theta, low, high, obs, stretch, c, phase, series, slope, out):
    """Objective at the best alpha for the other parameters, which is linear in e^alpha; sets theta[3]."""
    theta[3] = 0.5 * (low[3] + high[3])
    predict_fluxes(theta, obs, stretch, c, phase, series, slope, out)
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


@njit(nogil=True, error_model="numpy")
def _brightest_mjd(obs):
    """Epoch of the largest flux among observations of 5 sigma, of the largest significance where there is none."""
    best, at, significant = -np.inf, 0.0, False
    for i in range(obs.shape[1]):
        if obs[2, i] == 0.0:
            continue
        strong = obs[1, i] * obs[2, i] >= 5.0
        score = obs[1, i] if strong else obs[1, i] * obs[2, i]
        if (strong and not significant) or (strong == significant and score > best):
            best, at, significant = score, obs[0, i], strong
    return at


@njit(nogil=True, error_model="numpy")
def _fit_one(obs, low, high, stretch, c, phase, series, slope, counts, theta, found, starts, scores, space):
    """Best of several starts, in ``theta``: objective, iterations of all descents, status. found: its Hessian (4, 4),
    gradient (4,) and residuals in sigmas.
    """
    out, hessians, vectors, _ = space
    n_starts, n_refined, most = counts
    bright = _brightest_mjd(obs)
    for k in range(n_starts):
        offset = c[14] * (1.0 if n_starts == 1 else 1.7 - 1.4 * k / (n_starts - 1))
        starts[k, 0] = min(max(bright - offset * stretch, low[0]), high[0])
        starts[k, 1] = min(0.1, high[1])
        starts[k, 2] = min(c[12], high[2])
        scores[k] = _profiled(starts[k], low, high, obs, stretch, c, phase, series, slope, out)
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
            _profiled(start, low, high, obs, stretch, c, phase, series, slope, out)
        if start[3] <= low[3]:
            continue
        least, used, how, at_end = _descend(
            start, low, high, obs, stretch, c, phase, series, slope, most, theta, best, space
        )
        iterations += used
        if least < best:
            best, status = least, how
            copy_parameters(start, theta)
            hessian, gradient, misses = found
            if not at_end:
                normal_equations(theta, obs, stretch, c, phase, series, slope, out, hessians[0], vectors[0])
            copy_hessian(hessians[0], hessian)
            copy_parameters(vectors[0], gradient)
            for i in range(misses.size):
                misses[i] = out[5, i]
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
    most += -most % _LANES
    padded, work, misses = np.empty(8 * most), np.empty(7 * most), np.empty(most)
    hessians, vectors, held = np.empty((4, 4, 4)), np.empty((6, 4)), np.empty(4, np.bool_)
    for i in range(first, last):
        n = offsets[i + 1] - offsets[i]
        whole = n + -n % _LANES
        obs, out = padded[: 8 * whole].reshape(8, whole), work[: 7 * whole].reshape(7, whole)
        _whole_vectors(observations[8 * offsets[i] : 8 * offsets[i + 1]].reshape(8, n), obs)
        objective, iterations, how = _fit_one(
            obs, low[i], high[i], stretch[i], c, phase, series, slope, counts, theta[i],
            (fisher[i], gradient[i], misses[:n]), starts, scores, (out, hessians, vectors, held),
        )  # fmt: skip
        status[i] = how
        summary[i, 4] = iterations
        if how == _NO_SIGNAL:
            continue
        fisher[i, 1, 1] -= c[11]
        fisher[i, 2, 2] -= c[13]
        summary[i, 0] = objective
        _residual_moments(misses[:n], summary[i])


@njit(nogil=True, error_model="numpy")
def _whole_vectors(obs, padded):
    """Copy obs (8, n) into ``padded`` (8, a multiple of _LANES >= n): the last observation again, without weight.

    A loop's last few observations would be taken one by one, each as long as _LANES together.
    """
    n = obs.shape[1]
    for row in range(8):
        for i in range(padded.shape[1]):
            padded[row, i] = obs[row, min(i, n - 1)]
    for i in range(n, padded.shape[1]):
        padded[2, i] = 0.0


@njit(nogil=True, error_model="numpy")
def _residual_moments(misses, summary):
    """chi2, skewness and excess kurtosis of the residuals in sigmas, into summary[1:4].

    Sums in the order that stands here: with a free one the process that compiles it and one that reads it from the
    disk take different orders, and the table's hash does not repeat.
    """
    n, total = misses.size, 0.0
    for i in range(n):
        total += misses[i]
    mean, second, third, fourth, chi2 = total / n, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        off = misses[i] - mean
        square = off * off
        chi2 += misses[i] * misses[i]
        second += square
        third += square * off
        fourth += square * square
    summary[1] = chi2
    summary[2] = third / n / (second / n) ** 1.5 if second > 0.0 else np.nan
    summary[3] = fourth / n / (second / n) ** 2 - 3.0 if second > 0.0 else np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def objective_gradient(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient):
    """Objective of one supernova, priors included; ``gradient`` (4,) gets its gradient. For other minimisers.

    out (7, m) and hessian (4, 4) are work space.
    """
    objective = normal_equations(theta, obs, stretch, c, phase, series, slope, out, hessian, gradient)
    for j in range(4):
        gradient[j] *= 2.0
    return objective


@njit(cache=True, nogil=True, error_model="numpy")
def predict_all(theta, obs, stretch, c, phase, series, slope):
    """Fluxes [Jy] of one supernova's observations and their derivatives, (5, m)."""
    out = np.empty((5, obs.shape[1]))
    predict(theta, obs, stretch, c, phase, series, slope, out)
    return out


follow_files(globals(), SOURCES)
