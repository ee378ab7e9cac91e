"""A grading's container in the disk watch, beside the agents' (`agents.container.disk`)."""

from __future__ import annotations

import logging
import subprocess
from typing import Self

from agents.container.host import DockerHost
from agents.container.limits import ContainerLimits

logger = logging.getLogger("polyswe.grading")


class GradingDisk:
    """What one grading may write. Implements `agents.container.disk.Watched`.

    A container that holds too much is killed. The official harness works in another process, which asks afterwards
    whether that was so: a container that we have ended is not one that somebody ended from outside.
    """

    def __init__(self, host: DockerHost, image: str, limits: ContainerLimits | None) -> None:
        """
        Args:
            host: the engine, whose watch also sees the agents' containers.
            image: the instance's.
            limits: the container's; None, or none for its disk, leaves it unwatched.
        """
        self.name = ""
        self.image = image
        self.ended_for = ""
        """Why the container was ended; empty where it was not."""
        self._host = host
        self._limits = limits

    @property
    def disk_bytes(self) -> float:
        return float("inf") if self._limits is None else self._limits.disk_bytes

    def container_started(self, name: str) -> None:
        """Watch the grading's container from now on."""
        if self.disk_bytes < float("inf"):
            self.name = name
            self._host.disk_watch.add(self)

    def overflow(self, reason: str) -> None:
        if self.ended_for:  # its removal, which gives the space back, is under way
            return
        self.ended_for = reason  # before the kill, with which the harness goes on
        try:
            done = self._host.run("kill", self.name, timeout=120)
            failure = done.stderr.strip() if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = type(error).__name__
        if failure:  # it has ended already, or the engine is gone
            self.ended_for = ""
            logger.warning("container %s, which holds too much, was not ended: %s", self.name, failure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.name:
            self._host.disk_watch.discard(self)
