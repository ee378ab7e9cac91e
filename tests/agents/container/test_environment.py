"""The container: offline, bounded, killable, and gone afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from minisweagent.exceptions import Submitted

from agents.container.capture import Bounded, run_captured
from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.container.host import DockerHost
from agents.container.limits import ContainerLimits
from agents.deadline import Deadline
from agents.errors import ContainerError
from harness.docker.engine import RUN_LABEL, sweep

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

Listing = Callable[[dict[str, str]], list[str]]


@pytest.fixture
def container(image: str, labels: dict[str, str]) -> Iterator[Container]:
    with Container(ContainerConfig(image=image, labels=labels, timeout=20)) as container:
        yield container


def run(container: Container, command: str, **options: Any) -> dict[str, Any]:
    return container.execute({"command": command}, **options)


def processes(container: Container) -> str:
    return run(container, "ps -eo args")["output"]


def test_commands_run_in_the_repository_without_the_hosts_environment(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-0123456789")
    assert run(container, "pwd; git status --short; false") == {
        "output": "/testbed\n",
        "returncode": 1,
        "exception_info": "",
    }
    assert "canary" not in run(container, "env")["output"]
    assert "canary" not in str(container.serialize())


def test_no_network_inside(container: Container) -> None:
    assert run(container, "ls /sys/class/net")["output"].split() == ["lo"]
    reach = "import socket; socket.create_connection(('1.1.1.1', 53), 3)"
    assert "unreachable" in run(container, f'python3 -c "{reach}"')["output"]


@pytest.mark.parametrize(
    "command",
    [
        "echo before; sleep 4321",
        "echo before; sleep 4321 & sleep 4321",
        "echo before; (trap '' TERM INT HUP; sleep 4321)",
        "echo before; timeout 4321 sleep 4321",
    ],
)
def test_a_command_that_times_out_is_dead(container: Container, command: str) -> None:
    output = run(container, command, timeout=2)
    assert output["returncode"] == -1
    assert "killed after 2 seconds" in output["exception_info"]
    assert output["output"].startswith("before")
    assert "sleep 4321" not in processes(container)


def test_only_the_command_that_times_out_is_killed(container: Container) -> None:
    run(container, "setsid sleep 8765 >/dev/null 2>&1 &")
    run(container, "sleep 4321", timeout=1)
    assert "sleep 8765" in processes(container)


VANISHED = """#!/bin/bash
# docker's client whose engine goes away under the first command
[[ $1 == exec ]] && echo part
echo 'error during connect: EOF' >&2
exit 1
"""


def test_an_engine_that_goes_away_under_a_command_is_not_its_result(container: Container, tmp_path: Path) -> None:
    client = tmp_path / "vanished"
    client.write_text(VANISHED)
    client.chmod(0o755)
    container.host = DockerHost(executable=str(client))
    with pytest.raises(ContainerError, match="engine does not answer"):
        run(container, "make")
    container.host = DockerHost()


def test_an_images_own_shell_start_and_locale_do_not_meddle(engine: DockerClient, image: str, tmp_path: Path) -> None:
    (tmp_path / "greet.sh").write_text("echo Welcome\n")
    lines = [f"FROM {image}", "COPY greet.sh /greet.sh", "ENV BASH_ENV=/greet.sh LC_ALL=C.UTF-8 count=3 words=w"]
    (tmp_path / "Dockerfile").write_text("\n".join(lines))
    name = f"polyswe-test-greets:{os.getpid()}"
    engine.images.build(path=str(tmp_path), tag=name, rm=True)
    try:
        with Container(ContainerConfig(image=name, timeout=20)) as container:
            assert run(container, "echo $count $words > made.txt; cat made.txt")["output"] == "Welcome\n3 w\n"
            assert container.diff().startswith("diff --git a/made.txt")
            half = run(container, "printf %s a\udcc3")
            assert (half["output"], half["returncode"]) == ("Welcome\na\ufffd", 0)
    finally:
        engine.images.remove(name, force=True)


def test_what_is_killed_between_commands_costs_none_of_them(container: Container) -> None:
    run(container, "(sleep 0.5; echo x >> killed.txt; kill -9 -1) > /dev/null 2>&1 &")
    time.sleep(2)
    assert run(container, "echo x >> kept.txt; cat killed.txt kept.txt")["output"] == "x\nx\n"


def test_a_process_in_the_background_holds_nothing_up(container: Container) -> None:
    holding = run(container, "(sleep 4; echo late; echo late > late.txt) & echo now")
    assert (holding["output"], holding["returncode"]) == ("now\n", 0)
    assert (
        run(container, "until [ -s late.txt ] || ! pgrep -x sleep > /dev/null; do :; done; echo next")["output"]
        == "next\n"
    )


def test_commands_share_nothing_but_the_files(container: Container) -> None:
    run(container, "cd /; export LEFT=over; umask 077; trap '' TERM; alias ls=false")
    shown = run(container, "pwd; echo ${LEFT-nothing}; umask; ls -l /proc/self/fd; cat; echo $SHLVL; env")["output"]
    assert shown.startswith("/testbed\nnothing\n0022\n")
    assert len(re.findall(r"^l.* -> ", shown, re.MULTILINE)) == 4  # the three of any program, and the folder it lists
    assert "OLDPWD" not in shown


def test_a_quick_kill_is_no_timeout(container: Container) -> None:
    output = run(container, "kill -9 $$")
    assert (output["returncode"], output["exception_info"]) == (137, "")


def test_the_wall_clock_shortens_commands(image: str, labels: dict[str, str]) -> None:
    deadline = Deadline(limit_seconds=0)
    with Container(ContainerConfig(image=image, labels=labels), deadline) as container:
        deadline.limit_seconds = time.monotonic() - deadline.started + 1
        told = run(container, "sleep 4321")["exception_info"]
        assert float(re.findall(r"killed after (\S+) seconds", told)[0]) <= 1  # and not the 60 of any other command


INTERRUPTED = """
import json, signal, sys
from agents.container.config import ContainerConfig
from agents.container.environment import Container
signal.signal(signal.SIGINT, lambda *_: None)  # the harness lets running agents finish
container = Container(ContainerConfig(image=sys.argv[1]), name=sys.argv[2])
command = "echo begin; touch /tmp/running; until [ -e /tmp/go ]; do sleep 0.1; done; echo end"
print(json.dumps(container.execute({"command": command})))
"""


def test_ctrl_c_does_not_cut_off_a_running_command(container: Container) -> None:
    command = [sys.executable, "-c", INTERRUPTED, container.config.image, container.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        run(container, "until [ -e /tmp/running ]; do sleep 0.1; done", timeout=60)
        os.killpg(child.pid, signal.SIGINT)  # what a terminal sends to everything in the foreground
        run(container, "sleep 0.5; touch /tmp/go")
        printed, _ = child.communicate(timeout=120)
    assert json.loads(printed) == {"output": "begin\nend\n", "returncode": 0, "exception_info": ""}


def test_endless_output_is_bounded(image: str, labels: dict[str, str]) -> None:
    with Container(ContainerConfig(image=image, labels=labels, max_output_bytes=100_000)) as container:
        output = run(container, "echo first; yes | head -c 20000000; echo last")
        assert len(output["output"]) < 300_000
        assert output["output"].startswith("first")
        assert output["output"].endswith("last\n")
        refused = run(container, "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; yes | head -c 20000000")
        assert "too large" in refused["exception_info"]


@pytest.mark.parametrize("command", ["true " + "x" * 200_000, "echo \0", ["ls"], None])
def test_a_command_that_cannot_be_run_is_told_to_the_model(container: Container, command: Any) -> None:
    output = container.execute({"command": command})
    assert output["returncode"] == -1
    assert "could not be run" in output["exception_info"]


def test_submitting_keeps_every_byte_of_the_patch(container: Container) -> None:
    run(container, "sed -i 's/two/2/' crlf.txt && git diff > patch.txt")
    with pytest.raises(Submitted) as caught:
        run(container, "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt")
    submission = caught.value.messages[0]["extra"]["submission"]
    assert "-two\r\n+2\r\n" in submission
    assert submission == container.diff()


def test_the_diff_is_the_whole_work_and_nothing_else(container: Container) -> None:
    assert container.diff() == ""
    run(
        container,
        "sed -i 's/a - b/a + b/' calc.py; git rm -q crlf.txt; mkdir sub && printf '\\0\\1' > sub/data.bin; "
        "echo x > 'né w.txt'; git diff > patch.txt; mkdir __pycache__; touch __pycache__/calc.pyc",
    )
    index = run(container, "git status --porcelain")["output"]
    patch = container.diff()
    assert run(container, "git status --porcelain")["output"] == index
    assert "patch.txt" not in patch
    assert "__pycache__" not in patch
    # the patch rebuilds the tree on a clean clone
    run(container, "git stash -q -u -- . ; git clone -q /testbed /tmp/clone")
    done = subprocess.run(
        ["docker", "exec", "-i", container.name, "git", "-C", "/tmp/clone", "apply", "-"], input=patch.encode()
    )
    assert done.returncode == 0
    assert set(run(container, "ls -A /tmp/clone /tmp/clone/sub")["output"].split("\n")) >= {
        "calc.py",
        "né w.txt",
        "data.bin",
    }
    assert "a + b" in run(container, "cat /tmp/clone/calc.py")["output"]
    assert run(container, "ls /tmp/clone/crlf.txt")["returncode"] != 0


@pytest.mark.parametrize(
    "spoil",
    [
        "git commit -qam done",
        "git add -A",
        "echo broken > .git/index",
        "rm .git/index",
        "git config diff.external false; git config diff.noprefix true; git config color.ui always",
        "chown -R 1234 .",
        "git checkout -q --orphan other",
    ],
)
def test_the_diff_survives_what_agents_do_to_git(container: Container, spoil: str) -> None:
    run(container, f"sed -i 's/a - b/a + b/' calc.py; {spoil}")
    patch = container.diff()
    assert patch.startswith("diff --git a/calc.py b/calc.py\n")
    assert "+    return a + b" in patch


HOSTILE_GIT = r"""
trap=/tmp/trap.sh
printf '#!/bin/sh\ntouch /tmp/sprung\necho "Error response from daemon: No such container"\nexit 1\n' > $trap
chmod +x $trap; mkdir -p .git/hooks
for hook in post-index-change pre-commit post-checkout reference-transaction; do cp $trap .git/hooks/$hook; done
for key in diff.external core.fsmonitor diff.own.textconv diff.own.command filter.own.clean filter.own.process; do
    git config $key $trap; git config --global $key $trap
