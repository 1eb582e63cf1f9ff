"""Spectra that are linear in three parameters, so that every posterior and evidence is known in closed form."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np

from skytrace.spectra.inference_model import inference_model

BINS = 96
WAVELENGTH = np.exp(np.linspace(np.log(3600.0), np.log(9000.0), BINS))
PLACE = np.linspace(0.0, 1.0, BINS)
SLOPES = 0.3 * np.stack([np.sin(2 * np.pi * (k + 1) * PLACE) for k in range(3)])
LEVEL = 3.0 + 0.5 * np.cos(6.0 * PLACE)
NAMES, TRUTH = ("first", "second", "third"), np.array([0.5, -0.4, 1.0])
ERROR_FRACTION = np.full(BINS, 0.05)


def linear_model(*, low=-3.0, high=3.0, scaled=False, names=NAMES, variance=4e-4, displacement=()):
    """y = LEVEL + parameters @ SLOPES on a box; scaled: the emulator's error grows as exp(first / 3)."""
    rng = np.random.default_rng(3)
    emulator = SimpleNamespace(
        names=names, low=np.full(3, low), high=np.full(3, high), wavelength_angstrom=WAVELENGTH, softening=0.05,
        level_erg_s_a=20.0, logarithmic=np.zeros(3, dtype=bool),
        error=SimpleNamespace(
            components=0.02 * rng.normal(size=(4, BINS)), variance=np.full(BINS, variance), displacement=displacement
        ),
    )  # fmt: skip

    def forward(_network, parameters):
        scale = jnp.exp(parameters[:, 0] / 3.0) if scaled else jnp.ones(parameters.shape[0])
        return LEVEL + parameters @ SLOPES, scale

    return inference_model(emulator, forward=forward)


def observation(model, *, truth=TRUTH, seed=0):
    """Luminosity and error (m,) of one noisy spectrum."""
    true = model.unstretch(LEVEL + truth @ SLOPES)
    error = ERROR_FRACTION * true
    return true + error * np.random.default_rng(seed).normal(size=BINS), error


def exact_posterior(target, covariance):
    """mean (3,), covariance (3, 3) and log evidence per unit prior volume, of the linear model."""
    design = (SLOPES[:, target.rows] * target.weights).sum(axis=-1).T
    left = target.observed - (LEVEL[target.rows] * target.weights).sum(axis=-1)
    inverse = np.linalg.inv(covariance)
    spread = np.linalg.inv(design.T @ inverse @ design)
    mean = spread @ design.T @ inverse @ left
    rest = left - design @ mean
    log_evidence = -0.5 * (
        rest @ inverse @ rest + np.linalg.slogdet(2 * np.pi * covariance)[1] - np.linalg.slogdet(2 * np.pi * spread)[1]
    )
    return mean, spread, log_evidence
