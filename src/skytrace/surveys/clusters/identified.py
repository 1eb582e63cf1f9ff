"""Multiple images behind clusters and the members before them, as somebody identified them: what a lens model needs.

No search of ours identifies images. On a real sky they come from tables that people made from deep images and spectra;
in the mock they are what such people would list, computed from the mock's own mass and sources, with errors. They are
for modelling candidates that have been chosen already, and nothing that learns, ranks or calibrates may read them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from skytrace.compute.parquet import read_parquet
from skytrace.errors import CatalogueError, SurveyError, check_between, check_names, check_whole, reading
from skytrace.surveys.clusters.field_mass import deflection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from skytrace.clusters.modelling_options import ClusterLensOptions
    from skytrace.surveys.clusters.options import MockClusterOptions

__all__ = [
    "IDENTIFIED_COLUMNS", "MEMBER_COLUMNS", "ClusterImages", "IdentifyOptions", "ImageTables", "MockClusterImages",
]  # fmt: skip

#: One row an image: arcsec from the BCG along x (columns) and y (rows) of the cutout with its error, family (images of
#: one source), redshift of the source, ln of the flux with its error (NaN: not measured).
IDENTIFIED_COLUMNS = (
    "cluster_id", "family", "x_arcsec", "y_arcsec", "position_err_arcsec", "z_source", "log_flux", "log_flux_err",
)  # fmt: skip
#: One row a member galaxy: place as above, luminosity in L*. The first of a cluster is its brightest.
MEMBER_COLUMNS = ("cluster_id", "x_arcsec", "y_arcsec", "luminosity")
_STREAM = 62
_ARCSEC_OF_CENTRE = 1.5  # images this near to the BCG's middle are lost in its light


@runtime_checkable
class ClusterImages(Protocol):
    """A source of identified images."""

    def images(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """IDENTIFIED_COLUMNS of these clusters; no row of one without."""
        ...

    def members(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """MEMBER_COLUMNS of these clusters."""
        ...

    def truth(self, cluster_ids: Sequence[str], *, options: ClusterLensOptions) -> pd.DataFrame:
        """cluster_id, einstein_radius_arcsec and mass_msun within the tangential critical curve for a source at
        options.z_reference, of a simulated sky; of a real one no row.
        """
        ...


@dataclass(frozen=True)
class IdentifyOptions:
    """Which images of the mock count as identified, by default in space-based images and spectra of the candidates,
    far beyond what the cutouts of the search show. faintest_mag_i: of an image (AB). least_images: of a family.
    most_families: of a cluster, the brightest by their faintest image. separation_arcsec: of two images of a family.
    least_magnified, most_magnified: fainter counter-images are not seen; brighter ones are arcs, not points.
    position_err_arcsec, log_flux_err: the errors, which are Gaussian. least_luminosity: of members [L*].
    """

    faintest_mag_i: float = 26.0
    least_images: int = 2
    most_families: int = 7
    separation_arcsec: float = 0.5
    least_magnified: float = 0.6
    most_magnified: float = 60.0
    position_err_arcsec: float = 0.1
    log_flux_err: float = 0.2
    least_luminosity: float = 0.1

    def __post_init__(self) -> None:
        check_between("faintest_mag_i", self.faintest_mag_i, 15.0, 35.0)
        check_whole("least_images", self.least_images, 2, 20)
        check_whole("most_families", self.most_families, 1, 1000)
        check_between("separation_arcsec", self.separation_arcsec, 0.0, 10.0)
        check_between("least_magnified", self.least_magnified, 0.0, 10.0)
        check_between("most_magnified", self.most_magnified, 10.0, 1e6)
        check_between("position_err_arcsec", self.position_err_arcsec, 1e-3, 5.0)
        check_between("log_flux_err", self.log_flux_err, 1e-3, 2.0)
        check_between("least_luminosity", self.least_luminosity, 0.0, 10.0)


class MockClusterImages:
    """What would be identified in the mock of these options, if every member and every redshift were known."""

    name = "mock_cluster_images"

    def __init__(self, options: MockClusterOptions, identify: IdentifyOptions | None = None) -> None:
        self.options, self.identify = options, identify or IdentifyOptions()

    @classmethod
    def from_mappings(cls, clusters: Mapping[str, Any], identify: Mapping[str, Any]) -> MockClusterImages:
        """Of plain mappings (a catalog entry); raises OptionError naming a key that does not exist."""
        from skytrace.surveys.clusters.options import MockClusterOptions

        check_names("identified images", identify, [f.name for f in dataclasses.fields(IdentifyOptions)])
        return cls(MockClusterOptions.from_mapping(clusters), IdentifyOptions(**identify))

    def images(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """IDENTIFIED_COLUMNS. Raises SurveyError naming an unknown cluster."""
        tables = [self._images_of(row) for row in self._rows(cluster_ids)]
        return pd.concat([_no_rows(IDENTIFIED_COLUMNS), *tables], ignore_index=True)

    def members(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """MEMBER_COLUMNS. Raises SurveyError naming an unknown cluster."""
        from skytrace.imaging.photometry import flux_nmgy
        from skytrace.surveys.clusters.red_sequence import star_mag_i

        tables = [_no_rows(MEMBER_COLUMNS)]
        for row in self._rows(cluster_ids):
            field = self._field(row)
            n = len(field.subhalos) + 1  # the BCG has no subhalo; what is projected comes after the members
            light = field.foreground.flux[:n, 2] / flux_nmgy(star_mag_i(row["z_lens"]))
            place = field.foreground.x[:n], field.foreground.y[:n]
            table = pd.DataFrame(dict(zip(MEMBER_COLUMNS, (row["cluster_id"], *place, light), strict=True)))
            seen = (light >= self.identify.least_luminosity) | (np.arange(n) == 0)
            tables.append(table[seen])
        return pd.concat(tables, ignore_index=True)

    def truth(self, cluster_ids: Sequence[str], *, options: ClusterLensOptions) -> pd.DataFrame:
        """Einstein radius and mass of the mock's own deflection, defined as in ``clusters.modelling_derived``."""
        from skytrace.clusters.modelling_derived import tangential_outline, within_outline
        from skytrace.clusters.modelling_images import critical_mass_per_arcsec2, distance_ratio

        found = []
        axis = np.linspace(-1.5, 1.5, 301) * 0.5 * self.options.pixels * self.options.pixel_scale_arcsec
        x, y = np.meshgrid(axis, axis)
        for row in self._rows(cluster_ids):
            z_lens, z_reference = row["z_lens"], options.z_reference
            ratio = distance_ratio(z_lens, z_reference, options=options)
            ratio = ratio / distance_ratio(z_lens, row["z_source"], options=options)
            alpha_x, alpha_y = (ratio * part for part in deflection(x, y, row, self._field(row)))
            (a_xy, a_xx), (a_yy, a_yx) = (np.gradient(part, axis, axis) for part in (alpha_x, alpha_y))
            kappa, shear = 0.5 * (a_xx + a_yy), np.hypot(0.5 * (a_xx - a_yy), 0.5 * (a_xy + a_yx))
            area, mass = within_outline(tangential_outline(1.0 - kappa - shear, axis), axis, alpha_x, alpha_y)
            unit = critical_mass_per_arcsec2(z_lens, z_reference, options=options)
            found.append((row["cluster_id"], np.sqrt(area / np.pi), unit * mass))
        return pd.DataFrame(found, columns=["cluster_id", "einstein_radius_arcsec", "mass_msun"])

    def _rows(self, cluster_ids: Sequence[str]) -> list[dict[str, Any]]:
        from skytrace.surveys.clusters.population import simulate_clusters

        names = [str(name) for name in cluster_ids]
        try:
            numbers = np.array([int(name.removeprefix("mock-")) for name in names], dtype=np.int64)
        except ValueError as error:
            raise SurveyError(f"the images of the mock know no cluster of this name: {error}") from error
        table = simulate_clusters(numbers, options=self.options)
        unknown = [name for name, own in zip(names, table["cluster_id"], strict=True) if name != own]
        if unknown or (numbers >= self.options.n_clusters).any():
            raise SurveyError(f"mock clusters have no cluster {(unknown or names)[0]!r}")
        rows: list[Any] = table.to_dict("records")
        return rows

    def _field(self, row: Mapping[str, Any]) -> Any:
        from skytrace.surveys.clusters.galaxies import draw_field
        from skytrace.surveys.clusters.rendering import FIELD_STREAM

        rng = np.random.default_rng([self.options.seed, FIELD_STREAM, int(row["number"])])  # that of its pixels
        return draw_field(row, self._half_arcsec, rng, red_projection_share=self.options.red_projection_share)

    @property
    def _half_arcsec(self) -> float:
        return 0.5 * self.options.pixels * self.options.pixel_scale_arcsec

    def _images_of(self, row: Mapping[str, Any]) -> pd.DataFrame:
        from skytrace.imaging.photometry import flux_nmgy
        from skytrace.lensing.image_positions import image_positions

        field, rule = self._field(row), self.identify
        behind = field.behind
        found = image_positions(
            partial(deflection, row=row, field=field), behind.x, behind.y, half_width_arcsec=self._half_arcsec
        )
        mu = np.abs(found.magnification)
        flux = behind.flux[found.source, 2] * mu
        seen = (flux > flux_nmgy(rule.faintest_mag_i)) & (mu > rule.least_magnified)
        seen &= np.hypot(found.x, found.y) > _ARCSEC_OF_CENTRE
        chosen = []
        for source in np.unique(found.source[seen]):
            mine = np.flatnonzero(seen & (found.source == source))
            gaps = np.hypot(found.x[mine][:, None] - found.x[mine], found.y[mine][:, None] - found.y[mine])
            apart = (gaps + 1e3 * np.eye(len(mine))).min() > rule.separation_arcsec
            if len(mine) >= rule.least_images and apart and mu[mine].max() < rule.most_magnified:
                chosen.append(mine)
        chosen = sorted(chosen, key=lambda mine: -flux[mine].min())[: rule.most_families]
        rng = np.random.default_rng([self.options.seed, _STREAM, int(row["number"])])
        rows = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
        x, y, light = rng.standard_normal((3, len(rows)))
        return pd.DataFrame(
            {
                "cluster_id": row["cluster_id"],
                "family": np.repeat(np.arange(len(chosen)), [len(mine) for mine in chosen]),
                "x_arcsec": found.x[rows] + rule.position_err_arcsec * x,
                "y_arcsec": found.y[rows] + rule.position_err_arcsec * y,
                "position_err_arcsec": rule.position_err_arcsec, "z_source": row["z_source"],
                "log_flux": np.log(flux[rows]) + rule.log_flux_err * light, "log_flux_err": rule.log_flux_err,
            }
        )  # fmt: skip


