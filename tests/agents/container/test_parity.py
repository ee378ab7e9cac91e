"""What a model sees of its container is what plain mini-swe-agent shows it, but for what is documented."""

from __future__ import annotations

import json
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from minisweagent.environments.docker import DockerEnvironment

from agents.container.config import ContainerConfig
from agents.container.environment import Container
from agents.runner import _swebench_yaml

pytestmark = [pytest.mark.docker, pytest.mark.slow]

OTHER_USER = """\
FROM {image}
RUN useradd -m dev && chown -R dev /testbed && echo 'export FROM_BASHRC=1' > /home/dev/.bashrc
ENV GREETING="hello  world" LC_ALL=C.UTF-8 BASH_ENV=/home/dev/.bashrc HOME=/home/dev PATH=/opt/own/bin:$PATH
RUN mkdir -p /opt/own/bin && ln -s /usr/bin/python3 /opt/own/bin/python
WORKDIR /tmp
USER dev
"""

COMMANDS = [
    "id; whoami; pwd; umask; tty; echo $- $0 $SHLVL; echo $HOME $USER $TERM $LANG; date +%Z; locale 2>&1 | sort",
    "env | sort",
    "for name in python python3 pip git bash sh; do command -v $name; done; python --version; python3 --version",
    "python3 -c 'import sys, os; print(sys.executable, sys.path, [os.isatty(n) for n in range(3)])'",
    "cat; read line; echo $?; ls -l /proc/self/fd | wc -l; readlink /proc/self/fd/0",
    "echo $PPID; ps -o ppid=,tty= -p $$; set -- $(ps -o sid=,pgid= -p $$); [ $1 = $$ ] && [ $2 = $$ ] && echo leads",
    "getent hosts $(hostname) | awk '{print NF}'; hostname | wc -c; [ $(hostname) = $HOSTNAME ] && echo same",
    "python3 -c 'import socket; a = socket.gethostbyname(socket.gethostname()); print(socket.socket().bind((a, 0)))'",
    "grep -E 'localhost|ip6' /etc/hosts; python3 -c 'import socket; print(socket.getaddrinfo(\"localhost\", 80)[0])'",
    "exit 7",
    "false",
    "kill -9 $$",
    "kill -TERM $$",
    "nonexistent-command",
    "bash -c 'kill -SEGV $$'",
    "timeout 1 sleep 5",
    "yes | head -n 1",
    "cd /tmp; export LEFT=over; alias ls=false; umask 077; ulimit -n 50; trap '' TERM; set -e; false",
    "pwd; echo ${LEFT-nothing}; umask; ulimit -n; ulimit -s; ulimit -u; ulimit -v; ulimit -l",
    "echo out; echo err >&2",
    "printf '\\377\\376 caf\\303\\251 \\360\\237\\230\\200 \\033[31mred\\033[0m\\t'",
    "cat <<'END'\n$HOME `id` \"quoted\" 'single' \\\\ back\nEND",
    "git status --short; git log --oneline | wc -l; git describe --always --tags; git config --list --show-origin",
    "git branch -a; git stash list; git remote -v; git reflog | wc -l; ls -A .git; git count-objects",
    "ls -la --time-style=+ / /testbed /tmp /root 2>&1 | grep -vE '^total|\\.dockerenv| proc$'",
    "stat -c '%U %G %a' /testbed /tmp /dev/shm /etc/hosts /etc/hostname /etc/resolv.conf; df -P /dev/shm | tail -n 1",
    "nproc; python3 -c 'import os; print(os.cpu_count(), len(os.sched_getaffinity(0)))'; uname -srm",
    "touch /etc/made /usr/local/made $HOME/made /tmp/made made; ls /etc/made made 2>&1; mkfifo pipe && ln -s pipe link",
    "printf 'x = 1\\n' > 'made by us.py'; git add -A; git commit -qm work; git log --oneline | wc -l",
    "setsid python3 -m http.server 8123 --bind 127.0.0.1 > /dev/null 2>&1 & sleep 2",
    "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8123\").status)'",
    "(sleep 30; echo late) & echo now",
    "ps -eo stat=,args= | grep -c '^S.*sleep 3[0]'; pkill -f 'sleep 3[0]'; ps -eo stat=,args= | grep '^S.*sleep 3[0]'",
    "nohup sleep 60 > /dev/null 2>&1 & disown; echo $!  | wc -w",
    "jobs; ps -eo stat=,args= | grep -c '^S.*sleep 6[0]'",
    "seq 5000 | tail -n 3; python3 -c 'print(\"x\" * 300000)' | wc -c",
    "python3 -c 'import tempfile, multiprocessing as m; print(tempfile.gettempdir(), m.Lock())'",
    "kill -9 -1; echo survived",
    "python3 -c 'import os; print(os.getloadavg() is not None, os.getuid(), os.path.expanduser(\"~\"))'",
]
"""In one container after the other: what a command leaves is there for the next ones."""

