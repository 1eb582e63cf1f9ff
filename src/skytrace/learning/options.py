"""What may be chosen about training a detector and setting its threshold. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole

__all__ = [
    "ARCHITECTURES",
    "CALIBRATION_METHODS",
    "DEVICES",
    "CalibrationOptions",
    "EnsembleOptions",
    "MemberOptions",
    "StrataEvaluationOptions",
    "StratumOptions",
    "SurveyScenario",
    "ThresholdOptions",
    "TopOptions",
    "TrainingOptions",
]

#: torchvision architectures, each trained from scratch with one logit.
ARCHITECTURES = ("resnet18", "efficientnet_b0", "convnext_tiny")
#: Where a network runs: on the graphics processor if there is one, or where it is told to.
DEVICES = ("auto", "cpu", "cuda")
#: Maps from scores to probabilities.
CALIBRATION_METHODS = ("temperature", "platt", "beta", "isotonic")


@dataclass(frozen=True)
class TrainingOptions:
    """How a detector is trained (design page ``lens_finder``, stage 8).

    epochs: at most so many; patience: stop after so many without a better validation AUC. images_per_epoch: stamps
    drawn from the balanced stream between two validations. positive_share: lenses in a batch; confuser_share: N2 among
    its negatives. learning_rate: peak of a cosine with a linear rise over the first warmup_share of all steps.
    average_decay: of the exponential moving average of the weights that is validated and published (0: the last step's
    weights). shift_px: largest shift. seed, threads: with the same two, CPU training gives the same bytes.

    metadata: observing conditions fused with the pixels (names of ``audit.METADATA_COLUMNS``; none by default).
    core_mask_share: stamps whose core r < core_mask_radius_px is set to 0, so that the arcs must be learnt; the share
    rises from 0 in equal steps over the first core_mask_ramp of all epochs (0: the full share at once).
    domain_share: rows of a batch drawn from the sample's own domain, where it has one (``LabelledStamps.in_domain``).
    device: auto, cpu or cuda; on a graphics processor passes are in mixed precision unless mixed_precision is false.
    """

    architecture: str = "resnet18"
    epochs: int = 24
    patience: int = 10
    images_per_epoch: int = 2048
    batch_size: int = 32
    positive_share: float = 0.5
    confuser_share: float = 0.15
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_share: float = 0.05
    average_decay: float = 0.99
    shift_px: int = 2
    seed: int = 20260101
    threads: int = 2
    metadata: tuple[str, ...] = ()
    core_mask_share: float = 0.0
    core_mask_radius_px: float = 8.0
    core_mask_ramp: float = 0.5
    domain_share: float = 0.0
    device: str = "auto"
    mixed_precision: bool = True

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        check_choice("device", self.device, DEVICES)
        for key, low, high in (
            ("epochs", 1, 10_000), ("patience", 1, 10_000), ("images_per_epoch", 1, 10**9), ("batch_size", 2, 65_536),
            ("shift_px", 0, 8), ("seed", 0, 2**63 - 1), ("threads", 1, 1024),
        ):  # fmt: skip
            check_whole(key, getattr(self, key), low, high)
        check_between("positive_share", self.positive_share, 0.0, 1.0, include_low=False, include_high=False)
        check_between("confuser_share", self.confuser_share, 0.0, 1.0)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_between("weight_decay", self.weight_decay, 0.0, 1.0)
        check_between("warmup_share", self.warmup_share, 0.0, 0.5)
        check_between("average_decay", self.average_decay, 0.0, 1.0, include_high=False)
        check_between("core_mask_share", self.core_mask_share, 0.0, 1.0)
        check_between("core_mask_radius_px", self.core_mask_radius_px, 0.0, 1024.0)
        check_between("core_mask_ramp", self.core_mask_ramp, 0.0, 1.0)
        check_between("domain_share", self.domain_share, 0.0, 1.0)
        object.__setattr__(self, "metadata", _checked_metadata(self.metadata))

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps between two validations."""
        return max(1, self.images_per_epoch // self.batch_size)

    def core_mask_share_at(self, epoch: int) -> float:
        """Share of the stamps whose core is masked in an epoch, counted from 0: a straight ramp, then level."""
        ramp = self.core_mask_ramp * self.epochs
        return self.core_mask_share * (1.0 if ramp == 0 else min(1.0, epoch / ramp))


@dataclass(frozen=True)
class ThresholdOptions:
    """Where a score becomes a detection: ``score >= threshold``.

    rule "false_positive_rate": the lowest threshold whose validation false-positive rate is at most
    false_positive_rate. rule "fixed": the threshold ``value``.
    """

    rule: str = "false_positive_rate"
    false_positive_rate: float = 0.01
    value: float = 0.5

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, ("false_positive_rate", "fixed"))
        check_between("false_positive_rate", self.false_positive_rate, 0.0, 1.0, include_low=False, include_high=False)
        check_between("value", self.value, 0.0, 1.0, include_low=False, include_high=False)


