"""Many small files from one server: concurrent, rate-limited, retried with back-off, resumable, checksummed.

A file counts as fetched only when the manifest (one JSON line a file: file, url, bytes, sha256) has its line and the
file's bytes match it: a crash between the rename and the line costs one file, never a wrong one.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skytrace.compute.files import atomic_path
from skytrace.compute.progress import progress
from skytrace.errors import SurveyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import httpx

__all__ = ["DownloadReport", "Manifest", "Politeness", "Request", "download_all"]

MANIFEST_NAME = "manifest.jsonl"
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class Politeness(Protocol):
    """Whom to ask, and how politely: what ``download_all`` needs of a survey's options."""

    @property
    def base_url(self) -> str:
        """Of the server."""

    @property
    def workers(self) -> int:
        """Requests in flight."""

    @property
    def rate_per_s(self) -> float:
        """Requests started a second, all workers together."""

    @property
    def attempts(self) -> int:
        """Tries of one file."""

    @property
    def timeout_s(self) -> float:
        """Of one request."""

    @property
    def backoff_s(self) -> float:
        """First wait between tries, doubled each time."""

    @property
    def backoff_max_s(self) -> float:
        """Longest wait."""

    @property
    def max_response_mb(self) -> float:
        """A longer answer is refused."""

    @property
    def seed(self) -> int:
        """Of the jitter of waits."""


@dataclass(frozen=True)
class Request:
    """One file to fetch. name: what errors call it. file: its name in the folder. query: of the URL. path: of the URL,
    where it is not that of all requests.
    """

    name: str
    file: str
    query: Mapping[str, str]
    path: str = ""

    def __post_init__(self) -> None:
        if self.file in ("", ".", "..") or any(letter in self.file for letter in "/\\\0"):
            raise SurveyError(f"{self.name!r} would be kept as {self.file!r}, which is no name of a file in a folder")


@dataclass(frozen=True)
class DownloadReport:
    """How many files were fetched now, and how many were there already; failures: request name -> why, in request
    order.
    """

    fetched: int
    reused: int
    failures: dict[str, str]


class _Refused(Exception):
    """An answer that another try would not better."""


class _Unlucky(Exception):
    """An answer that another try may better. wait_s: what the server asked for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Manifest:
    """The manifest of one folder; adding is safe from threads. A last line cut off by a crash is ignored."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST_NAME
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, Any]] = {}
        self._torn = False
        if self.path.is_file():
            text = self.path.read_text(encoding="utf-8")
            self._torn = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                entry = _parsed(line)
                if entry is not None:
                    self._entries[entry["file"]] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, path: Path) -> bool:
        """Whether ``path`` is a whole file: listed, and its size and sha256 are those listed."""
        entry = self._entries.get(path.name)
        if entry is None or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"]

    def recorded_sha256(self, file: str) -> str:
        """What the file had when it was fetched; "" where it is not listed."""
        entry = self._entries.get(file)
        return entry["sha256"] if entry else ""

    def add(self, file: str, url: str, content: bytes) -> None:
        """List a file that has just been renamed into place."""
        entry = {"file": file, "url": url, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        line = json.dumps(entry, sort_keys=True) + "\n"
        with self._lock:
            with self.path.open("a", encoding="utf-8") as out:
                out.write("\n" + line if self._torn else line)
                out.flush()
                os.fsync(out.fileno())
            self._torn = False
            self._entries[file] = entry


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    fields = {"file": str, "bytes": int, "sha256": str}
    whole = isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in fields.items())
    return entry if whole else None


class _Pace:
    """At most ``rate_per_s`` starts a second over all threads, evenly spaced."""

    def __init__(self, rate_per_s: float) -> None:
        self._interval = 1.0 / rate_per_s
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Take the next start and sleep until its time has come."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._interval
        if start > now:
            time.sleep(start - now)


@lru_cache(maxsize=16)
def _shared_pace(base_url: str, rate_per_s: float) -> _Pace:
    """One pace for a server in this process: shards that download side by side share the rate."""
    return _Pace(rate_per_s)


