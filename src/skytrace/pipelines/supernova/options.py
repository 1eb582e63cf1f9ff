"""Options of supernova's glue: which Hubble table is inferred from, and which posteriors are drawn from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.supernovae.population_options import LIKELIHOODS, POPULATION_MODELS

__all__ = ["FoldOptions", "InferenceOptions", "PosteriorChoice"]


@dataclass(frozen=True)
class InferenceOptions:
    """table: ``fits``, our own Hubble table, or the name of a published release. models: the laws fitted to every
    table by least squares. z_min, z_max: of z_hd, both ends kept.
    """

    table: str = "fits"
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
class PosteriorChoice:
    """model and likelihood of a posterior, and the method that draws it (``fast`` falls back to ``nuts``)."""

    model: str
    likelihood: str = "student_t"
    method: str = "nuts"

    def __post_init__(self) -> None:
        check_choice("model", self.model, POPULATION_MODELS)
        check_choice("likelihood", self.likelihood, LIKELIHOODS)
        check_choice("method", self.method, ("nuts", "fast"))


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


def _laws(models: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(models, (tuple, list)) or not models:
        raise OptionError(f"models = {models!r} is not a list of laws: name some of {', '.join(POPULATION_MODELS)}")
    for model in models:
        check_choice("models", model, POPULATION_MODELS)
    if len(set(models)) < len(models):
        raise OptionError(f"models = {list(models)} names a law twice")
    return tuple(models)
