"""The state of a training run on disk: one safetensors file, replaced whole, named after what is being trained.

The folder's name is a fingerprint of the stamps and options, so a run never resumes from one with other choices.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skytrace.compute.files import atomic_path, remove_abandoned
from skytrace.errors import ShardError

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """folder: where checkpoints live. key: fingerprint of everything that the result depends on."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The one file of this run."""
        return Path(self.folder) / self.key / "checkpoint.safetensors"

    def save(self, tensors: dict[str, Any], progress: dict[str, Any]) -> None:
        """Replace the checkpoint: torch tensors by name, and a JSON-ready record in the same file."""
        from safetensors.torch import save_file

        with atomic_path(self.path) as partial:
            plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            save_file(plain, partial, metadata={"progress": json.dumps(progress)})

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """(tensors, record) of the last complete save, or None. Raises ShardError if the file is damaged."""
        remove_abandoned(self.path.parent)
        if not self.path.exists():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not a dict
                return tensors, json.loads(stored.metadata()["progress"])
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise ShardError(
                f"checkpoint {self.path} is damaged ({error}); delete it to train from the start"
            ) from error

    def remove(self) -> None:
        """Forget the run: called once its detector is complete."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
