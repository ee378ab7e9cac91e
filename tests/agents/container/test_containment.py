"""What a hostile command does to its container, and what it cannot do to anything else."""

from __future__ import annotations

import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.container.host import DockerHost
from agents.container.limits import GB, ContainerLimits
from agents.errors import ContainerEndedError, ContainerError, DiskLimitError

pytestmark = pytest.mark.docker

TIGHT = ContainerLimits(memory="256m", pids=128, disk_gb=0.05)


@pytest.fixture
def container(image: str, labels: dict[str, str]) -> Iterator[Container]:
    with Container(ContainerConfig(image=image, labels=labels, timeout=20, limits=TIGHT)) as container:
        yield container


def run(container: Container, command: str, **options: Any) -> dict[str, Any]:
    return container.execute({"command": command}, **options)


def living(container: Container) -> list[str]:
    """Processes but the first one and those that look, zombies aside."""
    shown = run(container, "ps -eo stat=,args=")["output"].splitlines()
    return [line for line in shown if not line.startswith("Z") and "trap ''" not in line and "ps -eo" not in line]


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


def test_a_command_that_times_out_ends_with_its_session_and_nothing_else(container: Container) -> None:
    run(container, "setsid bash -c 'sleep 8765; true' > /dev/null 2>&1 &")
    background = "(sleep 4321 & sleep 4321) & set -m; sleep 4321 & env -i bash -c 'sleep 4321; true' &"
    output = run(container, f"{background}\nsleep 4321", timeout=2)
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
    assert int(run(container, f"({shm}) 2> /dev/null")["output"].split()[-2]) <= 64


def test_a_file_has_an_end(container: Container) -> None:
    run(container, "head -c 1000000000 /dev/zero > huge", timeout=60)
    assert run(container, "stat -c %s huge")["output"] == f"{TIGHT.disk_bytes:.0f}\n"


def test_a_full_disk_stays_inside(image: str, labels: dict[str, str], list_containers: Callable[..., Any]) -> None:
    config = ContainerConfig(image=image, labels=labels, timeout=120, limits=TIGHT)
    fill = "for i in $(seq 30); do head -c 10000000 /dev/zero > /fill.$i; done"
    host = DockerHost()
    host.disk_watch.every = 0.2
    with Container(config, host=host) as container:
        with pytest.raises(DiskLimitError, match=r"more than 0\.05 GB"):
            run(container, f"{fill}; sleep 100")
        assert container.diff() == ""
        with pytest.raises(DiskLimitError):
            run(container, "true")
    assert list_containers(labels) == []


FILL = "head -c 45000000 /dev/zero"


@pytest.mark.parametrize(
    "fill",
    [
        f"for name in hosts hostname resolv.conf; do {FILL} >> /etc/$name; done",
        f"for i in 1 2 3; do {FILL} > /data/$i; done",
    ],
)
def test_what_lies_beside_the_containers_files_counts(image: str, labels: dict[str, str], fill: str) -> None:
    name = f"polyswe-volume-test:{uuid.uuid4().hex[:12]}"
    build = ["docker", "build", "-q", "-t", name, "-"]
    subprocess.run(build, input=f"FROM {image}\nVOLUME /data\n", text=True, capture_output=True, check=True)
    host = DockerHost()
    host.disk_watch.every = 0.2
    limits = ContainerLimits(memory="256m", pids=128, disk_gb=0.1)
    try:
        with Container(ContainerConfig(image=name, labels=labels, limits=limits), host=host) as container:
            find = ["docker", "inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", container.name]
            volume = subprocess.run(find, capture_output=True, text=True, check=True).stdout.strip()
            with pytest.raises(DiskLimitError, match=r"more than 0\.1 GB"):
                run(container, f"{fill}; sleep 100", timeout=100)
        left = subprocess.run(["docker", "volume", "inspect", volume], capture_output=True, text=True)
        assert "no such volume" in left.stderr.lower()
    finally:
        subprocess.run(["docker", "rmi", "-f", name], capture_output=True)


