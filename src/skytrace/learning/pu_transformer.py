"""Vision transformers that rank fields: one network a fold, their logits, and where in a field they look.

A field that no fold trained on gets the mean of all networks' logits. Logits are means over the eight reflections and
quarter turns of a field, which therefore do not change them, and are clipped nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from skytrace.errors import CatalogueError, PixelError, check_whole
from skytrace.learning.augmentation import move_pixels
from skytrace.learning.networks import load_state
from skytrace.learning.pu_losses import shifted_logits
from skytrace.learning.scoring import network_logits
from skytrace.learning.threads import resolve_device, torch_threads

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from skytrace.learning.store import StampStore
    from skytrace.learning.transformer_options import TransformerOptions

    Inputs = NDArray[np.float32] | StampStore

__all__ = ["PASS_ROWS", "PUTransformer", "attention_maps", "dihedral_logits", "loaded_network", "transformer_logits"]

State = dict[str, Any]
#: Fields of one pass through a network.
PASS_ROWS = 64


@dataclass(frozen=True, eq=False)
class PUTransformer:
    """Networks of one shape, one a fold. input_shape: (channel, y, x). card: JSON-ready; "scale" [slope, intercept] and
    "prior" turn raw logits (at ``target_prior``) into logits at the prior.
    """

    options: TransformerOptions
    input_shape: tuple[int, int, int]
    states: tuple[State, ...] = field(repr=False)
    card: dict[str, Any] = field(default_factory=dict)

    def network(self, fold: int) -> Any:
        """The network of a fold with its weights, in evaluation mode."""
        return loaded_network(self.options, self.input_shape, self.states[fold])

    def final_logits(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Logits at the prior that it was told."""
        slope, intercept = self.card["scale"]
        shifted = shifted_logits(raw, from_prior=self.card["target_prior"], to_prior=self.card["prior"])
        return slope * shifted + intercept


def transformer_logits(
    model: PUTransformer, inputs: Inputs, *, threads: int = 1, device: str = "cpu"
) -> NDArray[np.float64]:
    """Logits (n,) at the prior of fields that no fold trained on: the mean over folds, clipped nowhere."""
    _check_inputs(model, inputs)
    raw = [
        dihedral_logits(
            model.network(number), inputs, test_views=model.card["test_views"], threads=threads, device=device
        )
        for number in range(len(model.states))
    ]
    return model.final_logits(np.mean(raw, axis=0))


def dihedral_logits(
    network: Any, inputs: Inputs, *, test_views: int = 8, threads: int = 1, device: str = "cpu"
) -> NDArray[np.float64]:
    """Mean logit (n,) over the first ``test_views`` of the quarter turns (4) and their mirror images (8)."""
    check_whole("test_views", test_views, 1, 8)
    device = resolve_device(device)
    total = np.zeros(len(inputs))
    with torch_threads(threads):
        network = network.to(device)
        for start in range(0, len(inputs), PASS_ROWS):
            batch = np.asarray(inputs[start : start + PASS_ROWS], dtype=np.float32)
            for number in range(test_views):
                seen = _seen(batch, number)
                total[start : start + len(batch)] += network_logits(network, seen, batch_size=PASS_ROWS, device=device)
    return total / test_views


def attention_maps(model: PUTransformer, inputs: Inputs, *, threads: int = 1) -> NDArray[np.float32]:
    """(n, grid, grid): the share of each token in the pooled features, mean over folds; a field's sum to one."""
    import torch

    _check_inputs(model, inputs)
    parts = []
    with torch_threads(threads), torch.inference_mode():
        networks = [model.network(number) for number in range(len(model.states))]
        for start in range(0, len(inputs), PASS_ROWS):
            batch = torch.from_numpy(np.asarray(inputs[start : start + PASS_ROWS], dtype=np.float32))
            parts.append(torch.stack([network.pooled(batch)[1] for network in networks]).mean(dim=0).numpy())
    return np.concatenate(parts)


def loaded_network(options: TransformerOptions, shape: tuple[int, ...], state: State) -> Any:
    """The network of this shape (channel, y, x) with these weights, in evaluation mode."""
    from skytrace.learning.vision_transformer import build_transformer

    network = build_transformer(options, in_channels=shape[0], pixels=shape[-1])
    return load_state(network, state).eval().requires_grad_(False)


def _seen(batch: NDArray[np.float32], number: int) -> NDArray[np.float32]:
    """The batch after quarter turn number % 4, mirrored from the fifth view on."""
    n = len(batch)
    return move_pixels(
        batch,
        flip=np.full(n, number >= 4),
        quarter_turns=np.full(n, number % 4),
        shift=np.zeros((n, 2), dtype=np.int64),
    )


def _check_inputs(model: PUTransformer, inputs: Inputs) -> None:
    if tuple(inputs.shape[1:]) != model.input_shape:
        raise PixelError(f"inputs have shape {tuple(inputs.shape)}; the transformer takes (n, {model.input_shape})")
    if not model.states:
        raise CatalogueError("this transformer has no weights")
