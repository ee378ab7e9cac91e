"""The Docker Engine: connecting, labels that say which run a container belongs to, images, sweeping up."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from harness.errors import EngineUnavailableError, EnvironmentFault, ImageUnavailableError

if TYPE_CHECKING:
    from docker import DockerClient

RUN_LABEL = "polyswe.run"
"""Every container of a run carries this label with the run's name, so that leftovers can be told and removed."""
CELL_LABEL = "polyswe.cell"
"""`<instance>/<model>` of the container."""
LEAST_DISK_GB = 2
"""Free space below which no run is started."""
MEND = "run 'make engine' (installs one as root on Debian-like systems) or start Docker and check 'docker info'"


def connect(timeout: int = 120) -> DockerClient:
    """A client of the local engine.

    Raises:
        EngineUnavailableError: no engine answers, or there is no `docker` command line (the official harness calls it).
    """
    import docker
    import requests

    if shutil.which("docker") is None:
        raise EngineUnavailableError(f"the 'docker' command line is not on PATH; {MEND}")
    try:
        client = docker.from_env(timeout=timeout, max_pool_size=128)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        reason = " ".join(str(error).split())[:160]
        raise EngineUnavailableError(f"no Docker Engine answers ({reason}); {MEND}") from error
    return client


def sweep(client: DockerClient, run: str) -> int:
    """Remove every container that carries the run's label; returns how many there were."""
    import docker

    leftovers = client.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"}, ignore_removed=True)
    for container in leftovers:
        try:
            container.remove(force=True)
        except docker.errors.NotFound:
            pass  # went by itself in the meantime
        except docker.errors.APIError as error:
            if error.status_code != 409:  # 409: its removal is already in progress
                raise
    return len(leftovers)


class Images:
    """Images by name: looked up, else pulled once, with back-off, however many cells ask for the same one."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def ensure(self, image: str) -> None:
        """Raises ImageUnavailableError when the image is neither here nor can be pulled, or EngineUnavailableError."""
        import docker
        import requests

        with self._guard:
            lock = self._locks.setdefault(image, threading.Lock())
        with lock:
            try:
                if not self._here(image):
                    self._pull(image)
            except (docker.errors.NotFound, docker.errors.APIError) as error:
                reason = " ".join(str(error.explanation or error).split())[:160]
                raise ImageUnavailableError(
                    f"image {image}: not on this machine and cannot be pulled ({reason}); "
                    "check the dataset's image names, the network, or build it under this name"
                ) from error
            except requests.RequestException as error:
                raise EngineUnavailableError(f"the Docker Engine no longer answers; {MEND}") from error

    def _here(self, image: str) -> bool:
        import docker

        try:
            self._client.images.get(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    @staticmethod
    def _passing(error: BaseException) -> bool:
        """Rate limits and server errors pass; a name that does not exist or cannot be resolved does not."""
        import docker

        if not isinstance(error, docker.errors.APIError) or isinstance(error, docker.errors.NotFound):
            return False
        text = str(error).lower()
        return not any(sign in text for sign in ("no such host", "denied", "not found", "invalid reference"))

    def _pull(self, image: str) -> None:
        attempts = Retrying(
            retry=retry_if_exception(self._passing),
            stop=stop_after_attempt(5),
            wait=wait_exponential(multiplier=2, max=60),
            reraise=True,
        )
        attempts(self._client.images.pull, image)


def disk_free_gb(path: str | Path = "/") -> float:
    """Free space in GB (10^9 bytes) where `path` lies."""
    return shutil.disk_usage(path).free / 1e9


def check_disk(path: Path) -> None:
    """Raises EnvironmentFault when a run that writes to `path` would soon fail while keeping what was paid for."""
    free = disk_free_gb(path)
    if free < LEAST_DISK_GB:
        raise EnvironmentFault(f"{free:.1f} GB free at {path.resolve()}: free at least {LEAST_DISK_GB} GB first")


def server_version(client: DockerClient) -> str:
    info: dict[str, Any] = client.version()
    return str(info.get("Version", "?"))
