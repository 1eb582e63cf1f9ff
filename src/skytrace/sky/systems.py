"""One lens, many papers: entries of published tables linked into systems by friends of friends on the sky.

Two entries closer than the linking length are the same system, and so is whatever chains to either. A system takes the
position and tier of its best-graded entry, and keeps every reference. Row order decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError, check_between
from skytrace.sky.crossmatch import pairs_within
from skytrace.sky.selection import TIERS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "IMAGING_SEARCHES",
    "SYSTEM_COLUMNS",
    "TIER_OF_GRADE",
    "SystemOptions",
    "entry_tiers",
    "friends_of_friends",
    "resolve_systems",
]

#: Tier of a published grade. Whatever is not here (C, probable, ungraded) is no positive: it only keeps negatives away.
TIER_OF_GRADE = {"confident": "confirmed", "A": "A", "B": "B"}
#: Candidate searches in images, by words of their reference. lenscat calls their grade A "confident": of the 575
#: confident systems that are also in the searches' own tables, 495 have grade A there. An entry known from these alone
#: is a candidate of tier A, not confirmed. The list is what we know for certain; it is not complete.
IMAGING_SEARCHES = (
    "arXiv:1906.00970",  # Huang et al. 2020
    "arXiv:2005.04730",  # Huang et al. 2021
    "arXiv:2206.02764",  # Storfer et al. 2022
    "arXiv:2110.00023",  # Stein et al. 2021
    "arXiv:2210.10802",  # Zaborowski et al. 2022
    "arXiv:2109.00014",  # Rojas et al. 2021
    "arXiv:2110.02418",  # O'Donnell et al. 2021
    "arXiv:1812.03168",  # Petrillo et al. 2018
    "1538-4365/ab26b6",  # Jacobs et al. 2019
)
SYSTEM_COLUMNS = (
    "system_id", "ra", "dec", "tier", "theta_e_arcsec", "n_entries", "references", "discovery_channels",
    "source_tables", "extent_arcsec",
)  # fmt: skip
_NEEDED = ("ra", "dec", "grade", "lens_type", "cluster_survey_only")
_TEXT = {"references": "reference", "discovery_channels": "discovery_channel", "source_tables": "source_table"}
_RANK = {**{tier: rank for rank, tier in enumerate(TIERS)}, "": len(TIERS)}


@dataclass(frozen=True)
class SystemOptions:
    """radius_arcsec: linking length. 3" joins the image and the deflector that two papers centre on, and stays below
    the 5" to which bright galaxies come together by chance.
    """

    radius_arcsec: float = 3.0

    def __post_init__(self) -> None:
        check_between("radius_arcsec", self.radius_arcsec, 0.5, 60.0)


def friends_of_friends(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.int64]:
    """Group number (n,) of positions [deg] that chains of steps within ``radius_arcsec`` connect; from 0, by first
    row. Raises CatalogueError on non-finite positions.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(np.atleast_1d(np.asarray(ra)))
    pairs, _ = pairs_within(ra, dec, radius_arcsec)
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(links, directed=False)[1]
    return pd.factorize(labels)[0].astype(np.int64)


def entry_tiers(entries: pd.DataFrame) -> NDArray[np.str_]:
    """Tier (n,) of published entries by TIER_OF_GRADE: confirmed, A, B, or "" for the weak; A instead of confirmed
    where every ``reference`` is one of IMAGING_SEARCHES. Only galaxy-scale lenses have a tier: arcs of a group or a
    cluster are not what a galaxy-scale detector is trained on.
    """
    tier = entries["grade"].astype(object).where(entries["grade"].notna(), "").map(TIER_OF_GRADE).fillna("")
    tier = tier.mask((tier == "confirmed") & _from_images_alone(entries), "A")
    return tier.where(entries["lens_type"].astype(str) == "galaxy", "").to_numpy(dtype=str)


