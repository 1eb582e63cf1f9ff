"""Named arrays in one npz whose bytes depend on the arrays alone."""

from typing import Any

import numpy as np
from kedro_datasets._typing import JSONPreview

from skytrace.compute.arrays import load_npz, save_npz
from skytrace.datasets.versioned_file import VersionedFile

__all__ = ["NPZDataset"]


class NPZDataset(VersionedFile):
    """A dict of arrays. ``save_args: {compress: [invvar]}`` names the arrays worth deflating."""

    def __init__(self, *, filepath: str, save_args: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(filepath=filepath, **kwargs)
        self._compress = tuple((save_args or {}).get("compress", ()))

    def load(self) -> dict[str, np.ndarray]:
        """Every array, by name."""
        return load_npz(self.load_path())

    def save(self, data: dict[str, np.ndarray]) -> None:
        """Write the arrays, whole or not at all."""
        save_npz(self.save_path(), compress=[name for name in self._compress if name in data], **data)

    def preview(self) -> JSONPreview:
        """Names, shapes and types: what Kedro-Viz shows."""
        import json

        shapes = {name: f"{array.dtype} {array.shape}" for name, array in self.load().items()}
        return JSONPreview(json.dumps(shapes))
