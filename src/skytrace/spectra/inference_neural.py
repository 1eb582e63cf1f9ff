"""Neural posterior estimation (Papamakarios & Murray 2016; sbi): a flow learns the posterior from simulated spectra.

Spectra come from the emulator with the likelihood's own noise (``inference_mocks``), so that it estimates the posterior
that the other samplers sample, without their density. Without a mode it is amortised: one training serves every
spectrum with the same mask and errors. With one it learns for spectra like that one: along the axes of the curvature
there, from a prior truncated to seven standard deviations on each (Deistler, Goncalves & Macke 2022, arXiv:2210.04815).
Whether it says what the others say is measured by ranks (SBC) and by agreement, not assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import ndtr, ndtri

from skytrace.errors import check_whole
from skytrace.spectra.inference_density import PriorPart, coordinate_names, prior_draws
from skytrace.spectra.inference_mocks import mock_of_draws
from skytrace.spectra.inference_posterior import SpectrumPosterior, with_diagnostics
from skytrace.spectra.inference_summaries import SpectrumSummary, fitted_summary

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_mode import PosteriorMode
    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = ["NeuralEstimator", "neural_ranks", "sample_neural", "train_neural"]

_CHAINS, _BATCH = 4, 500
#: Standard deviations of the curvature about the mode that are learnt from (posteriors are wider than that: with 3.5
#: they were cut, and widths came out a fifth too small), and epochs without a better one after which training ends.
_REACH, _PATIENCE = 7.0, 20
#: Simulations of a step at most, steps of an epoch at least, and a step's length: of 20,000 simulations 256 a step and
#: 1e-3 were as good and took three times as long.
_LEARNT_TOGETHER, _STEPS, _LEARNING_RATE = 1024, 16, 2e-3


@dataclass(frozen=True, eq=False)
class NeuralEstimator:
    """A trained flow and its summary of a spectrum. within: the part of the prior from which it learnt; centre,
    spread (D,): of the coordinates along its axes. epochs; best_validation: mean log density of held-out simulations.
    """

    flow: Any
    summary: SpectrumSummary
    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    within: PriorPart
    epochs: int
    best_validation: float

    def draw(self, stretched: ArrayLike, n: int, *, seed: int) -> NDArray[np.float64]:
        """unit (spectra, n, D) of merged y (spectra, k)."""
        import torch

        torch.manual_seed(seed)
        with torch.no_grad():
            condition = torch.as_tensor(self.summary(stretched), dtype=torch.float32)
            drawn = self.flow.sample((n,), condition=condition).numpy().astype(np.float64)
        return ndtr((self.centre + self.spread * np.swapaxes(drawn, 0, 1)) @ self.within.axes.T)


class _SilentTracker:
    """What sbi takes for a log of its training: nothing is written."""

    log_dir = ""

    def log_metric(self, name: str, value: float, step: int | None = None) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None: ...

    def log_params(self, params: dict[str, Any]) -> None: ...

    def add_figure(self, name: str, figure: Any, step: int | None = None) -> None: ...

    def flush(self) -> None: ...


def train_neural(
    target: SpectrumTarget, error_fraction: ArrayLike, *, model: InferenceModel, options: LikelihoodOptions,
    sampler: SpectrumSamplerOptions, mode: PosteriorMode | None = None,
) -> NeuralEstimator:  # fmt: skip
    """A masked autoregressive flow of z given the summary of merged y, from ``sampler.neural_simulations`` draws of the
    prior, near the mode where there is one. target gives bins and prior; error_fraction (m,) the noise.
    """
    import torch
    from sbi.inference import NPE

    from skytrace.learning.threads import torch_threads

    rng = np.random.default_rng([sampler.seed, 6])
    within = _region(mode, len(coordinate_names(model, options)))
    unit = prior_draws(sampler.neural_simulations, target, model=model, options=options, rng=rng, within=within)
    spectra = _simulated(unit, target, error_fraction, model, options, rng)
    z = ndtri(np.clip(unit, 1e-9, 1.0 - 1e-9)) @ within.axes
    summary = fitted_summary(
        spectra, sampler.neural_components, target=target, model=model, options=options, mode=mode
    )  # fmt: skip
    centre, spread = z.mean(axis=0), z.std(axis=0)
    torch.manual_seed(sampler.seed)
    trainer = NPE(density_estimator="maf", tracker=_SilentTracker(), show_progress_bars=False)
    as_tensor = lambda array: torch.as_tensor(array, dtype=torch.float32)  # noqa: E731
    trainer.append_simulations(as_tensor((z - centre) / spread), as_tensor(summary(spectra)))
    with torch_threads(1):
        flow = trainer.train(
            training_batch_size=min(_LEARNT_TOGETHER, len(z) // _STEPS), learning_rate=_LEARNING_RATE,
            max_num_epochs=sampler.neural_epochs, stop_after_epochs=_PATIENCE,
        )  # fmt: skip
    log = trainer.summary
    validation = log.get("best_validation_loss") or log.get("validation_loss") or [np.nan]
    epochs = log.get("epochs_trained") or [sampler.neural_epochs]
    return NeuralEstimator(flow.eval(), summary, centre, spread, within, int(epochs[-1]), -float(validation[-1]))


def sample_neural(
    target: SpectrumTarget, estimator: NeuralEstimator, *, model: InferenceModel, options: LikelihoodOptions,
    sampler: SpectrumSamplerOptions,
) -> SpectrumPosterior:  # fmt: skip
    """``sampler.neural_draws`` of the posterior of one spectrum; draws in the unphysical part of the box are kept."""
    unit = estimator.draw(target.observed[None], sampler.neural_draws, seed=sampler.seed)[0]
    unit = unit[: len(unit) // _CHAINS * _CHAINS].reshape(_CHAINS, -1, unit.shape[-1])
    extra = {"epochs": float(estimator.epochs), "best_validation": estimator.best_validation}
    failures: tuple[str, ...] = ()
    if estimator.epochs >= sampler.neural_epochs:
        failures = (f"the flow was still learning when neural_epochs = {sampler.neural_epochs} ended",)
    return with_diagnostics(
        "neural", unit, model=model, options=options, sampler=sampler, chains=False, extra=extra, failures=failures
    )  # fmt: skip


def neural_ranks(
    estimator: NeuralEstimator, target: SpectrumTarget, error_fraction: ArrayLike, *, model: InferenceModel,
    options: LikelihoodOptions, n_simulations: int, n_ranks: int = 100, seed: int = 0,
) -> dict[str, NDArray[np.int64]]:  # fmt: skip
    """Ranks (n_simulations,), 0 to n_ranks - 1, of truths from the prior among n_ranks - 1 draws of their posteriors,
    by name: uniform if the estimator is calibrated (SBC, Talts et al. 2018, arXiv:1804.06788).
    """
    check_whole("n_ranks", n_ranks, 2, 100_000)
    rng = np.random.default_rng([seed, 7])
    unit = prior_draws(n_simulations, target, model=model, options=options, rng=rng, within=estimator.within)
    spectra = _simulated(unit, target, error_fraction, model, options, rng)
    drawn = estimator.draw(spectra, n_ranks - 1, seed=seed)
    ranks = (drawn < unit[:, None]).sum(axis=1)
    return {name: ranks[:, i] for i, name in enumerate(coordinate_names(model, options))}


def _region(mode: PosteriorMode | None, dimensions: int) -> PriorPart:
    """All of the prior, or along the axes of the curvature at the mode seven standard deviations to either side."""
    if mode is None:
        return PriorPart(np.eye(dimensions), np.full(dimensions, -np.inf), np.full(dimensions, np.inf))
    squares, axes = np.linalg.eigh(mode.root @ mode.root.T)
    reach, centre = _REACH * np.sqrt(squares), mode.z @ axes
    return PriorPart(axes, centre - reach, centre + reach)


def _simulated(
    unit: NDArray[np.float64], target: SpectrumTarget, error_fraction: ArrayLike, model: InferenceModel,
    options: LikelihoodOptions, rng: np.random.Generator,
) -> NDArray[np.float64]:  # fmt: skip
    """Merged y (n, k) of observations at unit (n, D)."""
    parts = []
    for first in range(0, len(unit), _BATCH):
        rows = unit[first : first + _BATCH]
        luminosity, _ = mock_of_draws(rows, error_fraction, model=model, options=options, rng=rng)
        parts.append((model.stretch(luminosity)[:, target.rows] * target.weights).sum(axis=-1))
    return np.concatenate(parts)