def download_all(
    requests: Sequence[Request],
    folder: Path,
    *,
    url_path: str,
    check: Callable[[bytes, str], None],
    options: Politeness,
    description: str = "cutouts",
) -> DownloadReport:
    """Fetch what is not yet in ``folder``. A failure ends neither the other downloads nor what is already on disk.

    check(content, name): raises SurveyError for an answer that is not what was asked for; it is retried, since
    truncation looks like that, and reported if it persists. Statuses 4xx other than 408, 425 and 429, and answers
    longer than ``max_response_mb``, are not retried. Raises ShardError on a full disk.
    """
    import httpx

    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(folder)
    missing = [request for request in requests if not manifest.holds(folder / request.file)]
    if not missing:
        return DownloadReport(0, len(requests), {})
    pace = _shared_pace(options.base_url, options.rate_per_s)
    limits = httpx.Limits(max_connections=options.workers, max_keepalive_connections=options.workers)
    failures: dict[str, str] = {}

    with (
        httpx.Client(
            base_url=options.base_url, timeout=options.timeout_s, limits=limits, follow_redirects=True, max_redirects=3,
            headers={"User-Agent": "skytrace"},
        ) as client,
        ThreadPoolExecutor(options.workers, thread_name_prefix="download") as pool,
        progress(missing, description) as bar,
    ):  # fmt: skip

        def fetch(request: Request) -> None:
            """One file: fetched, checked, renamed into place, listed; a refusal is noted in ``failures``."""
            try:
                content, url = _fetch_with_retries(client, request, url_path, check, pace=pace, options=options)
                with atomic_path(folder / request.file) as partial:
                    partial.write_bytes(content)
                manifest.add(request.file, url, content)
            except _Refused as error:
                failures[request.name] = str(error)
            bar.advance()

        try:
            list(pool.map(fetch, missing))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    ordered = {request.name: failures[request.name] for request in missing if request.name in failures}
    return DownloadReport(len(missing) - len(ordered), len(requests) - len(missing), ordered)


def _fetch_with_retries(
    client: httpx.Client,
    request: Request,
    url_path: str,
    check: Callable[[bytes, str], None],
    *,
    pace: _Pace,
    options: Politeness,
) -> tuple[bytes, str]:
    # full jitter (Brooker 2015) from the request's own stream, so that reruns wait alike whatever the thread order
    seed = [options.seed, int.from_bytes(hashlib.sha256(request.file.encode()).digest()[:8], "big")]
    jitter = np.random.default_rng(seed)
    reason = ""
    for attempt in range(options.attempts):
        pace.wait()
        try:
            return _fetch_once(
                client, request, request.path or url_path, check, limit=int(options.max_response_mb * 1e6)
            )
        except _Unlucky as error:
            reason = str(error)
            if attempt + 1 < options.attempts:
                longest = min(options.backoff_s * 2.0**attempt, options.backoff_max_s)
                time.sleep(max(float(jitter.uniform(0.0, longest)), min(error.wait_s, options.backoff_max_s)))
    raise _Refused(f"{reason} (after {options.attempts} attempts)")


def _fetch_once(
    client: httpx.Client, request: Request, url_path: str, check: Callable[[bytes, str], None], *, limit: int
) -> tuple[bytes, str]:
    import httpx

    try:
        with client.stream("GET", url_path, params=dict(request.query)) as response:
            if response.status_code in _RETRIED_STATUS:
                raise _Unlucky(f"HTTP {response.status_code}", _seconds(response.headers.get("Retry-After")))
            if response.status_code != 200:
                raise _Refused(f"HTTP {response.status_code} from {response.url}")
            declared = response.headers.get("Content-Length", "")
            if declared.isdigit() and int(declared) > limit:
                raise _Refused(f"the answer has {int(declared)} bytes, more than the limit of {limit}")
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > limit:
                    raise _Refused(f"the answer is longer than the limit of {limit} bytes")
            url = str(response.url)
    except httpx.TimeoutException as error:
        raise _Unlucky(f"no answer in time ({type(error).__name__})") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise _Unlucky(f"connection failed ({type(error).__name__}: {error})") from error
    except httpx.TooManyRedirects as error:
        raise _Refused("too many redirects") from error
    try:
        check(bytes(content), request.name)
    except SurveyError as error:
        raise _Unlucky(str(error)) from error
    return bytes(content), url


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0
