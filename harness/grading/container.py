"""The docker client that the official harness is given: the SDK's own, with settings for containers and a bound."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from docker import APIClient, DockerClient
from docker.errors import APIError
from docker.models.containers import Container, ContainerCollection
from docker.types import CancellableStream
from requests import RequestException


class GradingClient(DockerClient):
    """The SDK's client for one grading.

    Containers that are created with it get `settings`, which take precedence over the caller's arguments. A command in
    them that prints more than `max_output_bytes` ends its container.
    """

    def __init__(self, *, settings: Mapping[str, Any], max_output_bytes: int, **connection: Any) -> None:
        self.api = _BoundedAPI(self, **connection)
        self.settings = settings
        self.max_output_bytes = max_output_bytes
        self.created: Container | None = None
        """The container that was created last."""
        self.ended_for = ""
        """Why the container was ended before its time."""

    @property
    def containers(self) -> ContainerCollection:
        return _ContainersWithSettings(client=self)

    def end_container(self, reason: str) -> None:
        """Kill the container, which has gone beyond a bound."""
        if self.created is None:
            return
        self.ended_for = reason  # before the kill, with which the harness goes on
        try:
            self.created.kill()
        except (APIError, RequestException) as error:  # it has ended already, or the engine is gone
            self.ended_for = ""
            print(f"container {self.created.name}: {error}", file=sys.stderr)


class _ContainersWithSettings(ContainerCollection):
    client: GradingClient

    def create(self, *args: Any, **kwargs: Any) -> Container:
        container: Container = super().create(*args, **{**kwargs, **self.client.settings})
        self.client.created = container
        return container


class _BoundedAPI(APIClient):
    """The SDK's calls, with a look at how much the commands in a container print."""

    def __init__(self, owner: GradingClient, **connection: Any) -> None:
        super().__init__(**connection)
        self._owner = owner

    def exec_start(  # type: ignore[override]  # the overloads of the stubs
        self,
        exec_id: Any,
        detach: bool = False,
        tty: bool = False,
        stream: bool = False,
        socket: bool = False,
        demux: bool = False,
    ) -> Any:
        if detach or socket or demux:
            return super().exec_start(exec_id, detach, tty, stream, socket, demux)
        chunks = self._bounded(super().exec_start(exec_id, tty=tty, stream=True))
        return chunks if stream else b"".join(chunks)

    def _bounded(self, chunks: CancellableStream[bytes]) -> Iterator[bytes]:
        """The output in pieces that grow with it: the official harness appends each to all before, by copying both."""
        total, pending = 0, bytearray()
        for chunk in chunks:
            total += len(chunk)
            pending += chunk
            if total > self._owner.max_output_bytes:
                chunks.close()  # while nobody reads it, the engine is slow to end the container
                self._owner.end_container(f"a command printed more than {self._owner.max_output_bytes:,} bytes")
                break
            if len(pending) * 32 >= total:
                yield bytes(pending)
                pending.clear()
        yield bytes(pending)
