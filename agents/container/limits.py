"""What one container may take of the machine, for agents and for gradings alike."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agents.strict_model import StrictModel

GB = 1_000_000_000
MEMORY = r"^[1-9]\d*[bkmg]?$"


class ContainerLimits(StrictModel):
    """The defaults are wide enough for real SWE-bench instances and tight enough that a machine survives any one."""

    memory: str | None = Field(default="8g", pattern=MEMORY)
    """Memory, such as `8g`, not counting the page cache. There is no swap in addition. None means no limit."""
    cpus: float | None = Field(default=None, gt=0)
    """CPUs. None: containers share the machine evenly, and none is slowed down while there is room."""
    pids: int | None = Field(default=4096, gt=0)
    """Processes and threads, against fork bombs. None means no limit."""
    disk_gb: float | None = Field(default=20, gt=0)
    """GB that a container may write. No file of it grows beyond this, and a container that holds more is ended within
    seconds (overlay2 has no quota of its own on most file systems, so that the sum is looked at, not enforced).
    None means no limit."""
    shm: str | None = Field(default=None, pattern=MEMORY)
    """Size of /dev/shm, such as `1g`. None takes the engine's own (64 MB), which the official harness uses too."""

    def options(self) -> list[str]:
        """Arguments of `docker run`."""
        memory = {"--memory": self.memory, "--memory-swap": self.memory} if self.memory else {}
        size = {"--cpus": self.cpus, "--pids-limit": self.pids, "--shm-size": self.shm}
        flags = [part for flag, value in (memory | size).items() if value is not None for part in (flag, str(value))]
        return flags + [part for name, most in self._ulimits().items() for part in ("--ulimit", f"{name}={most}")]

    def arguments(self) -> dict[str, Any]:
        """Arguments of the docker SDK's `containers.create`, as plain values."""
        named = {
            "mem_limit": self.memory,
            "memswap_limit": self.memory,
            "nano_cpus": None if self.cpus is None else round(self.cpus * 1e9),
            "pids_limit": self.pids,
            "shm_size": self.shm,
        }
        ulimits = [{"Name": name, "Soft": most, "Hard": most} for name, most in self._ulimits().items()]
        return {name: value for name, value in named.items() if value is not None} | {"ulimits": ulimits}

    @property
    def disk_bytes(self) -> float:
        return float("inf") if self.disk_gb is None else self.disk_gb * GB

    def _ulimits(self) -> dict[str, int]:
        largest = {} if self.disk_gb is None else {"fsize": round(self.disk_gb * GB)}
        return {"core": 0} | largest  # a core dump is a way to fill a disk
