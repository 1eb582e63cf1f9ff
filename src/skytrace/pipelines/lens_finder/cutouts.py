"""From galaxies to stamps on disk, a shard per chunk of cutouts: a killed run goes on where it stopped.

The shards' folder is named by a fingerprint of everything they depend on but the raw sky itself: the sample's rows, the
survey's options, ours, and the sources. Against raw files that were exchanged under a killed run, each shard keeps the
fingerprint of one of its cutouts, which is read again before the shard is believed.
"""

import dataclasses
import logging
import shutil
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skytrace.compute import ClusterOptions, fingerprint, load_npz, map_shards, save_npz
from skytrace.compute.fingerprint import source_fingerprint
from skytrace.compute.table_shards import read_shard, save_shard
from skytrace.errors import CatalogueError, OptionError, PixelError, ShardError, SurveyError
from skytrace.imaging import PreprocessOptions, preprocess
from skytrace.imaging.psf import MoffatPsf
from skytrace.imaging.quality import QualityOptions, check_flux_unit, cutout_quality, quality_flags
from skytrace.learning.store import StampStore
from skytrace.pipelines.lens_finder.options import CutoutOptions
from skytrace.surveys.interface import BANDS, CutoutBatch, ImagingSurvey

__all__ = ["REFUSED", "Cutting", "cut"]

#: First word of the reason of a cutout that the survey did not give.
REFUSED = "refused"
_COMPUTED_BY = (__name__, "skytrace.surveys", "skytrace.imaging", "skytrace.compute")
_FLUXES = tuple(f"flux_{band}" for band in BANDS)


@dataclass(frozen=True)
class Cutting:
    """What is cut out of which survey, and how the stamps are judged and prepared."""

    survey: ImagingSurvey
    sample: pd.DataFrame
    preprocessing: PreprocessOptions
    quality: QualityOptions
    cutouts: CutoutOptions

    def key(self) -> str:
        """Name of the folder of the shards: another survey, sample, option or source has another."""
        options = getattr(self.survey, "options", None)
        return fingerprint(
            source_fingerprint(*_COMPUTED_BY), self.survey.name,
            options if dataclasses.is_dataclass(options) else None,
            self.sample, self.preprocessing, self.quality, self.cutouts.size, self.cutouts.chunk,
        )  # fmt: skip

    @property
    def refusals_allowed(self) -> int:
        """Cutouts of the whole sample that the survey may refuse."""
        return int(self.cutouts.refused_share_max * len(self.sample))


@dataclass(frozen=True)
class Shard:
    """Rows start to stop of the sample. path: of its quality table, written last; stamps: of its accepted stamps."""

    path: Path
    start: int
    stop: int

    @property
    def stamps(self) -> Path:
        """Beside the table, under the same name."""
        return self.path.with_suffix(".npz")


class _Scratch:
    """A folder that is removed when nothing refers to it any more, or when Python ends; one object a folder."""

    def __init__(self, folder: Path) -> None:
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @classmethod
    def of(cls, folder: Path) -> "_Scratch":
        """The owner of ``folder``: two readers of one folder share it."""
        owner = _ALIVE.get(folder.absolute())
        if owner is None:
            owner = _ALIVE[folder.absolute()] = cls(folder)
        return owner


_ALIVE: weakref.WeakValueDictionary[Path, _Scratch] = weakref.WeakValueDictionary()


