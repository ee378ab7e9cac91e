"""A run with callbacks: every call of an agent is traced with where it belongs."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.config import find_config, load_config, with_overrides
from harness.errors import ConfigError
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.run.preflight import check_settings
from harness.store.run_folder import RunFolder

INSTANCE = "polyswe__spanset-303"


def test_a_callback_that_does_not_exist_is_refused_before_anything_is_spent() -> None:
    config = load_config(find_config("sample"))
    with pytest.raises(ConfigError, match=r"run\.callbacks: .*'langfuse-otel'; did you mean langfuse_otel"):
        check_settings(with_overrides(config, {"run.callbacks": ["langfuse-otel"]}))
    with pytest.raises(ConfigError, match="engine 'ray'"):
        check_settings(with_overrides(config, {"run.callbacks": ["langsmith"], "run.engine": "ray"}))


@pytest.mark.docker
@pytest.mark.slow
def test_the_calls_of_a_run_are_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            traced.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["post"])
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("LANGSMITH_API_KEY", "none")
    monkeypatch.setenv("LANGSMITH_BASE_URL", f"http://127.0.0.1:{http.server_port}")
    config = load_config(find_config("sample"))
    settings = {"dataset.select": [f"id={INSTANCE}"], "pool": config.pool[:1], "run.callbacks": ["langsmith"]}
    end = evaluate(with_overrides(config, settings), RunFolder(tmp_path / "friday"), stop=Stop())
    http.shutdown()
    http.server_close()
    assert end.missing == []
    assert len(traced) == sum(row.api_calls or 0 for row in end.rows)
    place = {"run:friday", f"instance:{INSTANCE}", "model:scripted-small", "attempt:1"}
    assert all(place <= set(run["inputs"]["request_tags"]) for run in traced)
