"""An OpenAI-compatible server on 127.0.0.1 whose models are the scripted stand-ins of a folder of playbooks."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from agents.container.environment import SUBMIT_MARKER
from agents.evidence.judge import MARKER as JUDGE_MARKER
from agents.evidence.writer import MARKER as TESTS_MARKER
from agents.rating import MARKER as RATING_MARKER
from agents.rating import QUESTIONS
from agents.review import MARKER as REVIEW_MARKER
from agents.scripted.playbook import MODELS, Playbook, Step, load_playbooks, recognise
from agents.scripted.stream import pieces

LABEL = "[scripted stand-in]"
"""Every reply's text begins so: nobody shall take it for a language model's."""

_COMPLETIONS = re.compile(r"(?:/attempt-(\d{1,4}))?/v1/chat/completions")
"""Repeated attempts have addresses of their own: a conversation does not say which attempt it belongs to."""
_REVIEW = Step(say="I cannot judge patches; this is a fixed answer. SCORE: 50")
_JUDGEMENT = Step(say="I cannot judge tests; this is a fixed answer. ANSWER: no")
_RATING = Step(say="I cannot rate issues; these are fixed answers.\n" + "\n".join(f"{name}: 5" for name in QUESTIONS))
_UNKNOWN = Step(say="I have no script for this issue, so I submit nothing.", run=(f"echo {SUBMIT_MARKER}",))
_NO_TESTS = Step(say="I have no tests of this issue, so I submit none.", run=(f"echo {SUBMIT_MARKER}",))
_OVER = Step(say="My script for this issue is over, so I submit nothing.", run=(f"echo {SUBMIT_MARKER}",))


@dataclass
class ModelStats:
    """What the server has counted for one model."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class ServedCall:
    """One answered call, as the server has counted it."""

    model: str
    instance_id: str
    """Empty when the issue was not recognised."""
    turn: int
    """Replies the conversation had had before; 0 begins an attempt."""
    prompt_tokens: int
    completion_tokens: int
    attempt: int = 1
    """By the address that was called."""
    tests: bool = False
    """Tests of the issue were asked for, not a fix."""


class ScriptedServer:
    """The server in a daemon thread, while the context lasts. `url` is what a model's `api_base` needs."""

    def __init__(self, playbook_dir: Path, delay: float = 0.0, port: int = 0) -> None:
        """delay: seconds each call takes. port: 0 takes any free one. Raises PlaybookError, OSError (port taken)."""
        self.playbooks = load_playbooks(playbook_dir)
        self.delay = delay
        self.models = (*MODELS, *sorted({name for book in self.playbooks for name in book.attempts} - set(MODELS)))
        self._stats = {name: ModelStats() for name in self.models}
        self._log: list[ServedCall] = []
        self._lock = threading.Lock()
        self._http = _Server(self, port)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._http.close_connections()
        self._thread.join()

    def stats(self) -> dict[str, ModelStats]:
        """Calls and tokens per model so far."""
        with self._lock:
            return {name: ModelStats(**asdict(stats)) for name, stats in self._stats.items()}

    def log(self) -> list[ServedCall]:
        """Every answered call so far, in order."""
        with self._lock:
            return list(self._log)

    def reply(self, model: str, messages: list[dict[str, Any]], attempt: int = 1) -> dict[str, Any]:
        """The chat completion for a conversation of a model's n-th attempt, counted."""
        step = self.next_step(model, messages, attempt)
        text = f"{LABEL} {step.say}"
        number = _turn(messages)
        calls = [
            {
                "id": f"call_{number}_{index}",
                "type": "function",
                "function": {"name": "bash", "arguments": json.dumps({"command": command})},
            }
            for index, command in enumerate(step.run)
        ]
        prompt_tokens = _tokens(json.dumps(messages, ensure_ascii=False))
        completion_tokens = _tokens(text + "".join(step.run))
        with self._lock:
            stats = self._stats[model]
            stats.calls += 1
            stats.prompt_tokens += prompt_tokens
            stats.completion_tokens += completion_tokens
            first = _first_user(messages)
            playbook = recognise(first, self.playbooks)
            instance_id = playbook.instance_id if playbook else ""
            tests = first.startswith(TESTS_MARKER)
            self._log.append(ServedCall(model, instance_id, number, prompt_tokens, completion_tokens, attempt, tests))
        message = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
        return {
            "id": f"scripted-{number}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "total_tokens": prompt_tokens + completion_tokens,
            },
        }

    def next_step(self, model: str, messages: list[dict[str, Any]], attempt: int = 1) -> Step:
        """Which step of which script answers a conversation."""
        first = _first_user(messages)
        if first.startswith(REVIEW_MARKER):
            return _REVIEW
        if first.startswith(JUDGE_MARKER):
            return _JUDGEMENT
        if first.startswith(RATING_MARKER):
            return _RATING
        playbook: Playbook | None = recognise(first, self.playbooks)
        if first.startswith(TESTS_MARKER):
            written = playbook.tests.get(model) if playbook else None
            steps = written.steps if written else (_NO_TESTS,)
            return steps[turn] if (turn := _turn(messages)) < len(steps) else _OVER
        script = playbook.script(model, attempt) if playbook else None
        return (script.step(_turn(messages)) or _OVER) if script else _UNKNOWN


