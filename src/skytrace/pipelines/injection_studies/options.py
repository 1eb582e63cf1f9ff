"""What may be chosen about the studies. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skytrace.errors import OptionError, check_between, check_names, check_whole

__all__ = ["MaskingOptions", "StudyOptions"]


@dataclass(frozen=True)
class StudyOptions:
    """alternatives: name -> options of injection_recovery that differ, "group.option": value (see
    ``alternatives.allowed_overrides``). injections_per_cell: of each cell's first ones, injected again under every
    alternative. thresholds: other score thresholds, tabulated beside the alternatives. paired: the alternatives that
    are ablations of a stated cause; those among them that keep the hosts get a paired test, as all others do, and are
    the ones that the paired figure shows by Einstein radius.
    """

    alternatives: dict[str, dict[str, Any]] = field(default_factory=dict)
    injections_per_cell: int = 25
    thresholds: tuple[float, ...] = (0.5, 0.95)
    paired: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from skytrace.pipelines.injection_studies.alternatives import allowed_overrides  # here: it imports science

        object.__setattr__(self, "thresholds", tuple(float(value) for value in self.thresholds))
        object.__setattr__(self, "paired", tuple(self.paired))
        check_whole("injections_per_cell", self.injections_per_cell, 1, 1_000_000)
        for value in self.thresholds:
            check_between("thresholds", value, 0.0, 1.0, include_low=False, include_high=False)
        if not self.alternatives:
            raise OptionError("alternatives = {} must hold at least one alternative, name: {group.option: value}")
        for name, overrides in self.alternatives.items():
            if name == "base" or not str(name).replace("_", "").replace(".", "").isalnum():
                raise OptionError(f"alternative {name!r} needs a name of letters, digits, _ and ., other than base")
            if not isinstance(overrides, dict):
                raise OptionError(f"alternatives.{name} = {overrides!r} is not a mapping of group.option to value")
            check_names(f"alternatives.{name}", overrides, allowed_overrides())
        check_names("paired", self.paired, list(self.alternatives))


@dataclass(frozen=True)
class MaskingOptions:
    """The training that differs from the detector's own in this alone: see ``learning.TrainingOptions``."""

    core_mask_share: float = 0.5
    core_mask_radius_px: float = 8.0
    core_mask_ramp: float = 0.5

    def __post_init__(self) -> None:
        check_between("core_mask_share", self.core_mask_share, 0.0, 1.0, include_low=False)
        check_between("core_mask_radius_px", self.core_mask_radius_px, 1.0, 1024.0)
        check_between("core_mask_ramp", self.core_mask_ramp, 0.0, 1.0)
