"""The router as a hook of a real LiteLLM proxy, in a process of its own.

The proxy's packages are not among ours: POLYSWE_PROXY_PYTHON may name the Python of an environment that has them
(`pip install 'litellm[proxy]' polyswe`).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serve_provider import Provider

from harness.config import DatasetConfig
from harness.data.instances import load_dataset
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

PYTHON = os.environ.get("POLYSWE_PROXY_PYTHON", sys.executable)
MODELS = ("small", "large")
ROOT = Path(__file__).parents[2]
KEY = "sk-proxy-" + "0123456789abcdef" * 4
"""The proxy refuses to start without a long one."""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [instance.problem_statement for instance in load_dataset(DatasetConfig(name="sample")).instances]


@pytest.fixture(scope="module")
def providers() -> Iterator[dict[str, Provider]]:
    found = {name: Provider() for name in MODELS}
    yield found
    for provider in found.values():
        provider.close()


@pytest.fixture(scope="module")
def proxy(texts: list[str], providers: dict[str, Provider], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a LiteLLM proxy with the hook; `large` solves every other instance, `small` the rest."""
    if subprocess.run([PYTHON, "-c", "import apscheduler, litellm.proxy.proxy_cli"], capture_output=True).returncode:
        pytest.skip("litellm[proxy] is not installed here: set POLYSWE_PROXY_PYTHON (see the module's docstring)")
    folder = tmp_path_factory.mktemp("proxy")
    solved = np.array([[index % 2, 1 - index % 2] for index in range(len(texts))], dtype=float)
    unknown = np.full_like(solved, np.nan)
    outcomes = OutcomeMatrix(tuple(map(str, range(len(texts)))), MODELS, solved, solved * 0 + 1, unknown, unknown)
    embedder = Embedder()
    Router(make_policy("knn", n_neighbors=1).fit(embedder.encode(texts), outcomes), MODELS, embedder).save(
        folder / "router.safetensors"
    )
    entries = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_base": one.url, "api_key": "none"}}
        for name, one in providers.items()
    ]
    settings = {"callbacks": "harness.serve.proxy_hook.polyswe"}
    (folder / "config.yaml").write_text(json.dumps({"model_list": entries, "litellm_settings": settings}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            Path(PYTHON).with_name("litellm"),
            "--config",
            folder / "config.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        env=os.environ
        | {"POLYSWE_CHECKPOINT": str(folder / "router.safetensors"), "PYTHONPATH": str(ROOT)}
        | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1", "LITELLM_MASTER_KEY": KEY},
        stdout=(folder / "log").open("wb"),
        stderr=subprocess.STDOUT,
        cwd=folder,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                if httpx.get(f"{url}/health/liveliness").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.5)
        else:
            pytest.fail(f"the proxy did not start: {(folder / 'log').read_text()}")
        yield f"{url}/v1/chat/completions"
    finally:
        process.terminate()
        process.wait(30)


def post(proxy: str, text: str, **more: object) -> httpx.Response:
    body = {"model": "polyswe", "messages": [{"role": "user", "content": text}], **more}
    return httpx.post(proxy, json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)


def test_each_conversation_goes_to_the_model_it_is_routed_to(
    proxy: str, providers: dict[str, Provider], texts: list[str]
) -> None:
    for index, text in enumerate(texts[:4]):
        before = {name: len(one.requests) for name, one in providers.items()}
        assert post(proxy, text).status_code == 200
        asked = [name for name, one in providers.items() if len(one.requests) > before[name]]
        assert asked == ["small" if index % 2 else "large"]


def test_the_next_best_model_answers_for_one_that_fails(
    proxy: str, providers: dict[str, Provider], texts: list[str]
) -> None:
    providers["large"].status = 500
    try:
        before = len(providers["small"].requests)
        assert post(proxy, texts[0]).status_code == 200
        assert len(providers["small"].requests) == before + 1
    finally:
        providers["large"].status = 200


def test_other_requests_are_left_alone(proxy: str, providers: dict[str, Provider], texts: list[str]) -> None:
    before = len(providers["small"].requests)
    assert post(proxy, texts[0], model="small").status_code == 200
    assert len(providers["small"].requests) == before + 1
    assert post(proxy, " ").status_code == 400  # nothing to route
