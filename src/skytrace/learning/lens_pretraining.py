"""What two pictures of the same lens share, learnt without labels: a contrastive loss over pairs (Chen et al. 2020).

Of 2 n pictures in a batch each has to find its partner, which shows the same cluster with another source, PSF and
noise, turned and shifted on its own. The head and the projection are thrown away afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import OptionError, PixelError
from skytrace.learning.augmentation import augment
from skytrace.learning.threads import deterministic_torch, resolve_device
from skytrace.learning.training_run import TrainingRun
from skytrace.learning.transformer_options import TransformerOptions, TransformerTrainingOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pair_loss", "pretrain"]


def pair_loss(first: Any, second: Any, *, temperature: float) -> Any:
    """Normalised temperature-scaled cross-entropy (their eq. 1) of features (n, d) whose rows belong together."""
    import torch
    from torch.nn.functional import cross_entropy, normalize

    n = len(first)
    features = normalize(torch.cat([first, second]), dim=1)
    likeness = features @ features.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=likeness.device), -torch.inf)
    partner = torch.arange(2 * n, device=likeness.device).roll(n)
    return cross_entropy(likeness, partner)


def pretrain(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    options: TransformerOptions,
    training: TransformerTrainingOptions,
    weights_file: str = "",
) -> dict[str, NDArray[Any]]:
    """Weights of everything but the head. first, second (n, channel, y, x): pictures whose rows show the same lens.

    Raises PixelError where they differ in shape, OptionError for fewer pairs than a batch.
    """
    pretraining = training.pretraining
    if first.shape != second.shape:
        raise PixelError(f"pairs of pictures differ in shape: {first.shape} and {second.shape}")
    if len(first) < pretraining.batch_size:
        raise OptionError(
            f"pretraining.batch_size = {pretraining.batch_size} is outside its allowed range [2, {len(first)}], the "
            "number of pairs"
        )
    device = resolve_device(training.device)
    with deterministic_torch(training.threads, device=device):
        import torch
        from torch import nn

        from skytrace.learning.vision_transformer import build_transformer

        torch.manual_seed(training.seed)
        network = build_transformer(
            replace(options, frozen_share=0.0), in_channels=first.shape[1], pixels=first.shape[-1],
            weights_file=weights_file or None,
        )  # fmt: skip
        width, d = options.width, pretraining.projection
        projection = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, d))
        both = nn.ModuleDict({"network": network, "projection": projection}).to(device)
        schedule = replace(
            training, epochs=pretraining.epochs, batch_size=pretraining.batch_size, images_per_epoch=len(first),
            learning_rate=pretraining.learning_rate,
        )  # fmt: skip
        run = _PairRun(schedule=schedule, device=device, network=both, first=first, second=second, training=schedule)
        run.train(None, "pretraining")
    state = {name.removeprefix("network."): values for name, values in run.best.items() if name.startswith("network.")}
    return {name: values for name, values in state.items() if not name.startswith("head.")}


@dataclass(kw_only=True)
class _PairRun(TrainingRun):
    """Pairs in an order of their own every epoch."""

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    training: TransformerTrainingOptions

    def batch_loss(self, step: int) -> Any:
        """The contrastive loss of a batch of pairs."""
        import torch

        steps, size = self.training.steps_per_epoch, self.training.batch_size
        order = np.random.default_rng([self.training.seed, 5, step // steps]).permutation(len(self.first))
        rows = order[(step % steps) * size : (step % steps + 1) * size]
        rng = np.random.default_rng([self.training.seed, 6, step])
        seen = [augment(part[rows], shift_px=self.training.shift_px, rng=rng) for part in (self.first, self.second)]
        pixels = torch.from_numpy(np.concatenate(seen)).to(self.device)
        features = self.network["projection"](self.network["network"].pooled(pixels)[0])
        temperature = self.training.pretraining.temperature
        return pair_loss(features[: len(rows)], features[len(rows) :], temperature=temperature)

    def score(self, state: dict[str, NDArray[Any]]) -> float | None:
        """Nothing is held back."""
        return None
