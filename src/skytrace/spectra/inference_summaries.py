"""What neural estimation reads of a spectrum: few numbers that hold what the spectrum says of its parameters.

Near a mode these are the score there, the directions in which parameters move the spectrum (Alsing & Wandelt 2018,
MNRAS 476, L60), and how large what no parameter explains is along the inadequacy, whose amplitude nothing linear in the
spectrum knows. Leading components follow, with or without a mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from skytrace.spectra.inference_density import from_unit
from skytrace.spectra.inference_target import target_covariance

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_mode import PosteriorMode
    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = ["SpectrumSummary", "fitted_summary"]

#: Step of a derivative, in standard deviations; normal deviates by median absolute deviation.
_STEP, _OF_DEVIATION = 0.1, 1.4826
#: Shares of the simulations between whose summaries those of a spectrum are cut.
_SEEN, _SMALLEST = (0.01, 0.99), 1e-30


@dataclass(frozen=True, eq=False)
class SpectrumSummary:
    """linear (k, a), and where the amplitude is fitted squared (k, k), whose product's squares are summed: of merged y
    (n, k) less reference (k,). middle, width (c,): median and normal deviate of the summaries of the simulations;
    least, most (c,): a hundredth of them lies below, and above.
    """

    reference: NDArray[np.float64]
    linear: NDArray[np.float64]
    squared: NDArray[np.float64] | None
    middle: NDArray[np.float64]
    width: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]

    def __call__(self, stretched: ArrayLike) -> NDArray[np.float64]:
        """(n, c) of merged y (n, k): standardised, cut where hardly a simulation lies, and far ones drawn in, so that
        a flow is not asked for what it never saw.
        """
        raw = np.clip(self.raw(stretched), self.least, self.most)
        return np.arcsinh((raw - self.middle) / self.width)

    def raw(self, stretched: ArrayLike) -> NDArray[np.float64]:
        """(n, c), as they come."""
        left = np.atleast_2d(np.asarray(stretched, dtype=np.float64)) - self.reference
        linear = left @ self.linear
        if self.squared is None:
            return linear
        return np.column_stack([linear, np.log(((left @ self.squared) ** 2).sum(axis=1) + _SMALLEST)])


def fitted_summary(
    stretched: NDArray[np.float64], components: int, *, target: SpectrumTarget, model: InferenceModel,
    options: LikelihoodOptions, mode: PosteriorMode | None,
) -> SpectrumSummary:  # fmt: skip
    """The summary fitted to simulations (n, k) of merged y, with as many leading components."""
    reference, linear, squared = stretched.mean(axis=0), [], None
    if mode is not None:
        reference, score, squared = _near(mode, target, model, options)
        linear.append(score)
    spread = stretched - stretched.mean(axis=0)
    _, vectors = np.linalg.eigh(spread.T @ spread)
    linear.append(vectors[:, ::-1][:, :components])
    matrix = np.column_stack(linear)
    matrix = matrix[:, np.ptp(spread @ matrix, axis=0) > 0.0]  # what moves nothing has no score
    nothing = np.zeros(1)
    values = SpectrumSummary(reference, matrix, squared, *[nothing] * 4).raw(stretched)
    middle = np.median(values, axis=0)
    width = _OF_DEVIATION * np.median(np.abs(values - middle), axis=0)
    least, most = np.quantile(values, _SEEN, axis=0)
    return SpectrumSummary(reference, matrix, squared, middle, np.where(width > 0.0, width, 1.0), least, most)


def _near(
    mode: PosteriorMode, target: SpectrumTarget, model: InferenceModel, options: LikelihoodOptions
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Merged y (k,) at the mode; the score's matrix (k, D), along the directions in which the posterior has unit width;
    and what gives the parts along the inadequacy (k, k) of what is left when the parameters have taken theirs.
    """
    d = len(mode.z)
    moved = mode.z + _STEP * np.concatenate([mode.root.T, -mode.root.T, np.zeros((1, d))])
    parameters, amplitude = from_unit(ndtr(moved), model, options, xp=np)
    predicted, scale = model.predict(parameters)
    merged = (predicted[:, target.rows] * target.weights).sum(axis=-1)
    slopes = (merged[:d] - merged[d : 2 * d]).T / (2.0 * _STEP)
    own = float(scale[-1])
    covariance = target_covariance(target, scale=own, amplitude=float(amplitude[-1]))
    score = np.linalg.solve(covariance, slopes)
    if not options.inadequacy:
        return merged[-1], score, None
    unexplained = np.eye(len(slopes)) - score @ np.linalg.pinv(slopes.T @ score, hermitian=True) @ slopes.T
    kernel = target_covariance(target, scale=own, amplitude=1.0) - target_covariance(target, scale=own)
    size, vectors = np.linalg.eigh(kernel)
    root = vectors * np.sqrt(np.maximum(size, 0.0))
    return merged[-1], score, unexplained @ np.linalg.solve(covariance, root)
