"""Training of a detector from scratch: deterministic under a seed on the CPU, and resumable to the same bytes.

Nothing random is kept between steps: batches, masks, augmentations and dropout follow from (seed, step), so the
weights, the optimizer's moments and the history are the whole state of a run. A graphics processor is used where there
is one, in mixed precision; only the CPU promises the same bytes again.
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
from skytrace.learning.augmentation import augment, mask_cores
from skytrace.learning.checkpoint import Checkpoint
from skytrace.learning.detector import Detector
from skytrace.learning.fusion import fit_standardisation, standardise
from skytrace.learning.labelled import LabelledStamps
from skytrace.learning.metrics import roc_auc
from skytrace.learning.networks import build_network, load_state
from skytrace.learning.options import TrainingOptions
from skytrace.learning.scoring import network_logits
from skytrace.learning.stream import BalancedStream
from skytrace.learning.threads import deterministic_torch, resolve_device

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabelledStamps", "learning_rate_at", "train_detector"]


def train_detector(
    training: LabelledStamps,
    validation: LabelledStamps,
    *,
    options: TrainingOptions | None = None,
    checkpoint_folder: str | Path | None = None,
) -> tuple[Detector, list[dict[str, float]]]:
    """The detector with the best validation AUC, and one record an epoch (epoch, training_loss, validation_auc).

    Binary cross-entropy x weight, AdamW, cosine. Stamps in a StampStore are read batch by batch: an array of the same
    pixels gives the same bytes. With a checkpoint_folder, every epoch is saved there and an
    interrupted run continues, whatever interrupted it, to the same bytes; on success the checkpoint is removed.
    Raises CatalogueError if either sample lacks a class or a column of options.metadata, PixelError on impossible
    stamps, OptionError for a device that is not there.
    """
    options = options or TrainingOptions()
    device = resolve_device(options.device)
    if len(np.unique(validation.labels)) < 2:
        raise CatalogueError("the validation sample needs both lenses and galaxies to choose the best epoch")
    if training.stamps.shape[1:] != validation.stamps.shape[1:]:
        raise PixelError(f"training stamps {training.stamps.shape} and validation {validation.stamps.shape} differ")
    _ = training.summary, validation.summary  # pixels that cannot be used come out now, not in some later batch
    checkpoint = None
    if checkpoint_folder is not None:
        key = fingerprint(
            source_fingerprint("skytrace.learning"), options, device, training.fingerprint(), validation.fingerprint()
        )
        checkpoint = Checkpoint(Path(checkpoint_folder), key)
    with deterministic_torch(options.threads, device=device):
        run = _Run.start(training, options, checkpoint, device)
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
    return Detector(options.architecture, run.best, run.card(validation)), run.history


def learning_rate_at(step: int, *, options: TrainingOptions) -> float:
    """Linear rise over the first warmup_share of all steps, then half a cosine down to 0."""
    total = options.epochs * options.steps_per_epoch
    warmup = max(1, round(options.warmup_share * total))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@dataclass
class _Run:
    """The moving parts of a run. average: exponential moving average of weights and buffers (torch tensors).

    constants: of the metadata's standardisation; metadata: (n, m), standardised; None without fusion. scaler: of the
    loss, so that half-precision gradients do not vanish; it does nothing on a CPU.
    """

    training: LabelledStamps
    options: TrainingOptions
    device: str
    constants: dict[str, Any] | None
    metadata: NDArray[np.float32] | None
    stream: BalancedStream
    network: Any
    optimizer: Any
    scaler: Any
    average: dict[str, Any]
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def start(
        cls, training: LabelledStamps, options: TrainingOptions, checkpoint: Checkpoint | None, device: str
    ) -> _Run:
        """The first moment of a run, or where its checkpoint stopped."""
        import torch

        assert training.is_confuser is not None
        stream = BalancedStream(
            training.labels, training.is_confuser, options.batch_size, options.positive_share, options.confuser_share,
            options.seed, training.in_domain, options.domain_share,
        )  # fmt: skip
        constants = fit_standardisation(training.metadata, options.metadata) if options.metadata else None
        metadata = standardise(training.metadata, constants, rows=len(training.labels)) if constants else None
        torch.manual_seed(options.seed)
        network = build_network(
            options.architecture, in_channels=training.stamps.shape[1], n_metadata=len(options.metadata)
        )
        network = network.to(device, memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, foreach=False
        )
        scaler = torch.amp.GradScaler(device, enabled=device == "cuda" and options.mixed_precision)
        average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        run = cls(training, options, device, constants, metadata, stream, network, optimizer, scaler, average)
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
        pixels = torch.from_numpy(self._augmented(rows, step)).contiguous(memory_format=torch.channels_last)
        inputs = [pixels.to(self.device)]
        if self.metadata is not None:
            inputs.append(torch.from_numpy(self.metadata[rows]).to(self.device))
        labels = torch.from_numpy(self.training.labels[rows].astype(np.float32)).to(self.device)
        weights = torch.from_numpy(self.training.weights[rows].astype(np.float32)).to(self.device)
        with torch.autocast(self.device, enabled=self.scaler.is_enabled(), dtype=torch.float16):
            logits = self.network(*inputs)[:, 0]
        losses = binary_cross_entropy_with_logits(logits.float(), labels, reduction="none")
        loss = (losses * weights).sum() / weights.sum()
        self.optimizer.param_groups[0]["lr"] = learning_rate_at(step, options=self.options)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # the average of few steps must not remember the random start
        decay = min(self.options.average_decay, (1.0 + step) / (10.0 + step))
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point():
                self.average[name].mul_(decay).add_(tensor.detach(), alpha=1.0 - decay)
            else:
                self.average[name].copy_(tensor)
        return float(loss.detach())

    def _augmented(self, rows: NDArray[np.int64], step: int) -> NDArray[np.float32]:
        """The batch's stamps, some with a masked core, moved about; all of it drawn from (seed, step)."""
        stamps = self.training.stamps[rows]
        if self.options.core_mask_share:
            share = self.options.core_mask_share_at(step // self.options.steps_per_epoch)
            rng = np.random.default_rng([self.options.seed, 2, step])
            stamps = mask_cores(stamps, radius_px=self.options.core_mask_radius_px, share=share, rng=rng)
        rng = np.random.default_rng([self.options.seed, 1, step])
        return augment(stamps, shift_px=self.options.shift_px, rng=rng)

    def validate(self, validation: LabelledStamps, loss: float) -> None:
        """Score the averaged weights, keep them if they are the best so far, and close the epoch."""
        state = {name: tensor.cpu().numpy().copy(order="C") for name, tensor in self.average.items()}
        scores = self._validation_scores(state, validation)
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
        return tensors, {"history": self.history, "loss_scale": self.scaler.state_dict()}

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
        self.scaler.load_state_dict(record["loss_scale"])
        self.history = list(record["history"])

    def _validation_scores(self, state: dict[str, NDArray[Any]], validation: LabelledStamps) -> NDArray[np.float64]:
        import torch

        metadata = None
        if self.constants:
            metadata = standardise(validation.metadata, self.constants, rows=len(validation.labels))
        network = build_network(
            self.options.architecture, in_channels=validation.stamps.shape[1], n_metadata=len(self.options.metadata)
        )
        network = load_state(network, state).to(self.device, memory_format=torch.channels_last).eval()
        return expit(network_logits(network, validation.stamps, batch_size=128, metadata=metadata, device=self.device))

    def card(self, validation: LabelledStamps) -> dict[str, Any]:
        """The model card as far as training knows it."""
        best = max(self.history, key=lambda record: record["validation_auc"])
        card = {
            "architecture": self.options.architecture,
            "options": asdict(self.options) | {"metadata": list(self.options.metadata)},  # as JSON gives it back
            "device": self.device,
            "stamp_shape": [int(side) for side in self.training.stamps.shape[1:]],
            "training_sample": self.training.summary,
            "validation_sample": validation.summary,
            "best_epoch": int(best["epoch"]),
            "best_validation_auc": float(best["validation_auc"]),
            "score_prior": {
                "lens_share": self.stream.counts()[0] / self.options.batch_size,
                "meaning": "share of lenses in the training batches: scores are probabilities at this prevalence only",
            },
        }
        return card | ({"metadata": self.constants} if self.constants else {})


def fingerprint_seed(*values: int) -> int:
    """A 63-bit seed from several whole numbers."""
    return int(fingerprint(list(values), length=15), 16)
