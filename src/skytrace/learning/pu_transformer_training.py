"""Training of transformers on known positives and unlabelled fields, cross-fitted as the CPU track's trees are.

Every fold's network sees the other folds alone. The risk, the streams of rows, the steps and their resumption are those
of ``pu_losses``, ``stream``, ``training_run`` and ``checkpoint``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.compute import fingerprint
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.errors import OptionError, PixelError
from skytrace.learning.augmentation import augment
from skytrace.learning.checkpoint import Checkpoint
from skytrace.learning.metrics import roc_auc
from skytrace.learning.pu_calibration import fit_pu_scale
from skytrace.learning.pu_losses import PURisk, nn_pu_loss, shifted_logits
from skytrace.learning.pu_samples import checked_labels, fold_of_rows
from skytrace.learning.pu_transformer import PASS_ROWS, PUTransformer, dihedral_logits, loaded_network
from skytrace.learning.scoring import network_logits
from skytrace.learning.stream import BalancedStream
from skytrace.learning.threads import deterministic_torch, resolve_device
from skytrace.learning.training_run import TrainingRun
from skytrace.learning.transformer_options import TransformerOptions, TransformerTrainingOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from skytrace.learning.store import StampStore

    Inputs = NDArray[np.float32] | StampStore

__all__ = ["cross_fit", "fit_network", "load_state_partly"]

State = dict[str, Any]


def fit_network(
    views: Sequence[Inputs],
    labelled: ArrayLike,
    *,
    prior: float,
    options: TransformerOptions,
    training: TransformerTrainingOptions,
    seed: int,
    held: NDArray[np.bool_] | None = None,
    start: State | None = None,
    weights_file: str | Path | None = None,
    checkpoint_folder: str | Path | None = None,
) -> tuple[State, list[dict[str, float]]]:
    """(weights, one record an epoch) of a network that descends on the non-negative risk.

    views: pictures (n, channel, y, x) of the same fields, of which one is drawn each time. labelled (n,): 1 known
    positive, 0 unlabelled. held (n,): rows that only choose the best epoch. start: weights to begin from, whose head
    may be missing; weights_file: the same from disk. With a checkpoint_folder an interrupted run continues to the same
    bytes. Raises CatalogueError without both labels, PixelError for views of different shapes.
    """
    labelled = np.asarray(labelled, dtype=np.int64)
    shapes = {tuple(view.shape) for view in views}
    if len(shapes) != 1 or next(iter(shapes))[0] != len(labelled):
        raise PixelError(f"views of shapes {sorted(shapes)} are not one shape of {len(labelled)} rows")
    device = resolve_device(training.device)
    held = np.zeros(len(labelled), dtype=bool) if held is None else held
    rows, apart = np.flatnonzero(~held), np.flatnonzero(held)
    checkpoint = None
    if checkpoint_folder is not None:
        key = fingerprint(
            source_fingerprint("skytrace.learning"), options, training, device, prior, seed, labelled, held,
            *(_digest(view) for view in views), _named(start), _file_digest(weights_file),
        )  # fmt: skip
        checkpoint = Checkpoint(Path(checkpoint_folder), key)
    with deterministic_torch(training.threads, device=device):
        import torch

        from skytrace.learning.vision_transformer import build_transformer, freeze_layers

        torch.manual_seed(seed)
        network = build_transformer(
            options, in_channels=views[0].shape[1], pixels=views[0].shape[-1], weights_file=weights_file
        )
        if start is not None:
            load_state_partly(network, start)
            freeze_layers(network, options.frozen_layers)
        stream = BalancedStream(
            labelled[rows], np.zeros(len(rows), dtype=bool), training.batch_size, training.positive_share, 0.0, seed
        )
        run = _PURun(
            schedule=training, device=device, network=network.to(device), metric="label_auc", views=views, rows=rows,
            apart=apart, labelled=labelled, stream=stream, prior=prior, options=options, training=training, seed=seed,
        )  # fmt: skip
        run.train(checkpoint, "training transformer")
    return run.best, run.history


def cross_fit(
    views: Sequence[Inputs],
    labelled: ArrayLike,
    *,
    groups: ArrayLike,
    prior: float,
    options: TransformerOptions,
    training: TransformerTrainingOptions,
    folds: int = 5,
    fold_seed: int | None = None,
    test_views: int = 8,
    start: State | None = None,
    weights_file: str | Path | None = None,
    checkpoint_folder: str | Path | None = None,
) -> tuple[PUTransformer, NDArray[np.float64], NDArray[np.int64]]:
    """(the transformer, out-of-fold logits (n,) at the prior, fold (n,)). groups (n,): share a fold, as cells do.

    Folds are those that the estimators of ``positive_unlabeled`` draw for the same labels, groups and random_state
    (fold_seed; None: the training's seed). The scale is fitted on out-of-fold logits. With a checkpoint_folder, folds
    that were done are not done again. Errors as of ``fit_network`` and of the estimators.
    """
    from sklearn.utils import check_random_state

    _, labelled = checked_labels(np.asarray(labelled), min_unlabelled_ratio=1.0)
    groups, random = np.asarray(groups), check_random_state(training.seed if fold_seed is None else fold_seed)
    fold = fold_of_rows(labelled, folds, groups=groups, random=random)
    risk = PURisk(prior, gamma=training.gamma, beta=training.beta, balanced=training.balanced)
    input_shape = tuple(int(side) for side in views[0].shape[1:])
    key = fingerprint(
        source_fingerprint("skytrace.learning"), options, training, prior, labelled, fold,
        *(_digest(view) for view in views), _named(start), _file_digest(weights_file),
    )  # fmt: skip
    kept = None if checkpoint_folder is None else Checkpoint(Path(checkpoint_folder), f"folds-{key}")
    states, histories = _finished(kept)
    for number in range(len(states), fold.max() + 1):
        inside = np.flatnonzero(fold != number)
        state, history = fit_network(
            [_rows_of(view, inside) for view in views], labelled[inside], prior=prior, options=options,
            training=training, seed=training.seed + number, start=start, weights_file=weights_file,
            held=_held_groups(groups[inside], training.validation_share, training.seed + number),
            checkpoint_folder=checkpoint_folder,
        )  # fmt: skip
        states.append(state)
        histories.append(history)
        if kept is not None:
            _keep(kept, states, histories)
    raw = np.empty(len(labelled))
    for number, state in enumerate(states):
        held = np.flatnonzero(fold == number)
        network = loaded_network(options, input_shape, state)
        raw[held] = dihedral_logits(
            network, _rows_of(views[0], held), test_views=test_views, threads=training.threads, device=training.device
        )
    at_prior = shifted_logits(raw, from_prior=risk.target_prior, to_prior=prior)
    card = {
        "options": asdict(options), "training": asdict(training), "prior": prior, "target_prior": risk.target_prior,
        "scale": list(fit_pu_scale(at_prior, labelled, prior=prior)), "test_views": test_views,
        "known_positives": int(labelled.sum()), "unlabelled": int((1 - labelled).sum()), "history": histories,
    }  # fmt: skip
    model = PUTransformer(options, input_shape, tuple(states), card)  # type: ignore[arg-type]
    if kept is not None:
        kept.remove()
    return model, model.final_logits(raw), fold


def load_state_partly(network: Any, state: State) -> None:
    """Put the weights that ``state`` has into ``network``; the head may be missing. OptionError for a name it lacks."""
    import torch

    own = network.state_dict()
    unknown = [name for name in state if name not in own or own[name].shape != np.shape(state[name])]
    if unknown:
        raise OptionError(f"weights {', '.join(unknown)} do not fit the transformer")
    network.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.items()}, strict=False)


@dataclass(kw_only=True)
@dataclass(kw_only=True)
class _PURun(TrainingRun):
    """Positives and unlabelled rows come from streams of their own; rows, apart: of the views, to learn, to judge."""

    views: Sequence[Inputs]
    rows: NDArray[np.int64]
    apart: NDArray[np.int64]
    labelled: NDArray[np.int64]
    stream: BalancedStream
    prior: float
    options: TransformerOptions
    training: TransformerTrainingOptions
    seed: int

    def batch_loss(self, step: int) -> Any:
        """The non-negative risk of a batch."""
        import torch

        rows = self.rows[self.stream.batch(step)]
        rng = np.random.default_rng([self.seed, 1, step])
        view = rng.integers(0, len(self.views), len(rows))
        pixels = np.empty((len(rows), *self.views[0].shape[1:]), dtype=np.float32)
        for number, inputs in enumerate(self.views):
            pixels[view == number] = inputs[rows[view == number]]
        pixels = augment(pixels, shift_px=self.training.shift_px, rng=rng)
        logits = self.network(torch.from_numpy(pixels).to(self.device))[:, 0]
        positives = self.stream.counts()[0]
        return nn_pu_loss(
            logits[:positives], logits[positives:], prior=self.prior, gamma=self.training.gamma,
            beta=self.training.beta, balanced=self.training.balanced,
        )  # fmt: skip

    def score(self, state: State) -> float | None:
        """AUC of the label among the rows held back."""
        if len(np.unique(self.labelled[self.apart])) < 2:
            return None
        network = loaded_network(self.options, tuple(self.views[0].shape[1:]), state)
        return roc_auc(
            network_logits(network, self.views[0][self.apart], batch_size=PASS_ROWS), self.labelled[self.apart]
        )


def _held_groups(groups: NDArray, share: float, seed: int) -> NDArray[np.bool_]:
    names = np.random.default_rng([seed, 4]).permutation(np.unique(groups))
    return np.isin(groups, names[: round(share * len(names))])


def _rows_of(inputs: Inputs, rows: NDArray[np.int64]) -> Inputs:
    return inputs[rows] if isinstance(inputs, np.ndarray) else inputs.select(rows)


def _finished(kept: Checkpoint | None) -> tuple[list[State], list[list[dict[str, float]]]]:
    """Weights and histories of the folds that are done."""
    stored = kept.load() if kept is not None else None
    if stored is None:
        return [], []
    tensors, record = stored
    states: list[State] = [{} for _ in record["histories"]]
    for name, tensor in tensors.items():
        number, _, weight = name.partition(".")
        states[int(number)][weight] = tensor.numpy()
    return states, record["histories"]


def _keep(kept: Checkpoint, states: list[State], histories: list[list[dict[str, float]]]) -> None:
    import torch

    tensors = {
        f"{number}.{name}": torch.from_numpy(values) for number, state in enumerate(states)
        for name, values in state.items()
    }  # fmt: skip
    kept.save(tensors, {"histories": histories})


def _named(state: State | None) -> list[Any]:
    return [part for item in sorted((state or {}).items()) for part in item]


def _file_digest(path: str | Path | None) -> str:
    return "" if path is None else fingerprint(np.frombuffer(Path(path).read_bytes(), dtype=np.uint8))


def _digest(inputs: Inputs) -> str:
    return fingerprint(inputs, length=64) if isinstance(inputs, np.ndarray) else inputs.sha256
