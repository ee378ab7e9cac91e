"""Run one agent: one instance, one model, one container, one attempt."""

from __future__ import annotations

import difflib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, field_validator

from agents.attempt import AgentTask, Attempt, Usage
from agents.budget import Budget, Call
from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.container.host import DockerHost
from agents.container.limits import ContainerLimits
from agents.deadline import Deadline
from agents.errors import AgentError, AgentFaultError, ContainerError
from agents.pool import ModelConfig, checked_kwargs
from agents.provider_errors import provider_error
from agents.rate_limit import RateLimit
from agents.redaction import redact, secrets
from agents.retry import RetryConfig
from agents.secret_settings import check_no_secret
from agents.signals import run_neighbour_tests
from agents.strict_model import StrictModel
from agents.third_party import load_minisweagent

if TYPE_CHECKING:
    from agents.loop import PoolAgent

logger = logging.getLogger("polyswe.agents")

_OVERRIDABLE = {
    "agent": ("system_template", "instance_template", "max_consecutive_format_errors"),
    "environment": ("env", "interpreter"),
    "model": ("observation_template", "format_error_template", "model_kwargs", "set_cache_control", "multimodal_regex"),
}
"""Parts of mini-swe-agent's configuration that have no field of their own in AgentConfig or ModelConfig."""

NEW_FILES = "working_tree.diff"
"""Beside the trajectory: the container's working tree at the end of the attempt as a patch."""
CARRIED_PATH = "/tmp/polyswe-carried.diff"
APPLY_CARRIED = f"""
cd "$1" && git -c safe.directory="*" apply --whitespace=nowarn --intent-to-add {CARRIED_PATH}
status=$?
rm -f {CARRIED_PATH}
exit $status
"""
"""All of the diff or nothing; new files are such that `git diff` shows them."""
CARRIED_NOTE = """

Another engineer has started to work on this task. Their changes are already in the repository, uncommitted: `git diff`
shows them. They may be right, incomplete or wrong. Check them, keep what is right and change the rest. The patch that
you submit has to hold the whole solution, with those of their changes that you keep."""
"""Ends the task of an attempt that starts with another one's diff."""


class AgentConfig(StrictModel):
    """How every agent of a run works. Defaults are those of mini-swe-agent's own `swebench.yaml` where it has them."""

    step_limit: int = Field(default=250, ge=0)
    """Model calls until the agent is stopped. 0 means no limit."""
    cost_limit: float = Field(default=3.0, ge=0)
    """USD after which the agent is stopped (the call that passes it is still made). 0 means no limit."""
    wall_time_limit_seconds: int = Field(default=0, ge=0)
    """Seconds after which the agent is stopped; time lost to a failing provider does not count. 0 means no limit."""
    command_timeout: float = Field(default=60, gt=0)
    """Seconds after which a command is killed inside the container."""
    cwd: str = "/testbed"
    """The repository inside the container."""
    network: str = "none"
    """Docker network of the container."""
    limits: ContainerLimits = ContainerLimits()
    """Resource limits of the container."""
    hide_later_history: bool = True
    """Whether commits, refs and objects after the base commit are removed before the agent starts. The image that is
    graded stays as it is."""
    pull: Literal["missing", "never"] = "missing"
    """Whether to pull an image that is not on this machine."""
    start_timeout: float = Field(default=600, gt=0)
    """Time limit in seconds for starting the container, including pulling the image."""
    max_output_bytes: int = Field(default=10_000_000, gt=0)
    """Bytes of one command's output that are kept (the model sees at most 10,000 characters by the template)."""
    neighbour_tests: bool = False
    """Run the repository's existing tests near the change after the agent has ended, as a signal of its chances."""
    reviewer: str | None = None
    """Name of the pool's entry that gives an opinion on every finished patch, as a signal; its calls are paid."""
    retry: RetryConfig = RetryConfig()
    """Retries of failed provider calls."""
    overrides: dict[str, dict[str, Any]] = {}
    """Merged recursively onto mini-swe-agent's `swebench.yaml`: parts `agent`, `environment` and `model`."""

    @field_validator("overrides")
    @classmethod
    def _known_overrides(cls, overrides: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for part, values in overrides.items():
            if part not in _OVERRIDABLE:
                raise ValueError(f"overrides.{part} does not exist: choose from {', '.join(_OVERRIDABLE)}")
            for key in values:
                if key in _OVERRIDABLE[part]:
                    continue
                own = ", it is a field of its own" if key in cls.model_fields else ""
                near = difflib.get_close_matches(key, _OVERRIDABLE[part], n=1)
                hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join(_OVERRIDABLE[part])}"
                raise ValueError(f"overrides.{part}.{key} cannot be overridden{own}: {hint}")
            checked_kwargs(values.get("model_kwargs") or {})
            check_no_secret(values, f"overrides.{part}")
        ContainerConfig(image="checked-here", **overrides.get("environment", {}))
        return overrides


