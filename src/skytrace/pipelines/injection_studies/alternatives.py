"""One alternative: the options of injection_recovery with some of them replaced, random numbers kept."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from skytrace.errors import OptionError
from skytrace.imaging import PreprocessOptions
from skytrace.lensing.population import PopulationOptions
from skytrace.selection.grid import GridOptions
from skytrace.selection.hosts import HostOptions
from skytrace.selection.injection import InjectionOptions
from skytrace.selection.paired import COMMON_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CampaignOptions", "allowed_overrides", "common_columns", "keeps_hosts", "kind_of"]


@dataclass(frozen=True)
class CampaignOptions:
    """The options that an alternative may change, by the names of their groups in the parameters."""

    grid: GridOptions
    hosts: HostOptions
    population: PopulationOptions
    injection: InjectionOptions
    preprocess: PreprocessOptions

    def with_overrides(self, name: str, overrides: Mapping[str, Any]) -> CampaignOptions:
        """The same with "group.option" replaced. Raises OptionError naming the alternative, the option and the value.

        An option's new value must be of its old one's kind: a switch stays a switch, a number a number.
        """
        changed: dict[str, dict[str, Any]] = {}
        for key, value in overrides.items():
            group, _, option = key.partition(".")
            now = getattr(getattr(self, group), option)
            value = tuple(value) if isinstance(value, list) else value
            if now is not None and value is not None and _kind(value) is not _kind(now):
                raise OptionError(f"alternatives.{name}.{key} = {value!r} is not of the kind of the present {now!r}")
            changed.setdefault(group, {})[option] = value
        try:
            groups = {group: replace(getattr(self, group), **values) for group, values in changed.items()}
        except OptionError as error:
            raise OptionError(f"alternatives.{name}: {error}") from error
        return replace(self, **groups)


_GROUPS = {
    "grid": GridOptions, "hosts": HostOptions, "population": PopulationOptions, "injection": InjectionOptions,
    "preprocess": PreprocessOptions,
}  # fmt: skip
#: Changed, there would be no common random numbers, other cells, or stamps that the detector cannot take.
_FIXED = (
    "grid.theta_e_arcsec", "grid.psf_fwhm_arcsec", "grid.depth_mag", "grid.depth_column", "grid.injections_per_cell",
    "injection.seed", "injection.batch_size", "injection.score_batch", "injection.n_stamps",
    "injection.shard_injections", "injection.composites_per_anchor", "hosts.host_splits",
    "hosts.exclusion_radius_arcsec", "preprocess.crop",
)  # fmt: skip
#: Columns of the draws that an option moves by intent; all others of COMMON_COLUMNS must be equal in a pair.
_POSITION = ("source_x_arcsec", "source_y_arcsec")
_MOVED: dict[str, tuple[str, ...]] = {
    **{f"population.{name}": ("source_mag_r",) for name in ("counts_slope", "mag_r_min", "mag_r_max")},
    **{f"population.{name}": _POSITION for name in (
        "position_rule", "minimum_magnification", "q_scatter", "q_min", "q_max", "angle_scatter_deg", "shear_sigma",
        "slope_mean", "slope_sigma",
    )},
    "grid.theta_e_in_cell": ("theta_e_arcsec", *_POSITION),
}  # fmt: skip
#: Kinds of alternatives by what they change, in the order in which one decides; all else is a prior on the sky.
_KINDS = (
    ("choice", ("hosts.",)),
    ("ablation", ("injection.photon_noise", "injection.saddle_images")),
    ("processing", ("preprocess.", "injection.confine_radius_px")),
)


def allowed_overrides() -> tuple[str, ...]:
    """Every "group.option" that an alternative may change."""
    names = (f"{group}.{field.name}" for group, kind in _GROUPS.items() for field in fields(kind))
    return tuple(name for name in names if name not in _FIXED)


def keeps_hosts(overrides: Mapping[str, Any]) -> bool:
    """Whether every injection stays in its host, so that it has a partner in the base."""
    return not any(key.startswith("hosts.") for key in overrides)


def kind_of(overrides: Mapping[str, Any]) -> str:
    """prior, processing, ablation or choice (``selection.sensitivity.KINDS``), by what an alternative itself changes.

    One that changes several is no prior unless all of them are.
    """
    return next((kind for kind, names in _KINDS if any(key.startswith(names) for key in overrides)), "prior")


def common_columns(overrides: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that must be equal in a pair of base and alternative."""
    moved = {column for key in overrides for column in _MOVED.get(key, ())}
    return tuple(column for column in COMMON_COLUMNS if column not in moved)


def _kind(value: Any) -> type:
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
