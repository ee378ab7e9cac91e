"""A run's images: pulled just ahead of need, several at once, and removed again when the disk is wanted for others."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from agents.container.history import DERIVED_FROM_LABEL
from harness.docker.engine import MEND, wait_for_engine
from harness.errors import EngineUnavailableError, ImageUnavailableError

if TYPE_CHECKING:
    from docker import DockerClient

_RATE_LIMITED = re.compile(r"toomanyrequests|too many requests|rate limit|\b429\b", re.IGNORECASE)
_REFUSED = re.compile(
    r"denied|unauthorized|not found|does not exist|manifest unknown|name unknown|invalid reference",
    re.IGNORECASE,
)
_OTHER_ARCHITECTURE = re.compile(r"no matching manifest|does not match the specified platform", re.IGNORECASE)
_UNREACHABLE = re.compile(
    r"\blookup\b|no such host|name resolution|network is unreachable|no route to host|connection refused|i/o timeout"
    r"|Client\.Timeout|request canceled while waiting",
    re.IGNORECASE,
)
OFFLINE_ATTEMPTS = 2
"""Tries of a pull while no registry has answered yet: this machine is probably offline."""
GB_PER_IMAGE = 1.0
"""GB of a SWE-bench instance's image beyond the layers it shares, where nothing better is known."""
MANIFEST_SECONDS = 60
"""Seconds that a registry may take to tell what an image consists of."""
PASSING = frozenset({"rate-limit", "registry"})
"""Kinds of a failed pull that pass; a name that does not exist, or a full disk, does not."""


@dataclass(frozen=True)
class Patience:
    """How a failing pull is tried again."""

    attempts: int = 6
    first_wait: float = 2
    """Seconds before the second try; it doubles each time."""
    longest_wait: float = 300