def run_agent(
    task: AgentTask,
    model: ModelConfig,
    config: AgentConfig,
    *,
    out_dir: Path,
    labels: Mapping[str, str],
    on_attempt: Callable[[Attempt], None] | None = None,
    budget: Budget | None = None,
    on_call: Callable[[Call], None] | None = None,
    rate: RateLimit | None = None,
    on_wait: Callable[[float], None] | None = None,
    trace: Mapping[str, Any] | None = None,
    host: DockerHost | None = None,
    keep_new_files: bool = False,
) -> Attempt:
    """Let `model` work on `task` until it submits or a limit ends it. Thread-safe.

    Args:
        task: The instance, as far as an agent may know it.
        model: The pool's entry.
        config: How every agent of the run works.
        out_dir: Where `trajectory.json` is written after every call.
        labels: Docker labels of the container, by which leftovers of a killed run are found.
        on_attempt: Called with the finished attempt before the container is removed, which may take long: what was
            paid for can be kept at once. What it raises comes out as it is, after the removal. Not called when the
            attempt is an error.
        budget: Shared by the agents of a run and asked before every call.
        on_call: Receives every call as soon as it has ended, before the agent sees its reply.
        rate: The model's calls and tokens a minute, shared by the agents of a run.
        on_wait: Receives the seconds until a call's turn before they are waited for.
        trace: Metadata of every call for LiteLLM's callbacks.
        host: The Docker Engine, to be shared by the agents of a process. By default the one that the client chooses.
        keep_new_files: Whether the container's working tree is written to NEW_FILES in `out_dir` after the attempt: it
            holds the tests that the agent wrote and did not submit.

    Raises:
        ProviderError: A call failed for good, or a package that calls need is missing.
        ContainerError: The container could not be started or is gone.
        PoolError: The pool's entry cannot work.
        BudgetSpentError: The run may not spend any more.
        AgentFaultError: Whatever else went wrong. None of these is the model's failure; `.attempt` holds what was paid.
    """
    _load_meanwhile()
    started, loading = time.monotonic(), 0.0
    out_dir.mkdir(parents=True, exist_ok=True)
    trajectory = out_dir / "trajectory.json"
    for of_earlier_try in (trajectory, out_dir / NEW_FILES):
        of_earlier_try.unlink(missing_ok=True)  # it must not pass for this one's
    wall_time_limit = _first(model.wall_time_limit_seconds, config.wall_time_limit_seconds)
    deadline = Deadline(wall_time_limit)
    parts = _merged(config.overrides)
    usage = Usage()

    def attempt(exit_status: str, *, patch: str = "", unsubmitted: str = "") -> Attempt:
        return Attempt(
            instance_id=task.instance_id,
            model=model.name,
            patch=patch,
            exit_status=exit_status,
            cost_usd=usage.cost_usd,
            api_calls=usage.calls,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            failed_calls=usage.failed_calls,
            seconds=time.monotonic() - started - loading - usage.waited_seconds,
            trajectory=trajectory,
            unsubmitted_patch=unsubmitted,
            scripted=model.scripted,
        )

    container = Container(container_config(task.image, config, labels), deadline, host=host)
    with ExitStack() as stack:
        with _attached(attempt, model):
            stack.enter_context(container)

        waiting = time.monotonic()
        with _attached(attempt, model):
            try:
                from agents.loop import PoolAgent
                from agents.model import PoolModel
            except ImportError as error:
                raise provider_error("installation", str(error), model=model.name) from error

        loading = time.monotonic() - waiting  # once a process, and no time of the attempt's
        deadline.extend(loading)
        part = model_settings(config, model)
        llm = PoolModel(
            model,
            config.retry,
            deadline,
            budget=budget,
            on_call=on_call,
            usage=usage,
            rate=rate,
            on_wait=on_wait,
            trace=trace,
            **part,
        )
        with _attached(attempt, model):
            agent = PoolAgent(
                llm,
                container,
                stamp={"instance_id": task.instance_id, "model": model.name, "scripted": model.scripted},
                **parts["agent"]
                | {
                    "step_limit": _first(model.step_limit, config.step_limit),
                    "cost_limit": _first(model.cost_limit, config.cost_limit),
                    "wall_time_limit_seconds": wall_time_limit,
                    "output_path": trajectory,
                },
            )
            carried = _carry(container, task.carried) if task.carried else None
            shown = replace(task, problem_statement=task.problem_statement + CARRIED_NOTE) if carried else task
            finished = _act(agent, shown, container, attempt)
            if config.neighbour_tests and finished.patch:
                passed = _neighbour_tests(container, finished.patch)
                finished = replace(finished, measured={"neighbour_tests_passed": passed})
            if carried is not None:
                finished = replace(finished, measured={**finished.measured, "carried_applied": float(carried)})
            if keep_new_files:
                (out_dir / NEW_FILES).write_text(container.diff(), encoding="utf-8")
        if on_attempt is not None:
            on_attempt(finished)
    return finished


