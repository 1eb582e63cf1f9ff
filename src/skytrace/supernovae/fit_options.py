"""Options of the light-curve model and of its fit (``supernova``, stage 1). Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = ["ESTIMATORS", "FLAGS", "LOSSES", "SEDS", "FitOptions", "ModelOptions"]

SEDS = ("blackbody", "template")
ESTIMATORS = ("map", "mle")
LOSSES = ("gaussian", "soft_l1", "student_t")
#: What a fit may say of a supernova, in this order.
FLAGS = (
    "too_few_observations", "no_signal", "not_converged_iterations", "not_converged_stalled", "at_bound_t0",
    "at_bound_a_plasma", "at_bound_beta", "at_bound_alpha", "one_band", "near_bound_a_plasma", "rank_deficient",
)  # fmt: skip


@dataclass(frozen=True)
class ModelOptions:
    """What a supernova sends out, and what its surroundings take away. Days are rest-frame days since explosion.

    sed: ``blackbody``, T = temperature_floor_k + temperature_drop_k exp(-t / cooling_days), its radius rising as
    (t / rise_days)^rise_power and then falling as exp(-t / decline_days), joined smoothly (the larger join_sharpness,
    the sharper); or ``template``, a spectral series: template_source, one that sncosmo has on disk (the default one
    comes with the package; nothing is downloaded), averaged over template_smoothing_nm because photometry is compared
    at the pivot wavelength of its filter. peak_luminosity_erg_s: largest bolometric luminosity of either.
    plasma_days, plasma_pivot_nm: time constant and pivot of tau_plasma. xi, eta_prime: their product scales tau_FDR;
    eta_prime = 0 leaves it out.
    """

    sed: str = "blackbody"
    peak_luminosity_erg_s: float = 1.5e43
    rise_days: float = 19.0
    rise_power: float = 2.0
    decline_days: float = 150.0
    join_sharpness: float = 4.0
    temperature_floor_k: float = 4500.0
    temperature_drop_k: float = 7500.0
    cooling_days: float = 40.0
    template_source: str = "hsiao-subsampled"
    template_smoothing_nm: float = 80.0
    plasma_days: float = 30.0
    plasma_pivot_nm: float = 440.0
    xi: float = 1.0
    eta_prime: float = 0.0

    def __post_init__(self) -> None:
        check_choice("sed", self.sed, SEDS)
        check_between("peak_luminosity_erg_s", self.peak_luminosity_erg_s, 1e40, 1e46)
        check_between("rise_days", self.rise_days, 5.0, 60.0)
        check_between("rise_power", self.rise_power, 0.5, 4.0)
        check_between("decline_days", self.decline_days, 5.0, 1e6)
        check_between("join_sharpness", self.join_sharpness, 0.5, 50.0)
        check_between("temperature_floor_k", self.temperature_floor_k, 500.0, 50_000.0)
        check_between("temperature_drop_k", self.temperature_drop_k, 0.0, 100_000.0)
        check_between("cooling_days", self.cooling_days, 1.0, 1000.0)
        check_between("template_smoothing_nm", self.template_smoothing_nm, 0.0, 300.0)
        check_between("plasma_days", self.plasma_days, 0.1, 1000.0)
        check_between("plasma_pivot_nm", self.plasma_pivot_nm, 100.0, 3000.0)
        check_between("xi", self.xi, 0.0, 1e6)
        check_between("eta_prime", self.eta_prime, 0.0, 1e6)


@dataclass(frozen=True)
class FitOptions:
    """How t0, A, beta and alpha are found for every supernova.

    estimator: ``map``, with the priors A ~ HalfNormal(a_prior_sd) and beta ~ N(beta_prior_mean, beta_prior_sd), or
    ``mle``. loss: of the residuals r in sigmas: r^2, or robust with scale soft_l1_scale or student_t_nu degrees of
    freedom. relative_error_floor: added in quadrature, times |flux|. min_observations: a supernova with fewer gets no
    parameters and a flag. rest_wavelength_nm: (lowest, highest) that is compared with the model, else ignored.
    phase_days: rest-frame window about the brightest observation that is compared, else ignored.
    n_starts: starting values of t0 tried; n_refined: how many of them are taken to convergence.
    workers: threads, 0 for one a core; the result does not depend on it.
    """

    model: ModelOptions = field(default_factory=ModelOptions)
    estimator: str = "map"
    a_prior_sd: float = 0.3
    beta_prior_mean: float = 1.2
    beta_prior_sd: float = 0.3
    a_plasma_max: float = 10.0
    beta_max: float = 4.0
    loss: str = "gaussian"
    soft_l1_scale: float = 3.0
    student_t_nu: float = 4.0
    relative_error_floor: float = 0.03
    min_observations: int = 3
    rest_wavelength_nm: tuple[float, float] = (0.0, 1e6)
    phase_days: tuple[float, float] = (-1e6, 1e6)
    n_starts: int = 5
    n_refined: int = 2
    max_iterations: int = 200
    workers: int = 0

    def __post_init__(self) -> None:
        check_choice("estimator", self.estimator, ESTIMATORS)
        check_choice("loss", self.loss, LOSSES)
        check_between("a_prior_sd", self.a_prior_sd, 1e-3, 100.0)
        check_between("beta_prior_mean", self.beta_prior_mean, 0.0, 4.0)
        check_between("beta_prior_sd", self.beta_prior_sd, 1e-3, 100.0)
        check_between("a_plasma_max", self.a_plasma_max, 0.1, 100.0)
        check_between("beta_max", self.beta_max, 0.5, 10.0)
        check_between("soft_l1_scale", self.soft_l1_scale, 0.1, 100.0)
        check_between("student_t_nu", self.student_t_nu, 1.0, 1000.0)
        check_between("relative_error_floor", self.relative_error_floor, 0.0, 1.0)
        check_whole("min_observations", self.min_observations, 1, 1000)
        for key in ("rest_wavelength_nm", "phase_days"):
            object.__setattr__(self, key, _window(key, getattr(self, key)))
        check_whole("n_starts", self.n_starts, 1, 50)
        check_whole("n_refined", self.n_refined, 1, self.n_starts)
        check_whole("max_iterations", self.max_iterations, 5, 10_000)
        check_whole("workers", self.workers, 0, 1024)


def _window(key: str, value: object) -> tuple[float, float]:
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise OptionError(f"{key} = {value!r} must be two numbers, the lower one first")
    low, high = value
    check_between(key, low, -1e9, 1e9)
    check_between(key, high, -1e9, 1e9)
    if not low < high:
        raise OptionError(f"{key} = {[low, high]} must be two numbers, the lower one first")
    return low, high