class Images:
    """Images by name: looked up, else pulled once, however many cells ask for the same one.

    With a limit, images that the run has pulled are removed once no cell needs them any more and they take more than
    the limit together; the one whose last cell ended first goes first. What agents have made from an image to hide its
    later history counts too, and goes with it. An image that was there before the run is never removed, only what
    agents have made from it. A cell never waits because of the limit; only pulls ahead of need do. Sizes are those the
    engine states, which count shared layers for every image: the disk space really used is at most that.
    """

    def __init__(
        self,
        client: DockerClient,
        *,
        limit_gb: float | None = None,
        patience: Patience | None = None,
        pulled_before: Collection[str] = (),
        on_pull: Callable[[str], None] = lambda image: None,
        say: Callable[[str], None] = lambda message: None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            limit_gb: GB (10^9 bytes) of images to keep; None keeps all.
            pulled_before: images that an earlier start of this run has pulled.
            on_pull: called with an image's name before it is pulled.
            say: called with a line about every pull that is tried again.
            give_up: called before another try.
        """
        self._client = client
        self._limit = None if limit_gb is None else int(limit_gb * 1e9)
        self._patience = patience or Patience()
        self._on_pull = on_pull
        self._say = say
        self._give_up = give_up
        self._pulled = set(pulled_before)
        self._sizes: dict[str, int] = {}
        """Of our images that are on the engine."""
        self._cuts: dict[str, int] = {}
        """Bytes that images without their later history take beyond those they are made from, by the latter's names."""
        self._needed: Counter[str] = Counter()
        """Cells that still need an image."""
        self._idle: dict[str, None] = {}
        """Images that no cell needs any more and that may give space, in the order they became idle."""
        self._refused: dict[str, ImageUnavailableError] = {}
        self._requested: set[str] = set()
        """Images that a cell has requested."""
        self._ahead: set[str] = set()
        """Images pulled, or being pulled, before any cell has requested them."""
        self._reached = False
        """Whether a registry has answered."""
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._closed = False

    def ensure(self, image: str) -> None:
        """Make sure, for a cell, that the engine has the image.

        Raises:
            ImageUnavailableError: the engine does not have it and cannot pull it; its `kind` says why.
            EngineUnavailableError: no engine answers.
        """
        with self._changed:
            self._requested.add(image)
            self._changed.notify_all()
        self._ensure(image)

    def release(self, image: str) -> None:
        """A cell no longer needs its image."""
        cut = self._cut_size(image)
        with self._changed:
            self._needed[image] -= 1
            self._cuts[image] = cut
            if self._needed[image] <= 0 and (image in self._sizes or cut):
                self._idle[image] = None
            self._changed.notify_all()
        self._shrink()

    @contextmanager
    def ahead(self, order: Sequence[str], *, workers: int, depth: int) -> Iterator[None]:
        """While the context lasts, pull images ahead of need.

        Args:
            order: the image of every cell, in the order the cells start; an image occurs once for each of its cells.
            workers: pulls at the same time.
            depth: images that may lie ready, or be on their way, before any cell has requested them.
        """
        with self._guard:
            self._needed.update(order)
        self._adopt(order)
        queue = list(dict.fromkeys(order))
        threads = [
            threading.Thread(target=self._pull_ahead, args=(queue, depth), name=f"pull-{number}", daemon=True)
            for number in range(workers)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            # a pull under way is left to the engine: waiting for gigabytes would hold up the end of a run

    def engine_answers(self, patience: float) -> bool:
        """Whether the engine answers, now or within so many seconds."""
        return wait_for_engine(self._client, patience, give_up=self._give_up)

    def _adopt(self, order: Sequence[str]) -> None:
        """Images of an earlier start: those that no cell needs any more are idle from now on."""
        for image in sorted(self._pulled):
            size, cut = self._size(image), self._cut_size(image)
            with self._guard:
                if size is None:
                    continue
                self._sizes[image] = size
                self._cuts[image] = cut
                if not self._needed[image]:
                    self._idle[image] = None
        self._shrink()

    def _pull_ahead(self, queue: list[str], depth: int) -> None:
        while True:
            with self._changed:
                while not self._closed and queue and not self._room(depth):
                    self._changed.wait()
                if self._closed or not queue:
                    return
                image = queue.pop(0)
                if image in self._requested:
                    continue
                self._ahead.add(image)
            # the cell that needs the image meets the failure too, and reports it
            with suppress(ImageUnavailableError, EngineUnavailableError):
                self._ensure(image)

    def _room(self, depth: int) -> bool:
        """Whether another image may be pulled ahead. Call it guarded."""
        early = self._ahead - self._requested
        if len(early) >= depth:
            return False
        if self._limit is None:
            return True
        held = self._held()
        mean = held / len(self._sizes) if self._sizes else GB_PER_IMAGE * 1e9
        on_their_way = len(early - self._sizes.keys()) + 1
        return held + on_their_way * mean <= self._limit

    def _ensure(self, image: str) -> None:
        import docker
        import requests

        with self._guard:
            lock = self._locks.setdefault(image, threading.Lock())
        with lock:
            if refusal := self._refused.get(image):
                raise refusal
            try:
                if self._size(image) is None:
                    self._pull(image)
            except ImageUnavailableError as error:
                if error.kind not in PASSING:  # the other cells of the image need not wait for the same answer
                    self._refused[image] = error
                raise
            except docker.errors.APIError as error:
                raise _unavailable(image, str(error.explanation or error)) from error
            except requests.RequestException as error:
                raise EngineUnavailableError(f"the Docker Engine no longer answers; {MEND}") from error

    def _pull(self, image: str) -> None:
        self._on_pull(image)
        with self._guard:
            self._pulled.add(image)
        self._shrink()

        def announce(state: RetryCallState) -> None:
            wait = state.next_action.sleep if state.next_action else 0
            self._say(f"pulling {image} failed, trying again in {wait:.0f} s")

        tries = Retrying(
            retry=retry_if_exception(lambda e: isinstance(e, ImageUnavailableError) and e.kind in PASSING),
            stop=lambda state: state.attempt_number >= self._attempts() or self._give_up(),
            wait=wait_exponential(multiplier=self._patience.first_wait, max=self._patience.longest_wait),
            before_sleep=announce,
            reraise=True,
        )
        tries(self._pull_once, image)
        self._note_architecture(image)
        size = self._size(image)
        if size is None:
            raise _unavailable(image, "the engine reported a complete pull, but does not have the image")
        with self._changed:
            self._sizes[image] = size
        self._shrink()

    def _pull_once(self, image: str) -> None:
        """Not the SDK's `images.pull`, which passes over errors of the transfer in silence."""
        import docker
        from docker.utils import parse_repository_tag

        repository, tag = parse_repository_tag(image)
        try:
            for event in self._client.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
                if "error" in event:
                    raise self._failed_pull(image, str(event["error"]))
        except docker.errors.APIError as error:
            raise self._failed_pull(image, str(error.explanation or error)) from error
        self._reached = True

    def _failed_pull(self, image: str, words: str) -> ImageUnavailableError:
        self._reached = self._reached or not _UNREACHABLE.search(words)
        return _unavailable(image, words)

    def _attempts(self) -> int:
        return self._patience.attempts if self._reached else min(OFFLINE_ATTEMPTS, self._patience.attempts)

    def _note_architecture(self, image: str) -> None:
        """Say that an image was made for other processors, on which it runs only if the engine emulates them."""
        import docker

        try:
            made_for = str(self._client.images.get(image).attrs.get("Architecture", ""))
        except docker.errors.ImageNotFound:
            return
        runs_on = str(self._client.version().get("Arch", ""))
        if made_for and runs_on and made_for != runs_on:
            self._say(f"image {image} is made for {made_for}; this engine ({runs_on}) runs it only by emulation")

    def _size(self, image: str) -> int | None:
        """Bytes of an image; None when the engine does not have it."""
        import docker

        try:
            return int(self._client.images.get(image).attrs["Size"])
        except docker.errors.ImageNotFound:
            return None

    def _cut_size(self, image: str) -> int:
        """Bytes of what agents have made from an image, without what it shares with it; 0 where nothing bounds them."""
        import docker
        import requests

        if self._limit is None:
            return 0
        try:
            original = self._client.images.get(image)
            label = f"{DERIVED_FROM_LABEL}={original.id}"
            derived = self._client.api.images(filters={"label": label})
        except (docker.errors.APIError, requests.RequestException):  # the image has gone, or the engine is away
            return self._cuts.get(image, 0)
        shared = int(original.attrs["Size"])
        return sum(max(0, int(entry["Size"]) - shared) for entry in derived)

    def _held(self) -> int:
        """Bytes that count against the limit. Call it guarded."""
        return sum(self._sizes.values()) + sum(self._cuts.values())

    def _shrink(self) -> None:
        """Remove idle images of ours, the longest idle first, until the rest is within the limit."""
        import docker
        import requests

        if self._limit is None:
            return
        while True:
            with self._changed:
                if self._held() <= self._limit or not self._idle:
                    return
                image = next(iter(self._idle))
                del self._idle[image]
                size, cut = self._sizes.pop(image, None), self._cuts.pop(image, 0)
            try:
                self._remove(image, whole=size is not None)
            except docker.errors.ImageNotFound:
                continue
            except (docker.errors.APIError, requests.RequestException):
                # a container still uses it, or the engine is away: it stays until the next attempt to make room
                with self._changed:
                    if size is not None:
                        self._sizes[image] = size
                    self._cuts[image] = cut
                    self._idle[image] = None
                return
            finally:
                with self._changed:
                    self._changed.notify_all()

    def _remove(self, image: str, *, whole: bool = True) -> None:
        """Remove what agents have made from an image to hide its later history, and the image itself if `whole`."""
        identity = self._client.images.get(image).id
        for derived in self._client.images.list(filters={"label": f"{DERIVED_FROM_LABEL}={identity}"}):
            self._client.images.remove(str(derived.id))
        if whole:
            self._client.images.remove(image)


def _unavailable(image: str, words: str) -> ImageUnavailableError:
    reason = " ".join(words.split())[:160]
    kind = pull_failure_kind(words)
    if _OTHER_ARCHITECTURE.search(words):
        mend = "it exists for another architecture only: use such a machine, or pull it with --platform and emulate"
        error = ImageUnavailableError(f"image {image}: none for this machine's architecture ({reason}); {mend}")
        error.kind = kind
        return error
    mend = {
        "rate-limit": "wait, or log in with 'docker login' for a higher limit",
        "registry": "the registry, or the network on the way to it, fails; the next start tries again",
        "disk": "free space where the engine keeps its images, or set run.images_gb",
        "missing": "check the dataset's image names, the network, or build it under this name",
    }[kind]
    error = ImageUnavailableError(f"image {image}: not on this machine and cannot be pulled ({reason}); {mend}")
    error.kind = kind
    return error


def pull_failure_kind(words: str) -> str:
    """Kind of a failed pull, by the engine's words: disk, rate-limit, missing or registry."""
    if "no space left" in words.lower():
        return "disk"
    if _RATE_LIMITED.search(words):
        return "rate-limit"
    return "missing" if _REFUSED.search(words) or _OTHER_ARCHITECTURE.search(words) else "registry"


def layer_sizes(image: str) -> dict[str, int]:
    """Digest → compressed bytes of the layers of an image (of linux/amd64), as its registry states them.

    Empty where the registry does not answer. Nothing is pulled.
    """
    try:
        done = subprocess.run(
            ["docker", "manifest", "inspect", "--verbose", image],
            capture_output=True,
            timeout=MANIFEST_SECONDS,
            check=True,
            env={**os.environ, "DOCKER_CLI_EXPERIMENTAL": "enabled"},  # the command is experimental before 20.10
        )
        manifests = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
    for entry in manifests if isinstance(manifests, list) else [manifests]:
        platform = entry.get("Descriptor", {}).get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
            manifest = entry.get("SchemaV2Manifest") or entry.get("OCIManifest") or {}
            return {layer["digest"]: int(layer["size"]) for layer in manifest.get("layers", [])}
    return {}
