"""What a survey of supernovae is, to everything that reads one: light curves, objects, and published Hubble tables.

Sources (simulated, tables, SNANA files) implement ``SupernovaSurvey``; pipelines know only this page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from skytrace.errors import CatalogueError
from skytrace.supernovae.cosmology import ALPHA_PER_MAG

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "HUBBLE_COLUMNS",
    "OBJECT_COLUMNS",
    "TRUTH_COLUMNS",
    "SupernovaSurvey",
    "hubble_table",
    "objects_table",
]

#: One row a SN; NaN (sntype: -9) where unknown. z_hel heliocentric, z_cmb in the frame of the CMB, z_hd also corrected
#: for peculiar velocities (z_cmb where no release has corrected it); mwebv E(B-V) [mag] of the Milky Way, which the
#: fluxes still contain; sntype as the release codes it; peakmjd [d]; mb peak magnitude in B.
OBJECT_COLUMNS = ("snid", "survey", "z_hel", "z_cmb", "z_hd", "mwebv", "sntype", "peakmjd", "mb")
#: One row a SN (several where a release has several): mu_mag and mu_err_mag as published, each release with its own
#: zero point; alpha = -(ln 10 / 2.5) mu; prob_ia NaN where unknown; mb as published.
HUBBLE_COLUMNS = ("snid", "survey", "z_hd", "z_hel", "alpha", "alpha_err", "prob_ia", "mu_mag", "mu_err_mag", "mb")
#: What only a simulated sky knows, one row a SN. kind: ia, non_ia, brightened. z_cosmo: of the expansion alone.
#: mu_cosmo_mag: of the cosmology; mu_mag and alpha: with intrinsic scatter (scatter_mag) and the outliers' shift
#: (shift_mag) added, which is what the light curve was made with.
TRUTH_COLUMNS = (
    "snid", "kind", "z_cosmo", "t0_mjd", "a_plasma", "beta", "alpha", "mu_mag", "mu_cosmo_mag", "scatter_mag",
    "shift_mag",
)  # fmt: skip


@runtime_checkable
class SupernovaSurvey(Protocol):
    """A source of supernovae."""

    name: str
    files_read: set[Path]

    def light_curves(self) -> pd.DataFrame:
        """Observations as they are, LIGHT_CURVE_COLUMNS of ``supernovae.light_curves``, not yet validated."""
        ...

    def objects(self) -> pd.DataFrame:
        """One row a SN, OBJECT_COLUMNS."""
        ...

    def hubble_tables(self) -> dict[str, pd.DataFrame]:
        """Published distances by release, HUBBLE_COLUMNS; empty where there are none."""
        ...

    def truth(self) -> pd.DataFrame:
        """TRUTH_COLUMNS of a simulated sky; of a real one no row. Nothing that infers may read it."""
        ...

    def resimulated(self, *, n_supernovae: int, seed: int, omega_m: float) -> SupernovaSurvey | None:
        """The same survey of other SNe, none of them an outlier, in flat LambdaCDM of omega_m: for what fits and cuts
        do to distances. Rows 2k and 2k + 1 of its truth may be mirror images. None: nobody can simulate this survey.
        """
        ...


def objects_table(table: pd.DataFrame, *, source: str) -> pd.DataFrame:
    """``table`` with exactly OBJECT_COLUMNS, missing ones unknown. Raises CatalogueError for repeated or no snid."""
    if "snid" not in table or table["snid"].duplicated().any():
        raise CatalogueError(f"the objects of {source} have no column snid, or one snid twice")
    filled = table.reset_index(drop=True).reindex(columns=list(OBJECT_COLUMNS))
    filled["z_cmb"] = filled["z_cmb"].fillna(filled["z_hel"])
    filled["z_hd"] = filled["z_hd"].fillna(filled["z_cmb"])
    filled["sntype"] = filled["sntype"].fillna(-9).astype(np.int64)
    numbers = ["z_hel", "z_cmb", "z_hd", "mwebv", "peakmjd", "mb"]
    text = filled[["snid", "survey"]].astype("str")
    return filled.assign(**filled[numbers].astype(float), **text)


def hubble_table(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` (snid, survey, z_hd, z_hel, mu_mag, mu_err_mag and, where known, prob_ia, mb) with HUBBLE_COLUMNS."""
    alpha = {"alpha": -ALPHA_PER_MAG * table["mu_mag"], "alpha_err": ALPHA_PER_MAG * table["mu_err_mag"]}
    return table.reset_index(drop=True).assign(**alpha).reindex(columns=list(HUBBLE_COLUMNS))
