"""The container an agent works in: offline, labelled, bounded, with commands that really end and no leftovers."""

from __future__ import annotations

import logging
import platform
import re
import shlex
import subprocess
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agents.container.capture import Captured, run_captured
from agents.container.disk import DISK_WATCH
from agents.container.history import CUT, LINKED_WORKTREE, NO_COMMIT
from agents.container.limits import ContainerLimits
from agents.container.shell import UNSWEPT, Shell
from agents.container.shell_scripts import FIRST, KILL
from agents.deadline import Deadline
from agents.errors import ContainerError, DiskLimitError
from agents.third_party import load_minisweagent

logger = logging.getLogger("polyswe.agents")

SUBMIT_MARKER = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"

_GRACE_SECONDS = 15
"""How much longer than the command's own timeout the shell may take to answer."""

_LATE_SECONDS = 10.0
"""How long a container may take to appear after the client that asked for it was killed."""

_NO_EXEC = re.compile(
    r"OCI runtime exec failed.*(temporarily unavailable|cannot allocate memory|EAGAIN|signal: killed|EOF)"
)
"""What the engine says when a container is so full of processes that none fits in."""

_ENGINE_TROUBLE = re.compile(
    r"No such container|is not running|is paused|Cannot connect to the Docker daemon|error during connect"
)

_DIFF = r"""
set -e
cd "$1"
index=$(mktemp -u)
cp "$(git rev-parse --git-path index)" "$index" 2>/dev/null || true
export GIT_INDEX_FILE="$index"
git add -A -- . 2>/dev/null || { rm -f "$index"; git read-tree "$2"; git add -A -- .; }
git ls-tree --name-only "$2" -- patch.txt | grep -q . || git rm -q --cached --ignore-unmatch -- patch.txt
git diff --cached --binary --no-color --no-ext-diff --no-textconv --no-renames --src-prefix=a/ --dst-prefix=b/ "$2" \
    -- . ':(exclude,glob)**/__pycache__/**' ':(exclude,glob)**/.pytest_cache/**'
"""
"""Patch of everything since the base commit, new files included. `patch.txt` is where the agent is told to write its
submission and no part of the work; `$1` is the repository, `$2` the base commit."""

_SAFE_DIRECTORY = ["GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"]
"""The repository may belong to another user than the one who runs git."""

_no_unreachable: set[str] = set()
"""Images whose repositories were counted and hold nothing that HEAD does not reach."""


class ContainerConfig(BaseModel):
    """How the agent's container is started and how its commands run."""

    model_config = ConfigDict(extra="forbid")

    image: str
    """Image whose `cwd` is the instance's git repository."""
    labels: dict[str, str] = {}
    """Docker labels, by which leftovers of a killed run are found."""
    cwd: str = "/testbed"
    """Working directory of every command."""
    env: dict[str, str] = {}
    """Environment variables of every command. Nothing of the host's environment is passed on."""
    interpreter: list[str] = ["bash", "-c"]
    """What runs a command; the command is appended."""
    timeout: float = Field(default=60, gt=0)
    """Seconds after which a command is killed."""
    network: str = "none"
    """Docker network. `none`: the fix of a public issue is only a download away."""
    limits: ContainerLimits = ContainerLimits()
    """What the container may take of the machine."""
    hide_later_history: bool = True
    """Whether commits, refs and objects that HEAD does not reach are removed before anything else happens."""
    pull: Literal["missing", "never"] = "missing"
    """Whether an image that is not on this machine is fetched."""
    start_timeout: float = Field(default=600, gt=0)
    """Seconds until the container must run, fetching the image included."""
    lifetime_seconds: int = Field(default=86_400, gt=0)
    """The container ends itself after this long, should nobody remove it."""
    max_output_bytes: int = Field(default=10_000_000, gt=0)
    """Bytes of one command's output that are kept, half from its head and half from its tail."""
    executable: str = "docker"
    """Docker's client program."""