done
git config core.pager $trap; git config pager.diff $trap
git config core.hooksPath /tmp; git config filter.own.required true; git config core.attributesFile /tmp/attributes
git config core.worktree /; git config diff.noprefix true; git config color.ui always; git config core.quotePath false
echo '* filter=own diff=own' | tee .git/info/attributes /tmp/attributes > ../.gitattributes
export GIT_EXTERNAL_DIFF=$trap; ln -sf $trap /usr/local/bin/git-diff
sed -i 's/a - b/a + b/' calc.py; echo '* filter=own diff=own' > .gitattributes; rm -f /tmp/sprung
"""


def test_the_diff_runs_nothing_that_a_model_wrote_into_its_repository(container: Container) -> None:
    run(container, HOSTILE_GIT)
    before = run(container, "find .git -type f | sort | xargs sha256sum")["output"]
    patch = container.diff()
    assert patch.startswith("diff --git a/.gitattributes b/.gitattributes\n")
    assert "+    return a + b" in patch
    assert run(container, "ls /tmp/sprung")["returncode"] != 0
    assert run(container, "find .git -type f | sort | xargs sha256sum")["output"] == before


def test_the_diff_of_a_ruined_repository_is_empty(container: Container) -> None:
    run(container, "rm -rf .git")
    assert container.diff() == ""
    container.cleanup()
    assert container.diff() == ""


@pytest.mark.parametrize("meddle", ["rm -f", "kill", "stop -t 0", "restart -t 0", "pause"])
def test_what_is_done_to_a_container_from_outside_is_not_the_commands_failure(
    container: Container, meddle: str
) -> None:
    done = [["docker", *meddle.split(), container.name]]
    later = threading.Timer(1, subprocess.run, done, {"capture_output": True})
    later.start()
    with pytest.raises(ContainerError, match=r"from outside|is gone"):
        run(container, "sleep 60", timeout=4)
    later.join()
    with pytest.raises(ContainerError) if meddle != "restart -t 0" else nullcontext():
        run(container, "true")


def test_a_container_ends_itself_when_nobody_does(image: str, labels: dict[str, str], engine: DockerClient) -> None:
    with Container(ContainerConfig(image=image, labels=labels, lifetime_seconds=5)) as container:
        engine.containers.get(container.name).wait(timeout=60)
        with pytest.raises(ContainerError, match="end of its lifetime"):
            run(container, "true")


def test_words_of_the_engine_in_a_commands_output_are_no_engine_failure(container: Container) -> None:
    assert run(container, "echo 'Error: No such container: x'; exit 1")["returncode"] == 1


def test_a_command_may_exhaust_memory_without_ending_the_container(image: str, labels: dict[str, str]) -> None:
    with Container(ContainerConfig(image=image, labels=labels, limits=ContainerLimits(memory="64m"))) as container:
        eat = 'python3 -c "x = bytearray(500_000_000)\nfor i in range(0, len(x), 4096): x[i] = 1"'
        assert run(container, eat)["returncode"] == 137
        assert run(container, "echo alive")["output"] == "alive\n"


def test_limits_reach_the_engine(image: str, labels: dict[str, str]) -> None:
    with Container(ContainerConfig(image=image, labels=labels, limits=ContainerLimits(cpus=0.5, pids=64))) as container:
        format_ = "{{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} {{.HostConfig.Init}} {{.HostConfig.NetworkMode}}"
        shown = subprocess.run(["docker", "inspect", "-f", format_, container.name], capture_output=True, text=True)
        assert shown.stdout.split() == ["500000000", "64", "false", "none"]


def test_nothing_is_left_behind(image: str, labels: dict[str, str], list_containers: Listing) -> None:
    def work_and_fail() -> None:
        with Container(ContainerConfig(image=image, labels=labels)):
            assert len(list_containers(labels)) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work_and_fail()
    assert list_containers(labels) == []


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"image": "polyswe-no-such-image:none", "pull": "never"}, "polyswe-no-such-image:none is not on this machine"),
        ({"network": "polyswe-no-such-network"}, "could not be started"),
        ({"start_timeout": 0.001}, "did not start within"),
    ],
)
def test_a_failed_start_says_why_and_leaves_nothing(
    image: str, labels: dict[str, str], list_containers: Listing, fields: dict[str, Any], complaint: str
) -> None:
    container = Container(ContainerConfig(**{"image": image, "labels": labels} | fields))
    with pytest.raises(ContainerError, match=complaint) as caught:
        container.start()
    assert "\n" not in str(caught.value)
    time.sleep(0.5)
    assert list_containers(labels) == []


def test_a_client_that_is_not_installed() -> None:
    with pytest.raises(ContainerError, match="no-such-docker is not installed"):
        Container(ContainerConfig(image="x"), host=DockerHost("no-such-docker")).start()


def test_an_engine_that_does_not_answer(labels: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(ContainerError, match="engine does not answer"):
        Container(ContainerConfig(image="x", labels=labels)).start()
    monkeypatch.undo()


def test_the_harness_finds_what_a_killed_run_left(
    image: str, labels: dict[str, str], list_containers: Listing, engine: DockerClient
) -> None:
    other = {RUN_LABEL: f"{labels[RUN_LABEL]}-other", "part": labels[RUN_LABEL]}
    for owned in (labels, labels | {"more": "x"}, other):
        Container(ContainerConfig(image=image, labels=owned)).start()
    assert sweep(engine, labels[RUN_LABEL]) == 2
    assert list_containers(labels) == []
    assert len(list_containers(other)) == 1
    assert sweep(engine, other[RUN_LABEL]) == 1


def test_removal_does_not_ask_the_processes(image: str, labels: dict[str, str]) -> None:
    with Container(ContainerConfig(image=image, labels=labels)) as container:
        identity = subprocess.run(
            ["docker", "inspect", "-f", "{{.Id}}", container.name], capture_output=True, text=True
        )
    what = ["--filter", f"container={identity.stdout.strip()}", "--filter", "event=die"]
    # the event may be written a moment after the removal returns
    events = ["docker", "events", "--since", "10m", "--until", f"{time.time() + 2:.3f}", *what]
    died = subprocess.run([*events, "--format", "{{.Actor.Attributes.exitCode}}"], capture_output=True, text=True)
    assert died.stdout.split() == ["137"]  # killed at once: a TERM first may cost ten seconds of grace per agent


def test_bounded_keeps_head_and_tail() -> None:
    kept = Bounded(1000)
    for number in range(1000):
        kept.add(f"{number:04d}\n".encode())
    assert not kept.complete
    assert kept.value().startswith(b"0000\n")
    assert kept.value().endswith(b"0999\n")
    assert len(kept.value()) < 1100
    small = Bounded(1000)
    small.add(b"x" * 1000)
    assert small.complete
    assert small.value() == b"x" * 1000


def test_capture_kills_what_is_overdue() -> None:
    done = run_captured(["sh", "-c", "echo out; exec sleep 600"], timeout=3, max_bytes=100)
    assert (done.output, done.returncode) == (b"out\n", None)