def cut(cutting: Cutting, cluster: ClusterOptions | None = None) -> tuple[StampStore, pd.DataFrame]:
    """Stamps of every cutout that passes quality control, on disk, and the quality table of all, in the sample's order.

    Columns beyond those of ``cutout_quality``: accepted, reject_reasons ("refused: ..." where the survey gave no
    cutout). A worker holds no more than a chunk. Raises CatalogueError where the survey refuses more than
    refused_share_max, or where nothing is accepted; PixelError, after the first chunk, where pixels and catalogue
    differ in unit; SurveyError where shards of an earlier run cannot be compared with the survey; OptionError for more
    than one worker on a survey that fetches its cutouts. The folder of the stamps goes with the last store of it.
    """
    cluster = cluster or ClusterOptions(workers=1)
    _check_alone(cutting.survey, cluster)
    if expect := getattr(cutting.survey, "expect", None):
        expect([str(name) for name in cutting.sample["galaxy_id"]])
    n, chunk = len(cutting.sample), cutting.cutouts.chunk
    folder = Path(cutting.cutouts.scratch_folder) / f"stamps-{cutting.key()}"
    shards = [
        Shard(folder / f"shard-{start // chunk:05d}.parquet", start, min(start + chunk, n))
        for start in range(0, n, chunk)
    ]
    refused = 0
    for shard in shards:
        if shard.path.exists() and not _is_ours(shard, cutting):
            logging.getLogger(__name__).warning("%s is damaged or of other pixels and is cut again", shard.path)
            shard.path.unlink()
        elif shard.path.exists():
            refused += len(_refusals(read_shard(shard.path)))
    try:
        paths = map_shards(_cutter(cutting, refused, cluster), shards, cluster=cluster, description="cutouts")
        table = pd.concat([read_shard(path) for path in paths], ignore_index=True)
        if len(refusals := _refusals(table)) > cutting.refusals_allowed:  # of several workers, each within the limit
            raise _too_many(cutting, len(refusals), refusals.iloc[-1])
    except CatalogueError:
        _forget_refusals(shards)
        raise
    if not table["accepted"].any():
        raise CatalogueError(f"quality control rejected all {n} cutouts: {table['reject_reasons'].iloc[-1]}, for one")
    check_flux_unit(table)
    store = StampStore.open([shard.stamps for shard in shards])
    return replace(store, owner=_Scratch.of(folder)), table


def _check_alone(survey: ImagingSurvey, cluster: ClusterOptions) -> None:
    if getattr(survey, "fetches", False) and (cluster.cluster != "inline" or cluster.workers > 1):
        raise OptionError(
            f"cluster = {cluster.cluster!r} with {cluster.workers} workers: {survey.name} fetches cutouts at a rate "
            "that holds for one process; allowed is inline with workers: 1, or a survey whose pixels are on disk"
        )


def _cutter(cutting: Cutting, refused: int, cluster: ClusterOptions) -> Callable[[Shard], object]:
    """The function of a shard. In this process a shard may refuse what those before it have left; elsewhere what was
    left when the run began, and the sum is judged at the end.
    """
    if cluster.cluster != "inline":
        return partial(_cut_shard, cutting=cutting, allowed=cutting.refusals_allowed - refused)

    def cut_shard(shard: Shard) -> None:
        """Both files of a shard, and the count of what is refused so far."""
        nonlocal refused
        refused += _cut_shard(shard, cutting, allowed=cutting.refusals_allowed - refused)

    return cut_shard


def _too_many(cutting: Cutting, refused: int, last: object) -> CatalogueError:
    n, limit = len(cutting.sample), cutting.refusals_allowed
    return CatalogueError(
        f"{cutting.survey.name} refused {refused} cutouts, and {limit} of {n} may be "
        f"missing (refused_share_max = {cutting.cutouts.refused_share_max:g}); the last: {last}"
    )


def _cut_shard(shard: Shard, cutting: Cutting, *, allowed: int) -> int:
    """Write both files of a shard; the number of cutouts that were refused, CatalogueError beyond ``allowed``."""
    sample = cutting.sample.iloc[shard.start : shard.stop]
    ids = [str(name) for name in sample["galaxy_id"]]
    batch, refusals = _given(cutting, ids, allowed=allowed)
    table = cutout_quality(batch, preprocess_options=cutting.preprocessing)
    table = table.assign(**{name: sample[name].to_numpy() for name in _FLUXES})
    flags = quality_flags(table, options=cutting.quality)
    reasons = [refusals.get(name, str(reason)) for name, reason in zip(ids, flags["reasons"], strict=True)]
    keep = flags["accepted"].to_numpy(dtype=bool) & ~np.isin(ids, list(refusals))
    if shard.start == 0:  # hours of cutouts in another unit would be for nothing
        check_flux_unit(table)
    if keep.any():
        stamps = preprocess(batch.image[keep], batch.invvar[keep], options=cutting.preprocessing)
    else:
        crop = cutting.preprocessing.crop
        stamps = np.empty((0, len(BANDS), crop, crop), dtype=np.float32)
    known = next((row for row, name in enumerate(ids) if name not in refusals), None)
    witness = [] if known is None else [ids[known], _witness(batch, known)]
    save_npz(shard.stamps, stamps=stamps, witness=np.array(witness, dtype=str))
    save_shard(table.assign(accepted=keep, reject_reasons=reasons), shard.path)
    return len(refusals)


