"""What may be chosen about the glue of lens_finder alone. Import-free: Kedro builds these from YAML."""

from dataclasses import dataclass

from skytrace.errors import check_between

__all__ = ["PartsOptions"]


@dataclass(frozen=True)
class PartsOptions:
    """max_stamps: of a kind in memory at a time where a measure needs them together; more are left out by lot (seed).
    gallery: worst errors shown of each kind.
    """

    max_stamps: int = 20_000
    gallery: int = 24
    seed: int = 20260101

    def __post_init__(self) -> None:
        check_between("max_stamps", self.max_stamps, 100, 10_000_000)
        check_between("gallery", self.gallery, 1, 1000)
        check_between("seed", self.seed, 0, 2**32 - 1)
