"""Options of the transformer track's glue. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field

from skytrace.clusters.field_inputs import InputOptions
from skytrace.errors import OptionError, check_whole
from skytrace.learning.transformer_options import TransformerOptions, TransformerTrainingOptions

__all__ = ["TransformerTrackOptions"]


@dataclass(frozen=True)
class TransformerTrackOptions:
    """inputs, network, training: what it sees, what it is, how it learns. test_views: of the eight reflections and
    quarter turns, over which a field's logits are averaged. weights_file: a local safetensors file to begin from, ""
    for none. checkpoints: folder of interrupted training, emptied on success. oracle: networks trained on true labels
    beside it (0: none), which say what the images hold.
    """

    inputs: InputOptions = field(default_factory=InputOptions)
    network: TransformerOptions = field(default_factory=TransformerOptions)
    training: TransformerTrainingOptions = field(default_factory=TransformerTrainingOptions)
    test_views: int = 8
    weights_file: str = ""
    checkpoints: str = "data/06_models/checkpoints"
    oracle: int = 1

    def __post_init__(self) -> None:
        check_whole("test_views", self.test_views, 1, 8)
        check_whole("oracle", self.oracle, 0, 100)
        if self.network.frozen_layers and not (self.weights_file or self.training.pretraining.clusters):
            raise OptionError(
                f"frozen_share = {self.network.frozen_share:g} would keep random weights; it needs a weights_file or "
                "pretraining.clusters > 0"
            )
