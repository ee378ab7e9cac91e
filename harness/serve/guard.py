"""What stands between a client and the endpoint: its key, the size and pace of its request, the number at a time."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Refusal(Exception):
    """The request gets this answer, in OpenAI's form."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    def response(self) -> JSONResponse:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        body = {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}
        return JSONResponse(body, self.status, headers=self.headers)


def check_key(request: Request, key: str | None) -> None:
    """Raises Refusal unless the client presents the key (or none is asked for)."""
    if key is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), key.encode()):
        raise Refusal(401, "invalid_api_key", "wrong or missing key: send 'Authorization: Bearer KEY'")


async def read_json(request: Request, limit: int, patience: float) -> dict[str, Any]:
    """The request's body, a JSON object. Raises Refusal: too large, too slow, not JSON."""
    body = bytearray()
    chunks = aiter(request.stream())
    while True:
        try:
            body += await asyncio.wait_for(anext(chunks), patience)
        except StopAsyncIteration:
            break
        except TimeoutError:
            raise Refusal(408, "timeout", f"nothing came for {patience:g} s") from None
        except ClientDisconnect:
            raise Refusal(400, "disconnected", "the client went away") from None
        if len(body) > limit:
            raise Refusal(413, "too_large", f"the request is larger than {limit / 1e6:g} MB")
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        found = None
    if b"\\ud" in body.lower():  # perhaps half a surrogate pair, which neither tokenizers nor providers take
        found = json.loads(json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"))
    if not isinstance(found, dict):
        raise Refusal(400, "invalid_json", "expected a JSON object with 'model' and 'messages'")
    return found


class PatientSend:
    """ASGI middleware: a client that takes nothing for too long is dropped instead of holding its place for ever."""

    def __init__(self, app: ASGIApp, patience: float) -> None:
        self.app = app
        self.patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                await asyncio.wait_for(send(message), self.patience)
            except TimeoutError:
                raise OSError(f"the client took nothing for {self.patience:g} s") from None

        await self.app(scope, receive, send_in_time if scope["type"] == "http" else send)
