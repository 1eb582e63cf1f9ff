"""Named arrays in one npz whose bytes depend on the arrays alone."""

from typing import Any

from kedro_datasets._typing import JSONPreview

from skytrace.compute.arrays import load_npz, save_npz
from skytrace.datasets.versioned_file import VersionedFile

__all__ = ["NPZDataset"]


class NPZDataset(VersionedFile):
    """A dict of arrays. ``save_args: {compress: [invvar]}`` names the arrays worth deflating; ``load_args: {stream:
    [stamps]}`` those of stamps (n, band, y, x) that stay on disk and are read by rows, as a StampStore.
    """

    def __init__(
        self,
        *,
        filepath: str,
        save_args: dict[str, Any] | None = None,
        load_args: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(filepath=filepath, **kwargs)
        self._compress = tuple((save_args or {}).get("compress", ()))
        self._stream = tuple((load_args or {}).get("stream", ()))

    def load(self) -> dict[str, Any]:
        """Every array, by name."""
        path = self.load_path()
        arrays: dict[str, Any] = load_npz(path, leave=self._stream)
        if self._stream:
            from skytrace.learning.store import StampStore

            arrays |= {name: StampStore.open([path], member=name) for name in self._stream}
        return arrays

    def save(self, data: dict[str, Any]) -> None:
        """Write the arrays, whole or not at all; a StampStore among them passes through memory in pieces."""
        save_npz(self.save_path(), compress=[name for name in self._compress if name in data], **data)

    def preview(self) -> JSONPreview:
        """Names, shapes and types: what Kedro-Viz shows."""
        import json

        shapes = {name: f"{array.dtype} {array.shape}" for name, array in self.load().items()}
        return JSONPreview(json.dumps(shapes))
