"""Work that is not repeated at every call: what is sent, shown and kept is what it would be otherwise."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import litellm
import pytest
from jinja2 import StrictUndefined, Undefined, UndefinedError
from litellm._internal_context import is_internal_call
from minisweagent.models.utils import actions_toolcall
from openai._utils import maybe_transform
from openai.resources.chat.completions import completions

from agents.container.environment import Container, ContainerConfig
from agents.deadline import Deadline
from agents.loop import PoolAgent
from agents.model import PoolModel
from agents.pool import ModelConfig, redact, secrets
from agents.quick import compile_templates_once, completion_unreported, send_messages_as_they_are
from agents.retry import RetryConfig

CALL = {"id": "c1", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "system", "content": "You are … careful."},
    {"role": "user", "content": [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "hm", "provider": {"x": [1]}},
    {"role": "tool", "content": "a\tb \U0001f600", "tool_call_id": "c1"},
]


def make(url: str = "http://127.0.0.1:9/v1", **fields: Any) -> PoolModel:
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}
    entry = ModelConfig(**{"name": "m", "model": "openai/m", "api_base": url} | prices | fields)
    return PoolModel(entry, RetryConfig(max_attempts=1), Deadline())


def test_a_conversation_is_sent_as_openais_client_sends_it(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions.maybe_transform is not maybe_transform
    model = make(faulty.url)
    model.config.model_kwargs |= {"temperature": 0.5, "stop": ["x"], "extra_body": {"more": 1}}
    model.query(CONVERSATION)
    monkeypatch.setattr(completions, "maybe_transform", maybe_transform)
    model.query(CONVERSATION)
    ours, theirs = (json.dumps(request) for request in faulty.requests)  # as texts: the order counts as well
    assert ours == theirs
    assert '"tool_call_id"' in ours
    assert '"extra_body"' not in ours


def test_messages_that_are_no_json_are_left_to_openais_client() -> None:
    typed = [completions.ChatCompletion.model_construct(id="x")]
    assert completions.maybe_transform({"messages": typed}, dict[str, object]) == {"messages": typed}
    assert completions.maybe_transform(None, dict[str, object]) is None


def test_nothing_is_wrapped_twice() -> None:
    before = completions.maybe_transform, actions_toolcall.Template
    send_messages_as_they_are()
    compile_templates_once()
    assert before == (completions.maybe_transform, actions_toolcall.Template)


def test_a_reply_and_its_cost_are_the_same_without_reports(faulty: Any) -> None:
    request: dict[str, Any] = {
        "model": "openai/m",
        "api_base": faulty.url,
        "api_key": "k",
        "messages": CONVERSATION[:2],
    }
    ours, theirs = completion_unreported(**request), litellm.completion(**request)
    assert ours.model_dump() == theirs.model_dump()
    prices = {"input_cost_per_token": 1e-3, "output_cost_per_token": 1e-2}
    ours_cost, their_cost = (
        litellm.completion_cost(reply, model="openai/m", custom_cost_per_token=prices) for reply in (ours, theirs)
    )
    assert ours_cost == their_cost > 0


@pytest.mark.parametrize("kind", [None, "callbacks", "success_callback", "service_callback"])
def test_reports_are_made_for_whoever_asks(monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    left_out = []
    monkeypatch.setattr(litellm, "completion", lambda **_: left_out.append(is_internal_call.get()))
    importlib.import_module("litellm.llms.vertex_ai.context_caching.vertex_ai_context_caching")  # as a Gemini call does
    assert litellm.success_callback == ["cache"]
    if kind is not None:
        monkeypatch.setattr(litellm, kind, [print])
    completion_unreported()
    assert left_out == [kind is None]
    assert not is_internal_call.get()


def test_a_template_is_compiled_once_and_renders_anew() -> None:
    model = make()
    actions = [{"command": "ls", "tool_call_id": "c"}]
    compiled = actions_toolcall.Template.cache_info().misses

    def shown(output: str) -> str:
        message = {"extra": {"actions": actions}}
        formatted = model.format_observation_messages(message, [{"output": output, "returncode": 0}])
        return str(formatted[0]["content"])

    model.config.observation_template = "{% set seen = output.output %}{{ seen }} in {{ output.returncode }}"
    assert [shown("one"), shown("two")] == ["one in 0", "two in 0"]
    assert actions_toolcall.Template.cache_info().misses == compiled + 1
    with pytest.raises(UndefinedError):
        actions_toolcall.Template("{{ a }}", undefined=StrictUndefined).render()
    assert actions_toolcall.Template("{{ a }}", undefined=Undefined).render() == ""


def test_a_trajectory_is_whole_after_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = PoolAgent(
        make(),
        Container(ContainerConfig(image="none")),
        stamp={"instance_id": "i", "scripted": False},
        system_template="",
        instance_template="",
        output_path=tmp_path / "trajectory.json",
    )
    kept = tmp_path / "trajectory.json"
    said = ["one", "the key is sk-canary-0123456789", "drei …", 'sk-other-9876543210 and "quotes"', "sk-late-55555555"]
    monkeypatch.setenv("FIRST_API_KEY", "sk-canary-0123456789")
    monkeypatch.setenv("SECOND_TOKEN", "sk-other-9876543210")

    def expected(indent: int | None = None) -> str:
        return redact(json.dumps(agent.serialize(), indent=indent), secrets(agent.model.pool))

    agent.save(kept)
    assert kept.read_text() == expected()
    for text in said:
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
