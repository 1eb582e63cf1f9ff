"""How parameters are inferred from an observed spectrum (``spectral_emulator``). Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_names, check_whole

__all__ = ["COVERAGE_68", "METHODS", "ExplosionPrior", "LikelihoodOptions", "SpectrumSamplerOptions"]

#: Shares of mocks whose 68 % interval may hold the truth, as asked of 100 mocks.
COVERAGE_68 = (0.60, 0.76)
METHODS = ("nuts", "emcee", "nested", "neural")
#: Where the built-in simulator is known to be wrong: it has no fluorescence, which moves ultraviolet light redwards.
_EXCLUDED = {"ultraviolet": (500.0, 3500.0)}


@dataclass(frozen=True)
class ExplosionPrior:
    """When the supernova exploded: between low_day and high_day before B maximum, at rest, flat within, with normal
    edges of soft_day outside. source: who dated it.

    The default is SN 2011fe: first light at MJD 55796.69 (Nugent et al. 2011, Nature 480, 344), 17.6 d before B maximum
    at MJD 55814.30; a dark phase before it of up to about a day (Piro & Nakar 2014, ApJ 784, 85).
    """

    low_day: float = 17.5
    high_day: float = 18.5
    soft_day: float = 0.25
    source: str = "SN 2011fe: Nugent et al. 2011, Nature 480, 344; Piro & Nakar 2014, ApJ 784, 85"

    def __post_init__(self) -> None:
        check_between("low_day", self.low_day, 0.0, 100.0)
        check_between("high_day", self.high_day, self.low_day, 100.0, include_low=False)
        check_between("soft_day", self.soft_day, 0.01, 20.0)
        if not self.source.strip():
            raise OptionError("source = '' of the explosion's date is empty; say who dated it")


@dataclass(frozen=True)
class LikelihoodOptions:
    """The Gaussian likelihood in y = asinh(L / unit), and its covariance.

    excluded: name -> (low, high) [Angstrom, rest]: bins within are not used. merged_bins: neighbouring bins of the
    emulator's grid that are averaged: of 500 bins from 2500 to 10,150 A, 842 km/s each, 4 are 3400 km/s.
    inadequacy: whether a Gaussian process in ln(wavelength) stands for what the simulator gets wrong (Kennedy & O'Hagan
    2001, J. R. Stat. Soc. B 63, 425); its amplitude, in y, is fitted, with a log-uniform prior from amplitude_low to
    amplitude_high. kernel: "matern32" or "squared". lengths_km_s: its correlation length; one is a fixed length; of
    several the likelihood is the mean (the length is marginalised over a grid). Not more: amplitude and length are
    known apart only by many independent features, and a length below a line's width would let the process fit lines
    that parameters should. scale_nodes: standard errors of the emulator at which the covariance is factorised; between
    them the density is interpolated.
    distance_modulus_err_mag, calibration_fraction: 1 sigma of the common factor of all fluxes. The first is Shappee &
    Stanek's (2011, ApJ 733, 124) for M101. feature_weights: name -> (low, high, weight): the misfit counts weight times
    as much there; the result then is no posterior, and None is the default. explosion: of ``t_exp``; None: flat.
    """

    excluded: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(_EXCLUDED))
    merged_bins: int = 4
    inadequacy: bool = True
    amplitude_low: float = 0.003
    amplitude_high: float = 1.0
    kernel: str = "matern32"
    lengths_km_s: tuple[float, ...] = (6000.0,)
    scale_nodes: int = 4
    distance_modulus_err_mag: float = 0.19
    calibration_fraction: float = 0.03
    feature_weights: Mapping[str, tuple[float, float, float]] | None = None
    explosion: ExplosionPrior | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths_km_s", tuple(self.lengths_km_s))
        if isinstance(self.explosion, Mapping):  # YAML gives one
            check_names("explosion", self.explosion, tuple(ExplosionPrior.__dataclass_fields__))
            object.__setattr__(self, "explosion", ExplosionPrior(**self.explosion))
        for name, window in self.excluded.items():
            if len(window) != 2:
                raise OptionError(f"excluded[{name!r}] = {window!r} is no pair (low, high) in Angstrom")
            check_between(f"excluded[{name!r}][1]", window[1], window[0], 100_000.0, include_low=False)
        for name, part in (self.feature_weights or {}).items():
            if len(part) != 3:
                raise OptionError(f"feature_weights[{name!r}] = {part!r} is not (low, high, weight)")
            check_between(f"feature_weights[{name!r}][1]", part[1], part[0], 100_000.0, include_low=False)
            check_between(f"feature_weights[{name!r}][2]", part[2], 0.0, 100.0, include_low=False)
        check_whole("merged_bins", self.merged_bins, 1, 100)
        check_between("amplitude_low", self.amplitude_low, 1e-6, 10.0)
        check_between("amplitude_high", self.amplitude_high, self.amplitude_low, 100.0, include_low=False)
        check_choice("kernel", self.kernel, ("matern32", "squared"))
        if not self.lengths_km_s:
            raise OptionError("lengths_km_s = () has no length")
        for length in self.lengths_km_s:
            check_between("lengths_km_s", length, 100.0, 100_000.0)
        check_whole("scale_nodes", self.scale_nodes, 1, 12)
        check_between("distance_modulus_err_mag", self.distance_modulus_err_mag, 0.0, 5.0)
        check_between("calibration_fraction", self.calibration_fraction, 0.0, 1.0)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def log_scale_sigma(self) -> float:
        """Standard deviation of the natural logarithm of the common factor."""
        return float((0.9210340371976184**2 * self.distance_modulus_err_mag**2 + self.calibration_fraction**2) ** 0.5)


@dataclass(frozen=True)
class SpectrumSamplerOptions:
    """How long the samplers run, and what is asked of them.

    methods: those that ``infer_stage`` runs; the first one's posterior is kept. n_starts: of the search of the mode,
    the best of n_prior_draws. emcee: walkers (twice the dimensions where that is more), warmup and steps of each. nuts:
    chains, warmup and draws of each. live: points of nested sampling, until dlogz is left; walks: steps of a new
    point's walk (0: dimensions + 20), queue: points that walk at once. neural: simulations, components of the summary
    and epochs of neural posterior estimation. r_hat_max, ess_min: what chains must reach. constrained_below: width
    over the prior's width below which a parameter counts as constrained.
    """

    methods: tuple[str, ...] = ("nuts", "emcee", "nested")
    n_prior_draws: int = 2048
    n_starts: int = 8
    emcee_walkers: int = 64
    emcee_warmup: int = 2000
    emcee_steps: int = 5000
    nuts_chains: int = 4
    nuts_warmup: int = 500
    nuts_draws: int = 1000
    target_accept: float = 0.9
    max_tree_depth: int = 7
    live: int = 500
    dlogz: float = 0.1
    walks: int = 0
    queue: int = 32
    neural_simulations: int = 20_000
    neural_components: int = 40
    neural_epochs: int = 100
    neural_draws: int = 4000
    r_hat_max: float = 1.02
    ess_min: float = 400.0
    constrained_below: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(self.methods))
        if not self.methods:
            raise OptionError(f"methods = () has no sampler; there are {', '.join(METHODS)}")
        for method in self.methods:
            check_choice("methods", method, METHODS)
        limits = {
            "n_prior_draws": (16, 10**7), "n_starts": (1, 1000), "emcee_walkers": (4, 10_000),
            "emcee_warmup": (0, 10**7), "emcee_steps": (20, 10**7), "nuts_chains": (1, 100),
            "nuts_warmup": (10, 10**6), "nuts_draws": (10, 10**7), "max_tree_depth": (1, 12), "live": (20, 10**6),
            "walks": (0, 10_000), "queue": (2, 10_000), "neural_simulations": (100, 10**8),
            "neural_components": (1, 1000), "neural_epochs": (1, 10**5), "neural_draws": (100, 10**7),
            "seed": (0, 2**32 - 1),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            check_whole(name, getattr(self, name), low, high)
        check_between("target_accept", self.target_accept, 0.5, 0.999)
        check_between("dlogz", self.dlogz, 1e-4, 100.0)
        check_between("r_hat_max", self.r_hat_max, 1.0, 2.0, include_low=False)
        check_between("ess_min", self.ess_min, 1.0, 1e6)
        check_between("constrained_below", self.constrained_below, 0.0, 1.0, include_low=False)
        if self.n_starts > self.n_prior_draws:
            raise OptionError(f"n_starts = {self.n_starts} is above n_prior_draws = {self.n_prior_draws}")
