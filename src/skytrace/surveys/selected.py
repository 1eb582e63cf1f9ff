"""The selected galaxies of any survey: in memory, or in partitions where its catalogue is too large for that.

A survey with an attribute ``catalogue`` that is a HatsCatalogue is selected partition by partition, as shards; the
rows, values and ledger are those of ``sky.select_galaxies`` of all its rows.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, atomic_path, fingerprint, map_shards
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import is_whole, read_shard, save_shard
from skytrace.errors import CatalogueError, OptionError, SurveyError
from skytrace.sky.identifiers import is_among
from skytrace.sky.partitions import join_ledgers, join_selections, margin_needed_arcsec, select_partition
from skytrace.sky.selection import SelectionOptions, check_lenses, select_galaxies
from skytrace.surveys.hats_catalogue import HatsCatalogue, Partition
from skytrace.surveys.interface import ImagingSurvey, check_galaxies

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SelectedPartitions", "galaxies_of", "select_in_partitions", "selected_galaxies"]

_COMPUTED_BY = (
    __name__, "skytrace.sky", "skytrace.surveys.hats_catalogue", "skytrace.imaging.photometry",
    "skytrace.compute.table_shards",
)  # fmt: skip


def selected_galaxies(
    survey: ImagingSurvey,
    *,
    options: SelectionOptions | None = None,
    cluster: ClusterOptions | None = None,
    folder: str | Path = "",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sample and the ledger of ``sky.select_galaxies``. cluster, folder: of the shards, where the survey's
    catalogue is read in partitions; folder "" is a temporary one.
    """
    catalogue = getattr(survey, "catalogue", None)
    if catalogue is None:
        galaxies = check_galaxies(survey.galaxies(), source=survey.name)
        return select_galaxies(galaxies, survey.lenses(), options=options)
    cluster = cluster or ClusterOptions()
    if folder:
        return select_in_partitions(
            catalogue, survey.lenses(), options=options, cluster=cluster, folder=folder
        ).joined()
    if cluster.cluster not in ("inline", "local"):
        raise OptionError(f"cluster = {cluster.cluster!r} needs a folder for the shards that all workers see")
    with tempfile.TemporaryDirectory(prefix="skytrace-selection-") as own:
        return select_in_partitions(catalogue, survey.lenses(), options=options, cluster=cluster, folder=own).joined()


def galaxies_of(survey: ImagingSurvey, galaxy_ids: Sequence[str]) -> pd.DataFrame:
    """The catalogue's rows of some galaxies, not in their order; what the survey does not hold is left out."""
    catalogue = getattr(survey, "catalogue", None)
    if catalogue is not None:
        return catalogue.rows_of(galaxy_ids)
    galaxies = survey.galaxies()
    return galaxies[is_among(galaxies["galaxy_id"], galaxy_ids)]


@dataclass(frozen=True)
class SelectionShard:
    """A partition, and the file of what is selected of it; ``ledger`` beside it is written first."""

    path: Path
    partition: Partition

    @property
    def ledger(self) -> Path:
        """Ledger of the filters, and the lenses' galaxies that are in the partition."""
        return self.path.with_suffix(".json")


@dataclass(frozen=True)
class SelectedPartitions:
    """Samples by partition on disk; iterating, as often as you like, reads them in turn (``stratify_chunks``)."""

    shards: tuple[SelectionShard, ...]
    ledger: pd.DataFrame

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for shard in self.shards:
            sample = read_shard(shard.path)
            if len(sample):
                yield sample

    def joined(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The whole sample in memory, and the ledger."""
        return join_selections(self), self.ledger


def select_in_partitions(
    catalogue: HatsCatalogue,
    lenses: pd.DataFrame,
    *,
    options: SelectionOptions | None = None,
    cluster: ClusterOptions,
    folder: str | Path,
) -> SelectedPartitions:
    """Select every partition in a shard of its own. lenses: LENS_COLUMNS of the whole survey.

    A worker holds one partition. Raises CatalogueError where the margins do not reach as far as the filters look, on a
    lens of an unknown galaxy, and where nothing is left.
    """
    options = options or SelectionOptions()
    check_lenses(lenses)
    needed = margin_needed_arcsec(options)
    if catalogue.margin_arcsec < needed:
        has = f'margins of {catalogue.margin_arcsec:g}"' if catalogue.margin_arcsec else "no margins"
        raise CatalogueError(
            f'{catalogue.folder} has {has}, and neighbours count to {needed:g}" (confusers.merger_separation_arcsec): '
            f"give the folder of a margin catalogue of {needed:g} arcsec or more, such as hats-import or LSDB write"
        )
    into = Path(folder) / f"selection-{_key(catalogue, lenses, options)}"
    shards = tuple(SelectionShard(into / f"{one.name}.parquet", one) for one in catalogue.partitions)
    for shard in shards:
        if shard.path.exists() and not (shard.ledger.exists() and is_whole(shard.path)):
            logging.getLogger(__name__).warning("%s is damaged and is computed again", shard.path)
            shard.path.unlink()
    compute = partial(
        select_shard, catalogue=dataclasses.replace(catalogue, partitions=()), lenses=lenses, options=options
    )
    map_shards(compute, shards, cluster=cluster, description="partitions")
    told = [json.loads(shard.ledger.read_text(encoding="utf-8")) for shard in shards]
    named = set(lenses["galaxy_id"].astype(str)) - {""}
    unknown = sorted(named - {name for one in told for name in one["lens_galaxies"]})
    if unknown:
        raise CatalogueError(f"{len(unknown)} lens(es) name an unknown galaxy, the first {unknown[0]!r}")
    return SelectedPartitions(shards, join_ledgers([pd.DataFrame(one["ledger"]) for one in told]))


def select_shard(
    shard: SelectionShard, *, catalogue: HatsCatalogue, lenses: pd.DataFrame, options: SelectionOptions
) -> Path:
    """Read a partition with its margin, select, and write both files of the shard."""
    galaxies = catalogue.read(shard.partition)
    sample, ledger = select_partition(galaxies, catalogue.read_margin(shard.partition), lenses, options=options)
    present = lenses["galaxy_id"][is_among(lenses["galaxy_id"], galaxies["galaxy_id"])].unique().tolist()
    with atomic_path(shard.ledger) as path:
        path.write_text(json.dumps({"ledger": ledger.to_dict("list"), "lens_galaxies": present}), encoding="utf-8")
    save_shard(sample, shard.path)
    return shard.path


def _key(catalogue: HatsCatalogue, lenses: pd.DataFrame, options: SelectionOptions) -> str:
    """Name of the folder of the shards: other files, lenses, options or sources have another."""
    files = [file for one in catalogue.partitions for file in (one.file, one.margin) if file is not None]
    return fingerprint(
        source_fingerprint(*_COMPUTED_BY), [str(file) for file in files], np.array([_stamp(file) for file in files]),
        catalogue.stored, catalogue.margin_arcsec, catalogue.mag_z_limit, catalogue.sky_box_deg, lenses, options,
    )  # fmt: skip


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of a file, or of the files of a folder."""
    try:
        files: list[Any] = sorted(file.iterdir()) if file.is_dir() else [file]
        found = [one.stat() for one in files]
    except OSError as error:
        raise SurveyError(f"{file} is in the catalogue's list of partitions and cannot be read: {error}") from error
    return sum(one.st_size for one in found), max(one.st_mtime_ns for one in found)
