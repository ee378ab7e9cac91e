"""The endpoint: OpenAI's chat completions in front, the pool's models behind, the router in between."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route as Path
from starlette.types import Receive, Scope, Send

from agents.errors import ProviderError
from harness.serve.backend import CLIENTS_OWN, PASSED_ON, Backend
from harness.serve.config import ServeConfig
from harness.serve.conversation import Conversations, Pinned, conversation_key, first_user_text, problem_in
from harness.serve.deciding import Deciding
from harness.serve.guard import PatientSend, Refusal, check_key, read_json
from harness.serve.metrics import Metrics

if TYPE_CHECKING:
    from router.router import Route

ROUTED = "polyswe"
"""The model name that lets the router choose."""
CONVERSATION_HEADER = "x-conversation-id"
"""Where a client may name its conversation; else its first user message is its name."""
_OUR_FIELDS = frozenset({"model", "messages", "stream"})


class Endpoint:
    """What the handlers share. `route` is `Router.route` of several texts."""

    def __init__(
        self, route: Callable[[Sequence[str]], list[Route]], backend: Backend, config: ServeConfig, key: str | None
    ) -> None:
        self.backend = backend
        self.config = config
        self.key = key
        self.deciding = Deciding(route)
        self.conversations = Conversations(config.remembered_conversations)
        self.metrics = Metrics()
        self.in_flight = 0

    def app(self) -> Starlette:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            self.deciding.close()
            await self.backend.close()

        return Starlette(
            routes=[
                Path("/v1/chat/completions", self.chat, methods=["POST"]),
                Path("/v1/models", self.models),
                Path("/health", self.health),
                Path("/metrics", self.show_metrics),
            ],
            middleware=[Middleware(PatientSend, patience=self.config.client_timeout_seconds)],
            exception_handlers={Refusal: _refused, HTTPException: _no_such_path},
            lifespan=lifespan,
        )

    async def health(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "models": list(self.backend.pool), "in_flight": self.in_flight})

    async def models(self, request: Request) -> JSONResponse:
        check_key(request, self.key)
        names = [ROUTED, *self.backend.pool]
        cards = [{"id": name, "object": "model", "created": 0, "owned_by": ROUTED} for name in names]
        return JSONResponse({"object": "list", "data": cards})

    async def show_metrics(self, request: Request) -> Response:
        check_key(request, self.key)
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    async def chat(self, request: Request) -> Response:
        check_key(request, self.key)
        if self.in_flight >= self.config.max_in_flight:
            raise Refusal(429, "busy", f"{self.in_flight} requests are being answered", {"retry-after": "1"})
        self._enter()
        streaming = False
        try:
            body = await read_json(request, int(self.config.max_body_mb * 1e6), self.config.client_timeout_seconds)
            response = await self._answer(body, request.headers.get(CONVERSATION_HEADER))
            streaming = isinstance(response, Held)  # leaves when its last piece is sent
            return response
        finally:
            if not streaming:
                self._leave()

    async def _answer(self, body: dict[str, Any], conversation: str | None) -> Response:
        arrived = time.perf_counter()
        check_body(body)
        key, decision, decided_in = await self._decision(body, conversation)
        failed: list[str] = []
        error: ProviderError | None = None
        for name in decision.ranking:
            try:
                if body.get("stream"):
                    pieces = await self.backend.stream(name, body)
                else:
                    whole = await self.backend.complete(name, body)
            except ProviderError as failure:
                self.metrics.failures.labels(name, failure.kind).inc()
                if failure.kind in CLIENTS_OWN:
                    self.metrics.requests.labels(name, "400").inc()
                    raise Refusal(400, failure.kind, failure.message, {"x-polyswe-model": name}) from None
                failed.append(name)
                error = failure
                continue
            if failed and key is not None:  # the conversation stays with the model that answered
                decision = decision.after_failure_of(failed)
                self.conversations.pin(key, decision)
            headers = _headers(name, decision, decided_in, body)
            self.metrics.requests.labels(name, "200").inc()
            if body.get("stream"):
                return Held(self._events(name, pieces, arrived), headers, self._leave)
            self.metrics.answering.labels(name).observe(time.perf_counter() - arrived)
            # escaped, since a reply may hold half a surrogate pair
            return Response(json.dumps(whole), headers=headers, media_type="application/json")
        assert error is not None  # a ranking is never empty
        self.metrics.requests.labels(failed[-1], "502").inc()
        retry = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
        status = 429 if error.kind == "rate-limit" else 502
        raise Refusal(status, error.kind, f"no model answered ({', '.join(failed)}); the last: {error.message}", retry)

    async def _decision(self, body: dict[str, Any], given: str | None) -> tuple[str | None, Pinned, float]:
        """The conversation's key, its models in order, and the seconds the decision took (0 when it was made before).

        A model asked for by name has no key: its failure must not be answered by another model.
        """
        name = body["model"]
        if name != ROUTED:
            if name not in self.backend.pool:
                known = ", ".join([ROUTED, *self.backend.pool])
                raise Refusal(404, "model_not_found", f"no model {name!r:.100}: choose from {known}")
            return None, Pinned((name,), "asked for by name"), 0.0
        text = first_user_text(body["messages"])
        if not text.strip():
            raise Refusal(400, "nothing_to_route", "no user message with text: the first one decides the model")
        key = conversation_key(text, given)
        if (known_decision := self.conversations.get(key)) is not None:
            return key, known_decision, 0.0
        route, seconds = await self.deciding.route(problem_in(text))
        decision = Pinned(tuple(estimate.model for estimate in route.scores), route.reason, route.cluster)
        self.conversations.pin(key, decision)
        self.metrics.deciding.observe(seconds)
        self.metrics.routed.labels(decision.ranking[0]).inc()
        return key, decision, seconds

    async def _events(self, name: str, pieces: AsyncIterator[dict[str, Any]], arrived: float) -> AsyncIterator[str]:
        """Server-sent events; a failure in the middle is said in one, since the status is long sent."""
        try:
            async for piece in pieces:
                yield f"data: {json.dumps(piece)}\n\n"
            yield "data: [DONE]\n\n"
        except ProviderError as failure:
            self.metrics.failures.labels(name, failure.kind).inc()
            error = {"message": failure.message, "type": "server_error", "param": None, "code": failure.kind}
            yield f"data: {json.dumps({'error': error})}\n\n"
        finally:
            self.metrics.answering.labels(name).observe(time.perf_counter() - arrived)

    def _enter(self) -> None:
        self.in_flight += 1
        self.metrics.in_flight.set(self.in_flight)

    def _leave(self) -> None:
        self.in_flight -= 1
        self.metrics.in_flight.set(self.in_flight)


class Held(StreamingResponse):
    """A stream that keeps its place among the requests until it is over, also when its client never took a piece."""

    def __init__(self, events: AsyncIterator[str], headers: dict[str, str], leave: Callable[[], None]) -> None:
        super().__init__(events, 200, headers, "text/event-stream")
        self.leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.leave()


def check_body(body: dict[str, Any]) -> None:
    """Raises Refusal unless it has a model's name and messages."""
    messages = body.get("messages")
    if not isinstance(body.get("model"), str):
        raise Refusal(400, "invalid_request", f"'model' is missing: {ROUTED}, or a model of the pool")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise Refusal(400, "invalid_request", "'messages' must be a list of at least one message")


def _headers(name: str, decision: Pinned, decided_in: float, body: dict[str, Any]) -> dict[str, str]:
    """Which model and why; what of the request was not passed on."""
    headers = {
        "x-polyswe-model": name,
        "x-polyswe-reason": decision.reason,
        "x-polyswe-deciding-ms": f"{decided_in * 1000:.1f}",
    }
    if decision.cluster is not None:
        headers["x-polyswe-cluster"] = str(decision.cluster)
    if decision.fallback_from:
        headers["x-polyswe-fallback-from"] = ", ".join(decision.fallback_from)
    if ignored := sorted(set(body) - PASSED_ON - _OUR_FIELDS):
        headers["x-polyswe-ignored"] = ", ".join(ignored)
    return {key: _header_safe(value) for key, value in headers.items()}


def _header_safe(text: str) -> str:
    """A header's value is one line of Latin-1."""
    return " ".join(text.encode("ascii", "replace").decode("ascii").split())[:500]


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refusal(error.status_code, "not_found", f"{request.method} {request.url.path}: {error.detail}").response()
