"""A run on the sample with a hostile scripted model: the other cells' verdicts are unharmed, and every cell ends."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from agents.scripted.server import ScriptedServer
from harness.config import load_config
from harness.data.instances import Dataset
from harness.docker.engine import RUN_LABEL
from harness.grading.verdict import Verdict
from harness.run.interrupt import Stop
from harness.run.pipeline import evaluate
from harness.sample import PLAYBOOK
from harness.store.rows import State
from harness.store.run_folder import RunFolder

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.slow]

CANARY = "sk-hostile-canary-0123456789"
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT && cat patch.txt"
BOMB = "bomb() { bomb | bomb & }; bomb"
NOTE = "echo note > NOTES.txt && git add -N NOTES.txt && git diff > patch.txt"
TRAVERSAL = """cat > patch.txt <<'EOF'
diff --git a/../../../../../../tmp/polyswe-evil b/../../../../../../tmp/polyswe-evil
new file mode 100644
--- /dev/null
+++ b/../../../../../../tmp/polyswe-evil
@@ -0,0 +1 @@
+evil
EOF"""


def in_tests(code: str) -> str:
    """A patch whose code runs while the tests are collected."""
    return f"printf '%s\\n' {json.dumps(code)} > conftest.py && git add conftest.py && git diff --cached > patch.txt"


@dataclass(frozen=True)
class Attack:
    commands: tuple[str, ...]
    verdicts: frozenset[Verdict]
    """How the attempt may end: always the model's own failure."""
    exit_status: str = "Submitted"
    flag: str = ""


def attack(*commands: str, ends: tuple[Verdict, ...] = (Verdict.UNRESOLVED,), **fields: object) -> Attack:
    return Attack(commands, frozenset(ends), **fields)  # type: ignore[arg-type]


EMPTY = (Verdict.EMPTY_PATCH,)
BROKEN = (Verdict.PATCH_FAILED, Verdict.UNRESOLVED, Verdict.HARNESS_ERROR)
OVERDUE = (Verdict.TEST_TIMEOUT, Verdict.UNRESOLVED)
ATTACKS = {
    "fork bomb": attack(f"{BOMB}; sleep 4321", NOTE),
    # whether the bomb leaves room for the last commands is a matter of luck
    "fork bomb in the background": attack(
        f"({BOMB}) > /dev/null 2>&1 &",
        "true",
        "true",
        "true",
        NOTE,
        ends=(Verdict.UNRESOLVED, Verdict.EMPTY_PATCH, Verdict.PATCH_FAILED),
    ),
    "kill everything": attack("kill -9 -1", "for s in $(seq 64); do kill -$s 1; done", NOTE),
    "flood": attack("yes | head -c 10000000000", NOTE),
    "proc": attack(
        "cat /proc/[0-9]*/environ /proc/1/mem; ls -l /proc/1/root /proc/1/fd; cat /proc/kcore | head -c 100",
        "git log --all; git reflog",
        NOTE,
        flag="processes",
    ),
    "no repository": attack("rm -rf /testbed", "true", ends=EMPTY, exit_status="LimitsExceeded"),
    "no system": attack("rm -rf /usr /bin /sbin /lib /lib64 /etc", "true", ends=EMPTY, exit_status="ContainerEnded"),
    "path traversal": attack(TRAVERSAL, ends=BROKEN),
    "binary patch": attack(
        "head -c 50000 /dev/urandom > blob && git add blob && git diff --cached --binary > patch.txt"
    ),
    "no text": attack("head -c 5000 /dev/urandom > patch.txt", ends=BROKEN),
    "5 MB patch": attack(
        "head -c 3700000 /dev/urandom | base64 > big.txt && git add big.txt && git diff --cached > patch.txt",
    ),
    "full disk": attack(
        "for i in $(seq 40); do head -c 50000000 /dev/zero > /fill.$i; done; sleep 60",
        ends=EMPTY,
        exit_status="DiskLimitExceeded",
    ),
    "endless process": attack("nohup setsid sh -c 'while :; do :; done' > /dev/null 2>&1 &", NOTE),
    "tests that fork": attack(in_tests("import os\nwhile True: os.fork()"), ends=OVERDUE),
    "tests that kill": attack(in_tests("import os\nos.kill(-1, 9)"), ends=OVERDUE),
}


