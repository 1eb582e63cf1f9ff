"""Does an ablation change what is detected? The same injections, with and without it: only the pairs that differ speak.

McNemar's exact test (McNemar 1947; exact form Agresti 2013, sect. 11.1): of the pairs in which one side alone is
detected, is the split even? It takes pairs for independent. Injections into one host are not, so beside it stands a
permutation test that exchanges the two sides of *whole hosts* (exact under the null for any correlation within a host).
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, OptionError, check_between, check_whole
from skytrace.statistics import holm_adjusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["PairedOptions", "PairedTest", "pair_injections", "paired_table", "paired_test"]

#: What must be equal in both tables for a pair to be one: common random numbers.
COMMON_COLUMNS = ("galaxy_id", "theta_e_arcsec", "source_mag_r", "source_x_arcsec", "source_y_arcsec", "mode")


@dataclass(frozen=True)
class PairedOptions:
    """theta_e_edges_arcsec: bins of the Einstein radius, rising. n_permutations of whole hosts. common: columns that
    must be equal in a pair. seed: of the permutations.
    """

    theta_e_edges_arcsec: tuple[float, ...] = (0.375, 0.875, 1.375, 1.875, 2.375, 3.125)
    n_permutations: int = 4999
    common: tuple[str, ...] = COMMON_COLUMNS
    seed: int = 20260601

    def __post_init__(self) -> None:
        edges = tuple(float(value) for value in self.theta_e_edges_arcsec)
        object.__setattr__(self, "theta_e_edges_arcsec", edges)
        object.__setattr__(self, "common", tuple(self.common))
        if len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise OptionError(f"theta_e_edges_arcsec = {list(edges)} must be two or more rising numbers")
        check_whole("n_permutations", self.n_permutations, 99, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class PairedTest:
    """n pairs in n_hosts hosts: both detected, in one only, in neither. difference: share of the ablation minus that of
    the base. standard_error: of hosts drawn whole, never below that of independent pairs; 0 where no pair differs.
    Intervals at 68 % and 95 %: Bonett & Price (2012, J. Educ. Behav. Stat. 37, 479), one pair more gained and one more
    lost, so that no discordant pair is no certainty; widened by the design effect of hosts (unknown, and taken as 1,
    where no pair differs). p_mcnemar: exact, two-sided, pairs independent. p_hosts: sides of whole hosts exchanged.
    """

    n: int
    n_hosts: int
    n_both: int
    n_base_only: int
    n_ablation_only: int
    n_neither: int
    difference: float
    standard_error: float
    low68: float
    high68: float
    low95: float
    high95: float
    p_mcnemar: float
    p_hosts: float


def pair_injections(
    base: pd.DataFrame, ablation: pd.DataFrame, *, common: Sequence[str] = COMMON_COLUMNS
) -> pd.DataFrame:
    """One row an injection that is in both tables: the columns of ``base``, and score_ablation.

    Raises CatalogueError on repeated or missing ids, and where a pair differs in a column of ``common``: then the
    random numbers were not the same, and the pair is none.
    """
    needed = ("injection_id", "score", *common)
    for name, table in (("base", base), ("ablation", ablation)):
        missing = [column for column in needed if column not in table.columns]
        if missing:
            raise CatalogueError(f"the {name} injections lack the columns {', '.join(missing)}")
        if table["injection_id"].duplicated().any():
            raise CatalogueError(f"the {name} injections repeat an injection_id")
    other = ablation.set_index("injection_id")
    pairs = base[base["injection_id"].isin(other.index)].reset_index(drop=True)
    if pairs.empty:
        raise CatalogueError("no injection_id is in both tables; there is no pair to compare")
    other = other.loc[pairs["injection_id"]]
    unequal = [name for name in common if not (pairs[name].to_numpy() == other[name].to_numpy()).all()]
    if unequal:
        raise CatalogueError(f"pairs differ in {', '.join(unequal)}: not the same injections, so not paired")
    return pairs.assign(score_ablation=other["score"].to_numpy(dtype=np.float64))


def paired_test(
    base: ArrayLike, ablation: ArrayLike, *, host: ArrayLike, n_permutations: int = 4999, seed: int
) -> PairedTest:
    """Paired comparison of two detections of the same injections.

    base, ablation: (n,) bool. host: (n,) the galaxy of each. Where no pair differs, both p are 1.
    """
    from scipy.stats import binomtest

    base, ablation = np.asarray(base, dtype=bool), np.asarray(ablation, dtype=bool)
    if base.ndim != 1 or base.shape != ablation.shape or np.shape(host) != base.shape or not len(base):
        raise CatalogueError(f"base {base.shape}, ablation {ablation.shape} and host {np.shape(host)} must be (n,)")
    check_between("n_permutations", n_permutations, 99, 1_000_000)
    codes, names = pd.factorize(np.asarray(host))
    change = ablation.astype(np.float64) - base
    n, m = len(change), len(names)
    gained, lost = int((change > 0).sum()), int((change < 0).sum())
    difference = change.mean()
    by_host = np.bincount(codes, weights=change - difference)
    independent = np.sum((change - difference) ** 2)
    clustered = m / (m - 1.0) * np.sum(by_host**2) if m > 1 else np.inf  # one host says nothing of its own scatter
    error = float(np.sqrt(max(clustered, independent)) / n)
    design_effect = max(clustered / independent, 1.0) if independent > 0 else 1.0 if m > 1 else np.inf
    middle, spread = _bonett_price(n, gained, lost)
    reach = {level: width * spread * np.sqrt(design_effect) for level, width in (("68", 1.0), ("95", 2.0))}
    moved = np.bincount(codes, weights=change).astype(np.float64)
    p_exact = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    return PairedTest(
        n=n, n_hosts=m, n_both=int((base & ablation).sum()), n_base_only=lost, n_ablation_only=gained,
        n_neither=int((~base & ~ablation).sum()), difference=float(difference), standard_error=error,
        low68=float(max(middle - reach["68"], -1.0)), high68=float(min(middle + reach["68"], 1.0)),
        low95=float(max(middle - reach["95"], -1.0)), high95=float(min(middle + reach["95"], 1.0)),
        p_mcnemar=float(p_exact), p_hosts=_host_exchange(moved, n_permutations, seed),
    )  # fmt: skip


def _bonett_price(n: int, gained: int, lost: int) -> tuple[float, float]:
    """Middle and standard error of a paired difference of shares, with one pair more on either discordant side."""
    gain, loss = (gained + 1.0) / (n + 2.0), (lost + 1.0) / (n + 2.0)
    return gain - loss, float(np.sqrt((gain + loss - (gain - loss) ** 2) / (n + 2.0)))


def paired_table(
    pairs: pd.DataFrame,
    *,
    threshold: float,
    threshold_ablation: float | None = None,
    options: PairedOptions | None = None,
) -> pd.DataFrame:
    """``paired_test`` in every bin of theta_E and over all: one row a bin, then the row "all".

    pairs: of ``pair_injections``. threshold_ablation: of the other side, where it is another detector with a threshold
    of its own. Columns: theta_e_low, theta_e_high, bin, those of PairedTest, and p_mcnemar_holm,
    p_hosts_holm: adjusted over the bins (Holm 1979), since one of several bins differs by chance more often than one
    bin does. Bins without pairs have n = 0 and NaN. Injections outside the bins enter "all" alone.
    """
    options = options or PairedOptions()
    limits = (threshold, threshold if threshold_ablation is None else threshold_ablation)
    for name, limit in zip(("threshold", "threshold_ablation"), limits, strict=True):
        check_between(name, limit, 0.0, 1.0, include_low=False, include_high=False)
    if pairs.empty:
        raise CatalogueError("there are no pairs to compare")
    edges = np.asarray(options.theta_e_edges_arcsec)
    theta = pairs["theta_e_arcsec"].to_numpy(dtype=np.float64)
    base, ablation = (
        pairs[name].to_numpy(dtype=np.float64) >= limit
        for name, limit in zip(("score", "score_ablation"), limits, strict=True)
    )
    host = pairs["galaxy_id"].to_numpy()
    ranges = [(low, high, f"{low:g}-{high:g}") for low, high in itertools.pairwise(edges)]
    rows = []
    for low, high, name in [*ranges, (-np.inf, np.inf, "all")]:
        inside = (theta >= low) & (theta < high)
        row = {"theta_e_low": low, "theta_e_high": high, "bin": name, "n": 0}
        if inside.any():
            found = paired_test(
                base[inside], ablation[inside], host=host[inside],
                n_permutations=options.n_permutations, seed=options.seed,
            )  # fmt: skip
            row |= asdict(found)
        rows.append(row)
    table = pd.DataFrame(rows)
    for name in ("p_mcnemar", "p_hosts"):
        table[f"{name}_holm"] = np.append(holm_adjusted(table[name].to_numpy()[:-1]), np.nan)
    return table


def _host_exchange(by_host: NDArray[np.float64], n_permutations: int, seed: int) -> float:
    """Two-sided p of the summed change when each host's sign is drawn by lot; whole numbers, so ties are exact."""
    moved = by_host[by_host != 0]
    if not len(moved):
        return 1.0
    rng, hits, block = np.random.default_rng(seed), 0, max(1, 4_000_000 // len(moved))
    observed = abs(moved.sum())
    for start in range(0, n_permutations, block):
        signs = rng.integers(0, 2, size=(min(block, n_permutations - start), len(moved))) * 2.0 - 1.0
        hits += int((np.abs(signs @ moved) >= observed - 1e-9).sum())
    return (1.0 + hits) / (1.0 + n_permutations)
