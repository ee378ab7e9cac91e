"""Start the endpoint: check everything first, then listen."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agents.pool import ModelConfig
from agents.third_party import is_loopback
from harness.config import Config
from harness.errors import ConfigError, EnvironmentUnavailableError, InputError
from harness.fitting import names_in_pool, not_in_pool, router_for_pool
from harness.run.preflight import check_models, scripted_models_ready
from harness.serve.batching import RouteBatcher
from harness.serve.config import ServeConfig
from harness.serve.conversation import Conversations


def serve(checkpoint: Path, config: Config, settings: ServeConfig, say: Callable[[str], None]) -> None:
    """Answer until stopped (Ctrl-C lets the answers in flight finish).

    Raises:
        InputError: checkpoint and pool do not fit together, or no key is set for an address others can reach.
        EnvironmentUnavailableError: keys of models that are not set, no embedder, the port is taken, the
            extra is not installed.
    """
    try:
        import uvicorn

        from harness.serve.app import ROUTED, make_app
        from harness.serve.backend import Backend
    except ModuleNotFoundError as error:
        raise EnvironmentUnavailableError(f"serve needs {error.name}: pip install 'polyswe[serve]'") from error
    key = own_key(settings)
    routed = set(names_in_pool(checkpoint, config.pool).values())
    with _models_ready(config, routed, checkpoint) as pool, _listen(settings) as bound:
        router = router_for_pool(checkpoint, config.pool, config.router)  # last: its embedder takes seconds to load
        router.route("warm up")  # the first embedding loads the model
        conversations = Conversations(RouteBatcher(router.route), settings.remembered_conversations)
        server = uvicorn.Server(
            uvicorn.Config(
                make_app(conversations, Backend(pool, settings), settings, key),
                log_level="warning",
                access_log=False,
                limit_concurrency=settings.max_in_flight * 2 + 64,  # connections, of which many may be idle
                timeout_keep_alive=int(max(5, settings.client_timeout_seconds)),
                timeout_graceful_shutdown=int(settings.call_timeout_seconds),
            )
        )
        host, port = bound.getsockname()[:2]
        say(f"{len(pool)} models at http://{host}:{port}/v1, model name '{ROUTED}'; {_key_words(settings, key)}")
        server.run(sockets=[bound])


def own_key(settings: ServeConfig) -> str | None:
    """The key clients must present.

    Raises:
        InputError: none is set, and the address can be reached from other machines.
    """
    key = os.environ.get(settings.key_env, "").strip()
    if not key and not is_loopback(f"http://{settings.host}"):
        raise InputError(
            f"{settings.host} can be reached from other machines: set a key in the environment variable "
            f"{settings.key_env}, or listen on 127.0.0.1"
        )
    return key or None


@contextmanager
def _models_ready(config: Config, routed: set[str], checkpoint: Path) -> Iterator[list[ModelConfig]]:
    """The models the checkpoint routes to, checked, with the loopback server running where they are stand-ins."""
    pool = [model for model in config.pool if model.name in routed]
    if missing := sorted(routed - {model.name for model in pool}):
        raise ConfigError(not_in_pool(checkpoint, missing, config.pool))
    check_models(pool)
    with scripted_models_ready(pool) as ready:
        yield ready


@contextmanager
def _listen(settings: ServeConfig) -> Iterator[socket.socket]:
    """The bound socket. Raises EnvironmentUnavailableError: taken, or not this machine's."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((settings.host, settings.port))
            bound.listen(1024)  # who reads the address may connect at once
        except OSError as error:
            raise EnvironmentUnavailableError(
                f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}): choose another --port"
            ) from error
        yield bound


def _key_words(settings: ServeConfig, key: str | None) -> str:
    return f"key: {settings.key_env}" if key else f"no key (set {settings.key_env} to ask for one)"
