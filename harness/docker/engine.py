"""The Docker Engine: connecting, labels that say which run a container belongs to, images, sweeping up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from harness.errors import DiskFullError, EngineUnavailableError, EnvironmentUnavailableError

if TYPE_CHECKING:
    from docker import DockerClient

RUN_LABEL = "polyswe.run"
"""Every container of a run carries this label with the run's name, by which leftovers are found and removed."""
CELL_LABEL = "polyswe.cell"
"""What the container is for, see `cell_label`."""
LEAST_DISK_GB = 2
"""Free space below which no run is started."""
NO_SPACE = "No space left on device"
"""What commands print that meet a full disk."""
STARVED_GB = 0.1
"""Free space below which a command's complaint of a full disk is believed; above it, the words may be a test's own."""
MEND = "run 'make engine' (installs one as root on Debian-like systems) or start Docker and check 'docker info'"
GROUP = "this user may not use it: run 'sudo usermod -aG docker $USER' and log in again, or run as root"


def cell_label(instance_id: str, model: str, attempt: int = 1) -> str:
    """`<instance>/<model>`, and `@<attempt>` of a repeat."""
    return f"{instance_id}/{model}" + (f"@{attempt}" if attempt > 1 else "")


@dataclass(frozen=True)
class Endpoint:
    """Where the engine is that the docker command line talks to."""

    host: str
    """Such as `unix:///var/run/docker.sock` or `ssh://user@host`."""
    context: str = ""
    """The docker context that names it; empty where DOCKER_HOST does."""
    certificates: Path | None = None
    """Folder with the context's ca.pem, cert.pem and key.pem."""
    verify: bool = True

    def __str__(self) -> str:
        return f"{self.host} ({f'context {self.context}' if self.context else 'DOCKER_HOST'})"

    @property
    def address(self) -> str | None:
        """What the command line takes as `--host`; None where it has to look up certificates by the context."""
        return self.host if self.certificates is None else None

    def arguments(self) -> dict[str, Any]:
        """Arguments of the SDK's client."""
        from docker.tls import TLSConfig
        from docker.utils import kwargs_from_env

        if not self.context:
            return {**kwargs_from_env(), "use_ssh_client": True}
        if self.certificates is None:
            return {"base_url": self.host, "use_ssh_client": True}
        client = (str(self.certificates / "cert.pem"), str(self.certificates / "key.pem"))
        tls = TLSConfig(client_cert=client, ca_cert=str(self.certificates / "ca.pem"), verify=self.verify)
        return {"base_url": self.host, "tls": tls}


def endpoint() -> Endpoint:
    """The engine that the docker command line uses, by DOCKER_HOST, DOCKER_CONTEXT or its current context.

    The agents' containers are run by the command line, gradings and images by the SDK; the SDK follows the command
    line, so that both use the same engine.

    Raises:
        EngineUnavailableError: there is no `docker` command line, or the context does not exist.
    """
    if shutil.which("docker") is None:
        raise EngineUnavailableError(f"the 'docker' command line is not on PATH; {MEND}")
    variables = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "HOME")
    return _endpoint(tuple(os.environ.get(name, "") for name in variables))


@cache
def _endpoint(environment: tuple[str, ...]) -> Endpoint:
    """`environment`: what the answer depends on; it is looked up once for each."""
    host, context, *_ = environment
    if host:
        return Endpoint(host)
    done = subprocess.run(["docker", "context", "inspect"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:160]
        raise EngineUnavailableError(f"docker context {context or 'in use'}: {reason}; see 'docker context ls'")
    entry = json.loads(done.stdout)[0]
    docker_endpoint = entry["Endpoints"]["docker"]
    has_certificates = "docker" in entry.get("TLSMaterial", {})
    return Endpoint(
        host=docker_endpoint["Host"],
        context=entry["Name"],
        certificates=Path(entry["Storage"]["TLSPath"]) / "docker" if has_certificates else None,
        verify=not docker_endpoint.get("SkipTLSVerify", False),
    )


def connect(timeout: int = 120) -> DockerClient:
    """A client of the engine that the docker command line uses.

    Raises:
        EngineUnavailableError: no engine answers, or there is no `docker` command line (the official harness calls it).
    """
    import docker
    import requests

    place = endpoint()
    try:
        client = docker.DockerClient(**place.arguments(), timeout=timeout, max_pool_size=128)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException) as error:
        cause = _cause(error)
        reason = (cause and cause.strerror) or " ".join(str(error).split())[:160]
        if place.host.startswith("ssh:") and "paramiko" in reason:
            mend = "run 'pip install paramiko', or forward the engine's socket by ssh and set DOCKER_HOST to it"
            raise EngineUnavailableError(f"the engine at {place} is reached by ssh; {mend}") from error
        mend = GROUP if isinstance(cause, PermissionError) else MEND
        raise EngineUnavailableError(f"no Docker Engine answers at {place} ({reason}); {mend}") from error
    return client


def _cause(error: BaseException) -> OSError | None:
    """The system's own error below those of docker, requests and urllib3; None where there is none."""
    found, link = None, error.__cause__ or error.__context__
    while link is not None:
        found = link if isinstance(link, OSError) and link.strerror else found
        link = link.__cause__ or link.__context__
    return found


def sweep(client: DockerClient, run: str) -> int:
    """Remove every container that carries the run's label; returns how many there were."""
    import docker

    leftovers = client.containers.list(all=True, filters={"label": f"{RUN_LABEL}={run}"}, ignore_removed=True)
    for container in leftovers:
        try:
            container.remove(force=True)
        except docker.errors.NotFound:
            pass  # it has ended in the meantime
        except docker.errors.APIError as error:
            if error.status_code != 409:  # 409: its removal is already in progress
                raise
    return len(leftovers)


def wait_for_engine(client: DockerClient, patience: float, *, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Whether the engine answers, now or within `patience` seconds: a restart of it passes."""
    import docker
    import requests

    until = monotonic() + patience
    while True:
        try:
            client.ping()
        except (docker.errors.DockerException, requests.RequestException):
            if give_up() or monotonic() >= until:
                return False
            sleep(0.5)
        else:
            return True


def disk_free_gb(path: str | Path = "/") -> float:
    """Free space in GB (10^9 bytes) where `path` lies."""
    return shutil.disk_usage(path).free / 1e9


def check_disk(path: Path, least: float = LEAST_DISK_GB) -> None:
    """Refuse a disk on which a run that writes to `path` would soon lose what was paid for.

    Raises:
        EnvironmentUnavailableError: less than `least` gigabytes are free.
    """
    free = disk_free_gb(path)
    if free < least:
        raise EnvironmentUnavailableError(f"{free:.1f} GB free at {path.resolve()}: free at least {least:g} GB first")


def check_starved(places: Iterable[Path], record: Path) -> None:
    """Commands that met a full disk say nothing of the model, though they look like its failures.

    Args:
        places: where the run and the engine write.
        record: what the commands printed; it may be absent.

    Raises:
        DiskFullError: a disk is full, and the record shows that commands failed for it.
    """
    full = [place for place in places if disk_free_gb(place) < STARVED_GB]
    if full and record.is_file() and NO_SPACE in record.read_text(encoding="utf-8", errors="replace"):
        raise DiskFullError(f"the disk at {full[0]} is full, and {record.name} shows that commands failed for it")


def server_version(client: DockerClient) -> str:
    info: dict[str, Any] = client.version()
    return str(info.get("Version", "?"))
