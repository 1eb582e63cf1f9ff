"""The moving parts of any training of a network: steps, schedule, moving average, the best epoch, and its resumption.

Nothing random is kept between steps: whatever a subclass draws for a batch follows from (seed, step), so the weights,
the optimizer's moments and the history are the whole state of a run.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skytrace.compute import fingerprint
from skytrace.compute.progress import ProgressBar, progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from skytrace.learning.checkpoint import Checkpoint

__all__ = ["Schedule", "TrainingRun", "fingerprint_seed", "learning_rate_at"]


class Schedule(Protocol):
    """What a run reads of its options, whatever is trained."""

    @property
    def epochs(self) -> int:
        """At most so many."""
        ...

    @property
    def patience(self) -> int:
        """Epochs without a better score after which a run ends."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps between two scores."""
        ...

    @property
    def learning_rate(self) -> float:
        """Peak of the cosine."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of AdamW."""
        ...

    @property
    def warmup_share(self) -> float:
        """Of all steps, in which the rate rises."""
        ...

    @property
    def average_decay(self) -> float:
        """Of the moving average of the weights."""
        ...

    @property
    def seed(self) -> int:
        """Of everything drawn."""
        ...


def learning_rate_at(step: int, *, options: Schedule) -> float:
    """Linear rise over the first warmup_share of all steps, then half a cosine down to 0."""
    total = options.epochs * options.steps_per_epoch
    warmup = max(1, round(options.warmup_share * total))
    if step < warmup:
        return options.learning_rate * (step + 1) / warmup
    return options.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


@dataclass(kw_only=True)
class TrainingRun(ABC):
    """A network on its way. average: exponential moving average of weights and buffers (torch tensors).

    scaler: of the loss, so that half-precision gradients do not vanish; it does nothing on a CPU. best: the averaged
    weights with the highest score so far, of the last epoch where there is no score. ``metric`` names the score in the
    history. Weights that need no gradient stay as they are, in the average as well.
    """

    schedule: Schedule
    device: str
    network: Any
    mixed_precision: bool = False
    metric: str = "validation_auc"
    optimizer: Any = None
    scaler: Any = None
    average: dict[str, Any] = field(default_factory=dict)
    best: dict[str, NDArray[Any]] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        import torch

        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.schedule.learning_rate,
            weight_decay=self.schedule.weight_decay,
            foreach=False,
        )
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.device == "cuda" and self.mixed_precision)
        self.average = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    @abstractmethod
    def batch_loss(self, step: int) -> Any:
        """The loss (a torch scalar) of the batch of optimizer step ``step``."""

    @abstractmethod
    def score(self, state: dict[str, NDArray[Any]]) -> float | None:
        """How good these weights are, higher is better; None where nothing is held back to tell."""

    def train(self, checkpoint: Checkpoint | None, description: str) -> None:
        """All epochs, from the checkpoint on if there is one; it is removed when they are done."""
        stored = checkpoint.load() if checkpoint is not None else None
        if stored is not None:
            self._restore(*stored)
        bar: ProgressBar[int] = progress(self.schedule.epochs * self.schedule.steps_per_epoch, description)
        with bar:
            bar.advance(self.epoch * self.schedule.steps_per_epoch)
            while not self.finished():
                self._close_epoch(self._train_epoch(bar))
                if checkpoint is not None:
                    checkpoint.save(*self._snapshot())
        if checkpoint is not None:
            checkpoint.remove()

    @property
    def epoch(self) -> int:
        """Epochs already trained and scored."""
        return len(self.history)

    def finished(self) -> bool:
        """Whether all epochs are done, or the best lies ``patience`` epochs back."""
        if self.epoch >= self.schedule.epochs:
            return True
        scores = [record[self.metric] for record in self.history if self.metric in record]
        return bool(scores) and self.epoch - 1 - int(np.argmax(scores)) >= self.schedule.patience

    def _train_epoch(self, bar: Any) -> float:
        """One epoch of optimizer steps; the mean loss of its batches."""
        import torch

        torch.manual_seed(fingerprint_seed(self.schedule.seed, self.epoch))  # dropout, where an architecture has it
        self.network.train()
        losses, steps = [], self.schedule.steps_per_epoch
        for step in range(self.epoch * steps, (self.epoch + 1) * steps):
            losses.append(self._train_step(step))
            bar.advance(1)
        return float(np.mean(losses))

    def _train_step(self, step: int) -> float:
        loss = self.batch_loss(step)
        self.optimizer.param_groups[0]["lr"] = learning_rate_at(step, options=self.schedule)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # the average of few steps must not remember the random start
        decay = min(self.schedule.average_decay, (1.0 + step) / (10.0 + step))
        fixed = {name for name, weights in self.network.named_parameters() if not weights.requires_grad}
        for name, tensor in self.network.state_dict().items():
            if name in fixed:
                continue
            if tensor.is_floating_point():
                self.average[name].mul_(decay).add_(tensor.detach(), alpha=1.0 - decay)
            else:
                self.average[name].copy_(tensor)
        return float(loss.detach())

    def _close_epoch(self, loss: float) -> None:
        """Score the averaged weights, keep them if they are the best so far, and write the record."""
        state = {name: tensor.cpu().numpy().copy(order="C") for name, tensor in self.average.items()}
        score = self.score(state)
        record = {"epoch": self.epoch + 1, "training_loss": loss}
        if score is not None:
            record[self.metric] = float(score)
        before = [record[self.metric] for record in self.history if self.metric in record]
        if score is None or not before or score > max(before):
            self.best = state
        self.history.append(record)

    def _snapshot(self) -> tuple[dict[str, Any], dict[str, Any]]:
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


def fingerprint_seed(*values: int) -> int:
    """A 63-bit seed from several whole numbers."""
    return int(fingerprint(list(values), length=15), 16)