class Container:
    """An environment of mini-swe-agent (its Environment protocol), also a context manager.

    Differences from upstream's DockerEnvironment: what lies after the base commit is gone; the container is limited and
    cannot be ended from inside; a command that times out is killed with everything it has started; output is bounded
    and keeps its line ends (a patch of a CRLF file stays applicable); the engine's failures raise ContainerError and
    are not shown to the model as its command's output; clean-up is synchronous and certain.
    """

    def __init__(self, config: ContainerConfig, deadline: Deadline | None = None, name: str | None = None) -> None:
        """`name`: of a container that runs already, instead of a new one."""
        self.config = config
        self.deadline = deadline or Deadline()
        self.name = name or f"polyswe-{uuid.uuid4().hex[:12]}"
        self.base_commit = "HEAD"
        self.overflowed = False
        self._removing = threading.Lock()
        self._commands = 0
        self._shell = Shell(config.executable, self.name)

    def __enter__(self) -> Container:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.cleanup()

    def start(self) -> None:
        """Start the container, hide what came after the base commit, and note that commit.

        Raises ContainerError; nothing is left behind then.
        """
        try:
            self._run_container()
            self._cut_history()
            DISK_WATCH.add(self)
        except BaseException:
            self.cleanup()
            raise

    def _cut_history(self) -> None:
        config = self.config
        known = "known" if config.image in _no_unreachable else "cut"
        mode = known if config.hide_later_history else "keep"
        done = self._run(["sh", "-c", CUT, "sh", config.cwd, mode], limit=600, cwd="/", env=_SAFE_DIRECTORY)
        lines = done.text.split()
        if done.returncode == 0:
            self.base_commit = lines[0]
            if mode == "cut" and "dirty" not in lines:
                _no_unreachable.add(config.image)
            return
        self._check_running()
        if done.returncode == NO_COMMIT or not config.hide_later_history:
            return  # no repository, which is the image's affair
        words = "it is a linked worktree" if done.returncode == LINKED_WORKTREE else done.text.strip()[-200:]
        raise ContainerError(
            f"image {config.image}: commits after the base commit could not be hidden in {config.cwd} "
            f"({' '.join(words.split()) or f'git ended with {done.returncode}'}); "
            "mend the image or set agent.hide_later_history: false"
        )

    def _run_container(self) -> None:
        config = self.config
        # the log driver: whatever a process writes to the first one's output would grow without bound on the host
        command = [config.executable, "run", "-d", "-i", "--rm", "--init=false", "--log-driver", "none"]
        command += ["--name", self.name, "--network", config.network, "--pull", config.pull, "-w", config.cwd]
        command += config.limits.options()
        command += [part for key, value in config.labels.items() for part in ("--label", f"{key}={value}")]
        command += ["--entrypoint", "bash", config.image, "-c", FIRST, "bash", str(config.lifetime_seconds)]
        logger.debug("starting container: %s", shlex.join(command))
        try:
            done = _client(command, config.start_timeout)
        except FileNotFoundError:
            raise ContainerError(f"{config.executable} is not installed: install Docker's client") from None
        except subprocess.TimeoutExpired:
            self._remove(patience=_LATE_SECONDS)  # the engine goes on with what its client was killed over
            raise ContainerError(
                f"container of image {config.image} did not start within {config.start_timeout:g} s: "
                "pull the image beforehand or raise start_timeout"
            ) from None
        if done.returncode:
            raise ContainerError(_explain(done.stderr, config.image))

    def execute(self, action: dict[str, Any], cwd: str = "", *, timeout: float | None = None) -> dict[str, Any]:
        """Run `action["command"]`; returns output, returncode and exception_info.

        Raises minisweagent's Submitted when the command submits, ContainerError when the container is gone.
        """
        limit = max(0.1, min(timeout or self.config.timeout, self.deadline.remaining()))
        env = [f"{key}={value}" for key, value in self.config.env.items()]
        started = time.monotonic()
        try:
            command = [*self.config.interpreter, action["command"]]
            done = self._run(command, limit=limit, cwd=cwd or self.config.cwd, env=env)
        except (OSError, ValueError, TypeError) as error:  # longer than an argument may be, NUL bytes, not a text
            return _failed("", f"The command could not be run: {error}", type(error).__name__)
        overdue = time.monotonic() - started >= limit
        if done.returncode is None:  # what holds the output open, or has stopped the command's own end
            if self._kill().returncode != 0:
                self._kill_everything()
            return _failed(done.text, f"The command was killed after {limit:g} seconds.", "TimeoutExpired")
        if done.returncode == UNSWEPT or (not done.answered and _NO_EXEC.search(done.text[-2000:])):
            self._kill_everything()
            told = f"The command was killed after {limit:g} seconds" if overdue else "The command could not run"
            return _failed(done.text, f"{told}. All processes in the container were ended.", "TimeoutExpired")
        if done.unended:
            self._check_running()
        elif not done.answered or done.returncode == 137:
            self._check_engine(done)
        if done.returncode == 137 and overdue:
            return _failed(done.text, f"The command was killed after {limit:g} seconds.", "TimeoutExpired")
        if not done.complete and done.text.lstrip().startswith(SUBMIT_MARKER):
            return _failed(done.text, "The submission was refused because it is too large.", "ValueError")
        output = {"output": done.text, "returncode": done.returncode, "exception_info": ""}
        self._check_finished(output)
        return output

    def diff(self) -> str:
        """The working tree against the base commit as a patch, new files included. Empty when it cannot be taken."""
        taking = ["sh", "-c", _DIFF, "sh", self.config.cwd, self.base_commit]
        done = self._run(taking, limit=120, cwd="/", env=_SAFE_DIRECTORY)
        if done.returncode != 0 or not done.complete:
            logger.warning("%s: the working tree could not be read: git ended with %s", self.name, done.returncode)
            return ""
        return done.text

    def cleanup(self) -> None:
        """Remove the container, at once and certainly. Safe to call again and when it was never started."""
        DISK_WATCH.discard(self)
        self._shell.close()
        self._remove()

    def _remove(self, patience: float = 0) -> None:
        """patience: seconds to wait for a container that is not there yet."""
        command = [self.config.executable, "rm", "-f", "-v", self.name]
        last = time.monotonic() + patience
        try:
            with self._removing:  # the disk deadline's removal and the attempt's: both return when it is done
                done = _client(command, 120)
                while "No such container" in done.stderr and time.monotonic() < last:
                    time.sleep(0.2)
                    done = _client(command, 120)
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

    def overflow(self) -> None:
        """End the container, which has written more than it may; the command at work raises DiskLimitError."""
        self.overflowed = True
        self._remove()  # the shell, at work in another thread, ends with it

    def _kill_everything(self) -> None:
        """End all processes from outside, when there is no room or no time to do so from inside; files stay."""
        try:
            done = _client([self.config.executable, "restart", "-t", "0", self.name], 120)
        except subprocess.TimeoutExpired:
            raise ContainerError(f"container {self.name} could not be restarted: the Docker engine is slow") from None
        if done.returncode:
            self._check_running()

    def _check_finished(self, output: dict[str, Any]) -> None:
        """As upstream: a successful command whose first line is the marker submits the rest of its output."""
        load_minisweagent()
        from minisweagent.exceptions import Submitted

        lines = output["output"].lstrip().splitlines(keepends=True)
        if lines and lines[0].strip() == SUBMIT_MARKER and output["returncode"] == 0:
            submission = "".join(lines[1:])
            extra = {"exit_status": "Submitted", "submission": submission}
            raise Submitted({"role": "exit", "content": submission, "extra": extra})

    def _check_engine(self, done: Captured) -> None:
        """Raise ContainerError if a failed command failed because its container is gone."""
        if done.returncode in (None, 125, 137) or _ENGINE_TROUBLE.search(done.text[-2000:]):
            self._check_running()

    def _check_running(self) -> None:
        if self.overflowed:
            raise DiskLimitError(f"more than {self.config.limits.disk_gb:g} GB were written")
        inspect = [self.config.executable, "inspect", "-f", "{{.State.Running}}", self.name]
        state = run_captured(inspect, timeout=60, max_bytes=10_000)
        if state.returncode or state.text.strip() != "true":
            raise ContainerError(
                f"container {self.name} of image {self.config.image} is gone: "
                "it was removed, ran out of memory, or the Docker engine stopped"
            )

    def _run(self, words: list[str], *, limit: float, cwd: str, env: Sequence[str]) -> Captured:
        """Run a program in the container, at most `limit` seconds; everything it has started ends with it then.

        Raises as Shell.run.
        """
        self._commands += 1
        return self._shell.run(
            ["env", self._tag, *env, "timeout", "-s", "KILL", f"{limit:.2f}", *words],
            cwd=cwd,
            ticks=round(limit * 100),
            tag=self._tag,
            timeout=limit + _GRACE_SECONDS,
            max_bytes=self.config.max_output_bytes,
        )

    @property
    def _tag(self) -> str:
        return f"POLYSWE_COMMAND={self._commands}"

    def _kill(self) -> Captured:
        """End the last command from outside its shell."""
        command = [self.config.executable, "exec", self.name, "bash", "-c", KILL, "bash", self._tag]
        return run_captured(command, timeout=30, max_bytes=10_000)


def _client(command: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Docker's client, out of reach of a terminal's Ctrl-C. Raises FileNotFoundError, OSError, TimeoutExpired."""
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, start_new_session=True)


def _failed(output: str, info: str, kind: str) -> dict[str, Any]:
    """A command without a result of its own, in upstream's words."""
    return {"output": output, "returncode": -1, "exception_info": info, "extra": {"exception_type": kind}}


def _explain(stderr: str, image: str) -> str:
    """One line for what `docker run` said."""
    if "Cannot connect to the Docker daemon" in stderr or "error during connect" in stderr:
        return "the Docker engine does not answer: start it and check `docker info`"
    words = " ".join(line for line in stderr.splitlines() if line.strip() and "docker run --help" not in line)
    if re.search(r"No such image|Unable to find image|pull access denied|manifest unknown", stderr):
        return f"image {image} is not on this machine and could not be fetched: build or pull it ({words[-200:]})"
    return f"container of image {image} could not be started: {words[-300:]}"
