"""An OpenAI-compatible address that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "theirs",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


def error(message: str, code: str | None = None, kind: str = "invalid_request_error") -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


class Provider:
    """An address that gives one answer to everything, except to requests with a parameter it refuses."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, json.dumps(ANSWER).encode(), dict[str, str]()
        self.refuses = ""
        self.pause: threading.Event | None = None
        """Set while a test wants the second half of each answer to wait for it."""
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, content))
                status, body = outer.status, outer.body
                if outer.refuses in content:
                    status, body = 400, error(f"Unsupported parameter: '{outer.refuses}' is not supported")
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                half = len(body) // 2 if outer.pause else 0
                self.wfile.write(body[:half])
                if outer.pause:
                    outer.pause.wait(60)
                self.wfile.write(body[half:])

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stream(self, *deltas: tuple[dict[str, Any], str | None]) -> None:
        """Answer with a stream of these deltas and finish reasons."""
        frame = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "theirs"}
        chunks = [
            frame | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas
        ]
        self.body = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks).encode() + b"data: [DONE]\n\n"
        self.headers = {"Content-Type": "text/event-stream"}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
