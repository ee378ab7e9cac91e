"""The endpoint: OpenAI's chat completions in front, the pool's models behind, the router in between."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic_core import from_json
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect

from agents.errors import ProviderError
from agents.provider_errors import classify
from harness.serve.backend import Backend
from harness.serve.call_hook import Call
from harness.serve.config import ServeConfig
from harness.serve.conversation import Conversations, Decision, NothingToRouteError
from harness.serve.metrics import Metrics
from harness.serve.openai_form import refusal

ROUTED = "polyswe"
"""The model name that lets the router choose."""


def make_app(conversations: Conversations, backend: Backend, config: ServeConfig, key: str | None) -> FastAPI:
    """The application. Clients must present `key`, unless it is None."""
    metrics, in_flight = Metrics(), 0
    names = [ROUTED, *backend.pool]

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        conversations.close()
        await backend.close()

    async def check_key(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if key and not (scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode())):
            raise refusal(401, "invalid_api_key", "wrong or missing key: send 'Authorization: Bearer KEY'")

    async def place() -> AsyncIterator[None]:
        """One of the requests at a time, until its answer has been sent."""
        nonlocal in_flight
        if in_flight >= config.max_in_flight:
            raise refusal(429, "busy", f"{in_flight} requests are being answered", {"retry-after": "1"})
        in_flight += 1
        metrics.in_flight.set(in_flight)
        try:
            yield
        finally:
            in_flight -= 1
            metrics.in_flight.set(in_flight)

    app = FastAPI(lifespan=lifespan, openapi_url=None, exception_handlers={AnyHTTPException: _error_response})

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "models": list(backend.pool), "in_flight": in_flight}

    @app.get("/v1/models", dependencies=[Depends(check_key)])
    async def models() -> dict[str, Any]:
        cards = [{"id": name, "object": "model", "created": 0, "owned_by": ROUTED} for name in names]
        return {"object": "list", "data": cards}

    @app.get("/metrics", dependencies=[Depends(check_key)])
    async def show_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.post("/v1/chat/completions", dependencies=[Depends(check_key), Depends(place)])
    async def chat(request: Request) -> Response:
        arrived = time.perf_counter()
        body = await _read(request, config)
        conversation, decision, seconds = await decide(body, request.headers.get("x-conversation-id"))
        call = Call(decision.ranking[0])
        try:
            answer = await backend.answer(decision.ranking, body, call)
        except ProviderError as error:
            no_answer = _no_answer(error, decision)
            metrics.requests.labels(call.model, str(no_answer.status_code)).inc()
            raise no_answer from None
        finally:
            for name, failure in call.failures:
                metrics.failures.labels(name, classify(failure)).inc()
        metrics.requests.labels(call.model, "200").inc()
        if conversation is not None and call.model != decision.ranking[0]:  # it stays with the model that answered
            decision = decision.after_failure_of(decision.ranking[: decision.ranking.index(call.model)])
            conversations.pin(conversation, decision)
        headers = _headers(call.model, decision, seconds, backend.ignored(body, call))
        if not isinstance(answer, dict):
            return StreamingResponse(events(call.model, answer, arrived), 200, headers, "text/event-stream")
        metrics.answering.labels(call.model).observe(time.perf_counter() - arrived)
        # in ASCII, since a reply may hold half a surrogate pair
        return Response(json.dumps(answer), headers=headers, media_type="application/json")

    async def decide(body: dict[str, Any], conversation_id: str | None) -> tuple[str | None, Decision, float]:
        """The conversation's key, its models, and the seconds this took.

        A model asked for by its own name has no key: no other model answers when it fails.
        """
        name = body["model"]
        if name in backend.pool:
            return None, Decision((name,), "asked for by name"), 0.0
        if name != ROUTED:
            raise refusal(404, "model_not_found", f"no model {name!r:.100}: choose from {', '.join(names)}")
        started = time.perf_counter()
        try:
            conversation, decision, is_new = await conversations.decide(body["messages"], conversation_id)
        except NothingToRouteError as error:
            raise refusal(400, "nothing_to_route", str(error)) from None
        seconds = time.perf_counter() - started
        if is_new:
            metrics.deciding.observe(seconds)
            metrics.routed.labels(decision.ranking[0]).inc()
        return conversation, decision, seconds

    async def events(name: str, chunks: AsyncIterator[dict[str, Any]], arrived: float) -> AsyncIterator[str]:
        """Server-sent events. The status has been sent, so a failure from here on is an event too."""
        try:
            async for chunk in chunks:
                yield f"data: {json.dumps(chunk)}\n\n"
            yield "data: [DONE]\n\n"
        except ProviderError as failure:
            metrics.failures.labels(name, failure.kind).inc()
            yield f"data: {json.dumps({'error': refusal(500, failure.kind, failure.message).detail})}\n\n"
        finally:
            metrics.answering.labels(name).observe(time.perf_counter() - arrived)

    return app


async def _read(request: Request, config: ServeConfig) -> dict[str, Any]:
    """The body of a chat completion request. Raises HTTPException."""
    raw = bytearray()
    try:
        async with asyncio.timeout(config.client_timeout_seconds):
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > config.max_body_mb * 1e6:
                    raise refusal(413, "too_large", f"the request is larger than {config.max_body_mb:g} MB")
        body = from_json(bytes(raw), allow_inf_nan=False)
    except (TimeoutError, ClientDisconnect):
        raise refusal(408, "timeout", f"the request took more than {config.client_timeout_seconds:g} s") from None
    except ValueError as error:  # also half a surrogate pair, which neither embedders nor providers take
        raise refusal(400, "invalid_json", f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise refusal(400, "invalid_request", f"expected a JSON object with 'model': {ROUTED}, or one of the pool")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise refusal(400, "invalid_request", "'messages' must be a list of at least one message")
    for name in ("tools", "functions"):  # LiteLLM reads them before a provider could refuse them
        given = body.get(name)
        if given is not None and not (isinstance(given, list) and all(isinstance(tool, dict) for tool in given)):
            raise refusal(400, "invalid_request", f"'{name}' must be a list of objects")
    return body


def _headers(name: str, decision: Decision, seconds: float, ignored: list[str]) -> dict[str, str]:
    """Which model answered and why, and which parameters it did not get."""
    headers = {
        "x-polyswe-model": name,
        "x-polyswe-reason": decision.reason,
        "x-polyswe-cluster": "" if decision.cluster is None else str(decision.cluster),
        "x-polyswe-fallback-from": ", ".join(decision.fallback_from),
        "x-polyswe-deciding-ms": f"{seconds * 1000:.1f}",
        "x-polyswe-ignored": ", ".join(ignored),
    }
    # the value of a header is one line, and safe as ASCII only
    lines = {key: " ".join(value.encode("ascii", "replace").decode().split())[:500] for key, value in headers.items()}
    return {key: value for key, value in lines.items() if value}


def _no_answer(error: ProviderError, decision: Decision) -> HTTPException:
    """The client's answer when no model has one."""
    if error.kind in ("bad-request", "context-window", "content-policy"):  # lies in the request
        return refusal(400, error.kind, error.message)
    retry = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    message = f"no model answered ({', '.join(decision.ranking)}); the first error: {error.message}"
    return refusal(429 if error.kind == "rate-limit" else 502, error.kind, message, retry)


async def _error_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    if isinstance(error.detail, str):  # FastAPI's own
        error = refusal(error.status_code, "http_error", f"{request.url.path}: {error.detail}")
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