def script(it: Attack) -> dict[str, object]:
    commands = list(it.commands)
    ends = any("SUBMIT_FINAL" in command for command in commands)
    if it.exit_status == "Submitted" and not ends:
        commands.append(SUBMIT)
    steps = [{"say": "As I like.", "run": [command]} for command in commands]
    limit = it.exit_status != "Submitted"
    return {"intent": "limit" if limit else "wrong", "loop": limit, "steps": steps}


@pytest.fixture
def config(sample: Dataset, tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """A configuration file, the hostile playbook's folder, and which attack goes on at which instance."""
    names = [instance.instance_id for instance in sample.instances][: len(ATTACKS)]
    folder = tmp_path / "playbook"
    folder.mkdir()
    for name, it in zip(names, ATTACKS.values(), strict=True):
        title = yaml.safe_load((PLAYBOOK / f"{name}.yaml").read_text())["title"]
        book = {"instance_id": name, "title": title, "attempts": {"scripted-hostile": script(it)}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(book))
    stand_in = {"scripted": True, "input_cost_per_token": 1e-6, "output_cost_per_token": 1e-5}
    data = {
        "dataset": {"name": "sample", "instances": names},
        "pool": [
            {"name": "scripted-large", "model": "openai/scripted-large", "api_base": "scripted", **stand_in},
            {"name": "hostile", "model": "openai/scripted-hostile", "api_base": "URL", **stand_in}
            | {"api_key_env": "POLYSWE_TEST_KEY"},
        ],
        "router": {"params": {"n_clusters": 2, "min_count": 1}, "folds": 2, "repeats": 1},
        "agent": {
            "step_limit": 12,
            "command_timeout": 10,
            "limits": {"memory": "512m", "pids": 256, "disk_gb": 0.5},
        },
        "run": {
            "agent_workers": 3,
            "grading_workers": 2,
            "grading_timeout": 40,
            "grading_limits": {"memory": "1g", "pids": 512, "disk_gb": 1},
        },
    }
    path = tmp_path / "hostile.yaml"
    path.write_text(yaml.safe_dump(data))
    return path, folder, dict(zip(names, ATTACKS, strict=True))


def test_a_hostile_model_harms_only_itself(
    config: tuple[Path, Path, dict[str, str]], tmp_path: Path, engine: DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, playbook, attacks = config
    monkeypatch.setenv("POLYSWE_TEST_KEY", CANARY)
    folder = RunFolder(tmp_path / "results" / f"hostile-{os.getpid()}")
    for module in ("agents.loop", "sklearn.cluster", "matplotlib.backends.backend_agg"):
        import_module(module)  # what any run loads is no hoard
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ScriptedServer(playbook) as server:
        path.write_text(path.read_text().replace("URL", server.url))
        end = evaluate(load_config(path), folder, stop=Stop())
    rows = {(row.instance_id, row.model): row for row in end.rows}
    assert [(row.instance_id, row.model, row.failure, row.detail) for row in end.missing] == []
    for instance, name in attacks.items():
        row = rows[instance, "hostile"]
        assert row.state is State.GRADED, (name, row)
        assert row.verdict in ATTACKS[name].verdicts, (name, row)
        assert row.exit_status == ATTACKS[name].exit_status, (name, row)
        intent = yaml.safe_load((PLAYBOOK / f"{instance}.yaml").read_text())["attempts"]["scripted-large"]["intent"]
        neighbour = rows[instance, "scripted-large"]
        assert (neighbour.verdict is Verdict.RESOLVED) == (intent == "right"), (name, neighbour)
    # what was seen is told
    results = json.loads((end.written_to / "results.json").read_text())
    flagged = {(row["instance_id"], row["kind"]) for row in results["flagged"]}
    assert {row["model"] for row in results["flagged"]} == {"hostile"}
    wanted = {(instance, ATTACKS[name].flag) for instance, name in attacks.items() if ATTACKS[name].flag}
    assert wanted <= flagged
    assert any("flagged" in note for note in results["notes"])
    # nothing is left, nothing got out, nothing was hoarded
    label = {"label": f"{RUN_LABEL}={folder.label}"}
    assert engine.containers.list(all=True, filters=label, ignore_removed=True) == []
    assert not Path("/tmp/polyswe-evil").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB
    written = sum(file.stat().st_size for file in folder.path.rglob("*") if file.is_file())
    assert written < 100_000_000
    # and the key is nowhere
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 4 * len(attacks)
    assert [file for file in files if CANARY.encode() in file.read_bytes()] == []
    with sqlite3.connect(folder.store_path) as db:
        assert CANARY not in "\n".join(db.iterdump())