def _from_images_alone(entries: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether an entry has references, and each is a candidate search in images."""
    if "reference" not in entries:
        return np.zeros(len(entries), dtype=bool)
    references = entries["reference"].astype(object).where(entries["reference"].notna(), "").astype(str)
    known = {
        text: bool(text) and all(any(search in one for search in IMAGING_SEARCHES) for one in text.split(" | "))
        for text in references.unique()
    }
    return references.map(known).to_numpy(dtype=bool)


def resolve_systems(
    entries: pd.DataFrame, *, options: SystemOptions | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """SYSTEM_COLUMNS, one row a system, sorted by system_id; and a report of what was joined.

    entries: ra, dec [deg], grade, lens_type, cluster_survey_only and, where there are, theta_e_arcsec, reference,
    discovery_channel, source_table. Entries known from cluster surveys alone are no lens evidence and are left out
    before linking, so that they join nothing either; so are entries without a position. theta_E is that of the
    best-graded entry that has one. references, discovery_channels, source_tables: the different ones, sorted, joined
    by " | ". extent_arcsec: of the entry farthest from the system's position (a chain may be longer than one link).
    report: counts of all of this, systems by tier, and by channel. Raises CatalogueError on missing columns or when
    nothing is left.
    """
    options = options or SystemOptions()
    missing = [name for name in _NEEDED if name not in entries.columns]
    if missing:
        raise CatalogueError(f"the lens entries lack columns {', '.join(missing)}")
    flagged = entries["cluster_survey_only"].to_numpy(dtype=bool)
    placed = np.isfinite(entries["ra"].to_numpy(dtype=float)) & np.isfinite(entries["dec"].to_numpy(dtype=float))
    rows = entries[~flagged & placed].copy()
    if rows.empty:
        raise CatalogueError(f"none of {len(entries)} lens entries has a position and is more than a cluster")
    if "theta_e_arcsec" not in rows:
        rows["theta_e_arcsec"] = np.nan
    rows["tier"] = entry_tiers(rows)
    rows["_rank"] = rows["tier"].map(_RANK)
    rows["_system"] = friends_of_friends(rows["ra"], rows["dec"], options.radius_arcsec)
    rows = rows.sort_values(["_system", "_rank", "ra", "dec", "theta_e_arcsec"], kind="stable")
    systems = _one_row_each(rows)
    counts = {
        "entries": len(entries),
        "cluster_survey_only": int(flagged.sum()),
        "without_position": int((~placed).sum()),
        "confident_from_images_alone": int(((rows["grade"] == "confident") & (rows["tier"] == "A")).sum()),
    }
    return systems.sort_values("system_id", ignore_index=True), {**counts, **_report(rows, systems, options)}


def _one_row_each(rows: pd.DataFrame) -> pd.DataFrame:
    """The systems of entries sorted by system, best first."""
    best = rows.drop_duplicates("_system").set_index("_system")
    group = rows.groupby("_system")
    systems = pd.DataFrame({"ra": best["ra"].astype(float), "dec": best["dec"].astype(float), "tier": best["tier"]})
    systems["theta_e_arcsec"] = group["theta_e_arcsec"].first().astype(float)
    systems["n_entries"] = group.size()
    for column, source in _TEXT.items():
        systems[column] = _joined(rows, source) if source in rows else ""
    centre = systems.loc[rows["_system"].to_numpy()]
    apart = _separation_arcsec(rows["ra"], rows["dec"], centre["ra"], centre["dec"])
    systems["extent_arcsec"] = pd.Series(apart).groupby(rows["_system"].to_numpy()).max()
    systems["system_id"] = [f"L{ra:09.5f}{dec:+09.5f}" for ra, dec in zip(systems["ra"], systems["dec"], strict=True)]
    return systems[list(SYSTEM_COLUMNS)]


def _joined(rows: pd.DataFrame, name: str) -> pd.Series:
    """The different texts of each system; a text may itself be such a list."""
    text = rows.loc[rows[name].notna(), ["_system", name]].astype({name: str})
    single = text.assign(**{name: text[name].str.split(" | ", regex=False)}).explode(name)
    single = single[single[name] != ""].drop_duplicates().sort_values(["_system", name])
    return single.groupby("_system")[name].agg(" | ".join).reindex(rows["_system"].unique(), fill_value="")


def _report(rows: pd.DataFrame, systems: pd.DataFrame, options: SystemOptions) -> dict[str, Any]:
    tiers = systems["tier"].replace("", "weak").value_counts()
    several = {
        f"systems_of_several_{name}": int(systems[name].str.contains(" | ", regex=False).sum())
        for name in ("discovery_channels", "source_tables")
    }
    channels = systems["discovery_channels"].str.split(" | ", regex=False).explode()
    alone = systems.loc[~systems["discovery_channels"].str.contains(" | ", regex=False), "discovery_channels"]
    return {
        "radius_arcsec": options.radius_arcsec,
        "entries_linked": len(rows),
        "systems": len(systems),
        "duplicates_resolved": len(rows) - len(systems),
        "systems_of_several_entries": int((systems["n_entries"] > 1).sum()),
        **several,
        "systems_of_several_tiers": int((rows.groupby("_system")["tier"].nunique() > 1).sum()),
        "largest_system_entries": int(systems["n_entries"].max()),
        "widest_system_arcsec": float(systems["extent_arcsec"].max()),
        "systems_by_tier": {name: int(tiers.get(name, 0)) for name in (*TIERS, "weak")},
        "systems_by_channel": {
            str(name): {"systems": int(count), "found_there_alone": int((alone == name).sum())}
            for name, count in channels[channels != ""].value_counts().sort_index().items()
        },
    }


def _separation_arcsec(ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike) -> NDArray[np.float64]:
    """Great-circle separation, by the haversine, which is exact where it is small."""
    first, second = (np.radians(np.array([ra, dec], dtype=np.float64)) for ra, dec in ((ra1, dec1), (ra2, dec2)))
    along, up = np.sin(0.5 * (second - first)) ** 2
    return np.degrees(2.0 * np.arcsin(np.sqrt(up + np.cos(first[1]) * np.cos(second[1]) * along))) * 3600.0
