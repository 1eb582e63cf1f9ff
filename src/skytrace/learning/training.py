"""Training of a detector from scratch: deterministic under a seed on the CPU, and resumable to the same bytes.

Nothing random is kept between steps: batches, masks, augmentations and dropout follow from (seed, step), so the
weights, the optimizer's moments and the history are the whole state of a run. A graphics processor is used where there
is one, in mixed precision; only the CPU promises the same bytes again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from skytrace.compute import fingerprint
from skytrace.compute.fingerprint import source_fingerprint
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
from skytrace.learning.training_run import TrainingRun, learning_rate_at

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
        run = _DetectorRun.start(training, validation, options, device)
        run.train(checkpoint, f"training {options.architecture}")
    return Detector(options.architecture, run.best, run.card()), run.history


@dataclass(kw_only=True)
class _DetectorRun(TrainingRun):
    """constants: of the metadata's standardisation; metadata: (n, m), standardised; None without fusion."""

    training: LabelledStamps
    validation: LabelledStamps
    options: TrainingOptions
    constants: dict[str, Any] | None
    metadata: NDArray[np.float32] | None
    stream: BalancedStream

    @classmethod
    def start(
        cls, training: LabelledStamps, validation: LabelledStamps, options: TrainingOptions, device: str
    ) -> _DetectorRun:
        """The first moment of a run."""
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
        return cls(
            schedule=options, device=device, mixed_precision=options.mixed_precision, training=training,
            network=network.to(device, memory_format=torch.channels_last), validation=validation, options=options,
            constants=constants, metadata=metadata, stream=stream,
        )  # fmt: skip

    def batch_loss(self, step: int) -> Any:
        """Weighted cross-entropy of a batch of the balanced stream."""
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
        return (losses * weights).sum() / weights.sum()

    def score(self, state: dict[str, NDArray[Any]]) -> float:
        """AUC of the validation sample."""
        return roc_auc(self._validation_scores(state), self.validation.labels)

    def _augmented(self, rows: NDArray[np.int64], step: int) -> NDArray[np.float32]:
        """The batch's stamps, some with a masked core, moved about; all of it drawn from (seed, step)."""
        stamps = self.training.stamps[rows]
        if self.options.core_mask_share:
            share = self.options.core_mask_share_at(step // self.options.steps_per_epoch)
            rng = np.random.default_rng([self.options.seed, 2, step])
            stamps = mask_cores(stamps, radius_px=self.options.core_mask_radius_px, share=share, rng=rng)
        rng = np.random.default_rng([self.options.seed, 1, step])
        return augment(stamps, shift_px=self.options.shift_px, rng=rng)

    def _validation_scores(self, state: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        import torch

        validation, metadata = self.validation, None
        if self.constants:
            metadata = standardise(validation.metadata, self.constants, rows=len(validation.labels))
        network = build_network(
            self.options.architecture, in_channels=validation.stamps.shape[1], n_metadata=len(self.options.metadata)
        )
        network = load_state(network, state).to(self.device, memory_format=torch.channels_last).eval()
        return expit(network_logits(network, validation.stamps, batch_size=128, metadata=metadata, device=self.device))

    def card(self) -> dict[str, Any]:
        """The model card as far as training knows it."""
        best = max(self.history, key=lambda record: record["validation_auc"])
        card = {
            "architecture": self.options.architecture,
            "options": asdict(self.options) | {"metadata": list(self.options.metadata)},  # as JSON gives it back
            "device": self.device,
            "stamp_shape": [int(side) for side in self.training.stamps.shape[1:]],
            "training_sample": self.training.summary,
            "validation_sample": self.validation.summary,
            "best_epoch": int(best["epoch"]),
            "best_validation_auc": float(best["validation_auc"]),
            "score_prior": {
                "lens_share": self.stream.counts()[0] / self.options.batch_size,
                "meaning": "share of lenses in the training batches: scores are probabilities at this prevalence only",
            },
        }
        return card | ({"metadata": self.constants} if self.constants else {})
