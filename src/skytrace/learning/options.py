"""What may be chosen about training a detector and setting its threshold. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass

from skytrace.errors import OptionError, check_between, check_choice

__all__ = ["ARCHITECTURES", "ThresholdOptions", "TrainingOptions"]

#: torchvision architectures, each trained from scratch with one logit.
ARCHITECTURES = ("resnet18", "efficientnet_b0", "convnext_tiny")


@dataclass(frozen=True)
class TrainingOptions:
    """How a detector is trained (design page ``lens_finder``, stage 8).

    epochs: at most so many; patience: stop after so many without a better validation AUC. images_per_epoch: stamps
    drawn from the balanced stream between two validations. positive_share: lenses in a batch; confuser_share: N2 among
    its negatives. learning_rate: peak of a cosine with a linear rise over the first warmup_share of all steps.
    average_decay: of the exponential moving average of the weights that is validated and published (0: the last step's
    weights). shift_px: largest shift. seed, threads: with the same two, CPU training gives the same bytes.
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

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        for key, low, high in (
            ("epochs", 1, 10_000), ("patience", 1, 10_000), ("images_per_epoch", 1, 10**9), ("batch_size", 2, 65_536),
            ("shift_px", 0, 8), ("seed", 0, 2**63 - 1), ("threads", 1, 1024),
        ):  # fmt: skip
            check_between(key, getattr(self, key), low, high)
            if int(getattr(self, key)) != getattr(self, key):
                raise OptionError(f"{key} = {getattr(self, key)!r} is not a whole number")
        check_between("positive_share", self.positive_share, 0.0, 1.0, include_low=False, include_high=False)
        check_between("confuser_share", self.confuser_share, 0.0, 1.0)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_between("weight_decay", self.weight_decay, 0.0, 1.0)
        check_between("warmup_share", self.warmup_share, 0.0, 0.5)
        check_between("average_decay", self.average_decay, 0.0, 1.0, include_high=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps between two validations."""
        return max(1, self.images_per_epoch // self.batch_size)


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
