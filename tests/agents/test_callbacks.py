"""LiteLLM's callbacks beside real calls: they are shown everything, providers nothing, and no call waits for them."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.callbacks import CallbackError, Tracing, check_callbacks
from agents.deadline import Deadline
from agents.errors import ProviderError
from agents.model import PoolModel
from agents.pool import ModelConfig
from agents.retry import RetryConfig

QUESTION = [{"role": "user", "content": "What fails?"}]
TRACE = {"run": "friday", "instance": "django__django-1", "model": "m", "attempt": 2}


class TraceServer:
    """Takes LangSmith's batches; `hang` keeps its clients waiting."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.hang = threading.Event()
        self.release = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if server.hang.is_set():
                    server.release.wait(60)
                server.runs += body["post"]
                self.send_response(202)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def traces(monkeypatch: pytest.MonkeyPatch) -> Iterator[TraceServer]:
    server = TraceServer()
    monkeypatch.setenv("LANGSMITH_API_KEY", "none")
    monkeypatch.setenv("LANGSMITH_BASE_URL", f"http://127.0.0.1:{server.http.server_port}")
    yield server
    server.release.set()
    server.http.shutdown()
    server.http.server_close()


def make(url: str, attempts: int = 1, **options: Any) -> PoolModel:
    entry = ModelConfig(name="m", model="openai/m", api_base=url, free=True, **options)
    retry = RetryConfig(max_attempts=attempts, initial_wait_seconds=0.01, max_wait_seconds=0.02)
    return PoolModel(entry, retry, Deadline(), trace=TRACE)


def test_a_callback_is_shown_each_call_with_its_metadata_and_the_provider_is_not(
    faulty: Any, traces: TraceServer
) -> None:
    tracing = Tracing(["langsmith"])
    tracing.start()
    make(faulty.url, model_kwargs={"metadata": {"team": "blue"}}).query(QUESTION)
    faulty.faults = [lambda handler: handler.answer(429, {"error": {"message": "slow down"}})]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url).query(QUESTION)
    assert caught.value.kind == "rate-limit"
    tracing.stop(30)
    assert tracing.failures == {}
    shown = [json.dumps(run) for run in traces.runs]
    assert len(shown) == 2
    assert all("What fails?" in text and "django__django-1" in text and "friday" in text for text in shown)
    assert "blue" in shown[0]
    assert "slow down" in shown[1]
    assert all("metadata" not in request and "django" not in json.dumps(request) for request in faulty.requests)
    make(faulty.url).query(QUESTION)
    assert len(traces.runs) == 2, "after the run nothing is traced"


def test_no_call_notices_that_a_callback_fails(faulty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_API_KEY", "none")
    monkeypatch.setenv("LANGSMITH_BASE_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setenv("LANGSMITH_BATCH_SIZE", "1")
    tracing = Tracing(["langsmith"])
    tracing.start()
    # the requests of a callback are not taken for the model's: the failure keeps its kind
    faulty.faults = [lambda handler: handler.answer(400, {"error": {"message": "no such parameter"}})]
    with pytest.raises(ProviderError) as caught:
        make(faulty.url).query(QUESTION)
    assert (caught.value.kind, "no such parameter" in str(caught.value)) == ("bad-request", True)
    assert make(faulty.url).query(QUESTION)["extra"]["actions"]
    tracing.stop(30)


def test_no_call_waits_for_a_callback(faulty: Any, traces: TraceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_BATCH_SIZE", "1")
    traces.hang.set()
    tracing = Tracing(["langsmith"])
    tracing.start()
    model = make(faulty.url)
    for _ in range(3):
        model.query(QUESTION)
    assert traces.runs == [], "all calls have ended while the callback still hangs"
    tracing.stop(0.5)
    assert any("not sent within" in reason for reason in tracing.failures)


def test_an_unknown_callback_is_refused_with_the_nearest() -> None:
    with pytest.raises(CallbackError, match="langfuse_otel"):
        check_callbacks(["langfuse_otl"])
    for name in ("dynamic_rate_limiter", "smtp_email", "os.system"):
        with pytest.raises(CallbackError, match="no callback of LiteLLM's that looks on"):
            check_callbacks([name])
    check_callbacks([])


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry.sdk") is not None, reason="opentelemetry-sdk is installed")
def test_a_callback_that_cannot_start_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CallbackError, match=r"callback otel cannot be started \(.*opentelemetry.*\)"):
        Tracing(["otel"]).start()
    assert capfd.readouterr().err == ""
