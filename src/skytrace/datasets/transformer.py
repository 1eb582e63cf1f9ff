"""Transformers on disk: the weights of every fold as safetensors, beside them a card in JSON. Nothing is unpickled."""

from typing import TYPE_CHECKING

from skytrace.datasets.detector import CardedWeights

if TYPE_CHECKING:
    from skytrace.learning.pu_transformer import PUTransformer

__all__ = ["TransformerDataset"]


class TransformerDataset(CardedWeights):
    """``<name>.safetensors``, all folds' weights as ``<fold>/<weight>``, and ``<name>.card.json`` <-> PUTransformer.

    The card holds the network's options, the shape of its inputs, how it was trained, and the weights' SHA-256.
    """

    _format = "skytrace.pu_transformer/1"
    _entries = ("options", "input_shape", "folds", "card")

    def load(self) -> "PUTransformer":
        """The networks. Raises DatasetError for a missing, foreign or changed file."""
        from skytrace.learning.pu_transformer import PUTransformer
        from skytrace.learning.transformer_options import TransformerOptions

        arrays, card = self._read()
        states: tuple[dict, ...] = tuple({} for _ in range(card["folds"]))
        for name, values in arrays.items():
            number, _, weight = name.partition("/")
            states[int(number)][weight] = values
        bands, height, width = card["input_shape"]
        return PUTransformer(TransformerOptions(**card["options"]), (bands, height, width), states, card["card"])

    def save(self, data: "PUTransformer") -> None:
        """Write the weights, then the card."""
        from dataclasses import asdict

        state = {f"{number}/{name}": values for number, part in enumerate(data.states) for name, values in part.items()}
        self._write(
            state, options=asdict(data.options), input_shape=list(data.input_shape), folds=len(data.states),
            card=data.card,
        )  # fmt: skip
