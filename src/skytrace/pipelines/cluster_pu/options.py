"""Options of cluster_pu's glue: where fields are kept, what is measured, learnt, judged and shown. Imports nothing
heavy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.clusters.options import CatalogueFeatureOptions, ColourOptions, PatchOptions
from skytrace.clusters.worse_sky import SkyShift
from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.learning.pu_trees import TreeOptions

__all__ = [
    "MEMBERS",
    "AnomalyOptions",
    "FeatureOptions",
    "FieldOptions",
    "LearningOptions",
    "LensFreeOptions",
    "PriorOptions",
    "PriorStudyOptions",
    "TriageOptions",
]  # fmt: skip

#: Members of the ensemble: our names of the estimators of ``learning.positive_unlabeled``.
MEMBERS = ("elkan_noto", "nn_pu", "positive_vs_unlabelled")


@dataclass(frozen=True)
class FieldOptions:
    """folder: of the shards of cutouts and of features. fields: in a shard, at most so many in memory at once; it
    changes no result.
    """

    folder: str
    fields: int = 50

    def __post_init__(self) -> None:
        check_whole("fields", self.fields, 1, 100_000)


@dataclass(frozen=True)
class FeatureOptions:
    """patches, colours, catalogue: of the three groups of features. shifts: worse skies under which all is measured
    again, for the test of robustness. seed: of the noise that they add.
    """

    patches: PatchOptions = field(default_factory=PatchOptions)
    colours: ColourOptions = field(default_factory=ColourOptions)
    catalogue: CatalogueFeatureOptions = field(default_factory=CatalogueFeatureOptions)
    shifts: tuple[SkyShift, ...] = ()
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "shifts", tuple(self.shifts))
        names = [shift.name for shift in self.shifts]
        if len(set(names)) < len(names) or "as_observed" in names:
            raise OptionError(f"shifts = {names} are not conditions of different names (as_observed is the sky itself)")
        check_whole("seed", self.seed, 0, 2**62)


@dataclass(frozen=True)
class PriorOptions:
    """unlabelled: share of lenses among the unlabelled fields of *this* sample, which the estimators need; nothing in
    the data tells it. sky: share in the survey that the report is for. log_sd: width of the LogNormal that both are
    uncertain by [ln]. sweep: shares at which everything is told once more. n_draws, seed: of prior and scale.
    """

    unlabelled: float = 1e-4
    sky: float = 1e-4
    log_sd: float = 0.7
    sweep: tuple[float, ...] = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
    n_draws: int = 300
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "sweep", tuple(float(prior) for prior in self.sweep))
        for key in ("unlabelled", "sky"):
            check_between(key, getattr(self, key), 0.0, 1.0, include_low=False, include_high=False)
        for prior in self.sweep:
            check_between("sweep", prior, 0.0, 1.0, include_low=False, include_high=False)
        check_between("log_sd", self.log_sd, 0.0, 5.0)
        check_whole("n_draws", self.n_draws, 10, 100_000)
        check_whole("seed", self.seed, 0, 2**62)


@dataclass(frozen=True)
class LearningOptions:
    """members: what is stacked. folds: of cross-fitting, by sky cell. gamma, beta: of the non-negative risk. trees: of
    every estimator. penalty: inverse regularisation of the meta-learner. shuffles: of the label-shuffle test, whose
    mean AUC must lie within shuffle_tolerance of 1/2. seed: of folds, trees and shuffles.
    """

    members: tuple[str, ...] = MEMBERS
    folds: int = 5
    gamma: float = 1.0
    beta: float = 0.0
    trees: TreeOptions = field(default_factory=TreeOptions)
    penalty: float = 1.0
    shuffles: int = 5
    shuffle_tolerance: float = 0.1
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        for name in self.members:
            check_choice("members", name, MEMBERS)
        if not self.members or len(set(self.members)) < len(self.members):
            raise OptionError(f"members = {self.members} are not different names out of {', '.join(MEMBERS)}")
        check_whole("folds", self.folds, 2, 100)
        check_between("gamma", self.gamma, 0.0, 1.0)
        check_between("beta", self.beta, 0.0, float("inf"))
        check_between("penalty", self.penalty, 0.0, 1e6, include_low=False)
        check_whole("shuffles", self.shuffles, 1, 1000)
        check_between("shuffle_tolerance", self.shuffle_tolerance, 0.0, 0.5)
        check_whole("seed", self.seed, 0, 2**31 - 1)


@dataclass(frozen=True)
class AnomalyOptions:
    """n_features: the most important ones. reference_share: of the unlabelled training fields, the least lens-like,
    which stand for non-lenses. quantile: of their distances, above which a field is anomalous.
    """

    n_features: int = 16
    reference_share: float = 0.5
    quantile: float = 0.99

    def __post_init__(self) -> None:
        check_whole("n_features", self.n_features, 1, 1000)
        check_between("reference_share", self.reference_share, 0.0, 1.0, include_low=False)
        check_between("quantile", self.quantile, 0.0, 1.0, include_low=False, include_high=False)


@dataclass(frozen=True)
class LensFreeOptions:
    """fields: without a lens, that a simulated sky is asked for beyond the sample; the evaluation alone sees them."""

    fields: int = 2000

    def __post_init__(self) -> None:
        check_whole("fields", self.fields, 0, 1_000_000)


@dataclass(frozen=True)
class PriorStudyOptions:
    """Simulations of known prior and densities that show what estimates of the prior are worth."""

    priors: tuple[float, ...] = (1e-2, 1e-3, 1e-4)
    n_positives: int = 100
    n_unlabelled: int = 20_000
    n_simulations: int = 200
    n_resamples: int = 100
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "priors", tuple(float(prior) for prior in self.priors))
        for prior in self.priors:
            check_between("priors", prior, 0.0, 1.0, include_low=False, include_high=False)
        check_whole("n_positives", self.n_positives, 2, 10**7)
        check_whole("n_unlabelled", self.n_unlabelled, 2, 10**9)
        check_whole("n_simulations", self.n_simulations, 1, 10**6)
        check_whole("n_resamples", self.n_resamples, 20, 10**6)
        check_whole("seed", self.seed, 0, 2**62)


@dataclass(frozen=True)
class TriageOptions:
    """candidates: on the page. zoom: of the pictures."""

    candidates: int = 40
    zoom: int = 1

    def __post_init__(self) -> None:
        check_whole("candidates", self.candidates, 1, 1000)
        check_whole("zoom", self.zoom, 1, 8)
