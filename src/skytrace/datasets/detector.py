"""A detector on disk: weights as safetensors and, beside them, a model card in JSON. Nothing is unpickled."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import DatasetError
from kedro_datasets._typing import JSONPreview

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

if TYPE_CHECKING:
    from skytrace.learning import Detector

__all__ = ["DetectorDataset"]

_FORMAT = "skytrace.detector/1"


class DetectorDataset(VersionedFile):
    """``<name>.safetensors`` and ``<name>.card.json`` <-> skytrace.learning.Detector.

    The card holds the architecture, the checksum of the preprocessing, the facts of the training, and the weights'
    SHA-256: weights and card that do not belong together are refused.
    """

    def load(self) -> "Detector":
        """The detector. Raises DatasetError for a missing, foreign or changed file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        from skytrace.learning import Detector

        path = self.load_path()
        card = self._read_card(path)
        weights = path.read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
            raise DatasetError(f"{path} is not the file that its card describes: its SHA-256 differs")
        try:
            state = load(weights)
        except SafetensorError as error:
            raise DatasetError(f"{path} is not a safetensors file ({error}); other formats are not read") from error
        return Detector(architecture=card["architecture"], state=state, card=card["card"])

    def save(self, data: "Detector") -> None:
        """Write weights, then card: a card is proof that the weights are whole."""
        import numpy as np
        from safetensors.numpy import save

        path = self.save_path()
        weights = save({name: np.ascontiguousarray(values) for name, values in sorted(data.state.items())})
        card = {
            "format": _FORMAT,
            "architecture": data.architecture,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "card": data.card,
        }
        text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
        with atomic_path(path) as partial:
            partial.write_bytes(weights)
        with atomic_path(_card_path(path)) as partial:
            partial.write_text(text, encoding="utf-8")

    def preview(self) -> JSONPreview:
        """The card: what Kedro-Viz shows."""
        return JSONPreview(json.dumps(self._read_card(self.load_path())))

    def _exists(self) -> bool:
        return super()._exists() and _card_path(Path(self._get_load_path())).is_file()

    @staticmethod
    def _read_card(path: Path) -> dict[str, Any]:
        card_path = _card_path(path)
        if not card_path.is_file():
            raise DatasetError(f"{path} has no card {card_path.name} beside it; weights without a card are not used")
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DatasetError(f"{card_path} is not JSON ({error})") from error
        found = card.get("format") if isinstance(card, dict) else None
        if found != _FORMAT:
            raise DatasetError(f"{card_path} has format {found!r}; this version reads {_FORMAT!r}")
        missing = sorted({"architecture", "weights_sha256", "card"} - set(card))
        if missing:
            raise DatasetError(f"{card_path} lacks {', '.join(missing)}")
        return card


def _card_path(weights: Path) -> Path:
    return weights.with_suffix(".card.json")