@dataclass(frozen=True)
class CalibrationOptions:
    """How scores become probabilities, and what is asked of them on the test split.

    methods: compared by cross-validated log loss on validation in ``folds``. ece_max, ece_max_top: limits of the
    expected calibration error over all stamps and over the top_share of scores. n_resamples, seed: of the bootstrap.
    """

    methods: tuple[str, ...] = CALIBRATION_METHODS
    folds: int = 5
    seed: int = 20260101
    ece_max: float = 0.02
    ece_max_top: float = 0.05
    top_share: float = 0.01
    n_resamples: int = 1000

    def __post_init__(self) -> None:
        object.__setattr__(self, "methods", tuple(self.methods))
        if not self.methods:
            raise OptionError(f"methods = () is not a choice of {', '.join(CALIBRATION_METHODS)}")
        for method in self.methods:
            check_choice("methods", method, CALIBRATION_METHODS)
        check_whole("folds", self.folds, 2, 100)
        check_whole("n_resamples", self.n_resamples, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_between("ece_max", self.ece_max, 0.0, 1.0)
        check_between("ece_max_top", self.ece_max_top, 0.0, 1.0)
        check_between("top_share", self.top_share, 0.0, 1.0, include_low=False)


@dataclass(frozen=True)
class MemberOptions:
    """One member of an ensemble, and the domain on which it is trained more often than on the rest.

    column: one of ``domain_columns``; "" for no domain. The domain is low <= value < high (either end None: open), or
    the listed ``values``, as text; never both.
    """

    name: str
    column: str = ""
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()
    architecture: str = "resnet18"

    def __post_init__(self) -> None:
        check_choice(f"architecture of member {self.name!r}", self.architecture, ARCHITECTURES)
        object.__setattr__(self, "values", tuple(str(value) for value in self.values))
        if not self.name or not self.name.replace("_", "").isalnum():
            raise OptionError(f"name = {self.name!r} of an ensemble's member is not made of letters, digits and _")
        if self.column:
            check_choice(f"column of member {self.name!r}", self.column, domain_columns())
        bounded = self.low is not None or self.high is not None
        if bounded and self.values:
            raise OptionError(f"member {self.name!r} has both a range and values; a domain is one or the other")
        if bool(self.column) != (bounded or bool(self.values)):
            raise OptionError(f"member {self.name!r} needs a column together with low, high or values, or none of them")
        if self.low is not None and self.high is not None:
            check_between(f"high of member {self.name!r}", self.high, self.low, float("inf"), include_low=False)


@dataclass(frozen=True)
class EnsembleOptions:
    """Specialised members and how they become one score (design page ``lens_finder``, stage 9).

    members: together they see as many images as the single network would. domain_share: of a member's batches, from
    its domain; the rest from everywhere. combination: "mean" of the members' scores, or "stacked": a logistic
    meta-learner on the members' logits, and these within their domains alone, fitted on validation scores.
    penalty: its inverse regularisation C. folds, seed: of its cross-fitted scores.
    """

    members: tuple[MemberOptions, ...]
    domain_share: float = 0.7
    combination: str = "stacked"
    penalty: float = 0.1
    folds: int = 5
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "members", tuple(self.members))
        check_choice("combination", self.combination, ("stacked", "mean"))
        check_between("domain_share", self.domain_share, 0.0, 1.0)
        check_between("penalty", self.penalty, 0.0, 1e6, include_low=False)
        check_whole("folds", self.folds, 2, 100)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        check_between("number of members", len(self.members), 2, 100)
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise OptionError(f"members {', '.join(names)} do not have names of their own")


