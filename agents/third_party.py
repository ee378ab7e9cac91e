"""Load LiteLLM and mini-swe-agent without their network access, banners, log handlers or `.env` files."""

from __future__ import annotations

import atexit
import ipaddress
import logging
import os
import shutil
import tempfile
import warnings
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

_lock = Lock()


def prepare() -> None:
    """Set the environment variables both libraries read while they are imported. Cheap, and safe to call again."""
    with _lock:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else the price table is fetched from the web
        os.environ.setdefault("LITELLM_MODE", "PRODUCTION")  # else LiteLLM loads ./.env into the environment
        os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
        if "MSWEA_GLOBAL_CONFIG_DIR" not in os.environ:
            # mini-swe-agent loads `.env` from here: a fresh folder, since a guessable one under /tmp could be planted.
            folder = tempfile.mkdtemp(prefix="polyswe-mswea-")
            os.environ["MSWEA_GLOBAL_CONFIG_DIR"] = folder
            atexit.register(shutil.rmtree, folder, ignore_errors=True)


def load_litellm() -> Any:
    """LiteLLM, silenced. The first call takes two to three seconds."""
    prepare()
    # pydantic remarks on LiteLLM's TypedDicts at the first call
    warnings.filterwarnings("ignore", message=".*`ReadOnly` qualifier", category=UserWarning)
    import httpx
    import litellm

    from agents.http import Transport, no_cookies

    litellm.suppress_debug_info = True  # "Give Feedback / Get Help" on stdout at every error
    with _lock:
        if litellm.client_session is None:
            # All blocking calls go through our transport: by OpenAI's client and by LiteLLM's own.
            litellm.sync_transport = Transport()
            litellm.client_session = httpx.Client(
                transport=litellm.sync_transport,
                follow_redirects=False,
                cookies=no_cookies(),
            )
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return litellm


def load_minisweagent() -> Any:
    """mini-swe-agent, without the rich handler that it puts on its logger."""
    prepare()
    import minisweagent

    logging.getLogger("minisweagent").handlers.clear()
    return minisweagent


def is_loopback(url: str | None) -> bool:
    """Whether an address points to this machine."""
    host = urlsplit(url).hostname if url else None
    return host in ("localhost", "::1") or (host is not None and host.startswith("127."))


def is_private(url: str | None) -> bool:
    """Whether an address points to this machine or into a private network, by its literal host."""
    host = urlsplit(url).hostname if url else None
    if host is None:
        return False
    if is_loopback(url) or host.endswith((".local", ".internal", ".lan", ".localhost")):
        return True
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host  # a name of the local network, such as a container's


def bypass_proxy_for_loopback() -> None:
    """Add this machine to NO_PROXY: HTTP clients would otherwise ask a configured proxy to reach 127.0.0.1."""
    with _lock:
        for variable in ("NO_PROXY", "no_proxy"):
            hosts = [host for host in os.environ.get(variable, "").split(",") if host]
            missing = [host for host in ("127.0.0.1", "localhost", "::1") if host not in hosts]
            if missing and "*" not in hosts:
                os.environ[variable] = ",".join(hosts + missing)
