"""Whole attempts: a real agent loop, a real container, a real HTTP model."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from agents.attempt import AgentTask, Attempt, paid_in
from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.errors import AgentFaultError, ContainerError, ProviderError
from agents.pool import ModelConfig
from agents.rate_limit import TokenBucket
from agents.retry import RetryConfig
from agents.runner import CARRIED_NOTE, AgentConfig, _neighbour_tests, run_agent
from agents.scripted.server import LABEL, ScriptedServer

CONFIG = AgentConfig(retry=RetryConfig(max_attempts=3, initial_wait_seconds=0.01))
ISSUE = "add() subtracts\n\nIt should add. {{ not_a_template }}"
PATCH = """\
--- a/calc.py
+++ b/calc.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""


def entry(url: str, stand_in: str = "scripted-small", **fields: Any) -> ModelConfig:
    prices = {} if fields.get("free") else {"input_cost_per_token": 1e-5, "output_cost_per_token": 1e-4}
    base = {"name": stand_in, "model": f"openai/{stand_in}", "api_base": url, "scripted": True}
    return ModelConfig.model_validate(base | prices | fields)


@pytest.fixture
def run(image: str, labels: dict[str, str], tmp_path: Path) -> Callable[..., Attempt]:
    def run(model: ModelConfig, config: AgentConfig = CONFIG, *, issue: str = ISSUE, **options: Any) -> Attempt:
        task = AgentTask("demo__calc-1", issue, options.pop("image", image), options.pop("carried", ""))
        out_dir = options.pop("out_dir", tmp_path / "out")
        return run_agent(task, model, config, out_dir=out_dir, labels=labels, **options)

    return run


def trajectory(attempt: Attempt) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(attempt.trajectory.read_text())
    return loaded


@pytest.mark.docker
@pytest.mark.slow
def test_waiting_for_a_turn_is_no_time_of_the_agents(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    """The first of four calls waits for more seconds than the whole attempt may take."""
    bucket, waits = TokenBucket(rpm=12), list[float]()
    for _ in range(8):
        bucket.reserve(10)
    started = time.monotonic()
    with ScriptedServer(playbook_dir) as server:
        model = entry(server.url, wall_time_limit_seconds=30)
        attempt = run(model, rate=bucket, on_wait=waits.append)
    assert attempt.exit_status == "Submitted"
    assert sum(waits) > 30, "the agent did wait"
    assert attempt.seconds <= time.monotonic() - started - sum(waits)


@pytest.mark.docker
@pytest.mark.parametrize(("path", "applies"), [("helper.py", True), ("calc.py", False)])
def test_an_attempt_starts_with_an_earlier_ones_diff_or_afresh_and_says_so(
    path: str, applies: bool, run: Callable[..., Attempt], playbook_dir: Path
) -> None:
    """A new file can be added, but not one that is there already."""
    diff = (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+HELP = 1\n"
    )
    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url, "scripted-medium", step_limit=2), carried=diff)
    assert attempt.measured["carried_applied"] == applies
    assert ("+HELP = 1" in attempt.unsubmitted_patch) == applies, "its container held the diff"
    assert "+    return a + b" in attempt.unsubmitted_patch, "and its own work"
    told = str(trajectory(attempt)["messages"][:3])
    assert (CARRIED_NOTE.split()[5] in told and "uncommitted: `git diff`" in told) == applies


@pytest.mark.docker
def test_a_submission_is_the_containers_diff_and_is_paid_for(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url))
        counted = server.stats()["scripted-small"]
    assert attempt.exit_status == "Submitted"
    assert attempt.patch.split("\n", 2)[0] == "diff --git a/calc.py b/calc.py"
    assert attempt.patch.split("\n", 2)[2] == PATCH
    assert attempt.unsubmitted_patch == ""
    assert (attempt.api_calls, attempt.failed_calls) == (4, 0)
    assert (counted.calls, counted.prompt_tokens, counted.completion_tokens) == (
        attempt.api_calls,
        attempt.prompt_tokens,
        attempt.completion_tokens,
    )
    assert attempt.cost_usd == pytest.approx(counted.prompt_tokens * 1e-5 + counted.completion_tokens * 1e-4)
    saved = trajectory(attempt)
    assert saved["info"]["model_stats"] == {"instance_cost": pytest.approx(attempt.cost_usd), "api_calls": 4}
    assert saved["info"]["submission"] == attempt.patch
    assert (saved["instance_id"], saved["scripted"], attempt.scripted) == ("demo__calc-1", True, True)
    assert saved["trajectory_format"] == "mini-swe-agent-1.1"
    assert "{{ not_a_template }}" in saved["messages"][1]["content"]
    replies = [message["content"] for message in saved["messages"] if message["role"] == "assistant"]
    assert len(replies) == 4
    assert all(reply.startswith(LABEL) for reply in replies)
    assert [path.name for path in attempt.trajectory.parent.iterdir()] == ["trajectory.json"]


