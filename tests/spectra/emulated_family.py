"""An analytic family of spectra: a black body's shape with one absorption line, of four parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

WAVELENGTH = np.geomspace(3500.0, 9000.0, 120)


@dataclass(frozen=True)
class Box:
    """A space of parameters."""

    names: tuple[str, ...] = ("log_L", "temperature", "velocity", "depth")
    low: tuple[float, ...] = (42.5, 9000.0, 8000.0, 0.1)
    high: tuple[float, ...] = (43.5, 14_000.0, 14_000.0, 0.7)
    logarithmic: tuple[bool, ...] = (False, False, False, False)


def draw(n: int, seed: int) -> np.ndarray:
    """Parameters (n, 4), flat in the box."""
    low, high = np.array(Box().low), np.array(Box().high)
    return low + np.random.default_rng(seed).random((n, 4)) * (high - low)


def luminosity(theta: np.ndarray) -> np.ndarray:
    """Spectra (n, m) [erg/s/A]: a Planck curve of given integral over the grid, less a Gaussian line at 6355 A."""
    log_l, t_k, velocity, depth = np.atleast_2d(theta).T[:, :, None]
    planck = WAVELENGTH**-5 / np.expm1(1.4388e8 / (WAVELENGTH * t_k))
    planck /= (planck * np.gradient(WAVELENGTH)).sum(axis=1, keepdims=True)
    centre = 6355.0 * (1.0 - velocity / 299_792.458)
    return 10.0**log_l * planck * (1.0 - depth * np.exp(-0.5 * ((WAVELENGTH - centre) / 90.0) ** 2))
