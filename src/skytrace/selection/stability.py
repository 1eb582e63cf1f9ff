"""Is completeness the same all over the sky, once the cells' mix of radii, PSF and depth is allowed for?

Regions are groups of coarse HEALPix cells. Of every region the detected are compared with what its injections' own
cells give over the whole sky; a region in which a cell lies alone says nothing of that cell. The test is a score test
with whole hosts as independent units: the influence of host h on region r's excess is the sum over its injections of
(detected - P_cell) (1[region = r] - the share of the cell's injections in r), which allows for P_cell being estimated
from the same injections. Its p comes from the wild cluster bootstrap, every host's sign drawn by lot (Kline & Santos
2012, J. Econom. Methods 1, 23), so that it keeps its size with few hosts a region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.sky.split import healpix_cell

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["StabilityOptions", "StabilityTest", "sky_regions", "stability_test"]


@dataclass(frozen=True)
class StabilityOptions:
    """nside: of the regions, a power of two (2: 48 regions of 29 deg). min_hosts: of a region; one with fewer takes no
    part in the test. n_bootstrap: sign draws. level: of the verdict. seed: of the draws.
    """

    nside: int = 2
    min_hosts: int = 10
    n_bootstrap: int = 4999
    level: float = 0.01
    seed: int = 20260701

    def __post_init__(self) -> None:
        check_whole("nside", self.nside, 1, 1024)
        if int(self.nside) & (int(self.nside) - 1):
            raise OptionError(f"nside = {self.nside!r} is not a power of two (nested HEALPix needs one)")
        check_whole("min_hosts", self.min_hosts, 2, 1_000_000)
        check_whole("n_bootstrap", self.n_bootstrap, 99, 1_000_000)
        check_between("level", self.level, 0.0, 1.0, include_low=False, include_high=False)
        if self.level * (self.n_bootstrap + 1) < 1.0:
            raise OptionError(f"n_bootstrap = {self.n_bootstrap} cannot give a p as small as level = {self.level:g}")
        check_whole("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class StabilityTest:
    """table: one row a region: region, n, n_hosts, detected, expected, completeness (of its own mix of cells), excess
    (its completeness minus that of the whole sky for the same cells), standard_error (hosts drawn whole), z, tested.
    statistic: of all tested regions together; degrees: of freedom; p_value: by the wild bootstrap. scatter: standard
    deviation of completeness between regions beyond the noise (0 where the noise explains all); detectable_scatter:
    about the smallest that the test would have found. verdict: "differs", "no difference seen" or "not measured".
    """

    table: pd.DataFrame
    statistic: float
    degrees: int
    p_value: float
    scatter: float
    detectable_scatter: float
    verdict: str
    sentence: str


def sky_regions(ra_deg: ArrayLike, dec_deg: ArrayLike, *, nside: int = 2) -> NDArray[np.int64]:
    """Region (n,) of ICRS positions: the nested HEALPix cell of ``nside``."""
    return healpix_cell(ra_deg, dec_deg, nside=nside)


def stability_test(
    cell: ArrayLike,
    host: ArrayLike,
    region: ArrayLike,
    detected: ArrayLike,
    *,
    options: StabilityOptions | None = None,
) -> StabilityTest:
    """Heterogeneity of completeness between sky regions.

    cell, host, region, detected: (n,) of every injection; a host lies in one region. Raises CatalogueError on unequal
    lengths or a host in two regions.
    """
    options = options or StabilityOptions()
    detected = np.asarray(detected, dtype=np.float64)
    if (
        detected.ndim != 1
        or not len(detected)
        or {np.shape(cell), np.shape(host), np.shape(region)} != {detected.shape}
    ):
        raise CatalogueError("cell, host, region and detected must be (n,) with n > 0")
    hosts, n_hosts = _codes(host)
    regions, names = pd.factorize(np.asarray(region), sort=True)
    cells, n_cells = _codes(cell)
    region_of_host = np.zeros(n_hosts, dtype=np.int64)
    region_of_host[hosts] = regions
    if (region_of_host[hosts] != regions).any():
        raise CatalogueError("a host lies in two regions: its position is not one")
    hosts_in = np.bincount(region_of_host, minlength=len(names))
    tested = hosts_in >= options.min_hosts
    part = tested[regions]
    influence, expected = _influence(cells, hosts, regions, detected, part, (n_cells, n_hosts, len(names)))
    table = _region_table(regions, detected, expected, influence, hosts_in, names, tested)
    open_regions = np.flatnonzero(tested & (np.abs(influence).sum(axis=0) > 1e-9))
    if len(open_regions) < 2:
        sentence = "Stability across the sky is not measured: fewer than two regions share cells and have enough hosts."
        return StabilityTest(table, np.nan, 0, np.nan, np.nan, np.nan, "not measured", sentence)
    statistic, degrees, p_value = _wild_bootstrap(influence[:, open_regions], options)
    scatter, smallest = _scatter(table.iloc[open_regions], statistic_degrees=degrees)
    verdict = "differs" if p_value <= options.level else "no difference seen"
    sentence = (
        f"Completeness {'differs' if verdict == 'differs' else 'shows no difference'} between {len(open_regions)} sky "
        f"regions (p = {p_value:.2g}, hosts as units, cells held fixed): scatter {scatter:.4f} beyond the noise; a "
        f"scatter below about {smallest:.4f} would not be seen."
    )
    return StabilityTest(table, statistic, degrees, p_value, scatter, smallest, verdict, sentence)


def _codes(values: ArrayLike) -> tuple[NDArray[np.int64], int]:
    codes, names = pd.factorize(np.asarray(values))
    return codes.astype(np.int64), len(names)


def _influence(
    cells: NDArray[np.int64], hosts: NDArray[np.int64], regions: NDArray[np.int64], detected: NDArray[np.float64],
    part: NDArray[np.bool_], sizes: tuple[int, int, int],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Each host's part in each region's excess, (host, region), and the expected P (injection,); NaN outside ``part``.

    Cells, not injections, are expanded over regions: memory is (cell, region) and (host, region).
    """
    n_cells, n_hosts, n_regions = sizes
    n = np.bincount(cells[part], minlength=n_cells).astype(np.float64)
    share = np.bincount(cells[part], weights=detected[part], minlength=n_cells) / np.maximum(n, 1.0)
    by_pair = np.bincount(cells[part] * n_regions + regions[part], minlength=n_cells * n_regions)
    fraction = by_pair.reshape(n_cells, n_regions) / np.maximum(n, 1.0)[:, None]
    residual = np.where(part, detected - share[cells], 0.0)
    # residuals by (host, cell) pair: few pairs a host, so the product with the fractions stays small
    pair, place = np.unique(hosts * n_cells + cells, return_inverse=True)
    of_pair = np.bincount(place, weights=residual)
    from scipy.sparse import csr_array

    matrix = csr_array((of_pair, (pair // n_cells, pair % n_cells)), shape=(n_hosts, n_cells))
    influence = -(matrix @ fraction)
    own = np.bincount(hosts, weights=residual, minlength=n_hosts)
    region_of_host = np.zeros(n_hosts, dtype=np.int64)
    region_of_host[hosts] = regions
    influence[np.arange(n_hosts), region_of_host] += own
    return influence, np.where(part, share[cells], np.nan)


def _region_table(
    regions: NDArray[np.int64], detected: NDArray[np.float64], expected: NDArray[np.float64],
    influence: NDArray[np.float64], hosts_in: NDArray[np.int64], names: NDArray, tested: NDArray[np.bool_],
) -> pd.DataFrame:  # fmt: skip
    size = len(names)
    n, k = np.bincount(regions, minlength=size), np.bincount(regions, weights=detected, minlength=size)
    expectation = np.where(tested, np.bincount(regions, weights=np.nan_to_num(expected), minlength=size), np.nan)
    m = np.count_nonzero(np.abs(influence).sum(axis=1))
    error = np.sqrt(m / max(m - 1.0, 1.0) * np.sum(influence**2, axis=0)) / n
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = (k - expectation) / n
        z = np.where(error > 0, excess / error, np.nan)
    return pd.DataFrame(
        {
            "region": names, "n": n, "n_hosts": hosts_in, "detected": k.astype(np.int64), "expected": expectation,
            "completeness": k / n, "excess": excess, "standard_error": np.where(tested, error, np.nan), "z": z,
            "tested": tested,
        }
    )  # fmt: skip


def _wild_bootstrap(influence: NDArray[np.float64], options: StabilityOptions) -> tuple[float, int, float]:
    """Score statistic E' V^-1 E, its rank, and the share of sign draws with one at least as large."""
    influence = influence[np.abs(influence).sum(axis=1) > 0]
    covariance = influence.T @ influence
    values, vectors = np.linalg.eigh(covariance)
    keep = values > 1e-9 * values.max()
    whitened = influence @ (vectors[:, keep] / np.sqrt(values[keep]))
    observed = float(np.sum(whitened.sum(axis=0) ** 2))
    rng, hits, block = np.random.default_rng(options.seed), 0, max(1, 4_000_000 // len(whitened))
    for start in range(0, options.n_bootstrap, block):
        signs = rng.integers(0, 2, size=(min(block, options.n_bootstrap - start), len(whitened))) * 2.0 - 1.0
        hits += int((np.sum((signs @ whitened) ** 2, axis=1) >= observed * (1.0 - 1e-9)).sum())
    return observed, int(keep.sum()), (1.0 + hits) / (1.0 + options.n_bootstrap)


def _scatter(table: pd.DataFrame, *, statistic_degrees: int) -> tuple[float, float]:
    """Between-region standard deviation by moments (DerSimonian & Laird 1986, eq. 8), and about the least to be seen.

    The latter: the scatter whose expected statistic lies two standard deviations above that of no scatter.
    """
    excess, weight = table["excess"].to_numpy(), 1.0 / table["standard_error"].to_numpy() ** 2
    usable = np.isfinite(weight)
    excess, weight = excess[usable], weight[usable]
    mean = np.sum(weight * excess) / weight.sum()
    q = np.sum(weight * (excess - mean) ** 2)
    scale = weight.sum() - np.sum(weight**2) / weight.sum()
    variance = max(0.0, (q - statistic_degrees) / scale)
    return float(np.sqrt(variance)), float(np.sqrt(2.0 * np.sqrt(2.0 * statistic_degrees) / scale))