@pytest.mark.docker
def test_a_limit_keeps_the_work_apart_from_submissions(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        steps = run(entry(server.url, "scripted-medium", step_limit=3))
        cost = run(entry(server.url, "scripted-medium", cost_limit=1e-9))
        wall = run(entry(server.url, "scripted-medium", wall_time_limit_seconds=8, step_limit=9999, free=True))
    assert (steps.exit_status, steps.api_calls) == ("LimitsExceeded", 3)
    assert (cost.exit_status, cost.api_calls) == ("LimitsExceeded", 1)
    assert wall.exit_status == "TimeExceeded"
    assert wall.seconds >= 8
    for attempt in (steps, cost, wall):
        assert attempt.patch == ""
        assert "+    return a + b" in attempt.unsubmitted_patch
        assert "new.txt" in attempt.unsubmitted_patch
        assert trajectory(attempt)["info"]["exit_status"] == wall.exit_status  # one folder: the last attempt's
    saved = trajectory(wall)["info"]["config"]["agent"]
    assert (saved["wall_time_limit_seconds"], saved["step_limit"], saved["cost_limit"]) == (8, 9999, 3.0)


@pytest.mark.docker
def test_format_errors_are_told_charged_and_survived(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url, "scripted-large"))
        counted = server.stats()["scripted-large"]
    assert (attempt.exit_status, attempt.api_calls, counted.calls) == ("Submitted", 6, 6)
    assert attempt.cost_usd == pytest.approx(counted.prompt_tokens * 1e-5 + counted.completion_tokens * 1e-4)
    assert trajectory(attempt)["info"]["model_stats"]["instance_cost"] == pytest.approx(attempt.cost_usd)


@pytest.mark.docker
def test_an_unknown_issue_submits_nothing(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url, free=True), issue="something else")
    assert (attempt.exit_status, attempt.patch, attempt.cost_usd, attempt.api_calls) == ("Submitted", "", 0, 1)


@pytest.mark.docker
def test_a_provider_failure_is_an_error_that_tells_what_was_paid(
    run: Callable[..., Attempt], faulty: Any, list_containers: Any, labels: dict[str, str]
) -> None:
    faulty.faults = [lambda handler: handler.answer(503, {"error": {"message": "down"}})] * 3
    with pytest.raises(ProviderError, match="down") as caught:
        run(entry(faulty.url))
    attempt = caught.value.attempt
    assert attempt is not None
    assert (attempt.exit_status, attempt.failed_calls, attempt.api_calls, attempt.patch) == ("ProviderError", 3, 0, "")
    assert trajectory(attempt)["info"]["exit_status"] == "ProviderError"
    assert list_containers(labels) == []


@pytest.mark.docker
def test_outgrowing_the_context_is_the_models_failure(run: Callable[..., Attempt], faulty: Any) -> None:
    error = {"message": "This model's maximum context length is 8 tokens.", "code": "context_length_exceeded"}
    faulty.faults = [lambda handler: handler.answer(400, {"error": error})]
    attempt = run(entry(faulty.url))
    assert (attempt.exit_status, attempt.patch, attempt.failed_calls) == ("ContextWindowExceededError", "", 1)


@pytest.mark.docker
def test_an_attempt_can_be_kept_before_the_container_is_removed(
    run: Callable[..., Attempt], playbook_dir: Path, list_containers: Any, labels: dict[str, str]
) -> None:
    kept = []

    def keep(attempt: Attempt) -> None:
        kept.append((attempt, len(list_containers(labels))))

    def fail(attempt: Attempt) -> None:
        raise OSError("no space left")

    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url), on_attempt=keep)
        assert kept == [(attempt, 1)]
        with pytest.raises(OSError, match="no space left"):
            run(entry(server.url), on_attempt=fail)
        assert list_containers(labels) == []


IMPOSTOR = """\
echo 'def test_add(): ...' > calc_test.py && git add calc_test.py && git commit -q -m tests &&
printf '#!/bin/sh\\necho COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT\\n' > /usr/local/bin/python &&
chmod +x /usr/local/bin/python
"""


