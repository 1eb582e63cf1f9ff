"""One stage of a recursive inference, and what passes to the next: relaxed ranges, or a narrowed prior."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import OptionError
from skytrace.spectra.inference_agreement import agreement_table
from skytrace.spectra.inference_density import INADEQUACY
from skytrace.spectra.inference_mode import find_mode
from skytrace.spectra.inference_nested import sample_nested
from skytrace.spectra.inference_posterior import (
    SpectrumPosterior,
    predictive_check,
    prior_widths,
    spectrum_summary,
    wall_check,
)
from skytrace.spectra.inference_sampling import sample_emcee, sample_nuts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

    from skytrace.spectra.inference_mode import PosteriorMode
    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget
    from skytrace.spectra.parameter_space import ParameterSpace

__all__ = ["StageResult", "best_parameters", "infer_stage", "narrowed_space", "next_stage_space", "shrinkage_table"]

#: Samplers that run at the same time.
_AT_ONCE = 2


@dataclass(frozen=True, eq=False)
class StageResult:
    """One stage. posteriors: by method, the first is the one that is kept. summary, agreement: tables (agreement is
    None for one method). checks: posterior predictive. flags: everything that a reader must know, in words.
    """

    stage: int
    posteriors: dict[str, SpectrumPosterior]
    summary: pd.DataFrame
    agreement: pd.DataFrame | None
    checks: dict[str, float]
    flags: tuple[str, ...]
    mode: PosteriorMode

    @property
    def posterior(self) -> SpectrumPosterior:
        """The one that is kept."""
        return next(iter(self.posteriors.values()))


def infer_stage(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, sampler: SpectrumSamplerOptions,
    stage: int = 1, error_fraction: ArrayLike | None = None, mode: PosteriorMode | None = None,
    prior: InferenceModel | None = None,
) -> StageResult:  # fmt: skip
    """Every sampler of ``sampler.methods`` on one spectrum, their agreement, and the checks of the first one's draws.

    error_fraction (m,): noise over flux, NaN where masked; the method "neural" needs it to simulate observations.
    mode: of the target, where it is known. prior: a model with the box against which widths and walls are held, where
    that of ``model`` was cut from the same data.
    """
    if "neural" in sampler.methods and error_fraction is None:
        raise OptionError("methods has 'neural', which needs error_fraction, the noise of the spectrum over its flux")
    mode = mode or find_mode(target, model=model, options=options, sampler=sampler)

    def sample(method: str) -> SpectrumPosterior:
        """One sampler's posterior: each has its own seed, so that none depends on which others run beside it."""
        given: Any = {"model": model, "options": options, "sampler": sampler}
        if method == "nested":
            return sample_nested(target, **given)
        if method == "neural":
            from skytrace.spectra.inference_neural import sample_neural, train_neural

            noise = np.asarray(error_fraction, dtype=np.float64)
            return sample_neural(target, train_neural(target, noise, **given, mode=mode), **given)
        return {"nuts": sample_nuts, "emcee": sample_emcee}[method](target, **given, mode=mode)

    with ThreadPoolExecutor(_AT_ONCE) as pool:  # what is compiled runs without Python's lock
        longest_first = sorted(sampler.methods, key=lambda method: method != "neural")
        running = {method: pool.submit(sample, method) for method in longest_first}
        posteriors = {method: running[method].result() for method in sampler.methods}
    kept = posteriors[sampler.methods[0]]
    priors = prior_widths(target, model=prior or model, options=options)
    walls = wall_check(kept, priors)
    if prior is not None:
        walls = wall_check(kept, prior_widths(target, model=model, options=options)) | walls
    agreement = agreement_table(list(posteriors.values())) if len(posteriors) > 1 else None
    flags = [f"{one.method}: {words}" for one in posteriors.values() for words in one.failures]
    flags += walls.values()
    if agreement is not None:
        flags += list(agreement.loc[~agreement["agrees"], "words"])  # a Series would be added to each word
    return StageResult(
        stage, posteriors,
        spectrum_summary(kept, priors, constrained_below=sampler.constrained_below, walls=walls), agreement,
        predictive_check(kept, target, model=model, options=options), tuple(flags), mode,
    )  # fmt: skip


def best_parameters(result: StageResult, model: InferenceModel, options: LikelihoodOptions) -> dict[str, float]:
    """The parameters at the mode, in natural units: what the simulator is run again at ("closure")."""
    from scipy.special import ndtr

    from skytrace.spectra.inference_density import from_unit

    parameters, _ = from_unit(ndtr(result.mode.z), model, options, xp=np)
    return dict(zip(model.names, map(float, parameters), strict=True))


def next_stage_space(summary: pd.DataFrame, stage: int) -> ParameterSpace:
    """The box of ``stage``: posterior means of the earlier stage's summary, relaxed by three of its standard deviations
    or more; new parameters have their full range.
    """
    from skytrace.spectra.parameter_space import stage_space

    of_box = summary.loc[summary["parameter"] != INADEQUACY]
    names = of_box["parameter"].astype(str)
    centre, deviation = (dict(zip(names, of_box[key].astype(float), strict=True)) for key in ("mean", "sd"))
    return stage_space(stage, centre, deviation)


def narrowed_space(values: Mapping[str, NDArray[np.float64]], space: ParameterSpace) -> tuple[ParameterSpace, float]:
    """The prior of the next round of training, 1st to 99th percentile of the posterior plus 30 %, and log10 of the
    volume that it leaves out of ``space``. values: draws of a posterior by name, of any shape.
    """
    from skytrace.spectra.parameter_space import log10_compression, narrowed

    samples: NDArray[np.float64] = np.column_stack([np.ravel(values[name]) for name in space.names])
    box = narrowed(space, samples)
    return box, log10_compression(space, box)


def shrinkage_table(summaries: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Of the summaries by stage, in order: one row a stage and parameter, with stage, parameter, low68, high68, sd,
    prior_low, prior_high, width_of_prior, and shrinkage, its sd over that of the last stage that had the parameter (NaN
    in the first).
    """
    import pandas as pd

    columns = ["parameter", "low68", "high68", "sd", "prior_low", "prior_high", "width_of_prior"]
    before: dict[str, float] = {}
    parts = []
    for stage, summary in summaries.items():
        part = summary[columns].assign(stage=stage)
        names = part["parameter"].astype(str)
        part["shrinkage"] = part["sd"] / names.map(before).astype(float)
        before |= dict(zip(part["parameter"], part["sd"], strict=True))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[["stage", *columns, "shrinkage"]]
