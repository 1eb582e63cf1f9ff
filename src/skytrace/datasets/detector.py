"""Detectors and ensembles on disk: weights as safetensors, beside them a model card in JSON. Nothing is unpickled."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kedro.io import DatasetError
from kedro_datasets._typing import JSONPreview

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

if TYPE_CHECKING:
    from skytrace.learning import Detector
    from skytrace.learning.ensemble import Ensemble

__all__ = ["CardedWeights", "DetectorDataset", "EnsembleDataset"]


class CardedWeights(VersionedFile):
    """``<name>.safetensors`` and ``<name>.card.json``, which proves by its SHA-256 that the two belong together."""

    _format: ClassVar[str]
    _entries: ClassVar[tuple[str, ...]]

    def preview(self) -> JSONPreview:
        """The card: what Kedro-Viz shows."""
        return JSONPreview(json.dumps(self._read_card(self.load_path())))

    def _read(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(arrays by name, card); DatasetError for a missing, foreign or changed file."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.load_path()
        card = self._read_card(path)
        weights = path.read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
            raise DatasetError(f"{path} is not the file that its card describes: its SHA-256 differs")
        try:
            return load(weights), card
        except SafetensorError as error:
            raise DatasetError(f"{path} is not a safetensors file ({error}); other formats are not read") from error

    def _write(self, state: dict[str, Any], **entries: Any) -> None:
        """Write weights, then card: a card is proof that the weights are whole."""
        import numpy as np
        from safetensors.numpy import save

        path = self.save_path()
        weights = save({name: np.ascontiguousarray(values) for name, values in sorted(state.items())})
        card = {"format": self._format, "weights_sha256": hashlib.sha256(weights).hexdigest(), **entries}
        text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
        with atomic_path(path) as partial:
            partial.write_bytes(weights)
        with atomic_path(_card_path(path)) as partial:
            partial.write_text(text, encoding="utf-8")

    def _exists(self) -> bool:
        return super()._exists() and _card_path(Path(self._get_load_path())).is_file()

    @classmethod
    def _read_card(cls, path: Path) -> dict[str, Any]:
        card_path = _card_path(path)
        if not card_path.is_file():
            raise DatasetError(f"{path} has no card {card_path.name} beside it; weights without a card are not used")
        try:
            card = json.loads(card_path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DatasetError(f"{card_path} is not JSON ({error})") from error
        found = card.get("format") if isinstance(card, dict) else None
        if found != cls._format:
            raise DatasetError(f"{card_path} has format {found!r}; this version reads {cls._format!r}")
        missing = sorted({"weights_sha256", *cls._entries} - set(card))
        if missing:
            raise DatasetError(f"{card_path} lacks {', '.join(missing)}")
        return card


class DetectorDataset(CardedWeights):
    """``<name>.safetensors`` and ``<name>.card.json`` <-> skytrace.learning.Detector.

    The card holds the architecture, the checksum of the preprocessing, the constants of fused metadata, the facts of
    the training, and the weights' SHA-256: weights and card that do not belong together are refused.
    """

    _format = "skytrace.detector/1"
    _entries = ("architecture", "card")

    def load(self) -> "Detector":
        """The detector. Raises DatasetError for a missing, foreign or changed file."""
        from skytrace.learning import Detector

        state, card = self._read()
        return Detector(architecture=card["architecture"], state=state, card=card["card"])

    def save(self, data: "Detector") -> None:
        """Write the weights, then the card."""
        self._write(data.state, architecture=data.architecture, card=data.card)


class EnsembleDataset(CardedWeights):
    """``<name>.safetensors``, all members' weights as ``<member>/<weight>``, and ``<name>.card.json`` <-> Ensemble.

    The card holds each member's own card, and the ensemble's: domains, combination, coefficients of the meta-learner.
    """

    _format = "skytrace.ensemble/1"
    _entries = ("members", "card")

    def load(self) -> "Ensemble":
        """The ensemble. Raises DatasetError for a missing, foreign or changed file."""
        from skytrace.learning import Detector
        from skytrace.learning.ensemble import Ensemble

        state, card = self._read()
        members = {
            name: Detector(entry["architecture"], _part(state, f"{name}/"), entry["card"])
            for name, entry in card["members"].items()
        }
        unclaimed = sorted(key for key in state if key.partition("/")[0] not in members)
        if unclaimed:
            raise DatasetError(f"{self.load_path()} holds {unclaimed[0]}, of a member that its card does not name")
        # JSON sorts names; the order of the members is the order of the meta-learner's coefficients
        order = [member["name"] for member in card["card"]["options"]["members"]]
        return Ensemble({name: members[name] for name in order}, card["card"])

    def save(self, data: "Ensemble") -> None:
        """Write the weights of all members, then the card."""
        state = {
            f"{name}/{key}": values for name, member in data.members.items() for key, values in member.state.items()
        }
        members = {name: {"architecture": m.architecture, "card": m.card} for name, m in data.members.items()}
        self._write(state, members=members, card=data.card)


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): values for name, values in state.items() if name.startswith(prefix)}


def _card_path(weights: Path) -> Path:
    return weights.with_suffix(".card.json")
