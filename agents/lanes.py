"""HTTP connections that are kept, one for each call under way.

httpx keeps all connections behind one lock, asks each for its state at every request, and with more than twenty of them
closes every one after one use (httpcore counts those in use with the idle ones). Agents that share a client then wait
for that lock, and connect anew for every call.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any
from urllib.request import getproxies

import httpx

IDLE_SECONDS = 5.0
"""How long an unused connection is kept: as long as httpx does."""

_Origin = tuple[str, str, int | None]


class Lanes(httpx.BaseTransport):
    """Gives each request a transport of its own, and keeps those that no request uses. Thread-safe.

    Closing it closes nothing: LiteLLM closes its clients whenever it drops one, and all of them share this.
    """

    def __init__(self, make: Callable[[], httpx.BaseTransport]) -> None:
        """make: a transport for one request at a time."""
        self._make = make
        self._idle: dict[_Origin, deque[tuple[float, httpx.BaseTransport]]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        idle = self._idle.setdefault((url.scheme, url.host, url.port), deque())
        try:
            _, lane = idle.pop()  # the one used last: the server is the least likely to have closed it
        except IndexError:
            lane = self._make()
        _close_unused(idle)
        try:
            response = lane.handle_request(request)
        except BaseException:
            lane.close()
            raise
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Returning(response.stream, lambda: idle.append((time.monotonic(), lane)))
        return response


def _close_unused(idle: deque[tuple[float, httpx.BaseTransport]]) -> None:
    """Close those unused for longest, at the left, which may never have their turn again."""
    while idle and time.monotonic() - idle[0][0] > IDLE_SECONDS:
        try:
            idle.popleft()[1].close()
        except IndexError:  # another thread was faster
            return


class _Returning(httpx.SyncByteStream):
    """A reply's body whose transport is free for the next request once it has been closed."""

    def __init__(self, stream: httpx.SyncByteStream, free: Callable[[], None]) -> None:
        self._stream = stream
        self._free: Callable[[], None] | None = free

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._stream)

    def close(self) -> None:
        self._stream.close()
        free, self._free = self._free, None
        if free is not None:
            free()


def use_lanes(litellm: Any) -> None:
    """Let LiteLLM's blocking calls go through lanes, those by OpenAI's client and those by its own.

    Proxies and LiteLLM's settings of all its connections are its own affair: where there are any, nothing changes. A
    model's own setting is `leave_lanes`' affair.
    """
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration, http2_enabled

    proxies = [scheme for scheme in getproxies() if scheme != "no"]
    certificate = os.getenv("SSL_CERTIFICATE", litellm.ssl_certificate)
    if proxies or certificate or litellm.force_ipv4 or http2_enabled() or litellm.client_session is not None:
        return
    lanes = Lanes(lambda: httpx.HTTPTransport(verify=get_ssl_configuration()))
    litellm.sync_transport = lanes
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # else one key's would go out with another's
    litellm.client_session = httpx.Client(transport=lanes, follow_redirects=True, cookies=no_cookies)


def leave_lanes(litellm: Any) -> None:
    """Give LiteLLM's own client its connections back, for it to verify as a model's `ssl_verify` says; OpenAI's client
    never heeds that. Call it before the model's first call."""
    litellm.sync_transport = None
