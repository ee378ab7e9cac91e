"""A process that has imported the official harness, and forks a child for every grading.

Why processes and not threads: `run_instance` writes below the working directory, prints to stdout, and keys its logger
by instance, so that two models' cells of one instance would write into each other's log within one process. Why forked:
importing the official harness takes seconds.

The parent reads sockets from its standard input and forks a child for each. The child reads a job, a JSON line, and
answers with one. Meanwhile it says how far it is. Before the tests it sends `{"phase": "ready"}` and waits for a line;
afterwards it sends `{"phase": "tested"}`: so many gradings may set up and clean up, while only as many tests run as the
run wants. It names its container, which the run watches, and before it cleans up it asks whether the run has ended it.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from swebench.harness.run_evaluation import RUN_EVALUATION_LOG_DIR, run_instance
from swebench.harness.utils import make_test_spec

from harness.docker.engine import endpoint
from harness.grading.container import GradingClient
from harness.grading.judge import judge, machine_fault
from harness.grading.observer import Observer
from harness.grading.settings import Bounds
from harness.grading.verdict import Grade, Verdict


def grade(job: Mapping[str, Any], channel: Channel) -> dict[str, Any]:
    """The official verdict on one prediction, and the folder of the official harness's files."""
    instance_id = job["row"]["instance_id"]
    prediction = {
        "instance_id": instance_id,
        "model_name_or_path": job["model"],
        "model_patch": job["patch"],
    }
    log_dir = RUN_EVALUATION_LOG_DIR / job["run_id"] / job["model"] / instance_id
    began = time.monotonic()
    try:
        spec = make_test_spec(job["row"])
        bounds = Bounds(**job["bounds"])
        client = GradingClient(
            settings=job["settings"],
            max_output_bytes=bounds.output_bytes,
            timeout=1800,
            **endpoint().arguments(),
        )
        with Observer(instance_id, client, run=channel, bounds=bounds) as seen:
            outcome = run_instance(spec, prediction, client, job["run_id"], timeout=job["timeout"])
        if outcome and seen.test_seconds is None:
            raise RuntimeError("this version of swebench logs other messages than those that are watched for")
        verdict = judge(outcome[1][instance_id] if outcome else None, seen)
        waited = seen.waited_seconds
    except Exception as fault:  # noqa: BLE001 - the error of one grading is its answer
        traceback.print_exc()
        detail, kind = f"{type(fault).__name__}: {fault}", machine_fault(fault) or "grading: unknown"
        verdict, waited = Grade(Verdict.INFRASTRUCTURE, detail, kind), 0.0
    verdict = replace(verdict, seconds=time.monotonic() - began - waited)
    return {"grade": asdict(verdict), "log_dir": str(log_dir)}


class Channel:
    """The child's side of its socket, a JSON line a message; implements `observer.Run`."""

    def __init__(self, end: socket.socket) -> None:
        self._lines = end.makefile("rw", encoding="utf-8", newline="\n")
        self._testing = False

    def send(self, **message: Any) -> None:
        self._lines.write(json.dumps(message) + "\n")
        self._lines.flush()

    def receive(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            os._exit(1)  # the run is gone
        message: dict[str, Any] = json.loads(line)
        return message

    def container_started(self, name: str) -> None:
        self.send(phase="container", name=name)

    def ended_for(self) -> str:
        self.send(phase="ended")
        return str(self.receive()["ended_for"])

    def acquire_tests(self) -> None:
        self.send(phase="ready")
        self.receive()
        self._testing = True

    def release_tests(self) -> None:
        if self._testing:
            self._testing = False
            self.send(phase="tested")

    def reading_begins(self) -> None:
        self.send(phase="reading")

    def reading_ends(self) -> None:
        self.send(phase="read")


def main() -> None:
    """Fork a child for every socket that arrives on standard input, until that is closed."""
    _die_with_parent()
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # the harness prints to stdout
    os.chdir(sys.argv[1])  # the harness writes its logs below the working directory
    gc.collect()
    gc.freeze()  # the children share these pages as long as nobody writes to them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, ends, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            os._exit(0)
        end = socket.socket(fileno=ends[0])
        if os.fork() == 0:
            control.close()
            _serve_one(end)
        end.close()


def _serve_one(end: socket.socket) -> None:
    """Grade the one job that the socket brings, and end this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _die_with_parent()
    try:
        channel = Channel(end)
        channel.send(phase="started", pid=os.getpid())
        channel.send(**grade(channel.receive(), channel))
    except BaseException:  # noqa: BLE001 - a forked child must never return into its parent's loop
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # a timed-out test leaves the harness's reader thread blocked; it must not keep this process alive
    os._exit(0)


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
