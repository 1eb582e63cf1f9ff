"""A posterior of a spectrum's parameters: draws, how far they can be trusted, and what each parameter's interval means.

A wide posterior under a flat prior is no measurement, and one that leans on a bound of the prior is a limit: both are
said of every parameter, in words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skytrace.spectra.boxes import box_shares
from skytrace.spectra.inference_density import INADEQUACY, coordinate_names, from_unit, misfits, prior_draws
from skytrace.spectra.inference_mode import in_batches

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from skytrace.spectra.inference_model import InferenceModel
    from skytrace.spectra.inference_options import LikelihoodOptions, SpectrumSamplerOptions
    from skytrace.spectra.inference_target import SpectrumTarget

__all__ = [
    "PriorWidth",
    "SpectrumPosterior",
    "predictive_check",
    "prior_widths",
    "spectrum_inference_data",
    "spectrum_summary",
    "wall_check",
    "with_diagnostics",
]

_WALL_SIGMA = 2.0
#: Of the prior's width, beyond which a posterior is about the prior.
_OPEN = 0.75


@dataclass(frozen=True, eq=False)
class SpectrumPosterior:
    """Draws of equal weight. unit (chain, draw, D); values: (chain, draw) by name, in natural units. method: nuts,
    emcee, nested or neural. chains: whether they are Markov chains. diagnostics: numbers by name. failures: in words.
    """

    method: str
    names: tuple[str, ...]
    unit: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    chains: bool
    diagnostics: dict[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def flat(self) -> NDArray[np.float64]:
        """unit (n, D) of all chains."""
        return self.unit.reshape(-1, self.unit.shape[-1])

    def draws(self, n: int) -> NDArray[np.float64]:
        """At most n of unit (n, D), evenly spaced."""
        return self.flat[np.unique(np.linspace(0, len(self.flat) - 1, min(n, len(self.flat))).astype(int))]

    def table(self) -> NDArray[np.float64]:
        """Natural values (n, D) in the order of names."""
        return np.column_stack([self.values[name].ravel() for name in self.names])


def with_diagnostics(
    method: str, unit: NDArray[np.float64], *, model: InferenceModel, options: LikelihoodOptions,
    sampler: SpectrumSamplerOptions, chains: bool, extra: dict[str, float] | None = None,
    failures: tuple[str, ...] = (), keep: int = 8000,
) -> SpectrumPosterior:  # fmt: skip
    """The posterior of draws unit (chain, draw, D): rank R-hat, bulk and tail ESS, the longest autocorrelation time in
    steps, judged by ``sampler``. Every n-th draw is kept, so that there are about ``keep``.
    """
    import arviz

    names = coordinate_names(model, options)
    diagnostics: dict[str, float] = {"n_draws": float(unit.shape[0] * unit.shape[1])}
    wrong = list(failures)
    if chains:
        samples = arviz.convert_to_dataset({name: unit[..., i] for i, name in enumerate(names)})
        bulk, tail = (arviz.ess(samples, method=kind).to_array() for kind in ("bulk", "tail"))
        diagnostics["ess_bulk_min"], diagnostics["ess_tail_min"] = float(bulk.min()), float(tail.min())
        diagnostics["autocorrelation_steps_max"] = float(unit.shape[0] * unit.shape[1] / bulk.min())
        if unit.shape[0] > 1:
            diagnostics["r_hat_max"] = r_hat = float(arviz.rhat(samples).to_array().max())
            if not r_hat < sampler.r_hat_max:
                wrong.append(f"R-hat reaches {r_hat:.3f} (below {sampler.r_hat_max:g} is asked)")
        if not diagnostics["ess_bulk_min"] >= sampler.ess_min:
            wrong.append(f"the bulk ESS is {diagnostics['ess_bulk_min']:.0f} (at least {sampler.ess_min:.0f} is asked)")
    thin = max(1, round(unit.shape[0] * unit.shape[1] / keep))
    unit = unit[:, ::thin]
    parameters, amplitude = from_unit(unit, model, options, xp=np)
    values = {name: parameters[..., i] for i, name in enumerate(model.names)}
    if options.inadequacy:
        values[names[-1]] = amplitude
    return SpectrumPosterior(method, names, unit, values, chains, diagnostics | (extra or {}), tuple(wrong))


class PriorWidth(NamedTuple):
    """A parameter's prior: low and high of its box, whether that is flat in the logarithm, and the prior's standard
    deviation in natural units and as a share of the box, in the coordinate in which it is flat.
    """

    low: float
    high: float
    logarithmic: bool
    sd: float
    share_sd: float

    def shares(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where values lie in the box, from 0 to 1, in the coordinate in which the prior is flat."""
        box = (np.array([self.low]), np.array([self.high]), np.array([self.logarithmic]))
        return box_shares(np.ravel(values)[:, None], box)[:, 0]