class ImageTables:
    """Tables of images and members (CSV or Parquet) in a folder, with the columns of the mock's."""

    name = "image_tables"

    def __init__(self, folder: Path, *, images: str = "images.csv", members: str = "members.csv") -> None:
        self._paths = {IDENTIFIED_COLUMNS: folder / images, MEMBER_COLUMNS: folder / members}

    @property
    def files_read(self) -> set[Path]:
        """Both tables."""
        return set(self._paths.values())

    def images(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """IDENTIFIED_COLUMNS. Raises CatalogueError naming a column that is missing."""
        return self._read(IDENTIFIED_COLUMNS, cluster_ids)

    def members(self, cluster_ids: Sequence[str]) -> pd.DataFrame:
        """MEMBER_COLUMNS, the brightest of each cluster first."""
        table = self._read(MEMBER_COLUMNS, cluster_ids)
        return table.sort_values(["cluster_id", "luminosity"], ascending=[True, False], ignore_index=True)

    def truth(self, cluster_ids: Sequence[str], *, options: ClusterLensOptions) -> pd.DataFrame:
        """No row: nobody knows."""
        return pd.DataFrame(columns=["cluster_id", "einstein_radius_arcsec", "mass_msun"])

    def _read(self, columns: tuple[str, ...], cluster_ids: Sequence[str]) -> pd.DataFrame:
        path = self._paths[columns]
        with reading(path, "a table of images or members", CatalogueError):
            table = read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"cluster_id": str})
        missing = [name for name in columns if name not in table]
        if missing:
            raise CatalogueError(f"{path} lacks columns {', '.join(missing)}; a table of this kind has {columns}")
        return table.loc[table["cluster_id"].astype(str).isin(list(cluster_ids)), list(columns)].reset_index(drop=True)


def _no_rows(columns: tuple[str, ...]) -> pd.DataFrame:
    kinds = {"cluster_id": str, "family": np.int64}
    return pd.DataFrame({name: np.zeros(0, dtype=kinds.get(name, np.float64)) for name in columns})
