"""A posterior as NetCDF whose bytes depend on the draws alone: ArviZ's InferenceData without the time of its making."""

from typing import TYPE_CHECKING, Any

from kedro_datasets._typing import JSONPreview

from skytrace.compute.files import atomic_path
from skytrace.datasets.versioned_file import VersionedFile

if TYPE_CHECKING:
    from arviz import InferenceData

__all__ = ["PosteriorDataset"]

#: What ArviZ writes into every group about the writer and not about the draws.
_ABOUT_THE_WRITER = ("created_at", "creation_library", "creation_library_version", "creation_library_language",
                     "arviz_version", "inference_library_version", "sampling_time")  # fmt: skip


class PosteriorDataset(VersionedFile):
    """arviz.InferenceData in one NetCDF file, deflated; loaded whole, so that the file is closed again."""

    def load(self) -> "InferenceData":
        """All groups, in memory."""
        import arviz

        data = arviz.from_netcdf(str(self.load_path()), engine="h5netcdf")
        for group in data.groups():
            data[group].load()
            data[group].close()
        return data

    def save(self, data: "InferenceData") -> None:
        """Write the groups in alphabetical order, whole or not at all."""
        with atomic_path(self.save_path()) as partial:
            for number, group in enumerate(sorted(data.groups())):
                content = data[group].copy()
                content.attrs = {
                    name: value for name, value in sorted(content.attrs.items()) if name not in _ABOUT_THE_WRITER
                }
                encoding: dict[Any, Any] = {
                    name: {"zlib": True, "complevel": 4} for name, values in content.variables.items()
                    if values.dtype.kind in "fiu" and values.ndim > 0
                }  # fmt: skip
                content.to_netcdf(
                    partial, mode="a" if number else "w", group=group, engine="h5netcdf", encoding=encoding
                )

    def preview(self) -> JSONPreview:
        """Groups with the names and shapes of their variables: what Kedro-Viz shows."""
        import json

        data = self.load()
        groups = {
            group: {str(name): list(values.shape) for name, values in data[group].data_vars.items()}
            for group in data.groups()
        }
        return JSONPreview(json.dumps(groups))