def prior_widths(
    target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions, n: int = 4000
) -> dict[str, PriorWidth]:
    """The prior by name, from its n draws: what is unphysical, or before the explosion, makes it narrower than the
    box.
    """
    drawn = prior_draws(n, target, model=model, options=options, rng=np.random.default_rng(5))
    parameters, amplitude = from_unit(drawn, model, options, xp=np)
    shares = drawn.std(axis=0)
    out = {
        name: PriorWidth(
            float(model.low[i]), float(model.high[i]), bool(model.logarithmic[i]), float(parameters[:, i].std()),
            float(shares[i]),
        ) for i, name in enumerate(model.names)
    }  # fmt: skip
    if options.inadequacy:
        ends = (options.amplitude_low, options.amplitude_high)
        out[INADEQUACY] = PriorWidth(*ends, True, float(amplitude.std()), float(shares[-1]))
    return out


def wall_check(posterior: SpectrumPosterior, priors: dict[str, PriorWidth]) -> dict[str, str]:
    """In words, by name, of every parameter whose mean lies within 2 standard deviations of a bound of its prior, both
    in the coordinate in which that is flat; a parameter that is within 2 of both is one that the spectrum does not
    constrain, and one that is about as wide as its prior no limit.

    The fitted amplitude of the inadequacy is left out: at its lower bound the simulator is good enough.
    """
    words = {}
    for name in posterior.names:
        draws, prior = posterior.values[name], priors[name]
        shares, low, high = prior.shares(draws), prior.low, prior.high
        from_low, from_high = (float(value / shares.std()) for value in (shares.mean(), 1.0 - shares.mean()))
        near = [from_low < _WALL_SIGMA, from_high < _WALL_SIGMA]
        if name == INADEQUACY:
            if near[1]:
                words[name] = f"the inadequacy reaches its largest amplitude, {high:g}: the simulator does not fit"
        elif all(near):
            words[name] = f"{name} is within 2 sigma of both bounds, {low:g} and {high:g}: the spectrum leaves it open"
        elif any(near):
            side, end, sense = ("lower", low, "an upper") if near[0] else ("upper", high, "a lower")
            scale = " (in its logarithm)" if prior.logarithmic else ""
            relative = shares.std() / prior.share_sd
            if relative > _OPEN:
                words[name] = (
                    f"{name} leans on its {side} bound {end:g}{scale}, but is {100.0 * relative:.0f} % as wide as its "
                    "prior: the spectrum says little of it, and sets no limit"
                )
                continue
            words[name] = (
                f"{name} = {draws.mean():.5g} +- {draws.std():.2g} lies {min(from_low, from_high):.1f} sigma{scale} "
                f"from its {side} bound {end:g}: the prior sets this interval, not the spectrum alone; read it as "
                f"{sense} limit, or widen the prior and the emulator's training"
            )
    return words