@dataclass(frozen=True)
class StratumOptions:
    """One column by which an evaluation is divided: at ``edges``, at so many ``quantiles`` of the sample, or by value.

    edges: rising; below the first and from the last on are bins, too.
    """

    column: str
    edges: tuple[float, ...] = ()
    quantiles: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", tuple(float(edge) for edge in self.edges))
        check_whole(f"quantiles of {self.column}", self.quantiles, 0, 100)
        if self.edges and self.quantiles:
            raise OptionError(f"stratum {self.column!r} has both edges and quantiles; use one")
        if any(low >= high for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise OptionError(f"edges = {self.edges} of stratum {self.column!r} do not rise")


@dataclass(frozen=True)
class StrataEvaluationOptions:
    """Where recall, false positives and calibration are quoted apart, and where validation and test are matched.

    matched: columns whose every combination of values is a stratum of the val-test gap, if both splits have at least
    min_per_class lenses and galaxies in it. n_resamples, seed: of the bootstrap and of the permutations.
    """

    strata: tuple[StratumOptions, ...] = (
        StratumOptions("tier"),
        StratumOptions("psfsize_r", quantiles=4),
        StratumOptions("psfdepth_r", quantiles=4),
        StratumOptions("nobs_z_bin"),
        StratumOptions("type_bin"),
        StratumOptions("arc_evidence", edges=(5.0, 20.0, 80.0)),
    )
    matched: tuple[str, ...] = ("nobs_z_bin", "type_bin")
    min_per_class: int = 10
    n_resamples: int = 500
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "strata", tuple(self.strata))
        object.__setattr__(self, "matched", tuple(self.matched))
        check_whole("min_per_class", self.min_per_class, 2, 1_000_000)
        check_whole("n_resamples", self.n_resamples, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class SurveyScenario:
    """What the sky is assumed to hold. lens_share: lenses among all galaxies of the survey. category_shares: of the
    other galaxies, by confuser category, where they shall differ from the measured ones.
    """

    name: str
    lens_share: float
    category_shares: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_between(f"lens_share of scenario {self.name!r}", self.lens_share, 0.0, 1.0, include_low=False)
        for category, share in self.category_shares.items():
            check_between(f"category_shares.{category} of scenario {self.name!r}", share, 0.0, 1.0)


@dataclass(frozen=True)
class TopOptions:
    """The survey whose highest scores would be looked at. survey_galaxies: how many are scored. top: how many of the
    highest are taken. scenarios: assumed, not measured. min_category_galaxies: a confuser category with fewer in the
    test split is counted with others. n_draws, seed: of the propagated intervals.
    """

    survey_galaxies: float = 1e7
    top: tuple[int, ...] = (100, 1000, 10_000)
    scenarios: tuple[SurveyScenario, ...] = (
        SurveyScenario("one lens in 1,000 galaxies", 1e-3),
        SurveyScenario("one lens in 10,000 galaxies", 1e-4),
        SurveyScenario("one lens in 100,000 galaxies", 1e-5),
    )
    min_category_galaxies: int = 20
    n_draws: int = 1000
    seed: int = 20260101

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", tuple(self.top))
        object.__setattr__(self, "scenarios", tuple(self.scenarios))
        check_whole("min_category_galaxies", self.min_category_galaxies, 1, 1_000_000)
        check_between("survey_galaxies", self.survey_galaxies, 1, 1e12)
        check_whole("n_draws", self.n_draws, 100, 1_000_000)
        check_whole("seed", self.seed, 0, 2**63 - 1)
        for number in self.top:
            check_whole("top", number, 1, self.survey_galaxies)
        object.__setattr__(self, "top", tuple(int(number) for number in self.top))


def domain_columns() -> tuple[str, ...]:
    """Columns that may divide an ensemble's domains: observing conditions, exposures and the catalogue's type. None of
    them says that a galaxy is a lens; a label, a tier or a pool would.
    """
    from skytrace.audit.columns import METADATA_COLUMNS  # here: the audit's own modules use detectors

    return (*METADATA_COLUMNS, "nobs_z_bin", "type_bin")


def _checked_metadata(names: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise OptionError(f"metadata = {names!r} is not a list of columns")
    names = tuple(names)
    if names:
        from skytrace.audit.columns import METADATA_COLUMNS  # here: the audit's own modules use detectors

        for name in names:
            check_choice("metadata", name, METADATA_COLUMNS)
        if len(set(names)) < len(names):
            raise OptionError(f"metadata = {names!r} names a column twice")
    return names
