"""mini-swe-agent's DefaultAgent with our clock, exit statuses and atomic trajectory. Importing it loads LiteLLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.container.environment import Container
from agents.deadline import OutOfTimeError
from agents.errors import ContainerEndedError, DiskLimitError, ProviderError
from agents.model import PoolModel
from agents.redaction import redacted_json, secrets
from agents.third_party import load_minisweagent

load_minisweagent()

from minisweagent.agents.default import DefaultAgent  # noqa: E402
from minisweagent.exceptions import InterruptAgentFlow  # noqa: E402

MODEL_FAILURES = {"context-window": "ContextWindowExceededError", "content-policy": "ContentPolicyViolationError"}
"""Refusals of the provider that are the model's failure on this instance → exit status (upstream's names)."""


class PoolAgent(DefaultAgent):  # type: ignore[misc]
    """mini-swe-agent's agent on one of the pool's models."""

    def __init__(self, model: PoolModel, container: Container, *, stamp: dict[str, Any], **config: Any) -> None:
        """An agent for one attempt.

        Args:
            model: The model.
            container: The started container.
            stamp: Merged into every saved trajectory.
            **config: Fields of upstream's AgentConfig.
        """
        # The wall clock is the deadline's business: upstream's would count a provider's outage against the model.
        super().__init__(model, container, **config | {"wall_time_limit_seconds": 0})
        self.stamp = stamp
        self._written_calls = -1

    def step(self) -> list[dict[str, Any]]:
        deadline = self.model.deadline
        try:
            deadline.check()
            messages: list[dict[str, Any]] = super().step()
            return messages
        except OutOfTimeError:
            raise _exit("TimeExceeded") from None
        except DiskLimitError as error:
            raise _exit("DiskLimitExceeded", str(error)) from None
        except ContainerEndedError as error:
            raise _exit("ContainerEnded", str(error)) from None
        except ProviderError as error:
            if error.kind not in MODEL_FAILURES:
                raise
            raise _exit(MODEL_FAILURES[error.kind], str(error)) from None

    def query(self) -> dict[str, Any]:
        message: dict[str, Any] = super().query()
        self.save(self.config.output_path)  # should we be killed while its commands run, the paid call is on record
        return message

    def serialize(self, *extra_dicts: dict[str, Any]) -> dict[str, Any]:
        limit = {"info": {"config": {"agent": {"wall_time_limit_seconds": self.model.deadline.limit_seconds}}}}
        data: dict[str, Any] = super().serialize(self.stamp, limit, *extra_dicts)
        return data

    def save(self, path: Path | None, *extra_dicts: dict[str, Any]) -> dict[str, Any]:
        """As upstream, but all or nothing: a reader (or a crash) never meets half a trajectory. And once a call, not
        again for what its commands print: a long conversation takes its time, and that costs nothing to lose."""
        finished = bool(self.messages) and self.messages[-1].get("role") == "exit"
        if path and not finished and self.n_calls == self._written_calls:
            return {}
        data = self.serialize(*extra_dicts)
        if path:
            self._written_calls = self.n_calls
            # Indentation is for readers of finished trajectories: it takes Python's own encoder, ten times slower.
            text = redacted_json(data, secrets(self.model.pool), indent=2 if finished else None)
            partial = path.with_suffix(".tmp")
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        return data


def _exit(status: str, content: str = "") -> InterruptAgentFlow:
    extra = {"exit_status": status, "submission": ""}
    return InterruptAgentFlow({"role": "exit", "content": content or status, "extra": extra})
