"""What an agent leaves on disk: a whole trajectory after every call, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.deadline import Deadline
from agents.loop import PoolAgent
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.redaction import redact, secrets
from agents.retry import RetryConfig


def test_a_trajectory_is_whole_after_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ModelConfig(name="m", model="openai/m", api_base="http://127.0.0.1:9/v1", free=True)
    agent = PoolAgent(
        PoolModel(entry, RetryConfig(), Deadline()),
        Container(ContainerConfig(image="none")),
        stamp={"instance_id": "i", "scripted": False},
        system_template="",
        instance_template="",
        output_path=tmp_path / "trajectory.json",
    )
    kept = tmp_path / "trajectory.json"
    texts = ["one", "the key is sk-canary-0123456789", "drei …", 'sk-other-9876543210 and "quotes"', "sk-late-55555555"]
    monkeypatch.setenv("FIRST_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("SECOND_TOKEN", "sk-other-9876543210")

    def expected(indent: int | None = None) -> str:
        return redact(json.dumps(agent.serialize(), indent=indent), secrets(agent.model.pool))

    agent.save(kept)
    assert kept.read_text() == expected()
    for text in texts:
        agent.add_messages({"role": "user", "content": text, "extra": {"raw": text}}, {"role": "tool", "content": ""})
        agent.n_calls += 1
        agent.save(kept)
        assert kept.read_text() == expected()
    assert "sk-late-55555555" in kept.read_text()
    assert "sk-canary" not in kept.read_text()
    monkeypatch.setenv("LATE_API_KEY", "sk-late-55555555")  # hides what has been encoded before
    agent.n_calls += 1
    agent.save(kept)
    assert kept.read_text() == expected()
    assert "sk-late-55555555" not in kept.read_text()
    before = kept.read_text()
    agent.add_messages({"role": "tool", "content": "nothing was paid for this"})
    agent.save(kept)
    assert kept.read_text() == before
    agent.messages = []
    agent.n_calls += 1
    agent.save(kept)
    assert kept.read_text() == expected()
    agent.add_messages({"role": "exit", "content": "", "extra": {"exit_status": "Submitted", "submission": "x"}})
    agent.save(kept)
    assert kept.read_text() == expected(indent=2)
    assert [path.name for path in tmp_path.iterdir()] == ["trajectory.json"]
