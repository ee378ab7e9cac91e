"""A Docker Engine as agents use it: through its command-line client, with one watch over all of its containers."""

from __future__ import annotations

import subprocess

from agents.container.capture import Captured, run_captured
from agents.container.disk import DiskWatch
from agents.container.history import Histories


class DockerHost:
    """What the containers of one process share. Thread-safe."""

    def __init__(self, executable: str = "docker", address: str | None = None) -> None:
        """
        Args:
            executable: Docker's client program.
            address: the engine's address, such as `unix:///var/run/docker.sock`. None leaves the choice to the client.
        """
        self.executable = executable
        self.client = [executable] if address is None else [executable, "--host", address]
        self.disk_watch = DiskWatch(self.client)
        self.histories = Histories()

    def run(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run the client, out of reach of a terminal's Ctrl-C, with its output as text.

        Raises:
            OSError: the client cannot be started.
            subprocess.TimeoutExpired: it was killed. The engine may go on with what it was asked to do.
        """
        command = [*self.client, *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout, start_new_session=True
        )

    def feed(self, *arguments: str, data: bytes, timeout: float) -> int:
        """Run the client with `data` as its input; its exit code. Raises as `run`."""
        command = [*self.client, *arguments]
        done = subprocess.run(command, input=data, capture_output=True, timeout=timeout, start_new_session=True)
        return done.returncode

    def capture(self, *arguments: str, timeout: float, max_bytes: int) -> Captured:
        """As `run_captured`, of the client."""
        return run_captured([*self.client, *arguments], timeout=timeout, max_bytes=max_bytes)
