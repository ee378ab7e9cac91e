"""Fixtures every test may use: the real recorded data, a Docker Engine, the sample benchmark with its images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

# read by the libraries when they are first imported
os.environ.setdefault("MSWEA_SILENT_STARTUP", "1")
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# how long an example takes says how busy the machine is
settings.register_profile("polyswe", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("polyswe")

if TYPE_CHECKING:
    from docker import DockerClient

    from harness.data.instances import Dataset

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real SWE-bench instances and outcomes beside the checkout; tests skip where it is absent."""
    path = Path(os.environ.get("POLYSWE_SHARED_DATA", SHARED))
    if not path.is_dir():
        pytest.skip(f"recorded outcomes are not on this machine ({path})")
    return path


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """A client of the local Docker Engine; `make test` sees to it that there is one."""
    from harness.docker.engine import connect

    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def sample(engine: DockerClient) -> Dataset:
    """The embedded sample benchmark, its images built."""
    from harness.config import DatasetConfig
    from harness.data.instances import load_dataset
    from harness.sample.images import build_images

    dataset = load_dataset(DatasetConfig(name="sample"))
    build_images(engine, dataset.instances)
    return dataset
