"""A trained detector as a value: architecture, weights, and the card that says what they are and were shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skytrace.errors import OptionError, PixelError, check_between, check_choice
from skytrace.learning.options import ARCHITECTURES

__all__ = ["Detector"]


@dataclass(frozen=True, eq=False)
class Detector:
    """architecture: one of ARCHITECTURES. state: arrays by the names of the network's state_dict.

    card: JSON-ready model card. The entries that code reads: "stamp_shape" [band, y, x]; "threshold" {"value", "rule",
    ...}, absent until one is chosen; "preprocessing" {"options", "checksum"}. Compared by identity, never changed.
    """

    architecture: str
    state: dict[str, NDArray[Any]]
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        for name, values in self.state.items():
            if not np.isfinite(values).all():
                raise OptionError(f"detector weights {name} are not finite; train again with a smaller learning_rate")
        if "threshold" in self.card:
            _checked_threshold(self.card["threshold"]["value"])

    @property
    def stamp_shape(self) -> tuple[int, int, int]:
        """(band, y, x) of the stamps that it was trained on."""
        band, height, width = self.card.get("stamp_shape", (3, 64, 64))
        return int(band), int(height), int(width)

    @property
    def threshold(self) -> float:
        """The score from which on a stamp counts as detected; OptionError while none was chosen."""
        if "threshold" not in self.card:
            raise OptionError("this detector has no threshold in its card; choose one on validation scores first")
        return _checked_threshold(self.card["threshold"]["value"])

    def with_card(self, **entries: Any) -> Detector:
        """The same weights with further (or replaced) entries of the card."""
        return replace(self, card={**self.card, **entries})

    def check_preprocessing(self, checksum: str) -> None:
        """Raise PixelError unless stamps were prepared as in training (``imaging.preprocessing_checksum``)."""
        trained = self.card.get("preprocessing", {}).get("checksum")
        if trained != checksum:
            raise PixelError(
                f"stamps were prepared with preprocessing {checksum[:12]}, the detector was trained with "
                f"{str(trained)[:12]}; use the options in its card under 'preprocessing'"
            )


def _checked_threshold(value: Any) -> float:
    check_between("threshold", value, 0.0, 1.0, include_low=False, include_high=False)
    return float(value)
