"""A throw-away image, a tiny playbook, and a model server that misbehaves on request: all real, none of it mocked."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agents.third_party import prepare
from harness.docker.engine import RUN_LABEL
from harness.sample.base_image import BASE_IMAGE, ensure_base

if TYPE_CHECKING:
    from docker import DockerClient

prepare()  # before any test module loads mini-swe-agent, which prints and writes to ~/.config otherwise

SUITE = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
"""Tells this process's images and containers from those of another suite on the same engine."""
IMAGE = f"polyswe-agents-test:{SUITE}"

# the label comes first, so that no layer is shared with another suite's image: each removes its own
DOCKERFILE = f"""\
FROM {BASE_IMAGE}
LABEL polyswe.test.suite={SUITE}
WORKDIR /testbed
RUN printf 'def add(a, b):\\n    return a - b\\n' > calc.py && printf 'one\\r\\ntwo\\r\\n' > crlf.txt && \\
    git init -q -b main . && git config user.email t@example.invalid && git config user.name t && \\
    git add -A && git commit -q -m base
"""

TITLE = "add() subtracts"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt"
FIX = "sed -i 's/a - b/a + b/' calc.py"


@pytest.fixture(scope="session")
def image(engine: DockerClient) -> Iterator[str]:
    """An image with a one-file git repository in /testbed, gone at the end."""
    ensure_base(engine)
    built = subprocess.run(
        ["docker", "build", "-q", "--network", "none", "-t", IMAGE, "-"],
        input=DOCKERFILE,
        text=True,
        capture_output=True,
    )
    assert built.returncode == 0, f"the test image could not be built: {built.stderr.strip()[-300:]}"
    yield IMAGE
    subprocess.run(["docker", "rmi", "-f", IMAGE], capture_output=True, check=True)


@pytest.fixture
def labels(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Labels of this test alone; afterwards nothing bearing them may be left."""
    labels = {RUN_LABEL: f"{tmp_path.name}-{SUITE}"}
    yield labels
    left = containers(labels)
    if left:
        subprocess.run(["docker", "rm", "-f", *left], capture_output=True)
    assert left == []


def containers(labels: dict[str, str]) -> list[str]:
    filters = [part for key, value in labels.items() for part in ("--filter", f"label={key}={value}")]
    return subprocess.run(["docker", "ps", "-aq", *filters], capture_output=True, text=True).stdout.split()


@pytest.fixture
def list_containers() -> Callable[[dict[str, str]], list[str]]:
    return containers


def example_playbook() -> dict[str, Any]:
    fixing = [
        {"say": "I look around.", "run": ["ls", "cat calc.py"]},
        {"say": "I fix it.", "run": [FIX]},
        {"say": "I write the patch.", "run": ["git diff -- calc.py > patch.txt && cat patch.txt"]},
        {"say": "I submit.", "run": [SUBMIT]},
    ]
    return {
        "instance_id": "demo__calc-1",
        "title": TITLE,
        "attempts": {
            "scripted-small": {"intent": "right", "steps": fixing},
            "scripted-medium": {
                "intent": "unsubmitted",
                "loop": True,
                "steps": [{"say": "I fix it.", "run": [FIX, "touch new.txt"]}, {"say": "I think.", "run": ["true"]}],
            },
            "scripted-large": {
                "intent": "right",
                "steps": [{"say": "I forget to act.", "run": []}, {"say": "And again."}, *fixing],
            },
        },
    }


@pytest.fixture
def playbook() -> dict[str, Any]:
    """A valid playbook as plain data, to be bent by tests."""
    return example_playbook()


@pytest.fixture
def playbook_dir(tmp_path: Path, playbook: dict[str, Any]) -> Path:
    folder = tmp_path / "playbook"
    folder.mkdir()
    (folder / "demo__calc-1.yaml").write_text(yaml.safe_dump(playbook))
    return folder


Fault = Callable[["_Handler"], None]


@dataclass
class FaultyServer:
    """Plays `faults` one per request, then answers properly with a submission of nothing."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    usage: dict[str, Any] | None = field(
        default_factory=lambda: {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_tokens_details": {"cached_tokens": 40},
        }
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.owner.requests.append(json.loads(body))
        self.owner.keys.append(self.headers.get("Authorization", ""))
        if self.owner.faults:
            self.owner.faults.pop(0)(self)
            return
        command = json.dumps({"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"})
        call = {"id": "call_1", "type": "function", "function": {"name": "bash", "arguments": command}}
        message = {"role": "assistant", "content": "done", "tool_calls": [call]}
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}],
        }
        self.answer(200, reply | ({"usage": self.owner.usage} if self.owner.usage else {}))

    def answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(raw)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *args: object) -> None: ...


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None: ...


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    handler = type("Handler", (_Handler,), {})
    http = _Quiet(("127.0.0.1", 0), handler)
    server = FaultyServer(url=f"http://127.0.0.1:{http.server_port}/v1")
    handler.owner = server
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    http.shutdown()
    http.socket.close()
