"""The mass of one field of the mock: how it bends light, and where a source lies that it shows several times."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import SurveyError
from skytrace.lensing.deflection import sie_deflection
from skytrace.lensing.image_positions import image_positions
from skytrace.lensing.nfw import nfw_deflection, truncated_isothermal_deflection
from skytrace.surveys.clusters.population import MAIN_SHARE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["deflection", "place_of_several_images"]

_TRIES, _ROUNDS = 32, 8
#: An image fainter than its source by more than this counts for nothing.
_LEAST_MAGNIFIED = 0.5


def deflection(x: NDArray, y: NDArray, row: Mapping[str, Any], field: Any) -> tuple[NDArray, NDArray]:
    """(alpha_x, alpha_y) [arcsec] of all the mass of one field of the mock, for its own source redshift, by the
    formulae that its pixels are traced with (``rendering.lensed_light``; a test compares the two).
    """
    share = MAIN_SHARE if np.isfinite(field.second[0]) else 1.0
    halo = row["scale_arcsec"], row["epsilon"], row["phi_rad"]
    q = max(field.foreground.q[0], 0.6)
    parts = [
        nfw_deflection(x, y, share * row["kappa_s"], *halo),
        sie_deflection(x, y, row["theta_e_bcg_arcsec"], q, row["phi_rad"]),
    ]
    if share < 1.0:
        parts.append(nfw_deflection(x - field.second[0], y - field.second[1], (1.0 - share) * row["kappa_s"], *halo))
    for at_x, at_y, theta_e, truncation in field.subhalos:
        parts.append(truncated_isothermal_deflection(x - at_x, y - at_y, theta_e, truncation))
    return np.sum([part[0] for part in parts], axis=0), np.sum([part[1] for part in parts], axis=0)


def place_of_several_images(
    row: Mapping[str, Any], field: Any, half_arcsec: float, rng: np.random.Generator
) -> tuple[float, float]:
    """(x, y) [arcsec] in the source plane of a point with two images or more: the source of a point of the image plane
    within the Einstein radius, drawn evenly by area until one has them. Raises SurveyError if none of 32 has, eight
    times over.
    """
    bend = partial(deflection, row=row, field=field)
    for _ in range(_ROUNDS):
        radius, angle = row["theta_e_arcsec"] * np.sqrt(rng.random(_TRIES)), rng.uniform(0, 2 * np.pi, _TRIES)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        alpha_x, alpha_y = bend(x, y)
        beta_x, beta_y = x - alpha_x, y - alpha_y
        images = image_positions(bend, beta_x, beta_y, half_width_arcsec=1.15 * half_arcsec, step_arcsec=0.4)
        seen = images.source[np.abs(images.magnification) > _LEAST_MAGNIFIED]
        several = np.flatnonzero(np.bincount(seen, minlength=_TRIES) >= 2)
        if several.size:
            return float(beta_x[several[0]]), float(beta_y[several[0]])
    raise SurveyError(f"cluster {row['number']} of the mock shows no source twice; theta_E = {row['theta_e_arcsec']:g}")
