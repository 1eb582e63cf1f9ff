"""Training of a detector from scratch: deterministic under a seed on the CPU, and resumable to the same bytes.

Nothing random is kept between steps: batches, augmentations and dropout follow from (seed, step), so the weights, the
optimizer's moments and the history are the whole state of a run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from skytrace.compute import fingerprint
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.progress import ProgressBar, progress
from skytrace.errors import CatalogueError, PixelError
from skytrace.learning.augmentation import augment
from skytrace.learning.checkpoint import Checkpoint
from skytrace.learning.detector import Detector
from skytrace.learning.metrics import roc_auc
from skytrace.learning.networks import build_network, load_state
from skytrace.learning.options import TrainingOptions
from skytrace.learning.scoring import check_stamps, network_logits
from skytrace.learning.stream import BalancedStream
from skytrace.learning.threads import deterministic_torch

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelledStamps", "learning_rate_at", "train_detector"]


@dataclass(frozen=True)
class LabelledStamps:
    """stamps: (n, band, y, x) float32, preprocessed. labels: (n,) 1 lens, 0 galaxy. weights: (n,) of the loss.

    is_confuser: (n,) true for galaxies of pool N2; None means none.
    """

    stamps: NDArray[np.float32]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    is_confuser: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        n = len(self.stamps)
        check_stamps(self.stamps, shape=self.stamps.shape[1:])
        labels = np.asarray(self.labels, dtype=np.int64)
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        is_confuser = np.zeros(n, bool) if self.is_confuser is None else np.asarray(self.is_confuser, dtype=bool)
        for name, values in (("labels", labels), ("weights", weights), ("is_confuser", is_confuser)):
            if values.shape != (n,):
                raise PixelError(f"{name} have shape {values.shape} for {n} stamps")
            object.__setattr__(self, name, values)
        if not np.isin(labels, (0, 1)).all():
            raise CatalogueError(f"labels are {np.unique(labels)[:5]}; a label is 1 (lens) or 0 (galaxy)")
        if not (np.isfinite(weights) & (weights >= 0)).all():
            raise CatalogueError("sample weights must be finite and not negative")


def train_detector(
    training: LabelledStamps,
    validation: LabelledStamps,
    *,
    options: TrainingOptions | None = None,
    checkpoint_folder: str | Path | None = None,
) -> tuple[Detector, list[dict[str, float]]]:
    """The detector with the best validation AUC, and one record an epoch (epoch, training_loss, validation_auc).

    Binary cross-entropy x weight, AdamW, cosine. With a checkpoint_folder, every epoch is saved there and an
    interrupted run continues, whatever interrupted it, to the same bytes; on success the checkpoint is removed.
    Raises CatalogueError if either sample lacks a class, PixelError on impossible stamps.
    """
    options = options or TrainingOptions()
    if len(np.unique(validation.labels)) < 2:
        raise CatalogueError("the validation sample needs both lenses and galaxies to choose the best epoch")
    if training.stamps.shape[1:] != validation.stamps.shape[1:]:
        raise PixelError(f"training stamps {training.stamps.shape} and validation {validation.stamps.shape} differ")
    checkpoint = None
    if checkpoint_folder is not None:
        sources = source_fingerprint("skytrace.learning")
        checkpoint = Checkpoint(Path(checkpoint_folder), fingerprint(sources, options, training, validation))
    with deterministic_torch(options.threads):
        run = _Run.start(training, options, checkpoint)
        description = f"training {options.architecture}"
        bar: ProgressBar[int] = progress(options.epochs * options.steps_per_epoch, description)
        with bar:
            bar.advance(run.epoch * options.steps_per_epoch)
            while not run.finished():
                loss = run.train_epoch(bar)
                run.validate(validation, loss)
                if checkpoint is not None:
                    checkpoint.save(*run.snapshot())
    if checkpoint is not None:
        checkpoint.remove()
    best = max(run.history, key=lambda record: record["validation_auc"])
    card = {
        "architecture": options.architecture,
        "options": asdict(options),
        "stamp_shape": [int(side) for side in training.stamps.shape[1:]],
        "training_sample": _sample_summary(training),
        "validation_sample": _sample_summary(validation),
        "best_epoch": int(best["epoch"]),
        "best_validation_auc": float(best["validation_auc"]),
        "score_prior": {
            "lens_share": run.stream.counts()[0] / options.batch_size,
            "meaning": "share of lenses in the training batches: scores are probabilities at this prevalence only",
        },
    }
    return Detector(options.architecture, run.best, card), run.history


def learning_rate_at(step: int, *, options: TrainingOptions) -> float:
    """Linear rise over the first warmup_share of all steps, then half a cosine down to 0."""
    total = options.epochs * options.steps_per_epoch
    warmup = max(1, round(options.warmup_share * total))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@dataclass
class _Run:
    """The moving parts of a run. average: exponential moving average of weights and buffers (torch tensors)."""

    training: LabelledStamps
    options: TrainingOptions
    stream: BalancedStream
    network: Any
    optimizer: Any
    average: dict[str, Any]
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(cls, training: LabelledStamps, options: TrainingOptions, checkpoint: Checkpoint | None) -> _Run:
        import torch

        assert training.is_confuser is not None
        stream = BalancedStream(
            training.labels, training.is_confuser, options.batch_size, options.positive_share, options.confuser_share,
            options.seed,
        )  # fmt: skip
        torch.manual_seed(options.seed)
        network = build_network(options.architecture, in_channels=training.stamps.shape[1])
        network = network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, foreach=False
        )
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        run = cls(training, options, stream, network, optimizer, average)
        stored = checkpoint.load() if checkpoint is not None else None
        if stored is not None:
            run._restore(*stored)
        return run

    @property
    def epoch(self) -> int:
        """Epochs already trained and validated."""
        return len(self.history)

    def finished(self) -> bool:
        """Whether all epochs are done, or the best lies ``patience`` epochs back."""
        if self.epoch >= self.options.epochs:
            return True
        aucs = [record["validation_auc"] for record in self.history]
        return bool(aucs) and self.epoch - 1 - int(np.argmax(aucs)) >= self.options.patience

    def train_epoch(self, bar: Any) -> float:
        """One epoch of optimizer steps; the mean loss of its batches."""
        import torch

        torch.manual_seed(fingerprint_seed(self.options.seed, self.epoch))  # dropout, where an architecture has it
        self.network.train()
        losses = []
        for step in range(self.epoch * self.options.steps_per_epoch, (self.epoch + 1) * self.options.steps_per_epoch):
            losses.append(self._train_step(step))
            bar.advance(1)
        return float(np.mean(losses))

    def _train_step(self, step: int) -> float:
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits

        assert self.training.weights is not None
        rows = self.stream.batch(step)
        rng = np.random.default_rng([self.options.seed, 1, step])
        pixels = torch.from_numpy(augment(self.training.stamps[rows], shift_px=self.options.shift_px, rng=rng))
        labels = torch.from_numpy(self.training.labels[rows].astype(np.float32))
        weights = torch.from_numpy(self.training.weights[rows].astype(np.float32))
        logits = self.network(pixels.contiguous(memory_format=torch.channels_last))[:, 0]
        loss = (binary_cross_entropy_with_logits(logits, labels, reduction="none") * weights).sum() / weights.sum()
        self.optimizer.param_groups[0]["lr"] = learning_rate_at(step, options=self.options)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        # the average of few steps must not remember the random start
        decay = min(self.options.average_decay, (1.0 + step) / (10.0 + step))
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].mul_(decay).add_(tensor.detach(), alpha=1.0 - decay)
            else:
                self.average[name].copy_(tensor)
        return float(loss.detach())

    def validate(self, validation: LabelledStamps, loss: float) -> None:
        """Score the averaged weights, keep them if they are the best so far, and close the epoch."""
        state = {name: tensor.numpy().copy(order="C") for name, tensor in self.average.items()}
        scores = _validation_scores(self.options, state, validation.stamps)
        auc = roc_auc(scores, validation.labels)
        if not self.history or auc > max(record["validation_auc"] for record in self.history):
            self.best = state
        self.history.append({"epoch": self.epoch + 1, "training_loss": loss, "validation_auc": float(auc)})

    def snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(tensors, record) from which ``_restore`` continues to the same bytes."""
        import torch

        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        tensors |= {f"best.{name}": torch.from_numpy(values) for name, values in self.best.items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
        return tensors, {"history": self.history}

    def _restore(self, tensors: dict[str, Any], record: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Any]:
            return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}

        self.network.load_state_dict(part("network."), strict=True)
        for name, tensor in part("average.").items():
            self.average[name].copy_(tensor)
        self.best = {name: tensor.numpy().copy() for name, tensor in part("best.").items()}
        moments: dict[int, dict[str, Any]] = {}
        for name, tensor in part("optimizer.").items():
            number, _, moment = name.partition(".")
            moments.setdefault(int(number), {})[moment] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.history = list(record["history"])


def fingerprint_seed(*values: int) -> int:
    """A 63-bit seed from several whole numbers."""
    return int(fingerprint(list(values), length=15), 16)


def _validation_scores(
    options: TrainingOptions, state: dict[str, NDArray[Any]], stamps: NDArray[np.float32]
) -> NDArray[np.float64]:
    import torch

    network = load_state(build_network(options.architecture, in_channels=stamps.shape[1]), state)
    return expit(network_logits(network.to(memory_format=torch.channels_last).eval(), stamps, batch_size=128))


def _sample_summary(sample: LabelledStamps) -> dict[str, Any]:
    assert sample.is_confuser is not None
    return {
        "lenses": int(sample.labels.sum()),
        "galaxies": int((sample.labels == 0).sum()),
        "confusers": int((sample.is_confuser & (sample.labels == 0)).sum()),
        "stamps_sha256": fingerprint(sample.stamps, length=64),
        "labels_sha256": fingerprint(sample.labels, length=64),
    }
