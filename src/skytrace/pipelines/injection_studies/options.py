"""What may be chosen about the studies. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skytrace.errors import OptionError, check_between, check_names, check_whole

__all__ = ["SOURCE_FAMILY_3", "MaskingOptions", "StudyOptions"]

#: The alternative of real galaxies' stamps, which is there where a library is.
SOURCE_FAMILY_3 = "source_family_3"


@dataclass(frozen=True)
class StudyOptions:
    """alternatives: name -> options of injection_recovery that differ, "group.option": value (see
    ``alternatives.allowed_overrides``), and under "base" another alternative that it starts from and is compared with,
    in place of the published campaign. source_library: folder of stamps of real galaxies under the data root
    (``surveys.hst_sources``); with it there is one alternative more, SOURCE_FAMILY_3. injections_per_cell:
    of each cell's first ones, injected again under every alternative. thresholds: other score thresholds, tabulated
    beside the alternatives. paired: those that the paired figure shows by Einstein radius; all that keep the hosts get
    a paired test.
    """

    alternatives: dict[str, dict[str, Any]] = field(default_factory=dict)
    injections_per_cell: int = 25
    thresholds: tuple[float, ...] = (0.5, 0.95)
    paired: tuple[str, ...] = ()
    source_library: str | None = None

    def __post_init__(self) -> None:
        from skytrace.pipelines.injection_studies.alternatives import allowed_overrides  # here: it imports science

        object.__setattr__(self, "thresholds", tuple(float(value) for value in self.thresholds))
        object.__setattr__(self, "paired", tuple(self.paired))
        check_whole("injections_per_cell", self.injections_per_cell, 1, 1_000_000)
        for value in self.thresholds:
            check_between("thresholds", value, 0.0, 1.0, include_low=False, include_high=False)
        if not self.alternatives:
            raise OptionError("alternatives = {} must hold at least one alternative, name: {group.option: value}")
        if self.source_library is not None:
            if SOURCE_FAMILY_3 in self.alternatives:
                raise OptionError(f"alternative {SOURCE_FAMILY_3} is source_library's; give it another name")
            family = {"population.image_share": 1.0, "population.source_library": self.source_library}
            object.__setattr__(self, "alternatives", {**self.alternatives, SOURCE_FAMILY_3: family})
        for name, overrides in self.alternatives.items():
            if name == "base" or not str(name).replace("_", "").replace(".", "").isalnum():
                raise OptionError(f"alternative {name!r} needs a name of letters, digits, _ and ., other than base")
            if not isinstance(overrides, dict):
                raise OptionError(f"alternatives.{name} = {overrides!r} is not a mapping of group.option to value")
            check_names(f"alternatives.{name}", self.own(name), allowed_overrides())
        for name in self.alternatives:
            self._check_base(name)
        check_names("paired", self.paired, list(self.alternatives))

    def own(self, name: str) -> dict[str, Any]:
        """What an alternative changes of that which it is compared with: "group.option" -> value."""
        return {key: value for key, value in self.alternatives[name].items() if key != "base"}

    def base_of(self, name: str) -> str:
        """The alternative that it is compared with, or "base": the published campaign."""
        return str(self.alternatives[name].get("base", "base"))

    def overrides(self, name: str) -> dict[str, Any]:
        """All that differs from the published campaign."""
        base = self.base_of(name)
        return {**({} if base == "base" else self.own(base)), **self.own(name)}

    def _check_base(self, name: str) -> None:
        base = self.base_of(name)
        if base == "base":
            return
        if base == name or base not in self.alternatives or self.base_of(base) != "base":
            raise OptionError(
                f"alternatives.{name}.base = {base!r} must be another alternative that itself has no base; there are "
                f"{', '.join(other for other in self.alternatives if other != name and self.base_of(other) == 'base')}"
            )
        if any(key.startswith("hosts.") for key in self.own(base)):
            raise OptionError(f"alternatives.{name}.base = {base!r} changes the hosts, and not in every cell")


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
