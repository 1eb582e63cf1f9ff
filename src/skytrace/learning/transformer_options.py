"""What may be chosen about the transformer track. Import-free: Kedro builds these from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.errors import OptionError, check_between, check_choice, check_whole
from skytrace.learning.options import DEVICES

__all__ = ["STEMS", "PretrainingOptions", "TransformerOptions", "TransformerTrainingOptions"]

#: How pixels become tokens: one linear map a patch (Dosovitskiy et al. 2021), or convolutions (Xiao et al. 2021).
STEMS = ("patch", "convolutional")


@dataclass(frozen=True)
class TransformerOptions:
    """A vision transformer with attention pooling. ViT-Small is stem patch, patch 16, width 384, depth 12, heads 6.

    stem: "patch", one linear map a patch, or "convolutional", strides of two down to the same tokens. patch: side of a
    token [pixels of its input]; a power of two for the convolutions. width, depth, heads: of the encoder; mlp_ratio:
    of its perceptrons. dropout: of tokens after the perceptrons and of the pooled features. frozen_share: of the
    layers, stem first, whose weights stay what they were; for weights that come from elsewhere.
    """

    stem: str = "convolutional"
    patch: int = 8
    width: int = 96
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 2.0
    dropout: float = 0.1
    frozen_share: float = 0.0

    def __post_init__(self) -> None:
        check_choice("stem", self.stem, STEMS)
        for key, low, high in (("patch", 2, 64), ("width", 8, 4096), ("depth", 1, 64), ("heads", 1, 64)):
            check_whole(key, getattr(self, key), low, high)
        check_between("mlp_ratio", self.mlp_ratio, 0.5, 16.0)
        check_between("dropout", self.dropout, 0.0, 1.0, include_high=False)
        check_between("frozen_share", self.frozen_share, 0.0, 1.0)
        if self.width % self.heads or self.width % 4:
            raise OptionError(f"width = {self.width} is not a multiple of 4 and of heads = {self.heads}")
        if self.stem == "convolutional" and self.patch & (self.patch - 1):
            raise OptionError(f"patch = {self.patch} is not a power of two, which the convolutional stem needs")

    @property
    def frozen_layers(self) -> int:
        """How many layers stay as they were: the stem is the first, the blocks follow."""
        return round(self.frozen_share * (self.depth + 1))


@dataclass(frozen=True)
class PretrainingOptions:
    """Before learning from labels, learn what two pictures of the same lens share (another source, PSF and noise).

    clusters: pairs to render; 0: none. temperature: of the contrastive loss (Chen et al. 2020, eq. 1); projection: its
    dimensions. Schedule as in ``TransformerTrainingOptions``.
    """

    clusters: int = 0
    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 1e-3
    temperature: float = 0.2
    projection: int = 64

    def __post_init__(self) -> None:
        check_whole("clusters", self.clusters, 0, 10_000_000)
        check_whole("epochs", self.epochs, 1, 10_000)
        check_whole("batch_size", self.batch_size, 2, 65_536)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_between("temperature", self.temperature, 0.0, 100.0, include_low=False)
        check_whole("projection", self.projection, 2, 4096)


@dataclass(frozen=True)
class TransformerTrainingOptions:
    """How the transformer learns from known positives and unlabelled rows.

    epochs: at most so many, of images_per_epoch drawn rows. batch_size: rows of a step, positive_share of them known
    positives, from a loader of their own; the others unlabelled. gamma, beta, balanced: of ``pu_losses.nn_pu_loss``.
    validation_share: of the sky cells of a fold's training rows that are held back to choose the best epoch by the AUC
    of the label, patience epochs at most after it; 0: no row is held back, the last epoch counts. shift_px: largest
    shift. seed, threads: with the same two, CPU training gives the same bytes. The rest as in ``TrainingOptions``.
    """

    epochs: int = 12
    patience: int = 100
    images_per_epoch: int = 2048
    batch_size: int = 64
    positive_share: float = 0.25
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.1
    average_decay: float = 0.99
    gamma: float = 1.0
    beta: float = 0.0
    balanced: bool = True
    validation_share: float = 0.0
    shift_px: int = 2
    seed: int = 20260101
    threads: int = 2
    device: str = "auto"
    pretraining: PretrainingOptions = field(default_factory=PretrainingOptions)

    def __post_init__(self) -> None:
        check_choice("device", self.device, DEVICES)
        for key, low, high in (
            ("epochs", 1, 10_000), ("patience", 1, 10_000), ("images_per_epoch", 1, 10**9), ("batch_size", 2, 65_536),
            ("shift_px", 0, 8), ("seed", 0, 2**62), ("threads", 1, 1024),
        ):  # fmt: skip
            check_whole(key, getattr(self, key), low, high)
        check_between("positive_share", self.positive_share, 0.0, 1.0, include_low=False, include_high=False)
        check_between("learning_rate", self.learning_rate, 0.0, 1.0, include_low=False)
        check_between("weight_decay", self.weight_decay, 0.0, 1.0)
        check_between("warmup_share", self.warmup_share, 0.0, 0.5)
        check_between("average_decay", self.average_decay, 0.0, 1.0, include_high=False)
        check_between("gamma", self.gamma, 0.0, 1.0)
        check_between("beta", self.beta, 0.0, float("inf"))
        check_between("validation_share", self.validation_share, 0.0, 0.9)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps between two records."""
        return max(1, self.images_per_epoch // self.batch_size)
