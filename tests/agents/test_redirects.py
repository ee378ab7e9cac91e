"""A redirect takes nothing along: no key, no conversation, through no provider's client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig
from agents.third_party import load_litellm

PROVIDERS = ["openai/m", "anthropic/m", "gemini/m", "azure/m", "azure_ai/m", "openrouter/m", "hosted_vllm/m", "groq/m",
             "mistral/m", "deepseek/m", "cohere_chat/m", "ollama/m", "bedrock/converse/anthropic.m", "xai/m",
             "fireworks_ai/m", "together_ai/m", "databricks/m", "litellm_proxy/m"]  # fmt: skip


class Elsewhere:
    """A server that nobody may reach."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                owner.requests.append(f"{self.requestline} {self.headers} {self.rfile.read(length)!r}")
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *args: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/taken"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    server = Elsewhere()
    yield server
    server.http.shutdown()
    server.http.socket.close()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYSWE_TEST_KEY", "sk-canary-0123456789")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("AWS_REGION_NAME", "us-east-1")


@pytest.mark.parametrize(
    ("provider", "code"),
    [*((provider, 307) for provider in PROVIDERS), *(("anthropic/m", code) for code in (301, 302, 303, 308))],
)
def test_a_redirect_is_not_followed(faulty: Any, elsewhere: Elsewhere, provider: str, code: int) -> None:
    target = f"{elsewhere.url}?key=sk-canary-0123456789"
    faulty.faults = [lambda handler: handler.answer(code, b"", {"Location": target})] * 9
    kwargs = {"api_version": "2024-01-01"} if provider.startswith("azure/") else {}
    entry = ModelConfig(
        name="m", model=provider, api_base=faulty.url, api_key_env="POLYSWE_TEST_KEY", free=True, model_kwargs=kwargs
    )
    model = PoolModel(entry, RetryConfig(initial_wait_seconds=0.01, call_timeout_seconds=60), Deadline())
    with pytest.raises(ProviderError) as caught:
        model.query([{"role": "user", "content": "hello"}])
    assert elsewhere.requests == []
    assert (caught.value.kind, model.usage.failed_calls) == ("malformed", 1)
    assert elsewhere.url in str(caught.value)
    assert "canary" not in str(caught.value)


def test_a_redirect_without_an_address_is_not_followed_either(faulty: Any) -> None:
    faulty.faults = [lambda handler: handler.answer(302, b"")]
    entry = ModelConfig(name="m", model="openai/m", api_base=faulty.url, free=True)
    with pytest.raises(ProviderError, match="m: malformed: HTTP 302 redirects"):
        PoolModel(entry, RetryConfig(), Deadline()).query([{"role": "user", "content": "hello"}])


def test_litellms_own_clients_follow_none(faulty: Any, elsewhere: Elsewhere) -> None:
    litellm = load_litellm()
    from litellm.llms.custom_httpx.http_handler import HTTPHandler

    for client in (litellm.client_session, HTTPHandler(timeout=5).client):
        faulty.faults = [lambda handler: handler.answer(307, b"", {"Location": elsewhere.url})]
        assert client.post(faulty.url, json={}).status_code == 307
    assert elsewhere.requests == []
