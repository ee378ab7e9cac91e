"""How an agent's container is started: its settings, and the options of `docker run` that they become."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.container.limits import ContainerLimits

_PRIVILEGES = [
    *("--security-opt", "no-new-privileges"),
    *(part for name in ("MKNOD", "NET_RAW", "SETFCAP", "SETPCAP") for part in ("--cap-drop", name)),
]
"""Taken from the engine's default, as work on a repository does not need it: device files, raw packets, and handing on
capabilities. Package managers, servers, `su` and tests work with the rest."""


class ContainerConfig(BaseModel):
    """How the agent's container is started and how its commands run."""

    model_config = ConfigDict(extra="forbid")

    image: str
    """Image whose `cwd` is the instance's git repository."""
    labels: dict[str, str] = {}
    """Docker labels, by which leftovers of a killed run are found."""
    cwd: str = "/testbed"
    """Working directory of every command."""
    env: dict[str, str] = {}
    """Environment variables of every command. Nothing of the host's environment is passed on."""
    interpreter: list[str] = ["bash", "-c"]
    """What runs a command; the command is appended."""
    timeout: float = Field(default=60, gt=0)
    """Seconds after which a command is killed."""
    network: str = "none"
    """Docker network. `none`: the fix of a public issue is only a download away."""
    limits: ContainerLimits = ContainerLimits()
    """What the container may take of the machine."""
    hide_later_history: bool = True
    """Whether commits, refs and objects that HEAD does not reach are removed before anything else happens."""
    pull: Literal["missing", "never"] = "missing"
    """Whether an image that is not on this machine is fetched."""
    start_timeout: float = Field(default=600, gt=0)
    """Seconds until the container must run, fetching the image included."""
    lifetime_seconds: int = Field(default=86_400, gt=0)
    """The container ends itself after this long, should nobody remove it."""
    max_output_bytes: int = Field(default=10_000_000, gt=0)
    """Bytes of one command's output that are kept, half from its head and half from its tail."""

    def options(self) -> list[str]:
        """Options of `docker run`."""
        options = ["--network", self.network, "--pull", self.pull, "-w", self.cwd]
        if self.network == "none":  # as on any other network, the container's own name must have an address
            hostname = uuid.uuid4().hex[:12]
            options += ["--hostname", hostname, "--add-host", f"{hostname}:127.0.0.1"]
        options += [*_PRIVILEGES, *self.limits.options()]
        return options + [part for key, value in self.labels.items() for part in ("--label", f"{key}={value}")]
