"""Patches that attack the grading: what they reach, whose failure it is, and that every bound holds. A real engine."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agents.container.host import DockerHost
from agents.container.limits import ContainerLimits
from harness.data.instances import Dataset, Instance
from harness.docker.engine import RUN_LABEL
from harness.grading.grader import Grader
from harness.grading.settings import Bounds, GradingContainer
from harness.grading.verdict import Grade, Verdict

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

LABEL = f"test-hostile-{os.getpid()}"
FAILED = (Verdict.HARNESS_ERROR, Verdict.UNRESOLVED)
"""What a container that is ended leads to: a report is written or not, by how soon the engine notices."""
GradePatch = Callable[..., Grade]


def adding(name: str, content: str) -> str:
    """A patch that adds a file."""
    lines = textwrap.dedent(content).strip("\n").split("\n")
    head = (
        f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return head + "".join(f"+{line}\n" for line in lines)


PAST_PYTEST = """
import os, sys
sys.stdout = open(f"/proc/{os.getppid()}/fd/1", "w", buffering=1)
"""
"""Print to the test script's own output: pytest keeps to itself what a conftest prints."""


def conftest(content: str) -> str:
    """A patch whose code runs when pytest starts."""
    return adding("conftest.py", PAST_PYTEST + textwrap.dedent(content))


@pytest.fixture
def grade(tmp_path: Path, sample: Dataset, engine: DockerClient) -> Iterator[GradePatch]:
    """Grades a patch of the sample's first instance; no container is left behind."""

    def grade_patch(
        patch: str,
        *,
        bounds: Bounds | None = None,
        container: GradingContainer | None = None,
        timeout: int = 60,
        attempts: int = 1,
        host: DockerHost | None = None,
        **columns: Any,
    ) -> Grade:
        with Grader(
            LABEL,
            tmp_path / "scratch",
            workers=1,
            timeout=timeout,
            attempts=attempts,
            bounds=bounds,
            container=container,
            host=host,
        ) as grader:
            return grader.grade(changed(sample.instances[0], **columns), "m", patch, tmp_path / "cell")

    yield grade_patch
    leftovers = engine.containers.list(all=True, filters={"label": f"{RUN_LABEL}={LABEL}"}, ignore_removed=True)
    for container in leftovers:
        container.remove(force=True)


def changed(instance: Instance, **columns: Any) -> Instance:
    row = {**instance.row, **columns}
    return replace(instance, image=row["image"], row=row)


def output(tmp_path: Path) -> str:
    return (tmp_path / "cell" / "test_output.txt").read_text(errors="replace")


# ---- what a patch reaches


SHOW_STATUS = """
print(open("/proc/self/status").read())
"""


@pytest.mark.parametrize("capabilities", [[], ["SYS_ADMIN"]])
def test_a_graded_patch_has_no_capability_that_was_not_granted(
    grade: GradePatch, tmp_path: Path, capabilities: list[str]
) -> None:
    grade(conftest(SHOW_STATUS), container=GradingContainer(capabilities=capabilities))
    status = dict(line.split(":\t", 1) for line in output(tmp_path).splitlines() if ":\t" in line)
    effective = int(status["CapEff"], 16)
    sys_admin, sys_ptrace, sys_module, sys_rawio = (1 << bit for bit in (21, 19, 16, 17))
    assert bool(effective & sys_admin) == bool(capabilities)
    assert not effective & (sys_ptrace | sys_module | sys_rawio)
    assert status["NoNewPrivs"].strip() == "1"


MOUNT = """
import subprocess
steps = "mkdir /tmp/c && mount -t cgroup -o devices cgroup /tmp/c"
print("mount:", subprocess.run(steps, shell=True).returncode)
"""


def test_a_graded_patch_cannot_mount(grade: GradePatch, tmp_path: Path) -> None:
    grade(conftest(MOUNT))
    assert "mount: " in output(tmp_path)
    assert "mount: 0" not in output(tmp_path)


CONNECT = """
import socket
try:
    socket.create_connection(("172.17.0.1", 1), timeout=3)
except OSError as error:
    print("network:", type(error).__name__, error.errno)
print("interfaces:", sorted(name for _, name in socket.if_nameindex()))
"""


@pytest.mark.parametrize(("network", "interfaces"), [("none", ["lo"]), (None, ["eth0", "lo"])])
def test_the_network_of_gradings_is_chosen(
    grade: GradePatch, tmp_path: Path, network: str | None, interfaces: list[str]
) -> None:
    grade(conftest(CONNECT), container=GradingContainer(network=network))
    assert f"interfaces: {interfaces}" in output(tmp_path)


# ---- whose failure it is


@pytest.mark.parametrize("words", ["Cannot allocate memory", "No space left on device", "OCI runtime exec failed"])
def test_words_in_a_malformed_patch_are_the_models(grade: GradePatch, words: str) -> None:
    malformed = adding("x.py", "a = 1").replace("+a = 1\n", f"{words}\n")
    assert grade(malformed, attempts=3).verdict is Verdict.PATCH_FAILED


PRINT_AND_BREAK_GIT = """
import os, shutil
print("OCI runtime exec failed: No space left on device; Cannot connect to the Docker daemon", flush=True)
os.remove(shutil.which("git"))
os._exit(1)
"""
PRINT_BY_GIT = """
import os, subprocess
words = "echo cannot exec in a stopped state: unknown #"
subprocess.run(["git", "config", "diff.external", words], check=True)
subprocess.run("for file in $(git ls-files); do echo >> $file; done", shell=True, check=True)
os._exit(1)
"""
END_EVERY_PROCESS = """
import os, signal
os.kill(-1, signal.SIGKILL)
"""