UNLINKED = """\
python3 -c 'import os, time
files = [open(f"/big{i}", "wb") for i in range(4)]
for file in files:
    os.unlink(file.name)
    file.write(bytes(40_000_000))
    file.flush()
time.sleep(100)'"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("short", "attack", "held"),
    [
        (0, UNLINKED, r"held most of it: 0\.[12] GB"),
        (1, "cd /; seq 9999 | xargs touch; sleep 100", r"held most of it: \d{4} files"),
    ],
)
def test_the_greediest_container_ends_before_the_disk_is_full(
    image: str, labels: dict[str, str], short: int, attack: str, held: str
) -> None:
    host = DockerHost()
    config = ContainerConfig(image=image, labels=labels)
    with Container(config, host=host) as greedy, Container(config, host=host) as other:
        run(other, "head -c 20000000 /dev/zero > /some; cd /; seq 100 | xargs touch")
        host.disk_watch.every = 0.2
        host.disk_watch.worth = (100e6, 5000)
        host.disk_watch.reserve = (1e18, 0) if short == 0 else (0, 1e18)  # as if the disk were nearly full
        with pytest.raises(DiskLimitError, match=held):
            run(greedy, attack, timeout=100)
        time.sleep(2)
        assert run(other, "ls -s /some")["returncode"] == 0


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


OVERWRITE_FIRST_PROCESS = """\
python3 - <<'PY'
code = bytes.fromhex("CODE")
with open("/proc/1/mem", "r+b", 0) as memory:
    for line in open("/proc/1/maps"):
        area, rights, *name = line.split()
        if "x" in rights and not name[-1].startswith("[v"):
            start, end = (int(word, 16) for word in area.split("-"))
            memory.seek(start)
            memory.write(code[:1] * (end - start - len(code)) + code)
PY
echo kept > kept.txt
sleep 30  # until the first process wakes and runs what is written there
exit 3
"""
CRASH = "cc"
EXIT_WITH_0 = "90 b8e7000000 31ff 0f05"  # nop, exit_group(0)


@pytest.mark.slow
def test_a_container_that_a_command_ends_is_started_again(container: Container) -> None:
    output = run(container, OVERWRITE_FIRST_PROCESS.replace("CODE", CRASH))
    assert (output["returncode"], output["extra"]["exception_type"]) == (-1, "ProcessesEnded")
    assert "All processes in the container have ended" in output["exception_info"]
    assert run(container, "cat kept.txt")["output"] == "kept\n"
    run(container, f"({OVERWRITE_FIRST_PROCESS.replace('CODE', CRASH)}) > /dev/null 2>&1 &")
    run(container, "sleep 10")
    assert "+kept" in container.diff()


EAT = """\
echo 1000 > /proc/1/oom_score_adj
for i in 1 2 3 4; do
    python3 -c "import time; x = bytearray(150_000_000); x[::4096] = b'x' * len(x[::4096]); time.sleep(2)" &
done
wait
"""


@pytest.mark.parametrize(
    "attack",
    [
        EAT,
        "for i in $(seq 200); do (while :; do kill -9 -1; kill -9 1; done) & done; sleep 2",
        "echo 'Error response from daemon: No such container: polyswe'; kill -9 $$",
        "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.'; exit 1",
        "printf 'OCI runtime exec failed: exec failed: unable to start container process: EOF: unknown'; exit 126",
        "echo 'No space left on device'; exit 1",
        "chmod 000 / /testbed /bin /usr/bin; kill -9 -1",
        "mount -o remount,ro / ; umount -l /proc; echo c > /proc/sysrq-trigger; reboot -f",
    ],
)
def test_no_attack_on_its_container_is_the_machines_failure(container: Container, attack: str) -> None:
    container.deadline.limit_seconds = 600
    run(container, "echo kept > kept.txt")
    run(container, attack, timeout=8)
    assert run(container, "cat kept.txt", timeout=30)["output"] == "kept\n"
    assert "+kept" in container.diff()


def test_a_container_that_a_model_ends_for_good_is_the_models_failure(container: Container) -> None:
    with pytest.raises(ContainerEndedError):
        run(container, OVERWRITE_FIRST_PROCESS.replace("CODE", EXIT_WITH_0))
    with pytest.raises(ContainerEndedError):
        run(container, "true")


def test_a_container_without_programs_is_the_models_failure(container: Container) -> None:
    run(container, "rm -rf /usr /bin /lib")
    with pytest.raises(ContainerEndedError, match="no program can be started"):
        run(container, "true")
    with pytest.raises(ContainerEndedError):
        run(container, "true")
