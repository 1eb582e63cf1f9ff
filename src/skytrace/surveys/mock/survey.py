"""The built-in survey on disk: written once, whole, under its folder, and read back shard by shard.

Files: galaxies.parquet, lenses.parquet, truth.parquet, shards/shard-00000.npz ... and survey.json, written last, which
says from which options and with which version of the recipe the rest was made.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from skytrace.compute.arrays import load_npz, save_npz
from skytrace.compute.files import atomic_path
from skytrace.compute.fingerprint import fingerprint
from skytrace.compute.progress import progress
from skytrace.compute.threads import single_threaded
from skytrace.errors import AccessError, ShardError, SurveyError, check_between
from skytrace.imaging.psf import MoffatPsf
from skytrace.surveys.interface import BANDS, CutoutBatch, check_galaxies
from skytrace.surveys.mock.conditions import PSF_BETA
from skytrace.surveys.mock.options import MockSurveyOptions
from skytrace.surveys.mock.rendering import STAMP_PIXELS, render_stamps
from skytrace.surveys.mock.sky import MockSky, draw_sky

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["RECIPE", "MockSurvey"]

#: Raised whenever the same options would give another sky.
RECIPE = 7
_CACHED_SHARDS = 4
_MARKER = "survey.json"
_TABLES = ("galaxies", "lenses", "truth")


class MockSurvey:
    """An ImagingSurvey whose sky is computed on first use and kept under ``folder``.

    A folder made from other options, or left incomplete, is made anew; a folder that holds anything else is refused,
    because making the survey replaces the folder's tables and shards. ``threads`` changes speed only.
    """

    name = "mock"
    #: What a reader of results must know about this sky.
    note = (
        "a built-in mock sky: it shows that the machinery measures what it should, and is the completeness of no search"
    )

    def __init__(self, folder: str | os.PathLike, options: MockSurveyOptions | None = None) -> None:
        self.folder = Path(folder)
        self.options = options or MockSurveyOptions()
        self._tables: dict[str, pd.DataFrame] = {}
        self._place: pd.Index | None = None
        self._shards: OrderedDict[int, dict[str, NDArray]] = OrderedDict()
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple:
        return MockSurvey, (self.folder.absolute(), self.options)  # workers read the files; a lock does not travel

    def galaxies(self) -> pd.DataFrame:
        """One row a galaxy, GALAXY_COLUMNS."""
        return check_galaxies(self._table("galaxies").copy(), source=f"mock survey {self.folder}")

    def lenses(self) -> pd.DataFrame:
        """Discovered lenses, LENS_COLUMNS."""
        return self._table("lenses").copy()

    def truth(self) -> pd.DataFrame:
        """What only the sky knows: category (lens, early, disk, or a kind of confuser), and each lens's parameters.

        For reporting false-positive rates by kind; nothing that trains, selects or injects may read it. There are no
        lenses beyond those of ``lenses()``: candidates that were not discovered were never placed.
        """
        return self._table("truth").copy()

    def cutouts(self, galaxy_ids: Sequence[str], *, size: int = STAMP_PIXELS) -> CutoutBatch:
        """Cutouts in the order asked for, ``size`` <= 101 pixels. Raises SurveyError naming an unknown galaxy."""
        check_between("size", size, 1, STAMP_PIXELS)
        ids = np.asarray(galaxy_ids, dtype=str).reshape(-1)
        rows = self._rows(ids)
        low = STAMP_PIXELS // 2 - size // 2
        image = np.empty((len(ids), len(BANDS), size, size), dtype=np.float32)
        invvar, maskbits = np.empty_like(image), np.empty((len(ids), size, size), dtype=np.int32)
        shards = rows // self.options.shard_size
        window = slice(low, low + size)
        for number in np.unique(shards):
            here = np.flatnonzero(shards == number)
            within = rows[here] % self.options.shard_size
            shard = self._shard(int(number))
            image[here] = shard["image"][within][:, :, window, window]
            invvar[here] = shard["invvar"][within][:, :, window, window]
            maskbits[here] = shard["maskbits"][within][:, window, window]
        return CutoutBatch(ids, image, invvar, maskbits, MoffatPsf(self._fwhm()[rows], PSF_BETA))

    def make(self) -> Path:
        """Make the survey if it is not there, whole, from these options; return its folder."""
        with self._lock:
            if self._is_complete():
                return self.folder
            self._refuse_foreign_folder()
            (self.folder / _MARKER).unlink(missing_ok=True)
            shutil.rmtree(self.folder / "shards", ignore_errors=True)
            self._tables.clear()
            self._shards.clear()
            self._place = None
            with single_threaded():
                self._write(draw_sky(self.options))
        return self.folder

    def _write(self, sky: MockSky) -> None:
        options, n = self.options, self.options.n_galaxies
        starts = range(0, n, options.shard_size)
        bits = np.zeros(n, dtype=np.int32)

        def write_shard(start: int) -> Path:
            stop = min(start + options.shard_size, n)
            arrays = render_stamps(sky, start, stop, options=options)
            bits[start:stop] = arrays["maskbits"][:, STAMP_PIXELS // 2, STAMP_PIXELS // 2]
            ids = sky.galaxies["galaxy_id"].to_numpy()[start:stop].astype(str)
            path = self._shard_path(start // options.shard_size)
            return save_npz(path, compress=("invvar", "maskbits"), galaxy_id=ids, **arrays)

        with ThreadPoolExecutor(options.threads) as pool:
            done = pool.map(write_shard, starts)
            sizes = [
                path.stat().st_size for path in progress(done, total=len(starts), description="mock survey: stamps")
            ]
        galaxies = sky.galaxies.assign(maskbits=bits)
        psf = {f"psf_fwhm_{band}": sky.psf.fwhm_arcsec[:, b] for b, band in enumerate(BANDS)}
        for name, table in zip(_TABLES, (galaxies, sky.lenses, sky.truth.assign(**psf)), strict=True):
            with atomic_path(self.folder / f"{name}.parquet") as partial:
                table.to_parquet(partial, index=False, compression="zstd")
        marker = {"recipe": RECIPE, "fingerprint": self._fingerprint(), "options": options.sky(), "shard_bytes": sizes}
        with atomic_path(self.folder / _MARKER) as partial:
            partial.write_text(json.dumps(marker, indent=1, sort_keys=True) + "\n")

    def _fingerprint(self) -> str:
        return fingerprint(RECIPE, self.options.sky())

    def _shard_path(self, number: int) -> Path:
        return self.folder / "shards" / f"shard-{number:05d}.npz"

    def _is_complete(self) -> bool:
        try:
            marker = json.loads((self.folder / _MARKER).read_text())
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return False
        if not isinstance(marker, dict) or marker.get("fingerprint") != self._fingerprint():
            return False
        sizes = marker.get("shard_bytes", [])
        paths = [self._shard_path(number) for number in range(len(sizes))]
        shards = all(path.is_file() and path.stat().st_size == size for path, size in zip(paths, sizes, strict=True))
        return shards and all((self.folder / f"{name}.parquet").is_file() for name in _TABLES)

    def _refuse_foreign_folder(self) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise SurveyError(f"{self.folder} is a file; the mock survey needs a folder of its own")
        own = {_MARKER, "shards", *(f"{name}.parquet" for name in _TABLES)}
        foreign = sorted(p.name for p in self.folder.iterdir() if p.name not in own and not p.name.startswith("."))
        if foreign:
            raise SurveyError(
                f"{self.folder} holds {', '.join(foreign[:3])}, which no mock survey wrote; "
                "give the survey a folder of its own, or empty this one"
            )

    def _table(self, name: str) -> pd.DataFrame:
        import pandas as pd

        with self._lock:
            if name not in self._tables:
                path = self.make() / f"{name}.parquet"
                try:
                    self._tables[name] = pd.read_parquet(path)
                except (OSError, ValueError) as error:
                    raise SurveyError(f"{path} cannot be read ({error}); delete {self.folder} and run again") from error
            return self._tables[name]

    def _rows(self, ids: NDArray[np.str_]) -> NDArray[np.int64]:
        import pandas as pd

        with self._lock:
            if self._place is None:  # hashed once, not for every cutout
                self._place = pd.Index(self._table("galaxies")["galaxy_id"].to_numpy())
        rows = self._place.get_indexer(pd.Index(ids))
        if (rows < 0).any():
            raise SurveyError(f"mock survey {self.folder} has no galaxy {str(ids[rows < 0][0])!r}")
        return rows

    def _fwhm(self) -> NDArray[np.float64]:
        truth = self._table("truth")
        return truth[[f"psf_fwhm_{band}" for band in BANDS]].to_numpy()

    def _shard(self, number: int) -> dict[str, NDArray]:
        with self._lock:
            if number in self._shards:
                self._shards.move_to_end(number)
                return self._shards[number]
            path = self._shard_path(number)
            try:
                shard = load_npz(path)
            except AccessError:
                raise
            except (ShardError, OSError) as error:
                raise SurveyError(
                    f"{path} is damaged ({error}); delete {self.folder / _MARKER} and run again"
                ) from error
            self._shards[number] = shard
            if len(self._shards) > _CACHED_SHARDS:
                self._shards.popitem(last=False)
            return shard
