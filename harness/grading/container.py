"""The docker client that the official harness is given: the SDK's own, which adds settings to containers it creates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docker import DockerClient
from docker.models.containers import Container, ContainerCollection

SETTINGS: Mapping[str, Any] = {
    # the first process ignores SIGTERM, for which the official clean-up would wait 15 seconds
    "stop_signal": "SIGKILL",
    # what tests write to the first process's output would grow without bound on the host
    "log_config": {"Type": "none", "Config": {}},
}
"""Arguments of `containers.create` for every grading."""


class GradingClient(DockerClient):
    """The SDK's client; every container that is created with it gets `settings` beside the caller's own arguments."""

    settings: Mapping[str, Any] = SETTINGS
    created: Container | None = None
    """The container that was created last."""

    @property
    def containers(self) -> ContainerCollection:
        return _ContainersWithSettings(client=self)


class _ContainersWithSettings(ContainerCollection):
    client: GradingClient

    def create(self, *args: Any, **kwargs: Any) -> Container:
        container: Container = super().create(*args, **{**self.client.settings, **kwargs})
        self.client.created = container
        return container