def _turn(messages: list[dict[str, Any]]) -> int:
    """How many replies the conversation has had.

    mini-swe-agent drops a reply without tool call from the conversation and only adds a user message that complains,
    so that every user message after the first stands for a reply as well.
    """
    roles = [message.get("role") for message in messages]
    return roles.count("assistant") + max(0, roles.count("user") - 1)


def _first_user(messages: list[dict[str, Any]]) -> str:
    return next((_text(message) for message in messages if message.get("role") == "user"), "")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content if isinstance(part, dict))


def _tokens(text: str) -> int:
    return max(1, math.ceil(len(text) / 4))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # kept-alive connections would hold server_close for ever
    request_queue_size = 128

    def __init__(self, owner: ScriptedServer, port: int) -> None:
        self.owner = owner
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # not HTTPServer's, which asks the DNS for the machine's name
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End kept-alive connections, whose threads would go on answering after the shutdown."""
        with self._connections_lock:
            for connection in self._connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # the client was faster
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # buffered: headers and body leave in one packet
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        if self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [_card(name) for name in owner.models]})
        elif self.path in ("/stats", "/v1/stats"):
            self._send(200, {name: asdict(stats) for name, stats in owner.stats().items()})
        else:
            self._refuse(404, f"no such path: {self.path}", "not_found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        owner = self.server.owner
        place = _COMPLETIONS.fullmatch(self.path)
        if place is None:
            self._refuse(404, f"no such path: {self.path}", "not_found")
            return
        try:
            request = json.loads(body)
            model, messages = request["model"], request["messages"]
            well_formed = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
        except (ValueError, KeyError, TypeError):
            well_formed = False
        if not well_formed:
            self._refuse(400, "expected a JSON object with model and messages", "invalid_request")
        elif model not in owner.models:
            known = ", ".join(owner.models)
            self._refuse(404, f"The model `{model}` does not exist, choose from {known}", "model_not_found")
        else:
            if owner.delay:
                time.sleep(owner.delay)
            completion = owner.reply(model, messages, int(place[1] or 1))
            if request.get("stream"):
                wants_usage = bool((request.get("stream_options") or {}).get("include_usage"))
                self._send_events(pieces(completion, usage=wants_usage))
            else:
                self._send(200, completion)

    def _refuse(self, status: int, message: str, code: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        self._send(status, {"error": error})

    def _send(self, status: int, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_events(self, events: Iterable[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")  # the end of the connection is the end of the stream
        self.end_headers()
        for event in events:
            self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the caller counts."""


def _card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "scripted"}