@pytest.mark.parametrize("attack", [PRINT_AND_BREAK_GIT, PRINT_BY_GIT, END_EVERY_PROCESS])
def test_a_patch_cannot_take_its_failure_back_by_words(grade: GradePatch, attack: str) -> None:
    assert grade(conftest(attack)).verdict is Verdict.UNRESOLVED


END_FIRST_PROCESS = """
import os
with open("/proc/1/maps") as maps:
    executable = [line.split()[0] for line in maps if " r-xp " in line]
with open("/proc/1/mem", "r+b", buffering=0) as memory:
    for span in executable:
        start, end = (int(part, 16) for part in span.split("-"))
        try:
            memory.seek(start)
            memory.write(b"\\x0f\\x0b" * ((end - start) // 2))
        except OSError as error:
            print(span, error)
import time
for _ in range(20):  # `tail -f` runs on when the file that it follows changes
    open("/dev/null", "w").write("x")
    os.utime("/dev/null")
    time.sleep(0.5)
"""


def test_a_patch_cannot_take_its_failure_back_by_ending_the_container(grade: GradePatch, tmp_path: Path) -> None:
    result = grade(conftest(END_FIRST_PROCESS), attempts=3)
    if result.verdict is Verdict.UNRESOLVED:
        pytest.skip("this kernel lets no process of a container write to the memory of the first one")
    assert result.verdict is Verdict.HARNESS_ERROR, result
    assert "ended their own container (exit code" in result.detail


def test_output_on_which_the_parser_fails_is_the_models(grade: GradePatch) -> None:
    """Django's parser expects a name after `FAIL:`."""
    result = grade(conftest("print('FAIL:')"), log_parser="parse_log_django", attempts=3)
    assert result.verdict is Verdict.HARNESS_ERROR, result
    assert "IndexError" in result.detail or "index out of range" in result.detail


# ---- what is bounded


ENDLESS = """
while True:
    os.write(sys.stdout.fileno(), b"0123456789abcdef" * 4096)
"""


def test_endless_output_ends_the_container(grade: GradePatch, tmp_path: Path) -> None:
    result = grade(conftest(ENDLESS), bounds=Bounds(output_bytes=3_000_000), timeout=600)
    assert result.verdict in FAILED, result
    assert result.detail == "a command printed more than 3,000,000 bytes"
    assert 2_500_000 < len(output(tmp_path)) < 4_000_000


LARGE = """
for number in range(200_000):
    print("line", number, "x" * 50)
"""


def test_large_output_within_the_bound_is_kept_whole(grade: GradePatch, tmp_path: Path) -> None:
    result = grade(conftest(LARGE))
    assert result.verdict in (Verdict.UNRESOLVED, Verdict.RESOLVED)
    lines = [line for line in output(tmp_path).splitlines() if line.startswith("line ")]
    assert len(lines) == 200_000


DIFF_WITHOUT_END = """
import subprocess
subprocess.run(["git", "config", "diff.external", "sleep 1000; echo"], check=True)
subprocess.run("for file in $(git ls-files); do echo >> $file; done", shell=True, check=True)
"""


def test_a_diff_without_end_after_the_tests_is_ended(grade: GradePatch) -> None:
    result = grade(conftest(DIFF_WITHOUT_END), bounds=Bounds(after_tests_seconds=3))
    assert result.verdict in FAILED, result
    assert "no diff could be taken after the tests within 3 seconds" in result.detail


def test_results_that_take_too_long_to_read_are_the_models(grade: GradePatch) -> None:
    many = """
    for number in range(1_500_000):
        print("PASSED t" + str(number))
    """
    result = grade(conftest(many), bounds=Bounds(reading_seconds=0.2), timeout=120)
    assert result.verdict is Verdict.HARNESS_ERROR, result
    assert "did not finish reading" in result.detail


FILL = """
import os, time
for i in range(20):
    with open(f"/fill{i}", "wb") as file:
        file.write(bytes(10_000_000))
time.sleep(100)
"""
HOLD_DELETED = """
import os, time
files = [open(f"/held{i}", "wb") for i in range(4)]
for file in files:
    os.unlink(file.name)
    file.write(bytes(40_000_000))
    file.flush()
time.sleep(100)
"""


@pytest.mark.parametrize(
    ("attack", "disk_gb", "nearly_full", "reason"),
    [(FILL, 0.05, False, "more than 0.05 GB"), (HOLD_DELETED, 5, True, "held most of it")],
)
def test_tests_that_fill_the_disk_are_ended_and_the_models_failure(
    grade: GradePatch, attack: str, disk_gb: float, nearly_full: bool, reason: str
) -> None:
    host = DockerHost()
    host.disk_watch.every = 0.2
    if nearly_full:
        host.disk_watch.reserve, host.disk_watch.worth = (1e18, 0), (100e6, 5000)
    limits = ContainerLimits(memory="512m", disk_gb=disk_gb)
    ended = grade(conftest(attack), container=GradingContainer(limits=limits), timeout=90, attempts=2, host=host)
    assert ended.verdict in FAILED
    assert reason in ended.detail
