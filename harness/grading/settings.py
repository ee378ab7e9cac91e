"""How a grading's container is created, and what is bounded of a grading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from agents.container.limits import ContainerLimits


class GradingContainer(BaseModel):
    """Settings that are added to the official harness's own when it creates a container."""

    model_config = ConfigDict(extra="forbid")

    limits: ContainerLimits | None = None
    """What the container may take of the machine; None takes no limits, as the official harness."""
    network: str | None = None
    """Docker network; None is the engine's default, as with the official harness."""
    capabilities: list[str] = []
    """Linux capabilities beyond Docker's default ones. The official harness asks for SYS_ADMIN."""

    def arguments(self) -> dict[str, Any]:
        """Arguments of the docker SDK's `containers.create`, as plain values."""
        return {
            **(self.limits.arguments() if self.limits else {}),
            **({"network_mode": self.network} if self.network else {}),
            # in place of SYS_ADMIN, with which a patch can mount the host's disk
            "cap_add": self.capabilities,
            "security_opt": ["no-new-privileges"],
            # the first process ignores SIGTERM, for which the official clean-up would wait 15 seconds
            "stop_signal": "SIGKILL",
            # what tests write to the first process's output would grow without bound on the host
            "log_config": {"Type": "none", "Config": {}},
        }


@dataclass(frozen=True)
class Bounds:
    """What a patch may take of a grading beyond its tests' time limit. Exceeding one is the model's failure."""

    output_bytes: int = 100_000_000
    """Output of one command in the container, the tests' included."""
    apply_seconds: float = 1800
    """Applying the patch."""
    after_tests_seconds: float = 600
    """The diff of the working tree that the official harness takes after the tests."""
    reading_seconds: float = 600
    """Reading the results from the tests' output by the official harness."""
