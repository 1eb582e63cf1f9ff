"""Weighted fits of distance laws to a Hubble table, the offset marginalised analytically.

alpha = -(ln 10/2.5) mu. The laws, each with a free offset unless it says otherwise (an offset is all that H0 and the
supernovae's luminosity can change together):

flat_lcdm        D_L = (1 + z_hel) (c/H0) int_0^z_hd dz/E, E^2 = Omega_M (1+z)^3 + 1 - Omega_M; one parameter
log_distance     D_L = (c/K) ln(1+z) (1+z)^q, q = 0 as its authors write it; no parameter but the offset
linear_two_term  alpha = -2 ln(c z/H0 / 10 pc) - [ln(1+z), z] p
qfd_anchored     the same with the three terms [ln(1+z), z, z/(1+z)]
qfd_no_distance  alpha = offset - Phi p: the three terms without the distance term
qfd_seed         alpha = -Phi p: neither distance term nor offset, the form of the rival pipeline

Weights are 1/mu_err^2 with the published mu_err as it stands. For DES tables that error is the BEAMS error, inflated to
hundreds of magnitudes for likely contaminants, so these weights are what downweights them; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, check_between, check_choice
from skytrace.supernovae.distance_basis import COEFFICIENTS, qfd_basis
from skytrace.supernovae.population_options import POPULATION_MODELS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ALPHA_PER_MAG",
    "MODELS",
    "N_TERMS",
    "SPEED_OF_LIGHT_KM_S",
    "CosmologyFit",
    "CosmologyOptions",
    "HubbleData",
    "fit_cosmology",
    "fixed_distance_modulus",
    "flat_lcdm_distance_modulus",
    "hubble_data",
    "log_distance_modulus",
    "low_redshift_distance_modulus",
    "residual_figures",
]

SPEED_OF_LIGHT_KM_S = 299792.458
ALPHA_PER_MAG = float(np.log(10.0) / 2.5)  # |d alpha / d mu|
MODELS = POPULATION_MODELS
#: Of the linear laws: how many terms of the basis they have.
N_TERMS = {"log_distance": 0, "linear_two_term": 2, "qfd_anchored": 3, "qfd_no_distance": 3, "qfd_seed": 3}
#: of int du e^u/E over u = ln(1+z): 12 nodes are within 4e-9 mag up to z = 10
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(12)
_COLUMNS = {"z_hd": ("z_hd", "zhd"), "z_hel": ("z_hel", "zhel")}


@dataclass(frozen=True)
class CosmologyOptions:
    """h0_km_s_mpc: of the models' zero point; only the offset depends on it. weighting: of the fit and of the offset
    about which residuals are taken: "inverse_variance" (1/mu_err^2), "probability" (prob_ia/mu_err^2) or "uniform".
    sigma_int_mag: added to mu_err in quadrature. omega_m_low, omega_m_high: range that is searched.
    log_distance_redshift_power: q of the log_distance model (1: a receding source's energy and rate).
    prob_ia_min: above it a supernova counts as a type Ia in the figures "ia"; where prob_ia is unknown (NaN) it does.
    """

    h0_km_s_mpc: float = 70.0
    weighting: str = "inverse_variance"
    sigma_int_mag: float = 0.0
    omega_m_low: float = 0.0
    omega_m_high: float = 1.0
    log_distance_redshift_power: float = 0.0
    prob_ia_min: float = 0.5

    def __post_init__(self) -> None:
        check_between("h0_km_s_mpc", self.h0_km_s_mpc, 1.0, 1000.0)
        check_choice("weighting", self.weighting, ("inverse_variance", "probability", "uniform"))
        check_between("sigma_int_mag", self.sigma_int_mag, 0.0, 10.0)
        check_between("omega_m_low", self.omega_m_low, 0.0, 1.0)
        check_between("omega_m_high", self.omega_m_high, self.omega_m_low, 1.0, include_low=False)
        check_between("log_distance_redshift_power", self.log_distance_redshift_power, -2.0, 2.0)
        check_between("prob_ia_min", self.prob_ia_min, 0.0, 1.0)


@dataclass(frozen=True)
class HubbleData:
    """Columns of a Hubble table, checked: snid (n,) str; z_hd, z_hel, mu_mag, mu_err_mag, prob_ia (n,)."""

    snid: NDArray[np.str_]
    z_hd: NDArray[np.float64]
    z_hel: NDArray[np.float64]
    mu_mag: NDArray[np.float64]
    mu_err_mag: NDArray[np.float64]
    prob_ia: NDArray[np.float64]


@dataclass(frozen=True)
class CosmologyFit:
    """parameters, errors: by name; errors are of the quadratic approximation. covariance (k, k): in their order, offset
    marginalised. offset_mag, offset_err_mag: of mu against the law at h0, offset_err at fixed parameters (NaN where the
    law has no offset). figures: rms, wrms, mad (1.4826 x), std of "all" and "ia" [mag], as ``residual_figures``.
    at_bound: Omega_M ended at an end of its range. residuals_mag (n,): mu minus model, offset included.
    """

    model: str
    parameters: dict[str, float]
    errors: dict[str, float]
    covariance: NDArray[np.float64]
    offset_mag: float
    offset_err_mag: float
    chi2: float
    ndof: int
    n: int
    at_bound: bool
    figures: dict[str, float]
    snid: NDArray[np.str_] = field(repr=False)
    residuals_mag: NDArray[np.float64] = field(repr=False)
    mu_model_mag: NDArray[np.float64] = field(repr=False)

    @property
    def rms_all_mag(self) -> float:
        """rms of all residuals about the weighted offset."""
        return self.figures["rms_all_mag"]

    @property
    def rms_ia_mag(self) -> float:
        """rms of the likely type Ia's residuals about the weighted offset of all."""
        return self.figures["rms_ia_mag"]

    def metrics(self) -> dict[str, Any]:
        """Numbers for a metrics file. Parameters that are all but degenerate have no error one by one: of more than one
        the covariance is given, {name: {name: value}}.
        """
        named: dict[str, Any] = dict(self.parameters)
        if len(named) == 1:
            named |= {f"{name}_err": value for name, value in self.errors.items()}
        elif named:
            rows = (dict(zip(self.parameters, map(float, row), strict=True)) for row in self.covariance)
            named["covariance"] = dict(zip(self.parameters, rows, strict=True))
        return {
            **named,
            "offset_mag": self.offset_mag,
            "offset_err_mag": self.offset_err_mag,
            "chi2": self.chi2,
            "ndof": self.ndof,
            "n": self.n,
            "at_bound": self.at_bound,
            **self.figures,
        }


def flat_lcdm_distance_modulus(
    z_hd: Any, z_hel: Any = None, *, omega_m: Any, h0_km_s_mpc: float = 70.0, xp: Any = np
) -> Any:
    """Distance moduli [mag] of flat LambdaCDM without radiation; z_hd (CMB frame, > 0) and omega_m broadcast.

    z_hel: heliocentric redshift of the (1 + z) that light loses; z_hd where None. xp: the array module (``jax.numpy``
    inside a JAX function). Within 1e-8 mag of ``astropy.cosmology`` up to z = 10.
    """
    z_hd, omega_m = xp.asarray(z_hd), xp.asarray(omega_m)
    growth = xp.log1p(z_hd)[..., None]
    stretch = xp.exp(growth * xp.asarray(0.5 * (_NODES + 1.0)))
    rate = xp.sqrt(omega_m[..., None] * (stretch**3 - 1.0) + 1.0)
    comoving = 0.5 * growth[..., 0] * ((stretch / rate) @ xp.asarray(_NODE_WEIGHTS))
    luminosity = comoving * (1.0 + (z_hd if z_hel is None else xp.asarray(z_hel)))
    return 5.0 * xp.log10(luminosity * (SPEED_OF_LIGHT_KM_S / h0_km_s_mpc)) + 25.0


def log_distance_modulus(z: ArrayLike, *, k_km_s_mpc: float = 70.0, redshift_power: float = 0.0) -> NDArray[np.float64]:
    """Distance moduli (n,) [mag] of D = (c/K) ln(1+z) (1+z)^redshift_power."""
    growth = np.log1p(np.asarray(z, dtype=np.float64))
    mu = 5.0 * np.log10(growth * SPEED_OF_LIGHT_KM_S / k_km_s_mpc) + 25.0
    return np.asarray(mu + 5.0 * redshift_power * growth / np.log(10.0))


def low_redshift_distance_modulus(z: ArrayLike, *, h0_km_s_mpc: float = 70.0) -> NDArray[np.float64]:
    """Distance moduli (n,) [mag] of D = c z / H0, the anchor of the three-term law."""
    return np.asarray(5.0 * np.log10(np.asarray(z, dtype=np.float64) * SPEED_OF_LIGHT_KM_S / h0_km_s_mpc) + 25.0)


def fixed_distance_modulus(
    z_hd: ArrayLike, model: str, *, h0_km_s_mpc: float = 70.0, redshift_power: float = 0.0
) -> NDArray[np.float64]:
    """The part of mu (n,) [mag] of a law that has no free parameter; 0 where the law has no such part."""
    if model in ("linear_two_term", "qfd_anchored"):
        return low_redshift_distance_modulus(z_hd, h0_km_s_mpc=h0_km_s_mpc)
    if model == "log_distance":
        return log_distance_modulus(z_hd, k_km_s_mpc=h0_km_s_mpc, redshift_power=redshift_power)
    return np.zeros(np.shape(z_hd))


def hubble_data(table: pd.DataFrame) -> HubbleData:
    """Checked columns of a Hubble table: ours (z_hd, z_hel, alpha, alpha_err or mu_mag, mu_err_mag) or a published
    one's (zhd, zhel, mu, mu_err). z_hel defaults to z_hd, prob_ia to NaN, snid to the row's index.

    Raises CatalogueError naming what is missing, or how many rows are not finite, not at z > 0 or without a positive
    error; nothing is dropped here.
    """
    if len(table) == 0:
        raise CatalogueError("the Hubble table is empty")
    z_hd = _column(table, *_COLUMNS["z_hd"])
    has_z_hel = any(name in table.columns for name in _COLUMNS["z_hel"])
    z_hel = _column(table, *_COLUMNS["z_hel"]) if has_z_hel else z_hd
    if any(name in table.columns for name in ("mu_mag", "mu")):
        mu, error = _column(table, "mu_mag", "mu"), _column(table, "mu_err_mag", "mu_err")
    else:
        mu, error = (_column(table, name) / ALPHA_PER_MAG for name in ("alpha", "alpha_err"))
        mu = -mu
    prob = _column(table, "prob_ia") if "prob_ia" in table.columns else np.full(len(table), np.nan)
    problems = {
        "redshifts that are not finite and positive": ~(np.isfinite(z_hd) & (z_hd > 0) & np.isfinite(z_hel)),
        "distances that are not finite": ~np.isfinite(mu),
        "errors that are not finite and positive": ~(np.isfinite(error) & (error > 0)),
    }
    wrong = [
        f"{int(bad.sum())} {words} (row {int(np.argmax(bad))} first)" for words, bad in problems.items() if bad.any()
    ]
    if wrong:
        raise CatalogueError(f"the Hubble table of {len(table)} rows has {'; '.join(wrong)}")
    snid = np.asarray(table["snid"] if "snid" in table.columns else table.index).astype(str)
    return HubbleData(snid, z_hd, z_hel, mu, error, prob)


def fit_cosmology(
    hubble_table: pd.DataFrame | HubbleData, model: str = "flat_lcdm", *, options: CosmologyOptions | None = None
) -> CosmologyFit:
    """Fit one of MODELS to a Hubble table by weighted least squares, its offset marginalised (flat prior).

    Parameters: omega_m; or k_j, eta_prime, xi in units of alpha. Raises OptionError on another model, CatalogueError
    on a table that ``hubble_data`` refuses or with fewer rows than parameters.
    """
    options = options or CosmologyOptions()
    check_choice("model", model, MODELS)
    data = hubble_table if isinstance(hubble_table, HubbleData) else hubble_data(hubble_table)
    n_free = 2 if model == "flat_lcdm" else N_TERMS[model] + int(model != "qfd_seed")
    if len(data.mu_mag) <= n_free:
        raise CatalogueError(f"{len(data.mu_mag)} supernovae cannot determine {n_free} parameters and their errors")
    weight = _weights(data, options)
    if model == "flat_lcdm":
        names, values, covariance, law, at_bound = _fit_omega_m(data, weight, options)
    else:
        names, values, covariance, law = _fit_terms(data, weight, model, options)
        at_bound = False
    residuals, offset, offset_err = data.mu_mag - law, np.nan, np.nan
    if model != "qfd_seed":
        offset, offset_err = _weighted_mean(residuals, weight), float(1.0 / np.sqrt(weight.sum()))
        residuals = residuals - offset
    likely_ia = ~(data.prob_ia <= options.prob_ia_min)
    return CosmologyFit(
        model=model,
        parameters=dict(zip(names, map(float, values), strict=True)),
        errors=dict(zip(names, map(float, np.sqrt(np.diag(covariance))), strict=True)),
        covariance=covariance,
        offset_mag=float(offset),
        offset_err_mag=float(offset_err),
        chi2=float(weight @ residuals**2),
        ndof=len(residuals) - n_free,
        n=len(residuals),
        at_bound=at_bound,
        figures=residual_figures(residuals, weight, likely_ia),
        snid=data.snid,
        residuals_mag=residuals,
        mu_model_mag=data.mu_mag - residuals,
    )


def residual_figures(residuals_mag: ArrayLike, weight: ArrayLike, likely_ia: ArrayLike) -> dict[str, float]:
    """Spread of residuals (n,) about the weighted mean of all of them, for all and for the likely type Ia.

    rms: root mean square about that mean, every supernova alike. wrms: weighted root mean square about it. mad: 1.4826
    times the median distance from the group's own median. std: about the group's own plain mean. n: how many. NaN for a
    group of nobody.
    """
    residuals, weight = np.asarray(residuals_mag, np.float64), np.asarray(weight, np.float64)
    about = residuals - _weighted_mean(residuals, weight)
    figures: dict[str, float] = {}
    for name, chosen in (("all", np.ones(len(about), dtype=bool)), ("ia", np.asarray(likely_ia, dtype=bool))):
        group, w = about[chosen], weight[chosen]
        known = len(group) > 0
        figures[f"rms_{name}_mag"] = float(np.sqrt(np.mean(group**2))) if known else np.nan
        figures[f"wrms_{name}_mag"] = float(np.sqrt((w @ group**2) / w.sum())) if known else np.nan
        figures[f"mad_{name}_mag"] = float(1.4826 * np.median(np.abs(group - np.median(group)))) if known else np.nan
        figures[f"std_{name}_mag"] = float(np.std(group)) if known else np.nan
        figures[f"n_{name}"] = len(group)
    return figures


def _column(table: pd.DataFrame, *names: str) -> NDArray[np.float64]:
    for name in names:
        if name in table.columns:
            return np.asarray(table[name], dtype=np.float64)
    raise CatalogueError(f"the Hubble table has no column {' or '.join(names)}; it has {', '.join(map(str, table))}")


def _weights(data: HubbleData, options: CosmologyOptions) -> NDArray[np.float64]:
    if options.weighting == "uniform":
        return np.ones(len(data.mu_mag))
    weight = 1.0 / (data.mu_err_mag**2 + options.sigma_int_mag**2)
    return weight * np.nan_to_num(data.prob_ia, nan=1.0) if options.weighting == "probability" else weight


def _weighted_mean(values: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    return float(weight @ values / weight.sum())


def _fit_omega_m(
    data: HubbleData, weight: NDArray[np.float64], options: CosmologyOptions
) -> tuple[tuple[str, ...], NDArray, NDArray, NDArray, bool]:
    """Minimum of the offset-marginalised chi2 over Omega_M; its error from the derivative of the law there."""
    from scipy.optimize import minimize_scalar

    def law(omega_m: float) -> NDArray[np.float64]:
        return np.asarray(
            flat_lcdm_distance_modulus(data.z_hd, data.z_hel, omega_m=omega_m, h0_km_s_mpc=options.h0_km_s_mpc)
        )

    def chi2(omega_m: float) -> float:
        residuals = data.mu_mag - law(omega_m)
        return float(weight @ (residuals - _weighted_mean(residuals, weight)) ** 2)

    low, high = options.omega_m_low, options.omega_m_high
    best = float(minimize_scalar(chi2, bounds=(low, high), method="bounded", options={"xatol": 1e-7}).x)
    for _ in range(4):  # Gauss-Newton from the search's 1e-7 to rounding
        step = 1e-5 * (1.0 if best < 0.5 else -1.0)
        slope = (law(best + step) - law(best)) / step
        slope = slope - _weighted_mean(slope, weight)
        variance = 1.0 / (weight @ slope**2)
        best = float(np.clip(best + variance * (weight * slope) @ (data.mu_mag - law(best)), low, high))
    at_bound = min(best - low, high - best) < 1e-4 * (high - low)
    return ("omega_m",), np.array([best]), np.array([[variance]]), law(best), at_bound


def _fit_terms(
    data: HubbleData, weight: NDArray[np.float64], model: str, options: CosmologyOptions
) -> tuple[tuple[str, ...], NDArray, NDArray, NDArray]:
    """Linear laws, by QR of the weighted terms (centred where there is an offset); parameters in units of alpha."""
    n_terms, power = N_TERMS[model], options.log_distance_redshift_power
    base = fixed_distance_modulus(data.z_hd, model, h0_km_s_mpc=options.h0_km_s_mpc, redshift_power=power)
    if n_terms == 0:
        return (), np.zeros(0), np.zeros((0, 0)), base
    phi = qfd_basis(data.z_hd, n_terms=n_terms)
    terms, target = phi / ALPHA_PER_MAG, data.mu_mag - base  # mu = base + Phi p / (ln 10 / 2.5)
    if model != "qfd_seed":
        terms = terms - (weight @ terms) / weight.sum()
        target = target - _weighted_mean(target, weight)
    root = np.sqrt(weight)
    q, r = np.linalg.qr(terms * root[:, None])
    inverse = np.linalg.inv(r)
    values = inverse @ (q.T @ (target * root))
    return COEFFICIENTS[:n_terms], values, inverse @ inverse.T, base + phi @ values / ALPHA_PER_MAG
