"""Fetching the text of a source: a file, a run folder, or a URL kept in the cache."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_exponential

from harness.errors import EnvironmentUnavailableError, InputError
from harness.files import cache_dir, user_path, write_atomic

FRESH_SECONDS = 24 * 3600
"""A downloaded file is used this long before it is asked for again; boards change about once a week."""
TIMEOUT_SECONDS = 60
ATTEMPTS = 4
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass; every other error status is final."""


@dataclass(frozen=True)
class Source:
    """What an importer reads: a text, or a folder."""

    label: str
    """The path or address as it was given."""
    text: str = ""
    """Not blank, unless it is a folder."""
    folder: Path | None = None
    """Where it is a folder without an outcomes.csv."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of how it was fetched."""

    @property
    def is_json(self) -> bool:
        """Whether the text begins like JSON."""
        return self.text.lstrip()[:1] in ("{", "[")


def is_url(source: str) -> bool:
    """Whether `source` is fetched over HTTP instead of read from disk."""
    return source.startswith(("http://", "https://"))


def read_source(source: str, folder: Path | None = None) -> Source:
    """What is behind a path or URL; a run folder stands for its outcomes.csv.

    Args:
        source: Path of a file or folder, or an http(s) URL.
        folder: Root of the cache for downloads (default `harness.files.cache_dir()`).

    Raises:
        InputError: no such file, unreadable, not text, empty, or the server says there is no such page.
        EnvironmentUnavailableError: the server cannot be reached and no earlier copy is kept.
    """
    notes: tuple[str, ...] = ()
    if is_url(source):
        path, notes = _download(source, folder or cache_dir())
    else:
        path = user_path(source)
        if path.is_dir():
            if not (path / "outcomes.csv").is_file():
                return Source(source, folder=path)
            path = path / "outcomes.csv"
    return Source(source, _read_text(path, source), notes=notes)


def _read_text(path: Path, label: str) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{label}: no such file; check the path") from None
    except OSError as error:
        raise InputError(f"{label}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError:
        raise InputError(f"{label}: not a text file (UTF-8); expected leaderboards.json or a CSV of outcomes") from None
    start = text.lstrip()[:64].lower()
    if not start:
        raise InputError(f"{label}: the file is empty; get it again")
    if start.startswith("<"):
        raise InputError(f"{label}: this is a web page, not data; use the address of the raw file")
    if start.startswith("version https://git-lfs"):
        raise InputError(f"{label}: this is a Git LFS pointer, not the data; run 'git lfs pull' where it came from")
    return text


def _download(url: str, folder: Path) -> tuple[Path, tuple[str, ...]]:
    path = folder / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:32]
    if path.is_file() and time.time() - path.stat().st_mtime < FRESH_SECONDS:
        return path, ()
    try:
        data = _get(url)
    except urllib.error.HTTPError as error:
        if error.code not in TRANSIENT:
            raise InputError(f"{url}: the server answers {error.code} {error.reason}; check the address") from None
        reason = f"the server answers {error.code} {error.reason}"
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
    else:
        write_atomic(path, data)
        return path, ()
    if path.is_file():
        day = time.strftime("%Y-%m-%d", time.gmtime(path.stat().st_mtime))
        return path, (f"{url} could not be reached ({reason}); the copy of {day} was used",)
    raise EnvironmentUnavailableError(f"{url}: cannot be downloaded ({reason}); go online or give a path to the file")


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, urllib.error.HTTPError):
        return error.code in TRANSIENT
    return isinstance(error, (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError))


@retry(
    retry=retry_if_exception(_may_pass),
    stop=stop_after_attempt(ATTEMPTS),
    wait=wait_exponential(multiplier=0.5, max=8),
    reraise=True,
)
def _get(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"User-Agent": "polyswe"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        body: bytes = response.read()
    return body
