"""Options of supernova's glue: which Hubble table is inferred from, and which posteriors are drawn from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.supernovae.outlier_options import OutlierOptions
from skytrace.supernovae.population_options import POPULATION_MODELS, PopulationOptions

if TYPE_CHECKING:
    from skytrace.supernovae.hubble import HubbleOptions

__all__ = [
    "FITS",
    "POSTERIORS",
    "FoldOptions",
    "InferenceOptions",
    "PosteriorMethods",
    "check_choices",
    "check_releases",
]

#: Our own Hubble table's name among the tables.
FITS = "fits"


@dataclass(frozen=True)
class InferenceOptions:
    """table: ``fits``, our own Hubble table, or the name of a published release. models: the laws fitted to every
    table by least squares. z_min, z_max: of z_hd, both ends kept.
    """

    table: str = FITS
    models: tuple[str, ...] = POPULATION_MODELS
    z_min: float = 0.0
    z_max: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", _laws(self.models))
        if not (isinstance(self.table, str) and self.table):
            raise OptionError(f"table = {self.table!r} is not the name of a table")
        check_between("z_min", self.z_min, 0.0, 10.0)
        check_between("z_max", self.z_max, self.z_min, 20.0, include_low=False)


@dataclass(frozen=True)
class PosteriorMethods:
    """The posteriors that are drawn, and the method that draws each (``fast`` falls back to ``nuts``). The name says
    which law and which noise model it is of: ``paired_laws.law_and_noise``.
    """

    flat_lcdm: str = "nuts"
    qfd_anchored: str = "nuts"
    log_distance: str = "fast"
    linear_two_term: str = "fast"
    qfd_seed: str = "fast"
    flat_lcdm_mixture: str = "nuts"
    qfd_anchored_mixture: str = "nuts"

    def __post_init__(self) -> None:
        for name in POSTERIORS:
            check_choice(name, getattr(self, name), ("nuts", "fast"))


#: The names of the posteriors.
POSTERIORS = tuple(field.name for field in fields(PosteriorMethods))


@dataclass(frozen=True)
class FoldOptions:
    """models: the laws that predict supernovae they were not fitted to. seeds: of the draws, of which no figure may
    depend by more than seed_tolerance_mag.
    """

    models: tuple[str, ...] = ("flat_lcdm", "qfd_anchored", "log_distance", "linear_two_term")
    seeds: tuple[int, ...] = (0, 42, 123)
    seed_tolerance_mag: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", _laws(self.models))
        if not (isinstance(self.seeds, (tuple, list)) and self.seeds):
            raise OptionError(f"seeds = {self.seeds!r} is not a list of whole numbers: name at least one")
        object.__setattr__(self, "seeds", tuple(self.seeds))
        for seed in self.seeds:
            check_whole("seeds", seed, 0, 2**31 - 1)
        if len(set(self.seeds)) < len(self.seeds):
            raise OptionError(
                f"seeds = {list(self.seeds)} repeats a seed: the same draws twice agree whatever they are"
            )
        check_between("seed_tolerance_mag", self.seed_tolerance_mag, 0.0, 10.0)


def check_choices(
    milky_way_dust: object, folds: FoldOptions, gate: OutlierOptions, population: PopulationOptions
) -> None:
    """Raise OptionError where choices do not go together, have no effect, or dust is neither taken off nor left: before
    any fit.
    """
    if not isinstance(milky_way_dust, bool):
        raise OptionError(f"supernova.milky_way_dust = {milky_way_dust!r} is neither true nor false")
    if gate.law not in folds.models or gate.law not in POSTERIORS:
        laws = ", ".join(law for law in folds.models if law in POSTERIORS) or "none of them"
        raise OptionError(
            f"supernova.gate.law = {gate.law!r} is not one of {laws}: the laws of supernova.folds.models that have a "
            "posterior"
        )
    usual = PopulationOptions()
    for key in ("model", "likelihood"):
        if (value := getattr(population, key)) != getattr(usual, key):
            raise OptionError(
                f"supernova.population.{key} = {value!r} has no effect: supernova.posteriors names the laws and noise "
                "models that are drawn, supernova.folds.models those that are cross-validated"
            )


def check_releases(releases: Iterable[str], *, inference: InferenceOptions, hubble: HubbleOptions) -> None:
    """Raise OptionError where a table is asked for that is neither our own nor one of the survey's ``releases``."""
    there = tuple(releases)
    check_choice("supernova.inference.table", inference.table, (FITS, *there))
    for name in hubble.prob_ia_from:
        if name not in there:
            raise OptionError(
                f"supernova.hubble.prob_ia_from names {name!r}, which is not one of {', '.join(there) or 'nothing'}: "
                "the survey's published Hubble tables"
            )


def _laws(models: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(models, (tuple, list)) or not models:
        raise OptionError(f"models = {models!r} is not a list of laws: name some of {', '.join(POPULATION_MODELS)}")
    for model in models:
        check_choice("models", model, POPULATION_MODELS)
    if len(set(models)) < len(models):
        raise OptionError(f"models = {list(models)} names a law twice")
    return tuple(models)
