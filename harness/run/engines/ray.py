"""A Ray cluster: the driver keeps run folder, store and progress; nodes run agents and official gradings.

The driver's threads are the same as on one machine; each waits for a task on a node instead of doing the work itself.
An attempt is a streaming task: its calls and its patch reach the driver as they come, so that a node that dies after
an attempt has ended costs nothing but the grading elsewhere.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agents.attempt import AgentTask, Attempt
from agents.budget import Budget, Call
from agents.errors import AgentError
from agents.pool import ModelConfig
from agents.rate_limit import RateLimit
from agents.runner import AgentConfig
from harness.config import RunConfig
from harness.data.instances import Instance
from harness.docker.engine import check_disk
from harness.errors import ConfigError, EnvironmentUnavailableError, NodeLostError
from harness.files import write_atomic
from harness.grading.grader import KEPT_FILES
from harness.grading.verdict import Grade, Verdict
from harness.run.engines.base import RunContext, grading_container

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

try:
    import ray
except ModuleNotFoundError as error:
    raise EnvironmentUnavailableError("run.engine 'ray' needs Ray: pip install 'polyswe[ray]'") from error
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from harness.run.engines import ray_node
from harness.run.engines.ray_budget import BudgetActor, ClusterBudget
from harness.run.engines.ray_node import (
    TRAJECTORY,
    AttemptFinished,
    AttemptJob,
    Graded,
    GradingJob,
    NodeRequirements,
    TaskDone,
    TaskFailed,
    TurnAwaited,
)
from harness.run.engines.ray_nodes import Nodes
from harness.run.engines.ray_rates import ClusterRateLimit, RatesActor
from harness.run.interrupt import STOP_SIGNALS


@dataclass(frozen=True)
class RayBackend:
    """Implements `harness.run.engines.base.Backend`, and its images and its grader, on the cluster's nodes."""

    nodes: Nodes
    requirements: NodeRequirements
    run: RunConfig
    budget: Budget
    rates: Mapping[str, RateLimit]
    places: Sequence[Path]
    attempt_task: Any
    """Ray's remote function of `ray_node.attempt`."""
    grading_task: Any
    """Ray's remote function of `ray_node.grade`."""

    @property
    def gradings_in_flight(self) -> int:
        return self.run.grading_workers

    @property
    def images(self) -> RayBackend:
        return self

    @property
    def grader(self) -> RayBackend:
        return self

    def ensure(self, image: str) -> None:
        """Nothing to do here: a node makes sure of an image before it uses it."""

    def release(self, image: str) -> None:
        """Nothing to do here: nodes keep their images."""

    def engine_answers(self, patience: float) -> bool:
        """Whether a node can work, now or soon."""
        return self.nodes.wait(max(patience, self.run.ray.patience) if patience else 0)

    def run_agent(
        self,
        task: AgentTask,
        model: ModelConfig,
        config: AgentConfig,
        *,
        out_dir: Path,
        labels: Mapping[str, str],
        on_attempt: Callable[[Attempt], None],
        budget: Budget,
        on_call: Callable[[Call], None],
        rate: RateLimit | None,
        on_wait: Callable[[float], None],
        trace: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """As `agents.runner.run_agent`, on a node, without callbacks.

        Raises:
            NodeLostError: the node died or turned out unfit; what its calls had cost is known from `on_call`.
        """
        out_dir.mkdir(parents=True, exist_ok=True)
        share = budget.of(uuid.uuid4().hex) if isinstance(budget, ClusterBudget) else None
        job = AttemptJob(
            task=task,
            model=model,
            agent=config,
            labels=dict(labels),
            requirements=self.requirements,
            budget=share,
            rate=rate,
        )
        paid = 0.0
        with self.nodes.reserve(task.image) as (node, strategy):
            attempt_there = self.attempt_task.options(num_cpus=self.run.ray.agent_cpus, scheduling_strategy=strategy)
            try:
                for event in attempt_there.remote(job):
                    match ray.get(event):
                        case Call() as call:
                            paid += call.cost_usd
                            on_call(call)
                        case TurnAwaited(seconds):
                            on_wait(seconds)
                        case AttemptFinished(attempt, trajectory):
                            on_attempt(_with_trajectory(attempt, trajectory, out_dir))
                        case TaskDone(attempt):
                            return replace(attempt, trajectory=out_dir / TRAJECTORY)
                        case TaskFailed() as failure:
                            self._raise(failure, node, out_dir, paid)
            except RayError as error:
                self.nodes.suspect(node)
                if share is not None:
                    share.abandon()
                lost = NodeLostError(f"its node is gone ({_line(error)})")
                lost.paid = paid
                raise lost from error
        lost = NodeLostError("the node ended the attempt without a word")
        lost.paid = paid
        raise lost

    def grade(self, instance: Instance, model: str, patch: str, cell_dir: Path, *, attempt: int = 1) -> Grade:
        """As `harness.grading.grader.Grader.grade`, on the node that has the image, once more if that is lost."""
        if not patch:  # the official command line does not run these either
            return Grade(Verdict.EMPTY_PATCH)
        job = GradingJob(
            instance=instance,
            model=model,
            attempt=attempt,
            patch=patch,
            timeout=self.run.grading_timeout,
            attempts=self.run.grading_attempts,
            container=grading_container(self.run),
            requirements=self.requirements,
        )
        try:
            return self._grade(job, cell_dir)
        except NodeLostError:
            if not self.engine_answers(self.run.ray.patience):
                raise
        return self._grade(job, cell_dir)

    def _grade(self, job: GradingJob, cell_dir: Path) -> Grade:
        with self.nodes.reserve(job.instance.image) as (node, strategy):
            grade_there = self.grading_task.options(num_cpus=self.run.ray.grading_cpus, scheduling_strategy=strategy)
            try:
                result = ray.get(grade_there.remote(job))
            except RayError as error:
                self.nodes.suspect(node)
                raise NodeLostError(f"its node is gone ({_line(error)})") from error
            if isinstance(result, TaskFailed):
                self._raise(result, node, cell_dir)
            assert isinstance(result, Graded)
            for name in set(KEPT_FILES) - result.files.keys():  # of an earlier try
                (cell_dir / name).unlink(missing_ok=True)
            for name, content in result.files.items():
                write_atomic(cell_dir / name, content)
            return result.grade

    def _raise(self, failure: TaskFailed, node: str, out_dir: Path, paid: float = 0.0) -> None:
        error = failure.error
        if isinstance(error, AgentError) and error.attempt is not None:
            error.attempt = _with_trajectory(error.attempt, failure.trajectory, out_dir)
        if failure.nodes_fault:
            self.nodes.exclude(node, str(error))
            lost = NodeLostError(f"its node cannot work: {error}")
            lost.paid = paid
            raise lost from error
        raise error


@contextmanager
def open_backend(context: RunContext) -> Iterator[RayBackend]:
    """Join the cluster (or start one on this machine), and leave no container on any node.

    Raises:
        ConfigError: settings that a cluster cannot keep.
        EnvironmentUnavailableError: no cluster at the address, another version there, no node that can work.
    """
    run, stop = context.config.run, context.stop
    if run.images_gb is not None:
        raise ConfigError("run.images_gb: nodes of a cluster keep their images; leave it out with engine 'ray'")
    check_disk(context.folder.path, run.least_disk_gb)
    with _joined(run.ray.address):
        requirements = NodeRequirements(
            label=context.folder.label,
            models=tuple(context.models),
            least_disk_gb=run.least_disk_gb,
            pull_attempts=run.pull_attempts,
            pull_wait=run.pull_wait,
            sample=context.dataset.instances if context.dataset.scripted else (),
        )
        cpus = max(run.ray.agent_cpus, run.ray.grading_cpus)
        nodes = Nodes(requirements, cpus, context.say, lambda: stop.now)
        if not nodes.refresh():
            raise EnvironmentUnavailableError("no node of the cluster can work: see why above")
        try:
            yield RayBackend(
                nodes=nodes,
                requirements=replace(requirements, sample=()),
                run=run,
                budget=_budget(run, context.spent),
                rates=_rates(context.models),
                places=(context.folder.path,),
                attempt_task=ATTEMPT,
                grading_task=GRADING,
            )
        finally:
            nodes.sweep()


@contextmanager
def _joined(address: str | None) -> Iterator[None]:
    """Connected to the cluster. Ray's own signal handlers give way to the run's."""
    _check_address(address)
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    local: dict[str, Any] = {"num_cpus": max(4, os.cpu_count() or 1)} if address is None else {"address": address}
    try:
        ray.init(
            **local,
            namespace="polyswe",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            ignore_reinit_error=True,
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        where = f"at {address} " if address else ""
        raise EnvironmentUnavailableError(f"no Ray cluster {where}can be joined ({_line(error)})") from error
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str | None) -> None:
    """Ray itself would try a dead address for minutes, silently.

    Raises:
        ConfigError: no address.
        EnvironmentUnavailableError: nothing answers there.
    """
    if address is None or address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"run.ray.address {address!r}: expected HOST:PORT, such as 10.0.0.1:6379, or 'auto'")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise EnvironmentUnavailableError(
            f"no Ray cluster answers at {address} ({error}): start its head with 'ray start --head --port {port}'"
        ) from error


