"""Published photometry and Hubble tables fetched to disk: by name, resumable, each file's SHA-256 known or recorded.

The files are those of the public releases, at fixed commits; the readers of this package take them as they are.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from skytrace.errors import SurveyError, check_between, check_choice, check_whole
from skytrace.surveys.data_root import under_data_root
from skytrace.surveys.legacy_survey.download import DownloadReport, Request, download_all

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["RELEASES", "DownloadOptions", "RemoteFile", "download_files", "download_release"]


@dataclass(frozen=True)
class RemoteFile:
    """path: on the server. sha256: what the file must have, "" where nobody has recorded it: the manifest then does."""

    path: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return PurePosixPath(self.path).name


_DES = "/des-science/DES-SN5YR/f694603d1d7039e333ab11f7b42f5ab4b046e3ba/"
_FOUNDATION = f"{_DES}0_DATA/DES-SN5YR_Foundation/DES-SN5YR_Foundation"
_DES_V12 = "/des-science/DES-SN5YR/403c761d11fa7c8073aaadfd993734be099db008/"
_PANTHEON = "/PantheonPlusSH0ES/DataRelease/c447f0fea703fcd0fff57de5000947b5ca81286b/Pantheon%2B_Data/"
#: Name of a release -> its files. Cite Sanchez et al. 2024, Vincenzi et al. 2024, Popovic et al. 2026 (DES), and
#: Scolnic et al. 2022, Brout et al. 2022 (Pantheon+).
RELEASES: dict[str, tuple[RemoteFile, ...]] = {
    "des_sn5yr_foundation": tuple(RemoteFile(f"{_FOUNDATION}_{part}.FITS.gz") for part in ("HEAD", "PHOT")),
    "des_sn5yr_lowz": tuple(
        RemoteFile(f"{_DES}0_DATA/DES-SN5YR_LOWZ/DES-SN5YR_LOWZ_{part}.FITS.gz") for part in ("HEAD", "PHOT")
    ),
    "des_dovekie": tuple(
        RemoteFile(f"{_DES}4_DISTANCES_COVMAT/DES-Dovekie_{part}.csv") for part in ("HD", "Metadata")
    ),
    "des_sn5yr_v12": (RemoteFile(f"{_DES_V12}4_DISTANCES_COVMAT/DES-SN5YR_HD%2BMetaData.csv"),),
    "pantheon_plus": (RemoteFile(f"{_PANTHEON}4_DISTANCES_AND_COVAR/Pantheon%2BSH0ES.dat"),),
}  # fmt: skip


@dataclass(frozen=True)
class DownloadOptions:
    """workers: requests in flight. rate_per_s: requests started a second. attempts: tries of one file, with waits from
    backoff_s doubled to backoff_max_s and jitter from ``seed``. max_response_mb: a longer answer is refused.
    """

    base_url: str = "https://raw.githubusercontent.com"
    workers: int = 2
    rate_per_s: float = 2.0
    attempts: int = 5
    timeout_s: float = 120.0
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    max_response_mb: float = 200.0
    seed: int = 20260501

    def __post_init__(self) -> None:
        check_whole("workers", self.workers, 1, 64)
        check_between("rate_per_s", self.rate_per_s, 0.0, 1e4, include_low=False)
        check_whole("attempts", self.attempts, 1, 50)
        check_between("timeout_s", self.timeout_s, 0.0, 3600.0, include_low=False)
        check_between("backoff_s", self.backoff_s, 0.0, 600.0)
        check_between("backoff_max_s", self.backoff_max_s, self.backoff_s, 3600.0)
        check_between("max_response_mb", self.max_response_mb, 0.0, 1e5, include_low=False)


def download_release(
    name: str, folder: str | os.PathLike = "supernova", *, options: DownloadOptions | None = None
) -> DownloadReport:
    """Fetch a release of RELEASES into ``folder`` (absolute or under $SKYTRACE_DATA); what is there whole stays."""
    check_choice("release", name, tuple(RELEASES))
    return download_files(RELEASES[name], folder, options=options)


def download_files(
    files: Sequence[RemoteFile], folder: str | os.PathLike, *, options: DownloadOptions | None = None
) -> DownloadReport:
    """Fetch ``files`` into ``folder``; manifest.jsonl there records URL, size and SHA-256 of each.

    Raises SurveyError naming every file that could not be had, or whose SHA-256 is not the one it must have; the
    others are kept.
    """
    options = options or DownloadOptions()
    reports = []
    for file in files:

        def check(content: bytes, name: str, wanted: str = file.sha256) -> None:
            found = hashlib.sha256(content).hexdigest()
            if wanted and found != wanted:
                raise SurveyError(f"{name} has SHA-256 {found}, not {wanted}")

        reports.append(
            download_all(
                [Request(file.name, file.name.replace("%2B", "+"), {})], under_data_root(folder),
                url_path=file.path, check=check, options=options, description=file.name,
            )
        )  # fmt: skip
    failures = {name: why for report in reports for name, why in report.failures.items()}
    if failures:
        told = "; ".join(f"{name}: {why}" for name, why in failures.items())
        raise SurveyError(f"{len(failures)} of {len(files)} files were not fetched: {told}")
    return DownloadReport(sum(r.fetched for r in reports), sum(r.reused for r in reports), {})
