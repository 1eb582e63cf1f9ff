"""A matplotlib figure as PNG, without the name and version of the program that drew it: the same bytes every time."""

import base64
from typing import TYPE_CHECKING, Any

from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FigureDataset"]


class FigureDataset(VersionedFile):
    """A figure, write-only; ``save_args`` go to Figure.savefig (default 200 dpi)."""

    def __init__(self, *, filepath: str, save_args: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(filepath=filepath, **kwargs)
        self._save_args = {"dpi": 200, "metadata": {"Software": None}, **(save_args or {})}

    def load(self) -> "Figure":
        """Always an error: pixels are not a figure."""
        raise DatasetError(f"{self._filepath} is a picture; draw the figure again from its tables")

    def save(self, data: "Figure") -> None:
        """Draw the figure, and let go of it."""
        import matplotlib.pyplot as plt

        with atomic_path(self.save_path()) as partial:
            data.savefig(partial, **self._save_args)
        plt.close(data)

    def preview(self) -> ImagePreview:
        """The picture itself: what Kedro-Viz shows. Of a PDF, which it cannot show, nothing."""
        if self._save_args.get("format", "png") != "png":
            return ImagePreview("")
        return ImagePreview(base64.b64encode(self.load_path().read_bytes()).decode())
