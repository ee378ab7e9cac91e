"""What a hostile command does to its container, and what it cannot do to anything else."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.container.disk import DiskWatch
from agents.container.environment import Container, ContainerConfig
from agents.container.limits import GB, ContainerLimits
from agents.container.shell_scripts import LISTEN
from agents.errors import ContainerError, DiskLimitError

pytestmark = pytest.mark.docker

TIGHT = ContainerLimits(memory="256m", pids=128, disk_gb=0.05)


@pytest.fixture
def container(image: str, labels: dict[str, str]) -> Iterator[Container]:
    with Container(ContainerConfig(image=image, labels=labels, timeout=20, limits=TIGHT)) as container:
        yield container


def run(container: Container, command: str, **options: Any) -> dict[str, Any]:
    return container.execute({"command": command}, **options)


def living(container: Container) -> list[str]:
    """Processes but the first one, the shell, and those that look, zombies aside."""
    shown = run(container, "ps -eo stat=,args=")["output"].splitlines()
    ours = ("trap ''", "ps -eo", LISTEN)
    lines = [line for line in shown if not line.startswith("Z") and not any(part in line for part in ours)]
    lines.remove(next(line for line in lines if line.split() == ["S", "cat"]))
    return lines


@pytest.mark.parametrize(
    "command",
    [
        "kill -9 -1",
        "for signal in $(seq 1 64); do kill -$signal 1; done 2>/dev/null",
        "head -c 100000 /dev/zero > /proc/1/fd/0; echo x > /proc/1/fd/1",
        "kill -9 $PPID",
        "pkill -9 -f .",
        "rm -rf /testbed",
    ],
)
def test_a_container_outlives_what_its_commands_kill(container: Container, command: str) -> None:
    run(container, command, timeout=5)
    assert run(container, "echo alive", cwd="/")["output"] == "alive\n"
    assert container.diff() == ""


def test_orphans_do_not_pile_up(container: Container) -> None:
    run(container, "for i in $(seq 50); do (setsid sleep 0 &); done; sleep 0.2")
    zombies = "ps -eo stat= | grep -c '^Z'"
    deadline = time.monotonic() + 60
    while run(container, zombies)["output"] != "0\n":
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "escape",
    [
        "env -i setsid sleep 4321 > /dev/null 2>&1 &",
        "env -i setsid bash -c 'env -i setsid sleep 4321 & sleep 4321' > /dev/null 2>&1 &",
        "python3 -c 'import os, time\nif not os.fork():\n os.setsid()\n if not os.fork(): time.sleep(4321)' &",
    ],
)
def test_what_a_command_that_times_out_has_started_dies_with_it(container: Container, escape: str) -> None:
    run(container, "setsid bash -c 'sleep 8765; true' > /dev/null 2>&1 &")
    output = run(container, f"{escape}\nsleep 4321", timeout=2)
    assert "killed after 2 seconds" in output["exception_info"]
    assert len(living(container)) == 2  # the earlier command's bash, and its child
    assert all("8765" in line for line in living(container))


FORK_BOMB = "bomb() { bomb | bomb & }; bomb"


def test_a_fork_bomb_ends_with_its_command(container: Container) -> None:
    run(container, f"{FORK_BOMB}; sleep 4321", timeout=2)
    assert living(container) == []
    assert run(container, "cat calc.py")["output"].startswith("def add")


def test_a_fork_bomb_in_the_background_does_not_end_the_attempt(container: Container) -> None:
    run(container, "echo kept > kept.txt")
    run(container, f"({FORK_BOMB}) > /dev/null 2>&1 &", timeout=2)
    told = ""
    for _ in range(20):  # the bomb leaves no room for a command, until it is noticed
        output = run(container, "cat kept.txt", timeout=3)
        told += output["exception_info"]
        if output["output"] == "kept\n":
            break
    else:
        pytest.fail(f"no command ran any more: {told}")


def test_memory_has_an_end(container: Container) -> None:
    eat = 'python3 -c "x = bytearray(2_000_000_000)"'
    assert run(container, eat)["returncode"] == 137
    shm = "head -c 2000000000 /dev/zero > /dev/shm/full; ls -s --block-size=1M /dev/shm/full; rm /dev/shm/full"
    assert int(run(container, shm)["output"].split("\n")[-2].split()[0]) <= 64


def test_a_file_has_an_end(container: Container) -> None:
    run(container, "head -c 1000000000 /dev/zero > huge", timeout=60)
    assert run(container, "stat -c %s huge")["output"] == f"{TIGHT.disk_bytes:.0f}\n"


def test_a_full_disk_stays_inside(image: str, labels: dict[str, str], list_containers: Callable[..., Any]) -> None:
    config = ContainerConfig(image=image, labels=labels, timeout=120, limits=TIGHT)
    fill = "for i in $(seq 30); do head -c 10000000 /dev/zero > /fill.$i; done"
    deadline = DiskWatch(every=0.2)
    with Container(config) as container:
        deadline.add(container)
        with pytest.raises(DiskLimitError, match=r"more than 0\.05 GB"):
            run(container, f"{fill}; sleep 100")
        assert container.diff() == ""
        with pytest.raises(DiskLimitError):
            run(container, "true")
        deadline.discard(container)
    assert list_containers(labels) == []


def test_a_gone_container_is_no_full_disk(container: Container) -> None:
    container.cleanup()
    with pytest.raises(ContainerError):
        run(container, "true")


def test_output_without_end_takes_no_memory(image: str, labels: dict[str, str]) -> None:
    import resource

    with Container(ContainerConfig(image=image, labels=labels, max_output_bytes=1_000_000)) as container:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output = run(container, "yes flood", timeout=4)
        assert "killed after 4 seconds" in output["exception_info"]
        assert 900_000 < len(output["output"]) < 1_100_000
        assert "bytes of output dropped" in output["output"]
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_others_processes_and_the_hosts_are_out_of_sight(image: str, labels: dict[str, str]) -> None:
    config = ContainerConfig(image=image, labels=labels, limits=TIGHT)
    with Container(config) as one, Container(config) as other:
        run(other, "setsid sleep 7654 > /dev/null 2>&1 &")
        seen = run(one, "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")["output"]
        assert "7654" not in seen
        assert other.name not in seen
        assert "pytest" not in seen


def test_limits_reach_both_clients() -> None:
    limits = ContainerLimits(memory="1g", cpus=0.5, pids=64, disk_gb=2, shm="128m")
    sizes = ["--memory", "1g", "--memory-swap", "1g", "--cpus", "0.5", "--pids-limit", "64", "--shm-size", "128m"]
    assert limits.options() == [*sizes, "--ulimit", "core=0", "--ulimit", "fsize=2000000000"]
    arguments = limits.arguments()
    assert arguments.pop("ulimits") == [
        {"Name": "core", "Soft": 0, "Hard": 0},
        {"Name": "fsize", "Soft": 2 * GB, "Hard": 2 * GB},
    ]
    assert arguments == {
        "mem_limit": "1g",
        "memswap_limit": "1g",
        "nano_cpus": 500_000_000,
        "pids_limit": 64,
        "shm_size": "128m",
    }
    unlimited = ContainerLimits(memory=None, cpus=None, pids=None, disk_gb=None)
    assert unlimited.options() == ["--ulimit", "core=0"]
