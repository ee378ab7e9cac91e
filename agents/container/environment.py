"""The container an agent works in: offline, labelled, bounded, and gone afterwards."""

from __future__ import annotations

import io
import logging
import platform
import re
import shlex
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from agents.container.capture import Captured
from agents.container.config import ContainerConfig
from agents.container.history import (
    BASE_COMMIT_LABEL,
    DERIVED_FROM_LABEL,
    DERIVED_REPOSITORY,
    HIDE,
    LINKED_WORKTREE,
    NO_COMMIT,
    PreparedImage,
    key_of,
)
from agents.container.host import DockerHost
from agents.container.limits import ContainerLimits
from agents.container.scripts import DIFF, FIRST_PROCESS, KILL_COMMAND
from agents.deadline import Deadline
from agents.errors import ContainerEndedError, ContainerError, DiskLimitError
from agents.third_party import load_minisweagent

logger = logging.getLogger("polyswe.agents")

SUBMIT_MARKER = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""First line of the output of a command that submits."""

_LATE_SECONDS = 10.0
"""How long a container may take to appear after the client that asked for it was killed."""

_RESTART_SECONDS = 90.0
"""How long the engine may take to restart a container: it waits up to a minute after repeated ends."""

_NOT_BEGUN = re.compile(rb"OCI runtime exec failed:[^\n]*\s*")
"""Output of a command that the engine did not begin. A command that prints the same is merely run twice."""

_STATE = "{{.State.Status}} {{.State.StartedAt}} {{.RestartCount}} {{.State.ExitCode}}"


@dataclass(frozen=True)
class _State:
    """What the engine says of a container."""

    status: str
    """`running`, `restarting`, `exited`, `paused`, …"""
    started: str
    """When its processes were started last."""
    restarts: int
    """How often the engine has restarted it because its first process had ended without being told to."""
    exit_code: int


class Container:
    """An environment of mini-swe-agent (its Environment protocol), also a context manager.

    A command is one `docker exec`, as in upstream's DockerEnvironment: it sees the same environment, and what it leaves
    in the background lives on. A command whose background processes hold its output open returns when the engine stops
    waiting for them, two seconds after its own end.

    Differences from upstream: what lies after the base commit is gone; the container is limited; a command that times
    out is killed inside the container, with its session; output is bounded and keeps its line ends (a patch of a CRLF
    file stays applicable); the engine's failures raise ContainerError and are not shown to the model as its command's
    output; a container whose first process is ended from inside is started again; clean-up is synchronous and certain.
    """

    def __init__(
        self,
        config: ContainerConfig,
        deadline: Deadline | None = None,
        *,
        host: DockerHost | None = None,
        name: str | None = None,
    ) -> None:
        """
        Args:
            config: the container's settings.
            deadline: the attempt's clock, which shortens commands.
            host: the engine, shared by the containers of a process.
            name: of a container that runs already, instead of a new one.
        """
        self.config = config
        self.deadline = deadline or Deadline()
        self.host = host or DockerHost()
        self.name = name or f"polyswe-{uuid.uuid4().hex[:12]}"
        self.base_commit = "HEAD"
        self.image = config.image
        self._overflow = ""
        self._ended = ""
        self._removing = threading.Lock()
        self._known = self._state() if name else None
        self._started_at = time.monotonic()

    def __enter__(self) -> Container:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.cleanup()

    @property
    def disk_bytes(self) -> float:
        """Bytes that the container may write; infinite without a limit."""
        return self.config.limits.disk_bytes

    def start(self) -> None:
        """Start the container, what came after the base commit hidden, and note that commit.

        Raises:
            ContainerError: it could not be started; nothing is left behind then.
        """
        try:
            if self.config.hide_later_history:
                prepared = self._prepared_image()
                self._run_container(prepared.image)
                self.base_commit = prepared.base_commit
            else:
                self._run_container(self.config.image)
                self._examine_history("keep")
            if self.config.limits.disk_gb is not None:
                self.host.disk_watch.add(self)
        except BaseException:
            self.cleanup()
            raise

    # ---- hiding what came after the base commit, once per image ----

    def _prepared_image(self) -> PreparedImage:
        """The image itself where it holds nothing later, else one made from it, which stays for other runs."""
        identity = self._image_id()
        key = key_of(identity, self.config.cwd)
        known = self.host.histories.clean.get(key) or self._derived_image(key)
        if known:
            return known
        with self.host.histories.lock(key):
            return self.host.histories.clean.get(key) or self._derived_image(key) or self._prepare_image(identity, key)

    def _image_id(self) -> str:
        """The image's id; fetches the image where it is missing."""
        config = self.config
        found = self._ask("image", "inspect", "-f", "{{.Id}}", config.image, timeout=60)
        if found.returncode and config.pull == "missing" and "No such image" in found.stderr:
            pulled = self._ask("pull", "-q", config.image, timeout=config.start_timeout)
            if pulled.returncode:
                raise ContainerError(_start_failure(pulled.stderr, config.image))
            found = self._ask("image", "inspect", "-f", "{{.Id}}", config.image, timeout=60)
        if found.returncode:
            raise ContainerError(_start_failure(found.stderr, config.image))
        return found.stdout.strip()

    def _derived_image(self, key: str) -> PreparedImage | None:
        """The image made by an earlier cut."""
        name = f"{DERIVED_REPOSITORY}:{key}"
        label = f'{{{{index .Config.Labels "{BASE_COMMIT_LABEL}"}}}}'
        found = self._ask("image", "inspect", "-f", label, name, timeout=60)
        return None if found.returncode else PreparedImage(name, found.stdout.strip())

    def _prepare_image(self, identity: str, key: str) -> PreparedImage:
        """Look at the image's repository in a container of its own, and keep what a cut has left as an image."""
        # git's work on the image is not the model's: it has the default limits
        config = self.config.model_copy(update={"limits": ContainerLimits()})
        scratch = Container(config, host=self.host)
        try:
            scratch._run_container(identity)
            was_cut = scratch._examine_history("hide")
            if not was_cut:
                prepared = PreparedImage(identity, scratch.base_commit)
                self.host.histories.clean[key] = prepared
                return prepared
            name = f"{DERIVED_REPOSITORY}:{key}"
            labels = {label: "" for label in config.labels} | {
                DERIVED_FROM_LABEL: identity,
                BASE_COMMIT_LABEL: scratch.base_commit,
            }
            changes = [part for label, value in labels.items() for part in ("--change", f'LABEL "{label}"="{value}"')]
            done = self._ask("commit", *changes, scratch.name, name, timeout=config.start_timeout)
            if done.returncode:
                raise ContainerError(_start_failure(done.stderr, config.image))
            return PreparedImage(name, scratch.base_commit)
        finally:
            scratch.cleanup()

    def _examine_history(self, mode: Literal["hide", "keep"]) -> bool:
        """Note the base commit and, if so told, remove what came after it; whether there was something."""
        config = self.config
        done = self.run_script(HIDE, config.cwd, mode, timeout=600)
        if done.returncode == 0:
            self.base_commit, *cuts = done.text.split()
            return bool(cuts)
        self._check_alive()
        if done.returncode == NO_COMMIT or mode == "keep":
            return False  # no repository, which is the image's affair
        words = " ".join(done.text.split())[-200:] or f"git ended with {done.returncode}"
        reason = "it is a linked worktree" if done.returncode == LINKED_WORKTREE else words
        raise ContainerError(
            f"image {config.image}: commits after the base commit could not be hidden in {config.cwd} ({reason}); "
            "mend the image or set agent.hide_later_history: false"
        )

    def _run_container(self, image: str) -> None:
        config = self.config
        # the log driver: whatever a process writes to the first one's output would grow without bound on the host
        arguments = ["run", "-d", "-i", "--init=false", "--log-driver", "none", "--name", self.name]
        # the engine restarts only what ended of itself, so that its counter tells this from an end from outside
        arguments += ["--restart", "on-failure", *config.options()]
        arguments += ["--entrypoint", "bash", image, "-c", FIRST_PROCESS, "bash", str(config.lifetime_seconds)]
        logger.debug("starting container: %s", shlex.join(arguments))
        done = self._ask(*arguments, timeout=config.start_timeout)
        if done.returncode:
            raise ContainerError(_start_failure(done.stderr, config.image))
        self.image = image
        self._known, self._started_at = self._state(), time.monotonic()

    def _ask(self, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run Docker's client for what a start needs.

        Raises:
            ContainerError: there is no client, or it was killed at the timeout.
        """
        try:
            return self.host.run(*arguments, timeout=timeout)
        except FileNotFoundError:
            raise ContainerError(f"{self.host.executable} is not installed: install Docker's client") from None
        except subprocess.TimeoutExpired:
            if arguments[0] == "run":
                self._remove(patience=_LATE_SECONDS)  # the engine goes on with what its client was killed over
            raise ContainerError(
                f"container of image {self.config.image} did not start within {timeout:g} s: "
                "pull the image beforehand or raise start_timeout"
            ) from None

    def execute(self, action: dict[str, Any], cwd: str = "", *, timeout: float | None = None) -> dict[str, Any]:
        """Run `action["command"]`; returns output, returncode and exception_info.

        Raises:
            minisweagent.exceptions.Submitted: the command submits.
            DiskLimitError, ContainerEndedError, ContainerError: as `run`.
        """
        output, complete = self._run_command(action["command"], cwd, timeout)
        if output["exception_info"]:  # was killed or cut off: it submits nothing, however much it printed
            return output
        if not complete and output["output"].lstrip().startswith(SUBMIT_MARKER):
            return _failed(output["output"], "The submission was refused because it is too large.", "ValueError")
        self._check_finished(output)
        return output

    def run(self, command: str, *, timeout: float | None = None) -> dict[str, Any]:
        """As `execute`, of a command that is no model's: whatever it prints, it submits nothing.

        Raises:
            DiskLimitError: the container held more than it may.
            ContainerEndedError: its contents have ended the container for good.
            ContainerError: the container was removed or ended from outside, or the engine does not answer.
        """
        return self._run_command(command, "", timeout)[0]

    def _run_command(self, command: str, cwd: str, timeout: float | None) -> tuple[dict[str, Any], bool]:
        """A command's result in upstream's form, and whether all of its output was kept. Raises as `run`."""
        limit = max(0.1, min(timeout or self.config.timeout, self.deadline.remaining()))
        try:
            words = [*self.config.interpreter, command]
            done = self._exec(*words, cwd=cwd or self.config.cwd, env=self.config.env, timeout=limit)
            if done.returncode and _NOT_BEGUN.fullmatch(done.output):
                done = self._exec(*words, cwd=cwd or self.config.cwd, env=self.config.env, timeout=limit)
        except (OSError, ValueError, TypeError) as error:  # longer than an argument may be, NUL bytes, not a text
            return _failed("", f"The command could not be run: {error}", type(error).__name__), True
        if done.returncode is None:
            all_ended = self._kill_command()
            reason = f"The command was killed after {limit:g} seconds.{_ALL_ENDED * all_ended}"
            return _failed(done.text, reason, "TimeoutExpired"), done.complete
        if done.returncode and (self._ended_since() or (done.returncode >= 125 and self._start_again_if_full())):
            return _failed(done.text, f"The command was cut off.{_ALL_ENDED}", "ProcessesEnded"), done.complete
        return {"output": done.text, "returncode": done.returncode, "exception_info": ""}, done.complete

    def put_files(self, files: Mapping[str, bytes]) -> bool:
        """Write files, given by absolute path, as the image's first user; whether that was possible."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode, entry.mtime = len(content), 0o755, int(time.time())
                tar.addfile(entry, io.BytesIO(content))
        try:
            return self.host.feed("cp", "-", f"{self.name}:/", data=archive.getvalue(), timeout=120) == 0
        except subprocess.TimeoutExpired:
            return False

    def diff(self) -> str:
        """The working tree against the base commit as a patch, new files included. Empty when it cannot be taken."""
        done = self.run_script(DIFF, self.config.cwd, self.base_commit, timeout=120)
        if done.returncode != 0 or not done.complete:
            logger.warning("%s: the working tree could not be read: git ended with %s", self.name, done.returncode)
            return ""
        return done.text

    def cleanup(self) -> None:
        """Remove the container, at once and certainly. Safe to call again and when it was never started."""
        self.host.disk_watch.discard(self)
        self._remove()

    def _remove(self, patience: float = 0) -> None:
        """Remove the container, waiting up to `patience` seconds for one that is not there yet."""
        last = time.monotonic() + patience
        try:
            with self._removing:  # the disk watch's removal and the attempt's: both return when it is done
                done = self.host.run("rm", "-f", "-v", self.name, timeout=120)
                while "No such container" in done.stderr and time.monotonic() < last:
                    time.sleep(0.2)
                    done = self.host.run("rm", "-f", "-v", self.name, timeout=120)
        except (OSError, subprocess.TimeoutExpired) as error:
            logger.warning("container %s may be left behind: %s", self.name, type(error).__name__)
            return
        if done.returncode and "No such container" not in done.stderr and "already in progress" not in done.stderr:
            logger.warning("container %s may be left behind: %s", self.name, done.stderr.strip())

    def get_template_vars(self, **kwargs: Any) -> dict[str, Any]:
        return self.config.model_dump() | platform.uname()._asdict() | kwargs

    def serialize(self) -> dict[str, Any]:
        config = {
            "environment": self.config.model_dump(mode="json"),
            "environment_type": f"{type(self).__module__}.{type(self).__name__}",
        }
        return {"info": {"config": config}}

    def overflow(self, reason: str) -> None:
        """End the container, which has written more than it may; the command at work raises DiskLimitError."""
        self._overflow = reason
        self._remove()  # a command at work in another thread ends with it

    def _check_finished(self, output: dict[str, Any]) -> None:
        """As upstream: a successful command whose first line is the marker submits the rest of its output."""
        load_minisweagent()
        from minisweagent.exceptions import Submitted

        lines = output["output"].lstrip().splitlines(keepends=True)
        if lines and lines[0].strip() == SUBMIT_MARKER and output["returncode"] == 0:
            submission = "".join(lines[1:])
            extra = {"exit_status": "Submitted", "submission": submission}
            raise Submitted({"role": "exit", "content": submission, "extra": extra})

    # ---- what the engine says, never the words of a command's output, decides whose failure it is ----

    def _check_alive(self) -> None:
        """Raise if the container has ended; being started again after its own end is no failure."""
        self._ended_since()

    def _ended_since(self) -> bool:
        """Whether all of the container's processes have ended since the last look, through what one of them did.

        Raises:
            DiskLimitError, ContainerEndedError, ContainerError: as `execute`.
        """
        if self._overflow:
            raise DiskLimitError(self._overflow)
        if self._ended:
            raise ContainerEndedError(self._ended)
        known, state = self._known, self._state()
        last = time.monotonic() + _RESTART_SECONDS
        while state.status == "restarting" and time.monotonic() < last:
            time.sleep(0.1)
            state = self._state()
        if known is None or (state == known and state.status == "running"):
            return False
        self._known = state
        own_end = state.restarts > known.restarts
        if state.status == "running" and own_end:
            return True
        if state.status == "exited" and state.exit_code == 0 and self._outlived():
            raise ContainerError(f"container {self.name} has reached the end of its lifetime")
        if own_end or (state.status == "exited" and state.exit_code == 0):
            self._ended = "the container was ended from inside and could not be started again"
            raise ContainerEndedError(self._ended)
        if state.status == "running":
            raise ContainerError(f"container {self.name} of image {self.config.image} was restarted from outside")
        raise ContainerError(
            f"container {self.name} of image {self.config.image} was ended from outside, or the Docker engine "
            f"stopped (it is {state.status})"
        )

    def _outlived(self) -> bool:
        """Whether the container has reached the end of its lifetime."""
        return time.monotonic() - self._started_at >= self.config.lifetime_seconds

    def _state(self) -> _State:
        """Ask the engine.

        Raises:
            ContainerError: there is no such container any more, or the engine does not answer.
        """
        try:
            done = self.host.run("inspect", "--type", "container", "-f", _STATE, self.name, timeout=60)
        except subprocess.TimeoutExpired:
            raise ContainerError(_NO_ANSWER) from None
        if "No such container" in done.stderr:
            raise ContainerError(f"container {self.name} of image {self.config.image} is gone: it was removed")
        words = done.stdout.split()
        if done.returncode or len(words) != 4:
            raise ContainerError(_NO_ANSWER)
        return _State(words[0], words[1], int(words[2]), int(words[3]))

    # ---- processes in the container ----

    def _exec(self, *command: str, cwd: str, env: Mapping[str, str], timeout: float) -> Captured:
        """Run a program in the container. Raises as `run_captured`."""
        variables = [part for key, value in env.items() for part in ("-e", f"{key}={value}")]
        arguments = ["exec", "-w", cwd, *variables, self.name, *command]
        return self.host.capture(*arguments, timeout=timeout, max_bytes=self.config.max_output_bytes)

    def run_script(self, script: str, *arguments: str, timeout: float) -> Captured:
        """Run a shell script of our own in the root folder.

        Raises:
            OSError, ValueError: an argument is too long or holds a NUL byte.
        """
        return self._exec("sh", "-c", script, "sh", *arguments, cwd="/", env={}, timeout=timeout)

    def _kill_command(self) -> bool:
        """End the command whose client was killed; whether all processes of the container had to be ended."""
        if self._overflow or self.run_script(KILL_COMMAND, timeout=30).returncode == 0:
            return False
        return self._ended_since() or self._restart()

    def _start_again_if_full(self) -> bool:
        """End all processes if there is room for no other one; whether that was so."""
        if self.run_script(":", timeout=30).returncode == 0:
            return False
        return self._ended_since() or self._restart()

    def _restart(self) -> bool:
        """End all processes from outside; the files stay."""
        try:
            done = self.host.run("restart", "-t", "0", self.name, timeout=120)
        except subprocess.TimeoutExpired:
            raise ContainerError(_NO_ANSWER) from None
        state = self._state()
        if done.returncode or state.status != "running":
            self._ended = "no program can be started in the container any more"
            raise ContainerEndedError(self._ended)
        self._known = state
        return True


_ALL_ENDED = " All processes in the container have ended; its files are as they were."
_NO_ANSWER = "the Docker engine does not answer: start it and check `docker info`"


def _failed(output: str, info: str, kind: str) -> dict[str, Any]:
    """A command without a result of its own, in upstream's form."""
    return {"output": output, "returncode": -1, "exception_info": info, "extra": {"exception_type": kind}}


def _start_failure(stderr: str, image: str) -> str:
    """One line for the reason that `docker run` gives."""
    if "Cannot connect to the Docker daemon" in stderr or "error during connect" in stderr:
        return _NO_ANSWER
    words = " ".join(line for line in stderr.splitlines() if line.strip() and "docker run --help" not in line)
    if re.search(r"No such image|Unable to find image|pull access denied|manifest unknown", stderr):
        return f"image {image} is not on this machine and could not be fetched: build or pull it ({words[-200:]})"
    return f"container of image {image} could not be started: {words[-300:]}"
