"""The router as a service: `polyswe serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import quiet_libraries, say
from harness.commands.env_file import EnvFileOption


def serve(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint that `polyswe fit` wrote.")],
    config: Annotated[
        str, typer.Option(help="The configuration whose pool answers: a YAML file, or one that comes with polyswe.")
    ] = "sample",
    trust_embedder: Annotated[
        bool,
        typer.Option(
            "--trust-embedder", help="Load the embedder that the checkpoint names, even if it is not the default."
        ),
    ] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; any but 127.0.0.1 needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8080,
    key_env: Annotated[
        str, typer.Option(help="Environment variable with the key that clients must send.")
    ] = "POLYSWE_API_KEY",
    max_in_flight: Annotated[
        int, typer.Option(min=1, help="Maximum number of concurrent requests; further ones get 429.")
    ] = 256,
    call_timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for a model's answer.")] = 600,
    client_timeout: Annotated[float, typer.Option(min=1, help="Seconds a client may take to send its request.")] = 60,
    retries: Annotated[int, typer.Option(min=0, help="Retries of a call after a server error.")] = 1,
    env_file: EnvFileOption = None,
) -> None:
    """Start an OpenAI-compatible endpoint whose model `polyswe` is the router. The first user message of a conversation
    decides its model. The conversation stays with this model, and moves to the next best if it fails.

    Examples:

        polyswe serve router.safetensors --config my.yaml

        curl localhost:8080/v1/chat/completions
        -d '{"model": "polyswe", "messages": [{"role": "user", "content": "…"}]}'

    /v1/models lists the models; /health and /metrics (Prometheus) report the state. The headers x-polyswe-model and
    x-polyswe-reason of an answer give its model and the reason for it.
    """
    quiet_libraries()
    from harness.config import find_config, load_config, with_overrides
    from harness.serve.config import ServeConfig
    from harness.serve.server import serve as run

    settings = ServeConfig(
        host=host, port=port, key_env=key_env, max_in_flight=max_in_flight,
        call_timeout_seconds=call_timeout, client_timeout_seconds=client_timeout, retries=retries,
    )  # fmt: skip
    changes = {"router.trust_embedder": True} if trust_embedder else {}
    run(checkpoint, with_overrides(load_config(find_config(config)), changes), settings, say)
