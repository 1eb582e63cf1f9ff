"""What may be chosen about the glue of lens_finder alone. Import-free: Kedro builds these from YAML."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skytrace.errors import check_between, check_whole

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CutoutOptions", "PartsOptions"]


@dataclass(frozen=True)
class CutoutOptions:
    """size: side of the cutouts [px]. chunk: cutouts in memory at a time; changes no result. scratch_folder: where the
    stamps wait, in a folder of their own, until all are made; a killed run leaves its there, and the same run started
    again goes on from them. refused_share_max: cutouts that the survey may refuse to give, as a share of the sample;
    beyond it the survey, and not a galaxy, is what is wrong.
    """

    size: int = 101
    chunk: int = 250
    scratch_folder: str = "data/04_feature/stamps_scratch"
    refused_share_max: float = 0.01

    def __post_init__(self) -> None:
        check_whole("size", self.size, 33, 1025)
        check_whole("chunk", self.chunk, 1, 100_000)
        check_between("refused_share_max", self.refused_share_max, 0.0, 1.0)


@dataclass(frozen=True)
class PartsOptions:
    """max_stamps: of a kind in memory at a time where a measure needs them together; more are left out by lot (seed).
    gallery: worst errors shown of each kind.
    """

    max_stamps: int = 20_000
    gallery: int = 24
    seed: int = 20260101

    def __post_init__(self) -> None:
        check_whole("max_stamps", self.max_stamps, 100, 10_000_000)
        check_whole("gallery", self.gallery, 1, 1000)
        check_whole("seed", self.seed, 0, 2**32 - 1)

    def draw(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """At most max_stamps rows, chosen by lot; sorted, for neighbours lie in one file of a survey."""
        chosen = rows.sort_values("galaxy_id").sample(n=min(self.max_stamps, len(rows)), random_state=self.seed)
        return chosen.sort_values("galaxy_id")
