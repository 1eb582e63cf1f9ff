"""Known and candidate lenses from a table of published ones, matched to the survey's galaxies.

Grades to tiers: ``sky.systems.TIER_OF_GRADE`` ("confident" of lenscat is confirmed only where more is known of it than
searches in images: ``sky.systems.entry_tiers``). Everything weaker (C, probable, ungraded, and cluster- or group-scale
systems) is kept as tier B *without a galaxy*: it can keep negatives away, and is never a positive. Rows known only from
cluster surveys are not lens evidence and are dropped.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import SurveyError
from skytrace.sky.systems import TIER_OF_GRADE
from skytrace.surveys.interface import LENS_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MATCH_ARCSEC", "lens_table", "read_lens_catalog"]

#: A lens belongs to the nearest galaxy within this.
MATCH_ARCSEC = 1.0
_RANK = {"confirmed": 0, "A": 1, "B": 2, "": 3}
_NEEDED = ("ra", "dec", "grade", "lens_type", "theta_e_arcsec", "system_id", "cluster_survey_only")


def read_lens_catalog(path: Path) -> pd.DataFrame:
    """The published lenses. Raises SurveyError if the file is absent or lacks columns."""
    if not path.is_file():
        raise SurveyError(
            f"no lens catalogue {path}; it is a Parquet table with columns {', '.join(_NEEDED)} under $SKYTRACE_DATA. "
            "docs/real_data.md says how it is made."
        )
    table = read_parquet(path)
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise SurveyError(f"lens catalogue {path} lacks columns {', '.join(missing)}")
    return table


def lens_table(catalog: pd.DataFrame, galaxies: pd.DataFrame, *, anchor_fraction: float) -> pd.DataFrame:
    """LENS_COLUMNS, one row a system: the position of its best-graded entry, theta_E from whichever entry has one.

    ``is_anchor``: confirmed or A, of a galaxy of the survey, and sha256("anchor:<system>") below ``anchor_fraction``.
    """
    rows = catalog[
        ~catalog["cluster_survey_only"].astype(bool) & np.isfinite(catalog["ra"]) & np.isfinite(catalog["dec"])
    ]
    rows = rows.assign(system_id=rows["system_id"].astype(str))
    tier = rows["grade"].astype(object).where(rows["grade"].notna(), "").map(TIER_OF_GRADE).fillna("")
    rows = rows.assign(tier=tier.where(rows["lens_type"].astype(str) == "galaxy", ""))
    rows = rows.assign(rank=rows["tier"].map(_RANK)).sort_values(["system_id", "rank", "ra", "dec"], kind="stable")
    best = rows.drop_duplicates("system_id").set_index("system_id")
    best["theta_e_arcsec"] = rows.groupby("system_id")["theta_e_arcsec"].first()
    ids = np.full(len(best), "", dtype=object)
    owner = _nearest_galaxy(best, galaxies)
    graded = (best["tier"] != "").to_numpy() & (owner >= 0)
    ids[graded] = galaxies["galaxy_id"].to_numpy()[owner[graded]]
    hashed = np.array([_uniform(f"anchor:{name}") for name in best.index])
    table = pd.DataFrame(
        {
            "lens_id": best.index.to_numpy(),
            "galaxy_id": ids,
            "ra": best["ra"].to_numpy(dtype=float),
            "dec": best["dec"].to_numpy(dtype=float),
            "tier": best["tier"].replace("", "B").to_numpy(),
            "theta_e_arcsec": best["theta_e_arcsec"].to_numpy(dtype=float),
            "is_anchor": graded & best["tier"].isin(["confirmed", "A"]).to_numpy() & (hashed < anchor_fraction),
        }
    )
    return table[list(LENS_COLUMNS)]


def _nearest_galaxy(lenses: pd.DataFrame, galaxies: pd.DataFrame) -> NDArray[np.intp]:
    from skytrace.sky.crossmatch import crossmatch

    ra1, dec1, ra2, dec2 = (table[name].to_numpy(dtype=float) for table in (lenses, galaxies) for name in ("ra", "dec"))
    return crossmatch(ra1, dec1, ra2, dec2, MATCH_ARCSEC)[0]


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2.0**56