def _budget(run: RunConfig, spent: float) -> Budget:
    if run.max_cost_hard is None:
        return Budget(None, spent)
    # every agent may wait in it at the same time
    options = _beside_driver() | {"max_concurrency": run.agent_workers * 2 + 8}
    actor = ray.remote(BudgetActor).options(**options).remote(run.max_cost_hard, spent)
    return ClusterBudget(run.max_cost_hard, actor)


def _rates(models: Sequence[ModelConfig]) -> dict[str, RateLimit]:
    limited = [model for model in models if model.rpm or model.tpm]
    if not limited:
        return {}
    actor = ray.remote(RatesActor).options(**_beside_driver()).remote(limited)
    return {model.name: ClusterRateLimit(actor, model.name) for model in limited}


def _beside_driver() -> dict[str, Any]:
    """Options of an actor that occupies no CPU of the driver's node."""
    node = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


# never repeated by Ray itself: an attempt that ran has been paid
ATTEMPT = ray.remote(num_returns="streaming", max_retries=0)(ray_node.attempt)
GRADING = ray.remote(max_retries=0)(ray_node.grade)


def _with_trajectory(attempt: Attempt, trajectory: bytes, out_dir: Path) -> Attempt:
    """The attempt with its trajectory in the run folder."""
    if trajectory:
        write_atomic(out_dir / TRAJECTORY, trajectory)
    return replace(attempt, trajectory=out_dir / TRAJECTORY)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
