"""An instance's repository with a patch, or without one, in a container of its own, where tests are run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from pydantic import BaseModel, ConfigDict

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.container.host import DockerHost
from agents.container.scripts import KILL_COMMAND
from agents.errors import ContainerEndedError, ContainerError, DiskLimitError

PATCH_FILE = "/tmp/polyswe.patch"

APPLY_COMMANDS = (
    "git apply --verbose",
    "git apply --verbose --3way",
    "git apply --verbose --reject",
    "patch --batch --forward --fuzz=5 -p1 -i",
)
"""How the official harness tries to apply a patch, in order (`GIT_APPLY_CMDS` of swebench)."""

_APPLY = f"""
cd "$1" || exit 2
later=
for command in {" ".join(f"'{command}'" for command in APPLY_COMMANDS)}; do
    [ -z "$later" ] || {{ git checkout -- . ; git clean -fd; }}
    later=1
    $command {PATCH_FILE} && exit 0
done
git apply --check --reverse {PATCH_FILE}
"""
"""As the official harness: each way starts from a clean tree, and a patch that is wholly there has been applied."""

_ANY_EXISTS = 'for path; do [ ! -e "$path" ] && [ ! -L "$path" ] || exit 1; done'
_STATE = 'cd "$cwd" && { git -c safe.directory="*" -c core.fileMode=false diff HEAD; echo $?; } | cksum'
"""Prints the state of the files under version control, for `cwd`."""
_BEGIN = "cwd=$1\n" + _STATE
_END = KILL_COMMAND + 'cwd=$1; shift\nrm -rf -- "$@"\n' + _STATE
"""End what a command has left running and remove its files; prints the state."""


class Ran(BaseModel):
    """What came of a command in a tree."""

    model_config = ConfigDict(frozen=True)

    exit_code: int | None
    """None when it was killed at its time limit or together with the container's processes."""
    output: str
    seconds: float
    timed_out: bool = False
    changed_repository: bool = False
    """Whether files under version control are not as they were before."""


class Tree:
    """A context manager; starts the container when it is first needed, and a fresh one after a test that broke it.

    Whatever patches and tests do, they do it inside: the container is offline, limited, labelled, and gone afterwards.
    """

    def __init__(self, config: ContainerConfig, patch: str | None = None, *, host: DockerHost | None = None) -> None:
        """
        Args:
            config: The container's settings.
            patch: What is applied to the base commit; None leaves it as it is.
            host: The Docker Engine, to be shared by the containers of a process.
        """
        self.config = config
        self.patch = patch
        self.host = host or DockerHost()
        self._container: Container | None = None
        self._state = ""
        self._applies: bool | None = True if patch is None else None

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._drop()

    def applies(self) -> bool:
        """Whether the patch applies in one of the official harness' ways. Raises ContainerError."""
        if self._applies is None:
            self._started()
        return bool(self._applies)

    def has_any(self, files: Mapping[str, str]) -> bool:
        """Whether one of the paths exists. Raises ContainerError."""
        done = self._started().run_script(_ANY_EXISTS, *self._paths(files), timeout=60)
        return done.returncode == 1

    def run(self, command: str, files: Mapping[str, str], timeout: float, *, keep_files: bool = False) -> Ran:
        """Run a shell command in the repository with `files` put over it, which are removed afterwards.

        What a command leaves running is ended. The next one has a fresh container if this one broke its own or has
        changed files of the repository. Files elsewhere are not looked at.

        Raises:
            ContainerError: The container was not ended by what runs in it.
        """
        started = time.monotonic()
        try:
            container = self._started()
            contents = {path: text.encode() for path, text in zip(self._paths(files), files.values(), strict=True)}
            if contents and not container.put_files(contents):
                container.run(":")  # raises where the container is gone: then this is not the test's doing
                self._drop()
                return Ran(exit_code=None, output="the test's files could not be written", seconds=_since(started))
            done = container.run(command, timeout=timeout)
            broken, changed = bool(done["exception_info"]), False
            if not broken:
                removed = () if keep_files else tuple(contents)
                ended = container.run_script(_END, self.config.cwd, *removed, timeout=60)
                changed = ended.text != self._state
                broken = ended.returncode != 0 or changed
        except (ContainerEndedError, DiskLimitError) as error:
            self._drop()
            return Ran(exit_code=None, output=str(error), seconds=_since(started))
        if broken or (self.patch and any(path in self.patch for path in files)):
            self._drop()  # also where files have taken the place of the patch's own
        timed_out = done.get("extra", {}).get("exception_type") == "TimeoutExpired"
        exit_code = None if done["exception_info"] else int(done["returncode"])
        return Ran(
            exit_code=exit_code,
            output=done["output"],
            seconds=_since(started),
            timed_out=timed_out,
            changed_repository=changed,
        )

    def script(self, script: str, *arguments: str, timeout: float = 120) -> str | None:
        """What a script of ours prints in the repository's container, `$1` being its folder; None when it fails."""
        done = self._started().run_script(script, self.config.cwd, *arguments, timeout=timeout)
        return done.text if done.returncode == 0 else None

    def _paths(self, files: Mapping[str, str]) -> list[str]:
        return [path if path.startswith("/") else f"{self.config.cwd}/{path}" for path in files]

    def _started(self) -> Container:
        """The container, with the patch applied if it can be."""
        if self._container is not None:
            return self._container
        container = Container(self.config, host=self.host)
        container.start()
        self._container = container
        if self.patch is not None and self._applies is not False:
            self._applies = self._apply(container, self.patch)
        self._state = container.run_script(_BEGIN, self.config.cwd, timeout=60).text
        return container

    def _apply(self, container: Container, patch: str) -> bool:
        try:
            if not container.put_files({PATCH_FILE: patch.encode()}):
                container.run(":")
                raise ContainerError(f"container {container.name}: the patch could not be copied into it")
            applied = container.run_script(_APPLY, self.config.cwd, timeout=600).returncode == 0
            container.run("rm -f " + PATCH_FILE)
        except (UnicodeEncodeError, ContainerEndedError, DiskLimitError):
            return False
        return applied

    def _drop(self) -> None:
        if self._container is not None:
            self._container.cleanup()
            self._container = None


def _since(started: float) -> float:
    return time.monotonic() - started