def _given(cutting: Cutting, ids: list[str], *, allowed: int) -> tuple[CutoutBatch, dict[str, str]]:
    """The cutouts of ``ids``, in order and without data where the survey refuses, and why it does, by galaxy_id."""
    survey, size = cutting.survey, cutting.cutouts.size
    try:
        return survey.cutouts(ids, size=size), {}
    except (SurveyError, PixelError):
        refusals = {}
    for name in ids:  # one of them spoils the batch: which?
        try:
            survey.cutouts([name], size=size)
        except (SurveyError, PixelError) as error:
            refusals[name] = f"{REFUSED}: {error}"
            if len(refusals) > allowed:
                refused = cutting.refusals_allowed - allowed + len(refusals)
                raise _too_many(cutting, refused, error) from error
    good = [row for row, name in enumerate(ids) if name not in refusals]
    image = np.full((len(ids), len(BANDS), size, size), np.nan, dtype=np.float32)
    invvar, maskbits = np.zeros_like(image), np.zeros((len(ids), size, size), dtype=np.int32)
    if good:
        batch = survey.cutouts([ids[row] for row in good], size=size)
        image[good], invvar[good], maskbits[good] = batch.image, batch.invvar, batch.maskbits
    no_psf = MoffatPsf(np.ones((len(ids), len(BANDS))))  # quality and stamps need none
    return CutoutBatch(np.array(ids), image, invvar, maskbits, no_psf), refusals


def _refusals(table: pd.DataFrame) -> pd.Series:
    return table.loc[table["reject_reasons"].str.startswith(REFUSED), "reject_reasons"]


def _forget_refusals(shards: list[Shard]) -> None:
    """What was refused too often is asked for again by the next run."""
    for shard in shards:
        if shard.path.exists() and len(_refusals(read_shard(shard.path))):
            shard.path.unlink()


def _witness(batch: CutoutBatch, row: int) -> str:
    return fingerprint(batch.image[row], batch.invvar[row], length=64)


def _is_ours(shard: Shard, cutting: Cutting) -> bool:
    """Whether both files are whole, and the survey still gives the pixels that the shard was made from.

    Raises SurveyError naming the folder where the survey gives no pixels to compare.
    """
    try:
        table = read_shard(shard.path)
        stored = StampStore.open([shard.stamps])
        witness = load_npz(shard.stamps)["witness"]  # all of it: stamps are mapped afterwards, past their checksum
    except (ShardError, PixelError, FileNotFoundError, ValueError, KeyError):
        return False
    if len(table) != shard.stop - shard.start or len(stored) != int(table["accepted"].sum()):
        return False
    if not len(witness):
        return True
    try:
        batch: Any = cutting.survey.cutouts([str(witness[0])], size=cutting.cutouts.size)
    except (SurveyError, PixelError) as error:  # hours of cutouts are not thrown away because a server is down
        folder = shard.path.parent
        raise SurveyError(
            f"{folder} holds cutouts of an earlier run, and {cutting.survey.name} no longer gives {witness[0]}, by "
            f"which {shard.path.name} is known again: {error}. Run again when the survey answers, or, where its "
            f"files were exchanged, delete {folder}: every cutout is then made anew"
        ) from error
    return _witness(batch, 0) == str(witness[1])