@cache
def _load_meanwhile() -> None:
    """Import LiteLLM while the first containers start: it takes seconds, once."""

    def load() -> None:
        with suppress(ImportError):  # the attempt meets it again, and says so
            import_module("agents.loop")

    threading.Thread(target=load, name="loading", daemon=True).start()


@contextmanager
def _attached(attempt: Callable[[str], Attempt], model: ModelConfig) -> Iterator[None]:
    """Attach what was paid to every error; one that is not ours becomes an AgentFaultError."""
    try:
        yield
    except AgentError as error:
        if error.attempt is None:
            error.attempt = attempt(type(error).__name__)
        raise
    except Exception as error:
        words = " ".join(redact(str(error), secrets(model)).split())
        fault = AgentFaultError(f"{type(error).__name__}: {words if len(words) <= 300 else words[:299] + '…'}")
        fault.attempt = attempt(type(fault).__name__)
        raise fault from error


def _act(agent: PoolAgent, task: AgentTask, container: Container, attempt: Callable[..., Attempt]) -> Attempt:
    """Run the agent in its started container and make the attempt of what comes out."""
    try:
        info = agent.run(task.problem_statement)
    except AgentError as error:
        error.attempt = attempt(type(error).__name__, unsubmitted=container.diff())
        raise
    status = info["exit_status"]
    if status == "Submitted":
        return attempt(status, patch=info["submission"])
    return attempt(status, unsubmitted=container.diff())


def _carry(container: Container, diff: str) -> bool:
    """Apply an earlier attempt's diff to the repository; whether it applied. If not, the repository is as it was."""
    try:
        content = diff.encode()
    except UnicodeEncodeError:
        return False
    if not container.put_files({CARRIED_PATH: content}):
        raise ContainerError(f"container {container.name}: the earlier attempt's diff could not be copied into it")
    applied = container.run_script(APPLY_CARRIED, container.config.cwd, timeout=120).returncode == 0
    if not applied:
        logger.warning("%s: the earlier attempt's diff does not apply; a fresh start", container.name)
    return applied


def _neighbour_tests(container: Container, patch: str) -> float:
    """As `run_neighbour_tests`; NaN also where they break the container: the submission is paid for."""
    try:
        return run_neighbour_tests(partial(_shell, container), patch)
    except AgentError as error:  # e.g. tests that fill the disk
        logger.warning("%s: the neighbour tests gave no result: %s", container.name, type(error).__name__)
        return math.nan


def _shell(container: Container, command: str) -> tuple[int, str]:
    done = container.run(command)
    return int(done["returncode"]), str(done["output"])


@cache
def _swebench_yaml() -> dict[str, Any]:
    """mini-swe-agent's own configuration for SWE-bench."""
    load_minisweagent()
    from minisweagent.config import builtin_config_dir

    parsed: dict[str, Any] = yaml.safe_load((builtin_config_dir / "benchmarks" / "swebench.yaml").read_text())
    return parsed


def _merged(overrides: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    load_minisweagent()  # whoever imports it first: it would print, and read `.env` files
    from minisweagent.utils.serialize import recursive_merge

    merged: dict[str, dict[str, Any]] = recursive_merge(_swebench_yaml(), overrides)
    return {
        part: {key: merged[part][key] for key in merged[part] if key in keys} for part, keys in _OVERRIDABLE.items()
    }


def model_settings(config: AgentConfig, model: ModelConfig) -> dict[str, Any]:
    """mini-swe-agent's settings of a model, with the configuration's overrides."""
    part: dict[str, Any] = _merged(config.overrides)["model"]
    if any(word in model.model.lower() for word in ("anthropic", "sonnet", "opus", "claude")):
        part = {"set_cache_control": "default_end"} | part  # as upstream's get_model: ten times cheaper with caching
    return part


def container_config(image: str, config: AgentConfig, labels: Mapping[str, str]) -> ContainerConfig:
    """The container of an instance's image as agents have it."""
    shared = ("cwd", "network", "limits", "hide_later_history", "pull", "start_timeout", "max_output_bytes")
    return ContainerConfig(
        image=image,
        labels=dict(labels),
        timeout=config.command_timeout,
        **{field: getattr(config, field) for field in shared},
        **_merged(config.overrides)["environment"],
    )


def _first(own: Any, default: Any) -> Any:
    return default if own is None else own
