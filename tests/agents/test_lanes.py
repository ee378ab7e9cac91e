"""Connections to model servers: kept, one for each call under way, and never one that broke."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from agents.lanes import Lanes

CALLS_AT_ONCE = 30  # httpx keeps twenty connections by itself


@dataclass
class CountingServer:
    url: str
    connections: list[tuple[str, int]] = field(default_factory=list)
    closed: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    cookies: list[str | None] = field(default_factory=list)
    everybody: threading.Barrier | None = None

    def wait_for_closed(self, number: int) -> None:
        deadline = time.monotonic() + 10
        while len(self.closed) < number and time.monotonic() < deadline:
            time.sleep(0.02)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: CountingServer

    def setup(self) -> None:
        super().setup()
        self.owner.connections.append(self.client_address)

    def finish(self) -> None:
        super().finish()
        with suppress(OSError):  # the client may have been first
            self.connection.shutdown(socket.SHUT_WR)
        self.owner.closed.append(self.client_address)

    def do_GET(self) -> None:
        self.owner.asked.append(self.path)
        self.owner.cookies.append(self.headers.get("Cookie"))
        if self.owner.everybody is not None:
            self.owner.everybody.wait(30)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.send_header("Set-Cookie", "whose=one-keys; Path=/")
        self.end_headers()
        self.wfile.write(b"ab" if "broken" in self.path else b"abcd")
        self.close_connection = "broken" in self.path or "once" in self.path

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def server() -> Iterator[CountingServer]:
    handler = type("Handler", (_Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    handler.owner = CountingServer(f"http://127.0.0.1:{http.server_port}")
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield handler.owner
    http.shutdown()
    http.socket.close()


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(transport=Lanes(httpx.HTTPTransport)) as client:
        yield client


def test_every_call_under_way_has_a_connection_and_the_next_ones_use_it(
    server: CountingServer, client: httpx.Client
) -> None:
    server.everybody = threading.Barrier(CALLS_AT_ONCE)  # no reply before all have asked
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        for _ in range(3):
            texts = list(pool.map(lambda _: client.get(server.url, timeout=30).text, range(CALLS_AT_ONCE)))
            assert texts == ["abcd"] * CALLS_AT_ONCE
    assert len(server.asked) == 3 * CALLS_AT_ONCE
    assert len(server.connections) == CALLS_AT_ONCE


@pytest.mark.parametrize("end", ["broken", "once"])
def test_a_connection_that_has_ended_is_replaced(server: CountingServer, client: httpx.Client, end: str) -> None:
    for ended in (1, 2):
        if end == "broken":
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"{server.url}/{end}")
        else:
            assert client.get(f"{server.url}/{end}").text == "abcd"
            server.wait_for_closed(ended)
        assert client.get(server.url).text == "abcd"
        assert client.get(server.url).text == "abcd"
    assert len(server.connections) == 3  # the good call before the second end shares that one's


def test_nobody_there_is_an_error_and_holds_nothing(server: CountingServer, client: httpx.Client) -> None:
    with pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:9/")
    assert client.get(server.url).text == "abcd"


def test_a_reply_that_is_still_read_keeps_its_connection(server: CountingServer, client: httpx.Client) -> None:
    with client.stream("GET", server.url) as first:
        assert client.get(server.url).text == "abcd"
        assert first.read() == b"abcd"
        first.close()
        first.close()  # frees it once only: two calls would share it otherwise
        with client.stream("GET", server.url) as second, client.stream("GET", server.url) as third:
            assert (second.read(), third.read()) == (b"abcd", b"abcd")
    assert len(server.connections) == 2


def test_connections_that_are_not_needed_any_more_are_closed(
    server: CountingServer, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.lanes.IDLE_SECONDS", 0.3)
    with ExitStack() as at_once:
        for reply in [at_once.enter_context(client.stream("GET", server.url)) for _ in range(5)]:
            reply.read()
    assert (len(server.connections), server.closed) == (5, [])
    time.sleep(0.5)
    assert client.get(server.url).text == "abcd"
    server.wait_for_closed(4)
    assert len(server.connections) - len(server.closed) == 1


def test_a_client_that_is_closed_leaves_the_others_their_connections(server: CountingServer) -> None:
    lanes = Lanes(httpx.HTTPTransport)
    for _ in range(3):
        with httpx.Client(transport=lanes) as client:
            assert client.get(server.url).text == "abcd"
    assert len(server.connections) == 1


CALL = """\
import sys
from agents.third_party import load_litellm
import agents.model
litellm = load_litellm()
from litellm.llms.custom_httpx.http_handler import HTTPHandler
handler = HTTPHandler()
for _ in range(2):
    for session in (litellm.client_session, handler.client):
        if session is not None:
            session.post(sys.argv[1], content=b"x").read()
print(type(litellm.client_session).__name__)
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig
from agents.deadline import Deadline
entry = ModelConfig(name="m", model="hosted_vllm/m", free=True, model_kwargs={"ssl_verify": False})
PoolModel(entry, RetryConfig(), Deadline())
assert type(HTTPHandler(ssl_verify=False).client._transport).__name__ == "HTTPTransport"
"""


def called(url: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", CALL, url], capture_output=True, text=True, timeout=120, env=clean | environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_litellms_clients_share_the_lanes(server: CountingServer) -> None:
    assert called(f"{server.url}/v1") == "Client"
    assert server.cookies == [None] * 4
    assert len(server.connections) == 1


def test_a_proxy_is_still_used(server: CountingServer) -> None:
    assert called("http://provider.invalid/v1", HTTP_PROXY=server.url) == "NoneType"
    assert server.asked == ["http://provider.invalid/v1"] * 2
