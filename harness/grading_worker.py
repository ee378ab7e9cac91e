"""A process that grades one prediction at a time with the official harness, asked over stdin, answering on stdout.

Why a process of its own and not a thread: `run_instance` writes below the working directory, prints to stdout, and keys
its logger by instance, so that two models' cells of one instance would write into each other's log within one process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from typing import Any, TextIO, cast

from docker import DockerClient
from docker.models.containers import Container, ContainerCollection


class GradingClient(DockerClient):
    """A docker client that adds settings of ours to every container the official harness creates with it.

    `stop_signal=SIGKILL`: the harness stops containers whose first process ignores SIGTERM, and would wait 15 s for
    each. The labels tell whose container it is, the limits what it may take. None changes what runs inside.
    """

    labels: Mapping[str, str] = {}
    limits: Mapping[str, Any] = {}
    """Arguments of `containers.create` (`agents.limits.ContainerLimits.arguments`)."""

    @property
    def containers(self) -> ContainerCollection:
        return _LabelledContainers(client=self)


class _LabelledContainers(ContainerCollection):
    client: GradingClient

    def create(self, *args: Any, **kwargs: Any) -> Container:
        # no log: what tests write to the first process's output would grow without bound on the host
        unlogged = {"Type": "none", "Config": {}}
        ours = {"stop_signal": "SIGKILL", "labels": dict(self.client.labels), "log_config": unlogged}
        return super().create(*args, **{**ours, **self.client.limits, **kwargs})


def main() -> None:
    _die_with_parent()
    answers = _keep_stdout_for_answers()
    os.chdir(sys.argv[1])  # the harness writes its logs below the working directory
    from swebench.harness.run_evaluation import RUN_EVALUATION_LOG_DIR, run_instance
    from swebench.harness.utils import make_test_spec

    client = cast(GradingClient, GradingClient.from_env(timeout=1800, max_pool_size=8))
    print(json.dumps({"ready": os.getpid()}), file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        client.labels, client.limits = job["labels"], job["limits"]
        prediction = {
            "instance_id": job["row"]["instance_id"],
            "model_name_or_path": job["model"],
            "model_patch": job["patch"],
        }
        log_dir = RUN_EVALUATION_LOG_DIR / job["run_id"] / job["model"] / prediction["instance_id"]
        report, error = None, ""
        try:
            outcome = run_instance(
                make_test_spec(job["row"]), prediction, client, job["run_id"], timeout=job["timeout"]
            )
            report = outcome[1][prediction["instance_id"]] if outcome else None
        except Exception as fault:  # noqa: BLE001 - one job's error is its answer; the process serves the next
            traceback.print_exc()
            error = f"{type(fault).__name__}: {fault}"
        print(json.dumps({"report": report, "log_dir": str(log_dir), "error": error}), file=answers, flush=True)
        sys.stdout.flush()
    # a timed-out test leaves the harness's reader thread blocked; it must not keep this process alive
    os._exit(0)


def _keep_stdout_for_answers() -> TextIO:
    """The harness prints to stdout; answers go out on a copy of it and the prints to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _die_with_parent() -> None:
    """Ask Linux to end this process with the thread that started it, so that a killed run leaves no grader behind."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business: it finishes what is in flight


if __name__ == "__main__":
    main()
