"""The scripted server over real HTTP."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agents.scripted.playbook import address_of_attempt
from agents.scripted.server import LABEL, ScriptedServer

ASK = [{"role": "system", "content": "s"}, {"role": "user", "content": "Fix this: add() subtracts\n\nplease"}]


class Client:
    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/v1"))

    def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body)
        self.connection.request(method, path, raw if body is not None else None)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())

    def chat(self, model: str, messages: list[dict[str, Any]], **extra: Any) -> tuple[int, Any]:
        return self("POST", "/v1/chat/completions", {"model": model, "messages": messages, **extra})


def commands(reply: dict[str, Any]) -> list[str]:
    calls = reply["choices"][0]["message"].get("tool_calls", [])
    return [json.loads(call["function"]["arguments"])["command"] for call in calls]


def test_plays_the_steps_in_order_and_counts(playbook_dir: Path, playbook: dict[str, Any]) -> None:
    with ScriptedServer(playbook_dir) as server:
        client, messages = Client(server.url), list(ASK)
        used = 0
        for step in playbook["attempts"]["scripted-small"]["steps"]:
            status, reply = client.chat("scripted-small", messages)
            assert status == 200
            message = reply["choices"][0]["message"]
            assert message["content"] == f"{LABEL} {step['say']}"
            assert commands(reply) == step["run"]
            ids = [call["id"] for call in message["tool_calls"]]
            assert len(set(ids)) == len(ids)
            messages += [message, *({"role": "tool", "tool_call_id": name, "content": "ok"} for name in ids)]
            used += reply["usage"]["prompt_tokens"]
        assert client("GET", "/stats")[1]["scripted-small"]["prompt_tokens"] == used
        assert server.stats()["scripted-small"].calls == 4
        assert server.stats()["scripted-large"].calls == 0
        after = client.chat("scripted-small", [*messages, {"role": "assistant", "content": "x"}])[1]
        assert commands(after) == ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]


def test_a_longer_conversation_costs_more_prompt_tokens(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client = Client(server.url)
        short = client.chat("scripted-small", ASK)[1]["usage"]["prompt_tokens"]
        longer = client.chat("scripted-small", [*ASK, {"role": "tool", "content": "x" * 4000}])[1]["usage"]
        assert 1000 <= longer["prompt_tokens"] - short <= 1030


def test_loops_and_counts_dropped_replies_as_turns(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client = Client(server.url)
        late = ASK + [{"role": "assistant", "content": "x"}] * 40
        assert commands(client.chat("scripted-medium", late)[1]) == ["true"]
        complaint = {"role": "user", "content": "Tool call error"}
        assert commands(client.chat("scripted-large", [*ASK, complaint, complaint])[1]) == ["ls", "cat calc.py"]


def test_unknown_things_are_refused_or_answered_politely(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client = Client(server.url)
        status, reply = client.chat("gpt-5", ASK)
        assert status == 404
        assert reply["error"]["code"] == "model_not_found"
        assert "scripted-medium" in reply["error"]["message"]
        status, reply = client.chat("scripted-small", [{"role": "user", "content": "an issue nobody knows"}])
        assert status == 200
        assert reply["choices"][0]["message"]["content"].startswith(LABEL)
        assert commands(reply) == ["echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
        for body in (b"{", b"[]", b'{"model": "scripted-small"}', b'{"model": "scripted-small", "messages": ["x"]}'):
            assert client("POST", "/v1/chat/completions", body)[0] == 400
        assert client("GET", "/nowhere")[0] == 404
        assert [card["id"] for card in client("GET", "/v1/models")[1]["data"]][:1] == ["scripted-small"]


def test_content_in_parts_is_recognised(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        parts = [{"role": "user", "content": [{"type": "text", "text": "add() subtracts"}]}]
        assert commands(Client(server.url).chat("scripted-small", parts)[1]) == ["ls", "cat calc.py"]


def test_answers_fast_on_one_connection_and_obeys_the_delay(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client = Client(server.url)
        client.chat("scripted-small", ASK)
        socket = client.connection.sock
        seconds = []
        for _ in range(50):
            started = time.perf_counter()
            client.chat("scripted-small", ASK)
            seconds.append(time.perf_counter() - started)
        assert min(seconds) < 0.035  # Nagle's algorithm would cost every call 40 ms, a busy machine only some
        assert client.connection.sock is socket
    with ScriptedServer(playbook_dir, delay=0.2) as server:
        started = time.perf_counter()
        Client(server.url).chat("scripted-small", ASK)
        assert time.perf_counter() - started >= 0.2


def test_is_reachable_from_this_machine_only_and_gone_afterwards(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client = Client(server.url)
        client.chat("scripted-small", ASK)
        assert server.url.startswith("http://127.0.0.1:")
    client.connection.auto_open = False  # insist on the connection that was kept alive
    with pytest.raises((http.client.HTTPException, OSError)):
        client("GET", "/stats")
    with pytest.raises(OSError, match="refused"):
        Client(server.url)("GET", "/stats")


def test_command_line(playbook_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agents.scripted", "--playbook"]
    empty = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert (empty.returncode, empty.stderr.count("\n")) == (2, 1)
    with subprocess.Popen([*command, str(playbook_dir)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split(" at ")[1].split()[0]
        assert Client(url).chat("scripted-small", ASK)[0] == 200
        process.terminate()


def test_a_repeated_attempt_has_an_address_of_its_own(playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        client, body = Client(server.url), {"model": "scripted-small", "messages": ASK}
        for url in (server.url, address_of_attempt(server.url, 3)):
            status, _ = client("POST", f"/{url.split('/', 3)[3]}/chat/completions", body)
            assert status == 200
        assert [call.attempt for call in server.log()] == [1, 3]
        assert client("POST", "/attempt-x/v1/chat/completions", body)[0] == 404
