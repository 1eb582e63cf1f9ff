"""Options of the population's inference (``supernova``, stage 2). Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["LIKELIHOODS", "POPULATION_MODELS", "ComparisonOptions", "PopulationOptions", "SamplerOptions"]

POPULATION_MODELS = (
    "qfd_anchored",
    "flat_lcdm",
    "log_distance",
    "linear_two_term",
    "qfd_no_distance",
    "qfd_seed",
)
LIKELIHOODS = ("student_t", "mixture")


@dataclass(frozen=True)
class PopulationOptions:
    """Distance law, noise model and priors; everything in units of alpha (1 mag is 0.921) unless it says otherwise.

    model: the distance law, as in ``skytrace.supernovae.cosmology``. likelihood: ``student_t``, or ``mixture`` of
    normal clean supernovae and a fraction of normal outliers with a shift and a width of their own. h0_km_s_mpc: of the
    zero point. Priors: offset ~ N(0, offset_scale) about the law's zero point (mu = 40 mag where the law has no
    distance term); c ~ N(0, c_scale) on columns of unit rms; omega_m ~ Uniform(0, 1); sigma_int ~
    HalfNormal(sigma_int_scale); the tail nu ~ Gamma(tail_shape, tail_rate) or Uniform(tail_low, tail_high), by
    tail_prior. tail_coordinate: what is sampled, log(nu) ("log") or 1/nu ("inverse"); the posterior is the same.
    Mixture: outlier_fraction ~ Beta(fraction_a, fraction_b), outlier_shift ~ N(0, shift_scale), and the outliers' own
    scatter log-normal about outlier_scale with spread outlier_scale_spread.
    log_distance_redshift_power: as in ``CosmologyOptions``.
    """

    model: str = "qfd_anchored"
    likelihood: str = "student_t"
    h0_km_s_mpc: float = 70.0
    offset_scale: float = 5.0
    c_scale: float = 5.0
    sigma_int_scale: float = 0.3
    tail_prior: str = "gamma"
    tail_shape: float = 2.0
    tail_rate: float = 0.1
    tail_low: float = 2.0
    tail_high: float = 30.0
    tail_coordinate: str = "inverse"
    fraction_a: float = 1.0
    fraction_b: float = 9.0
    shift_scale: float = 2.0
    outlier_scale: float = 1.0
    outlier_scale_spread: float = 0.5
    log_distance_redshift_power: float = 0.0

    def __post_init__(self) -> None:
        check_choice("model", self.model, POPULATION_MODELS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("tail_prior", self.tail_prior, ("gamma", "uniform"))
        check_choice("tail_coordinate", self.tail_coordinate, ("log", "inverse"))
        check_between("h0_km_s_mpc", self.h0_km_s_mpc, 1.0, 1000.0)
        for key in ("offset_scale", "c_scale", "sigma_int_scale", "shift_scale", "outlier_scale"):
            check_between(key, getattr(self, key), 1e-3, 1e3)
        for key in ("tail_shape", "tail_rate", "fraction_a", "fraction_b", "outlier_scale_spread"):
            check_between(key, getattr(self, key), 1e-3, 1e3)
        check_between("tail_low", self.tail_low, 0.1, 1e3)
        check_between("tail_high", self.tail_high, self.tail_low, 1e4, include_low=False)
        check_between("log_distance_redshift_power", self.log_distance_redshift_power, -2.0, 2.0)


@dataclass(frozen=True)
class SamplerOptions:
    """method: ``nuts`` (chains x (warm-up + samples)), or ``fast`` (Laplace and importance, n_draws from a Student-t
    proposal of proposal_df degrees of freedom). Fast is refused where Pareto k-hat > k_hat_max or the importance ESS <
    ess_fraction_min n_draws. r_hat_max, ess_min: what a run must reach to be called converged. log_likelihood_draws:
    how many draws per chain carry each supernova's log likelihood (what LOO needs; its size is draws x supernovae).
    """

    method: str = "nuts"
    n_chains: int = 4
    n_warmup: int = 500
    n_samples: int = 3000
    target_accept: float = 0.8
    max_tree_depth: int = 8
    n_draws: int = 10_000
    proposal_df: float = 5.0
    k_hat_max: float = 0.5
    ess_fraction_min: float = 0.3
    r_hat_max: float = 1.01
    ess_min: float = 5000.0
    log_likelihood_draws: int = 500
    seed: int = 42

    def __post_init__(self) -> None:
        check_choice("method", self.method, ("nuts", "fast"))
        check_whole("n_chains", self.n_chains, 2, 1000)
        check_whole("n_warmup", self.n_warmup, 10, 10**6)
        check_whole("n_samples", self.n_samples, 10, 10**7)
        check_whole("max_tree_depth", self.max_tree_depth, 1, 15)
        check_whole("n_draws", self.n_draws, 100, 10**8)
        check_whole("log_likelihood_draws", self.log_likelihood_draws, 10, 10**6)
        check_whole("seed", self.seed, 0, 2**31 - 1)
        check_between("target_accept", self.target_accept, 0.5, 0.999)
        check_between("proposal_df", self.proposal_df, 2.0, 1000.0)
        check_between("k_hat_max", self.k_hat_max, 0.0, 1.0)
        check_between("ess_fraction_min", self.ess_fraction_min, 0.0, 1.0)
        check_between("r_hat_max", self.r_hat_max, 1.0, 2.0)
        check_between("ess_min", self.ess_min, 1.0, 1e9)


@dataclass(frozen=True)
class ComparisonOptions:
    """n_folds: of the cross-validation. salt: of the hash of snid that makes the folds. holdout_modulus: one in so many
    supernovae is held out, by the hash with holdout_salt. k_hat_good: Pareto k above which a supernova's LOO is
    flagged.
    """

    n_folds: int = 5
    salt: str = "sn-fold-v1"
    holdout_modulus: int = 10
    holdout_salt: str = "sn-test-v1"
    k_hat_good: float = 0.7

    def __post_init__(self) -> None:
        for key in ("salt", "holdout_salt"):
            if not (isinstance(getattr(self, key), str) and getattr(self, key)):
                raise OptionError(f"{key} = {getattr(self, key)!r} is not a text")
        check_whole("n_folds", self.n_folds, 2, 1000)
        check_whole("holdout_modulus", self.holdout_modulus, 2, 1000)
        check_between("k_hat_good", self.k_hat_good, 0.0, 1.0)
