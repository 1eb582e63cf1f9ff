"""Published photometry and Hubble tables fetched to disk: by name, resumable, each file held to a SHA-256.

The files are those of the public releases, at fixed commits; the readers of this package take them as they are.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from skytrace.errors import OptionError, SurveyError, check_between, check_choice, check_names, check_whole
from skytrace.surveys.data_root import under_data_root
from skytrace.surveys.legacy_survey.download import DownloadReport, Manifest, Request, download_all

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["RELEASES", "DownloadOptions", "RemoteFile", "download_files", "download_release"]

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """path: on the server. sha256: what the file must have; "" where we have never held the file: then only the user
    can say what it must have, or that the first one is trusted.
    """

    path: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return unquote(PurePosixPath(self.path).name)


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
    name: str,
    folder: str | os.PathLike | None = None,
    *,
    expected_sha256: Mapping[str, str] | None = None,
    trust_on_first_use: bool = False,
    options: DownloadOptions | None = None,
) -> DownloadReport:
    """Fetch a release of RELEASES into ``folder`` (absolute or under $SKYTRACE_DATA; supernova/<name> where None: the
    readers take a folder as one release). The rest is ``download_files``.
    """
    check_choice("release", name, tuple(RELEASES))
    where = f"supernova/{name}" if folder is None else folder
    return download_files(
        RELEASES[name], where, expected_sha256=expected_sha256, trust_on_first_use=trust_on_first_use, options=options
    )


def download_files(
    files: Sequence[RemoteFile],
    folder: str | os.PathLike,
    *,
    expected_sha256: Mapping[str, str] | None = None,
    trust_on_first_use: bool = False,
    options: DownloadOptions | None = None,
) -> DownloadReport:
    """Fetch ``files`` into ``folder``; manifest.jsonl there records URL, size and SHA-256 of each.

    expected_sha256: file name -> what the user knows it must have. A file must have that, its own, and the SHA-256
    that the manifest recorded when it first came: now, if it is fetched, and also if it is there already. Where none
    of the three is known nothing is asked for, unless trust_on_first_use: whatever then comes is recorded and binds.

    Raises SurveyError naming every file that no SHA-256 is known of, that is there with another one, or that could not
    be had (the others are kept); OptionError for an expected SHA-256 that is none, of no such file, or contradicts.
    """
    options, root = options or DownloadOptions(), under_data_root(folder)
    wanted = _wanted(files, expected_sha256 or {}, root)
    unknown = [file.name for file in files if not wanted[file.name]]
    if unknown and not trust_on_first_use:
        said = " ".join(f"--sha256 '{name}=HEX'" for name in unknown)
        given = ", ".join(f"{name!r}: 'HEX'" for name in unknown)
        raise SurveyError(
            f"no SHA-256 is known of {', '.join(unknown)}: nothing was asked for. Give what each must have, 64 "
            f"hexadecimal digits in place of HEX: {said} (in Python expected_sha256={{{given}}}); or accept and record "
            "whatever the server sends first: --trust-on-first-use (trust_on_first_use=True)"
        )
    for file in files:
        _check_there(root / file.name, wanted[file.name])

    def check(content: bytes, name: str) -> None:
        found = hashlib.sha256(content).hexdigest()
        if wanted[name] and found != wanted[name]:
            raise SurveyError(f"{name} has SHA-256 {found}, not {wanted[name]}")

    report = download_all(
        [Request(file.name, file.name, {}, file.path) for file in files], root,
        url_path="", check=check, options=options, description="supernovae",
    )  # fmt: skip
    if report.failures:
        told = "; ".join(f"{name}: {why}" for name, why in report.failures.items())
        raise SurveyError(f"{len(report.failures)} of {len(files)} files were not fetched: {told}")
    return report


def _wanted(files: Sequence[RemoteFile], expected: Mapping[str, str], root: Path) -> dict[str, str]:
    """The SHA-256 that each file must have by its name; "" where nobody knows."""
    check_names("expected_sha256", expected, [file.name for file in files])
    manifest, wanted = Manifest(root), {}
    for file in files:
        said = str(expected.get(file.name, "")).strip().lower()
        if file.name in expected and not _SHA256.fullmatch(said):
            raise OptionError(f"expected_sha256 of {file.name} = {expected[file.name]!r} is not 64 hexadecimal digits")
        if said and file.sha256 and said != file.sha256:
            raise OptionError(
                f"expected_sha256 of {file.name} = {said}, but the release is known to have {file.sha256}"
            )
        wanted[file.name] = said or file.sha256 or manifest.recorded_sha256(file.name)
    return wanted


def _check_there(path: Path, wanted: str) -> None:
    """Raise SurveyError for a file that is there and is not what it must be; it is neither used nor overwritten."""
    if not (wanted and path.is_file()):
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise SurveyError(f"{path} is there with SHA-256 {found}, not {wanted}: move it away to fetch it anew")
