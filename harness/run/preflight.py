"""What can be found out before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agents.errors import MissingKeyError, PoolError
from agents.pool import ModelConfig, check_pool, prices
from harness.config import Config
from harness.data.instances import Dataset
from harness.docker.engine import check_disk
from harness.errors import ConfigError, EnvironmentUnavailableError

if TYPE_CHECKING:
    pass


SCRIPTED_ADDRESS = "scripted"
"""`api_base` of a stand-in model: the loopback server that the run starts itself."""


def preflight(config: Config, dataset: Dataset) -> None:
    """Find out before anything is spent what would only show when the results are computed.

    Raises:
        InputError: the router's policy or its parameters do not exist.
        EnvironmentUnavailableError: no embedder; API keys that are not set; too little disk.
    """
    from harness.data.embeddings import configured_embedder, embed_texts, load_ahead

    texts = [instance.problem_statement for instance in dataset.instances]
    embedder = configured_embedder(config.router)
    load_ahead(texts, embedder)  # it takes seconds, and so do the imports behind the prices
    check_settings(config)
    try:
        check_pool(config.pool)
    except MissingKeyError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error
    check_disk(config.out.root if config.out.root.exists() else Path(), config.run.least_disk_gb)
    embed_texts(texts, embedder)


def check_settings(config: Config) -> None:
    """What the configuration alone can tell, without keys, disk or embedder.

    Raises:
        ConfigError: the router's policy or its parameters do not exist, or a model's price is unknown.
    """
    from router.policies import PolicyParameterError, UnknownPolicyError, make_policy

    try:
        make_policy(config.router.policy, **config.router.params)
    except (UnknownPolicyError, PolicyParameterError) as error:
        raise ConfigError(f"router: {error}") from error
    try:
        for model in config.pool:
            prices(model)
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error


@contextmanager
def scripted_models_ready(config: Config, dataset: Dataset) -> Iterator[list[ModelConfig]]:
    """The pool, checked before the first call, with the loopback server running where stand-ins are used."""
    if not any(model.api_base == SCRIPTED_ADDRESS for model in config.pool):
        yield list(config.pool)
        return
    from agents.scripted.server import ScriptedServer
    from harness.sample import PLAYBOOK

    if not dataset.scripted:
        raise ConfigError(
            f"pool: api_base '{SCRIPTED_ADDRESS}' names the stand-ins of the embedded sample; "
            f"they know nothing of {dataset.name}"
        )
    with ScriptedServer(PLAYBOOK) as server:
        yield [
            model.model_copy(update={"api_base": server.url}) if model.api_base == SCRIPTED_ADDRESS else model
            for model in config.pool
        ]