def predictive_check(
    posterior: SpectrumPosterior, target: SpectrumTarget, *, model: InferenceModel, options: LikelihoodOptions,
    n: int = 500,
) -> dict[str, float]:  # fmt: skip
    """Posterior predictive p: the mean chance of a misfit as large as the observed one, over n draws (Gelman, Meng &
    Stern 1996); replicates are Gaussian, so that theirs is chi-square. Also the same without inadequacy, which says
    whether the simulator alone would fit, and both misfits per bin. Each length of
    ``options.lengths_km_s`` counts as it does in the likelihood.
    """
    import jax
    from scipy.stats import chi2

    drawn, k = posterior.draws(n), len(target.observed)
    with jax.enable_x64(True):
        found = in_batches(
            lambda rows: np.stack(misfits(rows, target, model=model, options=options), axis=1), drawn
        )  # fmt: skip
    fitted, alone, share = np.swapaxes(found, 0, 1)
    return {
        "predictive_p": float((share * chi2.sf(fitted, k)).sum(axis=1).mean()),
        "predictive_p_without_inadequacy": float((share * chi2.sf(alone, k)).sum(axis=1).mean()),
        "misfit_per_bin": float((share * fitted).sum(axis=1).mean() / k),
        "misfit_per_bin_without_inadequacy": float((share * alone).sum(axis=1).mean() / k),
    }


def spectrum_inference_data(posterior: SpectrumPosterior, target: SpectrumTarget, *, name: str, stage: int = 1) -> Any:
    """InferenceData with the groups posterior (every parameter in natural units), unit (D on [0, 1]) and observed_data
    (y and its wavelengths). Attributes: method, spectrum, stage, failures (";"-joined) and diagnostic_<name>.
    """
    import arviz

    attributes: dict[str, Any] = {
        "method": posterior.method,
        "spectrum": name,
        "stage": stage,
        "failures": ";".join(posterior.failures),
        **{f"diagnostic_{key}": value for key, value in posterior.diagnostics.items()},
    }
    coords = {"parameter": list(posterior.names), "wavelength_angstrom": target.wavelength_angstrom}
    parts = [
        arviz.from_dict(posterior=dict(posterior.values)),
        arviz.from_dict(unconstrained_posterior={"unit": posterior.unit}, coords=coords, dims={"unit": ["parameter"]}),
        arviz.from_dict(
            observed_data={"stretched": target.observed}, coords=coords, dims={"stretched": ["wavelength_angstrom"]}
        ),
    ]
    joined: Any = arviz.concat(*parts)
    for group in joined.groups():
        joined[group].attrs = dict(attributes) if group == "posterior" else {}
    joined.attrs = {}
    return joined


def spectrum_summary(
    posterior: SpectrumPosterior, priors: dict[str, PriorWidth], *, constrained_below: float = 0.5,
    walls: dict[str, str] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """One row a parameter: mean, sd, median, low68, high68, low95, high95, prior_low, prior_high, prior_sd,
    width_of_prior (sd over the prior's, in the coordinate in which that is flat), constrained, flag (words, "" where
    there is nothing to say). walls: what ``wall_check`` says, where it was asked already.
    """
    import pandas as pd

    said = wall_check(posterior, priors) if walls is None else walls
    rows = []
    for name in posterior.names:
        draws, prior = posterior.values[name].ravel(), priors[name]
        low95, low68, median, high68, high95 = np.percentile(draws, [2.275, 15.8655, 50.0, 84.1345, 97.725])
        width = float(prior.shares(draws).std(ddof=1) / prior.share_sd)
        rows.append({
            "parameter": name, "mean": float(draws.mean()), "sd": float(draws.std(ddof=1)), "median": median,
            "low68": low68, "high68": high68, "low95": low95, "high95": high95, "prior_low": prior.low,
            "prior_high": prior.high, "prior_sd": prior.sd, "width_of_prior": width,
            "constrained": width < constrained_below, "flag": said.get(name, ""),
        })  # fmt: skip
    return pd.DataFrame(rows)
