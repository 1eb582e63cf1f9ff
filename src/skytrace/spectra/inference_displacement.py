"""The part of the emulator's error that looks like other parameters (``emulator_displacement``), in an inference: to
first order in it, with the derivatives of the spectrum at the mode, which is looked for again with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skytrace.spectra.boxes import box_shares, box_values
from skytrace.spectra.emulator_displacement import STEP, unit_derivatives
from skytrace.spectra.inference_density import from_unit
from skytrace.spectra.inference_mode import find_mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from skytrace.spectra.inference_mode import PosteriorMode
    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget

    Build = Callable[..., SpectrumTarget]

__all__ = ["displaced_at", "displaced_by", "settled_target"]

#: How often the derivatives are taken anew.
_ROUNDS = 2


def displaced_at(
    z: NDArray[np.float64], *, model: InferenceModel, options: LikelihoodOptions
) -> NDArray[np.float64] | None:
    """What one standard deviation of each parameter's displacement does to y, (n, d, m) at z (n, D); None where the
    emulator has none.
    """
    from scipy.special import ndtr

    if not model.displacement.any():
        return None
    parameters, _ = from_unit(ndtr(np.atleast_2d(z)), model, options, xp=np)
    steep = unit_derivatives(lambda at: model.predict(at)[0], parameters, model.box)
    return np.swapaxes(steep * model.displacement, 1, 2)


def displaced_by(
    model: InferenceModel, parameters: NDArray[np.float64], displacement: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What displacements (n, d), in shares of the box, of models at parameters (n, d) do to y, (n, m), to first order:
    the derivative along each.
    """
    size = np.abs(displacement).max(axis=1, keepdims=True)
    if not size.any():
        return np.zeros((len(parameters), len(model.wavelength_angstrom)))
    along = STEP * displacement / np.where(size > 0.0, size, 1.0)
    shares = np.clip(box_shares(parameters, model.box), STEP, 1.0 - STEP)
    above, below = (model.predict(box_values(shares + sign * along, model.box))[0] for sign in (1.0, -1.0))
    return (above - below) / (2.0 * STEP) * size


def settled_target(
    build: Build, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions
) -> tuple[SpectrumTarget, PosteriorMode]:
    """The target with the displaced error at its own mode, and that mode. build: a target from displaced =
    what ``displaced_at`` says of one z, (d, m), or without (``spectrum_target`` of all the rest).
    """
    target = build()
    mode = find_mode(target, model=model, options=options, sampler=sampler)
    for _ in range(_ROUNDS):
        displaced = displaced_at(mode.z, model=model, options=options)
        if displaced is None:
            break
        target = build(displaced=displaced[0])
        mode = find_mode(target, model=model, options=options, sampler=sampler, starts=mode.ends)
    return target, mode
