"""What light-curve fits and cuts do to distances on average, measured on a simulation of the survey, and its removal.

Near a survey's limit only its brighter supernovae pass a cut on S/N (Malmquist), brighter ones have smaller errors and
so more weight, and a fit's posterior is not quite a Gaussian: mu is off on average, by an amount that changes with
redshift, to 0.02 mag. As in Kessler & Scolnic (2017, ApJ 836, 56) supernovae of a stated cosmology are simulated with
the survey's observing conditions and another seed, cut and fitted as the real ones, and compared with what they were
made of; the mean difference by redshift is taken off mu. Outliers are not simulated: the likelihood has a place for
them. How many pass depends on how bright they look, so the bias on the cosmology: it is simulated in two, and holds for
the one between (or beyond) them that the corrected distances themselves give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "DISTANCE_BIAS_COLUMNS",
    "SIMULATED_DISTANCE_COLUMNS",
    "DistanceBiasOptions",
    "correct_distance_bias",
    "distance_bias",
    "simulated_distances",
]

#: One row a simulated SN, found or not: omega_m of its flat LambdaCDM, mu_law_mag there at z_hd, scatter_mag the SN's
#: own true distance from it; mu_mag and mu_err_mag of our fit, NaN where it was cut. SNe of one ``pair`` (and omega_m)
#: are not independent.
SIMULATED_DISTANCE_COLUMNS = ("snid", "omega_m", "pair", "z_hd", "mu_law_mag", "scatter_mag", "mu_mag", "mu_err_mag")
#: One row a cosmology and bin of redshift: mean z, n simulated SNe that passed, bias_mag and its standard error.
DISTANCE_BIAS_COLUMNS = ("omega_m", "z", "n", "bias_mag", "bias_err_mag")
_ITERATIONS = 6  # each leaves less than a tenth of the last one's error
_OUTLYING = 1.5  # standard deviations at which a residual begins to count less
_ALPHA_PER_MAG = np.log(10.0) / 2.5


@dataclass(frozen=True)
class DistanceBiasOptions:
    """n_supernovae: simulated in each cosmology, 0 for no correction; a survey that cannot be simulated has none. seed:
    of them. omega_m: of the two cosmologies. n_bins: of redshift, of equal numbers, at most; bin_supernovae: in a bin
    at least.
    """

    n_supernovae: int = 6_000
    seed: int = 20_260_917
    omega_m: tuple[float, float] = (0.2, 0.4)
    n_bins: int = 12
    bin_supernovae: int = 100

    def __post_init__(self) -> None:
        if not (isinstance(self.omega_m, (tuple, list)) and len(self.omega_m) == 2):
            raise OptionError(f"omega_m = {self.omega_m!r} must be two numbers in [0, 1], the lower one first")
        object.__setattr__(self, "omega_m", tuple(self.omega_m))
        check_whole("n_supernovae", self.n_supernovae, 0, 10**7)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        low, high = self.omega_m
        check_between("omega_m[0]", low, 0.0, 1.0)
        check_between("omega_m[1]", high, low, 1.0, include_low=False)
        check_whole("n_bins", self.n_bins, 1, 1000)
        check_whole("bin_supernovae", self.bin_supernovae, 10, 10**6)


def simulated_distances(hubble: pd.DataFrame, made: pd.DataFrame, *, omega_m: float) -> pd.DataFrame:
    """SIMULATED_DISTANCE_COLUMNS of a survey simulated in one cosmology, a row for each of ``made``.

    hubble: of ``hubble_from_fits``, those that passed. made: all that were simulated, snid, pair, z_hd, z_hel and
    scatter_mag; no outliers. omega_m: of the flat LambdaCDM that they were made with.
    """
    from skytrace.supernovae.cosmology import flat_lcdm_distance_modulus

    law = flat_lcdm_distance_modulus(made["z_hd"].to_numpy(), made["z_hel"].to_numpy(), omega_m=omega_m)
    fitted = hubble.set_index("snid")[["mu_mag", "mu_err_mag"]].reindex(made["snid"])
    mu, error = fitted["mu_mag"].to_numpy(), fitted["mu_err_mag"].to_numpy()
    table = made.assign(omega_m=omega_m, mu_law_mag=law, mu_mag=mu, mu_err_mag=error)
    return table[list(SIMULATED_DISTANCE_COLUMNS)].reset_index(drop=True)


def distance_bias(simulated: pd.DataFrame, *, options: DistanceBiasOptions | None = None) -> pd.DataFrame:
    """DISTANCE_BIAS_COLUMNS, in each cosmology: mean of mu minus law of those that passed, weighted as an inference
    weights them, 1 / (mu_err^2 + scatter^2), minus the mean scatter of all that were made, 0 but for chance.

    Raises CatalogueError where fewer than options.bin_supernovae of a cosmology passed.
    """
    options = options or DistanceBiasOptions()
    seen = simulated["mu_mag"].notna()
    n_seen = int(seen.groupby(simulated["omega_m"]).sum().min())
    n_bins = min(options.n_bins, n_seen // options.bin_supernovae)
    if n_bins < 1:
        raise CatalogueError(
            f"{n_seen} simulated SNe passed the cuts, {options.bin_supernovae} are needed for the distances' bias"
        )
    edges = np.quantile(simulated.loc[seen, "z_hd"], np.linspace(0.0, 1.0, n_bins + 1))
    inside = simulated[simulated["z_hd"].between(edges[0], edges[-1])]
    place = np.searchsorted(edges[1:-1], inside["z_hd"], side="right")
    rows = [
        (omega_m, *_bias_of_bin(part))
        for (omega_m, _), part in inside.groupby([inside["omega_m"].to_numpy(), place], sort=True)
    ]
    return pd.DataFrame(rows, columns=list(DISTANCE_BIAS_COLUMNS))


def correct_distance_bias(hubble: pd.DataFrame, bias: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """``hubble`` with mu_mag and alpha freed of the bias and with bias_mag, what was taken off mu; and Omega_M of the
    cosmology that the bias was taken of (NaN where ``bias``, of ``distance_bias``, is empty, and bias_mag 0).

    Linear in Omega_M and between the bins' redshifts, constant beyond the first and the last. That Omega_M fits the
    corrected distances under Cauchy's loss, to which far outliers are little: a start for no inference.
    """
    z, z_hel, mu = (hubble[name].to_numpy() for name in ("z_hd", "z_hel", "mu_mag"))
    if bias.empty:
        return hubble.assign(bias_mag=0.0), float("nan")
    curves = {omega_m: bias[bias["omega_m"] == omega_m] for omega_m in sorted(bias["omega_m"].unique())}
    low, high = map(float, curves)
    first, second = (np.interp(z, part["z"], part["bias_mag"]) for part in curves.values())
    omega_m = 0.5 * (low + high)
    for _ in range(_ITERATIONS):
        off = first + (omega_m - low) / (high - low) * (second - first)
        omega_m = _robust_omega_m(z, z_hel, mu - off, hubble["mu_err_mag"].to_numpy(), start=omega_m)
    off = first + (omega_m - low) / (high - low) * (second - first)
    return hubble.assign(mu_mag=mu - off, alpha=hubble["alpha"] + _ALPHA_PER_MAG * off, bias_mag=off), omega_m


def _bias_of_bin(made: pd.DataFrame) -> tuple[float, int, float, float]:
    """Mean z, number that passed, bias and its standard error of the SNe ``made`` in one bin and cosmology."""
    passed = made[made["mu_mag"].notna()]
    residual = passed["mu_mag"] - passed["mu_law_mag"]
    weight = 1.0 / (passed["mu_err_mag"] ** 2 + made["scatter_mag"].var())
    weight = weight / weight.sum()
    mean, chance = float((weight * residual).sum()), float(made["scatter_mag"].mean())
    # each SN's part in the difference of the two means; those of a pair are one draw
    part = (weight * (residual - mean)).reindex(made.index, fill_value=0.0) - (made["scatter_mag"] - chance) / len(made)
    error = float(np.sqrt((part.groupby(made["pair"]).sum() ** 2).sum()))
    return float((weight * passed["z_hd"]).sum()), len(passed), mean - chance, error


def _robust_omega_m(
    z: NDArray[np.float64], z_hel: NDArray[np.float64], mu: NDArray[np.float64], error: NDArray[np.float64], *,
    start: float,
) -> float:  # fmt: skip
    """Omega_M of flat LambdaCDM with a free offset, under Cauchy's loss."""
    from scipy.optimize import least_squares

    from skytrace.supernovae.cosmology import flat_lcdm_distance_modulus

    def misses(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        law = flat_lcdm_distance_modulus(z, z_hel, omega_m=np.array(theta[0]))
        return np.asarray((mu - law - theta[1]) / scale)

    offset = float(np.median(mu - flat_lcdm_distance_modulus(z, z_hel, omega_m=start)))
    residual = mu - flat_lcdm_distance_modulus(z, z_hel, omega_m=start) - offset
    scale = np.hypot(error, 1.4826 * np.median(np.abs(residual)))
    bounds = ([0.0, -np.inf], [1.0, np.inf])
    found = least_squares(misses, [start, offset], bounds=bounds, loss="cauchy", f_scale=_OUTLYING)
    return float(found.x[0])
