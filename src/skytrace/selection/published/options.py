"""Where the published surface lies and which part of it is set beside ours."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import check_between

__all__ = ["PublishedOptions"]


@dataclass(frozen=True)
class PublishedOptions:
    """folder: of the published tables, under the data root unless absolute; None: nothing is compared. photon_noise:
    of their arcs, which ours have too. source_mag_bin: "all" or one of their bins. their_threshold: of their score;
    None: their own default. their_design_effect: what their trials are divided by (their hosts were not counted; 1 is
    the narrowest).
    """

    folder: str | None = None
    photon_noise: bool = True
    source_mag_bin: str = "all"
    their_threshold: float | None = None
    their_design_effect: float = 1.0

    def __post_init__(self) -> None:
        if self.their_threshold is not None:
            check_between("their_threshold", self.their_threshold, 0.0, 1.0, include_low=False, include_high=False)
        check_between("their_design_effect", self.their_design_effect, 1.0, 1e6)
