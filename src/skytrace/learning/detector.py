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
    ...}, absent until one is chosen; "preprocessing" {"options", "checksum"}; "metadata" {"columns", "mean", "sd"}, the
    observing conditions that it is given beside the pixels, absent without fusion. Compared by identity, never changed.
    """

    architecture: str
    state: dict[str, NDArray[Any]] = field(repr=False)
    card: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("architecture", self.architecture, ARCHITECTURES)
        for name, values in self.state.items():
            if not np.isfinite(values).all():
                raise OptionError(f"detector weights {name} are not finite; train again with a smaller learning_rate")
        if "threshold" in self.card:
            _checked_threshold(self.card["threshold"]["value"])
        if "metadata" in self.card:
            _check_standardisation(self.card["metadata"])

    @property
    def metadata_columns(self) -> tuple[str, ...]:
        """Columns of the metadata table that ``score_stamps`` needs; empty for a detector of pixels alone."""
        return tuple(self.card.get("metadata", {}).get("columns", ()))

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


def _check_standardisation(constants: dict[str, Any]) -> None:
    from skytrace.audit.columns import METADATA_COLUMNS  # here: the audit's own modules use detectors

    columns, mean, sd = (list(constants.get(name, ())) for name in ("columns", "mean", "sd"))
    for name in columns:
        check_choice("metadata", name, METADATA_COLUMNS)
    if not columns or len(mean) != len(columns) or len(sd) != len(columns):
        raise OptionError(f"metadata of a detector needs columns with a mean and an sd each; got {constants}")
    if not (np.isfinite(mean).all() and np.isfinite(sd).all() and np.min(sd) > 0):
        raise OptionError(f"metadata of a detector needs finite means and positive sds; got {constants}")
