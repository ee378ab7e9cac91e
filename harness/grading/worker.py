"""Processes that grade one prediction at a time with the official harness, forked from one that has imported it.

Why processes and not threads: `run_instance` writes below the working directory, prints to stdout, and keys its logger
by instance, so that two models' cells of one instance would write into each other's log within one process. Why forked:
what the official harness imports is then there once.

The first process reads sockets from its standard input and forks a worker for each. A worker reads jobs, a JSON line
each, and answers in kind. Before the tests it asks for leave (`{"tests": "ready"}`) and waits for a line; afterwards it
says so (`{"tests": "over"}`): so many workers may set up and clean up, while only as many tests run as the run wants.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, TextIO, cast

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container, ContainerCollection
from requests import RequestException

from harness.grading.container import GradedContainer, Turn
from harness.grading.imports import import_official_harness

CLEANUP_SECONDS = 60
"""Seconds a worker that is told to end waits for its containers' removal; what is left then, the run's sweep finds."""


class GradingClient(DockerClient):
    """A docker client that adds settings of ours to every container the official harness creates with it.

    The labels tell whose container it is, the limits what it may take; `stop_signal=SIGKILL`, because the first process
    ignores SIGTERM. None changes what runs inside. `made` are the containers of the job, for us to remove.
    """

    labels: Mapping[str, str] = {}
    limits: Mapping[str, Any] = {}
    """Arguments of `containers.create` (`agents.container.limits.ContainerLimits.arguments`)."""
    turn: Turn
    eval_script: str = ""
    made: list[Container]

    @property
    def containers(self) -> ContainerCollection:
        return _LabelledContainers(client=self)


class _LabelledContainers(ContainerCollection):
    client: GradingClient
    model = GradedContainer

    def create(self, *args: Any, **kwargs: Any) -> Container:
        # no log: what tests write to the first process's output would grow without bound on the host
        unlogged = {"Type": "none", "Config": {}}
        ours = {"stop_signal": "SIGKILL", "labels": dict(self.client.labels), "log_config": unlogged}
        container = cast(GradedContainer, super().create(*args, **{**ours, **self.client.limits, **kwargs}))
        container.prepare(self.client.turn, self.client.eval_script)
        self.client.made.append(container)
        return container


class Channel:
    """A worker's side of its socket, a JSON line a message; implements `Turn` for the tests."""

    def __init__(self, end: socket.socket) -> None:
        self.lines = end.makefile("rw", encoding="utf-8", newline="\n")
        self._testing = False

    def say(self, **message: Any) -> None:
        self.lines.write(json.dumps(message) + "\n")
        self.lines.flush()

    def begin(self) -> None:
        if not self._testing:
            self.say(tests="ready")
            if not self.lines.readline():
                os._exit(1)  # the run is gone
            self._testing = True

    def end(self) -> None:
        if self._testing:
            self._testing = False
            self.say(tests="over")


def main() -> None:
    _die_with_parent()
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # the harness prints to stdout
    os.chdir(sys.argv[1])  # the harness writes its logs below the working directory
    import_official_harness()  # what the workers need not import again
    gc.collect()
    gc.freeze()  # the workers share these pages as long as nobody writes to them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, ends, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            os._exit(0)
        end = socket.socket(fileno=ends[0])
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            _die_with_parent()
            try:
                _work(Channel(end))
            except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's loop
                traceback.print_exc()
            # a timed-out test leaves the harness's reader thread blocked; it must not keep this process alive
            sys.stderr.flush()
            os._exit(0)
        end.close()


def _work(channel: Channel) -> None:
    """Jobs until the run hangs up."""
    client = cast(GradingClient, GradingClient.from_env(timeout=1800, max_pool_size=8))
    channel.say(ready=os.getpid())
    removals: list[threading.Thread] = []
    for line in cast(TextIO, channel.lines):
        client.made = []
        try:
            answer = _grade(json.loads(line), client, channel)
        finally:
            channel.end()
            removals = [removal for removal in removals if removal.is_alive()]
            removals += [threading.Thread(target=_remove, args=(made,), daemon=True) for made in client.made]
            for removal in removals[len(removals) - len(client.made) :]:
                removal.start()
        channel.say(**answer)
        sys.stdout.flush()
    for removal in removals:
        removal.join(CLEANUP_SECONDS)


def _grade(job: Mapping[str, Any], client: GradingClient, channel: Channel) -> dict[str, Any]:
    from swebench.harness.run_evaluation import RUN_EVALUATION_LOG_DIR, run_instance
    from swebench.harness.utils import make_test_spec

    prediction = {
        "instance_id": job["row"]["instance_id"],
        "model_name_or_path": job["model"],
        "model_patch": job["patch"],
    }
    log_dir = RUN_EVALUATION_LOG_DIR / job["run_id"] / job["model"] / prediction["instance_id"]
    report, error = None, ""
    try:
        spec = make_test_spec(job["row"])
        client.labels, client.limits = job["labels"], job["limits"]
        client.turn, client.eval_script = channel, spec.eval_script
        outcome = run_instance(spec, prediction, client, job["run_id"], timeout=job["timeout"])
        report = outcome[1][prediction["instance_id"]] if outcome else None
    except Exception as fault:  # noqa: BLE001 - one job's error is its answer; the process serves the next
        traceback.print_exc()
        error = f"{type(fault).__name__}: {fault}"
    return {"report": report, "log_dir": str(log_dir), "error": error}


def _remove(container: Container) -> None:
    """Kill and remove, while the next grading is already set up."""
    try:
        container.remove(force=True, v=True)
    except NotFound:
        pass
    except (APIError, RequestException) as error:  # the run's sweep finds it
        print(f"container {container.name} is left behind: {error}", file=sys.stderr, flush=True)


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