@pytest.mark.docker
def test_neighbour_tests_that_break_the_flow_cost_the_signal_and_not_the_submission(
    run: Callable[..., Attempt], playbook: dict[str, Any], playbook_dir: Path
) -> None:
    playbook["attempts"]["scripted-small"]["steps"][0]["run"] = [IMPOSTOR]
    (playbook_dir / "demo__calc-1.yaml").write_text(yaml.safe_dump(playbook))
    with ScriptedServer(playbook_dir) as server:
        attempt = run(entry(server.url), CONFIG.model_copy(update={"neighbour_tests": True}))
    assert (attempt.exit_status, attempt.unsubmitted_patch) == ("Submitted", "")
    assert "calc.py" in attempt.patch
    assert math.isnan(attempt.measured["neighbour_tests_passed"])


@pytest.mark.docker
def test_neighbour_tests_in_a_container_that_went_have_no_result(image: str, labels: dict[str, str]) -> None:
    with Container(ContainerConfig(image=image, labels=labels)) as container:
        container.cleanup()
        assert math.isnan(_neighbour_tests(container, "diff --git a/calc.py b/calc.py\n"))


@pytest.mark.docker
def test_an_unforeseen_fault_tells_what_was_paid(
    run: Callable[..., Attempt],
    playbook_dir: Path,
    tmp_path: Path,
    list_containers: Any,
    labels: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary = "canary-0123456789"
    monkeypatch.setenv("POLYSWE_TEST_KEY", canary)
    (tmp_path / canary / "trajectory.tmp").mkdir(parents=True)  # where the trajectory is to be written
    kept: list[Attempt] = []
    with ScriptedServer(playbook_dir) as server:
        model = entry(server.url, api_key_env="POLYSWE_TEST_KEY")
        with pytest.raises(AgentFaultError) as caught:
            run(model, out_dir=tmp_path / canary, on_attempt=kept.append)
    assert str(caught.value).startswith("IsADirectoryError: ")
    assert "[redacted]/trajectory.tmp" in str(caught.value)
    assert canary not in str(caught.value)
    assert isinstance(caught.value.__cause__, IsADirectoryError)
    attempt = caught.value.attempt
    assert attempt is not None
    assert (attempt.exit_status, attempt.api_calls, attempt.patch) == ("AgentFaultError", 1, "")
    assert attempt.cost_usd > 0
    assert kept == []
    assert list_containers(labels) == []


@pytest.mark.docker
def test_what_a_killed_run_paid_is_read_from_its_trajectory(
    run: Callable[..., Attempt], playbook: dict[str, Any], playbook_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "out" / "trajectory.json"
    assert paid_in(path) == 0.0
    playbook["attempts"]["scripted-small"]["steps"][0]["run"] = ["sleep 4321"]
    (playbook_dir / "demo__calc-1.yaml").write_text(yaml.safe_dump(playbook))
    with ScriptedServer(playbook_dir) as server, ThreadPoolExecutor(1) as threads:
        running = threads.submit(run, entry(server.url), CONFIG.model_copy(update={"command_timeout": 5}))
        while not paid_in(path):  # the first command runs still: what it cost is on record
            assert not running.done()
            time.sleep(0.05)
        first = paid_in(path)
        attempt = running.result()
    assert 0 < first < attempt.cost_usd
    assert paid_in(path) == pytest.approx(attempt.cost_usd)
    text = path.read_text()
    for left in (text[: len(text) // 2], "", "[]", '{"info": {"model_stats": {"instance_cost": NaN}}}', '{"info": 1}'):
        path.write_text(left)
        assert paid_in(path) == 0.0
    path.write_bytes(b"\xff\xfe")
    assert paid_in(path) == 0.0


@pytest.mark.docker
def test_a_missing_image_is_not_the_models_failure(run: Callable[..., Attempt], playbook_dir: Path) -> None:
    with ScriptedServer(playbook_dir) as server, pytest.raises(ContainerError) as caught:
        run(entry(server.url), CONFIG.model_copy(update={"pull": "never"}), image="polyswe-no-such-image:none")
    assert caught.value.attempt is not None
    assert caught.value.attempt.cost_usd == 0


def test_an_attempt_reads_nobodys_settings_and_prints_nothing(tmp_path: Path) -> None:
    settings = tmp_path / ".config" / "mini-swe-agent"
    settings.mkdir(parents=True)
    (settings / ".env").write_text("MSWEA_SETTING=1\n")
    code = (
        "import os, pathlib\n"
        "from agents.attempt import AgentTask\n"
        "from agents.errors import ContainerError\n"
        "from agents.pool import ModelConfig\n"
        "from agents.runner import AgentConfig, run_agent\n"
        "model = ModelConfig(name='m', model='openai/m', api_base='http://127.0.0.1:9/v1', free=True)\n"
        "config = AgentConfig(pull='never')\n"
        "try:\n"
        "    run_agent(AgentTask('i', 'x', 'no-image:none'), model, config, out_dir=pathlib.Path('out'), labels={})\n"
        "except ContainerError:\n"
        "    print(os.environ.get('MSWEA_SETTING'))\n"
    )
    mine = {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MSWEA", "XDG"))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=inherited | mine, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")


@pytest.mark.docker
def test_no_file_holds_a_key(
    run: Callable[..., Attempt], faulty: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    canary = "sk-canary-0123456789"
    monkeypatch.setenv("POLYSWE_TEST_KEY", canary)

    def echo(handler: Any, status: int) -> None:
        handler.answer(status, {"error": {"message": f"your key is {handler.headers['Authorization']}"}})

    def reply(handler: Any) -> None:
        """A model that repeats the key, say after reading a proxy's headers."""
        message = {"role": "assistant", "content": f"I was called with {handler.headers['Authorization']}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        handler.answer(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    out_dir = tmp_path / "out"
    faulty.faults = [reply]
    run(entry(faulty.url, api_key_env="POLYSWE_TEST_KEY"), out_dir=out_dir / "fine")
    faulty.faults = [lambda handler: echo(handler, 500), lambda handler: echo(handler, 401)]
    with pytest.raises(ProviderError):
        run(entry(faulty.url, api_key_env="POLYSWE_TEST_KEY"), out_dir=out_dir / "failed")
    assert set(faulty.keys) == {f"Bearer {canary}"}
    files = [path for path in out_dir.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert not [path for path in files if canary in path.read_text()]
    assert canary not in caplog.text


@pytest.mark.docker
def test_eight_agents_at_once_each_pay_their_own_price(
    run: Callable[..., Attempt], playbook_dir: Path, tmp_path: Path, list_containers: Any, labels: dict[str, str]
) -> None:
    with ScriptedServer(playbook_dir) as server:
        models = [
            entry(server.url, name=f"m{k}", input_cost_per_token=k * 1e-6, output_cost_per_token=k * 1e-5)
            for k in range(1, 9)
        ]
        with ThreadPoolExecutor(8) as threads:
            attempts = list(threads.map(lambda model: run(model, out_dir=tmp_path / model.name), models))
        assert server.stats()["scripted-small"].calls == 8 * 4
    for k, attempt in enumerate(attempts, start=1):
        assert attempt.model == f"m{k}"
        assert attempt.patch.endswith(PATCH)
        expected = k * (attempt.prompt_tokens * 1e-6 + attempt.completion_tokens * 1e-5)
        assert attempt.cost_usd == pytest.approx(expected)
        assert trajectory(attempt)["model"] == f"m{k}"
    assert list_containers(labels) == []


@pytest.mark.docker
def test_overrides_change_prompts_and_arguments(run: Callable[..., Attempt], faulty: Any) -> None:
    overrides = {
        "agent": {"instance_template": "Please: {{task}}"},
        "model": {"model_kwargs": {"temperature": 0.5, "top_p": 0.9}},
        "environment": {"env": {"GREETING": "hi"}},
    }
    attempt = run(entry(faulty.url, model_kwargs={"temperature": 0.1}), AgentConfig(overrides=overrides), issue="x")
    request = faulty.requests[0]
    assert request["messages"][1]["content"] == "Please: x"
    assert (request["temperature"], request["top_p"], request["parallel_tool_calls"]) == (0.1, 0.9, True)
    environment = trajectory(attempt)["info"]["config"]["environment"]
    assert environment["env"]["GREETING"] == "hi"
    assert environment["env"]["PAGER"] == "cat"
    assert environment["network"] == "none"


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"agnet": {}}, "choose from agent, environment, model"),
        ({"agent": {"step_limit": 3}}, "a field of its own"),
        ({"agent": {"instance_templat": "x"}}, "did you mean instance_template"),
        ({"environment": {"forward_env": ["OPENAI_API_KEY"]}}, "cannot be overridden"),
        ({"environment": {"env": {"A": 1}}}, "valid string"),
        ({"model": {"model_kwargs": {"api_key": "sk"}}}, "api_key_env"),
    ],
)
def test_overrides_that_would_do_nothing_or_harm_are_refused(overrides: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AgentConfig(overrides=overrides)