CHANGING = {r"\b[0-9a-f]{12}\b": "HOSTNAME", r"0x[0-9a-f]+": "ADDRESS", r"\[\d\] \d+": "JOB"}
"""What differs between two containers of the same kind."""


@pytest.fixture(params=["root", "another user"])
def both(request: pytest.FixtureRequest, image: str, labels: dict[str, str]) -> Iterator[tuple[Any, Container]]:
    """Upstream's environment and ours, of the same image and settings."""
    settings = _swebench_yaml()["environment"]
    settings = {key: settings[key] for key in ("env", "interpreter")} | {"cwd": "/testbed", "timeout": 60}
    name = image
    if request.param == "another user":
        name = f"polyswe-parity-test:{uuid.uuid4().hex[:12]}"
        settings["env"] = {key: value for key, value in settings["env"].items() if key != "BASH_ENV"}
        build = ["docker", "build", "-q", "-t", name, "-"]
        subprocess.run(build, input=OTHER_USER.format(image=image), text=True, capture_output=True, check=True)
    label = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    upstream = DockerEnvironment(image=name, run_args=["--rm", *label], **settings)
    try:
        with Container(ContainerConfig(image=name, labels=labels, **settings)) as ours:
            yield upstream, ours
    finally:
        subprocess.run(["docker", "rm", "-f", str(upstream.container_id)], capture_output=True)
        upstream.container_id = None
        if name != image:
            subprocess.run(["docker", "rmi", name], capture_output=True)


def seen(execute: Callable[..., dict[str, Any]], command: str, **options: Any) -> dict[str, Any]:
    """What the model is shown. Two streams reach the client in any order: lines are compared without theirs."""
    output = execute({"command": command}, **options)
    for pattern, word in CHANGING.items():
        output["output"] = re.sub(pattern, word, output["output"])
    return output | {"output": sorted(output["output"].split("\n"))}


def test_a_model_sees_what_plain_mini_swe_agent_shows(both: tuple[Any, Container]) -> None:
    upstream, ours = both
    different = {}
    for command in COMMANDS:
        theirs, mine = seen(upstream.execute, command), seen(ours.execute, command)
        if theirs != mine:
            different[command] = (theirs, mine)
    theirs, mine = (seen(it.execute, "pwd", cwd="/usr") for it in both)
    assert theirs == mine
    assert different == {}, json.dumps(different, indent=1)
    # a command that is too long, or no text, fails in the same way
    for bad in ("true " + "x" * 200_000, "echo \0", ["ls"], None):
        theirs, mine = (it.execute({"command": bad}) for it in both)
        assert (theirs["returncode"], theirs["extra"]["exception_type"]) == (-1, mine["extra"]["exception_type"])
    # at its time limit it is killed, and not only no longer waited for
    theirs, mine = (seen(it.execute, "echo before; sleep 4321", timeout=2) for it in both)
    assert (theirs["output"], theirs["returncode"]) == (mine["output"], mine["returncode"])
    assert theirs["extra"]["exception_type"] == mine["extra"]["exception_type"]
    # it takes no privileges that work on a repository does not need
    shown = [seen(it.execute, "grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status")["output"] for it in both]
    assert shown == [
        ["", "CapBnd:\t00000000a80425fb", "NoNewPrivs:\t0"],
        ["", "CapBnd:\t00000000200404fb", "NoNewPrivs:\t1"],
    ]
    counts = [seen(it.execute, "pgrep -f -c 'sleep 432[1]'")["output"] for it in both]
    assert counts == [["", "1"], ["", "0"]]
