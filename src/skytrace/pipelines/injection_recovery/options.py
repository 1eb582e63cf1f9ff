"""Options that exist only because thresholds may also come from the detector's own card."""

from dataclasses import dataclass

from skytrace.errors import check_between
from skytrace.selection.completeness import CompletenessOptions

__all__ = ["ThresholdedOptions"]


@dataclass(frozen=True)
class ThresholdedOptions:
    """thresholds: scores in (0, 1) beside the detector's own. min_injections: fewer make a cell insufficient."""

    thresholds: tuple[float, ...] = ()
    min_injections: int = 200

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", tuple(float(value) for value in self.thresholds))
        for value in self.thresholds:
            check_between("thresholds", value, 0.0, 1.0, include_low=False, include_high=False)
        check_between("min_injections", self.min_injections, 1, 1_000_000)

    def with_detector(self, threshold: float) -> CompletenessOptions:
        """The detector's threshold first, then the others."""
        others = tuple(value for value in self.thresholds if value != threshold)
        return CompletenessOptions((threshold, *others), self.min_injections)
