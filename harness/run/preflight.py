"""What can be found out before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agents.callbacks import check_callbacks
from agents.errors import MissingKeyError, PoolError
from agents.pool import ModelConfig, check_pool, prices
from harness.config import Config
from harness.config.tree import Engine
from harness.data.embeddings import configured_embedder, embed_texts, load_ahead
from harness.data.instances import Dataset
from harness.docker.engine import check_disk
from harness.errors import ConfigError, EnvironmentUnavailableError
from harness.evaluation.settings import shared_params
from harness.run.tracing import traced
from router.policies import PolicyParameterError, UnknownPolicyError, make_policy

SCRIPTED_ADDRESS = "scripted"
"""`api_base` of a stand-in model: the loopback server that the run starts itself."""


def preflight(config: Config, dataset: Dataset) -> None:
    """Find out before anything is spent what would only show when the results are computed.

    Raises:
        InputError: the router's policy or its parameters do not exist; stand-ins of the sample on another dataset.
        EnvironmentUnavailableError: no embedder; API keys that are not set; too little disk.
    """
    texts = [instance.problem_statement for instance in dataset.instances]
    embedder = configured_embedder(config.router)
    load_ahead(texts, embedder)  # it takes seconds, and so do the imports behind the prices
    check_settings(config)
    check_models(config.pool)
    if not dataset.scripted and any(map(is_stand_in, config.pool)):
        raise ConfigError(
            f"pool: api_base '{SCRIPTED_ADDRESS}' names the stand-ins of the embedded sample; "
            f"they know nothing of {dataset.name}"
        )
    check_disk(config.out.root if config.out.root.exists() else Path(), config.run.least_disk_gb)
    embed_texts(texts, embedder)
    with traced(config.run.callbacks, lambda message: None):
        pass  # a trial: what they lack is said before anything is put aside or paid


def preflight_grading(config: Config) -> None:
    """The same for a run whose attempts exist: no model is called, so there are no keys and prices to check.

    Raises:
        ConfigError: the router's policy or its parameters do not exist.
        EnvironmentUnavailableError: too little disk.
    """
    check_policy(config)
    check_disk(config.out.root if config.out.root.exists() else Path(), config.run.least_disk_gb)


def check_settings(config: Config) -> None:
    """Check what the configuration alone can tell, without keys, disk or embedder.

    Raises:
        ConfigError: the router's policy or its parameters, or a callback, do not exist, or a model's price is unknown.
    """
    check_policy(config)
    if config.run.callbacks and config.run.engine is Engine.RAY:
        raise ConfigError("run.callbacks: engine 'ray' cannot call them, as agents work elsewhere; use 'engine: local'")
    if config.evidence is not None and config.run.engine is Engine.RAY:
        raise ConfigError(
            "evidence: engine 'ray' cannot run the tests, which need the Docker Engine here; use 'engine: local'"
        )
    try:
        check_callbacks(config.run.callbacks)
    except PoolError as error:
        raise ConfigError(f"run.callbacks: {error}") from error
    try:
        for model in config.pool:
            prices(model)
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error


def check_policy(config: Config) -> None:
    """Check the router's policy and its parameters.

    Raises:
        ConfigError: they do not exist.
    """
    try:
        for policy, params in shared_params(config.router.policy, config.router.params).items():
            make_policy(policy, **params)
    except (UnknownPolicyError, PolicyParameterError) as error:
        raise ConfigError(f"router: {error}") from error


def check_models(pool: Sequence[ModelConfig]) -> None:
    """Check names, prices and keys of the models that are about to be called.

    Raises:
        ConfigError: two models of one name, or an unknown price.
        EnvironmentUnavailableError: an API key is not set.
    """
    try:
        check_pool(pool)
    except MissingKeyError as error:
        raise EnvironmentUnavailableError(str(error)) from error
    except PoolError as error:
        raise ConfigError(f"pool: {error}") from error


def is_stand_in(model: ModelConfig) -> bool:
    """Whether an entry of the pool is a scripted stand-in of the embedded sample."""
    return model.api_base == SCRIPTED_ADDRESS


@contextmanager
def scripted_models_ready(pool: Sequence[ModelConfig]) -> Iterator[list[ModelConfig]]:
    """The pool, with the loopback server of the sample's stand-ins running where it has any."""
    if not any(map(is_stand_in, pool)):
        yield list(pool)
        return
    from agents.scripted.server import ScriptedServer
    from harness.sample import PLAYBOOK

    with ScriptedServer(PLAYBOOK) as server:
        yield [model.model_copy(update={"api_base": server.url}) if is_stand_in(model) else model for model in pool]
